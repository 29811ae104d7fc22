/* SPDX-License-Identifier: MIT
 * Attention for devices that are quick at wide vectors and at one work-item alone: CPUs.
 *
 *     t[m, n] = q_scale * logn(m) * <q_m, k_n> + bias_scale * bias(m, n), cap_scale * tanh(t) with a softcap
 *     out[m] = sum_n 2^t[m, n] v_n / sum_n 2^t[m, n]        lse[m] = ln(2) * log2 sum_n 2^t[m, n]       n visible to m
 *
 * Lanes are queries. A work-item owns a tile of QUERIES = VEC * VECS queries of one head; queries, scores and results are
 * vectors over them, elements of keys and values are scalars that all lanes share. So nothing is ever summed across lanes,
 * and the largest score, the sum of weights and the mask are vectors, too.
 *
 *     query[d][u], result[d][u]   element d of queries u*VEC .. u*VEC + VEC-1 of the tile (private)
 *     score[n][u]                 their scores with key n of a tile of TILE_K keys, then the weights (private)
 *
 * Keys are visited in the two intervals that the mask leaves (lib/mask.clh), from their exact first key on, TILE_K at a time
 * and KEYS in registers; a block of KEYS is compared with the rows' own bounds only where some row does not see all of it.
 * The softmax is online: result and sum are rescaled when a tile raises the largest score.
 *
 * Global size: (tiles * group, key/value heads, batch), work-groups of 1. The heads that share keys and values are
 * neighbours, then tiles, so that what one work-group read is still near when the next one needs it.
 *
 * Defines: HEAD_DIM a multiple of 8; DTYPE_F16 (storage); VEC 4, 8, 16; VECS vectors of queries;
 *   TILE_K a multiple of KEYS; KEYS, DIMS: accumulators of the two products are KEYS * VECS and DIMS * VECS vectors, which
 *   with VECS + 1 more should fit the registers; DIMS divides HEAD_DIM; SOFTCAP, LOGN 0 or 1.
 * A position system that adds a bias is a piece before this one (position/alibi.clh).
 */
#include "lib/dtype.clh"
#include "lib/exp.clh"
#include "lib/mask.clh"
#include "lib/vector.clh"
#include "shared/attention_args.h"

#ifndef HEAD_DIM
#define HEAD_DIM 64
#endif
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
#ifndef SOFTCAP
#define SOFTCAP 0
#endif
#ifndef LOGN
#define LOGN 0
#endif
#ifndef POSITION_BIAS
#define POSITION_BIAS 0
#endif

#if HEAD_DIM % 8 || HEAD_DIM % DIMS || TILE_K % KEYS
#error "HEAD_DIM must be a multiple of 8 and of DIMS, TILE_K of KEYS"
#endif

#define QUERIES (VEC * VECS)
#define FOR_VECS _Pragma("unroll") for (int u = 0; u < VECS; u++)

/* Below every score, and below that what hidden keys get: their weight is exactly 0 even before a key was seen. */
#define LEAST (-1e38f)
#define HIDDEN (-3e38f)

/* What a vector of queries sees: key < head_end, or band_begin <= key < band_end. */
typedef struct vector_bounds {
    INTV head_end, band_begin, band_end;
    INTV place; /* i */
} vector_bounds;

static void load_bounds(const rsc_mask_args *mask, uint row, uint last, vector_bounds *bounds)
{
    int head_end[VEC], band_begin[VEC], band_end[VEC], place[VEC];
    for (uint j = 0; j < VEC; j++) {
        const long i = (long)min(row + j, last) + mask->q_offset;
        long begin, head, band, end;
        mask_row(mask, i, &begin, &head, &band, &end);
        head_end[j] = (int)head;
        band_begin[j] = (int)min(band, mask->seq_k);
        band_end[j] = (int)min(end, mask->seq_k);
        place[j] = (int)i;
    }
    bounds->head_end = vloadv(0, head_end);
    bounds->band_begin = vloadv(0, band_begin);
    bounds->band_end = vloadv(0, band_end);
    bounds->place = vloadv(0, place);
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
        const long id = args->use_ids ? ids[args->ids_offset + (long)batch * args->ids_batch_stride + m * args->ids_seq_stride] : m;
        const long position = args->position_first + id;
        factor[j] = position > 0 ? fmax(1.0f, log((float)(position + 1)) * args->inverse_log_train) : 1.0f;
    }
    return vloadv(0, factor);
}
#endif

#if DTYPE_F16
/* Rows as floats, each converted once for all queries of the tile; rows up to the next multiple of KEYS become 0. */
static void unpack_rows(float *to, __global const STORE *from, size_t stride, int rows)
{
    for (int n = 0; n < rows; n++)
        for (int d = 0; d < HEAD_DIM; d += 8) vstore8(load8(from + (size_t)n * stride, d), 0, to + n * HEAD_DIM + d);
    for (int n = rows; n % KEYS; n++)
        for (int d = 0; d < HEAD_DIM; d += 8) vstore8((float8)(0.0f), 0, to + n * HEAD_DIM + d);
}
#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
attention_cpu(__global const STORE *restrict q, __global const STORE *restrict k, __global const STORE *restrict v,
              __global STORE *restrict out, __global float *restrict lse, __global const float *restrict bias_params,
              __global const int *restrict ids, const rsc_attention_kernel_args args)
{
    const uint group_head = (uint)get_global_id(0) % args.group, tile = (uint)get_global_id(0) / args.group;
    const uint kv_head = (uint)get_global_id(1), batch = (uint)get_global_id(2);
    const uint head = kv_head * args.group + group_head;
    const uint row_first = tile * QUERIES, row_last = args.seq_q - 1;
    q += args.q.offset + batch * args.q.batch_stride + head * args.q.head_stride;
    k += args.k.offset + batch * args.k.batch_stride + kv_head * args.k.head_stride;
    v += args.v.offset + batch * args.v.batch_stride + kv_head * args.v.head_stride;
    out += args.out.offset + batch * args.out.batch_stride + head * args.out.head_stride;
    const size_t k_stride = args.k.seq_stride, v_stride = args.v.seq_stride;
#if POSITION_BIAS
    const float param = position_param(bias_params + args.bias_offset, head);
#endif

    FLOATV query[HEAD_DIM][VECS], result[HEAD_DIM][VECS], score[TILE_K][VECS];
    FLOATV largest[VECS], sum[VECS];
    vector_bounds bounds[VECS];
#if DTYPE_F16
    float unpacked[TILE_K * HEAD_DIM];
#endif

    for (int u = 0; u < VECS; u++) {
        const uint row = row_first + u * VEC;
        FLOATV factor = args.q_scale;
#if LOGN
        factor *= logn_factors(ids, &args, batch, row, row_last);
#endif
        for (int d = 0; d < HEAD_DIM; d += VEC) {
            FLOATV rows[VEC];
#pragma unroll
            for (uint j = 0; j < VEC; j++) rows[j] = load_row(q + min(row + j, row_last) * args.q.seq_stride, d);
            transpose(rows);
#pragma unroll
            for (int j = 0; j < VEC; j++)
                if (d + j < HEAD_DIM) query[d + j][u] = rows[j] * factor;
        }
        for (int d = 0; d < HEAD_DIM; d++) result[d][u] = 0.0f;
        largest[u] = LEAST;
        sum[u] = 0.0f;
        load_bounds(&args.mask, row, row_last, &bounds[u]);
    }
    const mask_intervals visit = mask_tile(&args.mask, (long)row_first + args.mask.q_offset,
                                           (long)min(row_first + QUERIES - 1, row_last) + args.mask.q_offset);

    for (int part = 0; part < 2; part++) {
        const int begin = part ? visit.band_begin : 0, end = part ? visit.band_end : visit.head_end;
        const int full_begin = part ? visit.band_full_begin : 0;
        const int full_end = part ? visit.band_full_end : visit.head_full_end;

        for (int first = begin; first < end; first += TILE_K) {
            const int keys = min(TILE_K, end - first);
            FLOATV raised[VECS];
            FOR_VECS raised[u] = largest[u];
#if DTYPE_F16
            unpack_rows(unpacked, k + (size_t)first * k_stride, k_stride, keys);
#endif

            for (int n = 0; n < keys; n += KEYS) {
                /* The last block may have fewer keys: it repeats one it has, so as not to read beyond them. */
                const int left = keys - n;
#if DTYPE_F16
                const float *block = unpacked + n * HEAD_DIM;
#define ELEMENT(i, d) block[(i) * HEAD_DIM + (d)]
#else
                __global const float *block = k + (size_t)(first + n) * k_stride;
                size_t offset[KEYS];
#pragma unroll
                for (int i = 0; i < KEYS; i++) offset[i] = (size_t)min(i, left - 1) * k_stride;
#define ELEMENT(i, d) block[offset[i] + (d)]
#endif
                FLOATV a[KEYS][VECS];
#pragma unroll
                for (int i = 0; i < KEYS; i++) FOR_VECS a[i][u] = 0.0f;
                for (int d = 0; d < HEAD_DIM; d++) {
                    FLOATV x[VECS];
                    FOR_VECS x[u] = query[d][u];
#pragma unroll
                    for (int i = 0; i < KEYS; i++) {
                        const FLOATV y = ELEMENT(i, d);
                        FOR_VECS a[i][u] = FMA(y, x[u], a[i][u]);
                    }
                }
#undef ELEMENT
                const int key = first + n;
#if POSITION_BIAS
#pragma unroll
                for (int i = 0; i < KEYS; i++)
                    FOR_VECS
                    {
                        const FLOATV distance = convert_floatv(bounds[u].place - (key + i));
                        a[i][u] = FMA(position_bias(param, distance), (FLOATV)(args.bias_scale), a[i][u]);
                    }
#endif
#if SOFTCAP
#pragma unroll
                for (int i = 0; i < KEYS; i++) FOR_VECS a[i][u] = args.cap_scale * tanhv(a[i][u]);
#endif
                if (key < full_begin || key + KEYS > full_end) {
#pragma unroll
                    for (int i = 0; i < KEYS; i++) {
                        const int at = i < left ? key + i : INT_MAX; /* INT_MAX: no row sees it */
                        FOR_VECS
                        {
                            const INTV seen = (at < bounds[u].head_end) |
                                              ((at >= bounds[u].band_begin) & (at < bounds[u].band_end));
                            a[i][u] = select((FLOATV)(HIDDEN), a[i][u], seen);
                        }
                    }
                }
#pragma unroll
                for (int i = 0; i < KEYS; i++)
                    FOR_VECS
                    {
                        raised[u] = select(raised[u], a[i][u], raised[u] < a[i][u]);
                        score[n + i][u] = a[i][u];
                    }
            }

            FLOATV rescale[VECS];
            FOR_VECS
            {
                rescale[u] = exp2v(largest[u] - raised[u]);
                largest[u] = raised[u];
                sum[u] *= rescale[u];
            }
            for (int n = 0; n < keys; n++)
                FOR_VECS
                {
                    const FLOATV weight = exp2v(score[n][u] - largest[u]);
                    score[n][u] = weight;
                    sum[u] += weight;
                }

#if DTYPE_F16
            unpack_rows(unpacked, v + (size_t)first * v_stride, v_stride, keys);
#endif
            for (int d = 0; d < HEAD_DIM; d += DIMS) {
#if DTYPE_F16
                const float *column = unpacked + d;
                const size_t step = HEAD_DIM;
#else
                __global const float *column = v + (size_t)first * v_stride + d;
                const size_t step = v_stride;
#endif
                FLOATV a[DIMS][VECS];
#pragma unroll
                for (int i = 0; i < DIMS; i++) FOR_VECS a[i][u] = result[d + i][u] * rescale[u];
                for (int n = 0; n < keys; n++, column += step) {
                    FLOATV x[VECS];
                    FOR_VECS x[u] = score[n][u];
#pragma unroll
                    for (int i = 0; i < DIMS; i++) {
                        const FLOATV y = column[i];
                        FOR_VECS a[i][u] = FMA(y, x[u], a[i][u]);
                    }
                }
#pragma unroll
                for (int i = 0; i < DIMS; i++) FOR_VECS result[d + i][u] = a[i][u];
            }
        }
    }

    for (int u = 0; u < VECS; u++) {
        const uint row = row_first + u * VEC;
        /* A row that saw no key has a sum of 0, and zeros for a result. */
        const INTV none = sum[u] == (FLOATV)(0.0f);
        const FLOATV inverse = select(1.0f / sum[u], (FLOATV)(0.0f), none);
        for (int d = 0; d < HEAD_DIM; d += VEC) {
            FLOATV rows[VEC];
#pragma unroll
            for (int j = 0; j < VEC; j++) rows[j] = d + j < HEAD_DIM ? result[d + j][u] * inverse : (FLOATV)(0.0f);
            transpose(rows);
#pragma unroll
            for (uint j = 0; j < VEC; j++)
                if (row + j <= row_last) store_row(rows[j], out + (row + j) * args.out.seq_stride, d);
        }
        if (args.has_lse) {
            float total[VEC];
            const FLOATV log_sum = select(LN_2 * (largest[u] + log2(sum[u])), (FLOATV)(-INFINITY), none);
            vstorev(log_sum, 0, total);
            __global float *to = lse + args.lse_offset + ((size_t)batch * args.heads + head) * args.seq_q;
            for (uint j = 0; j < VEC; j++)
                if (row + j <= row_last) to[row + j] = total[j];
        }
    }
}
