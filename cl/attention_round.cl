/* SPDX-License-Identifier: MIT
 * The last step of attention by matrix products on tensors that are not fp32: fp32 results, added up over several products, are rounded
 * once into `out`.
 *
 *   from   fp32 [matrices, rows, HEAD_DIM], packed; matrix z is batch z / inner, head z % inner
 *   out    row r of matrix z at offset + (z / inner) * batch_stride + (z % inner) * head_stride + r * seq_stride
 *
 * A work-item takes one row. Global size: (rows, matrices). DTYPE is the storage of out.
 */
#include "lib/dtype.clh"
#include "shared/attention_args.h"

#ifndef HEAD_DIM
#define HEAD_DIM 64 /* a multiple of 8 */
#endif

__kernel void attention_round(__global const float *from, const ulong from_offset, __global STORE *out,
                              const rsc_attention_view view, const uint rows, const uint inner)
{
    const size_t r = get_global_id(0), z = get_global_id(1);
    from += from_offset + (z * rows + r) * HEAD_DIM;
    out += view.offset + z / inner * view.batch_stride + z % inner * view.head_stride + r * view.seq_stride;
    for (uint d = 0; d < HEAD_DIM; d += 8) store8(vload8(0, from + d), out, d);
}
