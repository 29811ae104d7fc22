/* SPDX-License-Identifier: MIT */
#ifndef ROSACE_SRC_DEVICE_H
#define ROSACE_SRC_DEVICE_H

#include "error.h"

/* What a device says of itself, indices included; a sub-device has the indices UINT_MAX. */
rosace_status rsc_device_describe(cl_device_id device, rosace_device_info *out);

/* Whether this is the processor the library runs on, with a compiler that has clang's built-in functions for it. */
bool rsc_device_is_host(const rosace_device_info *info);

/* Whether loops of a work-item end after 65535 turns counted through all of them, done or not: Mesa's llvmpipe. */
bool rsc_device_ends_loops(const rosace_device_info *info);

/* What a work-item is given there where that can be chosen; estimates are not exact. */
enum { RSC_LOOP_TURNS = 60000 };

/* ROSACE_UNSUPPORTED where a work-item of `what` would need more turns than such a device gives: wrong results, else. */
rosace_status rsc_check_loops(const rosace_device_info *info, const char *what, uint64_t turns);

#endif
