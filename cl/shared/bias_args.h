/* SPDX-License-Identifier: MIT
 * A table of biases by distance: its form, and the argument of cl/bias_table.cl.
 *
 * The table begins with RSC_BIAS_HEADER 32-bit words: first and last distance, floats per head as int32. Then for each head
 * RSC_BIAS_SPARE times the value of the first distance, those of first .. last, and that of the last up to the stride. */
#ifndef ROSACE_CL_SHARED_BIAS_ARGS
#define ROSACE_CL_SHARED_BIAS_ARGS

#include "shared/types.h"

#define RSC_BIAS_HEADER 16
#define RSC_BIAS_SPARE 16 /* lanes of the widest vector */

typedef struct rsc_bias_args {
    RSC_U64 table_offset, params_offset; /* in floats */
    RSC_I32 first, last;                 /* distances */
    RSC_U32 stride;                      /* floats of a head */
    RSC_U32 heads;
    RSC_I32 max_distance, buckets, pairs; /* of the kinds that have them */
    RSC_I32 one_sided;
} rsc_bias_args;

#endif
