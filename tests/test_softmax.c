/* SPDX-License-Identifier: MIT
 * The masked softmax and the mask as a matrix against the reference. */
#include <math.h>
#include <string.h>

#include <rosace/attention.h>

#include "bias_params.h"
#include "harness.h"
#include "src/ops/softmax.h"
#include "src/reference/reference.h"

typedef struct softmax_case {
    size_t batch, seq_q, heads, seq_k;
    rosace_mask mask;
    int64_t q_offset;
    float scale, softcap;
    rosace_bias_kind bias;
    bool in_place;
    bool shared; /* rows shared by a group, as on a GPU, wherever this runs */
    int layout, out_layout;
    rosace_dtype dtype;
} softmax_case;

static softmax_case plain(size_t seq_q, size_t seq_k)
{
    return (softmax_case){.batch = 1, .seq_q = seq_q, .heads = 2, .seq_k = seq_k, .mask = ROSACE_MASK_DEFAULT,
                          .q_offset = ROSACE_ALIGN_BOTTOM_RIGHT, .scale = 3.0f, .in_place = true};
}

static ref_bias bias_of(rosace_bias_kind kind, size_t heads)
{
    return (ref_bias){.kind = kind, .heads = heads, .max_distance = 30, .buckets = 12, .width = 16, .causal = heads % 2};
}

static void run(const softmax_case *c)
{
    const rosace_mask *m = &c->mask;
    harness_case("%s batch %zu seq %zu:%zu heads %zu offset %lld causal %d window %lld:%lld sinks %lld prefix %lld chunk "
                 "%lld:%lld scale %g softcap %g %s%s%s layouts %s %s",
                 c->dtype == ROSACE_F16 ? "f16" : "f32", c->batch, c->seq_q, c->seq_k, c->heads, (long long)c->q_offset, m->causal,
                 (long long)m->window_left, (long long)m->window_right, (long long)m->sinks, (long long)m->prefix,
                 (long long)m->chunk, (long long)m->chunk_back, (double)c->scale, (double)c->softcap, bias_name(c->bias),
                 c->in_place ? " in place" : "", c->shared ? " shared" : "",
                 harness_layout_name(c->layout), harness_layout_name(c->out_layout));
    const size_t count = c->batch * c->seq_q * c->heads * c->seq_k;
    double *scores = harness_random(count, c->dtype), *lse = harness_zeros(c->batch * c->heads * c->seq_q);
    rosace_softmax_args args = ROSACE_SOFTMAX_ARGS_DEFAULT;
    args.scores = harness_tensor(c->layout, c->dtype, c->batch, c->seq_q, c->heads, c->seq_k, scores);
    const rosace_tensor apart = harness_tensor(c->out_layout, c->dtype, c->batch, c->seq_q, c->heads, c->seq_k, NULL);
    if (!c->in_place) args.probs = &apart;
    args.mask = c->mask;
    args.q_offset = c->q_offset;
    args.scale = c->scale;
    args.softcap = c->softcap;
    const rosace_tensor device_lse = harness_flat(ROSACE_F32, c->batch * c->heads * c->seq_q, NULL);
    args.lse = device_lse.mem;
    args.lse_offset = device_lse.offset;
    ref_bias bias = bias_of(c->bias, c->heads);
    const rosace_tensor params = bias_params(&bias);
    args.bias = c->bias;
    args.bias_max_distance = bias.max_distance;
    args.bias_buckets = bias.buckets;
    args.bias_width = bias.width;
    args.bias_causal = bias.causal;
    args.bias_params = params.mem;
    args.bias_params_offset = params.offset;
    if (c->shared)
        harness_ok(rsc_masked_softmax_as(harness_context(), harness_queue(), &args, ROSACE_DEVICE_DISCRETE, 0, NULL, NULL));
    else
        harness_ok(rosace_masked_softmax(harness_context(), harness_queue(), &args, 0, NULL, NULL));
    const int64_t q_offset = c->q_offset == ROSACE_ALIGN_BOTTOM_RIGHT ? (int64_t)c->seq_k - (int64_t)c->seq_q : c->q_offset;
    ref_masked_softmax(&c->mask, q_offset, c->batch, c->seq_q, c->heads, c->seq_k, (double)c->scale, (double)c->softcap,
                       &bias, scores, lse);
    /* A probability is off by what its score, the largest and the sum are off: a few units of the largest number on the
     * way, which is the score or the bias, and what that is off. */
    const double unit = ldexp(1.0, -24);
    const int64_t first = q_offset - (int64_t)c->seq_k + 1, last = q_offset + (int64_t)c->seq_q - 1;
    const double largest = fabs((double)c->scale) + bias_largest(&bias, first, last);
    const double relative = unit * (12.0 + 6.0 * largest + 12.0 * (double)c->softcap + sqrt((double)c->seq_k)) +
                            2.0 * bias_error(&bias, first, last);
    harness_check("masked_softmax", c->in_place ? &args.scores : &apart, scores,
                  (harness_tolerance){.absolute = unit, .relative = relative, .mostly_zero = true});
    harness_check("masked_softmax_lse", &device_lse, lse,
                  (harness_tolerance){.absolute = relative, .relative = 4.0 * unit, .mostly_zero = true});
}

static void on_both_dtypes(softmax_case c)
{
    for (int dtype = 0; dtype < 2; dtype++) {
        c.dtype = dtype ? ROSACE_F16 : ROSACE_F32;
        run(&c);
    }
}

START_TEST(lengths_around_vectors)
{
    static const size_t lengths[] = {1, 3, 15, 16, 17, 64, 100, 257, 1000};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0] - (harness_small() ? 3 : 0); i++) {
        softmax_case c = plain(5, lengths[i]);
        on_both_dtypes(c);
        c.in_place = false;
        c.mask.causal = true;
        c.layout = HARNESS_GAPS;
        on_both_dtypes(c);
        c.shared = true;
        on_both_dtypes(c);
    }
}
END_TEST

/* Longer than what is kept of a row; many results, whose zeros go past the caches; several rows to a work-item. */
START_TEST(long_rows_and_many)
{
    static const size_t shapes[][3] = {{3, 1, 8191}, {3, 1, 9001}, {2, 2, 20000}, {700, 3, 90}, {2900, 1, 2900}};
    if (harness_small()) harness_skip("rows of 8191 keys and more: too long for a simulator");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        softmax_case c = plain(shapes[i][0], shapes[i][2]);
        c.heads = shapes[i][1];
        c.in_place = i % 2;
        on_both_dtypes(c);
        c.mask.causal = true;
        c.mask.sinks = 4;
        c.mask.window_left = 2000;
        c.in_place = !c.in_place;
        on_both_dtypes(c);
    }
}
END_TEST

START_TEST(masks_and_features)
{
    const int count = harness_small() ? 12 : 150;
    for (int i = 0; i < count; i++) {
        const int64_t most = harness_small() ? 40 : 150;
        softmax_case c = plain((size_t)harness_random_integer(1, most), (size_t)harness_random_integer(1, most));
        c.batch = (size_t)harness_random_integer(1, 2);
        c.heads = (size_t)harness_random_integer(1, 3);
        c.mask.causal = harness_random_integer(0, 2) > 0;
        if (harness_random_integer(0, 1)) c.mask.window_left = harness_random_integer(0, 60);
        if (!harness_random_integer(0, 3)) c.mask.window_right = harness_random_integer(0, 30);
        if (!harness_random_integer(0, 2)) c.mask.sinks = harness_random_integer(0, 50);
        if (!harness_random_integer(0, 3)) c.mask.prefix = harness_random_integer(0, 50);
        if (!harness_random_integer(0, 3)) {
            c.mask.chunk = harness_random_integer(1, 50);
            c.mask.chunk_back = harness_random_integer(0, 2);
        }
        if (!harness_random_integer(0, 2)) c.q_offset = harness_random_integer(-60, 200);
        if (!harness_random_integer(0, 2)) c.softcap = 2.0f;
        const int64_t bias = harness_random_integer(0, 2 * BIAS_KINDS - 1);
        /* Those from a table without softcap, for fewer programs. */
        if (bias < BIAS_KINDS) c.bias = c.softcap > 0.0f ? ROSACE_BIAS_ALIBI : bias_kinds[bias];
        c.in_place = harness_random_integer(0, 1);
        c.shared = i % 3 == 0 && c.bias <= ROSACE_BIAS_ALIBI && c.softcap == 0.0f;
        c.layout = (int)harness_random_integer(0, HARNESS_LAYOUTS - 1);
        c.out_layout = (int)harness_random_integer(0, HARNESS_LAYOUTS - 1);
        on_both_dtypes(c);
    }
}
END_TEST

/* The masks' ends: inclusive window, itself always counted, queries aligned at the bottom right. */
START_TEST(matrix)
{
    const int count = harness_small() ? 8 : 60;
    for (int i = 0; i < count; i++) {
        rosace_mask mask = ROSACE_MASK_DEFAULT;
        const size_t seq_q = (size_t)harness_random_integer(1, 70), seq_k = (size_t)harness_random_integer(1, 70);
        mask.causal = harness_random_integer(0, 1);
        mask.window_left = harness_random_integer(-1, 20);
        mask.window_right = harness_random_integer(-1, 20);
        mask.sinks = harness_random_integer(0, 1) * 5;
        mask.prefix = harness_random_integer(0, 1) * 7;
        mask.chunk = harness_random_integer(0, 1) * 16;
        const rosace_dtype dtype = i % 3 ? ROSACE_F32 : ROSACE_F16;
        ref_bias bias = bias_of(!(i % 2) ? ROSACE_BIAS_NONE : dtype == ROSACE_F16 ? ROSACE_BIAS_ALIBI : bias_kinds[i / 2 % BIAS_KINDS], 3);
        harness_case("%zu:%zu causal %d window %lld:%lld sinks %lld prefix %lld chunk %lld %s", seq_q, seq_k, mask.causal,
                     (long long)mask.window_left, (long long)mask.window_right, (long long)mask.sinks, (long long)mask.prefix,
                     (long long)mask.chunk, bias_name(bias.kind));
        const rosace_tensor params = bias_params(&bias);
        const rosace_tensor out = harness_tensor((int)harness_random_integer(0, HARNESS_LAYOUTS - 1), dtype, 1, seq_q, 3, seq_k, NULL);
        double *expected = harness_zeros(seq_q * 3 * seq_k);
        if (bias.kind <= ROSACE_BIAS_ALIBI) {
            harness_ok(rosace_mask_matrix(harness_context(), harness_queue(), &mask, ROSACE_ALIGN_BOTTOM_RIGHT, bias.kind,
                                          params.mem, params.offset, &out, 0, NULL, NULL));
        } else {
            rosace_bias_matrix_args args = ROSACE_BIAS_MATRIX_ARGS_DEFAULT;
            args.out = out;
            args.mask = mask;
            args.bias = bias.kind;
            args.bias_max_distance = bias.max_distance;
            args.bias_buckets = bias.buckets;
            args.bias_width = bias.width;
            args.bias_causal = bias.causal;
            args.bias_params = params.mem;
            args.bias_params_offset = params.offset;
            harness_ok(rosace_bias_matrix(harness_context(), harness_queue(), &args, 0, NULL, NULL));
        }
        ref_mask_matrix(&mask, (int64_t)seq_k - (int64_t)seq_q, seq_q, 3, seq_k, &bias, expected);
        const double off = bias.kind > ROSACE_BIAS_ALIBI ? bias_error(&bias, -(int64_t)seq_k, (int64_t)seq_k) : 0.0;
        harness_check("mask_matrix", &out, expected,
                      (harness_tolerance){.absolute = off, .relative = 2.0 * ldexp(1.0, -24), .mostly_zero = true});
    }
}
END_TEST

/* A key that is NaN must not pass for a hidden one, least of all where it is the only one; -infinity alone does. */
START_TEST(not_a_number)
{
    for (int dtype = 0; dtype < 2; dtype++) {
        double *scores = harness_zeros(3 * 3);
        scores[0] = scores[3] = scores[4] = NAN; /* all that rows 0 and 1 see */
        scores[6] = scores[7] = scores[8] = -INFINITY;
        const rosace_dtype type = dtype ? ROSACE_F16 : ROSACE_F32;
        harness_case("%s", dtype ? "f16" : "f32");
        rosace_softmax_args args = ROSACE_SOFTMAX_ARGS_DEFAULT;
        args.scores = harness_tensor(HARNESS_BSHD, type, 1, 3, 1, 3, scores);
        args.mask.causal = true;
        const rosace_tensor lse = harness_flat(ROSACE_F32, 3, NULL);
        args.lse = lse.mem;
        args.lse_offset = lse.offset;
        harness_ok(rosace_masked_softmax(harness_context(), harness_queue(), &args, 0, NULL, NULL));
        const double *p = harness_download(&args.scores), *l = harness_download(&lse);
        ck_assert(isnan(p[0]) && p[1] == 0.0 && p[2] == 0.0 && isnan(l[0]));
        ck_assert(isnan(p[3]) && isnan(p[4]) && p[5] == 0.0 && isnan(l[1]));
        ck_assert(p[6] == 0.0 && p[7] == 0.0 && p[8] == 0.0 && isinf(l[2]) && l[2] < 0.0);
    }
}
END_TEST

START_TEST(refusals)
{
    rosace_context *context = harness_context();
    cl_command_queue queue = harness_queue();
    rosace_softmax_args good = ROSACE_SOFTMAX_ARGS_DEFAULT;
    good.scores = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, 4, 2, 5, harness_random(40, ROSACE_F32));
    const rosace_tensor out = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, 4, 2, 5, NULL);
    const rosace_tensor few = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, 4, 2, 4, NULL);
    good.probs = &out;
#define REFUSED(change, text)                                                                                          \
    do {                                                                                                               \
        rosace_softmax_args args = good;                                                                               \
        change;                                                                                                        \
        harness_case("%s", #change);                                                                                   \
        harness_refused(rosace_masked_softmax(context, queue, &args, 0, NULL, event), event, &out, ROSACE_INVALID_ARGUMENT, text); \
    } while (0)
    harness_refused(rosace_masked_softmax(NULL, queue, &good, 0, NULL, event), event, &out, ROSACE_INVALID_ARGUMENT, "context");
    harness_refused(rosace_masked_softmax(context, NULL, &good, 0, NULL, event), event, &out, ROSACE_INVALID_ARGUMENT, "queue");
    harness_refused(rosace_masked_softmax(context, queue, NULL, 0, NULL, event), event, &out, ROSACE_INVALID_ARGUMENT, "args");
    REFUSED(args.struct_size = 0, "struct_size");
    REFUSED(args.scores.mem = NULL, "scores");
    REFUSED(args.scores.dtype = (rosace_dtype)5, "dtype");
    REFUSED(args.scores.stride[3] = 2, "scores");
    REFUSED(args.scores.shape[3] = 0, "scores");
    REFUSED(args.scores.shape[1] = 400, "scores");
    REFUSED(args.probs = &few, "probs.shape[3]");
    REFUSED(args.mask.window_left = -2, "window_left");
    REFUSED(args.mask.sinks = -1, "sinks");
    REFUSED(args.mask.chunk_back = 1, "chunk_back");
    REFUSED(args.q_offset = (int64_t)1 << 40, "q_offset");
    REFUSED(args.scale = NAN, "scale");
    REFUSED(args.softcap = -1.0f, "softcap");
    REFUSED(args.bias = ROSACE_BIAS_SHAW, "bias");
    REFUSED(args.bias = ROSACE_BIAS_ALIBI, "bias_params");
    REFUSED(args.bias = ROSACE_BIAS_ALIBI; args.bias_params = out.mem, "bias_params");
    REFUSED(args.bias = (rosace_bias_kind)40, "bias = 40");
    REFUSED(args.bias = ROSACE_BIAS_T5, "bias_buckets = 0");
    REFUSED(args.bias = ROSACE_BIAS_KERPLE_LOG, "ROSACE_BIAS_KERPLE_LOG needs 4 floats");
    REFUSED(args.lse = out.mem; args.lse_offset = SIZE_MAX / 8, "lse");
    REFUSED(args.lse = out.mem, "lse");
    REFUSED(rosace_tensor shifted = out; shifted.mem = args.scores.mem; shifted.offset = args.scores.offset + 1;
            args.probs = &shifted, "probs");

    const rosace_mask mask = ROSACE_MASK_DEFAULT;
    rosace_mask bad = mask;
    bad.prefix = -3;
    rosace_tensor batch = out;
    batch.shape[0] = 2;
    batch.shape[1] = 2;
#define MATRIX(...) harness_refused(rosace_mask_matrix(__VA_ARGS__, 0, NULL, event), event, &out, ROSACE_INVALID_ARGUMENT,
    MATRIX(NULL, queue, &mask, 0, ROSACE_BIAS_NONE, NULL, 0, &out) "context");
    MATRIX(context, NULL, &mask, 0, ROSACE_BIAS_NONE, NULL, 0, &out) "queue");
    MATRIX(context, queue, NULL, 0, ROSACE_BIAS_NONE, NULL, 0, &out) "mask");
    MATRIX(context, queue, &bad, 0, ROSACE_BIAS_NONE, NULL, 0, &out) "prefix");
    MATRIX(context, queue, &mask, INT64_MAX, ROSACE_BIAS_NONE, NULL, 0, &out) "q_offset");
    MATRIX(context, queue, &mask, 0, ROSACE_BIAS_ALIBI, NULL, 0, &out) "bias_params");
    MATRIX(context, queue, &mask, 0, ROSACE_BIAS_SHAW, NULL, 0, &out) "bias");
    MATRIX(context, queue, &mask, 0, ROSACE_BIAS_T5, NULL, 0, &out) "bias");
    MATRIX(context, queue, &mask, 0, ROSACE_BIAS_NONE, NULL, 0, NULL) "out");
    MATRIX(context, queue, &mask, 0, ROSACE_BIAS_NONE, NULL, 0, &batch) "out");
    rosace_bias_matrix_args whole = ROSACE_BIAS_MATRIX_ARGS_DEFAULT;
    whole.out = out;
    harness_refused(rosace_bias_matrix(context, queue, NULL, 0, NULL, event), event, &out, ROSACE_INVALID_ARGUMENT, "args");
    harness_refused(rosace_bias_matrix(NULL, queue, &whole, 0, NULL, event), event, &out, ROSACE_INVALID_ARGUMENT, "context");
    whole.bias = ROSACE_BIAS_SANDWICH;
    harness_refused(rosace_bias_matrix(context, queue, &whole, 0, NULL, event), event, &out, ROSACE_INVALID_ARGUMENT, "bias_width = 0");
    whole.bias_width = 8;
    harness_refused(rosace_bias_matrix(context, queue, &whole, 0, NULL, event), event, &out, ROSACE_INVALID_ARGUMENT, "bias_params");
    whole.struct_size = 4;
    harness_refused(rosace_bias_matrix(context, queue, &whole, 0, NULL, event), event, &out, ROSACE_INVALID_ARGUMENT, "struct_size");
}
END_TEST

HARNESS_DEVICE_SUITE("softmax", lengths_around_vectors, long_rows_and_many, masks_and_features, matrix, not_a_number, refusals)
