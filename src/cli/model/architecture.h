/* SPDX-License-Identifier: MIT
 * The model architectures that can be run. Each is one row: how transformers calls it, its keys, its tensors' names, and a
 * function for what else is in its config.json. A new one is a row in a file of its own, and its name in architectures[]. */
#ifndef ROSACE_CLI_ARCHITECTURE_H
#define ROSACE_CLI_ARCHITECTURE_H

#include "config.h"
#include "reader.h"

/* The keys of the sizes. NULL: kv_heads are heads; head_dim is hidden / heads; intermediate is 4 hidden. */
typedef struct size_keys {
    const char *hidden, *layers, *heads, *kv_heads, *head_dim, *intermediate, *length, *eps;
    double default_eps;
} size_keys;

/* Without ".weight" and ".bias". NULL: the architecture has none of it. */
typedef struct tensor_names {
    const char *embedding, *token_types, *embedding_norm;
    const char *layer; /* before those of a layer, which begin with ".": "model.layers." */
    const char *attention_norm, *attention_post_norm, *mlp_norm, *mlp_post_norm;
    const char *q, *k, *v, *q_norm, *k_norm, *out;
    const char *qkv;       /* in place of q, k and v */
    bool qkv_by_head;      /* its rows are [heads, 3, head_dim], not [3, heads, head_dim] */
    const char *gate, *up, *down;
    const char *norm;      /* after the last layer */
    const char *head;      /* of the output matrix when it is not the embedding */
    const char *head_transform, *head_norm; /* before it */
    const char *head_bias; /* whole name */
} tensor_names;

typedef struct architecture {
    const char *model_type; /* of config.json */
    const char *class_name; /* what "architectures" must name, if it is there */
    size_keys keys;
    bool tied;              /* tie_word_embeddings when it is missing */
    const tensor_names *names;
    const neutral_key *neutral; /* ends with a NULL key; may be NULL */
    /* Sizes, eps, vocabulary and tying are read already; everything else is zero but kinds[].window, which is -1. */
    bool (*read)(const reader *root, model_config *config);
} architecture;

/* Ends with NULL. */
extern const architecture *const architectures[];

extern const architecture architecture_llama, architecture_mistral, architecture_qwen2, architecture_qwen3, architecture_gemma2,
    architecture_gemma3, architecture_gpt_neox, architecture_bloom, architecture_mpt, architecture_gpt_oss,
    architecture_roformer;

/* ---- What several of them read ----------------------------------------------------------------------------------- */

extern const tensor_names llama_names;
#define LLAMA_KEYS                                                                                                     \
    {                                                                                                                  \
        .hidden = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",                        \
        .kv_heads = "num_key_value_heads", .head_dim = "head_dim", .intermediate = "intermediate_size",                \
        .length = "max_position_embeddings", .eps = "rms_norm_eps", .default_eps = 1e-6                                \
    }

/* hidden_act, or what it is called. */
bool read_activation(const reader *root, const char *key, const char *fallback, model_config *config);

/* Where the rotation of a kind of layers is written beside rope_parameters or rope_scaling. */
typedef struct rope_keys {
    const char *theta;
    double default_theta;
    const char *partial;
    double default_partial;
} rope_keys;

/* The rotation of one kind of layers, from rope_parameters (newer files, which may have one object per kind of layer) or
 * rope_scaling (older ones), and the keys beside it. */
bool read_rope(const reader *root, const rope_keys *keys, size_t kind, model_config *config);
/* The same rotation for both kinds, under the usual keys. */
bool read_common_rope(const reader *root, model_config *config);

/* layer_types, or without it: sliding unless (layer + 1) % period == 0; period 0: all full, 1: all full, too. Reads
 * sliding_window when a layer slides. */
bool read_layer_types(const reader *root, size_t period, model_config *config);

#endif
