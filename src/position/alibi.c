/* SPDX-License-Identifier: MIT
 * ALiBi's slopes (Press et al. 2021, and its reference code for head counts that are no power of two). */
#include <rosace/attention.h>

#include "../error.h"

#include <math.h>

rosace_status rosace_alibi_slopes(size_t n_heads, float *slopes)
{
    if (!slopes) return rsc_fail(ROSACE_INVALID_ARGUMENT, "slopes: NULL");
    if (!n_heads) return rsc_fail(ROSACE_INVALID_ARGUMENT, "n_heads = 0: must be at least 1");
    size_t power = 1;
    while (power <= n_heads / 2) power *= 2;
    for (size_t h = 0; h < n_heads; h++) {
        /* The series of `power` heads, then the even places of the series of twice as many. */
        const double step = h < power ? (double)(h + 1) / (double)power
                                      : (double)(2 * (h - power) + 1) / (double)(2 * power);
        slopes[h] = (float)exp2(-8.0 * step);
    }
    return ROSACE_OK;
}
