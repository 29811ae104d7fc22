/* SPDX-License-Identifier: MIT
 * The text a model is evaluated on, as token ids. */
#ifndef ROSACE_CLI_TEXT_H
#define ROSACE_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct token_text {
    int32_t *ids;
    size_t count;
    size_t bytes; /* of the text; 0: not known */
    int32_t largest;
    bool are_bytes; /* a byte is a token */
} token_text;

/* Reads `text` as bytes, or takes the ids of `tokens` (raw little-endian uint32) and only the size of `text`, which may
 * then be NULL. Fails, saying why, on what cannot be read, is empty, or is not made of ids below 2^31. */
bool text_load(const char *text, const char *tokens, token_text *out);
void text_free(token_text *text);

#endif
