/* SPDX-License-Identifier: MIT
 *
 * The small operations between the matrix products of a transformer, enough to run one without leaving the device.
 * All work on rows of `width` elements; "packed" means row r starts at offset + r*width. Arrays of one call may differ in
 * dtype unless said otherwise; arithmetic is fp32. Sizes are at least 1. An output that "may be" an input is then that
 * very array (buffer, offset and dtype alike); any other overlap of an output is refused.
 * Errors of all: ROSACE_INVALID_ARGUMENT before anything is enqueued; ROSACE_BUILD_FAILED, ROSACE_OUT_OF_MEMORY,
 * ROSACE_OPENCL_ERROR. Thread-safety: as the context, safe.
 */
#ifndef ROSACE_LAYERS_H
#define ROSACE_LAYERS_H

#include <rosace/rosace.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A packed array in a buffer. */
typedef struct rosace_array {
    cl_mem mem;
    size_t offset;      /* in elements */
    rosace_dtype dtype; /* ignored where the operation says int32 */
} rosace_array;

/* out[r, :] = table[ids[r], :]; ids int32 [rows], table [vocab, width], out [rows, width], dtypes of table and out may
 * differ. An id outside 0 .. vocab-1 gives a row of NaN. */
ROSACE_API rosace_status rosace_embedding(rosace_context *context, cl_command_queue queue, rosace_array ids,
                                          rosace_array table, size_t vocab, rosace_array out, size_t rows, size_t width,
                                          cl_uint num_wait, const cl_event *wait, cl_event *event);

/* out[r, :] = x[r, :] / sqrt(mean(x[r, :]^2) + eps) * weight[:] (Zhang & Sennrich 2019). out may be x. */
ROSACE_API rosace_status rosace_rmsnorm(rosace_context *context, cl_command_queue queue, rosace_array x,
                                        rosace_array weight, rosace_array out, size_t rows, size_t width, float eps,
                                        cl_uint num_wait, const cl_event *wait, cl_event *event);

/* out[i] = silu(gate[i]) * up[i], silu(x) = x / (1 + exp(-x)) (Shazeer 2020, SwiGLU). out may be gate or up. */
ROSACE_API rosace_status rosace_swiglu(rosace_context *context, cl_command_queue queue, rosace_array gate, rosace_array up,
                                       rosace_array out, size_t count, cl_uint num_wait, const cl_event *wait,
                                       cl_event *event);

/* x[i] += y[i]. y may be x. */
ROSACE_API rosace_status rosace_add(rosace_context *context, cl_command_queue queue, rosace_array x, rosace_array y,
                                    size_t count, cl_uint num_wait, const cl_event *wait, cl_event *event);

/* loss[r] = log sum_c exp(logits[r, c]) - logits[r, targets[r]], in nats; logits [rows, classes], targets int32 [rows],
 * loss fp32 [rows], may not overlap either. A target outside 0 .. classes-1 gives NaN. */
ROSACE_API rosace_status rosace_cross_entropy(rosace_context *context, cl_command_queue queue, rosace_array logits,
                                              rosace_array targets, rosace_array loss, size_t rows, size_t classes,
                                              cl_uint num_wait, const cl_event *wait, cl_event *event);

/* out[r, :] = (x[r, :] - mean(x[r, :])) / sqrt(variance(x[r, :]) + eps) * weight[:] + bias[:], the variance that of all of the
 * row (Ba et al. 2016). weight and bias are [width] and of one dtype; bias.mem NULL: none. out may be x. */
ROSACE_API rosace_status rosace_layernorm(rosace_context *context, cl_command_queue queue, rosace_array x,
                                          rosace_array weight, rosace_array bias, rosace_array out, size_t rows, size_t width,
                                          float eps, cl_uint num_wait, const cl_event *wait, cl_event *event);

/* rosace_rmsnorm of every head of a view x [batch, seq, heads, head_dim], in place; weight [head_dim], shared by the heads, as
 * Qwen 3 and Gemma 3 have it on queries and keys. Elements of a head are neighbours (stride[3] = 1). */
ROSACE_API rosace_status rosace_rmsnorm_heads(rosace_context *context, cl_command_queue queue, const rosace_tensor *x,
                                              rosace_array weight, float eps, cl_uint num_wait, const cl_event *wait,
                                              cl_event *event);

typedef enum rosace_activation {
    ROSACE_ACTIVATION_SILU = 0,  /* x / (1 + exp(-x)) */
    ROSACE_ACTIVATION_GELU,      /* x/2 (1 + erf(x / sqrt 2)) (Hendrycks & Gimpel 2016) */
    ROSACE_ACTIVATION_GELU_TANH, /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), their approximation */
    ROSACE_ACTIVATION_RELU       /* max(x, 0) */
} rosace_activation;

/* out[i] = f(x[i]). out may be x. */
ROSACE_API rosace_status rosace_activate(rosace_context *context, cl_command_queue queue, rosace_activation function,
                                         rosace_array x, rosace_array out, size_t count, cl_uint num_wait,
                                         const cl_event *wait, cl_event *event);

/* out[i] = f(gate[i]) * up[i] (Shazeer 2020: GeGLU and the like). out may be gate or up. */
ROSACE_API rosace_status rosace_gated(rosace_context *context, cl_command_queue queue, rosace_activation function,
                                      rosace_array gate, rosace_array up, rosace_array out, size_t count, cl_uint num_wait,
                                      const cl_event *wait, cl_event *event);

/* out[i] = (clamp(up[i], -limit, limit) + 1) * g / (1 + exp(-alpha * g)), g = min(gate[i], limit), as gpt-oss has it (with
 * alpha 1.702 and limit 7). limit > 0. out may be gate or up. */
ROSACE_API rosace_status rosace_clamped_swiglu(rosace_context *context, cl_command_queue queue, rosace_array gate,
                                               rosace_array up, rosace_array out, size_t count, float alpha, float limit,
                                               cl_uint num_wait, const cl_event *wait, cl_event *event);

/* x[i] = cap * tanh(x[i] / cap), cap > 0, as Gemma 2 has it on its logits. */
ROSACE_API rosace_status rosace_softcap(rosace_context *context, cl_command_queue queue, rosace_array x, size_t count, float cap,
                                        cl_uint num_wait, const cl_event *wait, cl_event *event);

/* x[i] *= factor, which is finite. */
ROSACE_API rosace_status rosace_scale(rosace_context *context, cl_command_queue queue, rosace_array x, size_t count, float factor,
                                      cl_uint num_wait, const cl_event *wait, cl_event *event);

/* x[r, :] += bias[:]; x [rows, width], bias [width], which may not overlap x. */
ROSACE_API rosace_status rosace_add_bias(rosace_context *context, cl_command_queue queue, rosace_array x, rosace_array bias,
                                         size_t rows, size_t width, cl_uint num_wait, const cl_event *wait, cl_event *event);

/* x[ids[r], :] += weights[r] * y[r, :]: what a mixture of experts does with the rows of one expert. ids int32 [rows], no two
 * alike (of those that are, some are lost); weights fp32 [rows]; y [rows, width]; x [x_rows, width], overlapping none of them.
 * A row whose id is outside 0 .. x_rows-1 goes nowhere. */
ROSACE_API rosace_status rosace_scatter_add(rosace_context *context, cl_command_queue queue, rosace_array x, size_t x_rows,
                                            rosace_array ids, rosace_array weights, rosace_array y, size_t rows, size_t width,
                                            cl_uint num_wait, const cl_event *wait, cl_event *event);

#ifdef __cplusplus
}
#endif
#endif
