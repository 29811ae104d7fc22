/* SPDX-License-Identifier: MIT
 *
 * Adds the sinusoidal position table to x [batch, seq, width], in place:
 *
 *     x[b, s, 2t] += scale * sin(position * frequency t)      x[b, s, 2t + 1] += scale * cos(position * frequency t)
 *
 * frequency   fractions of a turn: high words [pairs], then low words [pairs], pairs = width / 2
 * ids         int32 positions, when args.place.use_ids
 *
 * global = (runs of args.rows tokens * lanes * batch). Work-items of one run are `lanes` neighbours, each of which takes
 * every lanes-th group of VEC pairs; lanes is a kernel argument since the width is one, too.
 *
 *   VEC        pairs at a time: 1, 2, 4 or 8; divides width / 2 (default 4)
 *   GROUP      work-group size along axis 0 (default 1)
 *   DTYPE  as in lib/dtype.clh
 */
#include "lib/dtype.clh"
#include "lib/angle.clh"
#include "lib/place.clh"
#include "shared/rope_args.h"

#ifndef GROUP
#define GROUP 1
#endif

#ifndef PAIR_VEC
#error VEC is 1, 2, 4 or 8
#endif

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
sinusoidal_add(__global STORE *x, __global const uint *frequency, __global const int *ids, const sinusoidal_args args) {
    const uint item = get_global_id(0) % args.items, lanes = args.lanes, lane = item % lanes, pairs = args.pairs;
    const size_t batch = get_global_id(0) / args.items;
    const size_t first_row = (size_t)(item / lanes) * args.rows;
    const size_t end_row = min(first_row + args.rows, (size_t)args.seq);
    const rope_place place = args.place;
    const float scale = args.scale;
    const long first = args.offset + (long)batch * args.batch_stride, seq_stride = args.seq_stride;

    for (size_t row = first_row; row < end_row; row++) {
        __global STORE *to = x + (size_t)(first + (long)row * seq_stride);
        const int position = place_of(&place, ids, batch, row);
        const float sine_scale = position < 0 ? -scale : scale;
        for (uint pair = lane * VEC; pair < pairs; pair += lanes * VEC) {
            VN(float) s;
            const VN(float) c = angle_cos_sin(load_frequency(frequency, pair), load_frequency(frequency, pairs + pair),
                                              abs(position), &s);
            PN(float) p;
            p.even = s * sine_scale;
            p.odd = c * scale;
            PN(store)(PN(load)(to, 2 * (size_t)pair) + p, to, 2 * (size_t)pair);
        }
    }
}
