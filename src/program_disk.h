/* SPDX-License-Identifier: MIT
 * The program cache on disk. It only ever costs speed: whatever goes wrong with it is a log line, and the program is
 * built from source. */
#ifndef ROSACE_SRC_PROGRAM_DISK_H
#define ROSACE_SRC_PROGRAM_DISK_H

#include "context.h"

/* Names a program: a hash over everything its binary depends on. */
typedef struct rsc_key {
    unsigned char bytes[16];
} rsc_key;

/* Sets context->cache_dir to the folder to use, made if it is missing, or to NULL. `wanted` as in rosace_context_desc.
 * Fails only when host memory runs out. */
rosace_status rsc_disk_open(rosace_context *context, const char *wanted);

#endif
