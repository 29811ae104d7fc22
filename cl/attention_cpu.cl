/* SPDX-License-Identifier: MIT
 * Attention for devices that are quick at wide vectors and at one work-item alone: CPUs.
 *
 *     t[m, n] = q_scale * logn(m) * <q_m, k_n> + bias_scale * bias(m, n), cap_scale * tanh(t) with a softcap
 *     out[m] = sum_n 2^t[m, n] v_n / sum_n 2^t[m, n]        lse[m] = ln(2) * log2 sum_n 2^t[m, n]       n visible to m
 *
 * Lanes are queries. A tile is QUERIES = VEC * VECS queries of one head; queries, scores and results are vectors over them,
 * elements of keys and values are scalars that all lanes share. So nothing is ever summed across lanes, and the largest score,
 * the sum of weights and the mask are vectors, too. A work-item owns up to TILES tiles that read the same keys and values:
 * neighbours among (tile, head of the group), heads first. Keys and values are copied next to each other once for all of
 * them, TILE_K at a time: memory is read in one sweep, and the loops that use it find it packed, near, and as float.
 *
 *     query[d][u], result[d][u]   element d of queries u*VEC .. u*VEC + VEC-1 of a tile (private)
 *     keys[n][d], values[n][d]    what is copied (private)
 *     score[n][u]                 scores of a tile with key n of these, then their weights (private)
 *
 * Keys are visited in the two intervals that the mask leaves (lib/mask.clh), each tile from its exact first key on, KEYS at a
 * time in registers; such a block is compared with the rows' own bounds only where some row does not see all of it. The softmax
 * is online: result and sum are rescaled when the largest score grows.
 *
 * Global size: (items * key/value heads, 1, batch) with items = ceil(tiles * group / per_item), work-groups of 1. Key/value
 * heads are innermost where they are so in memory (near_heads = their number): a page of it holds rows of all of them. Else a
 * head's items follow each other (near_heads = 1). With SEQUENCES items are slots of the table (lib/call.clh), each of one
 * sequence, and the batch is 1.
 *
 * Defines: HEAD_DIM a multiple of 8; DTYPE (storage); VEC 4, 8, 16; VECS vectors of queries; TILES at least 1;
 *   TILE_K a multiple of KEYS; KEYS, DIMS: accumulators of the two products are KEYS * VECS and DIMS * VECS vectors, which
 *   with VECS + 1 more should fit the registers; DIMS divides HEAD_DIM; SOFTCAP, LOGN, REROPE, SHAW 0 or 1 (lib/rerope.clh, lib/shaw.clh).
 * A position system that adds a bias is a piece before this one (position/alibi.clh).
 */
#include "lib/call.clh"
#include "lib/dtype.clh"
#include "lib/exp.clh"
#include "lib/extras.clh"
#include "lib/host.clh"
#include "lib/key_row.clh"
#include "lib/logn.clh"
#include "lib/mask.clh"
#include "lib/rerope.clh"
#include "lib/scores.clh"
#include "lib/shaw.clh"
#include "lib/vector.clh"
#include "shared/attention_args.h"

#ifndef VECS
#define VECS 2
#endif
#ifndef TILES
#define TILES 2
#endif
#ifndef TILE_K
#define TILE_K 64
#endif
#ifndef KEYS
#define KEYS 8
#endif
#ifndef DIMS
#define DIMS 8
#endif

#if HEAD_DIM % 8 || HEAD_DIM % DIMS || TILE_K % KEYS
#error "HEAD_DIM must be a multiple of 8 and of DIMS, TILE_K of KEYS"
#endif

#define QUERIES (VEC * VECS)
#define ROW ((HEAD_DIM + VEC - 1) / VEC) /* vectors of a copied row */
#define FOR_VECS _Pragma("unroll") for (int u = 0; u < VECS; u++)

#include "lib/rerope_cpu.clh"
#include "lib/shaw_cpu.clh"

/* What a vector of queries sees: key < head_end, or band_begin <= key < band_end. */
typedef struct vector_bounds {
    INTV head_end, band_begin, band_end;
    int place; /* i of the first */
} vector_bounds;

/* -1 where a row sees the key, else 0 */
static INTV sees(const vector_bounds *bounds, int key)
{
    return (key < bounds->head_end) | ((key >= bounds->band_begin) & (key < bounds->band_end));
}

static void load_bounds(const rsc_mask_args *mask, uint row, uint last, vector_bounds *bounds)
{
    int head_end[VEC], band_begin[VEC], band_end[VEC];
    for (uint j = 0; j < VEC; j++) {
        const long i = (long)min(row + j, last) + mask->q_offset;
        long begin, head, band, end;
        mask_row(mask, i, &begin, &head, &band, &end);
        head_end[j] = (int)head;
        band_begin[j] = (int)min(band, mask->seq_k);
        band_end[j] = (int)min(end, mask->seq_k);
    }
    bounds->head_end = vloadv(0, head_end);
    bounds->band_begin = vloadv(0, band_begin);
    bounds->band_end = vloadv(0, band_end);
    bounds->place = (int)((long)min(row, last) + mask->q_offset);
}

enum {
    LINE = 64 / sizeof(STORE), /* elements of a cache line, as most CPUs have it */
    SCORE_TURNS = TILE_K / KEYS, /* of score_keys for TILE_K keys */
    VALUE_TURNS = HEAD_DIM / DIMS, /* of add_values */
    QUERY_TURNS = VECS * ROW       /* of begin_tile */
};

/* Rows that will be wanted soon, asked for line by line while other work is done: a few at each of `turns` turns. */
typedef struct line_hints {
    __global const STORE *row;
    size_t stride;
    int rows, d, lines;
} line_hints;

static line_hints hints_for(__global const STORE *row, size_t stride, int rows, int turns)
{
    const int lines = (rows * (HEAD_DIM / 8) + turns * (LINE / 8) - 1) / (turns * (LINE / 8));
    return (line_hints){row, stride, rows, 0, lines};
}

static void hint_lines(line_hints *h)
{
    for (int i = 0; i < h->lines && h->rows > 0; i++) {
        prefetch_near(h->row + h->d);
        h->d += LINE;
        if (h->d >= HEAD_DIM) {
            h->d = 0;
            h->row += h->stride;
            h->rows--;
        }
    }
}

/* VEC elements from d on, 0 where HEAD_DIM ends (VEC 16 only: HEAD_DIM is a multiple of 8). */
static FLOATV load_row(__global const STORE *row, int d)
{
#if HEAD_DIM % VEC
    if (d + VEC > HEAD_DIM) return (FLOATV)(load8(row, d), (float8)(0.0f));
#endif
    return loadv(row, d);
}

static void store_row(FLOATV x, __global STORE *row, int d)
{
#if HEAD_DIM % VEC
    if (d + VEC > HEAD_DIM) {
        store8(x.lo, row, d);
        return;
    }
#endif
    storev(x, row, d);
}

#if LOGN
static FLOATV logn_factors(__global const int *ids, const rsc_attention_kernel_args *args, uint batch, uint row, uint last)
{
    float factor[VEC];
    for (uint j = 0; j < VEC; j++) {
        const long m = min(row + j, last);
        factor[j] = logn_factor(LOGN_POSITION(ids, args, batch, m), args->inverse_log_train);
    }
    return vloadv(0, factor);
}
#endif

/* A tile of queries on its way. */
typedef struct query_tile {
    FLOATV query[HEAD_DIM][VECS], result[HEAD_DIM][VECS];
    FLOATV largest[VECS], sum[VECS];
    vector_bounds bounds[VECS];
    mask_intervals visit;
    uint row, head;
#if REROPE
    FLOATV far_query[HEAD_DIM][VECS];
    int rerope_window;
#endif
#if SHAW
    shaw_tile shaw;
#endif
#if POSITION_BIAS
    position_param_type param;
#endif
} query_tile;

/* What products with keys are added to. */
#if SHAW
#define SCORE_BEFORE(n, u) score[n][u]
#else
#define SCORE_BEFORE(n, u) ((FLOATV)(0.0f))
#endif

/* Keys begin .. end-1 of a part of what a tile visits, of which all rows see full_begin .. full_end-1. */
typedef struct key_range {
    int begin, end, full_begin, full_end;
} key_range;

static key_range part_of(const mask_intervals *visit, int part)
{
    const key_range head = {0, visit->head_end, 0, visit->head_full_end};
    const key_range band = {visit->band_begin, visit->band_end, visit->band_full_begin, visit->band_full_end};
    return part ? band : head;
}

/* Rows row .. row + VEC-1 to vector u of `query`; those past the last repeat it. */
static void load_queries(FLOATV query[][VECS], int u, __global const STORE *q, size_t stride, uint row, uint last, FLOATV factor,
                         line_hints *hint_q, line_hints *hint_k, line_hints *hint_v)
{
    for (int d = 0; d < HEAD_DIM; d += VEC) {
        FLOATV rows[VEC];
        hint_lines(hint_q);
        hint_lines(hint_k);
        hint_lines(hint_v);
#pragma unroll
        for (uint j = 0; j < VEC; j++) rows[j] = load_row(q + min(row + j, last) * stride, d);
        transpose(rows);
#pragma unroll
        for (int j = 0; j < VEC; j++)
            if (d + j < HEAD_DIM) query[d + j][u] = rows[j] * factor;
    }
}

static void begin_tile(query_tile *t, __global const STORE *q, __global const int *ids, const rsc_attention_kernel_args *args,
                       uint batch, line_hints *hint_q, line_hints *hint_k, line_hints *hint_v)
{
    const uint last = args->seq_q - 1;
    for (int u = 0; u < VECS; u++) {
        const uint row = t->row + u * VEC;
        FLOATV factor = args->q_scale;
#if LOGN
        const FLOATV logn = logn_factors(ids, args, batch, row, last);
        factor *= logn;
#endif
#if SHAW && LOGN
        t->shaw.scale[u] = 1.0f / logn;
#elif SHAW
        t->shaw.scale[u] = 1.0f;
#endif
        load_queries(t->query, u, q, args->q.seq_stride, row, last, factor, hint_q, hint_k, hint_v);
        for (int d = 0; d < HEAD_DIM; d++) t->result[d][u] = 0.0f;
        t->largest[u] = LEAST;
        t->sum[u] = 0.0f;
        load_bounds(&args->mask, row, last, &t->bounds[u]);
    }
}

#if REROPE
static void begin_far(query_tile *t, __global const STORE *q, __global const int *ids, const rsc_attention_kernel_args *args,
                      const rsc_rerope_args *far, uint batch)
{
    const uint last = args->seq_q - 1;
    line_hints none = {q, 0, 0, 0, 0};
    for (int u = 0; u < VECS; u++) {
        FLOATV factor = args->q_scale * far->scale;
#if LOGN
        factor *= logn_factors(ids, args, batch, t->row + u * VEC, last);
#endif
        load_queries(t->far_query, u, q, far->q.seq_stride, t->row + u * VEC, last, factor, &none, &none, &none);
    }
    t->rerope_window = far->window;
}
#endif

/* Rows as floats, ROW vectors each; KEYS - 1 rows of 0 follow, which a last block may touch. Returns whether all is finite. */
#if KV_CACHE
static int copy_rows(FLOATV *to, __global const STORE *base, const rsc_cache_args *cache, __global const int *blocks, int first,
                     size_t block_stride, size_t stride, int rows)
{
    __global const STORE *from = base;
    int run = 0; /* of them that follow each other */
#else
static int copy_rows(FLOATV *to, __global const STORE *from, size_t stride, int rows)
{
#endif
    INTV largest = 0; /* of the bits below the sign: those of infinities and NaN are the greatest */
    for (int n = 0; n < rows; n++, to += ROW, from += stride) {
#if KV_CACHE
        if (run-- == 0) {
            uint block, slot;
            run = key_run(cache, blocks, first + n, &block, &slot) - 1;
            from = base + block * block_stride + slot * stride;
        }
#endif
#pragma unroll
        for (int i = 0; i < ROW; i++) {
            to[i] = load_row(from, i * VEC);
            largest = max(largest, as_intv(to[i]) & INT_MAX);
        }
    }
    for (int i = 0; i < (KEYS - 1) * ROW; i++) to[i] = 0.0f;
    return all(largest < as_int(INFINITY));
}

/* Scores of a tile with keys first .. first+count-1, which are rows of `keys`. Returns the largest so far in raised. */
static void score_keys(const query_tile *t, const float *keys, const float *far_keys, int first, int count, key_range range,
                       const rsc_attention_kernel_args *args, FLOATV score[][VECS], FLOATV raised[VECS],
                       line_hints *hints)
{
    FOR_VECS raised[u] = t->largest[u];
    for (int n = 0; n < count; n += KEYS) {
        const float *block = keys + n * (ROW * VEC);
        hint_lines(hints);
        FLOATV a[KEYS][VECS];
#if REROPE
        rerope_products(t->query, t->far_query, block, far_keys + n * (ROW * VEC), t->bounds[0].place - (first + n),
                        t->rerope_window, a);
#else
#pragma unroll
        for (int i = 0; i < KEYS; i++) FOR_VECS a[i][u] = SCORE_BEFORE(n + i, u);
        for (int d = 0; d < HEAD_DIM; d++) {
            FLOATV x[VECS];
            FOR_VECS x[u] = t->query[d][u];
#pragma unroll
            for (int i = 0; i < KEYS; i++) {
                const FLOATV y = block[i * (ROW * VEC) + d];
                FOR_VECS a[i][u] = FMA(y, x[u], a[i][u]);
            }
        }
#endif
        const int key = first + n;
#if POSITION_BIAS
#pragma unroll
        for (int i = 0; i < KEYS; i++)
            FOR_VECS
            {
                const int distance = t->bounds[u].place - (key + i);
                a[i][u] = FMA(position_bias_up(t->param, distance), (FLOATV)(args->bias_scale), a[i][u]);
            }
#endif
#if SOFTCAP
#pragma unroll
        for (int i = 0; i < KEYS; i++) FOR_VECS a[i][u] = args->cap_scale * tanhv(a[i][u]);
#endif
        if (key < range.full_begin || key + KEYS > range.full_end) {
#pragma unroll
            for (int i = 0; i < KEYS; i++) {
                const int at = n + i < count ? key + i : INT_MAX; /* INT_MAX: no row sees it */
                FOR_VECS
                {
                    const INTV seen = sees(&t->bounds[u], at);
                    a[i][u] = seen ? a[i][u] : (FLOATV)(HIDDEN);
                }
            }
        }
#pragma unroll
        for (int i = 0; i < KEYS; i++)
            FOR_VECS
            {
                raised[u] = raised[u] < a[i][u] ? a[i][u] : raised[u];
                score[n + i][u] = a[i][u];
            }
    }
}

/* Scores become weights; rescale is what results so far are worth by the new largest score. */
static void weigh_keys(query_tile *t, int count, const FLOATV raised[VECS], FLOATV score[][VECS], FLOATV rescale[VECS])
{
    FLOATV sum[VECS];
    FOR_VECS
    {
        rescale[u] = exp2v(t->largest[u] - raised[u]);
        t->largest[u] = raised[u];
        sum[u] = t->sum[u] * rescale[u];
    }
    for (int n = 0; n < count; n++)
        FOR_VECS
        {
            const FLOATV weight = exp2v(score[n][u] - raised[u]);
            score[n][u] = weight;
            sum[u] += weight;
        }
    FOR_VECS t->sum[u] = sum[u];
}

static void add_values(query_tile *t, const float *values, int count, const FLOATV weight[][VECS],
                       const FLOATV rescale[VECS], line_hints *hints)
{
    for (int d = 0; d < HEAD_DIM; d += DIMS) {
        hint_lines(hints);
        const float *column = values + d;
        FLOATV a[DIMS][VECS];
#pragma unroll
        for (int i = 0; i < DIMS; i++) FOR_VECS a[i][u] = t->result[d + i][u] * rescale[u];
        for (int n = 0; n < count; n++, column += ROW * VEC) {
            FLOATV x[VECS];
            FOR_VECS x[u] = weight[n][u];
#pragma unroll
            for (int i = 0; i < DIMS; i++) {
                const FLOATV y = column[i];
                FOR_VECS a[i][u] = FMA(y, x[u], a[i][u]);
            }
        }
#pragma unroll
        for (int i = 0; i < DIMS; i++) FOR_VECS t->result[d + i][u] = a[i][u];
    }
}

/* The same where some value is not finite, one that a row must not see then, though its weight is 0. */
static void add_seen_values(query_tile *t, const float *values, int first, int count, const FLOATV weight[][VECS],
                            const FLOATV rescale[VECS])
{
    for (int d = 0; d < HEAD_DIM; d++) {
        FLOATV a[VECS];
        FOR_VECS a[u] = t->result[d][u] * rescale[u];
        for (int n = 0; n < count; n++) {
            const FLOATV y = values[n * (ROW * VEC) + d];
            FOR_VECS a[u] = sees(&t->bounds[u], first + n) ? FMA(y, weight[n][u], a[u]) : a[u];
        }
        FOR_VECS t->result[d][u] = a[u];
    }
}

static void end_tile(const query_tile *t, __global STORE *out, __global float *lse, const rsc_attention_kernel_args *args)
{
    const uint last = args->seq_q - 1;
    for (int u = 0; u < VECS; u++) {
        const uint row = t->row + u * VEC;
        /* A row that saw no key has a sum of 0, and zeros for a result. */
        const INTV none = t->sum[u] == (FLOATV)(0.0f);
        const FLOATV inverse = none ? (FLOATV)(0.0f) : 1.0f / t->sum[u];
        /* Whole rows go out one after the other: with a power of two between rows, a column of them meets in one set of the
         * cache. */
        FLOATV lines[VEC][ROW];
        for (int d = 0; d < HEAD_DIM; d += VEC) {
            FLOATV rows[VEC];
#pragma unroll
            for (int j = 0; j < VEC; j++) rows[j] = d + j < HEAD_DIM ? t->result[d + j][u] * inverse : (FLOATV)(0.0f);
            transpose(rows);
#pragma unroll
            for (int j = 0; j < VEC; j++) lines[j][d / VEC] = rows[j];
        }
        for (uint j = 0; j < VEC && row + j <= last; j++)
#pragma unroll
            for (int i = 0; i < ROW; i++) store_row(lines[j][i], out + (row + j) * args->out.seq_stride, i * VEC);
        if (args->has_lse) {
            float total[VEC];
            const FLOATV log_sum = none ? (FLOATV)(-INFINITY) : M_LN2_F * (t->largest[u] + log2(t->sum[u]));
            vstorev(log_sum, 0, total);
            for (uint j = 0; j < VEC; j++)
                if (row + j <= last) lse[row + j] = total[j];
        }
    }
}

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attention_cpu(__global const STORE *restrict q, __global const STORE *restrict k, __global const STORE *restrict v,
              __global STORE *restrict out, __global float *restrict lse, __global const float *restrict bias_params,
              __global const int *restrict ids, OWN_ARGS(rsc_attention_kernel_args)
           CACHE_PARAMS EXTRAS_PARAMS REROPE_PARAMS SHAW_PARAMS OWN_PARAMS)
{
    COPY_ARGS(rsc_attention_kernel_args)
#if SEQUENCES
    const uint id = (uint)get_global_id(0), items = args.tiles;
#else
    const uint id = (uint)get_global_id(0), items = (args.tiles * args.group + args.per_item - 1) / args.per_item;
#endif
    const uint kv_head = id % args.near_heads + id / (args.near_heads * items) * args.near_heads;
#if SEQUENCES
    uint first_tile = id / args.near_heads % items;
    SEQUENCE_TILE(args, first_tile)
    args.tiles = (args.seq_q + QUERIES - 1) / QUERIES;
#else
    const uint first_tile = id / args.near_heads % items * args.per_item;
#endif
    const int tiles = (int)min(args.per_item, args.tiles * args.group - first_tile);
    const uint batch = (uint)get_global_id(2);
    q += args.q.offset + batch * args.q.batch_stride;
    k += args.k.offset + batch * args.k.batch_stride + kv_head * args.k.head_stride;
    v += args.v.offset + batch * args.v.batch_stride + kv_head * args.v.head_stride;
    out += args.out.offset + batch * args.out.batch_stride;
    lse += args.lse_offset + (size_t)batch * args.heads * args.lse_rows;
#if KV_CACHE
    __global const int *blocks = CACHE_BLOCKS(batch);
/* Of a key that is perhaps past the last, where nothing is asked for. */
#define KEY_AT(n, end) key_row(&cache, blocks, clamp(n, 0, max(end, 1) - 1), cache.k_block_stride, args.k.seq_stride)
#define VALUE_AT(n, end) key_row(&cache, blocks, clamp(n, 0, max(end, 1) - 1), cache.v_block_stride, args.v.seq_stride)
#define COPY_KEYS(to, n, count) copy_rows(to, k, &cache, blocks, n, cache.k_block_stride, args.k.seq_stride, count)
#define COPY_VALUES(to, n, count) copy_rows(to, v, &cache, blocks, n, cache.v_block_stride, args.v.seq_stride, count)
#else
#define KEY_AT(n, end) ((size_t)(n) * args.k.seq_stride)
#define VALUE_AT(n, end) ((size_t)(n) * args.v.seq_stride)
#define COPY_KEYS(to, n, count) copy_rows(to, k + KEY_AT(n, 0), args.k.seq_stride, count)
#define COPY_VALUES(to, n, count) copy_rows(to, v + VALUE_AT(n, 0), args.v.seq_stride, count)
#endif

    query_tile tile[TILES];
    FLOATV keys[(TILE_K + KEYS - 1) * ROW], values[(TILE_K + KEYS - 1) * ROW];
    FLOATV score[TILE_K][VECS];
#if SHAW
    FLOATV skewed[SKEW_ROWS][VECS];
    shaw_key += shaw.key_offset;
    shaw_value += shaw.value_offset;
#endif
#if REROPE
    FLOATV far_keys[(TILE_K + KEYS - 1) * ROW];
    long first_place = LONG_MAX, last_place = LONG_MIN; /* of all tiles */
    far_q += far.q.offset + batch * far.q.batch_stride;
    far_k += far.k.offset + batch * far.k.batch_stride + kv_head * far.k.head_stride;
#endif

    for (int i = 0; i < tiles; i++) {
        tile[i].row = (first_tile + i) / args.group * QUERIES;
        tile[i].head = kv_head * args.group + (first_tile + i) % args.group;
        const long end = min(tile[i].row + QUERIES, args.seq_q) - 1;
        HEAD_WINDOW(args, tile[i].head)
        tile[i].visit = mask_tile(&args.mask, (long)tile[i].row + args.mask.q_offset, end + args.mask.q_offset);
#if POSITION_BIAS
        tile[i].param = position_param(bias_params + args.bias_offset, tile[i].head);
#endif
    }
    key_range all[2]; /* of all tiles together */
    for (int part = 0; part < 2; part++) {
        all[part].begin = INT_MAX;
        all[part].end = 0;
        for (int i = 0; i < tiles; i++) {
            const key_range range = part_of(&tile[i].visit, part);
            if (range.begin >= range.end) continue;
            all[part].begin = min(all[part].begin, range.begin);
            all[part].end = max(all[part].end, range.end);
        }
    }
    const int first_part = all[0].begin >= all[0].end;
    const int begin_rows = min(TILE_K, all[first_part].end - all[first_part].begin);
    line_hints hint_k = hints_for(k + KEY_AT(all[first_part].begin, all[first_part].end), args.k.seq_stride, begin_rows,
                                  tiles * QUERY_TURNS);
    line_hints hint_v = hints_for(v + VALUE_AT(all[first_part].begin, all[first_part].end), args.v.seq_stride, begin_rows,
                                  tiles * QUERY_TURNS);
    for (int i = 0; i < tiles; i++) {
        const query_tile *after = &tile[min(i + 1, tiles - 1)];
        line_hints hint_q = hints_for(q + after->head * args.q.head_stride + after->row * args.q.seq_stride,
                                      args.q.seq_stride, (int)min((uint)QUERIES, args.seq_q - after->row), QUERY_TURNS);
        HEAD_WINDOW(args, tile[i].head)
        begin_tile(&tile[i], q + tile[i].head * args.q.head_stride, ids, &args, batch, &hint_q, &hint_k, &hint_v);
#if SINK
        FOR_VECS tile[i].largest[u] = sink_largest(tile[i].head);
        FOR_VECS tile[i].sum[u] = sink_sum(tile[i].head);
#endif
#if SHAW
        shaw_begin(&tile[i].shaw, tile[i].query, shaw_key, &shaw);
#endif
#if REROPE
        begin_far(&tile[i], far_q + tile[i].head * far.q.head_stride, ids, &args, &far, batch);
        first_place = min(first_place, (long)tile[i].bounds[0].place);
        last_place = max(last_place, (long)tile[i].bounds[0].place + QUERIES - 1);
#endif
    }

    for (int part = 0; part < 2; part++) {
        const int begin = all[part].begin, end = all[part].end;
        for (int first = begin; first < end; first += TILE_K) {
            const int count = min(TILE_K, end - first);
#if REROPE
            if (some_near(far.window, first_place, first, TILE_K + KEYS))
                COPY_KEYS(keys, first, count);
            if (some_far(far.window, last_place, first))
                copy_rows(far_keys, far_k + (size_t)first * far.k.seq_stride, far.k.seq_stride, count);
            const float *far_rows = (const float *)far_keys;
#else
            COPY_KEYS(keys, first, count);
            const float *far_rows = 0;
#endif
            const int finite = COPY_VALUES(values, first, count);
            for (int i = 0; i < tiles; i++) {
                const key_range range = part_of(&tile[i].visit, part);
                const int from = max(range.begin, first), own = min(range.end, first + count) - from;
                if (own <= 0) continue;
                VISITED(own, 1)
                FLOATV raised[VECS], rescale[VECS];
                /* Each tile asks for its share of the rows that come next, or, at its own end, for where its results go. */
                const int share = (TILE_K + tiles - 1) / tiles, next = first + TILE_K + i * share;
                const int rows = min(share, end - next);
                line_hints hint_k = hints_for(k + KEY_AT(next, end), args.k.seq_stride, rows, SCORE_TURNS);
                line_hints hint_v = hints_for(v + VALUE_AT(next, end), args.v.seq_stride, rows, VALUE_TURNS);
                if (part && from + own == range.end) {
                    const int here = (int)min((uint)QUERIES, args.seq_q - tile[i].row), few = here / 2;
                    __global const STORE *to =
                        out + tile[i].head * args.out.head_stride + tile[i].row * args.out.seq_stride;
                    hint_k = hints_for(to, args.out.seq_stride, few, SCORE_TURNS);
                    hint_v = hints_for(to + few * args.out.seq_stride, args.out.seq_stride, here - few, VALUE_TURNS);
                }
                const float *near_keys = (const float *)(keys + (from - first) * ROW);
                const float *near_values = (const float *)(values + (from - first) * ROW);
#if SHAW
                const int place = tile[i].bounds[0].place;
                shaw_scores(&tile[i].shaw, tile[i].query, place - from, from, own, shaw_key, &shaw, skewed, score);
#endif
                score_keys(&tile[i], near_keys, far_rows + (from - first) * (ROW * VEC), from, own, range, &args, score, raised, &hint_k);
                weigh_keys(&tile[i], own, raised, score, rescale);
                if (finite) add_values(&tile[i], near_values, own, score, rescale, &hint_v);
                else add_seen_values(&tile[i], near_values, from, own, score, rescale);
#if SHAW
                shaw_values(&tile[i].shaw, tile[i].result, place, from, own, shaw_value, &shaw, score, rescale, skewed);
#endif
            }
        }
    }

#if SHAW
    for (int i = 0; i < tiles; i++)
        shaw_end(&tile[i].shaw, tile[i].result, tile[i].bounds[0].place, shaw_value, &shaw);
#endif
    for (int i = 0; i < tiles; i++)
        end_tile(&tile[i], out + tile[i].head * args.out.head_stride, lse + (size_t)tile[i].head * args.lse_rows, &args);
}
