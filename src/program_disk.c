/* SPDX-License-Identifier: MIT */
#include "program_disk.h"

rosace_status rsc_disk_open(rosace_context *context, const char *wanted) {
    (void)context;
    (void)wanted;
    return ROSACE_OK;
}
