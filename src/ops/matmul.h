/* SPDX-License-Identifier: MIT
 * Matrix products for other operations: operands of different types, offsets and a batch of two levels. */
#ifndef ROSACE_SRC_OPS_MATMUL_H
#define ROSACE_SRC_OPS_MATMUL_H

#include <rosace/matmul.h>

#include "shared/matmul_args.h"
#include "../context.h"
#include "../queue.h"

/* What the code depends on. Types may differ only on TILE; AUTO sees to that. */
typedef struct rsc_matmul_desc {
    rosace_dtype a, b, c;
    bool transpose_a, transpose_b;
    rosace_matmul_path path;
    bool prefer_clblast; /* AUTO: CLBlast where it can, on CPU devices, too */
} rsc_matmul_desc;

/* Kernels made ready. One thread at a time, since it holds kernel arguments. */
typedef struct rsc_matmul rsc_matmul;

rosace_status rsc_matmul_create(rosace_context *context, const rsc_matmul_desc *desc, rsc_matmul **out);
void rsc_matmul_destroy(rsc_matmul **matmul);

/* One product; `args.chunk` is set here. m, n, batch of 0 do nothing; k of 0 gives beta * C. */
typedef struct rsc_matmul_call {
    cl_mem a, b, c;
    rsc_matmul_args args;
    size_t batch;
} rsc_matmul_call;
rosace_status rsc_matmul_chain(rsc_matmul *matmul, rsc_chain *chain, const rsc_matmul_call *call);

/* The rows of C that one work-item of the tile kernel takes best: callers that cut their own blocks of rows use a multiple
 * of it. */
size_t rsc_matmul_rows(const rosace_device_info *device);

/* CLBlast's part (matmul_clblast.c): NULL when it can do this call, else why not; and the call itself. */
const char *rsc_matmul_clblast_refuses(const rosace_device_info *device, const rsc_matmul_desc *desc,
                                       const rsc_matmul_call *call);
rosace_status rsc_matmul_clblast(rsc_chain *chain, const rsc_matmul_desc *desc, const rsc_matmul_call *call);

#endif
