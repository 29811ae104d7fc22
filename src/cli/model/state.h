/* SPDX-License-Identifier: MIT
 * What the parts of a forward pass share. Each enqueues, says what went wrong and returns false. */
#ifndef ROSACE_CLI_MODEL_STATE_H
#define ROSACE_CLI_MODEL_STATE_H

#include "model.h"
#include "weights.h"

struct language_model {
    rosace_context *context;
    cl_command_queue queue;
    model_config config;
    model_weights weights;
    cl_mem bias_params; /* ALiBi, Sandwich, or NULL */

    size_t capacity;             /* tokens the buffers below have room for */
    cl_mem ids, targets, loss;   /* [capacity] */
    cl_mem x;                    /* [capacity, hidden]: the residual stream */
    cl_mem y, z;                 /* [capacity, max(hidden, heads head_dim)] */
    cl_mem qkv;                  /* [capacity, (heads + 2 kv_heads) head_dim] */
    size_t mlp_rows, logit_rows; /* rows of one slice */
    cl_mem gate, up, logits;     /* [mlp_rows, intermediate] twice, [logit_rows, vocab] */

    /* MLP_EXPERTS */
    cl_mem router;        /* [capacity, experts] */
    cl_mem picked, share; /* int32 and fp32 [capacity * experts_used]: tokens by expert, and how much of it they get */
    cl_mem part, part_out; /* [mlp_rows, hidden] twice */
};

static inline rosace_array model_array(cl_mem mem, size_t offset) {
    return (rosace_array){mem, offset, ROSACE_F32};
}

/* out[out_row ...] = in[in_row ...] W^T + bias */
bool model_linear(language_model *model, const char *what, const linear_weights *weights, cl_mem in, size_t in_row, cl_mem out,
                  size_t out_row, size_t rows);

/* z = the sum of what the experts picked for each row of y give. Waits for the router. */
bool model_experts(language_model *model, const layer_weights *layer, cl_mem y, cl_mem z, size_t rows);

/* One layer over x. */
bool model_layer(language_model *model, const attention_plans *plans, size_t index, size_t batch, size_t length);

/* out = norm(in), both [rows, hidden]; may be the same. */
bool model_norm(language_model *model, const norm_weights *weights, cl_mem in, cl_mem out, size_t rows);

#endif
