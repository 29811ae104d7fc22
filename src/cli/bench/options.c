/* SPDX-License-Identifier: MIT */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"

static const char intro[] =
    "Measures the library's operations on a device, against the limits of that device measured in the same run.\n\n"
    "Each case runs in turn with its bound: a kernel that does nothing but multiply and add (fma), copy, change a\n"
    "tensor in place (update) or read. A case is reported with its median, its fastest sample and their share of the\n"
    "bound. Options for sizes take lists, and replace that size in every case of the operations that have it.";
static const char example[] =
    "Example: how the time of a window grows with the text\n"
    "  rosace bench --op attention --case window --seq 4096,16384,65536 --window 512 --head-dim 64";

/* Whether `word` is an item of a list; an absent list holds everything. */
static bool listed(const char *list, const char *word) {
    if (!list) return true;
    const size_t length = strlen(word);
    for (const char *item = list; item; item = strchr(item, ',')) {
        item += strspn(item, ", ");
        if (!strncmp(item, word, length) && (item[length] == ',' || !item[length])) return true;
    }
    return false;
}

static bool wanted(const bench_options *o, const bench_op *op) {
    return listed(o->ops, op->op) && (!o->kinds || (op->kind && listed(o->kinds, op->kind)));
}

/* Every item of a list names something; `kind`: what the items are. */
static bool check_list(const char *option, const char *list, bool kind) {
    char known[256] = "", item[64];
    for (const char *at = list; at; at = strchr(at, ',')) {
        at += strspn(at, ", ");
        snprintf(item, sizeof item, "%.*s", (int)strcspn(at, ","), at);
        bool found = false;
        *known = '\0';
        for (size_t i = 0; bench_ops[i]; i++) {
            const char *name = kind ? bench_ops[i]->kind : bench_ops[i]->op;
            if (!name) continue;
            found |= !strcmp(name, item);
            if (*known && listed(known, name)) continue;
            if (*known) strcat(known, ",");
            strcat(known, name);
        }
        if (!found) return cli_fail("%s '%s': known are %s", option, item, known);
    }
    return true;
}

static bool names_axis(const char *sweep, int axis) {
    const size_t length = strlen(bench_axes[axis].option);
    for (const char *at = sweep; (at = strstr(at, bench_axes[axis].option)); at++)
        if ((at == sweep || at[-1] == ' ') && at[length] == '=') return true;
    return false;
}

static bool make_cases(bench_options *o) {
    const char *given[N_AXES];
    bool used[N_AXES] = {false};
    for (int axis = 0; axis < N_AXES; axis++)
        given[axis] = o->given[axis];
    for (size_t i = 0; bench_ops[i]; i++) {
        const bench_op *op = bench_ops[i];
        const char *sweep = o->quick ? op->quick : op->sweep;
        if (!wanted(o, op)) continue;
        for (int axis = 0; axis < N_AXES; axis++)
            used[axis] |= names_axis(sweep, axis);
        if (!bench_cases_add(&o->cases, op, sweep, given)) return false;
    }
    if (!o->cases.count) return cli_fail("--op %s --case %s: there is no such case", o->ops ? o->ops : "", o->kinds);
    for (int axis = 0; axis < N_AXES; axis++)
        if (given[axis] && !used[axis])
            return cli_fail("--%s: none of the chosen operations has it", bench_axes[axis].option);
    return true;
}

static bool parse_seconds(const char *text, double *out) {
    char *end = NULL;
    errno = 0;
    *out = strtod(text, &end);
    if (end == text || *end || errno || !(*out > 0.0 && *out <= 3600.0))
        return cli_fail("--seconds %s: must be a number above 0, at most 3600", *text ? text : "''");
    return true;
}

static bool parse_values(bench_options *o, const char *seconds, const char *repeat, const char *tensor) {
    int64_t rounds = 0, mib = o->quick ? 4 : 256;
    o->limits = o->quick ? (timing_limits){.seconds = 0.05, .sample_seconds = 1e-4, .least = 3, .most = 50}
                         : (timing_limits){.seconds = 3.0, .sample_seconds = 2e-3, .least = 5, .most = 2000};
    if (seconds && !parse_seconds(seconds, &o->limits.seconds)) return false;
    if (repeat) {
        if (!cli_parse_integer("--repeat", repeat, 1, 1 << 20, &rounds)) return false;
        o->limits.least = o->limits.most = (size_t)rounds;
    }
    if (tensor && !cli_parse_integer("--tensor", tensor, 1, 1 << 16, &mib)) return false;
    o->tensor_bytes = (size_t)mib << 20;
    return check_list("--op", o->ops, false) && check_list("--case", o->kinds, true) && make_cases(o);
}

/* The operations for --help, from their table. */
static void print_ops(char *out, size_t bytes) {
    size_t used = (size_t)snprintf(out, bytes, "Operations:\n");
    for (size_t i = 0; bench_ops[i] && used < bytes; i++) {
        const bench_op *op = bench_ops[i];
        used += (size_t)snprintf(out + used, bytes - used, "  %-10s %-7s %s; bound: %s\n", op->op,
                                 op->kind ? op->kind : "", op->about, roof_name(op->bound));
    }
    if (used < bytes) snprintf(out + used, bytes - used, "\n%s", example);
}

int bench_options_parse(bench_options *out, int argc, const char **argv) {
    memset(out, 0, sizeof *out);
    char *seconds = NULL, *repeat = NULL, *tensor = NULL, closing[2048];
    int quick = 0, costs = 0, verbose = 0;
    enum { FIXED = 10 };
    struct poptOption options[FIXED + N_AXES + 1] = {
        {"op", 'o', POPT_ARG_STRING, &out->ops, 0, "operations (default all)", "NAME,..."},
        {"case", 'c', POPT_ARG_STRING, &out->kinds, 0, "cases of attention: causal, window, decode", "NAME,..."},
        {"device", 'd', POPT_ARG_STRING, &out->device, 0,
         "auto, cpu, gpu, igpu, dgpu, P:D or part of a name; several with commas (default auto)", "DEVICE"},
        {"seconds", 's', POPT_ARG_STRING, &seconds, 0, "time for the samples of a case (default 3)", "S"},
        {"repeat", 'r', POPT_ARG_STRING, &repeat, 0, "number of samples, whatever time they take", "N"},
        {"tensor", '\0', POPT_ARG_STRING, &tensor, 0,
         "size of the tensors that bandwidth is measured on, above that of the caches (default 256)", "MIB"},
        {"quick", 'q', POPT_ARG_NONE, &quick, 0, "small sizes and few samples: whether all of it runs", NULL},
        {"costs", '\0', POPT_ARG_NONE, &costs, 0,
         "also what operations cost besides their work: plans with cold and warm caches, first calls, launches", NULL},
        {"json", 'j', POPT_ARG_STRING, &out->json, 0, "write the figures as JSON", "FILE"},
        {"verbose", 'v', POPT_ARG_NONE, &verbose, 0, "what the library logs", NULL},
    };
    for (int axis = 0; axis < N_AXES; axis++)
        options[FIXED + axis] = (struct poptOption){bench_axes[axis].option, '\0', POPT_ARG_STRING, &out->given[axis],
                                                    0, bench_axes[axis].about, "LIST"};
    options[FIXED + N_AXES] = (struct poptOption)POPT_TABLEEND;
    print_ops(closing, sizeof closing);
    const cli_command command = {.arguments = "", .intro = intro, .closing = closing};
    poptContext parsed;
    int status = cli_parse(&command, options, argc, argv, &parsed);
    if (!status) {
        const char *extra = poptGetArg(parsed);
        out->quick = quick != 0;
        out->costs = costs != 0;
        out->verbose = verbose != 0;
        out->command_line = cli_command_line(argc, argv);
        if (extra) cli_fail("bench: unexpected argument '%s'", extra);
        if (extra || !out->command_line || !parse_values(out, seconds, repeat, tensor)) status = CLI_USAGE;
    }
    free(seconds);
    free(repeat);
    free(tensor);
    if (parsed) poptFreeContext(parsed);
    return status;
}

void bench_options_free(bench_options *options) {
    char *const strings[] = {options->ops, options->kinds, options->device, options->json, options->command_line};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        free(strings[i]);
    for (int axis = 0; axis < N_AXES; axis++)
        free(options->given[axis]);
    bench_cases_free(&options->cases);
}
