/* SPDX-License-Identifier: MIT
 * What is added to the score of a pair, by its distance: each system as its paper writes it. */
#include <math.h>

#include "reference.h"

double ref_alibi_slope(size_t n_heads, size_t head)
{
    size_t power = 1;
    while (2 * power <= n_heads)
        power *= 2;
    if (head < power)
        return exp2(-8.0 * (double)(head + 1) / (double)power);
    return exp2(-8.0 * (double)(2 * (head - power) + 1) / (double)(2 * power));
}

/* Product of the sinusoidal embeddings of places `distance` apart. */
static double sinusoidal_product(int64_t width, int64_t distance)
{
    long double sum = 0;
    for (int64_t t = 0; t < width / 2; t++)
        sum += cosl((long double)distance * powl(10000, -2 * (long double)t / (long double)width));
    return (double)sum;
}

/* The bucket of a distance (Raffel et al. 2020): bucket b >= exact of a side begins at exact * (max_distance / exact)^((b -
 * exact) / (side - exact)), so it is found by walking through their beginnings. */
static int64_t t5_bucket(const ref_bias *bias, int64_t distance)
{
    const int64_t side = bias->causal ? bias->buckets : bias->buckets / 2, exact = side / 2;
    const int64_t first = distance < 0 && !bias->causal ? side : 0;
    const int64_t away = distance >= 0 ? distance : bias->causal ? 0 : -distance;
    if (away < exact)
        return first + away;
    int64_t bucket = exact;
    const long double ratio = (long double)bias->max_distance / (long double)exact;
    while (bucket + 1 < side) {
        const long double next = (long double)exact * powl(ratio, (long double)(bucket + 1 - exact) / (long double)(side - exact));
        if ((long double)away < next * (1 - 1e-12L))
            break;
        bucket++;
    }
    return first + bucket;
}

double ref_bias_at(const ref_bias *bias, size_t head, int64_t distance)
{
    const double away = fabs((double)distance), *p = bias->params;
    const int64_t reach = bias->max_distance, clipped = distance < -reach ? -reach : distance > reach ? reach : distance;
    switch (bias->kind) {
    case ROSACE_BIAS_NONE:
    case ROSACE_BIAS_SHAW: return 0;
    case ROSACE_BIAS_ALIBI: return -p[head] * away;
    case ROSACE_BIAS_KERPLE_LOG: return -p[head] * log1p(p[bias->heads + head] * away);
    case ROSACE_BIAS_KERPLE_POWER: return -p[head] * pow(away, p[bias->heads + head]);
    case ROSACE_BIAS_SANDWICH: return p[head] * sinusoidal_product(bias->width, distance);
    case ROSACE_BIAS_T5: return p[(size_t)t5_bucket(bias, distance) * bias->heads + head];
    case ROSACE_BIAS_TABLE: return p[head * (size_t)(2 * reach + 1) + (size_t)(clipped + reach)];
    }
    return NAN;
}

size_t ref_bias_params(const ref_bias *bias)
{
    switch (bias->kind) {
    case ROSACE_BIAS_NONE:
    case ROSACE_BIAS_SHAW: return 0;
    case ROSACE_BIAS_ALIBI:
    case ROSACE_BIAS_SANDWICH: return bias->heads;
    case ROSACE_BIAS_KERPLE_LOG:
    case ROSACE_BIAS_KERPLE_POWER: return 2 * bias->heads;
    case ROSACE_BIAS_T5: return (size_t)bias->buckets * bias->heads;
    case ROSACE_BIAS_TABLE: return (size_t)(2 * bias->max_distance + 1) * bias->heads;
    }
    return 0;
}
