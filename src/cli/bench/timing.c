/* SPDX-License-Identifier: MIT */
#include "timing.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../cli.h"

double timing_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Two calls at least, then as many as show how long one takes. */
static bool warm_up(timing_entry *entry, double sample_seconds) {
    enum { MOST_CALLS = 1 << 14 };
    entry->calls = 1;
    if (!entry->run(entry->user, 1)) return false;
    for (;;) {
        const double begin = timing_now();
        if (!entry->run(entry->user, entry->calls)) return false;
        const double seconds = timing_now() - begin;
        if (seconds >= sample_seconds || entry->calls >= MOST_CALLS) return true;
        /* At most eightfold: a first look at a few microseconds says little. */
        const double factor = sample_seconds / (seconds > 1e-9 ? seconds : 1e-9) + 1.0;
        entry->calls = (size_t)((double)entry->calls * (factor > 8.0 ? 8.0 : factor));
        if (entry->calls > MOST_CALLS) entry->calls = MOST_CALLS;
    }
}

bool timing_interleave(timing_entry *entries, size_t n, const timing_limits *limits) {
    for (size_t i = 0; i < n; i++) {
        entries[i].count = 0;
        if (!(entries[i].seconds = cli_calloc(limits->most, sizeof *entries[i].seconds))) return false;
    }
    for (size_t i = 0; i < n; i++)
        if (!warm_up(&entries[i], limits->sample_seconds)) return false;
    const double begin = timing_now();
    for (size_t round = 0; round < limits->most; round++) {
        if (round >= limits->least && timing_now() - begin >= limits->seconds) break;
        for (size_t i = 0; i < n; i++) {
            timing_entry *entry = &entries[i];
            const double start = timing_now();
            if (!entry->run(entry->user, entry->calls)) return false;
            entry->seconds[entry->count++] = (timing_now() - start) / (double)entry->calls;
        }
    }
    return true;
}

static int compare_seconds(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

timing_stats timing_statistics(const timing_entry *entry) {
    const size_t n = entry->count;
    timing_stats stats = {.count = n};
    double *sorted = n ? cli_calloc(n, sizeof *sorted) : NULL;
    if (!sorted) return stats;
    memcpy(sorted, entry->seconds, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, compare_seconds);
    stats.min = sorted[0];
    stats.median = n % 2 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]);
    if (n >= 4 && stats.median > 0.0) stats.spread = (sorted[n - 1 - n / 4] - sorted[n / 4]) / stats.median;
    free(sorted);
    return stats;
}

void timing_free(timing_entry *entries, size_t n) {
    for (size_t i = 0; i < n; i++) {
        free(entries[i].seconds);
        entries[i].seconds = NULL;
        entries[i].count = 0;
    }
}
