/* SPDX-License-Identifier: MIT
 * Files that commands write. */
#ifndef ROSACE_CLI_OUTPUT_H
#define ROSACE_CLI_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

/* Prints something into a file; false after saying why not. */
typedef bool (*output_writer)(const void *user, FILE *file);

/* Checks that a file can be made at `path`, and leaves nothing there. */
bool output_check(const char *option, const char *path);
/* Writes under a temporary name and renames, so that `path` is either whole or as it was before. */
bool output_save(const char *path, output_writer writer, const void *user);

#endif
