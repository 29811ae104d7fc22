/* SPDX-License-Identifier: MIT
 * rosace tune: measures a device's kernels, shows what is known, forgets it. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <rosace/tune.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "report.h"

static const cli_command command = {
    .arguments = "",
    .intro = "Measures which of rosace's kernels and tile sizes are the fastest on a device, and keeps that beside the\n"
             "program cache, for every program that uses rosace there. Classes of shapes that are known are left alone, so a\n"
             "run that was stopped goes on where it was. Nothing else should use the device meanwhile.",
    .closing = "One line per class: the row that was chosen, its time, and what it gains over the rule of thumb. No answer depends\n"
               "on any of it, only speed. ROSACE_TUNING=off makes programs do without.\n"
               "Example: tune the best GPU for half a minute, then see what is known of it\n"
               "  rosace tune --device gpu --budget 30\n"
               "  rosace tune --device gpu --list",
};

typedef struct tune_options {
    char *device, *budget, *operations;
    int force, list, clear, json;
    rosace_tune_options tune;
} tune_options;

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* ---- Options ------------------------------------------------------------------------------------------------------ */

static bool parse_budget(const char *text, double *out)
{
    char *end = NULL;
    errno = 0;
    const double value = strtod(text, &end);
    if (end == text || *end || errno || !(value > 0.0) || !(value <= 1e6))
        return cli_fail("--budget %s: must be a number of seconds above 0", *text ? text : "''");
    *out = value;
    return true;
}

static bool parse_operations(const char *text, unsigned *out)
{
    static const struct {
        const char *name;
        unsigned flag;
    } names[] = {{"attention", ROSACE_TUNE_ATTENTION}, {"matmul", ROSACE_TUNE_MATMUL}, {"clblast", ROSACE_TUNE_CLBLAST}};
    *out = 0;
    for (const char *item = text;; item++) {
        const size_t length = strcspn(item, ",");
        unsigned flag = 0;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (strlen(names[i].name) == length && !strncmp(names[i].name, item, length)) flag = names[i].flag;
        if (!flag) return cli_fail("--op %s: must be attention, clblast, matmul, or several with commas", *text ? text : "''");
        *out |= flag;
        item += length;
        if (!*item) return true;
    }
}

static int parse(tune_options *o, int argc, const char **argv)
{
    const struct poptOption table[] = {
        {"device", 'd', POPT_ARG_STRING, &o->device, 0, "which device (see rosace devices)", "DEVICE"},
        {"budget", 'b', POPT_ARG_STRING, &o->budget, 0, "begin no measurement after this long (default 110)", "SECONDS"},
        {"op", '\0', POPT_ARG_STRING, &o->operations, 0, "attention, clblast, matmul, or several with commas (default: all)", "NAMES"},
        {"force", 'f', POPT_ARG_NONE, &o->force, 0, "measure what is known, too", NULL},
        {"list", 'l', POPT_ARG_NONE, &o->list, 0, "show what is known and measure nothing", NULL},
        {"clear", '\0', POPT_ARG_NONE, &o->clear, 0, "forget what is known and measure nothing", NULL},
        {"json", 'j', POPT_ARG_NONE, &o->json, 0, "print what is known afterwards as JSON, and nothing else", NULL},
        POPT_TABLEEND,
    };
    poptContext parsed;
    int status = cli_parse(&command, table, argc, argv, &parsed);
    if (status) return status;
    const char *extra = poptGetArg(parsed);
    if (extra) cli_fail("tune: unexpected argument '%s'", extra);
    if (extra) status = CLI_USAGE;
    poptFreeContext(parsed);
    o->tune = (rosace_tune_options)ROSACE_TUNE_OPTIONS_DEFAULT;
    o->tune.force = o->force;
    if (!status && o->list && o->clear) {
        cli_fail("--list and --clear: one of them");
        status = CLI_USAGE;
    }
    if (!status && o->budget && !parse_budget(o->budget, &o->tune.budget_seconds)) status = CLI_USAGE;
    if (!status && o->operations && !parse_operations(o->operations, &o->tune.operations)) status = CLI_USAGE;
    return status;
}

/* ---- Output ------------------------------------------------------------------------------------------------------- */

static void time_text(double microseconds, char *out, size_t bytes)
{
    if (!(microseconds > 0.0)) snprintf(out, bytes, "-");
    else if (microseconds < 1e3) snprintf(out, bytes, "%.1f us", microseconds);
    else if (microseconds < 1e6) snprintf(out, bytes, "%.2f ms", microseconds / 1e3);
    else snprintf(out, bytes, "%.2f s", microseconds / 1e6);
}

static void print_row(const rosace_tuned_class *t)
{
    char time[32], gain[160] = "as by rule of thumb";
    time_text(t->microseconds, time, sizeof time);
    if (strcmp(t->row, t->default_row) != 0) {
        if (t->microseconds > 0.0 && t->default_microseconds > 0.0)
            snprintf(gain, sizeof gain, "%.2fx %s", t->default_microseconds / t->microseconds, t->default_row);
        else
            snprintf(gain, sizeof gain, "instead of %s", *t->default_row ? t->default_row : "the rule of thumb");
    }
    printf("%-10s %-22s %-32s %10s  %s%s%s\n", t->operation, t->shape, t->row, time, gain, *t->date ? "  " : "", t->date);
}

typedef struct progress_state {
    bool terminal, quiet;
} progress_state;

static bool show(void *user, const rosace_tune_event *event)
{
    const progress_state *state = user;
    if (state->terminal) fputs("\r\033[K", stderr);
    if (event->warning) {
        fprintf(stderr, "rosace: %s\n", event->warning);
    } else if (event->finished) {
        if (!state->quiet)
            print_row(&(rosace_tuned_class){.operation = event->operation,
                                            .shape = event->shape,
                                            .row = event->row,
                                            .default_row = event->default_row,
                                            .date = "",
                                            .microseconds = event->microseconds,
                                            .default_microseconds = event->default_microseconds});
        fflush(stdout);
    } else if (state->terminal) {
        fprintf(stderr, "  %zu/%zu, %.0f s  %s, %s  %s", event->done, event->total, event->seconds, event->operation,
                event->shape, event->row);
    }
    return !interrupted;
}

static void print_visited(void *user, const rosace_tuned_class *tuned)
{
    *(size_t *)user += 1;
    print_row(tuned);
}

static void add_visited(void *user, const rosace_tuned_class *t)
{
    json_array_append_new(user, json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:s}", "operation", t->operation, "shape", t->shape,
                                          "row", t->row, "default_row", t->default_row, "microseconds", t->microseconds,
                                          "default_microseconds", t->default_microseconds, "date", t->date));
}

static bool print_json(rosace_context *context, const char *path)
{
    json_t *entries = json_array();
    if (rosace_tuned_visit(context, add_visited, entries)) {
        json_decref(entries);
        return cli_fail_rosace("tune");
    }
    json_t *root = json_pack("{s:i, s:s, s:o, s:s, s:o}", "schema", 1, "rosace", rosace_version(), "device",
                             device_json(rosace_context_device_info(context)), "path", path, "classes", entries);
    const bool ok = root && !json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    json_decref(root);
    putchar('\n');
    return ok || cli_fail("tune: cannot write JSON");
}

static bool print_list(rosace_context *context, const char *path)
{
    size_t count = 0;
    printf("%s: %s\n", rosace_context_device_info(context)->name, path);
    if (rosace_tuned_visit(context, print_visited, &count)) return cli_fail_rosace("tune");
    if (!count) printf("nothing is known of this device; rosace tune measures it\n");
    return true;
}

/* ---- The command -------------------------------------------------------------------------------------------------- */

static bool measure(const tune_options *o, rosace_context *context, const char *path)
{
    const rosace_device_info *device = rosace_context_device_info(context);
    progress_state state = {.terminal = isatty(STDERR_FILENO), .quiet = o->json};
    rosace_tune_options tune = o->tune;
    rosace_tune_result result = ROSACE_TUNE_RESULT_DEFAULT;
    tune.progress = show;
    tune.user = &state;
    /* The second one ends the program at once. */
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    fprintf(stderr, "device %u:%u: %s, driver %s, up to %.0f s\n", device->platform_index, device->device_index, device->name,
            device->driver_version, tune.budget_seconds);
    const rosace_status status = rosace_tune(context, &tune, &result);
    if (state.terminal) fputs("\r\033[K", stderr);
    if (status && status != ROSACE_IO_ERROR) return cli_fail_rosace("tune");
    fprintf(stderr, "%zu classes measured, %zu of them faster than by rule of thumb; %zu known before\n", result.measured,
            result.changed, result.known);
    if (result.wrong) cli_fail("tune: %zu rows gave no answer or a wrong one, and are not used", result.wrong);
    if (status) return cli_fail("tune: nothing was saved in %s", path);
    if (interrupted) return cli_fail("tune: stopped; what is measured is saved, and the next run goes on there");
    if (result.left) fprintf(stderr, "%zu classes are left: run it again to go on\n", result.left);
    return true;
}

static bool run(const tune_options *o)
{
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    rosace_context *context = NULL;
    char path[4096];
    desc.device = o->device;
    if (rosace_context_create(&desc, &context)) return cli_fail_rosace("tune");
    bool ok = !rosace_tuned_path(context, path, sizeof path) || cli_fail_rosace("tune");
    if (ok && o->clear) ok = !rosace_tuned_clear(context) || cli_fail_rosace("tune");
    if (ok && !o->clear && !o->list) ok = measure(o, context, path);
    if (ok && o->json) ok = print_json(context, path);
    else if (ok && o->list) ok = print_list(context, path);
    rosace_context_destroy(&context);
    return ok;
}

int cmd_tune(int argc, const char **argv)
{
    tune_options options = {.device = NULL};
    int status = parse(&options, argc, argv);
    if (!status) status = run(&options) ? CLI_OK : CLI_FAILURE;
    free(options.device);
    free(options.budget);
    free(options.operations);
    return status < 0 ? CLI_OK : status;
}
