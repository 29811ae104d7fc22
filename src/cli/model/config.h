/* SPDX-License-Identifier: MIT
 * config.json of a Llama-family decoder, in the transformers library's keys. */
#ifndef ROSACE_CLI_CONFIG_H
#define ROSACE_CLI_CONFIG_H

#include <rosace/rope.h>

/* How the model was trained to know positions; bits, so that a position system can fit several. */
typedef enum position_kind {
    POSITION_ROPE = 1,
    POSITION_SINUSOIDAL = 2,
    POSITION_ALIBI = 4,
    POSITION_SHAW = 8
} position_kind;

typedef struct model_config {
    size_t hidden, intermediate, layers, heads, kv_heads, head_dim, vocab;
    float eps;
    bool tied;            /* the output matrix is the embedding */
    int64_t train_length; /* max_position_embeddings */
    position_kind position;
    rosace_rope_desc rope; /* POSITION_ROPE: theta and the model's own scaling; DYNAMIC wants seq_len before use */
    double rope_factors[512]; /* what `rope` may point to: a config is not to be copied */
    float sinusoidal_scale;
    int64_t shaw_max_distance;
} model_config;

/* "rope", "sinusoidal", "alibi" or "shaw" */
const char *position_kind_name(position_kind kind);

/* Reads and checks a config.json. Says which key is wrong and returns false. */
bool config_load(const char *path, model_config *out);

#endif
