/* SPDX-License-Identifier: MIT
 * Attention of few queries over many keys, for devices that are quick at wide vectors and at one work-item alone: CPUs. The
 * formula is that of attention_cpu.cl:
 *
 *     t[m, n] = q_scale * logn(m) * <q_m, k_n> + bias_scale * bias(m, n), cap_scale * tanh(t) with a softcap
 *     out[m] = sum_n 2^t[m, n] v_n / sum_n 2^t[m, n]        lse[m] = ln(2) * log2 sum_n 2^t[m, n]       n visible to m
 *
 * Time goes into reading keys and values, so each is read from memory once: a work-item owns a split of the visible keys and
 * all the rows that read it, up to MAX_ROWS. A row is a query of a head; those of a key/value head are numbered
 * w = m * group + head of the group. Where heads are side by side in memory, a work-item takes several key/value heads.
 *
 *     query[r][j], result[r][j]   vector j of a row and of its result (private); the rest of a last vector is 0
 *     score[r][n]                 scores with keys n * VEC on of a block of BLOCK keys, then their weights (private)
 *
 * Lanes are elements of a head where keys and values are read, and keys where scores are: VEC products of a row with VEC keys
 * are summed across lanes all at once (sum_each). The softmax is online, a block of keys at a time.
 *
 * The visible keys of the rows, head and band of lib/mask.clh put side by side, are cut into `splits` runs. With one split the
 * work-item writes the result, with more a partial result for decode_reduce.cl.
 *
 * Global size: tiles of key/value heads * tiles of rows * splits * batch, in this order, work-groups of 1.
 *
 * Defines: HEAD_DIM a multiple of 8; DTYPE (storage); VEC 4, 8, 16; BLOCK a multiple of VEC; MAX_ROWS; VALUE_ROWS, DIMS:
 *   VALUE_ROWS * DIMS accumulators of the second product fit the registers beside DIMS + 1 more; PREFETCH 1 where the compiler
 *   has __builtin_prefetch; SOFTCAP, LOGN, REROPE, SHAW 0 or 1.
 * A position system that adds a bias is a piece before this one (position/alibi.clh).
 */
#include "lib/call.clh"
#include "lib/dtype.clh"
#include "lib/exp.clh"
#include "lib/extras.clh"
#include "lib/key_row.clh"
#include "lib/logn.clh"
#include "lib/mask.clh"
#include "lib/rerope.clh"
#include "lib/scores.clh"
#include "lib/shaw.clh"
#include "lib/vector.clh"
#include "shared/decode_args.h"

#ifndef BLOCK
#define BLOCK 64
#endif
#ifndef MAX_ROWS
#define MAX_ROWS 32
#endif
#ifndef VALUE_ROWS
#define VALUE_ROWS 4
#endif
#ifndef DIMS
#define DIMS 4
#endif
#ifndef PREFETCH
#define PREFETCH 0
#endif

#if HEAD_DIM % 8 || BLOCK % VEC
#error "HEAD_DIM must be a multiple of 8, BLOCK of VEC"
#endif

#define WHOLE (HEAD_DIM / VEC)               /* vectors of a row */
#define VECTORS ((HEAD_DIM + VEC - 1) / VEC) /* with the one that is not full (VEC 16) */

#define HIGHER(a, b) ((a) < (b) ? (b) : (a)) /* not fmax, which looks for NaN */

static float max_of(FLOATV x)
{
#if VEC == 16
    const float8 y = HIGHER(x.lo, x.hi);
    const float4 z = HIGHER(y.lo, y.hi);
#elif VEC == 8
    const float4 z = HIGHER(x.lo, x.hi);
#else
    const float4 z = x;
#endif
    const float2 w = HIGHER(z.lo, z.hi);
    return HIGHER(w.lo, w.hi);
}

/* Lane i of the result is the sum of rows[i]: each step adds the halves of two vectors, which transpose() of vector.clh would
 * bring side by side. */
#define ADD_HALVES(left)                                                                                               \
    _Pragma("unroll") for (int i = 0; i < left; i++) rows[i] =                                                         \
        INTERLEAVE_LOW(rows[i], rows[i + left]) + INTERLEAVE_HIGH(rows[i], rows[i + left]);

static FLOATV sum_each(FLOATV rows[VEC])
{
#if VEC == 16
    ADD_HALVES(8)
#endif
#if VEC >= 8
    ADD_HALVES(4)
#endif
    ADD_HALVES(2)
    ADD_HALVES(1)
    return rows[0];
}

/* Vector j of a row, 0 where HEAD_DIM ends. */
static FLOATV load_part(__global const STORE *row, int j)
{
#if HEAD_DIM % VEC
    if (j == WHOLE) return (FLOATV)(load8(row, WHOLE * VEC), (float8)(0.0f));
#endif
    return loadv(row, j * VEC);
}

static void store_part(FLOATV x, __global STORE *row, int j)
{
#if HEAD_DIM % VEC
    if (j == WHOLE) {
        /* PoCL 3.1 makes one aligned store of a vstore_half8 here, and fp16 rows may start anywhere. */
        for (int i = 0; i < 8; i++) store1(((const float *)&x)[i], row, WHOLE * VEC + i);
        return;
    }
#endif
    storev(x, row, j * VEC);
}

/* Lines of the cache that a row of keys or values takes. */
#define LINES ((HEAD_DIM * (int)sizeof(STORE) + 63) / 64)

/* To the second level: what is fetched is a block, and the blocks under way fill the first. Compilers that make no
 * instruction of it are not asked. */
#if PREFETCH
#define fetch_line(p) __builtin_prefetch((__private const void *)(size_t)(p), 0, 2)
#else
#define fetch_line(p)
#endif

/* A key's rows of `heads` heads. */
static void fetch_rows(__global const STORE *row, size_t stride, uint heads)
{
    for (uint a = 0; a < heads; a++, row += stride) {
#pragma unroll
        for (int j = 0; j < LINES; j++) fetch_line(row + j * (64 / (int)sizeof(STORE)));
    }
}

/* Rows of keys or values of a block: evenly apart, or where a list of them says. */
#if KV_CACHE
typedef const size_t *row_list;
#define BLOCK_BEGIN(n, stride) 0
#define ROWS_FROM(rows, n) ((rows) + (n))
#define FIRST_ROW(base, rows) ((base) + (rows)[0])
#define NEXT_ROW(row, base, rows, n) ((base) + (rows)[n])
#define NEXT_KEY(key, base, rows, i, count) key = (base) + (rows)[min((i) + 1, (count)-1)]
#else
typedef size_t row_list;
#define BLOCK_BEGIN(n, stride) ((size_t)(n) * (stride))
#define ROWS_FROM(stride, n) (stride)
#define FIRST_ROW(base, stride) (base)
#define NEXT_ROW(row, base, stride, n) ((row) + (stride))
#define NEXT_KEY(key, base, stride, i, count) key += (i) + 1 < (count) ? (stride) : 0
#endif

/* Products of a row with VEC keys; of fewer keys the last is taken again. */
static FLOATV dots(const FLOATV *query, __global const STORE *keys, row_list rows, int count)
{
    FLOATV a[VEC];
    __global const STORE *key = FIRST_ROW(keys, rows);
#pragma unroll
    for (int i = 0; i < VEC; i++) {
        a[i] = query[0] * load_part(key, 0);
#pragma unroll
        for (int j = 1; j < VECTORS; j++) a[i] = FMA(query[j], load_part(key, j), a[i]);
        NEXT_KEY(key, keys, rows, i, count);
    }
    return sum_each(a);
}

#include "lib/shaw_decode.clh"

/* What a row sees: key < head_end, or band_begin <= key < band_end. */
typedef struct row_bounds {
    int head_end, band_begin, band_end;
} row_bounds;

static row_bounds bounds_of(const rsc_mask_args *mask, long place)
{
    long nothing, head, band, end;
    mask_row(mask, place, &nothing, &head, &band, &end);
    const row_bounds bounds = {(int)head, (int)min(band, mask->seq_k), (int)min(end, mask->seq_k)};
    return bounds;
}

/* DIMS vectors from j on of `rows` results: result = result * rescale + sum_n weight[n] * value[n]. */
#define ADD_VALUES(ROWS)                                                                                               \
    {                                                                                                                  \
        FLOATV a[ROWS][DIMS];                                                                                          \
        _Pragma("unroll") for (int i = 0; i < ROWS; i++)                                                               \
            _Pragma("unroll") for (int j = 0; j < DIMS; j++)                                                           \
                a[i][j] = first + j < VECTORS ? result[i][first + j] * rescale[i] : (FLOATV)(0.0f);                    \
        __global const STORE *row = FIRST_ROW(value, rows);                                                            \
        for (int n = 0; n < count; n++) {                                                                              \
            FLOATV y[DIMS];                                                                                            \
            _Pragma("unroll") for (int j = 0; j < DIMS; j++)                                                           \
                y[j] = first + j < VECTORS ? load_part(row, first + j) : (FLOATV)(0.0f);                               \
            _Pragma("unroll") for (int i = 0; i < ROWS; i++)                                                           \
            {                                                                                                          \
                const FLOATV w = weight[i * BLOCK + n];                                                                \
                _Pragma("unroll") for (int j = 0; j < DIMS; j++) a[i][j] = FMA(w, y[j], a[i][j]);                      \
            }                                                                                                          \
            row = NEXT_ROW(row, value, rows, min(n + 1, count - 1));                                                   \
        }                                                                                                              \
        _Pragma("unroll") for (int i = 0; i < ROWS; i++)                                                               \
            _Pragma("unroll") for (int j = 0; j < DIMS; j++)                                                           \
                if (first + j < VECTORS) result[i][first + j] = a[i][j];                                               \
    }

static void add_values(FLOATV (*result)[VECTORS], int results, const float *weight, const float *rescale,
                       __global const STORE *value, row_list rows, int count)
{
    for (; results >= VALUE_ROWS; results -= VALUE_ROWS, result += VALUE_ROWS, weight += VALUE_ROWS * BLOCK, rescale += VALUE_ROWS)
        for (int first = 0; first < VECTORS; first += DIMS) ADD_VALUES(VALUE_ROWS)
    for (; results > 0; results--, result++, weight += BLOCK, rescale++)
        for (int first = 0; first < VECTORS; first += DIMS) ADD_VALUES(1)
}

/* i of row w */
#define PLACE(w) ((long)((w_first + (w)) / args.group) + args.mask.q_offset)

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
decode_cpu(__global const STORE *restrict q, __global const STORE *restrict k, __global const STORE *restrict v,
           __global STORE *restrict out, __global float *restrict lse, __global const float *restrict bias_params,
           __global const int *restrict ids, __global float *restrict partial, OWN_ARGS(rsc_decode_kernel_args)
           CACHE_PARAMS EXTRAS_PARAMS REROPE_PARAMS SHAW_PARAMS OWN_PARAMS)
{
    COPY_ARGS(rsc_decode_kernel_args)
    const uint id = (uint)get_global_id(0), tiles = args.row_tiles * args.kv_tiles;
    const uint tile = id % tiles, split = id / tiles % args.splits;
    uint batch = id / tiles / args.splits;
    const uint w_first = tile / args.kv_tiles * args.rows;
    SEQUENCE_BATCH(args, batch)
    if (SEQUENCES && w_first >= args.seq_q * args.group) return; /* the longest has more rows */
    const uint w_count = min(args.rows, args.seq_q * args.group - w_first);
    const uint kv_most = (args.kv_heads + args.kv_tiles - 1) / args.kv_tiles;
    const uint kv_first = tile % args.kv_tiles * kv_most, kv_count = min(kv_most, args.kv_heads - kv_first);
    const size_t k_stride = args.k.seq_stride, v_stride = args.v.seq_stride;
    q += args.q.offset + batch * args.q.batch_stride;
    k += args.k.offset + batch * args.k.batch_stride + kv_first * args.k.head_stride;
    v += args.v.offset + batch * args.v.batch_stride + kv_first * args.v.head_stride;

    FLOATV query[MAX_ROWS][VECTORS], result[MAX_ROWS][VECTORS], score[MAX_ROWS][BLOCK / VEC], sum[MAX_ROWS];
    float largest[MAX_ROWS], raised[MAX_ROWS], rescale[MAX_ROWS];
#if KV_CACHE
    size_t k_rows[2][BLOCK], v_rows[2][BLOCK]; /* of this block and of the next, by turns */
    int turn = 0;
    __global const int *blocks = CACHE_BLOCKS(batch);
#endif
#if SHAW
    shaw_row shaw_rows[MAX_ROWS];
    shaw_key += shaw.key_offset;
    shaw_value += shaw.value_offset;
#endif
#if REROPE
    FLOATV far_query[MAX_ROWS][VECTORS];
    far_q += far.q.offset + batch * far.q.batch_stride;
    far_k += far.k.offset + batch * far.k.batch_stride + kv_first * far.k.head_stride;
#endif
#if POSITION_BIAS
    position_param_type param[MAX_ROWS];
#endif

    for (uint a = 0; a < kv_count; a++)
        for (uint w = 0; w < w_count; w++) {
            const uint r = a * w_count + w, m = (w_first + w) / args.group;
            const uint head = (kv_first + a) * args.group + (w_first + w) % args.group;
            __global const STORE *row = q + m * args.q.seq_stride + head * args.q.head_stride;
            float factor = args.q_scale;
#if LOGN
            factor *= logn_factor(LOGN_POSITION(ids, &args, batch, m), args.inverse_log_train);
#endif
            for (int j = 0; j < VECTORS; j++) {
                query[r][j] = load_part(row, j) * factor;
                result[r][j] = 0.0f;
            }
#if SHAW
            shaw_begin(&shaw_rows[r], query[r], shaw_key, &shaw, args.q_scale / factor);
#endif
#if REROPE
            row = far_q + m * far.q.seq_stride + head * far.q.head_stride;
            for (int j = 0; j < VECTORS; j++) far_query[r][j] = load_part(row, j) * (factor * far.scale);
#endif
#if POSITION_BIAS
            param[r] = position_param(bias_params + args.bias_offset, head);
#endif
            largest[r] = split ? LEAST : sink_largest(head); /* the first split alone has it */
            sum[r] = 0.0f;
            sum[r].s0 = split ? 0.0f : sink_sum(head);
        }

    const long place_first = (long)(w_first / args.group) + args.mask.q_offset;
    const long place_last = (long)((w_first + w_count - 1) / args.group) + args.mask.q_offset;
    const mask_intervals visit =
        MASK_TILE_OF_HEADS(args, kv_first, kv_count, w_first, w_count, place_first, place_last);
    /* This split's part of head and band, counted through both. */
    const int head_keys = visit.head_end, band_keys = max(visit.band_end - visit.band_begin, 0);
    const uint steps = ((uint)head_keys + (uint)band_keys + args.step - 1) / args.step;
    const uint length = (steps + args.splits - 1) / args.splits * args.step;
    const long from = (long)split * length, to = from + length;

    const uint calls = kv_count * w_count * (BLOCK / VEC); /* of dots() for a block */
    for (int part = 0; part < 2; part++) {
        const long base = part ? (long)visit.band_begin - head_keys : 0;
        const int begin = (int)(part ? max(from, (long)head_keys) + base : min(from, (long)head_keys));
        const int end = (int)(part ? min(to, (long)head_keys + band_keys) + base : min(to, (long)head_keys));
        const int full_begin = part ? visit.band_full_begin : 0, full_end = part ? visit.band_full_end : visit.head_full_end;

#if KV_CACHE
        if (begin < end) key_rows(&cache, blocks, begin, min(BLOCK, end - begin), k_stride, v_stride, k_rows[turn], v_rows[turn]);
#endif
        for (int first = begin; first < end; first += BLOCK) {
            const int count = min(BLOCK, end - first);
            VISITED(count * (int)kv_count, 1)
            const bool whole = count == BLOCK && first >= full_begin && first + BLOCK <= full_end;
#if KV_CACHE
            const row_list key_list = k_rows[turn], value_list = v_rows[turn];
            const int due_most = clamp(end - first - BLOCK, 0, BLOCK);
            turn ^= 1;
            key_rows(&cache, blocks, first + BLOCK, due_most, k_stride, v_stride, k_rows[turn], v_rows[turn]);
            int fetched = 0;
            const size_t next_head = args.k.head_stride;
#else
            const row_list key_list = k_stride, value_list = v_stride;
#if REROPE
            const bool next_near = some_near(far.window, place_first, first + BLOCK, BLOCK);
            __global const STORE *next_key = next_near ? k + (size_t)(first + BLOCK) * k_stride
                                                       : far_k + (size_t)(first + BLOCK) * far.k.seq_stride;
            const size_t next_stride = next_near ? k_stride : far.k.seq_stride;
            const size_t next_head = next_near ? args.k.head_stride : far.k.head_stride;
#else
            __global const STORE *next_key = k + (size_t)(first + BLOCK) * k_stride;
            const size_t next_stride = k_stride, next_head = args.k.head_stride;
#endif
            __global const STORE *next_value = v + (size_t)(first + BLOCK) * v_stride;
#endif
            uint due = 0;
            for (uint a = 0; a < kv_count; a++) {
                const uint r_first = a * w_count;
                __global const STORE *keys = k + BLOCK_BEGIN(first, k_stride) + a * args.k.head_stride;
                __global const STORE *values = v + BLOCK_BEGIN(first, v_stride) + a * args.v.head_stride;
                /* Each loop's turns do not wait for each other, so that a processor may have several under way. */
                for (uint r = r_first; r < r_first + w_count; r++)
                    for (int n = 0; n < count; n += VEC) {
                        /* The next block's keys and values are on their way meanwhile, evenly. */
                        for (due += BLOCK; PREFETCH && due >= calls; due -= calls) {
#if KV_CACHE
                            if (fetched == due_most) continue;
                            __global const STORE *next_key = k + k_rows[turn][fetched];
                            __global const STORE *next_value = v + v_rows[turn][fetched++];
#endif
                            fetch_rows(next_key, next_head, kv_count);
                            fetch_rows(next_value, args.v.head_stride, kv_count);
#if !KV_CACHE
                            next_key += next_stride;
                            next_value += v_stride;
#endif
                        }
#if REROPE
                        const int distance = (int)PLACE(r - r_first) - first - n;
                        __global const STORE *far_keys = far_k + (size_t)(first + n) * far.k.seq_stride + a * far.k.head_stride;
                        FLOATV near = 0.0f, beyond = 0.0f;
                        if (some_near(far.window, distance, 0, VEC))
                            near = dots(query[r], keys + (size_t)n * k_stride, k_stride, count - n);
                        if (some_far(far.window, distance, 0))
                            beyond = dots(far_query[r], far_keys, far.k.seq_stride, count - n);
                        score[r][n / VEC] = distance - convert_intv(IOTA) >= (INTV)(far.window) ? beyond : near;
#else
                        score[r][n / VEC] = dots(query[r], keys + BLOCK_BEGIN(n, k_stride), ROWS_FROM(key_list, n), count - n);
#endif
#if SHAW
                        score[r][n / VEC] += shaw_scores(&shaw_rows[r], query[r], shaw_key,
                                                         (int)PLACE(r - r_first) - first - n, &shaw);
#endif
                    }
#if SOFTCAP || POSITION_BIAS
                for (uint r = r_first; r < r_first + w_count; r++)
                    for (int n = 0; n < count; n += VEC) {
#if POSITION_BIAS
                        const int distance = (int)PLACE(r - r_first) - first - n;
                        score[r][n / VEC] = FMA(position_bias_down(param[r], distance), (FLOATV)(args.bias_scale),
                                                score[r][n / VEC]);
#endif
#if SOFTCAP
                        score[r][n / VEC] = args.cap_scale * tanhv(score[r][n / VEC]);
#endif
                    }
#endif
                if (!whole)
                    for (uint r = r_first; r < r_first + w_count; r++) {
                        HEAD_WINDOW(args, (kv_first + a) * args.group + (w_first + r - r_first) % args.group)
                        const row_bounds sees = bounds_of(&args.mask, PLACE(r - r_first));
                        for (int n = 0; n < count; n += VEC) {
                            const INTV key = first + n + convert_intv(IOTA);
                            const INTV seen = (key < first + count) &
                                              ((key < sees.head_end) | ((key >= sees.band_begin) & (key < sees.band_end)));
                            score[r][n / VEC] = seen ? score[r][n / VEC] : (FLOATV)(HIDDEN);
                        }
                    }
                for (uint r = r_first; r < r_first + w_count; r++) {
                    FLOATV most = largest[r];
                    for (int n = 0; n < count; n += VEC) most = HIGHER(most, score[r][n / VEC]);
                    raised[r] = max_of(most);
                }
                for (uint r = r_first; r < r_first + w_count; r++) {
                    const FLOATV scale = exp2v((FLOATV)(largest[r] - raised[r]));
                    FLOATV total = sum[r] * scale;
                    for (int n = 0; n < count; n += VEC) {
                        const FLOATV weight = exp2v(score[r][n / VEC] - raised[r]);
                        total += weight;
                        score[r][n / VEC] = weight;
                    }
                    sum[r] = total;
                    rescale[r] = scale.s0;
                    largest[r] = raised[r];
                }
                add_values(result + r_first, (int)w_count, (const float *)score[r_first], rescale + r_first,
                           values, value_list, count);
#if SHAW
                for (uint r = r_first; r < r_first + w_count && shaw.has_value; r++)
                    shaw_values(&shaw_rows[r], result[r], (const float *)score[r], rescale[r],
                                (int)PLACE(r - r_first) - first, count, shaw_value, &shaw);
#endif
            }
        }
    }

    for (uint a = 0; a < kv_count; a++)
        for (uint w = 0; w < w_count; w++) {
            const uint r = a * w_count + w, m = (w_first + w) / args.group;
            const uint head = (kv_first + a) * args.group + (w_first + w) % args.group;
            const size_t row = ((size_t)batch * args.heads + head) * args.lse_rows + m;
            const float total = horizontal_sum(sum[r]);
#if SHAW
            if (shaw.has_value) shaw_end(&shaw_rows[r], result[r], shaw_value, &shaw);
#endif
            if (args.splits > 1) {
                __global float *to = partial + args.results_offset + (row * args.splits + split) * HEAD_DIM;
                __global float *state = partial + args.states_offset + (row * args.splits + split) * 2;
                for (int d = 0; d < HEAD_DIM; d += 4) vstore4(vload4(0, (const float *)result[r] + d), 0, to + d);
                state[0] = largest[r];
                state[1] = total;
                continue;
            }
            /* A row that saw no key has a sum of 0, and zeros for a result. */
            const float inverse = total == 0.0f ? 0.0f : 1.0f / total;
            __global STORE *to = out + args.out.offset + batch * args.out.batch_stride + m * args.out.seq_stride +
                                 head * args.out.head_stride;
            for (int j = 0; j < VECTORS; j++) store_part(result[r][j] * inverse, to, j);
            if (args.has_lse)
                lse[args.lse_offset + row] = total == 0.0f ? -INFINITY : M_LN2_F * (largest[r] + log2(total));
        }
}
