/* SPDX-License-Identifier: MIT
 * rosace_positions: checks, and the form that kernels take. */
#ifndef ROSACE_SRC_POSITION_POSITIONS_H
#define ROSACE_SRC_POSITION_POSITIONS_H

#include <rosace/rope.h>

#include "../check.h"
#include "shared/rope_args.h"

/* Positions of [batch, seq] tokens on `axes` axes (1 where there is but one): all fit int32, the ids lie inside their buffer. `ids_range` receives the bytes of
 * the ids, with parent NULL when there are none; it may be NULL. */
rosace_status rsc_check_positions(rosace_context *context, const char *name, const rosace_positions *positions,
                                  size_t axes, size_t batch, size_t seq, rsc_range *ids_range);

/* For checked positions. The kernel's id pointer may be anything when there are no ids. */
rope_place rsc_positions_place(const rosace_positions *positions);

#endif
