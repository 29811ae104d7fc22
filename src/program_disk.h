/* SPDX-License-Identifier: MIT
 * The program cache on disk. It only ever costs speed: whatever goes wrong with it is a log line, and the program is
 * built from source.
 *
 * One file per program, KEY.rosace with the key in hexadecimal. A driver may crash on a damaged binary, so everything is
 * verified before a driver sees any of it:
 *
 *     offset  bytes
 *          0      8  "rosace" 0x1a 0x00
 *          8      4  format version, 1
 *         12      4  0x01020304 as this machine writes it
 *         16     16  key, as in the file's name
 *         32      8  length of the binary
 *         40     16  XXH3-128 of bytes 0 .. 39 and the binary
 *         56         the driver's binary
 *
 * Writers make a temporary file and rename it, so readers see an old entry or a new one, whole; of two that race, the
 * later wins and both are right. The folder is kept below RSC_DISK_BYTES by deleting the longest unused entries. */
#ifndef ROSACE_SRC_PROGRAM_DISK_H
#define ROSACE_SRC_PROGRAM_DISK_H

#include "context.h"

/* Names a program: a hash over everything its binary depends on. */
typedef struct rsc_key {
    unsigned char bytes[16];
} rsc_key;

#define RSC_DISK_BYTES ((size_t)256 << 20)

/* Sets context->cache_dir to the folder to use, made if it is missing, or to NULL. `wanted` as in rosace_context_desc.
 * Fails only when host memory runs out. */
rosace_status rsc_disk_open(rosace_context *context, const char *wanted);

/* The binary stored under `key`, the caller's to rsc_free; NULL when there is none that can be trusted. */
void *rsc_disk_load(rosace_context *context, const rsc_key *key, size_t *bytes);

/* Stores a binary under `key`, in place of what is there. */
void rsc_disk_save(rosace_context *context, const rsc_key *key, const void *binary, size_t bytes);

#endif
