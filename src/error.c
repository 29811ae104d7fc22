/* SPDX-License-Identifier: MIT */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINE_BYTES = 4096 };

/* The only state outside a context: what rosace_last_error() returns in this thread. */
static _Thread_local char last_error[LINE_BYTES];

#define TEXT_OF(x) #x
#define VERSION_TEXT(a, b, c) TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)

const char *rosace_version(void) {
    return VERSION_TEXT(ROSACE_VERSION_MAJOR, ROSACE_VERSION_MINOR, ROSACE_VERSION_PATCH);
}

const char *rosace_status_name(rosace_status status) {
    switch (status) {
    case ROSACE_OK: return "ROSACE_OK";
    case ROSACE_INVALID_ARGUMENT: return "ROSACE_INVALID_ARGUMENT";
    case ROSACE_UNSUPPORTED: return "ROSACE_UNSUPPORTED";
    case ROSACE_NO_DEVICE: return "ROSACE_NO_DEVICE";
    case ROSACE_OUT_OF_MEMORY: return "ROSACE_OUT_OF_MEMORY";
    case ROSACE_BUILD_FAILED: return "ROSACE_BUILD_FAILED";
    case ROSACE_OPENCL_ERROR: return "ROSACE_OPENCL_ERROR";
    case ROSACE_CLBLAST_ERROR: return "ROSACE_CLBLAST_ERROR";
    case ROSACE_IO_ERROR: return "ROSACE_IO_ERROR";
    }
    return "unknown status";
}

const char *rosace_last_error(void) { return last_error; }

/* Cuts a line that did not fit, never inside a UTF-8 sequence, and shows that it was cut. */
static void mark_cut(char *line) {
    size_t end = LINE_BYTES - sizeof("...");
    while (end > 0 && ((unsigned char)line[end] & 0xC0) == 0x80) end--;
    memcpy(line + end, "...", sizeof("..."));
}

rosace_status rsc_fail(rosace_status status, const char *format, ...) {
    char line[LINE_BYTES]; /* apart, since the arguments may include the last line */
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (length < 0) snprintf(line, sizeof line, "%s", format);
    if (length >= LINE_BYTES) mark_cut(line);
    memcpy(last_error, line, strlen(line) + 1);
    return status;
}

static const struct {
    cl_int code;
    const char *name;
    const char *hint; /* what usually is behind it, or NULL */
} cl_errors[] = {
    {CL_SUCCESS, "CL_SUCCESS", NULL},
    {CL_DEVICE_NOT_FOUND, "CL_DEVICE_NOT_FOUND", NULL},
    {CL_DEVICE_NOT_AVAILABLE, "CL_DEVICE_NOT_AVAILABLE", "another process may hold the device"},
    {CL_COMPILER_NOT_AVAILABLE, "CL_COMPILER_NOT_AVAILABLE", "the driver is installed without its compiler"},
    {CL_MEM_OBJECT_ALLOCATION_FAILURE, "CL_MEM_OBJECT_ALLOCATION_FAILURE", "device memory ran out"},
    {CL_OUT_OF_RESOURCES, "CL_OUT_OF_RESOURCES",
     "too little device memory, local memory or registers, or an earlier kernel failed"},
    {CL_OUT_OF_HOST_MEMORY, "CL_OUT_OF_HOST_MEMORY", "host memory ran out"},
    {CL_PROFILING_INFO_NOT_AVAILABLE, "CL_PROFILING_INFO_NOT_AVAILABLE",
     "the queue was made without CL_QUEUE_PROFILING_ENABLE"},
    {CL_MEM_COPY_OVERLAP, "CL_MEM_COPY_OVERLAP", NULL},
    {CL_IMAGE_FORMAT_MISMATCH, "CL_IMAGE_FORMAT_MISMATCH", NULL},
    {CL_IMAGE_FORMAT_NOT_SUPPORTED, "CL_IMAGE_FORMAT_NOT_SUPPORTED", NULL},
    {CL_BUILD_PROGRAM_FAILURE, "CL_BUILD_PROGRAM_FAILURE", NULL},
    {CL_MAP_FAILURE, "CL_MAP_FAILURE", NULL},
    {CL_MISALIGNED_SUB_BUFFER_OFFSET, "CL_MISALIGNED_SUB_BUFFER_OFFSET",
     "sub-buffers begin at a multiple of CL_DEVICE_MEM_BASE_ADDR_ALIGN"},
    {CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST, "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST",
     "a command that was waited for failed"},
    {CL_COMPILE_PROGRAM_FAILURE, "CL_COMPILE_PROGRAM_FAILURE", NULL},
    {CL_LINKER_NOT_AVAILABLE, "CL_LINKER_NOT_AVAILABLE", NULL},
    {CL_LINK_PROGRAM_FAILURE, "CL_LINK_PROGRAM_FAILURE", NULL},
    {CL_DEVICE_PARTITION_FAILED, "CL_DEVICE_PARTITION_FAILED", NULL},
    {CL_KERNEL_ARG_INFO_NOT_AVAILABLE, "CL_KERNEL_ARG_INFO_NOT_AVAILABLE", NULL},
    {CL_INVALID_VALUE, "CL_INVALID_VALUE", NULL},
    {CL_INVALID_DEVICE_TYPE, "CL_INVALID_DEVICE_TYPE", NULL},
    {CL_INVALID_PLATFORM, "CL_INVALID_PLATFORM", NULL},
    {CL_INVALID_DEVICE, "CL_INVALID_DEVICE", NULL},
    {CL_INVALID_CONTEXT, "CL_INVALID_CONTEXT", "an object belongs to another context"},
    {CL_INVALID_QUEUE_PROPERTIES, "CL_INVALID_QUEUE_PROPERTIES", NULL},
    {CL_INVALID_COMMAND_QUEUE, "CL_INVALID_COMMAND_QUEUE", NULL},
    {CL_INVALID_HOST_PTR, "CL_INVALID_HOST_PTR", NULL},
    {CL_INVALID_MEM_OBJECT, "CL_INVALID_MEM_OBJECT", NULL},
    {CL_INVALID_IMAGE_FORMAT_DESCRIPTOR, "CL_INVALID_IMAGE_FORMAT_DESCRIPTOR", NULL},
    {CL_INVALID_IMAGE_SIZE, "CL_INVALID_IMAGE_SIZE", NULL},
    {CL_INVALID_SAMPLER, "CL_INVALID_SAMPLER", NULL},
    {CL_INVALID_BINARY, "CL_INVALID_BINARY", NULL},
    {CL_INVALID_BUILD_OPTIONS, "CL_INVALID_BUILD_OPTIONS", NULL},
    {CL_INVALID_PROGRAM, "CL_INVALID_PROGRAM", NULL},
    {CL_INVALID_PROGRAM_EXECUTABLE, "CL_INVALID_PROGRAM_EXECUTABLE", NULL},
    {CL_INVALID_KERNEL_NAME, "CL_INVALID_KERNEL_NAME", NULL},
    {CL_INVALID_KERNEL_DEFINITION, "CL_INVALID_KERNEL_DEFINITION", NULL},
    {CL_INVALID_KERNEL, "CL_INVALID_KERNEL", NULL},
    {CL_INVALID_ARG_INDEX, "CL_INVALID_ARG_INDEX", NULL},
    {CL_INVALID_ARG_VALUE, "CL_INVALID_ARG_VALUE", NULL},
    {CL_INVALID_ARG_SIZE, "CL_INVALID_ARG_SIZE", NULL},
    {CL_INVALID_KERNEL_ARGS, "CL_INVALID_KERNEL_ARGS", "an argument was not set"},
    {CL_INVALID_WORK_DIMENSION, "CL_INVALID_WORK_DIMENSION", NULL},
    {CL_INVALID_WORK_GROUP_SIZE, "CL_INVALID_WORK_GROUP_SIZE",
     "larger than the device or this kernel allows, or no divisor of the global size"},
    {CL_INVALID_WORK_ITEM_SIZE, "CL_INVALID_WORK_ITEM_SIZE", "larger than the device allows on one axis"},
    {CL_INVALID_GLOBAL_OFFSET, "CL_INVALID_GLOBAL_OFFSET", NULL},
    {CL_INVALID_EVENT_WAIT_LIST, "CL_INVALID_EVENT_WAIT_LIST", NULL},
    {CL_INVALID_EVENT, "CL_INVALID_EVENT", NULL},
    {CL_INVALID_OPERATION, "CL_INVALID_OPERATION", NULL},
    {CL_INVALID_GL_OBJECT, "CL_INVALID_GL_OBJECT", NULL},
    {CL_INVALID_BUFFER_SIZE, "CL_INVALID_BUFFER_SIZE", "larger than CL_DEVICE_MAX_MEM_ALLOC_SIZE, or 0"},
    {CL_INVALID_MIP_LEVEL, "CL_INVALID_MIP_LEVEL", NULL},
    {CL_INVALID_GLOBAL_WORK_SIZE, "CL_INVALID_GLOBAL_WORK_SIZE", NULL},
    {CL_INVALID_PROPERTY, "CL_INVALID_PROPERTY", NULL},
    {CL_INVALID_IMAGE_DESCRIPTOR, "CL_INVALID_IMAGE_DESCRIPTOR", NULL},
    {CL_INVALID_COMPILER_OPTIONS, "CL_INVALID_COMPILER_OPTIONS", NULL},
    {CL_INVALID_LINKER_OPTIONS, "CL_INVALID_LINKER_OPTIONS", NULL},
    {CL_INVALID_DEVICE_PARTITION_COUNT, "CL_INVALID_DEVICE_PARTITION_COUNT", NULL},
    {-1001, "CL_PLATFORM_NOT_FOUND_KHR", "no OpenCL driver is installed, or the loader does not find it"},
};

const char *rsc_cl_error_name(cl_int code) {
    for (size_t i = 0; i < sizeof cl_errors / sizeof *cl_errors; i++)
        if (cl_errors[i].code == code) return cl_errors[i].name;
    return "unknown OpenCL error";
}

static const char *hint_of(cl_int code) {
    for (size_t i = 0; i < sizeof cl_errors / sizeof *cl_errors; i++)
        if (cl_errors[i].code == code) return cl_errors[i].hint;
    return NULL;
}

rosace_status rsc_fail_cl(cl_int code, const char *format, ...) {
    char what[1024];
    va_list args;
    va_start(args, format);
    if (vsnprintf(what, sizeof what, format, args) < 0) snprintf(what, sizeof what, "%s", format);
    va_end(args);

    const char *hint = hint_of(code);
    bool memory = code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_HOST_MEMORY;
    return rsc_fail(memory ? ROSACE_OUT_OF_MEMORY : ROSACE_OPENCL_ERROR, "%s: %s (%d)%s%s", what,
                    rsc_cl_error_name(code), (int)code, hint ? ": " : "", hint ? hint : "");
}
