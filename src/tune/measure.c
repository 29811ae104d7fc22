/* SPDX-License-Identifier: MIT
 * The fastest row for one class of shapes. Rows run in turns, so that what changes on the machine meanwhile meets all of
 * them alike, and the shortest run of each counts: a run can be disturbed, but not be too fast. */
#include "tune.h"

#include <CL/cl_half.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A size is large enough when it takes this long; and a row this much slower than the best so far runs no more. */
static const double long_enough = 15e3, too_long = 10e6, most_of_class = 2e6; /* microseconds */
static const double hopeless_first = 1.5, hopeless_later = 1.15;
/* What another row must gain before it is taken instead of the standard one. */
static const double worth_it = 0.97;

double rsc_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double rsc_shortest(const rsc_row_figures *row)
{
    double shortest = INFINITY;
    for (unsigned i = 0; i < row->runs; i++) shortest = fmin(shortest, row->microseconds[i]);
    return shortest;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double rsc_median(const rsc_row_figures *row)
{
    double sorted[RSC_TUNE_ROUNDS];
    if (!row->runs) return INFINITY;
    memcpy(sorted, row->microseconds, row->runs * sizeof *sorted);
    qsort(sorted, row->runs, sizeof *sorted, ascending);
    return 0.5 * (sorted[row->runs / 2] + sorted[(row->runs - 1) / 2]);
}

/* ---- Buffers ----------------------------------------------------------------------------------------------------- */

rosace_status rsc_bench_buffer(rsc_bench *bench, size_t index, rosace_dtype dtype, size_t count, bool noise)
{
    const size_t bytes = count * rosace_dtype_size(dtype);
    unsigned char *host = rsc_calloc(bench->context, bytes, 1);
    if (!host) return rsc_fail(ROSACE_OUT_OF_MEMORY, "tuning: no host memory for %zu bytes", bytes);
    uint32_t state = 12345 + (uint32_t)index;
    for (size_t i = 0; noise && i < count; i++) {
        state = state * 1664525u + 1013904223u; /* Numerical Recipes' generator; its high bits are good enough here */
        const float x = (float)(state >> 8) * 0x1p-23f - 1.0f;
        if (dtype == ROSACE_F16) ((cl_half *)(void *)host)[i] = cl_half_from_float(x, CL_HALF_RTE);
        else ((float *)(void *)host)[i] = x;
    }
    const rosace_status status =
        rsc_buffer_create(bench->context, bytes, CL_MEM_READ_WRITE, host, "tuning", &bench->buffers[index]);
    rsc_free(bench->context, host);
    return status;
}

/* The output as it is now. */
static rosace_status read_output(rsc_bench *bench, float *out)
{
    const size_t bytes = bench->out_count * rosace_dtype_size(bench->dtype);
    const cl_int code = clEnqueueReadBuffer(bench->queue, bench->buffers[0], CL_TRUE, 0, bytes, out, 0, NULL, NULL);
    if (code) return rsc_fail_cl(code, "tuning: clEnqueueReadBuffer");
    if (bench->dtype == ROSACE_F16) /* from the end, since the halves lie in front */
        for (size_t i = bench->out_count; i-- > 0;) out[i] = cl_half_to_float(((const cl_half *)(const void *)out)[i]);
    return ROSACE_OK;
}

/* A pattern that no answer has, so that a kernel that writes nothing is found. */
static rosace_status spoil_output(rsc_bench *bench)
{
    static const cl_uint pattern = 0x7fc17fc1; /* NaN in either type */
    const size_t bytes = bench->out_count * rosace_dtype_size(bench->dtype) / sizeof pattern * sizeof pattern;
    const cl_int code = clEnqueueFillBuffer(bench->queue, bench->buffers[0], &pattern, sizeof pattern, 0, bytes, 0, NULL, NULL);
    return code ? rsc_fail_cl(code, "tuning: clEnqueueFillBuffer") : ROSACE_OK;
}

static bool same_answer(const rsc_bench *bench, const float *a, const float *b)
{
    float largest = 0.0f;
    for (size_t i = 0; i < bench->out_count; i++) largest = fmaxf(largest, fabsf(b[i]));
    for (size_t i = 0; i < bench->out_count; i++)
        if (!(fabsf(a[i] - b[i]) <= bench->tolerance * largest)) return false;
    return true;
}

/* ---- Runs -------------------------------------------------------------------------------------------------------- */

static rosace_status timed_run(const rsc_tunable *tunable, rsc_bench *bench, void *plan, unsigned repeats, double *microseconds)
{
    rosace_status status = ROSACE_OK;
    const double start = rsc_seconds();
    for (unsigned i = 0; i < repeats && !status; i++) status = tunable->run(bench, plan);
    const cl_int code = clFinish(bench->queue);
    *microseconds = 1e6 * (rsc_seconds() - start) / repeats;
    return status ? status : code ? rsc_fail_cl(code, "tuning: clFinish") : ROSACE_OK;
}

/* The standard row's plan, in a size that takes long enough. */
static rosace_status choose_size(const rsc_tunable *tunable, rsc_bench *bench, double deadline, rsc_row_figures *row)
{
    rosace_status status = ROSACE_OK;
    for (bench->size = bench->subject->least;; bench->size *= 2) {
        double first = 0.0, microseconds = 0.0;
        status = tunable->make(bench, &row->plan, row->name);
        if (!status) status = timed_run(tunable, bench, row->plan, 1, &first);
        microseconds = first; /* with all that a first run brings along; one that takes minutes is not repeated */
        if (!status && first < too_long) status = timed_run(tunable, bench, row->plan, 1, &microseconds);
        if (status || microseconds > long_enough || 2 * bench->size > bench->subject->most || rsc_seconds() > deadline)
            return status;
        tunable->drop(bench, row->plan);
        row->plan = NULL;
    }
}

/* Builds a row, runs it once, and compares its answer. What a row cannot do is its own affair: it is out. */
static rosace_status try_row(const rsc_tunable *tunable, rsc_bench *bench, rsc_row_figures *row, const float *wanted,
                             float *got, char *warning, size_t warning_bytes)
{
    char taken[RSC_ROW_BYTES] = "";
    double ignored;
    *warning = '\0';
    rosace_status status = rsc_tuning_try(bench->context, tunable->operation, bench->subject->class_name, row->name);
    if (!status) status = spoil_output(bench);
    if (status) return status;
    status = tunable->make(bench, &row->plan, taken);
    if (!status && strcmp(taken, row->name) != 0) { /* something else decides, a variable of the environment say */
        tunable->drop(bench, row->plan);
        row->plan = NULL;
        return ROSACE_OK;
    }
    if (!status) status = timed_run(tunable, bench, row->plan, 1, &ignored);
    if (!status) status = read_output(bench, got);
    if (status == ROSACE_OUT_OF_MEMORY) return status;
    if (!status && same_answer(bench, got, wanted)) return ROSACE_OK;
    row->wrong = true;
    snprintf(warning, warning_bytes, "%s, %s: %s: %s", tunable->operation, bench->subject->class_name, row->name,
             status ? rosace_last_error() : "its answer differs from the standard row's; never chosen");
    if (row->plan) tunable->drop(bench, row->plan);
    row->plan = NULL;
    return ROSACE_OK;
}

/* All runs of a row at once. */
static rosace_status run_alone(const rsc_tunable *tunable, rsc_bench *bench, rsc_row_figures *row)
{
    rosace_status status = ROSACE_OK;
    unsigned repeats = 1;
    double microseconds, spent = 0.0;
    while (!status && row->runs < RSC_TUNE_ROUNDS && (row->runs < 3 || spent <= most_of_class)) {
        status = timed_run(tunable, bench, row->plan, repeats, &microseconds);
        row->microseconds[row->runs++] = microseconds;
        spent += repeats * microseconds;
        repeats = (unsigned)fmin(100.0, ceil(long_enough / 4 / rsc_shortest(row)));
    }
    return status;
}

static double shortest_of(const rsc_measurement *m)
{
    double shortest = INFINITY;
    for (size_t i = 0; i < m->n_rows; i++) shortest = fmin(shortest, rsc_shortest(&m->rows[i]));
    return shortest;
}

/* Of first runs alone, which are of one repeat each: what a row's own first run may be compared with. */
static double shortest_first(const rsc_measurement *m)
{
    double shortest = INFINITY;
    for (size_t i = 0; i < m->n_rows; i++)
        if (m->rows[i].runs) shortest = fmin(shortest, m->rows[i].microseconds[0]);
    return shortest;
}

static rosace_status run_rounds(const rsc_tunable *tunable, rsc_bench *bench, double deadline, rsc_measurement *m)
{
    double spent = 0.0;
    unsigned repeats = 1;
    for (unsigned round = 0; round < RSC_TUNE_ROUNDS; round++) {
        const double best = round > 1 ? shortest_of(m) : shortest_first(m);
        for (size_t i = 0; i < m->n_rows; i++) {
            rsc_row_figures *row = &m->rows[i];
            const double limit = best * (round > 1 ? hopeless_later : hopeless_first);
            if (!row->plan || (round && rsc_shortest(row) > limit && i != m->standard)) continue;
            if (tunable->standard_first && i == m->standard) continue;
            if (round && rsc_seconds() > deadline) return ROSACE_OK;
            double microseconds;
            const rosace_status status = timed_run(tunable, bench, row->plan, repeats, &microseconds);
            if (status) return status;
            row->microseconds[row->runs++] = microseconds;
            spent += repeats * microseconds;
        }
        if (!round) repeats = (unsigned)fmin(100.0, ceil(long_enough / 4 / shortest_of(m)));
        if (round >= 2 && spent > most_of_class) break;
    }
    return ROSACE_OK;
}

rosace_status rsc_measure(const rsc_tunable *tunable, rsc_bench *bench, double deadline, rsc_measure_progress progress,
                          void *user, rsc_measurement *m)
{
    const rosace_device_info *device = rosace_context_device_info(bench->context);
    const rsc_subject *subject = bench->subject;
    float *wanted = NULL, *got = NULL;
    rsc_row_figures standard = {.plan = NULL};
    char warning[512];
    memset(m, 0, sizeof *m);
    while (m->n_rows < RSC_MAX_ROWS && tunable->row_at(device, subject, m->n_rows, m->rows[m->n_rows].name)) m->n_rows++;

    rosace_status status = rsc_tuning_try(bench->context, tunable->operation, subject->class_name, NULL);
    if (!status) status = tunable->prepare(bench);
    if (!status && !progress(user, NULL, NULL)) goto end;
    if (!status) status = choose_size(tunable, bench, deadline, &standard);
    if (status) goto end;
    m->size = bench->size;
    while (m->standard < m->n_rows && strcmp(m->rows[m->standard].name, standard.name) != 0) m->standard++;
    if (m->standard == m->n_rows) goto end; /* something else decides here */

    wanted = rsc_calloc(bench->context, bench->out_count, sizeof *wanted);
    got = rsc_calloc(bench->context, bench->out_count, sizeof *got);
    if (!wanted || !got) status = rsc_fail(ROSACE_OUT_OF_MEMORY, "tuning: no host memory to compare answers");
    if (!status) status = read_output(bench, wanted);
    if (!status && tunable->standard_first) status = run_alone(tunable, bench, &standard);
    for (size_t i = 0; i < m->n_rows && !status; i++) {
        if (i == m->standard) continue;
        if (rsc_seconds() > deadline || !progress(user, m->rows[i].name, NULL)) goto end;
        status = try_row(tunable, bench, &m->rows[i], wanted, got, warning, sizeof warning);
        if (!status && *warning && !progress(user, m->rows[i].name, warning)) goto end;
    }
    if (status) goto end;
    m->rows[m->standard].plan = standard.plan;
    m->rows[m->standard].runs = standard.runs;
    memcpy(m->rows[m->standard].microseconds, standard.microseconds, sizeof standard.microseconds);
    standard.plan = NULL;
    status = run_rounds(tunable, bench, deadline, m);
    if (status) goto end;
    m->best = m->standard;
    for (size_t i = 0; i < m->n_rows; i++)
        if (rsc_shortest(&m->rows[i]) < rsc_shortest(&m->rows[m->best])) m->best = i;
    if (rsc_shortest(&m->rows[m->best]) > worth_it * rsc_shortest(&m->rows[m->standard])) m->best = m->standard;
    m->finished = true;
end:
    for (size_t i = 0; i < m->n_rows; i++)
        if (m->rows[i].plan) tunable->drop(bench, m->rows[i].plan);
    if (standard.plan) tunable->drop(bench, standard.plan);
    for (size_t i = 0; i < RSC_TUNE_BUFFERS; i++)
        if (bench->buffers[i]) clReleaseMemObject(bench->buffers[i]);
    rsc_free(bench->context, wanted);
    rsc_free(bench->context, got);
    return status;
}
