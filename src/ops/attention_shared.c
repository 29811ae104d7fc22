/* SPDX-License-Identifier: MIT
 * What the kernels that compute attention in one sweep share, fused and decode: the position systems they have, the order of
 * their workspace (rotated copies of q and k, then a table of biases), views of tensors. */
#include "attention.h"

#include "../check.h"

#include <stdio.h>

bool rsc_attention_has_positions(const rosace_attention_desc *desc, char *reason, size_t reason_bytes)
{
    if (desc->varlen && (desc->bias == ROSACE_BIAS_SHAW || desc->rerope_window)) {
        snprintf(reason, reason_bytes, "varlen with %s: path gemm has both together",
                 desc->rerope_window ? "rerope_window" : "ROSACE_BIAS_SHAW");
        return false;
    }
    if (desc->head_window_left && (desc->bias == ROSACE_BIAS_SHAW || desc->rerope_window)) {
        snprintf(reason, reason_bytes, "head_window_left with %s: path gemm has both together",
                 desc->rerope_window ? "rerope_window" : "ROSACE_BIAS_SHAW");
        return false;
    }
    if (desc->cache && desc->bias == ROSACE_BIAS_SHAW) {
        snprintf(reason, reason_bytes, "cache with ROSACE_BIAS_SHAW: every path has it for tensors of keys and values alone");
        return false;
    }
    if (desc->bias == ROSACE_BIAS_SHAW && desc->rope) { /* the table is for queries that are not rotated */
        snprintf(reason, reason_bytes, "ROSACE_BIAS_SHAW with rope: path gemm has both together");
        return false;
    }
    return true;
}

bool rsc_attention_has_rows(const rosace_attention_desc *desc, char *reason, size_t reason_bytes)
{
    if (!desc->cache) return true;
    snprintf(reason, reason_bytes, "cache: rows of keys one stride apart are needed, paths fused and decode take any");
    return false;
}

void rsc_attention_call_options(const rosace_attention_plan *plan, rsc_options *options)
{
    rsc_option_int(options, "SEQUENCES", plan->desc.varlen);
    rsc_option_int(options, "HEAD_WINDOWS", plan->head_windows != NULL);
    rsc_option_int(options, "COUNT_VISITED", plan->visited != NULL);
}

rosace_status rsc_attention_call_arguments(const rosace_attention_plan *plan, cl_kernel kernel, cl_mem sequences)
{
    const cl_mem all[] = {plan->head_windows, plan->visited, sequences};
    enum { N = sizeof all / sizeof all[0] };
    cl_uint count = 0;
    for (int i = 0; i < N; i++) count += all[i] != NULL;
    if (!count) return ROSACE_OK;
    cl_uint place = 0;
    cl_int code = clGetKernelInfo(kernel, CL_KERNEL_NUM_ARGS, sizeof place, &place, NULL);
    if (code) return rsc_fail_cl(code, "%s: clGetKernelInfo CL_KERNEL_NUM_ARGS", plan->variant->name);
    place -= count;
    for (int i = 0; i < N; i++) {
        if (!all[i]) continue;
        code = clSetKernelArg(kernel, place, sizeof all[i], &all[i]);
        if (code) return rsc_fail_cl(code, "%s: clSetKernelArg %u", plan->variant->name, (unsigned)place);
        place++;
    }
    return ROSACE_OK;
}

rosace_status rsc_attention_rotated_bytes(const rosace_attention_plan *plan, size_t batch, size_t seq, size_t heads,
                                          size_t *bytes)
{
    size_t n = rosace_dtype_size(plan->desc.dtype);
    if (!rsc_mul(n, batch, &n) || !rsc_mul(n, seq, &n) || !rsc_mul(n, heads, &n) || !rsc_mul(n, plan->desc.head_dim, &n) ||
        !rsc_add(n, RSC_WORKSPACE_ALIGN - 1, &n))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "workspace: the bytes for batch %zu and length %zu overflow", batch, seq);
    *bytes = n / RSC_WORKSPACE_ALIGN * RSC_WORKSPACE_ALIGN;
    return ROSACE_OK;
}

static rosace_status overflow(size_t batch, size_t seq_q, size_t seq_k)
{
    return rsc_fail(ROSACE_INVALID_ARGUMENT, "workspace: the bytes for batch %zu, seq_q %zu, seq_k %zu overflow", batch, seq_q,
                    seq_k);
}

rosace_status rsc_attention_add_rotated(const rosace_attention_plan *plan, size_t batch, size_t seq_q, size_t seq_k,
                                        size_t *bytes)
{
    if (!plan->desc.rope) return ROSACE_OK;
    size_t q = 0, k = 0;
    rosace_status status = rsc_attention_rotated_bytes(plan, batch, seq_q, plan->desc.n_heads, &q);
    if (!status) status = rsc_attention_rotated_bytes(plan, batch, seq_k, plan->desc.n_kv_heads, &k);
    if (!status && (!rsc_add(*bytes, q, bytes) || !rsc_add(*bytes, k, bytes))) status = overflow(batch, seq_q, seq_k);
    return status ? status : rsc_rerope_add_bytes(plan, batch, seq_q, seq_k, bytes);
}

rosace_status rsc_attention_add_biases(const rosace_attention_plan *plan, const rsc_bias *bias, size_t batch, size_t seq_q,
                                       size_t seq_k, size_t *bytes)
{
    size_t table = 0;
    rosace_status status = rsc_bias_bytes(bias, &plan->desc.mask, plan->desc.n_heads, seq_q, seq_k, &table);
    if (!status && !rsc_add(*bytes, table, bytes)) status = overflow(batch, seq_q, seq_k);
    return status;
}

rosace_status rsc_attention_rotate(rosace_rope_plan *rope, rsc_chain *chain, const rsc_attention_call *call,
                                   const rosace_tensor *from, const rosace_positions *positions, size_t bytes,
                                   rosace_tensor *to)
{
    *to = rosace_tensor_bhsd(call->workspace, from->dtype, from->shape[0], from->shape[1], from->shape[2], from->shape[3]);
    to->offset = (call->workspace_offset + bytes) / rosace_dtype_size(from->dtype);
    if (!from->shape[1]) return ROSACE_OK; /* a sequence without keys */
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    args.q = from;
    args.q_out = to;
    args.positions = *positions;
    return rsc_rope_chain(rope, chain, &args);
}

rsc_attention_view rsc_attention_view_of(const rosace_tensor *t)
{
    return (rsc_attention_view){t->offset, (uint64_t)t->stride[0], (uint64_t)t->stride[1], (uint64_t)t->stride[2]};
}

rosace_status rsc_attention_set_last(const rosace_attention_plan *plan, cl_kernel kernel, const char *what, const rsc_arg *args, cl_uint count)
{
    cl_uint all = 0;
    cl_int code = clGetKernelInfo(kernel, CL_KERNEL_NUM_ARGS, sizeof all, &all, NULL);
    if (code) return rsc_fail_cl(code, "%s: clGetKernelInfo CL_KERNEL_NUM_ARGS", what);
    all -= (plan->visited != NULL) + count; /* the count of what is visited follows */
    for (cl_uint i = 0; i < count && !code; i++) code = clSetKernelArg(kernel, all + i, args[i].bytes, args[i].value);
    return code ? rsc_fail_cl(code, "%s: clSetKernelArg", what) : ROSACE_OK;
}
