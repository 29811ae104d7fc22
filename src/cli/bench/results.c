/* SPDX-License-Identifier: MIT */
#include "results.h"

#include <string.h>
#include <time.h>

#include "../report.h"

static double safe_ratio(double work, double seconds) {
    return seconds > 0.0 ? work / seconds : 0.0;
}

double bench_roof_rate(const bench_roof *roof) {
    return roof->measured ? safe_ratio(roof->work, roof->time.min) : 0.0;
}

static double case_work(const bench_result *result) {
    return result->which->op->bound == ROOF_FMA ? result->work.flops : result->work.bytes;
}

static double share(const bench_result *result, double seconds) {
    const double roof = bench_roof_rate(&result->roofs[result->which->op->bound]);
    return roof > 0.0 ? safe_ratio(case_work(result), seconds) / roof : 0.0;
}

double bench_share(const bench_result *result) {
    return share(result, result->time.median);
}

double bench_share_best(const bench_result *result) {
    return share(result, result->time.min);
}

/* ---- Text -------------------------------------------------------------------------------------------------------- */

/* A rate in 10^9 per second, or "-" for what is not counted. */
static void rate_text(double work, double seconds, char *out, size_t bytes) {
    if (work > 0.0)
        snprintf(out, bytes, "%.1f", safe_ratio(work, seconds) * 1e-9);
    else
        snprintf(out, bytes, "-");
}

static void seconds_text(double seconds, char *out, size_t bytes) {
    if (seconds < 1e-3)
        snprintf(out, bytes, "%.1f us", seconds * 1e6);
    else if (seconds < 1.0)
        snprintf(out, bytes, "%.3g ms", seconds * 1e3);
    else
        snprintf(out, bytes, "%.3g s", seconds);
}

void bench_print_row(const bench_result *result, const bench_result *previous) {
    const bench_op *op = result->which->op;
    char median[32], least[32], flops[32], bytes[32];
    if (!previous || strcmp(previous->which->op->op, op->op))
        printf("\n%-56s %10s %10s %7s %8s %7s  %6s %6s\n", op->op, "median", "min", "spread", "GFLOP/s", "GB/s", "of",
               "best");
    seconds_text(result->time.median, median, sizeof median);
    seconds_text(result->time.min, least, sizeof least);
    rate_text(result->work.flops, result->time.median, flops, sizeof flops);
    rate_text(result->work.bytes, result->time.median, bytes, sizeof bytes);
    printf("%-56s %10s %10s %6.1f%% %8s %7s  %5.1f%% %5.1f%% of %s", result->which->name, median, least,
           100.0 * result->time.spread, flops, bytes, 100.0 * bench_share(result), 100.0 * bench_share_best(result),
           roof_name(op->bound));
    if (*result->work.variant) printf("  %s", result->work.variant);
    putchar('\n');
    fflush(stdout);
}

void bench_print_roofs(const bench_report *report) {
    putchar('\n');
    for (int kind = 0; kind < N_ROOFS; kind++) {
        double best = 0.0, median_sum = 0.0;
        size_t n = 0;
        const char *variant = "";
        for (size_t i = 0; i < report->n_results; i++) {
            const bench_roof *roof = &report->results[i].roofs[kind];
            if (!roof->measured) continue;
            if (bench_roof_rate(roof) > best) best = bench_roof_rate(roof);
            median_sum += safe_ratio(roof->work, roof->time.median);
            variant = roof->variant;
            n++;
        }
        if (n)
            printf("%-7s best %.1f %s, %.1f by the medians (%s)\n", roof_name((roof_kind)kind), best * 1e-9,
                   roof_unit((roof_kind)kind), median_sum / (double)n * 1e-9, variant);
    }
    printf("Rates are by the median. \"of\": the median against the fastest sample of the bound; \"best\": the\n"
           "fastest against the fastest. GFLOP/s count visible pairs alone, GB/s the bytes that must move.\n");
}

void bench_print_costs(const bench_report *report) {
    if (!report->n_costs) return;
    printf("\n%-20s %10s %10s %10s %10s %10s %10s %10s %10s\n", "costs", "plan,cold", "call 1", "plan,warm", "call 1",
           "call n", "queued", "above none", "enqueue");
    for (size_t i = 0; i < report->n_costs; i++) {
        const bench_costs *c = &report->costs[i];
        const double seconds[] = {c->plan_cold, c->first_cold, c->plan_warm, c->first_warm,
                                  c->call,      c->queued,     c->queued - c->queued_empty, c->enqueue};
        char name[64];
        snprintf(name, sizeof name, "%s%s%s", c->op->op, c->op->kind ? " " : "", c->op->kind ? c->op->kind : "");
        printf("%-20s", name);
        for (size_t j = 0; j < sizeof seconds / sizeof *seconds; j++) {
            char text[32] = "-";
            if (c->op->plan || (j != 0 && j != 2)) seconds_text(seconds[j], text, sizeof text);
            printf(" %10s", text);
        }
        putchar('\n');
    }
    printf("Smallest sizes. Cold: no kernel cached on disk, warm: by an earlier process. Queued: a call among many\n"
           "behind each other; above none: that less an empty kernel's; enqueue: until a call returns.\n");
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static json_t *time_json(const timing_stats *time) {
    return json_pack("{s:f, s:f, s:f, s:I}", "median", time->median, "min", time->min, "spread", time->spread,
                     "samples", (json_int_t)time->count);
}

static json_t *sizes_json(const bench_sizes *sizes) {
    json_t *out = json_object();
    for (int axis = 0; axis < N_AXES; axis++) {
        char text[32];
        if (!sizes->has[axis]) continue;
        bench_axis_text((bench_axis)axis, sizes->at[axis], text, sizeof text);
        json_object_set_new(out, bench_axes[axis].option,
                            bench_axes[axis].choices ? json_string(text) : json_integer((json_int_t)sizes->at[axis]));
    }
    return out;
}

static json_t *roofs_json(const bench_result *result) {
    json_t *out = json_object();
    for (int kind = 0; kind < N_ROOFS; kind++) {
        const bench_roof *roof = &result->roofs[kind];
        if (!roof->measured) continue;
        json_object_set_new(out, roof_name((roof_kind)kind),
                            json_pack("{s:s, s:f, s:f, s:o, s:s}", "unit", roof_unit((roof_kind)kind), "best",
                                      bench_roof_rate(roof) * 1e-9, "median",
                                      safe_ratio(roof->work, roof->time.median) * 1e-9, "seconds",
                                      time_json(&roof->time), "variant", roof->variant));
    }
    return out;
}

static json_t *result_json(const bench_result *result) {
    const bench_op *op = result->which->op;
    return json_pack("{s:s, s:s, s:s?, s:o, s:s, s:o, s:f, s:f, s:f, s:f, s:s, s:f, s:f, s:o}", "name",
                     result->which->name, "op", op->op, "case", op->kind, "sizes", sizes_json(&result->which->sizes),
                     "variant", result->work.variant, "seconds", time_json(&result->time), "flops", result->work.flops,
                     "bytes", result->work.bytes, "gflops_per_second",
                     safe_ratio(result->work.flops, result->time.median) * 1e-9, "gbytes_per_second",
                     safe_ratio(result->work.bytes, result->time.median) * 1e-9, "bound", roof_name(op->bound), "share",
                     bench_share(result), "share_best", bench_share_best(result), "rooflines", roofs_json(result));
}

static json_t *costs_json(const bench_costs *c) {
    return json_pack("{s:s, s:s?, s:o, s:f, s:o, s:f, s:f, s:f, s:f, s:f, s:f}", "op", c->op->op, "case", c->op->kind,
                     "plan_cold", c->op->plan ? json_real(c->plan_cold) : json_null(), "first_cold", c->first_cold,
                     "plan_warm", c->op->plan ? json_real(c->plan_warm) : json_null(), "first_warm", c->first_warm,
                     "call", c->call, "queued", c->queued, "queued_empty", c->queued_empty, "enqueue", c->enqueue,
                     "enqueue_empty", c->enqueue_empty);
}

bool bench_write_json(const void *user, FILE *file) {
    const bench_report *report = user;
    json_t *results = json_array(), *costs = json_array();
    for (size_t i = 0; i < report->n_costs; i++)
        json_array_append_new(costs, costs_json(&report->costs[i]));
    for (size_t i = 0; i < report->n_results; i++)
        json_array_append_new(results, result_json(&report->results[i]));
    char date[32] = "";
    const time_t now = time(NULL);
    const struct tm *utc = gmtime(&now);
    if (utc) strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", utc);
    json_t *root = json_pack("{s:i, s:s, s:s, s:s, s:o, s:b, s:I, s:f, s:o, s:o}", "schema", 1, "rosace",
                             rosace_version(), "date", date, "command", report->command, "device",
                             device_json(report->device), "quick", report->quick, "tensor_bytes",
                             (json_int_t)report->tensor_bytes, "seconds_per_case", report->seconds, "results", results,
                             "costs", costs);
    const bool ok =
        root && !json_dumpf(root, file, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) && fputc('\n', file) != EOF;
    json_decref(root);
    return ok || cli_fail("the figures cannot be made into JSON");
}
