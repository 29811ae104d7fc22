/* SPDX-License-Identifier: MIT
 * rosace devices: what there is, in a table, in full (-v) or as JSON. */
#include <inttypes.h>
#include <jansson.h>
#include <rosace/tune.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "report.h"

static const cli_command command = {
    .arguments = "",
    .intro = "Lists the OpenCL devices of this machine, one a line:\n"
             "  P:D       how to name the device in --device and ROSACE_DEVICE\n"
             "  class     cpu, integrated (a GPU that shares the host's memory), discrete, other\n"
             "  fp16      arithmetic in half precision (storage in half precision works everywhere)\n"
             "  CUs       compute units\n"
             "  sub       subgroups, and their sizes where the driver tells\n"
             "The device marked * is the one rosace takes when told nothing, or by ROSACE_DEVICE where that is set.",
    .closing = "Example: see why a device is preferred, then run on another one\n"
               "  rosace devices -v\n"
               "  rosace eval models/rope --text models/heldout.txt --device 1:0",
};

const char *device_class_name(rosace_device_class device_class) {
    switch (device_class) {
    case ROSACE_DEVICE_CPU:
        return "cpu";
    case ROSACE_DEVICE_INTEGRATED:
        return "integrated";
    case ROSACE_DEVICE_DISCRETE:
        return "discrete";
    default:
        return "other";
    }
}

static void sub_group_text(const rosace_device_info *device, char *out, size_t bytes) {
    if (!device->has_subgroups) {
        snprintf(out, bytes, "no");
        return;
    }
    size_t used = (size_t)snprintf(out, bytes, "yes");
    for (unsigned i = 0; i < device->n_sub_group_sizes && i < 8; i++)
        if (device->sub_group_sizes[i] && used < bytes)
            used += (size_t)snprintf(out + used, bytes - used, "%s%u", i ? "," : " ", device->sub_group_sizes[i]);
}

static void memory_text(uint64_t bytes, char *out, size_t out_bytes) {
    const double mib = (double)bytes / (1 << 20);
    if (mib >= 1024)
        snprintf(out, out_bytes, "%.1f GiB", mib / 1024);
    else if (mib >= 1)
        snprintf(out, out_bytes, "%.0f MiB", mib);
    else
        snprintf(out, out_bytes, "%" PRIu64 " KiB", bytes >> 10);
}

static bool same_device(const rosace_device_info *a, const rosace_device_info *b) {
    return a->platform_index == b->platform_index && a->device_index == b->device_index;
}

/* The width of a column for texts of these lengths, within reason. */
static int widen(int width, const char *text) {
    const size_t length = strlen(text);
    return length > 52 ? 52 : (int)length > width ? (int)length : width;
}

static void print_table(const rosace_device_info *devices, size_t count, const rosace_device_info *chosen) {
    int name = 4, driver = 6;
    for (size_t i = 0; i < count; i++) {
        name = widen(name, devices[i].name);
        driver = widen(driver, devices[i].driver_version);
    }
    printf("  %-5s %-10s %-*s %-*s %4s %9s  %-4s %s\n", "P:D", "class", name, "name", driver, "driver", "CUs", "memory",
           "fp16", "sub");
    for (size_t i = 0; i < count; i++) {
        const rosace_device_info *d = &devices[i];
        char id[24], memory[32], sub[64];
        snprintf(id, sizeof id, "%u:%u", d->platform_index, d->device_index);
        memory_text(d->global_memory_bytes, memory, sizeof memory);
        sub_group_text(d, sub, sizeof sub);
        printf("%c %-5s %-10s %-*.*s %-*.*s %4u %9s  %-4s %s\n", chosen && same_device(d, chosen) ? '*' : ' ', id,
               device_class_name(d->device_class), name, name, d->name, driver, driver, d->driver_version,
               d->compute_units, memory, d->has_fp16 ? "yes" : "no", sub);
    }
}

typedef struct tuned_summary {
    size_t classes;
    char first[16], last[16]; /* dates */
} tuned_summary;

static void add_tuned(void *user, const rosace_tuned_class *tuned) {
    tuned_summary *summary = user;
    if (!summary->classes++) snprintf(summary->first, sizeof summary->first, "%s", tuned->date);
    if (strcmp(tuned->date, summary->first) < 0) snprintf(summary->first, sizeof summary->first, "%s", tuned->date);
    if (strcmp(tuned->date, summary->last) > 0) snprintf(summary->last, sizeof summary->last, "%s", tuned->date);
}

/* A context knows what was measured; a device that gives none has not been tuned either. */
static void print_tuned(const rosace_device_info *d) {
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    rosace_context *context = NULL;
    tuned_summary summary = {.classes = 0};
    char id[24];
    snprintf(id, sizeof id, "%u:%u", d->platform_index, d->device_index);
    desc.device = id;
    if (d->score >= 0 && !rosace_context_create(&desc, &context)) {
        if (rosace_tuned_visit(context, add_tuned, &summary)) summary.classes = 0;
        rosace_context_destroy(&context);
    }
    if (!summary.classes) printf("  tuned             no (rosace tune --device %s)\n", id);
    else if (!strcmp(summary.first, summary.last)) printf("  tuned             %zu classes, %s\n", summary.classes, summary.last);
    else printf("  tuned             %zu classes, %s to %s\n", summary.classes, summary.first, summary.last);
}

static void print_full(const rosace_device_info *d, bool chosen) {
    char memory[32], alloc[32], local[32], sub[64];
    memory_text(d->global_memory_bytes, memory, sizeof memory);
    memory_text(d->max_alloc_bytes, alloc, sizeof alloc);
    memory_text(d->local_memory_bytes, local, sizeof local);
    sub_group_text(d, sub, sizeof sub);
    printf("%u:%u  %s%s\n", d->platform_index, d->device_index, d->name, chosen ? "   <- chosen" : "");
    printf("  class             %s, %s\n", device_class_name(d->device_class),
           d->unified_memory ? "shares memory with the host" : "memory of its own");
    printf("  vendor            %s\n", d->vendor);
    printf("  platform          %s, %s\n", d->platform_name, d->platform_version);
    printf("  driver            %s\n", d->driver_version);
    printf("  version           %s, %s\n", d->device_version, d->opencl_c_version);
    printf("  compute units     %u", d->compute_units);
    if (d->clock_mhz) printf(" at %u MHz", d->clock_mhz);
    printf("\n  memory            %s, largest buffer %s, local %s\n", memory, alloc, local);
    printf("  work-group        up to %zu work-items\n", d->max_work_group_size);
    printf("  float vectors     %u wide\n", d->float_vector_width);
    printf("  addresses         %u bits\n", d->address_bits);
    printf("  fp16 arithmetic   %s\n", d->has_fp16 ? "yes" : "no (fp16 storage works)");
    printf("  subgroups         %s\n", sub);
    printf("  integer dot       %s\n", d->has_integer_dot ? "yes" : "no");
    printf("  matrix units      %s\n", d->has_intel_matrix ? "cl_intel_subgroup_matrix_multiply_accumulate"
                                       : d->has_nvidia_ptx ? "by inline PTX (NVIDIA's compiler)"
                                       : d->has_amd_gcn    ? "by GCN/RDNA built-ins (AMD's compiler)"
                                                           : "no extension for them");
    if (d->nvidia_capability)
        printf("  capability        %u.%u\n", d->nvidia_capability / 10, d->nvidia_capability % 10);
    if (d->amd_target[0]) printf("  target            %s\n", d->amd_target);
    printf("  Intel subgroups   %s\n", d->has_intel_subgroups ? "yes" : "no");
    print_tuned(d);
    printf("  score             %d: %s\n\n", d->score, d->score_reason);
}

static void print_choice(const rosace_device_info *devices, size_t count, const rosace_device_info *chosen) {
    const char *environment = getenv("ROSACE_DEVICE");
    if (!chosen) return;
    if (environment && *environment) {
        printf("ROSACE_DEVICE=%s takes %u:%u, %s.\n", environment, chosen->platform_index, chosen->device_index,
               chosen->name);
        return;
    }
    printf("auto takes %u:%u, %s: score %d (%s)", chosen->platform_index, chosen->device_index, chosen->name,
           chosen->score, chosen->score_reason);
    const rosace_device_info *second = NULL;
    for (size_t i = 0; i < count; i++)
        if (!same_device(&devices[i], chosen) && (!second || devices[i].score > second->score)) second = &devices[i];
    if (second)
        printf(", before %u:%u, %s, with %d", second->platform_index, second->device_index, second->name,
               second->score);
    printf(".\n");
}

/* The description of a device in every JSON of the program. */
json_t *device_json(const rosace_device_info *d) {
    json_t *sizes = json_array();
    for (unsigned i = 0; i < d->n_sub_group_sizes && i < 8; i++)
        if (d->sub_group_sizes[i]) json_array_append_new(sizes, json_integer((json_int_t)d->sub_group_sizes[i]));
    char id[24];
    snprintf(id, sizeof id, "%u:%u", d->platform_index, d->device_index);
    return json_pack("{s:s, s:s, s:s%, s:s%, s:s%, s:s%, s:s%, s:i, s:i, s:I, s:I, s:I, s:I, s:i, s:i, s:b, s:b, s:b, "
                     "s:o, s:b, s:b, s:b, s:b, s:b, s:i, s:s, s:i, s:s%}",
                     "id", id, "class", device_class_name(d->device_class),
#define TEXT(name, field) name, d->field, strlen(d->field)
                     TEXT("name", name), TEXT("vendor", vendor), TEXT("driver", driver_version),
                     TEXT("version", device_version), TEXT("platform", platform_name), "compute_units",
                     (int)d->compute_units, "clock_mhz", (int)d->clock_mhz, "max_work_group_size",
                     (json_int_t)d->max_work_group_size, "local_memory_bytes", (json_int_t)d->local_memory_bytes,
                     "global_memory_bytes", (json_int_t)d->global_memory_bytes, "max_alloc_bytes",
                     (json_int_t)d->max_alloc_bytes, "address_bits", (int)d->address_bits, "float_vector_width",
                     (int)d->float_vector_width, "unified_memory", d->unified_memory, "fp16", d->has_fp16, "subgroups",
                     d->has_subgroups, "sub_group_sizes", sizes, "integer_dot", d->has_integer_dot, "intel_subgroups",
                     d->has_intel_subgroups, "intel_matrix", d->has_intel_matrix, "nvidia_ptx", d->has_nvidia_ptx,
                     "amd_gcn", d->has_amd_gcn, "nvidia_capability", (int)d->nvidia_capability, "amd_target",
                     d->amd_target, "score", d->score, TEXT("score_reason", score_reason));
#undef TEXT
}

static bool print_json(const rosace_device_info *devices, size_t count, const rosace_device_info *chosen) {
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *device = device_json(&devices[i]);
        json_object_set_new(device, "chosen", json_boolean(chosen && same_device(&devices[i], chosen)));
        json_array_append_new(list, device);
    }
    json_t *root = json_pack("{s:i, s:s, s:o}", "schema", 1, "rosace", rosace_version(), "devices", list);
    const bool ok = root && !json_dumpf(root, stdout, JSON_INDENT(2));
    json_decref(root);
    if (!ok) return cli_fail("devices: cannot write JSON");
    putchar('\n');
    return true;
}

int cmd_devices(int argc, const char **argv) {
    int verbose = 0, json = 0, status = CLI_FAILURE;
    const struct poptOption options[] = {
        {"verbose", 'v', POPT_ARG_NONE, &verbose, 0, "everything known of each device, and what auto takes and why",
         NULL},
        {"json", 'j', POPT_ARG_NONE, &json, 0, "print JSON instead", NULL},
        POPT_TABLEEND,
    };
    poptContext parsed;
    const int parse = cli_parse(&command, options, argc, argv, &parsed);
    if (parse) return parse < 0 ? CLI_OK : parse;
    const char *extra = poptGetArg(parsed);
    if (extra) cli_fail("devices: unexpected argument '%s'", extra);
    const bool bad = extra != NULL;
    poptFreeContext(parsed);
    if (bad) return CLI_USAGE;

    size_t count = 0;
    rosace_device_info *devices = NULL;
    if (rosace_devices(NULL, 0, &count)) {
        cli_fail_rosace("devices");
        return CLI_FAILURE;
    }
    if (!(devices = cli_calloc(count, sizeof *devices))) return CLI_FAILURE;
    if (rosace_devices(devices, count, &count)) {
        cli_fail_rosace("devices");
        goto end;
    }
    rosace_device_info selected;
    const rosace_device_info *chosen = &selected;
    if (rosace_select_device(NULL, &selected)) {
        cli_fail_rosace("no device is chosen");
        chosen = NULL;
    }
    if (json) {
        if (!print_json(devices, count, chosen)) goto end;
    } else if (verbose) {
        for (size_t i = 0; i < count; i++)
            print_full(&devices[i], chosen && same_device(&devices[i], chosen));
        print_choice(devices, count, chosen);
    } else {
        print_table(devices, count, chosen);
    }
    status = chosen ? CLI_OK : CLI_FAILURE;

end:
    free(devices);
    return status;
}
