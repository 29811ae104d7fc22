/* SPDX-License-Identifier: MIT
 * Frequencies, attention factors and their 64-bit form, on the host: against the reference, against transformers, and
 * every refusal of a descriptor. */
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "golden/rope_frequencies.h"
#include "harness.h"
#include "src/position/rope_scaling.h"
#include "src/reference/reference.h"

static const char *const kind_names[] = {"none", "linear", "ntk", "dynamic",   "yarn",      "llama3",
                                         "ntk old", "ntk fixed", "ntk mixed", "longrope", "proportional"};
enum { KINDS = sizeof kind_names / sizeof kind_names[0] };

/* Lists of LongRoPE, more than any head has; descriptors here point to them. */
static double short_factors[512], long_factors[512];

/* A descriptor that is valid for every kind. */
static rosace_rope_desc valid(rosace_rope_scaling_kind kind) {
    rosace_rope_desc desc = ROSACE_ROPE_DESC_DEFAULT;
    desc.head_dim = 64;
    desc.scaling.kind = kind;
    desc.scaling.factor = 4.0;
    desc.scaling.original_max_position = 2048;
    desc.scaling.seq_len = 5000;
    for (int i = 0; i < 512; i++) {
        short_factors[i] = 1.0 + 0.01 * i;
        long_factors[i] = 1.0 + 0.25 * i;
    }
    desc.scaling.short_factor = short_factors;
    desc.scaling.long_factor = long_factors;
    desc.scaling.factor_count = 32;
    return desc;
}

static void compare_with_reference(const rosace_rope_desc *desc) {
    const size_t pairs = (desc->rotary_dim ? desc->rotary_dim : desc->head_dim) / 2;
    double *got = harness_zeros(pairs + 1), *expected = harness_zeros(pairs + 1);
    harness_ok(rosace_rope_frequencies(desc, got, &got[pairs]));
    ref_rope_frequencies(desc, expected, &expected[pairs]);
    harness_check_values("rope_frequencies", ROSACE_F32, pairs + 1, got, expected,
                         (harness_tolerance){.relative = 1e-13});
    for (size_t i = 0; i <= pairs; i++) /* the check above allows for fp32 storage, which there is none of here */
        ck_assert_double_le(fabs(got[i] - expected[i]), 1e-12 * expected[i]);
}

START_TEST(frequencies_are_those_of_the_reference) {
    for (int kind = 0; kind < KINDS; kind++)
        for (int n = 0; n < 40; n++) {
            rosace_rope_desc desc = valid(kind);
            desc.head_dim = 2 * (size_t)harness_random_integer(2, n == 0 ? 512 : 80);
            desc.rotary_dim = n % 2 ? 2 * (size_t)harness_random_integer(2, (int64_t)desc.head_dim / 2) : 0;
            desc.theta = exp(harness_random_real(log(2.0), log(1e7)));
            desc.scaling.factor = n % 5 ? exp(harness_random_real(0.0, log(64.0))) : 1.0;
            desc.scaling.original_max_position = harness_random_integer(1, 100000);
            desc.scaling.seq_len = harness_random_integer(0, 300000);
            desc.scaling.beta_slow = harness_random_real(0.5, 2.0);
            desc.scaling.beta_fast = harness_random_real(3.0, 64.0);
            desc.scaling.no_truncate = n % 3 == 0;
            desc.scaling.attention_factor = n % 4 == 3 ? 1.25 : 0.0;
            desc.scaling.mscale = n % 4 >= 1 ? 0.8 : 0.0;
            desc.scaling.mscale_all_dim = n % 4 == 2 ? 1.1 : 0.0;
            desc.scaling.low_freq_factor = harness_random_real(0.5, 2.0);
            desc.scaling.high_freq_factor = harness_random_real(3.0, 8.0);
            desc.scaling.exponent = n % 2 ? 0.625 : harness_random_real(0.1, 2.0);
            desc.scaling.share = n % 3 ? harness_random_real(0.01, 1.0) : 1.0;
            desc.scaling.factor_count = (desc.rotary_dim ? desc.rotary_dim : desc.head_dim) / 2;
            for (int i = 0; i < 512; i++) {
                short_factors[i] = exp(harness_random_real(-1.0, 1.0));
                long_factors[i] = exp(harness_random_real(0.0, 4.0));
            }
            harness_case("%s head_dim %zu rotary_dim %zu theta %g factor %g L %lld", kind_names[kind], desc.head_dim,
                         desc.rotary_dim, desc.theta, desc.scaling.factor,
                         (long long)desc.scaling.original_max_position);
            compare_with_reference(&desc);
        }
}
END_TEST

START_TEST(frequencies_are_those_of_transformers) {
    for (size_t n = 0; n < sizeof golden_rope / sizeof golden_rope[0]; n++) {
        const struct golden_rope_case *golden = &golden_rope[n];
        harness_case("golden %zu, kind %d", n, golden->scaling.kind);
        rosace_rope_desc desc = ROSACE_ROPE_DESC_DEFAULT;
        desc.head_dim = GOLDEN_ROPE_DIM;
        desc.theta = golden->theta;
        desc.scaling = golden->scaling;
        double got[GOLDEN_ROPE_DIM / 2], factor;
        harness_ok(rosace_rope_frequencies(&desc, got, &factor));
        ck_assert_double_eq_tol(factor, golden->attention_factor, 1e-12);
        for (int i = 0; i < GOLDEN_ROPE_DIM / 2; i++) /* transformers computes them in fp32 */
            ck_assert_double_le(fabs(got[i] - golden->frequencies[i]),
                                8 * (double)FLT_EPSILON * golden->frequencies[i]);
    }
}
END_TEST

START_TEST(scalings_leave_short_contexts_alone) {
    double plain[32], got[32], factor;
    rosace_rope_desc desc = valid(ROSACE_ROPE_SCALING_NONE);
    harness_ok(rosace_rope_frequencies(&desc, plain, NULL));
    ck_assert_double_eq(plain[0], 1.0);

    desc = valid(ROSACE_ROPE_SCALING_DYNAMIC);
    desc.scaling.seq_len = desc.scaling.original_max_position;
    harness_ok(rosace_rope_frequencies(&desc, got, &factor));
    ck_assert_mem_eq(plain, got, sizeof got);
    for (int kind = 1; kind < KINDS; kind++) {
        harness_case("%s, factor 1", kind_names[kind]);
        desc = valid(kind);
        desc.scaling.factor = 1.0;
        desc.scaling.seq_len = 0;
        for (int i = 0; i < 512; i++) short_factors[i] = 1.0;
        harness_ok(rosace_rope_frequencies(&desc, got, &factor));
        ck_assert_double_eq(factor, 1.0);
        for (int i = 0; i < 32; i++)
            ck_assert_double_eq_tol(got[i], plain[i], 1e-15);
    }
    harness_ok(rosace_rope_frequencies(&desc, NULL, NULL));
}
END_TEST

/* ---- 64-bit fractions of a turn
 * -------------------------------------------------------------------------------------- */

static uint64_t turns(double frequency) {
    uint32_t words[2];
    rsc_turn_words(&frequency, 1, words);
    return (uint64_t)words[0] << 32 | words[1];
}

START_TEST(turns_are_rounded_from_the_exact_quotient) {
    /* 2^64 / (2 pi), and the same for other frequencies, by an arbitrary-precision program */
    static const struct {
        double frequency;
        uint64_t turns;
    } known[] = {
        {0.0, 0},
        {1.0, 0x28be60db9391054au},
        {0.5, 0x145f306dc9c882a5u},
        {0.1, 0x041309af8ec1b3cbu},
        {0x1p-40, 0x000000000028be61u},
        {0x1.fffffffffffffp-1, 0x28be60db93910405u},
        {3.141592653589793, 0x7ffffffffffffe98u},
        {1e6, 0xf16e786f96fbf8f4u},
        {0x1p-61, 1},
        {0x1p-62, 1},
        {0x1p-63, 0},
        {0x1p-300, 0},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        harness_case("frequency %a", known[i].frequency);
        ck_assert_msg(turns(known[i].frequency) == known[i].turns, "%a: %016llx, not %016llx", known[i].frequency,
                      (unsigned long long)turns(known[i].frequency), (unsigned long long)known[i].turns);
    }
    for (int n = 0; n < 2000; n++) { /* doubling a frequency doubles its turns, whatever bits the quotient crosses */
        const double frequency = ldexp(harness_random_real(0.5, 1.0), (int)harness_random_integer(-50, 30));
        const int64_t rest = (int64_t)(turns(2 * frequency) - 2 * turns(frequency));
        ck_assert_msg(rest >= -1 && rest <= 1, "%a: %lld", frequency, (long long)rest);
    }
}
END_TEST

/* ---- Refusals
 * ---------------------------------------------------------------------------------------------------------- */

#define REFUSED(kind, statement, substring)                                                                            \
    do {                                                                                                               \
        rosace_rope_desc desc = valid(kind);                                                                           \
        harness_case("%s: %s", kind_names[kind], #statement);                                                          \
        statement;                                                                                                     \
        double frequencies[512], factor = 7.0;                                                                         \
        harness_expect_status(rosace_rope_frequencies(&desc, frequencies, &factor), ROSACE_INVALID_ARGUMENT,           \
                              substring);                                                                              \
        ck_assert_double_eq(factor, 7.0);                                                                              \
    } while (0)

START_TEST(descriptors_are_checked) {
    harness_expect_status(rosace_rope_frequencies(NULL, NULL, NULL), ROSACE_INVALID_ARGUMENT, "desc");
    REFUSED(0, desc.struct_size = 0, "struct_size");
    REFUSED(0, desc.struct_size = sizeof desc + 8, "struct_size");
    REFUSED(0, desc.head_dim = 61, "head_dim = 61: must be even, 2 to 1024");
    REFUSED(0, desc.head_dim = 0, "head_dim = 0");
    REFUSED(0, desc.head_dim = 1026, "head_dim = 1026");
    REFUSED(0, desc.rotary_dim = 33, "rotary_dim = 33");
    REFUSED(0, desc.rotary_dim = 66, "rotary_dim = 66");
    REFUSED(0, desc.theta = 1.0, "theta = 1");
    REFUSED(0, desc.theta = 0.0, "theta = 0");
    REFUSED(0, desc.theta = -10000.0, "theta");
    REFUSED(0, desc.theta = (double)INFINITY, "theta");
    REFUSED(0, desc.theta = (double)NAN, "theta");
    REFUSED(0, desc.dtype = (rosace_dtype)7, "dtype = 7");
    REFUSED(0, desc.scaling.kind = (rosace_rope_scaling_kind)11, "scaling.kind = 11");
    REFUSED(0, desc.scaling.kind = (rosace_rope_scaling_kind)-1, "scaling.kind");
    for (int kind = 1; kind < KINDS; kind++) {
        REFUSED(kind, desc.scaling.factor = 0.5, "scaling.factor = 0.5");
        REFUSED(kind, desc.scaling.factor = (double)NAN, "scaling.factor");
        REFUSED(kind, desc.scaling.factor = (double)INFINITY, "scaling.factor");
    }
    for (int kind = ROSACE_ROPE_SCALING_DYNAMIC; kind <= ROSACE_ROPE_SCALING_LONGROPE; kind++) {
        if (kind >= ROSACE_ROPE_SCALING_NTK_OLD && kind <= ROSACE_ROPE_SCALING_NTK_MIXED) continue;
        REFUSED(kind, desc.scaling.original_max_position = 0, "scaling.original_max_position = 0");
        REFUSED(kind, desc.scaling.original_max_position = -5, "scaling.original_max_position = -5");
        REFUSED(kind, desc.scaling.original_max_position = INT64_C(1) << 31, "scaling.original_max_position");
    }
    for (int kind = ROSACE_ROPE_SCALING_NTK; kind <= ROSACE_ROPE_SCALING_DYNAMIC; kind++) {
        REFUSED(kind, desc.rotary_dim = 2, "rotary_dim = 2: must be at least 4");
        REFUSED(kind, (desc.theta = 1e308, desc.scaling.factor = 1e10), "not finite");
    }
    REFUSED(ROSACE_ROPE_SCALING_DYNAMIC, desc.scaling.seq_len = -1, "scaling.seq_len = -1");
    REFUSED(ROSACE_ROPE_SCALING_YARN, desc.scaling.beta_slow = 0.0, "scaling.beta_slow = 0");
    REFUSED(ROSACE_ROPE_SCALING_YARN, desc.scaling.beta_fast = 1.0, "scaling.beta_fast = 1");
    REFUSED(ROSACE_ROPE_SCALING_YARN, desc.scaling.beta_fast = (double)NAN, "scaling.beta_fast");
    REFUSED(ROSACE_ROPE_SCALING_YARN, desc.scaling.attention_factor = -1.0, "scaling.attention_factor = -1");
    REFUSED(ROSACE_ROPE_SCALING_YARN, desc.scaling.mscale = -1.0, "scaling.mscale = -1");
    REFUSED(ROSACE_ROPE_SCALING_YARN, desc.scaling.mscale_all_dim = (double)INFINITY, "scaling.mscale_all_dim");
    REFUSED(ROSACE_ROPE_SCALING_LLAMA3, desc.scaling.low_freq_factor = 0.0, "scaling.low_freq_factor = 0");
    REFUSED(ROSACE_ROPE_SCALING_LLAMA3, desc.scaling.high_freq_factor = 1.0, "scaling.high_freq_factor = 1");
    REFUSED(ROSACE_ROPE_SCALING_NTK_OLD, (desc.theta = 1e308, desc.scaling.factor = 1e10), "not finite");
    REFUSED(ROSACE_ROPE_SCALING_NTK_MIXED, desc.scaling.exponent = 0.0, "scaling.exponent = 0");
    REFUSED(ROSACE_ROPE_SCALING_NTK_MIXED, desc.scaling.exponent = (double)NAN, "scaling.exponent");
    REFUSED(ROSACE_ROPE_SCALING_PROPORTIONAL, desc.scaling.share = 0.0, "scaling.share = 0");
    REFUSED(ROSACE_ROPE_SCALING_PROPORTIONAL, desc.scaling.share = 1.5, "scaling.share = 1.5");
    REFUSED(ROSACE_ROPE_SCALING_LONGROPE, desc.scaling.original_max_position = 1, "scaling.original_max_position = 1");
    REFUSED(ROSACE_ROPE_SCALING_LONGROPE, desc.scaling.seq_len = -1, "scaling.seq_len = -1");
    REFUSED(ROSACE_ROPE_SCALING_LONGROPE, desc.scaling.attention_factor = -1.0, "scaling.attention_factor = -1");
    REFUSED(ROSACE_ROPE_SCALING_LONGROPE, desc.scaling.factor_count = 31, "scaling.factor_count = 31: must be rotary_dim / 2 = 32");
    REFUSED(ROSACE_ROPE_SCALING_LONGROPE, desc.rotary_dim = 32, "scaling.factor_count = 32: must be rotary_dim / 2 = 16");
    REFUSED(ROSACE_ROPE_SCALING_LONGROPE, desc.scaling.short_factor = NULL, "scaling.short_factor = NULL");
    REFUSED(ROSACE_ROPE_SCALING_LONGROPE, desc.scaling.long_factor = NULL, "scaling.long_factor = NULL");
    REFUSED(ROSACE_ROPE_SCALING_LONGROPE, long_factors[31] = 0.0, "scaling.long_factor[31] = 0");
    REFUSED(ROSACE_ROPE_SCALING_LONGROPE, short_factors[3] = (double)NAN, "scaling.short_factor[3]");
}
END_TEST

START_TEST(shorter_descriptors_get_defaults) {
    rosace_rope_desc desc = valid(ROSACE_ROPE_SCALING_YARN), checked;
    memset((char *)&desc + offsetof(rosace_rope_desc, scaling), 0xee,
           sizeof desc - offsetof(rosace_rope_desc, scaling));
    desc.struct_size = offsetof(rosace_rope_desc, scaling);
    harness_ok(rsc_rope_check_desc(&desc, &checked));
    ck_assert_int_eq(checked.scaling.kind, ROSACE_ROPE_SCALING_NONE);
    ck_assert_double_eq(checked.scaling.beta_fast, 32.0);
    ck_assert_uint_eq(checked.rotary_dim, desc.head_dim);
}
END_TEST

static bool same_key(const rosace_rope_desc *a, const rosace_rope_desc *b) {
    rosace_rope_desc checked;
    static rsc_rope_key keys[2];
    harness_ok(rsc_rope_check_desc(a, &checked));
    rsc_rope_key_set(&keys[0], &checked);
    harness_ok(rsc_rope_check_desc(b, &checked));
    rsc_rope_key_set(&keys[1], &checked);
    return memcmp(&keys[0], &keys[1], sizeof keys[0]) == 0;
}

/* What a scaling does not read never makes another rotation; what it reads does. */
START_TEST(keys_tell_apart_what_differs_and_no_more) {
    for (int kind = 0; kind < KINDS; kind++) {
        harness_case("%s", kind_names[kind]);
        const rosace_rope_desc desc = valid((rosace_rope_scaling_kind)kind);
        rosace_rope_desc other = desc;
        other.rotary_dim = desc.head_dim; /* what 0 stands for */
        ck_assert(same_key(&desc, &other));
        other.scaling.seq_len = 6000;
        ck_assert_int_eq(same_key(&desc, &other), kind != ROSACE_ROPE_SCALING_DYNAMIC);
        other.scaling.seq_len = 7; /* the other list */
        ck_assert_int_eq(same_key(&desc, &other), kind != ROSACE_ROPE_SCALING_DYNAMIC && kind != ROSACE_ROPE_SCALING_LONGROPE);
        other = desc;
        other.scaling.exponent = 0.75;
        ck_assert_int_eq(same_key(&desc, &other), kind != ROSACE_ROPE_SCALING_NTK_MIXED);
        other = desc;
        other.scaling.share = 0.5;
        ck_assert_int_eq(same_key(&desc, &other), kind != ROSACE_ROPE_SCALING_PROPORTIONAL);
        other = desc;
        other.scaling.factor = 5.0;
        ck_assert_int_eq(same_key(&desc, &other), kind == ROSACE_ROPE_SCALING_NONE);
        other = desc;
        other.scaling.beta_fast = 16.0;
        ck_assert_int_eq(same_key(&desc, &other), kind != ROSACE_ROPE_SCALING_YARN);
        other = desc;
        other.scaling.high_freq_factor = 8.0;
        ck_assert_int_eq(same_key(&desc, &other), kind != ROSACE_ROPE_SCALING_LLAMA3);
        other = desc;
        other.theta = 500000.0;
        ck_assert(!same_key(&desc, &other));
    }
    rosace_rope_desc a = valid(ROSACE_ROPE_SCALING_DYNAMIC), b = a;
    a.scaling.seq_len = 7;
    b.scaling.seq_len = 2048; /* the training length, up to which nothing changes */
    ck_assert(same_key(&a, &b));
    a = b = valid(ROSACE_ROPE_SCALING_LONGROPE);
    double copy[512];
    memcpy(copy, long_factors, sizeof copy);
    b.scaling.long_factor = copy;
    ck_assert(same_key(&a, &b)); /* lists count by what is in them */
    copy[31] *= 2.0;
    ck_assert(!same_key(&a, &b));
}
END_TEST

HARNESS_HOST_SUITE("rope_scaling", frequencies_are_those_of_the_reference, frequencies_are_those_of_transformers,
                   scalings_leave_short_contexts_alone, turns_are_rounded_from_the_exact_quotient,
                   descriptors_are_checked, shorter_descriptors_get_defaults,
                   keys_tell_apart_what_differs_and_no_more)
