/* SPDX-License-Identifier: MIT
 * Attention for devices whose work-groups share local memory: GPUs. The formula is that of attention_cpu.cl:
 *
 *     t[m, n] = q_scale * logn(m) * <q_m, k_n> + bias_scale * bias(m, n), cap_scale * tanh(t) with a softcap
 *     out[m] = sum_n 2^t[m, n] v_n / sum_n 2^t[m, n]        lse[m] = ln(2) * log2 sum_n 2^t[m, n]       n visible to m
 *
 * A work-group of ITEMS = ACROSS * DOWN work-items owns a tile of TILE_Q queries of one head. Item (x, y) has the queries
 * y, y + DOWN, ... of the tile; of a tile of TILE_K keys the scores with keys x, x + ACROSS, ...; and of the results the
 * dimensions x, x + ACROSS, ... Both products run from local memory into registers, the first with CHUNK dimensions of all
 * keys of the tile at a time, the second with all dimensions of as many values as take the same room:
 *
 *     query_tile[m][d]  the queries        chunk[n][d]  keys, then values        weight[m][n]  after the softmax
 *
 * The largest score of a row is found through partial[m][x]; sums of weights stay with the item that made them until the end.
 * Rows of local arrays have one element more than they use, so that a column is spread over the banks.
 * Local memory: 4 * (TILE_Q*(HEAD_DIM+1) + TILE_K*(CHUNK+1) + TILE_Q*(TILE_K+1) + TILE_Q*(ACROSS+1)) bytes.
 *
 * Keys are visited in the two intervals that the mask leaves (lib/mask.clh); rows are compared with their own bounds only in
 * tiles that some row does not see whole. All items of a group take the same way, so that barriers meet.
 *
 * Global size: tiles * heads * batch * ITEMS, in work-groups of ITEMS. The heads that share keys and values are neighbours;
 * tiles with the most keys under a causal mask come first, so that none is left for the end.
 *
 * Defines: HEAD_DIM a multiple of 8; DTYPE_F16 (storage); ACROSS divides TILE_K and HEAD_DIM, DOWN divides TILE_Q; CHUNK
 * divides HEAD_DIM and is a multiple of 4, HEAD_DIM / TILE_K at least; SOFTCAP, LOGN 0 or 1. A position system that adds a
 * bias is a piece before this one (position/alibi.clh).
 */
#include "lib/dtype.clh"
#include "lib/logn.clh"
#include "lib/mask.clh"
#include "shared/attention_args.h"

#ifndef HEAD_DIM
#define HEAD_DIM 64
#endif
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
#ifndef SOFTCAP
#define SOFTCAP 0
#endif
#ifndef LOGN
#define LOGN 0
#endif
#ifndef POSITION_BIAS
#define POSITION_BIAS 0
#endif

#if TILE_Q % DOWN || TILE_K % ACROSS || HEAD_DIM % ACROSS || CHUNK % 4 || HEAD_DIM % CHUNK || TILE_K * CHUNK < HEAD_DIM
#error "DOWN must divide TILE_Q; ACROSS TILE_K and HEAD_DIM; 4 CHUNK; CHUNK HEAD_DIM, and TILE_K * CHUNK be no less"
#endif

#define ITEMS (ACROSS * DOWN)
#define ROWS (TILE_Q / DOWN)         /* of an item */
#define KEYS (TILE_K / ACROSS)
#define DIMS (HEAD_DIM / ACROSS)
#define VALUES (TILE_K * CHUNK / HEAD_DIM < TILE_K ? TILE_K * CHUNK / HEAD_DIM : TILE_K) /* that the chunk holds */
#define LN_2 0.693147181f

#define FOR_ROWS _Pragma("unroll") for (int i = 0; i < ROWS; i++)
#define FOR_DIMS _Pragma("unroll") for (int d = 0; d < DIMS; d++)
#define FOR_KEYS _Pragma("unroll") for (int j = 0; j < KEYS; j++)

/* Below every score, and below that what hidden keys get: their weight is exactly 0 even before a key was seen. */
#define LEAST (-1e38f)
#define HIDDEN (-3e38f)

/* `count` rows of `width` elements (a multiple of 4) from row `first`, column `d`; rows past `last` repeat it. */
static void load_tile(__local float *to, int to_stride, __global const STORE *from, size_t stride, int first, int last, int d,
                      int count, int width, int item)
{
    for (int e = item; e < count * (width / 4); e += ITEMS) {
        const int row = e / (width / 4), at = e % (width / 4) * 4;
        const float4 x = load4(from + (size_t)min(first + row, last) * stride, d + at);
        __local float *p = to + row * to_stride + at;
        p[0] = x.s0;
        p[1] = x.s1;
        p[2] = x.s2;
        p[3] = x.s3;
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_gpu(__global const STORE *restrict q, __global const STORE *restrict k, __global const STORE *restrict v,
              __global STORE *restrict out, __global float *restrict lse, __global const float *restrict bias_params,
              __global const int *restrict ids, const rsc_attention_kernel_args args)
{
    __local float query_tile[TILE_Q][HEAD_DIM + 1];
    __local float chunk[TILE_K * (CHUNK + 1)];
    __local float weight[TILE_Q][TILE_K + 1];
    __local float partial[TILE_Q][ACROSS + 1];

    const uint kv_heads = args.heads / args.group;
    uint id = (uint)get_group_id(0);
    const uint group_head = id % args.group;
    id /= args.group;
    const uint tile = args.tiles - 1 - id % args.tiles;
    id /= args.tiles;
    const uint kv_head = id % kv_heads, batch = id / kv_heads;
    const uint head = kv_head * args.group + group_head;
    const int item = (int)get_local_id(0), x = item % ACROSS, y = item / ACROSS;
    const int row_first = (int)tile * TILE_Q, row_last = (int)args.seq_q - 1;
    q += args.q.offset + batch * args.q.batch_stride + head * args.q.head_stride;
    k += args.k.offset + batch * args.k.batch_stride + kv_head * args.k.head_stride;
    v += args.v.offset + batch * args.v.batch_stride + kv_head * args.v.head_stride;
    out += args.out.offset + batch * args.out.batch_stride + head * args.out.head_stride;
    const size_t k_stride = args.k.seq_stride, v_stride = args.v.seq_stride;
#if SOFTCAP
    const float cap_scale = args.cap_scale;
#endif
#if POSITION_BIAS
    const float bias_scale = args.bias_scale;
    const position_param_type param = position_param(bias_params + args.bias_offset, head);
#endif

    load_tile(&query_tile[0][0], HEAD_DIM + 1, q, args.q.seq_stride, row_first, row_last, 0, TILE_Q, HEAD_DIM, item);

    float result[ROWS][DIMS];
    float largest[ROWS], sum[ROWS], scale[ROWS];
    int place[ROWS], head_end[ROWS], band_begin[ROWS], band_end[ROWS];
    FOR_ROWS
    {
        const int m = min(row_first + y + i * DOWN, row_last);
        const long at = m + args.mask.q_offset;
        long begin, head_stop, band, band_stop;
        mask_row(&args.mask, at, &begin, &head_stop, &band, &band_stop);
        place[i] = (int)at;
        head_end[i] = (int)head_stop;
        band_begin[i] = (int)min(band, args.mask.seq_k);
        band_end[i] = (int)min(band_stop, args.mask.seq_k);
        largest[i] = LEAST;
        sum[i] = 0.0f;
        scale[i] = args.q_scale;
#if LOGN
        scale[i] *= logn_factor(LOGN_POSITION(ids, &args, batch, m), args.inverse_log_train);
#endif
        FOR_DIMS result[i][d] = 0.0f;
    }
    const mask_intervals visit =
        mask_tile(&args.mask, row_first + args.mask.q_offset, min(row_first + TILE_Q - 1, row_last) + args.mask.q_offset);

    for (int part = 0; part < 2; part++) {
        const int begin = part ? visit.band_begin : 0, end = part ? visit.band_end : visit.head_end;
        const int full_begin = part ? visit.band_full_begin : 0;
        const int full_end = part ? visit.band_full_end : visit.head_full_end;

        for (int first = begin; first < end; first += TILE_K) {
            float score[ROWS][KEYS];
            FOR_ROWS FOR_KEYS score[i][j] = 0.0f;
            for (int c = 0; c < HEAD_DIM; c += CHUNK) {
                barrier(CLK_LOCAL_MEM_FENCE); /* of the last use of chunk */
                load_tile(chunk, CHUNK + 1, k, k_stride, first, end - 1, c, TILE_K, CHUNK, item);
                barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 4
                for (int d = 0; d < CHUNK; d++) {
                    float a[ROWS], b[KEYS];
                    FOR_ROWS a[i] = query_tile[y + i * DOWN][c + d];
                    FOR_KEYS b[j] = chunk[(x + j * ACROSS) * (CHUNK + 1) + d];
                    FOR_ROWS FOR_KEYS score[i][j] = mad(a[i], b[j], score[i][j]);
                }
            }

            const bool edge = first < full_begin || first + TILE_K > full_end;
            FOR_ROWS
            {
                float most = LEAST;
                FOR_KEYS
                {
                    const int key = first + x + j * ACROSS;
                    float t = score[i][j] * scale[i];
#if POSITION_BIAS
                    t = mad(position_bias(param, place[i] - key), bias_scale, t);
#endif
#if SOFTCAP
                    t = cap_scale * tanh(t);
#endif
                    if (edge) {
                        const bool seen = key < end && (key < head_end[i] || (key >= band_begin[i] && key < band_end[i]));
                        t = seen ? t : HIDDEN;
                    }
                    score[i][j] = t;
                    most = most < t ? t : most;
                }
                partial[y + i * DOWN][x] = most;
            }
            barrier(CLK_LOCAL_MEM_FENCE);
            FOR_ROWS
            {
                float raised = largest[i];
                for (int j = 0; j < ACROSS; j++) raised = fmax(raised, partial[y + i * DOWN][j]);
                const float rescale = exp2(largest[i] - raised);
                largest[i] = raised;
                sum[i] *= rescale;
                FOR_KEYS
                {
                    const float w = exp2(score[i][j] - raised);
                    weight[y + i * DOWN][x + j * ACROSS] = w;
                    sum[i] += w;
                }
                FOR_DIMS result[i][d] *= rescale;
            }

            for (int block = 0; block < TILE_K; block += VALUES) {
                barrier(CLK_LOCAL_MEM_FENCE); /* of the last use of chunk, and of weight */
                load_tile(chunk, HEAD_DIM, v, v_stride, first + block, end - 1, 0, VALUES, HEAD_DIM, item);
                barrier(CLK_LOCAL_MEM_FENCE);
                for (int n = 0; n < min(VALUES, TILE_K - block); n++) {
                    float a[ROWS];
                    FOR_ROWS a[i] = weight[y + i * DOWN][block + n];
                    FOR_DIMS
                    {
                        const float b = chunk[n * HEAD_DIM + x + d * ACROSS];
                        FOR_ROWS result[i][d] = mad(a[i], b, result[i][d]);
                    }
                }
            }
        }
    }

    barrier(CLK_LOCAL_MEM_FENCE); /* of the last use of partial */
    FOR_ROWS partial[y + i * DOWN][x] = sum[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    FOR_ROWS
    {
        const int m = row_first + y + i * DOWN;
        float total = 0.0f;
        for (int j = 0; j < ACROSS; j++) total += partial[y + i * DOWN][j];
        if (m > row_last) continue;
        /* A row that saw no key has a sum of 0, and zeros for a result. */
        const float inverse = total == 0.0f ? 0.0f : 1.0f / total;
        __global STORE *to = out + (size_t)m * args.out.seq_stride;
        FOR_DIMS store1(result[i][d] * inverse, to, x + d * ACROSS);
        if (args.has_lse && x == 0)
            lse[args.lse_offset + ((size_t)batch * args.heads + head) * args.seq_q + m] =
                total == 0.0f ? -INFINITY : LN_2 * (largest[i] + log2(total));
    }
}
