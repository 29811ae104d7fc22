/* SPDX-License-Identifier: MIT
 * The argument of the fused attention kernels, seen by host and device. Offsets and strides are in elements. */
#ifndef ROSACE_CL_SHARED_ATTENTION_ARGS
#define ROSACE_CL_SHARED_ATTENTION_ARGS

#include "shared/mask_args.h"

typedef struct rsc_attention_view {
    RSC_U64 offset, batch_stride, seq_stride, head_stride;
} rsc_attention_view;

typedef struct rsc_attention_kernel_args {
    rsc_attention_view q, k, v, out;
    rsc_mask_args mask;
    RSC_U64 lse_offset;  /* lse: [batch, heads, lse_rows] */
    RSC_U64 bias_offset; /* of the position system's parameters */
    RSC_I64 ids_offset, ids_batch_stride, ids_seq_stride; /* log-n: position = position_first + (ids or m) */
    RSC_I64 position_first;
    RSC_U32 heads, group; /* query heads; how many of them share a key/value head */
    RSC_U32 seq_q, tiles; /* tiles of queries; with SEQUENCES slots of the table (lib/call.clh) */
    RSC_U32 per_item;    /* tiles of a work-item (attention_cpu.cl) */
    RSC_U32 near_heads;  /* key/value heads that are innermost in the order of work (attention_cpu.cl) */
    RSC_U32 has_lse, use_ids;
    RSC_U32 aligned;     /* every row of q, k, v and out starts at a multiple of 8 elements of its buffer */
    RSC_U32 lse_rows;    /* of a head in lse: seq_q, or of all sequences of a packed call */
    /* The kernels work with t = scale * <q, k> + bias in units of log 2, so that exp2 gives the weights:
     * t2 = q_scale * <q, k> + bias_scale * bias, and with a softcap t2 = cap_scale * tanh(the same). */
    float q_scale, bias_scale, cap_scale;
    float inverse_log_train; /* log-n: 1 / ln(training length) */
} rsc_attention_kernel_args;

#endif
