/* SPDX-License-Identifier: MIT
 * From kernel sources to kernels: embedded pieces, #include expansion, build, and the cache in memory and on disk. */
#ifndef ROSACE_SRC_PROGRAM_H
#define ROSACE_SRC_PROGRAM_H

#include "context.h"
#include "options.h"

/* Makes kernel `name` of the program that consists of `pieces` (paths below cl/, NULL-terminated, in this order; each
 * #include "..." in them is taken from cl/ too, once). The program is built, or found in the cache, with `options`.
 * The kernel is a new object, the caller's own to release: kernels are never shared, since their arguments are state. */
rosace_status rsc_kernel_create(rosace_context *context, const char *const *pieces, const char *name,
                                const rsc_options *options, cl_kernel *out);

/* The largest work-group this kernel may run with here, by the driver's word, which is a hint only (some report 32 and
 * run 64); 0 when the driver does not say. */
size_t rsc_kernel_work_group_size(rosace_context *context, cl_kernel kernel);

/* ---- Embedded sources, made from cl/ at build time -------------------------------------------------------------- */
typedef struct rsc_source {
    const char *path; /* below cl/, e.g. "lib/mask.clh" */
    const char *text;
    size_t bytes;
} rsc_source;
extern const rsc_source rsc_sources[]; /* sorted by path, ends with {NULL} */

#endif
