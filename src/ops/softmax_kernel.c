/* SPDX-License-Identifier: MIT */
#include "softmax.h"

#include "../position/bias.h"
#include "../program.h"

/* A CPU device takes a row per work-item in vectors of its own width, any other spreads a row over a small group. */
static void choose_shape(const rosace_device_info *device, unsigned *vec, unsigned *group)
{
    const bool cpu = device->device_class == ROSACE_DEVICE_CPU;
    *group = cpu ? 1 : 64;
    *vec = !cpu ? 4 : device->float_vector_width >= 16 ? 16 : device->float_vector_width >= 8 ? 8 : 4;
}

rosace_status rsc_softmax_create(rosace_context *context, const rsc_softmax_desc *desc, rsc_softmax *out)
{
    const char *pieces[3];
    rsc_bias_pieces(desc->bias, "softmax.cl", pieces);
    unsigned vec, group;
    choose_shape(rosace_context_device_info(context), &vec, &group);
    rsc_options options = {.count = 0};
    rsc_option_int(&options, "VEC", vec);
    rsc_option_int(&options, "GROUP", group);
    rsc_option_int(&options, "DTYPE_F16", desc->dtype == ROSACE_F16);
    rsc_option_int(&options, "SHAW", desc->bias == ROSACE_BIAS_SHAW);
    rsc_option_int(&options, "REROPE", desc->rerope);
    rsc_option_int(&options, "LOGN", desc->logn);
    rsc_option_int(&options, "SOFTCAP", desc->softcap);
    *out = (rsc_softmax){.group = group};
    return rsc_kernel_create(context, pieces, "masked_softmax", &options, &out->kernel);
}

void rsc_softmax_destroy(rsc_softmax *softmax)
{
    if (softmax->kernel) clReleaseKernel(softmax->kernel);
    softmax->kernel = NULL;
}

rosace_status rsc_softmax_chain(const rsc_softmax *softmax, rsc_chain *chain, const rsc_softmax_call *call)
{
    /* What is not wanted is never followed, but some drivers take no NULL. */
    const cl_mem far = call->far ? call->far : call->scores;
    const cl_mem params = call->bias_params ? call->bias_params : call->scores;
    const cl_mem shaw = call->shaw ? call->shaw : call->scores, ids = call->ids ? call->ids : call->scores;
    const cl_mem histogram = call->histogram ? call->histogram : call->probs, lse = call->lse ? call->lse : call->probs;
    const rosace_status status =
        RSC_ARGS(softmax->kernel, "masked_softmax", RSC_ARG(call->scores), RSC_ARG(call->probs), RSC_ARG(far), RSC_ARG(params),
                 RSC_ARG(shaw), RSC_ARG(histogram), RSC_ARG(ids), RSC_ARG(lse), RSC_ARG(call->args));
    if (status) return status;
    const size_t global[2] = {call->rows * softmax->group, call->matrices};
    const size_t local[2] = {softmax->group, 1};
    return rsc_chain_kernel(chain, softmax->kernel, 2, global, local, "masked_softmax");
}
