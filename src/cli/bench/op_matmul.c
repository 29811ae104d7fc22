/* SPDX-License-Identifier: MIT
 * Matrix products. */
#include <rosace/matmul.h>
#include <stdio.h>
#include <stdlib.h>

#include "../cli.h"
#include "ops.h"

typedef struct matmul_state {
    cl_mem a, b, c;
    bool packed;
    rosace_matmul_weights *weights;
    rosace_matmul_args args;
} matmul_state;

static bool path_of(int64_t choice, rosace_matmul_path *out) {
    switch (choice) {
    case path_auto:
        *out = ROSACE_MATMUL_AUTO;
        return true;
    case path_clblast:
        *out = ROSACE_MATMUL_CLBLAST;
        return true;
    case path_tile:
        *out = ROSACE_MATMUL_TILE;
        return true;
    default:
        return cli_fail("--path: matmul has auto, clblast and tile");
    }
}

static rosace_matrix matrix(cl_mem mem, size_t rows, size_t cols, bool transposed) {
    return (rosace_matrix){.mem = mem,
                           .rows = transposed ? cols : rows,
                           .cols = transposed ? rows : cols,
                           .batch_stride = rows * cols};
}

static bool create(bench_device *device, const bench_sizes *sizes, void **state, bench_work *work) {
    const size_t batch = (size_t)sizes->at[AXIS_BATCH], m = (size_t)sizes->at[AXIS_M];
    const size_t n = sizes->at[AXIS_N] ? (size_t)sizes->at[AXIS_N] : m;
    const size_t k = sizes->at[AXIS_K] ? (size_t)sizes->at[AXIS_K] : m;
    matmul_state *s = cli_calloc(1, sizeof *s);
    if (!(*state = s)) return false;
    s->args = (rosace_matmul_args)ROSACE_MATMUL_ARGS_DEFAULT;
    s->args.dtype = (rosace_dtype)sizes->at[AXIS_DTYPE];
    s->args.transpose_a = sizes->at[AXIS_TRANSPOSE] & 1;
    s->args.transpose_b = sizes->at[AXIS_TRANSPOSE] >> 1 & 1;
    s->args.batch = batch;
    s->packed = sizes->at[AXIS_PACKED] != 0;
    if (!path_of(sizes->at[AXIS_PATH], &s->args.path) ||
        !(s->a = bench_buffer(device, s->args.dtype, batch * m * k)) ||
        !(s->b = bench_buffer(device, s->args.dtype, batch * k * n)) ||
        !(s->c = bench_buffer(device, s->args.dtype, batch * m * n)))
        return false;
    s->args.a = matrix(s->a, m, k, s->args.transpose_a);
    s->args.b = matrix(s->b, k, n, s->args.transpose_b);
    s->args.c = matrix(s->c, m, n, false);
    work->flops = 2.0 * (double)batch * (double)m * (double)n * (double)k;
    return true;
}

/* Packing B is a product's plan: it is done once. */
static bool plan(bench_device *device, void *state, bench_work *work) {
    matmul_state *s = state;
    if (s->packed) {
        if (rosace_matmul_weights_create(device->context, device->queue, s->args.dtype, &s->args.b, s->args.transpose_b,
                                         &s->weights))
            return cli_fail_rosace("matmul");
        s->args.b = (rosace_matrix){0};
        s->args.transpose_b = false;
        s->args.weights = s->weights;
    }
    snprintf(work->variant, sizeof work->variant, "%s", rosace_matmul_variant(device->context, &s->args));
    return true;
}

static bool enqueue(bench_device *device, void *state) {
    matmul_state *s = state;
    return !rosace_matmul(device->context, device->queue, &s->args, 0, NULL, NULL) || cli_fail_rosace("matmul");
}

static void destroy(void *state) {
    matmul_state *s = state;
    rosace_matmul_weights_destroy(&s->weights);
    if (s->a) clReleaseMemObject(s->a);
    if (s->b) clReleaseMemObject(s->b);
    if (s->c) clReleaseMemObject(s->c);
    free(s);
}

#define SIZES "dtype=f32 transpose=nn packed=fresh path=auto batch=1 "
#define WEIGHTS "dtype=f32 transpose=nt packed=fresh,packed path=auto batch=1 "

const bench_op bench_matmul = {
    .op = "matmul",
    .about = "matrix products C = A B",
    .bound = ROOF_FMA,
    /* Squares, then what transformers have: projections of a prefill, odd rows, one token. */
    .sweep = SIZES "m=512,1024,2048 n=0 k=0; " WEIGHTS "m=2048 n=512,2048 k=512; " SIZES "m=1023 n=1025 k=511; " WEIGHTS
                   "m=1,8,64 n=2048 k=2048",
    .quick = "dtype=f32 transpose=nn,nt packed=fresh,packed path=auto batch=1 m=64 n=0 k=0",
    .tiny = SIZES "m=8 n=8 k=8",
    .create = create,
    .plan = plan,
    .enqueue = enqueue,
    .destroy = destroy,
};
