/* SPDX-License-Identifier: MIT */
#ifndef ROSACE_SRC_DEVICE_H
#define ROSACE_SRC_DEVICE_H

#include "error.h"

/* What a device says of itself, indices included; a sub-device has the indices UINT_MAX. */
rosace_status rsc_device_describe(cl_device_id device, rosace_device_info *out);

#endif
