/* SPDX-License-Identifier: MIT
 * Argument checks that several operations share. Each returns ROSACE_OK or ROSACE_INVALID_ARGUMENT with a message that
 * names the argument, its value and what is allowed. Nothing is enqueued by any of them. */
#ifndef ROSACE_SRC_CHECK_H
#define ROSACE_SRC_CHECK_H

#include "context.h"

/* a*b and a+b, false on overflow */
bool rsc_mul(size_t a, size_t b, size_t *out);
bool rsc_add(size_t a, size_t b, size_t *out);

/* A dtype of the enumeration; its name there, "ROSACE_F16". */
rosace_status rsc_check_dtype(const char *name, rosace_dtype dtype);
const char *rsc_dtype_constant(rosace_dtype dtype);

/* The byte range [begin, end) of a buffer that an argument touches, with sub-buffers resolved to their parent. */
typedef struct rsc_range {
    cl_mem parent;
    size_t begin, end;
} rsc_range;

/* struct_size of a descriptor or argument struct: not 0, not more than this library knows. */
rosace_status rsc_check_struct(const char *name, size_t struct_size, size_t known);

/* Copies a caller's struct over `out`, which holds the defaults: fields the caller's struct_size does not reach keep
 * them. `known` is the size of `out`; the first member of both is struct_size, and *out ends with struct_size = known.
 * Checks in for NULL and its size as rsc_check_struct does.
 *
 *     rosace_rope_desc full = ROSACE_ROPE_DESC_DEFAULT;
 *     if ((status = rsc_read_struct("desc", desc, &full, sizeof full)) != ROSACE_OK) return status; */
rosace_status rsc_read_struct(const char *name, const void *in, void *out, size_t known);

/* A tensor view: buffer not NULL and of this context, dtype as `dtype`, no axis 0, innermost stride 1, outer strides not
 * negative, last element inside the buffer (size overflow included). An output must not alias itself. range may be NULL. */
rosace_status rsc_check_tensor(rosace_context *context, const char *name, const rosace_tensor *tensor, rosace_dtype dtype,
                               bool output, rsc_range *range);

/* `count` elements of `element_bytes` from `offset` (in elements) on inside `mem`, which kernels may write (`output`) or
 * read. range may be NULL. */
rosace_status rsc_check_array(rosace_context *context, const char *name, cl_mem mem, size_t offset, size_t count,
                              size_t element_bytes, bool output, rsc_range *range);

/* An output against another range of the same call. Views of one buffer that interleave without sharing an element (packed
 * QKV) are told apart by rsc_check_disjoint_tensors. */
rosace_status rsc_check_disjoint(const char *a_name, const rsc_range *a, const char *b_name, const rsc_range *b);
/* The same for two views with shape and strides: not overlapping when their ranges are apart, or when they are slices of
 * one packed layout that never meet (equal strides on batch and seq axes, heads side by side). Exact in those cases,
 * refuses otherwise. */
rosace_status rsc_check_disjoint_tensors(rosace_context *context, const char *a_name, const rosace_tensor *a,
                                         const char *b_name, const rosace_tensor *b);

/* A buffer that is written where it is read, too: kernels may read it. For outputs that passed one of the checks above. */
rosace_status rsc_check_readable(const char *name, cl_mem mem);

/* Same buffer, offset, shape and strides. */
bool rsc_same_tensor(const rosace_tensor *a, const rosace_tensor *b);

#endif
