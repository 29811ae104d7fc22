/* SPDX-License-Identifier: MIT
 * What `rosace verify` compares: every position system on every path in every data type and direction, with the reference. */
#ifndef ROSACE_CLI_VERIFY_H
#define ROSACE_CLI_VERIFY_H

#include <jansson.h>
#include <rosace/attention.h>
#include <stdio.h>

typedef enum verify_path { VERIFY_ROTATE = 0, VERIFY_FUSED, VERIFY_DECODE, VERIFY_GEMM, VERIFY_PATHS } verify_path;
extern const char *const verify_path_names[VERIFY_PATHS];

#define VERIFY_DTYPES (ROSACE_BF16 + 1)

/* A row of the table in systems.c. */
typedef struct verify_system {
    const char *name, *source;
    rosace_attention_desc attention; /* mask, bias and the like; sizes, dtype, path and rope are filled in */
    rosace_rope_desc rope;           /* theta 0: none; head_dim and dtype are filled in */
    bool sinusoidal;                 /* the table that is added to embeddings; nothing else in the row counts */
    const char *rotate_only;         /* why attention itself is not tried (NULL: it is) */
    size_t kv_heads;                 /* of 4 heads (0: 2) */
    bool quick;                      /* among the few of --quick */
} verify_system;
extern const verify_system verify_systems[]; /* ends with a NULL name */

/* What came out of one system on one path in one data type and direction. */
typedef enum verify_outcome { VERIFY_PASSED, VERIFY_FAILED, VERIFY_DECLINED } verify_outcome;
typedef struct verify_error {
    size_t values;
    double absolute, ulp;   /* the worst; ulp: of the data type, where a value is at least 1/256 of the largest */
    double share, allowed;  /* of what was allowed, and what that was, at the value that came closest to it or passed it */
    double got, expected;   /* there */
} verify_error;
typedef struct verify_cell {
    const verify_system *system;
    verify_path path;
    rosace_dtype dtype;
    const char *direction;
    verify_outcome outcome;
    verify_error out, lse;  /* lse.values 0: there is none */
    char variant[96];       /* what ran (attention) */
    char reason[256];       /* of the library, where it declined */
} verify_cell;

/* A direction computes a cell: false where the device or memory failed, after saying so. */
typedef struct verify_device {
    rosace_context *context;
    cl_command_queue queue;
    bool quick; /* smaller shapes */
} verify_device;
typedef struct verify_direction {
    const char *name;
    bool (*run)(const verify_device *device, verify_cell *cell);
} verify_direction;
extern const verify_direction verify_directions[]; /* ends with a NULL name; forward.c has the first */

bool verify_forward(const verify_device *device, verify_cell *cell);

/* Whether a path is for a system at all: only what rotates has VERIFY_ROTATE. */
bool verify_applies(const verify_system *system, verify_path path);

/* ---- Numbers (numbers.c) ------------------------------------------------------------------------------------------- */

/* `count` numbers in [low, high), exact in the data type, the same for the same seed; freed by the caller. */
double *verify_random(size_t count, rosace_dtype dtype, double low, double high, uint64_t seed);
/* A buffer of such numbers (values NULL: one of NaN), and what is in one; NULL after saying why. */
cl_mem verify_upload(const verify_device *device, rosace_dtype dtype, size_t count, const double *values);
double *verify_download(const verify_device *device, rosace_dtype dtype, size_t count, cl_mem mem);

/* What an element may be off: absolute (times factors[i], NULL: 1) + relative * |expected|, and what storing it in the data type
 * costs. Adds up in *error; false when one is off by more. */
bool verify_compare(rosace_dtype dtype, size_t count, const double *got, const double *expected, double absolute,
                    const double *factors, double relative, verify_error *error);

/* ---- Reports (report.c) ---------------------------------------------------------------------------------------------- */

typedef struct verify_report {
    const rosace_device_info *device;
    const char *command;
    const verify_cell *cells;
    size_t count, outcomes[VERIFY_DECLINED + 1];
} verify_report;

/* The line of one system, path and direction: `count` cells, one for each data type asked for. */
void verify_print_header(unsigned dtypes);
void verify_print_row(const verify_cell *cells, size_t count);
bool verify_write_json(const void *report, FILE *file); /* an output_writer */

#endif
