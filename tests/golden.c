/* SPDX-License-Identifier: MIT */
#include "golden.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_text(const char *file)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", GOLDEN_DIR, file);
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f, "%s: %s", path, strerror(errno));
    ck_assert(fseek(f, 0, SEEK_END) == 0);
    long bytes = ftell(f);
    ck_assert(bytes > 0 && fseek(f, 0, SEEK_SET) == 0);
    char *text = harness_alloc((size_t)bytes + 1, 1);
    size_t read = fread(text, 1, (size_t)bytes, f);
    fclose(f);
    ck_assert_uint_eq(read, (size_t)bytes);
    return text;
}

/* "KEY COUNT VALUE..." */
static golden_array *parse_array(const char *line)
{
    golden_array *a = harness_alloc(1, sizeof *a);
    int used = 0;
    ck_assert_msg(sscanf(line, "%39s %zu%n", a->key, &a->count, &used) == 2, "not a golden array: %.60s", line);
    a->values = harness_zeros(a->count);
    char *at = (char *)line + used;
    for (size_t i = 0; i < a->count; i++) {
        char *end;
        a->values[i] = strtod(at, &end);
        ck_assert_msg(end != at, "%s: number %zu of %zu is missing", a->key, i, a->count);
        at = end;
    }
    ck_assert_msg(*at == 0, "%s: more than %zu numbers", a->key, a->count);
    return a;
}

const golden_case *golden_read(const char *file)
{
    golden_case *first = NULL, **next_case = &first, *c = NULL;
    char *text = read_text(file);
    while (*text) {
        char *line = text, *end = strchr(text, '\n');
        ck_assert_msg(end, "%s: the last line has no end", file);
        *end = 0;
        text = end + 1;
        if (!*line || *line == '#')
            continue;
        if (strncmp(line, "case ", 5) == 0) {
            c = *next_case = harness_alloc(1, sizeof *c);
            next_case = &c->next;
            snprintf(c->name, sizeof c->name, "%s", line + 5);
            continue;
        }
        ck_assert_msg(c, "%s: an array before the first case", file);
        golden_array *a = parse_array(line);
        a->next = c->arrays;
        c->arrays = a;
    }
    ck_assert_msg(first, "%s: no case", file);
    return first;
}

const golden_array *golden_find(const golden_case *c, const char *key)
{
    const golden_array *a = c->arrays;
    while (a && strcmp(a->key, key) != 0)
        a = a->next;
    return a;
}

double *golden_values(const golden_case *c, const char *key, size_t count)
{
    const golden_array *a = golden_find(c, key);
    ck_assert_msg(a && a->count == count, "%s: %s: %zu numbers, expected %zu", c->name, key, a ? a->count : 0, count);
    return a->values;
}

int32_t *golden_int32(const golden_case *c, const char *key, size_t count)
{
    const double *values = golden_values(c, key, count);
    int32_t *integers = harness_alloc(count, sizeof *integers);
    for (size_t i = 0; i < count; i++)
        integers[i] = (int32_t)values[i];
    return integers;
}

double golden_number(const golden_case *c, const char *key, double otherwise)
{
    return golden_find(c, key) ? *golden_values(c, key, 1) : otherwise;
}

rosace_rope_desc golden_rope_desc(const golden_case *c)
{
    rosace_rope_desc desc = ROSACE_ROPE_DESC_DEFAULT;
    rosace_rope_scaling *s = &desc.scaling;
    desc.head_dim = (size_t)golden_number(c, "head_dim", 0);
    desc.rotary_dim = (size_t)golden_number(c, "rotary_dim", 0);
    desc.theta = golden_number(c, "theta", desc.theta);
    desc.interleaved = golden_number(c, "interleaved", 0) != 0;
    desc.axes = (size_t)golden_number(c, "axes", 0);
    for (size_t a = 0; a < desc.axes; a++)
        desc.sections[a] = (size_t)golden_values(c, "sections", desc.axes)[a];
    desc.axis_order = (rosace_rope_axis_order)golden_number(c, "axis_order", 0);
    desc.axis_restart = golden_number(c, "axis_restart", 0) != 0;
    s->kind = (rosace_rope_scaling_kind)golden_number(c, "scaling", ROSACE_ROPE_SCALING_NONE);
    s->factor = golden_number(c, "factor", s->factor);
    s->original_max_position = (int64_t)golden_number(c, "original_max_position", 0);
    s->seq_len = (int64_t)golden_number(c, "seq_len", 0);
    s->beta_fast = golden_number(c, "beta_fast", s->beta_fast);
    s->beta_slow = golden_number(c, "beta_slow", s->beta_slow);
    s->attention_factor = golden_number(c, "yarn_attention_factor", 0);
    s->share = golden_number(c, "share", 1);
    if (golden_find(c, "short_factor")) {
        s->attention_factor = golden_number(c, "longrope_attention_factor", 0);
        s->factor_count = desc.rotary_dim / 2;
        s->short_factor = golden_values(c, "short_factor", s->factor_count);
        s->long_factor = golden_values(c, "long_factor", s->factor_count);
    }
    s->mscale = golden_number(c, "mscale", 0);
    s->mscale_all_dim = golden_number(c, "mscale_all_dim", 0);
    s->no_truncate = golden_number(c, "no_truncate", 0) != 0;
    return desc;
}

rosace_attention_desc golden_attention_desc(const golden_case *c)
{
    rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
    desc.n_heads = (size_t)golden_number(c, "n_heads", 0);
    desc.n_kv_heads = (size_t)golden_number(c, "n_kv_heads", 0);
    desc.head_dim = (size_t)golden_number(c, "head_dim", 0);
    desc.mask.causal = golden_number(c, "causal", 0) != 0;
    desc.mask.window_left = (int64_t)golden_number(c, "window_left", -1);
    desc.mask.window_right = (int64_t)golden_number(c, "window_right", -1);
    desc.scale = (float)golden_number(c, "scale", 0);
    desc.softcap = (float)golden_number(c, "softcap", 0);
    desc.bias = golden_number(c, "alibi", 0) != 0 ? ROSACE_BIAS_ALIBI : (rosace_bias_kind)golden_number(c, "bias", 0);
    desc.bias_max_distance = (int64_t)golden_number(c, "bias_max_distance", 0);
    desc.bias_buckets = (int64_t)golden_number(c, "bias_buckets", 0);
    desc.bias_width = (int64_t)golden_number(c, "bias_width", 0);
    desc.bias_causal = golden_number(c, "bias_causal", 0) != 0;
    desc.rerope_window = (int64_t)golden_number(c, "rerope_window", 0);
    desc.rerope_leak = golden_number(c, "rerope_leak", 0);
    desc.sink_logits = golden_find(c, "sink_logits") != NULL;
    return desc;
}

/* transformers computes theta^(2i/d) in fp32: the exponent is rounded (relative error u = 2^-24 of a number below 1, which
 * the power turns into a relative error of ln(theta') u), then the power, its reciprocal and up to four more operations of
 * a scaling round once each, fp32 powers to about 2 u. theta' is the base after a change by a scaling; 10 times theta
 * covers those of rope.txt. */
double golden_frequency_error(const golden_case *c)
{
    return ldexp(1, -24) * (log(10 * golden_number(c, "theta", 10000)) + 8);
}

/* The angle p f is off by f's relative error and one rounding; cos, sin, their product with the attention factor, two
 * products and a sum add at most five roundings of numbers no larger than c (|x_a| + |x_b|). */
double *golden_rope_error(const golden_case *c, size_t seq, size_t heads, const double *x)
{
    rosace_rope_desc desc = golden_rope_desc(c);
    size_t half = desc.rotary_dim / 2, axes = desc.axes ? desc.axes : 1;
    const double *f = golden_values(c, "frequencies", half), *p = golden_values(c, "positions", seq * axes), u = ldexp(1, -24);
    double factor = golden_number(c, "attention_factor", 1), *error = harness_zeros(seq * heads * desc.head_dim);
    for (size_t row = 0; row < seq * heads; row++)
        for (size_t i = 0; i < half; i++) {
            size_t a = row * desc.head_dim + (desc.interleaved ? 2 * i : i), b = a + (desc.interleaved ? 1 : half);
            double furthest = 0;
            for (size_t axis = 0; axis < axes; axis++)
                furthest = fmax(furthest, fabs(p[axis * seq + row / heads]));
            double angle = furthest * f[i] * (golden_frequency_error(c) + u);
            error[a] = error[b] = factor * (fabs(x[a]) + fabs(x[b])) * (angle + 5 * u);
        }
    return error;
}
