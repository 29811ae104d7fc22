/* SPDX-License-Identifier: MIT
 * delta[b, h, m] = <dout, out> of a row: what the gradients of a row's probabilities have in common. Global size: (rows of all
 * heads and batches). Defines: HEAD_DIM a multiple of 4; DTYPE. */
#include "lib/dtype.clh"
#include "shared/backward_args.h"

#ifndef HEAD_DIM
#define HEAD_DIM 64
#endif

__kernel void backward_delta(__global const STORE *restrict out, __global const STORE *restrict dout,
                             __global float *restrict workspace, const rsc_backward_args args)
{
    const size_t id = get_global_id(0);
    const size_t m = id % args.seq_q, head = id / args.seq_q % args.heads, batch = id / args.seq_q / args.heads;
    out += args.out.offset + batch * args.out.batch_stride + m * args.out.seq_stride + head * args.out.head_stride;
    dout += args.dout.offset + batch * args.dout.batch_stride + m * args.dout.seq_stride + head * args.dout.head_stride;
    float4 sum = 0.0f;
    for (int d = 0; d < HEAD_DIM; d += 4) sum += load4(out, d) * load4(dout, d);
    workspace[args.delta_offset + id] = (sum.s0 + sum.s2) + (sum.s1 + sum.s3);
}
