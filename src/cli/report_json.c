/* SPDX-License-Identifier: MIT
 * The report as JSON; docs/eval.md describes the shape. A change that breaks readers raises `schema`. */
#include "report.h"

static json_t *optional_size(int64_t value) {
    return value < 0 ? json_null() : json_integer((json_int_t)value);
}

static json_t *series_json(const eval_report *report, const report_series *series) {
    json_t *all = json_array(), *last = json_array(), *seconds = json_array(), *speed = json_array();
    for (size_t i = 0; i < report->n_lengths; i++) {
        const report_figure *figure = &series->figures[i];
        json_array_append_new(all, json_real(figure->all));
        json_array_append_new(last, json_real(figure->last));
        json_array_append_new(seconds, json_real(figure->seconds));
        json_array_append_new(speed, json_real(figure->seconds > 0.0 ? (double)figure->tokens / figure->seconds : 0.0));
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:{s:o, s:o, s:o, s:o, s:o}, s:s, s:o, s:o, s:o, s:o}", "name", series->name,
                     "model", series->model, "system", series->system, "label", series->label, "parameters", "window",
                     optional_size(series->window), "sinks", optional_size(series->sinks), "block",
                     optional_size(series->block), "rerope_window", optional_size(series->rerope_window), "rerope_leak", optional_size(series->rerope_leak), "attention",
                     series->variant, "all", all, "last", last, "seconds", seconds, "tokens_per_second", speed);
}

bool report_write_json(const void *user, FILE *file) {
    const eval_report *report = user;
    json_t *models = json_array(), *lengths = json_array(), *series = json_array();
    for (size_t i = 0; i < report->n_models; i++) {
        const report_model *model = &report->models[i];
        json_array_append_new(models,
                              json_pack("{s:s, s:s, s:s, s:I, s:I}", "name", model->name, "folder", model->folder,
                                        "position_embedding_type", model->position, "training_length",
                                        (json_int_t)model->train_length, "parameters", (json_int_t)model->parameters));
    }
    for (size_t i = 0; i < report->n_lengths; i++)
        json_array_append_new(lengths, json_integer((json_int_t)report->lengths[i]));
    for (size_t i = 0; i < report->n_series; i++)
        json_array_append_new(series, series_json(report, &report->series[i]));

    json_t *root =
        json_pack("{s:i, s:s, s:s, s:o, s:{s:s?, s:I, s:I}, s:s, s:I, s:I, s:o, s:o, s:o}", "schema", 1, "rosace",
                  rosace_version(), "command", report->command, "device", device_json(report->device), "text", "file",
                  report->text, "bytes", (json_int_t)report->text_bytes, "tokens", (json_int_t)report->text_tokens,
                  "unit", report->unit, "windows", (json_int_t)report->windows, "last", (json_int_t)report->last,
                  "models", models, "lengths", lengths, "series", series);
    const bool ok =
        root && !json_dumpf(root, file, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) && fputc('\n', file) != EOF;
    json_decref(root);
    return ok || cli_fail("the report cannot be made into JSON; are its names UTF-8?");
}
