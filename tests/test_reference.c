/* SPDX-License-Identifier: MIT
 * The reference against what is known without computing: identities, limits and symmetries of each definition. What other
 * implementations give is compared in test_golden.c. */
#include <math.h>
#include <string.h>

#include "harness.h"
#include "src/reference/reference.h"

/* Double arithmetic on sums of at most some hundred terms of size 1. */
static const harness_tolerance exact = {.absolute = 1e-12};

static const rosace_rope_desc rope_default = ROSACE_ROPE_DESC_DEFAULT;

static double dot(size_t count, const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/* One vector turned to one position. */
static double *turned(const rosace_rope_desc *desc, int32_t position, const double *x)
{
    double *copy = harness_copy(x, desc->head_dim);
    ref_rope(desc, 1, 1, 1, &position, copy);
    return copy;
}

static rosace_rope_desc rope_of(size_t head_dim, size_t rotary_dim, bool interleaved)
{
    rosace_rope_desc desc = rope_default;
    desc.head_dim = head_dim;
    desc.rotary_dim = rotary_dim;
    desc.interleaved = interleaved;
    return desc;
}

/* ---- Rotation ---------------------------------------------------------------------------------------------------- */

START_TEST(one_pair_turns_by_its_position)
{
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        rosace_rope_desc desc = rope_of(2, 0, interleaved);
        double *x = turned(&desc, 3, (double[]){1, 0});
        harness_check_values("one pair", HARNESS_F64, 2, x, ((double[]){cos(3), sin(3)}), exact);
        x = turned(&desc, 3, (double[]){0, 1});
        harness_check_values("one pair", HARNESS_F64, 2, x, ((double[]){-sin(3), cos(3)}), exact);
    }
}
END_TEST

START_TEST(rotation_keeps_the_norm_and_what_lies_beyond_rotary_dim)
{
    for (int variant = 0; variant < 4; variant++) {
        rosace_rope_desc desc = rope_of(64, variant & 1 ? 24 : 0, variant & 2);
        double *x = harness_random(64, ROSACE_F32), *y = turned(&desc, 123457, x);
        ck_assert_double_eq_tol(dot(64, y, y), dot(64, x, x), 1e-12);
        if (variant & 1)
            ck_assert_mem_eq(x + 24, y + 24, 40 * sizeof *x);
        ck_assert_double_gt(fabs(x[0] - y[0]), 1e-3);
    }
}
END_TEST

START_TEST(scores_depend_on_the_distance_alone)
{
    rosace_rope_desc desc = rope_of(128, 0, false);
    double *q = harness_random(128, ROSACE_F32), *k = harness_random(128, ROSACE_F32);
    double here = dot(128, turned(&desc, 37, q), turned(&desc, 5, k));
    for (int bit = 0; bit <= 30; bit++) {
        int32_t shift = (int32_t)1 << bit;
        /* Angles up to 2^31 in long double are off by 2^-33 at most; 64 pairs of products below 2. */
        double there = dot(128, turned(&desc, 37 + shift, q), turned(&desc, 5 + shift, k));
        ck_assert_double_eq_tol(here, there, bit <= 20 ? 1e-11 : 1e-7);
    }
}
END_TEST

START_TEST(inverse_undoes_forward)
{
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        rosace_rope_desc desc = rope_of(48, 32, interleaved), back = desc;
        back.inverse = true;
        const double *x = harness_random(48, ROSACE_F32);
        harness_check_values("inverse", HARNESS_F64, 48, turned(&back, 99991, turned(&desc, 99991, x)), x, exact);
        harness_check_values("inverse", HARNESS_F64, 48, turned(&desc, -99991, turned(&desc, 99991, x)), x, exact);
    }
}
END_TEST

START_TEST(interleaved_is_half_split_permuted)
{
    rosace_rope_desc split = rope_of(64, 0, false), neighbours = rope_of(64, 0, true);
    const double *x = harness_random(64, ROSACE_F32);
    double *permuted = harness_zeros(64), *expected = harness_zeros(64);
    for (int i = 0; i < 32; i++) {
        permuted[2 * i] = x[i];
        permuted[2 * i + 1] = x[i + 32];
    }
    const double *y = turned(&split, 777, x);
    for (int i = 0; i < 32; i++) {
        expected[2 * i] = y[i];
        expected[2 * i + 1] = y[i + 32];
    }
    harness_check_values("permuted", HARNESS_F64, 64, turned(&neighbours, 777, permuted), expected, exact);
}
END_TEST

/* ---- Scalings ---------------------------------------------------------------------------------------------------- */

enum { DIM = 64, PAIRS = DIM / 2 };

static double *frequencies(rosace_rope_scaling scaling, double *factor)
{
    rosace_rope_desc desc = rope_of(DIM, 0, false);
    desc.scaling = scaling;
    double *f = harness_zeros(PAIRS), c;
    ref_rope_frequencies(&desc, f, &c);
    if (factor)
        *factor = c;
    return f;
}

static rosace_rope_scaling scaling_of(rosace_rope_scaling_kind kind, double factor)
{
    rosace_rope_scaling scaling = rope_default.scaling;
    scaling.kind = kind;
    scaling.factor = factor;
    scaling.original_max_position = 4096;
    return scaling;
}

START_TEST(frequencies_fall_from_one_geometrically)
{
    double c, *f = frequencies(rope_default.scaling, &c);
    ck_assert_double_eq(c, 1);
    ck_assert_double_eq(f[0], 1);
    for (int i = 1; i < PAIRS; i++)
        ck_assert_double_eq_tol(f[i] / f[i - 1], pow(10000, -2.0 / DIM), 1e-15);
}
END_TEST

START_TEST(ntk_keeps_the_first_and_interpolates_the_last)
{
    double *plain = frequencies(rope_default.scaling, NULL);
    double *f = frequencies(scaling_of(ROSACE_ROPE_SCALING_NTK, 8), NULL);
    ck_assert_double_eq(f[0], 1);
    ck_assert_double_eq_tol(f[PAIRS - 1] * 8, plain[PAIRS - 1], 1e-16);

    /* dynamic: nothing up to L, then NTK by factor*len/L - (factor - 1) = 2*3 - 1 */
    rosace_rope_scaling dynamic = scaling_of(ROSACE_ROPE_SCALING_DYNAMIC, 2);
    dynamic.seq_len = 4096;
    harness_check_values("dynamic", HARNESS_F64, PAIRS, frequencies(dynamic, NULL), plain, exact);
    dynamic.seq_len = 3 * 4096;
    harness_check_values("dynamic", HARNESS_F64, PAIRS, frequencies(dynamic, NULL),
                         frequencies(scaling_of(ROSACE_ROPE_SCALING_NTK, 5), NULL), exact);
}
END_TEST

START_TEST(yarn_and_llama3_run_from_kept_to_interpolated)
{
    const rosace_rope_scaling_kind kinds[] = {ROSACE_ROPE_SCALING_YARN, ROSACE_ROPE_SCALING_LLAMA3};
    double *plain = frequencies(rope_default.scaling, NULL);
    for (int kind = 0; kind < 2; kind++) {
        double c, *f = frequencies(scaling_of(kinds[kind], 16), &c);
        ck_assert_double_eq_tol(c, kind == 0 ? 0.1 * log(16) + 1 : 1, 1e-15);
        ck_assert_double_eq_tol(f[0], plain[0], 1e-15);
        ck_assert_double_eq_tol(f[PAIRS - 1] * 16, plain[PAIRS - 1], 1e-15);
        int between = 0;
        for (int i = 1; i < PAIRS; i++) {
            double kept = f[i] / plain[i];
            ck_assert(kept <= f[i - 1] / plain[i - 1] + 1e-15);
            between += kept < 0.999 && kept > 1.001 / 16;
        }
        ck_assert_int_gt(between, 2);
    }
}
END_TEST

START_TEST(a_factor_of_one_changes_nothing)
{
    double *plain = frequencies(rope_default.scaling, NULL);
    for (int kind = ROSACE_ROPE_SCALING_LINEAR; kind <= ROSACE_ROPE_SCALING_LLAMA3; kind++) {
        rosace_rope_scaling scaling = scaling_of(kind, 1);
        scaling.seq_len = 100000;
        double c, *f = frequencies(scaling, &c);
        if (kind != ROSACE_ROPE_SCALING_DYNAMIC) /* factor 1 there still grows with seq_len / L */
            harness_check_values("factor 1", HARNESS_F64, PAIRS, f, plain, exact);
        ck_assert_double_eq(c, 1);
    }
}
END_TEST

START_TEST(sinusoidal_table)
{
    double *x = harness_zeros(6);
    ref_sinusoidal_add(1, 1, 6, (int32_t[]){5}, 2, x);
    for (int t = 0; t < 3; t++) {
        double angle = 5 / pow(10000, 2.0 * t / 6);
        ck_assert_double_eq_tol(x[2 * t], 2 * sin(angle), 1e-14);
        ck_assert_double_eq_tol(x[2 * t + 1], 2 * cos(angle), 1e-14);
    }
}
END_TEST

/* ---- Mask -------------------------------------------------------------------------------------------------------- */

/* mask.h word for word: bounds first, then three comparisons. The reference asks each limit about the pair instead. */
static bool visible_by_bounds(const rosace_mask *mask, int64_t off, int64_t seq_k, int64_t m, int64_t n)
{
    int64_t i = m + off, upper = seq_k - 1, lower = 0;
    int64_t own = (int64_t)floor((double)i / (double)(mask->chunk ? mask->chunk : 1));
#define LESSEN(bound) upper = (bound) < upper ? (bound) : upper
#define RAISE(bound) lower = (bound) > lower ? (bound) : lower
    if (mask->causal) LESSEN(i);
    if (mask->window_right >= 0) LESSEN(i + mask->window_right);
    if (mask->window_left >= 0) RAISE(i - mask->window_left);
    if (mask->chunk) {
        LESSEN((own + 1) * mask->chunk - 1);
        RAISE((own - mask->chunk_back) * mask->chunk);
    }
#undef LESSEN
#undef RAISE
    return n >= 0 && n < seq_k && ((n <= upper && (n >= lower || n < mask->sinks)) || n < mask->prefix);
}

START_TEST(visible_is_what_the_header_says)
{
    int64_t seen = 0, all = 0;
    for (int trial = 0; trial < 20000; trial++) {
        rosace_mask mask = {.causal = harness_random_integer(0, 1),
                            .window_left = harness_random_integer(-1, 6),
                            .window_right = harness_random_integer(-1, 6),
                            .sinks = harness_random_integer(0, 1) * harness_random_integer(0, 4),
                            .prefix = harness_random_integer(0, 1) * harness_random_integer(0, 6),
                            .chunk = harness_random_integer(0, 1) * harness_random_integer(0, 5)};
        mask.chunk_back = mask.chunk ? harness_random_integer(0, 2) : 0;
        int64_t seq_q = harness_random_integer(1, 12), seq_k = harness_random_integer(1, 12);
        int64_t off = harness_random_integer(0, 1) ? seq_k - seq_q : harness_random_integer(-8, 8);
        for (int64_t m = 0; m < seq_q; m++)
            for (int64_t n = -1; n <= seq_k; n++) {
                bool expected = visible_by_bounds(&mask, off, seq_k, m, n);
                ck_assert_int_eq(ref_visible(&mask, off, seq_k, m, n), expected);
                seen += expected;
                all++;
            }
    }
    ck_assert(seen > all / 10 && seen < all * 9 / 10);
}
END_TEST

/* Rows of '1' visible and '.' hidden. */
static void expect_mask(const rosace_mask *mask, int64_t seq_q, int64_t seq_k, const char *const *rows)
{
    for (int64_t m = 0; m < seq_q; m++)
        for (int64_t n = 0; n < seq_k; n++)
            ck_assert_msg(ref_visible(mask, seq_k - seq_q, seq_k, m, n) == (rows[m][n] == '1'), "query %d, key %d", (int)m, (int)n);
}

START_TEST(masks_drawn_by_hand)
{
    /* A window of two keys before the query, both ends inclusive: transformers' sliding_window = 3. */
    expect_mask(&(rosace_mask){.causal = true, .window_left = 2, .window_right = -1}, 5, 5,
                (const char *const[]){"1....", "11...", "111..", ".111.", "..111"});
    expect_mask(&(rosace_mask){.window_left = 1, .window_right = 1}, 4, 4,
                (const char *const[]){"11..", "111.", ".111", "..11"});
    /* Bottom-right alignment, more keys than queries and fewer. */
    expect_mask(&(rosace_mask){.causal = true, .window_left = -1, .window_right = -1}, 2, 4,
                (const char *const[]){"111.", "1111"});
    expect_mask(&(rosace_mask){.causal = true, .window_left = -1, .window_right = -1}, 4, 2,
                (const char *const[]){"..", "..", "1.", "11"});
    expect_mask(&(rosace_mask){.causal = true, .window_left = 1, .window_right = -1, .sinks = 1}, 5, 5,
                (const char *const[]){"1....", "11...", "111..", "1.11.", "1..11"});
    expect_mask(&(rosace_mask){.causal = true, .window_left = 0, .window_right = -1, .prefix = 2}, 4, 4,
                (const char *const[]){"11..", "11..", "111.", "11.1"});
    /* Llama 4's chunks, and blockwise causal attention. */
    expect_mask(&(rosace_mask){.causal = true, .window_left = -1, .window_right = -1, .chunk = 2}, 5, 5,
                (const char *const[]){"1....", "11...", "..1..", "..11.", "....1"});
    expect_mask(&(rosace_mask){.causal = true, .window_left = -1, .window_right = -1, .chunk = 2, .chunk_back = 1}, 5, 5,
                (const char *const[]){"1....", "11...", "111..", "1111.", "..111"});
    expect_mask(&(rosace_mask){.window_left = -1, .window_right = -1, .chunk = 3}, 4, 4,
                (const char *const[]){"111.", "111.", "111.", "...1"});
}
END_TEST

/* ---- Attention --------------------------------------------------------------------------------------------------- */

enum { BATCH = 2, SEQ_Q = 7, SEQ_K = 9, HEADS = 4, KV_HEADS = 2, HEAD_DIM = 16 };
enum { OUT = BATCH * SEQ_Q * HEADS * HEAD_DIM, KEYS = BATCH * SEQ_K * KV_HEADS * HEAD_DIM, ROWS = BATCH * HEADS * SEQ_Q };

typedef struct attention {
    rosace_attention_desc desc;
    ref_attention_args args;
} attention;

static attention attention_of(rosace_mask mask)
{
    attention a = {.desc = ROSACE_ATTENTION_DESC_DEFAULT};
    a.desc.n_heads = HEADS;
    a.desc.n_kv_heads = KV_HEADS;
    a.desc.head_dim = HEAD_DIM;
    a.desc.mask = mask;
    a.args = (ref_attention_args){.batch = BATCH,
                                  .seq_q = SEQ_Q,
                                  .seq_k = SEQ_K,
                                  .q_offset = SEQ_K - SEQ_Q,
                                  .q = harness_random(OUT, ROSACE_F32),
                                  .k = harness_random(KEYS, ROSACE_F32),
                                  .v = harness_random(KEYS, ROSACE_F32),
                                  .out = harness_zeros(OUT),
                                  .lse = harness_zeros(ROWS)};
    return a;
}

static const double *result(attention *a)
{
    a->args.out = harness_zeros(OUT);
    ref_attention(&a->desc, &a->args);
    return a->args.out;
}

static const rosace_mask everything = ROSACE_MASK_DEFAULT, causal = {.causal = true, .window_left = -1, .window_right = -1};

START_TEST(probabilities_sum_to_one)
{
    attention a = attention_of((rosace_mask){.causal = true, .window_left = 3, .window_right = -1});
    double *ones = harness_zeros(KEYS), *expected = harness_zeros(OUT);
    for (int i = 0; i < KEYS; i++)
        ones[i] = 1;
    for (int i = 0; i < OUT; i++)
        expected[i] = 1;
    a.args.v = ones;
    harness_check_values("sum", HARNESS_F64, OUT, result(&a), expected, exact);
}
END_TEST

START_TEST(a_query_that_sees_one_key_gets_its_value)
{
    attention a = attention_of((rosace_mask){.causal = true, .window_left = 0, .window_right = -1});
    const double *out = result(&a);
    for (int b = 0; b < BATCH; b++)
        for (int m = 0; m < SEQ_Q; m++)
            for (int h = 0; h < HEADS; h++)
                for (int d = 0; d < HEAD_DIM; d++)
                    ck_assert_double_eq(out[((b * SEQ_Q + m) * HEADS + h) * HEAD_DIM + d],
                                        a.args.v[((b * SEQ_K + m + SEQ_K - SEQ_Q) * KV_HEADS + h / 2) * HEAD_DIM + d]);
}
END_TEST

START_TEST(rows_that_see_nothing_are_zero)
{
    attention a = attention_of(causal);
    a.args.q_offset = -3;
    const double *out = result(&a);
    for (int m = 0; m < SEQ_Q; m++)
        for (int h = 0; h < HEADS; h++) {
            double lse = a.args.lse[h * SEQ_Q + m], size = dot(HEAD_DIM, out + (m * HEADS + h) * HEAD_DIM, out + (m * HEADS + h) * HEAD_DIM);
            ck_assert_int_eq(size == 0, m < 3);
            ck_assert_int_eq(lse == -(double)INFINITY, m < 3);
        }
}
END_TEST

START_TEST(equal_scores_give_the_mean_and_the_log_of_the_count)
{
    attention a = attention_of(everything);
    a.args.q = harness_zeros(OUT);
    const double *out = result(&a);
    for (int d = 0; d < HEAD_DIM; d++) {
        double mean = 0;
        for (int n = 0; n < SEQ_K; n++)
            mean += a.args.v[n * KV_HEADS * HEAD_DIM + d] / SEQ_K;
        ck_assert_double_eq_tol(out[d], mean, 1e-14);
    }
    ck_assert_double_eq_tol(a.args.lse[0], log(SEQ_K), 1e-14);
}
END_TEST

START_TEST(attention_is_softmax_between_two_products)
{
    attention a = attention_of((rosace_mask){.causal = true, .window_left = 4, .window_right = -1, .sinks = 1});
    double slopes[HEADS], scores[BATCH * SEQ_Q * HEADS * SEQ_K], lse[ROWS], expected[OUT];
    for (size_t h = 0; h < HEADS; h++)
        slopes[h] = ref_alibi_slope(HEADS, h);
    a.desc.bias = ROSACE_BIAS_ALIBI;
    a.desc.softcap = 2;
    a.args.bias_params = slopes;
    const ref_bias bias = {.kind = ROSACE_BIAS_ALIBI, .heads = HEADS, .params = slopes};
    const double *out = result(&a);

    for (int b = 0; b < BATCH; b++)
        for (int m = 0; m < SEQ_Q; m++)
            for (int h = 0; h < HEADS; h++)
                for (int n = 0; n < SEQ_K; n++)
                    scores[((b * SEQ_Q + m) * HEADS + h) * SEQ_K + n] =
                        dot(HEAD_DIM, a.args.q + ((b * SEQ_Q + m) * HEADS + h) * HEAD_DIM,
                            a.args.k + ((b * SEQ_K + n) * KV_HEADS + h / 2) * HEAD_DIM);
    ref_masked_softmax(&a.desc.mask, SEQ_K - SEQ_Q, BATCH, SEQ_Q, HEADS, SEQ_K, 0.25, 2, &bias, scores, lse);
    for (int b = 0; b < BATCH; b++)
        for (int m = 0; m < SEQ_Q; m++)
            for (int h = 0; h < HEADS; h++)
                for (int d = 0; d < HEAD_DIM; d++) {
                    double sum = 0;
                    for (int n = 0; n < SEQ_K; n++)
                        sum += scores[((b * SEQ_Q + m) * HEADS + h) * SEQ_K + n] *
                               a.args.v[((b * SEQ_K + n) * KV_HEADS + h / 2) * HEAD_DIM + d];
                    expected[((b * SEQ_Q + m) * HEADS + h) * HEAD_DIM + d] = sum;
                }
    harness_check_values("composed", HARNESS_F64, OUT, out, expected, exact);
    harness_check_values("composed lse", HARNESS_F64, ROWS, a.args.lse, lse, exact);
}
END_TEST

START_TEST(rope_in_attention_is_rope_before_it)
{
    rosace_rope_desc rope = rope_of(HEAD_DIM, 8, true);
    attention a = attention_of(causal);
    a.desc.rope = &rope;
    const double *fused = result(&a);

    int32_t q_at[BATCH * SEQ_Q], k_at[BATCH * SEQ_K];
    for (int b = 0; b < BATCH; b++) {
        for (int m = 0; m < SEQ_Q; m++)
            q_at[b * SEQ_Q + m] = m + SEQ_K - SEQ_Q + 1000;
        for (int n = 0; n < SEQ_K; n++)
            k_at[b * SEQ_K + n] = n + 1000;
    }
    double *q = harness_copy(a.args.q, OUT), *k = harness_copy(a.args.k, KEYS);
    ref_rope(&rope, BATCH, SEQ_Q, HEADS, q_at, q);
    ref_rope(&rope, BATCH, SEQ_K, KV_HEADS, k_at, k);
    attention before = a;
    before.desc.rope = NULL;
    before.args.q = q;
    before.args.k = k;
    harness_check_values("rope before", HARNESS_F64, OUT, fused, result(&before), exact);

    /* given positions: the same shift for all changes nothing */
    a.args.q_positions = q_at;
    a.args.k_positions = k_at;
    harness_check_values("rope shifted", HARNESS_F64, OUT, result(&a), fused, exact);
}
END_TEST

START_TEST(rerope_bounds_the_distance)
{
    rosace_rope_desc rope = rope_of(HEAD_DIM, 0, false);
    attention a = attention_of(causal);
    a.desc.rope = &rope;
    const double *plain = result(&a);
    a.desc.rerope_window = SEQ_K; /* no distance reaches it */
    harness_check_values("rerope wide", HARNESS_F64, OUT, result(&a), plain, exact);

    /* Two keys, distances 0 and 5 with a window of 3: the far one is seen at distance 3. */
    a = attention_of(causal);
    a.desc.rope = &rope;
    a.desc.n_heads = a.desc.n_kv_heads = 1;
    a.desc.rerope_window = 3;
    a.args.batch = a.args.seq_q = 1;
    a.args.seq_k = 6;
    a.args.q_offset = 5;
    a.desc.mask.window_left = 0;
    a.desc.mask.sinks = 1;
    result(&a);
    double near = dot(HEAD_DIM, turned(&rope, 9, a.args.q), turned(&rope, 9, a.args.k + 5 * HEAD_DIM)) / 4;
    double far = dot(HEAD_DIM, turned(&rope, 103, a.args.q), turned(&rope, 100, a.args.k)) / 4;
    ck_assert_double_eq_tol(a.args.lse[0], log(exp(near) + exp(far)), 1e-12);
}
END_TEST

START_TEST(logn_sharpens_beyond_the_training_length)
{
    attention a = attention_of(causal);
    const double *plain = harness_copy(result(&a), OUT);
    a.desc.logn_train_len = 100; /* no position reaches it */
    harness_check_values("log-n off", HARNESS_F64, OUT, result(&a), plain, exact);

    a.desc.logn_train_len = 3;
    double *q = harness_copy(a.args.q, OUT);
    for (int i = 0; i < OUT; i++) {
        int p = i / (HEADS * HEAD_DIM) % SEQ_Q + SEQ_K - SEQ_Q;
        q[i] *= fmax(1, log(p + 1) / log(3));
    }
    attention before = a;
    before.args.q = q;
    before.desc.logn_train_len = 0;
    harness_check_values("log-n", HARNESS_F64, OUT, result(&a), result(&before), exact);
}
END_TEST

START_TEST(shaw_adds_to_keys_and_values_by_clipped_distance)
{
    attention a = attention_of(everything);
    enum { REACH = 2 };
    double *key = harness_random((2 * REACH + 1) * HEAD_DIM, ROSACE_F32);
    double *value = harness_random((2 * REACH + 1) * HEAD_DIM, ROSACE_F32);
    a.desc.bias = ROSACE_BIAS_SHAW;
    a.desc.bias_max_distance = REACH;
    a.args.shaw_key = key;
    a.args.shaw_value = value;
    const double *out = result(&a);
    /* query row 1 of batch 1, head 3, as eq. 3 and 4 of the paper have it */
    int b = 1, m = 1, h = 3, i = m + SEQ_K - SEQ_Q;
    const double *q = a.args.q + ((b * SEQ_Q + m) * HEADS + h) * HEAD_DIM;
    double weight[SEQ_K], sum = 0, expected[HEAD_DIM] = {0};
    for (int pass = 0; pass < 2; pass++)
        for (int n = 0; n < SEQ_K; n++) {
            int r = (i - n < -REACH ? -REACH : i - n > REACH ? REACH : i - n) + REACH;
            const double *k = a.args.k + ((b * SEQ_K + n) * KV_HEADS + h / 2) * HEAD_DIM;
            const double *v = a.args.v + ((b * SEQ_K + n) * KV_HEADS + h / 2) * HEAD_DIM;
            if (pass == 0) {
                double score = 0;
                for (int d = 0; d < HEAD_DIM; d++)
                    score += q[d] * (k[d] + key[r * HEAD_DIM + d]) / sqrt(HEAD_DIM);
                sum += weight[n] = exp(score);
            } else
                for (int d = 0; d < HEAD_DIM; d++)
                    expected[d] += weight[n] / sum * (v[d] + value[r * HEAD_DIM + d]);
        }
    harness_check_values("shaw", HARNESS_F64, HEAD_DIM, out + ((b * SEQ_Q + m) * HEADS + h) * HEAD_DIM, expected, exact);
}
END_TEST

START_TEST(mask_matrix_is_the_mask_as_numbers)
{
    double out[2 * 1 * 3];
    const ref_bias bias = {.kind = ROSACE_BIAS_ALIBI, .heads = 1, .params = (double[]){0.5}};
    ref_mask_matrix(&causal, 1, 2, 1, 3, &bias, out);
    const double expected[] = {-0.5, 0, -(double)INFINITY, -1, -0.5, 0};
    harness_check_values("mask matrix", HARNESS_F64, 6, out, expected, exact);
}
END_TEST

/* ---- Layers ------------------------------------------------------------------------------------------------------ */

START_TEST(products_and_layers)
{
    /* [1 2; 3 4] [5 6; 7 8] = [19 22; 43 50], and the same numbers stored transposed */
    const double a[] = {1, 2, 3, 4}, at[] = {1, 3, 2, 4}, b[] = {5, 6, 7, 8}, bt[] = {5, 7, 6, 8};
    for (int t = 0; t < 4; t++) {
        double c[] = {1, 1, 1, NAN};
        ref_matmul(2, 2, 2, t & 1, t & 2, 2, t ? 0.5 : 0, t & 1 ? at : a, t & 2 ? bt : b, c);
        double added = t ? 0.5 : 0;
        harness_check_values("matmul", HARNESS_F64, 3, c, ((double[]){38 + added, 44 + added, 86 + added}), exact);
        ck_assert_int_eq(isnan(c[3]), t != 0);
    }
    double out[4];
    ref_rmsnorm(1, 4, 0, (double[]){2, -2, 2, -2}, (double[]){1, 2, 3, 4}, out);
    harness_check_values("rmsnorm", HARNESS_F64, 4, out, ((double[]){1, -2, 3, -4}), exact);
    ref_swiglu(2, (double[]){0, 1}, (double[]){5, 2}, out);
    harness_check_values("swiglu", HARNESS_F64, 2, out, ((double[]){0, 2 / (1 + exp(-1))}), exact);
    ref_cross_entropy(3, 4, harness_zeros(12), (int32_t[]){0, 3, 4}, out);
    harness_check_values("cross entropy", HARNESS_F64, 3, out, ((double[]){log(4), log(4), NAN}), exact);
}
END_TEST

HARNESS_HOST_SUITE("reference", one_pair_turns_by_its_position, rotation_keeps_the_norm_and_what_lies_beyond_rotary_dim,
                   scores_depend_on_the_distance_alone, inverse_undoes_forward, interleaved_is_half_split_permuted,
                   frequencies_fall_from_one_geometrically, ntk_keeps_the_first_and_interpolates_the_last,
                   yarn_and_llama3_run_from_kept_to_interpolated, a_factor_of_one_changes_nothing, sinusoidal_table,
                   visible_is_what_the_header_says, masks_drawn_by_hand, probabilities_sum_to_one,
                   a_query_that_sees_one_key_gets_its_value, rows_that_see_nothing_are_zero,
                   equal_scores_give_the_mean_and_the_log_of_the_count, attention_is_softmax_between_two_products,
                   rope_in_attention_is_rope_before_it, rerope_bounds_the_distance,
                   logn_sharpens_beyond_the_training_length, shaw_adds_to_keys_and_values_by_clipped_distance,
                   mask_matrix_is_the_mask_as_numbers, products_and_layers)
