/* SPDX-License-Identifier: MIT
 * Masks as matrices on a device against what other implementations give (tests/golden/make.py names them). */
#include <math.h>

#include "golden.h"

START_TEST(masks_as_in_transformers)
{
    for (const golden_case *c = golden_read("mask.txt"); c; c = c->next) {
        harness_case("%s", c->name);
        size_t seq_q = (size_t)golden_number(c, "seq_q", 0), seq_k = (size_t)golden_number(c, "seq_k", 0);
        rosace_mask mask = {.causal = golden_number(c, "causal", 0) != 0,
                            .window_left = (int64_t)golden_number(c, "window_left", golden_number(c, "sliding_window", 0) - 1),
                            .window_right = (int64_t)golden_number(c, "window_right", -1),
                            .chunk = (int64_t)golden_number(c, "chunk", 0)};
        const double *visible = golden_values(c, "visible", seq_q * seq_k);
        double *expected = harness_zeros(seq_q * seq_k);
        for (size_t i = 0; i < seq_q * seq_k; i++)
            expected[i] = visible[i] != 0 ? 0 : -(double)INFINITY;
        rosace_tensor matrix = harness_tensor(HARNESS_GAPS, ROSACE_F32, 1, seq_q, 1, seq_k, NULL);
        harness_ok(rosace_mask_matrix(harness_context(), harness_queue(), &mask, ROSACE_ALIGN_BOTTOM_RIGHT, ROSACE_BIAS_NONE,
                                      NULL, 0, &matrix, 0, NULL, NULL));
        harness_check("mask_matrix", &matrix, expected, (harness_tolerance){.mostly_zero = true});
    }
}
END_TEST

HARNESS_DEVICE_SUITE("golden_mask", masks_as_in_transformers)
