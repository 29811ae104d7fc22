/* SPDX-License-Identifier: MIT
 * The limits of a device, measured: how many additions and multiplications, how many bytes a second. */
#ifndef ROSACE_CLI_BENCH_ROOFLINE_H
#define ROSACE_CLI_BENCH_ROOFLINE_H

#include "device.h"
#include "timing.h"

typedef enum roof_kind {
    ROOF_FMA,    /* multiply-adds on registers alone, fp32; 2 operations each */
    ROOF_COPY,   /* from one buffer to another; bytes read and written */
    ROOF_UPDATE, /* a buffer in place; bytes read and written */
    ROOF_READ,   /* a buffer read; bytes */
    N_ROOFS
} roof_kind;

/* "fma", "copy", "update", "read", as JSON has them, and their unit, "GFLOP/s" or "GB/s" */
const char *roof_name(roof_kind kind);
const char *roof_unit(roof_kind kind);

/* How a kernel is best launched here, found by trying. */
typedef struct roof_launch {
    cl_kernel kernel;
    size_t global, local; /* local 0: the driver's choice */
    double work;          /* operations or bytes per launch */
    char variant[96];     /* "vectors of 16, 8 work-items" */
} roof_launch;

typedef struct rooflines {
    bench_device *device;
    cl_mem a, b; /* of `bytes` each, larger than caches; made when first needed */
    size_t bytes;
    cl_mem sums, results; /* what ROOF_READ and ROOF_FMA write */
    roof_launch launch[N_ROOFS]; /* kernel NULL: not measured yet */
    struct roof_user {
        struct rooflines *roofs;
        roof_kind kind;
    } users[N_ROOFS];
} rooflines;

/* `bytes`: size of each of the two tensors of the bandwidth kernels. */
void rooflines_init(rooflines *roofs, bench_device *device, size_t bytes);
void rooflines_free(rooflines *roofs);
/* An entry for timing_interleave; the first call per kind tries the kind's variants and keeps the fastest. */
bool rooflines_entry(rooflines *roofs, roof_kind kind, timing_entry *out);

#endif
