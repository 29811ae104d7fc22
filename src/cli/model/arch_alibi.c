/* SPDX-License-Identifier: MIT
 * BLOOM and MPT: layer norms and ALiBi. BLOOM has biases everywhere and norms its embeddings, MPT has none at all. */
#include "architecture.h"

static const tensor_names bloom_names = {
    .embedding = "transformer.word_embeddings",
    .embedding_norm = "transformer.word_embeddings_layernorm",
    .layer = "transformer.h.",
    .attention_norm = ".input_layernorm",
    .mlp_norm = ".post_attention_layernorm",
    .qkv = ".self_attention.query_key_value",
    .qkv_by_head = true,
    .out = ".self_attention.dense",
    .up = ".mlp.dense_h_to_4h",
    .down = ".mlp.dense_4h_to_h",
    .norm = "transformer.ln_f",
    .head = "lm_head",
};

static const neutral_key bloom_neutral[] = {{"apply_residual_connection_post_layernorm", "false"}, {NULL, NULL}};

static bool read_bloom(const reader *root, model_config *config) {
    config->layer_norm = config->norm_bias = config->qkv_bias = config->out_bias = config->mlp_bias = true;
    config->mlp = MLP_PLAIN;
    config->activation = ROSACE_ACTIVATION_GELU_TANH;
    config->position = POSITION_ALIBI;
    return reader_integer(root, "seq_length", 2048, 2, 1 << 24, &config->train_length);
}

const architecture architecture_bloom = {
    .model_type = "bloom",
    .class_name = "BloomForCausalLM",
    .keys = {.hidden = "hidden_size", .layers = "n_layer", .heads = "n_head", .eps = "layer_norm_epsilon", .default_eps = 1e-5},
    .tied = true,
    .names = &bloom_names,
    .neutral = bloom_neutral,
    .read = read_bloom,
};

/* ---- MPT --------------------------------------------------------------------------------------------------------- */

static const tensor_names mpt_names = {
    .embedding = "transformer.wte",
    .layer = "transformer.blocks.",
    .attention_norm = ".norm_1",
    .mlp_norm = ".norm_2",
    .qkv = ".attn.Wqkv",
    .out = ".attn.out_proj",
    .up = ".ffn.up_proj",
    .down = ".ffn.down_proj",
    .norm = "transformer.norm_f",
    .head = "lm_head",
};

static const neutral_key mpt_neutral[] = {
    {"no_bias", "true"}, {"norm_type", "\"low_precision_layernorm\""}, {"logit_scale", "null"}, {"expansion_ratio", "4"},
    {NULL, NULL},
};
static const neutral_key mpt_attention_neutral[] = {
    {"attn_type", "\"multihead_attention\""}, {"alibi", "true"}, {"alibi_bias_max", "8"}, {"clip_qkv", "null"},
    {"prefix_lm", "false"}, {"qk_ln", "false"}, {"attn_uses_sequence_id", "false"}, {NULL, NULL},
};

static bool read_mpt(const reader *root, model_config *config) {
    config->layer_norm = true;
    config->mlp = MLP_PLAIN;
    config->activation = ROSACE_ACTIVATION_GELU;
    config->position = POSITION_ALIBI;
    const json_t *attention = reader_get(root, "attn_config");
    if (!attention) return true;
    if (!json_is_object(attention)) return reader_refuse(root, "attn_config", "an object");
    const reader inner = {root->path, "attn_config.", attention};
    return reader_neutral(&inner, mpt_attention_neutral) &&
           reader_float(&inner, "softmax_scale", 0.0, 1e-9, &config->attention_scale);
}

const architecture architecture_mpt = {
    .model_type = "mpt",
    .class_name = "MptForCausalLM",
    .keys = {.hidden = "d_model", .layers = "n_layers", .heads = "n_heads", .length = "max_seq_len", .eps = "layer_norm_epsilon",
             .default_eps = 1e-5},
    .tied = true,
    .names = &mpt_names,
    .neutral = mpt_neutral,
    .read = read_mpt,
};
