/* SPDX-License-Identifier: MIT
 * Build defines of a kernel: sorted, each set once, so that the same plan always gives the same option string and
 * therefore the same cache entry. The only place that writes "-D". What changes code is a define; what changes only
 * values is a kernel argument. */
#ifndef ROSACE_SRC_OPTIONS_H
#define ROSACE_SRC_OPTIONS_H

#include "error.h"

enum { RSC_MAX_DEFINES = 32, RSC_OPTIONS_BYTES = 2048 };

typedef struct rsc_options {
    struct {
        char name[40];
        char value[40];
    } define[RSC_MAX_DEFINES]; /* sorted by name */
    unsigned count;
    bool relaxed_math; /* -cl-fast-relaxed-math: a variant asks for it, with a reason (default off) */
    bool intel_registers; /* -cl-intel-256-GRF-per-thread: half as many threads with twice the registers, Intel's own */
    bool overflow;     /* a define did not fit or was set twice to different values; found at build */
} rsc_options;

void rsc_option_int(rsc_options *options, const char *name, long value);
void rsc_option_text(rsc_options *options, const char *name, const char *value);

/* Writes the option string, e.g. "-cl-std=CL1.2 -DHEAD_DIM=64 -DTILE_K=64". Fails on `overflow`. */
rosace_status rsc_options_print(const rsc_options *options, char *out, size_t out_bytes);

#endif
