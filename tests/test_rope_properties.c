/* SPDX-License-Identifier: MIT
 * What makes a rotation a rotation, and how exact its angles are at any position. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "harness.h"
#include <rosace/rope.h>

enum { DIM = 64, PAIRS = DIM / 2 };

static rosace_rope_desc plain(void) {
    rosace_rope_desc desc = ROSACE_ROPE_DESC_DEFAULT;
    desc.head_dim = DIM;
    return desc;
}

/* x [seq, heads, DIM] rotated on the device at the given positions. */
static double *rotated(const rosace_rope_desc *desc, size_t seq, size_t heads, const double *x,
                       const int32_t *positions) {
    rosace_tensor q = harness_tensor(HARNESS_BSHD, desc->dtype, 1, seq, heads, DIM, x);
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    args.q = &q;
    args.positions.ids = harness_int32(positions, seq, &args.positions.ids_offset);
    harness_ok(rosace_rope(harness_context(), harness_queue(), desc, &args, 0, NULL, NULL));
    return harness_download(&q);
}

static int32_t *random_positions(size_t count, int64_t first, int64_t last) {
    int32_t *positions = harness_alloc(count, sizeof *positions);
    for (size_t i = 0; i < count; i++)
        positions[i] = (int32_t)harness_random_integer(first, last);
    return positions;
}

/* ---- Angles
 * ------------------------------------------------------------------------------------------------------------ */

/* A vector (1, 0) per pair becomes (cos, sin) itself, which is compared with long double, at positions from `first` to
 * `last`, their ends included. */
static void compare_angles(const char *op, rosace_rope_desc desc, int64_t first, int64_t last) {
    const size_t seq = harness_small() ? 40 : 4000;
    double *x = harness_zeros(seq * DIM), *expected = harness_zeros(seq * DIM), frequencies[PAIRS];
    int32_t *positions = random_positions(seq, first, last);
    positions[0] = (int32_t)first;
    positions[1] = (int32_t)last;
    harness_ok(rosace_rope_frequencies(&desc, frequencies, NULL));
    for (size_t s = 0; s < seq; s++)
        for (size_t i = 0; i < PAIRS; i++) {
            const size_t a = s * DIM + (desc.interleaved ? 2 * i : i), b = a + (desc.interleaved ? 1 : PAIRS);
            const long double angle = (desc.inverse ? -1.0L : 1.0L) * positions[s] * frequencies[i];
            x[a] = 1.0;
            expected[a] = (double)cosl(angle);
            expected[b] = (double)sinl(angle);
        }
    rosace_tensor q = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq, 1, DIM, x);
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    args.q = &q;
    args.positions.ids = harness_int32(positions, seq, &args.positions.ids_offset);
    harness_case("%s: positions %lld to %lld, theta %g", op, (long long)first, (long long)last, desc.theta);
    harness_ok(rosace_rope(harness_context(), harness_queue(), &desc, &args, 0, NULL, NULL));
    /* beside the half unit that the harness grants for storage: 8.4e-8 in all where nothing is fused */
    harness_check(op, &q, expected, (harness_tolerance){.absolute = 6e-8});
}

START_TEST(angles_are_exact_at_every_position) {
    if (LDBL_MANT_DIG < 64) harness_skip("long double has no more digits than double here");
    for (int kind = 0; kind < 4; kind++) {
        rosace_rope_desc desc = plain();
        desc.interleaved = kind & 1;
        desc.inverse = kind & 2;
        if (kind == 3) desc.theta = 500000.0;
        compare_angles("cos, sin to 2^10", desc, -(1 << 10), 1 << 10);
        compare_angles("cos, sin to 2^20", desc, 0, 1 << 20);
        compare_angles("cos, sin to 2^31", desc, INT32_MIN, INT32_MAX);
    }
}
END_TEST

START_TEST(small_angles_keep_their_digits) {
    if (LDBL_MANT_DIG < 64) harness_skip("long double has no more digits than double here");
    /* At positions near 0 the sines of the low frequencies are tiny, but no less exact for that. */
    rosace_rope_desc desc = plain();
    desc.theta = 5e6;
    const size_t seq = 16;
    double *x = harness_zeros(seq * DIM), *expected = harness_zeros(seq * DIM), frequencies[PAIRS];
    int32_t *positions = harness_alloc(seq, sizeof *positions);
    harness_ok(rosace_rope_frequencies(&desc, frequencies, NULL));
    for (size_t s = 0; s < seq; s++) {
        positions[s] = (int32_t)s - 8;
        for (size_t i = 0; i < PAIRS; i++) {
            x[s * DIM + i] = 1.0;
            expected[s * DIM + i] = (double)cosl((long double)positions[s] * frequencies[i]);
            expected[s * DIM + i + PAIRS] = (double)sinl((long double)positions[s] * frequencies[i]);
        }
    }
    double *got = rotated(&desc, seq, 1, x, positions);
    harness_check_values("small cos, sin", ROSACE_F32, seq * DIM, got, expected,
                         (harness_tolerance){.relative = 2.5e-7});
}
END_TEST

/* ---- Properties
 * ---------------------------------------------------------------------------------------------------------- */

START_TEST(norms_are_kept) {
    for (int interleaved = 0; interleaved < 2; interleaved++) {
        rosace_rope_desc desc = plain();
        desc.interleaved = interleaved;
        const size_t seq = 50;
        double *x = harness_random(seq * DIM, ROSACE_F32);
        double *got = rotated(&desc, seq, 1, x, random_positions(seq, INT32_MIN, INT32_MAX));
        for (size_t s = 0; s < seq; s++) {
            double before = 0, after = 0;
            for (size_t d = 0; d < DIM; d++) {
                before += x[s * DIM + d] * x[s * DIM + d];
                after += got[s * DIM + d] * got[s * DIM + d];
            }
            ck_assert_double_eq_tol(after / before, 1.0, 4e-7);
        }
    }
}
END_TEST

START_TEST(scores_depend_on_the_distance_alone) {
    static const int32_t shifts[] = {1, 1000, 1 << 16, 1 << 20, -(1 << 20), 1 << 30};
    const rosace_rope_desc desc = plain();
    const size_t seq = 24;
    double *q = harness_random(seq * DIM, ROSACE_F32), *k = harness_random(seq * DIM, ROSACE_F32);
    int32_t *at = random_positions(seq, 0, 4096), *shifted = harness_alloc(seq, sizeof *shifted);
    const double *q0 = rotated(&desc, seq, 1, q, at), *k0 = rotated(&desc, seq, 1, k, at);
    for (size_t n = 0; n < sizeof shifts / sizeof shifts[0]; n++) {
        harness_case("shift %d", (int)shifts[n]);
        for (size_t s = 0; s < seq; s++)
            shifted[s] = at[s] + shifts[n];
        const double *q1 = rotated(&desc, seq, 1, q, shifted), *k1 = rotated(&desc, seq, 1, k, shifted);
        double *before = harness_zeros(seq * seq), *after = harness_zeros(seq * seq);
        for (size_t i = 0; i < seq; i++)
            for (size_t j = 0; j < seq; j++)
                for (size_t d = 0; d < DIM; d++) {
                    before[i * seq + j] += q0[i * DIM + d] * k0[j * DIM + d];
                    after[i * seq + j] += q1[i * DIM + d] * k1[j * DIM + d];
                }
        /* DIM products of numbers within sqrt(2), each off by at most 2e-7, add up to 7e-5 at worst, to a few 1e-6 in
         * fact */
        harness_check_values("q k shifted", ROSACE_F32, seq * seq, after, before,
                             (harness_tolerance){.absolute = 4e-6});
    }
}
END_TEST

START_TEST(inverse_undoes_forward) {
    for (int dtype = ROSACE_F32; dtype <= ROSACE_F16; dtype++) {
        rosace_rope_desc desc = plain();
        desc.dtype = dtype;
        const size_t seq = 30;
        double *x = harness_random(seq * 2 * DIM, dtype);
        int32_t *positions = random_positions(seq, INT32_MIN + 1, INT32_MAX),
                *negative = harness_alloc(seq, sizeof *negative);
        for (size_t s = 0; s < seq; s++)
            negative[s] = -positions[s];
        const double *forward = rotated(&desc, seq, 2, x, positions);
        const double *backward = rotated(&desc, seq, 2, forward, negative);
        desc.inverse = true;
        double *undone = rotated(&desc, seq, 2, forward, positions);
        ck_assert_mem_eq(undone, backward, seq * 2 * DIM * sizeof *undone);
        /* fp16: the rounding of what was stored in between is turned, too */
        harness_check_values("there and back", dtype, seq * 2 * DIM, undone, x,
                             (harness_tolerance){.absolute = dtype == ROSACE_F16 ? 1e-3 : 5e-7});
    }
}
END_TEST

/* The transpose of x -> c R x is y -> c R^-1 y: <R x, y> = <x, R' y>, with the attention factor on both sides. */
START_TEST(inverse_is_the_backward_pass) {
    rosace_rope_desc desc = plain();
    desc.scaling.kind = ROSACE_ROPE_SCALING_YARN;
    desc.scaling.factor = 8.0;
    desc.scaling.original_max_position = 512;
    const size_t seq = 20;
    double *x = harness_random(seq * DIM, ROSACE_F32), *y = harness_random(seq * DIM, ROSACE_F32);
    int32_t *positions = random_positions(seq, 0, 1 << 20);
    const double *forward = rotated(&desc, seq, 1, x, positions);
    desc.inverse = true;
    const double *backward = rotated(&desc, seq, 1, y, positions);
    for (size_t s = 0; s < seq; s++) {
        double left = 0, right = 0;
        for (size_t d = s * DIM; d < (s + 1) * DIM; d++) {
            left += forward[d] * y[d];
            right += x[d] * backward[d];
        }
        ck_assert_double_eq_tol(left, right, 5e-6);
    }
}
END_TEST

START_TEST(layouts_of_pairs_agree_under_permutation) {
    rosace_rope_desc desc = plain();
    const size_t seq = 40;
    double *x = harness_random(seq * DIM, ROSACE_F32), *permuted = harness_zeros(seq * DIM);
    for (size_t s = 0; s < seq; s++)
        for (size_t i = 0; i < PAIRS; i++) {
            permuted[s * DIM + 2 * i] = x[s * DIM + i];
            permuted[s * DIM + 2 * i + 1] = x[s * DIM + i + PAIRS];
        }
    int32_t *positions = random_positions(seq, -(1 << 20), 1 << 20);
    const double *half_split = rotated(&desc, seq, 1, x, positions);
    desc.interleaved = true;
    const double *interleaved = rotated(&desc, seq, 1, permuted, positions);
    double *back = harness_zeros(seq * DIM);
    for (size_t s = 0; s < seq; s++)
        for (size_t i = 0; i < PAIRS; i++) {
            back[s * DIM + i] = interleaved[s * DIM + 2 * i];
            back[s * DIM + i + PAIRS] = interleaved[s * DIM + 2 * i + 1];
        }
    harness_check_values("layouts of pairs", ROSACE_F32, seq * DIM, back, half_split,
                         (harness_tolerance){.absolute = 1.2e-7});
}
END_TEST

/* ---- The call
 * ------------------------------------------------------------------------------------------------------------ */

START_TEST(the_same_numbers_come_by_every_way) {
    const size_t seq = 37, heads = 3;
    rosace_rope_desc desc = plain();
    double *x = harness_random(seq * heads * DIM, ROSACE_F32);
    int32_t *positions = harness_alloc(seq, sizeof *positions);
    for (size_t s = 0; s < seq; s++)
        positions[s] = (int32_t)s + 77;
    const double *expected = rotated(&desc, seq, heads, x, positions);
    const harness_tolerance exact = {0};

    rosace_rope_plan *plan;
    harness_ok(rosace_rope_plan_create(harness_context(), &desc, &plan));
    for (int layout = 0; layout < HARNESS_LAYOUTS; layout++) {
        harness_case("layout %s", harness_layout_name(layout));
        rosace_tensor q = harness_tensor(layout, ROSACE_F32, 1, seq, heads, DIM, x);
        rosace_tensor k = harness_tensor(layout, ROSACE_F32, 1, seq, heads, DIM, x);
        rosace_tensor k_out = harness_tensor(HARNESS_GAPS, ROSACE_F32, 1, seq, heads, DIM, NULL);
        rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
        args.q = &q;
        args.q_out = &q; /* the same elements in the same order: in place */
        args.k = &k;
        args.k_out = &k_out;
        args.positions.offset = 77;
        harness_ok(rosace_rope_enqueue(plan, harness_queue(), &args, 0, NULL, NULL));
        double *got_q = harness_download(&q), *got_k = harness_download(&k_out);
        ck_assert_mem_eq(got_q, expected, seq * heads * DIM * sizeof *got_q);
        ck_assert_mem_eq(got_k, expected, seq * heads * DIM * sizeof *got_k);
        harness_check("same numbers", &q, expected, exact);
        harness_check("same numbers", &k_out, expected, exact);
    }
    rosace_rope_plan_destroy(&plan);
    ck_assert_ptr_null(plan);
    rosace_rope_plan_destroy(&plan);
    rosace_rope_plan_destroy(NULL);
}
END_TEST

START_TEST(calls_follow_events) {
    cl_command_queue queue = harness_queue_out_of_order();
    if (!queue) harness_skip("the device has no out-of-order queue");
    const size_t seq = 64;
    rosace_rope_desc desc = plain();
    double *x = harness_random(seq * DIM, ROSACE_F32);
    rosace_tensor q = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq, 1, DIM, x);
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    args.q = &q;
    args.positions.offset = 5;
    cl_event first, second;
    harness_ok(rosace_rope(harness_context(), queue, &desc, &args, 0, NULL, &first));
    desc.inverse = true;
    harness_ok(rosace_rope(harness_context(), queue, &desc, &args, 1, &first, &second));
    ck_assert_int_eq(clWaitForEvents(1, &second), CL_SUCCESS);
    clReleaseEvent(first);
    clReleaseEvent(second);
    harness_check("there and back", &q, x, (harness_tolerance){.absolute = 5e-7});
}
END_TEST

/* ---- Keys that move ---------------------------------------------------------------------------------------------- */

/* Keys rotated by `from`, moved, are keys rotated by `to` at the new place. */
static void moves(rosace_rope_desc from, rosace_rope_desc to, int64_t shift, bool ids, bool implied) {
    const size_t seq = harness_small() ? 12 : 70, heads = 2;
    harness_case("shift %lld, scaling %d to %d, %s", (long long)shift, (int)from.scaling.kind, (int)to.scaling.kind,
                 from.dtype == ROSACE_F16 ? "f16" : "f32");
    double *x = harness_random(seq * heads * DIM, from.dtype);
    const int64_t first = shift < 0 ? -shift : 3;
    int32_t *before = harness_alloc(seq, sizeof *before), *after = harness_alloc(seq, sizeof *after);
    for (size_t s = 0; s < seq; s++) {
        before[s] = (int32_t)(first + (ids ? (int64_t)(s * s) : (int64_t)s));
        after[s] = (int32_t)(before[s] + shift);
    }
    const double *expected = rotated(&to, seq, heads, x, after);
    const double *stored = rotated(&from, seq, heads, x, before);
    rosace_rope_move_args args = ROSACE_ROPE_MOVE_ARGS_DEFAULT;
    args.k = harness_tensor(HARNESS_GAPS, from.dtype, 1, seq, heads, DIM, stored);
    args.shift = shift;
    if (ids) args.positions.ids = harness_int32(before, seq, &args.positions.ids_offset);
    else args.positions.offset = first;
    harness_ok(rosace_rope_move(harness_context(), harness_queue(), &from, implied ? NULL : &to, &args, 0, NULL, NULL));
    /* Two or three rotations of numbers within sqrt(2) times the attention factor, and as many roundings of what is stored. */
    harness_check("keys moved", &args.k, expected,
                  (harness_tolerance){.absolute = from.dtype == ROSACE_F16 ? 4.0 * ldexp(1.0, -11) : 2e-6});
}

START_TEST(moved_keys_are_keys_rotated_there) {
    double short_factor[PAIRS], long_factor[PAIRS];
    for (int i = 0; i < PAIRS; i++) {
        short_factor[i] = 1.0 + 0.01 * i;
        long_factor[i] = 1.0 + 0.5 * i;
    }
    for (int dtype = 0; dtype < 2; dtype++) {
        rosace_rope_desc a = plain(), b = plain();
        a.dtype = b.dtype = dtype ? ROSACE_F16 : ROSACE_F32;
        moves(a, a, 5, false, true);
        moves(a, a, -1000000, true, true);
        moves(a, a, INT32_MAX - 10000, true, false);
        b.scaling.kind = ROSACE_ROPE_SCALING_YARN; /* and its attention factor */
        b.scaling.factor = 4.0;
        b.scaling.original_max_position = 64;
        moves(a, b, 0, false, false);
        moves(b, a, -3, true, false);
        a.scaling = (rosace_rope_scaling){.kind = ROSACE_ROPE_SCALING_LONGROPE,
                                          .factor = 4.0,
                                          .original_max_position = 100,
                                          .seq_len = 100,
                                          .short_factor = short_factor,
                                          .long_factor = long_factor,
                                          .factor_count = PAIRS};
        b = a;
        b.scaling.seq_len = 101;
        moves(a, b, 0, true, false);
        moves(a, b, 64, false, false);
    }
}
END_TEST

START_TEST(moves_are_checked) {
    const rosace_rope_desc desc = plain();
    rosace_rope_desc other = desc;
    const rosace_tensor k = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, 6, 1, DIM, harness_random(6 * DIM, ROSACE_F32));
    rosace_rope_move_args args = ROSACE_ROPE_MOVE_ARGS_DEFAULT;
    args.k = k;
    args.shift = 1;
#define REFUSED(from, to, words)                                                                                       \
    harness_refused(rosace_rope_move(harness_context(), harness_queue(), from, to, &args, 0, NULL, event), event, &k,  \
                    ROSACE_INVALID_ARGUMENT, words)
    REFUSED(NULL, NULL, "desc");
    harness_refused(rosace_rope_move(NULL, harness_queue(), &desc, NULL, &args, 0, NULL, event), event, &k, ROSACE_INVALID_ARGUMENT, "context");
    harness_refused(rosace_rope_move(harness_context(), NULL, &desc, NULL, &args, 0, NULL, event), event, &k, ROSACE_INVALID_ARGUMENT, "queue");
    harness_refused(rosace_rope_move(harness_context(), harness_queue(), &desc, NULL, NULL, 0, NULL, event), event, &k, ROSACE_INVALID_ARGUMENT, "args");
    other.interleaved = true;
    REFUSED(&desc, &other, "to: must be as from");
    other = desc;
    other.rotary_dim = 32;
    REFUSED(&desc, &other, "to: must be as from");
    other = desc;
    other.theta = 0.0;
    REFUSED(&desc, &other, "theta = 0");
    args.shift = INT64_MAX;
    REFUSED(&desc, NULL, "shift = 9223372036854775807");
    args.shift = INT32_MAX - 4;
    REFUSED(&desc, NULL, "shift = 2147483643: positions.offset = 2147483643");
    args.shift = INT64_C(1) << 31;
    args.positions.offset = -5;
    REFUSED(&desc, NULL, "shift = 2147483648");
    args.positions.offset = INT64_C(1) << 31;
    REFUSED(&desc, NULL, "positions.offset");
    args.positions.offset = 0;
    args.shift = 1;
    args.k.shape[3] = 32;
    REFUSED(&desc, NULL, "k.shape[3] = 32");
#undef REFUSED
}
END_TEST

HARNESS_DEVICE_SUITE("rope_properties", angles_are_exact_at_every_position, small_angles_keep_their_digits,
                     norms_are_kept, scores_depend_on_the_distance_alone, inverse_undoes_forward,
                     inverse_is_the_backward_pass, layouts_of_pairs_agree_under_permutation,
                     the_same_numbers_come_by_every_way, calls_follow_events, moved_keys_are_keys_rotated_there,
                     moves_are_checked)
