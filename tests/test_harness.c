/* SPDX-License-Identifier: MIT
 * The harness itself: a test that leans on a wrong conversion proves nothing. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

START_TEST(every_half_survives_the_round_trip)
{
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        double x = harness_double_from_half((uint16_t)bits);
        if (isnan(x))
            ck_assert_uint_eq(harness_half_from_double(x) & 0x7E00, 0x7E00);
        else
            ck_assert_uint_eq(harness_half_from_double(x), bits);
    }
}
END_TEST

START_TEST(halves_round_to_nearest_even)
{
    for (unsigned bits = 0; bits < 0x7BFF; bits++) {
        double low = harness_double_from_half((uint16_t)bits), high = harness_double_from_half((uint16_t)(bits + 1));
        double middle = (low + high) / 2;
        ck_assert_uint_eq(harness_half_from_double(middle), bits & 1 ? bits + 1 : bits);
        ck_assert_uint_eq(harness_half_from_double(nextafter(middle, 0)), bits);
        ck_assert_uint_eq(harness_half_from_double(nextafter(middle, 1e9)), bits + 1);
    }
    ck_assert_uint_eq(harness_half_from_double(65519.999), 0x7BFF);
    ck_assert_uint_eq(harness_half_from_double(65520), 0x7C00);
    ck_assert_uint_eq(harness_half_from_double(-1e30), 0xFC00);
    ck_assert_uint_eq(harness_half_from_double(-1e-30), 0x8000);
}
END_TEST

START_TEST(every_bf16_survives_the_round_trip)
{
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        double x = harness_double_from_bf16((uint16_t)bits);
        if (isnan(x))
            ck_assert_uint_eq(harness_bf16_from_double(x) & 0x7FC0, 0x7FC0);
        else
            ck_assert_uint_eq(harness_bf16_from_double(x), bits);
        const uint32_t single = (uint32_t)bits << 16;
        float y;
        memcpy(&y, &single, sizeof y);
        ck_assert(isnan(x) ? isnan(y) : x == (double)y);
    }
}
END_TEST

START_TEST(bf16_rounds_to_nearest_even)
{
    for (unsigned bits = 0; bits < 0x7F7F; bits++) {
        double low = harness_double_from_bf16((uint16_t)bits), high = harness_double_from_bf16((uint16_t)(bits + 1));
        double middle = (low + high) / 2;
        ck_assert_uint_eq(harness_bf16_from_double(middle), bits & 1 ? bits + 1 : bits);
        ck_assert_uint_eq(harness_bf16_from_double(nextafter(middle, 0)), bits);
        ck_assert_uint_eq(harness_bf16_from_double(nextafter(middle, 1e39)), bits + 1);
    }
    ck_assert_uint_eq(harness_bf16_from_double(0x1.fefffp127), 0x7F7F);
    ck_assert_uint_eq(harness_bf16_from_double(0x1.ffp127), 0x7F80);
    ck_assert_uint_eq(harness_bf16_from_double(-1e300), 0xFF80);
    ck_assert_uint_eq(harness_bf16_from_double(-1e-300), 0x8000);
}
END_TEST

START_TEST(units_in_the_last_place)
{
    ck_assert_double_eq(harness_ulp(1, ROSACE_F32), ldexp(1, -23));
    ck_assert_double_eq(harness_ulp(-1.99, ROSACE_F32), ldexp(1, -23));
    ck_assert_double_eq(harness_ulp(0, ROSACE_F32), ldexp(1, -149));
    ck_assert_double_eq(harness_ulp(2048, ROSACE_F16), 2);
    ck_assert_double_eq(harness_ulp(1e-7, ROSACE_F16), ldexp(1, -24));
    ck_assert_double_eq(harness_ulp(1, ROSACE_BF16), ldexp(1, -7));
    ck_assert_double_eq(harness_ulp(1e-45, ROSACE_BF16), ldexp(1, -133));
}
END_TEST

START_TEST(random_numbers_repeat_and_fill_their_range)
{
    /* first outputs of splitmix64 for the state 1 */
    if (!getenv("ROSACE_TEST_SEED")) {
        ck_assert_uint_eq(harness_random_bits(), 0x910A2DEC89025CC1u);
        ck_assert_uint_eq(harness_random_bits(), 0xBEEB8DA1658EEC67u);
    }
    double sum = 0, squares = 0;
    enum { N = 100000 };
    const double *x = harness_random(N, ROSACE_F32);
    for (int i = 0; i < N; i++) {
        ck_assert(x[i] >= -1 && x[i] <= 1 && x[i] == (double)(float)x[i]);
        sum += x[i];
        squares += x[i] * x[i];
    }
    /* mean 0 and variance 1/3, within five standard errors: sqrt(1/3/N) = 0.0018, sqrt(4/45/N) = 0.00094 */
    ck_assert_double_lt(fabs(sum / N), 0.009);
    ck_assert_double_lt(fabs(squares / N - 1.0 / 3), 0.0047);
    for (int i = 0; i < 1000; i++) {
        int64_t n = harness_random_integer(-2, 3);
        ck_assert(n >= -2 && n <= 3);
    }
}
END_TEST

START_TEST(comparison_finds_what_is_wrong)
{
    const double expected[] = {1, -2, 0, (double)INFINITY}, close[] = {1 + 1e-4, -2 - 1e-4, 1e-4, (double)INFINITY};
    const harness_tolerance loose = {.absolute = 2e-4}, tight = {.absolute = 1e-5};
    harness_check_values("close", HARNESS_F64, 4, close, expected, loose);
    harness_must_fail("3 of 4 values", harness_check_values("close", HARNESS_F64, 4, close, expected, tight));
    harness_must_fail("the first at 3", harness_check_values("finite", HARNESS_F64, 4, ((double[]){1, -2, 0, 1e30}), expected, loose));
    harness_must_fail("the first at 2", harness_check_values("nan", HARNESS_F64, 3, ((double[]){1, -2, NAN}), expected, loose));
    harness_must_fail("the first at 0", harness_check_values("number", HARNESS_F64, 1, ((double[]){0}), ((double[]){NAN}), loose));

    const double *zeros = harness_zeros(100);
    harness_must_fail("weak evidence", harness_check_values("zeros", HARNESS_F64, 100, zeros, zeros, loose));
    harness_check_values("zeros", HARNESS_F64, 100, zeros, zeros, (harness_tolerance){.mostly_zero = true});

    /* storage costs half a unit in the last place, 2^-11 at 1 in fp16, and no more */
    harness_check_values("half", ROSACE_F16, 1, ((double[]){1}), ((double[]){1 + 0x1p-11}), (harness_tolerance){0});
    harness_must_fail("1 of 1", harness_check_values("half", ROSACE_F16, 1, ((double[]){1}), ((double[]){1 + 0x1.1p-11}),
                                                     (harness_tolerance){0}));
    harness_must_fail("1 of 1", harness_check_values("single", ROSACE_F32, 1, ((double[]){1}), ((double[]){1 + 0x1p-11}),
                                                     (harness_tolerance){0}));
}
END_TEST

HARNESS_HOST_SUITE("harness", every_half_survives_the_round_trip, halves_round_to_nearest_even, every_bf16_survives_the_round_trip,
                   bf16_rounds_to_nearest_even, units_in_the_last_place, random_numbers_repeat_and_fill_their_range, comparison_finds_what_is_wrong)
