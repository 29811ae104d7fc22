/* SPDX-License-Identifier: MIT
 * The argument of cl/attention_merge.cl, seen by host and device. Offsets and strides are in elements of their buffer. */
#ifndef ROSACE_CL_SHARED_MERGE_ARGS
#define ROSACE_CL_SHARED_MERGE_ARGS

#include "shared/attention_args.h"

#define RSC_MERGE_PARTS 8

typedef struct rsc_merge_kernel_args {
    rsc_attention_view part[RSC_MERGE_PARTS], out;
    RSC_U64 part_lse[RSC_MERGE_PARTS], lse; /* offsets; each is [batch, heads, seq], packed */
    RSC_U32 heads, seq, dim, has_lse;
} rsc_merge_kernel_args;

#endif
