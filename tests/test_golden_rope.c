/* SPDX-License-Identifier: MIT
 * Rotation on a device against what other implementations give (tests/golden/make.py names them). */
#include <string.h>

#include "golden.h"

/* The inputs of golden values are exact in both data types. */
static const rosace_dtype dtypes[] = {ROSACE_F32, ROSACE_F16};
static const double u = 0x1p-24; /* half a unit in the last place of an fp32 number below 1 */

START_TEST(rope_as_in_transformers)
{
    int layout = 0;
    for (const golden_case *c = golden_read("rope.txt"); c; c = c->next) {
        if (strcmp(c->name, "sinusoidal") == 0)
            continue;
        rosace_rope_desc desc = golden_rope_desc(c);
        double *frequencies = harness_zeros(desc.rotary_dim / 2), factor;
        harness_ok(rosace_rope_frequencies(&desc, frequencies, &factor));
        harness_check_values("frequencies", ROSACE_F32, desc.rotary_dim / 2, frequencies,
                             golden_values(c, "frequencies", desc.rotary_dim / 2),
                             (harness_tolerance){.relative = golden_frequency_error(c)});
        ck_assert_double_eq_tol(factor, golden_number(c, "attention_factor", 0), 1e-8);

        size_t axes = (size_t)golden_number(c, "axes", 1), seq = golden_find(c, "positions")->count / axes, q_count = seq * 2 * desc.head_dim, k_count = seq * desc.head_dim;
        const double *q_values = golden_values(c, "q", q_count), *k_values = golden_values(c, "k", k_count);
        for (int d = 0; d < 2; d++, layout++) {
            desc.dtype = dtypes[d];
            harness_case("%s %s", c->name, harness_layout_name(layout % HARNESS_LAYOUTS));
            rosace_tensor q = harness_tensor(layout % HARNESS_LAYOUTS, desc.dtype, 1, seq, 2, desc.head_dim, q_values);
            rosace_tensor k = harness_tensor((layout + 1) % HARNESS_LAYOUTS, desc.dtype, 1, seq, 1, desc.head_dim, k_values);
            rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
            args.q = &q;
            args.k = &k;
            args.positions.ids = harness_int32(golden_int32(c, "positions", seq * axes), seq * axes, &args.positions.ids_offset);
            args.positions.axis_stride = (ptrdiff_t)seq;
            harness_ok(rosace_rope(harness_context(), harness_queue(), &desc, &args, 0, NULL, NULL));
            /* Beside what transformers may be off, the device rounds cos, sin, their products with the factor and the
             * elements (below 4) and a sum. */
            double device = 5 * u * 8 * factor;
            harness_check("rope, transformers fp32", &q, golden_values(c, "q_out", q_count), (harness_tolerance){
                .absolute = device, .allowed = golden_rope_error(c, seq, 2, q_values)});
            harness_check("rope, transformers fp32", &k, golden_values(c, "k_out", k_count), (harness_tolerance){
                .absolute = device, .allowed = golden_rope_error(c, seq, 1, k_values)});
        }
    }
}
END_TEST

START_TEST(sinusoidal_as_in_xlm)
{
    for (const golden_case *c = golden_read("rope.txt"); c; c = c->next) {
        if (strcmp(c->name, "sinusoidal") != 0)
            continue;
        size_t seq = golden_find(c, "positions")->count, width = (size_t)golden_number(c, "width", 0);
        for (int d = 0; d < 2; d++) {
            rosace_tensor x = harness_tensor(HARNESS_GAPS, dtypes[d], 1, seq, 1, width, harness_zeros(seq * width));
            rosace_positions positions = {.seq_stride = 1};
            positions.ids = harness_int32(golden_int32(c, "positions", seq), seq, &positions.ids_offset);
            harness_ok(rosace_sinusoidal_add(harness_context(), harness_queue(), &x, &positions, 1, 0, NULL, NULL));
            /* sin or cos, its product with 1, the sum with 0 */
            harness_check("sinusoidal", &x, golden_values(c, "table", seq * width), (harness_tolerance){.absolute = 4 * u});
        }
    }
}
END_TEST

HARNESS_DEVICE_SUITE("golden_rope", rope_as_in_transformers, sinusoidal_as_in_xlm)
