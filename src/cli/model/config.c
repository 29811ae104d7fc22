/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "architecture.h"

const architecture *const architectures[] = {
    &architecture_llama,    &architecture_mistral, &architecture_qwen2, &architecture_qwen3,   &architecture_gemma2,
    &architecture_gemma3,   &architecture_gpt_neox, &architecture_bloom, &architecture_mpt,    &architecture_gpt_oss,
    &architecture_roformer, NULL,
};

/* Whatever the architecture. */
static const neutral_key neutral[] = {
    {"quantization_config", "null"},
    {"is_encoder_decoder", "false"},
    {NULL, NULL},
};

bool config_has_kind(const model_config *config, size_t kind) {
    for (size_t i = 0; i < config->layers; i++)
        if (config->kind_of[i] == kind) return true;
    return false;
}

/* ---- Parts that architectures share ------------------------------------------------------------------------------ */

bool read_activation(const reader *root, const char *key, const char *fallback, model_config *config) {
    static const struct {
        const char *name;
        rosace_activation function;
    } known[] = {
        {"silu", ROSACE_ACTIVATION_SILU},
        {"swish", ROSACE_ACTIVATION_SILU},
        {"gelu", ROSACE_ACTIVATION_GELU},
        {"gelu_python", ROSACE_ACTIVATION_GELU},
        {"gelu_new", ROSACE_ACTIVATION_GELU_TANH},
        {"gelu_fast", ROSACE_ACTIVATION_GELU_TANH},
        {"gelu_pytorch_tanh", ROSACE_ACTIVATION_GELU_TANH},
        {"gelu_python_tanh", ROSACE_ACTIVATION_GELU_TANH},
        {"relu", ROSACE_ACTIVATION_RELU},
    };
    const json_t *value = reader_get(root, key);
    const char *name = value ? json_string_value(value) : fallback;
    for (size_t i = 0; name && i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name)) {
            config->activation = known[i].function;
            return true;
        }
    return reader_refuse(root, key, "silu, gelu, gelu_new, gelu_pytorch_tanh or relu");
}

bool read_rope(const reader *root, const rope_keys *keys, size_t kind, model_config *config) {
    attention_kind *out = &config->kinds[kind];
    const char *layer_type = kind == ATTENTION_SLIDING ? "sliding_attention" : "full_attention";
    const char *key = "rope_parameters";
    const json_t *object = reader_get(root, key);
    const bool by_kind = object && json_is_object(json_object_get(object, "full_attention"));
    /* An older object beside a theta of the sliding layers' own is about the full ones. */
    if (!object && (kind == ATTENTION_FULL || !strcmp(keys->theta, "rope_theta"))) object = reader_get(root, key = "rope_scaling");

    rosace_rope_model model = ROSACE_ROPE_MODEL_DEFAULT;
    model.name = key;
    model.head_dim = config->head_dim;
    model.max_position_embeddings = config->train_length;
    if (by_kind) model.layer_type = layer_type;
    if (!reader_real(root, keys->theta, keys->default_theta, 1.0001, &model.theta) ||
        !reader_real(root, keys->partial, keys->default_partial, 1e-6, &model.partial_rotary_factor) ||
        !reader_integer(root, "original_max_position_embeddings", 0, 1, INT32_MAX, &model.original_max_position_embeddings))
        return false;
    char *text = json_dumps(object ? object : json_null(), JSON_ENCODE_ANY);
    if (!text) return cli_fail("%s: %s: no memory", root->path, key);
    const rosace_status status =
        rosace_rope_desc_from_json(text, strlen(text), &model, out->rope_factors, MODEL_ROPE_FACTORS, &out->rope);
    free(text);
    out->rotates = true;
    return !status || cli_fail("%s: %s", root->path, rosace_last_error());
}

bool read_common_rope(const reader *root, model_config *config) {
    static const rope_keys keys = {"rope_theta", 10000.0, "partial_rotary_factor", 1.0};
    return read_rope(root, &keys, ATTENTION_FULL, config) && read_rope(root, &keys, ATTENTION_SLIDING, config);
}

static bool read_listed_layers(const reader *root, const json_t *list, model_config *config) {
    char text[120];
    if (!json_is_array(list) || json_array_size(list) != config->layers) {
        snprintf(text, sizeof text, "a list of %zu kinds, one for each layer", config->layers);
        return reader_refuse(root, "layer_types", text);
    }
    for (size_t i = 0; i < config->layers; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name && !strcmp(name, "sliding_attention"))
            config->kind_of[i] = ATTENTION_SLIDING;
        else if (!name || strcmp(name, "full_attention"))
            return reader_refuse(root, "layer_types", "made of full_attention and sliding_attention");
    }
    return true;
}

bool read_layer_types(const reader *root, size_t period, model_config *config) {
    const json_t *list = reader_get(root, "layer_types");
    if (list && !read_listed_layers(root, list, config)) return false;
    for (size_t i = 0; !list && period > 1 && i < config->layers; i++)
        config->kind_of[i] = (i + 1) % period ? ATTENTION_SLIDING : ATTENTION_FULL;
    if (!config_has_kind(config, ATTENTION_SLIDING)) return true;
    int64_t window;
    if (!reader_integer(root, "sliding_window", -1, 1, 1 << 30, &window)) return false;
    config->kinds[ATTENTION_SLIDING].window = window - 1;
    return true;
}

/* ---- The whole file ---------------------------------------------------------------------------------------------- */

static bool read_sizes(const reader *root, const size_keys *keys, model_config *config) {
    double eps;
    if (!reader_size(root, keys->hidden, -1, 1 << 20, &config->hidden) ||
        !reader_size(root, keys->layers, -1, MODEL_MAX_LAYERS, &config->layers) ||
        !reader_size(root, keys->heads, -1, 65536, &config->heads) ||
        !reader_size(root, "vocab_size", -1, INT32_MAX, &config->vocab) ||
        !reader_real(root, keys->eps, keys->default_eps, 0.0, &eps) ||
        !reader_bool(root, "tie_word_embeddings", config->architecture->tied, &config->tied))
        return false;
    config->eps = (float)eps;
    config->kv_heads = config->heads;
    config->intermediate = 4 * config->hidden;
    if (keys->length && !reader_integer(root, keys->length, -1, 2, 1 << 24, &config->train_length)) return false;
    if (keys->intermediate && !reader_size(root, keys->intermediate, -1, 1 << 22, &config->intermediate)) return false;
    if (keys->kv_heads && !reader_size(root, keys->kv_heads, (int64_t)config->heads, 65536, &config->kv_heads)) return false;
    if (config->heads % config->kv_heads)
        return cli_fail("%s: %s %zu is not a multiple of %s %zu", root->path, keys->heads, config->heads, keys->kv_heads,
                        config->kv_heads);
    const bool has_dim = keys->head_dim && reader_get(root, keys->head_dim);
    if (!has_dim && config->hidden % config->heads)
        return cli_fail("%s: %s %zu is not a multiple of %s %zu%s", root->path, keys->hidden, config->hidden, keys->heads,
                        config->heads, keys->head_dim ? ", and head_dim is missing" : "");
    config->head_dim = config->hidden / config->heads;
    if (has_dim && !reader_size(root, keys->head_dim, -1, 65536, &config->head_dim)) return false;
    if (config->head_dim < 16 || config->head_dim > 256 || config->head_dim % 8)
        return cli_fail("%s: head_dim %zu must be 16 to 256 and a multiple of 8", root->path, config->head_dim);
    return true;
}

static const architecture *find_architecture(const reader *root) {
    const json_t *value = reader_get(root, "model_type");
    if (!value) return &architecture_llama;
    for (size_t i = 0; architectures[i]; i++)
        if (json_is_string(value) && !strcmp(json_string_value(value), architectures[i]->model_type)) return architectures[i];
    char known[400] = "";
    for (size_t i = 0; architectures[i]; i++) {
        if (i) strcat(known, architectures[i + 1] ? ", " : " or ");
        strcat(known, architectures[i]->model_type);
    }
    reader_refuse(root, "model_type", known);
    return NULL;
}

static bool check_class(const reader *root, const architecture *found) {
    const json_t *list = reader_get(root, "architectures");
    if (!list) return true;
    const char *name = json_string_value(json_array_get(list, 0));
    if (name && json_array_size(list) == 1 && !strcmp(name, found->class_name)) return true;
    char text[80];
    snprintf(text, sizeof text, "[\"%s\"]", found->class_name);
    return reader_refuse(root, "architectures", text);
}

static bool read_config(const reader *root, model_config *config) {
    memset(config, 0, sizeof *config);
    const architecture *found = config->architecture = find_architecture(root);
    if (!found) return false;
    for (size_t kind = 0; kind < ATTENTION_KINDS; kind++)
        config->kinds[kind].window = -1;
    config->position = POSITION_ROPE;
    return check_class(root, found) && reader_neutral(root, neutral) &&
           (!found->neutral || reader_neutral(root, found->neutral)) && read_sizes(root, &found->keys, config) &&
           found->read(root, config);
}

bool config_load(const char *path, model_config *out) {
    json_error_t error;
    FILE *file = fopen(path, "rb");
    if (!file) return cli_fail("%s: cannot be read", path);
    json_t *json = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
    fclose(file);
    if (!json) return cli_fail("%s: line %d: %s", path, error.line, error.text);
    const reader root = {path, "", json};
    const bool ok = json_is_object(json) ? read_config(&root, out) : cli_fail("%s: not a JSON object", path);
    json_decref(json);
    return ok;
}
