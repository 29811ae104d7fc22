/* SPDX-License-Identifier: MIT */
#include <rosace/rosace.h>

size_t rosace_dtype_size(rosace_dtype dtype) {
    switch (dtype) {
    case ROSACE_F32: return 4;
    case ROSACE_F16: return 2;
    }
    return 0;
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
