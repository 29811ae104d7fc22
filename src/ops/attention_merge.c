/* SPDX-License-Identifier: MIT
 * Results of attention over parts of the keys, put together (cl/attention_merge.cl). */
#include <rosace/attention.h>

#include "../check.h"
#include "../program.h"
#include "../queue.h"
#include "shared/merge_args.h"

#include <stdio.h>

enum { GPU_LANES = 32 };

#define INVALID(...) rsc_fail(ROSACE_INVALID_ARGUMENT, __VA_ARGS__)

/* No padding. */
typedef struct merge_key {
    uint64_t parts, dtype, lanes;
} merge_key;

typedef struct merge_plan {
    rosace_context *context;
    cl_kernel kernel;
} merge_plan;

static void drop_plan(void *dropped)
{
    merge_plan *plan = dropped;
    if (!plan) return;
    if (plan->kernel) clReleaseKernel(plan->kernel);
    rsc_free(plan->context, plan);
}

static rosace_status make_plan(rosace_context *context, const void *desc, void **out)
{
    static const char *const pieces[] = {"attention_merge.cl", NULL};
    const merge_key *key = desc;
    *out = NULL;
    merge_plan *plan = rsc_calloc(context, 1, sizeof *plan);
    if (!plan) return rsc_fail(ROSACE_OUT_OF_MEMORY, "attention merge: no host memory");
    plan->context = context;
    rsc_options options = {.count = 0};
    rsc_option_int(&options, "PARTS", (long)key->parts);
    rsc_option_int(&options, "DTYPE", (long)key->dtype);
    rsc_option_int(&options, "LANES", (long)key->lanes);
    const rosace_status status = rsc_kernel_create(context, pieces, "attention_merge", &options, &plan->kernel);
    if (status) {
        drop_plan(plan);
        return status;
    }
    *out = plan;
    return ROSACE_OK;
}

/* A part may be where the result goes. */
static rosace_status check_part(rosace_context *context, const rosace_attention_merge_args *args, size_t i, size_t rows,
                                const rsc_range *out, const rsc_range *lse)
{
    char name[40], lse_name[40];
    snprintf(name, sizeof name, "parts[%zu].out", i);
    snprintf(lse_name, sizeof lse_name, "parts[%zu].lse", i);
    const rosace_attention_part *part = &args->parts[i];
    rsc_range range, lse_range;
    rosace_status status = rsc_check_tensor(context, name, &part->out, args->out.dtype, false, &range);
    for (int axis = 0; axis < 4 && !status; axis++)
        if (part->out.shape[axis] != args->out.shape[axis])
            status = INVALID("%s.shape[%d] = %zu: out has %zu", name, axis, part->out.shape[axis], args->out.shape[axis]);
    if (!status) status = rsc_check_array(context, lse_name, part->lse, part->lse_offset, rows, sizeof(cl_float), false, &lse_range);
    if (!status && rsc_same_tensor(&part->out, &args->out)) status = rsc_check_readable("out", args->out.mem);
    else if (!status) status = rsc_check_disjoint_tensors(context, "out", &args->out, name, &part->out);
    if (!status) status = rsc_check_disjoint("out", out, lse_name, &lse_range);
    if (status || !args->lse) return status;
    status = rsc_check_disjoint("lse", lse, name, &range);
    if (status) return status;
    const bool same = lse_range.parent == lse->parent && lse_range.begin == lse->begin;
    return same ? rsc_check_readable("lse", args->lse) : rsc_check_disjoint("lse", lse, lse_name, &lse_range);
}

static rosace_status check(rosace_context *context, const rosace_attention_merge_args *args)
{
    const rosace_tensor *out = &args->out;
    if (args->count < 2 || args->count > RSC_MERGE_PARTS)
        return INVALID("count = %zu: must be 2 to %d", args->count, RSC_MERGE_PARTS);
    if (!args->parts) return INVALID("parts: NULL");
    if (!rosace_dtype_size(out->dtype)) return INVALID("out.dtype = %d: unknown", (int)out->dtype);
    rsc_range out_range, lse_range = {.parent = NULL};
    rosace_status status = rsc_check_tensor(context, "out", out, out->dtype, true, &out_range);
    if (status) return status;
    size_t rows;
    if (!rsc_mul(out->shape[0], out->shape[1], &rows) || !rsc_mul(rows, out->shape[2], &rows) || rows > INT32_MAX)
        return INVALID("out.shape = [%zu, %zu, %zu, ]: more than 2^31 - 1 rows", out->shape[0], out->shape[1], out->shape[2]);
    if (out->shape[3] > INT32_MAX) return INVALID("out.shape[3] = %zu: must be below 2^31", out->shape[3]);
    if (args->lse) {
        status = rsc_check_array(context, "lse", args->lse, args->lse_offset, rows, sizeof(cl_float), true, &lse_range);
        if (!status) status = rsc_check_disjoint("lse", &lse_range, "out", &out_range);
    }
    for (size_t i = 0; i < args->count && !status; i++) status = check_part(context, args, i, rows, &out_range, &lse_range);
    return status;
}

static rsc_attention_view view_of(const rosace_tensor *t)
{
    return (rsc_attention_view){t->offset, (uint64_t)t->stride[0], (uint64_t)t->stride[1], (uint64_t)t->stride[2]};
}

static rosace_status launch(const merge_plan *plan, rsc_chain *chain, const rosace_attention_merge_args *args, size_t lanes)
{
    const rosace_tensor *out = &args->out;
    rsc_merge_kernel_args packed = {.out = view_of(out),
                                    .lse = args->lse_offset,
                                    .heads = (uint32_t)out->shape[2],
                                    .seq = (uint32_t)out->shape[1],
                                    .dim = (uint32_t)out->shape[3],
                                    .has_lse = args->lse != NULL};
    /* What is not wanted is never followed, but some drivers take no NULL. */
    const cl_mem lse = args->lse ? args->lse : out->mem;
    rsc_arg list[2 * RSC_MERGE_PARTS + 3];
    cl_uint n = 0;
    for (size_t i = 0; i < args->count; i++) {
        packed.part[i] = view_of(&args->parts[i].out);
        packed.part_lse[i] = args->parts[i].lse_offset;
        list[n++] = (rsc_arg)RSC_ARG(args->parts[i].out.mem);
        list[n++] = (rsc_arg)RSC_ARG(args->parts[i].lse);
    }
    list[n++] = (rsc_arg)RSC_ARG(out->mem);
    list[n++] = (rsc_arg)RSC_ARG(lse);
    list[n++] = (rsc_arg)RSC_ARG(packed);
    const rosace_status status = rsc_set_args(plan->kernel, "attention_merge", list, n);
    const size_t global = lanes * out->shape[0] * out->shape[1] * out->shape[2];
    return status ? status : rsc_chain_kernel(chain, plan->kernel, 1, &global, &lanes, "attention_merge");
}

rosace_status rosace_attention_merge(rosace_context *context, cl_command_queue queue, const rosace_attention_merge_args *given,
                                     cl_uint num_wait, const cl_event *wait, cl_event *event)
{
    if (!context) return INVALID("context: NULL");
    rosace_attention_merge_args args = ROSACE_ATTENTION_MERGE_ARGS_DEFAULT;
    rosace_status status = rsc_read_struct("args", given, &args, sizeof args);
    if (!status) status = check(context, &args);
    if (status) return status;
    const rosace_device_info *device = rosace_context_device_info(context);
    size_t lanes = device->device_class == ROSACE_DEVICE_CPU ? 1 : GPU_LANES;
    while (lanes > 1 && (lanes > device->max_work_group_size || 2 * args.out.shape[3] < 4 * lanes)) lanes /= 2;
    const merge_key key = {args.count, (uint64_t)args.out.dtype, lanes};
    rsc_plan_entry *entry = NULL;
    void *plan = NULL;
    status = rsc_plan_acquire(context, "attention merge", &key, sizeof key, make_plan, drop_plan, &key, &entry, &plan);
    if (status) return status;
    rsc_chain chain;
    status = rsc_chain_begin(&chain, context, queue, num_wait, wait);
    if (!status) status = launch(plan, &chain, &args, lanes);
    status = rsc_chain_end(&chain, status, event);
    rsc_plan_release(entry);
    return status;
}
