/* SPDX-License-Identifier: MIT
 * The context as the library sees it: host memory, log, programs, and the plans behind one-call functions. */
#ifndef ROSACE_SRC_CONTEXT_H
#define ROSACE_SRC_CONTEXT_H

#include <rosace/rosace.h>

#include "error.h"

/* Zeroed host memory from the context's allocator; NULL when it has none left (the caller makes the message).
 * rsc_free accepts NULL. */
void *rsc_calloc(rosace_context *context, size_t count, size_t size);
void rsc_free(rosace_context *context, void *memory);

/* One log line; formatting is skipped when nobody listens. */
void rsc_log(rosace_context *context, rosace_log_level level, const char *format, ...) RSC_PRINTF(3, 4);

/* A device buffer of at least 1 byte. `what` names it in the error. Checks CL_DEVICE_MAX_MEM_ALLOC_SIZE first. */
rosace_status rsc_buffer_create(rosace_context *context, size_t bytes, cl_mem_flags flags, const void *host_data,
                                const char *what, cl_mem *out);

/* ---- Plans of the one-call functions -----------------------------------------------------------------------------
 * A plan is kept under a key of plain bytes (a zero-filled struct with the fields that matter, no padding left unset),
 * made on first use and destroyed with the context, or, beyond RSC_MAX_PLANS, when it is the longest unused. Plans carry
 * state (kernel arguments), so a plan is locked from acquire to release. */
enum { RSC_MAX_PLANS = 128 };
typedef struct rsc_plan_entry rsc_plan_entry;
typedef rosace_status (*rsc_plan_make)(rosace_context *context, const void *desc, void **plan);
typedef void (*rsc_plan_drop)(void *plan);

/* Finds or makes the plan for (kind, key). On success *entry is locked and *plan is its plan. `kind` is a string constant
 * that is one object per operation, e.g. "rope". */
rosace_status rsc_plan_acquire(rosace_context *context, const char *kind, const void *key, size_t key_bytes,
                               rsc_plan_make make, rsc_plan_drop drop, const void *desc, rsc_plan_entry **entry, void **plan);
void rsc_plan_release(rsc_plan_entry *entry);

#endif
