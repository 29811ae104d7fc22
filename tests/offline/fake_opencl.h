/* SPDX-License-Identifier: MIT
 * OpenCL as the library meets it on a machine with one device of a given kind, without that device: every function the
 * library calls, of which only the build does something. It hands over what a driver's compiler would get. */
#ifndef ROSACE_TESTS_OFFLINE_FAKE_OPENCL_H
#define ROSACE_TESTS_OFFLINE_FAKE_OPENCL_H

#include <CL/cl.h>
#include <stdbool.h>

typedef struct fake_device {
    const char *profile;               /* how the gate calls it */
    const char *platform, *vendor, *name, *extensions;
    cl_device_type type;
    bool unified;
    cl_uint vector_width;              /* of float */
    size_t max_work_group_size;
    cl_ulong local_memory_bytes;
    size_t sub_group_sizes[4];         /* as cl_intel_required_subgroup_size tells, ends with 0 */
    cl_uint lanes;                     /* warp or wavefront, by the vendor's query */
    cl_uint capability[2];             /* NVIDIA's, major and minor */
} fake_device;

/* The one device there is. `built` gets the text and options of each program that is built. */
typedef void (*fake_built_fn)(const char *source, const char *options);
void fake_opencl(const fake_device *device, fake_built_fn built);

/* Any memory object or queue will do, as long as it is not NULL. */
extern const cl_mem fake_mem;
extern const cl_command_queue fake_queue;

#endif
