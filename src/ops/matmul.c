/* SPDX-License-Identifier: MIT
 * Matrix products: rosace's tile kernel, or CLBlast (matmul_clblast.c).
 *
 * The tile kernel needs no workspace: on CPU devices a work-item packs its part of B into private memory as it goes
 * (cl/matmul_tile.cl), so a call allocates nothing and any number of threads may enqueue. */
#include "matmul.h"

#include "../check.h"
#include "../program.h"

#include <math.h>
#include <string.h>

struct rsc_matmul {
    rosace_context *context;
    rsc_matmul_desc desc;
    cl_kernel kernel; /* NULL when the path is CLBLAST */
    bool panel;
    unsigned width, rows, chunk; /* columns and rows of a register tile, most rows of a work-item */
};

/* ---- Shape of the tile kernel ------------------------------------------------------------------------------------ */

/* A CPU device compiles one work-item to vector instructions of its own width; where it reports no width it vectorises
 * over work-items and is treated as a GPU. */
static bool takes_panels(const rosace_device_info *device)
{
    return device->device_class == ROSACE_DEVICE_CPU && device->float_vector_width >= 4;
}

typedef struct tile_shape {
    unsigned vec, rows, chunk;
} tile_shape;

static tile_shape choose_shape(const rosace_device_info *device)
{
    if (!takes_panels(device)) return (tile_shape){.vec = 4, .rows = 4, .chunk = 4};
    /* Two vectors of sums per row and two of B: 26 of the 32 registers of AVX-512 and NEON, 14 of the 16 of AVX. */
    if (device->float_vector_width >= 16) return (tile_shape){.vec = 16, .rows = 12, .chunk = 240};
    if (device->float_vector_width >= 8) return (tile_shape){.vec = 8, .rows = 6, .chunk = 240};
    return (tile_shape){.vec = 4, .rows = 12, .chunk = 240};
}

size_t rsc_matmul_rows(const rosace_device_info *device) { return takes_panels(device) ? choose_shape(device).chunk : 128; }

rosace_status rsc_matmul_create(rosace_context *context, const rsc_matmul_desc *desc, rsc_matmul **out)
{
    static const char *const pieces[] = {"matmul_tile.cl", NULL};
    const rosace_device_info *device = rosace_context_device_info(context);
    *out = NULL;
    rsc_matmul *matmul = rsc_calloc(context, 1, sizeof *matmul);
    if (!matmul) return rsc_fail(ROSACE_OUT_OF_MEMORY, "matmul: no host memory");
    const tile_shape shape = choose_shape(device);
    matmul->context = context;
    matmul->desc = *desc;
    matmul->panel = takes_panels(device);
    matmul->width = 2 * shape.vec;
    matmul->rows = shape.rows;
    matmul->chunk = shape.chunk;
    if (desc->path != ROSACE_MATMUL_CLBLAST) {
        rsc_options options = {.count = 0};
        rsc_option_int(&options, "PANEL", matmul->panel);
        rsc_option_int(&options, "VEC", shape.vec);
        rsc_option_int(&options, "ROWS", shape.rows);
        rsc_option_int(&options, "CHUNK", shape.chunk);
        rsc_option_int(&options, "BLOCK_K", 256);
        rsc_option_int(&options, "A_F16", desc->a == ROSACE_F16);
        rsc_option_int(&options, "B_F16", desc->b == ROSACE_F16);
        rsc_option_int(&options, "C_F16", desc->c == ROSACE_F16);
        rsc_option_int(&options, "TRANSPOSE_A", desc->transpose_a);
        rsc_option_int(&options, "TRANSPOSE_B", desc->transpose_b);
        const rosace_status status = rsc_kernel_create(context, pieces, matmul->panel ? "matmul_panel" : "matmul_item",
                                                       &options, &matmul->kernel);
        if (status) {
            rsc_matmul_destroy(&matmul);
            return status;
        }
    }
    *out = matmul;
    return ROSACE_OK;
}

void rsc_matmul_destroy(rsc_matmul **matmul)
{
    if (!matmul || !*matmul) return;
    if ((*matmul)->kernel) clReleaseKernel((*matmul)->kernel);
    rsc_free((*matmul)->context, *matmul);
    *matmul = NULL;
}

static rosace_status tile_chain(rsc_matmul *matmul, rsc_chain *chain, const rsc_matmul_call *call)
{
    static const size_t alone[3] = {1, 1, 1};
    rsc_matmul_args args = call->args;
    const size_t panels = (args.n + matmul->width - 1) / matmul->width;
    args.chunk = matmul->chunk;
    if (matmul->panel) {
        /* The more rows, the less packing; but every compute unit should have several work-items. */
        const size_t wanted = 4 * (size_t)rosace_context_device_info(matmul->context)->compute_units;
        while (args.chunk > matmul->rows && panels * ((args.m + args.chunk - 1) / args.chunk) * call->batch < wanted)
            args.chunk -= matmul->rows;
    }
    const size_t global[3] = {panels, (args.m + args.chunk - 1) / args.chunk, call->batch};
    const rosace_status status = RSC_ARGS(matmul->kernel, "matmul", RSC_ARG(call->a), RSC_ARG(call->b), RSC_ARG(call->c),
                                          RSC_ARG(args));
    if (status) return status;
    return rsc_chain_kernel(chain, matmul->kernel, 3, global, matmul->panel ? alone : NULL, "matmul");
}

rosace_status rsc_matmul_chain(rsc_matmul *matmul, rsc_chain *chain, const rsc_matmul_call *call)
{
    const rosace_device_info *device = rosace_context_device_info(matmul->context);
    if (!call->args.m || !call->args.n || !call->batch) return ROSACE_OK;
    const bool prefers_tile = device->device_class == ROSACE_DEVICE_CPU && !matmul->desc.prefer_clblast;
    if (matmul->desc.path == ROSACE_MATMUL_TILE || (matmul->desc.path == ROSACE_MATMUL_AUTO && prefers_tile))
        return tile_chain(matmul, chain, call);
    const char *reason = rsc_matmul_clblast_refuses(device, &matmul->desc, call);
    if (!reason) return rsc_matmul_clblast(chain, &matmul->desc, call);
    if (matmul->desc.path == ROSACE_MATMUL_CLBLAST) return rsc_fail(ROSACE_UNSUPPORTED, "path clblast: %s", reason);
    rsc_log(matmul->context, ROSACE_LOG_DEBUG, "matmul: tile, since %s", reason);
    return tile_chain(matmul, chain, call);
}

/* ---- The public operation ---------------------------------------------------------------------------------------- */

#define INVALID(...) rsc_fail(ROSACE_INVALID_ARGUMENT, __VA_ARGS__)

static rosace_status check_matrix(rosace_context *context, const char *name, const rosace_matrix *x, rosace_dtype dtype,
                                  size_t batch, bool output, rosace_tensor *view)
{
    if (!x->rows || x->rows > INT32_MAX) return INVALID("%s.rows = %zu: must be 1 to 2^31 - 1", name, x->rows);
    if (!x->cols || x->cols > INT32_MAX) return INVALID("%s.cols = %zu: must be 1 to 2^31 - 1", name, x->cols);
    const size_t row_stride = x->row_stride ? x->row_stride : x->cols;
    if (row_stride < x->cols || row_stride > PTRDIFF_MAX)
        return INVALID("%s.row_stride = %zu: must be 0 or at least cols = %zu", name, x->row_stride, x->cols);
    if (batch > 1 && x->batch_stride > PTRDIFF_MAX)
        return INVALID("%s.batch_stride = %zu: too large", name, x->batch_stride);
    if (output && batch > 1 && !x->batch_stride)
        return INVALID("%s.batch_stride = 0: an output needs its own matrix per batch of %zu", name, batch);
    *view = (rosace_tensor){
        .mem = x->mem,
        .offset = x->offset,
        .dtype = dtype,
        .shape = {batch, x->rows, 1, x->cols},
        .stride = {batch > 1 ? (ptrdiff_t)x->batch_stride : 0, (ptrdiff_t)row_stride, (ptrdiff_t)x->cols, 1},
    };
    return rsc_check_tensor(context, name, view, dtype, output, NULL);
}

static rosace_status check_args(rosace_context *context, const rosace_matmul_args *args)
{
    if (!rosace_dtype_size(args->dtype)) return INVALID("dtype = %d: must be ROSACE_F32 or ROSACE_F16", (int)args->dtype);
    if (args->path != ROSACE_MATMUL_AUTO && args->path != ROSACE_MATMUL_CLBLAST && args->path != ROSACE_MATMUL_TILE)
        return INVALID("path = %d: must be ROSACE_MATMUL_AUTO, _CLBLAST or _TILE", (int)args->path);
    if (!args->batch || args->batch > INT32_MAX) return INVALID("batch = %zu: must be 1 to 2^31 - 1", args->batch);
    if (!isfinite(args->alpha)) return INVALID("alpha = %g: must be finite", (double)args->alpha);
    if (!isfinite(args->beta)) return INVALID("beta = %g: must be finite", (double)args->beta);
    rosace_tensor a, b, c;
    rosace_status status = check_matrix(context, "a", &args->a, args->dtype, args->batch, false, &a);
    if (!status) status = check_matrix(context, "b", &args->b, args->dtype, args->batch, false, &b);
    if (!status) status = check_matrix(context, "c", &args->c, args->dtype, args->batch, true, &c);
    if (status) return status;

    const size_t m = args->transpose_a ? args->a.cols : args->a.rows, k = args->transpose_a ? args->a.rows : args->a.cols;
    const size_t kb = args->transpose_b ? args->b.cols : args->b.rows, n = args->transpose_b ? args->b.rows : args->b.cols;
    if (kb != k) return INVALID("b: op(b) has %zu rows, op(a) has %zu columns: must be equal", kb, k);
    if (args->c.rows != m) return INVALID("c.rows = %zu: op(a) has %zu rows", args->c.rows, m);
    if (args->c.cols != n) return INVALID("c.cols = %zu: op(b) has %zu columns", args->c.cols, n);
    status = rsc_check_disjoint_tensors(context, "c", &c, "a", &a);
    if (!status) status = rsc_check_disjoint_tensors(context, "c", &c, "b", &b);
    return status;
}

static rsc_matmul_operand_args operand(const rosace_matrix *x)
{
    return (rsc_matmul_operand_args){.offset = x->offset,
                                     .row_stride = x->row_stride ? x->row_stride : x->cols,
                                     .outer_stride = x->batch_stride,
                                     .inner_div = 1};
}

static rosace_status make_cached(rosace_context *context, const void *desc, void **plan)
{
    rsc_matmul *made = NULL;
    const rosace_status status = rsc_matmul_create(context, desc, &made);
    *plan = made;
    return status;
}

static void drop_cached(void *plan)
{
    rsc_matmul *matmul = plan;
    rsc_matmul_destroy(&matmul);
}

rosace_status rosace_matmul(rosace_context *context, cl_command_queue queue, const rosace_matmul_args *given,
                            cl_uint num_wait, const cl_event *wait, cl_event *event)
{
    static const char kind[] = "matmul";
    if (!context) return INVALID("context: NULL");
    rosace_matmul_args args = ROSACE_MATMUL_ARGS_DEFAULT;
    rosace_status status = rsc_read_struct("args", given, &args, sizeof args);
    if (status) return status;
    status = check_args(context, &args);
    if (status) return status;

    rsc_matmul_call call = {
        .a = args.a.mem,
        .b = args.b.mem,
        .c = args.c.mem,
        .args = {.a = operand(&args.a),
                 .b = operand(&args.b),
                 .c = operand(&args.c),
                 .m = (uint32_t)args.c.rows,
                 .n = (uint32_t)args.c.cols,
                 .k = (uint32_t)(args.transpose_a ? args.a.rows : args.a.cols),
                 .inner = 1,
                 .alpha = args.alpha,
                 .beta = args.beta},
        .batch = args.batch,
    };
    rsc_matmul_desc desc;
    memset(&desc, 0, sizeof desc); /* compared as bytes */
    desc.a = desc.b = desc.c = args.dtype;
    desc.transpose_a = args.transpose_a;
    desc.transpose_b = args.transpose_b;
    desc.path = args.path;
    if (args.path == ROSACE_MATMUL_CLBLAST) {
        const char *reason = rsc_matmul_clblast_refuses(rosace_context_device_info(context), &desc, &call);
        if (reason) return rsc_fail(ROSACE_UNSUPPORTED, "path clblast: %s", reason);
    }
    rsc_plan_entry *entry = NULL;
    void *matmul = NULL;
    status = rsc_plan_acquire(context, kind, &desc, sizeof desc, make_cached, drop_cached, &desc, &entry, &matmul);
    if (status) return status;
    rsc_chain chain;
    status = rsc_chain_begin(&chain, context, queue, num_wait, wait);
    if (!status) status = rsc_matmul_chain(matmul, &chain, &call);
    status = rsc_chain_end(&chain, status, event);
    rsc_plan_release(entry);
    return status;
}
