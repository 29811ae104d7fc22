/* SPDX-License-Identifier: MIT
 * Attention for devices whose work-groups share local memory: GPUs. The formula is that of attention_cpu.cl:
 *
 *     t[m, n] = q_scale * logn(m) * <q_m, k_n> + bias_scale * bias(m, n), cap_scale * tanh(t) with a softcap
 *     out[m] = sum_n 2^t[m, n] v_n / sum_n 2^t[m, n]        lse[m] = ln(2) * log2 sum_n 2^t[m, n]       n visible to m
 *
 * A work-group of ITEMS = ACROSS * DOWN work-items owns a tile of TILE_Q queries of one head. Item (x, y) has the queries
 * y, y + DOWN, ... of the tile; of a tile of TILE_K keys the scores with keys x, x + ACROSS, ...; and of the results every
 * ACROSS-th group of four dimensions from the x-th on. Both products run from local memory into registers, four numbers a
 * read, the first with CHUNK dimensions of all keys of the tile at a time, the second with all dimensions of VALUES values:
 *
 *     query_tile[m][d]  the queries        chunk[n][d]  keys, then values        weight[m][n]  after the softmax
 *
 * The largest score of a row is found through partial[m][x], or between the lanes of a subgroup where the device has a way
 * (lib/lane_xor.clh); sums of weights stay with the item that made them until the end. Rows of local arrays that items read
 * side by side have four elements more than they use: eight such reads then fill the banks without meeting.
 *
 * Keys are visited in the two intervals that the mask leaves (lib/mask.clh); rows are compared with their own bounds only in
 * tiles that some row does not see whole. All items of a group take the same way, so that barriers meet.
 *
 * Global size: tiles * heads * batch * ITEMS, in work-groups of ITEMS. The heads that share keys and values are neighbours;
 * tiles with the most keys under a causal mask come first, so that none is left for the end.
 *
 * Defines: HEAD_DIM a multiple of 8; DTYPE (storage); ACROSS divides TILE_K, DOWN divides TILE_Q; CHUNK divides HEAD_DIM
 * and is a multiple of 4; VALUES divides TILE_K and is a multiple of 4; LANE_XOR; SOFTCAP, LOGN, REROPE, SHAW 0 or 1. A position system that adds a
 * bias is a piece before this one (position/alibi.clh).
 */
#include "lib/call.clh"
#include "lib/dtype.clh"
#include "lib/extras.clh"
#include "lib/key_row.clh"
#include "lib/lane_xor.clh"
#include "lib/logn.clh"
#include "lib/mask.clh"
#include "lib/rerope.clh"
#include "lib/scores.clh"
#include "lib/shaw.clh"
#include "shared/attention_args.h"

#ifndef ACROSS
#define ACROSS 8
#endif
#ifndef DOWN
#define DOWN 8
#endif
#ifndef TILE_Q
#define TILE_Q 32
#endif
#ifndef TILE_K
#define TILE_K 32
#endif
#ifndef CHUNK
#define CHUNK 16
#endif
#ifndef VALUES
#define VALUES 8
#endif

#if TILE_Q % DOWN || TILE_K % ACROSS || HEAD_DIM % CHUNK || CHUNK % 4 || TILE_K % VALUES || VALUES % 4
#error "DOWN must divide TILE_Q; ACROSS and VALUES TILE_K; CHUNK HEAD_DIM; 4 CHUNK and VALUES"
#endif

#define ITEMS (ACROSS * DOWN)
#define ROWS (TILE_Q / DOWN)         /* of an item */
#define KEYS (TILE_K / ACROSS)
#define FOURS ((HEAD_DIM + 4 * ACROSS - 1) / (4 * ACROSS)) /* groups of four dimensions */
#define DIM (4 * ACROSS * FOURS)     /* HEAD_DIM, and zeros where it is no multiple of 4 * ACROSS */

/* Strides and sizes of local arrays, in float4 */
#define Q4 (HEAD_DIM / 4 + 1)
#define K4 (CHUNK / 4 + 1)
#define V4 (DIM / 4)
#define W4 (TILE_K / 4 + 1)
#define CHUNK_SIZE4 (TILE_K * K4 > VALUES * V4 ? TILE_K * K4 : VALUES * V4)

#define FOR_ROWS _Pragma("unroll") for (int i = 0; i < ROWS; i++)
#define FOR_FOURS _Pragma("unroll") for (int d = 0; d < FOURS; d++)
#define FOR_KEYS _Pragma("unroll") for (int j = 0; j < KEYS; j++)

/* `count` rows of `width` elements from row `first`, column `d`, to rows of `padded`, zeros behind; `to_stride` and `padded` in
 * float4. Rows past `last` repeat it. One loop for each way to read, or compilers make one read of both, the careful one. */
#define LOAD_TILE(LOAD4)                                                                                               \
    for (int e = item; e < count * padded; e += ITEMS) {                                                               \
        const int row = e / padded, at = e % padded;                                                                   \
        __global const STORE *p = from + (size_t)min(first + row, last) * stride + d;                                  \
        to[row * to_stride + at] = padded * 4 == width || at * 4 < width ? LOAD4(p, at) : (float4)(0.0f);              \
    }

static void load_tile(__local float4 *to, int to_stride, __global const STORE *from, size_t stride, uint aligned, int first,
                      int last, int d, int count, int width, int padded, int item)
{
    if (aligned) {
        LOAD_TILE(load4_aligned)
    } else {
        LOAD_TILE(load4_any)
    }
}

#if KV_CACHE
static void load_cached(__local float4 *to, int to_stride, __global const STORE *from, const rsc_cache_args *cache,
                        __global const int *blocks, size_t block_stride, size_t stride, int first, int last, int d, int count,
                        int width, int padded, int item)
{
    for (int e = item; e < count * padded; e += ITEMS) {
        const int row = e / padded, at = e % padded;
        __global const STORE *p = from + key_row(cache, blocks, min(first + row, last), block_stride, stride) + d;
        to[row * to_stride + at] = padded * 4 == width || at * 4 < width ? load4_any(p, at) : (float4)(0.0f);
    }
}
#define LOAD_KEYS(to, to_stride, ...) load_cached(to, to_stride, k, &cache, blocks, cache.k_block_stride, k_stride, __VA_ARGS__)
#define LOAD_VALUES(to, to_stride, ...) load_cached(to, to_stride, v, &cache, blocks, cache.v_block_stride, v_stride, __VA_ARGS__)
#else
#define LOAD_KEYS(to, to_stride, ...) load_tile(to, to_stride, k, k_stride, args.aligned, __VA_ARGS__)
#define LOAD_VALUES(to, to_stride, ...) load_tile(to, to_stride, v, v_stride, args.aligned, __VA_ARGS__)
#endif
#include "lib/shaw_gpu.clh"

__kernel SUB_GROUP_SIZE __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_gpu(__global const STORE *restrict q, __global const STORE *restrict k, __global const STORE *restrict v,
              __global STORE *restrict out, __global float *restrict lse, __global const float *restrict bias_params,
              __global const int *restrict ids, OWN_ARGS(rsc_attention_kernel_args)
           CACHE_PARAMS EXTRAS_PARAMS REROPE_PARAMS SHAW_PARAMS OWN_PARAMS)
{
    COPY_ARGS(rsc_attention_kernel_args)
    __local float4 query_tile[TILE_Q * Q4];
    __local float4 chunk[CHUNK_SIZE4];
    __local float4 weight[TILE_Q * W4];
    __local float *const weights = (__local float *)weight;
    __local int4 bounds[TILE_Q]; /* of a row: its place, end of head, begin and end of band */
#if LOGN && LANE_XOR
    __local float scale[TILE_Q]; /* registers that Intel's compiler has not left, with lane_xor */
#define SCALE_OF(i) scale[y + (i) * DOWN]
#else
#define SCALE_OF(i) scale[i]
#endif
#if !LANE_XOR
    __local float partial[TILE_Q][ACROSS + 1];
#endif

    const uint kv_heads = args.heads / args.group;
    uint id = (uint)get_group_id(0);
    const uint group_head = id % args.group;
    id /= args.group;
    uint tile = args.tiles - 1 - id % args.tiles;
    id /= args.tiles;
    const uint kv_head = id % kv_heads, batch = id / kv_heads;
    const uint head = kv_head * args.group + group_head;
    SEQUENCE_TILE(args, tile)
    HEAD_WINDOW(args, head)
    const int item = lane_item(), x = item % ACROSS, y = item / ACROSS;
    const int row_first = (int)tile * TILE_Q, row_last = (int)args.seq_q - 1;
    q += args.q.offset + batch * args.q.batch_stride + head * args.q.head_stride;
    k += args.k.offset + batch * args.k.batch_stride + kv_head * args.k.head_stride;
    v += args.v.offset + batch * args.v.batch_stride + kv_head * args.v.head_stride;
    out += args.out.offset + batch * args.out.batch_stride + head * args.out.head_stride;
    const size_t k_stride = args.k.seq_stride, v_stride = args.v.seq_stride;
#if KV_CACHE
    __global const int *blocks = CACHE_BLOCKS(batch);
#endif
#if POSITION_BIAS
    const float bias_scale = args.bias_scale;
    const position_param_type param = position_param(bias_params + args.bias_offset, head);
#endif

#if REROPE
    far_q += far.q.offset + batch * far.q.batch_stride + head * far.q.head_stride;
    far_k += far.k.offset + batch * far.k.batch_stride + kv_head * far.k.head_stride;
    int loaded = -1; /* queries in query_tile: -1 none, 0 near, 1 far */
    const long first_place = row_first + args.mask.q_offset, last_place = first_place + TILE_Q - 1;
#else
    load_tile(query_tile, Q4, q, args.q.seq_stride, args.aligned, row_first, row_last, 0, TILE_Q, HEAD_DIM, HEAD_DIM / 4, item);
#endif

    float4 result[ROWS][FOURS];
    float largest[ROWS], sum[ROWS];
#if LOGN && !LANE_XOR
    float scale[ROWS];
#endif
    FOR_ROWS
    {
        largest[i] = sink_largest(head);
        sum[i] = x == 0 ? sink_sum(head) : 0.0f;
#if LOGN && !LANE_XOR
        const int m = min(row_first + y + i * DOWN, row_last);
        scale[i] = args.q_scale * logn_factor(LOGN_POSITION(ids, &args, batch, m), args.inverse_log_train);
#endif
        FOR_FOURS result[i][d] = (float4)(0.0f);
    }
    for (int row = item; row < TILE_Q; row += ITEMS) {
#if LOGN && LANE_XOR
        const long position = LOGN_POSITION(ids, &args, batch, min(row_first + row, row_last));
        scale[row] = args.q_scale * logn_factor(position, args.inverse_log_train);
#endif
        const long at = min(row_first + row, row_last) + args.mask.q_offset;
        long begin, head_stop, band, band_stop;
        mask_row(&args.mask, at, &begin, &head_stop, &band, &band_stop);
        bounds[row] = (int4)((int)at, (int)head_stop, (int)min(band, args.mask.seq_k), (int)min(band_stop, args.mask.seq_k));
    }
    const mask_intervals visit =
        mask_tile(&args.mask, row_first + args.mask.q_offset, min(row_first + TILE_Q - 1, row_last) + args.mask.q_offset);

#if SHAW
    shaw_key += shaw.key_offset;
    shaw_value += shaw.value_offset;
    const int reach = shaw.reach;
    const int first_place = row_first + (int)args.mask.q_offset, last_place = first_place + TILE_Q - 1;
    float before[ROWS], after[ROWS]; /* scores at reach and beyond, at -reach and below */
    float before_weight[ROWS], after_weight[ROWS];
    FOR_ROWS before[i] = after[i] = before_weight[i] = after_weight[i] = 0.0f;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (shaw.has_key) {
        shaw_edge(query_tile, shaw_key + 2 * reach * HEAD_DIM, y, before);
        shaw_edge(query_tile, shaw_key, y, after);
    }
#endif

    for (int part = 0; part < 2; part++) {
        const int begin = part ? visit.band_begin : 0, end = part ? visit.band_end : visit.head_end;
        const int full_begin = part ? visit.band_full_begin : 0;
        const int full_end = part ? visit.band_full_end : visit.head_full_end;

        for (int first = begin; first < end; first += TILE_K) {
            VISITED(min(TILE_K, end - first), item == 0)
            float score[ROWS][KEYS];
#if SHAW
            float table_score[ROWS][KEYS];
            const int nearest = first_place - (first + TILE_K - 1), farthest = last_place - first;
            const bool all_before = nearest >= reach, all_after = farthest <= -reach;
            const int least = max(nearest, shaw.shown_first), most_away = min(farthest, shaw.shown_last);
            FOR_ROWS FOR_KEYS table_score[i][j] = all_before ? before[i] : after[i];
            const bool beyond = all_before || all_after; /* the loops by distance then take no turn */
            shaw_scores(query_tile, chunk, weight, bounds, shaw_key, reach, first,
                        shaw.has_key && !beyond ? max(least, -reach) : INT_MAX, min(most_away, reach), x, y, item, table_score);
#endif
#if REROPE
            float near_score[ROWS][KEYS];
            const int first_side = !some_near(far.window, first_place, first, TILE_K);
            const int last_side = some_far(far.window, last_place, first);
            for (int side = first_side; side <= last_side; side++) {
            __global const STORE *const key_rows = side ? far_k : k;
            const size_t key_stride = side ? far.k.seq_stride : k_stride;
            const int again = loaded != side;
            barrier(CLK_LOCAL_MEM_FENCE); /* of the last use of query_tile */
            if (again)
                load_tile(query_tile, Q4, side ? far_q : q, side ? far.q.seq_stride : args.q.seq_stride, args.aligned, row_first,
                          row_last, 0, TILE_Q, HEAD_DIM, HEAD_DIM / 4, item);
            loaded = side;
            if (side != first_side) FOR_ROWS FOR_KEYS near_score[i][j] = score[i][j];
#endif
            FOR_ROWS FOR_KEYS score[i][j] = 0.0f;
            for (int c = 0; c < HEAD_DIM; c += CHUNK) {
                barrier(CLK_LOCAL_MEM_FENCE); /* of the last use of chunk */
#if REROPE
                load_tile(chunk, K4, key_rows, key_stride, args.aligned, first, end - 1, c, TILE_K, CHUNK, CHUNK / 4, item);
#else
                LOAD_KEYS(chunk, K4, first, end - 1, c, TILE_K, CHUNK, CHUNK / 4, item);
#endif
                barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 1
                for (int d = 0; d < CHUNK / 4; d++) {
                    float4 b[KEYS];
                    FOR_KEYS b[j] = chunk[(x + j * ACROSS) * K4 + d];
                    FOR_ROWS
                    {
                        const float4 a = query_tile[(y + i * DOWN) * Q4 + c / 4 + d];
                        FOR_KEYS
                        {
                            score[i][j] = mad(a.s0, b[j].s0, score[i][j]);
                            score[i][j] = mad(a.s1, b[j].s1, score[i][j]);
                            score[i][j] = mad(a.s2, b[j].s2, score[i][j]);
                            score[i][j] = mad(a.s3, b[j].s3, score[i][j]);
                        }
                    }
                }
            }
#if REROPE
            if (side) FOR_ROWS FOR_KEYS score[i][j] *= far.scale;
            if (side != first_side)
                FOR_ROWS FOR_KEYS
                {
                    const int distance = bounds[y + i * DOWN].s0 - (first + x + j * ACROSS);
                    score[i][j] = distance < far.window ? near_score[i][j] : score[i][j];
                }
            }
#endif

            const bool edge = first < full_begin || first + TILE_K > full_end;
            float top[ROWS];
            FOR_ROWS
            {
                float most = LEAST;
#if LOGN
                const float factor = SCALE_OF(i);
#else
                const float factor = args.q_scale;
#endif
                int4 bound = (int4)(0);
                if (edge || POSITION_BIAS) bound = bounds[y + i * DOWN];
                FOR_KEYS
                {
                    const int key = first + x + j * ACROSS;
                    float t = score[i][j] * factor;
#if SHAW
                    t = mad(table_score[i][j], args.q_scale, t);
#endif
#if POSITION_BIAS
                    t = mad(position_bias(param, bound.s0 - key), bias_scale, t);
#endif
#if SOFTCAP
                    t = args.cap_scale * tanh(t);
#endif
                    if (edge) {
                        const bool seen = key < end && (key < bound.s1 || (key >= bound.s2 && key < bound.s3));
                        t = seen ? t : HIDDEN;
                    }
                    score[i][j] = t;
                    most = most < t ? t : most;
                }
#if LANE_XOR
                top[i] = most;
#else
                partial[y + i * DOWN][x] = most;
#endif
            }
#if LANE_XOR
            FOR_ROWS for (int lanes = 1; lanes < ACROSS; lanes *= 2) top[i] = fmax(top[i], lane_xor(top[i], lanes));
#else
            barrier(CLK_LOCAL_MEM_FENCE);
            FOR_ROWS
            {
                top[i] = partial[y + i * DOWN][0];
                for (int j = 1; j < ACROSS; j++) top[i] = fmax(top[i], partial[y + i * DOWN][j]);
            }
#endif
            FOR_ROWS
            {
                const float raised = fmax(largest[i], top[i]), rescale = exp2(largest[i] - raised);
                largest[i] = raised;
                sum[i] *= rescale;
#if SHAW
                before_weight[i] *= rescale;
                after_weight[i] *= rescale;
#endif
                FOR_KEYS
                {
                    const float w = exp2(score[i][j] - raised);
#if SHAW
                    const int distance = bounds[y + i * DOWN].s0 - (first + x + j * ACROSS);
                    before_weight[i] += distance >= reach ? w : 0.0f;
                    after_weight[i] += distance <= -reach ? w : 0.0f;
#endif
                    weights[(y + i * DOWN) * (4 * W4) + x + j * ACROSS] = w;
                    sum[i] += w;
                }
                FOR_FOURS result[i][d] *= rescale;
            }

            for (int block = 0; block < TILE_K; block += VALUES) {
                barrier(CLK_LOCAL_MEM_FENCE); /* of the last use of chunk, and of weight */
                LOAD_VALUES(chunk, V4, first + block, end - 1, 0, VALUES, HEAD_DIM, V4, item);
                barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 1
                for (int n = 0; n < VALUES; n += 4) {
                    float4 a[ROWS];
                    FOR_ROWS a[i] = weight[(y + i * DOWN) * W4 + (block + n) / 4];
                    FOR_FOURS
                    {
                        const float4 b0 = chunk[(n + 0) * V4 + x + d * ACROSS], b1 = chunk[(n + 1) * V4 + x + d * ACROSS];
                        const float4 b2 = chunk[(n + 2) * V4 + x + d * ACROSS], b3 = chunk[(n + 3) * V4 + x + d * ACROSS];
                        FOR_ROWS
                        {
                            result[i][d] = mad((float4)(a[i].s0), b0, result[i][d]);
                            result[i][d] = mad((float4)(a[i].s1), b1, result[i][d]);
                            result[i][d] = mad((float4)(a[i].s2), b2, result[i][d]);
                            result[i][d] = mad((float4)(a[i].s3), b3, result[i][d]);
                        }
                    }
                }
            }
#if SHAW
            shaw_values(chunk, weight, bounds, shaw_value, reach, first,
                        shaw.has_value && !beyond ? max(least, 1 - reach) : INT_MAX, min(most_away, reach - 1), x, y, item, result);
#endif
        }
    }

#if SHAW
    __local float *const sums = weights; /* [TILE_Q][2][ACROSS] */
    barrier(CLK_LOCAL_MEM_FENCE);        /* of the last use of weight */
    FOR_ROWS
    {
        sums[((y + i * DOWN) * 2 + 0) * ACROSS + x] = before_weight[i];
        sums[((y + i * DOWN) * 2 + 1) * ACROSS + x] = after_weight[i];
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (shaw.has_value)
        FOR_ROWS
        {
            float least = 0.0f, most = 0.0f;
            for (int j = 0; j < ACROSS; j++) {
                most += sums[((y + i * DOWN) * 2 + 0) * ACROSS + j];
                least += sums[((y + i * DOWN) * 2 + 1) * ACROSS + j];
            }
            FOR_FOURS
            {
                const int at = x + d * ACROSS;
                if (DIM == HEAD_DIM || at * 4 < HEAD_DIM)
                    result[i][d] += most * vload4(at, shaw_value + 2 * reach * HEAD_DIM) + least * vload4(at, shaw_value);
            }
        }
#endif

#if LANE_XOR
    FOR_ROWS for (int lanes = 1; lanes < ACROSS; lanes *= 2) sum[i] += lane_xor(sum[i], lanes);
#else
    barrier(CLK_LOCAL_MEM_FENCE); /* of the last use of partial */
    FOR_ROWS partial[y + i * DOWN][x] = sum[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    FOR_ROWS
    {
        sum[i] = 0.0f;
        for (int j = 0; j < ACROSS; j++) sum[i] += partial[y + i * DOWN][j];
    }
#endif
    FOR_ROWS
    {
        const int m = row_first + y + i * DOWN;
        if (m > row_last) continue;
        /* A row that saw no key has a sum of 0, and zeros for a result. */
        const float inverse = sum[i] == 0.0f ? 0.0f : 1.0f / sum[i];
        __global STORE *to = out + (size_t)m * args.out.seq_stride;
        FOR_FOURS
        {
            const int at = x + d * ACROSS;
            if (DIM == HEAD_DIM || at * 4 < HEAD_DIM) store4(result[i][d] * inverse, to, 4 * at);
        }
        if (args.has_lse && x == 0)
            lse[args.lse_offset + ((size_t)batch * args.heads + head) * args.lse_rows + m] =
                sum[i] == 0.0f ? -INFINITY : M_LN2_F * (largest[i] + log2(sum[i]));
    }
}
