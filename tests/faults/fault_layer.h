/* SPDX-License-Identifier: MIT
 * An OpenCL layer that makes chosen calls fail and counts what is alive. The ICD loader loads it when OPENCL_LAYERS names
 * it; a test finds its controls with dlopen(RTLD_NOLOAD) and dlsym("fault_layer_controls"). */
#ifndef ROSACE_TESTS_FAULT_LAYER_H
#define ROSACE_TESTS_FAULT_LAYER_H

#include <CL/cl.h>

typedef enum fault_object {
    FAULT_CONTEXT = 0,
    FAULT_QUEUE,
    FAULT_MEM,
    FAULT_PROGRAM,
    FAULT_KERNEL,
    FAULT_EVENT,
    FAULT_OBJECTS
} fault_object;

typedef struct fault_controls {
    int armed;          /* 0: calls pass uncounted */
    long fail_at;       /* this call fails, the first being 1; 0: none does, calls are only counted */
    long calls;         /* counted since the test set it to 0 */
    const char *failed; /* the function that failed, or NULL */
    long live[FAULT_OBJECTS]; /* references that exist: created or retained, and not yet released */
} fault_controls;

#endif
