/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"

static const struct {
    const char *name;
    position_kind kind;
} kinds[] = {
    {"rope", POSITION_ROPE},
    {"sinusoidal", POSITION_SINUSOIDAL},
    {"alibi", POSITION_ALIBI},
    {"shaw", POSITION_SHAW},
};
enum { N_KINDS = sizeof kinds / sizeof *kinds };

const char *position_kind_name(position_kind kind) {
    for (size_t i = 0; i < N_KINDS; i++)
        if (kinds[i].kind == kind) return kinds[i].name;
    return "unknown";
}

/* Where a key is looked for. */
typedef struct reader {
    const char *path;
    const json_t *object;
} reader;

/* A missing or null key takes the default, unless that is negative: then it is required. */
static bool get_integer(const reader *from, const char *key, int64_t fallback, int64_t least, int64_t most,
                        int64_t *out) {
    const json_t *value = json_object_get(from->object, key);
    if (!value || json_is_null(value)) {
        if (fallback < 0) return cli_fail("%s: %s is missing", from->path, key);
        *out = fallback;
        return true;
    }
    /* 4.0 is what some writers make of 4 */
    const double real = json_number_value(value);
    if (!json_is_number(value) || real != floor(real) || real < (double)least || real > (double)most)
        return cli_fail("%s: %s must be a whole number from %lld to %lld", from->path, key,
                        (long long)least, (long long)most);
    *out = (int64_t)real;
    return true;
}

static bool get_size(const reader *from, const char *key, int64_t fallback, int64_t most, size_t *out) {
    int64_t value;
    if (!get_integer(from, key, fallback, 1, most, &value)) return false;
    *out = (size_t)value;
    return true;
}

/* A missing or null key takes the default; NAN as default makes it required. */
static bool get_real(const reader *from, const char *key, double fallback, double least, double *out) {
    const json_t *value = json_object_get(from->object, key);
    if (!value || json_is_null(value)) {
        if (isnan(fallback)) return cli_fail("%s: %s is missing", from->path, key);
        *out = fallback;
        return true;
    }
    if (!json_is_number(value) || !(json_number_value(value) >= least) || !isfinite(json_number_value(value)))
        return cli_fail("%s: %s must be a number of at least %g", from->path, key, least);
    *out = json_number_value(value);
    return true;
}

static bool get_bool(const reader *from, const char *key, bool fallback, bool *out) {
    const json_t *value = json_object_get(from->object, key);
    *out = fallback;
    if (!value || json_is_null(value)) return true;
    if (!json_is_boolean(value)) return cli_fail("%s: %s must be true or false", from->path, key);
    *out = json_is_true(value);
    return true;
}

/* The one value of a key that is implemented; a missing key means just that. */
static bool only_string(const reader *from, const char *key, const char *allowed) {
    const json_t *value = json_object_get(from->object, key);
    if (!value || json_is_null(value)) return true;
    if (!json_is_string(value) || strcmp(json_string_value(value), allowed))
        return cli_fail("%s: %s must be \"%s\"", from->path, key, allowed);
    return true;
}

static bool only_false(const reader *from, const char *key) {
    bool value;
    if (!get_bool(from, key, false, &value)) return false;
    return !value || cli_fail("%s: %s must be false; models with biases are not run", from->path, key);
}

/* ---- Rotary embedding -------------------------------------------------------------------------------------------- */

/* rope_scaling (older files) or rope_parameters (newer ones, which hold rope_theta too). */
static bool read_rope(const reader *root, model_config *config) {
    const char *key = "rope_parameters";
    const json_t *object = json_object_get(root->object, key);
    if (!object || json_is_null(object)) object = json_object_get(root->object, key = "rope_scaling");
    rosace_rope_model model = ROSACE_ROPE_MODEL_DEFAULT;
    model.name = key;
    model.head_dim = config->head_dim;
    model.max_position_embeddings = config->train_length;
    if (!get_real(root, "rope_theta", 10000.0, 1.0001, &model.theta) ||
        !get_real(root, "partial_rotary_factor", 1.0, 1e-6, &model.partial_rotary_factor) ||
        !get_integer(root, "original_max_position_embeddings", 0, 1, INT32_MAX, &model.original_max_position_embeddings))
        return false;
    char *text = json_dumps(object ? object : json_null(), JSON_ENCODE_ANY);
    if (!text) return cli_fail("%s: %s: no memory", root->path, key);
    const rosace_status status =
        rosace_rope_desc_from_json(text, strlen(text), &model, config->rope_factors,
                                   sizeof config->rope_factors / sizeof *config->rope_factors, &config->rope);
    free(text);
    return !status || cli_fail("%s: %s", root->path, rosace_last_error());
}

/* ---- The whole file ---------------------------------------------------------------------------------------------- */

static bool read_position(const reader *root, model_config *config) {
    const json_t *value = json_object_get(root->object, "position_embedding_type");
    config->position = POSITION_ROPE;
    if (value && !json_is_null(value)) {
        size_t i = 0;
        while (i < N_KINDS && !(json_is_string(value) && !strcmp(json_string_value(value), kinds[i].name)))
            i++;
        if (i == N_KINDS)
            return cli_fail("%s: position_embedding_type must be rope, sinusoidal, alibi or shaw", root->path);
        config->position = kinds[i].kind;
    }
    double scale = 1.0;
    switch (config->position) {
    case POSITION_ROPE:
        return read_rope(root, config);
    case POSITION_SINUSOIDAL:
        if (!get_real(root, "sinusoidal_scale", 1.0, 0.0, &scale)) return false;
        config->sinusoidal_scale = (float)scale;
        return true;
    case POSITION_SHAW:
        return get_integer(root, "shaw_max_distance", -1, 1, 1024, &config->shaw_max_distance);
    case POSITION_ALIBI:
        break;
    }
    return true;
}

static bool read_config(const reader *root, model_config *config) {
    double eps;
    memset(config, 0, sizeof *config);
    if (!only_string(root, "model_type", "llama") || !only_string(root, "hidden_act", "silu") ||
        !only_false(root, "attention_bias") || !only_false(root, "mlp_bias") ||
        !get_size(root, "hidden_size", -1, 1 << 20, &config->hidden) ||
        !get_size(root, "intermediate_size", -1, 1 << 22, &config->intermediate) ||
        !get_size(root, "num_hidden_layers", -1, 4096, &config->layers) ||
        !get_size(root, "num_attention_heads", -1, 65536, &config->heads) ||
        !get_size(root, "num_key_value_heads", (int64_t)config->heads, 65536, &config->kv_heads) ||
        !get_size(root, "vocab_size", -1, INT32_MAX, &config->vocab) ||
        !get_integer(root, "max_position_embeddings", -1, 2, 1 << 24, &config->train_length) ||
        !get_real(root, "rms_norm_eps", 1e-6, 0.0, &eps) ||
        !get_bool(root, "tie_word_embeddings", false, &config->tied))
        return false;
    config->eps = (float)eps;
    if (config->heads % config->kv_heads)
        return cli_fail("%s: num_attention_heads %zu is not a multiple of num_key_value_heads %zu", root->path,
                        config->heads, config->kv_heads);
    const bool has_dim = json_is_number(json_object_get(root->object, "head_dim"));
    if (!has_dim && config->hidden % config->heads)
        return cli_fail("%s: hidden_size %zu is not a multiple of num_attention_heads %zu, and head_dim is missing",
                        root->path, config->hidden, config->heads);
    if (!get_size(root, "head_dim", (int64_t)(config->hidden / config->heads), 65536, &config->head_dim)) return false;
    if (config->head_dim < 16 || config->head_dim > 256 || config->head_dim % 8)
        return cli_fail("%s: head_dim %zu must be 16 to 256 and a multiple of 8", root->path, config->head_dim);
    return read_position(root, config);
}

bool config_load(const char *path, model_config *out) {
    json_error_t error;
    FILE *file = fopen(path, "rb");
    if (!file) return cli_fail("%s: cannot be read", path);
    json_t *json = json_loadf(file, JSON_REJECT_DUPLICATES, &error);
    fclose(file);
    if (!json) return cli_fail("%s: line %d: %s", path, error.line, error.text);
    const reader root = {path, json};
    const bool ok = json_is_object(json) ? read_config(&root, out) : cli_fail("%s: not a JSON object", path);
    json_decref(json);
    return ok;
}
