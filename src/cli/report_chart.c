/* SPDX-License-Identifier: MIT */
#include "report_chart.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/positions.h"

/* By row of position_systems; rows beyond the palette start over. */
static const struct {
    const char *light, *dark;
} palette[] = {
    {"#d6281f", "#ff6b61"}, /* rope */
    {"#33383d", "#d5dade"}, /* alibi */
    {"#8a6d00", "#e0c04a"}, /* sinusoidal */
    {"#5f6b1e", "#c3d35a"}, /* shaw */
    {"#1a5fd0", "#5ea2ff"}, /* window */
    {"#0c8fa3", "#45cfe3"}, /* window+sinks */
    {"#00a37a", "#52e0b8"}, /* window+sinks+rerope */
    {"#3d8b1f", "#86d45f"}, /* bca */
    {"#7a3fc4", "#b98aff"}, /* rerope */
    {"#5b8f99", "#9fd3dd"}, /* leaky-rerope */
    {"#e07400", "#ffab4d"}, /* pi */
    {"#b5179e", "#ff7be0"}, /* ntk */
    {"#7d4a26", "#d2a079"}, /* yarn */
    {"#9c2f4f", "#ff8fab"}, /* logn */
    {"#4a5aa8", "#a3b1ff"}, /* window+logn */
};
enum { N_COLOURS = sizeof palette / sizeof *palette };

static const char *const dashes[] = {"", "7 4", "2 4", "9 4 2 4"};
enum { N_DASHES = sizeof dashes / sizeof *dashes };

/* The drawing area inside the view box; labels stand to its right. */
typedef struct frame {
    double left, top, right, bottom, width, height;
    double x_low, x_high, y_low, y_high; /* log2 of length and of loss */
} frame;

static size_t colour_of(const report_series *series) {
    return (size_t)(position_find(series->system) - position_systems) % N_COLOURS;
}

void chart_colours(const eval_report *report, FILE *file) {
    bool used[N_COLOURS] = {false};
    for (size_t i = 0; i < report->n_series; i++)
        used[colour_of(&report->series[i])] = true;
    for (int dark = 0; dark < 2; dark++) {
        if (dark) fputs("@media(prefers-color-scheme:dark){", file);
        for (size_t i = 0; i < N_COLOURS; i++)
            if (used[i]) fprintf(file, ".c%zu{--c:%s}", i, dark ? palette[i].dark : palette[i].light);
        fputs(dark ? "}\n" : "\n", file);
    }
}

static void dash_attribute(const report_series *series, FILE *file) {
    const char *dash = dashes[series->model_index % N_DASHES];
    if (*dash) fprintf(file, " stroke-dasharray=\"%s\"", dash);
}

void chart_swatch(const report_series *series, FILE *file) {
    fprintf(file,
            "<svg class=\"swatch c%zu\" viewBox=\"0 0 34 10\" aria-hidden=\"true\"><path d=\"M1 5H33\" "
            "stroke=\"var(--c)\" stroke-width=\"2.5\"",
            colour_of(series));
    dash_attribute(series, file);
    fputs("/></svg>", file);
}

static double loss_scale(double loss) {
    return log2(fmax(loss, 1e-3));
}

static double x_of(const frame *f, double length) {
    return f->left + (log2(length) - f->x_low) / (f->x_high - f->x_low) * (f->right - f->left);
}

static double y_of(const frame *f, double loss) {
    return f->bottom - (loss_scale(loss) - f->y_low) / (f->y_high - f->y_low) * (f->bottom - f->top);
}

static frame make_frame(const eval_report *report) {
    enum { LABEL_GAP = 15, LETTER = 7 };
    size_t letters = 0;
    for (size_t i = 0; i < report->n_series; i++) {
        const size_t n = strlen(report->series[i].model) + 2 + strlen(report->series[i].label);
        if (n > letters) letters = n;
    }
    const double labels = (double)report->n_series * LABEL_GAP;
    frame f = {.left = 52,
               .top = 46,
               .width = 1080,
               .x_low = INFINITY,
               .x_high = -INFINITY,
               .y_low = INFINITY,
               .y_high = -INFINITY};
    f.bottom = f.top + fmax(420, labels);
    f.height = f.bottom + 56;
    f.right = f.width - fmin(360, 34 + (double)letters * LETTER);
    for (size_t l = 0; l < report->n_lengths; l++) {
        f.x_low = fmin(f.x_low, log2((double)report->lengths[l]));
        f.x_high = fmax(f.x_high, log2((double)report->lengths[l]));
        for (size_t s = 0; s < report->n_series; s++) {
            f.y_low = fmin(f.y_low, loss_scale(report->series[s].figures[l].last));
            f.y_high = fmax(f.y_high, loss_scale(report->series[s].figures[l].last));
        }
    }
    if (f.x_high - f.x_low < 1e-9) {
        f.x_low -= 0.5;
        f.x_high += 0.5;
    }
    const double margin = fmax(0.05, 0.04 * (f.y_high - f.y_low));
    f.y_low -= margin;
    f.y_high += margin;
    return f;
}

/* ---- Axes -------------------------------------------------------------------------------------------------------- */

static void write_loss_axis(const eval_report *report, const frame *f, FILE *file) {
    /* Round numbers first; finer ones where there is room. */
    static const double rounds[][9] = {
        {1, 2, 3, 4, 5, 6, 7, 8, 9}, {1.5, 2.5, 3.5, 4.5, 0}, {1.2, 1.4, 1.6, 1.8, 2.2, 2.4, 2.6, 2.8, 0}};
    double drawn[64];
    size_t n = 0;
    for (size_t level = 0; level < 3; level++)
        for (double scale = 1e-3; scale < 1e3; scale *= 10)
            for (size_t i = 0; i < 9 && rounds[level][i] > 0; i++) {
                const double value = rounds[level][i] * scale, y = y_of(f, value);
                bool room = y >= f->top && y <= f->bottom && n < 64;
                for (size_t j = 0; room && j < n; j++)
                    room = fabs(drawn[j] - y) >= 26;
                if (!room) continue;
                drawn[n++] = y;
                fprintf(file,
                        "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                        "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%.3g</text>\n",
                        f->left, f->right, y, y, f->left - 8, y + 4, value);
            }
    fprintf(file, "<text class=\"note\" x=\"6\" y=\"15\">%s</text>\n", report->unit);
}

static void write_length_axis(const eval_report *report, const frame *f, FILE *file) {
    const int64_t trained = report->models[0].train_length;
    double drawn[256];
    size_t n = 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < report->n_lengths; i++) {
            const int64_t length = report->lengths[i];
            const bool multiple = length % trained == 0;
            const double x = x_of(f, (double)length);
            if (multiple != (pass == 0)) continue;
            bool room = n < 256;
            for (size_t j = 0; room && j < n; j++)
                room = fabs(drawn[j] - x) >= 30;
            fprintf(file, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>", x, x, f->bottom,
                    f->bottom + 5);
            if (!room) continue;
            drawn[n++] = x;
            fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%lld</text>", x, f->bottom + 19,
                    (long long)length);
            if (multiple)
                fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%lld\xc3\x97</text>", x,
                        f->bottom + 34, (long long)(length / trained));
            fputc('\n', file);
        }
    fprintf(file, "<text class=\"note\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">length in tokens</text>\n",
            (f->left + f->right) / 2, f->bottom + 50);
}

/* Where training ended, once for models of one length. */
static void write_training(const eval_report *report, const frame *f, FILE *file) {
    for (size_t i = 0; i < report->n_models; i++) {
        const double length = (double)report->models[i].train_length;
        const double x = x_of(f, length);
        bool first = x >= f->left - 1 && x <= f->right + 1;
        for (size_t j = 0; j < i; j++)
            first &= report->models[j].train_length != report->models[i].train_length;
        if (!first) continue;
        fprintf(file,
                "<rect class=\"beyond\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>"
                "<line class=\"trained\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>"
                "<text class=\"note\" x=\"%.1f\" y=\"%.1f\">training length %.0f</text>\n",
                x, f->top, f->right - x, f->bottom - f->top, x, x, f->top - 6, f->bottom, x + 6, f->top - 6, length);
    }
}

/* ---- Series ------------------------------------------------------------------------------------------------------ */

typedef struct end_label {
    size_t series;
    double y; /* of the curve's end, then of the label */
} end_label;

static int compare_labels(const void *a, const void *b) {
    const end_label *x = a, *y = b;
    if (x->y != y->y) return x->y < y->y ? -1 : 1;
    return x->series < y->series ? -1 : 1;
}

/* Earlier series are drawn later, so that they lie above what agrees with them. */
static int compare_drawing(const void *a, const void *b) {
    const end_label *x = a, *y = b;
    return x->series > y->series ? -1 : 1;
}

/* Labels as close to their curves' ends as they can be without touching: pushed down from the top, then up from below.
 */
static end_label *place_labels(const eval_report *report, const frame *f) {
    const size_t n = report->n_series;
    const double gap = fmin(15, (f->bottom - f->top) / (double)(n ? n : 1));
    end_label *labels = cli_calloc(n, sizeof *labels);
    if (!labels) return NULL;
    for (size_t i = 0; i < n; i++)
        labels[i] = (end_label){i, y_of(f, report->series[i].figures[report->n_lengths - 1].last)};
    qsort(labels, n, sizeof *labels, compare_labels);
    for (size_t i = 1; i < n; i++)
        labels[i].y = fmax(labels[i].y, labels[i - 1].y + gap);
    double limit = f->bottom + 30; /* the corner below the axis is free */
    for (size_t i = n; i-- > 0; limit = labels[i].y - gap)
        labels[i].y = fmin(labels[i].y, limit);
    qsort(labels, n, sizeof *labels, compare_drawing);
    return labels;
}

static void write_marker(size_t model, double x, double y, FILE *file) {
    static const char *const shapes[] = {"m-3.2 0a3.2 3.2 0 1 0 6.4 0a3.2 3.2 0 1 0-6.4 0z", "m-3-3h6v6h-6z",
                                         "m0-4l4 4-4 4-4-4z", "m0-4l4 7h-8z"};
    fprintf(file, "<path class=\"dot\" d=\"M%.1f %.1f%s\">", x, y, shapes[model % 4]);
}

static void write_series(const eval_report *report, const frame *f, const end_label *label, FILE *file) {
    const report_series *series = &report->series[label->series];
    fprintf(file, "<g class=\"series c%zu\" data-series=\"", colour_of(series));
    html_text(file, series->name);
    fputs("\"><path d=\"", file);
    for (size_t i = 0; i < report->n_lengths; i++)
        fprintf(file, "%c%.1f %.1f", i ? 'L' : 'M', x_of(f, (double)report->lengths[i]),
                y_of(f, series->figures[i].last));
    fputc('"', file);
    dash_attribute(series, file);
    fputs("/>", file);
    for (size_t i = 0; i < report->n_lengths; i++) {
        write_marker(series->model_index, x_of(f, (double)report->lengths[i]), y_of(f, series->figures[i].last), file);
        fputs("<title>", file);
        html_text(file, series->model);
        fputs(", ", file);
        html_text(file, series->label);
        fprintf(file, ": %.3f %s at length %lld</title></path>", series->figures[i].last, report->unit,
                (long long)report->lengths[i]);
    }
    const double x = x_of(f, (double)report->lengths[report->n_lengths - 1]);
    fprintf(file, "<path class=\"leader\" d=\"M%.1f %.1fL%.1f %.1f\"/><text x=\"%.1f\" y=\"%.1f\">", x + 5,
            y_of(f, series->figures[report->n_lengths - 1].last), x + 22, label->y, x + 26, label->y + 4);
    if (report->n_models > 1) {
        html_text(file, series->model);
        fputs(", ", file);
    }
    html_text(file, series->label);
    fputs("</text></g>\n", file);
}

bool chart_write(const eval_report *report, FILE *file) {
    const frame f = make_frame(report);
    end_label *labels = place_labels(report, &f);
    if (!labels) return false;
    fprintf(
        file,
        "<svg class=\"plot\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"Loss against length, one curve for "
        "each model and position system\">\n",
        f.width, f.height);
    write_training(report, &f, file);
    write_loss_axis(report, &f, file);
    write_length_axis(report, &f, file);
    fputs("<g class=\"lines\">\n", file);
    for (size_t i = 0; i < report->n_series; i++)
        write_series(report, &f, &labels[i], file);
    fputs("</g>\n</svg>\n", file);
    free(labels);
    return true;
}
