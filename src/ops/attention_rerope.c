/* SPDX-License-Identifier: MIT
 * ReRoPE and Leaky ReRoPE (Su 2023): the queries and keys that pairs at a distance of rerope_window w and beyond take.
 *
 *     ReRoPE    <R_w q, k>                                       all far queries at position w, keys as they are
 *     Leaky     relative position w + (i - n - w) / leak         frequencies divided by leak, queries at i + w (leak - 1), keys at n
 */
#include "attention.h"

#include "../check.h"
#include "rope.h"

rosace_status rsc_rerope_create(rosace_context *context, const rosace_attention_desc *desc, rsc_rerope *rerope)
{
    if (!desc->rerope_window) return ROSACE_OK;
    rerope->scale = 1.0f;
    if (desc->rerope_leak > 0.0) {
        rerope->ahead = (int64_t)((double)desc->rerope_window * (desc->rerope_leak - 1.0));
        return rsc_rope_plan_create_slower(context, desc->rope, desc->rerope_leak, &rerope->slow);
    }
    double factor = 1.0; /* far queries have it already, keys that are not rotated have none */
    const cl_int position = (cl_int)desc->rerope_window;
    const rosace_status status = rosace_rope_frequencies(desc->rope, NULL, &factor);
    rerope->scale = (float)factor;
    return status ? status
                  : rsc_buffer_create(context, sizeof position, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, &position,
                                      "ReRoPE position", &rerope->position);
}

void rsc_rerope_destroy(rsc_rerope *rerope)
{
    rosace_rope_plan_destroy(&rerope->slow);
    if (rerope->position) clReleaseMemObject(rerope->position);
    rerope->position = NULL;
}

rosace_status rsc_rerope_add_bytes(const rosace_attention_plan *plan, size_t batch, size_t seq_q, size_t seq_k, size_t *bytes)
{
    const rosace_attention_desc *desc = &plan->desc;
    size_t q = 0, k = 0;
    if (!desc->rerope_window) return ROSACE_OK;
    rosace_status status = rsc_attention_rotated_bytes(plan, batch, seq_q, desc->n_heads, &q);
    if (!status && desc->rerope_leak > 0.0) status = rsc_attention_rotated_bytes(plan, batch, seq_k, desc->n_kv_heads, &k);
    if (!status && (!rsc_add(*bytes, q, bytes) || !rsc_add(*bytes, k, bytes)))
        status = rsc_fail(ROSACE_INVALID_ARGUMENT, "workspace: the bytes for batch %zu, seq_q %zu, seq_k %zu overflow", batch,
                          seq_q, seq_k);
    return status;
}

rosace_status rsc_rerope_queries(const rsc_rerope *rerope, rosace_rope_plan *rope, rsc_chain *chain,
                                 const rsc_attention_call *call, size_t bytes, rosace_tensor *to)
{
    const rosace_positions one = {.ids = rerope->position}; /* strides 0: one position for all */
    rosace_positions shifted = call->q_positions;
    shifted.offset += rerope->ahead;
    return rsc_attention_rotate(rerope->slow ? rerope->slow : rope, chain, call, &call->args->q, rerope->slow ? &shifted : &one,
                                bytes, to);
}

rosace_status rsc_rerope_set_args(const rosace_attention_plan *plan, cl_kernel kernel, const rsc_rerope *rerope, const rosace_tensor *q,
                                  const rosace_tensor *k)
{
    const rsc_rerope_args args = {.q = rsc_attention_view_of(q),
                                  .k = rsc_attention_view_of(k),
                                  .window = (int32_t)plan->desc.rerope_window,
                                  .scale = rerope->scale};
    const rsc_arg list[] = {RSC_ARG(q->mem), RSC_ARG(k->mem), RSC_ARG(args)};
    return rsc_attention_set_last(plan, kernel, "ReRoPE", list, 3);
}
