/* SPDX-License-Identifier: MIT
 * Biases by distance with random parameters, for suites that try them all. */
#ifndef ROSACE_TESTS_BIAS_PARAMS_H
#define ROSACE_TESTS_BIAS_PARAMS_H

#include "harness.h"
#include "src/reference/reference.h"

/* The kinds that add a number to a score, and what a case of them is called. */
extern const rosace_bias_kind bias_kinds[];
enum { BIAS_KINDS = 6 };
const char *bias_name(rosace_bias_kind kind);

/* Parameters such as models have, in double and in a buffer of the device; NONE and SHAW get none. Sets *params_of to them. */
rosace_tensor bias_params(ref_bias *params_of);

/* The largest |bias| over the distances first .. last, and what a device may be off there. */
double bias_largest(const ref_bias *bias, int64_t first, int64_t last);
double bias_error(const ref_bias *bias, int64_t first, int64_t last);

#endif
