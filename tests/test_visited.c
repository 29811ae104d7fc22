/* SPDX-License-Identifier: MIT
 * What kernels of one sweep visit: the keys that some query of a tile sees, by the definition of the mask, and no others. */
#include <string.h>

#include "harness.h"
#include "src/ops/attention_fused.h"
#include "src/reference/reference.h"

enum { HEADS = 4, KV_HEADS = 2, DIM = 16, MAX_SEQS = 3 };

typedef struct lengths {
    size_t n; /* 0: one sequence, not packed */
    int64_t q[MAX_SEQS], k[MAX_SEQS];
} lengths;

/* The keys that rows begin .. end-1 of heads first .. last see. */
static uint64_t keys_seen(const rosace_attention_desc *desc, size_t first, size_t last, int64_t begin, int64_t end, int64_t seq_q,
                          int64_t seq_k)
{
    uint64_t count = 0;
    for (int64_t n = 0; n < seq_k; n++) {
        bool seen = false;
        for (size_t h = first; h <= last && !seen; h++) {
            rosace_mask mask = desc->mask;
            if (desc->head_window_left) mask.window_left = desc->head_window_left[h];
            for (int64_t m = begin; m < end && !seen; m++) seen = ref_visible(&mask, seq_k - seq_q, seq_k, m, n);
        }
        count += seen;
    }
    return count;
}

static uint64_t expected(const rosace_attention_plan *plan, const lengths *l)
{
    const size_t group = HEADS / KV_HEADS;
    uint64_t count = 0;
    for (size_t i = 0; i < (l->n ? l->n : 1); i++) {
        if (plan->variant->path == ROSACE_PATH_DECODE) { /* rows of a key/value head are one tile */
            for (size_t h = 0; h < KV_HEADS && l->q[i]; h++)
                count += keys_seen(&plan->desc, h * group, h * group + group - 1, 0, l->q[i], l->q[i], l->k[i]);
            continue;
        }
        const int64_t rows = ((const rsc_fused_state *)plan->state)->queries;
        for (size_t h = 0; h < HEADS; h++)
            for (int64_t m = 0; m < l->q[i]; m += rows)
                count += keys_seen(&plan->desc, h, h, m, m + rows < l->q[i] ? m + rows : l->q[i], l->q[i], l->k[i]);
    }
    return count;
}

static void count_on(const rsc_attention_variant *row, const rosace_attention_desc *given, lengths l)
{
    rosace_attention_desc desc;
    rosace_rope_desc rope;
    harness_ok(rsc_attention_check_desc(given, &desc, &rope));
    if (row->path == ROSACE_PATH_DECODE)
        for (size_t i = 0; i < MAX_SEQS; i++) l.q[i] = l.q[i] ? 1 : 0;
    rsc_attention_choice choice = {.variant = row, .count_visited = true};
    rosace_attention_plan *plan = NULL;
    harness_ok(rsc_attention_plan_make(harness_context(), &desc, &choice, &plan));
    int64_t cu_q[MAX_SEQS + 1] = {0}, cu_k[MAX_SEQS + 1] = {0};
    for (size_t i = 0; i < MAX_SEQS; i++) {
        cu_q[i + 1] = cu_q[i] + l.q[i];
        cu_k[i + 1] = cu_k[i] + l.k[i];
    }
    const size_t seq_q = (size_t)(l.n ? cu_q[l.n] : l.q[0]), seq_k = (size_t)(l.n ? cu_k[l.n] : l.k[0]);
    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    args.q = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq_q, HEADS, DIM, harness_random(seq_q * HEADS * DIM, ROSACE_F32));
    args.k = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq_k, KV_HEADS, DIM, harness_random(seq_k * KV_HEADS * DIM, ROSACE_F32));
    args.v = args.k;
    args.out = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq_q, HEADS, DIM, NULL);
    args.n_seqs = l.n;
    args.cu_seqlens_q = l.n ? cu_q : NULL;
    args.cu_seqlens_k = l.n ? cu_k : NULL;
    cl_uint visited[2] = {0, 0};
    const uint64_t wanted = expected(plan, &l);
    rosace_status status = rsc_attention_run(plan, harness_queue(), &args, NULL);
    const cl_int code = status ? CL_SUCCESS
                               : clEnqueueReadBuffer(harness_queue(), plan->visited, CL_TRUE, 0, sizeof visited, visited, 0, NULL, NULL);
    rosace_attention_plan_destroy(&plan);
    harness_ok(status);
    ck_assert_int_eq(code, CL_SUCCESS);
    const rosace_mask *m = &given->mask;
    harness_case("%s causal %d window %lld:%lld sinks %lld prefix %lld chunk %lld heads %d sequences %zu", row->name, m->causal,
                 (long long)m->window_left, (long long)m->window_right, (long long)m->sinks, (long long)m->prefix,
                 (long long)m->chunk, given->head_window_left != NULL, l.n);
    if (visited[1] != wanted || visited[0] > visited[1] || (wanted && !visited[0]))
        harness_fail_at(__FILE__, __LINE__, "%u tiles of %u keys visited, %llu keys are seen", visited[0], visited[1],
                        (unsigned long long)wanted);
}

START_TEST(only_what_is_visible)
{
    static const rosace_mask masks[] = {
        {.window_left = -1, .window_right = -1},
        {.causal = true, .window_left = -1, .window_right = -1},
        {.causal = true, .window_left = 9, .window_right = -1},
        {.window_left = 5, .window_right = 3},
        {.causal = true, .window_left = 9, .window_right = -1, .sinks = 3},
        {.causal = true, .window_left = 4, .window_right = -1, .prefix = 7},
        {.causal = true, .window_left = -1, .window_right = -1, .chunk = 16},
        {.causal = true, .window_left = -1, .window_right = -1, .chunk = 16, .chunk_back = 1},
    };
    static const int64_t windows[HEADS] = {3, 70, -1, 0};
    static const lengths one = {0, {150}, {190}}, packed = {3, {70, 0, 90}, {70, 30, 110}};
    const size_t step = harness_small() ? 4 : 1;
    const rsc_attention_variant *row;
    for (size_t r = 0; (row = rsc_attention_variant_at(r)) != NULL; r++) {
        if (row->path == ROSACE_PATH_GEMM || !strncmp(row->name, "attention_gpu_", 14)) continue;
        for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i += step) {
            rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
            desc.n_heads = HEADS;
            desc.n_kv_heads = KV_HEADS;
            desc.head_dim = DIM;
            desc.mask = masks[i];
            count_on(row, &desc, one);
            desc.varlen = true;
            count_on(row, &desc, packed);
            desc.head_window_left = windows;
            desc.varlen = false;
            count_on(row, &desc, one);
        }
    }
}
END_TEST

HARNESS_DEVICE_SUITE("visited", only_what_is_visible)
