/* SPDX-License-Identifier: MIT
 * Where kernels with a softmax find what a call may bring beside tensors and a bias by distance (lib/extras.clh), seen by host
 * and device. In elements of their buffers. */
#ifndef ROSACE_CL_SHARED_EXTRAS_ARGS
#define ROSACE_CL_SHARED_EXTRAS_ARGS

#include "shared/types.h"

typedef struct rsc_extras_args {
    RSC_U64 sink_offset; /* of the logits, fp32 [heads] */
} rsc_extras_args;

#endif
