/* SPDX-License-Identifier: MIT
 * The argument of the decode kernels, seen by host and device. Offsets and strides are in elements. */
#ifndef ROSACE_CL_SHARED_DECODE_ARGS
#define ROSACE_CL_SHARED_DECODE_ARGS

#include "shared/attention_args.h"

/* Partial results are indexed by t = ((b * heads + h) * lse_rows + m) * splits + s, heads and rows of the whole call:
 *     result   fp32 [t][head_dim], sum of 2^(score - largest) * v over the keys of split s, from `results_offset` on
 *     state    fp32 [t][2], the largest score and the sum of weights, from `states_offset` on */
typedef struct rsc_decode_kernel_args {
    rsc_attention_view q, k, v, out;
    rsc_mask_args mask;
    RSC_U64 lse_offset;  /* lse: [batch, heads, lse_rows] */
    RSC_U64 bias_offset; /* of the position system's parameters */
    RSC_U64 results_offset, states_offset;                /* of the workspace, in floats */
    RSC_I64 ids_offset, ids_batch_stride, ids_seq_stride; /* log-n: position = position_first + (ids or m) */
    RSC_I64 position_first;
    RSC_U32 heads, group;           /* query heads; how many of them share a key/value head */
    RSC_U32 seq_q;
    RSC_U32 rows, row_tiles;        /* of a key/value head's seq_q * group rows, how many a work-item takes; the number of such */
    RSC_U32 kv_heads, kv_tiles;     /* likewise of the key/value heads */
    RSC_U32 splits;
    RSC_U32 step;                   /* what a split takes is a multiple of this many keys */
    RSC_U32 has_lse, use_ids;
    /* Scores in units of log 2, as in attention_args.h. */
    float q_scale, bias_scale, cap_scale;
    float inverse_log_train; /* log-n: 1 / ln(training length) */
    RSC_U32 lse_rows;        /* of a head in lse: seq_q, or of all sequences of a packed call */
} rsc_decode_kernel_args;

#endif
