/* SPDX-License-Identifier: MIT
 * The reference, and what of the library needs no device, against what other implementations give (tests/golden/make.py
 * names them). */
#include <math.h>
#include <string.h>

#include "golden.h"
#include "src/reference/reference.h"

/* torch computed these in double; what remains are the nine digits they are written with. */
static const harness_tolerance nine_digits = {.absolute = 1e-12, .relative = 1e-8};

START_TEST(rope_as_in_transformers)
{
    int cases = 0;
    for (const golden_case *c = golden_read("rope.txt"); c; c = c->next) {
        harness_case("%s", c->name);
        size_t axes = (size_t)golden_number(c, "axes", 1), seq = golden_find(c, "positions")->count / axes;
        const int32_t *positions = golden_int32(c, "positions", seq * axes);
        if (strcmp(c->name, "sinusoidal") == 0) {
            size_t width = (size_t)golden_number(c, "width", 0);
            double *x = harness_zeros(seq * width);
            ref_sinusoidal_add(1, seq, width, positions, 1, x);
            /* computed in double, stored in fp32 */
            harness_check_values("sinusoidal", ROSACE_F32, seq * width, x, golden_values(c, "table", seq * width),
                                 (harness_tolerance){.absolute = 1e-9});
            continue;
        }
        rosace_rope_desc desc = golden_rope_desc(c);
        double *frequencies = harness_zeros(desc.rotary_dim / 2), factor;
        ref_rope_frequencies(&desc, frequencies, &factor);
        harness_check_values("frequencies", HARNESS_F64, desc.rotary_dim / 2, frequencies,
                             golden_values(c, "frequencies", desc.rotary_dim / 2),
                             (harness_tolerance){.relative = golden_frequency_error(c)});
        ck_assert_double_eq_tol(factor, golden_number(c, "attention_factor", 0), 1e-8);

        for (int tensor = 0; tensor < 2; tensor++) {
            size_t heads = tensor ? 1 : 2, count = seq * heads * desc.head_dim;
            double *x = golden_values(c, tensor ? "k" : "q", count), *allowed = golden_rope_error(c, seq, heads, x);
            ref_rope(&desc, 1, seq, heads, positions, x);
            harness_check_values("rope", HARNESS_F64, count, x, golden_values(c, tensor ? "k_out" : "q_out", count),
                                 (harness_tolerance){.absolute = 1e-8, .allowed = allowed});
        }
        cases++;
    }
    ck_assert_int_ge(cases, 20);
}
END_TEST

START_TEST(masks_as_in_transformers)
{
    int cases = 0;
    for (const golden_case *c = golden_read("mask.txt"); c; c = c->next, cases++) {
        size_t seq_q = (size_t)golden_number(c, "seq_q", 0), seq_k = (size_t)golden_number(c, "seq_k", 0);
        rosace_mask mask = {.causal = golden_number(c, "causal", 0) != 0,
                            .window_left = (int64_t)golden_number(c, "window_left", golden_number(c, "sliding_window", 0) - 1),
                            .window_right = (int64_t)golden_number(c, "window_right", -1),
                            .chunk = (int64_t)golden_number(c, "chunk", 0)};
        const double *visible = golden_values(c, "visible", seq_q * seq_k);
        for (size_t m = 0; m < seq_q; m++) {
            rosace_interval head, band;
            rosace_mask_row(&mask, (int64_t)(seq_k - seq_q), (int64_t)seq_k, (int64_t)m, &head, &band);
            for (int64_t n = 0; n < (int64_t)seq_k; n++) {
                bool expected = visible[m * seq_k + (size_t)n] != 0;
                bool in_row = (n >= head.begin && n < head.end) || (n >= band.begin && n < band.end);
                ck_assert_msg(ref_visible(&mask, (int64_t)(seq_k - seq_q), (int64_t)seq_k, (int64_t)m, n) == expected,
                              "reference, %s: query %zu, key %d", c->name, m, (int)n);
                ck_assert_msg(in_row == expected, "library, %s: query %zu, key %d", c->name, m, (int)n);
            }
        }
    }
    ck_assert_int_eq(cases, 30);
}
END_TEST

START_TEST(attention_as_in_torch)
{
    int cases = 0;
    for (const golden_case *c = golden_read("attention.txt"); c; c = c->next) {
        harness_case("%s", c->name);
        if (golden_find(c, "slopes"))
            continue;
        rosace_attention_desc desc = golden_attention_desc(c);
        size_t seq_q = (size_t)golden_number(c, "seq_q", 0), seq_k = (size_t)golden_number(c, "seq_k", 0);
        size_t count = seq_q * desc.n_heads * desc.head_dim, keys = seq_k * desc.n_kv_heads * desc.head_dim;
        const golden_array *params = golden_find(c, "bias_params");
        double *slopes = harness_zeros(desc.n_heads), *lse = harness_zeros(desc.n_heads * seq_q);
        for (size_t h = 0; h < desc.n_heads; h++)
            slopes[h] = ref_alibi_slope(desc.n_heads, h);
        ref_attention_args args = {.batch = 1,
                                   .seq_q = seq_q,
                                   .seq_k = seq_k,
                                   .q_offset = (int64_t)golden_number(c, "q_offset", (double)seq_k - (double)seq_q),
                                   .q = golden_values(c, "q", count),
                                   .k = golden_values(c, "k", keys),
                                   .v = golden_values(c, "v", keys),
                                   .bias_params = params ? params->values : slopes,
                                   .out = harness_zeros(count),
                                   .lse = lse};
        ref_attention(&desc, &args);
        harness_tolerance tolerance = nine_digits;
        if (desc.bias == ROSACE_BIAS_ALIBI) /* BLOOM's slopes are fp32, below 1, times distances up to 6 and values up to 4 */
            tolerance.absolute = ldexp(6 * 4, -24);
        harness_check_values("attention", HARNESS_F64, count, args.out, golden_values(c, "out", count), tolerance);
        if (golden_find(c, "lse"))
            harness_check_values("lse", HARNESS_F64, desc.n_heads * seq_q, lse,
                                 golden_values(c, "lse", desc.n_heads * seq_q), tolerance);
        cases++;
    }
    ck_assert_int_eq(cases, 19);
}
END_TEST

START_TEST(t5_buckets_as_in_transformers)
{
    int cases = 0;
    for (const golden_case *c = golden_read("t5.txt"); c; c = c->next, cases++) {
        harness_case("%s", c->name);
        const int64_t last = (int64_t)golden_number(c, "last", 0);
        const double *expected = golden_values(c, "bucket", (size_t)(2 * last + 1));
        ref_bias bias = {.kind = ROSACE_BIAS_T5,
                         .heads = 1,
                         .max_distance = (int64_t)golden_number(c, "max_distance", 0),
                         .buckets = (int64_t)golden_number(c, "buckets", 0),
                         .causal = golden_number(c, "causal", 0) != 0};
        double *numbers = harness_zeros((size_t)bias.buckets);
        for (int64_t i = 0; i < bias.buckets; i++)
            numbers[i] = (double)i;
        bias.params = numbers;
        for (int64_t d = last; d >= -last; d--)
            ck_assert_msg(ref_bias_at(&bias, 0, d) == expected[last - d], "%s: distance %d: bucket %g, not %g", c->name, (int)d,
                          ref_bias_at(&bias, 0, d), expected[last - d]);
    }
    ck_assert_int_eq(cases, 8);
}
END_TEST

START_TEST(alibi_slopes_as_in_mpt_and_bloom)
{
    int cases = 0;
    for (const golden_case *c = golden_read("attention.txt"); c; c = c->next) {
        if (!golden_find(c, "slopes"))
            continue;
        harness_case("%s", c->name);
        size_t heads = (size_t)golden_number(c, "n_heads", 0);
        double *slopes = harness_zeros(heads);
        for (size_t h = 0; h < heads; h++)
            slopes[h] = ref_alibi_slope(heads, h);
        /* both are fp32: a power and a reciprocal or a repeated product */
        harness_check_values("mpt", ROSACE_F32, heads, slopes, golden_values(c, "slopes", heads),
                             (harness_tolerance){.relative = ldexp(4, -24)});
        harness_check_values("bloom", ROSACE_F32, heads, slopes, golden_values(c, "bloom", heads),
                             (harness_tolerance){.relative = ldexp(4, -24)});
        cases++;
    }
    ck_assert_int_eq(cases, 3);
}
END_TEST

START_TEST(layers_as_in_torch)
{
    int cases = 0;
    /* Activations and the soft cap are one formula each: the suite golden_layers has them. */
    for (const golden_case *c = golden_read("layers.txt"); c; c = c->next) {
        harness_case("%s", c->name);
        size_t rows = (size_t)golden_number(c, "rows", 0), width = (size_t)golden_number(c, "width", 0);
        if (strcmp(c->name, "rmsnorm") == 0) {
            double *out = harness_zeros(rows * width);
            ref_rmsnorm(rows, width, golden_number(c, "eps", 0), golden_values(c, "x", rows * width),
                        golden_values(c, "weight", width), out);
            harness_check_values("rmsnorm", HARNESS_F64, rows * width, out, golden_values(c, "out", rows * width), nine_digits);
        } else if (strcmp(c->name, "swiglu") == 0) {
            size_t count = golden_find(c, "gate")->count;
            double *out = harness_zeros(count);
            ref_swiglu(count, golden_values(c, "gate", count), golden_values(c, "up", count), out);
            harness_check_values("swiglu", HARNESS_F64, count, out, golden_values(c, "out", count), nine_digits);
        } else if (strcmp(c->name, "cross_entropy") == 0) {
            size_t classes = (size_t)golden_number(c, "classes", 0);
            double *loss = harness_zeros(rows);
            ref_cross_entropy(rows, classes, golden_values(c, "logits", rows * classes), golden_int32(c, "targets", rows), loss);
            harness_check_values("cross_entropy", HARNESS_F64, rows, loss, golden_values(c, "loss", rows), nine_digits);
        } else if (strncmp(c->name, "layernorm", 9) == 0) {
            double *out = harness_zeros(rows * width);
            const double *bias = golden_find(c, "bias") ? golden_values(c, "bias", width) : NULL;
            ref_layernorm(rows, width, golden_number(c, "eps", 0), golden_values(c, "x", rows * width),
                          golden_values(c, "weight", width), bias, out);
            harness_check_values("layernorm", HARNESS_F64, rows * width, out, golden_values(c, "out", rows * width), nine_digits);
        } else if (strcmp(c->name, "clamped_swiglu") == 0) {
            size_t count = golden_find(c, "gate")->count;
            double *out = harness_zeros(count);
            ref_clamped_swiglu(count, golden_number(c, "alpha", 0), golden_number(c, "limit", 0), golden_values(c, "gate", count),
                               golden_values(c, "up", count), out);
            harness_check_values("clamped_swiglu", HARNESS_F64, count, out, golden_values(c, "out", count), nine_digits);
        } else if (strcmp(c->name, "matmul") == 0) {
            size_t m = (size_t)golden_number(c, "m", 0), n = (size_t)golden_number(c, "n", 0), k = (size_t)golden_number(c, "k", 0);
            double *out = golden_values(c, "c", m * n);
            ref_matmul(m, n, k, false, false, golden_number(c, "alpha", 0), golden_number(c, "beta", 0),
                       golden_values(c, "a", m * k), golden_values(c, "b", k * n), out);
            harness_check_values("matmul", HARNESS_F64, m * n, out, golden_values(c, "out", m * n),
                                 (harness_tolerance){.absolute = 1e-8, .relative = 1e-8});
        } else {
            continue;
        }
        cases++;
    }
    ck_assert_int_eq(cases, 7);
}
END_TEST

HARNESS_HOST_SUITE("golden", rope_as_in_transformers, masks_as_in_transformers, attention_as_in_torch,
                   t5_buckets_as_in_transformers, alibi_slopes_as_in_mpt_and_bloom, layers_as_in_torch)
