/* SPDX-License-Identifier: MIT
 * Attention, each variant row of both paths on each device, against the reference. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bias_params.h"
#include "harness.h"
#include "src/device.h"
#include "src/ops/attention.h"
#include "src/reference/reference.h"

typedef enum shaw_tables { SHAW_BOTH = 0, SHAW_KEY, SHAW_VALUE } shaw_tables;

typedef struct attention_case {
    rosace_attention_desc desc;
    rosace_rope_desc rope; /* used when head_dim in it is not 0 */
    size_t batch, seq_q, seq_k;
    int64_t q_offset;
    int q_layout, kv_layout, out_layout;
    int64_t first_position; /* -1: the default positions; else ids: queries from there on, keys so that the places agree */
    bool lse;
    shaw_tables shaw; /* which are given */
} attention_case;

/* The rows one after the other; NULL behind the last. Not among them is what has tests of its own: attention_gemm_clblast
 * below, attention_gpu_* in test_attention_gpu.c. */
static const rsc_attention_variant *row_at(int i)
{
    const rsc_attention_variant *row;
    for (size_t at = 0; (row = rsc_attention_variant_at(at)) != NULL; at++) {
        if (!strcmp(row->name, "attention_gemm_clblast") || !strncmp(row->name, "attention_gpu_", 14)) continue;
        if (i-- == 0) return row;
    }
    return NULL;
}

static attention_case plain(size_t heads, size_t kv_heads, size_t head_dim, size_t seq_q, size_t seq_k)
{
    attention_case c = {.desc = ROSACE_ATTENTION_DESC_DEFAULT,
                        .batch = 1,
                        .seq_q = seq_q,
                        .seq_k = seq_k,
                        .q_offset = ROSACE_ALIGN_BOTTOM_RIGHT,
                        .first_position = -1,
                        .lse = true};
    c.desc.n_heads = heads;
    c.desc.n_kv_heads = kv_heads;
    c.desc.head_dim = head_dim;
    return c;
}

static void name_case(const char *variant, const attention_case *c)
{
    const rosace_mask *m = &c->desc.mask;
    harness_case("%s %s batch %zu seq %zu:%zu offset %lld heads %zu:%zu head_dim %zu causal %d window %lld:%lld sinks %lld "
                 "prefix %lld chunk %lld back %lld %s softcap %g logn %lld rerope %lld leak %g rope %zu layouts %s %s %s positions %lld",
                 variant, c->desc.dtype == ROSACE_F16 ? "f16" : "f32", c->batch, c->seq_q, c->seq_k,
                 c->q_offset == ROSACE_ALIGN_BOTTOM_RIGHT ? -1LL : (long long)c->q_offset, c->desc.n_heads,
                 c->desc.n_kv_heads, c->desc.head_dim, m->causal, (long long)m->window_left, (long long)m->window_right,
                 (long long)m->sinks, (long long)m->prefix, (long long)m->chunk, (long long)m->chunk_back,
                 bias_name(c->desc.bias), (double)c->desc.softcap,
                 (long long)c->desc.logn_train_len, (long long)c->desc.rerope_window, c->desc.rerope_leak,
                 c->rope.head_dim, harness_layout_name(c->q_layout),
                 harness_layout_name(c->kv_layout), harness_layout_name(c->out_layout), (long long)c->first_position);
}

/* What a score may be off bounds what a weight is off, relatively, and so a result, which is a mean of values below 1. A
 * score is a sum of head_dim products below 1 (rounding errors add up like a random walk) times the scale, and a bias;
 * 16 more roundings for exponential, sums and rescaling. */
static harness_tolerance tolerance_for(const attention_case *c, double largest_scale, double bias_off)
{
    const double unit = ldexp(1.0, -24), dim = (double)c->desc.head_dim;
    double score = unit * largest_scale * dim * sqrt(dim) + bias_off;
    if (c->desc.softcap > 0.0f) score += 8.0 * unit * (double)c->desc.softcap;
    if (c->rope.head_dim) /* both operands rotated, and kept in the data type */
        score += largest_scale * sqrt(dim) * (c->desc.dtype == ROSACE_F16 ? 4.0 * ldexp(1.0, -11) : 2e-6);
    return (harness_tolerance){.absolute = 2.0 * score + 16.0 * unit, .relative = 4.0 * unit};
}

typedef struct attention_result {
    rosace_tensor out, lse;
} attention_result;

static void run(const char *variant, const attention_case *c, bool check, attention_result *result)
{
    name_case(variant, c);
    setenv("ROSACE_ATTENTION_VARIANT", variant, 1);
    rosace_attention_desc desc = c->desc;
    if (c->rope.head_dim) desc.rope = &c->rope;
    const size_t kv_heads = desc.n_kv_heads ? desc.n_kv_heads : desc.n_heads;
    const rosace_dtype dtype = desc.dtype;
    const int64_t q_offset = c->q_offset == ROSACE_ALIGN_BOTTOM_RIGHT ? (int64_t)c->seq_k - (int64_t)c->seq_q : c->q_offset;
    double *q = harness_random(c->batch * c->seq_q * desc.n_heads * desc.head_dim, dtype);
    double *k = harness_random(c->batch * c->seq_k * kv_heads * desc.head_dim, dtype);
    double *v = harness_random(c->batch * c->seq_k * kv_heads * desc.head_dim, dtype);

    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    args.q = harness_tensor(c->q_layout, dtype, c->batch, c->seq_q, desc.n_heads, desc.head_dim, q);
    args.k = harness_tensor(c->kv_layout, dtype, c->batch, c->seq_k, kv_heads, desc.head_dim, k);
    args.v = harness_tensor(c->kv_layout, dtype, c->batch, c->seq_k, kv_heads, desc.head_dim, v);
    args.out = harness_tensor(c->out_layout, dtype, c->batch, c->seq_q, desc.n_heads, desc.head_dim, NULL);
    args.q_offset = c->q_offset;
    rosace_tensor lse = {0};
    if (c->lse) {
        lse = harness_flat(ROSACE_F32, c->batch * desc.n_heads * c->seq_q, NULL);
        args.lse = lse.mem;
        args.lse_offset = lse.offset;
    }
    ref_bias bias = {desc.bias, desc.n_heads, desc.bias_max_distance, desc.bias_buckets, desc.bias_width, desc.bias_causal, NULL};
    const rosace_tensor params = bias_params(&bias);
    args.bias_params = params.mem;
    args.bias_params_offset = params.offset;
    double *shaw_key = NULL, *shaw_value = NULL;
    if (desc.bias == ROSACE_BIAS_SHAW) {
        const size_t count = (size_t)(2 * desc.bias_max_distance + 1) * desc.head_dim;
        if (c->shaw != SHAW_VALUE) {
            const rosace_tensor t = harness_flat(ROSACE_F32, count, shaw_key = harness_random(count, ROSACE_F32));
            args.shaw_key = t.mem;
            args.shaw_key_offset = t.offset;
        }
        if (c->shaw != SHAW_KEY) {
            const rosace_tensor t = harness_flat(ROSACE_F32, count, shaw_value = harness_random(count, ROSACE_F32));
            args.shaw_value = t.mem;
            args.shaw_value_offset = t.offset;
        }
    }
    int32_t *q_positions = NULL, *k_positions = NULL;
    if (c->first_position >= 0) {
        q_positions = harness_alloc(c->batch * c->seq_q, sizeof *q_positions);
        k_positions = harness_alloc(c->batch * c->seq_k, sizeof *k_positions);
        for (size_t i = 0; i < c->batch * c->seq_q; i++)
            q_positions[i] = (int32_t)(c->first_position + q_offset + (int64_t)(i % c->seq_q));
        for (size_t i = 0; i < c->batch * c->seq_k; i++)
            k_positions[i] = (int32_t)(c->first_position + (int64_t)(i % c->seq_k));
        args.use_positions = true;
        args.q_positions.ids = harness_int32(q_positions, c->batch * c->seq_q, &args.q_positions.ids_offset);
        args.q_positions.batch_stride = (ptrdiff_t)c->seq_q;
        args.k_positions.ids = harness_int32(k_positions, c->batch * c->seq_k, &args.k_positions.ids_offset);
        args.k_positions.batch_stride = (ptrdiff_t)c->seq_k;
    }
    harness_ok(rosace_attention(harness_context(), harness_queue(), &desc, &args, 0, NULL, NULL));
    unsetenv("ROSACE_ATTENTION_VARIANT");
    if (result) *result = (attention_result){args.out, lse};
    if (!check) return;

    double *out = harness_zeros(c->batch * c->seq_q * desc.n_heads * desc.head_dim);
    double *expected_lse = harness_zeros(c->batch * desc.n_heads * c->seq_q);
    rosace_rope_desc rope = c->rope;
    if (desc.rope) desc.rope = &rope;
    desc.n_kv_heads = kv_heads;
    const double scale = desc.scale > 0.0f ? (double)desc.scale : 1.0 / sqrt((double)desc.head_dim);
    if (desc.scale == 0.0f) desc.scale = (float)scale;
    const ref_attention_args reference = {.batch = c->batch, .seq_q = c->seq_q, .seq_k = c->seq_k, .q_offset = q_offset,
                                          .q = q, .k = k, .v = v, .bias_params = bias.params, .shaw_key = shaw_key,
                                          .shaw_value = shaw_value, .q_positions = q_positions,
                                          .k_positions = k_positions, .out = out, .lse = expected_lse};
    ref_attention(&desc, &reference);
    double logn = 1.0;
    if (desc.logn_train_len)
        logn = fmax(1.0, log((double)(c->seq_k + c->seq_q + 1 + (size_t)(c->first_position > 0 ? c->first_position : 0))) /
                             log((double)desc.logn_train_len));
    harness_tolerance tolerance = tolerance_for(
        c, scale * logn, bias_error(&bias, q_offset - (int64_t)c->seq_k + 1, q_offset + (int64_t)c->seq_q - 1));
    /* As many products again in a score, values of up to 2. */
    if (desc.bias == ROSACE_BIAS_SHAW) tolerance.absolute *= 4.0;
    size_t zeros = 0;
    for (size_t i = 0; i < c->batch * c->seq_q * desc.n_heads * desc.head_dim; i++) zeros += out[i] == 0.0;
    tolerance.mostly_zero = zeros > 0;
    harness_check(variant, &args.out, out, tolerance);
    tolerance.absolute *= 2.0;
    tolerance.mostly_zero = true;
    if (c->lse) harness_check("lse", &lse, expected_lse, tolerance);
}

/* Runs a case with every row and one data type, the other one at the next turn: for cases that each need programs of their
 * own, which compilers take longer for than for all the rest. */
static void on_every_row_in_turn(attention_case c, size_t turn)
{
    c.desc.dtype = turn % 2 ? ROSACE_F16 : ROSACE_F32;
    for (int r = 0; row_at(r); r++) run(row_at(r)->name, &c, true, NULL);
}

/* The same with both data types; on a simulator with fp32 alone, fp16 has its turns elsewhere. */
static void on_every_row(attention_case c)
{
    on_every_row_in_turn(c, 0);
    if (!harness_small()) on_every_row_in_turn(c, 1);
}

static size_t shorter(size_t n) { return harness_small() && n > 20 ? 17 + n % 7 : n; }

START_TEST(lengths_around_tiles)
{
    static const size_t lengths[] = {1, 2, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 127, 129, 200};
    const size_t step = harness_small() ? 4 : 1;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i += step) {
        attention_case c = plain(2, 1, 32, shorter(lengths[i]), shorter(lengths[i]));
        on_every_row(c);
        c.desc.mask.causal = true;
        on_every_row(c);
        c.desc.mask.window_left = 9;
        on_every_row(c);
    }
}
END_TEST

START_TEST(head_dims)
{
    static const size_t dims[] = {16, 24, 80, 96, 112, 256};
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i += harness_small() ? 3 : 1) {
        attention_case c = plain(2, 2, dims[i], shorter(50), shorter(70));
        c.desc.mask.causal = true;
        c.desc.mask.window_left = 20;
        c.kv_layout = HARNESS_GAPS;
        on_every_row_in_turn(c, i);
    }
}
END_TEST

START_TEST(layouts)
{
    for (int layout = 0; layout < HARNESS_LAYOUTS; layout += harness_small() ? 2 : 1) {
        attention_case c = plain(4, 2, 32, shorter(45), shorter(45));
        c.batch = 2;
        c.desc.mask.causal = true;
        c.q_layout = layout;
        c.kv_layout = (layout + 1) % HARNESS_LAYOUTS;
        c.out_layout = (layout + 2) % HARNESS_LAYOUTS;
        on_every_row(c);
    }
}
END_TEST

/* Windows of no key before the query, of more keys than there are, lengths that differ either way, rows that see nothing. */
START_TEST(masks)
{
    static const struct {
        size_t seq_q, seq_k;
        int64_t q_offset;
        rosace_mask mask;
    } cases[] = {
        {70, 70, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 0, -1, 0, 0, 0, 0}},
        {70, 70, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 1000, -1, 0, 0, 0, 0}},
        {70, 70, ROSACE_ALIGN_BOTTOM_RIGHT, {false, 0, 0, 0, 0, 0, 0}},
        {90, 90, ROSACE_ALIGN_BOTTOM_RIGHT, {false, 5, 3, 0, 0, 0, 0}},
        {90, 90, ROSACE_ALIGN_BOTTOM_RIGHT, {false, -1, 3, 0, 0, 0, 0}},
        {130, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 16, -1, 4, 0, 0, 0}},
        {130, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 30, -1, 70, 0, 0, 0}},
        {130, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, -1, -1, 0, 21, 0, 0}},
        {130, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 10, -1, 2, 37, 0, 0}},
        {130, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, -1, -1, 0, 0, 16, 1}},
        {130, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 40, -1, 3, 0, 24, 2}},
        {130, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {false, -1, -1, 0, 0, 33, 0}},
        {17, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 50, -1, 0, 0, 0, 0}},
        {1, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 100, -1, 4, 0, 0, 0}},
        {90, 41, ROSACE_ALIGN_BOTTOM_RIGHT, {true, -1, -1, 0, 0, 0, 0}},
        {90, 41, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 7, -1, 3, 0, 0, 0}},
        {40, 60, 0, {true, -1, -1, 0, 0, 0, 0}},
        {40, 60, 50, {true, 15, -1, 0, 0, 0, 0}},
        {40, 60, 200, {true, 15, -1, 0, 0, 0, 0}},
        {40, 60, 200, {true, 15, -1, 5, 0, 0, 0}},
        {90, 60, -70, {true, 15, -1, 0, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i += harness_small() ? 3 : 1) {
        attention_case c = plain(2, 2, 32, cases[i].seq_q, cases[i].seq_k);
        c.q_offset = cases[i].q_offset;
        c.desc.mask = cases[i].mask;
        on_every_row(c);
    }
}
END_TEST

START_TEST(features)
{
    attention_case c = plain(harness_small() ? 2 : 8, 1, 32, shorter(60), shorter(75));
    c.batch = harness_small() ? 1 : 2;
    c.desc.mask.causal = true;
    c.q_layout = HARNESS_GAPS;
    attention_case with = c;
    with.desc.softcap = 5.0f;
    on_every_row_in_turn(with, 0);
    with.desc.scale = 3.0f;
    with.desc.softcap = 0.5f;
    on_every_row_in_turn(with, 0);
    with = c;
    with.desc.bias = ROSACE_BIAS_ALIBI;
    on_every_row_in_turn(with, 1);
    with.desc.softcap = 2.0f;
    with.desc.mask.window_left = 30;
    on_every_row_in_turn(with, 0);
    with = c;
    with.desc.logn_train_len = 16;
    on_every_row_in_turn(with, 1);
    with.first_position = 1000;
    on_every_row_in_turn(with, 1);
    with = c;
    with.lse = false;
    on_every_row_in_turn(with, 0);
}
END_TEST

/* Every kind by every row: what is read from a table is one program for them all. */
START_TEST(biases)
{
    for (int kind = 1; kind < BIAS_KINDS; kind++) {
        attention_case c = plain(4, 2, 32, shorter(70), shorter(90));
        c.batch = harness_small() ? 1 : 2;
        c.desc.bias = bias_kinds[kind];
        c.desc.bias_buckets = 8;
        c.desc.bias_max_distance = 20;
        c.desc.bias_width = 26;
        if (!harness_small() || c.desc.bias == ROSACE_BIAS_T5) on_every_row_in_turn(c, 0);
        c.desc.mask.causal = c.desc.bias_causal = true;
        c.desc.mask.window_left = 23;
        c.desc.mask.sinks = 3;
        c.kv_layout = HARNESS_GAPS;
        on_every_row_in_turn(c, 0);
        if (harness_small()) continue;
        c.desc.mask.sinks = 0;
        c.q_offset = 60; /* not all of what is visible by the mask is there */
        on_every_row_in_turn(c, 0);
        c.q_offset = 2000; /* nothing is */
        on_every_row_in_turn(c, 0);
        c.desc.mask = (rosace_mask){.window_left = 1 << 29, .window_right = -1, .chunk = 30, .chunk_back = 1};
        c.q_offset = ROSACE_ALIGN_BOTTOM_RIGHT;
        on_every_row_in_turn(c, 0);
        c.desc.mask = (rosace_mask){.causal = true, .window_left = 10, .window_right = -1, .prefix = 40};
        on_every_row_in_turn(c, 0);
        c.desc.mask = (rosace_mask){.window_left = -1, .window_right = -1};
        c.q_offset = 1000000; /* far: exact all the same, but for a power, which is so large there that fp32 has no digits left */
        if (c.desc.bias != ROSACE_BIAS_KERPLE_POWER) on_every_row_in_turn(c, 0);
    }
    attention_case c = plain(2, 1, 32, shorter(45), shorter(45));
    c.desc.bias = ROSACE_BIAS_T5;
    c.desc.bias_buckets = 32;
    c.desc.bias_max_distance = 128;
    c.rope = (rosace_rope_desc)ROSACE_ROPE_DESC_DEFAULT; /* behind rotated copies in the workspace */
    c.rope.head_dim = 32;
    on_every_row_in_turn(c, 1);
}
END_TEST

START_TEST(rotation_on_load)
{
    attention_case c = plain(4, 2, 64, shorter(50), shorter(64));
    c.batch = 2;
    c.desc.mask.causal = true;
    c.desc.mask.window_left = 20;
    c.desc.mask.sinks = 3;
    c.rope = (rosace_rope_desc)ROSACE_ROPE_DESC_DEFAULT;
    c.rope.head_dim = 64;
    c.kv_layout = HARNESS_QKV;
    on_every_row_in_turn(c, 1);
    c.rope.interleaved = true;
    c.rope.rotary_dim = 24;
    c.first_position = 100000;
    on_every_row_in_turn(c, 0);
    c.desc.logn_train_len = 32;
    c.desc.bias = ROSACE_BIAS_ALIBI;
    c.desc.softcap = 10.0f;
    on_every_row_in_turn(c, 1);
}
END_TEST

/* Whatever comes: shapes and masks at random, with a few programs, since compilers take longer than kernels here. */
START_TEST(random_cases)
{
    static const struct {
        size_t head_dim;
        rosace_bias_kind bias;
        float softcap;
        int64_t logn_train_len;
        bool rope;
    } programs[] = {
        {64, ROSACE_BIAS_NONE, 0.0f, 0, false}, {32, ROSACE_BIAS_ALIBI, 0.0f, 0, false}, {64, ROSACE_BIAS_NONE, 0.0f, 0, true},
        {80, ROSACE_BIAS_ALIBI, 4.0f, 20, true}, {32, ROSACE_BIAS_NONE, 0.0f, 50, true},
    };
    enum { N_PROGRAMS = sizeof programs / sizeof programs[0] };
    const int count = harness_small() ? N_PROGRAMS : 8 * N_PROGRAMS;
    for (int i = 0; i < count; i++) {
        const size_t group = (size_t)1 << harness_random_integer(0, harness_small() ? 1 : 3), kv_heads = (size_t)harness_random_integer(1, 2);
        const int64_t most = harness_small() ? 40 : 200;
        attention_case c = plain(group * kv_heads, kv_heads, programs[i % N_PROGRAMS].head_dim,
                                 (size_t)harness_random_integer(1, most), (size_t)harness_random_integer(1, most));
        c.batch = (size_t)harness_random_integer(1, harness_small() ? 1 : 3);
        rosace_mask *mask = &c.desc.mask;
        mask->causal = harness_random_integer(0, 2) > 0;
        if (harness_random_integer(0, 1)) mask->window_left = harness_random_integer(0, 100);
        if (!harness_random_integer(0, 3)) mask->window_right = harness_random_integer(0, 50);
        if (!harness_random_integer(0, 2)) mask->sinks = harness_random_integer(0, 90);
        if (!harness_random_integer(0, 3)) mask->prefix = harness_random_integer(0, 90);
        if (!harness_random_integer(0, 3)) {
            mask->chunk = harness_random_integer(1, 90);
            mask->chunk_back = harness_random_integer(0, 2);
        }
        if (!harness_random_integer(0, 3)) c.q_offset = harness_random_integer(0, 100);
        c.desc.bias = programs[i % N_PROGRAMS].bias;
        c.desc.softcap = programs[i % N_PROGRAMS].softcap;
        c.desc.logn_train_len = programs[i % N_PROGRAMS].logn_train_len;
        if (programs[i % N_PROGRAMS].rope) {
            c.rope = (rosace_rope_desc)ROSACE_ROPE_DESC_DEFAULT;
            c.rope.head_dim = c.desc.head_dim;
            c.first_position = harness_random_integer(0, 1) ? 500 : -1;
        }
        c.q_layout = (int)harness_random_integer(0, HARNESS_LAYOUTS - 1);
        c.kv_layout = (int)harness_random_integer(0, HARNESS_LAYOUTS - 1);
        c.out_layout = (int)harness_random_integer(0, HARNESS_LAYOUTS - 1);
        c.lse = harness_random_integer(0, 1);
        on_every_row_in_turn(c, (size_t)(i % N_PROGRAMS));
    }
}
END_TEST

static void same_bits(const rosace_tensor *a, const rosace_tensor *b, size_t count)
{
    const double *x = harness_download(a), *y = harness_download(b);
    for (size_t i = 0; i < count; i++)
        if (memcmp(&x[i], &y[i], sizeof x[i]) != 0)
            harness_fail_at(__FILE__, __LINE__, "element %zu: %.17g, then %.17g", i, x[i], y[i]);
}

START_TEST(same_bits_twice)
{
    for (int r = 0; row_at(r); r++) {
        const char *variant = row_at(r)->name;
        attention_case c = plain(4, 2, 64, shorter(100), shorter(100));
        c.desc.mask.causal = true;
        c.desc.mask.window_left = 40;
        name_case(variant, &c);
        setenv("ROSACE_ATTENTION_VARIANT", variant, 1);
        const size_t count = c.seq_q * 4 * 64;
        double *q = harness_random(count, ROSACE_F32), *k = harness_random(count / 2, ROSACE_F32),
               *v = harness_random(count / 2, ROSACE_F32);
        rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
        args.q = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, c.seq_q, 4, 64, q);
        args.k = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, c.seq_k, 2, 64, k);
        args.v = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, c.seq_k, 2, 64, v);
        rosace_tensor out[2];
        for (int i = 0; i < 2; i++) {
            args.out = out[i] = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, c.seq_q, 4, 64, NULL);
            harness_ok(rosace_attention(harness_context(), harness_queue(), &c.desc, &args, 0, NULL, NULL));
        }
        same_bits(&out[0], &out[1], count);
        unsetenv("ROSACE_ATTENTION_VARIANT");
    }
}
END_TEST

/* All positions moved by 2^20: rotated scores depend on the distance alone. */
START_TEST(positions_shift_together)
{
    for (int r = 0; row_at(r); r++) {
        const char *variant = row_at(r)->name;
        attention_case c = plain(2, 2, 64, shorter(60), shorter(60));
        c.desc.mask.causal = true;
        c.rope = (rosace_rope_desc)ROSACE_ROPE_DESC_DEFAULT;
        c.rope.head_dim = 64;
        setenv("ROSACE_ATTENTION_VARIANT", variant, 1);
        c.desc.rope = &c.rope;
        const size_t count = c.seq_q * 2 * 64;
        double *q = harness_random(count, ROSACE_F32), *k = harness_random(count, ROSACE_F32),
               *v = harness_random(count, ROSACE_F32);
        rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
        args.q = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, c.seq_q, 2, 64, q);
        args.k = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, c.seq_k, 2, 64, k);
        args.v = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, c.seq_k, 2, 64, v);
        args.use_positions = true;
        args.out = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, c.seq_q, 2, 64, NULL);
        harness_ok(rosace_attention(harness_context(), harness_queue(), &c.desc, &args, 0, NULL, NULL));
        const double *unmoved = harness_download(&args.out);
        for (int bits = 10; bits <= 30; bits += 10) {
            harness_case("%s, positions from 2^%d", variant, bits);
            args.q_positions.offset = args.k_positions.offset = (int64_t)1 << bits;
            args.out = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, c.seq_q, 2, 64, NULL);
            harness_ok(rosace_attention(harness_context(), harness_queue(), &c.desc, &args, 0, NULL, NULL));
            harness_check("shifted", &args.out, unmoved, (harness_tolerance){.absolute = 4e-6});
        }
        unsetenv("ROSACE_ATTENTION_VARIANT");
    }
}
END_TEST

/* Clipped relative positions and ReRoPE; a row that has not got them says so when the plan is made. */
static void where_offered(attention_case c, rosace_dtype dtype)
{
    for (int r = 0; row_at(r); r++) {
        const rsc_attention_variant *row = row_at(r);
        char reason[256] = "";
        c.desc.dtype = dtype;
        rosace_attention_desc desc = c.desc;
        if (c.rope.head_dim) desc.rope = &c.rope;
        if (row->accepts(harness_device_info(), &desc, reason, sizeof reason)) {
            run(row->name, &c, true, NULL);
            continue;
        }
        rosace_attention_plan *plan = NULL;
        setenv("ROSACE_ATTENTION_VARIANT", row->name, 1);
        harness_expect_status(rosace_attention_plan_create(harness_context(), &desc, &plan), ROSACE_UNSUPPORTED, reason);
        unsetenv("ROSACE_ATTENTION_VARIANT");
    }
}

START_TEST(clipped_relative)
{
    attention_case c = plain(4, 2, 32, shorter(60), shorter(75));
    c.batch = 2;
    c.desc.bias = ROSACE_BIAS_SHAW;
    for (int64_t reach = 1; reach < (harness_small() ? 10 : 100); reach = 5 * reach + 2) {
        c.desc.bias_max_distance = reach;
        c.desc.mask = (rosace_mask)ROSACE_MASK_DEFAULT;
        where_offered(c, ROSACE_F32);
        c.desc.mask.causal = true;
        c.kv_layout = HARNESS_GAPS;
        where_offered(c, ROSACE_F32);
        c.desc.mask.window_left = 9;
        c.desc.mask.sinks = 2;
        c.out_layout = HARNESS_BHSD_GAPS;
        where_offered(c, ROSACE_F32);
    }
    c.desc.head_dim = 40; /* no multiple of the widest vectors */
    c.desc.softcap = 3.0f;
    c.desc.logn_train_len = 10;
    c.shaw = SHAW_KEY;
    where_offered(c, harness_small() ? ROSACE_F32 : ROSACE_F16);
    c.shaw = SHAW_VALUE;
    where_offered(c, harness_small() ? ROSACE_F32 : ROSACE_F16);
    c.desc.mask.chunk = 16;
    c.shaw = SHAW_BOTH;
    c.rope = (rosace_rope_desc)ROSACE_ROPE_DESC_DEFAULT;
    c.rope.head_dim = 40;
    where_offered(c, harness_small() ? ROSACE_F32 : ROSACE_F16);
}
END_TEST

/* Matrix products forced on CLBlast: fp32, with every kind of batch that this path has. */
START_TEST(products_on_clblast)
{
    if (harness_small()) harness_skip("CLBlast's kernels, with their big local tiles, take too long on a simulator");
    attention_case c = plain(4, 2, 32, 50, 60);
    c.batch = 2;
    run("attention_gemm_clblast", &c, true, NULL);
    c.desc.mask.causal = true;
    c.desc.mask.window_left = 11;
    c.desc.mask.sinks = 3;
    c.q_layout = HARNESS_GAPS;
    c.kv_layout = HARNESS_QKV;
    c.out_layout = HARNESS_BHSD_GAPS;
    run("attention_gemm_clblast", &c, true, NULL);
    c.desc.bias = ROSACE_BIAS_SHAW;
    c.desc.bias_max_distance = 5;
    run("attention_gemm_clblast", &c, true, NULL);
    attention_case rows_without_keys = plain(2, 2, 16, 90, 41);
    rows_without_keys.desc.mask.causal = true;
    run("attention_gemm_clblast", &rows_without_keys, true, NULL);
}
END_TEST

/* Workspace made for a plan's largest call serves every smaller one. */
START_TEST(workspace_never_falls)
{
    static const size_t sizes[] = {1, 2, 7, 60, 128, 239, 240, 241, 1000, 3900, 4100, 4400, 4800, 8191, 9000, 17000, 40000};
    enum { N = sizeof sizes / sizeof sizes[0] };
    for (int i = 0; i < 8; i++) {
        attention_case c = plain(6, 2, 32, 1, 1);
        c.desc.path = ROSACE_PATH_GEMM;
        c.desc.dtype = i % 2 ? ROSACE_F16 : ROSACE_F32;
        if (i > 1) {
            c.desc.bias = ROSACE_BIAS_SHAW;
            c.desc.bias_max_distance = 50;
        }
        if (i > 5) {
            c.desc.bias = i == 6 ? ROSACE_BIAS_TABLE : ROSACE_BIAS_KERPLE_LOG;
            c.desc.path = i == 6 ? ROSACE_PATH_GEMM : ROSACE_PATH_FUSED;
        }
        if (i > 3) {
            c.desc.mask.causal = true;
            c.desc.mask.window_left = 3000;
        }
        harness_case("case %d", i);
        rosace_attention_plan *plan = NULL;
        harness_ok(rosace_attention_plan_create(harness_context(), &c.desc, &plan));
        for (size_t batch = 1; batch < 6; batch += 2)
            for (int q = 0; q < N; q++)
                for (int k = 0; k < N; k++) {
                    size_t here, less;
                    harness_ok(rosace_attention_workspace_bytes(plan, batch, sizes[q], sizes[k], &here));
                    for (int axis = 0; axis < 3; axis++) {
                        harness_ok(rosace_attention_workspace_bytes(plan, axis == 0 && batch > 1 ? batch - 1 : batch,
                                                                    sizes[axis == 1 && q ? q - 1 : q],
                                                                    sizes[axis == 2 && k ? k - 1 : k], &less));
                        if (less > here)
                            harness_fail_at(__FILE__, __LINE__, "batch %zu, seq %zu:%zu: %zu bytes, with less of axis %d %zu",
                                            batch, sizes[q], sizes[k], here, axis, less);
                    }
                }
        rosace_attention_plan_destroy(&plan);
    }
}
END_TEST

START_TEST(rerope)
{
    attention_case c = plain(4, 2, 64, shorter(90), shorter(100));
    c.batch = 2;
    c.rope = (rosace_rope_desc)ROSACE_ROPE_DESC_DEFAULT;
    c.rope.head_dim = 64;
    c.desc.mask.causal = true;
    for (int64_t window = harness_small() ? 7 : 1; window < (harness_small() ? 20 : 200); window = 4 * window + 3) {
        c.desc.rerope_window = window;
        where_offered(c, ROSACE_F32);
    }
    c.desc.rerope_window = 20;
    c.desc.rerope_leak = 2.5;
    where_offered(c, ROSACE_F32);
    c.desc.mask.window_left = 35;
    c.desc.mask.sinks = 4;
    c.kv_layout = HARNESS_QKV;
    where_offered(c, ROSACE_F32);
    c.desc.rerope_leak = 0.0;
    c.first_position = 5000;
    c.desc.logn_train_len = 100;
    c.desc.bias = ROSACE_BIAS_ALIBI;
    c.rope.interleaved = true;
    where_offered(c, harness_small() ? ROSACE_F32 : ROSACE_F16);
    /* The attention factor is on both operands, whether they are turned or not. */
    c.rope.scaling.kind = ROSACE_ROPE_SCALING_YARN;
    c.rope.scaling.factor = 4.0;
    c.rope.scaling.original_max_position = 64;
    where_offered(c, harness_small() ? ROSACE_F32 : ROSACE_F16);
    c.desc.rerope_leak = 16.0;
    where_offered(c, harness_small() ? ROSACE_F32 : ROSACE_F16);
}
END_TEST

/* Tile sizes follow the device: the rows for devices that are not here run on this one when it says that it is such. The rows
 * that this device may choose from are all run by the test of tuned choices. */
START_TEST(tiles_of_other_devices)
{
    static const struct {
        const char *variant;
        size_t max_work_group_size, local_memory_bytes, head_dim;
    } devices[] = {
        {"attention_gpu", 64, 16384, 24},
        {"attention_gpu", 64, 16384, 80},
        {"attention_gpu", 64, 16384, 136},
    };
    rosace_device_info *info = (rosace_device_info *)rosace_context_device_info(harness_context());
    const rosace_device_info own = *info;
    for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i += harness_small() ? 2 : 1) {
        if (devices[i].max_work_group_size > own.max_work_group_size || devices[i].local_memory_bytes > own.local_memory_bytes)
            continue; /* for which this one cannot stand */
        attention_case c = plain(4, 2, devices[i].head_dim, shorter(70), shorter(90));
        c.batch = harness_small() ? 1 : 2;
        c.desc.mask.causal = true;
        c.desc.mask.window_left = 25;
        c.desc.mask.sinks = 2;
        c.desc.scale = 0.1f + 0.01f * (float)i; /* a plan of its own */
        c.desc.dtype = i % 2 ? ROSACE_F32 : ROSACE_F16;
        info->max_work_group_size = devices[i].max_work_group_size;
        info->local_memory_bytes = devices[i].local_memory_bytes;
        info->has_intel_subgroups = false; /* whose devices have more of both */
        run(devices[i].variant, &c, true, NULL);
        *info = own;
    }
}
END_TEST

/* Rows of more keys than one work-item can take on a device that ends its loops: right by default, refused when forced. */
START_TEST(long_rows)
{
    enum { SEQ_Q = 40, SEQ_K = 1500, DIM = 64 };
    if (harness_small()) return;
    attention_case c = plain(1, 1, DIM, SEQ_Q, SEQ_K);
    c.desc.mask.causal = true;
    run("", &c, true, NULL);
    if (!rsc_device_ends_loops(harness_device_info())) {
        run("attention_cpu", &c, true, NULL);
        return;
    }
    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    args.q = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ_Q, 1, DIM, harness_random(SEQ_Q * DIM, ROSACE_F32));
    args.k = args.v = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ_K, 1, DIM, harness_random(SEQ_K * DIM, ROSACE_F32));
    args.out = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ_Q, 1, DIM, NULL);
    setenv("ROSACE_ATTENTION_VARIANT", "attention_cpu", 1);
    harness_expect_status(rosace_attention(harness_context(), harness_queue(), &c.desc, &args, 0, NULL, NULL),
                          ROSACE_UNSUPPORTED, "ends loops after 65535");
    unsetenv("ROSACE_ATTENTION_VARIANT");
}
END_TEST

HARNESS_DEVICE_SUITE("attention", lengths_around_tiles, head_dims, layouts, masks, features, biases, rotation_on_load,
                     clipped_relative, products_on_clblast, workspace_never_falls, rerope, random_cases, same_bits_twice,
                     tiles_of_other_devices, long_rows, positions_shift_together)
