/* SPDX-License-Identifier: MIT
 * Attention of few queries over many keys: every row of the decode path on each device, against the reference. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bias_params.h"
#include "harness.h"
#include "src/ops/attention.h"
#include "src/reference/reference.h"

typedef struct decode_case {
    rosace_attention_desc desc;
    rosace_rope_desc rope; /* used when head_dim in it is not 0 */
    size_t batch, seq_q, seq_k;
    int64_t q_offset;
    int q_layout, kv_layout, out_layout;
    bool ids; /* positions from arrays: 1000 + place */
    bool hide; /* keys and values that no query sees are NaN */
} decode_case;

static decode_case plain(size_t heads, size_t kv_heads, size_t head_dim, size_t seq_q, size_t seq_k)
{
    decode_case c = {.desc = ROSACE_ATTENTION_DESC_DEFAULT, .batch = 1, .seq_q = seq_q, .seq_k = seq_k,
                     .q_offset = ROSACE_ALIGN_BOTTOM_RIGHT};
    c.desc.n_heads = heads;
    c.desc.n_kv_heads = kv_heads;
    c.desc.head_dim = head_dim;
    c.desc.mask.causal = true;
    return c;
}

static int64_t offset_of(const decode_case *c)
{
    return c->q_offset == ROSACE_ALIGN_BOTTOM_RIGHT ? (int64_t)c->seq_k - (int64_t)c->seq_q : c->q_offset;
}

static void name_case(const char *variant, const decode_case *c)
{
    const rosace_mask *m = &c->desc.mask;
    harness_case("%s %s batch %zu seq %zu:%zu offset %lld heads %zu:%zu head_dim %zu causal %d window %lld:%lld sinks %lld prefix "
                 "%lld chunk %lld:%lld bias %d softcap %g logn %lld rope %zu ids %d hide %d layouts %s %s %s",
                 variant, c->desc.dtype == ROSACE_F16 ? "f16" : "f32", c->batch, c->seq_q, c->seq_k, (long long)offset_of(c),
                 c->desc.n_heads, c->desc.n_kv_heads, c->desc.head_dim, m->causal, (long long)m->window_left,
                 (long long)m->window_right, (long long)m->sinks, (long long)m->prefix, (long long)m->chunk,
                 (long long)m->chunk_back, (int)c->desc.bias, (double)c->desc.softcap, (long long)c->desc.logn_train_len,
                 c->rope.head_dim, c->ids, c->hide, harness_layout_name(c->q_layout), harness_layout_name(c->kv_layout),
                 harness_layout_name(c->out_layout));
}

/* What a score may be off bounds what a weight is off, relatively, and so a result, which is a mean of values below 1. A score
 * is a sum of head_dim products below 1 (rounding errors add up like a random walk) times the scale, and a bias; 16 more
 * roundings for exponential, sums and rescaling. */
static harness_tolerance tolerance_for(const decode_case *c, double bias_off)
{
    const double unit = ldexp(1.0, -24), dim = (double)c->desc.head_dim, last = (double)(c->seq_k + 1000);
    double scale = c->desc.scale > 0.0f ? (double)c->desc.scale : 1.0 / sqrt(dim);
    if (c->desc.logn_train_len) scale *= fmax(1.0, log(last + 1.0) / log((double)c->desc.logn_train_len));
    double score = unit * scale * dim * sqrt(dim) + bias_off + 8.0 * unit * (double)c->desc.softcap;
    if (c->rope.head_dim) /* both operands rotated, and kept in the data type */
        score += scale * sqrt(dim) * (c->desc.dtype == ROSACE_F16 ? 4.0 * ldexp(1.0, -11) : 2e-6);
    return (harness_tolerance){.absolute = 2.0 * score + 16.0 * unit, .relative = 4.0 * unit};
}

/* NaN for what is hidden from every query. */
static double *hide(const decode_case *c, const double *values)
{
    const size_t row = c->desc.n_kv_heads * c->desc.head_dim;
    double *hidden = harness_copy(values, c->batch * c->seq_k * row);
    for (size_t b = 0; b < c->batch; b++)
        for (size_t n = 0; n < c->seq_k; n++) {
            bool seen = false;
            for (size_t m = 0; m < c->seq_q && !seen; m++) {
                rosace_interval head, band;
                rosace_mask_row(&c->desc.mask, offset_of(c), (int64_t)c->seq_k, (int64_t)m, &head, &band);
                const int64_t key = (int64_t)n;
                seen = (key >= head.begin && key < head.end) || (key >= band.begin && key < band.end);
            }
            for (size_t d = 0; d < row && !seen; d++) hidden[(b * c->seq_k + n) * row + d] = NAN;
        }
    return hidden;
}

static int32_t *place_ids(const decode_case *c, size_t seq, int64_t first, rosace_positions *out)
{
    int32_t *ids = harness_alloc(c->batch * seq, sizeof *ids);
    for (size_t i = 0; i < c->batch * seq; i++) ids[i] = (int32_t)(1000 + first + (int64_t)(i % seq));
    out->ids = harness_int32(ids, c->batch * seq, &out->ids_offset);
    out->batch_stride = (ptrdiff_t)seq;
    return ids;
}

/* Runs a case with one row and compares; *out, when not NULL, is the result. */
static void run(const char *variant, const decode_case *c, rosace_tensor *out)
{
    name_case(variant, c);
    rosace_attention_desc desc = c->desc;
    if (c->rope.head_dim) desc.rope = &c->rope;
    const rosace_dtype dtype = desc.dtype;
    const size_t queries = c->batch * c->seq_q * desc.n_heads, keys = c->batch * c->seq_k * desc.n_kv_heads;
    double *q = harness_random(queries * desc.head_dim, dtype), *k = harness_random(keys * desc.head_dim, dtype),
           *v = harness_random(keys * desc.head_dim, dtype);
    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    args.q = harness_tensor(c->q_layout, dtype, c->batch, c->seq_q, desc.n_heads, desc.head_dim, q);
    args.k = harness_tensor(c->kv_layout, dtype, c->batch, c->seq_k, desc.n_kv_heads, desc.head_dim, c->hide ? hide(c, k) : k);
    args.v = harness_tensor(c->kv_layout, dtype, c->batch, c->seq_k, desc.n_kv_heads, desc.head_dim, c->hide ? hide(c, v) : v);
    args.out = harness_tensor(c->out_layout, dtype, c->batch, c->seq_q, desc.n_heads, desc.head_dim, NULL);
    args.q_offset = c->q_offset;
    const rosace_tensor lse = harness_flat(ROSACE_F32, queries, NULL);
    args.lse = lse.mem;
    args.lse_offset = lse.offset;
    ref_bias bias = {desc.bias, desc.n_heads, desc.bias_max_distance, desc.bias_buckets, desc.bias_width, desc.bias_causal, NULL};
    const rosace_tensor params = bias_params(&bias);
    args.bias_params = params.mem;
    args.bias_params_offset = params.offset;
    double *shaw_key = NULL, *shaw_value = NULL;
    if (desc.bias == ROSACE_BIAS_SHAW) {
        const size_t count = (size_t)(2 * desc.bias_max_distance + 1) * desc.head_dim;
        const rosace_tensor key = harness_flat(ROSACE_F32, count, shaw_key = harness_random(count, ROSACE_F32));
        const rosace_tensor value = harness_flat(ROSACE_F32, count, shaw_value = harness_random(count, ROSACE_F32));
        args.shaw_key = key.mem;
        args.shaw_key_offset = key.offset;
        args.shaw_value = value.mem;
        args.shaw_value_offset = value.offset;
    }
    int32_t *q_ids = NULL, *k_ids = NULL;
    if (c->ids) {
        args.use_positions = true;
        q_ids = place_ids(c, c->seq_q, offset_of(c), &args.q_positions);
        k_ids = place_ids(c, c->seq_k, 0, &args.k_positions);
    }
    setenv("ROSACE_ATTENTION_VARIANT", variant, 1);
    harness_ok(rosace_attention(harness_context(), harness_queue(), &desc, &args, 0, NULL, NULL));
    unsetenv("ROSACE_ATTENTION_VARIANT");

    double *expected = harness_zeros(queries * desc.head_dim), *expected_lse = harness_zeros(queries);
    if (desc.scale == 0.0f) desc.scale = (float)(1.0 / sqrt((double)desc.head_dim));
    const ref_attention_args reference = {.batch = c->batch, .seq_q = c->seq_q, .seq_k = c->seq_k, .q_offset = offset_of(c),
                                          .q = q, .k = k, .v = v, .bias_params = bias.params, .shaw_key = shaw_key, .shaw_value = shaw_value,
                                          .q_positions = q_ids,
                                          .k_positions = k_ids, .out = expected, .lse = expected_lse};
    ref_attention(&desc, &reference);
    harness_tolerance tolerance = tolerance_for(
        c, bias_error(&bias, offset_of(c) - (int64_t)c->seq_k + 1, offset_of(c) + (int64_t)c->seq_q - 1));
    /* As many products again in a score, values of up to 2. */
    if (desc.bias == ROSACE_BIAS_SHAW) tolerance.absolute *= 4.0;
    for (size_t i = 0; i < queries * desc.head_dim; i++) tolerance.mostly_zero |= expected[i] == 0.0;
    harness_check(variant, &args.out, expected, tolerance);
    tolerance.absolute *= 2.0;
    tolerance.mostly_zero = true;
    harness_check("lse", &lse, expected_lse, tolerance);
    if (out) *out = args.out;
}

static void on_every_row(const decode_case *c)
{
    for (const rsc_attention_variant *row = rsc_attention_decode_variants; row->name; row++) run(row->name, c, NULL);
}

/* ---- Tests --------------------------------------------------------------------------------------------------------- */

START_TEST(lengths)
{
    static const size_t keys[] = {1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 200};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i += harness_small() ? 5 : 1)
        for (size_t queries = 1; queries <= 8; queries += harness_small() ? 7 : i % 2 ? 1 : 3) {
            decode_case c = plain(8, 2, 32, queries, keys[i]);
            on_every_row(&c);
            c.desc.mask.causal = false;
            on_every_row(&c);
        }
}
END_TEST

START_TEST(masks)
{
    static const struct {
        size_t seq_q, seq_k;
        int64_t q_offset;
        rosace_mask mask;
    } cases[] = {
        {1, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 0, -1, 0, 0, 0, 0}},
        {1, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 40, -1, 4, 0, 0, 0}},
        {1, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 100, -1, 29, 0, 0, 0}}, /* head and band meet */
        {4, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 17, -1, 3, 0, 0, 0}},
        {8, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 2, -1, 0, 21, 0, 0}},
        {8, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, -1, -1, 0, 0, 16, 1}},
        {5, 131, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 40, -1, 3, 0, 24, 2}},
        {3, 130, 60, {false, 5, 3, 0, 0, 0, 0}},
        {3, 130, 60, {false, -1, -1, 0, 0, 33, 0}},
        {3, 130, 0, {true, -1, -1, 0, 0, 0, 0}},
        {6, 60, 200, {true, 15, -1, 0, 0, 0, 0}}, /* no row sees a key */
        {6, 60, 200, {true, 15, -1, 5, 0, 0, 0}}, /* but the sinks */
        {8, 3, ROSACE_ALIGN_BOTTOM_RIGHT, {true, -1, -1, 0, 0, 0, 0}}, /* some rows see none */
        {8, 60, -4, {true, 3, -1, 0, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        decode_case c = plain(8, 2, 32, cases[i].seq_q, cases[i].seq_k);
        c.q_offset = cases[i].q_offset;
        if (c.q_offset < 0 && c.q_offset != ROSACE_ALIGN_BOTTOM_RIGHT) c.seq_q = 70; /* more queries than keys */
        c.desc.mask = cases[i].mask;
        c.hide = true;
        if (harness_small() && (i % 3 || c.seq_q > 8)) continue;
        on_every_row(&c);
    }
}
END_TEST

/* Enough keys for several splits, of whole and broken length, in a window, and none at all for some of them. */
START_TEST(splits)
{
    decode_case c = harness_small() ? plain(2, 1, 16, 1, 2049) : plain(8, 2, 32, 1, 5000);
    on_every_row(&c);
    if (harness_small()) return;
    c.batch = 3;
    c.kv_layout = HARNESS_BHSD;
    on_every_row(&c);
    c.seq_q = 7;
    c.seq_k = 4099;
    c.desc.mask.window_left = 3000;
    c.desc.mask.sinks = 70;
    c.hide = true;
    on_every_row(&c);
    c.desc.mask = (rosace_mask)ROSACE_MASK_DEFAULT;
    c.desc.mask.chunk = 2100;
    c.hide = false;
    on_every_row(&c);
    /* The first rows see no more than one split's keys. */
    c = plain(2, 1, 32, 2060, 2060);
    on_every_row(&c);
}
END_TEST

START_TEST(layouts)
{
    for (int layout = 0; layout < HARNESS_LAYOUTS; layout += harness_small() ? 4 : 1) {
        decode_case c = plain(8, 2, 32, 3, 75);
        c.batch = 2;
        c.q_layout = layout;
        c.kv_layout = (layout + 1) % HARNESS_LAYOUTS;
        c.out_layout = (layout + 2) % HARNESS_LAYOUTS;
        on_every_row(&c);
    }
}
END_TEST

/* More rows than a work-item takes; key/value heads that do not fill one; heads of every sort of size. */
START_TEST(heads)
{
    decode_case c = plain(40, 1, 32, 3, 70);
    on_every_row(&c);
    if (harness_small()) return;
    c = plain(21, 7, 32, 4, 90);
    on_every_row(&c);
    c = plain(9, 9, 32, 8, 90);
    on_every_row(&c);
    static const size_t dims[] = {80, 256};
    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++) {
        c = plain(8, 2, dims[i], 2, 100);
        c.desc.dtype = i ? ROSACE_F16 : ROSACE_F32;
        c.kv_layout = HARNESS_GAPS;
        on_every_row(&c);
    }
}
END_TEST

/* A compiler takes longer for one more program than all that is run here, so what can be is put into one. */
START_TEST(features)
{
    decode_case c = plain(8, 2, 32, 3, 90);
    c.batch = 2;
    c.desc.dtype = ROSACE_F16;
    c.desc.bias = ROSACE_BIAS_ALIBI;
    c.desc.softcap = 2.0f;
    c.desc.logn_train_len = 16;
    c.desc.mask.window_left = 50;
    on_every_row(&c);
    c.ids = true;
    c.seq_k = harness_small() ? 50 : 3000;
    c.desc.mask.window_left = -1;
    on_every_row(&c);
    c = plain(8, 2, 32, 3, 90);
    c.desc.bias = ROSACE_BIAS_TABLE; /* read from a table of the workspace */
    c.desc.bias_max_distance = 50;
    on_every_row(&c);
    c = plain(8, 2, 32, 2, 90);
    c.batch = 2;
    c.rope = (rosace_rope_desc)ROSACE_ROPE_DESC_DEFAULT;
    c.rope.head_dim = 32;
    on_every_row(&c);
    c.ids = true;
    c.kv_layout = HARNESS_QKV;
    c.desc.mask.window_left = 20; /* only what is visible is rotated */
    c.desc.mask.sinks = 3;
    on_every_row(&c);
    if (harness_small()) return;
    c.seq_k = 3000;
    c.ids = false;
    c.desc.mask.window_left = -1;
    on_every_row(&c);
}
END_TEST

/* Keys nearer than the window and beyond it are rotated each on their own, and no more of them than are seen. */
START_TEST(rerope)
{
    decode_case c = plain(8, 2, 32, 3, harness_small() ? 50 : 130);
    c.rope = (rosace_rope_desc)ROSACE_ROPE_DESC_DEFAULT;
    c.rope.head_dim = 32;
    c.desc.rerope_window = 30;
    c.hide = true;
    on_every_row(&c);
    c.desc.rerope_leak = 1.5;
    c.desc.mask.window_left = 90;
    c.desc.mask.sinks = 5;
    c.ids = true;
    on_every_row(&c);
    if (harness_small()) return;
    c.batch = 2;
    c.seq_k = 5000;
    c.desc.rerope_window = 1000;
    c.desc.mask.window_left = -1;
    on_every_row(&c);
    c.desc.rerope_leak = 0.0;
    on_every_row(&c);
}
END_TEST

START_TEST(clipped_relative)
{
    decode_case c = plain(8, 2, 32, 3, harness_small() ? 50 : 130);
    c.desc.bias = ROSACE_BIAS_SHAW;
    c.desc.bias_max_distance = 20;
    c.hide = true;
    on_every_row(&c);
    c.q_offset = 10; /* most keys behind the queries */
    c.desc.mask.causal = false;
    on_every_row(&c);
    if (harness_small()) return;
    c = plain(8, 2, 32, 7, 5000);
    c.batch = 2;
    c.desc.bias = ROSACE_BIAS_SHAW;
    c.desc.bias_max_distance = 1024;
    c.desc.mask.window_left = 4000;
    c.desc.mask.sinks = 5;
    on_every_row(&c);
}
END_TEST

START_TEST(random_cases)
{
    for (int i = 0; i < (harness_small() ? 4 : 60); i++) {
        const size_t group = (size_t)harness_random_integer(4, 6), kv_heads = (size_t)harness_random_integer(1, 3);
        decode_case c = plain(group * kv_heads, kv_heads, 32, (size_t)harness_random_integer(1, 8),
                              (size_t)harness_random_integer(1, harness_small() ? 50 : i % 4 ? 300 : 6000));
        c.batch = (size_t)harness_random_integer(1, 2);
        rosace_mask *mask = &c.desc.mask;
        mask->causal = harness_random_integer(0, 2) > 0;
        if (harness_random_integer(0, 1)) mask->window_left = harness_random_integer(0, (int64_t)c.seq_k);
        if (!harness_random_integer(0, 3)) mask->window_right = harness_random_integer(0, 50);
        if (!harness_random_integer(0, 2)) mask->sinks = harness_random_integer(0, 90);
        if (!harness_random_integer(0, 3)) mask->prefix = harness_random_integer(0, 90);
        if (!harness_random_integer(0, 3)) {
            mask->chunk = harness_random_integer(1, 90);
            mask->chunk_back = harness_random_integer(0, 2);
        }
        if (!harness_random_integer(0, 3)) c.q_offset = harness_random_integer(0, (int64_t)c.seq_k);
        c.q_layout = (int)harness_random_integer(0, HARNESS_LAYOUTS - 1);
        c.kv_layout = (int)harness_random_integer(0, HARNESS_LAYOUTS - 1);
        c.out_layout = (int)harness_random_integer(0, HARNESS_LAYOUTS - 1);
        c.hide = harness_random_integer(0, 1);
        on_every_row(&c);
    }
}
END_TEST

/* Splits are put together in one order. */
START_TEST(same_bits_twice)
{
    for (const rsc_attention_variant *row = rsc_attention_decode_variants; row->name; row++) {
        harness_case("%s", row->name);
        const decode_case c = plain(8, 2, 32, 2, harness_small() ? 100 : 5000);
        const size_t queries = c.seq_q * 8 * 32, keys = c.seq_k * 2 * 32;
        rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
        args.q = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, c.seq_q, 8, 32, harness_random(queries, ROSACE_F32));
        args.k = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, c.seq_k, 2, 32, harness_random(keys, ROSACE_F32));
        args.v = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, c.seq_k, 2, 32, harness_random(keys, ROSACE_F32));
        double *got[2];
        for (int i = 0; i < 2; i++) {
            args.out = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, c.seq_q, 8, 32, NULL);
            setenv("ROSACE_ATTENTION_VARIANT", row->name, 1);
            harness_ok(rosace_attention(harness_context(), harness_queue(), &c.desc, &args, 0, NULL, NULL));
            unsetenv("ROSACE_ATTENTION_VARIANT");
            got[i] = harness_download(&args.out);
        }
        ck_assert(memcmp(got[0], got[1], queries * sizeof *got[0]) == 0);
    }
}
END_TEST

/* Which path a plan takes, by how many queries it is made for and by what the path has. */
START_TEST(choice)
{
    rosace_attention_desc desc = plain(8, 2, 32, 1, 1).desc;
    rosace_attention_plan *plan = NULL;
    static const struct {
        size_t max_seq_q;
        bool decode;
    } cases[] = {{0, false}, {1, true}, {8, true}, {9, false}, {4096, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        harness_case("max_seq_q %zu", cases[i].max_seq_q);
        desc.max_seq_q = cases[i].max_seq_q;
        desc.max_batch = desc.max_seq_k = desc.max_seq_q > 0;
        harness_ok(rosace_attention_plan_create(harness_context(), &desc, &plan));
        ck_assert_int_eq(rosace_attention_plan_path(plan) == ROSACE_PATH_DECODE, cases[i].decode);
        rosace_attention_plan_destroy(&plan);
    }
    desc.max_batch = desc.max_seq_q = desc.max_seq_k = 1;
    desc.bias = ROSACE_BIAS_SHAW;
    desc.bias_max_distance = 3;
    const rosace_rope_desc rope = ROSACE_ROPE_DESC_DEFAULT;
    desc.rope = &rope;
    harness_ok(rosace_attention_plan_create(harness_context(), &desc, &plan));
    ck_assert_int_eq(rosace_attention_plan_path(plan), ROSACE_PATH_GEMM);
    rosace_attention_plan_destroy(&plan);
    desc.path = ROSACE_PATH_DECODE;
    harness_expect_status(rosace_attention_plan_create(harness_context(), &desc, &plan), ROSACE_UNSUPPORTED,
                          "ROSACE_BIAS_SHAW with rope: path gemm");
    desc.bias = ROSACE_BIAS_NONE;
    desc.rope = NULL;
    setenv("ROSACE_ATTENTION_PATH", "decode", 1);
    desc.path = ROSACE_PATH_AUTO;
    desc.max_batch = desc.max_seq_q = desc.max_seq_k = 0;
    harness_ok(rosace_attention_plan_create(harness_context(), &desc, &plan));
    ck_assert_int_eq(rosace_attention_plan_path(plan), ROSACE_PATH_DECODE);
    rosace_attention_plan_destroy(&plan);
    unsetenv("ROSACE_ATTENTION_PATH");
}
END_TEST

/* Workspace made for a plan's largest call serves every smaller one. */
START_TEST(workspace_never_falls)
{
    static const size_t sizes[] = {1, 2, 3, 5, 7, 8, 100, 1000, 2047, 2048, 4096, 5000, 9000, 40000};
    enum { N = sizeof sizes / sizeof sizes[0] };
    for (const rsc_attention_variant *row = rsc_attention_decode_variants; row->name; row++) {
        setenv("ROSACE_ATTENTION_VARIANT", row->name, 1);
        rosace_attention_desc desc = plain(12, 3, 32, 1, 1).desc;
        rosace_attention_plan *plan = NULL;
        harness_ok(rosace_attention_plan_create(harness_context(), &desc, &plan));
        unsetenv("ROSACE_ATTENTION_VARIANT");
        size_t most = 0;
        for (size_t batch = 1; batch < 8; batch++)
            for (int q = 0; q < N; q++)
                for (int k = 0; k < N; k++) {
                    size_t here, less;
                    harness_ok(rosace_attention_workspace_bytes(plan, batch, sizes[q], sizes[k], &here));
                    if (here > most) most = here;
                    for (int axis = 0; axis < 3; axis++) {
                        harness_ok(rosace_attention_workspace_bytes(plan, axis == 0 && batch > 1 ? batch - 1 : batch,
                                                                    sizes[axis == 1 && q ? q - 1 : q],
                                                                    sizes[axis == 2 && k ? k - 1 : k], &less));
                        if (less > here)
                            harness_fail_at(__FILE__, __LINE__, "%s batch %zu, seq %zu:%zu: %zu bytes, with less of axis %d %zu",
                                            row->name, batch, sizes[q], sizes[k], here, axis, less);
                    }
                }
        ck_assert_uint_gt(most, 0);
        size_t overflow;
        harness_expect_status(rosace_attention_workspace_bytes(plan, SIZE_MAX / 2, 8, 1 << 20, &overflow), ROSACE_INVALID_ARGUMENT,
                              "overflow");
        rosace_attention_plan_destroy(&plan);
    }
}
END_TEST

HARNESS_DEVICE_SUITE("decode", lengths, masks, splits, layouts, heads, features, rerope, clipped_relative, random_cases, same_bits_twice, choice,
                     workspace_never_falls)
