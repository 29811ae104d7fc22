/* SPDX-License-Identifier: MIT
 * Turning what went wrong into a status and one line for rosace_last_error(). */
#ifndef ROSACE_SRC_ERROR_H
#define ROSACE_SRC_ERROR_H

#include <rosace/rosace.h>

#if defined(__GNUC__)
#define RSC_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define RSC_PRINTF(f, a)
#endif

/* Stores the line for this thread and returns `status`, so that a check reads `return rsc_fail(...)` or
 * `{ status = rsc_fail(...); goto fail; }`. Long lines are cut at 4 KiB. */
rosace_status rsc_fail(rosace_status status, const char *format, ...) RSC_PRINTF(2, 3);

/* The same for an OpenCL error code: "<what>: CL_OUT_OF_RESOURCES (-5)" plus a hint where one is known.
 * CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_HOST_MEMORY and CL_OUT_OF_RESOURCES on allocation become
 * ROSACE_OUT_OF_MEMORY, all else ROSACE_OPENCL_ERROR. */
rosace_status rsc_fail_cl(cl_int code, const char *format, ...) RSC_PRINTF(2, 3);

/* "CL_INVALID_VALUE", or "unknown OpenCL error". */
const char *rsc_cl_error_name(cl_int code);

#endif
