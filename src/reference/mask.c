/* SPDX-License-Identifier: MIT
 * Which key a query sees, asked for one pair at a time. */
#include <math.h>

#include "reference.h"

/* The number of the chunk that place p is in; places before the first key are in negative chunks. */
static int64_t chunk_of(int64_t p, int64_t size) { return p >= 0 ? p / size : -((-p + size - 1) / size); }

/* Each limit of the definition by itself. */
static bool within_right(const rosace_mask *mask, int64_t i, int64_t n)
{
    if (mask->causal && n > i)
        return false;
    if (mask->window_right >= 0 && n > i + mask->window_right)
        return false;
    if (mask->chunk > 0 && chunk_of(n, mask->chunk) > chunk_of(i, mask->chunk))
        return false;
    return true;
}

static bool within_left(const rosace_mask *mask, int64_t i, int64_t n)
{
    if (mask->window_left >= 0 && n < i - mask->window_left)
        return false;
    if (mask->chunk > 0 && chunk_of(n, mask->chunk) < chunk_of(i, mask->chunk) - mask->chunk_back)
        return false;
    return true;
}

bool ref_visible(const rosace_mask *mask, int64_t q_offset, int64_t seq_k, int64_t m, int64_t n)
{
    int64_t i = m + q_offset;
    if (n < 0 || n >= seq_k)
        return false;
    if (n < mask->prefix)
        return true;
    return within_right(mask, i, n) && (within_left(mask, i, n) || n < mask->sinks);
}

void ref_mask_matrix(const rosace_mask *mask, int64_t q_offset, size_t seq_q, size_t heads, size_t seq_k,
                     const ref_bias *bias, double *out)
{
    for (size_t m = 0; m < seq_q; m++)
        for (size_t h = 0; h < heads; h++)
            for (size_t n = 0; n < seq_k; n++) {
                int64_t distance = (int64_t)m + q_offset - (int64_t)n;
                bool visible = ref_visible(mask, q_offset, (int64_t)seq_k, (int64_t)m, (int64_t)n);
                out[(m * heads + h) * seq_k + n] =
                    !visible ? -(double)INFINITY : bias ? ref_bias_at(bias, h, distance) : 0;
            }
}
