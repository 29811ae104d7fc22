/* SPDX-License-Identifier: MIT
 * From the tensors of a file to buffers on the device. */
#ifndef ROSACE_CLI_WEIGHTS_H
#define ROSACE_CLI_WEIGHTS_H

#include <rosace/matmul.h>

#include "config.h"

typedef struct layer_weights {
    cl_mem input_norm, post_norm; /* [hidden] */
    rosace_matmul_weights *qkv;       /* [(heads + 2 kv_heads) head_dim, hidden]: q, k and v above each other */
    rosace_matmul_weights *out;       /* [hidden, heads head_dim] */
    rosace_matmul_weights *gate, *up; /* [intermediate, hidden] */
    rosace_matmul_weights *down;      /* [hidden, intermediate] */
    cl_mem shaw_key, shaw_value;  /* [2 max_distance + 1, head_dim], or NULL */
} layer_weights;

typedef struct model_weights {
    cl_mem embedding;      /* [vocab, hidden] */
    cl_mem norm;           /* [hidden] */
    rosace_matmul_weights *head; /* [vocab, hidden]; of the embedding when tied */
    layer_weights *layers; /* [config.layers] */
    size_t n_layers;
    size_t parameters; /* elements read */
} model_weights;

/* Reads a safetensors file; every shape must be what the configuration says. On failure says why and frees nothing:
 * weights_free copes with what is there. */
bool weights_load(rosace_context *context, cl_command_queue queue, const char *path, const model_config *config,
                  model_weights *out);
void weights_free(model_weights *weights);

#endif
