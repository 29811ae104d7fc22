/* SPDX-License-Identifier: MIT
 * The argument that the attention kernels have besides with clipped relative positions, seen by host and device. */
#ifndef ROSACE_CL_SHARED_SHAW_ARGS
#define ROSACE_CL_SHARED_SHAW_ARGS

#include "shared/types.h"

typedef struct rsc_shaw_args {
    RSC_U64 key_offset, value_offset; /* of the tables, in floats */
    RSC_I32 reach;                    /* distances are clipped to -reach .. reach */
    RSC_I32 shown_first, shown_last;  /* no visible pair has a distance outside of these, as far as the mask's shape tells */
    RSC_U32 has_key, has_value;
    RSC_U32 unused;
} rsc_shaw_args;

#endif
