/* SPDX-License-Identifier: MIT
 * The report as one page that needs nothing else: style and chart inline, no script, light and dark. */
#include <string.h>

#include "model/positions.h"
#include "report_chart.h"

static const char style[] =
    ":root{color-scheme:light dark;--bg:#fcfcfa;--panel:#fff;--fg:#1c2024;--muted:#5d6670;--line:#dfe2e6;"
    "--beyond:#f3f4f1;--mark:#1c2024}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#14171a;--panel:#1a1e22;--fg:#e8eaed;--muted:#9aa3ad;"
    "--line:#30363d;--beyond:#20252a;--mark:#e8eaed}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,'DejaVu Sans',sans-serif}\n"
    "main{max-width:1120px;margin:0 auto;padding:32px 20px 56px}\n"
    "h1{font-size:26px;line-height:1.25;margin:0 0 4px}h2{font-size:17px;margin:36px 0 8px}\n"
    "p{margin:0 0 12px}.lead{color:var(--muted);max-width:75ch}\n"
    "figure{margin:20px 0 0;background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:16px}\n"
    "svg.plot{display:block;width:100%;height:auto;font:12px system-ui,'DejaVu Sans',sans-serif}\n"
    ".plot text{fill:var(--muted)}.plot .grid{stroke:var(--line)}.plot .beyond{fill:var(--beyond)}\n"
    ".plot .trained{stroke:var(--mark);stroke-dasharray:2 3}.plot .note{fill:var(--fg)}\n"
    ".series path{fill:none;stroke:var(--c);stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}\n"
    ".series .dot{fill:var(--panel);stroke-width:1.6;stroke-dasharray:none}\n"
    ".series .leader{stroke-width:1;opacity:.55;stroke-dasharray:none}\n"
    ".plot .series text{fill:var(--c);font-weight:600}\n"
    ".series{transition:opacity .12s}.lines:hover .series{opacity:.18}.lines .series:hover{opacity:1}\n"
    "figcaption{margin-top:12px;color:var(--muted);font-size:13px}\n"
    ".legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 20px;margin:0;padding:0}\n"
    ".legend+.legend{margin-top:4px}.legend .model{font-weight:600;color:var(--fg);min-width:90px}\n"
    ".swatch{width:34px;height:10px;vertical-align:middle;margin-right:6px}\n"
    ".scroll{overflow-x:auto}\n"
    "table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px;min-width:100%}\n"
    "th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}\n"
    "th{font-weight:600}thead th{vertical-align:bottom}thead small{display:block;color:var(--muted);font-weight:400}\n"
    "th.name,td.name{text-align:left}tbody tr.first th,tbody tr.first td{border-top:2px solid var(--line)}\n"
    "td.worse{color:var(--bad);font-weight:600}:root{--bad:#c0241f}\n"
    "@media(prefers-color-scheme:dark){:root{--bad:#ff8078}}\n"
    "details{margin-top:16px}summary{cursor:pointer;font-weight:600}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:4px 18px;margin:0}dt{color:var(--muted)}dd{margin:0}\n"
    "code{font:13px ui-monospace,'DejaVu Sans Mono',monospace;overflow-wrap:anywhere}\n";

/* How much a figure may rise above that of the same series at the training length before the table marks it. */
static const double worse_by = 0.1;

void html_text(FILE *file, const char *text) {
    for (const char *c = text; *c; c++) {
        switch (*c) {
        case '&':
            fputs("&amp;", file);
            break;
        case '<':
            fputs("&lt;", file);
            break;
        case '>':
            fputs("&gt;", file);
            break;
        case '"':
            fputs("&quot;", file);
            break;
        default:
            fputc(*c, file);
        }
    }
}

/* "Bits per byte" */
static void write_unit(const eval_report *report, FILE *file) {
    fprintf(file, "B%s", report->unit + 1);
}

static void write_head(const eval_report *report, FILE *file) {
    fputs("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<link rel=\"icon\" href=\"data:,\">\n<title>Loss against length</title>\n<style>\n",
          file);
    fputs(style, file);
    chart_colours(report, file);
    fputs("</style>\n</head>\n<body>\n<main>\n<h1>Loss against length</h1>\n<p class=\"lead\">", file);
    write_unit(report, file);
    fprintf(
        file,
        " over the last %zu positions of %zu windows of the text, for models evaluated beyond the length they were "
        "trained at. Every length predicts the same last tokens: a level line means that the system holds, a rising "
        "one that it falls apart.</p>\n",
        report->last, report->windows);
}

static void write_legend(const eval_report *report, FILE *file) {
    fputs("<figcaption>\n", file);
    for (size_t m = 0; m < report->n_models; m++) {
        fputs("<ul class=\"legend\"><li class=\"model\">", file);
        html_text(file, report->models[m].name);
        fputs("</li>", file);
        for (size_t i = 0; i < report->n_series; i++) {
            const report_series *series = &report->series[i];
            if (series->model_index != m) continue;
            fputs("<li>", file);
            chart_swatch(series, file);
            html_text(file, series->label);
            fputs("</li>", file);
        }
        fputs("</ul>\n", file);
    }
    fputs("</figcaption>\n", file);
}

/* The figure at the training length, or of the first length at all. */
static double at_training(const eval_report *report, const report_series *series, bool overall) {
    size_t index = 0;
    for (size_t i = 0; i < report->n_lengths; i++)
        if (report->lengths[i] <= report->models[series->model_index].train_length) index = i;
    return overall ? series->figures[index].all : series->figures[index].last;
}

static void write_table(const eval_report *report, FILE *file, bool overall) {
    const int64_t trained = report->models[0].train_length;
    fputs("<div class=\"scroll\"><table>\n<thead><tr><th class=\"name\">model</th><th class=\"name\">system</th>",
          file);
    for (size_t i = 0; i < report->n_lengths; i++) {
        fputs("<th>", file);
        if (report->lengths[i] % trained == 0)
            fprintf(file, "<small>%lld&times;</small>", (long long)(report->lengths[i] / trained));
        fprintf(file, "%lld</th>", (long long)report->lengths[i]);
    }
    fputs("<th>tokens/s</th></tr></thead>\n<tbody>\n", file);
    for (size_t s = 0; s < report->n_series; s++) {
        const report_series *series = &report->series[s];
        const bool first = s == 0 || series->model_index != report->series[s - 1].model_index;
        const double reference = at_training(report, series, overall);
        fprintf(file, "<tr%s><th class=\"name\">", first ? " class=\"first\"" : "");
        html_text(file, first ? series->model : "");
        fputs("</th><td class=\"name\">", file);
        chart_swatch(series, file);
        html_text(file, series->label);
        fputs("</td>", file);
        for (size_t i = 0; i < report->n_lengths; i++) {
            const double value = overall ? series->figures[i].all : series->figures[i].last;
            fprintf(file, "<td%s>%.3f</td>", value > reference + worse_by ? " class=\"worse\"" : "", value);
        }
        fprintf(file, "<td>%.0f</td></tr>\n", report_speed(report, series));
    }
    fputs("</tbody></table></div>\n", file);
}

static void write_item(FILE *file, const char *term, const char *text, bool code) {
    fprintf(file, "<dt>%s</dt><dd>%s", term, code ? "<code>" : "");
    html_text(file, text);
    fprintf(file, "%s</dd>\n", code ? "</code>" : "");
}

/* Every attention that ran, once. */
static void write_variants(const eval_report *report, FILE *file) {
    fputs("<dt>attention</dt><dd>", file);
    for (size_t i = 0; i < report->n_series; i++) {
        bool seen = false;
        for (size_t j = 0; j < i; j++)
            seen |= !strcmp(report->series[i].variant, report->series[j].variant);
        if (seen) continue;
        fputs(i ? ", <code>" : "<code>", file);
        html_text(file, report->series[i].variant);
        fputs("</code>", file);
    }
    fputs("</dd>\n", file);
}

static void write_facts(const eval_report *report, FILE *file) {
    char line[512];
    const rosace_device_info *device = report->device;
    fputs("<h2>How it was measured</h2>\n<dl>\n", file);
    snprintf(line, sizeof line, "%s (%s, %u compute units)", device->name, device_class_name(device->device_class),
             device->compute_units);
    write_item(file, "device", line, false);
    snprintf(line, sizeof line, "%s, %s, driver %s", device->platform_name, device->device_version,
             device->driver_version);
    write_item(file, "driver", line, false);
    for (size_t i = 0; i < report->n_models; i++) {
        const report_model *model = &report->models[i];
        snprintf(line, sizeof line, "%s: %s, %zu parameters, training length %lld", model->name, model->position,
                 model->parameters, (long long)model->train_length);
        write_item(file, "model", line, false);
    }
    snprintf(line, sizeof line, "%s, %zu bytes, %zu tokens", report->text ? report->text : "token ids",
             report->text_bytes, report->text_tokens);
    write_item(file, "text", line, false);
    write_variants(report, file);
    write_item(file, "command", report->command, true);
    write_item(file, "rosace", rosace_version(), false);
    fputs("</dl>\n", file);
}

bool report_write_html(const void *user, FILE *file) {
    const eval_report *report = user;
    write_head(report, file);
    fputs("<figure>\n", file);
    if (!chart_write(report, file)) return false;
    write_legend(report, file);
    fputs("</figure>\n<h2>", file);
    write_unit(report, file);
    fprintf(file, " over the last %zu positions</h2>\n", report->last);
    write_table(report, file, false);
    fprintf(file,
            "<p class=\"lead\">Red: more than %g above the same row's figure at the training length.</p>\n"
            "<details><summary>Over all positions</summary>\n",
            worse_by);
    write_table(report, file, true);
    fputs("</details>\n", file);
    write_facts(report, file);
    fputs("</main>\n</body>\n</html>\n", file);
    return true;
}
