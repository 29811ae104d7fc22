/* SPDX-License-Identifier: MIT
 * The sinusoidal table on the device: against the reference, and every refusal. */
#include <math.h>
#include <string.h>

#include "harness.h"
#include "src/ops/rope.h"
#include "src/reference/reference.h"
#include <rosace/rope.h>

/* x within [-1, 1): one sin within 1e-7 and two roundings of numbers below 1 + scale. */
static harness_tolerance tolerance_for(double scale) {
    return (harness_tolerance){.absolute = 2.5e-7 * (1 + fabs(scale))};
}

static void run(int layout, rosace_dtype dtype, size_t batch, size_t seq, size_t width, float scale, int64_t offset,
                bool ids) {
    harness_case("%s %s batch %zu seq %zu width %zu scale %g offset %lld%s", harness_layout_name(layout),
                 dtype == ROSACE_F16 ? "f16" : "f32", batch, seq, width, (double)scale, (long long)offset,
                 ids ? " ids" : "");
    double *values = harness_random(batch * seq * width, dtype);
    rosace_tensor x = harness_tensor(layout, dtype, batch, seq, 1, width, values);
    rosace_positions positions = {.offset = offset, .seq_stride = 1, .batch_stride = (ptrdiff_t)seq};
    int32_t *at = harness_alloc(batch * seq, sizeof *at);
    for (size_t i = 0; i < batch * seq; i++)
        at[i] = (int32_t)(ids ? harness_random_integer(-100, 1 << 20) : (int64_t)(i % seq));
    if (ids) positions.ids = harness_int32(at, batch * seq, &positions.ids_offset);
    for (size_t i = 0; i < batch * seq; i++)
        at[i] += (int32_t)offset;
    harness_ok(rosace_sinusoidal_add(harness_context(), harness_queue(), &x, &positions, scale, 0, NULL, NULL));
    ref_sinusoidal_add(batch, seq, width, at, (double)scale, values);
    harness_check("sinusoidal_add", &x, values, tolerance_for((double)scale));
}

START_TEST(adds_what_the_reference_adds) {
    static const size_t widths[] = {2, 6, 10, 64, 90, 128, 250, 512};
    for (size_t n = 0; n < sizeof widths / sizeof widths[0]; n++)
        for (int layout = 0; layout < HARNESS_LAYOUTS; layout++) {
            const rosace_dtype dtype = (n + (size_t)layout) % 2 ? ROSACE_F16 : ROSACE_F32;
            run(layout, dtype, 1 + n % 3, n == 3 ? 1 : 4 + n, widths[n], layout % 2 ? 1.0f : -0.35f,
                layout == 2   ? -1000
                : layout == 3 ? 1 << 20
                              : 0,
                layout == 4);
        }
    if (!harness_small()) {
        run(HARNESS_BSHD, ROSACE_F32, 2, 3001, 96, 1.0f, 0, false);
        run(HARNESS_BSHD, ROSACE_F32, 1, 3, 8194, 1.0f, 7, true);
    }
}
END_TEST

START_TEST(adds_as_every_class_of_device) {
    static const rosace_device_class classes[] = {ROSACE_DEVICE_CPU, ROSACE_DEVICE_INTEGRATED, ROSACE_DEVICE_DISCRETE,
                                                  ROSACE_DEVICE_OTHER};
    static const size_t widths[] = {10, 96, 264};
    for (size_t n = 0; n < sizeof classes / sizeof classes[0]; n++)
        for (size_t m = 0; m < sizeof widths / sizeof widths[0]; m++) {
            const size_t seq = 19, count = 2 * seq * widths[m];
            const rosace_dtype dtype = (n + m) % 2 ? ROSACE_F16 : ROSACE_F32;
            harness_case("class %d width %zu", (int)classes[n], widths[m]);
            double *values = harness_random(count, dtype);
            int32_t *at = harness_alloc(2 * seq, sizeof *at);
            for (size_t i = 0; i < 2 * seq; i++)
                at[i] = (int32_t)(i % seq) - 3;
            rosace_tensor x = harness_tensor(HARNESS_GAPS, dtype, 2, seq, 1, widths[m], values);
            const rosace_positions positions = {.offset = -3, .seq_stride = 1};
            harness_ok(rsc_sinusoidal_add_as(harness_context(), harness_queue(), &x, &positions, 1.0f, classes[n], 0,
                                             NULL, NULL));
            ref_sinusoidal_add(2, seq, widths[m], at, 1.0, values);
            harness_check("sinusoidal_add", &x, values, tolerance_for(1.0));
        }
}
END_TEST

#define INVALID(statement, substring)                                                                                  \
    do {                                                                                                               \
        rosace_context *context = harness_context();                                                                   \
        cl_command_queue queue = harness_queue();                                                                      \
        rosace_tensor x =                                                                                              \
            harness_tensor(HARNESS_GAPS, ROSACE_F32, 2, 5, 1, 32, harness_random(2 * 5 * 32, ROSACE_F32));             \
        const rosace_tensor whole = x, *given = &x;                                                                    \
        rosace_positions positions = {.seq_stride = 1}, *places = &positions;                                          \
        float scale = 1.0f;                                                                                            \
        cl_uint num_wait = 0;                                                                                          \
        harness_case("%s", #statement);                                                                                \
        statement;                                                                                                     \
        harness_refused(rosace_sinusoidal_add(context, queue, given, places, scale, num_wait, NULL, event), event,     \
                        &whole, ROSACE_INVALID_ARGUMENT, substring);                                                   \
    } while (0)

START_TEST(arguments_are_checked) {
    INVALID(context = NULL, "context");
    INVALID(queue = NULL, "queue");
    INVALID(given = NULL, "x = NULL");
    INVALID(places = NULL, "positions = NULL");
    INVALID(num_wait = 2, "wait");
    INVALID(x.mem = NULL, "x");
    INVALID(x.dtype = (rosace_dtype)5, "x.dtype");
    INVALID(x.shape[1] = 0, "x.shape[1]");
    INVALID(x.shape[2] = 2, "x");
    INVALID(x.shape[3] = 31, "x.shape[3] = 31: must be even");
    INVALID(x.stride[3] = 2, "x.stride[3]");
    INVALID(x.stride[1] = 0, "x");
    INVALID(x.offset = SIZE_MAX / 8, "x");
    INVALID(scale = NAN, "scale");
    INVALID(scale = INFINITY, "scale");
    INVALID(positions.offset = INT32_MAX, "positions.offset = 2147483647");
    INVALID((positions.ids = x.mem, positions.ids_offset = x.offset), "positions.ids");
    INVALID((positions.ids = x.mem, positions.seq_stride = -1), "positions.seq_stride");
    INVALID((positions.ids = x.mem, positions.seq_stride = 1 << 20), "positions.ids");
}
END_TEST

HARNESS_DEVICE_SUITE("sinusoidal", adds_what_the_reference_adds, adds_as_every_class_of_device, arguments_are_checked)
