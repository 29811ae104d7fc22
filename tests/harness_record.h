/* SPDX-License-Identifier: MIT
 * Between the harness's own files. */
#ifndef ROSACE_TESTS_HARNESS_RECORD_H
#define ROSACE_TESTS_HARNESS_RECORD_H

#include "harness.h"

/* Adds to the row of (op, dtype) in the table of errors. */
void harness_record(const char *op, rosace_dtype dtype, size_t values, double absolute, double ulp, double share);

const char *harness_dtype_name(rosace_dtype dtype);

#endif
