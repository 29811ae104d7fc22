/* SPDX-License-Identifier: MIT
 * The argument that the attention kernels have besides with ReRoPE, seen by host and device: queries and keys as pairs at a
 * distance of `window` and beyond take them. Offsets and strides are in elements. */
#ifndef ROSACE_CL_SHARED_REROPE_ARGS
#define ROSACE_CL_SHARED_REROPE_ARGS

#include "shared/attention_args.h"

typedef struct rsc_rerope_args {
    rsc_attention_view q, k;
    RSC_I32 window;
    float scale; /* of far scores, beside q_scale */
} rsc_rerope_args;

#endif
