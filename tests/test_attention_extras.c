/* SPDX-License-Identifier: MIT
 * What a call of attention may bring beside tensors and a bias by distance, by every row of every path, against the reference. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "src/ops/attention.h"
#include "src/ops/softmax.h"
#include "src/reference/reference.h"

typedef struct extras_case {
    rosace_attention_desc desc;
    size_t batch, seq_q, seq_k;
    int64_t q_offset;
} extras_case;

/* The rows that have it all, one after the other; NULL behind the last. */
static const rsc_attention_variant *row_at(int i)
{
    const rsc_attention_variant *row;
    for (size_t at = 0; (row = rsc_attention_variant_at(at)) != NULL; at++) {
        if (!strcmp(row->name, "attention_gemm_clblast") || !strncmp(row->name, "attention_gpu_", 14)) continue;
        if (i-- == 0) return row;
    }
    return NULL;
}

static extras_case plain(size_t heads, size_t kv_heads, size_t head_dim, size_t seq_q, size_t seq_k)
{
    extras_case c = {.desc = ROSACE_ATTENTION_DESC_DEFAULT, .batch = 1, .seq_q = seq_q, .seq_k = seq_k,
                     .q_offset = ROSACE_ALIGN_BOTTOM_RIGHT};
    c.desc.n_heads = heads;
    c.desc.n_kv_heads = kv_heads;
    c.desc.head_dim = head_dim;
    return c;
}

/* A result is a mean of values below 1: it is off, relatively, by what a score is, a sum of head_dim products below 1 and what is
 * added to it, and by 16 roundings more. */
static harness_tolerance tolerance_for(const extras_case *c)
{
    const double unit = ldexp(1.0, -24), dim = (double)c->desc.head_dim;
    double score = unit * dim;
    if (c->desc.softcap > 0.0f) score += 8.0 * unit * (double)c->desc.softcap;
    if (c->desc.sink_logits) score += 8.0 * unit;
    return (harness_tolerance){.absolute = 2.0 * score + 16.0 * unit, .relative = 4.0 * unit, .mostly_zero = true};
}

/* Logits from far below any score to far above, one head in five without. */
static double *random_sinks(size_t heads)
{
    double *sinks = harness_random_range(heads, ROSACE_F32, -4.0, 6.0);
    for (size_t h = 3; h < heads; h += 5) sinks[h] = -(double)INFINITY;
    return sinks;
}

static void run(const char *variant, const extras_case *c)
{
    const rosace_attention_desc *desc = &c->desc;
    const rosace_dtype dtype = desc->dtype;
    const size_t heads = desc->n_heads, kv_heads = desc->n_kv_heads, dim = desc->head_dim;
    harness_case("%s %s batch %zu seq %zu:%zu heads %zu:%zu head_dim %zu sink_logits %d softcap %g window %lld", variant,
                 dtype == ROSACE_F16 ? "f16" : "f32", c->batch, c->seq_q, c->seq_k, heads, kv_heads, dim, desc->sink_logits,
                 (double)desc->softcap, (long long)desc->mask.window_left);
    const size_t out_count = c->batch * c->seq_q * heads * dim, lse_count = c->batch * heads * c->seq_q;
    double *q = harness_random(c->batch * c->seq_q * heads * dim, dtype);
    double *k = harness_random(c->batch * c->seq_k * kv_heads * dim, dtype);
    double *v = harness_random(c->batch * c->seq_k * kv_heads * dim, dtype);
    double *sinks = desc->sink_logits ? random_sinks(heads) : NULL;

    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    args.q = harness_tensor(HARNESS_GAPS, dtype, c->batch, c->seq_q, heads, dim, q);
    args.k = harness_tensor(HARNESS_BSHD, dtype, c->batch, c->seq_k, kv_heads, dim, k);
    args.v = harness_tensor(HARNESS_BHSD, dtype, c->batch, c->seq_k, kv_heads, dim, v);
    args.out = harness_tensor(HARNESS_GAPS, dtype, c->batch, c->seq_q, heads, dim, NULL);
    args.q_offset = c->q_offset;
    const rosace_tensor lse = harness_flat(ROSACE_F32, lse_count, NULL);
    args.lse = lse.mem;
    args.lse_offset = lse.offset;
    if (sinks) {
        const rosace_tensor t = harness_flat(ROSACE_F32, heads, sinks);
        args.sink_logits = t.mem;
        args.sink_logits_offset = t.offset;
    }
    setenv("ROSACE_ATTENTION_VARIANT", variant, 1);
    harness_ok(rosace_attention(harness_context(), harness_queue(), desc, &args, 0, NULL, NULL));
    unsetenv("ROSACE_ATTENTION_VARIANT");

    double *out = harness_zeros(out_count), *expected_lse = harness_zeros(lse_count);
    const ref_attention_args reference = {
        .batch = c->batch, .seq_q = c->seq_q, .seq_k = c->seq_k,
        .q_offset = c->q_offset == ROSACE_ALIGN_BOTTOM_RIGHT ? (int64_t)c->seq_k - (int64_t)c->seq_q : c->q_offset,
        .q = q, .k = k, .v = v, .sink_logits = sinks, .out = out, .lse = expected_lse};
    ref_attention(desc, &reference);
    const harness_tolerance tolerance = tolerance_for(c);
    harness_check(variant, &args.out, out, tolerance);
    harness_check("lse", &lse, expected_lse, tolerance);
}

static void on_every_row(extras_case c)
{
    for (int r = 0; row_at(r); r++) run(row_at(r)->name, &c);
}

static size_t shorter(size_t n) { return harness_small() && n > 20 ? 17 + n % 7 : n; }

/* Rows that see all, some and no keys; more rows than a tile; heads with a sink and without. */
START_TEST(sinks_that_were_learned)
{
    extras_case c = plain(harness_small() ? 4 : 12, 4, 16, shorter(70), shorter(90));
    c.batch = 2;
    c.desc.sink_logits = true;
    c.desc.softcap = 1.5f;
    c.desc.mask.causal = true;
    on_every_row(c);
    c.q_offset = (int64_t)c.seq_k - 3; /* the last rows see nothing */
    c.desc.mask.window_left = 4;
    on_every_row(c);
}
END_TEST

/* A sink is there once however many work-items share the keys, and is not capped. */
START_TEST(sinks_with_keys_divided)
{
    extras_case c = plain(4, 2, 16, 2, harness_small() ? 600 : 3000);
    c.desc.sink_logits = true;
    c.desc.softcap = 1.5f;
    for (int r = 0; row_at(r); r++)
        if (row_at(r)->path == ROSACE_PATH_DECODE) run(row_at(r)->name, &c);
}
END_TEST

START_TEST(sinks_in_the_softmax)
{
    enum { BATCH = 2, SEQ_Q = 9, HEADS = 4 };
    static const rosace_device_class classes[] = {ROSACE_DEVICE_CPU, ROSACE_DEVICE_DISCRETE};
    for (int i = 0; i < 4; i++) {
        const size_t seq_k = i < 2 ? 21 : harness_small() ? 70 : 9000; /* longer than what is kept between passes */
        double *scores = harness_random_range(BATCH * SEQ_Q * HEADS * seq_k, ROSACE_F32, -2.0, 2.0), *sinks = random_sinks(HEADS);
        rosace_softmax_args args = ROSACE_SOFTMAX_ARGS_DEFAULT;
        args.scores = harness_tensor(HARNESS_GAPS, ROSACE_F32, BATCH, SEQ_Q, HEADS, seq_k, scores);
        args.mask.causal = true;
        args.q_offset = -4; /* the first rows see nothing */
        const rosace_tensor t = harness_flat(ROSACE_F32, HEADS, sinks), lse = harness_flat(ROSACE_F32, BATCH * HEADS * SEQ_Q, NULL);
        args.sink_logits = t.mem;
        args.sink_logits_offset = t.offset;
        args.lse = lse.mem;
        args.lse_offset = lse.offset;
        if (i >= 2) args.q_offset = (int64_t)seq_k - SEQ_Q;
        const rosace_device_class class = classes[i % 2];
        harness_case("device class %d, %zu keys", (int)class, seq_k);
        harness_ok(rsc_masked_softmax_as(harness_context(), harness_queue(), &args, class, 0, NULL, NULL));
        double *expected_lse = harness_zeros(BATCH * HEADS * SEQ_Q);
        ref_masked_softmax(&args.mask, args.q_offset, BATCH, SEQ_Q, HEADS, seq_k, 1.0, 0.0, NULL, scores, expected_lse);
        for (size_t b = 0; b < BATCH; b++)
            for (size_t h = 0; h < HEADS; h++)
                for (size_t m = 0; m < SEQ_Q; m++)
                    ref_sink(sinks[h], seq_k, scores + ((b * SEQ_Q + m) * HEADS + h) * seq_k,
                             &expected_lse[(b * HEADS + h) * SEQ_Q + m]);
        harness_check("softmax", &args.scores, scores, (harness_tolerance){.absolute = 1e-7, .relative = 2e-6, .mostly_zero = true});
        harness_check("lse", &lse, expected_lse, (harness_tolerance){.absolute = 2e-6, .relative = 1e-6, .mostly_zero = true});
    }
}
END_TEST

/* What is wrong with a call is named, and nothing is enqueued. */
START_TEST(errors)
{
    enum { SEQ = 5, HEADS = 3, DIM = 16 };
    rosace_context *context = harness_context();
    cl_command_queue queue = harness_queue();
    rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
    desc.n_heads = HEADS;
    desc.head_dim = DIM;
    const size_t count = SEQ * HEADS * DIM;
    rosace_attention_args good = ROSACE_ATTENTION_ARGS_DEFAULT;
    good.q = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ, HEADS, DIM, harness_random(count, ROSACE_F32));
    good.k = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ, HEADS, DIM, harness_random(count, ROSACE_F32));
    good.v = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ, HEADS, DIM, harness_random(count, ROSACE_F32));
    good.out = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ, HEADS, DIM, NULL);
    const rosace_tensor sinks = harness_flat(ROSACE_F32, HEADS, harness_random(HEADS, ROSACE_F32));
    rosace_attention_args args;
#define WRONG(change, text)                                                                                            \
    do {                                                                                                               \
        args = good;                                                                                                   \
        change;                                                                                                        \
        harness_case("%s", #change);                                                                                   \
        harness_refused(rosace_attention(context, queue, &desc, &args, 0, NULL, event), event, &good.out,              \
                        ROSACE_INVALID_ARGUMENT, text);                                                                \
    } while (0)
    WRONG(args.sink_logits = sinks.mem, "sink_logits: not NULL");
    desc.sink_logits = true;
    WRONG((void)0, "sink_logits: NULL");
    WRONG(args.sink_logits = sinks.mem; args.sink_logits_offset = 1 << 20, "sink_logits");
    WRONG(args.sink_logits = good.out.mem, "sink_logits");
    rosace_softmax_args softmax = ROSACE_SOFTMAX_ARGS_DEFAULT;
    softmax.scores = good.out;
    softmax.sink_logits = sinks.mem;
    softmax.sink_logits_offset = 1 << 20;
    harness_refused(rosace_masked_softmax(context, queue, &softmax, 0, NULL, event), event, NULL, ROSACE_INVALID_ARGUMENT,
                    "sink_logits");
}
END_TEST

HARNESS_DEVICE_SUITE("attention_extras", sinks_that_were_learned, sinks_with_keys_divided, sinks_in_the_softmax, errors)
