/* SPDX-License-Identifier: MIT
 * Attention for the tuner. Classes that share a head_dim and a data type come one after the other, since the programs of
 * their rows are the same. */
#include "tune.h"

#include "../ops/attention.h"

#include <string.h>

enum { HEADS = 8, GROUP = 4, WINDOW = 256 };

typedef struct attention_shape {
    bool window, groups;
    size_t seq_q, most;
} attention_shape;

static void describe(const attention_shape *shape, size_t head_dim, bool half, rsc_subject *out)
{
    rosace_attention_desc *desc = &out->attention;
    *desc = (rosace_attention_desc)ROSACE_ATTENTION_DESC_DEFAULT;
    desc->n_heads = HEADS;
    desc->n_kv_heads = shape->groups ? HEADS / GROUP : HEADS;
    desc->head_dim = head_dim;
    desc->dtype = half ? ROSACE_F16 : ROSACE_F32;
    desc->mask.causal = true;
    desc->mask.window_left = shape->window ? WINDOW - 1 : -1;
    desc->max_seq_q = shape->seq_q; /* few queries are a class of their own */
    out->seq_q = shape->seq_q;
    out->least = 128;
    out->most = shape->most;
    rsc_attention_class(desc, out->class_name, sizeof out->class_name);
}

static bool class_at(const rosace_device_info *device, size_t index, rsc_subject *out)
{
    static const struct {
        size_t head_dim;
        bool half;
    } types[] = {{64, false}, {128, false}, {128, true}, {64, true}, {256, false}, {256, true}};
    static const attention_shape shapes[] = {{false, false, 0, 4096}, {true, false, 0, 16384}, {false, true, 0, 4096},
                                             {true, true, 0, 16384},  {false, true, 1, 65536}, {false, false, 1, 16384}};
    enum { N_TYPES = sizeof types / sizeof types[0], N_SHAPES = sizeof shapes / sizeof shapes[0] };
    const bool gpu = device->device_class != ROSACE_DEVICE_CPU; /* where half precision is the rule */
    for (size_t t = 0; t < N_TYPES; t++)
        for (size_t s = 0; s < N_SHAPES; s++) {
            describe(&shapes[s], types[t].head_dim, types[t].half != gpu, out);
            if (shapes[s].seq_q && strncmp(out->class_name, "decode", 6) != 0) continue;
            if (index-- == 0) return true;
        }
    return false;
}

static rosace_attention_desc sized(const rsc_bench *bench)
{
    rosace_attention_desc desc = bench->subject->attention;
    desc.max_batch = 1;
    desc.max_seq_k = bench->size;
    desc.max_seq_q = bench->subject->seq_q ? bench->subject->seq_q : bench->size;
    return desc;
}

static bool row_at(const rosace_device_info *device, const rsc_subject *subject, size_t index, char row[RSC_ROW_BYTES])
{
    return rsc_attention_candidate(device, &subject->attention, index, row, RSC_ROW_BYTES);
}

static rosace_status prepare(rsc_bench *bench)
{
    const rosace_attention_desc *desc = &bench->subject->attention;
    const size_t keys = bench->subject->most * desc->head_dim, queries = bench->subject->seq_q * desc->head_dim;
    const size_t q_count = (queries ? queries : keys) * desc->n_heads, k_count = keys * desc->n_kv_heads;
    bench->dtype = desc->dtype;
    /* Sums are fp32 in either case; stored in half precision they are rounded. */
    bench->tolerance = desc->dtype == ROSACE_F16 ? 4e-3f : 1e-3f;
    rosace_status status = rsc_bench_buffer(bench, 0, desc->dtype, q_count, false);
    if (!status) status = rsc_bench_buffer(bench, 1, desc->dtype, q_count, true);
    if (!status) status = rsc_bench_buffer(bench, 2, desc->dtype, k_count, true);
    if (!status) status = rsc_bench_buffer(bench, 3, desc->dtype, k_count, true);
    return status;
}

static rosace_status make(rsc_bench *bench, void **plan, char row[RSC_ROW_BYTES])
{
    const rosace_attention_desc desc = sized(bench);
    rosace_attention_plan *made = NULL;
    const rosace_status status = rosace_attention_plan_create(bench->context, &desc, &made);
    *plan = made;
    if (status) return status;
    bench->out_count = desc.max_seq_q * desc.n_heads * desc.head_dim;
    rsc_attention_plan_choice(made, row, RSC_ROW_BYTES);
    return ROSACE_OK;
}

static rosace_status run(rsc_bench *bench, void *plan)
{
    const rosace_attention_desc desc = sized(bench);
    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    args.out = rosace_tensor_bshd(bench->buffers[0], desc.dtype, 1, desc.max_seq_q, desc.n_heads, desc.head_dim);
    args.q = rosace_tensor_bshd(bench->buffers[1], desc.dtype, 1, desc.max_seq_q, desc.n_heads, desc.head_dim);
    args.k = rosace_tensor_bshd(bench->buffers[2], desc.dtype, 1, desc.max_seq_k, desc.n_kv_heads, desc.head_dim);
    args.v = rosace_tensor_bshd(bench->buffers[3], desc.dtype, 1, desc.max_seq_k, desc.n_kv_heads, desc.head_dim);
    return rosace_attention_enqueue(plan, bench->queue, &args, 0, NULL, NULL);
}

static void drop(rsc_bench *bench, void *plan)
{
    (void)bench;
    rosace_attention_plan *p = plan;
    rosace_attention_plan_destroy(&p);
}

const rsc_tunable rsc_tune_attention = {
    "attention", ROSACE_TUNE_ATTENTION, class_at, row_at, prepare, make, run, drop, false,
};
