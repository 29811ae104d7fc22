/* SPDX-License-Identifier: MIT
 * What an operation costs besides its work: building its kernels, the first call, launching. */
#ifndef ROSACE_CLI_BENCH_COSTS_H
#define ROSACE_CLI_BENCH_COSTS_H

#include "options.h"

/* Seconds. "Cold": in a process whose caches on disk, rosace's and the driver's, are empty. "Warm": in a new process,
 * after one like it. Nothing else of the operation has run in either. */
typedef struct bench_costs {
    const bench_op *op;
    double plan_cold, first_cold; /* making the plan (0: the operation has none), its first call until it is done */
    double plan_warm, first_warm; /* medians of WARM_RUNS processes */
    double call;                  /* a call until it is done, in the steady state: median */
    double queued, queued_empty;  /* per call of many behind each other, and of a kernel that does nothing: medians */
    double enqueue, enqueue_empty; /* of that, until the call has returned: medians */
} bench_costs;

/* Measures every operation that `options` have cases of at its smallest size, each in processes of its own. To be
 * called before this process has used OpenCL. *out [*count] is freed by the caller. False after saying why not. */
bool bench_costs_measure(const bench_options *options, bench_costs **out, size_t *count);

#endif
