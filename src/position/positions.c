/* SPDX-License-Identifier: MIT */
#include "positions.h"

#include <stdio.h>

rosace_status rsc_check_positions(rosace_context *context, const char *name, const rosace_positions *positions,
                                  size_t axes, size_t batch, size_t seq, rsc_range *ids_range) {
    if (ids_range) *ids_range = (rsc_range){0};
    const size_t tokens_after_first = positions->ids ? 0 : seq - 1;
    if (positions->offset < INT32_MIN || positions->offset > INT32_MAX ||
        tokens_after_first > (uint64_t)(INT32_MAX - positions->offset))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s.offset = %lld with %zu tokens: every position must fit int32",
                        name, (long long)positions->offset, seq);
    if (!positions->ids) return ROSACE_OK;

    if (positions->batch_stride < 0 || positions->seq_stride < 0)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s.%s = %td: must not be negative", name,
                        positions->batch_stride < 0 ? "batch_stride" : "seq_stride",
                        positions->batch_stride < 0 ? positions->batch_stride : positions->seq_stride);
    if (axes > 1 && positions->axis_stride < 0)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s.axis_stride = %td: must not be negative", name, positions->axis_stride);
    size_t planes, batches, tokens, count;
    if (!rsc_mul(axes - 1, axes > 1 ? (size_t)positions->axis_stride : 0, &planes) ||
        !rsc_mul(batch - 1, (size_t)positions->batch_stride, &batches) || !rsc_add(batches, planes, &batches) ||
        !rsc_mul(seq - 1, (size_t)positions->seq_stride, &tokens) || !rsc_add(batches, tokens, &count) ||
        !rsc_add(count, 1, &count))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s: strides %td, %td over %zu x %zu tokens pass the address range",
                        name, positions->batch_stride, positions->seq_stride, batch, seq);
    char ids_name[64];
    snprintf(ids_name, sizeof ids_name, "%s.ids", name);
    return rsc_check_array(context, ids_name, positions->ids, positions->ids_offset, count, sizeof(cl_int), false,
                           ids_range);
}

rope_place rsc_positions_place(const rosace_positions *positions) {
    return (rope_place){
        .offset = (int64_t)positions->ids_offset,
        .batch_stride = positions->batch_stride,
        .seq_stride = positions->seq_stride,
        .start = (int32_t)positions->offset,
        .use_ids = positions->ids != NULL,
    };
}
