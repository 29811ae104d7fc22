/* SPDX-License-Identifier: MIT */
#include "source.h"
#include "check.h"
#include "context_state.h"

#include <stdio.h>
#include <string.h>

enum { MAX_FILES = 64, MAX_PATH = 64, MAX_DEPTH = 16 };

typedef struct expansion {
    rosace_context *context;
    rsc_text *out;
    char taken[MAX_FILES][MAX_PATH];
    int n_taken;
} expansion;

static rosace_status append(expansion *e, const char *text, size_t bytes) {
    rsc_text *out = e->out;
    if (out->capacity - out->bytes <= bytes) {
        const size_t capacity = 2 * (out->bytes + bytes) + 4096;
        char *grown = rsc_calloc(e->context, 1, capacity);
        if (!grown) return rsc_fail(ROSACE_OUT_OF_MEMORY, "no host memory for %zu bytes of program text", capacity);
        if (out->bytes) memcpy(grown, out->text, out->bytes);
        rsc_free(e->context, out->text);
        out->text = grown;
        out->capacity = capacity;
    }
    memcpy(out->text + out->bytes, text, bytes);
    out->bytes += bytes;
    out->text[out->bytes] = '\0';
    return ROSACE_OK;
}

static rosace_status append_line_directive(expansion *e, int line, const char *path) {
    char directive[MAX_PATH + 32];
    int length = snprintf(directive, sizeof directive, "#line %d \"cl/%s\"\n", line, path);
    return append(e, directive, (size_t)length);
}

/* ---- Files ----------------------------------------------------------------------------------------------------- */

static rosace_status read_stream(expansion *e, FILE *file, const char *path, char **text, size_t *bytes) {
    long size = 0;
    if (fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0 || fseek(file, 0, SEEK_SET) != 0)
        return rsc_fail(ROSACE_IO_ERROR, "%s/%s: cannot be read", e->context->kernel_dir, path);
    *bytes = (size_t)size;
    if (!(*text = rsc_calloc(e->context, *bytes + 1, 1)))
        return rsc_fail(ROSACE_OUT_OF_MEMORY, "no host memory for cl/%s", path);
    if (fread(*text, 1, *bytes, file) != *bytes)
        return rsc_fail(ROSACE_IO_ERROR, "%s/%s: cannot be read", e->context->kernel_dir, path);
    return ROSACE_OK;
}

/* *text is the caller's to free, on failure too. */
static rosace_status read_file(expansion *e, const char *path, char **text, size_t *bytes) {
    char full[4096];
    int length = snprintf(full, sizeof full, "%s/%s", e->context->kernel_dir, path);
    if (length < 0 || (size_t)length >= sizeof full)
        return rsc_fail(ROSACE_IO_ERROR, "kernel folder \"%s\": the path is too long", e->context->kernel_dir);
    FILE *file = fopen(full, "rb");
    if (!file) return rsc_fail(ROSACE_IO_ERROR, "%s: cannot be opened", full);
    rosace_status status = read_stream(e, file, path, text, bytes);
    fclose(file);
    return status;
}

static const rsc_source *find_embedded(const char *path) {
    for (const rsc_source *source = rsc_sources; source->path; source++)
        if (strcmp(source->path, path) == 0) return source;
    return NULL;
}

/* ---- Expansion ------------------------------------------------------------------------------------------------- */

static bool take(expansion *e, const char *path) {
    for (int i = 0; i < e->n_taken; i++)
        if (strcmp(e->taken[i], path) == 0) return false;
    memcpy(e->taken[e->n_taken++], path, strlen(path) + 1);
    return true;
}

static const char *skip_blanks(const char *c, const char *end) {
    while (c < end && (*c == ' ' || *c == '\t')) c++;
    return c;
}

/* Whether [line, end) is an #include; *name is what follows it. */
static bool is_include(const char *line, const char *end, const char **name) {
    static const char word[] = "include";
    const char *c = skip_blanks(line, end);
    if (c == end || *c != '#') return false;
    c = skip_blanks(c + 1, end);
    if ((size_t)(end - c) < sizeof word - 1 || memcmp(c, word, sizeof word - 1) != 0) return false;
    *name = skip_blanks(c + sizeof word - 1, end);
    return true;
}

static rosace_status expand_file(expansion *e, const char *path, const char *from, int depth);

/* The file that `name` up to `end` names in quotes, if it was not taken yet. */
static rosace_status expand_include(expansion *e, const char *name, const char *end, const char *path, int line,
                                    int depth) {
    char included[MAX_PATH];
    const char *close = name < end && *name == '"' ? memchr(name + 1, '"', (size_t)(end - name - 1)) : NULL;
    const size_t length = close ? (size_t)(close - name - 1) : 0;
    if (length == 0 || length >= sizeof included)
        return rsc_fail(ROSACE_BUILD_FAILED,
                        "cl/%s:%d: #include must name a file below cl/ in quotes, in at most %d characters", path, line,
                        (int)MAX_PATH - 1);
    memcpy(included, name + 1, length);
    included[length] = '\0';
    char from[MAX_PATH + 32];
    snprintf(from, sizeof from, "cl/%s:%d: ", path, line);
    rosace_status status = expand_file(e, included, from, depth + 1);
    return status ? status : append_line_directive(e, line, path);
}

static rosace_status expand_text(expansion *e, const char *path, const char *text, size_t bytes, int depth) {
    const char *const text_end = text + bytes;
    rosace_status status = append_line_directive(e, 1, path);
    int number = 1;
    for (const char *line = text; !status && line < text_end; number++) {
        const char *end = memchr(line, '\n', (size_t)(text_end - line));
        if (!end) end = text_end;
        const char *name;
        if (is_include(line, end, &name))
            status = expand_include(e, name, end, path, number, depth);
        else
            status = append(e, line, (size_t)(end - line));
        if (!status) status = append(e, "\n", 1);
        line = end + 1;
    }
    return status;
}

/* `from` begins error messages: "", or the place of the #include. */
static rosace_status expand_file(expansion *e, const char *path, const char *from, int depth) {
    if (strlen(path) >= MAX_PATH || e->n_taken == MAX_FILES || depth > MAX_DEPTH)
        return rsc_fail(ROSACE_BUILD_FAILED, "%scl/%s: too long a path, or too many files or levels in one program", from,
                        path);
    if (!take(e, path)) return ROSACE_OK;

    if (e->context->kernel_dir) {
        char *text = NULL;
        size_t bytes = 0;
        rosace_status status = read_file(e, path, &text, &bytes);
        if (!status) status = expand_text(e, path, text, bytes, depth);
        rsc_free(e->context, text);
        return status;
    }
    const rsc_source *source = find_embedded(path);
    if (!source) return rsc_fail(ROSACE_BUILD_FAILED, "%scl/%s: no such kernel source in this library", from, path);
    return expand_text(e, path, source->text, source->bytes, depth);
}

rosace_status rsc_expand(rosace_context *context, const char *const *pieces, rsc_text *out) {
    *out = (rsc_text){0};
    expansion *e = rsc_calloc(context, 1, sizeof *e);
    if (!e) return rsc_fail(ROSACE_OUT_OF_MEMORY, "no host memory for program text");
    e->context = context;
    e->out = out;
    rosace_status status = ROSACE_OK;
    for (; !status && *pieces; pieces++) status = expand_file(e, *pieces, "", 0);
    rsc_free(context, e);
    return status;
}
