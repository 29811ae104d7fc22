# SPDX-License-Identifier: MIT
"""rosace and what it takes of OpenCL, from Python by ctypes: as much as the benches need, no more."""

import ctypes as c
import os
import pathlib

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
DTYPES = {np.dtype(np.float32): 0, np.dtype(np.float16): 1}
PATHS = {"auto": 0, "gemm": 1, "fused": 2}
MATMUL_PATHS = {"auto": 0, "clblast": 1, "tile": 2}
size = c.c_size_t


# ---- The structs of include/rosace, as far as fields are used here; struct_size tells the library where they end ----


class Tensor(c.Structure):
    _fields_ = [
        ("mem", c.c_void_p),
        ("offset", size),
        ("dtype", c.c_int),
        ("shape", size * 4),
        ("stride", c.c_ssize_t * 4),
    ]


class Mask(c.Structure):
    _fields_ = [("causal", c.c_bool)] + [
        (n, c.c_int64) for n in ("window_left", "window_right", "sinks", "prefix", "chunk", "chunk_back")
    ]


class AttentionDesc(c.Structure):
    _fields_ = [
        ("struct_size", size),
        ("n_heads", size),
        ("n_kv_heads", size),
        ("head_dim", size),
        ("dtype", c.c_int),
        ("mask", Mask),
        ("bias", c.c_int),
        ("bias_max_distance", c.c_int64),
        ("scale", c.c_float),
        ("softcap", c.c_float),
        ("rope", c.c_void_p),
        ("rerope_window", c.c_int64),
        ("logn_train_len", c.c_int64),
        ("path", c.c_int),
        ("max_batch", size),
        ("max_seq_q", size),
        ("max_seq_k", size),
    ]


class AttentionArgs(c.Structure):
    _fields_ = [
        ("struct_size", size),
        ("q", Tensor),
        ("out", Tensor),
        ("k", Tensor),
        ("v", Tensor),
        ("lse", c.c_void_p),
        ("lse_offset", size),
        ("q_offset", c.c_int64),
    ]


class RopeScaling(c.Structure):
    _fields_ = [
        ("kind", c.c_int),
        ("factor", c.c_double),
        ("original_max_position", c.c_int64),
        ("seq_len", c.c_int64),
        ("beta_fast", c.c_double),
        ("beta_slow", c.c_double),
        ("attention_factor", c.c_double),
        ("mscale", c.c_double),
        ("mscale_all_dim", c.c_double),
        ("no_truncate", c.c_bool),
        ("low_freq_factor", c.c_double),
        ("high_freq_factor", c.c_double),
    ]


class RopeDesc(c.Structure):
    _fields_ = [
        ("struct_size", size),
        ("head_dim", size),
        ("rotary_dim", size),
        ("theta", c.c_double),
        ("interleaved", c.c_bool),
        ("inverse", c.c_bool),
        ("dtype", c.c_int),
        ("scaling", RopeScaling),
    ]


class Positions(c.Structure):
    _fields_ = [
        ("offset", c.c_int64),
        ("ids", c.c_void_p),
        ("ids_offset", size),
        ("batch_stride", c.c_ssize_t),
        ("seq_stride", c.c_ssize_t),
    ]


class RopeArgs(c.Structure):
    _fields_ = [
        ("struct_size", size),
        ("q", c.POINTER(Tensor)),
        ("k", c.POINTER(Tensor)),
        ("q_out", c.POINTER(Tensor)),
        ("k_out", c.POINTER(Tensor)),
        ("positions", Positions),
    ]


class Matrix(c.Structure):
    _fields_ = [
        ("mem", c.c_void_p),
        ("offset", size),
        ("rows", size),
        ("cols", size),
        ("row_stride", size),
        ("batch_stride", size),
    ]


class MatmulArgs(c.Structure):
    _fields_ = [
        ("struct_size", size),
        ("dtype", c.c_int),
        ("a", Matrix),
        ("b", Matrix),
        ("c", Matrix),
        ("transpose_a", c.c_bool),
        ("transpose_b", c.c_bool),
        ("alpha", c.c_float),
        ("beta", c.c_float),
        ("batch", size),
        ("path", c.c_int),
        ("weights", c.c_void_p),
    ]


class SoftmaxArgs(c.Structure):
    _fields_ = [
        ("struct_size", size),
        ("scores", Tensor),
        ("probs", c.POINTER(Tensor)),
        ("mask", Mask),
        ("q_offset", c.c_int64),
        ("scale", c.c_float),
        ("softcap", c.c_float),
        ("bias", c.c_int),
        ("bias_params", c.c_void_p),
        ("bias_params_offset", size),
        ("lse", c.c_void_p),
        ("lse_offset", size),
    ]


class ContextDesc(c.Structure):
    _fields_ = [("struct_size", size), ("device", c.c_char_p)]


def new(kind, **values):
    """A struct with struct_size set."""
    return kind(struct_size=c.sizeof(kind), **values)


BOTTOM_RIGHT = -(1 << 63)


def mask(window=0):
    """Causal; window: keys that a query sees, itself counted, 0 for all."""
    return Mask(causal=True, window_left=window - 1 if window else -1, window_right=-1)


# ---- OpenCL ----------------------------------------------------------------------------------------------------------

cl = c.CDLL("libOpenCL.so.1")
for name in ("clCreateBuffer", "clCreateCommandQueue", "clCreateProgramWithSource", "clCreateKernel"):
    getattr(cl, name).restype = c.c_void_p
READ_WRITE, COPY_HOST_PTR = 1, 32
DEVICE = dict(type=0x1000, compute_units=0x1002, group=0x1004, name=0x102B, driver=0x102D, float_width=0x103A)


def check(code, what):
    if code:
        raise RuntimeError(f"{what}: OpenCL error {code}")


class Buffer:
    """Device memory with the contents of an array."""

    def __init__(self, device, array):
        code = c.c_int()
        array = np.ascontiguousarray(array)
        self.shape, self.dtype, self.device = array.shape, array.dtype, device
        # Empty first, then written: on devices that share the host's memory the pages are then the device's own.
        self.mem = c.c_void_p(
            cl.clCreateBuffer(device.context_cl, c.c_uint64(READ_WRITE), size(array.nbytes), None, c.byref(code))
        )
        check(code.value, "clCreateBuffer")
        check(
            cl.clEnqueueWriteBuffer(
                device.queue, self.mem, 1, size(0), size(array.nbytes), array.ctypes.data_as(c.c_void_p), 0, None, None
            ),
            "clEnqueueWriteBuffer",
        )

    def read(self):
        out = np.empty(self.shape, self.dtype)
        check(
            cl.clEnqueueReadBuffer(
                self.device.queue, self.mem, 1, size(0), size(out.nbytes), out.ctypes.data_as(c.c_void_p), 0, None, None
            ),
            "clEnqueueReadBuffer",
        )
        return out

    def tensor(self, layout="bhsd"):
        """A view of an array [batch, head, seq, dim] or [batch, seq, head, dim]."""
        b, x, y, d = self.shape
        seq, heads = (y, x) if layout == "bhsd" else (x, y)
        strides = (x * y * d, d, seq * d, 1) if layout == "bhsd" else (x * y * d, heads * d, d, 1)
        return Tensor(self.mem, 0, DTYPES[self.dtype], (size * 4)(b, seq, heads, d), (c.c_ssize_t * 4)(*strides))

    def matrix(self):
        rows, cols = self.shape[-2:]
        return Matrix(self.mem, 0, rows, cols, 0, rows * cols)

    def __del__(self):
        if getattr(self, "mem", None):
            cl.clReleaseMemObject(self.mem)


def find_library(build=None):
    places = [build] if build else ["build/release", "build"]
    for place in places:
        path = ROOT / place / "src" / "librosace.so"
        if path.exists():
            return path
    raise SystemExit(f"no librosace.so in {' or '.join(map(str, places))}; see bench/README.md")


class Device:
    """A rosace context on the chosen device, with a queue."""

    def __init__(self, selector=None, build=None):
        self.path = find_library(build)
        self.lib = c.CDLL(str(self.path))
        self.lib.rosace_last_error.restype = c.c_char_p
        self.lib.rosace_attention_plan_variant.restype = c.c_char_p
        self.lib.rosace_matmul_variant.restype = c.c_char_p
        self.lib.rosace_context_cl.restype = c.c_void_p
        self.lib.rosace_context_cl_device.restype = c.c_void_p
        self.context = c.c_void_p()
        desc = new(ContextDesc, device=selector.encode() if selector else None)
        self.call("rosace_context_create", c.byref(desc), c.byref(self.context))
        self.context_cl = c.c_void_p(self.lib.rosace_context_cl(self.context))
        self.device_cl = c.c_void_p(self.lib.rosace_context_cl_device(self.context))
        code = c.c_int()
        self.queue = c.c_void_p(cl.clCreateCommandQueue(self.context_cl, self.device_cl, c.c_uint64(0), c.byref(code)))
        check(code.value, "clCreateCommandQueue")

    def call(self, function, *args):
        code = getattr(self.lib, function)(*args)
        if code:
            raise RuntimeError(f"{function}: {self.lib.rosace_last_error().decode()}")

    def finish(self):
        check(cl.clFinish(self.queue), "clFinish")

    def info(self, what, text=False):
        out = (c.c_char * 256)()
        check(cl.clGetDeviceInfo(self.device_cl, DEVICE[what], size(256), out, None), "clGetDeviceInfo")
        return out.value.decode() if text else int.from_bytes(out.raw[:8], "little")

    @property
    def text(self):
        return f"{self.info('name', True)}, driver {self.info('driver', True)}"

    def buffer(self, array):
        return Buffer(self, array)

    # Each returns a function that enqueues the operation once. What it needs lives as long as the function.

    def attention(self, q, k, v, out, window=0, layout="bhsd", path="auto"):
        tensors = [x.tensor(layout) for x in (q, k, v, out)]
        tq, tk, tv, to = tensors
        desc = new(
            AttentionDesc,
            n_heads=tq.shape[2],
            n_kv_heads=tk.shape[2],
            head_dim=tq.shape[3],
            dtype=tq.dtype,
            mask=mask(window),
            path=PATHS[path],
            max_batch=tq.shape[0],
            max_seq_q=tq.shape[1],
            max_seq_k=tk.shape[1],
        )
        plan = c.c_void_p()
        self.call("rosace_attention_plan_create", self.context, c.byref(desc), c.byref(plan))
        args = new(AttentionArgs, q=tq, k=tk, v=tv, out=to, q_offset=BOTTOM_RIGHT)
        variant = self.lib.rosace_attention_plan_variant(plan).decode()

        def enqueue(_keep=(q, k, v, out)):
            self.call("rosace_attention_enqueue", plan, self.queue, c.byref(args), 0, None, None)

        enqueue.variant = variant
        enqueue.close = lambda: self.lib.rosace_attention_plan_destroy(c.byref(plan))
        return enqueue

    def rope(self, q, k, layout="bhsd", interleaved=False, theta=10000.0):
        tq, tk = q.tensor(layout), k.tensor(layout)
        scaling = RopeScaling(factor=1.0, beta_fast=32.0, beta_slow=1.0, low_freq_factor=1.0, high_freq_factor=4.0)
        desc = new(
            RopeDesc, head_dim=tq.shape[3], theta=theta, interleaved=interleaved, dtype=tq.dtype, scaling=scaling
        )
        plan = c.c_void_p()
        self.call("rosace_rope_plan_create", self.context, c.byref(desc), c.byref(plan))
        args = new(RopeArgs, q=c.pointer(tq), k=c.pointer(tk), positions=Positions(seq_stride=1))

        def enqueue(_keep=(q, k)):
            self.call("rosace_rope_enqueue", plan, self.queue, c.byref(args), 0, None, None)

        enqueue.close = lambda: self.lib.rosace_rope_plan_destroy(c.byref(plan))
        return enqueue

    def matmul(self, a, b, out, transpose_b=False, path="auto", packed=False):
        weights = c.c_void_p()
        matrix = b.matrix()
        if packed:
            self.call(
                "rosace_matmul_weights_create",
                self.context,
                self.queue,
                DTYPES[b.dtype],
                c.byref(matrix),
                c.c_bool(transpose_b),
                c.byref(weights),
            )
            matrix, transpose_b = Matrix(), False
        args = new(
            MatmulArgs,
            dtype=DTYPES[a.dtype],
            a=a.matrix(),
            b=matrix,
            weights=weights,
            c=out.matrix(),
            transpose_b=transpose_b,
            alpha=1.0,
            batch=1,
            path=MATMUL_PATHS[path],
        )

        def enqueue(_keep=(a, b, out)):
            self.call("rosace_matmul", self.context, self.queue, c.byref(args), 0, None, None)

        enqueue.variant = self.lib.rosace_matmul_variant(self.context, c.byref(args)).decode()
        enqueue.close = lambda: self.lib.rosace_matmul_weights_destroy(c.byref(weights))
        return enqueue

    def softmax(self, scores, probs, window=0):
        ts, tp = scores.tensor(), probs.tensor()
        args = new(SoftmaxArgs, scores=ts, probs=c.pointer(tp), mask=mask(window), q_offset=BOTTOM_RIGHT, scale=1.0)

        def enqueue(_keep=(scores, probs)):
            self.call("rosace_masked_softmax", self.context, self.queue, c.byref(args), 0, None, None)

        enqueue.close = lambda: None
        return enqueue


# ---- Limits of the device, by the kernels of rosace bench ------------------------------------------------------------


class Rooflines:
    """Closures for the timing: fma(), copy(), read(). Variants are tried and the fastest kept, as rosace bench does."""

    CHAINS = 12
    BYTES = 256 << 20

    def __init__(self, device):
        import time

        self.device, self.clock = device, time.perf_counter
        code = c.c_int()
        self.vec = device.info("float_width")
        self.vec = self.vec if self.vec in (1, 2, 8, 16) else 4
        text = c.c_char_p((ROOT / "src" / "cli" / "bench" / "roofline.cl").read_bytes())
        self.program = c.c_void_p(
            cl.clCreateProgramWithSource(device.context_cl, 1, c.byref(text), None, c.byref(code))
        )
        options = f"-cl-std=CL1.2 -DVEC={self.vec}".encode()
        check(cl.clBuildProgram(self.program, 1, c.byref(device.device_cl), options, None, None), "clBuildProgram")
        self.units = max(device.info("compute_units"), 1)
        self.local = 256 if device.info("group") >= 256 else 1
        self.is_cpu = bool(device.info("type") & 2)
        self._memory = None

    def _kernel(self, name, global_size, local_size, *args):
        """A closure that launches; arguments are buffers or (ctype, value)."""
        code = c.c_int()
        kernel = c.c_void_p(cl.clCreateKernel(self.program, name.encode(), c.byref(code)))
        check(code.value, "clCreateKernel")
        for i, arg in enumerate(args):
            value = arg.mem if isinstance(arg, Buffer) else arg
            check(cl.clSetKernelArg(kernel, i, size(c.sizeof(value)), c.byref(value)), "clSetKernelArg")
        g, l, queue = (size * 1)(global_size), (size * 1)(local_size), self.device.queue

        def launch(_keep=args):
            check(cl.clEnqueueNDRangeKernel(queue, kernel, 1, None, g, l, 0, None, None), "clEnqueueNDRangeKernel")

        return launch

    def _seconds(self, launch, tries=3):
        best = float("inf")
        for i in range(tries + 1):
            begin = self.clock()
            launch()
            self.device.finish()
            if i:
                best = min(best, self.clock() - begin)
        return best

    def fma(self):
        """(launch, operations)"""
        found = []
        for name, width, items, local in (
            ("fma_vector", self.vec, 4 * self.units, 1),
            ("fma_scalar", 1, 16 * self.local * self.units, self.local),
        ):
            out = self.device.buffer(np.zeros(items * width, np.float32))
            loops = 256
            while True:
                launch = self._kernel(name, items, local, out, c.c_float(0.999), c.c_int(loops))
                seconds = self._seconds(launch, 1)
                if seconds > 0.01 or loops >= 1 << 22:
                    break
                loops *= 2
            work = 2 * self.CHAINS * loops * width * items
            found.append((work / self._seconds(launch), launch, work))
        return max(found, key=lambda x: x[0])[1:]

    def memory(self, kind):
        """(launch, bytes) of kind copy, update or read."""
        if not self._memory:
            data = np.full(self.BYTES // 4, 0.25, np.float32)
            self._memory = (
                self.device.buffer(data),
                self.device.buffer(data),
                self.device.buffer(data[: data.size // 4]),
            )
        a, b, sums = self._memory
        second = {"copy": [b], "update": [], "read": [sums]}[kind]
        page = 4096 // (4 * self.vec)
        found = []
        # As in src/cli/bench/roofline.c: vectors to an item, runs of its own, asked for early, stored past the caches.
        for count, chunks, ahead, past in (
            (1024, True, 0, False),
            (64, True, 0, False),
            (1024, True, page, False),
            (1024, True, page, True),
            (4, False, 0, False),
            (16, False, 0, False),
        ):
            if (ahead and not self.is_cpu) or (past and kind != "copy"):
                continue
            items = self.BYTES // (4 * self.vec) // count
            first, step = (count, 1) if chunks else (1, items)
            arguments = [a, *second, c.c_int(count), *map(c.c_uint64, (first, step, ahead))]
            name = f"{kind}_past_floats" if past else f"{kind}_floats"
            launch = self._kernel(name, items, 1 if chunks else self.local, *arguments)
            found.append((self._seconds(launch), launch))
        return min(found, key=lambda x: x[0])[1], self.BYTES * (1 if kind == "read" else 2)


def environment():
    """What the caller should know about the machine, for the reports."""
    model = "unknown processor"
    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"processor": model, "cores": len(os.sched_getaffinity(0))}
