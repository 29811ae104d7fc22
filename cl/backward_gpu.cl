/* SPDX-License-Identifier: MIT
 * The backward pass of attention for devices whose work-groups share local memory: GPUs. The formulas are those of
 * backward_cpu.cl.
 *
 * Two kernels of one form, so that each sum has one owner: with OWN_KEYS a work-group owns TILE keys of a key/value head and goes
 * through the queries that see them, for dk and dv; without, it owns TILE queries of a head and goes through the keys that they
 * see, for dq. Both compute probabilities and the gradients of scores again, TILE x TILE at a time.
 *
 * Item (x, y) of ACROSS x DOWN has, of such a tile, keys x, x + ACROSS, ... and queries y, y + DOWN, ...; operands come
 * through local memory, CHUNK dimensions at a time. Of the results it has dimensions x, x + ACROSS, ... of the owned rows y,
 * y + DOWN, ..., and reads the other side's rows from global memory, neighbours side by side.
 *
 * Global size: tiles of the owner * heads * batch * ITEMS, work-groups of ITEMS; args.tiles are tiles of TILE queries.
 *
 * Defines: HEAD_DIM a multiple of 8; DTYPE; OWN_KEYS, SOFTCAP, LOGN 0 or 1; TILE a multiple of ACROSS and DOWN. A position
 * system that adds a bias is a piece before this one (position/alibi.clh).
 */
#include "lib/dtype.clh"
#include "lib/logn.clh"
#include "lib/scores.clh"
#include "lib/backward.clh"

#ifndef OWN_KEYS
#define OWN_KEYS 0
#endif
#ifndef ACROSS
#define ACROSS 16
#endif
#ifndef DOWN
#define DOWN 8
#endif
#ifndef TILE
#define TILE 32
#endif

#define ITEMS (ACROSS * DOWN)
#define CHUNK 8
#define KEYS (TILE / ACROSS)  /* of an item, in a tile of scores */
#define ROWS (TILE / DOWN)    /* of an item: queries of a tile, rows of results */
#define DIMS ((HEAD_DIM + ACROSS - 1) / ACROSS)
#define STRIDE (CHUNK + 1)
#define FOR_ROWS _Pragma("unroll") for (int i = 0; i < ROWS; i++)
#define FOR_KEYS _Pragma("unroll") for (int j = 0; j < KEYS; j++)
#define FOR_DIMS _Pragma("unroll") for (int e = 0; e < DIMS; e++)

/* Dimensions d .. d + CHUNK - 1 of TILE rows from `first` on; rows past `last` repeat it. */
static void load_chunk(__local float *to, __global const STORE *from, size_t stride, int first, int last, int d, int item)
{
    for (int e = item; e < TILE * CHUNK; e += ITEMS)
        to[e / CHUNK * STRIDE + e % CHUNK] = load1(from + (size_t)min(first + e / CHUNK, last) * stride, d + e % CHUNK);
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
backward_gpu(__global const STORE *restrict q, __global const STORE *restrict k, __global const STORE *restrict v,
             __global const STORE *restrict dout, __global const float *restrict lse, __global const float *restrict bias_params,
             __global const int *restrict ids, __global const float *restrict workspace, __global STORE *restrict first_out,
             __global STORE *restrict second_out, const rsc_backward_args args)
{
    __local float q_chunk[TILE * STRIDE], k_chunk[TILE * STRIDE], v_chunk[TILE * STRIDE], dout_chunk[TILE * STRIDE];
    __local float weight[TILE * (TILE + 1)], dscore[TILE * (TILE + 1)];
    __local int4 bounds[TILE];   /* of a row: end of head, begin and end of band */
    __local float4 about[TILE];  /* lse in units of log 2, delta, log-n's factor */

    const int item = (int)get_local_id(0), x = item % ACROSS, y = item / ACROSS;
    const int last_query = (int)args.seq_q - 1;
    uint id = (uint)get_group_id(0);
#if OWN_KEYS
    const int last_key = (int)args.mask.seq_k - 1;
    const uint kv_heads = args.heads / args.group, key_tiles = ((uint)last_key + TILE) / TILE;
    const uint own = id % key_tiles * TILE, kv_head = id / key_tiles % kv_heads, batch = id / key_tiles / kv_heads;
    uint first_tile, end_tile;
    tiles_of_keys(&args, TILE, own, min((long)own + TILE, args.mask.seq_k), &first_tile, &end_tile);
#else
    /* Tiles with the most keys under a causal mask come first. */
    const uint tile = args.tiles - 1 - id % args.tiles, head = id / args.tiles % args.heads, batch = id / args.tiles / args.heads;
    const uint own = tile * TILE, kv_head = head / args.group;
#endif
    q += args.q.offset + batch * args.q.batch_stride;
    k += args.k.offset + batch * args.k.batch_stride + kv_head * args.k.head_stride;
    v += args.v.offset + batch * args.v.batch_stride + kv_head * args.v.head_stride;
    dout += args.dout.offset + batch * args.dout.batch_stride;

    float first_sum[ROWS][DIMS], second_sum[ROWS][DIMS];
    FOR_ROWS FOR_DIMS first_sum[i][e] = second_sum[i][e] = 0.0f;

#if OWN_KEYS
    for (uint g = 0; g < args.group; g++)
        for (uint tile = first_tile; tile < end_tile; tile++) {
            const uint head = kv_head * args.group + g;
            const mask_intervals visit = tile_visits(&args, tile, TILE);
            const int key_first = (int)own, key_end = min((int)own + TILE, last_key + 1);
            if (!visits_keys(&visit, key_first, key_end)) continue;
#else
    const mask_intervals visit = tile_visits(&args, tile, TILE);
    for (int part = 0; part < 2; part++)
        for (int key_first = part ? visit.band_begin : 0; key_first < (part ? visit.band_end : visit.head_end); key_first += TILE) {
            const int key_end = min(key_first + TILE, part ? visit.band_end : visit.head_end);
#endif
            const int row_first = (int)tile * TILE;
            const size_t rows_of = ((size_t)batch * args.heads + head) * args.seq_q;
            __global const STORE *q_rows = q + head * args.q.head_stride, *dout_rows = dout + head * args.dout.head_stride;
#if POSITION_BIAS
            const position_param_type param = position_param(bias_params + args.bias_offset, head);
#endif
            barrier(CLK_LOCAL_MEM_FENCE); /* of the last use of all that is local */
            for (int row = item; row < TILE; row += ITEMS) {
                const int m = min(row_first + row, last_query);
                const float total = lse[args.lse_offset + rows_of + m];
                float factor = args.q_scale;
#if LOGN
                factor *= logn_factor(LOGN_POSITION(ids, &args, batch, (long)m), args.inverse_log_train);
#endif
                const int none = row_first + row > last_query || total == -INFINITY;
                about[row] = (float4)(none ? INFINITY : total * 1.44269504f, workspace[args.delta_offset + rows_of + m], factor, 0.0f);
                long begin, head_stop, band, band_stop;
                mask_row(&args.mask, (long)m + args.mask.q_offset, &begin, &head_stop, &band, &band_stop);
                bounds[row] = (int4)((int)head_stop, (int)min(band, args.mask.seq_k), (int)min(band_stop, args.mask.seq_k), 0);
            }
            float score[ROWS][KEYS], dweight[ROWS][KEYS];
            FOR_ROWS FOR_KEYS score[i][j] = dweight[i][j] = 0.0f;
            for (int d = 0; d < HEAD_DIM; d += CHUNK) {
                if (d > 0) barrier(CLK_LOCAL_MEM_FENCE); /* of the last use of the chunks */
                load_chunk(q_chunk, q_rows, args.q.seq_stride, row_first, last_query, d, item);
                load_chunk(dout_chunk, dout_rows, args.dout.seq_stride, row_first, last_query, d, item);
                load_chunk(k_chunk, k, args.k.seq_stride, key_first, key_end - 1, d, item);
                load_chunk(v_chunk, v, args.v.seq_stride, key_first, key_end - 1, d, item);
                barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll 1
                for (int c = 0; c < CHUNK; c++) {
                    float key[KEYS], value[KEYS];
                    FOR_KEYS
                    {
                        key[j] = k_chunk[(x + j * ACROSS) * STRIDE + c];
                        value[j] = v_chunk[(x + j * ACROSS) * STRIDE + c];
                    }
                    FOR_ROWS
                    {
                        const float a = q_chunk[(y + i * DOWN) * STRIDE + c], b = dout_chunk[(y + i * DOWN) * STRIDE + c];
                        FOR_KEYS
                        {
                            score[i][j] = mad(a, key[j], score[i][j]);
                            dweight[i][j] = mad(b, value[j], dweight[i][j]);
                        }
                    }
                }
            }
            FOR_ROWS
            {
                const int row = y + i * DOWN;
                const float4 own_row = about[row];
                const int4 bound = bounds[row];
                FOR_KEYS
                {
                    const int key = key_first + x + j * ACROSS;
                    const int seen = key < key_end && (key < bound.s0 || (key >= bound.s1 && key < bound.s2));
                    float t = score[i][j] * own_row.s2, slope = 1.0f;
#if POSITION_BIAS
                    t = mad(position_bias(param, (int)(min(row_first + row, last_query) + args.mask.q_offset) - key), args.bias_scale, t);
#endif
#if SOFTCAP
                    const float bent = tanh(t);
                    t = args.cap_scale * bent;
                    slope = 1.0f - bent * bent;
#endif
                    const float p = seen ? exp2(t - own_row.s0) : 0.0f;
                    weight[row * (TILE + 1) + x + j * ACROSS] = p;
                    /* The factor of the row is what dk multiplies q with; dq has it from the owner. */
                    dscore[row * (TILE + 1) + x + j * ACROSS] = p * (dweight[i][j] - own_row.s1) * slope * (OWN_KEYS ? own_row.s2 : 1.0f);
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE);
#if OWN_KEYS
            for (int m = 0; m < TILE; m++) {
                const size_t row = (size_t)min(row_first + m, last_query);
                float a[DIMS], b[DIMS];
                FOR_DIMS
                {
                    const int d = min(x + e * ACROSS, HEAD_DIM - 1);
                    a[e] = load1(q_rows + row * args.q.seq_stride, d);
                    b[e] = load1(dout_rows + row * args.dout.seq_stride, d);
                }
                FOR_ROWS
                {
                    const float ds = dscore[m * (TILE + 1) + y + i * DOWN], p = weight[m * (TILE + 1) + y + i * DOWN];
                    FOR_DIMS
                    {
                        first_sum[i][e] = mad(ds, a[e], first_sum[i][e]);
                        second_sum[i][e] = mad(p, b[e], second_sum[i][e]);
                    }
                }
            }
#else
            for (int n = 0; n < key_end - key_first; n++) {
                float a[DIMS];
                FOR_DIMS a[e] = load1(k + (size_t)(key_first + n) * args.k.seq_stride, min(x + e * ACROSS, HEAD_DIM - 1));
                FOR_ROWS
                {
                    const float ds = dscore[(y + i * DOWN) * (TILE + 1) + n];
                    FOR_DIMS first_sum[i][e] = mad(ds, a[e], first_sum[i][e]);
                }
            }
#endif
        }

    FOR_ROWS
    {
        const int row = (int)own + y + i * DOWN;
#if OWN_KEYS
        if (row > last_key) continue;
        __global STORE *to = first_out + args.dk.offset + batch * args.dk.batch_stride + kv_head * args.dk.head_stride;
        __global STORE *second = second_out + args.dv.offset + batch * args.dv.batch_stride + kv_head * args.dv.head_stride;
        to += (size_t)row * args.dk.seq_stride;
        second += (size_t)row * args.dv.seq_stride;
        const float factor = args.dk_scale;
#else
        if (row > last_query) continue;
        __global STORE *to = first_out + args.dq.offset + batch * args.dq.batch_stride + head * args.dq.head_stride;
        to += (size_t)row * args.dq.seq_stride;
        float factor = args.dq_scale;
#if LOGN
        factor *= logn_factor(LOGN_POSITION(ids, &args, batch, (long)row), args.inverse_log_train);
#endif
#endif
        FOR_DIMS
        {
            const int d = x + e * ACROSS;
            if (d < HEAD_DIM) {
                store1(first_sum[i][e] * factor, to, d);
#if OWN_KEYS
                store1(second_sum[i][e], second, d);
#endif
            }
        }
    }
}
