/* SPDX-License-Identifier: MIT
 * What was measured on a device, and what operations make of it: for a class of shapes, the name of the row of their own
 * tables that was fastest.
 *
 * The store is one JSON file per device in the folder of the program cache, tuning/NAME-HASH.json, for people to read:
 *
 *     {"schema": 1,
 *      "device": {"name": ..., "vendor": ..., "platform": ..., "driver": ..., "rosace": ..., "kernels": ...},
 *      "entries": {OPERATION: {CLASS: {"choice": ROW, "default": ROW, "date": ...,
 *                                      "microseconds": {ROW: {"min": ..., "median": ...}, ...}}}}}
 *
 * A file whose "device" is not word for word what this context would write is of another device, driver, version or set of
 * kernels, and is not used; neither is one that is damaged. An entry is only ever a wish: an operation takes a row when
 * it is in its table and accepts device and descriptor, else its own heuristic. So a file that is wrong costs speed, never
 * an answer. The file is read once per context, on the first question, and replaced as a whole by `rosace tune`. */
#ifndef ROSACE_SRC_TUNING_H
#define ROSACE_SRC_TUNING_H

#include "context.h"

#include <jansson.h>

enum { RSC_ROW_BYTES = 64, RSC_CLASS_BYTES = 64 }; /* longest names, with their end */

/* Whether there is a choice for this class of an operation; it is copied out. Any thread, any time. */
bool rsc_tuned(rosace_context *context, const char *operation, const char *class_name, char row[RSC_ROW_BYTES]);

/* For an operation that cannot take what rsc_tuned gave: says so, once, and forgets the entry in this context. */
void rsc_tuning_refuse(rosace_context *context, const char *operation, const char *class_name, const char *reason);

/* ---- For the tuner and its relatives ------------------------------------------------------------------------------ */

/* Makes `row` the choice of this context alone, as if it had been read; NULL: none. */
rosace_status rsc_tuning_try(rosace_context *context, const char *operation, const char *class_name, const char *row);

/* Adds an entry (a reference to it is taken, on failure too) to what is in the file now, and to this context. Whether the
 * file could be written is another matter: ROSACE_IO_ERROR says why not, and the entry holds for this context. */
rosace_status rsc_tuning_save(rosace_context *context, const char *operation, const char *class_name, json_t *entry);

/* A copy of the entries this context goes by, {OPERATION: {CLASS: entry}}; a new reference, NULL without memory. */
json_t *rsc_tuning_entries(rosace_context *context);

/* Forgets what was read, so that the file is read again on the next question. */
void rsc_tuning_reload(rosace_context *context);

/* Deletes the file; ROSACE_OK when there was none. */
rosace_status rsc_tuning_clear(rosace_context *context);

/* Where the file is or would be; false when the context has no cache folder, or the store is off. */
bool rsc_tuning_path(rosace_context *context, char *out, size_t out_bytes);

#endif
