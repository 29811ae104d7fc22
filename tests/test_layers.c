/* SPDX-License-Identifier: MIT
 * Embedding, RMS norm, SwiGLU, add and cross entropy against the reference, and what they refuse. */
#include <math.h>
#include <rosace/layers.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "src/reference/reference.h"

#define EACH_DTYPE(dtype) for (rosace_dtype dtype = ROSACE_F32; dtype <= ROSACE_F16; dtype++)

/* Rows and widths around every vector width and group size, and one larger. */
static const size_t rows_list[] = {1, 3, 17};
static const size_t widths[] = {1, 2, 15, 16, 17, 63, 64, 65, 128, 257, 344, 1000};
static const size_t small_widths[] = {1, 17, 65};

static size_t n_widths(void) {
    return harness_small() ? 3 : sizeof widths / sizeof *widths;
}
static size_t width_at(size_t i) {
    return harness_small() ? small_widths[i] : widths[i];
}
static size_t n_rows(void) {
    return harness_small() ? 2 : 3;
}

static rosace_array array_of(const rosace_tensor *flat) {
    return (rosace_array){flat->mem, flat->offset, flat->dtype};
}

static rosace_array int32_array(const int32_t *values, size_t count) {
    rosace_array array = {0};
    array.mem = harness_int32(values, count, &array.offset);
    return array;
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

START_TEST(embedding_gathers_rows) {
    const size_t vocab = 11;
    EACH_DTYPE(from) EACH_DTYPE(to) for (size_t w = 0; w < n_widths(); w++) {
        const size_t width = width_at(w), rows = 7;
        const int32_t ids[] = {0, 10, 3, -1, 11, 3, INT32_MAX};
        harness_case("table %d, out %d, width %zu", (int)from, (int)to, width);
        const double *table = harness_random(vocab * width, from);
        double *expected = harness_zeros(rows * width);
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < width; c++)
                expected[r * width + c] =
                    ids[r] >= 0 && ids[r] < (int32_t)vocab ? table[(size_t)ids[r] * width + c] : NAN;
        const rosace_tensor in = harness_flat(from, vocab * width, table), out = harness_flat(to, rows * width, NULL);
        harness_ok(rosace_embedding(harness_context(), harness_queue(), int32_array(ids, rows), array_of(&in), vocab,
                                    array_of(&out), rows, width, 0, NULL, NULL));
        harness_check("embedding", &out, expected, (harness_tolerance){0});
        harness_check_untouched(&in);
    }
}
END_TEST

/* The sum of n squares in any order is off by n units at most, halved by the root; root and quotient have 3 + 2.5. */
static double rmsnorm_relative(size_t width) {
    return 0x1p-23 * (8.0 + 0.5 * (double)width);
}

START_TEST(rmsnorm_agrees_with_the_reference) {
    EACH_DTYPE(x_type)
    EACH_DTYPE(weight_type)
        EACH_DTYPE(out_type) for (size_t w = 0; w < n_widths(); w++) for (size_t r = 0; r < n_rows(); r++) {
        const size_t width = width_at(w), rows = rows_list[r];
        harness_case("x %d, weight %d, out %d, %zu x %zu", (int)x_type, (int)weight_type, (int)out_type, rows, width);
        const double *x = harness_random_range(rows * width, x_type, -3, 3);
        const double *weight = harness_random_range(width, weight_type, 0.5, 2);
        double *expected = harness_zeros(rows * width);
        ref_rmsnorm(rows, width, 1e-5f, x, weight, expected);
        const rosace_tensor in = harness_flat(x_type, rows * width, x),
                            scale = harness_flat(weight_type, width, weight),
                            out = harness_flat(out_type, rows * width, NULL);
        harness_ok(rosace_rmsnorm(harness_context(), harness_queue(), array_of(&in), array_of(&scale), array_of(&out),
                                  rows, width, 1e-5f, 0, NULL, NULL));
        harness_check("rmsnorm", &out, expected, (harness_tolerance){.relative = rmsnorm_relative(width)});
        harness_check_untouched(&in);
    }
}
END_TEST

START_TEST(rmsnorm_works_in_place) {
    EACH_DTYPE(type) {
        const size_t width = 131, rows = 5;
        harness_case("dtype %d", (int)type);
        const double *x = harness_random(rows * width, type), *weight = harness_random(width, type);
        double *expected = harness_zeros(rows * width);
        ref_rmsnorm(rows, width, 1e-6f, x, weight, expected);
        const rosace_tensor in = harness_flat(type, rows * width, x), scale = harness_flat(type, width, weight);
        harness_ok(rosace_rmsnorm(harness_context(), harness_queue(), array_of(&in), array_of(&scale), array_of(&in),
                                  rows, width, 1e-6f, 0, NULL, NULL));
        harness_check("rmsnorm", &in, expected, (harness_tolerance){.relative = rmsnorm_relative(width)});
    }
}
END_TEST

START_TEST(rmsnorm_of_zeros_is_zero) {
    const size_t width = 40;
    const double *weight = harness_random(width, ROSACE_F32), *zeros = harness_zeros(width);
    const rosace_tensor in = harness_flat(ROSACE_F32, width, zeros), scale = harness_flat(ROSACE_F32, width, weight),
                        out = harness_flat(ROSACE_F32, width, NULL);
    harness_ok(rosace_rmsnorm(harness_context(), harness_queue(), array_of(&in), array_of(&scale), array_of(&out), 1,
                              width, 1e-6f, 0, NULL, NULL));
    harness_check("rmsnorm", &out, zeros, (harness_tolerance){.mostly_zero = true});
}
END_TEST

/* exp 3 units, quotient 2.5, sum and product 0.5 each */
static const harness_tolerance swiglu_tolerance = {.relative = 8 * 0x1p-23};

START_TEST(swiglu_agrees_with_the_reference) {
    EACH_DTYPE(gate_type) EACH_DTYPE(up_type) EACH_DTYPE(out_type) for (size_t w = 0; w < n_widths(); w++) {
        const size_t count = width_at(w);
        harness_case("gate %d, up %d, out %d, count %zu", (int)gate_type, (int)up_type, (int)out_type, count);
        double *g = harness_random_range(count, gate_type, -8, 8);
        const double *u = harness_random(count, up_type);
        /* Both ends of silu, where exp overflows and vanishes */
        if (count > 2) g[count - 1] = -200, g[count - 2] = 200;
        double *expected = harness_zeros(count);
        ref_swiglu(count, g, u, expected);
        const rosace_tensor gate = harness_flat(gate_type, count, g), up = harness_flat(up_type, count, u),
                            out = harness_flat(out_type, count, NULL);
        harness_ok(rosace_swiglu(harness_context(), harness_queue(), array_of(&gate), array_of(&up), array_of(&out),
                                 count, 0, NULL, NULL));
        harness_check("swiglu", &out, expected, swiglu_tolerance);
    }
}
END_TEST

START_TEST(swiglu_works_in_place_of_either_input) {
    const size_t count = 77;
    EACH_DTYPE(type)
    for (int into_up = 0; into_up < 2; into_up++) {
        harness_case("dtype %d, into %s", (int)type, into_up ? "up" : "gate");
        const double *g = harness_random_range(count, type, -4, 4), *u = harness_random(count, type);
        double *expected = harness_zeros(count);
        ref_swiglu(count, g, u, expected);
        const rosace_tensor gate = harness_flat(type, count, g), up = harness_flat(type, count, u);
        const rosace_tensor *out = into_up ? &up : &gate;
        harness_ok(rosace_swiglu(harness_context(), harness_queue(), array_of(&gate), array_of(&up), array_of(out),
                                 count, 0, NULL, NULL));
        harness_check("swiglu", out, expected, swiglu_tolerance);
    }
}
END_TEST

START_TEST(add_adds) {
    EACH_DTYPE(x_type) EACH_DTYPE(y_type) for (size_t w = 0; w < n_widths(); w++) {
        const size_t count = width_at(w);
        harness_case("x %d, y %d, count %zu", (int)x_type, (int)y_type, count);
        const double *a = harness_random(count, x_type), *b = harness_random(count, y_type);
        double *expected = harness_zeros(count);
        for (size_t i = 0; i < count; i++)
            expected[i] = a[i] + b[i];
        const rosace_tensor x = harness_flat(x_type, count, a), y = harness_flat(y_type, count, b);
        harness_ok(rosace_add(harness_context(), harness_queue(), array_of(&x), array_of(&y), count, 0, NULL, NULL));
        harness_check("add", &x, expected, (harness_tolerance){.relative = 0x1p-24});
        harness_check_untouched(&y);
    }
}
END_TEST

START_TEST(add_doubles_what_is_added_to_itself) {
    const size_t count = 50;
    const double *a = harness_random(count, ROSACE_F32);
    double *expected = harness_zeros(count);
    for (size_t i = 0; i < count; i++)
        expected[i] = 2 * a[i];
    const rosace_tensor x = harness_flat(ROSACE_F32, count, a);
    harness_ok(rosace_add(harness_context(), harness_queue(), array_of(&x), array_of(&x), count, 0, NULL, NULL));
    harness_check("add", &x, expected, (harness_tolerance){0});
}
END_TEST

START_TEST(cross_entropy_agrees_with_the_reference) {
    EACH_DTYPE(type)
    for (size_t w = 0; w < n_widths(); w++)
        for (size_t r = 0; r < n_rows(); r++) {
            const size_t classes = width_at(w), rows = rows_list[r];
            harness_case("logits %d, %zu x %zu", (int)type, rows, classes);
            double *logits = harness_random_range(rows * classes, type, -30, 30);
            /* A logit far above all others: exp must be taken of differences. */
            logits[0] = harness_round(500, type);
            int32_t *targets = harness_alloc(rows, sizeof *targets);
            for (size_t i = 0; i < rows; i++)
                targets[i] = (int32_t)harness_random_integer(0, (int64_t)classes - 1);
            double *expected = harness_zeros(rows);
            ref_cross_entropy(rows, classes, logits, targets, expected);
            const rosace_tensor in = harness_flat(type, rows * classes, logits),
                                loss = harness_flat(ROSACE_F32, rows, NULL);
            harness_ok(rosace_cross_entropy(harness_context(), harness_queue(), array_of(&in),
                                            int32_array(targets, rows), array_of(&loss), rows, classes, 0, NULL, NULL));
            /* The sum is off by half a unit a term, its log by as much absolutely; the differences by a unit of theirs.
             */
            harness_check("cross_entropy", &loss, expected,
                          (harness_tolerance){.absolute = 0x1p-24 * (16.0 + (double)classes),
                                              .relative = 4 * 0x1p-23,
                                              .mostly_zero = true});
        }
}
END_TEST

START_TEST(cross_entropy_marks_targets_outside) {
    const size_t classes = 20, rows = 3;
    const int32_t targets[] = {-1, 20, 5};
    const double *logits = harness_random(rows * classes, ROSACE_F32);
    const int32_t inside[] = {0, 0, 5};
    double expected[3];
    ref_cross_entropy(rows, classes, logits, inside, expected);
    expected[0] = expected[1] = NAN;
    const rosace_tensor in = harness_flat(ROSACE_F32, rows * classes, logits),
                        loss = harness_flat(ROSACE_F32, rows, NULL);
    harness_ok(rosace_cross_entropy(harness_context(), harness_queue(), array_of(&in), int32_array(targets, rows),
                                    array_of(&loss), rows, classes, 0, NULL, NULL));
    harness_check("cross_entropy", &loss, expected, (harness_tolerance){.absolute = 1e-5});
}
END_TEST

/* A chain over an out-of-order queue: each call waits for the event of the one before. */
START_TEST(calls_wait_for_their_lists) {
    const size_t count = 100;
    cl_command_queue queue = harness_queue_out_of_order();
    if (!queue) harness_skip("no out-of-order queue");
    const double *a = harness_random(count, ROSACE_F32);
    double *expected = harness_zeros(count);
    const rosace_tensor x = harness_flat(ROSACE_F32, count, a);
    cl_event last = NULL;
    for (int i = 0; i < 6; i++) {
        cl_event next;
        harness_ok(rosace_add(harness_context(), queue, array_of(&x), array_of(&x), count, last != NULL,
                              last ? &last : NULL, &next));
        if (last) clReleaseEvent(last);
        last = next;
    }
    ck_assert_int_eq(clWaitForEvents(1, &last), CL_SUCCESS);
    clReleaseEvent(last);
    for (size_t i = 0; i < count; i++)
        expected[i] = 64 * a[i];
    harness_check("add", &x, expected, (harness_tolerance){0});
}
END_TEST

/* ---- Refusals ---------------------------------------------------------------------------------------------------- */

START_TEST(wrong_arguments_are_refused) {
    rosace_context *c = harness_context();
    cl_command_queue q = harness_queue();
    const size_t n = 12;
    const double *values = harness_random(4 * n, ROSACE_F32);
    const int32_t numbers[] = {0, 1, 2, 3};
    const rosace_tensor x_flat = harness_flat(ROSACE_F32, 4 * n, values),
                        y_flat = harness_flat(ROSACE_F32, 4 * n, values),
                        out_flat = harness_flat(ROSACE_F32, 4 * n, NULL);
    const rosace_array x = array_of(&x_flat), y = array_of(&y_flat), out = array_of(&out_flat),
                       ids = int32_array(numbers, 4);
    rosace_array none = x, odd = x, far = x, shifted = x;
    none.mem = NULL;
    odd.dtype = (rosace_dtype)7;
    far.offset = SIZE_MAX / 2;
    shifted.offset += 1;

#define REFUSE(call, words) harness_refused(call, event, &out_flat, ROSACE_INVALID_ARGUMENT, words)
    REFUSE(rosace_embedding(NULL, q, ids, x, 4, out, 4, n, 0, NULL, event), "context");
    REFUSE(rosace_embedding(c, NULL, ids, x, 4, out, 4, n, 0, NULL, event), "queue");
    REFUSE(rosace_embedding(c, q, ids, x, 0, out, 4, n, 0, NULL, event), "vocab");
    REFUSE(rosace_embedding(c, q, ids, x, 4, out, 0, n, 0, NULL, event), "rows");
    REFUSE(rosace_embedding(c, q, ids, x, 4, out, 4, 0, 0, NULL, event), "width");
    REFUSE(rosace_embedding(c, q, ids, odd, 4, out, 4, n, 0, NULL, event), "dtype");
    REFUSE(rosace_embedding(c, q, ids, none, 4, out, 4, n, 0, NULL, event), "table");
    REFUSE(rosace_embedding(c, q, ids, x, 4000, out, 4, n, 0, NULL, event), "table");
    REFUSE(rosace_embedding(c, q, none, x, 4, out, 4, n, 0, NULL, event), "ids");
    REFUSE(rosace_embedding(c, q, ids, x, 4, x, 4, n, 0, NULL, event), "overlap");
    REFUSE(rosace_rmsnorm(c, q, x, y, out, 0, n, 1e-6f, 0, NULL, event), "rows");
    REFUSE(rosace_rmsnorm(c, q, x, y, out, 4, n, -1.0f, 0, NULL, event), "eps");
    REFUSE(rosace_rmsnorm(c, q, x, y, out, 4, n, NAN, 0, NULL, event), "eps");
    REFUSE(rosace_rmsnorm(c, q, far, y, out, 4, n, 1e-6f, 0, NULL, event), "x");
    REFUSE(rosace_rmsnorm(c, q, x, y, shifted, 3, n, 1e-6f, 0, NULL, event), "overlap");
    REFUSE(rosace_rmsnorm(c, q, x, y, y, 4, n, 1e-6f, 0, NULL, event), "overlap");
    REFUSE(rosace_swiglu(c, q, x, y, out, 0, 0, NULL, event), "count");
    REFUSE(rosace_swiglu(c, q, x, none, out, n, 0, NULL, event), "up");
    REFUSE(rosace_swiglu(c, q, x, y, shifted, n, 0, NULL, event), "overlap");
    REFUSE(rosace_add(c, q, out, y, SIZE_MAX, 0, NULL, event), "count");
    REFUSE(rosace_add(c, q, out, none, n, 0, NULL, event), "y");
    REFUSE(rosace_add(c, q, x, shifted, n, 0, NULL, event), "overlap");
    REFUSE(rosace_cross_entropy(c, q, x, ids, out, 4, 0, 0, NULL, event), "classes");
    REFUSE(rosace_cross_entropy(c, q, x, none, out, 4, n, 0, NULL, event), "targets");
    REFUSE(rosace_cross_entropy(c, q, x, ids, x, 4, n, 0, NULL, event), "overlap");
    REFUSE(rosace_add(c, q, out, y, n, 1, NULL, event), "wait");
#undef REFUSE
}
END_TEST

HARNESS_DEVICE_SUITE("layers", embedding_gathers_rows, rmsnorm_agrees_with_the_reference, rmsnorm_works_in_place,
                     rmsnorm_of_zeros_is_zero, swiglu_agrees_with_the_reference, swiglu_works_in_place_of_either_input,
                     add_adds, add_doubles_what_is_added_to_itself, cross_entropy_agrees_with_the_reference,
                     cross_entropy_marks_targets_outside, calls_wait_for_their_lists, wrong_arguments_are_refused)
