/* SPDX-License-Identifier: MIT
 * Results over parts of the keys, merged: against the reference, and as attention over all keys. */
#include <math.h>

#include "harness.h"
#include "src/reference/reference.h"

enum { BATCH = 2, SEQ = 5, HEADS = 3, PARTS = 8 };

typedef struct merge_case {
    size_t parts, dim;
    rosace_dtype dtype;
    bool in_place, lse;
} merge_case;

static void run(const merge_case *c)
{
    harness_case("%zu parts head_dim %zu %s in place %d lse %d", c->parts, c->dim, c->dtype == ROSACE_F16 ? "f16" : "f32",
                 c->in_place, c->lse);
    const size_t count = BATCH * SEQ * HEADS * c->dim, rows = BATCH * SEQ * HEADS;
    rosace_attention_part parts[PARTS];
    rosace_tensor logs[PARTS];
    const double *outs[PARTS], *lses[PARTS];
    for (size_t i = 0; i < c->parts; i++) {
        double *out = harness_random(count, c->dtype), *lse = harness_random_range(rows, ROSACE_F32, -30.0, 30.0);
        for (size_t row = 0; row < rows; row++)
            if (row % 7 == 0 || (row + i) % 5 == 0) lse[row] = -(double)INFINITY; /* in one part, or in all of them */
        for (size_t d = 0; d < c->dim; d++) out[d] = i ? out[d] : (double)INFINITY; /* of a row without weight */
        parts[i].out = harness_tensor((int)i % HARNESS_LAYOUTS, c->dtype, BATCH, SEQ, HEADS, c->dim, out);
        logs[i] = harness_flat(ROSACE_F32, rows, lse);
        parts[i].lse = logs[i].mem;
        parts[i].lse_offset = logs[i].offset;
        outs[i] = out;
        lses[i] = lse;
    }
    rosace_attention_merge_args args = ROSACE_ATTENTION_MERGE_ARGS_DEFAULT;
    args.parts = parts;
    args.count = c->parts;
    rosace_tensor lse = harness_flat(ROSACE_F32, rows, NULL);
    args.out = harness_tensor(HARNESS_GAPS, c->dtype, BATCH, SEQ, HEADS, c->dim, NULL);
    if (c->in_place) {
        args.out = parts[1].out;
        lse = logs[1];
    }
    if (c->lse) {
        args.lse = lse.mem;
        args.lse_offset = lse.offset;
    }
    harness_ok(rosace_attention_merge(harness_context(), harness_queue(), &args, 0, NULL, NULL));
    double *out = harness_zeros(count), *expected = harness_zeros(rows);
    ref_attention_merge(c->parts, BATCH, SEQ, HEADS, c->dim, outs, lses, out, expected);
    /* Exponents of up to 60 are off by that many units, results below 1 by no more; an lse by as many units as it is large. */
    harness_check("merge", &args.out, out, (harness_tolerance){.absolute = ldexp(64.0, -24), .mostly_zero = true});
    if (c->lse) harness_check("lse", &lse, expected, (harness_tolerance){.absolute = ldexp(4.0, -24), .relative = ldexp(4.0, -24), .mostly_zero = true});
}

START_TEST(as_the_reference)
{
    static const merge_case cases[] = {
        {2, 64, ROSACE_F32, false, true}, {2, 64, ROSACE_F32, true, true}, {2, 23, ROSACE_F32, false, false},
        {3, 16, ROSACE_F16, true, true},  {8, 30, ROSACE_F16, false, true}, {3, 200, ROSACE_F16, false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) run(&cases[i]);
}
END_TEST

/* Attention over runs of keys, of which one is seen by no query of the first half, merged. */
START_TEST(as_over_all_keys)
{
    enum { SEQ_Q = 40, SEQ_K = 60, DIM = 16, N = 3 };
    static const size_t begin[N + 1] = {0, 7, 45, SEQ_K};
    rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
    desc.n_heads = HEADS;
    desc.head_dim = DIM;
    desc.mask.causal = true;
    const size_t count = SEQ_Q * HEADS * DIM, rows = SEQ_Q * HEADS;
    rosace_attention_args all = ROSACE_ATTENTION_ARGS_DEFAULT;
    double *q = harness_random(count, ROSACE_F32), *k = harness_random(SEQ_K * HEADS * DIM, ROSACE_F32);
    double *v = harness_random(SEQ_K * HEADS * DIM, ROSACE_F32);
    all.q = harness_tensor(HARNESS_GAPS, ROSACE_F32, 1, SEQ_Q, HEADS, DIM, q);
    all.k = harness_tensor(HARNESS_BHSD, ROSACE_F32, 1, SEQ_K, HEADS, DIM, k);
    all.v = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ_K, HEADS, DIM, v);
    rosace_attention_part parts[N];
    rosace_attention_merge_args merge = ROSACE_ATTENTION_MERGE_ARGS_DEFAULT;
    for (int i = 0; i < N; i++) {
        rosace_attention_args args = all;
        args.k.offset += begin[i] * (size_t)args.k.stride[1];
        args.v.offset += begin[i] * (size_t)args.v.stride[1];
        args.k.shape[1] = args.v.shape[1] = begin[i + 1] - begin[i];
        args.q_offset = SEQ_K - SEQ_Q - (int64_t)begin[i];
        args.out = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ_Q, HEADS, DIM, NULL);
        const rosace_tensor lse = harness_flat(ROSACE_F32, rows, NULL);
        args.lse = lse.mem;
        args.lse_offset = lse.offset;
        harness_ok(rosace_attention(harness_context(), harness_queue(), &desc, &args, 0, NULL, NULL));
        parts[i] = (rosace_attention_part){args.out, lse.mem, lse.offset};
    }
    merge.parts = parts;
    merge.count = N;
    merge.out = harness_tensor(HARNESS_BHSD, ROSACE_F32, 1, SEQ_Q, HEADS, DIM, NULL);
    const rosace_tensor lse = harness_flat(ROSACE_F32, rows, NULL);
    merge.lse = lse.mem;
    merge.lse_offset = lse.offset;
    harness_ok(rosace_attention_merge(harness_context(), harness_queue(), &merge, 0, NULL, NULL));
    double *out = harness_zeros(count), *expected_lse = harness_zeros(rows);
    desc.n_kv_heads = HEADS;
    const ref_attention_args reference = {.batch = 1, .seq_q = SEQ_Q, .seq_k = SEQ_K, .q_offset = SEQ_K - SEQ_Q, .q = q, .k = k,
                                          .v = v, .out = out, .lse = expected_lse};
    ref_attention(&desc, &reference);
    harness_check("merge", &merge.out, out, (harness_tolerance){.absolute = ldexp(64.0, -24)});
    harness_check("lse", &lse, expected_lse, (harness_tolerance){.absolute = ldexp(64.0, -24)});
}
END_TEST

START_TEST(errors)
{
    enum { DIM = 16 };
    const size_t count = BATCH * SEQ * HEADS * DIM, rows = BATCH * SEQ * HEADS;
    rosace_attention_part good_parts[2], parts[2];
    rosace_attention_merge_args good = ROSACE_ATTENTION_MERGE_ARGS_DEFAULT, args;
    for (int i = 0; i < 2; i++) {
        const rosace_tensor lse = harness_flat(ROSACE_F32, rows, harness_random(rows, ROSACE_F32));
        good_parts[i] = (rosace_attention_part){
            harness_tensor(HARNESS_BSHD, ROSACE_F32, BATCH, SEQ, HEADS, DIM, harness_random(count, ROSACE_F32)), lse.mem, lse.offset};
    }
    good.parts = parts;
    good.count = 2;
    good.out = harness_tensor(HARNESS_BSHD, ROSACE_F32, BATCH, SEQ, HEADS, DIM, NULL);
    const rosace_tensor lse = harness_flat(ROSACE_F32, rows, NULL);
    good.lse = lse.mem;
    good.lse_offset = lse.offset;
#define WRONG(change, text)                                                                                            \
    do {                                                                                                               \
        args = good;                                                                                                   \
        parts[0] = good_parts[0];                                                                                      \
        parts[1] = good_parts[1];                                                                                      \
        change;                                                                                                        \
        harness_case("%s", #change);                                                                                   \
        harness_refused(rosace_attention_merge(harness_context(), harness_queue(), &args, 0, NULL, event), event,      \
                        &good.out, ROSACE_INVALID_ARGUMENT, text);                                                     \
    } while (0)
    WRONG(args.struct_size = 0, "struct_size");
    WRONG(args.count = 1, "count = 1");
    WRONG(args.count = 9, "count = 9");
    WRONG(args.parts = NULL, "parts: NULL");
    WRONG(parts[1].lse = NULL, "parts[1].lse");
    WRONG(parts[1].lse_offset = 1 << 20, "parts[1].lse");
    WRONG(parts[0].out.mem = NULL, "parts[0].out");
    WRONG(parts[1].out.dtype = ROSACE_F16, "parts[1].out");
    WRONG(parts[1].out.shape[3] = 8, "parts[1].out.shape[3] = 8");
    WRONG(args.out = parts[0].out; args.out.offset += DIM; args.out.shape[0] = parts[0].out.shape[0] = parts[1].out.shape[0] = 1, "out");
    WRONG(args.lse_offset = 1 << 20, "lse");
    WRONG(args.lse = parts[1].lse; args.lse_offset = parts[1].lse_offset - 1, "lse");
    WRONG(args.lse = args.out.mem, "lse");
    WRONG(args.lse = parts[0].out.mem; args.lse_offset = 0, "lse");
    harness_expect_status(rosace_attention_merge(NULL, harness_queue(), &args, 0, NULL, NULL), ROSACE_INVALID_ARGUMENT, "context");
}
END_TEST

HARNESS_DEVICE_SUITE("attention_merge", as_the_reference, as_over_all_keys, errors)
