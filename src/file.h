/* SPDX-License-Identifier: MIT
 * What the program cache needs of a file system, alike on every system: only private files are trusted, and a file
 * appears under its name whole or not at all. Where systems differ is in file.c only. */
#ifndef ROSACE_SRC_FILE_H
#define ROSACE_SRC_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RSC_PATH_BYTES = 1024 };

/* The folder in which this user's programs keep what they can make again, with a separator at its end, so that a name can
 * follow; false when the system does not say. */
bool rsc_user_cache_folder(char *out, size_t out_bytes);

/* Makes a folder and those above it that are missing, for this user alone. False: *reason says what is wrong with it. */
bool rsc_private_folder(const char *path, const char **reason);

/* A file's content in memory from `alloc`. On success *reason is NULL. NULL with *reason NULL when there is no such file.
 * Else *reason says what is wrong (it is no plain file of this user, others may write it, it is larger than most_bytes, it
 * cannot be read), and memory that was already made is returned to be freed. Marks the file as used now, see
 * rsc_trim_folder. */
void *rsc_read_private_file(const char *path, size_t most_bytes, void *(*alloc)(void *user, size_t bytes), void *user,
                            size_t *bytes, const char **reason);

/* Writes two stretches of bytes to `temporary` and renames it to `path`, in place of what is there. False: *reason says
 * why, and nothing is left behind. */
bool rsc_replace_file(const char *path, const char *temporary, const void *head, size_t head_bytes, const void *body,
                      size_t body_bytes, const char **reason);

/* Deletes the longest unused of a folder's files with this ending until they fill at most `most_bytes`, and temporary
 * files (ending `temporary_ending`) older than an hour. Returns how many entries went; errors only leave more behind. */
size_t rsc_trim_folder(const char *folder, const char *ending, const char *temporary_ending, uint64_t most_bytes);

#endif
