/* SPDX-License-Identifier: MIT
 * The backward pass of attention for devices that are quick at wide vectors and at one work-item alone: CPUs.
 *
 *     p = exp(t - lse)     dt = p * (<dout_m, v_n> - delta_m) * (1 - tanh^2 with a softcap)     delta_m = <dout_m, out_m>
 *     dv_n = sum_m p dout_m     dk_n = scale sum_m dt logn(m) q_m     dq_m = scale logn(m) sum_n dt k_n     n visible to m
 *
 * (Dao 2023, FlashAttention-2, algorithm 2.) Probabilities are computed again, a tile of queries with up to TILE_K keys at a
 * time. A work-item owns a block of keys of one key/value head (lib/backward.clh) and goes through the queries that see them.
 * All five products have one form, sums of (scalar of one operand) * (vector of the other) in registers:
 *
 *     score, dscore [n][u]    lanes are queries, as in attention_cpu.cl: keys and values by scalars, q and dout transposed
 *     dq[d][u]                lanes are queries: keys by scalars, dscore
 *     dk, dv [n][i]           lanes are dimensions: dscore and score by scalars, q and dout as they are in memory
 *
 * Global size: (blocks * key/value heads * batch), work-groups of 1; blocks are innermost, so that drivers that deal out runs of
 * neighbours give each core of both kinds: under a causal mask the first have the most to do.
 *
 * Defines: HEAD_DIM a multiple of 8; DTYPE (storage); VEC 4, 8, 16; VECS vectors of queries; TILE_K a multiple of KEYS;
 *   KEYS, DIMS: accumulators of the products are KEYS * VECS and DIMS * VECS vectors; DIMS divides HEAD_DIM; SOFTCAP,
 *   LOGN 0 or 1.
 * A position system that adds a bias is a piece before this one (position/alibi.clh).
 */
#include "lib/dtype.clh"
#include "lib/exp.clh"
#include "lib/logn.clh"
#include "lib/scores.clh"
#include "lib/vector.clh"
#include "lib/backward.clh"

#ifndef VECS
#define VECS 2
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
/* Vectors of a copied row: HEAD_DIM elements and zeros up to a multiple of VECS vectors. */
#define ROW ((HEAD_DIM + QUERIES - 1) / QUERIES * VECS)
#define WIDTH (ROW * VEC)
#define COPIED (TILE_K + KEYS - 1) /* rows: KEYS - 1 rows of zeros, which a last block may touch */
#define FOR_VECS _Pragma("unroll") for (int u = 0; u < VECS; u++)
/* A function with two callers would be one of its own, which PoCL compiles for vectors of half the width. */
#define INLINED __attribute__((always_inline))
#define FOR_KEYS _Pragma("unroll") for (int i = 0; i < KEYS; i++)

/* VEC elements from d on, 0 where HEAD_DIM ends. */
static FLOATV load_row(__global const STORE *row, int d)
{
    if (d >= HEAD_DIM) return 0.0f;
#if HEAD_DIM % VEC /* VEC 16 alone: half a vector is left */
    if (d + VEC > HEAD_DIM) return (FLOATV)(load8(row, d), (float8)(0.0f));
#endif
    return loadv(row, d);
}

static void store_row(FLOATV x, __global STORE *row, int d)
{
    if (d >= HEAD_DIM) return;
#if HEAD_DIM % VEC
    if (d + VEC > HEAD_DIM) {
        store8(x.lo, row, d);
        return;
    }
#endif
    storev(x, row, d);
}

/* A tile of queries: rows, their transposes, and what belongs to a row, in lanes. */
typedef struct query_tile {
    FLOATV rows[QUERIES][ROW], drows[QUERIES][ROW]; /* q scaled, dout */
    FLOATV query[WIDTH][VECS], dquery[WIDTH][VECS];
    FLOATV result[HEAD_DIM][VECS]; /* dq, before the scale */
    FLOATV lse[VECS], delta[VECS]; /* lse in units of log 2; infinity for rows that are not there or see nothing */
    INTV band_begin[VECS], band_end[VECS], head_stop[VECS];
    int place; /* i of the first */
} query_tile;

INLINED static void load_rows(__global const STORE *from, size_t stride, uint first, uint last, const float *factor,
                      FLOATV rows[QUERIES][ROW], FLOATV columns[WIDTH][VECS])
{
    for (uint j = 0; j < QUERIES; j++) {
        __global const STORE *row = from + (size_t)min(first + j, last) * stride;
#pragma unroll
        for (int i = 0; i < ROW; i++) rows[j][i] = load_row(row, i * VEC) * factor[j];
    }
    for (int u = 0; u < VECS; u++)
        for (int i = 0; i < ROW; i++) {
            FLOATV square[VEC];
#pragma unroll
            for (int j = 0; j < VEC; j++) square[j] = rows[u * VEC + j][i];
            transpose(square);
#pragma unroll
            for (int j = 0; j < VEC; j++) columns[i * VEC + j][u] = square[j];
        }
}

static void load_tile(query_tile *t, __global const STORE *q, __global const STORE *dout, __global const float *lse,
                      __global const float *delta, __global const int *ids, const rsc_backward_args *args, uint batch, uint tile)
{
    const uint first = tile * QUERIES, last = args->seq_q - 1;
    float factor[QUERIES], one[QUERIES];
    for (uint j = 0; j < QUERIES; j++) {
        factor[j] = args->q_scale;
        one[j] = 1.0f;
#if LOGN
        const long m = min(first + j, last);
        factor[j] *= logn_factor(LOGN_POSITION(ids, args, batch, m), args->inverse_log_train);
#endif
    }
    load_rows(q, args->q.seq_stride, first, last, factor, t->rows, t->query);
    load_rows(dout, args->dout.seq_stride, first, last, one, t->drows, t->dquery);
    for (uint u = 0; u < VECS; u++) {
        float total[VEC], sum[VEC];
        int head_stop[VEC], band_begin[VEC], band_end[VEC];
        for (uint j = 0; j < VEC; j++) {
            const uint m = first + u * VEC + j, row = min(m, last);
            const float x = lse[row];
            total[j] = m > last || x == -INFINITY ? INFINITY : x * LOG2_E;
            sum[j] = delta[row];
            long begin, head, band, end;
            mask_row(&args->mask, (long)row + args->mask.q_offset, &begin, &head, &band, &end);
            head_stop[j] = (int)head;
            band_begin[j] = (int)min(band, args->mask.seq_k);
            band_end[j] = (int)min(end, args->mask.seq_k);
        }
        t->lse[u] = vloadv(0, total);
        t->delta[u] = vloadv(0, sum);
        t->head_stop[u] = vloadv(0, head_stop);
        t->band_begin[u] = vloadv(0, band_begin);
        t->band_end[u] = vloadv(0, band_end);
    }
    t->place = (int)((long)first + args->mask.q_offset);
}

/* -1 where rows see the key, else 0 */
static INTV sees(const query_tile *t, int u, int key)
{
    return (key < t->head_stop[u]) | ((key >= t->band_begin[u]) & (key < t->band_end[u]));
}

/* Rows as floats, then KEYS - 1 rows of zeros. */
INLINED static void copy_rows(FLOATV to[COPIED][ROW], __global const STORE *from, size_t stride, int rows)
{
    for (int n = 0; n < rows; n++, from += stride)
#pragma unroll
        for (int i = 0; i < ROW; i++) to[n][i] = load_row(from, i * VEC);
    for (int n = rows; n < rows + KEYS - 1; n++)
        for (int i = 0; i < ROW; i++) to[n][i] = 0.0f;
}

INLINED static void clear_rows(FLOATV rows[COPIED][ROW])
{
    for (int n = 0; n < COPIED; n++)
        for (int i = 0; i < ROW; i++) rows[n][i] = 0.0f;
}

/* a[i] = sum_d row i of `rows` [d] * columns[d] for KEYS rows */
INLINED static void multiply_rows(const float *rows, const FLOATV columns[WIDTH][VECS], FLOATV a[KEYS][VECS])
{
    FOR_KEYS FOR_VECS a[i][u] = 0.0f;
    for (int d = 0; d < HEAD_DIM; d++) {
        FLOATV x[VECS];
        FOR_VECS x[u] = columns[d][u];
        FOR_KEYS
        {
            const FLOATV y = rows[i * WIDTH + d];
            FOR_VECS a[i][u] = FMA(y, x[u], a[i][u]);
        }
    }
}

/* Probabilities of a tile with keys first .. first+count-1, rows of `keys` and `values`, and the gradients of their scores; zeros
 * up to a multiple of KEYS. Keys before full_begin and from full_end on are hidden from some row. */
static void weigh_keys(const query_tile *t, const float *keys, const float *values, int first, int count, int full_begin,
                       int full_end, const rsc_backward_args *args,
#if POSITION_BIAS
                       position_param_type param,
#endif
                       FLOATV weight[COPIED][VECS], FLOATV dscore[COPIED][VECS])
{
    for (int n = 0; n < count; n += KEYS) {
        const int key = first + n;
        FLOATV a[KEYS][VECS], b[KEYS][VECS];
        multiply_rows(keys + n * WIDTH, t->query, a);
#if POSITION_BIAS
        FOR_KEYS FOR_VECS
        {
            const int distance = t->place + u * VEC - (key + i);
            a[i][u] = FMA(position_bias_up(param, distance), (FLOATV)(args->bias_scale), a[i][u]);
        }
#endif
        FOR_KEYS FOR_VECS
        {
#if SOFTCAP
            const FLOATV bent = tanhv(a[i][u]);
            const FLOATV p = exp2v(args->cap_scale * bent - t->lse[u]);
            dscore[n + i][u] = FMA(-bent, bent, (FLOATV)(1.0f)) * p;
#else
            const FLOATV p = exp2v(a[i][u] - t->lse[u]);
#endif
            weight[n + i][u] = p;
        }
        if (key < full_begin || key + KEYS > full_end) {
            FOR_KEYS
            {
                const int at = n + i < count ? key + i : INT_MAX; /* INT_MAX: no row sees it */
                FOR_VECS
                {
                    const INTV seen = sees(t, u, at);
                    weight[n + i][u] = seen ? weight[n + i][u] : (FLOATV)(0.0f);
#if SOFTCAP
                    dscore[n + i][u] = seen ? dscore[n + i][u] : (FLOATV)(0.0f);
#endif
                }
            }
        }
        multiply_rows(values + n * WIDTH, t->dquery, b);
#if SOFTCAP
        FOR_KEYS FOR_VECS dscore[n + i][u] *= b[i][u] - t->delta[u];
#else
        FOR_KEYS FOR_VECS dscore[n + i][u] = weight[n + i][u] * (b[i][u] - t->delta[u]);
#endif
    }
}

/* dq of the tile += dscore * keys */
static void add_queries(query_tile *t, const float *keys, int count, const FLOATV dscore[COPIED][VECS])
{
    for (int d = 0; d < HEAD_DIM; d += DIMS) {
        const float *column = keys + d;
        FLOATV a[DIMS][VECS];
#pragma unroll
        for (int i = 0; i < DIMS; i++) FOR_VECS a[i][u] = t->result[d + i][u];
        for (int n = 0; n < count; n++, column += WIDTH) {
            FLOATV x[VECS];
            FOR_VECS x[u] = dscore[n][u];
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

/* dk or dv += weights by rows of q or dout */
INLINED static void add_keys(FLOATV (*to)[ROW], int count, const float *weight, const FLOATV rows[QUERIES][ROW])
{
    for (int n = 0; n < count; n += KEYS, to += KEYS, weight += KEYS * QUERIES)
        for (int c = 0; c < ROW; c += VECS) {
            FLOATV a[KEYS][VECS];
            FOR_KEYS FOR_VECS a[i][u] = to[i][c + u];
            for (int m = 0; m < QUERIES; m++) {
                FLOATV x[VECS];
                FOR_VECS x[u] = rows[m][c + u];
                FOR_KEYS
                {
                    const FLOATV y = weight[i * QUERIES + m];
                    FOR_VECS a[i][u] = FMA(y, x[u], a[i][u]);
                }
            }
            FOR_KEYS FOR_VECS to[i][c + u] = a[i][u];
        }
}


__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
backward_cpu(__global const STORE *restrict q, __global const STORE *restrict k, __global const STORE *restrict v,
             __global const STORE *restrict dout, __global const float *restrict lse, __global const float *restrict bias_params,
             __global const int *restrict ids, __global float *restrict workspace, __global STORE *restrict dk,
             __global STORE *restrict dv, const rsc_backward_args args)
{
    const uint kv_heads = args.heads / args.group, id = (uint)get_global_id(0);
    const uint block = id % args.blocks, kv_head = id / args.blocks % kv_heads, batch = id / args.blocks / kv_heads;
    const int block_begin = (int)(block * args.block_keys);
    const int block_end = min(block_begin + (int)args.block_keys, (int)args.mask.seq_k);
    q += args.q.offset + batch * args.q.batch_stride;
    k += args.k.offset + batch * args.k.batch_stride + kv_head * args.k.head_stride;
    v += args.v.offset + batch * args.v.batch_stride + kv_head * args.v.head_stride;
    dout += args.dout.offset + batch * args.dout.batch_stride;
    dk += args.dk.offset + batch * args.dk.batch_stride + kv_head * args.dk.head_stride;
    dv += args.dv.offset + batch * args.dv.batch_stride + kv_head * args.dv.head_stride;
    const uint slot = slot_of_block(&args, block);

    query_tile t;
    FLOATV keys[COPIED][ROW], values[COPIED][ROW], dkeys[COPIED][ROW], dvalues[COPIED][ROW];
    FLOATV weight[COPIED][VECS], dscore[COPIED][VECS];

    for (int first = block_begin; first < block_end; first += TILE_K) {
        const int end = min(first + TILE_K, block_end), count = end - first;
        copy_rows(keys, k + (size_t)first * args.k.seq_stride, args.k.seq_stride, count);
        copy_rows(values, v + (size_t)first * args.v.seq_stride, args.v.seq_stride, count);
        clear_rows(dkeys);
        clear_rows(dvalues);
        uint first_tile, end_tile;
        tiles_of_keys(&args, QUERIES, first, end, &first_tile, &end_tile);
        for (uint g = 0; g < args.group; g++) {
            const uint head = kv_head * args.group + g;
            const size_t rows_of = ((size_t)batch * args.heads + head) * args.seq_q;
#if POSITION_BIAS
            const position_param_type param = position_param(bias_params + args.bias_offset, head);
#endif
            for (uint tile = first_tile; tile < end_tile; tile++) {
                const mask_intervals visit = tile_visits(&args, tile, QUERIES);
                if (!visits_keys(&visit, first, end)) continue;
                load_tile(&t, q + head * args.q.head_stride, dout + head * args.dout.head_stride,
                          lse + args.lse_offset + rows_of, workspace + args.delta_offset + rows_of, ids, &args, batch, tile);
                __global float *partial = workspace + partial_of(&args, slot, batch, head, tile, HEAD_DIM, QUERIES);
                if (visits_keys(&visit, block_begin, first)) {
                    for (int d = 0; d < HEAD_DIM; d++) FOR_VECS t.result[d][u] = vloadv(0, partial + d * QUERIES + u * VEC);
                } else {
                    for (int d = 0; d < HEAD_DIM; d++) FOR_VECS t.result[d][u] = 0.0f;
                }
                for (int part = 0; part < 2; part++) {
                    const int from = max(part ? visit.band_begin : 0, first);
                    const int own = min(part ? visit.band_end : visit.head_end, end) - from, at = from - first;
                    if (own <= 0) continue;
                    weigh_keys(&t, (const float *)keys[at], (const float *)values[at], from, own,
                               part ? visit.band_full_begin : 0, part ? visit.band_full_end : visit.head_full_end, &args,
#if POSITION_BIAS
                               param,
#endif
                               weight, dscore);
                    add_queries(&t, (const float *)keys[at], own, dscore);
                    add_keys(dvalues + at, own, (const float *)weight, t.drows);
                    add_keys(dkeys + at, own, (const float *)dscore, t.rows);
                }
                for (int d = 0; d < HEAD_DIM; d++) FOR_VECS vstorev(t.result[d][u], 0, partial + d * QUERIES + u * VEC);
            }
        }
        for (int n = 0; n < count; n++)
#pragma unroll
            for (int i = 0; i < ROW; i++) {
                store_row(dkeys[n][i] * args.dk_scale, dk + (size_t)(first + n) * args.dk.seq_stride, i * VEC);
                store_row(dvalues[n][i], dv + (size_t)(first + n) * args.dv.seq_stride, i * VEC);
            }
    }
}

/* dq: the sum of its slots, in the order of their blocks. Global size: (tiles * heads * batch), work-groups of 1. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
backward_dq(__global STORE *restrict dq, __global const int *restrict ids, __global const float *restrict workspace,
            const rsc_backward_args args)
{
    const uint id = (uint)get_global_id(0);
    const uint tile = id % args.tiles, head = id / args.tiles % args.heads, batch = id / args.tiles / args.heads;
    const mask_intervals visit = tile_visits(&args, tile, QUERIES);
    FLOATV sum[WIDTH][VECS];
    for (int d = 0; d < WIDTH; d++) FOR_VECS sum[d][u] = 0.0f;
    for (uint block = 0; block < args.blocks; block++) {
        const int begin = (int)(block * args.block_keys);
        if (begin >= visit.head_end && visit.band_begin >= begin + (int)args.block_keys) {
            block = max(block, visit.band_begin / args.block_keys - 1); /* none in between */
            continue;
        }
        if (begin >= max(visit.head_end, visit.band_end)) break;
        if (!visits_keys(&visit, begin, min(begin + (int)args.block_keys, (int)args.mask.seq_k))) continue;
        __global const float *partial =
            workspace + partial_of(&args, slot_of_block(&args, block), batch, head, tile, HEAD_DIM, QUERIES);
        for (int d = 0; d < HEAD_DIM; d++) FOR_VECS sum[d][u] += vloadv(0, partial + d * QUERIES + u * VEC);
    }
    dq += args.dq.offset + batch * args.dq.batch_stride + head * args.dq.head_stride;
    for (int u = 0; u < VECS; u++)
        for (int d = 0; d < HEAD_DIM; d += VEC) {
            FLOATV rows[VEC];
#pragma unroll
            for (int j = 0; j < VEC; j++) rows[j] = sum[d + j][u];
            transpose(rows);
            for (uint j = 0; j < VEC; j++) {
                const uint m = tile * QUERIES + u * VEC + j;
                if (m >= args.seq_q) break;
                float factor = args.dq_scale;
#if LOGN
                factor *= logn_factor(LOGN_POSITION(ids, &args, batch, m), args.inverse_log_train);
#endif
                store_row(rows[j] * factor, dq + (size_t)m * args.dq.seq_stride, d);
            }
        }
}
