/* SPDX-License-Identifier: MIT
 * Embedding, norms, activations, adds and cross entropy: check, pick the program for the storage types, enqueue.
 */
#include <rosace/layers.h>

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../check.h"
#include "../context.h"
#include "../options.h"
#include "../program.h"
#include "../queue.h"

/* Rows and columns: int32 indices, and rows times a group of 64 fits size_t. */
static const size_t most_rows = SIZE_MAX / 64 < INT32_MAX ? SIZE_MAX / 64 : INT32_MAX;

/* What decides the code of a kernel; also the key under which it is kept, so every byte is set. */
typedef struct layer_key {
    char kernel[16];
    int32_t a, b, out; /* dtypes; 0 where the kernel has no such argument */
} layer_key;

typedef struct layer_plan {
    rosace_context *context;
    cl_kernel kernel;
    size_t group; /* work-items of a group */
    size_t vec;   /* elements a work-item takes at once */
} layer_plan;

static void layer_drop(void *plan) {
    layer_plan *self = plan;
    if (!self) return;
    if (self->kernel) clReleaseKernel(self->kernel);
    rsc_free(self->context, self);
}

static rosace_status layer_make(rosace_context *context, const void *desc, void **plan) {
    static const char *const pieces[] = {"layers.cl", NULL};
    const layer_key *key = desc;
    rosace_status status = ROSACE_OK;
    layer_plan *self = rsc_calloc(context, 1, sizeof *self);
    if (!self) return rsc_fail(ROSACE_OUT_OF_MEMORY, "%s: no host memory for the plan", key->kernel);
    self->context = context;

    /* A CPU device runs a work-item on one core in wide vectors; a GPU wants the row spread over a group. */
    const bool cpu = rosace_context_device_info(context)->device_class == ROSACE_DEVICE_CPU;
    self->vec = cpu ? 16 : 4;
    const size_t largest = rosace_context_device_info(context)->max_work_group_size;
    self->group = cpu ? 1 : 64;
    while (self->group > 1 && self->group > largest)
        self->group /= 2;

    rsc_options options = {0};
    rsc_option_int(&options, "A_DTYPE", (long)key->a);
    rsc_option_int(&options, "B_DTYPE", (long)key->b);
    rsc_option_int(&options, "OUT_DTYPE", (long)key->out);
    rsc_option_int(&options, "VEC", (long)self->vec);
    rsc_option_int(&options, "GROUP", (long)self->group);
    status = rsc_kernel_create(context, pieces, key->kernel, &options, &self->kernel);
    if (status) {
        layer_drop(self);
        return status;
    }
    *plan = self;
    return ROSACE_OK;
}

static rosace_status layer_acquire(rosace_context *context, const char *kernel, int a, int b, int out,
                                   rsc_plan_entry **entry, layer_plan **plan) {
    layer_key key;
    memset(&key, 0, sizeof key);
    strncpy(key.kernel, kernel, sizeof key.kernel - 1);
    key.a = a;
    key.b = b;
    key.out = out;
    void *found = NULL;
    const rosace_status status =
        rsc_plan_acquire(context, "layers", &key, sizeof key, layer_make, layer_drop, &key, entry, &found);
    *plan = found;
    return status;
}

/* Runs the acquired kernel, whose arguments are set, and gives the plan back. */
static rosace_status layer_run(rosace_context *context, cl_command_queue queue, rsc_plan_entry *entry,
                               const layer_plan *plan, const char *what, cl_uint dims, const size_t *global,
                               const size_t *local, rosace_status status, cl_uint num_wait, const cl_event *wait,
                               cl_event *event) {
    if (!status) {
        rsc_chain chain;
        status = rsc_chain_begin(&chain, context, queue, num_wait, wait);
        if (!status) status = rsc_chain_kernel(&chain, plan->kernel, dims, global, local, what);
        status = rsc_chain_end(&chain, status, event);
    }
    rsc_plan_release(entry);
    return status;
}

/* ---- Checks ------------------------------------------------------------------------------------------------------ */

static rosace_status check_count(const char *name, size_t value, size_t most) {
    if (value == 0 || value > most)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s = %zu: must be 1 to %zu", name, value, most);
    return ROSACE_OK;
}

/* Only then may the other checks use the context; the queue is checked before anything is built. */
static rosace_status check_context(const char *what, rosace_context *context, cl_command_queue queue) {
    if (!context) return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s: context is NULL", what);
    if (!queue) return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s: queue is NULL", what);
    return ROSACE_OK;
}

static rosace_status check_array(rosace_context *context, const char *name, const rosace_array *array, size_t rows,
                                 size_t width, bool output, rsc_range *range) {
    const size_t bytes = rosace_dtype_size(array->dtype);
    size_t count;
    if (!bytes) {
        char field[64];
        snprintf(field, sizeof field, "%s.dtype", name);
        return rsc_check_dtype(field, array->dtype);
    }
    if (!rsc_mul(rows, width, &count))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s: %zu x %zu elements overflow size_t", name, rows, width);
    return rsc_check_array(context, name, array->mem, array->offset, count, bytes, output, range);
}

static rosace_status check_int32(rosace_context *context, const char *name, const rosace_array *array, size_t rows,
                                 rsc_range *range) {
    return rsc_check_array(context, name, array->mem, array->offset, rows, sizeof(cl_int), false, range);
}

/* An output that may be the very input, element by element, but must not overlap it in another way. */
static rosace_status check_in_place(const char *out_name, const rosace_array *out, const rsc_range *out_range,
                                    const char *name, const rosace_array *array, const rsc_range *range) {
    if (out->mem == array->mem && out->offset == array->offset && out->dtype == array->dtype) return ROSACE_OK;
    return rsc_check_disjoint(out_name, out_range, name, range);
}

static size_t round_up(size_t value, size_t to) {
    return (value + to - 1) / to * to;
}

static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

/* ---- Operations -------------------------------------------------------------------------------------------------- */

rosace_status rosace_embedding(rosace_context *context, cl_command_queue queue, rosace_array ids, rosace_array table,
                               size_t vocab, rosace_array out, size_t rows, size_t width, cl_uint num_wait,
                               const cl_event *wait, cl_event *event) {
    rsc_range ids_range, table_range, out_range;
    rosace_status status = check_context("embedding", context, queue);
    if (!status) status = check_count("vocab", vocab, INT32_MAX);
    if (!status) status = check_count("rows", rows, most_rows);
    if (!status) status = check_count("width", width, INT32_MAX);
    if (!status) status = check_int32(context, "ids", &ids, rows, &ids_range);
    if (!status) status = check_array(context, "table", &table, vocab, width, false, &table_range);
    if (!status) status = check_array(context, "out", &out, rows, width, true, &out_range);
    if (!status) status = rsc_check_disjoint("out", &out_range, "ids", &ids_range);
    if (!status) status = rsc_check_disjoint("out", &out_range, "table", &table_range);
    if (status) return status;

    rsc_plan_entry *entry;
    layer_plan *plan;
    status = layer_acquire(context, "embedding", (int)table.dtype, 0, (int)out.dtype, &entry, &plan);
    if (status) return status;
    const cl_ulong ids_offset = ids.offset, table_offset = table.offset, out_offset = out.offset, columns = width;
    const cl_int last = (cl_int)vocab;
    status = RSC_ARGS(plan->kernel, "embedding", RSC_ARG(ids.mem), RSC_ARG(ids_offset), RSC_ARG(table.mem),
                      RSC_ARG(table_offset), RSC_ARG(last), RSC_ARG(out.mem), RSC_ARG(out_offset), RSC_ARG(columns));
    const size_t global = round_up(width, plan->vec) / plan->vec * rows;
    return layer_run(context, queue, entry, plan, "embedding", 1, &global, NULL, status, num_wait, wait, event);
}

rosace_status rosace_rmsnorm(rosace_context *context, cl_command_queue queue, rosace_array x, rosace_array weight,
                             rosace_array out, size_t rows, size_t width, float eps, cl_uint num_wait,
                             const cl_event *wait, cl_event *event) {
    rsc_range x_range, weight_range, out_range;
    rosace_status status = check_context("rmsnorm", context, queue);
    if (!status) status = check_count("rows", rows, most_rows);
    if (!status) status = check_count("width", width, INT32_MAX);
    if (!status && !(eps >= 0.0f && isfinite(eps)))
        status = rsc_fail(ROSACE_INVALID_ARGUMENT, "eps = %g: must be finite and not negative", (double)eps);
    if (!status) status = check_array(context, "x", &x, rows, width, false, &x_range);
    if (!status) status = check_array(context, "weight", &weight, 1, width, false, &weight_range);
    if (!status) status = check_array(context, "out", &out, rows, width, true, &out_range);
    if (!status) status = check_in_place("out", &out, &out_range, "x", &x, &x_range);
    if (!status) status = rsc_check_disjoint("out", &out_range, "weight", &weight_range);
    if (status) return status;

    rsc_plan_entry *entry;
    layer_plan *plan;
    status = layer_acquire(context, "rmsnorm", (int)x.dtype, (int)weight.dtype, (int)out.dtype, &entry, &plan);
    if (status) return status;
    const cl_ulong x_offset = x.offset, weight_offset = weight.offset, out_offset = out.offset, columns = width;
    status = RSC_ARGS(plan->kernel, "rmsnorm", RSC_ARG(x.mem), RSC_ARG(x_offset), RSC_ARG(weight.mem),
                      RSC_ARG(weight_offset), RSC_ARG(out.mem), RSC_ARG(out_offset), RSC_ARG(columns), RSC_ARG(eps));
    const size_t global = rows * plan->group;
    return layer_run(context, queue, entry, plan, "rmsnorm", 1, &global, &plan->group, status, num_wait, wait, event);
}

/* Elementwise kernels: one dimension, a multiple of the group so that the runtime is free of awkward sizes. */
static rosace_status run_elements(rosace_context *context, cl_command_queue queue, rsc_plan_entry *entry,
                                  const layer_plan *plan, const char *what, size_t count, rosace_status status,
                                  cl_uint num_wait, const cl_event *wait, cl_event *event) {
    const rosace_device_info *device = rosace_context_device_info(context);
    const size_t local = min_size(64, device->max_work_group_size);
    const size_t global = round_up(count / plan->vec + (count % plan->vec != 0), local);
    return layer_run(context, queue, entry, plan, what, 1, &global, &local, status, num_wait, wait, event);
}

/* gate, up and out of `count` elements each; out may be either of the others. */
static rosace_status check_gate(rosace_context *context, const rosace_array *gate, const rosace_array *up, const rosace_array *out,
                                size_t count) {
    rsc_range gate_range, up_range, out_range;
    rosace_status status = check_count("count", count, SIZE_MAX / 2);
    if (!status) status = check_array(context, "gate", gate, 1, count, false, &gate_range);
    if (!status) status = check_array(context, "up", up, 1, count, false, &up_range);
    if (!status) status = check_array(context, "out", out, 1, count, true, &out_range);
    if (!status) status = check_in_place("out", out, &out_range, "gate", gate, &gate_range);
    if (!status) status = check_in_place("out", out, &out_range, "up", up, &up_range);
    return status;
}

rosace_status rosace_swiglu(rosace_context *context, cl_command_queue queue, rosace_array gate, rosace_array up,
                            rosace_array out, size_t count, cl_uint num_wait, const cl_event *wait, cl_event *event) {
    rosace_status status = check_context("swiglu", context, queue);
    if (!status) status = check_gate(context, &gate, &up, &out, count);
    if (status) return status;

    rsc_plan_entry *entry;
    layer_plan *plan;
    status = layer_acquire(context, "swiglu", (int)gate.dtype, (int)up.dtype, (int)out.dtype, &entry, &plan);
    if (status) return status;
    const cl_ulong gate_offset = gate.offset, up_offset = up.offset, out_offset = out.offset, n = count;
    status = RSC_ARGS(plan->kernel, "swiglu", RSC_ARG(gate.mem), RSC_ARG(gate_offset), RSC_ARG(up.mem),
                      RSC_ARG(up_offset), RSC_ARG(out.mem), RSC_ARG(out_offset), RSC_ARG(n));
    return run_elements(context, queue, entry, plan, "swiglu", count, status, num_wait, wait, event);
}

rosace_status rosace_add(rosace_context *context, cl_command_queue queue, rosace_array x, rosace_array y, size_t count,
                         cl_uint num_wait, const cl_event *wait, cl_event *event) {
    rsc_range x_range, y_range;
    rosace_status status = check_context("add", context, queue);
    if (!status) status = check_count("count", count, SIZE_MAX / 2);
    if (!status) status = check_array(context, "x", &x, 1, count, true, &x_range);
    if (!status) status = rsc_check_readable("x", x.mem);
    if (!status) status = check_array(context, "y", &y, 1, count, false, &y_range);
    if (!status) status = check_in_place("x", &x, &x_range, "y", &y, &y_range);
    if (status) return status;

    rsc_plan_entry *entry;
    layer_plan *plan;
    status = layer_acquire(context, "add", (int)y.dtype, 0, (int)x.dtype, &entry, &plan);
    if (status) return status;
    const cl_ulong x_offset = x.offset, y_offset = y.offset, n = count;
    status =
        RSC_ARGS(plan->kernel, "add", RSC_ARG(y.mem), RSC_ARG(y_offset), RSC_ARG(x.mem), RSC_ARG(x_offset), RSC_ARG(n));
    return run_elements(context, queue, entry, plan, "add", count, status, num_wait, wait, event);
}

rosace_status rosace_cross_entropy(rosace_context *context, cl_command_queue queue, rosace_array logits,
                                   rosace_array targets, rosace_array loss, size_t rows, size_t classes,
                                   cl_uint num_wait, const cl_event *wait, cl_event *event) {
    rsc_range logits_range, targets_range, loss_range;
    rosace_status status = check_context("cross_entropy", context, queue);
    if (!status) status = check_count("rows", rows, most_rows);
    if (!status) status = check_count("classes", classes, INT32_MAX);
    if (!status) status = check_array(context, "logits", &logits, rows, classes, false, &logits_range);
    if (!status) status = check_int32(context, "targets", &targets, rows, &targets_range);
    if (!status && loss.dtype != ROSACE_F32)
        status = rsc_fail(ROSACE_INVALID_ARGUMENT, "loss.dtype = %d: must be ROSACE_F32", (int)loss.dtype);
    if (!status) status = check_array(context, "loss", &loss, rows, 1, true, &loss_range);
    if (!status) status = rsc_check_disjoint("loss", &loss_range, "logits", &logits_range);
    if (!status) status = rsc_check_disjoint("loss", &loss_range, "targets", &targets_range);
    if (status) return status;

    rsc_plan_entry *entry;
    layer_plan *plan;
    status = layer_acquire(context, "cross_entropy", (int)logits.dtype, 0, 0, &entry, &plan);
    if (status) return status;
    const cl_ulong logits_offset = logits.offset, targets_offset = targets.offset, loss_offset = loss.offset,
                   n = classes;
    status = RSC_ARGS(plan->kernel, "cross_entropy", RSC_ARG(logits.mem), RSC_ARG(logits_offset), RSC_ARG(targets.mem),
                      RSC_ARG(targets_offset), RSC_ARG(loss.mem), RSC_ARG(loss_offset), RSC_ARG(n));
    const size_t global = rows * plan->group;
    return layer_run(context, queue, entry, plan, "cross_entropy", 1, &global, &plan->group, status, num_wait, wait,
                     event);
}

static rosace_status check_eps(float eps) {
    if (eps >= 0.0f && isfinite(eps)) return ROSACE_OK;
    return rsc_fail(ROSACE_INVALID_ARGUMENT, "eps = %g: must be finite and not negative", (double)eps);
}

rosace_status rosace_layernorm(rosace_context *context, cl_command_queue queue, rosace_array x, rosace_array weight,
                               rosace_array bias, rosace_array out, size_t rows, size_t width, float eps, cl_uint num_wait,
                               const cl_event *wait, cl_event *event) {
    rsc_range x_range, weight_range, bias_range, out_range;
    const cl_int has_bias = bias.mem != NULL;
    rosace_status status = check_context("layernorm", context, queue);
    if (!status) status = check_count("rows", rows, most_rows);
    if (!status) status = check_count("width", width, INT32_MAX);
    if (!status) status = check_eps(eps);
    if (!status) status = check_array(context, "x", &x, rows, width, false, &x_range);
    if (!status) status = check_array(context, "weight", &weight, 1, width, false, &weight_range);
    if (!status && has_bias) status = check_array(context, "bias", &bias, 1, width, false, &bias_range);
    if (!status && has_bias && bias.dtype != weight.dtype)
        status = rsc_fail(ROSACE_INVALID_ARGUMENT, "bias.dtype = %d: must be that of weight, %d", (int)bias.dtype, (int)weight.dtype);
    if (!status) status = check_array(context, "out", &out, rows, width, true, &out_range);
    if (!status) status = check_in_place("out", &out, &out_range, "x", &x, &x_range);
    if (!status) status = rsc_check_disjoint("out", &out_range, "weight", &weight_range);
    if (!status && has_bias) status = rsc_check_disjoint("out", &out_range, "bias", &bias_range);
    if (status) return status;

    rsc_plan_entry *entry;
    layer_plan *plan;
    status = layer_acquire(context, "layernorm", (int)x.dtype, (int)weight.dtype, (int)out.dtype, &entry, &plan);
    if (status) return status;
    if (!has_bias) bias = weight; /* some buffer has to stand there */
    const cl_ulong x_offset = x.offset, weight_offset = weight.offset, bias_offset = bias.offset, out_offset = out.offset,
                   columns = width;
    status = RSC_ARGS(plan->kernel, "layernorm", RSC_ARG(x.mem), RSC_ARG(x_offset), RSC_ARG(weight.mem), RSC_ARG(weight_offset),
                      RSC_ARG(bias.mem), RSC_ARG(bias_offset), RSC_ARG(has_bias), RSC_ARG(out.mem), RSC_ARG(out_offset),
                      RSC_ARG(columns), RSC_ARG(eps));
    const size_t global = rows * plan->group;
    return layer_run(context, queue, entry, plan, "layernorm", 1, &global, &plan->group, status, num_wait, wait, event);
}

rosace_status rosace_rmsnorm_heads(rosace_context *context, cl_command_queue queue, const rosace_tensor *x, rosace_array weight,
                                   float eps, cl_uint num_wait, const cl_event *wait, cl_event *event) {
    rsc_range x_range, weight_range;
    size_t tokens = 0, rows = 0;
    rosace_status status = check_context("rmsnorm_heads", context, queue);
    if (!status && !x) status = rsc_fail(ROSACE_INVALID_ARGUMENT, "x is NULL");
    if (!status) status = check_eps(eps);
    if (!status) status = rsc_check_dtype("x.dtype", x->dtype);
    if (!status) status = rsc_check_tensor(context, "x", x, x->dtype, true, &x_range);
    if (!status) status = rsc_check_readable("x", x->mem);
    if (!status && (!rsc_mul(x->shape[0], x->shape[1], &tokens) || !rsc_mul(tokens, x->shape[2], &rows)))
        status = rsc_fail(ROSACE_INVALID_ARGUMENT, "x: batch, seq and heads overflow size_t");
    if (!status) status = check_count("heads of x", rows, most_rows);
    if (!status) status = check_array(context, "weight", &weight, 1, x->shape[3], false, &weight_range);
    if (!status) status = rsc_check_disjoint("x", &x_range, "weight", &weight_range);
    if (status) return status;

    rsc_plan_entry *entry;
    layer_plan *plan;
    status = layer_acquire(context, "rmsnorm_heads", 0, (int)weight.dtype, (int)x->dtype, &entry, &plan);
    if (status) return status;
    const cl_ulong x_offset = x->offset, weight_offset = weight.offset, seq = x->shape[1], heads = x->shape[2], width = x->shape[3];
    const cl_long batch_stride = x->stride[0], seq_stride = x->stride[1], head_stride = x->stride[2];
    status = RSC_ARGS(plan->kernel, "rmsnorm_heads", RSC_ARG(x->mem), RSC_ARG(x_offset), RSC_ARG(batch_stride),
                      RSC_ARG(seq_stride), RSC_ARG(head_stride), RSC_ARG(seq), RSC_ARG(heads), RSC_ARG(weight.mem),
                      RSC_ARG(weight_offset), RSC_ARG(width), RSC_ARG(eps));
    const size_t global = rows * plan->group;
    return layer_run(context, queue, entry, plan, "rmsnorm_heads", 1, &global, &plan->group, status, num_wait, wait, event);
}

/* The functions of the kernel `activate` that are not activations. */
enum { FUNCTION_SOFTCAP = ROSACE_ACTIVATION_RELU + 1, FUNCTION_SCALE };

static rosace_status check_function(rosace_activation function) {
    if (function >= ROSACE_ACTIVATION_SILU && function <= ROSACE_ACTIVATION_RELU) return ROSACE_OK;
    return rsc_fail(ROSACE_INVALID_ARGUMENT, "function = %d: must be a rosace_activation", (int)function);
}

static rosace_status run_activate(rosace_context *context, cl_command_queue queue, const char *what, rosace_status status,
                                  cl_int function, float p, rosace_array x, rosace_array out, size_t count, cl_uint num_wait,
                                  const cl_event *wait, cl_event *event) {
    rsc_range x_range, out_range;
    if (!status) status = check_count("count", count, SIZE_MAX / 2);
    if (!status) status = check_array(context, "x", &x, 1, count, false, &x_range);
    if (!status) status = check_array(context, "out", &out, 1, count, true, &out_range);
    if (!status) status = check_in_place("out", &out, &out_range, "x", &x, &x_range);
    if (status) return status;

    rsc_plan_entry *entry;
    layer_plan *plan;
    status = layer_acquire(context, "activate", (int)x.dtype, 0, (int)out.dtype, &entry, &plan);
    if (status) return status;
    const cl_ulong x_offset = x.offset, out_offset = out.offset, n = count;
    status = RSC_ARGS(plan->kernel, what, RSC_ARG(x.mem), RSC_ARG(x_offset), RSC_ARG(out.mem), RSC_ARG(out_offset), RSC_ARG(n),
                      RSC_ARG(function), RSC_ARG(p));
    return run_elements(context, queue, entry, plan, what, count, status, num_wait, wait, event);
}

rosace_status rosace_activate(rosace_context *context, cl_command_queue queue, rosace_activation function, rosace_array x,
                              rosace_array out, size_t count, cl_uint num_wait, const cl_event *wait, cl_event *event) {
    rosace_status status = check_context("activate", context, queue);
    if (!status) status = check_function(function);
    return run_activate(context, queue, "activate", status, (cl_int)function, 0.0f, x, out, count, num_wait, wait, event);
}

rosace_status rosace_softcap(rosace_context *context, cl_command_queue queue, rosace_array x, size_t count, float cap,
                             cl_uint num_wait, const cl_event *wait, cl_event *event) {
    rosace_status status = check_context("softcap", context, queue);
    if (!status && !(cap > 0.0f && isfinite(cap)))
        status = rsc_fail(ROSACE_INVALID_ARGUMENT, "cap = %g: must be finite and above 0", (double)cap);
    return run_activate(context, queue, "softcap", status, FUNCTION_SOFTCAP, cap, x, x, count, num_wait, wait, event);
}

rosace_status rosace_scale(rosace_context *context, cl_command_queue queue, rosace_array x, size_t count, float factor,
                           cl_uint num_wait, const cl_event *wait, cl_event *event) {
    rosace_status status = check_context("scale", context, queue);
    if (!status && !isfinite(factor))
        status = rsc_fail(ROSACE_INVALID_ARGUMENT, "factor = %g: must be finite", (double)factor);
    return run_activate(context, queue, "scale", status, FUNCTION_SCALE, factor, x, x, count, num_wait, wait, event);
}

static rosace_status run_gated(rosace_context *context, cl_command_queue queue, const char *what, rosace_status status,
                               cl_int function, float p, float limit, rosace_array gate, rosace_array up, rosace_array out,
                               size_t count, cl_uint num_wait, const cl_event *wait, cl_event *event) {
    if (!status) status = check_gate(context, &gate, &up, &out, count);
    if (status) return status;

    rsc_plan_entry *entry;
    layer_plan *plan;
    status = layer_acquire(context, "gated", (int)gate.dtype, (int)up.dtype, (int)out.dtype, &entry, &plan);
    if (status) return status;
    const cl_ulong gate_offset = gate.offset, up_offset = up.offset, out_offset = out.offset, n = count;
    status = RSC_ARGS(plan->kernel, what, RSC_ARG(gate.mem), RSC_ARG(gate_offset), RSC_ARG(up.mem), RSC_ARG(up_offset),
                      RSC_ARG(out.mem), RSC_ARG(out_offset), RSC_ARG(n), RSC_ARG(function), RSC_ARG(p), RSC_ARG(limit));
    return run_elements(context, queue, entry, plan, what, count, status, num_wait, wait, event);
}

rosace_status rosace_gated(rosace_context *context, cl_command_queue queue, rosace_activation function, rosace_array gate,
                           rosace_array up, rosace_array out, size_t count, cl_uint num_wait, const cl_event *wait,
                           cl_event *event) {
    rosace_status status = check_context("gated", context, queue);
    if (!status) status = check_function(function);
    return run_gated(context, queue, "gated", status, (cl_int)function, 0.0f, 0.0f, gate, up, out, count, num_wait, wait, event);
}

rosace_status rosace_clamped_swiglu(rosace_context *context, cl_command_queue queue, rosace_array gate, rosace_array up,
                                    rosace_array out, size_t count, float alpha, float limit, cl_uint num_wait,
                                    const cl_event *wait, cl_event *event) {
    rosace_status status = check_context("clamped_swiglu", context, queue);
    if (!status && !isfinite(alpha))
        status = rsc_fail(ROSACE_INVALID_ARGUMENT, "alpha = %g: must be finite", (double)alpha);
    if (!status && !(limit > 0.0f && isfinite(limit)))
        status = rsc_fail(ROSACE_INVALID_ARGUMENT, "limit = %g: must be finite and above 0", (double)limit);
    return run_gated(context, queue, "clamped_swiglu", status, 0, alpha, limit, gate, up, out, count, num_wait, wait, event);
}

rosace_status rosace_add_bias(rosace_context *context, cl_command_queue queue, rosace_array x, rosace_array bias, size_t rows,
                              size_t width, cl_uint num_wait, const cl_event *wait, cl_event *event) {
    rsc_range x_range, bias_range;
    rosace_status status = check_context("add_bias", context, queue);
    if (!status) status = check_count("rows", rows, most_rows);
    if (!status) status = check_count("width", width, INT32_MAX);
    if (!status) status = check_array(context, "x", &x, rows, width, true, &x_range);
    if (!status) status = rsc_check_readable("x", x.mem);
    if (!status) status = check_array(context, "bias", &bias, 1, width, false, &bias_range);
    if (!status) status = rsc_check_disjoint("x", &x_range, "bias", &bias_range);
    if (status) return status;

    rsc_plan_entry *entry;
    layer_plan *plan;
    status = layer_acquire(context, "add_bias", (int)bias.dtype, 0, (int)x.dtype, &entry, &plan);
    if (status) return status;
    const cl_ulong bias_offset = bias.offset, x_offset = x.offset, columns = width;
    status = RSC_ARGS(plan->kernel, "add_bias", RSC_ARG(bias.mem), RSC_ARG(bias_offset), RSC_ARG(x.mem), RSC_ARG(x_offset),
                      RSC_ARG(columns));
    const size_t global = round_up(width, plan->vec) / plan->vec * rows;
    return layer_run(context, queue, entry, plan, "add_bias", 1, &global, NULL, status, num_wait, wait, event);
}

rosace_status rosace_scatter_add(rosace_context *context, cl_command_queue queue, rosace_array x, size_t x_rows, rosace_array ids,
                                 rosace_array weights, rosace_array y, size_t rows, size_t width, cl_uint num_wait,
                                 const cl_event *wait, cl_event *event) {
    rsc_range x_range, ids_range, weights_range, y_range;
    rosace_status status = check_context("scatter_add", context, queue);
    if (!status) status = check_count("x_rows", x_rows, INT32_MAX);
    if (!status) status = check_count("rows", rows, most_rows);
    if (!status) status = check_count("width", width, INT32_MAX);
    if (!status) status = check_array(context, "x", &x, x_rows, width, true, &x_range);
    if (!status) status = rsc_check_readable("x", x.mem);
    if (!status) status = check_int32(context, "ids", &ids, rows, &ids_range);
    if (!status && weights.dtype != ROSACE_F32)
        status = rsc_fail(ROSACE_INVALID_ARGUMENT, "weights.dtype = %d: must be ROSACE_F32", (int)weights.dtype);
    if (!status) status = check_array(context, "weights", &weights, rows, 1, false, &weights_range);
    if (!status) status = check_array(context, "y", &y, rows, width, false, &y_range);
    if (!status) status = rsc_check_disjoint("x", &x_range, "ids", &ids_range);
    if (!status) status = rsc_check_disjoint("x", &x_range, "weights", &weights_range);
    if (!status) status = rsc_check_disjoint("x", &x_range, "y", &y_range);
    if (status) return status;

    rsc_plan_entry *entry;
    layer_plan *plan;
    status = layer_acquire(context, "scatter_add", (int)y.dtype, 0, (int)x.dtype, &entry, &plan);
    if (status) return status;
    const cl_ulong ids_offset = ids.offset, weights_offset = weights.offset, y_offset = y.offset, x_offset = x.offset,
                   columns = width;
    const cl_int last = (cl_int)x_rows;
    status = RSC_ARGS(plan->kernel, "scatter_add", RSC_ARG(ids.mem), RSC_ARG(ids_offset), RSC_ARG(weights.mem),
                      RSC_ARG(weights_offset), RSC_ARG(y.mem), RSC_ARG(y_offset), RSC_ARG(x.mem), RSC_ARG(x_offset),
                      RSC_ARG(last), RSC_ARG(columns));
    const size_t global = round_up(width, plan->vec) / plan->vec * rows;
    return layer_run(context, queue, entry, plan, "scatter_add", 1, &global, NULL, status, num_wait, wait, event);
}
