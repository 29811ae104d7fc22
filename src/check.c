/* SPDX-License-Identifier: MIT */
#include "check.h"

#include <stdio.h>
#include <string.h>

bool rsc_mul(size_t a, size_t b, size_t *out) {
    *out = a * b;
    return a == 0 || b <= SIZE_MAX / a;
}

bool rsc_add(size_t a, size_t b, size_t *out) {
    *out = a + b;
    return b <= SIZE_MAX - a;
}

/* ---- Structs that may grow ------------------------------------------------------------------------------------ */

rosace_status rsc_check_struct(const char *name, size_t struct_size, size_t known) {
    if (struct_size < sizeof(size_t) || struct_size > known)
        return rsc_fail(ROSACE_INVALID_ARGUMENT,
                        "%s.struct_size = %zu: must be the sizeof of the struct, at most %zu in this version; initialise "
                        "the struct with its _DEFAULT",
                        name, struct_size, known);
    return ROSACE_OK;
}

rosace_status rsc_read_struct(const char *name, const void *in, void *out, size_t known) {
    if (!in) return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s = NULL: must point to a struct", name);
    size_t struct_size;
    memcpy(&struct_size, in, sizeof struct_size);
    rosace_status status = rsc_check_struct(name, struct_size, known);
    if (status) return status;
    memcpy(out, in, struct_size);
    memcpy(out, &known, sizeof known);
    return ROSACE_OK;
}

/* ---- Buffers --------------------------------------------------------------------------------------------------- */

/* A buffer as the checks need it: sub-buffers resolved to parent and byte offset. */
typedef struct buffer_facts {
    cl_mem parent;
    size_t begin, bytes;
} buffer_facts;

static rosace_status mem_info(const char *name, cl_mem mem, cl_mem_info what, void *out, size_t bytes) {
    cl_int code = clGetMemObjectInfo(mem, what, bytes, out, NULL);
    if (code == CL_INVALID_MEM_OBJECT)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s: not a valid cl_mem", name);
    return code ? rsc_fail_cl(code, "%s: clGetMemObjectInfo", name) : ROSACE_OK;
}

static rosace_status resolve(const char *name, cl_mem mem, buffer_facts *facts) {
    cl_mem parent = NULL;
    size_t begin = 0, bytes = 0;
    rosace_status status = mem_info(name, mem, CL_MEM_SIZE, &bytes, sizeof bytes);
    if (!status) status = mem_info(name, mem, CL_MEM_ASSOCIATED_MEMOBJECT, &parent, sizeof parent);
    if (!status && parent) status = mem_info(name, mem, CL_MEM_OFFSET, &begin, sizeof begin);
    if (!status) *facts = (buffer_facts){parent ? parent : mem, begin, bytes};
    return status;
}

static rosace_status check_buffer(rosace_context *context, const char *name, cl_mem mem, buffer_facts *facts) {
    if (!mem) return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s = NULL: must be a buffer", name);
    cl_mem_object_type type = 0;
    cl_context owner = NULL;
    rosace_status status = mem_info(name, mem, CL_MEM_TYPE, &type, sizeof type);
    if (!status) status = mem_info(name, mem, CL_MEM_CONTEXT, &owner, sizeof owner);
    if (status) return status;
    if (type != CL_MEM_OBJECT_BUFFER)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s: is an image or pipe, must be a buffer", name);
    if (owner != rosace_context_cl(context))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s: belongs to another OpenCL context than the rosace_context", name);
    return resolve(name, mem, facts);
}

/* What kernels may do with a buffer. */
static rosace_status check_access(const char *name, cl_mem mem, bool output) {
    cl_mem_flags flags = 0;
    rosace_status status = mem_info(name, mem, CL_MEM_FLAGS, &flags, sizeof flags);
    if (status) return status;
    if (output && (flags & CL_MEM_READ_ONLY))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s: is written, but its buffer is CL_MEM_READ_ONLY", name);
    if (!output && (flags & CL_MEM_WRITE_ONLY))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s: is read, but its buffer is CL_MEM_WRITE_ONLY", name);
    return ROSACE_OK;
}

rosace_status rsc_check_array(rosace_context *context, const char *name, cl_mem mem, size_t offset, size_t count,
                              size_t element_bytes, bool output, rsc_range *range) {
    buffer_facts facts = {0};
    rosace_status status = check_buffer(context, name, mem, &facts);
    if (!status) status = check_access(name, mem, output);
    if (status) return status;
    size_t end, end_bytes;
    if (!rsc_add(offset, count, &end) || !rsc_mul(end, element_bytes, &end_bytes) || end_bytes > facts.bytes)
        return rsc_fail(ROSACE_INVALID_ARGUMENT,
                        "%s: offset %zu + %zu elements of %zu bytes do not fit the buffer of %zu bytes", name, offset,
                        count, element_bytes, facts.bytes);
    if (range) *range = (rsc_range){facts.parent, facts.begin + offset * element_bytes, facts.begin + end_bytes};
    return ROSACE_OK;
}

/* ---- Tensor views ---------------------------------------------------------------------------------------------- */

static const char *const axis_names[4] = {"batch", "seq", "head", "head_dim"};

/* Elements from the first to past the last of a view with valid shape and strides; false on overflow. */
static bool extent_of(const rosace_tensor *tensor, size_t *out) {
    size_t extent = 1;
    for (int axis = 0; axis < 4; axis++) {
        size_t reach;
        if (!rsc_mul(tensor->shape[axis] - 1, (size_t)tensor->stride[axis], &reach) ||
            !rsc_add(extent, reach, &extent))
            return false;
    }
    *out = extent;
    return true;
}

/* Axes with more than one element, widest stride first (at equal strides the outer axis first). */
static int axes_by_stride(const rosace_tensor *tensor, int axes[4]) {
    int count = 0;
    for (int axis = 0; axis < 4; axis++) {
        if (tensor->shape[axis] < 2) continue;
        int at = count++;
        for (; at > 0 && tensor->stride[axes[at - 1]] < tensor->stride[axis]; at--) axes[at] = axes[at - 1];
        axes[at] = axis;
    }
    return count;
}

/* Each axis must step over all that lies inside it. Refuses some interleavings that happen not to meet, which no
 * layout of a tensor has. The extents do not overflow: the whole view's does not. */
static rosace_status check_no_self_overlap(const char *name, const rosace_tensor *tensor) {
    int axes[4];
    int count = axes_by_stride(tensor, axes);
    size_t inner = 1;
    while (count-- > 0) {
        const int axis = axes[count];
        if ((size_t)tensor->stride[axis] < inner)
            return rsc_fail(ROSACE_INVALID_ARGUMENT,
                            "%s.stride[%d] = %td: an output must not overlap itself, so the %s axis must step over the %zu "
                            "elements inside it",
                            name, axis, tensor->stride[axis], axis_names[axis], inner);
        inner += (tensor->shape[axis] - 1) * (size_t)tensor->stride[axis];
    }
    return ROSACE_OK;
}

/* Everything about a view but what kernels may do with its buffer. */
static rosace_status check_view(rosace_context *context, const char *name, const rosace_tensor *tensor,
                                rsc_range *range) {
    const size_t element_bytes = rosace_dtype_size(tensor->dtype);
    if (element_bytes == 0) {
        char field[64];
        snprintf(field, sizeof field, "%s.dtype", name);
        return rsc_check_dtype(field, tensor->dtype);
    }
    for (int axis = 0; axis < 4; axis++) {
        if (tensor->shape[axis] == 0)
            return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s.shape[%d] = 0: the %s axis must not be empty", name, axis,
                            axis_names[axis]);
        if (tensor->stride[axis] < 0)
            return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s.stride[%d] = %td: must not be negative", name, axis,
                            tensor->stride[axis]);
    }
    if (tensor->stride[3] != 1)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s.stride[3] = %td: must be 1", name, tensor->stride[3]);

    buffer_facts facts = {0};
    rosace_status status = check_buffer(context, name, tensor->mem, &facts);
    if (status) return status;
    size_t end, end_bytes;
    if (!extent_of(tensor, &end) || !rsc_add(end, tensor->offset, &end) || !rsc_mul(end, element_bytes, &end_bytes))
        return rsc_fail(ROSACE_INVALID_ARGUMENT,
                        "%s: offset, shape and strides reach beyond the address space (offset %zu, shape %zu x %zu x %zu x "
                        "%zu)",
                        name, tensor->offset, tensor->shape[0], tensor->shape[1], tensor->shape[2], tensor->shape[3]);
    if (end_bytes > facts.bytes)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s: the view ends at byte %zu, its buffer at %zu", name, end_bytes,
                        facts.bytes);
    *range = (rsc_range){facts.parent, facts.begin + tensor->offset * element_bytes, facts.begin + end_bytes};
    return ROSACE_OK;
}

rosace_status rsc_check_tensor(rosace_context *context, const char *name, const rosace_tensor *tensor,
                               rosace_dtype dtype, bool output, rsc_range *range) {
    if (!tensor) return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s = NULL: must point to a tensor view", name);
    if (tensor->dtype != dtype)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s.dtype = %d (%s): must be %s here", name, (int)tensor->dtype,
                        rsc_dtype_constant(tensor->dtype), rsc_dtype_constant(dtype));
    rsc_range found;
    rosace_status status = check_view(context, name, tensor, &found);
    if (!status) status = check_access(name, tensor->mem, output);
    if (!status && output) status = check_no_self_overlap(name, tensor);
    if (!status && range) *range = found;
    return status;
}

rosace_status rsc_check_readable(const char *name, cl_mem mem) { return check_access(name, mem, false); }

bool rsc_same_tensor(const rosace_tensor *a, const rosace_tensor *b) {
    if (a->mem != b->mem || a->offset != b->offset || a->dtype != b->dtype) return false;
    for (int axis = 0; axis < 4; axis++) {
        if (a->shape[axis] != b->shape[axis]) return false;
        if (a->shape[axis] > 1 && a->stride[axis] != b->stride[axis]) return false;
    }
    return true;
}

/* ---- Overlap --------------------------------------------------------------------------------------------------- */

static bool ranges_meet(const rsc_range *a, const rsc_range *b) {
    return a->parent == b->parent && a->begin < b->end && b->begin < a->end;
}

static rosace_status fail_overlap(const char *a_name, const rsc_range *a, const char *b_name, const rsc_range *b) {
    return rsc_fail(ROSACE_INVALID_ARGUMENT,
                    "%s overlaps %s: bytes %zu to %zu and %zu to %zu of one buffer; an output must be apart from every "
                    "other tensor of the call",
                    a_name, b_name, a->begin, a->end, b->begin, b->end);
}

rosace_status rsc_check_disjoint(const char *a_name, const rsc_range *a, const char *b_name, const rsc_range *b) {
    return ranges_meet(a, b) ? fail_overlap(a_name, a, b_name, b) : ROSACE_OK;
}

/* Bytes of a view from its first to past its last element, axes[from..] counted only. */
static int64_t inner_bytes(const rosace_tensor *tensor, const int axes[4], int from, int count) {
    size_t extent = 1;
    for (int i = from; i < count; i++) extent += (tensor->shape[axes[i]] - 1) * (size_t)tensor->stride[axes[i]];
    return (int64_t)(extent * rosace_dtype_size(tensor->dtype));
}

/* Whether two interleaved views are proved never to meet. Both are peeled from the widest axis inwards as long as they
 * step alike (by `step` bytes): the views are then copies, `step` apart, of what lies inside, and within one step the
 * insides either stand side by side, or meet in one pair of copies only, which is looked at with the next axis. Treating
 * the axes as endless keeps this right for different lengths (fewer key heads than query heads). */
static bool never_meet(const rosace_tensor *a, int64_t a_begin, const rosace_tensor *b, int64_t b_begin) {
    int a_axes[4], b_axes[4];
    const int a_count = axes_by_stride(a, a_axes), b_count = axes_by_stride(b, b_axes);
    const int64_t a_size = (int64_t)rosace_dtype_size(a->dtype), b_size = (int64_t)rosace_dtype_size(b->dtype);
    for (int i = 0;; i++) {
        const int64_t a_bytes = inner_bytes(a, a_axes, i, a_count), b_bytes = inner_bytes(b, b_axes, i, b_count);
        if (a_begin + a_bytes <= b_begin || b_begin + b_bytes <= a_begin) return true;
        if (i == a_count || i == b_count) return false;

        const int64_t step = a->stride[a_axes[i]] * a_size;
        if (step == 0 || step != b->stride[b_axes[i]] * b_size) return false;
        const int64_t a_inside = inner_bytes(a, a_axes, i + 1, a_count);
        const int64_t b_inside = inner_bytes(b, b_axes, i + 1, b_count);
        if (a_inside > step || b_inside > step) return false;
        const int64_t apart = ((b_begin - a_begin) % step + step) % step;
        const bool same_cell = a_inside > apart, next_cell = apart + b_inside > step;
        if (!same_cell && !next_cell) return true;
        if (same_cell && next_cell) return false;
        a_begin = 0;
        b_begin = same_cell ? apart : apart - step;
    }
}

rosace_status rsc_check_disjoint_tensors(rosace_context *context, const char *a_name, const rosace_tensor *a,
                                         const char *b_name, const rosace_tensor *b) {
    rsc_range a_range, b_range;
    rosace_status status = check_view(context, a_name, a, &a_range);
    if (!status) status = check_view(context, b_name, b, &b_range);
    if (status) return status;
    if (!ranges_meet(&a_range, &b_range) || never_meet(a, (int64_t)a_range.begin, b, (int64_t)b_range.begin))
        return ROSACE_OK;
    return fail_overlap(a_name, &a_range, b_name, &b_range);
}
