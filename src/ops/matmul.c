/* SPDX-License-Identifier: MIT
 * Matrix products: which row of the table makes one (matmul_tile.c: rosace's own kernels; matmul_clblast.c), and the public
 * operation. */
#include "matmul.h"

#include "../check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Choice ------------------------------------------------------------------------------------------------------ */

static const char operation[] = "matmul";
static const rsc_matmul_row clblast_row = {.name = "matmul_clblast", .kind = RSC_MATMUL_CLBLAST};

void rsc_matmul_class(const rsc_matmul_desc *desc, const rsc_matmul_call *call, char out[RSC_CLASS_BYTES])
{
    static const double small = 2.0 * 256 * 256 * 256;
    const rsc_matmul_args *g = &call->args;
    const double flops = 2.0 * g->m * g->n * g->k * (double)call->batch;
    const char *dtype = desc->a != desc->b || desc->a != desc->c ? "mixed" : rosace_dtype_name(desc->a);
    snprintf(out, RSC_CLASS_BYTES, "%s %s", dtype, g->m <= RSC_MATMUL_FEW ? "few" : flops <= small ? "small" : "large");
}

const rsc_matmul_row *rsc_matmul_row_named(const char *name)
{
    if (!strcmp(name, clblast_row.name)) return &clblast_row;
    for (const rsc_matmul_row *row = rsc_matmul_tile_rows; row->name; row++)
        if (!strcmp(name, row->name)) return row;
    return NULL;
}

/* NULL, or why the row cannot make this product on this device. */
static const char *refuses(const rsc_matmul_row *row, const rosace_device_info *device, const rsc_matmul_desc *desc,
                           const rsc_matmul_call *call)
{
    return row->kind == RSC_MATMUL_CLBLAST ? rsc_matmul_clblast_refuses(device, desc, call)
                                           : rsc_matmul_tile_refuses(row, device, desc, call);
}

const rsc_matmul_row *rsc_matmul_candidate(const rosace_device_info *device, const rsc_matmul_desc *desc,
                                           const rsc_matmul_call *call, size_t index)
{
    for (const rsc_matmul_row *row = rsc_matmul_tile_rows; row->name; row++)
        if (!refuses(row, device, desc, call) && index-- == 0) return row;
    return !refuses(&clblast_row, device, desc, call) && index == 0 ? &clblast_row : NULL;
}

const rsc_matmul_row *rsc_matmul_choose(rosace_context *context, const rsc_matmul_desc *desc, const rsc_matmul_call *call)
{
    const rosace_device_info *device = rosace_context_device_info(context);
    if (desc->path == ROSACE_MATMUL_CLBLAST) return &clblast_row;
    if (desc->path == ROSACE_MATMUL_AUTO) {
        char class_of_call[RSC_CLASS_BYTES], name[RSC_ROW_BYTES];
        rsc_matmul_class(desc, call, class_of_call);
        if (!desc->prefer_clblast && rsc_tuned(context, operation, class_of_call, name)) {
            const rsc_matmul_row *row = rsc_matmul_row_named(name);
            const char *reason = row ? refuses(row, device, desc, call) : "there is no such row";
            if (!reason) return row;
            if (!row) rsc_tuning_refuse(context, operation, class_of_call, reason);
            else rsc_log(context, ROSACE_LOG_DEBUG, "matmul: not %s as measured for %s: %s", name, class_of_call, reason);
        }
        if (device->device_class != ROSACE_DEVICE_CPU || desc->prefer_clblast) {
            const char *reason = rsc_matmul_clblast_refuses(device, desc, call);
            if (!reason) return &clblast_row;
            rsc_log(context, ROSACE_LOG_DEBUG, "matmul: not clblast: %s", reason);
        }
    }
    const rsc_matmul_row *row = rsc_matmul_tile_rows;
    while (!row->suits(device) || rsc_matmul_tile_refuses(row, device, desc, call)) row++; /* the last takes all */
    return row;
}

rosace_status rsc_matmul_chain(rsc_matmul *matmul, rsc_chain *chain, const rsc_matmul_call *call)
{
    if (!call->args.m || !call->args.n || !call->batch) return ROSACE_OK;
    rosace_context *context = rsc_matmul_context(matmul);
    const rosace_device_info *device = rosace_context_device_info(context);
    const rsc_matmul_desc *desc = rsc_matmul_get_desc(matmul);
    const rsc_matmul_row *row = desc->row ? desc->row : rsc_matmul_choose(context, desc, call);
    const char *reason = refuses(row, device, desc, call);
    if (reason) return rsc_fail(ROSACE_UNSUPPORTED, "%s: %s", row->name, reason);
    return row->kind == RSC_MATMUL_CLBLAST ? rsc_matmul_clblast(chain, desc, call)
                                           : rsc_matmul_tile(matmul, row, chain, call);
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

static rsc_matmul_operand_args operand(const rosace_matrix *x)
{
    return (rsc_matmul_operand_args){.offset = x->offset,
                                     .row_stride = x->row_stride ? x->row_stride : x->cols,
                                     .outer_stride = x->batch_stride,
                                     .inner_div = 1};
}

/* Checks everything, and says what it comes to. */
static rosace_status resolve(rosace_context *context, const rosace_matmul_args *given, rsc_matmul_desc *desc,
                             rsc_matmul_call *call)
{
    rosace_matmul_args args = ROSACE_MATMUL_ARGS_DEFAULT;
    if (!context) return INVALID("context: NULL");
    rosace_status status = rsc_read_struct("args", given, &args, sizeof args);
    if (status) return status;
    status = rsc_check_dtype("dtype", args.dtype);
    if (status) return status;
    if (args.path != ROSACE_MATMUL_AUTO && args.path != ROSACE_MATMUL_CLBLAST && args.path != ROSACE_MATMUL_TILE)
        return INVALID("path = %d: must be ROSACE_MATMUL_AUTO, _CLBLAST or _TILE", (int)args.path);
    if (!args.batch || args.batch > INT32_MAX) return INVALID("batch = %zu: must be 1 to 2^31 - 1", args.batch);
    if (!isfinite(args.alpha)) return INVALID("alpha = %g: must be finite", (double)args.alpha);
    if (!isfinite(args.beta)) return INVALID("beta = %g: must be finite", (double)args.beta);
    const rosace_matmul_weights *weights = args.weights;
    if (weights) {
        if (weights->context != context) return INVALID("weights: of another context");
        if (weights->dtype != args.dtype) return INVALID("weights: of another dtype than args.dtype = %d", (int)args.dtype);
        if (args.b.mem) return INVALID("b: must be all zeros beside weights");
        if (args.transpose_b) return INVALID("transpose_b: weights have their own, given when they were made");
        if (weights->packed && args.path == ROSACE_MATMUL_CLBLAST)
            return rsc_fail(ROSACE_UNSUPPORTED, "path clblast: weights are packed for ROSACE_MATMUL_TILE");
        args.b = weights->matrix;
        args.transpose_b = weights->transpose;
    }
    rosace_tensor a, b, c;
    status = check_matrix(context, "a", &args.a, args.dtype, args.batch, false, &a);
    if (!status && !weights) status = check_matrix(context, "b", &args.b, args.dtype, args.batch, false, &b);
    if (!status) status = check_matrix(context, "c", &args.c, args.dtype, args.batch, true, &c);
    if (!status && args.beta != 0.0f) status = rsc_check_readable("c", args.c.mem);
    if (status) return status;

    const size_t m = args.transpose_a ? args.a.cols : args.a.rows, k = args.transpose_a ? args.a.rows : args.a.cols;
    const size_t kb = args.transpose_b ? args.b.cols : args.b.rows, n = args.transpose_b ? args.b.rows : args.b.cols;
    const char *const b_name = weights ? "weights" : "b";
    if (kb != k) return INVALID("%s: op(b) has %zu rows, op(a) has %zu columns: must be equal", b_name, kb, k);
    if (args.c.rows != m) return INVALID("c.rows = %zu: op(a) has %zu rows", args.c.rows, m);
    if (args.c.cols != n) return INVALID("c.cols = %zu: op(b) has %zu columns", args.c.cols, n);
    status = rsc_check_disjoint_tensors(context, "c", &c, "a", &a);
    if (!status && !weights) status = rsc_check_disjoint_tensors(context, "c", &c, "b", &b);
    if (!status && weights && !weights->packed && args.c.mem == weights->matrix.mem) status = INVALID("c: is in the buffer of weights");
    if (status) return status;

    *call = (rsc_matmul_call){
        .a = args.a.mem,
        .b = weights && weights->packed ? weights->packed : args.b.mem,
        .c = args.c.mem,
        .args = {.a = operand(&args.a),
                 .b = operand(&args.b),
                 .c = operand(&args.c),
                 .m = (uint32_t)m,
                 .n = (uint32_t)n,
                 .k = (uint32_t)k,
                 .inner = 1,
                 .alpha = args.alpha,
                 .beta = args.beta},
        .batch = args.batch,
    };
    if (weights && weights->packed) call->args.b = (rsc_matmul_operand_args){.inner_div = 1};
    memset(desc, 0, sizeof *desc); /* compared as bytes */
    desc->a = desc->b = desc->c = args.dtype;
    desc->transpose_a = args.transpose_a;
    desc->transpose_b = args.transpose_b && !(weights && weights->packed);
    desc->b_packed = weights && weights->packed;
    desc->path = args.path;
    if (args.path != ROSACE_MATMUL_CLBLAST) return ROSACE_OK;
    const char *reason = rsc_matmul_clblast_refuses(rosace_context_device_info(context), desc, call);
    return reason ? rsc_fail(ROSACE_UNSUPPORTED, "path clblast: %s", reason) : ROSACE_OK;
}

const char *rosace_matmul_variant(rosace_context *context, const rosace_matmul_args *args)
{
    rsc_matmul_desc desc;
    rsc_matmul_call call;
    return resolve(context, args, &desc, &call) ? "" : rsc_matmul_choose(context, &desc, &call)->name;
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

rosace_status rosace_matmul(rosace_context *context, cl_command_queue queue, const rosace_matmul_args *args,
                            cl_uint num_wait, const cl_event *wait, cl_event *event)
{
    rsc_matmul_desc desc;
    rsc_matmul_call call;
    rosace_status status = resolve(context, args, &desc, &call);
    if (status) return status;
    rsc_plan_entry *entry = NULL;
    void *matmul = NULL;
    status = rsc_plan_acquire(context, operation, &desc, sizeof desc, make_cached, drop_cached, &desc, &entry, &matmul);
    if (status) return status;
    rsc_chain chain;
    status = rsc_chain_begin(&chain, context, queue, num_wait, wait);
    if (!status) status = rsc_matmul_chain(matmul, &chain, &call);
    status = rsc_chain_end(&chain, status, event);
    rsc_plan_release(entry);
    return status;
}

/* ---- Weights that stay --------------------------------------------------------------------------------------------- */

rosace_status rosace_matmul_weights_create(rosace_context *context, cl_command_queue queue, rosace_dtype dtype,
                                           const rosace_matrix *matrix, bool transpose, rosace_matmul_weights **out)
{
    if (!out) return INVALID("out: NULL");
    *out = NULL;
    if (!context) return INVALID("context: NULL");
    if (!matrix) return INVALID("matrix: NULL");
    rosace_status status = rsc_check_dtype("dtype", dtype);
    if (status) return status;
    rosace_tensor view;
    status = check_matrix(context, "matrix", matrix, dtype, 1, false, &view);
    if (status) return status;
    rosace_matmul_weights *weights = rsc_calloc(context, 1, sizeof *weights);
    if (!weights) return rsc_fail(ROSACE_OUT_OF_MEMORY, "weights: no host memory");
    weights->context = context;
    weights->dtype = dtype;
    weights->transpose = transpose;
    weights->matrix = *matrix;
    weights->matrix.batch_stride = 0;
    if (!weights->matrix.row_stride) weights->matrix.row_stride = matrix->cols;
    status = rsc_matmul_pack(context, queue, weights);
    if (weights->packed) weights->matrix.mem = NULL; /* the caller's to release; another buffer may get its address */
    if (!status && !weights->packed) {
        const cl_int code = clRetainMemObject(matrix->mem);
        if (code) status = rsc_fail_cl(code, "weights: clRetainMemObject");
        else weights->retained = true;
    }
    if (status) rosace_matmul_weights_destroy(&weights);
    *out = weights;
    return status;
}

void rosace_matmul_weights_destroy(rosace_matmul_weights **weights)
{
    if (!weights || !*weights) return;
    rosace_matmul_weights *w = *weights;
    *weights = NULL;
    if (w->packed) clReleaseMemObject(w->packed);
    if (w->retained) clReleaseMemObject(w->matrix.mem);
    rsc_free(w->context, w);
}
