/* SPDX-License-Identifier: MIT */
#include "token_rows.h"

/* One row per device class. A vector of 0 bytes is the device's native width; items are per compute unit. On CPU
 * devices 32 rows of a head are 8 KiB at head_dim 64, long enough for the hardware to prefetch, short enough to
 * balance. */
/* clang-format off */
static const struct {
    rosace_device_class device_class;
    bool share;
    unsigned vector_bytes, group, max_rows, min_heads, items;
} classes[] = {
    /*                           share  bytes group rows heads items */
    {ROSACE_DEVICE_CPU,          false,     0,    1,  32,    4,    8},
    {ROSACE_DEVICE_INTEGRATED,   true,     16,   64,   1,    1,  512},
    {ROSACE_DEVICE_DISCRETE,     true,     16,   64,   1,    1, 2048},
    {ROSACE_DEVICE_OTHER,        false,     0,    1,  32,    4,    8}, /* last: stands for classes without a row */
};
/* clang-format on */

rsc_token_rows rsc_token_rows_for(const rosace_device_info *device, rosace_device_class device_class,
                                  rosace_dtype dtype) {
    size_t i = 0;
    while (i + 1 < sizeof classes / sizeof classes[0] && classes[i].device_class != device_class)
        i++;

    const size_t elements =
        classes[i].vector_bytes ? classes[i].vector_bytes / rosace_dtype_size(dtype) : device->float_vector_width;
    unsigned vector = 4;
    while (vector < 16 && 2 * vector <= elements)
        vector *= 2;
    unsigned group = classes[i].group;
    while (group > 1 && group > device->max_work_group_size)
        group /= 2;
    const size_t units = device->compute_units ? device->compute_units : 1;
    return (rsc_token_rows){classes[i].share,        vector, group, classes[i].max_rows, classes[i].min_heads,
                            classes[i].items * units};
}

unsigned rsc_vector_for(size_t count, unsigned limit) {
    unsigned vector = 1;
    while (count && 2 * vector <= limit && count % (2 * vector) == 0)
        vector *= 2;
    return vector;
}

uint32_t rsc_rows_per_item(const rsc_token_rows *rows, size_t tokens, size_t lanes) {
    const size_t per_item = tokens / ((rows->items + lanes - 1) / lanes);
    return per_item < 1 ? 1 : per_item > rows->max_rows ? rows->max_rows : (uint32_t)per_item;
}

size_t rsc_global_rows(const rsc_token_rows *rows, size_t seq, uint32_t rows_per_item, size_t lanes) {
    const size_t items = (seq + rows_per_item - 1) / rows_per_item * lanes;
    return (items + rows->group - 1) / rows->group * rows->group;
}
