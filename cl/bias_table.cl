/* SPDX-License-Identifier: MIT
 * A bias that depends on the distance alone, as a table (shared/bias_args.h) that attention reads with position/table.clh:
 * H * distances values instead of one per pair.
 *
 * A piece of cl/position/ in front of this one is the bias, in two steps:
 *   bias_shape_type
 *   bias_shape(constants, args, distance)      what all heads share; constants: what the host computed, __global const uint *
 *   bias_value(params, args, head, shape)      params: the caller's, __global const float *
 *
 * A work-item takes one entry of every head. Global size: (stride).
 */
#include "shared/bias_args.h"

#ifndef bias_shape_type
#define bias_shape_type float
#define bias_shape(constants, args, distance) ((float)(distance))
#define bias_value(params, args, head, shape) (shape)
#endif

__kernel void bias_table(__global float *table, __global const float *params, __global const uint *constants,
                         const rsc_bias_args args)
{
    const int column = (int)get_global_id(0);
    table += args.table_offset;
    params += args.params_offset;
    if (column == 0) {
        __global int *header = (__global int *)table;
        header[0] = args.first;
        header[1] = args.last;
        header[2] = (int)args.stride;
    }
    const int beyond = column - RSC_BIAS_SPARE; /* the first distance */
    const int distance = args.first + clamp(beyond, 0, args.last - args.first);
    const bias_shape_type shape = bias_shape(constants, &args, distance);
    for (uint h = 0; h < args.heads; h++)
        table[RSC_BIAS_HEADER + (size_t)h * args.stride + column] = bias_value(params, &args, h, shape);
}
