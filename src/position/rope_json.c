/* SPDX-License-Identifier: MIT
 * A rotation from the object that models of the transformers library keep in config.json. Keys and defaults are those of its
 * modeling_rope_utils.py. */
#include <rosace/rope.h>

#include "../check.h"
#include "../error.h"
#include "rope_scaling.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define INVALID(...) rsc_fail(ROSACE_INVALID_ARGUMENT, __VA_ARGS__)

typedef struct reader {
    const rosace_rope_model *model;
    const char *name, *layer; /* what errors call the object: "NAME." or "NAME.LAYER." */
    const json_t *object;
    double *factors;
    size_t room; /* of factors, in numbers */
    rosace_rope_desc *desc;
} reader;

/* "rope_scaling.factor = 0.5: must be ...", with the value as it stands in the file. */
static rosace_status wrong(const reader *r, const char *key, const json_t *value, const char *wanted) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    const rosace_status status = INVALID("%s%s%s.%s = %.60s%s: must be %s", r->name, r->layer ? "." : "", r->layer ? r->layer : "",
                                         key, text ? text : "?", text && strlen(text) > 60 ? "..." : "", wanted);
    free(text);
    return status;
}

static rosace_status missing(const reader *r, const char *key, const char *wanted) {
    return INVALID("%s%s%s.%s is missing: must be %s", r->name, r->layer ? "." : "", r->layer ? r->layer : "", key, wanted);
}

/* NULL for a key that is not there, or null. */
static const json_t *find(const reader *r, const char *key) {
    const json_t *value = json_object_get(r->object, key);
    return json_is_null(value) ? NULL : value;
}

/* A number above or at `least`; a missing key leaves *out alone, unless `required`. */
static rosace_status read_number(const reader *r, const char *key, bool required, double least, const char *wanted, double *out) {
    const json_t *value = find(r, key);
    if (!value) return required ? missing(r, key, wanted) : ROSACE_OK;
    const double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= least) || isinf(number)) return wrong(r, key, value, wanted);
    *out = number;
    return ROSACE_OK;
}

static rosace_status read_length(const reader *r, const char *key, int64_t *out) {
    static const char wanted[] = "a whole number from 1 to 2147483647";
    double number = (double)*out;
    const rosace_status status = read_number(r, key, false, 1.0, wanted, &number);
    if (status) return status;
    if (number != floor(number) || number > (double)INT32_MAX) return wrong(r, key, find(r, key), wanted);
    *out = (int64_t)number;
    return ROSACE_OK;
}

static rosace_status read_flag(const reader *r, const char *key, bool *out) {
    const json_t *value = find(r, key);
    if (!value) return ROSACE_OK;
    if (!json_is_boolean(value)) return wrong(r, key, value, "true or false");
    *out = json_is_true(value);
    return ROSACE_OK;
}

/* ---- Types ------------------------------------------------------------------------------------------------------- */

static const char positive[] = "a number above 0", factor_wanted[] = "a number of at least 1";
static const double above_zero = 1e-12;

static rosace_status read_factor(const reader *r, bool required) {
    return read_number(r, "factor", required, 1.0, factor_wanted, &r->desc->scaling.factor);
}

/* L: in the object, but what stands beside it goes first, and max_position_embeddings is the last resort. */
static rosace_status read_original_length(const reader *r) {
    int64_t *length = &r->desc->scaling.original_max_position;
    *length = r->model->max_position_embeddings;
    const rosace_status status = read_length(r, "original_max_position_embeddings", length);
    if (status) return status;
    if (r->model->original_max_position_embeddings > 0) *length = r->model->original_max_position_embeddings;
    return *length > 0 ? ROSACE_OK : missing(r, "original_max_position_embeddings", "the training length");
}

static rosace_status read_none(const reader *r) {
    (void)r;
    return ROSACE_OK;
}

/* How many pairs each axis has, in models of images and video; they come with any type. */
static rosace_status read_axes(const reader *r) {
    static const char wanted[] = "a list of 2 to 4 whole numbers";
    const json_t *list = find(r, "mrope_section");
    if (!list) return ROSACE_OK;
    const size_t count = json_array_size(list);
    if (!json_is_array(list) || count < 2 || count > 4) return wrong(r, "mrope_section", list, wanted);
    for (size_t a = 0; a < count; a++) {
        const json_t *value = json_array_get(list, a);
        if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > 512)
            return wrong(r, "mrope_section", list, wanted);
        r->desc->sections[a] = (size_t)json_integer_value(value);
    }
    r->desc->axes = count;
    bool interleaved = false;
    const rosace_status status = read_flag(r, "mrope_interleaved", &interleaved);
    if (interleaved) r->desc->axis_order = ROSACE_ROPE_AXES_INTERLEAVED;
    return status;
}

static rosace_status read_linear(const reader *r) {
    return read_factor(r, true);
}

static rosace_status read_dynamic(const reader *r) {
    rosace_rope_scaling *scaling = &r->desc->scaling;
    scaling->original_max_position = r->model->max_position_embeddings;
    scaling->seq_len = r->model->seq_len;
    if (scaling->original_max_position < 1)
        return INVALID("max_position_embeddings = %lld: must be the training length for %s of type \"dynamic\"",
                       (long long)scaling->original_max_position, r->name);
    return read_factor(r, true);
}

static rosace_status read_yarn(const reader *r) {
    rosace_rope_scaling *scaling = &r->desc->scaling;
    bool truncate = true;
    rosace_status status = read_factor(r, true);
    if (!status) status = read_original_length(r);
    if (!status) status = read_number(r, "beta_fast", false, above_zero, positive, &scaling->beta_fast);
    if (!status) status = read_number(r, "beta_slow", false, above_zero, positive, &scaling->beta_slow);
    if (!status) status = read_number(r, "attention_factor", false, above_zero, positive, &scaling->attention_factor);
    if (!status) status = read_number(r, "mscale", false, 0.0, "a number of at least 0", &scaling->mscale);
    if (!status) status = read_number(r, "mscale_all_dim", false, 0.0, "a number of at least 0", &scaling->mscale_all_dim);
    if (!status) status = read_flag(r, "truncate", &truncate);
    scaling->no_truncate = !truncate;
    return status;
}

static rosace_status read_llama3(const reader *r) {
    rosace_rope_scaling *scaling = &r->desc->scaling;
    rosace_status status = read_factor(r, true);
    if (!status) status = read_original_length(r);
    if (!status) status = read_number(r, "low_freq_factor", true, above_zero, positive, &scaling->low_freq_factor);
    if (!status) status = read_number(r, "high_freq_factor", true, above_zero, positive, &scaling->high_freq_factor);
    return status;
}

static rosace_status read_list(const reader *r, const char *key, size_t count, double *out) {
    const json_t *list = find(r, key);
    if (!list) return missing(r, key, "a list of numbers");
    if (!json_is_array(list)) return wrong(r, key, list, "a list of numbers");
    if (json_array_size(list) != count)
        return INVALID("%s%s%s.%s has %zu numbers: must have %zu, half of what rotates", r->name, r->layer ? "." : "",
                       r->layer ? r->layer : "", key, json_array_size(list), count);
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(list, i);
        out[i] = json_number_value(value);
        if (json_is_number(value) && out[i] > 0.0) continue;
        char element[96];
        snprintf(element, sizeof element, "%.40s[%zu]", key, i);
        return wrong(r, element, value, positive);
    }
    return ROSACE_OK;
}

static rosace_status read_longrope(const reader *r) {
    rosace_rope_scaling *scaling = &r->desc->scaling;
    const size_t count = r->desc->rotary_dim / 2;
    if (!r->factors || r->room < 2 * count)
        return INVALID("factors_count = %zu: %s of type \"longrope\" needs room for %zu numbers", r->factors ? r->room : 0, r->name,
                       2 * count);
    rosace_status status = read_original_length(r);
    if (!status && r->model->max_position_embeddings > scaling->original_max_position)
        scaling->factor = (double)r->model->max_position_embeddings / (double)scaling->original_max_position;
    if (!status) status = read_factor(r, false);
    if (!status) status = read_number(r, "attention_factor", false, above_zero, positive, &scaling->attention_factor);
    if (!status) status = read_list(r, "short_factor", count, r->factors);
    if (!status) status = read_list(r, "long_factor", count, r->factors + count);
    scaling->seq_len = r->model->seq_len;
    scaling->short_factor = r->factors;
    scaling->long_factor = r->factors + count;
    scaling->factor_count = count;
    return status;
}

/* The share that turns is of the whole head here, which has its other pairs stand still. */
static rosace_status read_proportional(const reader *r) {
    double share = r->model->partial_rotary_factor > 0.0 ? r->model->partial_rotary_factor : 1.0;
    const rosace_status status = read_number(r, "partial_rotary_factor", false, above_zero, positive, &share);
    r->desc->rotary_dim = r->desc->head_dim;
    r->desc->scaling.share = share;
    return status ? status : read_factor(r, false);
}

/* clang-format off */
static const struct type_row {
    const char *name;
    rosace_rope_scaling_kind kind;
    rosace_status (*read)(const reader *r);
} types[] = {
    {"default",      ROSACE_ROPE_SCALING_NONE,         read_none},
    {"mrope",        ROSACE_ROPE_SCALING_NONE,         read_none}, /* what Qwen2-VL first called it: default, with sections */
    {"linear",       ROSACE_ROPE_SCALING_LINEAR,       read_linear},
    {"dynamic",      ROSACE_ROPE_SCALING_DYNAMIC,      read_dynamic},
    {"yarn",         ROSACE_ROPE_SCALING_YARN,         read_yarn},
    {"llama3",       ROSACE_ROPE_SCALING_LLAMA3,       read_llama3},
    {"longrope",     ROSACE_ROPE_SCALING_LONGROPE,     read_longrope},
    {"su",           ROSACE_ROPE_SCALING_LONGROPE,     read_longrope}, /* what Phi-3 first called it */
    {"proportional", ROSACE_ROPE_SCALING_PROPORTIONAL, read_proportional},
};
/* clang-format on */
enum { N_TYPES = sizeof types / sizeof types[0] };

/* rope_type, or "type" in older files. */
static rosace_status find_type(const reader *r, const struct type_row **out) {
    static const char known[] = "\"default\", \"linear\", \"dynamic\", \"yarn\", \"llama3\", \"longrope\" or \"proportional\"";
    const char *key = "rope_type";
    const json_t *value = find(r, key);
    if (!value) value = find(r, key = "type");
    if (!value) return missing(r, "rope_type", known);
    for (size_t i = 0; json_is_string(value) && i < N_TYPES; i++)
        if (!strcmp(json_string_value(value), types[i].name)) {
            *out = &types[i];
            return ROSACE_OK;
        }
    return wrong(r, key, value, known);
}

/* Objects inside the object are one per kind of layer: the model says which. */
static rosace_status choose_layer(reader *r) {
    const char *key;
    json_t *value;
    const char *nested = NULL;
    json_object_foreach((json_t *)r->object, key, value) if (json_is_object(value)) nested = key;
    if (!nested) return ROSACE_OK;
    if (!r->model->layer_type)
        return INVALID("layer_type: NULL, but %s has an object per kind of layer, such as \"%s\"", r->name, nested);
    const json_t *chosen = json_object_get(r->object, r->model->layer_type);
    if (!json_is_object(chosen))
        return INVALID("layer_type = \"%s\": %s has no such object, but \"%s\"", r->model->layer_type, r->name, nested);
    r->layer = r->model->layer_type;
    r->object = chosen;
    return ROSACE_OK;
}

static rosace_status read_object(reader *r) {
    rosace_rope_desc *desc = r->desc;
    double share = r->model->partial_rotary_factor > 0.0 ? r->model->partial_rotary_factor : 1.0;
    const struct type_row *type = NULL;
    rosace_status status = choose_layer(r);
    if (!status) status = read_number(r, "rope_theta", false, 1.0 + above_zero, "a number above 1", &desc->theta);
    if (!status) status = read_number(r, "partial_rotary_factor", false, above_zero, positive, &share);
    if (!status) status = find_type(r, &type);
    if (status) return status;
    if (share > 1.0) return wrong(r, "partial_rotary_factor", find(r, "partial_rotary_factor"), "at most 1");
    desc->rotary_dim = (size_t)((double)desc->head_dim * share);
    desc->scaling.kind = type->kind;
    status = type->read(r);
    if (!status) status = read_axes(r);
    if (status) return status;
    rosace_rope_desc checked;
    status = rsc_rope_check_desc(desc, &checked);
    return status ? INVALID("%s: %s", r->name, rosace_last_error()) : ROSACE_OK;
}

rosace_status rosace_rope_desc_from_json(const char *json, size_t length, const rosace_rope_model *given, double *factors,
                                         size_t factors_count, rosace_rope_desc *out) {
    rosace_rope_model model = ROSACE_ROPE_MODEL_DEFAULT;
    if (!out) return INVALID("out: NULL");
    if (!json) return INVALID("json: NULL");
    rosace_status status = rsc_read_struct("model", given, &model, sizeof model);
    if (status) return status;
    if (model.head_dim < 2 || model.head_dim > 1024 || model.head_dim % 2)
        return INVALID("head_dim = %zu: must be even, 2 to 1024", model.head_dim);
    if (model.partial_rotary_factor < 0.0 || !(model.partial_rotary_factor <= 1.0))
        return INVALID("partial_rotary_factor = %g: must be above 0 and at most 1, or 0 for none", model.partial_rotary_factor);

    rosace_rope_desc desc = ROSACE_ROPE_DESC_DEFAULT;
    desc.head_dim = model.head_dim;
    if (model.theta > 0.0) desc.theta = model.theta;
    reader r = {.model = &model,
                .name = model.name ? model.name : "rope_parameters",
                .factors = factors,
                .room = factors_count,
                .desc = &desc};
    json_error_t error;
    json_t *root = json_loadb(json, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (!root) return INVALID("%s: line %d, column %d: %s", r.name, error.line, error.column, error.text);
    r.object = root;
    if (json_is_object(root)) {
        status = read_object(&r);
    } else if (json_is_null(root)) { /* a model without a scaling */
        rosace_rope_desc checked;
        if (model.partial_rotary_factor > 0.0) desc.rotary_dim = (size_t)((double)desc.head_dim * model.partial_rotary_factor);
        status = rsc_rope_check_desc(&desc, &checked);
    } else {
        char *text = json_dumps(root, JSON_ENCODE_ANY | JSON_COMPACT);
        status = INVALID("%s = %.60s: must be an object or null", r.name, text ? text : "?");
        free(text);
    }
    json_decref(root);
    if (!status) *out = desc;
    return status;
}
