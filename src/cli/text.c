/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* The whole of a file, pipes included. */
static bool read_file(const char *path, unsigned char **out, size_t *bytes) {
    size_t capacity = (size_t)1 << 20, used = 0;
    unsigned char *data = NULL;
    FILE *file = fopen(path, "rb");
    if (!file) return cli_fail("%s: %s", path, strerror(errno));
    bool ok = (data = cli_calloc(capacity, 1)) != NULL;
    while (ok) {
        const size_t got = fread(data + used, 1, capacity - used, file);
        used += got;
        if (!got) break;
        if (used < capacity) continue;
        unsigned char *larger = capacity <= SIZE_MAX / 2 ? realloc(data, capacity *= 2) : NULL;
        if (larger)
            data = larger;
        else
            ok = cli_fail("%s: no memory for the file", path);
    }
    if (ok && ferror(file)) ok = cli_fail("%s: %s", path, strerror(errno));
    if (ok && !used) ok = cli_fail("%s: the file is empty", path);
    fclose(file);
    if (!ok) {
        free(data);
        return false;
    }
    *out = data;
    *bytes = used;
    return true;
}

static bool take_tokens(const char *path, const unsigned char *data, size_t bytes, token_text *out) {
    if (bytes % 4) return cli_fail("%s: %zu bytes are not a whole number of 4-byte token ids", path, bytes);
    out->count = bytes / 4;
    if (!(out->ids = cli_calloc(out->count, sizeof *out->ids))) return false;
    for (size_t i = 0; i < out->count; i++) {
        const unsigned char *b = data + 4 * i;
        const uint32_t id = (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
        if (id > INT32_MAX) return cli_fail("%s: token %zu has the id %u, which no vocabulary reaches", path, i, id);
        out->ids[i] = (int32_t)id;
        if (out->ids[i] > out->largest) out->largest = out->ids[i];
    }
    return true;
}

static bool take_bytes(const unsigned char *data, size_t bytes, token_text *out) {
    out->are_bytes = true;
    out->count = bytes;
    if (!(out->ids = cli_calloc(out->count, sizeof *out->ids))) return false;
    for (size_t i = 0; i < bytes; i++) {
        out->ids[i] = data[i];
        if (data[i] > out->largest) out->largest = data[i];
    }
    return true;
}

bool text_load(const char *text, const char *tokens, token_text *out) {
    unsigned char *data = NULL, *ids = NULL;
    size_t ids_bytes = 0;
    memset(out, 0, sizeof *out);
    bool ok = (!text || read_file(text, &data, &out->bytes)) && (!tokens || read_file(tokens, &ids, &ids_bytes));
    if (ok) ok = tokens ? take_tokens(tokens, ids, ids_bytes, out) : take_bytes(data, out->bytes, out);
    free(data);
    free(ids);
    if (!ok) text_free(out);
    return ok;
}

void text_free(token_text *text) {
    free(text->ids);
    memset(text, 0, sizeof *text);
}
