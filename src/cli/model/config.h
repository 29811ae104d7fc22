/* SPDX-License-Identifier: MIT
 * What a model computes, read from its config.json in the transformers library's keys. Everything that tells architectures
 * apart is data here; architecture.h has the rows it comes from. */
#ifndef ROSACE_CLI_CONFIG_H
#define ROSACE_CLI_CONFIG_H

#include <rosace/layers.h>
#include <rosace/rope.h>

struct architecture;

/* How the model was trained to know positions; bits, so that a position system can fit several. */
typedef enum position_kind {
    POSITION_ROPE = 1,
    POSITION_SINUSOIDAL = 2,
    POSITION_ALIBI = 4,
    POSITION_SHAW = 8,
    POSITION_XPOS = 16,
    POSITION_KERPLE = 32,
    POSITION_SANDWICH = 64,
    POSITION_HWFA = 128
} position_kind;

/* Where a layer's norms stand. */
typedef enum block_kind {
    BLOCK_SEQUENTIAL = 0, /* x += attention(norm(x)), then x += mlp(norm(x)) */
    BLOCK_PARALLEL,       /* x += attention(norm(x)) + mlp(norm'(x)) */
    BLOCK_POST_NORM       /* x = norm(x + attention(x)), then x = norm(x + mlp(x)) */
} block_kind;

typedef enum mlp_kind {
    MLP_GATED = 0, /* down(f(gate(x)) * up(x)) */
    MLP_PLAIN,     /* down(f(up(x))) */
    MLP_EXPERTS    /* several, clamped and gated; a router picks some for each token */
} mlp_kind;

/* Layers differ by their attention, in two kinds at most. */
enum { ATTENTION_FULL = 0, ATTENTION_SLIDING, ATTENTION_KINDS };
enum { MODEL_MAX_LAYERS = 4096, MODEL_ROPE_FACTORS = 512 };

typedef struct attention_kind {
    int64_t window;   /* keys visible before the query (after it too, if bidirectional), itself not counted; -1: all */
    bool logn;        /* log-n scaling is part of the model, by its training length */
    bool rotates;     /* `rope` is used */
    rosace_rope_desc rope; /* theta and the model's own scaling; DYNAMIC and LONGROPE want seq_len before use */
    double rope_factors[MODEL_ROPE_FACTORS]; /* what `rope` may point to: a config is not to be copied */
} attention_kind;

typedef struct model_config {
    const struct architecture *architecture;
    size_t hidden, intermediate, layers, heads, kv_heads, head_dim, vocab;
    bool tied;            /* the output matrix is the embedding */
    int64_t train_length; /* max_position_embeddings */
    bool bidirectional;   /* an encoder: predicts masked tokens, not the next */

    float eps;
    bool layer_norm;      /* layer norms, not RMS norms */
    bool norm_bias;       /* their biases */
    bool norm_one_plus;   /* weights are what is added to 1 */
    block_kind block;
    bool post_norms;      /* SEQUENTIAL: norms of what attention and mlp give, before it is added */
    bool qk_norm;         /* RMS norms of every head of queries and keys */
    bool qkv_bias, out_bias, mlp_bias;
    bool sinks;           /* a learned logit per head that takes its share of the softmax and adds nothing */
    mlp_kind mlp;
    rosace_activation activation;
    size_t experts, experts_used; /* MLP_EXPERTS: how many there are, and for each token */
    float expert_alpha, expert_limit;
    float embedding_scale;                  /* 0: none */
    float attention_scale;                  /* 0: 1 / sqrt(head_dim) */
    float score_softcap, logit_softcap;     /* 0: none */

    position_kind position;
    float sinusoidal_scale;
    int64_t shaw_max_distance, sandwich_width;
    attention_kind kinds[ATTENTION_KINDS];
    unsigned char kind_of[MODEL_MAX_LAYERS]; /* which of them a layer has */
} model_config;

/* "rope", "sinusoidal", ... as in position_embedding_type */
const char *position_kind_name(position_kind kind);

/* True when a layer has this kind of attention. */
bool config_has_kind(const model_config *config, size_t kind);

/* Reads and checks a config.json. Says which key is wrong and returns false. */
bool config_load(const char *path, model_config *out);

#endif
