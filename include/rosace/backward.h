/* SPDX-License-Identifier: MIT
 *
 * The backward pass of attention (attention.h): from the gradient of its output those of q, k, v and of what its position
 * system has learned. Probabilities are computed again from lse, tile by tile (Dao 2023, FlashAttention-2): work is
 * O(seq_q * visible keys), memory O(seq_q + seq_k), no matrix of scores is ever stored.
 *
 *     p = exp(s - lse)        delta[m] = <dout_m, out_m>        ds[m, n] = p * (<dout_m, v_n> - delta[m]) * softcap'
 *     dv[n] = sum_m p dout_m      dk[n] = R^T scale sum_m ds logn(m) R q_m      dq[m] = R^T scale logn(m) sum_n ds R k_n
 *
 * R^T turns back (rosace_rope_desc.inverse): gradients are those of q and k as they were given to the forward pass. Key/value
 * heads that several query heads share get the sum over them.
 *
 * The same call gives the same bits each time: no sum depends on the order in which work-items run, nothing is atomic.
 * Arithmetic is fp32 whatever the dtype. With fp16 `out` and the rotated q and k are rounded to fp16, and so are gradients
 * before and after they are turned back.
 */
#ifndef ROSACE_BACKWARD_H
#define ROSACE_BACKWARD_H

#include <rosace/attention.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Thread-safety: as rosace_attention_plan. */
typedef struct rosace_attention_backward_plan rosace_attention_backward_plan;

/* `desc` is that of the forward pass; its path is not read, its max_* say whether workspace is part of the plan.
 * Errors: ROSACE_INVALID_ARGUMENT, ROSACE_UNSUPPORTED (rerope_window, varlen, head_window_left, cache,
 * ROSACE_BIAS_SHAW), ROSACE_BUILD_FAILED,
 * ROSACE_OUT_OF_MEMORY, ROSACE_OPENCL_ERROR. On failure *out is NULL. The context must outlive the plan. */
ROSACE_API rosace_status rosace_attention_backward_plan_create(rosace_context *context, const rosace_attention_desc *desc,
                                                               rosace_attention_backward_plan **out);
ROSACE_API void rosace_attention_backward_plan_destroy(rosace_attention_backward_plan **plan);

/* The name of the variant a plan runs, e.g. "backward_cpu_f32_d64_v16x2k128"; borrowed. */
ROSACE_API const char *rosace_attention_backward_plan_variant(const rosace_attention_backward_plan *plan);

/* Bytes of device workspace a call of these sizes needs; never 0. Errors: ROSACE_INVALID_ARGUMENT (overflow). */
ROSACE_API rosace_status rosace_attention_backward_workspace_bytes(const rosace_attention_backward_plan *plan, size_t batch,
                                                                   size_t seq_q, size_t seq_k, size_t *bytes);

typedef struct rosace_attention_backward_args {
    size_t struct_size;    /* sizeof(rosace_attention_backward_args) */
    const rosace_attention_args *forward; /* the arguments of the forward pass, whose `out` and `lse` hold its results; lse is
                              needed. Its workspace is not read */
    rosace_tensor dout;    /* [batch, seq_q, n_heads, head_dim]: the gradient of out */
    rosace_tensor dq;      /* as q */
    rosace_tensor dk, dv;  /* as k and v. Outputs are written, not added to, and overlap nothing */
    cl_mem workspace;      /* (default NULL: the plan's) */
    size_t workspace_offset_bytes, workspace_bytes; /* as in rosace_attention_args */
} rosace_attention_backward_args;
#define ROSACE_ATTENTION_BACKWARD_ARGS_DEFAULT { .struct_size = sizeof(rosace_attention_backward_args) }

/* Enqueues the backward pass. All of q, k, v, out and dout must be finite. `event` may be NULL; else it is the caller's to
 * release. Errors: ROSACE_INVALID_ARGUMENT and ROSACE_UNSUPPORTED (more than the device can launch or loop over) before
 * anything is enqueued; ROSACE_OPENCL_ERROR, ROSACE_OUT_OF_MEMORY. */
ROSACE_API rosace_status rosace_attention_backward_enqueue(rosace_attention_backward_plan *plan, cl_command_queue queue,
                                                           const rosace_attention_backward_args *args, cl_uint num_wait,
                                                           const cl_event *wait, cl_event *event);

#ifdef __cplusplus
}
#endif
#endif
