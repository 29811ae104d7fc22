/* SPDX-License-Identifier: MIT
 * Puts the partial results of a decode kernel together (shared/decode_args.h has their layout):
 *
 *     largest = max_s largest[s]     w[s] = 2^(largest[s] - largest)
 *     out = sum_s w[s] result[s] / sum_s w[s] sum[s]          lse = ln(2) * (largest + log2 sum_s w[s] sum[s])
 *
 * Global size: LANES * batch * heads * seq_q, work-groups of LANES. A group has a row, its item x the elements 4x,
 * 4(x + LANES), ... of it.
 *
 * Defines: HEAD_DIM a multiple of 8; DTYPE (storage); LANES at least 1.
 */
#include "lib/dtype.clh"
#include "shared/decode_args.h"

#ifndef HEAD_DIM
#define HEAD_DIM 64
#endif
#ifndef LANES
#define LANES 1
#endif


__kernel __attribute__((reqd_work_group_size(LANES, 1, 1))) void
decode_reduce(__global const float *restrict partial, __global STORE *restrict out, __global float *restrict lse,
              const rsc_decode_kernel_args args)
{
    const size_t row = get_group_id(0);
    const uint m = (uint)(row % args.seq_q), head = (uint)(row / args.seq_q % args.heads);
    const size_t batch = row / args.seq_q / args.heads;
    __global const float *state = partial + args.states_offset + row * args.splits * 2;
    __global const float *result = partial + args.results_offset + row * args.splits * HEAD_DIM;
    __global STORE *to = out + args.out.offset + batch * args.out.batch_stride + m * args.out.seq_stride +
                         head * args.out.head_stride;

    float largest = state[0], sum = 0.0f;
    for (uint s = 1; s < args.splits; s++) largest = fmax(largest, state[2 * s]);
    for (uint s = 0; s < args.splits; s++) sum += exp2(state[2 * s] - largest) * state[2 * s + 1];
    const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;

    for (uint d = 4 * (uint)get_local_id(0); d < HEAD_DIM; d += 4 * LANES) {
        float4 total = 0.0f;
        for (uint s = 0; s < args.splits; s++)
            total += exp2(state[2 * s] - largest) * vload4(0, result + (size_t)s * HEAD_DIM + d);
        store4(total * inverse, to, d);
    }
    if (args.has_lse && get_local_id(0) == 0)
        lse[args.lse_offset + row] = sum == 0.0f ? -INFINITY : M_LN2_F * (largest + log2(sum));
}
