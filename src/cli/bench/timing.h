/* SPDX-License-Identifier: MIT
 * Timing of several things in turn, so that what disturbs one disturbs them all alike and their ratios hold. */
#ifndef ROSACE_CLI_BENCH_TIMING_H
#define ROSACE_CLI_BENCH_TIMING_H

#include <stdbool.h>
#include <stddef.h>

/* One thing to time. `run` does its work `calls` times and returns when all is complete; false ends the timing. */
typedef struct timing_entry {
    bool (*run)(void *user, size_t calls);
    void *user;
    size_t calls;    /* per sample; chosen while warming up so that a sample lasts long enough for the clock */
    double *seconds; /* [count] per call, in the order they were taken; freed by timing_free */
    size_t count;
} timing_entry;

/* When to end: after `seconds` of samples of all entries together, but not before `least` rounds nor after `most`. */
typedef struct timing_limits {
    double seconds;
    double sample_seconds; /* a sample takes several calls when one is shorter than this */
    size_t least, most;
} timing_limits;

typedef struct timing_stats {
    size_t count;
    double min, median; /* seconds per call */
    double spread;      /* distance of the quartiles over the median; 0 with fewer than four samples */
} timing_stats;

/* Seconds of a clock that only goes forward. */
double timing_now(void);

/* Warms every entry up (first calls meet cold caches, untouched pages, kernels yet to be compiled), then takes one
 * sample of each per round. False after an entry failed or memory ran out, which has been reported. */
bool timing_interleave(timing_entry *entries, size_t n, const timing_limits *limits);
timing_stats timing_statistics(const timing_entry *entry);
void timing_free(timing_entry *entries, size_t n);

#endif
