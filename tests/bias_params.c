/* SPDX-License-Identifier: MIT */
#include "bias_params.h"

#include <math.h>

const rosace_bias_kind bias_kinds[BIAS_KINDS] = {ROSACE_BIAS_ALIBI,    ROSACE_BIAS_KERPLE_LOG, ROSACE_BIAS_KERPLE_POWER,
                                                 ROSACE_BIAS_SANDWICH, ROSACE_BIAS_T5,         ROSACE_BIAS_TABLE};

const char *bias_name(rosace_bias_kind kind)
{
    static const char *const names[] = {"no bias", "alibi", "shaw", "kerple log", "kerple power", "sandwich", "t5", "table"};
    return names[kind];
}

rosace_tensor bias_params(ref_bias *b)
{
    const size_t count = ref_bias_params(b);
    if (!count) return (rosace_tensor){.mem = NULL};
    double *params = harness_random_range(count, ROSACE_F32, 0.25, 1.25);
    for (size_t i = 0; i < count; i++) {
        if (b->kind == ROSACE_BIAS_ALIBI) params[i] = (double)(float)ref_alibi_slope(b->heads, i);
        if (b->kind == ROSACE_BIAS_SANDWICH) params[i] = (double)(float)((double)b->heads / (8.0 * (double)(i + 1)));
        if (b->kind == ROSACE_BIAS_T5 || b->kind == ROSACE_BIAS_TABLE) params[i] = 4.0 * (params[i] - 0.75);
    }
    b->params = params;
    return harness_flat(ROSACE_F32, count, params);
}

double bias_largest(const ref_bias *bias, int64_t first, int64_t last)
{
    double largest = 0.0;
    for (size_t h = 0; bias->params && h < bias->heads; h++)
        for (int64_t d = first; d <= last; d++) largest = fmax(largest, fabs(ref_bias_at(bias, h, d)));
    return largest;
}

/* A logarithm or power is within 16 units in the last place by OpenCL's rules, products and roundings beside it within 2; a
 * sum of cosines, each off by 1e-7, rounds once per term. */
double bias_error(const ref_bias *bias, int64_t first, int64_t last)
{
    const double unit = ldexp(1.0, -24), largest = bias_largest(bias, first, last);
    if (bias->kind != ROSACE_BIAS_SANDWICH) return 18.0 * unit * largest;
    double factor = 0.0;
    for (size_t h = 0; h < bias->heads; h++) factor = fmax(factor, fabs(bias->params[h]));
    return factor * (double)(bias->width / 2) * (1e-7 + unit * sqrt((double)(bias->width / 2))) + 2.0 * unit * largest;
}
