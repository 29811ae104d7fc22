/* SPDX-License-Identifier: MIT */
#include "reader.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../cli.h"

const json_t *reader_get(const reader *from, const char *key) {
    const json_t *value = json_object_get(from->object, key);
    return value && !json_is_null(value) ? value : NULL;
}

bool reader_refuse(const reader *from, const char *key, const char *text) {
    char *value = json_dumps(json_object_get(from->object, key), JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
    cli_fail("%s: %s%s = %.100s: must be %s", from->path, from->in, key, value ? value : "?", text);
    free(value);
    return false;
}

static bool missing(const reader *from, const char *key) {
    return cli_fail("%s: %s%s is missing", from->path, from->in, key);
}

bool reader_integer(const reader *from, const char *key, int64_t fallback, int64_t least, int64_t most, int64_t *out) {
    const json_t *value = reader_get(from, key);
    if (!value) {
        if (fallback < 0) return missing(from, key);
        *out = fallback;
        return true;
    }
    /* 4.0 is what some writers make of 4 */
    const double real = json_number_value(value);
    if (!json_is_number(value) || real != floor(real) || real < (double)least || real > (double)most) {
        char text[80];
        snprintf(text, sizeof text, "a whole number from %lld to %lld", (long long)least, (long long)most);
        return reader_refuse(from, key, text);
    }
    *out = (int64_t)real;
    return true;
}

bool reader_size(const reader *from, const char *key, int64_t fallback, int64_t most, size_t *out) {
    int64_t value;
    if (!reader_integer(from, key, fallback, 1, most, &value)) return false;
    *out = (size_t)value;
    return true;
}

bool reader_real(const reader *from, const char *key, double fallback, double least, double *out) {
    const json_t *value = reader_get(from, key);
    if (!value) {
        if (isnan(fallback)) return missing(from, key);
        *out = fallback;
        return true;
    }
    if (!json_is_number(value) || !(json_number_value(value) >= least) || !isfinite(json_number_value(value))) {
        char text[60];
        snprintf(text, sizeof text, "a number of at least %g", least);
        return reader_refuse(from, key, text);
    }
    *out = json_number_value(value);
    return true;
}

bool reader_float(const reader *from, const char *key, double fallback, double least, float *out) {
    double value;
    if (!reader_real(from, key, fallback, least, &value)) return false;
    *out = (float)value;
    return true;
}

bool reader_bool(const reader *from, const char *key, bool fallback, bool *out) {
    const json_t *value = reader_get(from, key);
    *out = fallback;
    if (!value) return true;
    if (!json_is_boolean(value)) return reader_refuse(from, key, "true or false");
    *out = json_is_true(value);
    return true;
}

bool reader_neutral(const reader *from, const neutral_key *keys) {
    for (; keys->key; keys++) {
        const json_t *value = reader_get(from, keys->key);
        if (!value) continue;
        json_t *only = json_loads(keys->value, JSON_DECODE_ANY, NULL);
        const bool same = only && (json_equal(value, only) ||
                                   (json_is_number(only) && json_is_number(value) &&
                                    json_number_value(only) == json_number_value(value)));
        json_decref(only);
        if (!same) {
            char text[120];
            snprintf(text, sizeof text, "%s; other models are not run", keys->value);
            return reader_refuse(from, keys->key, text);
        }
    }
    return true;
}
