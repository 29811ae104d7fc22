/* SPDX-License-Identifier: MIT
 * From the tensors of a file to buffers on the device. */
#ifndef ROSACE_CLI_WEIGHTS_H
#define ROSACE_CLI_WEIGHTS_H

#include <rosace/matmul.h>

#include "config.h"

/* y = x W^T + bias, W [rows, cols]; bias may be NULL. All NULL: the architecture has none. */
typedef struct linear_weights {
    rosace_matmul_weights *matrix;
    cl_mem bias;
    size_t rows, cols;
} linear_weights;

typedef struct norm_weights {
    cl_mem weight, bias; /* bias may be NULL; weight NULL: the architecture has no such norm */
} norm_weights;

typedef struct expert_weights {
    linear_weights gate, up, down;
} expert_weights;

typedef struct layer_weights {
    norm_weights attention_norm, attention_post_norm, mlp_norm, mlp_post_norm;
    linear_weights qkv; /* [(heads + 2 kv_heads) head_dim, hidden]: q, k and v above each other */
    linear_weights out; /* [hidden, heads head_dim] */
    cl_mem q_norm, k_norm;  /* [head_dim], or NULL */
    cl_mem sinks;           /* [heads], or NULL */
    linear_weights gate, up; /* [intermediate, hidden] */
    linear_weights down;     /* [hidden, intermediate] */
    linear_weights router;   /* [experts, hidden] */
    expert_weights *experts; /* [config.experts], or NULL */
    cl_mem shaw_key, shaw_value; /* [2 max_distance + 1, head_dim], or NULL */
    cl_mem bias_params;          /* KERPLE: [2, heads], or NULL */
} layer_weights;

typedef struct model_weights {
    cl_mem embedding;      /* [vocab, hidden] */
    cl_mem token_type;     /* [hidden]: that of the first segment, added to every embedding, or NULL */
    norm_weights embedding_norm, norm, head_norm;
    linear_weights head_transform; /* [hidden, hidden] */
    linear_weights head;   /* [vocab, hidden]; of the embedding when tied */
    layer_weights *layers; /* [n_layers] */
    size_t n_layers, n_experts;
    size_t parameters; /* elements read */
} model_weights;

/* Reads a safetensors file; every shape must be what the configuration says, and every tensor of a layer must be known. On
 * failure says why and frees nothing: weights_free copes with what is there. */
bool weights_load(rosace_context *context, cl_command_queue queue, const char *path, const model_config *config,
                  model_weights *out);
void weights_free(model_weights *weights);

#endif
