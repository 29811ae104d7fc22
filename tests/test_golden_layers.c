/* SPDX-License-Identifier: MIT
 * Layers on a device against what other implementations give (tests/golden/make.py names them). */
#include <string.h>

#include <rosace/layers.h>

#include "golden.h"

/* The inputs of golden values are exact in both data types. */
static const rosace_dtype dtypes[] = {ROSACE_F32, ROSACE_F16};
static const double u = 0x1p-24; /* half a unit in the last place of an fp32 number below 1 */

static rosace_array array_of(rosace_tensor t) { return (rosace_array){.mem = t.mem, .offset = t.offset, .dtype = t.dtype}; }

static rosace_array upload(const golden_case *c, const char *key, rosace_dtype dtype)
{
    const golden_array *a = golden_find(c, key);
    return array_of(harness_flat(dtype, a->count, a->values));
}

START_TEST(layers_as_in_torch)
{
    rosace_context *context = harness_context();
    cl_command_queue queue = harness_queue();
    for (const golden_case *c = golden_read("layers.txt"); c; c = c->next)
        for (int d = 0; d < 2; d++) {
            harness_case("%s", c->name);
            rosace_dtype dtype = dtypes[d];
            size_t rows = (size_t)golden_number(c, "rows", 0), width = (size_t)golden_number(c, "width", 0);
            if (strcmp(c->name, "rmsnorm") == 0) {
                rosace_tensor out = harness_flat(dtype, rows * width, NULL);
                harness_ok(rosace_rmsnorm(context, queue, upload(c, "x", dtype), upload(c, "weight", dtype), array_of(out), rows,
                                          width, (float)golden_number(c, "eps", 0), 0, NULL, NULL));
                harness_check("rmsnorm", &out, golden_values(c, "out", rows * width),
                              (harness_tolerance){.relative = ((double)width / 2 + 6) * u});
            } else if (strcmp(c->name, "swiglu") == 0) {
                size_t count = golden_find(c, "gate")->count;
                rosace_tensor out = harness_flat(dtype, count, NULL);
                harness_ok(rosace_swiglu(context, queue, upload(c, "gate", dtype), upload(c, "up", dtype), array_of(out), count, 0,
                                         NULL, NULL));
                /* exp may be off by 3 ulp and a division by 2.5 (OpenCL 1.2, table 7.4) */
                harness_check("swiglu", &out, golden_values(c, "out", count), (harness_tolerance){.relative = 16 * u});
            } else if (strcmp(c->name, "cross_entropy") == 0) {
                size_t classes = (size_t)golden_number(c, "classes", 0);
                rosace_tensor loss = harness_flat(ROSACE_F32, rows, NULL);
                rosace_array targets = {0};
                targets.mem = harness_int32(golden_int32(c, "targets", rows), rows, &targets.offset);
                harness_ok(rosace_cross_entropy(context, queue, upload(c, "logits", dtype), targets, array_of(loss), rows, classes,
                                                0, NULL, NULL));
                /* logits up to 12 are subtracted from their maximum and added to the logarithm */
                harness_check("cross_entropy", &loss, golden_values(c, "loss", rows),
                              (harness_tolerance){.absolute = ((double)classes + 16) * u * 12});
            } else if (strncmp(c->name, "layernorm", 9) == 0) {
                rosace_tensor out = harness_flat(dtype, rows * width, NULL);
                rosace_array bias = {0};
                if (golden_find(c, "bias"))
                    bias = upload(c, "bias", dtype);
                harness_ok(rosace_layernorm(context, queue, upload(c, "x", dtype), upload(c, "weight", dtype), bias, array_of(out),
                                            rows, width, (float)golden_number(c, "eps", 0), 0, NULL, NULL));
                /* x up to 8 less the mean of width of them, over a deviation of 2, times a weight up to 3 */
                harness_check("layernorm", &out, golden_values(c, "out", rows * width),
                              (harness_tolerance){.absolute = 12 * ((double)width + 8) * u});
            } else if (strcmp(c->name, "activation") == 0) {
                size_t count = golden_find(c, "x")->count;
                rosace_tensor out = harness_flat(dtype, count, NULL);
                harness_ok(rosace_activate(context, queue, (rosace_activation)golden_number(c, "function", -1), upload(c, "x", dtype),
                                           array_of(out), count, 0, NULL, NULL));
                /* transformers, too, loses what 1 + tanh cancels; erfc may be off by 16 ulp (table 7.4) */
                harness_check("activation", &out, golden_values(c, "out", count),
                              (harness_tolerance){.absolute = 16 * u, .relative = 64 * u});
            } else if (strcmp(c->name, "softcap") == 0) {
                size_t count = golden_find(c, "x")->count;
                rosace_tensor x = harness_flat(dtype, count, golden_values(c, "x", count));
                harness_ok(rosace_softcap(context, queue, array_of(x), count, (float)golden_number(c, "cap", 0), 0, NULL, NULL));
                harness_check("softcap", &x, golden_values(c, "out", count), (harness_tolerance){.relative = 24 * u});
            } else if (strcmp(c->name, "clamped_swiglu") == 0) {
                size_t count = golden_find(c, "gate")->count;
                rosace_tensor out = harness_flat(dtype, count, NULL);
                harness_ok(rosace_clamped_swiglu(context, queue, upload(c, "gate", dtype), upload(c, "up", dtype), array_of(out),
                                                 count, (float)golden_number(c, "alpha", 0), (float)golden_number(c, "limit", 0), 0,
                                                 NULL, NULL));
                harness_check("clamped_swiglu", &out, golden_values(c, "out", count), (harness_tolerance){.relative = 48 * u});
            }
        }
}
END_TEST

HARNESS_DEVICE_SUITE("golden_layers", layers_as_in_torch)
