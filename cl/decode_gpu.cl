/* SPDX-License-Identifier: MIT
 * Attention of few queries over many keys, for devices whose work-groups share local memory: GPUs. The formula is that of
 * attention_cpu.cl:
 *
 *     t[m, n] = q_scale * logn(m) * <q_m, k_n> + bias_scale * bias(m, n), cap_scale * tanh(t) with a softcap
 *     out[m] = sum_n 2^t[m, n] v_n / sum_n 2^t[m, n]        lse[m] = ln(2) * log2 sum_n 2^t[m, n]       n visible to m
 *
 * Time goes into reading keys and values, so each is read from memory once: a work-group owns a split of the visible keys and
 * up to ROWS rows that read it. A row is a query of a head; those of a key/value head are numbered w = m * group + head of the
 * group. Tiles of TILE_K keys at a time,
 *
 *     query[d][r]    the rows, scaled          chunk[n][d]   CHUNK elements of the keys
 *     weight[r][n]   scores, then weights      partial[r][j] of a row's maximum or sum, rescale[r] of its result
 *
 *   - scores: item (x, y) has key x and the rows y * PART .. of it; keys pass through local memory, since neighbours read
 *     neighbouring addresses but multiply their own key
 *   - softmax: SPREAD items share a row
 *   - results: item (c, s) has the elements 4c .. 4c+3 of all rows over the keys s, s + SLICES, ...; values are read where they
 *     are, neighbours side by side
 *
 * The visible keys of the rows, head and band of lib/mask.clh put side by side, are cut into `splits` runs. With one split the
 * group writes the result, with more a partial result for decode_reduce.cl. All items of a group take the same way, so that
 * barriers meet.
 *
 * Global size: tiles of rows * key/value heads * splits * batch, in this order, times ITEMS; work-groups of ITEMS.
 * Local memory: 4 * (HEAD_DIM*ROWS + TILE_K*(CHUNK+1) + ROWS*(TILE_K+SPREAD+3)) bytes.
 *
 * Defines: HEAD_DIM a multiple of 8, at most 4 * ITEMS; DTYPE (storage); ITEMS a multiple of TILE_K; ROWS at most ITEMS/8;
 *   TILE_K a multiple of 8; CHUNK a multiple of 4 that divides HEAD_DIM; SOFTCAP, LOGN, REROPE, SHAW 0 or 1. A position system that adds a
 *   bias is a piece before this one (position/alibi.clh).
 */
#include "lib/call.clh"
#include "lib/dtype.clh"
#include "lib/extras.clh"
#include "lib/key_row.clh"
#include "lib/logn.clh"
#include "lib/mask.clh"
#include "lib/rerope.clh"
#include "lib/scores.clh"
#include "lib/shaw.clh"
#include "shared/decode_args.h"

#ifndef ITEMS
#define ITEMS 128
#endif
#ifndef ROWS
#define ROWS 8
#endif
#ifndef TILE_K
#define TILE_K 64
#endif
#ifndef CHUNK
#define CHUNK 32
#endif

#define SPREAD 8
#if ITEMS % TILE_K || TILE_K % SPREAD || CHUNK % 4 || HEAD_DIM % CHUNK || ROWS * SPREAD > ITEMS || HEAD_DIM > 4 * ITEMS
#error "TILE_K must divide ITEMS, 8 TILE_K, 4 CHUNK, CHUNK HEAD_DIM; ROWS be at most ITEMS/8, HEAD_DIM at most 4*ITEMS"
#endif

#define PART ((ROWS * TILE_K + ITEMS - 1) / ITEMS) /* rows of an item's scores */
#define COLUMNS (HEAD_DIM / 4)
#define SLICES (ITEMS / COLUMNS)

#define FOR_PART _Pragma("unroll") for (int i = 0; i < PART; i++)
#define FOR_ROWS _Pragma("unroll") for (int r = 0; r < ROWS; r++)

#if SHAW
/* <q, a row of the table> of row r, whose queries are scaled. */
static float table_dot(const __local float *query, int r, __global const float *row)
{
    float sum = 0.0f;
    for (int d = 0; d < HEAD_DIM / 4; d++) {
        const float4 z = vload4(d, row);
        sum = mad(query[(4 * d + 0) * ROWS + r], z.s0, sum);
        sum = mad(query[(4 * d + 1) * ROWS + r], z.s1, sum);
        sum = mad(query[(4 * d + 2) * ROWS + r], z.s2, sum);
        sum = mad(query[(4 * d + 3) * ROWS + r], z.s3, sum);
    }
    return sum;
}
#endif

/* The rows of a group to query[d][r], scaled. */
static void load_queries(__local float *query, __global const STORE *q, const rsc_attention_view *view,
                         __global const int *restrict ids, const rsc_decode_kernel_args *args, float scale, uint batch,
                         uint kv_head, uint w_first, int rows, int item)
{
    for (int e = item; e < ROWS * HEAD_DIM; e += ITEMS) {
        const int r = e / HEAD_DIM, d = e % HEAD_DIM;
        const uint w = w_first + min(r, rows - 1), m = w / args->group, head = kv_head * args->group + w % args->group;
        float factor = scale;
#if LOGN
        factor *= logn_factor(LOGN_POSITION(ids, args, batch, m), args->inverse_log_train);
#endif
        query[d * ROWS + r] = load1(q + m * view->seq_stride + head * view->head_stride, d) * factor;
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
decode_gpu(__global const STORE *restrict q, __global const STORE *restrict k, __global const STORE *restrict v,
           __global STORE *restrict out, __global float *restrict lse, __global const float *restrict bias_params,
           __global const int *restrict ids, __global float *restrict partials, OWN_ARGS(rsc_decode_kernel_args)
           CACHE_PARAMS EXTRAS_PARAMS REROPE_PARAMS SHAW_PARAMS OWN_PARAMS)
{
    COPY_ARGS(rsc_decode_kernel_args)
    __local float query[HEAD_DIM * ROWS];
    __local float chunk[TILE_K * (CHUNK + 1)];
    __local float weight[ROWS][TILE_K + 1];
    __local float partial[ROWS][SPREAD + 1];
    __local float rescale[ROWS];
#if SHAW
    __local float edges[2][ROWS]; /* scores at -reach and below, at reach and beyond */
    shaw_key += shaw.key_offset;
    shaw_value += shaw.value_offset;
    const int reach = shaw.reach;
#endif

    const uint id = (uint)get_group_id(0);
    const uint kv_head = id / args.row_tiles % args.kv_heads;
    const uint split = id / args.row_tiles / args.kv_heads % args.splits;
    uint batch = id / args.row_tiles / args.kv_heads / args.splits;
    const uint w_first = id % args.row_tiles * args.rows;
    SEQUENCE_BATCH(args, batch)
    if (SEQUENCES && w_first >= args.seq_q * args.group) return; /* the longest has more rows */
    const int rows = (int)min(args.rows, args.seq_q * args.group - w_first);
    const int item = (int)get_local_id(0);
    q += args.q.offset + batch * args.q.batch_stride;
    k += args.k.offset + batch * args.k.batch_stride + kv_head * args.k.head_stride;
    v += args.v.offset + batch * args.v.batch_stride + kv_head * args.v.head_stride;
    const size_t k_stride = args.k.seq_stride, v_stride = args.v.seq_stride;
#if KV_CACHE
    __global const int *blocks = CACHE_BLOCKS(batch);
#define KEY_AT(n) key_row(&cache, blocks, n, cache.k_block_stride, k_stride)
#define VALUE_AT(n) key_row(&cache, blocks, n, cache.v_block_stride, v_stride)
#else
#define KEY_AT(n) ((size_t)(n) * k_stride)
#define VALUE_AT(n) ((size_t)(n) * v_stride)
#endif

#if REROPE
    far_q += far.q.offset + batch * far.q.batch_stride;
    far_k += far.k.offset + batch * far.k.batch_stride + kv_head * far.k.head_stride;
    int loaded = -1; /* rows in query: -1 none, 0 near, 1 far */
#else
    load_queries(query, q, &args.q, ids, &args, args.q_scale, batch, kv_head, w_first, rows, item);
#endif

    const long place_first = (long)(w_first / args.group) + args.mask.q_offset;
    const long place_last = (long)((w_first + rows - 1) / args.group) + args.mask.q_offset;
    const mask_intervals visit = MASK_TILE_OF_HEADS(args, kv_head, 1, w_first, rows, place_first, place_last);
    /* This split's part of head and band, counted through both. */
    const int head_keys = visit.head_end, band_keys = max(visit.band_end - visit.band_begin, 0);
    const uint steps = ((uint)head_keys + (uint)band_keys + args.step - 1) / args.step;
    const uint length = (steps + args.splits - 1) / args.splits * args.step;
    const long from = (long)split * length, to = from + length;

    const int x = item % TILE_K, y = item / TILE_K;             /* of scores */
    const int row = item / SPREAD, turn = item % SPREAD;        /* of the softmax */
    const int column = item % COLUMNS, slice = item / COLUMNS;  /* of results */
    float4 result[ROWS];
    FOR_ROWS result[r] = 0.0f;
#if SHAW
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int e = item; e < 2 * ROWS; e += ITEMS)
        edges[e / ROWS][e % ROWS] = shaw.has_key ? table_dot(query, e % ROWS, shaw_key + e / ROWS * 2 * reach * HEAD_DIM) : 0.0f;
    const float4 value_after = shaw.has_value && slice < SLICES ? vload4(column, shaw_value) : (float4)(0.0f);
    const float4 value_before =
        shaw.has_value && slice < SLICES ? vload4(column, shaw_value + 2 * reach * HEAD_DIM) : (float4)(0.0f);
#endif
    float largest = LEAST, sum = 0.0f;
#if SINK
    if (split == 0 && row < rows) { /* the first split alone has it */
        const uint head = kv_head * args.group + (w_first + row) % args.group;
        largest = sink_largest(head);
        if (turn == 0) sum = sink_sum(head);
    }
#endif

    for (int part = 0; part < 2; part++) {
        const long base = part ? (long)visit.band_begin - head_keys : 0;
        const int begin = (int)(part ? max(from, (long)head_keys) + base : min(from, (long)head_keys));
        const int end = (int)(part ? min(to, (long)head_keys + band_keys) + base : min(to, (long)head_keys));
        const int full_begin = part ? visit.band_full_begin : 0, full_end = part ? visit.band_full_end : visit.head_full_end;

        for (int first = begin; first < end; first += TILE_K) {
            const int count = min(TILE_K, end - first);
            VISITED(count, item == 0)
            float score[PART];
#if REROPE
            float near_score[PART];
            const int first_side = !some_near(far.window, place_first, first, TILE_K);
            const int last_side = some_far(far.window, place_last, first);
            for (int side = first_side; side <= last_side; side++) {
            __global const STORE *const key_rows = side ? far_k : k;
            const size_t key_stride = side ? far.k.seq_stride : k_stride;
            barrier(CLK_LOCAL_MEM_FENCE); /* of the last use of query */
            if (loaded != side)
                load_queries(query, side ? far_q : q, side ? &far.q : &args.q, ids, &args,
                             side ? args.q_scale * far.scale : args.q_scale, batch, kv_head, w_first, rows, item);
            loaded = side;
            if (side != first_side) FOR_PART near_score[i] = score[i];
#endif
            FOR_PART score[i] = 0.0f;
            for (int c = 0; c < HEAD_DIM; c += CHUNK) {
                barrier(CLK_LOCAL_MEM_FENCE); /* of the last use of chunk, and of weight */
                for (int e = item; e < TILE_K * (CHUNK / 4); e += ITEMS) {
                    const int n = e / (CHUNK / 4), d = e % (CHUNK / 4) * 4;
#if REROPE
                    const float4 z = load4(key_rows + (size_t)(first + min(n, count - 1)) * key_stride, c + d);
#else
                    const float4 z = load4(k + KEY_AT(first + min(n, count - 1)), c + d);
#endif
                    __local float *p = chunk + n * (CHUNK + 1) + d;
                    p[0] = z.s0;
                    p[1] = z.s1;
                    p[2] = z.s2;
                    p[3] = z.s3;
                }
                barrier(CLK_LOCAL_MEM_FENCE);
                if (y * PART < ROWS) {
#pragma unroll 8
                    for (int d = 0; d < CHUNK; d++) {
                        const float z = chunk[x * (CHUNK + 1) + d];
                        FOR_PART score[i] = mad(query[(c + d) * ROWS + y * PART + i], z, score[i]);
                    }
                }
            }
#if REROPE
            if (side != first_side)
                FOR_PART
                {
                    const uint w = w_first + min(y * PART + i, rows - 1);
                    const long distance = (long)(w / args.group) + args.mask.q_offset - (first + x);
                    score[i] = distance < far.window ? near_score[i] : score[i];
                }
            }
#endif

            const bool edge = count < TILE_K || first < full_begin || first + TILE_K > full_end;
            if (y * PART < ROWS) {
                FOR_PART
                {
                    const uint w = w_first + min(y * PART + i, rows - 1);
                    const long place = (long)(w / args.group) + args.mask.q_offset;
                    const int key = first + x;
                    float t = score[i];
#if SHAW
                    const int distance = clamp((int)place - key, -reach, reach);
                    float added = edges[distance > 0][y * PART + i];
                    if (shaw.has_key && distance > -reach && distance < reach)
                        added = table_dot(query, y * PART + i, shaw_key + (distance + reach) * HEAD_DIM);
#if LOGN /* the query is scaled, the table is not */
                    added /= logn_factor(LOGN_POSITION(ids, &args, batch, w / args.group), args.inverse_log_train);
#endif
                    t += added;
#endif
#if POSITION_BIAS
                    const position_param_type param =
                        position_param(bias_params + args.bias_offset, kv_head * args.group + w % args.group);
                    t = mad(position_bias(param, (int)place - key), args.bias_scale, t);
#endif
#if SOFTCAP
                    t = args.cap_scale * tanh(t);
#endif
                    if (edge) {
                        HEAD_WINDOW(args, kv_head * args.group + w % args.group)
                        long nothing, row_head, row_band, row_end;
                        mask_row(&args.mask, place, &nothing, &row_head, &row_band, &row_end);
                        const bool seen = x < count && (key < row_head || (key >= row_band && key < row_end));
                        t = seen ? t : HIDDEN;
                    }
                    weight[y * PART + i][x] = t;
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE);

            if (row < ROWS) {
                float most = LEAST;
                for (int n = turn; n < TILE_K; n += SPREAD) most = most < weight[row][n] ? weight[row][n] : most;
                partial[row][turn] = most;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            if (row < ROWS) {
                float raised = largest;
                for (int j = 0; j < SPREAD; j++) raised = fmax(raised, partial[row][j]);
                const float scale = exp2(largest - raised);
                sum *= scale;
                for (int n = turn; n < TILE_K; n += SPREAD) {
                    const float z = exp2(weight[row][n] - raised);
                    weight[row][n] = z;
                    sum += z;
                }
                largest = raised;
                if (turn == 0) rescale[row] = scale;
            }
            barrier(CLK_LOCAL_MEM_FENCE);

            if (slice < SLICES) {
                FOR_ROWS result[r] *= rescale[r];
                for (int n = slice; n < count; n += SLICES) {
                    const float4 z = load4(v + VALUE_AT(first + n), 4 * column);
#if SHAW
                    FOR_ROWS
                    {
                        const uint w = w_first + min(r, rows - 1);
                        const int distance = (int)((long)(w / args.group) + args.mask.q_offset) - (first + n);
                        float4 added = distance > 0 ? value_before : value_after;
                        if (shaw.has_value && distance > -reach && distance < reach)
                            added = vload4(column, shaw_value + (distance + reach) * HEAD_DIM);
                        result[r] += weight[r][n] * (z + added);
                    }
#else
                    FOR_ROWS result[r] += weight[r][n] * z;
#endif
                }
            }
        }
    }

    barrier(CLK_LOCAL_MEM_FENCE); /* of the last use of partial, query and rescale */
    if (row < ROWS) partial[row][turn] = sum;
    if (row < ROWS && turn == 0) rescale[row] = largest;
    __local float *total = query; /* [r][d] */
    for (int s = 0; s < SLICES; s++) {
        if (slice == s) {
            FOR_ROWS
            {
                __local float *to = total + r * HEAD_DIM + 4 * column;
                vstore4(s ? vload4(0, to) + result[r] : result[r], 0, to);
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    for (int e = item; e < rows * COLUMNS; e += ITEMS) {
        const int r = e / COLUMNS, d = e % COLUMNS * 4;
        float weights = 0.0f;
        for (int j = 0; j < SPREAD; j++) weights += partial[r][j];
        const uint w = w_first + r, m = w / args.group, head = kv_head * args.group + w % args.group;
        const size_t at = ((size_t)batch * args.heads + head) * args.lse_rows + m;
        const float4 z = vload4(0, total + r * HEAD_DIM + d);
        if (args.splits > 1) {
            vstore4(z, 0, partials + args.results_offset + (at * args.splits + split) * HEAD_DIM + d);
            if (d == 0) {
                partials[args.states_offset + (at * args.splits + split) * 2] = rescale[r];
                partials[args.states_offset + (at * args.splits + split) * 2 + 1] = weights;
            }
        } else {
            /* A row that saw no key has a sum of 0, and zeros for a result. */
            const float inverse = weights == 0.0f ? 0.0f : 1.0f / weights;
            store4(z * inverse, out + args.out.offset + batch * args.out.batch_stride + m * args.out.seq_stride +
                                    head * args.out.head_stride, d);
            if (args.has_lse && d == 0)
                lse[args.lse_offset + at] = weights == 0.0f ? -INFINITY : M_LN2_F * (rescale[r] + log2(weights));
        }
    }
}
