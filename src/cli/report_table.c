/* SPDX-License-Identifier: MIT
 * The report for the terminal. */
#include <stdlib.h>
#include <string.h>

#include "report.h"

double report_speed(const eval_report *report, const report_series *series) {
    double tokens = 0.0, seconds = 0.0;
    for (size_t i = 0; i < report->n_lengths; i++) {
        tokens += (double)series->figures[i].tokens;
        seconds += series->figures[i].seconds;
    }
    return seconds > 0.0 ? tokens / seconds : 0.0;
}

/* "2x" under a length that is a multiple of the model's training length, else "". */
static void multiple_text(const eval_report *report, size_t length_index, char *out, size_t bytes) {
    const int64_t length = report->lengths[length_index], trained = report->models[0].train_length;
    out[0] = '\0';
    for (size_t i = 1; i < report->n_models; i++)
        if (report->models[i].train_length != trained) return;
    if (length % trained == 0) snprintf(out, bytes, "%lldx", (long long)(length / trained));
}

static void print_figures(const eval_report *report, FILE *file, bool overall) {
    size_t model_width = 5, system_width = 6;
    for (size_t s = 0; s < report->n_series; s++) {
        const size_t m = strlen(report->series[s].model), l = strlen(report->series[s].label);
        if (m > model_width) model_width = m;
        if (l > system_width) system_width = l;
    }
    char multiple[32];
    fprintf(file, "%-*s  %-*s", (int)model_width, "", (int)system_width, "");
    for (size_t i = 0; i < report->n_lengths; i++) {
        multiple_text(report, i, multiple, sizeof multiple);
        fprintf(file, " %7s", multiple);
    }
    fprintf(file, "\n%-*s  %-*s", (int)model_width, "model", (int)system_width, "system");
    for (size_t i = 0; i < report->n_lengths; i++)
        fprintf(file, " %7lld", (long long)report->lengths[i]);
    fprintf(file, "  %9s\n", "tokens/s");
    for (size_t s = 0; s < report->n_series; s++) {
        const report_series *series = &report->series[s];
        fprintf(file, "%-*s  %-*s", (int)model_width, series->model, (int)system_width, series->label);
        for (size_t i = 0; i < report->n_lengths; i++)
            fprintf(file, " %7.3f", overall ? series->figures[i].all : series->figures[i].last);
        fprintf(file, "  %9.0f\n", report_speed(report, series));
    }
}

void report_print(const eval_report *report, FILE *file, bool overall) {
    fprintf(file, "B%s over the last %zu positions, by length (mean of %zu windows; 1x is the training length)\n\n",
            report->unit + 1, report->last, report->windows);
    print_figures(report, file, false);
    if (!overall) return;
    fprintf(file, "\nB%s over all positions\n\n", report->unit + 1);
    print_figures(report, file, true);
}
