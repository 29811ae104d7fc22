/* SPDX-License-Identifier: MIT */
#include "check.h"

/* By rosace_dtype, which is what cl/lib/dtype.clh calls DTYPE. */
static const struct {
    size_t bytes;
    const char *name, *constant;
} dtypes[] = {
    [ROSACE_F32] = {4, "f32", "ROSACE_F32"},
    [ROSACE_F16] = {2, "f16", "ROSACE_F16"},
    [ROSACE_BF16] = {2, "bf16", "ROSACE_BF16"},
};

static bool is_dtype(rosace_dtype dtype) { return (unsigned)dtype < sizeof dtypes / sizeof *dtypes; }

size_t rosace_dtype_size(rosace_dtype dtype) { return is_dtype(dtype) ? dtypes[dtype].bytes : 0; }
const char *rosace_dtype_name(rosace_dtype dtype) { return is_dtype(dtype) ? dtypes[dtype].name : "unknown dtype"; }
const char *rsc_dtype_constant(rosace_dtype dtype) { return is_dtype(dtype) ? dtypes[dtype].constant : "no rosace_dtype"; }

rosace_status rsc_check_dtype(const char *name, rosace_dtype dtype) {
    if (is_dtype(dtype)) return ROSACE_OK;
    return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s = %d: must be ROSACE_F32, ROSACE_F16 or ROSACE_BF16", name, (int)dtype);
}

/* A product that does not fit becomes a stride no buffer can hold, which the operation then refuses. */
static ptrdiff_t stride_of(ptrdiff_t inner, size_t count) {
    if (count == 0) return inner;
    if ((size_t)inner > (size_t)PTRDIFF_MAX / count) return PTRDIFF_MAX;
    return (ptrdiff_t)((size_t)inner * count);
}

rosace_tensor rosace_tensor_bshd(cl_mem mem, rosace_dtype dtype, size_t batch, size_t seq, size_t heads,
                                 size_t head_dim) {
    rosace_tensor tensor = {.mem = mem, .dtype = dtype, .shape = {batch, seq, heads, head_dim}};
    tensor.stride[3] = 1;
    tensor.stride[2] = stride_of(1, head_dim);
    tensor.stride[1] = stride_of(tensor.stride[2], heads);
    tensor.stride[0] = stride_of(tensor.stride[1], seq);
    return tensor;
}

rosace_tensor rosace_tensor_bhsd(cl_mem mem, rosace_dtype dtype, size_t batch, size_t seq, size_t heads,
                                 size_t head_dim) {
    rosace_tensor tensor = {.mem = mem, .dtype = dtype, .shape = {batch, seq, heads, head_dim}};
    tensor.stride[3] = 1;
    tensor.stride[1] = stride_of(1, head_dim);
    tensor.stride[2] = stride_of(tensor.stride[1], seq);
    tensor.stride[0] = stride_of(tensor.stride[2], heads);
    return tensor;
}
