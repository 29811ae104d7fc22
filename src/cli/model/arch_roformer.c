/* SPDX-License-Identifier: MIT
 * RoFormer (Su et al. 2021): an encoder in the shape of BERT whose queries and keys rotate, neighbours as pairs. */
#include "../cli.h"
#include "architecture.h"

static const tensor_names names = {
    .embedding = "roformer.embeddings.word_embeddings",
    .token_types = "roformer.embeddings.token_type_embeddings",
    .embedding_norm = "roformer.embeddings.LayerNorm",
    .layer = "roformer.encoder.layer.",
    .attention_norm = ".attention.output.LayerNorm",
    .mlp_norm = ".output.LayerNorm",
    .q = ".attention.self.query",
    .k = ".attention.self.key",
    .v = ".attention.self.value",
    .out = ".attention.output.dense",
    .up = ".intermediate.dense",
    .down = ".output.dense",
    .head = "cls.predictions.decoder",
    .head_transform = "cls.predictions.transform.dense",
    .head_norm = "cls.predictions.transform.LayerNorm",
    .head_bias = "cls.predictions.bias",
};

static const neutral_key neutral[] = {
    {"rotary_value", "false"}, {"is_decoder", "false"}, {"add_cross_attention", "false"}, {NULL, NULL},
};

static bool read_roformer(const reader *root, model_config *config) {
    int64_t embedding;
    attention_kind *full = &config->kinds[ATTENTION_FULL];
    config->bidirectional = config->layer_norm = config->norm_bias = true;
    config->qkv_bias = config->out_bias = config->mlp_bias = true;
    config->block = BLOCK_POST_NORM;
    config->mlp = MLP_PLAIN;
    full->rotates = true;
    full->rope = (rosace_rope_desc)ROSACE_ROPE_DESC_DEFAULT;
    full->rope.head_dim = config->head_dim;
    full->rope.interleaved = true;
    if (!read_activation(root, "hidden_act", "gelu", config) ||
        !reader_integer(root, "embedding_size", (int64_t)config->hidden, 1, 1 << 20, &embedding))
        return false;
    if ((size_t)embedding == config->hidden) return true;
    char text[60];
    snprintf(text, sizeof text, "hidden_size, %zu", config->hidden);
    return reader_refuse(root, "embedding_size", text);
}

const architecture architecture_roformer = {
    .model_type = "roformer",
    .class_name = "RoFormerForMaskedLM",
    .keys = {.hidden = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",
             .intermediate = "intermediate_size", .length = "max_position_embeddings", .eps = "layer_norm_eps",
             .default_eps = 1e-12},
    .tied = true,
    .names = &names,
    .neutral = neutral,
    .read = read_roformer,
};
