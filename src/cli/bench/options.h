/* SPDX-License-Identifier: MIT
 * The command line of rosace bench. */
#ifndef ROSACE_CLI_BENCH_OPTIONS_H
#define ROSACE_CLI_BENCH_OPTIONS_H

#include "op.h"

typedef struct bench_options {
    char *ops, *kinds;   /* lists; NULL: all */
    char *given[N_AXES]; /* lists of values; NULL: not given */
    char *device, *json;
    timing_limits limits;
    size_t tensor_bytes;
    bool quick, costs, verbose;
    char *command_line;
    bench_cases cases;
} bench_options;

/* CLI_OK; CLI_USAGE after saying what is wrong; -1 when help was printed. Free in any case. */
int bench_options_parse(bench_options *out, int argc, const char **argv);
void bench_options_free(bench_options *options);

#endif
