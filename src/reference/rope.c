/* SPDX-License-Identifier: MIT
 * Rotary embedding by its definition (Su et al. 2021, eq. 34), its frequency scalings, and the sinusoidal table.
 *
 * Angles are long double: on machines where it has 64 bits of mantissa, position * frequency is good to 2^-33 radians
 * over the whole int32 range, far below what a single-precision sine can show. */
#include <math.h>

#include "reference.h"

static const long double two_pi = 6.283185307179586476925286766559005768L;

/* Between which pairs YaRN changes from no interpolation to full interpolation: the pair that turns `rotations` times
 * within the training length (Peng et al. 2023, section 3.2). */
static long double yarn_pair(double rotations, size_t dim, long double theta, int64_t length)
{
    return (long double)dim * logl((long double)length / (rotations * two_pi)) / (2 * logl(theta));
}

/* How far pair i is on its way from "as trained" (0) to "interpolated" (1). */
static long double yarn_ramp(const rosace_rope_scaling *s, size_t i, size_t dim, long double theta)
{
    long double low = yarn_pair(s->beta_fast, dim, theta, s->original_max_position);
    long double high = yarn_pair(s->beta_slow, dim, theta, s->original_max_position);
    if (!s->no_truncate) {
        low = floorl(low);
        high = ceill(high);
    }
    low = fmaxl(low, 0);
    high = fminl(high, (long double)dim - 1);
    if (low == high)
        high += 0.001L; /* a step instead of a division by zero, as transformers has it */
    return fminl(fmaxl(((long double)i - low) / (high - low), 0), 1);
}

static double yarn_mscale(double factor, double mscale) { return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1; }

static double yarn_attention_factor(const rosace_rope_scaling *s)
{
    if (s->attention_factor != 0)
        return s->attention_factor;
    if (s->mscale != 0 && s->mscale_all_dim != 0)
        return yarn_mscale(s->factor, s->mscale) / yarn_mscale(s->factor, s->mscale_all_dim);
    return yarn_mscale(s->factor, 1);
}

/* Long waves are interpolated, short ones kept, those between are blended (Llama 3.1). */
static long double llama3_frequency(const rosace_rope_scaling *s, long double f)
{
    long double turns = (long double)s->original_max_position * f / two_pi; /* within the training length */
    if (turns < s->low_freq_factor)
        return f / s->factor;
    if (turns > s->high_freq_factor)
        return f;
    long double kept = (turns - s->low_freq_factor) / (s->high_freq_factor - s->low_freq_factor);
    return (1 - kept) * f / s->factor + kept * f;
}

static size_t rotary_dim(const rosace_rope_desc *desc) { return desc->rotary_dim ? desc->rotary_dim : desc->head_dim; }

/* Radians per position of pair i. */
static long double frequency(const rosace_rope_desc *desc, size_t i)
{
    const rosace_rope_scaling *s = &desc->scaling;
    size_t dim = rotary_dim(desc);
    long double theta = desc->theta, d = (long double)dim;
    if (desc->axis_restart) { /* pair i is the j-th of its section */
        size_t a = 0, j = i;
        while (j >= desc->sections[a])
            j -= desc->sections[a++];
        long double f = powl(theta, -(long double)j / (long double)desc->sections[a]);
        return s->kind == ROSACE_ROPE_SCALING_LINEAR ? f / s->factor : f;
    }
    if (i == 0 && (s->kind == ROSACE_ROPE_SCALING_NTK || s->kind == ROSACE_ROPE_SCALING_DYNAMIC))
        return 1; /* theta^0, also where the exponent d/(d-2) of theta's change is infinite */
    if (s->kind == ROSACE_ROPE_SCALING_NTK)
        theta *= powl(s->factor, d / (d - 2));
    if (s->kind == ROSACE_ROPE_SCALING_DYNAMIC && s->seq_len > s->original_max_position) {
        long double stretch = (long double)s->seq_len / (long double)s->original_max_position;
        theta *= powl(s->factor * stretch - (s->factor - 1), d / (d - 2));
    }
    if (s->kind == ROSACE_ROPE_SCALING_NTK_OLD)
        theta *= s->factor;
    long double f = powl(theta, -2 * (long double)i / d);
    /* Su 2023 (kexue 9706) counts pairs from 1: theta_m = base^(-2(m-1)/d), beta = base^(2/d), lambda = factor^(2/d). */
    const long double m = (long double)i + 1, lambda = powl(s->factor, 2 / d), beta = powl(theta, 2 / d);
    if (s->kind == ROSACE_ROPE_SCALING_NTK_FIXED)
        return 1 / (lambda * powl(beta * lambda, m - 1));
    if (s->kind == ROSACE_ROPE_SCALING_NTK_MIXED) {
        const long double a = logl(s->factor) / powl(d / 2, s->exponent);
        return f * expl(-a * powl(m, s->exponent));
    }
    if (s->kind == ROSACE_ROPE_SCALING_LONGROPE)
        return f / (s->seq_len > s->original_max_position ? s->long_factor : s->short_factor)[i];
    if (s->kind == ROSACE_ROPE_SCALING_PROPORTIONAL)
        return m <= floorl(s->share * d / 2) ? f / s->factor : 0;
    if (s->kind == ROSACE_ROPE_SCALING_LINEAR)
        return f / s->factor;
    if (s->kind == ROSACE_ROPE_SCALING_LLAMA3)
        return llama3_frequency(s, f);
    if (s->kind == ROSACE_ROPE_SCALING_YARN) {
        long double ramp = yarn_ramp(s, i, dim, theta);
        return ramp * f / s->factor + (1 - ramp) * f;
    }
    return f;
}

static double attention_factor_of(const rosace_rope_desc *desc)
{
    const rosace_rope_scaling *s = &desc->scaling;
    if (s->kind == ROSACE_ROPE_SCALING_YARN)
        return yarn_attention_factor(s);
    if (s->kind == ROSACE_ROPE_SCALING_LONGROPE)
        return s->attention_factor != 0 ? s->attention_factor
               : s->factor <= 1         ? 1
                                        : sqrt(1 + log(s->factor) / log((double)s->original_max_position));
    return 1;
}

void ref_rope_frequencies(const rosace_rope_desc *desc, double *frequencies, double *attention_factor)
{
    for (size_t i = 0; frequencies && i < rotary_dim(desc) / 2; i++)
        frequencies[i] = (double)frequency(desc, i);
    if (attention_factor)
        *attention_factor = attention_factor_of(desc);
}

/* The axis of pair i: in sections one after the other, or from an assignment written over axis 0 (Qwen3-VL). */
static size_t axis_of(const rosace_rope_desc *desc, size_t i)
{
    if (desc->axes < 2)
        return 0;
    if (desc->axis_order == ROSACE_ROPE_AXES_INTERLEAVED) {
        for (size_t a = 1; a < desc->axes; a++)
            for (size_t j = 0; j < desc->sections[a]; j++)
                if (a + j * desc->axes == i)
                    return a;
        return 0;
    }
    size_t a = 0;
    while (i >= desc->sections[a])
        i -= desc->sections[a++];
    return a;
}

/* Pair i of the heads of a token, turned by an angle. */
static void turn(const rosace_rope_desc *desc, size_t i, size_t heads, long double angle, double *token)
{
    const size_t half = rotary_dim(desc) / 2;
    const size_t a = desc->interleaved ? 2 * i : i, b = desc->interleaved ? 2 * i + 1 : i + half;
    const double c = attention_factor_of(desc), cosine = (double)cosl(angle);
    const double sine = desc->inverse ? -(double)sinl(angle) : (double)sinl(angle);
    for (size_t h = 0; h < heads; h++) {
        double *vector = token + h * desc->head_dim;
        const double xa = vector[a], xb = vector[b];
        vector[a] = c * (xa * cosine - xb * sine);
        vector[b] = c * (xb * cosine + xa * sine);
    }
}

void ref_rope_at(const rosace_rope_desc *desc, size_t heads, long double position, double *token)
{
    for (size_t i = 0; i < rotary_dim(desc) / 2; i++)
        turn(desc, i, heads, position * frequency(desc, i), token);
}

void ref_rope(const rosace_rope_desc *desc, size_t batch, size_t seq, size_t heads, const int32_t *positions, double *x)
{
    for (size_t i = 0; i < rotary_dim(desc) / 2; i++) {
        const long double f = frequency(desc, i);
        for (size_t token = 0; token < batch * seq; token++)
            turn(desc, i, heads, (long double)positions[axis_of(desc, i) * batch * seq + token] * f, x + token * heads * desc->head_dim);
    }
}

void ref_xpos(const rosace_rope_desc *desc, size_t batch, size_t seq, size_t heads, const int32_t *positions, bool keys, double *x)
{
    const size_t dim = rotary_dim(desc), half = dim / 2;
    for (size_t i = 0; desc->xpos_base != 0 && i < half; i++) {
        const long double z = (2 * (long double)i + 0.4L * (long double)dim) / (1.4L * (long double)dim);
        const size_t a = desc->interleaved ? 2 * i : i, b = desc->interleaved ? 2 * i + 1 : i + half;
        for (size_t token = 0; token < batch * seq; token++) {
            const long double power = (long double)(positions[token] - desc->xpos_center) / (long double)desc->xpos_base;
            const double factor = (double)powl(z, keys ? -power : power);
            for (size_t h = 0; h < heads; h++) {
                x[(token * heads + h) * desc->head_dim + a] *= factor;
                x[(token * heads + h) * desc->head_dim + b] *= factor;
            }
        }
    }
}

void ref_sinusoidal_add(size_t batch, size_t seq, size_t width, const int32_t *positions, double scale, double *x)
{
    for (size_t t = 0; t < width / 2; t++) {
        long double f = powl(10000, -2 * (long double)t / (long double)width);
        for (size_t token = 0; token < batch * seq; token++) {
            long double angle = (long double)positions[token] * f;
            x[token * width + 2 * t] += scale * (double)sinl(angle);
            x[token * width + 2 * t + 1] += scale * (double)cosl(angle);
        }
    }
}
