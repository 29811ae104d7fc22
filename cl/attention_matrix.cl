/* SPDX-License-Identifier: MIT
 * Attention by matrix instructions, fp16: the formula of attention_gpu.cl, the products through lib/matrix.clh.
 *
 * A work-group of GROUPS subgroups owns a tile of TILE_Q queries of one head, each subgroup BANDS * MAT_M rows of it. A subgroup
 * keeps its results in registers all the way, and its queries, too, unless they are left in local memory where registers are
 * fewer (QUERIES_LOCAL); keys and values come through local memory, a tile of TILE_K at a
 * time, for all subgroups:
 *
 *     keys[n][d]       values[d][n], turned, so that both products read sums side by side       weights[m][n]  after the softmax
 *
 * The softmax works on scores where the instruction leaves them; lanes that share a row exchange its largest. Weights are
 * rounded to fp16, as the instruction takes them, and go through local memory, since it takes them from other lanes than it
 * leaves scores in. Strides of local arrays are odd multiples of 16 halves: then 8 rows, read 8 bytes a lane, fill the banks.
 *
 * Global size: tiles * heads * batch * GROUPS * LANES, in work-groups of GROUPS * LANES, in the order of attention_gpu.cl.
 *
 * Defines: HEAD_DIM a multiple of 8; MATRIX (lib/matrix.clh); GROUPS, BANDS; TILE_K a multiple of 16 and of BANDS * MAT_M;
 * QUERIES_LOCAL, SOFTCAP, LOGN 0 or 1. A position system that adds a bias is a piece before this one.
 */
#undef DTYPE /* nothing else */
#define DTYPE 1
#include "lib/call.clh"
#include "lib/dtype.clh"
#include "lib/logn.clh"
#include "lib/mask.clh"
#include "lib/matrix.clh"
#include "lib/scores.clh"
#include "shared/attention_args.h"

#ifndef GROUPS
#define GROUPS 4
#endif
#ifndef BANDS
#define BANDS 1
#endif
#ifndef TILE_K
#define TILE_K 32
#endif
#ifndef QUERIES_LOCAL
#define QUERIES_LOCAL 0
#endif

#define ROWS (BANDS * MAT_M) /* of a subgroup */
#define TILE_Q (GROUPS * ROWS)
#define ITEMS (GROUPS * LANES)
#define DIM ((HEAD_DIM + 15) / 16 * 16)
#define ODD_STRIDE(width) ((width) % 32 == 16 ? (width) : (width) + 16)
#define K_STRIDE ODD_STRIDE(DIM)
#define V_STRIDE ODD_STRIDE(TILE_K)
#define ACROSS (TILE_K / MAT_N) /* score tiles of a band, result tiles of a band */
#define DEEP (DIM / MAT_N)

#if TILE_K % 16 || TILE_K % ROWS
#error "16 and BANDS * MAT_M must divide TILE_K"
#endif

/* Played instructions contain barriers, which compilers for CPUs pay for each time they are repeated in the text. */
#if MATRIX_EMULATED
#define UNROLL
#else
#define UNROLL _Pragma("unroll")
#endif
#define FOR(i, n) UNROLL for (int i = 0; i < (n); i++)
/* Loops that index no registers stay loops: unrolled, compilers read all operands ahead, and run out of registers. */
#define LOOP(i, n) _Pragma("unroll 1") for (int i = 0; i < (n); i++)
#if QUERIES_LOCAL
#define DEPTH_LOOP LOOP
#else
#define DEPTH_LOOP FOR
#endif

/* 8 halves of row `row`, zeros from HEAD_DIM on */
static uint4 load_eight(__global const half *p, uint aligned)
{
    if (aligned) return *(__global const uint4 *)p;
    const ushort8 x = vload8(0, (__global const ushort *)p);
    return (uint4)(x.s0 | (uint)x.s1 << 16, x.s2 | (uint)x.s3 << 16, x.s4 | (uint)x.s5 << 16, x.s6 | (uint)x.s7 << 16);
}

/* `count` rows from `first` on; rows past `last` repeat it. */
static void load_rows(__local ushort *to, __global const half *from, size_t stride, uint aligned, int first, int last, int count,
                      int item)
{
    for (int e = item; e < count * (DIM / 8); e += ITEMS) {
        const int row = e / (DIM / 8), d = e % (DIM / 8) * 8;
        const uint4 x = DIM == HEAD_DIM || d < HEAD_DIM ? load_eight(from + (size_t)min(first + row, last) * stride + d, aligned)
                                                        : (uint4)(0);
        *(__local uint4 *)(to + row * K_STRIDE + d) = x;
    }
}

/* TILE_K rows, turned: two rows at a time, so that a store is 4 bytes, side by side for neighbouring lanes. */
static void load_turned(__local ushort *to, __global const half *from, size_t stride, uint aligned, int first, int last, int item)
{
    for (int e = item; e < TILE_K / 2 * (DIM / 8); e += ITEMS) {
        const int n = e % (TILE_K / 2) * 2, d = e / (TILE_K / 2) * 8;
        uint4 x = (uint4)(0), y = (uint4)(0);
        if (DIM == HEAD_DIM || d < HEAD_DIM) {
            x = load_eight(from + (size_t)min(first + n, last) * stride + d, aligned);
            y = load_eight(from + (size_t)min(first + n + 1, last) * stride + d, aligned);
        }
        const uint4 even = (x & 0xffffu) | y << 16, odd = x >> 16 | (y & 0xffff0000u);
        __local ushort *p = to + d * V_STRIDE + n;
        *(__local uint *)(p + 0 * V_STRIDE) = even.s0;
        *(__local uint *)(p + 1 * V_STRIDE) = odd.s0;
        *(__local uint *)(p + 2 * V_STRIDE) = even.s1;
        *(__local uint *)(p + 3 * V_STRIDE) = odd.s1;
        *(__local uint *)(p + 4 * V_STRIDE) = even.s2;
        *(__local uint *)(p + 5 * V_STRIDE) = odd.s2;
        *(__local uint *)(p + 6 * V_STRIDE) = even.s3;
        *(__local uint *)(p + 7 * V_STRIDE) = odd.s3;
    }
}

__kernel SUB_GROUP_SIZE __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_matrix(__global const half *restrict q, __global const half *restrict k, __global const half *restrict v,
                 __global half *restrict out, __global float *restrict lse, __global const float *restrict bias_params,
                 __global const int *restrict ids, OWN_ARGS(rsc_attention_kernel_args) OWN_PARAMS)
{
    COPY_ARGS(rsc_attention_kernel_args)
    __local ushort keys[TILE_K * K_STRIDE] __attribute__((aligned(16)));
    __local ushort values[DIM * V_STRIDE] __attribute__((aligned(16)));
    __local ushort weights[TILE_Q * V_STRIDE] __attribute__((aligned(16)));
#if QUERIES_LOCAL
    __local ushort queries[TILE_Q * K_STRIDE] __attribute__((aligned(16)));
#endif
    __local int4 bounds[TILE_Q]; /* of a row: its place, end of head, begin and end of band */
#if LOGN
    __local float factors[TILE_Q];
#endif
    __local uint all_scratch[GROUPS * MATRIX_SCRATCH];

    const uint kv_heads = args.heads / args.group;
    uint id = (uint)get_group_id(0);
    const uint group_head = id % args.group;
    id /= args.group;
    uint tile = args.tiles - 1 - id % args.tiles;
    id /= args.tiles;
    const uint kv_head = id % kv_heads, batch = id / kv_heads;
    const uint head = kv_head * args.group + group_head;
    const int item = group_item(), lane = item % LANES, group = item / LANES;
    __local uint *const scratch = all_scratch + group * MATRIX_SCRATCH;
    SEQUENCE_TILE(args, tile)
    HEAD_WINDOW(args, head)
    const int row_first = (int)tile * TILE_Q, row_last = (int)args.seq_q - 1;
    q += args.q.offset + batch * args.q.batch_stride + head * args.q.head_stride;
    k += args.k.offset + batch * args.k.batch_stride + kv_head * args.k.head_stride;
    v += args.v.offset + batch * args.v.batch_stride + kv_head * args.v.head_stride;
    out += args.out.offset + batch * args.out.batch_stride + head * args.out.head_stride;
#if POSITION_BIAS
    const position_param_type param = position_param(bias_params + args.bias_offset, head);
#endif

    for (int row = item; row < TILE_Q; row += ITEMS) {
        const int m = min(row_first + row, row_last);
        const long at = m + args.mask.q_offset;
        long begin, head_stop, band, band_stop;
        mask_row(&args.mask, at, &begin, &head_stop, &band, &band_stop);
        bounds[row] = (int4)((int)at, (int)head_stop, (int)min(band, args.mask.seq_k), (int)min(band_stop, args.mask.seq_k));
#if LOGN
        factors[row] = args.q_scale * logn_factor(LOGN_POSITION(ids, &args, batch, m), args.inverse_log_train);
#endif
    }

#if QUERIES_LOCAL
    load_rows(queries, q, args.q.seq_stride, args.aligned, row_first, row_last, TILE_Q, item);
#define QUERY(b, c) load_a(queries + (group * ROWS + (b) * MAT_M) * K_STRIDE + (c) * 16, K_STRIDE, lane)
#else
    /* They come through the room for keys, as many at a time as fit. */
    mat_a query[BANDS][DIM / 16];
    for (int first = 0; first < TILE_Q; first += TILE_K) {
        barrier(CLK_LOCAL_MEM_FENCE);
        load_rows(keys, q, args.q.seq_stride, args.aligned, row_first + first, row_last, min(TILE_K, TILE_Q - first), item);
        barrier(CLK_LOCAL_MEM_FENCE);
        const int mine = group * ROWS - first;
        if (mine >= 0 && mine < TILE_K)
            FOR(b, BANDS) FOR(c, DIM / 16) query[b][c] = load_a(keys + (mine + b * MAT_M) * K_STRIDE + c * 16, K_STRIDE, lane);
    }
#define QUERY(b, c) query[b][c]
#endif

    mat_c result[BANDS][DEEP];
    float largest[BANDS][C_SLOTS], sum[BANDS][C_SLOTS];
    FOR(b, BANDS)
    {
        FOR(s, C_SLOTS)
        {
            largest[b][s] = LEAST;
            sum[b][s] = 0.0f;
        }
        FOR(d, DEEP) FOR(r, C_REGS) C_AT(result[b][d], r) = 0.0f;
    }
    const mask_intervals visit =
        mask_tile(&args.mask, row_first + args.mask.q_offset, min(row_first + TILE_Q - 1, row_last) + args.mask.q_offset);

    for (int part = 0; part < 2; part++) {
        const int begin = part ? visit.band_begin : 0, end = part ? visit.band_end : visit.head_end;
        const int full_begin = part ? visit.band_full_begin : 0;
        const int full_end = part ? visit.band_full_end : visit.head_full_end;

        for (int first = begin; first < end; first += TILE_K) {
            barrier(CLK_LOCAL_MEM_FENCE); /* of the last use of keys and values */
            load_rows(keys, k, args.k.seq_stride, args.aligned, first, end - 1, TILE_K, item);
            load_turned(values, v, args.v.seq_stride, args.aligned, first, end - 1, item);
            barrier(CLK_LOCAL_MEM_FENCE);

            mat_c score[BANDS][ACROSS];
            FOR(b, BANDS) FOR(j, ACROSS) FOR(r, C_REGS) C_AT(score[b][j], r) = 0.0f;
            DEPTH_LOOP(c, DIM / 16)
            {
                mat_a query_part[BANDS];
                FOR(b, BANDS) query_part[b] = QUERY(b, c);
                FOR(j, ACROSS)
                {
                    const mat_b key = load_b(keys + j * MAT_N * K_STRIDE + c * 16, K_STRIDE, lane);
                    FOR(b, BANDS) score[b][j] = product(query_part[b], key, score[b][j], lane, scratch);
                }
            }

            const bool edge = first < full_begin || first + TILE_K > full_end;
            FOR(b, BANDS)
            {
                const int row_of = group * ROWS + b * MAT_M;
                float top[C_SLOTS];
                FOR(s, C_SLOTS) top[s] = LEAST;
                FOR(j, ACROSS) FOR(r, C_REGS)
                {
                    const int row = row_of + c_row(lane, r), key = first + j * MAT_N + c_col(lane, r);
                    int4 bound = (int4)(0);
                    if (edge || POSITION_BIAS) bound = bounds[row];
#if LOGN
                    float t = C_AT(score[b][j], r) * factors[row];
#else
                    float t = C_AT(score[b][j], r) * args.q_scale;
#endif
#if POSITION_BIAS
                    t = mad(position_bias(param, bound.s0 - key), args.bias_scale, t);
#endif
#if SOFTCAP
                    t = args.cap_scale * tanh(t);
#endif
                    if (edge) {
                        const bool seen = key < end && (key < bound.s1 || (key >= bound.s2 && key < bound.s3));
                        t = seen ? t : HIDDEN;
                    }
                    C_AT(score[b][j], r) = t;
                    top[c_slot(r)] = top[c_slot(r)] < t ? t : top[c_slot(r)];
                }
                float rescale[C_SLOTS];
                FOR(s, C_SLOTS)
                {
                    UNROLL for (int lanes = 1; lanes < ROW_LANES; lanes *= 2)
                        top[s] = fmax(top[s], exchange(top[s], lanes, lane, scratch));
                    const float raised = fmax(largest[b][s], top[s]);
                    rescale[s] = exp2(largest[b][s] - raised);
                    largest[b][s] = raised;
                    sum[b][s] *= rescale[s];
                }
                FOR(j, ACROSS) FOR(r, C_REGS)
                {
                    const float w = exp2(C_AT(score[b][j], r) - largest[b][c_slot(r)]);
                    vstore_half_rte(w, (row_of + c_row(lane, r)) * V_STRIDE + j * MAT_N + c_col(lane, r), (__local half *)weights);
                    sum[b][c_slot(r)] += w;
                }
                FOR(d, DEEP) FOR(r, C_REGS) C_AT(result[b][d], r) *= rescale[c_slot(r)];
            }
            lanes_barrier();

            LOOP(c, TILE_K / 16)
            {
                mat_a weight[BANDS];
                FOR(b, BANDS)
                weight[b] = load_a(weights + (group * ROWS + b * MAT_M) * V_STRIDE + c * 16, V_STRIDE, lane);
                FOR(d, DEEP)
                {
                    const mat_b value = load_b(values + d * MAT_N * V_STRIDE + c * 16, V_STRIDE, lane);
                    FOR(b, BANDS) result[b][d] = product(weight[b], value, result[b][d], lane, scratch);
                }
            }
            lanes_barrier(); /* before weights are written again */
        }
    }

    FOR(b, BANDS)
    {
        float inverse[C_SLOTS];
        FOR(s, C_SLOTS)
        {
            UNROLL for (int lanes = 1; lanes < ROW_LANES; lanes *= 2) sum[b][s] += exchange(sum[b][s], lanes, lane, scratch);
            /* A row that saw no key has a sum of 0, and zeros for a result. */
            inverse[s] = sum[b][s] == 0.0f ? 0.0f : 1.0f / sum[b][s];
        }
        const int row_of = row_first + group * ROWS + b * MAT_M;
        FOR(d, DEEP) FOR(r, C_REGS)
        {
            const int m = row_of + c_row(lane, r), at = d * MAT_N + c_col(lane, r);
            if (m <= row_last && at < HEAD_DIM)
                store1(C_AT(result[b][d], r) * inverse[c_slot(r)], out + (size_t)m * args.out.seq_stride, at);
        }
        FOR(r, C_REGS)
        {
            const int m = row_of + c_row(lane, r), s = c_slot(r);
            if (args.has_lse && m <= row_last && c_col(lane, r) == 0)
                lse[args.lse_offset + ((size_t)batch * args.heads + head) * args.lse_rows + m] =
                    sum[b][s] == 0.0f ? -INFINITY : M_LN2_F * (largest[b][s] + log2(sum[b][s]));
        }
    }
}
