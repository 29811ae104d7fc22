/* SPDX-License-Identifier: MIT
 * Gemma 2 and 3: layers with and without windows by turns, norms around attention and mlp, soft caps, GeGLU, scaled
 * embeddings. Gemma 3 norms queries and keys, and turns its sliding layers by a theta of their own. */
#include <math.h>

#include "architecture.h"

static const tensor_names names = {
    .embedding = "model.embed_tokens",
    .layer = "model.layers.",
    .attention_norm = ".input_layernorm",
    .attention_post_norm = ".post_attention_layernorm",
    .mlp_norm = ".pre_feedforward_layernorm",
    .mlp_post_norm = ".post_feedforward_layernorm",
    .q = ".self_attn.q_proj",
    .k = ".self_attn.k_proj",
    .v = ".self_attn.v_proj",
    .q_norm = ".self_attn.q_norm",
    .k_norm = ".self_attn.k_norm",
    .out = ".self_attn.o_proj",
    .gate = ".mlp.gate_proj",
    .up = ".mlp.up_proj",
    .down = ".mlp.down_proj",
    .norm = "model.norm",
    .head = "lm_head",
};

static const neutral_key neutral[] = {{"use_bidirectional_attention", "false"}, {NULL, NULL}};

static bool read_gemma(const reader *root, model_config *config) {
    double scalar;
    config->norm_one_plus = config->post_norms = true;
    config->embedding_scale = sqrtf((float)config->hidden);
    if (!read_activation(root, "hidden_activation", "gelu_pytorch_tanh", config) ||
        !reader_bool(root, "attention_bias", false, &config->qkv_bias) ||
        !reader_real(root, "query_pre_attn_scalar", 256.0, 1e-6, &scalar))
        return false;
    config->out_bias = config->qkv_bias;
    config->attention_scale = (float)(1.0 / sqrt(scalar));
    return true;
}

static bool read_gemma2(const reader *root, model_config *config) {
    return read_gemma(root, config) && read_layer_types(root, 2, config) &&
           reader_float(root, "attn_logit_softcapping", 0.0, 0.0, &config->score_softcap) &&
           reader_float(root, "final_logit_softcapping", 0.0, 0.0, &config->logit_softcap) && read_common_rope(root, config);
}

const architecture architecture_gemma2 = {
    .model_type = "gemma2",
    .class_name = "Gemma2ForCausalLM",
    .keys = LLAMA_KEYS,
    .tied = true,
    .names = &names,
    .neutral = neutral,
    .read = read_gemma2,
};

static bool read_gemma3(const reader *root, model_config *config) {
    static const rope_keys full = {"rope_theta", 1000000.0, "partial_rotary_factor", 1.0};
    static const rope_keys sliding = {"rope_local_base_freq", 10000.0, "partial_rotary_factor", 1.0};
    int64_t period;
    config->qk_norm = true;
    return read_gemma(root, config) && reader_integer(root, "sliding_window_pattern", 6, 1, MODEL_MAX_LAYERS, &period) &&
           read_layer_types(root, (size_t)period, config) &&
           reader_float(root, "attn_logit_softcapping", 0.0, 0.0, &config->score_softcap) &&
           reader_float(root, "final_logit_softcapping", 0.0, 0.0, &config->logit_softcap) &&
           read_rope(root, &full, ATTENTION_FULL, config) && read_rope(root, &sliding, ATTENTION_SLIDING, config);
}

const architecture architecture_gemma3 = {
    .model_type = "gemma3_text",
    .class_name = "Gemma3ForCausalLM",
    .keys = LLAMA_KEYS,
    .tied = true,
    .names = &names,
    .neutral = neutral,
    .read = read_gemma3,
};
