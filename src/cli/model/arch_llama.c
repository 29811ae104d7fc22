/* SPDX-License-Identifier: MIT
 * Llama, and those that are Llama but for windows, biases and norms of queries and keys: Mistral, Qwen 2, Qwen 3. Llama also
 * takes position_embedding_type, for models of its shape that know positions in another way (models/README.md). */
#include <string.h>

#include "../cli.h"
#include "architecture.h"

const tensor_names llama_names = {
    .embedding = "model.embed_tokens",
    .layer = "model.layers.",
    .attention_norm = ".input_layernorm",
    .mlp_norm = ".post_attention_layernorm",
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

/* ---- Llama ------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    position_kind kind;
} positions[] = {
    {"rope", POSITION_ROPE},     {"sinusoidal", POSITION_SINUSOIDAL}, {"alibi", POSITION_ALIBI},
    {"shaw", POSITION_SHAW},     {"xpos", POSITION_XPOS},             {"kerple", POSITION_KERPLE},
    {"sandwich", POSITION_SANDWICH}, {"hwfa", POSITION_HWFA},
};
enum { N_POSITIONS = sizeof positions / sizeof *positions };

const char *position_kind_name(position_kind kind) {
    for (size_t i = 0; i < N_POSITIONS; i++)
        if (positions[i].kind == kind) return positions[i].name;
    return "unknown";
}

/* All layers but the last have a window, the last has neither window nor rotation. */
static bool read_hwfa(const reader *root, model_config *config) {
    int64_t window;
    if (!reader_integer(root, "hwfa_window", -1, 1, 1 << 30, &window)) return false;
    config->kinds[ATTENTION_SLIDING].window = window - 1;
    config->kinds[ATTENTION_FULL].rotates = false;
    config->kinds[ATTENTION_FULL].logn = true;
    memset(config->kind_of, ATTENTION_SLIDING, config->layers - 1);
    return true;
}

static bool read_xpos(const reader *root, model_config *config) {
    double base;
    if (!reader_real(root, "xpos_scale_base", 512.0, 2.0, &base)) return false;
    for (size_t kind = 0; kind < ATTENTION_KINDS; kind++)
        config->kinds[kind].rope.xpos_base = base;
    return true;
}

static bool read_position(const reader *root, model_config *config) {
    const json_t *value = reader_get(root, "position_embedding_type");
    if (value) {
        const char *name = json_string_value(value);
        size_t i = 0;
        while (i < N_POSITIONS && !(name && !strcmp(name, positions[i].name)))
            i++;
        if (i == N_POSITIONS)
            return reader_refuse(root, "position_embedding_type",
                                 "rope, sinusoidal, alibi, shaw, xpos, kerple, sandwich or hwfa");
        config->position = positions[i].kind;
    }
    const unsigned rotated = POSITION_ROPE | POSITION_XPOS | POSITION_HWFA;
    if (((unsigned)config->position & rotated) && !read_common_rope(root, config)) return false;
    switch (config->position) {
    case POSITION_SINUSOIDAL:
        return reader_float(root, "sinusoidal_scale", 1.0, 0.0, &config->sinusoidal_scale);
    case POSITION_SHAW:
        return reader_integer(root, "shaw_max_distance", -1, 1, 1024, &config->shaw_max_distance);
    case POSITION_SANDWICH:
        return reader_integer(root, "sandwich_width", 128, 2, 4096, &config->sandwich_width);
    case POSITION_XPOS:
        return read_xpos(root, config);
    case POSITION_HWFA:
        return read_hwfa(root, config);
    default:
        return true;
    }
}

static bool read_biases(const reader *root, model_config *config) {
    if (!reader_bool(root, "attention_bias", false, &config->qkv_bias)) return false;
    config->out_bias = config->qkv_bias;
    return true;
}

static bool read_llama(const reader *root, model_config *config) {
    return read_activation(root, "hidden_act", "silu", config) && read_biases(root, config) &&
           reader_bool(root, "mlp_bias", false, &config->mlp_bias) && read_position(root, config);
}

static const neutral_key llama_neutral[] = {{"sliding_window", "null"}, {NULL, NULL}};

const architecture architecture_llama = {
    .model_type = "llama",
    .class_name = "LlamaForCausalLM",
    .keys = LLAMA_KEYS,
    .names = &llama_names,
    .neutral = llama_neutral,
    .read = read_llama,
};

/* ---- Mistral: every layer slides, if there is a window ----------------------------------------------------------- */

static bool read_mistral(const reader *root, model_config *config) {
    if (reader_get(root, "sliding_window") && !reader_get(root, "layer_types"))
        memset(config->kind_of, ATTENTION_SLIDING, config->layers);
    return read_activation(root, "hidden_act", "silu", config) && read_layer_types(root, 0, config) &&
           read_common_rope(root, config);
}

const architecture architecture_mistral = {
    .model_type = "mistral",
    .class_name = "MistralForCausalLM",
    .keys = LLAMA_KEYS,
    .names = &llama_names,
    .read = read_mistral,
};

/* ---- Qwen: layers from max_window_layers on slide, with use_sliding_window --------------------------------------- */

static bool read_qwen_layers(const reader *root, model_config *config) {
    bool slides;
    if (!reader_bool(root, "use_sliding_window", false, &slides)) return false;
    if (!reader_get(root, "layer_types") && slides && reader_get(root, "sliding_window")) {
        int64_t first;
        if (!reader_integer(root, "max_window_layers", 28, 0, MODEL_MAX_LAYERS, &first)) return false;
        for (size_t i = (size_t)first; i < config->layers; i++)
            config->kind_of[i] = ATTENTION_SLIDING;
    }
    if (!read_layer_types(root, 0, config)) return false;
    if (!slides && config_has_kind(config, ATTENTION_SLIDING))
        return cli_fail("%s: use_sliding_window is false, but layer_types has sliding_attention", root->path);
    return true;
}

static bool read_qwen2(const reader *root, model_config *config) {
    config->qkv_bias = true;
    return read_activation(root, "hidden_act", "silu", config) && read_qwen_layers(root, config) &&
           read_common_rope(root, config);
}

const architecture architecture_qwen2 = {
    .model_type = "qwen2",
    .class_name = "Qwen2ForCausalLM",
    .keys = LLAMA_KEYS,
    .names = &llama_names,
    .read = read_qwen2,
};

static bool read_qwen3(const reader *root, model_config *config) {
    config->qk_norm = true;
    return read_activation(root, "hidden_act", "silu", config) && read_biases(root, config) && read_qwen_layers(root, config) &&
           read_common_rope(root, config);
}

const architecture architecture_qwen3 = {
    .model_type = "qwen3",
    .class_name = "Qwen3ForCausalLM",
    .keys = LLAMA_KEYS,
    .names = &llama_names,
    .read = read_qwen3,
};
