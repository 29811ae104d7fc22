/* SPDX-License-Identifier: MIT
 * What was measured, and the forms it is given in. */
#ifndef ROSACE_CLI_BENCH_RESULTS_H
#define ROSACE_CLI_BENCH_RESULTS_H

#include <jansson.h>

#include "costs.h"

typedef struct bench_roof {
    bool measured;
    timing_stats time;
    double work; /* operations or bytes per launch */
    char variant[96];
} bench_roof;

/* One case and the rooflines that were measured in turn with it. */
typedef struct bench_result {
    const bench_case *which;
    bench_work work;
    timing_stats time;
    bench_roof roofs[N_ROOFS];
} bench_result;

typedef struct bench_report {
    const char *command;
    const rosace_device_info *device;
    bool quick;
    size_t tensor_bytes; /* of the bandwidth kernels */
    double seconds;      /* per case */
    const bench_result *results;
    size_t n_results;
    const bench_costs *costs;
    size_t n_costs;
} bench_report;

/* Units per second by the fastest sample: what a roofline is taken to be. */
double bench_roof_rate(const bench_roof *roof);
/* The share of its bound that a case reaches, by the median and by the fastest sample, each against the fastest sample
 * of the roofline in the same run. */
double bench_share(const bench_result *result);
double bench_share_best(const bench_result *result);

/* A row as soon as it is measured; the heading comes with the first one of an operation (previous: the one before, or
 * NULL). */
void bench_print_row(const bench_result *result, const bench_result *previous);
/* A line per roofline over all rows. */
void bench_print_roofs(const bench_report *report);
/* What operations cost besides their work, if that was measured. */
void bench_print_costs(const bench_report *report);
/* A writer for output_save; user is a bench_report. */
bool bench_write_json(const void *user, FILE *file);

#endif
