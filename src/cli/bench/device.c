/* SPDX-License-Identifier: MIT */
#include "device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "roofline_source.h"

static void log_line(void *user, rosace_log_level level, const char *message) {
    const bool verbose = user != NULL;
    if (level <= ROSACE_LOG_WARNING || verbose) fprintf(stderr, "rosace: %s\n", message);
}

static bool build(bench_device *device) {
    const char *source = roofline_source;
    char options[64];
    cl_int code;
    cl_device_id id = device->info->device;
    device->vec = device->info->float_vector_width;
    if (device->vec != 1 && device->vec != 2 && device->vec != 8 && device->vec != 16) device->vec = 4;
    snprintf(options, sizeof options, "-cl-std=CL1.2 -DVEC=%u", device->vec);
    device->program = clCreateProgramWithSource(device->cl, 1, &source, NULL, &code);
    if (!device->program) return cli_fail_cl(code, "cannot make the program of the rooflines");
    code = clBuildProgram(device->program, 1, &id, options, NULL, NULL);
    if (!code) return true;
    size_t bytes = 0;
    clGetProgramBuildInfo(device->program, id, CL_PROGRAM_BUILD_LOG, 0, NULL, &bytes);
    char *text = cli_calloc(bytes + 1, 1);
    if (text) clGetProgramBuildInfo(device->program, id, CL_PROGRAM_BUILD_LOG, bytes, text, NULL);
    cli_fail_cl(code, "cannot build the kernels of the rooflines: %s", text ? text : "");
    free(text);
    return false;
}

bool bench_device_open(bench_device *device, const char *selector, bool verbose) {
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    cl_int code;
    memset(device, 0, sizeof *device);
    desc.device = selector;
    desc.log = log_line;
    desc.log_user = verbose ? device : NULL;
    if (rosace_context_create(&desc, &device->context)) {
        if (selector) return cli_fail_rosace("--device %s", selector);
        return cli_fail_rosace("bench");
    }
    device->info = rosace_context_device_info(device->context);
    device->cl = rosace_context_cl(device->context);
    device->queue = clCreateCommandQueue(device->cl, device->info->device, 0, &code);
    if (!device->queue) return cli_fail_cl(code, "cannot make a command queue");
    return build(device);
}

void bench_device_close(bench_device *device) {
    if (device->program) clReleaseProgram(device->program);
    if (device->queue) clReleaseCommandQueue(device->queue);
    rosace_context_destroy(&device->context);
    memset(device, 0, sizeof *device);
}

cl_mem bench_buffer(bench_device *device, rosace_dtype dtype, size_t count) {
    cl_int code;
    cl_mem buffer = NULL;
    cl_kernel kernel = NULL;
    const cl_uint seed = ++device->seed;
    const size_t bytes = count * rosace_dtype_size(dtype);
    if (bytes > device->info->max_alloc_bytes) {
        cli_fail("a tensor of %zu MiB is more than this device gives in one piece, %llu MiB", bytes >> 20,
                 (unsigned long long)(device->info->max_alloc_bytes >> 20));
        return NULL;
    }
    buffer = clCreateBuffer(device->cl, CL_MEM_READ_WRITE, bytes, NULL, &code);
    if (!buffer) {
        cli_fail_cl(code, "cannot make a buffer of %zu MiB", bytes >> 20);
        return NULL;
    }
    char name[16];
    snprintf(name, sizeof name, "fill_%s", rosace_dtype_name(dtype));
    kernel = clCreateKernel(device->program, name, &code);
    if (kernel) code = clSetKernelArg(kernel, 0, sizeof buffer, &buffer);
    if (!code) code = clSetKernelArg(kernel, 1, sizeof seed, &seed);
    if (!code) code = clEnqueueNDRangeKernel(device->queue, kernel, 1, NULL, &count, NULL, 0, NULL, NULL);
    if (!code) code = clFinish(device->queue);
    if (kernel) clReleaseKernel(kernel);
    if (!code) return buffer;
    cli_fail_cl(code, "cannot fill a buffer");
    clReleaseMemObject(buffer);
    return NULL;
}

bool bench_finish(bench_device *device) {
    const cl_int code = clFinish(device->queue);
    return !code || cli_fail_cl(code, "the device failed");
}
