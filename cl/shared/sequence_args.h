/* SPDX-License-Identifier: MIT
 * Sequences of their own lengths in one call: documents packed along one axis, or padded elements of a batch. A table of these,
 * one for each sequence, is what kernels read (cl/lib/call.clh). */
#ifndef ROSACE_CL_SHARED_SEQUENCE_ARGS
#define ROSACE_CL_SHARED_SEQUENCE_ARGS

#include "shared/types.h"

typedef struct rsc_sequence {
    RSC_I32 batch, q_begin, k_begin; /* where it begins in the tensors: element of the batch, row of q, row of k */
    RSC_I32 seq_q, seq_k, q_offset;  /* its own, as a call of it alone would have them */
    RSC_I32 q_position;              /* of its first query, where positions are not ids */
    RSC_I32 unused;
} rsc_sequence;

#endif
