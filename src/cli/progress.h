/* SPDX-License-Identifier: MIT
 * What a long evaluation says on the standard error: one line that changes on a terminal, a line per series elsewhere.
 */
#ifndef ROSACE_CLI_PROGRESS_H
#define ROSACE_CLI_PROGRESS_H

#include "report.h"

typedef struct progress {
    bool terminal;
    size_t done, total; /* pairs of series and length */
    const report_series *series;
    int64_t length;
} progress;

void progress_start(progress *shown, const rosace_device_info *device, size_t total);
void progress_model(progress *shown, const report_model *model);
/* One length of a series begins. */
void progress_begin(progress *shown, const report_series *series, int64_t length);
/* An evaluation_progress; user is the progress. */
void progress_batch(void *user, size_t tokens, double seconds);
/* A series is complete. */
void progress_series(progress *shown, const report_series *series, size_t n_lengths);
/* Takes the changing line away. */
void progress_clear(progress *shown);

#endif
