/* SPDX-License-Identifier: MIT
 * What an evaluation found, and the forms it is given in. */
#ifndef ROSACE_CLI_REPORT_H
#define ROSACE_CLI_REPORT_H

#include <jansson.h>
#include <stdio.h>

#include "cli.h"

/* One length of one series, in bits per byte (or per token, see report.unit). */
typedef struct report_figure {
    double all;     /* mean over all positions of all windows */
    double last;    /* mean over the last positions of all windows */
    double seconds; /* of the whole length, kernels built on the way included */
    size_t tokens;  /* predicted */
} report_figure;

/* One model under one position system. */
typedef struct report_series {
    const char *model;                           /* the folder's name */
    size_t model_index;                          /* which of the command line's models */
    const char *system;                          /* "window" */
    char label[48];                              /* "window 127" */
    char name[128];                              /* "rope/window 127", unique in a report */
    int64_t window, sinks, block, rerope_window, rerope_leak; /* -1: not part of the system */
    char variant[192];                           /* the attention that ran, at the largest length */
    report_figure *figures;                      /* [n_lengths] */
} report_series;

typedef struct report_model {
    const char *name, *folder;
    const char *position; /* "rope" */
    int64_t train_length;
    size_t parameters;
} report_model;

typedef struct eval_report {
    const rosace_device_info *device;
    const char *command; /* the command line */
    const char *text;    /* the file's name */
    size_t text_bytes;   /* 0: tokens without a text */
    size_t text_tokens;
    const char *unit; /* "bits per byte" or "bits per token" */
    size_t windows, last;
    const int64_t *lengths;
    size_t n_lengths;
    const report_model *models;
    size_t n_models;
    const report_series *series;
    size_t n_series;
} eval_report;

const char *device_class_name(rosace_device_class device_class);
json_t *device_json(const rosace_device_info *device);

/* Tokens per second over all of a series. */
double report_speed(const eval_report *report, const report_series *series);

/* Prints the tables; `overall` adds the one over all positions. */
void report_print(const eval_report *report, FILE *file, bool overall);

/* Writers for output_save; user is an eval_report. */
bool report_write_json(const void *user, FILE *file);
bool report_write_html(const void *user, FILE *file);

#endif
