/* SPDX-License-Identifier: MIT
 * The device under test: context, queue, the bench's own kernels, buffers filled on the device. */
#ifndef ROSACE_CLI_BENCH_DEVICE_H
#define ROSACE_CLI_BENCH_DEVICE_H

#include <rosace/rosace.h>

typedef struct bench_device {
    rosace_context *context;
    const rosace_device_info *info;
    cl_context cl;
    cl_command_queue queue; /* in order */
    cl_program program;     /* roofline.cl */
    unsigned vec;           /* floats per vector in it */
    unsigned seed;          /* of the next buffer */
} bench_device;

/* `selector` as in rosace_context_desc.device; warnings of the library go to the standard error, with `verbose` all of
 * its log. False after saying why not; bench_device_close copes with what is half made. */
bool bench_device_open(bench_device *device, const char *selector, bool verbose);
void bench_device_close(bench_device *device);

/* A buffer of `count` elements with numbers in [-0.5, 0.5); NULL after saying why not. Released by the caller. */
cl_mem bench_buffer(bench_device *device, rosace_dtype dtype, size_t count);
/* Waits for the device. */
bool bench_finish(bench_device *device);

#endif
