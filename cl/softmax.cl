/* SPDX-License-Identifier: MIT
 * Softmax over the visible keys of rows of scores; hidden columns become 0.
 *
 *     x[n] = softcap( scale * logn(m) * s[n] + bias(m, n) )     p[n] = exp(x[n] - max) / sum     lse = max + log(sum)
 *
 * A row's visible keys are its head and band intervals (mask.h); each maps to columns by a shift, so a row may hold all
 * keys (both shifts 0) or just those that a block of rows visits. Only visible columns are read.
 *
 * A CPU device keeps the scores of a row of up to KEPT keys in private memory, that is in its first-level cache, from where
 * the exponentials and then the results are made. Longer rows, and rows of other devices, take two passes: the first finds
 * the largest score and the sum of exponentials, lane by lane, by the online rule (Milakov & Gimelshein 2018), the second
 * computes the exponentials again. Either way each result is written once, and rounded once.
 *
 * A group of GROUP work-items takes args.rows_per_item rows of a matrix one after the other, lanes side by side over the
 * keys of a row, VEC keys each at a time. CPU devices run GROUP = 1 with wide vectors, others a group with narrow ones; then
 * sums are reduced through local memory. Global size: (runs of rows * matrices * GROUP): one dimension, since some devices
 * count to no more than 65535 groups in the others.
 *
 * What is added to a score is chosen by pieces and defines, each an addition to score() alone; the next system goes there too:
 *   a piece before this one (position/alibi.clh)
 *   SHAW         gathers q * key_table^T by clipped distance, and leaves sums of p by clipped distance for the value table
 *   REROPE       keys at distance rerope_window and beyond take the score from `far`
 *   LOGN         scale grows with the query's position
 *   SOFTCAP
 * Others: DTYPE (storage of scores and p), VEC 4 8 16, GROUP a power of two, KEPT a multiple of VEC, 0 with GROUP > 1.
 */
#include "lib/dtype.clh"
#include "lib/exp.clh"
#include "lib/extras.clh"
#include "lib/host.clh"
#include "lib/logn.clh"
#include "lib/mask.clh"
#include "lib/reduce.clh"
#include "lib/vector.clh"
#include "shared/softmax_args.h"

#ifndef POSITION_BIAS
#define POSITION_BIAS 0
#endif
#ifndef SHAW
#define SHAW 0
#endif
#ifndef REROPE
#define REROPE 0
#endif
#ifndef LOGN
#define LOGN 0
#endif
#ifndef SOFTCAP
#define SOFTCAP 0
#endif

#ifndef KEPT
#define KEPT 0
#endif

#define CHUNK 4            /* vectors that share a look at the largest score so far */
#define STEP (GROUP * VEC) /* from one vector of a work-item to its next */

/* Scores are finished in units of ln 2, so that exponentials are powers of 2; a softcap is applied in those of 1. */
#if SOFTCAP
#define UNIT 1.0f
#else
#define UNIT LOG2_E
#endif

/* What is the same for all keys of a row. */
typedef struct row_state {
    __global const STORE *scores;
    __global const STORE *far;
    __global const float *shaw; /* q * key_table^T of this row, or NULL */
    long i;                     /* the query's place among the keys */
    float scale;                /* in units, with log-n */
    float shaw_scale;           /* in units */
    float cap, inverse_cap;     /* SOFTCAP: to units of ln 2, and from those of 1 */
#if POSITION_BIAS
    position_param_type param;
#endif
} row_state;

/* ---- Scores ------------------------------------------------------------------------------------------------------ */

/* Elements of a vector as far as they are there, then 0. */
static FLOATV load_part(__global const STORE *p, long at, uint count)
{
    if (count >= VEC) return loadv(p, at);
    float t[VEC];
    for (uint j = 0; j < VEC; j++) t[j] = j < count ? load1(p, at + j) : 0.0f;
    return vloadv(0, t);
}

static void store_part(FLOATV x, __global STORE *p, long at, uint count)
{
    if (count >= VEC) {
        storev(x, p, at);
        return;
    }
    float t[VEC];
    vstorev(x, 0, t);
    for (uint j = 0; j < count; j++) store1(t[j], p, at + j);
}

/* The finished scores of keys n .. n + count - 1, which stand at `column`; -infinity in lanes beyond. */
static FLOATV score(const row_state *row, const rsc_softmax_kernel_args *args, long n, long column, uint count)
{
    FLOATV x = load_part(row->scores, column, count);
#if REROPE
    const FLOATV past = (float)(row->i - n - args->rerope_window) - IOTA; /* >= 0: the constant distance */
    if (row->i - n >= args->rerope_window) {
        const FLOATV y = args->far_scale * load_part(row->far, column, count);
        x = select(x, y, past >= 0.0f);
    }
#endif
    x *= row->scale;
#if SHAW
    if (args->has_bias) {
        float t[VEC];
        for (uint j = 0; j < VEC; j++) {
            const long distance = clamp(row->i - n - j, (long)-args->max_distance, (long)args->max_distance);
            t[j] = row->shaw[distance + args->max_distance];
        }
        x += row->shaw_scale * vloadv(0, t);
    }
#endif
#if POSITION_BIAS
    x += UNIT * position_bias_down(row->param, (int)(row->i - n));
#endif
#if SOFTCAP
    x = row->cap * tanhv(x * row->inverse_cap);
#endif
    if (count < VEC) x = IOTA < (FLOATV)((float)count) ? x : (FLOATV)(-INFINITY);
    return x;
}

/* What is left of an interval [begin, end) behind its whole vectors, for the work-item whose turn it is. A work-item alone
 * on its row reads the last VEC keys, of which the first `done` belong to whole vectors, too, before it writes any. */
typedef struct row_end {
    FLOATV x;
    long n;
    uint done, count; /* x holds keys n .. n + count - 1; count 0: nothing is left */
} row_end;

static row_end end_of(const row_state *row, const rsc_softmax_kernel_args *args, long begin, long end, long shift, uint lane)
{
    const long vectors = (end - begin) / VEC;
    row_end e;
    e.x = (FLOATV)(-INFINITY);
    e.n = begin + vectors * VEC;
    e.done = 0;
    e.count = (uint)(vectors % GROUP) == lane ? (uint)(end - e.n) : 0;
    if (e.count == 0) return e;
#if GROUP == 1
    if (vectors > 0) {
        e.done = VEC - e.count;
        e.n = end - VEC;
        e.count = VEC;
        e.x = score(row, args, e.n, e.n + shift, VEC);
        return e;
    }
#endif
    e.x = score(row, args, e.n, e.n + shift, e.count);
    return e;
}

/* ---- Sums -------------------------------------------------------------------------------------------------------- */

static float horizontal_max(FLOATV x)
{
#if VEC == 16
    const float8 x8 = fmax(x.lo, x.hi);
    const float4 x4 = fmax(x8.lo, x8.hi);
#elif VEC == 8
    const float4 x4 = fmax(x.lo, x.hi);
#else
    const float4 x4 = x;
#endif
    return fmax(fmax(x4.s0, x4.s2), fmax(x4.s1, x4.s3));
}

/* What exponentials are measured from: the largest score, or 0 where there is no finite one (NaN never is the largest), so
 * that sums are 0 where no key counts and NaN where one is NaN. */
static FLOATV base_of(FLOATV most) { return most == (FLOATV)(-INFINITY) ? (FLOATV)(0.0f) : most; }

typedef struct lane_sums {
    FLOATV most, sum; /* sum of 2^(x - base_of(most)) */
} lane_sums;

/* NaN leaves the larger as it is. */
static FLOATV larger(FLOATV a, FLOATV b) { return b > a ? b : a; }

static void add_one(lane_sums *to, FLOATV x)
{
    const FLOATV most = larger(to->most, x), base = base_of(most);
    to->sum = to->sum * exp2v(to->most - base) + exp2v(x - base);
    to->most = most;
}

static void add_chunk(lane_sums *to, FLOATV x0, FLOATV x1, FLOATV x2, FLOATV x3)
{
    const FLOATV most = larger(to->most, larger(larger(x0, x1), larger(x2, x3))), base = base_of(most);
    to->sum = to->sum * exp2v(to->most - base) + ((exp2v(x0 - base) + exp2v(x1 - base)) + (exp2v(x2 - base) + exp2v(x3 - base)));
    to->most = most;
}

/* The bits of 0 in any type. A zero that goes through vstore_half, converted once before a loop, is stored as if it were
 * aligned by PoCL 3.1. */
#if DTYPE
#define ZERO_VECTOR VECTOR_PASTE(ushort, VEC)
#define store_zero(p, i) vstorev((ZERO_VECTOR)(0), 0, (__global ushort *)(p) + (i))
#else
#define store_zero(p, i) storev((FLOATV)(0.0f), p, i)
#endif

/* On a CPU device the lines a page ahead are asked for, since a store waits for its line to be read. Stores past the caches
 * read none, but on a Sapphire Rapids Xeon two cores write no more than 20 GB/s that way, and 29 GB/s this way. */
static void zero_columns(__global STORE *p, long begin, long end, uint lane)
{
    long c = begin + lane * VEC;
    for (; c + VEC <= end; c += STEP) {
#if GROUP == 1
        if ((uint)c * (uint)sizeof(STORE) % 64 < VEC * (uint)sizeof(STORE)) prefetch_line((__global const uchar *)(p + c) + 4096);
#endif
        store_zero(p, c);
    }
    if (c >= end) return;
#if GROUP == 1
    if (end - begin >= VEC) {
        store_zero(p, end - VEC);
        return;
    }
#endif
    for (; c < end; c++) store1(0.0f, p, c);
}

/* A page ahead of a chunk of scores, since the processor prefetches within a page only; where p goes, too, so that stores do
 * not wait for memory later. */
#if GROUP == 1
#define PREFETCH(c)                                                                                                    \
    for (uint byte = 0; byte < CHUNK * VEC * sizeof(STORE); byte += 64) {                                              \
        prefetch_line((__global const uchar *)(row.scores + (c)) + 4096 + byte);                                       \
        if (fetch_to) prefetch_line((__global const uchar *)(to + (c)) + 4096 + byte);                                    \
    }
#else
#define PREFETCH(c)
#endif

/* ---- The kernel -------------------------------------------------------------------------------------------------- */

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
masked_softmax(__global const STORE *scores, __global STORE *probs, __global const STORE *far, __global const float *bias_params,
               __global const float *shaw, __global float *histogram, __global const int *ids, __global float *lse,
               const rsc_softmax_kernel_args args EXTRAS_PARAMS)
{
    GROUP_SCRATCH
    const uint lane = (uint)get_local_id(0);
    const uint runs = (args.rows + args.rows_per_item - 1) / args.rows_per_item;
    const uint z = (uint)(get_group_id(0) / runs), first_r = (uint)(get_group_id(0) % runs) * args.rows_per_item;
    const uint end_r = min(first_r + args.rows_per_item, args.rows);
    const uint local_b = z / args.inner, local_h = z % args.inner;
    const uint b = args.b_first + local_b, h = args.h_first + local_h;

    const ulong at_matrix = local_b * args.scores.batch_stride + local_h * args.scores.head_stride;
    __global STORE *const to_matrix =
        probs + args.probs.offset + local_b * args.probs.batch_stride + local_h * args.probs.head_stride;
    const long shift[2] = {args.head_shift, args.band_shift};
#if KEPT
    float kept[KEPT + VEC];
#endif
#if GROUP == 1
    const bool fetch_to = (__global const STORE *)probs != scores;
#endif
    row_state row;
    row.far = far;
    row.shaw = shaw;
    row.shaw_scale = args.scale * UNIT;
    row.cap = args.softcap * LOG2_E;
    row.inverse_cap = args.softcap > 0.0f ? 1.0f / args.softcap : 0.0f;
#if POSITION_BIAS
    row.param = position_param(bias_params + args.params_offset, h);
#endif

    for (uint r = first_r; r < end_r; r++) {
        const long m = (long)args.row_first + r;
        const ulong at = at_matrix + r * args.scores.row_stride;
        __global STORE *const to = to_matrix + r * args.probs.row_stride;
        row.i = m + args.mask.q_offset;
        row.scores = scores + args.scores.offset + at;
        row.scale = args.scale * UNIT;
#if REROPE
        row.far = far + args.far_offset + at;
#endif
#if SHAW
        const ulong shaw_row = ((ulong)z * args.rows + r) * (2 * (uint)args.max_distance + 1);
        if (args.has_bias) row.shaw = shaw + args.bias_offset + shaw_row;
#endif
#if LOGN
        row.scale *= logn_factor(LOGN_POSITION(ids, &args, b, m), args.inverse_log_train);
#endif
        long begin[2], end[2];
        mask_row(&args.mask, row.i, &begin[0], &end[0], &begin[1], &end[1]);

        float most, sum;
        FLOATV base;
#if KEPT
        /* Both intervals side by side, each filled up to a whole vector with -infinity. */
        const int at_band = (int)(min(end[0] - begin[0], KEPT + 1L) + VEC - 1) / VEC * VEC;
        const int filled = at_band + (int)(min(end[1] - begin[1], KEPT + 1L) + VEC - 1) / VEC * VEC;
        const bool keep = filled <= KEPT;
        if (keep) {
            FLOATV most_v = (FLOATV)(-INFINITY);
            for (uint part = 0; part < 2; part++) {
                if (begin[part] >= end[part]) continue;
                long n = begin[part], c = n + shift[part];
                float *k = kept + (part ? at_band : 0);
                for (; n + CHUNK * VEC <= end[part]; n += CHUNK * VEC, c += CHUNK * VEC, k += CHUNK * VEC) {
                    PREFETCH(c)
                    const FLOATV x0 = score(&row, &args, n, c, VEC), x1 = score(&row, &args, n + VEC, c + VEC, VEC);
                    const FLOATV x2 = score(&row, &args, n + 2 * VEC, c + 2 * VEC, VEC);
                    const FLOATV x3 = score(&row, &args, n + 3 * VEC, c + 3 * VEC, VEC);
                    vstorev(x0, 0, k);
                    vstorev(x1, 1, k);
                    vstorev(x2, 2, k);
                    vstorev(x3, 3, k);
                    most_v = larger(most_v, larger(larger(x0, x1), larger(x2, x3)));
                }
                for (; n + VEC <= end[part]; n += VEC, c += VEC, k += VEC) {
                    const FLOATV x = score(&row, &args, n, c, VEC);
                    vstorev(x, 0, k);
                    most_v = larger(most_v, x);
                }
                const row_end e = end_of(&row, &args, begin[part], end[part], shift[part], 0);
                if (e.count) {
                    vstorev(e.x, 0, k - e.done);
                    if (e.done) vstorev((FLOATV)(-INFINITY), 0, k + (VEC - e.done));
                    most_v = larger(most_v, e.x);
                }
            }
            most = horizontal_max(most_v);
            base = base_of((FLOATV)(most));
            FLOATV sum_v = (FLOATV)(0.0f);
            /* Memory would rest meanwhile: the next row's scores, at the same columns, come to the second level of caches. */
            __global const STORE *next_head = row.scores + args.scores.row_stride + begin[0] + shift[0];
            __global const STORE *next_band = row.scores + args.scores.row_stride + begin[1] + shift[1] - at_band;
            for (int i = 0; i < filled; i += VEC) {
                prefetch_near((__private const void *)(size_t)((i < at_band ? next_head : next_band) + i));
                const FLOATV e = exp2v(vloadv(0, kept + i) - base);
                sum_v += e;
                vstorev(e, 0, kept + i);
            }
            sum = horizontal_sum(sum_v);
        } else
#endif
        {
            lane_sums sums;
            sums.most = (FLOATV)(-INFINITY);
            sums.sum = (FLOATV)(0.0f);
            for (uint part = 0; part < 2; part++) {
                if (begin[part] >= end[part]) continue;
                long n = begin[part] + lane * VEC, c = n + shift[part];
                for (; n + (CHUNK - 1) * STEP + VEC <= end[part]; n += CHUNK * STEP, c += CHUNK * STEP) {
                    PREFETCH(c)
                    add_chunk(&sums, score(&row, &args, n, c, VEC), score(&row, &args, n + STEP, c + STEP, VEC),
                              score(&row, &args, n + 2 * STEP, c + 2 * STEP, VEC),
                              score(&row, &args, n + 3 * STEP, c + 3 * STEP, VEC));
                }
                for (; n + VEC <= end[part]; n += STEP, c += STEP) add_one(&sums, score(&row, &args, n, c, VEC));
                const row_end e = end_of(&row, &args, begin[part], end[part], shift[part], lane);
                if (e.count) add_one(&sums, IOTA < (FLOATV)((float)e.done) ? (FLOATV)(-INFINITY) : e.x);
            }
            most = GROUP_MAX(horizontal_max(sums.most));
            base = base_of((FLOATV)(most));
            sum = GROUP_SUM(horizontal_sum(sums.sum * exp2v(sums.most - base)));
        }
        /* No visible key, or none with a finite score: zeros. */
#if SINK
        /* Exponentials were measured from the largest score; the sum is from now on from that or the sink. */
        const float sunk = sink_of(h), highest = sunk > most ? sunk : most, from = base_of((FLOATV)(highest)).s0;
        const float rescale = sum == 0.0f ? 0.0f : exp2(base.s0 - from);
        sum = sum * rescale + exp2(sunk - from);
        most = highest;
#else
        const float rescale = 1.0f;
#endif
        const bool empty = sum == 0.0f;
        const float factor = empty ? 0.0f : rescale / sum;


#if SHAW
        FLOATV before_v = (FLOATV)(0.0f), after_v = (FLOATV)(0.0f);
#define COUNT_ENDS(n, p)                                                                                               \
    {                                                                                                                  \
        const FLOATV distance = (float)(row.i - (n)) - IOTA;                                                           \
        before_v += distance >= (FLOATV)((float)args.max_distance) ? (p) : (FLOATV)(0.0f);                             \
        after_v += distance <= (FLOATV)((float)-args.max_distance) ? (p) : (FLOATV)(0.0f);                             \
    }
#else
#define COUNT_ENDS(n, p)
#endif
#if KEPT
        if (keep) {
            for (uint part = 0; part < 2; part++) {
                if (begin[part] >= end[part]) continue;
                long n = begin[part], c = n + shift[part];
                const float *k = kept + (part ? at_band : 0);
                for (; n + VEC <= end[part]; n += VEC, c += VEC, k += VEC) {
                    const FLOATV p = vloadv(0, k) * factor;
                    storev(p, to, c);
                    COUNT_ENDS(n, p)
                }
                if (n < end[part]) {
                    const uint count = (uint)(end[part] - n), done = end[part] - begin[part] >= VEC ? VEC - count : 0;
                    store_part(vloadv(0, k - done) * factor, to, c - done, count + done);
                    COUNT_ENDS(n, vloadv(0, k) * factor)
                }
            }
        } else
#endif
        for (uint part = 0; part < 2; part++) {
            if (begin[part] >= end[part]) continue;
            const row_end e = end_of(&row, &args, begin[part], end[part], shift[part], lane);
            long n = begin[part] + lane * VEC, c = n + shift[part];
            for (; n + VEC <= end[part]; n += STEP, c += STEP) {
                const FLOATV p = exp2v(score(&row, &args, n, c, VEC) - base) * factor;
                storev(p, to, c);
                COUNT_ENDS(n, p)
            }
            if (e.count) {
                FLOATV p = exp2v(e.x - base) * factor;
                store_part(p, to, e.n + shift[part], e.count);
                p = IOTA < (FLOATV)((float)e.done) ? (FLOATV)(0.0f) : p;
                COUNT_ENDS(e.n, p)
            }
        }
        if (begin[0] < end[0]) {
            zero_columns(to, 0, begin[0] + shift[0], lane);
        } else {
            begin[0] = end[0] = -shift[0];
        }
        if (begin[1] < end[1]) {
            zero_columns(to, end[0] + shift[0], begin[1] + shift[1], lane);
            zero_columns(to, end[1] + shift[1], args.columns, lane);
        } else {
            zero_columns(to, end[0] + shift[0], args.columns, lane);
        }
        if (args.has_lse && lane == 0)
            lse[args.lse_offset + ((ulong)b * args.heads + h) * args.lse_rows + m] = empty ? -INFINITY : most * M_LN2_F + log(sum);

#if SHAW
        /* Sums of p by clipped distance d: one key each, but for the two ends. */
        if (args.has_histogram) {
            const float before = GROUP_SUM(horizontal_sum(before_v));
            const float after = GROUP_SUM(horizontal_sum(after_v));
            const int last = 2 * args.max_distance;
            __global float *const counts = histogram + args.histogram_offset + shaw_row;
#if GROUP > 1
            barrier(CLK_GLOBAL_MEM_FENCE);
#endif
            for (int d = (int)lane; d <= last; d += GROUP) {
                float p = d == 0 ? after : before;
                if (d > 0 && d < last) {
                    const long n = row.i - (d - args.max_distance);
                    p = 0.0f;
                    for (uint part = 0; part < 2; part++)
                        if (n >= begin[part] && n < end[part]) p = load1(to, n + shift[part]);
                }
                counts[d] = p;
            }
        }
#endif
    }
}
