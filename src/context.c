/* SPDX-License-Identifier: MIT */
#include "check.h"
#include "context_state.h"
#include "device.h"
#include "program_disk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Host memory and log --------------------------------------------------------------------------------------- */

static void *default_alloc(void *user, size_t bytes) {
    (void)user;
    return malloc(bytes);
}

static void default_free(void *user, void *memory) {
    (void)user;
    free(memory);
}

void *rsc_calloc(rosace_context *context, size_t count, size_t size) {
    size_t bytes;
    if (!rsc_mul(count, size, &bytes)) return NULL;
    if (bytes == 0) bytes = 1;
    void *memory = context->allocator.alloc(context->allocator.user, bytes);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

void rsc_free(rosace_context *context, void *memory) {
    if (memory) context->allocator.free(context->allocator.user, memory);
}

char *rsc_copy_text(rosace_context *context, const char *text) {
    const size_t bytes = strlen(text) + 1;
    char *copy = rsc_calloc(context, 1, bytes);
    if (copy) memcpy(copy, text, bytes);
    return copy;
}

void rsc_log(rosace_context *context, rosace_log_level level, const char *format, ...) {
    if (!context->log) return;
    char line[1024];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (length < 0) return;
    for (char *c = line; *c; c++)
        if (*c == '\n' || *c == '\r') *c = ' ';
    context->log(context->log_user, level, line);
}

rosace_status rsc_buffer_create(rosace_context *context, size_t bytes, cl_mem_flags flags, const void *host_data,
                                const char *what, cl_mem *out) {
    *out = NULL;
    if (bytes > context->info.max_alloc_bytes)
        return rsc_fail(ROSACE_OUT_OF_MEMORY, "%s: %zu bytes, the largest buffer of %s is %llu", what, bytes,
                        context->info.name, (unsigned long long)context->info.max_alloc_bytes);
    const bool copy = host_data && bytes > 0;
    cl_int code = CL_SUCCESS;
    /* The interface takes the host data without const, but CL_MEM_COPY_HOST_PTR only reads it. */
    void *host = copy ? (void *)(uintptr_t)host_data : NULL;
    cl_mem mem = clCreateBuffer(context->cl, flags | (copy ? CL_MEM_COPY_HOST_PTR : 0), bytes ? bytes : 1, host, &code);
    if (code == CL_OUT_OF_RESOURCES)
        return rsc_fail(ROSACE_OUT_OF_MEMORY, "%s: clCreateBuffer of %zu bytes: CL_OUT_OF_RESOURCES (%d)", what, bytes,
                        (int)code);
    if (code) return rsc_fail_cl(code, "%s: clCreateBuffer of %zu bytes", what, bytes);
    *out = mem;
    return ROSACE_OK;
}

/* ---- Life ------------------------------------------------------------------------------------------------------ */

/* The device to use of an adopted context: the one named, or its only one. */
static rosace_status adopted_device(cl_context cl, cl_device_id wanted, cl_device_id *out) {
    cl_device_id *devices = NULL;
    size_t bytes = 0;
    rosace_status status = ROSACE_OK;
    cl_int code = clGetContextInfo(cl, CL_CONTEXT_DEVICES, 0, NULL, &bytes);
    if (code == CL_INVALID_CONTEXT)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "desc.cl_context: not a valid cl_context");
    if (code) return rsc_fail_cl(code, "desc.cl_context: clGetContextInfo");
    const size_t count = bytes / sizeof *devices;
    if (!(devices = malloc(bytes ? bytes : 1)))
        return rsc_fail(ROSACE_OUT_OF_MEMORY, "no host memory for a list of %zu devices", count);
    code = clGetContextInfo(cl, CL_CONTEXT_DEVICES, bytes, devices, NULL);
    if (code) {
        status = rsc_fail_cl(code, "desc.cl_context: clGetContextInfo");
    } else if (!wanted) {
        if (count == 1)
            *out = devices[0];
        else
            status = rsc_fail(ROSACE_INVALID_ARGUMENT,
                              "desc.cl_device = NULL: desc.cl_context has %zu devices, so one of them must be named", count);
    } else {
        size_t at = 0;
        while (at < count && devices[at] != wanted) at++;
        if (at < count)
            *out = wanted;
        else
            status = rsc_fail(ROSACE_INVALID_ARGUMENT, "desc.cl_device: is none of the %zu devices of desc.cl_context",
                              count);
    }
    free(devices);
    return status;
}

static rosace_status adopt(rosace_context *context, cl_context cl, cl_device_id wanted) {
    cl_device_id device = NULL;
    rosace_status status = adopted_device(cl, wanted, &device);
    if (!status) status = rsc_device_describe(device, &context->info);
    if (status) return status;
    if (context->info.score < 0)
        return rsc_fail(ROSACE_UNSUPPORTED, "desc.cl_device \"%s\": %s", context->info.name, context->info.score_reason);
    cl_int code = clRetainContext(cl);
    if (code) return rsc_fail_cl(code, "desc.cl_context: clRetainContext");
    context->cl = cl;
    return ROSACE_OK;
}

static rosace_status make_cl_context(rosace_context *context, const char *selector) {
    rosace_status status = rosace_select_device(selector, &context->info);
    if (status) return status;
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)context->info.platform, 0};
    cl_int code = CL_SUCCESS;
    context->cl = clCreateContext(properties, 1, &context->info.device, NULL, NULL, &code);
    if (code) {
        context->cl = NULL;
        return rsc_fail_cl(code, "%s: clCreateContext", context->info.name);
    }
    return ROSACE_OK;
}

/* Where sources come from, when not from the library itself. */
static rosace_status set_kernel_dir(rosace_context *context, const char *wanted) {
    const char *dir = wanted ? wanted : getenv("ROSACE_KERNEL_DIR");
    if (!dir || !*dir) return ROSACE_OK;
    context->kernel_dir = rsc_copy_text(context, dir);
    if (!context->kernel_dir) return rsc_fail(ROSACE_OUT_OF_MEMORY, "no host memory for a context");
    rsc_log(context, ROSACE_LOG_INFO, "kernel sources are read from %s", dir);
    return ROSACE_OK;
}

rosace_status rosace_context_create(const rosace_context_desc *desc, rosace_context **out) {
    if (!out) return rsc_fail(ROSACE_INVALID_ARGUMENT, "out = NULL: must point to where the context goes");
    *out = NULL;
    rosace_context_desc full = ROSACE_CONTEXT_DESC_DEFAULT;
    rosace_status status = rsc_read_struct("desc", desc, &full, sizeof full);
    if (status) return status;
    if (!full.allocator.alloc != !full.allocator.free)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "desc.allocator: alloc and free must be given both or neither");
    if (full.cl_device && !full.cl_context)
        return rsc_fail(ROSACE_INVALID_ARGUMENT,
                        "desc.cl_device: is for an adopted desc.cl_context; without one use desc.device");
    if (!full.allocator.alloc) full.allocator = (rosace_allocator){default_alloc, default_free, NULL};

    rosace_context *context = full.allocator.alloc(full.allocator.user, sizeof *context);
    if (!context) return rsc_fail(ROSACE_OUT_OF_MEMORY, "no host memory for a context");
    memset(context, 0, sizeof *context);
    context->allocator = full.allocator;
    context->log = full.log;
    context->log_user = full.log_user;

    context->has_program_lock = rsc_mutex_init(&context->program_lock);
    context->has_plan_lock = rsc_mutex_init(&context->plan_lock);
    context->has_tuning_lock = rsc_mutex_init(&context->tuning_lock);
    context->has_clblast_lock = rsc_mutex_init(&context->clblast_lock);
    if (!context->has_program_lock || !context->has_plan_lock || !context->has_tuning_lock || !context->has_clblast_lock) {
        status = rsc_fail(ROSACE_OUT_OF_MEMORY, "no system resources for a context's locks");
        goto fail;
    }
    status = full.cl_context ? adopt(context, full.cl_context, full.cl_device) : make_cl_context(context, full.device);
    if (status) goto fail;
    if ((status = set_kernel_dir(context, full.kernel_dir)) != ROSACE_OK) goto fail;
    if ((status = rsc_disk_open(context, full.cache_dir)) != ROSACE_OK) goto fail;
    const char *tuning = getenv("ROSACE_TUNING");
    context->tuning_off = tuning && strcmp(tuning, "off") == 0;
    rsc_log(context, ROSACE_LOG_INFO, "device %s (%s, driver %s)", context->info.name, context->info.platform_name,
            context->info.driver_version);
    *out = context;
    return ROSACE_OK;

fail:
    rosace_context_destroy(&context);
    return status;
}

void rosace_context_destroy(rosace_context **context) {
    if (!context || !*context) return;
    rosace_context *old = *context;
    *context = NULL;
    rsc_plans_destroy(old);
    rsc_programs_destroy(old);
    if (old->cl && clReleaseContext(old->cl) != CL_SUCCESS)
        rsc_log(old, ROSACE_LOG_WARNING, "clReleaseContext failed");
    rsc_tuning_destroy(old);
    if (old->has_clblast_lock) rsc_mutex_destroy(&old->clblast_lock);
    if (old->has_tuning_lock) rsc_mutex_destroy(&old->tuning_lock);
    if (old->has_plan_lock) rsc_mutex_destroy(&old->plan_lock);
    if (old->has_program_lock) rsc_mutex_destroy(&old->program_lock);
    rsc_free(old, old->kernel_dir);
    rsc_free(old, old->cache_dir);
    const rosace_allocator allocator = old->allocator;
    allocator.free(allocator.user, old);
}

cl_context rosace_context_cl(const rosace_context *context) { return context ? context->cl : NULL; }

cl_device_id rosace_context_cl_device(const rosace_context *context) { return context ? context->info.device : NULL; }

const rosace_device_info *rosace_context_device_info(const rosace_context *context) {
    return context ? &context->info : NULL;
}
