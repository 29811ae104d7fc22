/* SPDX-License-Identifier: MIT
 * Results of attention over parts of the keys, put together to the result over all of them (Dao et al. 2023, flash-decoding):
 *
 *     lse = log sum_i exp(lse_i)          out = sum_i exp(lse_i - lse) out_i
 *
 * A part whose lse is -infinity has no weight, whatever its result holds; rows that have no other become 0.
 *
 * Results may go where a part is: a group of LANES work-items has a row to itself, and each reads an element of all parts before
 * it writes it. Global size: LANES * batch * heads * seq, work-groups of LANES.
 *
 * Defines: PARTS 2 to 8; DTYPE (storage of results); LANES at least 1.
 */
#include "lib/dtype.clh"
#include "shared/merge_args.h"

#ifndef PARTS
#define PARTS 2
#endif
#ifndef LANES
#define LANES 1
#endif

#define PART(i) __global const STORE *part##i, __global const float *lse##i,
#define READ(i, x) x(i, part##i, lse##i)
#if PARTS > 2
#define PART2 PART(2)
#define EACH2(x) READ(2, x)
#else
#define PART2
#define EACH2(x)
#endif
#if PARTS > 3
#define PART3 PART(3)
#define EACH3(x) READ(3, x)
#else
#define PART3
#define EACH3(x)
#endif
#if PARTS > 4
#define PART4 PART(4)
#define EACH4(x) READ(4, x)
#else
#define PART4
#define EACH4(x)
#endif
#if PARTS > 5
#define PART5 PART(5)
#define EACH5(x) READ(5, x)
#else
#define PART5
#define EACH5(x)
#endif
#if PARTS > 6
#define PART6 PART(6)
#define EACH6(x) READ(6, x)
#else
#define PART6
#define EACH6(x)
#endif
#if PARTS > 7
#define PART7 PART(7)
#define EACH7(x) READ(7, x)
#else
#define PART7
#define EACH7(x)
#endif
#define EACH(x) READ(0, x) READ(1, x) EACH2(x) EACH3(x) EACH4(x) EACH5(x) EACH6(x) EACH7(x)

#define READ_LSE(i, results, logs) weight[i] = logs[args.part_lse[i] + row];
#define PLACE(i) (args.part[i].offset + batch * args.part[i].batch_stride + m * args.part[i].seq_stride + head * args.part[i].head_stride)
#define ADD4(i, results, logs)                                                                                         \
    if (weight[i] != 0.0f) total += weight[i] * load4(results + PLACE(i), d);
#define ADD1(i, results, logs)                                                                                         \
    if (weight[i] != 0.0f) total += weight[i] * load1(results + PLACE(i), d);

__kernel __attribute__((reqd_work_group_size(LANES, 1, 1))) void
attention_merge(PART(0) PART(1) PART2 PART3 PART4 PART5 PART6 PART7 __global STORE *out, __global float *lse,
                const rsc_merge_kernel_args args)
{
    const size_t row = get_group_id(0), m = row % args.seq, head = row / args.seq % args.heads, batch = row / args.seq / args.heads;
    const uint lane = (uint)get_local_id(0);
    float weight[PARTS], largest = -INFINITY, sum = 0.0f;
    EACH(READ_LSE)
    for (int i = 0; i < PARTS; i++) largest = largest < weight[i] ? weight[i] : largest;
    const float base = largest == -INFINITY ? 0.0f : largest;
    for (int i = 0; i < PARTS; i++) sum += weight[i] = exp(weight[i] - base); /* NaN stays NaN */
    const float log_sum = sum == 0.0f ? -INFINITY : base + log(sum);
    for (int i = 0; i < PARTS; i++) weight[i] = sum == 0.0f ? 0.0f : weight[i] / sum;

    __global STORE *to = out + args.out.offset + batch * args.out.batch_stride + m * args.out.seq_stride +
                         head * args.out.head_stride;
    const uint fours = args.dim / 4 * 4;
    for (uint d = 4 * lane; d < fours; d += 4 * LANES) {
        float4 total = 0.0f;
        EACH(ADD4)
        store4(total, to, d);
    }
    for (uint d = fours + lane; d < args.dim; d += LANES) {
        float total = 0.0f;
        EACH(ADD1)
        store1(total, to, d);
    }
    barrier(CLK_GLOBAL_MEM_FENCE); /* all have read what may be in the same place */
    if (args.has_lse && lane == 0) lse[args.lse + row] = log_sum;
}
