/* SPDX-License-Identifier: MIT
 *
 * Measuring which of rosace's kernels and tile sizes are the fastest on a device.
 *
 * Without measurements an operation goes by rules of thumb. rosace_tune measures, for each class of shapes (e.g. causal
 * attention, head_dim 64, fp32), every row of the operation's tables that can run there, and keeps the fastest in a JSON
 * file beside the program cache. Contexts made on that device from then on go by it. A measurement only ever chooses among
 * kernels that all give the same answer: a file that is wrong, damaged, of another device, driver, version or set of
 * kernels costs speed at most, and is replaced when the device is tuned again. The environment variable
 * ROSACE_TUNING=off makes a context do without.
 */
#ifndef ROSACE_TUNE_H
#define ROSACE_TUNE_H

#include <rosace/rosace.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which operations to measure; added up. */
#define ROSACE_TUNE_ATTENTION 1u
#define ROSACE_TUNE_MATMUL 2u
#define ROSACE_TUNE_CLBLAST 4u /* parameters of CLBlast's products; see ROSACE_MATMUL_CLBLAST */
#define ROSACE_TUNE_ALL 7u

/* What is under way. Text is valid during the call. */
typedef struct rosace_tune_event {
    const char *operation, *shape; /* "attention", "causal d64 f32" */
    const char *row;               /* the row about to be run; of a finished class: the one chosen */
    bool finished;                 /* the class is measured, and the fields below are set */
    const char *default_row;       /* what the rule of thumb takes */
    double microseconds, default_microseconds; /* shortest run of either */
    const char *warning;           /* something to tell people (a row whose answer is wrong, a file that cannot be written);
                                      NULL: nothing */
    size_t done, total;            /* classes, those known from earlier runs included */
    double seconds;                /* since rosace_tune began */
} rosace_tune_event;

/* Called before each row, after each class and for each warning, from the thread that called rosace_tune; must not call
 * rosace. Returns whether to go on. */
typedef bool (*rosace_tune_progress)(void *user, const rosace_tune_event *event);

typedef struct rosace_tune_options {
    size_t struct_size;
    double budget_seconds;         /* no row is begun after this long, but the first class is always finished, so that
                                      every run gets further (default 110) */
    unsigned operations;           /* ROSACE_TUNE_... (default ROSACE_TUNE_ALL) */
    bool force;                    /* measure what is known, too (default false) */
    rosace_tune_progress progress; /* (default NULL) */
    void *user;
} rosace_tune_options;
#define ROSACE_TUNE_OPTIONS_DEFAULT                                                                                    \
    { .struct_size = sizeof(rosace_tune_options), .budget_seconds = 110.0, .operations = ROSACE_TUNE_ALL }

typedef struct rosace_tune_result {
    size_t struct_size;
    size_t measured, known; /* classes measured now, and in earlier runs */
    size_t left;            /* classes for which no time was left, or where measuring failed: the next run goes on there */
    size_t changed;         /* of those measured now, how many go by another row than the rule of thumb */
    size_t wrong;           /* rows that failed or whose answer was not the others'; such a row is never chosen */
} rosace_tune_result;
#define ROSACE_TUNE_RESULT_DEFAULT { .struct_size = sizeof(rosace_tune_result) }

/* Measures on the context's device, most valuable classes first, and saves each class as soon as it is finished, so that
 * a run that is stopped, or killed, loses one class at most. The context goes by the result at once; plans that exist keep
 * what they have. Nothing else should run on the device meanwhile. `options` and `result` may be NULL. Thread-safety: safe.
 * Errors: ROSACE_INVALID_ARGUMENT; ROSACE_UNSUPPORTED (ROSACE_TUNING=off); ROSACE_IO_ERROR (everything was measured, but
 * not all could be saved: it holds for this context only); ROSACE_OUT_OF_MEMORY, ROSACE_OPENCL_ERROR. */
ROSACE_API rosace_status rosace_tune(rosace_context *context, const rosace_tune_options *options,
                                     rosace_tune_result *result);

/* One measurement that a context goes by. Text is valid during the call. */
typedef struct rosace_tuned_class {
    const char *operation, *shape, *row;
    const char *default_row, *date;            /* "" when the file does not say; date: "2026-01-31" */
    double microseconds, default_microseconds; /* 0 when the file does not say */
} rosace_tuned_class;
typedef void (*rosace_tuned_visitor)(void *user, const rosace_tuned_class *tuned);

/* Visits what a context goes by, in the file's order. Errors: ROSACE_INVALID_ARGUMENT, ROSACE_OUT_OF_MEMORY. */
ROSACE_API rosace_status rosace_tuned_visit(rosace_context *context, rosace_tuned_visitor visitor, void *user);

/* The file of a context's device, which need not exist, written to `path`. Errors: ROSACE_INVALID_ARGUMENT (path_bytes too
 * small), ROSACE_UNSUPPORTED (no cache folder, or ROSACE_TUNING=off). */
ROSACE_API rosace_status rosace_tuned_path(rosace_context *context, char *path, size_t path_bytes);

/* Deletes that file, and lets the context forget what it read. Errors: ROSACE_INVALID_ARGUMENT, ROSACE_IO_ERROR. */
ROSACE_API rosace_status rosace_tuned_clear(rosace_context *context);

#ifdef __cplusplus
}
#endif
#endif
