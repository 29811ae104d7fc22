/* SPDX-License-Identifier: MIT
 * Sequences of their own lengths in one call of attention (attention_sequences.c). */
#ifndef ROSACE_SRC_OPS_ATTENTION_SEQUENCES_H
#define ROSACE_SRC_OPS_ATTENTION_SEQUENCES_H

#include "attention.h"

/* Checks the arrays of a call and makes what call->sequences says; nothing for a plan that takes none. The caller's to free. */
rosace_status rsc_sequences_check(const rosace_attention_plan *plan, const rosace_attention_args *args, rsc_attention_call *call);

/* Where a rotation reads positions and the caller gave no ids, ids that begin anew with each sequence take their place. *ids (NULL
 * when there are none) is the caller's to release once all is enqueued. */
rosace_status rsc_sequences_positions(const rosace_attention_plan *plan, rsc_attention_call *call, cl_mem *ids);

/* The tiles of `queries` rows of all sequences, each of `units` neighbours, taken `per_item` at a time. */
rosace_status rsc_sequences_slots(const rsc_attention_call *call, size_t queries, size_t units, size_t per_item, size_t *slots);

/* The table of a kernel by tiles (`slots` of them, from the function above), or of another (slots 0); the caller's to release
 * once all is enqueued. */
rosace_status rsc_sequences_table(const rosace_attention_plan *plan, const rsc_attention_call *call, size_t queries, size_t units,
                                  size_t per_item, size_t slots, cl_mem *table);

/* Runs a variant that knows nothing of sequences on each of them, neighbours of a batch that are alike together. */
rosace_status rsc_sequences_each(rosace_attention_plan *plan, rsc_chain *chain, const rsc_attention_call *call,
                                 rosace_status (*run)(rosace_attention_plan *plan, rsc_chain *chain, const rsc_attention_call *call));

#endif
