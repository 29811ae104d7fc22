/* SPDX-License-Identifier: MIT
 * The argument of cl/softmax.cl, seen by host and device. Offsets and strides are in elements of their buffer. */
#ifndef ROSACE_CL_SHARED_SOFTMAX_ARGS
#define ROSACE_CL_SHARED_SOFTMAX_ARGS

#include "shared/mask_args.h"

/* Row r, matrix z of a call is query row m = row_first + r of head h = h_first + z % inner in batch b = b_first + z / inner.
 * A view's strides count from the call's first batch and head, all else is indexed by b, h and m. */
typedef struct rsc_softmax_view {
    RSC_U64 offset;
    RSC_U64 batch_stride, head_stride, row_stride; /* the row's is of r, not of m */
} rsc_softmax_view;

typedef struct rsc_softmax_kernel_args {
    rsc_softmax_view scores, probs;
    rsc_mask_args mask;
    RSC_I64 head_shift, band_shift; /* key n of the head interval is column n + head_shift, of the band n + band_shift */
    RSC_U64 lse_offset;             /* lse is [batch, heads, lse_rows], indexed by m */
    RSC_U64 params_offset;          /* of the position system's parameters */
    RSC_U64 bias_offset, histogram_offset; /* Shaw: [z][r][2*max_distance + 1] packed */
    RSC_U64 far_offset;             /* ReRoPE: scores at constant distance, strides as scores */
    RSC_I64 ids_offset, ids_batch_stride, ids_seq_stride; /* log-n: position = position_first + (ids or m) */
    RSC_I64 position_first;
    RSC_I32 use_ids;
    RSC_U32 b_first, h_first, inner, heads, rows, row_first;
    RSC_U32 rows_per_item;          /* of one matrix */
    RSC_U32 columns;                /* width of a row, zero where no key is visible */
    RSC_U32 lse_rows;
    RSC_U32 has_lse, has_bias, has_histogram;
    RSC_I32 max_distance;           /* Shaw */
    RSC_I32 rerope_window;
    float scale, softcap;
    float far_scale;                /* ReRoPE: factor of the far scores beside scale */
    float inverse_log_train;        /* log-n: 1 / ln(training length) */
    RSC_U32 unused;                 /* no padding at the end, which Mesa's rusticl does not count */
} rsc_softmax_kernel_args;

#endif
