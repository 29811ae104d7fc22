/* SPDX-License-Identifier: MIT
 * Layer norm, norm of heads, activations, biases and scattered adds against the reference, and what they refuse. */
#include <math.h>
#include <rosace/layers.h>
#include <string.h>

#include "harness.h"
#include "src/reference/reference.h"

#define EACH_DTYPE(dtype) for (rosace_dtype dtype = ROSACE_F32; dtype <= ROSACE_F16; dtype++)
#define CALL harness_context(), harness_queue()
#define NOW 0, NULL, NULL

static const double u = 0x1p-24; /* half a unit in the last place of an fp32 number below 1 */
static const size_t widths[] = {1, 4, 17, 64, 131, 344};
static size_t n_widths(void) { return harness_small() ? 3 : sizeof widths / sizeof *widths; }

static rosace_array array_of(const rosace_tensor *flat) { return (rosace_array){flat->mem, flat->offset, flat->dtype}; }

static rosace_array upload(rosace_dtype dtype, size_t count, const double *values)
{
    const rosace_tensor flat = harness_flat(dtype, count, values);
    return array_of(&flat);
}

/* x in -2 .. 4: the mean is of the size of the deviation, and has to go before the squares are summed. */
START_TEST(layernorm_agrees_with_the_reference)
{
    const size_t rows = 3;
    EACH_DTYPE(dtype) for (size_t w = 0; w < n_widths(); w++) for (int biased = 0; biased < 2; biased++) {
        const size_t width = widths[w];
        harness_case("dtype %d, width %zu, bias %d", (int)dtype, width, biased);
        const double *x = harness_random_range(rows * width, dtype, -2, 4), *weight = harness_random(width, dtype);
        const double *bias = harness_random(width, dtype);
        double *expected = harness_zeros(rows * width);
        ref_layernorm(rows, width, 1e-3f, x, weight, biased ? bias : NULL, expected);
        const rosace_tensor in = harness_flat(dtype, rows * width, x), out = harness_flat(dtype, rows * width, NULL);
        const rosace_array scale = upload(dtype, width, weight), shift = biased ? upload(dtype, width, bias) : (rosace_array){0};
        const harness_tolerance tolerance = {.absolute = 8 * ((double)width + 8) * u, .mostly_zero = width == 1};
        harness_ok(rosace_layernorm(CALL, array_of(&in), scale, shift, array_of(&out), rows, width, 1e-3f, NOW));
        harness_check("layernorm", &out, expected, tolerance);
        harness_check_untouched(&in);
        harness_ok(rosace_layernorm(CALL, array_of(&in), scale, shift, array_of(&in), rows, width, 1e-3f, NOW));
        harness_check("in place", &in, expected, tolerance);
    }
}
END_TEST

START_TEST(norm_of_heads_reads_any_view)
{
    const size_t batch = 2, seq = 3, heads = 2, dims[] = {8, 24, 80};
    EACH_DTYPE(dtype) for (int layout = 0; layout < HARNESS_LAYOUTS; layout++) {
        const size_t dim = dims[layout % 3], rows = batch * seq * heads;
        harness_case("dtype %d, layout %s, head_dim %zu", (int)dtype, harness_layout_name(layout), dim);
        const double *x = harness_random_range(rows * dim, dtype, -3, 3), *weight = harness_random(dim, dtype);
        double *expected = harness_zeros(rows * dim);
        ref_rmsnorm(rows, dim, 1e-6f, x, weight, expected);
        const rosace_tensor view = harness_tensor(layout, dtype, batch, seq, heads, dim, x);
        harness_ok(rosace_rmsnorm_heads(CALL, &view, upload(dtype, dim, weight), 1e-6f, NOW));
        harness_check("rmsnorm_heads", &view, expected, (harness_tolerance){.relative = ((double)dim + 16) * u});
    }
}
END_TEST

/* Both ends of each function, where exp overflows and vanishes. */
static double *wide_numbers(size_t count, rosace_dtype dtype)
{
    double *x = harness_random_range(count, dtype, -6, 6);
    if (count > 2) x[count - 1] = -200, x[count - 2] = 200;
    return x;
}

/* exp and erfc may be off by 3 and 16 ulp (OpenCL 1.2, table 7.4), and their argument by one of its own: up to 36 u at -6 */
static const harness_tolerance activation_tolerance = {.absolute = 4 * u, .relative = 80 * u};

START_TEST(activations_agree_with_the_reference)
{
    EACH_DTYPE(dtype) for (int function = 0; function <= ROSACE_ACTIVATION_RELU; function++)
        for (size_t w = 0; w < n_widths(); w++) {
            const size_t count = widths[w];
            harness_case("dtype %d, function %d, count %zu", (int)dtype, function, count);
            const double *x = wide_numbers(count, dtype), *up = harness_random(count, dtype);
            double *expected = harness_zeros(count);
            for (size_t i = 0; i < count; i++)
                expected[i] = ref_activation(function, x[i]);
            const rosace_tensor in = harness_flat(dtype, count, x), out = harness_flat(dtype, count, NULL);
            harness_ok(rosace_activate(CALL, (rosace_activation)function, array_of(&in), array_of(&out), count, NOW));
            harness_check("activate", &out, expected, activation_tolerance);
            harness_check_untouched(&in);
            for (size_t i = 0; i < count; i++)
                expected[i] *= up[i];
            harness_ok(rosace_gated(CALL, (rosace_activation)function, array_of(&in), upload(dtype, count, up), array_of(&in),
                                    count, NOW));
            harness_check("gated", &in, expected, activation_tolerance);
        }
}
END_TEST

START_TEST(clamped_swiglu_agrees_with_the_reference)
{
    EACH_DTYPE(dtype) for (size_t w = 0; w < n_widths(); w++) {
        const size_t count = widths[w];
        harness_case("dtype %d, count %zu", (int)dtype, count);
        const double *gate = wide_numbers(count, dtype), *up = harness_random_range(count, dtype, -4, 4);
        double *expected = harness_zeros(count);
        ref_clamped_swiglu(count, 1.702f, 2.5f, gate, up, expected);
        const rosace_tensor out = harness_flat(dtype, count, NULL);
        harness_ok(rosace_clamped_swiglu(CALL, upload(dtype, count, gate), upload(dtype, count, up), array_of(&out), count, 1.702f,
                                         2.5f, NOW));
        harness_check("clamped_swiglu", &out, expected,
                      (harness_tolerance){.absolute = 4 * u, .relative = 80 * u, .mostly_zero = count == 1});
    }
}
END_TEST

START_TEST(softcap_and_scale_work_in_place)
{
    EACH_DTYPE(dtype) for (size_t w = 0; w < n_widths(); w++) {
        const size_t count = widths[w];
        harness_case("dtype %d, count %zu", (int)dtype, count);
        const double *x = wide_numbers(count, dtype);
        double *expected = harness_zeros(count);
        const rosace_tensor t = harness_flat(dtype, count, x);
        for (size_t i = 0; i < count; i++)
            expected[i] = 30 * tanh(x[i] / 30);
        harness_ok(rosace_softcap(CALL, array_of(&t), count, 30, NOW));
        harness_check("softcap", &t, expected, (harness_tolerance){.relative = 24 * u});
        const rosace_tensor s = harness_flat(dtype, count, x);
        for (size_t i = 0; i < count; i++)
            expected[i] = -1.25 * x[i];
        harness_ok(rosace_scale(CALL, array_of(&s), count, -1.25f, NOW));
        harness_check("scale", &s, expected, (harness_tolerance){.relative = u});
    }
}
END_TEST

START_TEST(bias_is_added_to_every_row)
{
    const size_t rows = 3;
    EACH_DTYPE(dtype) for (size_t w = 0; w < n_widths(); w++) {
        const size_t width = widths[w];
        harness_case("dtype %d, width %zu", (int)dtype, width);
        const double *x = harness_random(rows * width, dtype), *bias = harness_random(width, dtype);
        double *expected = harness_zeros(rows * width);
        for (size_t i = 0; i < rows * width; i++)
            expected[i] = x[i] + bias[i % width];
        const rosace_tensor t = harness_flat(dtype, rows * width, x);
        harness_ok(rosace_add_bias(CALL, array_of(&t), upload(dtype, width, bias), rows, width, NOW));
        harness_check("add_bias", &t, expected, (harness_tolerance){.relative = u});
    }
}
END_TEST

START_TEST(rows_are_added_where_their_ids_say)
{
    const size_t rows = 4, x_rows = 5;
    const int32_t ids[] = {3, -1, 0, 5};
    EACH_DTYPE(dtype) for (size_t w = 0; w < n_widths(); w++) {
        const size_t width = widths[w];
        harness_case("dtype %d, width %zu", (int)dtype, width);
        const double *x = harness_random(x_rows * width, dtype), *y = harness_random(rows * width, dtype);
        const double *shares = harness_random(rows, ROSACE_F32);
        double *expected = harness_copy(x, x_rows * width);
        for (size_t r = 0; r < rows; r++)
            for (size_t i = 0; i < width && ids[r] >= 0 && (size_t)ids[r] < x_rows; i++)
                expected[(size_t)ids[r] * width + i] += shares[r] * y[r * width + i];
        const rosace_tensor t = harness_flat(dtype, x_rows * width, x);
        rosace_array places = {0};
        places.mem = harness_int32(ids, rows, &places.offset);
        harness_ok(rosace_scatter_add(CALL, array_of(&t), x_rows, places, upload(ROSACE_F32, rows, shares),
                                      upload(dtype, rows * width, y), rows, width, NOW));
        harness_check("scatter_add", &t, expected, (harness_tolerance){.absolute = 4 * u});
    }
}
END_TEST

START_TEST(wrong_arguments_are_refused)
{
    rosace_context *c = harness_context();
    cl_command_queue q = harness_queue();
    const size_t n = 12;
    const double *values = harness_random(4 * n, ROSACE_F32);
    const int32_t numbers[] = {0, 1, 2, 3};
    const rosace_tensor x_flat = harness_flat(ROSACE_F32, 4 * n, values), out_flat = harness_flat(ROSACE_F32, 4 * n, NULL);
    const rosace_array x = array_of(&x_flat), y = upload(ROSACE_F32, 4 * n, values), out = array_of(&out_flat);
    const rosace_array half = upload(ROSACE_F16, 4 * n, values);
    rosace_array none = x, odd = x, shifted = x, ids = {0};
    ids.mem = harness_int32(numbers, 4, &ids.offset);
    none.mem = NULL;
    odd.dtype = (rosace_dtype)77;
    shifted.offset += 1;
    rosace_tensor heads = rosace_tensor_bshd(out.mem, ROSACE_F32, 1, 4, 1, n), bad = heads, wide = heads, gap = heads;
    heads.offset = bad.offset = wide.offset = gap.offset = out.offset;
    bad.dtype = (rosace_dtype)77;
    wide.shape[1] = 4000;
    gap.stride[3] = 2;

#define REFUSE(call, words) harness_refused(call, event, &out_flat, ROSACE_INVALID_ARGUMENT, words)
    REFUSE(rosace_layernorm(NULL, q, x, y, none, out, 4, n, 0, 0, NULL, event), "context");
    REFUSE(rosace_layernorm(c, NULL, x, y, none, out, 4, n, 0, 0, NULL, event), "queue");
    REFUSE(rosace_layernorm(c, q, x, y, none, out, 0, n, 0, 0, NULL, event), "rows = 0");
    REFUSE(rosace_layernorm(c, q, x, y, none, out, 4, 0, 0, 0, NULL, event), "width = 0");
    REFUSE(rosace_layernorm(c, q, x, y, none, out, 4, n, -1, 0, NULL, event), "eps = -1");
    REFUSE(rosace_layernorm(c, q, x, none, none, out, 4, n, 0, 0, NULL, event), "weight");
    REFUSE(rosace_layernorm(c, q, x, y, half, out, 4, n, 0, 0, NULL, event), "bias.dtype");
    REFUSE(rosace_layernorm(c, q, x, y, none, shifted, 3, n, 0, 0, NULL, event), "overlap");
    REFUSE(rosace_layernorm(c, q, x, y, out, out, 4, n, 0, 0, NULL, event), "overlap");
    REFUSE(rosace_rmsnorm_heads(NULL, q, &heads, y, 0, 0, NULL, event), "context");
    REFUSE(rosace_rmsnorm_heads(c, q, NULL, y, 0, 0, NULL, event), "x is NULL");
    REFUSE(rosace_rmsnorm_heads(c, q, &bad, y, 0, 0, NULL, event), "x.dtype = 77");
    REFUSE(rosace_rmsnorm_heads(c, q, &wide, y, 0, 0, NULL, event), "x");
    REFUSE(rosace_rmsnorm_heads(c, q, &gap, y, 0, 0, NULL, event), "stride");
    REFUSE(rosace_rmsnorm_heads(c, q, &heads, none, 0, 0, NULL, event), "weight");
    REFUSE(rosace_rmsnorm_heads(c, q, &heads, out, 0, 0, NULL, event), "overlap");
    REFUSE(rosace_rmsnorm_heads(c, q, &heads, y, NAN, 0, NULL, event), "eps");
    REFUSE(rosace_activate(NULL, q, ROSACE_ACTIVATION_GELU, x, out, n, 0, NULL, event), "context");
    REFUSE(rosace_activate(c, q, (rosace_activation)4, x, out, n, 0, NULL, event), "function = 4");
    REFUSE(rosace_activate(c, q, ROSACE_ACTIVATION_GELU, x, out, 0, 0, NULL, event), "count = 0");
    REFUSE(rosace_activate(c, q, ROSACE_ACTIVATION_GELU, odd, out, n, 0, NULL, event), "x.dtype");
    REFUSE(rosace_activate(c, q, ROSACE_ACTIVATION_GELU, x, shifted, n, 0, NULL, event), "overlap");
    REFUSE(rosace_gated(c, q, (rosace_activation)-1, x, y, out, n, 0, NULL, event), "function = -1");
    REFUSE(rosace_gated(c, q, ROSACE_ACTIVATION_SILU, x, none, out, n, 0, NULL, event), "up");
    REFUSE(rosace_gated(c, q, ROSACE_ACTIVATION_SILU, x, shifted, x, n, 0, NULL, event), "overlap");
    REFUSE(rosace_clamped_swiglu(c, q, x, y, out, n, 1.702f, 0, 0, NULL, event), "limit = 0");
    REFUSE(rosace_clamped_swiglu(c, q, x, y, out, n, INFINITY, 7, 0, NULL, event), "alpha");
    REFUSE(rosace_softcap(c, q, out, n, 0, 0, NULL, event), "cap = 0");
    REFUSE(rosace_scale(c, q, out, n, NAN, 0, NULL, event), "factor");
    REFUSE(rosace_add_bias(c, q, out, y, 4, 0, 0, NULL, event), "width = 0");
    REFUSE(rosace_add_bias(c, q, out, none, 4, n, 0, NULL, event), "bias");
    REFUSE(rosace_add_bias(c, q, x, shifted, 4, n, 0, NULL, event), "overlap");
    REFUSE(rosace_scatter_add(c, q, out, 0, ids, x, y, 4, n, 0, NULL, event), "x_rows = 0");
    REFUSE(rosace_scatter_add(c, q, out, 4, none, x, y, 4, n, 0, NULL, event), "ids");
    REFUSE(rosace_scatter_add(c, q, out, 4, ids, half, y, 4, n, 0, NULL, event), "weights.dtype");
    REFUSE(rosace_scatter_add(c, q, out, 4000, ids, x, y, 4, n, 0, NULL, event), "x");
    REFUSE(rosace_scatter_add(c, q, x, 4, ids, x, y, 4, n, 0, NULL, event), "overlap");
    REFUSE(rosace_scatter_add(c, q, out, 4, ids, x, y, 4, n, 1, NULL, event), "wait");
#undef REFUSE
}
END_TEST

HARNESS_DEVICE_SUITE("blocks", layernorm_agrees_with_the_reference, norm_of_heads_reads_any_view,
                     activations_agree_with_the_reference, clamped_swiglu_agrees_with_the_reference,
                     softcap_and_scale_work_in_place, bias_is_added_to_every_row, rows_are_added_where_their_ids_say,
                     wrong_arguments_are_refused)
