/* SPDX-License-Identifier: MIT
 * What the rows of fused attention share: state, arguments, rotated copies of q and k, the launch (attention_fused.c). */
#ifndef ROSACE_SRC_OPS_ATTENTION_FUSED_H
#define ROSACE_SRC_OPS_ATTENTION_FUSED_H

#include "../program.h"
#include "attention.h"
#include "shared/attention_args.h"

typedef struct rsc_fused_state {
    cl_kernel kernel;
    rosace_rope_plan *rope;
    rsc_bias bias;
    rsc_rerope rerope;
    unsigned queries;  /* rows of a tile */
    unsigned items;    /* of a work-group */
    unsigned per_item; /* tiles of a work-group, at most */
    unsigned turns_of_tile, turns_of_item, turns_to_begin; /* of loops, about: for each key of a tile, for each key that an
                          item copies, for a tile besides; 0 where nobody counts them (rsc_device_ends_loops) */
    bool flat;         /* the batch is in the first dimension, too; else in the third, which GPUs may limit to 65535 groups */
} rsc_fused_state;

/* Adds the defines that do not depend on the row, makes `kernel` of the program `piece`, and the rotation. */
rosace_status rsc_fused_build(rosace_attention_plan *plan, rsc_fused_state *state, const char *piece, const char *kernel,
                              rsc_options *options);

/* Entries of a row, for states of the type above. */
void rsc_fused_destroy(rosace_attention_plan *plan);
rosace_status rsc_fused_workspace_bytes(const rosace_attention_plan *plan, size_t batch, size_t seq_q, size_t seq_k,
                                        size_t *bytes);
rosace_status rsc_fused_enqueue(rosace_attention_plan *plan, rsc_chain *chain, const rsc_attention_call *call);

#endif
