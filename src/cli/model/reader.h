/* SPDX-License-Identifier: MIT
 * Reading keys of a config.json. All say which key of which file is wrong, with its value, and return false. A key that is
 * missing or null takes the default, where there is one. */
#ifndef ROSACE_CLI_READER_H
#define ROSACE_CLI_READER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a key is looked for. */
typedef struct reader {
    const char *path; /* of the file */
    const char *in;   /* "attn_config." inside of that object, else "" */
    const json_t *object;
} reader;

/* A key's value, or NULL when it is missing or null. */
const json_t *reader_get(const reader *from, const char *key);

/* "PATH: KEY = VALUE: must be <text>" */
bool reader_refuse(const reader *from, const char *key, const char *text);

/* Whole numbers; a negative default means that the key is required. */
bool reader_integer(const reader *from, const char *key, int64_t fallback, int64_t least, int64_t most, int64_t *out);
bool reader_size(const reader *from, const char *key, int64_t fallback, int64_t most, size_t *out);
/* NAN as default makes the key required. */
bool reader_real(const reader *from, const char *key, double fallback, double least, double *out);
bool reader_float(const reader *from, const char *key, double fallback, double least, float *out);
bool reader_bool(const reader *from, const char *key, bool fallback, bool *out);

/* A key that changes what a model computes, and the one value of it that is run, as JSON ("false", "\"silu\""; "null": it must
 * not be there). */
typedef struct neutral_key {
    const char *key, *value;
} neutral_key;

/* `keys` ends with a NULL key. */
bool reader_neutral(const reader *from, const neutral_key *keys);

#endif
