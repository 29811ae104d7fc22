/* SPDX-License-Identifier: MIT
 * The argument of the kernels of attention's backward pass, seen by host and device. Offsets and strides are in elements. */
#ifndef ROSACE_CL_SHARED_BACKWARD_ARGS
#define ROSACE_CL_SHARED_BACKWARD_ARGS

#include "shared/attention_args.h"

typedef struct rsc_backward_args {
    rsc_attention_view q, k, v, out, dout, dq, dk, dv;
    rsc_mask_args mask;
    RSC_U64 lse_offset, delta_offset; /* [batch, heads, seq_q] both */
    RSC_U64 partial_offset;           /* [slots, batch, heads, tiles, HEAD_DIM, QUERIES] */
    RSC_U64 bias_offset;              /* of the position system's parameters */
    RSC_I64 ids_offset, ids_batch_stride, ids_seq_stride; /* log-n: position = position_first + (ids or m) */
    RSC_I64 position_first;
    RSC_U32 batch;
    RSC_U32 heads, group; /* query heads; how many of them share a key/value head */
    RSC_U32 seq_q, tiles; /* tiles of queries */
    RSC_U32 use_ids;
    RSC_U32 block_keys, blocks; /* keys of a block, a multiple of TILE_K; blocks of keys */
    RSC_U32 head_blocks, slots; /* block b has slot b while b < head_blocks, else head_blocks + (b - head_blocks) mod the rest */
    /* t2 = q_scale * <q, k> + bias_scale * bias, with a softcap cap_scale * tanh(the same), is a score in units of log 2 */
    float q_scale, bias_scale, cap_scale;
    float inverse_log_train; /* log-n: 1 / ln(training length) */
    float dk_scale; /* what q_scale has beside the scale, undone */
    float dq_scale; /* the scale */
} rsc_backward_args;

#endif
