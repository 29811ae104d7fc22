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

#ifdef __cplusplus
}
#endif
#endif
