# SPDX-License-Identifier: MIT
"""ONNX Runtime's attention, OpenBLAS, memcpy."""

import ctypes
import ctypes.util

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from interleave import Entrant


def version():
    return f"ONNX Runtime {onnxruntime.__version__}, numpy {np.__version__} ({_numpy_blas()})"


def _numpy_blas():
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"


def _gqa_session(heads, kv_heads, head_dim, window, threads):
    attributes = {"num_heads": heads, "kv_num_heads": kv_heads}
    if window:
        attributes["local_window_size"] = window
    node = helper.make_node(
        "GroupQueryAttention",
        ["query", "key", "value", "past_key", "past_value", "seqlens_k", "total"],
        ["output", "present_key", "present_value"],
        domain="com.microsoft",
        **attributes,
    )

    def value(name, shape, kind=TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, shape)

    cache = ["b", kv_heads, "cache", head_dim]
    graph = helper.make_graph(
        [node],
        "attention",
        [
            value("query", ["b", "s", heads * head_dim]),
            value("key", ["b", "s", kv_heads * head_dim]),
            value("value", ["b", "s", kv_heads * head_dim]),
            value("past_key", cache),
            value("past_value", cache),
            value("seqlens_k", ["b"], TensorProto.INT32),
            value("total", [], TensorProto.INT32),
        ],
        [
            value("output", ["b", "s", heads * head_dim]),
            value("present_key", ["b", kv_heads, "all", head_dim]),
            value("present_value", ["b", kv_heads, "all", head_dim]),
        ],
    )
    model = helper.make_model(
        graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _rows(x):
    """[batch, head, seq, dim] -> [batch, seq, head * dim]"""
    b, h, n, d = x.shape
    return np.ascontiguousarray(x.transpose(0, 2, 1, 3)).reshape(b, n, h * d)


def gqa(q, k, v, window, threads):
    """Causal attention of a whole prompt, or, with one query, the decode: K and V of all keys but the last lie in a
    cache that the operator adds the last one to, in place."""
    b, h, n, d = q.shape
    g, keys = k.shape[1:3]
    session = _gqa_session(h, g, d, window, threads)
    binding = session.io_binding()
    ort = onnxruntime.OrtValue.ortvalue_from_numpy
    new = slice(keys - n, None)
    inputs = {
        "query": _rows(q),
        "key": _rows(k[:, :, new]),
        "value": _rows(v[:, :, new]),
        "seqlens_k": np.full(b, keys - 1, np.int32),
        "total": np.array(keys, np.int32),
    }
    kept = {name: ort(array) for name, array in inputs.items()}
    out = ort(np.zeros((b, n, h * d), np.float32))
    # Past and present in one place: nothing is copied but what is new.
    caches = {
        "key": ort(k.copy() if n < keys else np.zeros_like(k)),
        "value": ort(v.copy() if n < keys else np.zeros_like(v)),
    }
    for name, tensor in kept.items():
        binding.bind_ortvalue_input(name, tensor)
    binding.bind_ortvalue_output("output", out)
    for name, tensor in caches.items():
        if n < keys:
            binding.bind_ortvalue_input("past_" + name, tensor)
        else:
            kept["past_" + name] = ort(np.zeros((b, g, 0, d), np.float32))
            binding.bind_ortvalue_input("past_" + name, kept["past_" + name])
        binding.bind_ortvalue_output("present_" + name, tensor)

    def result(_keep=(kept, caches)):
        return out.numpy().reshape(b, n, h, d).transpose(0, 2, 1, 3)

    yield Entrant.of_call("ONNX Runtime GroupQueryAttention", lambda: session.run_with_iobinding(binding), result)


def openblas(a, b, transpose_b, threads):
    """Debian's OpenBLAS, and the one inside numpy's wheel."""
    path = ctypes.util.find_library("openblas")
    m, k = a.shape
    n = b.shape[0] if transpose_b else b.shape[1]
    if path:
        blas = ctypes.CDLL(path)
        blas.openblas_set_num_threads(threads)
        blas.openblas_get_config.restype = ctypes.c_char_p
        out = np.empty((m, n), np.float32)
        pointers = [x.ctypes.data_as(ctypes.c_void_p) for x in (a, b, out)]
        one, zero = ctypes.c_float(1), ctypes.c_float(0)

        def call(_keep=(a, b)):
            blas.cblas_sgemm(
                101,
                111,
                112 if transpose_b else 111,
                m,
                n,
                k,
                one,
                pointers[0],
                k,
                pointers[1],
                b.shape[1],
                zero,
                pointers[2],
                n,
            )

        version = blas.openblas_get_config().decode().split()[1]
        yield Entrant.of_call(f"OpenBLAS {version}", call, lambda: out)
    other = np.empty((m, n), np.float32)
    right = b.T if transpose_b else b
    yield Entrant.of_call(f"numpy ({_numpy_blas()})", lambda: np.matmul(a, right, out=other), lambda: other)


def memcpy(data):
    target = np.empty_like(data)
    source, size = data.ctypes.data, data.nbytes
    yield Entrant.of_call("memcpy, one thread", lambda: ctypes.memmove(target.ctypes.data, source, size), role="limit")
