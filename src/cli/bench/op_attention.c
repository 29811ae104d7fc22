/* SPDX-License-Identifier: MIT
 * Attention: causal, causal with a window, and the decode of a few queries against many keys. */
#include <rosace/attention.h>
#include <stdio.h>
#include <stdlib.h>

#include "../cli.h"
#include "ops.h"

typedef struct attention_state {
    cl_mem q, k, v, out;
    rosace_attention_desc desc;
    rosace_attention_plan *plan;
    rosace_attention_args args;
} attention_state;

static bool path_of(int64_t choice, rosace_attention_path *out) {
    switch (choice) {
    case path_auto:
        *out = ROSACE_PATH_AUTO;
        return true;
    case path_fused:
        *out = ROSACE_PATH_FUSED;
        return true;
    case path_gemm:
        *out = ROSACE_PATH_GEMM;
        return true;
    default:
        return cli_fail("--path: attention has auto, fused and gemm");
    }
}

static bool create(bench_device *device, const bench_sizes *sizes, void **state, bench_work *work) {
    const size_t batch = (size_t)sizes->at[AXIS_BATCH], seq_k = (size_t)sizes->at[AXIS_SEQ];
    const size_t seq_q = sizes->has[AXIS_QUERIES] ? (size_t)sizes->at[AXIS_QUERIES] : seq_k;
    const size_t heads = (size_t)sizes->at[AXIS_HEADS], kv_heads = bench_kv_heads(sizes);
    const size_t head_dim = (size_t)sizes->at[AXIS_HEAD_DIM];
    attention_state *s = cli_calloc(1, sizeof *s);
    if (!(*state = s)) return false;
    rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
    desc.n_heads = heads;
    desc.n_kv_heads = kv_heads;
    desc.head_dim = head_dim;
    desc.dtype = (rosace_dtype)sizes->at[AXIS_DTYPE];
    desc.mask.causal = true;
    if (sizes->at[AXIS_WINDOW]) desc.mask.window_left = sizes->at[AXIS_WINDOW] - 1;
    desc.max_batch = batch;
    desc.max_seq_q = seq_q;
    desc.max_seq_k = seq_k;
    if (!path_of(sizes->at[AXIS_PATH], &desc.path)) return false;
    s->desc = desc;

    const size_t q_count = batch * seq_q * heads * head_dim, k_count = batch * seq_k * kv_heads * head_dim;
    if (!(s->q = bench_buffer(device, desc.dtype, q_count)) || !(s->k = bench_buffer(device, desc.dtype, k_count)) ||
        !(s->v = bench_buffer(device, desc.dtype, k_count)) || !(s->out = bench_buffer(device, desc.dtype, q_count)))
        return false;
    s->args = (rosace_attention_args)ROSACE_ATTENTION_ARGS_DEFAULT;
    s->args.q = bench_tensor(sizes, s->q, seq_q, heads);
    s->args.out = bench_tensor(sizes, s->out, seq_q, heads);
    s->args.k = bench_tensor(sizes, s->k, seq_k, kv_heads);
    s->args.v = bench_tensor(sizes, s->v, seq_k, kv_heads);

    const int64_t offset = (int64_t)(seq_k - seq_q);
    const int64_t pairs = rosace_mask_pairs(&desc.mask, offset, (int64_t)seq_q, (int64_t)seq_k);
    work->flops = 4.0 * (double)head_dim * (double)pairs * (double)(batch * heads);
    if (sizes->has[AXIS_QUERIES]) {
        /* Keys that some query sees, each read once, K and V; queries and results. */
        rosace_mask_tile tile;
        rosace_mask_tile_intervals(&desc.mask, offset, (int64_t)seq_k, 0, (int64_t)seq_q, &tile);
        const int64_t keys = tile.head.end - tile.head.begin + tile.band.end - tile.band.begin;
        work->bytes = (double)rosace_dtype_size(desc.dtype) * (double)(batch * head_dim) *
                      (2.0 * (double)keys * (double)kv_heads + 2.0 * (double)(seq_q * heads));
    }
    return true;
}

static bool plan(bench_device *device, void *state, bench_work *work) {
    attention_state *s = state;
    if (rosace_attention_plan_create(device->context, &s->desc, &s->plan)) return cli_fail_rosace("attention");
    snprintf(work->variant, sizeof work->variant, "%s", rosace_attention_plan_variant(s->plan));
    return true;
}

static bool enqueue(bench_device *device, void *state) {
    attention_state *s = state;
    return !rosace_attention_enqueue(s->plan, device->queue, &s->args, 0, NULL, NULL) || cli_fail_rosace("attention");
}

static void destroy(void *state) {
    attention_state *s = state;
    cl_mem *const buffers[] = {&s->q, &s->k, &s->v, &s->out};
    rosace_attention_plan_destroy(&s->plan);
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        if (*buffers[i]) clReleaseMemObject(*buffers[i]);
    free(s);
}

#define SIZES "dtype=f32 layout=bhsd path=auto batch=1 "

const bench_op bench_attention_causal = {
    .op = "attention",
    .kind = "causal",
    .about = "every key up to the query's own",
    .bound = ROOF_FMA,
    .sweep = SIZES "seq=4096 heads=8 kv-heads=0 head-dim=64,128; " SIZES "seq=4099 heads=8 kv-heads=0 head-dim=80",
    .quick = SIZES "seq=256 heads=2 kv-heads=0 head-dim=32",
    .tiny = SIZES "seq=16 heads=1 kv-heads=0 head-dim=64",
    .create = create,
    .plan = plan,
    .enqueue = enqueue,
    .destroy = destroy,
};

const bench_op bench_attention_window = {
    .op = "attention",
    .kind = "window",
    .about = "causal, the last `window` keys alone",
    .bound = ROOF_FMA,
    .sweep = SIZES "seq=16384 heads=8 kv-heads=0 head-dim=64,128 window=256,512; " SIZES
                   "seq=4099 heads=8 kv-heads=0 head-dim=80 window=257",
    .quick = SIZES "seq=256 heads=2 kv-heads=1 head-dim=32 window=64",
    .tiny = SIZES "seq=16 heads=1 kv-heads=0 head-dim=64 window=8",
    .create = create,
    .plan = plan,
    .enqueue = enqueue,
    .destroy = destroy,
};

const bench_op bench_attention_decode = {
    .op = "attention",
    .kind = "decode",
    .about = "a few queries at the end of many keys",
    .bound = ROOF_READ,
    .beside = 1u << ROOF_COPY,
    .sweep = SIZES "seq=4096,32768,262144 queries=1 heads=8 kv-heads=2 head-dim=64 window=0",
    .quick = SIZES "seq=512 queries=1 heads=4 kv-heads=2 head-dim=32 window=0,128",
    .tiny = SIZES "seq=16 queries=1 heads=1 kv-heads=0 head-dim=64 window=0",
    .create = create,
    .plan = plan,
    .enqueue = enqueue,
    .destroy = destroy,
};
