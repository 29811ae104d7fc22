/* SPDX-License-Identifier: MIT
 * Matrix products for other operations: operands of different types, offsets and a batch of two levels. */
#ifndef ROSACE_SRC_OPS_MATMUL_H
#define ROSACE_SRC_OPS_MATMUL_H

#include <rosace/matmul.h>

#include "shared/matmul_args.h"
#include "../context.h"
#include "../queue.h"
#include "../tuning.h"

/* A row of the table: a kernel and its shape. */
typedef enum rsc_matmul_kind { RSC_MATMUL_FEW_ROWS, RSC_MATMUL_PANEL, RSC_MATMUL_ITEM, RSC_MATMUL_CLBLAST } rsc_matmul_kind;
typedef struct rsc_matmul_row {
    const char *name;
    rsc_matmul_kind kind;
    unsigned vec, rows;               /* of a register tile: vectors of vec elements, 2 of them a row */
    unsigned chunk, columns, block_k; /* PANEL: most rows and columns of a work-item, steps of k between copies */
    bool (*suits)(const rosace_device_info *device); /* meant for it; any device can run any row of its own */
} rsc_matmul_row;

/* rosace's own, best first for the devices that each suits; the last takes everything. Ends with a NULL name. */
extern const rsc_matmul_row rsc_matmul_tile_rows[];
/* One of those or "matmul_clblast"; NULL: no such row. */
const rsc_matmul_row *rsc_matmul_row_named(const char *name);

enum { RSC_MATMUL_FEW = 16 }; /* most rows of A for RSC_MATMUL_FEW_ROWS */

/* What the code depends on. Types may differ only on TILE; AUTO sees to that. */
typedef struct rsc_matmul_desc {
    rosace_dtype a, b, c;
    bool transpose_a, transpose_b;
    rosace_matmul_path path;
    bool prefer_clblast; /* AUTO: CLBlast where it can, on CPU devices, too */
    bool one_kernel;     /* no RSC_MATMUL_FEW_ROWS: after rsc_matmul_create nothing is built any more */
    bool b_packed;       /* B is what rsc_matmul_pack made; rows of kind PANEL alone */
    const rsc_matmul_row *row; /* this one, whatever the path and the device (default NULL: chosen call by call) */
} rsc_matmul_desc;

/* Kernels made ready. One thread at a time, since it holds kernel arguments. */
typedef struct rsc_matmul rsc_matmul;

rosace_status rsc_matmul_create(rosace_context *context, const rsc_matmul_desc *desc, rsc_matmul **out);
void rsc_matmul_destroy(rsc_matmul **matmul);

/* One product; `args.chunk`, `columns` and `tiles` are set here. m, n, batch of 0 do nothing; k of 0 gives beta * C. */
typedef struct rsc_matmul_call {
    cl_mem a, b, c;
    rsc_matmul_args args;
    size_t batch;
} rsc_matmul_call;
rosace_status rsc_matmul_chain(rsc_matmul *matmul, rsc_chain *chain, const rsc_matmul_call *call);

/* The class under which a product is measured (tuning.h): data type, and few rows, small or large. The index-th row that can
 * make it on a device, NULL behind the last. The row that makes it: by path, then as measured, then by rule of thumb. */
void rsc_matmul_class(const rsc_matmul_desc *desc, const rsc_matmul_call *call, char out[RSC_CLASS_BYTES]);
const rsc_matmul_row *rsc_matmul_candidate(const rosace_device_info *device, const rsc_matmul_desc *desc,
                                           const rsc_matmul_call *call, size_t index);
const rsc_matmul_row *rsc_matmul_choose(rosace_context *context, const rsc_matmul_desc *desc, const rsc_matmul_call *call);

/* The rows of C that one work-item of the tile kernel takes best: callers that cut their own blocks of rows use a multiple
 * of it. */
size_t rsc_matmul_rows(const rosace_device_info *device);

/* rosace's own kernels (matmul_tile.c). NULL or why a row cannot make this product; the product itself. */
const char *rsc_matmul_tile_refuses(const rsc_matmul_row *row, const rosace_device_info *device,
                                    const rsc_matmul_desc *desc, const rsc_matmul_call *call);
rosace_status rsc_matmul_tile(rsc_matmul *matmul, const rsc_matmul_row *row, rsc_chain *chain, const rsc_matmul_call *call);
const rsc_matmul_desc *rsc_matmul_get_desc(const rsc_matmul *matmul);
rosace_context *rsc_matmul_context(const rsc_matmul *matmul);

struct rosace_matmul_weights {
    rosace_context *context;
    rosace_dtype dtype;
    bool transpose;
    rosace_matrix matrix; /* as given; its buffer is not to be used once packed */
    bool retained;
    cl_mem packed; /* owned; NULL: the matrix is used as it is */
};
/* Fills `packed` where the device gains by it, and waits for it. */
rosace_status rsc_matmul_pack(rosace_context *context, cl_command_queue queue, rosace_matmul_weights *weights);

/* CLBlast's part (matmul_clblast.c): NULL when it can do this call, else why not; and the call itself. */
const char *rsc_matmul_clblast_refuses(const rosace_device_info *device, const rsc_matmul_desc *desc,
                                       const rsc_matmul_call *call);
rosace_status rsc_matmul_clblast(rsc_chain *chain, const rsc_matmul_desc *desc, const rsc_matmul_call *call);

#endif
