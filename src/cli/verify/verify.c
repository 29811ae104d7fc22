/* SPDX-License-Identifier: MIT
 * rosace verify: every system, path, data type and direction on a device against the reference in double precision. */
#include "verify.h"

#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "../output.h"

const char *const verify_path_names[VERIFY_PATHS] = {"rotate", "fused", "decode", "gemm"};
const verify_direction verify_directions[] = {{"forward", verify_forward}, {.name = NULL}};

static const cli_command command = {
    .arguments = "",
    .intro = "Computes every position system, mask and attention feature on a device, on every path, in every data type and\n"
             "direction, and compares the results with a reference in double precision.",
    .closing = "Of each cell: the largest error, absolute and in units in the last place of the data type, and the largest share of\n"
               "what rounding in this computation may amount to (of log-sum-exps, too). More than that is a failure and the\n"
               "exit status 1. What a path or device cannot do is shown with the library's reason, and is none.\n"
               "Example: bf16 on the decode path of the best GPU\n"
               "  rosace verify --device gpu --dtype bf16 --path decode --json cells.json",
};

typedef struct verify_options {
    char *device, *systems, *paths, *dtypes, *directions, *json, *command_line;
    int quick, list, verbose;
} verify_options;

/* ---- Options ------------------------------------------------------------------------------------------------------- */

/* Whether `name` is in a list with commas; NULL has every name. */
static bool is_in(const char *list, const char *name)
{
    const size_t length = strlen(name);
    for (const char *item = list; item; item = strchr(item, ',') ? strchr(item, ',') + 1 : NULL)
        if (strcspn(item, ",") == length && !strncmp(item, name, length)) return true;
    return !list;
}

static const char *system_at(size_t i) { return verify_systems[i].name; }
static const char *path_at(size_t i) { return i < VERIFY_PATHS ? verify_path_names[i] : NULL; }
static const char *dtype_at(size_t i) { return i < VERIFY_DTYPES ? rosace_dtype_name((rosace_dtype)i) : NULL; }
static const char *direction_at(size_t i) { return verify_directions[i].name; }

/* Every item of a list is a name that there is. */
static bool check_list(const char *option, const char *list, const char *(*name_at)(size_t), const char *help)
{
    for (const char *item = list; item; item = strchr(item, ',') ? strchr(item, ',') + 1 : NULL) {
        const size_t length = strcspn(item, ",");
        size_t i = 0;
        while (name_at(i) && (strlen(name_at(i)) != length || strncmp(name_at(i), item, length))) i++;
        if (!name_at(i)) return cli_fail("%s %s: '%.*s': must be %s", option, list, (int)length, item, help);
    }
    return true;
}

static int parse(verify_options *o, int argc, const char **argv)
{
    const struct poptOption table[] = {
        {"device", 'd', POPT_ARG_STRING, &o->device, 0, "which device (see rosace devices)", "DEVICE"},
        {"system", 's', POPT_ARG_STRING, &o->systems, 0, "some systems (see --list)", "NAME,..."},
        {"path", 'p', POPT_ARG_STRING, &o->paths, 0, "some of rotate, fused, decode, gemm", "NAME,..."},
        {"dtype", 't', POPT_ARG_STRING, &o->dtypes, 0, "some of f32, f16, bf16", "NAME,..."},
        {"direction", '\0', POPT_ARG_STRING, &o->directions, 0, "some of the directions", "NAME,..."},
        {"quick", 'q', POPT_ARG_NONE, &o->quick, 0, "a few systems in smaller sizes", NULL},
        {"list", 'l', POPT_ARG_NONE, &o->list, 0, "print the systems and their sources, and end", NULL},
        {"json", 'j', POPT_ARG_STRING, &o->json, 0, "write the cells as JSON", "FILE"},
        {"verbose", 'v', POPT_ARG_NONE, &o->verbose, 0, "what the library logs", NULL},
        POPT_TABLEEND,
    };
    poptContext parsed;
    int status = cli_parse(&command, table, argc, argv, &parsed);
    if (status) return status;
    const char *extra = poptGetArg(parsed);
    o->command_line = cli_command_line(argc, argv);
    if (extra) cli_fail("verify: unexpected argument '%s'", extra);
    if (extra || !o->command_line || !check_list("--system", o->systems, system_at, "one that --list shows") ||
        !check_list("--path", o->paths, path_at, "rotate, fused, decode or gemm") ||
        !check_list("--dtype", o->dtypes, dtype_at, "f32, f16 or bf16") ||
        !check_list("--direction", o->directions, direction_at, "forward"))
        status = CLI_USAGE;
    poptFreeContext(parsed);
    return status;
}

/* ---- The command --------------------------------------------------------------------------------------------------- */

bool verify_applies(const verify_system *system, verify_path path)
{
    if (path == VERIFY_ROTATE) return system->rope.theta > 0.0 || system->sinusoidal;
    return !system->rotate_only;
}

static bool is_wanted(const verify_options *o, const verify_system *system, verify_path path)
{
    return is_in(o->systems, system->name) && (!o->quick || o->systems || system->quick) && is_in(o->paths, verify_path_names[path]) &&
           verify_applies(system, path);
}

static void log_line(void *user, rosace_log_level level, const char *message)
{
    if (level <= ROSACE_LOG_WARNING || user) fprintf(stderr, "rosace: %s\n", message);
}

static bool open_device(verify_options *o, verify_device *device)
{
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    cl_int code = CL_SUCCESS;
    desc.device = o->device;
    desc.log = log_line;
    desc.log_user = o->verbose ? o : NULL;
    device->quick = o->quick;
    if (rosace_context_create(&desc, &device->context)) return cli_fail_rosace("verify");
    device->queue = clCreateCommandQueue(rosace_context_cl(device->context), rosace_context_cl_device(device->context), 0, &code);
    return device->queue || cli_fail_cl(code, "verify: clCreateCommandQueue");
}

/* One line: a system on a path in a direction, in all data types. */
static bool run_row(const verify_options *o, const verify_device *device, const verify_system *system, verify_path path,
                    const verify_direction *direction, verify_report *report, verify_cell *cells)
{
    size_t count = 0;
    for (rosace_dtype dtype = ROSACE_F32; dtype < VERIFY_DTYPES; dtype++) {
        if (!is_in(o->dtypes, rosace_dtype_name(dtype))) continue;
        verify_cell *cell = &cells[count++];
        *cell = (verify_cell){.system = system, .path = path, .dtype = dtype, .direction = direction->name, .outcome = VERIFY_FAILED};
        if (!direction->run(device, cell))
            return cli_fail("verify: %s, %s, %s, %s was not completed", system->name, verify_path_names[path],
                            rosace_dtype_name(dtype), direction->name);
        report->outcomes[cell->outcome]++;
    }
    report->count += count;
    verify_print_row(cells, count);
    return true;
}

static bool run_all(const verify_options *o, const verify_device *device, verify_report *report, verify_cell *cells)
{
    const rosace_device_info *info = report->device;
    unsigned dtypes = 0;
    for (rosace_dtype d = ROSACE_F32; d < VERIFY_DTYPES; d++) dtypes |= (unsigned)is_in(o->dtypes, rosace_dtype_name(d)) << d;
    printf("device %u:%u: %s, driver %s (%s)\n", info->platform_index, info->device_index, info->name, info->driver_version,
           info->platform_name);
    verify_print_header(dtypes);
    for (const verify_system *system = verify_systems; system->name; system++)
        for (verify_path path = VERIFY_ROTATE; path < VERIFY_PATHS; path++)
            for (const verify_direction *direction = verify_directions; direction->name && is_wanted(o, system, path); direction++)
                if (is_in(o->directions, direction->name) &&
                    !run_row(o, device, system, path, direction, report, cells + report->count))
                    return false;
    if (!report->count) return cli_fail("verify: no system of those has one of those paths");
    printf("%zu cells: %zu passed, %zu failed, %zu not possible here\n", report->count, report->outcomes[VERIFY_PASSED],
           report->outcomes[VERIFY_FAILED], report->outcomes[VERIFY_DECLINED]);
    return true;
}

static bool run(verify_options *o)
{
    verify_device device = {.context = NULL};
    size_t n_systems = 0, n_directions = 0;
    while (verify_systems[n_systems].name) n_systems++;
    while (verify_directions[n_directions].name) n_directions++;
    verify_cell *cells = cli_calloc(n_systems * VERIFY_PATHS * VERIFY_DTYPES * n_directions, sizeof *cells);
    bool ok = cells && (!o->json || output_check("--json", o->json)) && open_device(o, &device);
    verify_report report = {.command = o->command_line, .cells = cells};
    if (ok) {
        report.device = rosace_context_device_info(device.context);
        ok = run_all(o, &device, &report, cells);
        if (ok && o->json) ok = output_save(o->json, verify_write_json, &report);
        if (ok && report.outcomes[VERIFY_FAILED]) ok = cli_fail("verify: %zu of %zu cells failed", report.outcomes[VERIFY_FAILED], report.count);
    }
    if (device.queue) clReleaseCommandQueue(device.queue);
    rosace_context_destroy(&device.context);
    free(cells);
    return ok;
}

int cmd_verify(int argc, const char **argv)
{
    verify_options options = {.device = NULL};
    int status = parse(&options, argc, argv);
    if (!status && options.list)
        for (const verify_system *system = verify_systems; system->name; system++) printf("%-22s %s\n", system->name, system->source);
    else if (!status) status = run(&options) ? CLI_OK : CLI_FAILURE;
    char *const strings[] = {options.device, options.systems, options.paths, options.dtypes, options.directions, options.json,
                             options.command_line};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) free(strings[i]);
    return status < 0 ? CLI_OK : status;
}
