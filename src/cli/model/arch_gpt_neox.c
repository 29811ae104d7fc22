/* SPDX-License-Identifier: MIT
 * GPT-NeoX and Pythia: layer norms, biases, a part of each head rotates, attention and mlp side by side. */
#include "architecture.h"

static const tensor_names names = {
    .embedding = "gpt_neox.embed_in",
    .layer = "gpt_neox.layers.",
    .attention_norm = ".input_layernorm",
    .mlp_norm = ".post_attention_layernorm",
    .qkv = ".attention.query_key_value",
    .qkv_by_head = true,
    .out = ".attention.dense",
    .up = ".mlp.dense_h_to_4h",
    .down = ".mlp.dense_4h_to_h",
    .norm = "gpt_neox.final_layer_norm",
    .head = "embed_out",
};

static const neutral_key neutral[] = {{"is_decoder", "false"}, {NULL, NULL}};

static bool read_gpt_neox(const reader *root, model_config *config) {
    static const rope_keys keys = {"rotary_emb_base", 10000.0, "rotary_pct", 0.25};
    bool parallel;
    config->layer_norm = config->norm_bias = config->mlp_bias = true;
    config->mlp = MLP_PLAIN;
    if (!read_activation(root, "hidden_act", "gelu", config) ||
        !reader_bool(root, "attention_bias", true, &config->qkv_bias) ||
        !reader_bool(root, "use_parallel_residual", true, &parallel))
        return false;
    config->out_bias = config->qkv_bias;
    config->block = parallel ? BLOCK_PARALLEL : BLOCK_SEQUENTIAL;
    return read_rope(root, &keys, ATTENTION_FULL, config);
}

const architecture architecture_gpt_neox = {
    .model_type = "gpt_neox",
    .class_name = "GPTNeoXForCausalLM",
    .keys = {.hidden = "hidden_size", .layers = "num_hidden_layers", .heads = "num_attention_heads",
             .intermediate = "intermediate_size", .length = "max_position_embeddings", .eps = "layer_norm_eps",
             .default_eps = 1e-5},
    .names = &names,
    .neutral = neutral,
    .read = read_gpt_neox,
};
