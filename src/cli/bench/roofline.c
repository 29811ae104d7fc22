/* SPDX-License-Identifier: MIT */
#include "roofline.h"

#include <stdio.h>
#include <string.h>

#include "../cli.h"

/* As in roofline.cl. */
enum { CHAINS = 12 };

static const struct {
    const char *name, *unit;
} roofs_table[N_ROOFS] = {
    [ROOF_FMA] = {"fma", "GFLOP/s"},
    [ROOF_COPY] = {"copy", "GB/s"},
    [ROOF_UPDATE] = {"update", "GB/s"},
    [ROOF_READ] = {"read", "GB/s"},
};

const char *roof_name(roof_kind kind) {
    return roofs_table[kind].name;
}

const char *roof_unit(roof_kind kind) {
    return roofs_table[kind].unit;
}

void rooflines_init(rooflines *roofs, bench_device *device, size_t bytes) {
    memset(roofs, 0, sizeof *roofs);
    roofs->device = device;
    roofs->bytes = bytes;
    if (roofs->bytes > device->info->max_alloc_bytes) roofs->bytes = (size_t)device->info->max_alloc_bytes;
    roofs->bytes &= ~(size_t)0xFFFFF; /* what every work-item count below divides */
    for (int i = 0; i < N_ROOFS; i++) {
        roofs->users[i].roofs = roofs;
        roofs->users[i].kind = (roof_kind)i;
    }
}

void rooflines_free(rooflines *roofs) {
    for (int i = 0; i < N_ROOFS; i++)
        if (roofs->launch[i].kernel) clReleaseKernel(roofs->launch[i].kernel);
    if (roofs->a) clReleaseMemObject(roofs->a);
    if (roofs->b) clReleaseMemObject(roofs->b);
    if (roofs->sums) clReleaseMemObject(roofs->sums);
    if (roofs->results) clReleaseMemObject(roofs->results);
    memset(roofs, 0, sizeof *roofs);
}

static bool run_launch(bench_device *device, const roof_launch *launch, size_t calls) {
    cl_int code = CL_SUCCESS;
    for (size_t i = 0; i < calls && !code; i++)
        code = clEnqueueNDRangeKernel(device->queue, launch->kernel, 1, NULL, &launch->global,
                                      launch->local ? &launch->local : NULL, 0, NULL, NULL);
    if (code) return cli_fail_cl(code, "a roofline kernel cannot be launched");
    return bench_finish(device);
}

static bool run_entry(void *user, size_t calls) {
    const struct roof_user *which = user;
    return run_launch(which->roofs->device, &which->roofs->launch[which->kind], calls);
}

static cl_kernel make_kernel(bench_device *device, const char *name) {
    cl_int code;
    cl_kernel kernel = clCreateKernel(device->program, name, &code);
    if (!kernel) cli_fail_cl(code, "cannot make the kernel %s", name);
    return kernel;
}

/* The best of `tries` launches after one that is not counted, or of fewer when they take long. */
static bool best_seconds(bench_device *device, const roof_launch *launch, int tries, double *best) {
    const double first = timing_now();
    for (int i = -1; i < tries; i++) {
        const double begin = timing_now();
        if (!run_launch(device, launch, 1)) return false;
        const double end = timing_now();
        if (i <= 0 || end - begin < *best) *best = end - begin;
        if (end - first > 0.5) break;
    }
    return true;
}

/* Keeps `launch` in place of what is there when it is the faster one. */
static bool compete(rooflines *roofs, roof_kind kind, roof_launch *launch, double *best_rate) {
    double seconds = 0.0;
    if (!best_seconds(roofs->device, launch, 3, &seconds)) {
        clReleaseKernel(launch->kernel);
        return false;
    }
    const double rate = launch->work / (seconds > 0.0 ? seconds : 1e-9);
    roof_launch *kept = &roofs->launch[kind];
    if (kept->kernel && rate <= *best_rate) {
        clReleaseKernel(launch->kernel);
        return true;
    }
    if (kept->kernel) clReleaseKernel(kept->kernel);
    *kept = *launch;
    *best_rate = rate;
    return true;
}

/* ---- Arithmetic -------------------------------------------------------------------------------------------------- */

/* Doubles the length of the loop until a launch takes long enough for its start and end not to matter. */
static bool try_fma(rooflines *roofs, const char *name, unsigned width, size_t items, size_t local, double *best_rate) {
    enum { MOST_LOOPS = 1 << 22 };
    bench_device *device = roofs->device;
    const float factor = 0.999f;
    roof_launch launch = {.kernel = make_kernel(device, name), .global = items, .local = local};
    if (!launch.kernel) return false;
    cl_int loops = 256;
    cl_int code = clSetKernelArg(launch.kernel, 0, sizeof roofs->results, &roofs->results);
    if (!code) code = clSetKernelArg(launch.kernel, 1, sizeof factor, &factor);
    for (;; loops *= 2) {
        double seconds = 0.0;
        if (!code) code = clSetKernelArg(launch.kernel, 2, sizeof loops, &loops);
        if (code || !best_seconds(device, &launch, 1, &seconds)) {
            if (code) cli_fail_cl(code, "cannot set the arguments of %s", name);
            clReleaseKernel(launch.kernel);
            return false;
        }
        if (seconds >= 0.01 || loops >= MOST_LOOPS) break;
    }
    launch.work = 2.0 * CHAINS * (double)loops * (double)width * (double)items;
    snprintf(launch.variant, sizeof launch.variant, "vectors of %u, %zu work-items", width, items);
    return compete(roofs, ROOF_FMA, &launch, best_rate);
}

static bool find_fma(rooflines *roofs) {
    bench_device *device = roofs->device;
    const size_t units = device->info->compute_units ? device->info->compute_units : 1;
    const size_t local = device->info->max_work_group_size >= 256 ? 256 : 1;
    const size_t many = units * 16 * local, few = units * 4;
    double best_rate = 0.0;
    const size_t floats = many > few * device->vec ? many : few * device->vec;
    if (!(roofs->results = bench_buffer(device, ROSACE_F32, floats))) return false;
    /* Whether lanes are the elements of vectors or the work-items of a group is the driver's secret. */
    return try_fma(roofs, "fma_vector", device->vec, few, 1, &best_rate) &&
           try_fma(roofs, "fma_scalar", 1, many, local, &best_rate);
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static bool make_tensors(rooflines *roofs, bool two) {
    const size_t count = roofs->bytes / sizeof(float);
    if (!roofs->a && !(roofs->a = bench_buffer(roofs->device, ROSACE_F32, count))) return false;
    if (two && !roofs->b && !(roofs->b = bench_buffer(roofs->device, ROSACE_F32, count))) return false;
    return true;
}

/* A way to move memory: each item moves `count` vectors, runs of its own (chunks) or every n-th; lines are asked for
 * `ahead` vectors early; stores may go past the caches. */
typedef struct memory_way {
    size_t count;
    bool chunks;
    size_t ahead;
    bool past;
} memory_way;

static const char *memory_kernel(roof_kind kind, const memory_way *way) {
    return kind == ROOF_COPY ? (way->past ? "copy_past_floats" : "copy_floats")
           : kind == ROOF_UPDATE ? "update_floats" : "read_floats";
}

static bool try_memory(rooflines *roofs, roof_kind kind, const memory_way *way, double *best_rate) {
    bench_device *device = roofs->device;
    const size_t vectors = roofs->bytes / (sizeof(float) * device->vec);
    const size_t local = way->chunks || device->info->max_work_group_size < 256 ? 1 : 256;
    roof_launch launch = {.global = vectors / way->count, .local = local};
    const char *name = memory_kernel(kind, way);
    const cl_int count = (cl_int)way->count;
    const cl_ulong first = way->chunks ? way->count : 1, step = way->chunks ? 1 : launch.global, ahead = way->ahead;
    const cl_mem *second = kind == ROOF_COPY ? &roofs->b : kind == ROOF_READ ? &roofs->sums : NULL;
    if (!launch.global || launch.global % local) return true; /* a tensor too small for this one */
    if (!(launch.kernel = make_kernel(device, name))) return false;
    cl_uint index = 0;
    cl_int code = clSetKernelArg(launch.kernel, index++, sizeof roofs->a, &roofs->a);
    if (!code && second) code = clSetKernelArg(launch.kernel, index++, sizeof *second, second);
    if (!code) code = clSetKernelArg(launch.kernel, index++, sizeof count, &count);
    if (!code) code = clSetKernelArg(launch.kernel, index++, sizeof first, &first);
    if (!code) code = clSetKernelArg(launch.kernel, index++, sizeof step, &step);
    if (!code) code = clSetKernelArg(launch.kernel, index++, sizeof ahead, &ahead);
    if (code) {
        clReleaseKernel(launch.kernel);
        return cli_fail_cl(code, "cannot set the arguments of %s", name);
    }
    launch.work = (double)roofs->bytes * (kind == ROOF_READ ? 1.0 : 2.0);
    snprintf(launch.variant, sizeof launch.variant, "vectors of %u, %zu to an item, %s%s%s", device->vec, way->count,
             way->chunks ? "runs" : "interleaved", way->ahead ? ", asked for early" : "",
             way->past ? ", stored past the caches" : "");
    return compete(roofs, kind, &launch, best_rate);
}

static bool find_memory(rooflines *roofs, roof_kind kind) {
    const bool cpu = roofs->device->info->device_class == ROSACE_DEVICE_CPU;
    const size_t page = 4096 / (sizeof(float) * roofs->device->vec);
    const memory_way ways[] = {
        {1024, true, 0, false}, {64, true, 0, false}, {1024, true, page, false}, {1024, true, page, true},
        {4, false, 0, false},   {16, false, 0, false},
    };
    double best_rate = 0.0;
    if (!make_tensors(roofs, kind == ROOF_COPY)) return false;
    /* The sums take a vector per item, at most one for four read. */
    if (kind == ROOF_READ && !roofs->sums &&
        !(roofs->sums = bench_buffer(roofs->device, ROSACE_F32, roofs->bytes / sizeof(float) / 4)))
        return false;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if ((ways[i].ahead && !cpu) || (ways[i].past && kind != ROOF_COPY)) continue;
        if (!try_memory(roofs, kind, &ways[i], &best_rate)) return false;
    }
    return roofs->launch[kind].kernel ||
           cli_fail("a tensor of %zu bytes is too small to measure bandwidth", roofs->bytes);
}

bool rooflines_entry(rooflines *roofs, roof_kind kind, timing_entry *out) {
    if (!roofs->launch[kind].kernel && !(kind == ROOF_FMA ? find_fma(roofs) : find_memory(roofs, kind))) return false;
    *out = (timing_entry){.run = run_entry, .user = &roofs->users[kind]};
    return true;
}
