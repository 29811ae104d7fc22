/* SPDX-License-Identifier: MIT
 * The frequency scalings of rope.h. A scaling is a row of `scalings`: what it checks and what it makes of the plain
 * frequencies; a new one is a value in rosace_rope_scaling_kind, its fields, two functions and a row here. */
#include "rope_scaling.h"

#include <math.h>
#include <string.h>

#include "../check.h"

#define TWO_PI 6.283185307179586476925286766559L

void rsc_rope_powers(double theta, size_t dim, double *frequencies) {
    for (size_t i = 0; i < dim / 2; i++)
        frequencies[i] = (double)powl(theta, -(long double)(2 * i) / (long double)dim);
}

/* ---- What several scalings need ---------------------------------------------------------------------------------- */

static rosace_status check_factor(const rosace_rope_scaling *scaling) {
    if (!(scaling->factor >= 1.0) || isinf(scaling->factor))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "scaling.factor = %g: must be finite and at least 1", scaling->factor);
    return ROSACE_OK;
}

static rosace_status check_factor_and_length(const rosace_rope_scaling *scaling) {
    const rosace_status status = check_factor(scaling);
    if (status) return status;
    if (scaling->original_max_position < 1 || scaling->original_max_position > INT32_MAX)
        return rsc_fail(ROSACE_INVALID_ARGUMENT,
                        "scaling.original_max_position = %lld: must be the training length, 1 to 2147483647",
                        (long long)scaling->original_max_position);
    return ROSACE_OK;
}

/* theta * factor^(dim / (dim - 2)): the base at which the lowest frequency is divided by factor and the highest kept. */
static double ntk_theta(double theta, double factor, size_t dim) {
    return (double)(theta * powl(factor, (long double)dim / (long double)(dim - 2)));
}

static rosace_status check_ntk_theta(const rosace_rope_desc *desc, double factor) {
    if (desc->rotary_dim < 4)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "rotary_dim = %zu: must be at least 4 with this scaling",
                        desc->rotary_dim);
    if (!isfinite(ntk_theta(desc->theta, factor, desc->rotary_dim)))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "scaling.factor = %g: theta = %g scaled by it is not finite", factor,
                        desc->theta);
    return ROSACE_OK;
}

/* ---- The scalings ------------------------------------------------------------------------------------------------ */

static rosace_status none_check(const rosace_rope_desc *desc) {
    (void)desc;
    return ROSACE_OK;
}

static void none_fill(const rosace_rope_desc *desc, double *frequencies, double *attention_factor) {
    rsc_rope_powers(desc->theta, desc->rotary_dim, frequencies);
    for (size_t a = 0, first = 0; desc->axis_restart && a < desc->axes; first += desc->sections[a++])
        rsc_rope_powers(desc->theta, 2 * desc->sections[a], frequencies + first);
    *attention_factor = 1.0;
}

static rosace_status linear_check(const rosace_rope_desc *desc) {
    return check_factor(&desc->scaling);
}

static void linear_fill(const rosace_rope_desc *desc, double *frequencies, double *attention_factor) {
    none_fill(desc, frequencies, attention_factor);
    for (size_t i = 0; i < desc->rotary_dim / 2; i++)
        frequencies[i] /= desc->scaling.factor;
}

static rosace_status ntk_check(const rosace_rope_desc *desc) {
    const rosace_status status = check_factor(&desc->scaling);
    return status ? status : check_ntk_theta(desc, desc->scaling.factor);
}

static void ntk_fill(const rosace_rope_desc *desc, double *frequencies, double *attention_factor) {
    rsc_rope_powers(ntk_theta(desc->theta, desc->scaling.factor, desc->rotary_dim), desc->rotary_dim, frequencies);
    *attention_factor = 1.0;
}

/* 1 up to the training length; from there on it grows with the length. */
static double dynamic_factor(const rosace_rope_scaling *scaling) {
    const double length = (double)scaling->original_max_position;
    const double now = fmax((double)scaling->seq_len, length);
    return scaling->factor * now / length - (scaling->factor - 1.0);
}

static rosace_status dynamic_check(const rosace_rope_desc *desc) {
    const rosace_rope_scaling *scaling = &desc->scaling;
    const rosace_status status = check_factor_and_length(scaling);
    if (status) return status;
    if (scaling->seq_len < 0)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "scaling.seq_len = %lld: must be the length now, 0 or more",
                        (long long)scaling->seq_len);
    return check_ntk_theta(desc, dynamic_factor(scaling));
}

static void dynamic_fill(const rosace_rope_desc *desc, double *frequencies, double *attention_factor) {
    rsc_rope_powers(ntk_theta(desc->theta, dynamic_factor(&desc->scaling), desc->rotary_dim), desc->rotary_dim,
                    frequencies);
    *attention_factor = 1.0;
}

static rosace_status yarn_check(const rosace_rope_desc *desc) {
    const rosace_rope_scaling *scaling = &desc->scaling;
    const rosace_status status = check_factor_and_length(scaling);
    if (status) return status;
    if (!(scaling->beta_slow > 0.0) || isinf(scaling->beta_slow))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "scaling.beta_slow = %g: must be finite and above 0",
                        scaling->beta_slow);
    if (!(scaling->beta_fast > scaling->beta_slow) || isinf(scaling->beta_fast))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "scaling.beta_fast = %g: must be finite and above beta_slow = %g",
                        scaling->beta_fast, scaling->beta_slow);
    const struct {
        const char *name;
        double value;
    } optional[] = {{"attention_factor", scaling->attention_factor},
                    {"mscale", scaling->mscale},
                    {"mscale_all_dim", scaling->mscale_all_dim}};
    for (size_t i = 0; i < sizeof optional / sizeof optional[0]; i++)
        if (!(optional[i].value >= 0.0) || isinf(optional[i].value))
            return rsc_fail(ROSACE_INVALID_ARGUMENT,
                            "scaling.%s = %g: must be finite and above 0, or 0 for its default", optional[i].name,
                            optional[i].value);
    return ROSACE_OK;
}

static double yarn_mscale(double factor, double mscale) {
    return factor <= 1.0 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

/* The pair, as a real number, that makes `turns` turns over the training length. */
static double yarn_dimension(const rosace_rope_desc *desc, double turns) {
    return (double)desc->rotary_dim * log((double)desc->scaling.original_max_position / (turns * (double)TWO_PI)) /
           (2.0 * log(desc->theta));
}

static void yarn_fill(const rosace_rope_desc *desc, double *frequencies, double *attention_factor) {
    const rosace_rope_scaling *scaling = &desc->scaling;
    none_fill(desc, frequencies, attention_factor);

    double low = yarn_dimension(desc, scaling->beta_fast), high = yarn_dimension(desc, scaling->beta_slow);
    if (!scaling->no_truncate) {
        low = floor(low);
        high = ceil(high);
    }
    low = fmax(low, 0.0);
    high = fmin(high, (double)desc->rotary_dim - 1.0);
    if (low == high) high += 0.001;
    for (size_t i = 0; i < desc->rotary_dim / 2; i++) {
        const double interpolated = fmin(fmax(((double)i - low) / (high - low), 0.0), 1.0);
        frequencies[i] = frequencies[i] / scaling->factor * interpolated + frequencies[i] * (1.0 - interpolated);
    }

    if (scaling->attention_factor > 0.0)
        *attention_factor = scaling->attention_factor;
    else if (scaling->mscale > 0.0 && scaling->mscale_all_dim > 0.0)
        *attention_factor =
            yarn_mscale(scaling->factor, scaling->mscale) / yarn_mscale(scaling->factor, scaling->mscale_all_dim);
    else
        *attention_factor = yarn_mscale(scaling->factor, 1.0);
}

static rosace_status llama3_check(const rosace_rope_desc *desc) {
    const rosace_rope_scaling *scaling = &desc->scaling;
    const rosace_status status = check_factor_and_length(scaling);
    if (status) return status;
    if (!(scaling->low_freq_factor > 0.0) || isinf(scaling->low_freq_factor))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "scaling.low_freq_factor = %g: must be finite and above 0",
                        scaling->low_freq_factor);
    if (!(scaling->high_freq_factor > scaling->low_freq_factor) || isinf(scaling->high_freq_factor))
        return rsc_fail(ROSACE_INVALID_ARGUMENT,
                        "scaling.high_freq_factor = %g: must be finite and above low_freq_factor = %g",
                        scaling->high_freq_factor, scaling->low_freq_factor);
    return ROSACE_OK;
}

static void llama3_fill(const rosace_rope_desc *desc, double *frequencies, double *attention_factor) {
    const rosace_rope_scaling *scaling = &desc->scaling;
    none_fill(desc, frequencies, attention_factor);
    for (size_t i = 0; i < desc->rotary_dim / 2; i++) {
        /* turns over the training length: many are kept, few are interpolated, in between is blended */
        const double turns = (double)scaling->original_max_position * frequencies[i] / (double)TWO_PI;
        const double ramp = (turns - scaling->low_freq_factor) / (scaling->high_freq_factor - scaling->low_freq_factor);
        const double kept = fmin(fmax(ramp, 0.0), 1.0);
        frequencies[i] = (1.0 - kept) * frequencies[i] / scaling->factor + kept * frequencies[i];
    }
}

static rosace_status old_check(const rosace_rope_desc *desc) {
    const rosace_status status = check_factor(&desc->scaling);
    if (status) return status;
    if (!isfinite(desc->theta * desc->scaling.factor))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "scaling.factor = %g: theta = %g scaled by it is not finite",
                        desc->scaling.factor, desc->theta);
    return ROSACE_OK;
}

static void old_fill(const rosace_rope_desc *desc, double *frequencies, double *attention_factor) {
    rsc_rope_powers(desc->theta * desc->scaling.factor, desc->rotary_dim, frequencies);
    *attention_factor = 1.0;
}

static void fixed_fill(const rosace_rope_desc *desc, double *frequencies, double *attention_factor) {
    none_fill(desc, frequencies, attention_factor);
    for (size_t i = 0; i < desc->rotary_dim / 2; i++)
        frequencies[i] *= pow(desc->scaling.factor, -2.0 * (double)(i + 1) / (double)desc->rotary_dim);
}

static rosace_status mixed_check(const rosace_rope_desc *desc) {
    const rosace_status status = check_factor(&desc->scaling);
    if (status) return status;
    if (!(desc->scaling.exponent > 0.0) || isinf(desc->scaling.exponent))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "scaling.exponent = %g: must be finite and above 0",
                        desc->scaling.exponent);
    return ROSACE_OK;
}

static void mixed_fill(const rosace_rope_desc *desc, double *frequencies, double *attention_factor) {
    none_fill(desc, frequencies, attention_factor);
    for (size_t i = 0; i < desc->rotary_dim / 2; i++)
        frequencies[i] *=
            pow(desc->scaling.factor, -pow(2.0 * (double)(i + 1) / (double)desc->rotary_dim, desc->scaling.exponent));
}

static const double *longrope_list(const rosace_rope_scaling *scaling) {
    return scaling->seq_len > scaling->original_max_position ? scaling->long_factor : scaling->short_factor;
}

static rosace_status longrope_check(const rosace_rope_desc *desc) {
    const rosace_rope_scaling *scaling = &desc->scaling;
    const rosace_status status = check_factor_and_length(scaling);
    if (status) return status;
    if (scaling->original_max_position < 2)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "scaling.original_max_position = %lld: must be at least 2",
                        (long long)scaling->original_max_position);
    if (scaling->seq_len < 0)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "scaling.seq_len = %lld: must be the length now, 0 or more",
                        (long long)scaling->seq_len);
    if (!(scaling->attention_factor >= 0.0) || isinf(scaling->attention_factor))
        return rsc_fail(ROSACE_INVALID_ARGUMENT,
                        "scaling.attention_factor = %g: must be finite and above 0, or 0 for its default",
                        scaling->attention_factor);
    if (scaling->factor_count != desc->rotary_dim / 2)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "scaling.factor_count = %zu: must be rotary_dim / 2 = %zu",
                        scaling->factor_count, desc->rotary_dim / 2);
    const struct {
        const char *name;
        const double *list;
    } lists[] = {{"short_factor", scaling->short_factor}, {"long_factor", scaling->long_factor}};
    for (size_t l = 0; l < 2; l++) {
        if (!lists[l].list)
            return rsc_fail(ROSACE_INVALID_ARGUMENT, "scaling.%s = NULL: must point to %zu numbers", lists[l].name,
                            scaling->factor_count);
        for (size_t i = 0; i < scaling->factor_count; i++)
            if (!(lists[l].list[i] >= 0x1p-20) || isinf(lists[l].list[i]))
                return rsc_fail(ROSACE_INVALID_ARGUMENT, "scaling.%s[%zu] = %g: must be finite and above 2^-20",
                                lists[l].name, i, lists[l].list[i]);
    }
    return ROSACE_OK;
}

static void longrope_fill(const rosace_rope_desc *desc, double *frequencies, double *attention_factor) {
    const rosace_rope_scaling *scaling = &desc->scaling;
    const double *factors = longrope_list(scaling);
    none_fill(desc, frequencies, attention_factor);
    for (size_t i = 0; i < desc->rotary_dim / 2; i++)
        frequencies[i] /= factors[i];
    *attention_factor = scaling->attention_factor > 0.0
                            ? scaling->attention_factor
                            : sqrt(1.0 + log(scaling->factor) / log((double)scaling->original_max_position));
}

static rosace_status proportional_check(const rosace_rope_desc *desc) {
    const rosace_status status = check_factor(&desc->scaling);
    if (status) return status;
    if (!(desc->scaling.share > 0.0) || !(desc->scaling.share <= 1.0))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "scaling.share = %g: must be above 0 and at most 1",
                        desc->scaling.share);
    return ROSACE_OK;
}

static void proportional_fill(const rosace_rope_desc *desc, double *frequencies, double *attention_factor) {
    linear_fill(desc, frequencies, attention_factor);
    const size_t turning = (size_t)(desc->scaling.share * (double)desc->rotary_dim / 2.0);
    for (size_t i = turning; i < desc->rotary_dim / 2; i++)
        frequencies[i] = 0.0;
}

/* clang-format off */
static const struct scaling_row {
    rosace_status (*check)(const rosace_rope_desc *desc);
    void (*fill)(const rosace_rope_desc *desc, double *frequencies, double *attention_factor);
} scalings[] = {
    [ROSACE_ROPE_SCALING_NONE]    = {none_check,    none_fill},
    [ROSACE_ROPE_SCALING_LINEAR]  = {linear_check,  linear_fill},
    [ROSACE_ROPE_SCALING_NTK]     = {ntk_check,     ntk_fill},
    [ROSACE_ROPE_SCALING_DYNAMIC] = {dynamic_check, dynamic_fill},
    [ROSACE_ROPE_SCALING_YARN]    = {yarn_check,    yarn_fill},
    [ROSACE_ROPE_SCALING_LLAMA3]  = {llama3_check,  llama3_fill},
    [ROSACE_ROPE_SCALING_NTK_OLD]      = {old_check,          old_fill},
    [ROSACE_ROPE_SCALING_NTK_FIXED]    = {linear_check,       fixed_fill},
    [ROSACE_ROPE_SCALING_NTK_MIXED]    = {mixed_check,        mixed_fill},
    [ROSACE_ROPE_SCALING_LONGROPE]     = {longrope_check,     longrope_fill},
    [ROSACE_ROPE_SCALING_PROPORTIONAL] = {proportional_check, proportional_fill},
};
/* clang-format on */

/* ---- Descriptor -------------------------------------------------------------------------------------------------- */

static rosace_status check_axes(rosace_rope_desc *checked) {
    if (checked->axes == 0) checked->axes = 1;
    if (checked->axes > 4) return rsc_fail(ROSACE_INVALID_ARGUMENT, "axes = %zu: must be 1 to 4", checked->axes);
    if (checked->axes == 1) {
        memset(checked->sections, 0, sizeof checked->sections);
        checked->axis_order = ROSACE_ROPE_AXES_CONTIGUOUS;
        checked->axis_restart = false;
        return ROSACE_OK;
    }
    const size_t pairs = checked->rotary_dim / 2;
    size_t sum = 0;
    for (size_t a = 0; a < 4; a++) {
        if (checked->sections[a] > pairs || (checked->sections[a] && a >= checked->axes))
            return rsc_fail(ROSACE_INVALID_ARGUMENT, "sections[%zu] = %zu: must be at most rotary_dim / 2 = %zu, and 0 behind the "
                                                     "last of axes = %zu", a, checked->sections[a], pairs, checked->axes);
        sum += checked->sections[a];
    }
    if (sum != pairs)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "sections = %zu, %zu, %zu, %zu: must be rotary_dim / 2 = %zu together",
                        checked->sections[0], checked->sections[1], checked->sections[2], checked->sections[3], pairs);
    if (checked->axis_order != ROSACE_ROPE_AXES_CONTIGUOUS && checked->axis_order != ROSACE_ROPE_AXES_INTERLEAVED)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "axis_order = %d: must be one of rosace_rope_axis_order",
                        (int)checked->axis_order);
    if (checked->axis_order == ROSACE_ROPE_AXES_INTERLEAVED)
        for (size_t a = 1; a < checked->axes; a++)
            if (checked->sections[a] && (checked->sections[a] - 1) * checked->axes + a >= pairs)
                return rsc_fail(ROSACE_INVALID_ARGUMENT, "sections[%zu] = %zu: every axes = %zu-th of %zu pairs is too few", a,
                                checked->sections[a], checked->axes, pairs);
    if (checked->axis_restart && checked->axis_order != ROSACE_ROPE_AXES_CONTIGUOUS)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "axis_restart: needs ROSACE_ROPE_AXES_CONTIGUOUS");
    if (checked->axis_restart && checked->scaling.kind != ROSACE_ROPE_SCALING_NONE &&
        checked->scaling.kind != ROSACE_ROPE_SCALING_LINEAR)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "axis_restart: scaling.kind = %d must be NONE or LINEAR",
                        (int)checked->scaling.kind);
    return ROSACE_OK;
}

static rosace_status check_xpos(rosace_rope_desc *checked) {
    if (checked->xpos_base == 0.0) {
        checked->xpos_center = 0;
        return ROSACE_OK;
    }
    /* below 2, so that a position's fall is less than 1 */
    if (!(checked->xpos_base >= 2.0) || isinf(checked->xpos_base))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "xpos_base = %g: must be finite and at least 2, or 0 for none", checked->xpos_base);
    if (checked->xpos_center < INT32_MIN || checked->xpos_center > INT32_MAX)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "xpos_center = %lld: must fit int32", (long long)checked->xpos_center);
    if (checked->axes > 1)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "xpos_base = %g: needs axes = 1, not %zu", checked->xpos_base, checked->axes);
    return ROSACE_OK;
}

void rsc_rope_xpos(const rosace_rope_desc *checked, uint32_t *words) {
    const size_t pairs = checked->rotary_dim / 2;
    for (size_t i = 0; i < pairs; i++) {
        const long double z = (2.0L * (long double)i / (long double)checked->rotary_dim + 0.4L) / 1.4L;
        const uint64_t fall = checked->xpos_base > 0.0 ? (uint64_t)ldexpl(-log2l(z) / (long double)checked->xpos_base, 64) : 0;
        words[i] = (uint32_t)(fall >> 32);
        words[pairs + i] = (uint32_t)fall;
    }
}

void rsc_rope_axes(const rosace_rope_desc *checked, uint32_t *axes) {
    const size_t pairs = checked->rotary_dim / 2, n = checked->axes;
    if (checked->axis_order == ROSACE_ROPE_AXES_INTERLEAVED) {
        for (size_t i = 0; i < pairs; i++) axes[i] = i < n * checked->sections[i % n] ? (uint32_t)(i % n) : 0;
        return;
    }
    size_t i = 0;
    for (size_t a = 0; a + 1 < n; a++)
        for (size_t j = 0; j < checked->sections[a]; j++) axes[i++] = (uint32_t)a;
    while (i < pairs) axes[i++] = (uint32_t)(n - 1);
}

rosace_status rsc_rope_check_desc(const rosace_rope_desc *desc, rosace_rope_desc *checked) {
    *checked = (rosace_rope_desc)ROSACE_ROPE_DESC_DEFAULT;
    rosace_status status = rsc_read_struct("rope desc", desc, checked, sizeof *checked);
    if (status) return status;

    if (checked->head_dim < 2 || checked->head_dim > 1024 || checked->head_dim % 2)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "head_dim = %zu: must be even, 2 to 1024", checked->head_dim);
    if (checked->rotary_dim == 0) checked->rotary_dim = checked->head_dim;
    if (checked->rotary_dim > checked->head_dim || checked->rotary_dim % 2)
        return rsc_fail(ROSACE_INVALID_ARGUMENT,
                        "rotary_dim = %zu: must be even and at most head_dim = %zu, or 0 for all of it",
                        checked->rotary_dim, checked->head_dim);
    if (!(checked->theta > 1.0) || isinf(checked->theta))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "theta = %g: must be finite and above 1", checked->theta);
    status = rsc_check_dtype("dtype", checked->dtype);
    if (status) return status;
    if ((unsigned)checked->scaling.kind >= sizeof scalings / sizeof scalings[0])
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "scaling.kind = %d: must be one of rosace_rope_scaling_kind",
                        (int)checked->scaling.kind);
    status = check_axes(checked);
    if (!status) status = check_xpos(checked);
    return status ? status : scalings[checked->scaling.kind].check(checked);
}

void rsc_rope_key_set(rsc_rope_key *whole, const rosace_rope_desc *checked) {
    rosace_rope_desc *key = &whole->desc;
    const rosace_rope_scaling *from = &checked->scaling;
    rosace_rope_scaling *to = &key->scaling;
    memset(whole, 0, sizeof *whole);
    key->head_dim = checked->head_dim;
    key->rotary_dim = checked->rotary_dim;
    key->theta = checked->theta;
    key->interleaved = checked->interleaved;
    key->inverse = checked->inverse;
    key->dtype = checked->dtype;
    key->axes = checked->axes;
    memcpy(key->sections, checked->sections, sizeof key->sections);
    key->axis_order = checked->axis_order;
    key->axis_restart = checked->axis_restart;
    key->xpos_base = checked->xpos_base;
    key->xpos_center = checked->xpos_center;
    to->kind = from->kind;
    if (from->kind != ROSACE_ROPE_SCALING_NONE) to->factor = from->factor;
    switch (from->kind) {
    case ROSACE_ROPE_SCALING_NONE:
    case ROSACE_ROPE_SCALING_LINEAR:
    case ROSACE_ROPE_SCALING_NTK:
    case ROSACE_ROPE_SCALING_NTK_OLD:
    case ROSACE_ROPE_SCALING_NTK_FIXED: break;
    case ROSACE_ROPE_SCALING_NTK_MIXED: to->exponent = from->exponent; break;
    case ROSACE_ROPE_SCALING_PROPORTIONAL: to->share = from->share; break;
    case ROSACE_ROPE_SCALING_LONGROPE:
        to->original_max_position = from->original_max_position;
        to->attention_factor = from->attention_factor;
        memcpy(whole->factors, longrope_list(from), checked->rotary_dim / 2 * sizeof *whole->factors);
        break;
    case ROSACE_ROPE_SCALING_DYNAMIC:
        to->original_max_position = from->original_max_position;
        /* nothing changes before the training length */
        to->seq_len = from->seq_len > from->original_max_position ? from->seq_len : from->original_max_position;
        break;
    case ROSACE_ROPE_SCALING_YARN:
        to->original_max_position = from->original_max_position;
        to->beta_fast = from->beta_fast;
        to->beta_slow = from->beta_slow;
        to->attention_factor = from->attention_factor;
        to->mscale = from->mscale;
        to->mscale_all_dim = from->mscale_all_dim;
        to->no_truncate = from->no_truncate;
        break;
    case ROSACE_ROPE_SCALING_LLAMA3:
        to->original_max_position = from->original_max_position;
        to->low_freq_factor = from->low_freq_factor;
        to->high_freq_factor = from->high_freq_factor;
        break;
    }
}

void rsc_rope_fill(const rosace_rope_desc *checked, double *frequencies, double *attention_factor) {
    scalings[checked->scaling.kind].fill(checked, frequencies, attention_factor);
}

rosace_status rosace_rope_frequencies(const rosace_rope_desc *desc, double *frequencies, double *attention_factor) {
    rosace_rope_desc checked;
    const rosace_status status = rsc_rope_check_desc(desc, &checked);
    if (status) return status;
    double all[512], factor;
    rsc_rope_fill(&checked, all, &factor);
    if (frequencies) memcpy(frequencies, all, checked.rotary_dim / 2 * sizeof *all);
    if (attention_factor) *attention_factor = factor;
    return ROSACE_OK;
}

/* ---- Fractions of a turn ----------------------------------------------------------------------------------------- */

/* floor(2^192 / (2 pi)), least significant word first */
static const uint32_t turns_per_radian[6] = {0x4f10e410, 0x36d8a566, 0x7d4d3770, 0x7f09d5f4, 0x9391054a, 0x28be60db};

/* f = m * 2^(e-53) with m an integer, so that f / (2 pi) = m * turns_per_radian * 2^(e-53-192), of which 64 bits behind
 * the point are wanted. Integers throughout: no compiler's long double decides how far a position may reach. */
static uint64_t turn_fraction(double frequency) {
    int exponent;
    const uint64_t mantissa = (uint64_t)ldexp(frexp(frequency, &exponent), 53);
    uint32_t product[12] = {0};
    for (unsigned i = 0; i < 2; i++) {
        const uint64_t m = (uint32_t)(mantissa >> (32 * i));
        uint64_t carry = 0;
        for (unsigned j = 0; j < 6; j++) {
            const uint64_t sum = m * turns_per_radian[j] + product[i + j] + carry;
            product[i + j] = (uint32_t)sum;
            carry = sum >> 32;
        }
        product[i + 6] = (uint32_t)carry;
    }
    const unsigned shift = (unsigned)(181 - exponent); /* 53 + 192 - 64 - e, at least 149 for f < 2^32 */
    if (shift > 256) return 0;
    uint64_t carry = UINT64_C(1) << ((shift - 1) % 32);
    for (unsigned j = (shift - 1) / 32; j < 12; j++) { /* round to nearest */
        carry += product[j];
        product[j] = (uint32_t)carry;
        carry >>= 32;
    }
    const unsigned word = shift / 32, bit = shift % 32;
    const uint64_t low = product[word] | (uint64_t)product[word + 1] << 32;
    return bit ? low >> bit | (uint64_t)product[word + 2] << (64 - bit) : low;
}

void rsc_turn_words(const double *frequencies, size_t count, uint32_t *words) {
    for (size_t i = 0; i < count; i++) {
        const uint64_t turn = turn_fraction(frequencies[i]);
        words[i] = (uint32_t)(turn >> 32);
        words[count + i] = (uint32_t)turn;
    }
}
