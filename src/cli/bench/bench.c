/* SPDX-License-Identifier: MIT
 * rosace bench: each case in turn with the rooflines it is compared with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "../output.h"
#include "options.h"
#include "results.h"

/* One case while it is measured. */
typedef struct running_case {
    bench_device *device;
    const bench_op *op;
    void *state;
} running_case;

static bool run_case(void *user, size_t calls) {
    running_case *running = user;
    for (size_t i = 0; i < calls; i++)
        if (!running->op->enqueue(running->device, running->state)) return false;
    return bench_finish(running->device);
}

static bool measure(bench_device *device, rooflines *roofs, const bench_options *options, const bench_case *which,
                    bench_result *out) {
    running_case running = {.device = device, .op = which->op};
    timing_entry entries[1 + N_ROOFS] = {{.run = run_case, .user = &running}};
    roof_kind kinds[1 + N_ROOFS];
    size_t n = 1;
    *out = (bench_result){.which = which};
    bool ok = which->op->create(device, &which->sizes, &running.state, &out->work);
    if (ok && which->op->plan) ok = which->op->plan(device, running.state, &out->work);
    for (int kind = 0; ok && kind < N_ROOFS; kind++) {
        if (kind != (int)which->op->bound && !(which->op->beside >> kind & 1)) continue;
        ok = rooflines_entry(roofs, (roof_kind)kind, &entries[n]);
        kinds[n++] = (roof_kind)kind;
    }
    ok = ok && timing_interleave(entries, n, &options->limits);
    if (ok) {
        out->time = timing_statistics(&entries[0]);
        for (size_t i = 1; i < n; i++) {
            bench_roof *roof = &out->roofs[kinds[i]];
            const roof_launch *launch = &roofs->launch[kinds[i]];
            roof->measured = true;
            roof->time = timing_statistics(&entries[i]);
            roof->work = launch->work;
            snprintf(roof->variant, sizeof roof->variant, "%s", launch->variant);
        }
    } else {
        cli_fail("%s: not measured", which->name);
    }
    timing_free(entries, n);
    if (running.state) which->op->destroy(running.state);
    return ok;
}

static bool run(const bench_options *options, const bench_costs *costs, size_t n_costs) {
    bench_device device;
    rooflines roofs;
    bench_result *results = cli_calloc(options->cases.count, sizeof *results);
    bool ok = bench_device_open(&device, options->device, options->verbose) && results;
    if (ok) {
        rooflines_init(&roofs, &device, options->tensor_bytes);
        printf("device %u:%u: %s, driver %s (%s)\n", device.info->platform_index, device.info->device_index,
               device.info->name, device.info->driver_version, device.info->platform_name);
        for (size_t i = 0; ok && i < options->cases.count; i++) {
            ok = measure(&device, &roofs, options, &options->cases.list[i], &results[i]);
            if (ok) bench_print_row(&results[i], i ? &results[i - 1] : NULL);
        }
        const bench_report report = {
            .command = options->command_line,
            .device = device.info,
            .quick = options->quick,
            .tensor_bytes = roofs.bytes,
            .seconds = options->limits.seconds,
            .results = results,
            .n_results = options->cases.count,
            .costs = costs,
            .n_costs = n_costs,
        };
        if (ok) bench_print_roofs(&report);
        if (ok) bench_print_costs(&report);
        if (ok && options->json) ok = output_save(options->json, bench_write_json, &report);
        rooflines_free(&roofs);
    }
    bench_device_close(&device);
    free(results);
    return ok;
}

int cmd_bench(int argc, const char **argv) {
    bench_options options;
    bench_costs *costs = NULL;
    size_t n_costs = 0;
    int status = bench_options_parse(&options, argc, argv);
    if (!status && options.json && !output_check("--json", options.json)) status = CLI_FAILURE;
    /* First, since it starts processes, which OpenCL does not survive. */
    if (!status && options.costs && !bench_costs_measure(&options, &costs, &n_costs)) status = CLI_FAILURE;
    if (!status) status = run(&options, costs, n_costs) ? CLI_OK : CLI_FAILURE;
    free(costs);
    bench_options_free(&options);
    return status < 0 ? CLI_OK : status;
}
