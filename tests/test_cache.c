/* SPDX-License-Identifier: MIT
 * Caches of keys and values, ring and paged: streams of tokens are appended, and attention over the cache is what the reference
 * says of the same keys side by side; and every refusal. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "src/ops/attention.h"
#include "src/reference/reference.h"

enum { BATCH = 2, HEADS = 4, KV_HEADS = 2 };

/* A stream on its way. Token n has the same random key, value and query whenever it is asked for. */
typedef struct stream {
    rosace_attention_desc desc;
    rosace_rope_desc rope;
    rosace_kv_cache cache;
    int64_t position_base; /* position of token n: n - position_base */
    int32_t *table;        /* of a paged cache */
    double *k, *v;         /* what the cache must hold, packed as its views */
} stream;

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* [heads, head_dim] of token n of sequence b, kind 'q', 'k' or 'v'; keys and queries rotated when asked for. */
static void token(const stream *s, char kind, size_t b, int64_t n, bool rotated, double *to)
{
    const size_t heads = kind == 'q' ? HEADS : KV_HEADS, count = heads * s->desc.head_dim;
    for (size_t i = 0; i < count; i++) {
        const uint64_t bits = mix(((uint64_t)n << 20) ^ ((uint64_t)b << 16) ^ ((uint64_t)kind << 12) ^ i);
        to[i] = harness_round((double)(bits >> 11) * 0x1p-52 - 1.0, s->desc.dtype);
    }
    if (!rotated || kind == 'v') return;
    const int32_t position = (int32_t)(n - s->position_base);
    ref_rope(&s->rope, 1, 1, heads, &position, to);
    for (size_t i = 0; i < count; i++) to[i] = harness_round(to[i], s->desc.dtype);
}

/* The slot of key n, counted through all tensors of the cache. */
static size_t slot_of(const stream *s, size_t b, int64_t n)
{
    const rosace_kv_cache *c = &s->cache;
    const int64_t size = (int64_t)c->k.shape[1];
    if (c->layout == ROSACE_CACHE_PAGED)
        return (size_t)(s->table[(int64_t)(b * c->blocks_per_sequence) + n / size] * size + n % size);
    if (c->layout == ROSACE_CACHE_RING && n >= c->sinks) n = c->sinks + (n - c->sinks) % (size - c->sinks);
    return b * c->k.shape[1] + (size_t)n;
}

static stream make(rosace_cache_layout layout, size_t head_dim, rosace_dtype dtype, size_t blocks, size_t slots, int64_t sinks,
                   int64_t window)
{
    stream s = {.desc = ROSACE_ATTENTION_DESC_DEFAULT, .rope = ROSACE_ROPE_DESC_DEFAULT, .cache = ROSACE_KV_CACHE_DEFAULT};
    s.desc.n_heads = HEADS;
    s.desc.n_kv_heads = KV_HEADS;
    s.desc.head_dim = s.rope.head_dim = head_dim;
    s.desc.dtype = s.rope.dtype = dtype;
    s.desc.mask.causal = true;
    s.desc.mask.window_left = window;
    s.desc.mask.sinks = sinks;
    s.cache.layout = layout;
    s.cache.sinks = layout == ROSACE_CACHE_RING ? sinks : 0;
    const size_t outer = layout == ROSACE_CACHE_PAGED ? blocks : BATCH, count = outer * slots * KV_HEADS * head_dim;
    s.k = harness_random(count, dtype);
    s.v = harness_random(count, dtype);
    s.cache.k = harness_tensor(HARNESS_BHSD_GAPS, dtype, outer, slots, KV_HEADS, head_dim, s.k);
    s.cache.v = harness_tensor(HARNESS_GAPS, dtype, outer, slots, KV_HEADS, head_dim, s.v);
    if (layout != ROSACE_CACHE_PAGED) return s;
    /* Blocks of the sequences in turns, backwards; what no key has is not an entry. */
    s.cache.blocks_per_sequence = blocks / BATCH;
    s.table = harness_alloc(blocks, sizeof *s.table);
    for (size_t i = 0; i < blocks; i++) s.table[i] = (int32_t)(blocks - 1 - (i % (blocks / BATCH) * BATCH + i / (blocks / BATCH)));
    s.cache.block_table = s.table;
    return s;
}

/* A ring as if `length` tokens had gone through it. */
static void begin_at(stream *s, int64_t length, int64_t position_base)
{
    s->cache.length = length;
    s->position_base = position_base;
    const size_t row = KV_HEADS * s->desc.head_dim;
    const int64_t size = (int64_t)s->cache.k.shape[1];
    for (size_t b = 0; b < BATCH; b++)
        for (int64_t i = 0; i < size; i++) {
            const int64_t n = i < s->cache.sinks ? i : length - size + i;
            const size_t at = slot_of(s, b, n) * row;
            token(s, 'k', b, n, n >= s->cache.sinks || !position_base, s->k + at);
            token(s, 'v', b, n, false, s->v + at);
        }
    s->cache.k = harness_tensor(HARNESS_BHSD_GAPS, s->desc.dtype, BATCH, s->cache.k.shape[1], KV_HEADS, s->desc.head_dim, s->k);
    s->cache.v = harness_tensor(HARNESS_GAPS, s->desc.dtype, BATCH, s->cache.k.shape[1], KV_HEADS, s->desc.head_dim, s->v);
}

/* Tokens length .. length+seq-1 of all sequences, [batch, seq, heads, head_dim]. */
static double *tokens(const stream *s, char kind, size_t seq, bool rotated)
{
    const size_t row = (kind == 'q' ? HEADS : KV_HEADS) * s->desc.head_dim;
    double *to = harness_zeros(BATCH * seq * row);
    for (size_t i = 0; i < BATCH * seq; i++)
        token(s, kind, i / seq, s->cache.length + (int64_t)(i % seq), rotated, to + i * row);
    return to;
}

/* Appends; *q is what attention reads then. */
static void append(stream *s, size_t seq, rosace_tensor *q)
{
    const size_t dim = s->desc.head_dim, row = KV_HEADS * dim;
    const rosace_dtype dtype = s->desc.dtype;
    *q = harness_tensor(HARNESS_BSHD, dtype, BATCH, seq, HEADS, dim, tokens(s, 'q', seq, false));
    const rosace_tensor k = harness_tensor(HARNESS_GAPS, dtype, BATCH, seq, KV_HEADS, dim, tokens(s, 'k', seq, false));
    const rosace_tensor v = harness_tensor(HARNESS_BHSD, dtype, BATCH, seq, KV_HEADS, dim, tokens(s, 'v', seq, false));
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    args.q = q;
    args.k = &k;
    args.v = &v;
    args.cache = &s->cache;
    args.positions.offset = s->cache.length - s->position_base;
    harness_ok(rosace_rope(harness_context(), harness_queue(), &s->rope, &args, 0, NULL, NULL));
    /* Next to a tie, fp16 may be rounded the other way. */
    const harness_tolerance tolerance = {.absolute = 6e-7, .relative = dtype == ROSACE_F16 ? 0x1p-10 : 0.0};
    harness_check("append q", q, tokens(s, 'q', seq, true), tolerance);
    for (size_t b = 0; b < BATCH; b++)
        for (size_t i = 0; i < seq; i++) {
            const int64_t n = s->cache.length + (int64_t)i;
            token(s, 'k', b, n, true, s->k + slot_of(s, b, n) * row);
            token(s, 'v', b, n, false, s->v + slot_of(s, b, n) * row);
        }
    harness_check("append k", &s->cache.k, s->k, tolerance);
    harness_check("append v", &s->cache.v, s->v, (harness_tolerance){.absolute = 0.0});
    harness_check_untouched(&k);
    harness_check_untouched(&v);
    s->cache.length += (int64_t)seq;
}

/* What the last `seq` tokens get: each query over the keys that it sees, side by side. */
static void expect(const stream *s, size_t seq, double *out, double *lse)
{
    const size_t dim = s->desc.head_dim, row = KV_HEADS * dim;
    rosace_attention_desc alone = s->desc;
    alone.mask = (rosace_mask)ROSACE_MASK_DEFAULT;
    alone.scale = (float)(1.0 / sqrt((double)dim));
    const int64_t length = s->cache.length;
    double slopes[HEADS];
    for (size_t h = 0; h < HEADS; h++) slopes[h] = ref_alibi_slope(HEADS, h);
    for (size_t b = 0; b < BATCH; b++)
        for (size_t m = 0; m < seq; m++) {
            const int64_t place = length - (int64_t)seq + (int64_t)m;
            double *q = harness_zeros(HEADS * dim), *k = harness_zeros(300 * row), *v = harness_zeros(300 * row), of_head[HEADS];
            size_t count = 0;
            for (int64_t n = 0; n < length; n++) {
                if (n == s->desc.mask.sinks && length > 1000) n = length - 200; /* nothing between is seen */
                if (!ref_visible(&s->desc.mask, length - (int64_t)seq, length, (int64_t)m, n)) continue;
                memcpy(k + count * row, s->k + slot_of(s, b, n) * row, row * sizeof *k);
                memcpy(v + count++ * row, s->v + slot_of(s, b, n) * row, row * sizeof *v);
            }
            ck_assert_uint_gt(count, 0);
            token(s, 'q', b, place, true, q);
            const ref_attention_args args = {.batch = 1, .seq_q = 1, .seq_k = count, .q_offset = (int64_t)count - 1, .q = q, .k = k,
                                             .v = v, .bias_params = slopes, .out = out + (b * seq + m) * HEADS * dim, .lse = of_head};
            ref_attention(&alone, &args);
            for (size_t h = 0; h < HEADS; h++) lse[(b * HEADS + h) * seq + m] = of_head[h];
        }
}

static const char *const rows[] = {"decode_cpu", "decode_gpu", "attention_cpu", "attention_gpu"};

static void attend(const stream *s, const rosace_tensor *q, size_t first_row, size_t end_row)
{
    const size_t seq = q->shape[1], dim = s->desc.head_dim;
    double *out = harness_zeros(BATCH * seq * HEADS * dim), *lse = harness_zeros(BATCH * seq * HEADS);
    expect(s, seq, out, lse);
    const harness_tolerance tolerance = {.absolute = s->desc.dtype == ROSACE_F16 ? 4e-3 : 6e-6};
    for (size_t r = first_row; r < end_row; r++) {
        harness_case("%s layout %d head_dim %zu length %lld seq %zu", rows[r], (int)s->cache.layout, dim,
                     (long long)s->cache.length, seq);
        rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
        args.q = *q;
        args.cache = &s->cache;
        args.out = harness_tensor(HARNESS_BHSD, s->desc.dtype, BATCH, seq, HEADS, dim, NULL);
        const rosace_tensor to = harness_flat(ROSACE_F32, BATCH * HEADS * seq, NULL);
        args.lse = to.mem;
        args.lse_offset = to.offset;
        float slopes[HEADS];
        double values[HEADS];
        harness_ok(rosace_alibi_slopes(HEADS, slopes));
        for (size_t h = 0; h < HEADS; h++) values[h] = (double)slopes[h];
        const rosace_tensor params = harness_flat(ROSACE_F32, HEADS, values);
        args.bias_params = params.mem;
        args.bias_params_offset = params.offset;
        setenv("ROSACE_ATTENTION_VARIANT", rows[r], 1);
        harness_ok(rosace_attention(harness_context(), harness_queue(), &s->desc, &args, 0, NULL, NULL));
        unsetenv("ROSACE_ATTENTION_VARIANT");
        harness_check(rows[r], &args.out, out, tolerance);
        harness_check("lse", &to, lse, (harness_tolerance){.absolute = 2.0 * tolerance.absolute});
    }
}

enum { DECODE = 0, FUSED = 2, ALL = 4 };

static void step(stream *s, size_t seq, size_t first_row, size_t end_row)
{
    rosace_tensor q;
    append(s, seq, &q);
    attend(s, &q, first_row, end_row);
}

/* ---- Streams ------------------------------------------------------------------------------------------------------- */

/* Round and round, a token or some at a time, from the first token, from a million and from more than int32 counts. */
START_TEST(rings)
{
    if (harness_small()) {
        stream few = make(ROSACE_CACHE_RING, 16, ROSACE_F32, 0, 10, 1, 5);
        const size_t steps[] = {2, 7, 1, 3};
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) step(&few, steps[i], DECODE, ALL);
        return;
    }
    stream s = make(ROSACE_CACHE_RING, 32, ROSACE_F32, 0, 43, 3, 20);
    const size_t steps[] = {2, 30, 1, 1, 19, 20, 1, 7, 19, 1};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) step(&s, steps[i], DECODE, ALL);
    static const int64_t starts[] = {1000000, ((int64_t)1 << 31) - 1, ((int64_t)1 << 40) + 7};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        s = make(ROSACE_CACHE_RING, 32, ROSACE_F32, 0, 43, 3, 20);
        begin_at(&s, starts[i], i ? starts[i] - 1000 : 0);
        for (size_t n = 0; n < 4; n++) step(&s, steps[n % 2 ? 2 : 4], DECODE, ALL);
    }
    /* More keys than a split, block and tile of one kernel take, with a seam in them; no sinks. */
    s = make(ROSACE_CACHE_RING, 32, ROSACE_F32, 0, 170, 0, 150);
    begin_at(&s, 1000000, 0);
    step(&s, 3, DECODE, ALL);
    step(&s, 17, FUSED, ALL);
}
END_TEST

/* A ring of exactly window and queries, and chunks, which begin where they did. */
START_TEST(rings_just_large_enough)
{
    if (harness_small()) harness_skip("small shapes: one ring is enough");
    stream s = make(ROSACE_CACHE_RING, 32, ROSACE_F32, 0, 21, 0, 20);
    begin_at(&s, 1000, 0);
    for (int i = 0; i < 3; i++) step(&s, 1, DECODE, ALL);
    s = make(ROSACE_CACHE_RING, 32, ROSACE_F32, 0, 40, 0, -1);
    s.desc.mask.chunk = 16;
    s.desc.mask.chunk_back = 1;
    begin_at(&s, 1007, 0);
    for (size_t i = 0; i < 4; i++) step(&s, 7, DECODE, ALL);
}
END_TEST

START_TEST(pages)
{
    static const size_t sizes[] = {8, 24};
    if (harness_small()) {
        stream few = make(ROSACE_CACHE_PAGED, 16, ROSACE_F32, 6, 8, 1, 9);
        const size_t steps[] = {7, 1, 3};
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) step(&few, steps[i], DECODE, ALL);
        return;
    }
    for (size_t i = 0; i < 2; i++) {
        stream s = make(ROSACE_CACHE_PAGED, 32, ROSACE_F32, i ? 8 : 22, sizes[i], 2, i ? -1 : 33);
        for (size_t n = 2; n < (size_t)s.cache.blocks_per_sequence; n++) s.table[n] += 1 << 20; /* not there yet */
        step(&s, 5, DECODE, ALL);
        for (size_t n = 2; n < (size_t)s.cache.blocks_per_sequence; n++) s.table[n] -= 1 << 20;
        const size_t steps[] = {1, 30, 1, 29, 1, 8};
        for (size_t n = 0; n < sizeof steps / sizeof *steps; n++) step(&s, steps[n], DECODE, ALL);
        if (i) continue;
        rosace_tensor q;
        append(&s, 2, &q);
        s.table[2] = -1; /* behind the window: it need not be there */
        attend(&s, &q, DECODE, ALL);
    }
}
END_TEST

START_TEST(rows_of_a_tensor)
{
    if (harness_small()) harness_skip("small shapes: the kernels are those of rings");
    stream s = make(ROSACE_CACHE_CONTIGUOUS, 32, ROSACE_F32, 0, 80, 3, 30);
    step(&s, 40, DECODE, ALL);
    step(&s, 1, DECODE, ALL);
    step(&s, 39, FUSED, ALL);
}
END_TEST

/* A program more, with all that goes with a score. */
START_TEST(features)
{
    if (harness_small()) harness_skip("small shapes: programs take their time");
    stream s = make(ROSACE_CACHE_RING, 32, ROSACE_F16, 0, 48, 0, 30);
    s.desc.bias = ROSACE_BIAS_ALIBI;
    s.desc.softcap = 3.0f;
    begin_at(&s, 20000, 0);
    rosace_tensor q;
    for (size_t i = 0; i < 2; i++) { /* a row of each sort: compilers take their time */
        append(&s, i ? 1 : 5, &q);
        attend(&s, &q, 0, 1);
        attend(&s, &q, 3, 4);
    }
}
END_TEST

/* ---- Refusals ------------------------------------------------------------------------------------------------------- */

typedef struct call {
    stream s;
    rosace_tensor q, k, v, out;
    rosace_rope_args rope;
    rosace_attention_args args;
} call;

static call make_call(rosace_cache_layout layout)
{
    call c = {.s = make(layout, 32, ROSACE_F32, 8, layout == ROSACE_CACHE_PAGED ? 8 : 24, 2, 12)};
    c.s.cache.length = 24;
    c.q = harness_tensor(HARNESS_BSHD, ROSACE_F32, BATCH, 3, HEADS, 32, harness_random(BATCH * 3 * HEADS * 32, ROSACE_F32));
    c.k = harness_tensor(HARNESS_BSHD, ROSACE_F32, BATCH, 3, KV_HEADS, 32, harness_random(BATCH * 3 * KV_HEADS * 32, ROSACE_F32));
    c.v = harness_tensor(HARNESS_BSHD, ROSACE_F32, BATCH, 3, KV_HEADS, 32, harness_random(BATCH * 3 * KV_HEADS * 32, ROSACE_F32));
    c.out = harness_tensor(HARNESS_BSHD, ROSACE_F32, BATCH, 3, HEADS, 32, NULL);
    c.rope = (rosace_rope_args)ROSACE_ROPE_ARGS_DEFAULT;
    c.args = (rosace_attention_args)ROSACE_ATTENTION_ARGS_DEFAULT;
    c.args.q = c.q;
    c.args.out = c.out;
    return c;
}

/* After `statement` both calls, or one, are refused, and nothing changes. */
#define REFUSED(layout, statement, status, append_text, attention_text)                                                \
    do {                                                                                                               \
        call c = make_call(layout);                                                                                    \
        const rosace_tensor k_cache = c.s.cache.k, v_cache = c.s.cache.v;                                              \
        c.rope.q = &c.q;                                                                                               \
        c.rope.k = &c.k;                                                                                               \
        c.rope.v = &c.v;                                                                                               \
        c.rope.cache = c.args.cache = &c.s.cache;                                                                      \
        harness_case("%s", #statement);                                                                                \
        statement;                                                                                                     \
        const char *texts[2] = {append_text, attention_text};                                                          \
        if (texts[0])                                                                                                  \
            harness_refused(rosace_rope(harness_context(), harness_queue(), &c.s.rope, &c.rope, 0, NULL, event), event, \
                            &k_cache, ROSACE_INVALID_ARGUMENT, texts[0]);                                              \
        if (texts[1])                                                                                                  \
            harness_refused(rosace_attention(harness_context(), harness_queue(), &c.s.desc, &c.args, 0, NULL, event), event, \
                            &c.out, status, texts[1]);                                                                 \
        harness_check_untouched(&k_cache);                                                                             \
        harness_check_untouched(&v_cache);                                                                             \
    } while (0)
#define INVALID(layout, statement, append_text, attention_text)                                                        \
    REFUSED(layout, statement, ROSACE_INVALID_ARGUMENT, append_text, attention_text)
#define RING ROSACE_CACHE_RING
#define PAGED ROSACE_CACHE_PAGED

START_TEST(small_rings_are_refused)
{
    INVALID(RING, c.s.desc.mask.window_left = 22, NULL, "cache.k.shape[1] = 24: a ring for sinks of 2 and window_left = 22 needs 25 slots");
    INVALID(RING, c.s.desc.mask.window_left = 22; c.s.cache.length = 3, NULL, "needs 25 slots");
    INVALID(RING, c.s.desc.mask.window_left = 20; c.s.cache.length = 100, NULL, "cache.k.shape[1] = 24: 25 slots are needed");
    INVALID(RING, c.s.desc.mask.window_left = -1; c.s.cache.length = 25, NULL, "cache.k.shape[1] = 24: 25 slots");
    INVALID(RING, c.s.desc.mask.sinks = 3; c.s.cache.length = 26, NULL, "cache.sinks = 2: the mask's sinks = 3");
    INVALID(RING, c.s.desc.mask.prefix = 5; c.s.cache.length = 26, NULL, "prefix = 5 must stay");
    INVALID(RING, c.args.q_offset = 30; c.s.cache.length = 60, NULL, "slots are needed");
    INVALID(RING, c.s.cache.sinks = 22, "cache.k.shape[1] = 24: 3 tokens at once need 25 slots", "window_left = 12 needs 35 slots");
    INVALID(RING, c.s.cache.sinks = 24, "cache.sinks = 24", "cache.sinks = 24");
    INVALID(RING, c.s.cache.length = -1, "cache.length = -1", "cache.length = -1");
    INVALID(RING, c.s.cache.length = INT64_MAX, "cache.length", "cache.length");
    REFUSED(RING, c.s.desc.bias = ROSACE_BIAS_ALIBI; c.s.cache.length = 30, ROSACE_UNSUPPORTED, NULL, "cache.sinks = 2");
}
END_TEST

START_TEST(bad_tables_are_refused)
{
    INVALID(PAGED, c.s.table[3] = 8, "cache.block_table[0][3] = 8: must be 0 to 7", NULL);
    INVALID(PAGED, c.s.table[4 + 3] = -1, "cache.block_table[1][3] = -1", NULL);
    INVALID(PAGED, c.s.table[2] = 8, NULL, "cache.block_table[0][2] = 8");
    INVALID(PAGED, c.s.table[4] = INT32_MIN, NULL, "cache.block_table[1][0] = -2147483648"); /* of the sinks */
    INVALID(PAGED, c.s.table[3] = c.s.table[4 + 3], "cache.block_table[1][3]", NULL);
    INVALID(PAGED, c.s.cache.length = 30, "do not fit the 32 slots", NULL);
    INVALID(PAGED, c.s.cache.length = 33, "do not fit the 32 slots", "cache.length = 33: 33 tokens do not fit the 32 slots");
    INVALID(PAGED, c.s.cache.length = 0, NULL, "cache.length = 0");
    INVALID(PAGED, c.s.cache.block_table = NULL, "cache.block_table = NULL", "cache.block_table = NULL");
    INVALID(PAGED, c.s.cache.blocks_per_sequence = 0, "blocks_per_sequence = 0", "blocks_per_sequence = 0");
    INVALID(PAGED, c.s.cache.k.shape[1] = c.s.cache.v.shape[1] = 7, "multiple of 8", "multiple of 8");
    INVALID(PAGED, c.s.cache.sinks = 1, "cache.sinks = 1", "cache.sinks = 1");
    INVALID(ROSACE_CACHE_CONTIGUOUS, c.s.cache.block_table = (const int32_t[1]){0}, "cache.block_table", "cache.block_table");
    INVALID(ROSACE_CACHE_CONTIGUOUS, c.s.cache.length = 22, "do not fit the 24 slots of cache.k", NULL);
}
END_TEST

START_TEST(what_does_not_go_together_is_refused)
{
    INVALID(RING, c.s.cache.struct_size = 0, "struct_size", "struct_size");
    INVALID(RING, c.s.cache.layout = (rosace_cache_layout)3, "cache.layout = 3", "cache.layout = 3");
    INVALID(RING, c.s.cache.k.dtype = ROSACE_F16, "cache.k.dtype", "cache.k.dtype");
    INVALID(RING, c.s.cache.v.mem = NULL, "cache.v", "cache.v");
    INVALID(RING, c.s.cache.v.shape[1] = 23, "cache.v.shape", "cache.v.shape");
    INVALID(RING, c.s.cache.k.shape[0] = c.s.cache.v.shape[0] = 1, "cache.k.shape[0] = 1", "cache.k.shape[0] = 1");
    INVALID(RING, c.s.cache.k.shape[2] = 1, "cache.k.shape[2] = 1", "cache.k.shape[2] = 1");
    INVALID(RING, c.rope.k = NULL, "cache without k", NULL);
    INVALID(RING, c.rope.v = NULL, "cache without v", NULL);
    INVALID(RING, c.rope.k_out = &c.k, "k_out and cache", NULL);
    INVALID(RING, c.rope.k_cache = &c.s.cache.k, "k_cache and cache", NULL);
    INVALID(RING, c.rope.cache_slot = 1, "cache_slot and cache", NULL);
    INVALID(RING, c.s.cache.v = c.s.cache.k, "overlap", NULL);
    INVALID(RING, c.args.out = c.s.cache.k; c.args.out.shape[1] = 3; c.args.out.shape[2] = HEADS; c.args.out.stride[2] = 32;
            c.args.out.stride[1] = 128; c.args.out.stride[0] = 384; c.args.q_offset = 20, NULL, "overlap");
    INVALID(RING, c.s.desc.rope = &c.s.rope, NULL, "rope with cache");
    INVALID(RING, c.s.desc.cache = (rosace_attention_cache)7, NULL, "cache = 7");
    INVALID(RING, c.s.desc.cache = ROSACE_ATTENTION_CACHE_PLAIN; c.args.cache = NULL, NULL, "cache = NULL");
    REFUSED(RING, c.s.desc.path = ROSACE_PATH_GEMM, ROSACE_UNSUPPORTED, NULL, "cache: rows of keys");
    REFUSED(RING, c.s.desc.bias = ROSACE_BIAS_SHAW; c.s.desc.bias_max_distance = 3, ROSACE_UNSUPPORTED, NULL, "ROSACE_BIAS_SHAW");
}
END_TEST

START_TEST(plans_say_what_they_read)
{
    call c = make_call(RING);
    rosace_attention_plan *plan = NULL;
    harness_ok(rosace_attention_plan_create(harness_context(), &c.s.desc, &plan));
    c.args.cache = &c.s.cache;
    harness_refused(rosace_attention_enqueue(plan, harness_queue(), &c.args, 0, NULL, event), event, &c.out, ROSACE_INVALID_ARGUMENT,
                    "desc.cache");
    rosace_attention_plan_destroy(&plan);
    c.s.desc.cache = ROSACE_ATTENTION_CACHE_PLAIN;
    harness_ok(rosace_attention_plan_create(harness_context(), &c.s.desc, &plan));
    harness_ok(rosace_attention_enqueue(plan, harness_queue(), &c.args, 0, NULL, NULL));
    ck_assert_int_eq(clFinish(harness_queue()), CL_SUCCESS);
    rosace_attention_plan_destroy(&plan);
}
END_TEST

HARNESS_DEVICE_SUITE("cache", rings, rings_just_large_enough, pages, rows_of_a_tensor, features, small_rings_are_refused,
                     bad_tables_are_refused, what_does_not_go_together_is_refused, plans_say_what_they_read)
