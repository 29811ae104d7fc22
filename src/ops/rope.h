/* SPDX-License-Identifier: MIT
 * Functions of rope.h with the device class given instead of asked for, so that tests can run each class's division of
 * work on whatever device is at hand. */
#ifndef ROSACE_SRC_OPS_ROPE_H
#define ROSACE_SRC_OPS_ROPE_H

#include <rosace/rope.h>

rosace_status rsc_rope_plan_create_as(rosace_context *context, const rosace_rope_desc *desc,
                                      rosace_device_class device_class, rosace_rope_plan **out);
/* A rotation with all frequencies divided by `slower`. */
rosace_status rsc_rope_plan_create_slower(rosace_context *context, const rosace_rope_desc *desc, double slower,
                                          rosace_rope_plan **out);
rosace_status rsc_sinusoidal_add_as(rosace_context *context, cl_command_queue queue, const rosace_tensor *x,
                                    const rosace_positions *positions, float scale, rosace_device_class device_class,
                                    cl_uint num_wait, const cl_event *wait, cl_event *event);

#endif
