/* SPDX-License-Identifier: MIT */
#include "program.h"
#include "context_state.h"
#include "program_disk.h"
#include "source.h"

#include <string.h>
#include <xxhash.h>

struct rsc_program {
    rsc_program *next;
    rsc_key key;
    cl_program program;
    bool from_disk; /* as opposed to built from source */
    bool saved;     /* nothing more to do for the cache on disk */
};

/* ---- Key ------------------------------------------------------------------------------------------------------- */

/* Everything a binary depends on, each text with its length, so that no two sets of texts run into the same bytes. */
static rosace_status make_key(rosace_context *context, const rsc_text *source, const char *options, rsc_key *key) {
    const rosace_device_info *info = &context->info;
    const char pointer_bits[] = {(char)('0' + sizeof(void *)), '\0'};
    const char *const texts[] = {source->text,          options,
                                 rosace_version(),      pointer_bits,
                                 info->name,            info->vendor,
                                 info->device_version,  info->driver_version,
                                 info->platform_name,   info->platform_version};
    XXH3_state_t *state = XXH3_createState();
    if (!state) return rsc_fail(ROSACE_OUT_OF_MEMORY, "no host memory to hash a program");
    bool good = XXH3_128bits_reset(state) == XXH_OK;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const uint64_t length = strlen(texts[i]);
        good = good && XXH3_128bits_update(state, &length, sizeof length) == XXH_OK &&
               XXH3_128bits_update(state, texts[i], (size_t)length) == XXH_OK;
    }
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    XXH3_freeState(state);
    if (!good) return rsc_fail(ROSACE_OUT_OF_MEMORY, "hashing a program failed");
    memcpy(key->bytes, canonical.digest, sizeof key->bytes);
    return ROSACE_OK;
}

/* ---- Build ----------------------------------------------------------------------------------------------------- */

static void release_program(rosace_context *context, cl_program program) {
    if (program && clReleaseProgram(program) != CL_SUCCESS)
        rsc_log(context, ROSACE_LOG_WARNING, "clReleaseProgram failed");
}

/* The compiler's words, NULL when it has none; the caller's to free. */
static char *build_log(rosace_context *context, cl_program program) {
    size_t bytes = 0;
    if (clGetProgramBuildInfo(program, context->info.device, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes) || bytes < 2)
        return NULL;
    char *log = rsc_calloc(context, bytes + 1, 1);
    if (log && clGetProgramBuildInfo(program, context->info.device, CL_PROGRAM_BUILD_LOG, bytes, log, NULL)) {
        rsc_free(context, log);
        log = NULL;
    }
    return log;
}

static rosace_status fail_build(rosace_context *context, cl_program program, cl_int code, const char *what,
                                const char *options) {
    if (code == CL_OUT_OF_HOST_MEMORY) return rsc_fail_cl(code, "cl/%s: clBuildProgram", what);
    char *log = build_log(context, program);
    rosace_status status =
        rsc_fail(ROSACE_BUILD_FAILED, "cl/%s on %s with %s: clBuildProgram: %s (%d)%s%s", what, context->info.name, options,
                 rsc_cl_error_name(code), (int)code, log ? "\n" : "; the compiler left no log", log ? log : "");
    rsc_free(context, log);
    return status;
}

static rosace_status build_source_once(rosace_context *context, const rsc_text *source, const char *what,
                                       const char *options, cl_program *out) {
    const char *text = source->text;
    cl_int code = CL_SUCCESS;
    cl_program program = clCreateProgramWithSource(context->cl, 1, &text, &source->bytes, &code);
    if (code) return rsc_fail_cl(code, "cl/%s: clCreateProgramWithSource", what);
    code = clBuildProgram(program, 1, &context->info.device, options, NULL, NULL);
    if (code) {
        rosace_status status = fail_build(context, program, code, what, options);
        release_program(context, program);
        return status;
    }
    *out = program;
    return ROSACE_OK;
}

/* Twice when it must: drivers with a cache of their own can fail when another process fills that cache at the moment
 * (PoCL 3.1: CL_BUILD_PROGRAM_FAILURE and CL_INVALID_PROGRAM). A real error only fails again. */
static rosace_status build_source(rosace_context *context, const rsc_text *source, const char *what, const char *options,
                                  cl_program *out) {
    rosace_status status = build_source_once(context, source, what, options, out);
    if (status == ROSACE_BUILD_FAILED) {
        rsc_log(context, ROSACE_LOG_INFO, "building cl/%s failed, trying once more", what);
        status = build_source_once(context, source, what, options, out);
    }
    if (status || !context->log) return status;
    char *log = build_log(context, *out);
    if (log && strspn(log, " \t\r\n") < strlen(log)) rsc_log(context, ROSACE_LOG_DEBUG, "cl/%s: compiler: %s", what, log);
    rsc_free(context, log);
    return ROSACE_OK;
}

/* ---- Cache on disk --------------------------------------------------------------------------------------------- */

/* The program built from its binary on disk; NULL when there is none or the driver does not take it. */
static cl_program load_program(rosace_context *context, const rsc_key *key, const char *what, const char *options) {
    size_t bytes = 0;
    unsigned char *binary = rsc_disk_load(context, key, &bytes);
    if (!binary) return NULL;
    const unsigned char *binaries[] = {binary};
    cl_int code = CL_SUCCESS, binary_status = CL_SUCCESS;
    cl_program program =
        clCreateProgramWithBinary(context->cl, 1, &context->info.device, &bytes, binaries, &binary_status, &code);
    if (code) program = NULL;
    if (!code) code = binary_status;
    if (!code) code = clBuildProgram(program, 1, &context->info.device, options, NULL, NULL);
    rsc_free(context, binary);
    if (!code) return program;
    rsc_log(context, ROSACE_LOG_INFO, "program cache: the driver does not take its own binary of cl/%s: %s (%d)", what,
            rsc_cl_error_name(code), (int)code);
    release_program(context, program);
    return NULL;
}

/* Binaries of all devices of a program (an adopted context may have several), of which those not built for are empty. */
typedef struct binary_set {
    size_t count;
    cl_device_id *devices;
    size_t *bytes;
    unsigned char **binaries;
} binary_set;

static cl_int read_binaries(rosace_context *context, cl_program program, binary_set *set) {
    size_t device_bytes = 0;
    cl_int code = clGetProgramInfo(program, CL_PROGRAM_DEVICES, 0, NULL, &device_bytes);
    if (code) return code;
    const size_t count = device_bytes / sizeof *set->devices;
    set->devices = rsc_calloc(context, count, sizeof *set->devices);
    set->bytes = rsc_calloc(context, count, sizeof *set->bytes);
    set->binaries = rsc_calloc(context, count, sizeof *set->binaries);
    if (!set->devices || !set->bytes || !set->binaries) return CL_OUT_OF_HOST_MEMORY;
    set->count = count;
    code = clGetProgramInfo(program, CL_PROGRAM_DEVICES, device_bytes, set->devices, NULL);
    if (!code) code = clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, count * sizeof *set->bytes, set->bytes, NULL);
    for (size_t i = 0; !code && i < count; i++)
        if (set->bytes[i] && !(set->binaries[i] = rsc_calloc(context, 1, set->bytes[i]))) code = CL_OUT_OF_HOST_MEMORY;
    if (!code) code = clGetProgramInfo(program, CL_PROGRAM_BINARIES, count * sizeof *set->binaries, set->binaries, NULL);
    return code;
}

/* Once a kernel exists, since some drivers compile only then. */
static void save_program(rosace_context *context, rsc_program *entry, const char *what) {
    if (entry->saved || !context->cache_dir) return;
    entry->saved = true;
    binary_set set = {0};
    cl_int code = read_binaries(context, entry->program, &set);
    if (code)
        rsc_log(context, ROSACE_LOG_INFO, "program cache: the driver gives no binary of cl/%s: %s (%d)", what,
                rsc_cl_error_name(code), (int)code);
    for (size_t i = 0; i < set.count; i++) {
        if (!code && set.devices[i] == context->info.device)
            rsc_disk_save(context, &entry->key, set.binaries[i], set.bytes[i]);
        rsc_free(context, set.binaries[i]);
    }
    rsc_free(context, set.binaries);
    rsc_free(context, set.bytes);
    rsc_free(context, set.devices);
}

/* ---- Programs in memory ---------------------------------------------------------------------------------------- */

static rsc_program *find(rosace_context *context, const rsc_key *key) {
    for (rsc_program *entry = context->programs; entry; entry = entry->next)
        if (memcmp(&entry->key, key, sizeof *key) == 0) return entry;
    return NULL;
}

/* Lists `program`, which becomes the list's. */
static rosace_status add(rosace_context *context, const rsc_key *key, cl_program program, bool from_disk,
                         rsc_program **out) {
    rsc_program *entry = rsc_calloc(context, 1, sizeof *entry);
    if (!entry) {
        release_program(context, program);
        return rsc_fail(ROSACE_OUT_OF_MEMORY, "no host memory for a program");
    }
    entry->key = *key;
    entry->program = program;
    entry->from_disk = entry->saved = from_disk;
    entry->next = context->programs;
    context->programs = entry;
    *out = entry;
    return ROSACE_OK;
}

static void drop(rosace_context *context, rsc_program *entry) {
    rsc_program **link = &context->programs;
    while (*link != entry) link = &(*link)->next;
    *link = entry->next;
    release_program(context, entry->program);
    rsc_free(context, entry);
}

void rsc_programs_destroy(rosace_context *context) {
    while (context->programs) drop(context, context->programs);
}

/* ---- Kernels --------------------------------------------------------------------------------------------------- */

/* What makes up one call of rsc_kernel_create. */
typedef struct request {
    rsc_text source;
    const char *what, *name; /* of the program and of the kernel, for messages */
    char options[RSC_OPTIONS_BYTES];
    rsc_key key;
} request;

static rosace_status find_or_build(rosace_context *context, const request *r, bool use_disk, rsc_program **out) {
    *out = find(context, &r->key);
    if (*out) return ROSACE_OK;
    cl_program program = use_disk ? load_program(context, &r->key, r->what, r->options) : NULL;
    const bool from_disk = program != NULL;
    rosace_status status = from_disk ? ROSACE_OK : build_source(context, &r->source, r->what, r->options, &program);
    if (status) return status;
    rsc_log(context, ROSACE_LOG_DEBUG, "cl/%s %s with %s", r->what, from_disk ? "loaded from disk" : "built", r->options);
    return add(context, &r->key, program, from_disk, out);
}

static rosace_status create_locked(rosace_context *context, const request *r, cl_kernel *out) {
    for (bool use_disk = true;; use_disk = false) {
        rsc_program *entry;
        rosace_status status = find_or_build(context, r, use_disk, &entry);
        if (status) return status;
        cl_int code = CL_SUCCESS;
        cl_kernel kernel = clCreateKernel(entry->program, r->name, &code);
        if (!code) {
            save_program(context, entry, r->what);
            *out = kernel;
            return ROSACE_OK;
        }
        if (!entry->from_disk) {
            if (code == CL_OUT_OF_HOST_MEMORY) return rsc_fail_cl(code, "cl/%s: clCreateKernel(%s)", r->what, r->name);
            return rsc_fail(ROSACE_BUILD_FAILED, "cl/%s on %s with %s: clCreateKernel(%s): %s (%d)", r->what,
                            context->info.name, r->options, r->name, rsc_cl_error_name(code), (int)code);
        }
        rsc_log(context, ROSACE_LOG_INFO, "program cache: no kernel %s in the binary of cl/%s: %s (%d); it is built again",
                r->name, r->what, rsc_cl_error_name(code), (int)code);
        drop(context, entry);
    }
}

rosace_status rsc_kernel_create(rosace_context *context, const char *const *pieces, const char *name,
                                const rsc_options *options, cl_kernel *out) {
    *out = NULL;
    if (!pieces[0]) return rsc_fail(ROSACE_BUILD_FAILED, "kernel %s: its program has no pieces", name);
    request r = {.name = name};
    for (size_t i = 0; pieces[i]; i++) r.what = pieces[i]; /* the last piece is the loop, after which a program is named */

    rosace_status status = rsc_options_print(options, r.options, sizeof r.options);
    if (!status) status = rsc_expand(context, pieces, &r.source);
    if (!status) status = make_key(context, &r.source, r.options, &r.key);
    if (!status) {
        rsc_lock(&context->program_lock);
        status = create_locked(context, &r, out);
        rsc_unlock(&context->program_lock);
    }
    rsc_free(context, r.source.text);
    return status;
}

size_t rsc_kernel_work_group_size(rosace_context *context, cl_kernel kernel) {
    size_t size = 0;
    cl_int code = clGetKernelWorkGroupInfo(kernel, context->info.device, CL_KERNEL_WORK_GROUP_SIZE, sizeof size, &size, NULL);
    return code ? 0 : size;
}
