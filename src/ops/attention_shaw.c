/* SPDX-License-Identifier: MIT
 * Clipped relative positions (Shaw et al. 2018) in the kernels that take one score per pair: what cl/lib/shaw.clh is given. */
#include "attention.h"

#include "shared/shaw_args.h"

/* Distances that some visible pair can have, by what bounds them wherever a query stands. */
static void shown(const rosace_mask *mask, rsc_shaw_args *args)
{
    args->shown_first = INT32_MIN;
    args->shown_last = INT32_MAX;
    if (mask->prefix) return;
    if (mask->window_right >= 0 && mask->window_right < INT32_MAX) args->shown_first = -(int32_t)mask->window_right;
    if (mask->causal) args->shown_first = 0;
    if (!mask->sinks && mask->window_left >= 0 && mask->window_left < INT32_MAX) args->shown_last = (int32_t)mask->window_left;
}

rosace_status rsc_shaw_set_args(const rosace_attention_plan *plan, cl_kernel kernel, const rosace_attention_args *call)
{
    const rosace_attention_desc *desc = &plan->desc;
    rsc_shaw_args args = {.key_offset = call->shaw_key ? call->shaw_key_offset : 0,
                          .value_offset = call->shaw_value ? call->shaw_value_offset : 0,
                          .reach = (int32_t)desc->bias_max_distance,
                          .has_key = call->shaw_key != NULL,
                          .has_value = call->shaw_value != NULL};
    shown(&desc->mask, &args);
    /* What is not there is never followed, but some drivers take no NULL. */
    const cl_mem key = call->shaw_key ? call->shaw_key : call->q.mem, value = call->shaw_value ? call->shaw_value : call->q.mem;
    const rsc_arg list[] = {RSC_ARG(key), RSC_ARG(value), RSC_ARG(args)};
    return rsc_attention_set_last(plan, kernel, "clipped relative positions", list, 3);
}
