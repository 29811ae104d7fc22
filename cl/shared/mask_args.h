/* SPDX-License-Identifier: MIT
 * A mask as an argument of a kernel: the fields of rosace_mask (mask.h) and what they are applied to. */
#ifndef ROSACE_CL_SHARED_MASK_ARGS
#define ROSACE_CL_SHARED_MASK_ARGS

#include "shared/types.h"

typedef struct rsc_mask_args {
    RSC_I64 window_left, window_right, sinks, prefix, chunk, chunk_back, seq_k, q_offset;
    RSC_I32 causal, unused;
} rsc_mask_args;

#endif
