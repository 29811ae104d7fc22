/* SPDX-License-Identifier: MIT
 * The sinusoidal position table, added in place by cl/sinusoidal.cl without being stored. */
#include "rope.h"

#include <math.h>

#include "../check.h"
#include "../position/positions.h"
#include "../position/rope_scaling.h"
#include "../program.h"
#include "../queue.h"
#include "token_rows.h"

typedef struct sinusoidal_plan {
    rosace_context *context;
    size_t pairs, lanes;
    rsc_token_rows rows;
    cl_mem frequencies;
    cl_kernel kernel;
} sinusoidal_plan;

/* No padding. */
typedef struct sinusoidal_key {
    uint64_t width, dtype, device_class;
} sinusoidal_key;

static void drop_plan(void *dropped) {
    sinusoidal_plan *plan = dropped;
    if (!plan) return;
    if (plan->kernel) clReleaseKernel(plan->kernel);
    if (plan->frequencies) clReleaseMemObject(plan->frequencies);
    rsc_free(plan->context, plan);
}

static rosace_status upload_frequencies(sinusoidal_plan *plan) {
    rosace_status status;
    double *frequencies = rsc_calloc(plan->context, plan->pairs, sizeof *frequencies);
    uint32_t *words = rsc_calloc(plan->context, plan->pairs, 2 * sizeof *words);
    if (!frequencies || !words) {
        status = rsc_fail(ROSACE_OUT_OF_MEMORY, "sinusoidal frequencies: no host memory for %zu", plan->pairs);
        goto done;
    }
    rsc_rope_powers(10000.0, 2 * plan->pairs, frequencies);
    rsc_turn_words(frequencies, plan->pairs, words);
    status = rsc_buffer_create(plan->context, 2 * plan->pairs * sizeof *words, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR,
                               words, "sinusoidal frequencies", &plan->frequencies);
done:
    rsc_free(plan->context, words);
    rsc_free(plan->context, frequencies);
    return status;
}

static rosace_status make_plan(rosace_context *context, const void *desc, void **out) {
    const sinusoidal_key *key = desc;
    *out = NULL;
    sinusoidal_plan *plan = rsc_calloc(context, 1, sizeof *plan);
    if (!plan) return rsc_fail(ROSACE_OUT_OF_MEMORY, "sinusoidal plan: no host memory");
    plan->context = context;
    plan->pairs = (size_t)key->width / 2;
    plan->rows = rsc_token_rows_for(rosace_context_device_info(context), (rosace_device_class)key->device_class,
                                    (rosace_dtype)key->dtype);

    const unsigned vec = rsc_vector_for(plan->pairs, plan->rows.vector / 2);
    plan->lanes = plan->rows.share ? plan->pairs / vec : 1;
    rosace_status status = upload_frequencies(plan);
    if (status) goto fail;
    rsc_options options = {0};
    rsc_option_int(&options, "VEC", vec);
    rsc_option_int(&options, "GROUP", plan->rows.group);
    rsc_option_int(&options, "DTYPE", (long)key->dtype);
    status = rsc_kernel_create(context, (const char *const[]){"sinusoidal.cl", NULL}, "sinusoidal_add", &options,
                               &plan->kernel);
    if (status) goto fail;
    *out = plan;
    return ROSACE_OK;

fail:
    drop_plan(plan);
    return status;
}

static rosace_status check(rosace_context *context, const rosace_tensor *x, const rosace_positions *positions,
                           float scale) {
    if (!x) return rsc_fail(ROSACE_INVALID_ARGUMENT, "x = NULL: a tensor is needed");
    if (!positions) return rsc_fail(ROSACE_INVALID_ARGUMENT, "positions = NULL: positions are needed");
    rsc_range range, ids;
    rosace_status status = rsc_check_tensor(context, "x", x, x->dtype, true, &range);
    if (!status) status = rsc_check_readable("x", x->mem);
    if (status) return status;
    if (x->shape[2] != 1) return rsc_fail(ROSACE_INVALID_ARGUMENT, "x.shape[2] = %zu: must be 1", x->shape[2]);
    if (x->shape[3] % 2 || x->shape[3] > INT32_MAX)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "x.shape[3] = %zu: must be even, at most 2147483646", x->shape[3]);
    if (x->shape[1] > INT32_MAX)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "x.shape[1] = %zu: must be at most 2147483647", x->shape[1]);
    if (!isfinite(scale)) return rsc_fail(ROSACE_INVALID_ARGUMENT, "scale = %g: must be finite", scale);
    status = rsc_check_positions(context, "positions", positions, 1, x->shape[0], x->shape[1], &ids);
    if (status) return status;
    return ids.parent ? rsc_check_disjoint("x", &range, "positions.ids", &ids) : ROSACE_OK;
}

static rosace_status launch(sinusoidal_plan *plan, rsc_chain *chain, const rosace_tensor *x,
                            const rosace_positions *positions, float scale) {
    const size_t batch = x->shape[0], seq = x->shape[1];
    const uint32_t rows = rsc_rows_per_item(&plan->rows, seq * batch, plan->lanes);
    const size_t items = rsc_global_rows(&plan->rows, seq, rows, plan->lanes);
    if (items > UINT32_MAX)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "x: %zu tokens of %zu: too many for one launch", seq, x->shape[3]);
    const sinusoidal_args args = {
        .offset = (int64_t)x->offset,
        .batch_stride = x->stride[0],
        .seq_stride = x->stride[1],
        .place = rsc_positions_place(positions),
        .seq = (uint32_t)seq,
        .pairs = (uint32_t)plan->pairs,
        .rows = rows,
        .lanes = (uint32_t)plan->lanes,
        .scale = scale,
        .items = (uint32_t)items,
    };
    const size_t global = items * batch, local = plan->rows.group;
    const cl_mem ids = positions->ids ? positions->ids : plan->frequencies;
    const rosace_status status = RSC_ARGS(plan->kernel, "sinusoidal_add", RSC_ARG(x->mem), RSC_ARG(plan->frequencies),
                                          RSC_ARG(ids), RSC_ARG(args));
    return status ? status : rsc_chain_kernel(chain, plan->kernel, 1, &global, &local, "sinusoidal_add");
}

rosace_status rosace_sinusoidal_add(rosace_context *context, cl_command_queue queue, const rosace_tensor *x,
                                    const rosace_positions *positions, float scale, cl_uint num_wait,
                                    const cl_event *wait, cl_event *event) {
    if (!context) return rsc_fail(ROSACE_INVALID_ARGUMENT, "context = NULL: a context is needed");
    return rsc_sinusoidal_add_as(context, queue, x, positions, scale, rosace_context_device_info(context)->device_class,
                                 num_wait, wait, event);
}

rosace_status rsc_sinusoidal_add_as(rosace_context *context, cl_command_queue queue, const rosace_tensor *x,
                                    const rosace_positions *positions, float scale, rosace_device_class device_class,
                                    cl_uint num_wait, const cl_event *wait, cl_event *event) {
    rosace_status status = check(context, x, positions, scale);
    if (status) return status;
    const sinusoidal_key key = {x->shape[3], (uint64_t)x->dtype, (uint64_t)device_class};
    rsc_plan_entry *entry;
    void *plan;
    status = rsc_plan_acquire(context, "sinusoidal", &key, sizeof key, make_plan, drop_plan, &key, &entry, &plan);
    if (status) return status;
    rsc_chain chain;
    status = rsc_chain_begin(&chain, context, queue, num_wait, wait);
    if (!status) status = launch(plan, &chain, x, positions, scale);
    status = rsc_chain_end(&chain, status, event);
    rsc_plan_release(entry);
    return status;
}
