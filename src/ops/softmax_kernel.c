/* SPDX-License-Identifier: MIT */
#include "softmax.h"

#include "../device.h"
#include "../position/bias.h"
#include "../program.h"

enum { MAX_KEPT = 8192 }; /* 32 KiB: most of a first-level cache */

/* A CPU device takes rows per work-item in vectors of its own width, any other spreads a row over a small group. */
static void choose_shape(const rosace_device_info *device, rosace_device_class device_class, unsigned *vec, unsigned *group)
{
    const bool cpu = device_class == ROSACE_DEVICE_CPU;
    *vec = !cpu ? 4 : device->float_vector_width >= 16 ? 16 : device->float_vector_width >= 8 ? 8 : 4;
    *group = cpu ? 1 : 64;
    while (*group > device->max_work_group_size && *group > 1) *group /= 2;
}

rosace_status rsc_softmax_create(rosace_context *context, const rsc_softmax_desc *desc, rsc_softmax *out)
{
    const char *pieces[3];
    rsc_bias_pieces(desc->bias, "softmax.cl", pieces);
    unsigned vec, group;
    const rosace_device_info *device = rosace_context_device_info(context);
    choose_shape(device, desc->device_class, &vec, &group);
    rsc_options options = {.count = 0};
    rsc_option_int(&options, "VEC", vec);
    rsc_option_int(&options, "GROUP", group);
    rsc_option_int(&options, "KEPT", group == 1 ? MAX_KEPT : 0);
    rsc_option_int(&options, "DTYPE", (long)desc->dtype);
    rsc_option_int(&options, "SHAW", desc->bias == ROSACE_BIAS_SHAW);
    rsc_option_int(&options, "REROPE", desc->rerope);
    rsc_option_int(&options, "LOGN", desc->logn);
    rsc_option_int(&options, "SOFTCAP", desc->softcap);
    rsc_extras_options(&desc->extras, &options);
    *out = (rsc_softmax){.group = group,
                         .busy = 8 * (size_t)(device->compute_units ? device->compute_units : 1),
                         .device = device,
                         .shaw = desc->bias == ROSACE_BIAS_SHAW,
                         .extras = desc->extras};
    return rsc_kernel_create(context, pieces, "masked_softmax", &options, &out->kernel);
}

void rsc_softmax_destroy(rsc_softmax *softmax)
{
    if (softmax->kernel) clReleaseKernel(softmax->kernel);
    softmax->kernel = NULL;
}

/* Of loops, for a row, at most. */
static uint64_t turns_of_row(const rsc_softmax *softmax, const rsc_softmax_call *call)
{
    return (uint64_t)call->args.columns + 30 + (softmax->shaw ? 3 * (2 * (uint64_t)call->args.max_distance + 1) : 0);
}

/* Several short rows make a work-item worth its launch, as long as every compute unit gets some. */
static uint32_t rows_per_item(const rsc_softmax *softmax, const rsc_softmax_call *call)
{
    static const size_t elements = 16384, most_groups = (size_t)INT32_MAX;
    const size_t all = call->rows * call->matrices, columns = call->args.columns ? call->args.columns : 1;
    size_t rows = 1;
    if (softmax->group == 1) {
        const size_t fair = all / softmax->busy;
        rows = elements / columns < fair ? elements / columns : fair;
    }
    if (rsc_device_ends_loops(softmax->device) && rows > RSC_LOOP_TURNS / turns_of_row(softmax, call))
        rows = (size_t)(RSC_LOOP_TURNS / turns_of_row(softmax, call));
    const size_t least = all / most_groups + 1;
    if (rows < least) rows = least;
    return (uint32_t)(rows < call->rows ? rows : call->rows);
}

rosace_status rsc_softmax_chain(const rsc_softmax *softmax, rsc_chain *chain, const rsc_softmax_call *call)
{
    /* What is not wanted is never followed, but some drivers take no NULL. */
    const cl_mem far = call->far ? call->far : call->scores;
    const cl_mem params = call->bias_params ? call->bias_params : call->scores;
    const cl_mem shaw = call->shaw ? call->shaw : call->scores, ids = call->ids ? call->ids : call->scores;
    const cl_mem histogram = call->histogram ? call->histogram : call->probs, lse = call->lse ? call->lse : call->probs;
    if (!call->rows || !call->matrices) return ROSACE_OK;
    rsc_softmax_kernel_args args = call->args;
    args.rows_per_item = rows_per_item(softmax, call);
    rosace_status status = rsc_check_loops(softmax->device, "masked_softmax", turns_of_row(softmax, call) * args.rows_per_item);
    if (status) return status;
    status =
        RSC_ARGS(softmax->kernel, "masked_softmax", RSC_ARG(call->scores), RSC_ARG(call->probs), RSC_ARG(far), RSC_ARG(params),
                 RSC_ARG(shaw), RSC_ARG(histogram), RSC_ARG(ids), RSC_ARG(lse), RSC_ARG(args));
    if (!status) status = rsc_extras_set(&softmax->extras, &call->extras, softmax->kernel, "masked_softmax", 9);
    if (status) return status;
    const size_t runs = (call->rows + args.rows_per_item - 1) / args.rows_per_item;
    const size_t global = runs * call->matrices * softmax->group, local = softmax->group;
    return rsc_chain_kernel(chain, softmax->kernel, 1, &global, &local, "masked_softmax");
}
