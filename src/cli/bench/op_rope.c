/* SPDX-License-Identifier: MIT
 * Rotation of q and k in place, in one launch. */
#include <rosace/rope.h>
#include <stdlib.h>

#include "../cli.h"
#include "ops.h"

typedef struct rope_state {
    cl_mem q, k;
    rosace_tensor q_tensor, k_tensor;
    rosace_rope_desc desc;
    rosace_rope_plan *plan;
    rosace_rope_args args;
} rope_state;

static bool create(bench_device *device, const bench_sizes *sizes, void **state, bench_work *work) {
    const size_t batch = (size_t)sizes->at[AXIS_BATCH], seq = (size_t)sizes->at[AXIS_SEQ];
    const size_t heads = (size_t)sizes->at[AXIS_HEADS], kv_heads = bench_kv_heads(sizes);
    rope_state *s = cli_calloc(1, sizeof *s);
    if (!(*state = s)) return false;
    s->desc = (rosace_rope_desc)ROSACE_ROPE_DESC_DEFAULT;
    s->desc.head_dim = (size_t)sizes->at[AXIS_HEAD_DIM];
    s->desc.dtype = (rosace_dtype)sizes->at[AXIS_DTYPE];
    s->desc.interleaved = sizes->at[AXIS_PAIRS] == pairs_interleaved;

    const size_t q_count = batch * seq * heads * s->desc.head_dim, k_count = batch * seq * kv_heads * s->desc.head_dim;
    if (!(s->q = bench_buffer(device, s->desc.dtype, q_count)) ||
        !(s->k = bench_buffer(device, s->desc.dtype, k_count)))
        return false;
    s->q_tensor = bench_tensor(sizes, s->q, seq, heads);
    s->k_tensor = bench_tensor(sizes, s->k, seq, kv_heads);
    s->args = (rosace_rope_args)ROSACE_ROPE_ARGS_DEFAULT;
    s->args.q = &s->q_tensor;
    s->args.k = &s->k_tensor;
    work->bytes = 2.0 * (double)rosace_dtype_size(s->desc.dtype) * (double)(q_count + k_count);
    return true;
}

static bool plan(bench_device *device, void *state, bench_work *work) {
    rope_state *s = state;
    (void)work;
    return !rosace_rope_plan_create(device->context, &s->desc, &s->plan) || cli_fail_rosace("rope");
}

static bool enqueue(bench_device *device, void *state) {
    rope_state *s = state;
    return !rosace_rope_enqueue(s->plan, device->queue, &s->args, 0, NULL, NULL) || cli_fail_rosace("rope");
}

static void destroy(void *state) {
    rope_state *s = state;
    rosace_rope_plan_destroy(&s->plan);
    if (s->q) clReleaseMemObject(s->q);
    if (s->k) clReleaseMemObject(s->k);
    free(s);
}

const bench_op bench_rope = {
    .op = "rope",
    .about = "q and k rotated in place",
    .bound = ROOF_COPY,
    .beside = 1u << ROOF_UPDATE,
    /* 256 MB of q and k */
    .sweep = "dtype=f32 layout=bshd,bhsd pairs=half,interleaved batch=1 seq=131072 heads=6 kv-heads=2 head-dim=64",
    .quick = "dtype=f32 layout=bshd,bhsd pairs=half,interleaved batch=1 seq=256 heads=4 kv-heads=2 head-dim=32",
    .tiny = "dtype=f32 layout=bshd pairs=half batch=1 seq=1 heads=1 kv-heads=0 head-dim=64",
    .create = create,
    .plan = plan,
    .enqueue = enqueue,
    .destroy = destroy,
};
