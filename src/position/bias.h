/* SPDX-License-Identifier: MIT
 * Biases by distance. A kind of rosace_bias_kind is a row of the table in bias.c: its name, its piece of cl/position/, what
 * its descriptor must hold, how many parameters it has, and what the host computes for it. With a function in
 * src/reference/bias.c that is all there is to a new one. */
#ifndef ROSACE_SRC_POSITION_BIAS_H
#define ROSACE_SRC_POSITION_BIAS_H

#include <rosace/attention.h>

#include "../queue.h"

typedef struct rsc_bias_desc {
    rosace_bias_kind kind;
    int64_t max_distance, buckets, width;
    bool causal;
} rsc_bias_desc;

/* Checks a descriptor; what its kind does not read becomes 0, so that it never tells two equal biases apart. */
rosace_status rsc_bias_check(const rsc_bias_desc *given, rsc_bias_desc *checked);

/* "ROSACE_BIAS_ALIBI" */
const char *rsc_bias_name(rosace_bias_kind kind);

/* The floats of bias_params; 0 for kinds without (NONE, SHAW). */
size_t rsc_bias_params(const rsc_bias_desc *checked, size_t heads);

/* The piece in front of an attention, softmax or mask kernel; NULL where no number is added to scores. Fills `pieces` with it
 * (if any), `piece` and NULL. */
const char *rsc_bias_piece(rosace_bias_kind kind);
void rsc_bias_pieces(rosace_bias_kind kind, const char *piece, const char *pieces[3]);

/* A bias made ready for a device. Kinds that kernels compute on the spot, and those that add no number, have no table: no
 * bytes, and nothing is enqueued. */
typedef struct rsc_bias {
    rosace_context *context;
    rsc_bias_desc desc;
    cl_kernel table;  /* NULL: none is needed */
    cl_mem constants; /* what the host computed, or NULL */
} rsc_bias;
rosace_status rsc_bias_create(rosace_context *context, const rsc_bias_desc *checked, rsc_bias *out);
void rsc_bias_destroy(rsc_bias *bias); /* copes with one never made */

/* Bytes of the table for any call of these sizes; never falls as a size grows. */
rosace_status rsc_bias_bytes(const rsc_bias *bias, const rosace_mask *mask, size_t heads, size_t seq_q, size_t seq_k,
                             size_t *bytes);

/* Where kernels find the parameters of the piece. */
typedef struct rsc_bias_place {
    cl_mem mem; /* NULL: no bias */
    size_t offset; /* floats */
} rsc_bias_place;

/* Writes the table for a call to `byte_offset` (a multiple of 4) of `memory`, where one is needed, and says where kernels find
 * their parameters: there, or what the caller gave. */
rosace_status rsc_bias_chain(const rsc_bias *bias, rsc_chain *chain, const rosace_mask *mask, int64_t q_offset, size_t heads,
                             size_t seq_q, size_t seq_k, rsc_bias_place params, cl_mem memory, size_t byte_offset,
                             rsc_bias_place *out);

#endif
