/* SPDX-License-Identifier: MIT
 * The tuner: tune.c goes through the classes, measure.c finds the fastest row of one, and each operation (attention.c,
 * clblast.c, matmul.c) says what its classes are and how to run one. */
#ifndef ROSACE_SRC_TUNE_TUNE_H
#define ROSACE_SRC_TUNE_TUNE_H

#include <rosace/attention.h>
#include <rosace/tune.h>

#include "../context.h"
#include "../tuning.h"

/* One class of shapes, as an operation describes it to itself. */
typedef struct rsc_subject {
    char class_name[RSC_CLASS_BYTES];
    rosace_attention_desc attention; /* without limits; those follow from the size */
    size_t seq_q;                    /* attention: queries, 0: as many as keys */
    rosace_dtype dtype;              /* matmul: of all three */
    size_t rows;                     /* of C, 0: as many as columns */
    bool transpose_b;
    size_t least, most;              /* sizes worth measuring */
} rsc_subject;

enum { RSC_TUNE_BUFFERS = 4 };

/* A class made ready to run in one size. */
typedef struct rsc_bench {
    rosace_context *context; /* the trial's own, whose entries are what is tried */
    cl_command_queue queue;
    const rsc_subject *subject;
    size_t size;                       /* sequence length, or matrix size */
    cl_mem buffers[RSC_TUNE_BUFFERS]; /* [0] is the output; set by prepare */
    rosace_dtype dtype;                /* and of what, how much, */
    size_t out_count;                  /* elements of the output */
    float tolerance;                   /* what two right answers may differ by, of the largest number in them */
} rsc_bench;

typedef struct rsc_tunable {
    const char *operation;
    unsigned flag; /* ROSACE_TUNE_... */
    /* The index-th class for a device, most valuable first; false behind the last. */
    bool (*class_at)(const rosace_device_info *device, size_t index, rsc_subject *out);
    /* The index-th row that can be chosen; false behind the last. */
    bool (*row_at)(const rosace_device_info *device, const rsc_subject *subject, size_t index, char row[RSC_ROW_BYTES]);
    /* Allocates and fills buffers for subject->most. */
    rosace_status (*prepare)(rsc_bench *bench);
    /* A plan for bench->size under the entries of bench->context, and the row that it runs. */
    rosace_status (*make)(rsc_bench *bench, void **plan, char row[RSC_ROW_BYTES]);
    rosace_status (*run)(rsc_bench *bench, void *plan);
    void (*drop)(rsc_bench *bench, void *plan);
    bool standard_first; /* once another row ran the standard one cannot: all its runs come before */
} rsc_tunable;
extern const rsc_tunable rsc_tune_attention, rsc_tune_clblast, rsc_tune_matmul;

/* A buffer of `count` numbers around zero that look like noise, or zeros. */
rosace_status rsc_bench_buffer(rsc_bench *bench, size_t index, rosace_dtype dtype, size_t count, bool noise);

/* ---- measure.c ---------------------------------------------------------------------------------------------------- */

enum { RSC_MAX_ROWS = 48, RSC_TUNE_ROUNDS = 9 };

typedef struct rsc_row_figures {
    char name[RSC_ROW_BYTES];
    void *plan;
    bool wrong;
    unsigned runs;
    double microseconds[RSC_TUNE_ROUNDS];
} rsc_row_figures;

/* Called before a row is built and run, and with a warning; false: stop. */
typedef bool (*rsc_measure_progress)(void *user, const char *row, const char *warning);

typedef struct rsc_measurement {
    rsc_row_figures rows[RSC_MAX_ROWS];
    size_t n_rows, standard, best; /* of rows; `standard` is what is taken without measurements */
    size_t size;
    bool finished; /* false: stopped, or out of time */
} rsc_measurement;

double rsc_seconds(void);
double rsc_shortest(const rsc_row_figures *row);
double rsc_median(const rsc_row_figures *row);

/* Measures a class until `deadline` (of rsc_seconds) at most. */
rosace_status rsc_measure(const rsc_tunable *tunable, rsc_bench *bench, double deadline, rsc_measure_progress progress,
                          void *user, rsc_measurement *out);

#endif
