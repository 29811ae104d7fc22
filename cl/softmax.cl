/* SPDX-License-Identifier: MIT
 * Softmax over the visible keys of rows of scores; hidden columns become 0.
 *
 *     x[n] = softcap( scale * logn(m) * s[n] + bias(m, n) )     p[n] = exp(x[n] - max) / sum     lse = max + log(sum)
 *
 * A row's visible keys are its head and band intervals (mask.h); each maps to columns by a shift, so a row may hold all
 * keys (both shifts 0) or just those that a block of rows visits. Only visible columns are read.
 *
 * A group of GROUP work-items takes one row, lanes side by side over its keys, VEC keys each at a time. CPU devices run
 * GROUP = 1 with wide vectors, others a group with narrow ones; then sums are reduced through local memory.
 * Global size: (rows * GROUP, matrices).
 *
 * What is added to a score is chosen by pieces and defines, each an addition to score() alone; the next system goes there too:
 *   a piece before this one (position/alibi.clh)
 *   SHAW         gathers q * key_table^T by clipped distance, and leaves sums of p by clipped distance for the value table
 *   REROPE       keys at distance rerope_window and beyond take the score from `far`
 *   LOGN         scale grows with the query's position
 *   SOFTCAP
 * Others: DTYPE_F16 (storage of scores and p), VEC 4 8 16, GROUP a power of two.
 */
#include "lib/dtype.clh"
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

/* What is the same for all keys of a row. */
typedef struct row_state {
    __global const STORE *scores;
    __global const STORE *far;
    __global const float *shaw; /* q * key_table^T of this row, or NULL */
    long i;                     /* the query's place among the keys */
    float scale;                /* with log-n */
#if POSITION_BIAS
    position_param_type param;
#endif
} row_state;

/* Elements of a vector as far as they are there; the rest is `fill`. */
static FLOATV load_part(__global const STORE *p, long at, uint count, float fill)
{
    if (count >= VEC) return loadv(p, at);
    float t[VEC];
    for (uint j = 0; j < VEC; j++) t[j] = j < count ? load1(p, at + j) : fill;
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
    FLOATV x = load_part(row->scores, column, count, 0.0f);
#if REROPE
    const FLOATV past = (float)(row->i - n - args->rerope_window) - IOTA; /* >= 0: the constant distance */
    if (row->i - n >= args->rerope_window) {
        const FLOATV y = args->far_scale * load_part(row->far, column, count, 0.0f);
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
        x += args->scale * vloadv(0, t);
    }
#endif
#if POSITION_BIAS
    x += position_bias_down(row->param, (int)(row->i - n));
#endif
#if SOFTCAP
    x = args->softcap * tanh(x / args->softcap);
#endif
    if (count < VEC) x = select((FLOATV)(-INFINITY), x, IOTA < (FLOATV)((float)count));
    return x;
}

static float horizontal_max(FLOATV x)
{
    float t[VEC];
    vstorev(x, 0, t);
    float most = t[0];
    for (uint j = 1; j < VEC; j++) most = fmax(most, t[j]);
    return most;
}

static float horizontal_sum(FLOATV x)
{
    float t[VEC];
    vstorev(x, 0, t);
#pragma unroll
    for (uint half_width = VEC / 2; half_width; half_width /= 2)
        for (uint j = 0; j < half_width; j++) t[j] += t[j + half_width];
    return t[0];
}

static void zero_columns(__global STORE *p, long begin, long end, uint lane)
{
    for (long c = begin + lane * VEC; c < end; c += GROUP * VEC)
        store_part((FLOATV)(0.0f), p, c, (uint)min(end - c, (long)VEC));
}

/* Runs over the visible keys: n, column, count of each vector of this work-item. */
#define FOR_VISIBLE(n, column, count)                                                                                  \
    for (uint part = 0; part < 2; part++)                                                                              \
        for (long n = begin[part] + lane * VEC, column = n + shift[part], count = min(end[part] - n, (long)VEC);        \
             n < end[part]; n += GROUP * VEC, column = n + shift[part], count = min(end[part] - n, (long)VEC))

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
masked_softmax(__global const STORE *scores, __global STORE *probs, __global const STORE *far, __global const float *bias_params,
               __global const float *shaw, __global float *histogram, __global const int *ids, __global float *lse,
               const rsc_softmax_kernel_args args)
{
    GROUP_SCRATCH
    const uint lane = (uint)get_local_id(0);
    const uint r = (uint)get_group_id(0), z = (uint)get_global_id(1);
    const uint local_b = z / args.inner, local_h = z % args.inner;
    const uint b = args.b_first + local_b, h = args.h_first + local_h;
    const long m = (long)args.row_first + r;

    row_state row;
    row.i = m + args.mask.q_offset;
    const ulong at = local_b * args.scores.batch_stride + local_h * args.scores.head_stride + r * args.scores.row_stride;
    row.scores = scores + args.scores.offset + at;
    row.far = far;
    row.shaw = shaw;
    row.scale = args.scale;
    probs += args.probs.offset + local_b * args.probs.batch_stride + local_h * args.probs.head_stride +
             r * args.probs.row_stride;
#if REROPE
    row.far = far + args.far_offset + at;
#endif
#if POSITION_BIAS
    row.param = position_param(bias_params + args.params_offset, h);
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
    const long shift[2] = {args.head_shift, args.band_shift};

    FLOATV most_v = (FLOATV)(-INFINITY);
    FOR_VISIBLE(n, column, count) most_v = fmax(most_v, score(&row, &args, n, column, (uint)count));
    const float most = GROUP_MAX(horizontal_max(most_v));

    /* Without a finite score the largest is -infinity (NaN never is the largest): measured from 0 then, so that the sum is
     * 0 where no key counts and NaN where one is NaN. */
    const float base = most == -INFINITY ? 0.0f : most;

    /* fp32 leaves the exponentials in place for the last pass; fp16 would round them twice, and computes them again. */
    FLOATV sum_v = (FLOATV)(0.0f);
    FOR_VISIBLE(n, column, count)
    {
        const FLOATV e = exp(score(&row, &args, n, column, (uint)count) - base);
        sum_v += e;
#if !DTYPE_F16
        store_part(e, probs, column, (uint)count);
#endif
    }
    const float sum = GROUP_SUM(horizontal_sum(sum_v));
    /* No visible key, or none with a finite score: zeros. */
    const bool empty = sum == 0.0f;
    const float factor = empty ? 0.0f : 1.0f / sum;

#if SHAW
    FLOATV before_v = (FLOATV)(0.0f), after_v = (FLOATV)(0.0f);
#endif
    FOR_VISIBLE(n, column, count)
    {
#if DTYPE_F16
        FLOATV p = exp(score(&row, &args, n, column, (uint)count) - base) * factor;
#else
        FLOATV p = load_part(probs, column, (uint)count, 0.0f) * factor;
#endif
        if (empty) p = (FLOATV)(0.0f);
        store_part(p, probs, column, (uint)count);
#if SHAW
        const FLOATV distance = (float)(row.i - n) - IOTA;
        before_v += select((FLOATV)(0.0f), p, distance >= (float)args.max_distance);
        after_v += select((FLOATV)(0.0f), p, distance <= (float)-args.max_distance);
#endif
    }
    if (begin[0] < end[0]) {
        zero_columns(probs, 0, begin[0] + shift[0], lane);
    } else {
        begin[0] = end[0] = -shift[0];
    }
    if (begin[1] < end[1]) {
        zero_columns(probs, end[0] + shift[0], begin[1] + shift[1], lane);
        zero_columns(probs, end[1] + shift[1], args.columns, lane);
    } else {
        zero_columns(probs, end[0] + shift[0], args.columns, lane);
    }
    if (args.has_lse && lane == 0)
        lse[args.lse_offset + ((ulong)b * args.heads + h) * args.lse_rows + m] = empty ? -INFINITY : most + log(sum);

#if SHAW
    /* Sums of p by clipped distance d: one key each, but for the two ends. */
    if (args.has_histogram) {
        const float before = GROUP_SUM(horizontal_sum(before_v));
        const float after = GROUP_SUM(horizontal_sum(after_v));
        const int last = 2 * args.max_distance;
        histogram += args.histogram_offset + shaw_row;
#if GROUP > 1
        barrier(CLK_GLOBAL_MEM_FENCE);
#endif
        for (int d = (int)lane; d <= last; d += GROUP) {
            float p = d == 0 ? after : before;
            if (d > 0 && d < last) {
                const long n = row.i - (d - args.max_distance);
                p = 0.0f;
                for (uint part = 0; part < 2; part++)
                    if (n >= begin[part] && n < end[part]) p = load1(probs, n + shift[part]);
            }
            histogram[d] = p;
        }
    }
#endif
}
