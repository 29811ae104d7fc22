/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <stdio.h>
#include <string.h>

/* Option strings are split by each driver in its own way, so nothing that needs quoting may enter one. */
static bool is_plain(const char *text) {
    for (; *text; text++)
        if (*text <= ' ' || *text > '~' || strchr("\"'\\`$;&|<>", *text)) return false;
    return true;
}

void rsc_option_text(rsc_options *options, const char *name, const char *value) {
    const size_t name_bytes = strlen(name) + 1, value_bytes = strlen(value) + 1;
    if (name_bytes == 1 || name_bytes > sizeof options->define->name ||
        value_bytes > sizeof options->define->value || !is_plain(name) || !is_plain(value)) {
        options->overflow = true;
        return;
    }
    unsigned at = 0;
    while (at < options->count && strcmp(options->define[at].name, name) < 0) at++;
    if (at < options->count && strcmp(options->define[at].name, name) == 0) {
        if (strcmp(options->define[at].value, value) != 0) options->overflow = true;
        return;
    }
    if (options->count == RSC_MAX_DEFINES) {
        options->overflow = true;
        return;
    }
    memmove(&options->define[at + 1], &options->define[at], (options->count - at) * sizeof *options->define);
    memcpy(options->define[at].name, name, name_bytes);
    memcpy(options->define[at].value, value, value_bytes);
    options->count++;
}

void rsc_option_int(rsc_options *options, const char *name, long value) {
    char text[24];
    snprintf(text, sizeof text, "%ld", value);
    rsc_option_text(options, name, text);
}

rosace_status rsc_options_print(const rsc_options *options, char *out, size_t out_bytes) {
    if (options->overflow)
        return rsc_fail(ROSACE_BUILD_FAILED,
                        "build defines: more than %d, one longer than %zu characters, one that needs quoting, or one set "
                        "to two values",
                        (int)RSC_MAX_DEFINES, sizeof options->define->name - 1);

    int length = snprintf(out, out_bytes, "-cl-std=CL1.2%s%s", options->relaxed_math ? " -cl-fast-relaxed-math" : "",
                          options->intel_registers ? " -cl-intel-256-GRF-per-thread" : "");
    for (unsigned i = 0; length >= 0 && (size_t)length < out_bytes && i < options->count; i++) {
        int more = snprintf(out + length, out_bytes - (size_t)length, " -D%s=%s", options->define[i].name,
                            options->define[i].value);
        length = more < 0 ? more : length + more;
    }
    if (length < 0 || (size_t)length >= out_bytes)
        return rsc_fail(ROSACE_BUILD_FAILED, "build defines: the option string is longer than %zu characters",
                        out_bytes - 1);
    return ROSACE_OK;
}
