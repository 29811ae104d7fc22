/* SPDX-License-Identifier: MIT
 * Reading tests/golden/NAME: cases of named arrays, written by tests/golden/make.py. Everything lives until the test ends. */
#ifndef ROSACE_TESTS_GOLDEN_H
#define ROSACE_TESTS_GOLDEN_H

#include <rosace/attention.h>
#include <rosace/rope.h>

#include "harness.h"

typedef struct golden_array {
    char key[40];
    size_t count;
    double *values;
    struct golden_array *next;
} golden_array;

typedef struct golden_case {
    char name[60];
    golden_array *arrays;
    struct golden_case *next;
} golden_case;

/* The cases of a file, in its order; the test fails when it cannot be read. */
const golden_case *golden_read(const char *file);

/* NULL when the case has no such array. */
const golden_array *golden_find(const golden_case *c, const char *key);
/* An array of a known length; the test fails when it is not there. */
double *golden_values(const golden_case *c, const char *key, size_t count);
int32_t *golden_int32(const golden_case *c, const char *key, size_t count);
/* A single number, or `otherwise` when the case does not have it. */
double golden_number(const golden_case *c, const char *key, double otherwise);

/* What the cases of rope.txt and attention.txt ask for. */
rosace_rope_desc golden_rope_desc(const golden_case *c);
rosace_attention_desc golden_attention_desc(const golden_case *c);

/* How far fp32 arithmetic of transformers may be off, per element of x [seq, heads, head_dim] (freed with the test). */
double *golden_rope_error(const golden_case *c, size_t seq, size_t heads, const double *x);
double golden_frequency_error(const golden_case *c);

#endif
