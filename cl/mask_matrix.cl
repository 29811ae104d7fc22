/* SPDX-License-Identifier: MIT
 * A mask, and a position system that adds to scores, as an additive matrix:
 *
 *     out[m, h, n] = bias(i - n) where key n is visible to row m, i = m + q_offset; -infinity where it is not
 *
 * A work-item writes CHUNK neighbouring keys of a row and head. Global size: (keys / CHUNK * rows, heads).
 * A piece of cl/position/ in front of this one defines the bias; without, it is 0. DTYPE is the storage of out.
 */
#include "lib/dtype.clh"
#include "lib/mask.clh"

#ifndef CHUNK
#define CHUNK 16
#endif

__kernel void mask_matrix(__global STORE *out, __global const float *params, const rsc_mask_args mask, const ulong offset,
                          const ulong seq_stride, const ulong head_stride, const ulong params_offset)
{
    const ulong chunks = ((ulong)mask.seq_k + CHUNK - 1) / CHUNK;
    const long n_first = (long)(get_global_id(0) % chunks) * CHUNK, m = (long)(get_global_id(0) / chunks);
    const long i = m + mask.q_offset;
    const uint h = (uint)get_global_id(1);
    long head_begin, head_end, band_begin, band_end;
    mask_row(&mask, i, &head_begin, &head_end, &band_begin, &band_end);
    out += offset + m * seq_stride + h * head_stride;
#ifdef POSITION_BIAS
    const position_param_type param = position_param(params + params_offset, h);
#endif
    const long n_end = min(n_first + CHUNK, (long)mask.seq_k);
    for (long n = n_first; n < n_end; n++) {
        const bool visible = n < head_end || (n >= band_begin && n < band_end);
        float x = 0.0f;
#ifdef POSITION_BIAS
        x = position_bias(param, (int)(i - n));
#endif
        store1(visible ? x : -INFINITY, out, n);
    }
}
