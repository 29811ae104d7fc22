/* SPDX-License-Identifier: MIT
 * Rotation on the device against the reference. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "src/ops/rope.h"
#include "src/reference/reference.h"
#include <rosace/rope.h>

/* Where the positions of a case come from. */
enum { OFFSET, IDS, IDS_SHARED, POSITION_KINDS };
static const char *const position_names[] = {"offset", "ids", "shared ids"};

typedef struct rope_case {
    rosace_rope_desc desc;
    size_t batch, seq, heads, kv_heads; /* 0 heads: that tensor is absent */
    int q_layout, k_layout;
    int q_out_layout, k_out_layout; /* -1: in place */
    int positions;
    int64_t first, last;           /* OFFSET: the first position; else the range of the ids */
    int64_t id_offset;             /* added to the ids by the call */
    const rosace_device_class *as; /* divide the work as this class does; NULL: as the device's own, in one call */
} rope_case;

static const rope_case plain_case = {
    .desc = {.struct_size = sizeof(rosace_rope_desc), .head_dim = 64, .theta = 10000.0, .scaling = {.factor = 1.0}},
    .batch = 1,
    .seq = 5,
    .heads = 2,
    .kv_heads = 1,
    .q_out_layout = -1,
    .k_out_layout = -1};

/* Inputs are within [-1, 1): two products with a cos and a sin that are within 1e-7, and three roundings, times the
 * attention factor. */
static harness_tolerance tolerance_for(const rosace_rope_desc *desc) {
    double factor = 1.0;
    harness_ok(rosace_rope_frequencies(desc, NULL, &factor));
    return (harness_tolerance){.absolute = 4e-7 * factor};
}

static void name_case(const rope_case *c) {
    harness_case(
        "%s batch %zu seq %zu heads %zu:%zu head_dim %zu rotary_dim %zu theta %g scaling %d%s%s, q %s -> %s, k %s -> "
        "%s, %s %lld..%lld",
        c->desc.dtype == ROSACE_F16 ? "f16" : "f32", c->batch, c->seq, c->heads, c->kv_heads, c->desc.head_dim,
        c->desc.rotary_dim, c->desc.theta, (int)c->desc.scaling.kind, c->desc.interleaved ? " interleaved" : "",
        c->desc.inverse ? " inverse" : "", harness_layout_name(c->q_layout),
        c->q_out_layout < 0 ? "itself" : harness_layout_name(c->q_out_layout), harness_layout_name(c->k_layout),
        c->k_out_layout < 0 ? "itself" : harness_layout_name(c->k_out_layout), position_names[c->positions],
        (long long)c->first, (long long)c->last);
}

/* Positions of the reference [axes, batch*seq], and the same for the call. */
static int32_t *make_positions(const rope_case *c, rosace_positions *call) {
    const size_t axes = c->desc.axes ? c->desc.axes : 1, tokens = c->batch * c->seq;
    int32_t *positions = harness_alloc(axes * tokens, sizeof *positions);
    *call = (rosace_positions){.seq_stride = 1};
    if (c->positions == OFFSET) {
        call->offset = c->first;
        for (size_t i = 0; i < axes * tokens; i++)
            positions[i] = (int32_t)(c->first + (int64_t)(i % c->seq));
        return positions;
    }
    /* Every third element is an id, so that strides count; rows are packed behind one another. */
    const size_t rows = c->positions == IDS ? c->batch : 1;
    int32_t *ids = harness_alloc(3 * axes * rows * c->seq, sizeof *ids);
    for (size_t i = 0; i < axes * rows * c->seq; i++)
        ids[3 * i] = (int32_t)harness_random_integer(c->first, c->last);
    for (size_t i = 0; i < axes * tokens; i++)
        positions[i] = (int32_t)(ids[3 * (i / tokens * rows * c->seq + i % (rows * c->seq))] + c->id_offset);
    call->axis_stride = (ptrdiff_t)(3 * rows * c->seq);
    call->offset = c->id_offset;
    call->seq_stride = 3;
    call->batch_stride = c->positions == IDS ? (ptrdiff_t)(3 * c->seq) : 0;
    call->ids = harness_int32(ids, 3 * axes * rows * c->seq, &call->ids_offset);
    return positions;
}

static void run(const rope_case *c, const char *op) {
    name_case(c);
    const rosace_dtype dtype = c->desc.dtype;
    const size_t heads[2] = {c->heads, c->kv_heads};
    const int layouts[2] = {c->q_layout, c->k_layout}, out_layouts[2] = {c->q_out_layout, c->k_out_layout};
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    const int32_t *positions = make_positions(c, &args.positions);
    rosace_tensor in[2], out[2];
    double *values[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        if (!heads[i]) continue;
        values[i] = harness_random(c->batch * c->seq * heads[i] * c->desc.head_dim, dtype);
        in[i] = harness_tensor(layouts[i], dtype, c->batch, c->seq, heads[i], c->desc.head_dim, values[i]);
        out[i] = in[i];
        if (out_layouts[i] >= 0)
            out[i] = harness_tensor(out_layouts[i], dtype, c->batch, c->seq, heads[i], c->desc.head_dim, NULL);
    }
    if (heads[0]) args.q = &in[0];
    if (heads[1]) args.k = &in[1];
    if (heads[0] && c->q_out_layout >= 0) args.q_out = &out[0];
    if (heads[1] && c->k_out_layout >= 0) args.k_out = &out[1];

    if (c->as) {
        rosace_rope_plan *plan;
        harness_ok(rsc_rope_plan_create_as(harness_context(), &c->desc, *c->as, &plan));
        harness_ok(rosace_rope_enqueue(plan, harness_queue(), &args, 0, NULL, NULL));
        rosace_rope_plan_destroy(&plan);
    } else {
        harness_ok(rosace_rope(harness_context(), harness_queue(), &c->desc, &args, 0, NULL, NULL));
    }
    for (int i = 0; i < 2; i++) {
        if (!heads[i]) continue;
        if (out_layouts[i] >= 0) harness_check_untouched(&in[i]);
        ref_rope(&c->desc, c->batch, c->seq, heads[i], positions, values[i]);
        ref_xpos(&c->desc, c->batch, c->seq, heads[i], positions, i == 1, values[i]);
        harness_tolerance tolerance = tolerance_for(&c->desc);
        if (c->desc.xpos_base > 0.0) { /* the same, times the factor, which has five roundings of its own */
            double *allowed = harness_zeros(c->batch * c->seq * heads[i] * c->desc.head_dim);
            for (size_t e = 0; e < c->batch * c->seq * heads[i] * c->desc.head_dim; e++) allowed[e] = 1.0;
            ref_xpos(&c->desc, c->batch, c->seq, heads[i], positions, i == 1, allowed);
            for (size_t e = 0; e < c->batch * c->seq * heads[i] * c->desc.head_dim; e++) allowed[e] *= 2.0 * tolerance.absolute;
            tolerance.allowed = allowed;
        }
        harness_check(op, &out[i], values[i], tolerance);
    }
}

/* Time, row and column as vision models have them; every program with positions of all kinds. */
START_TEST(several_axes) {
    static const struct {
        size_t axes, rotary_dim, sections[4];
        rosace_rope_axis_order order;
        bool restart, interleaved;
    } cases[] = {
        {3, 0, {8, 12, 12, 0}, ROSACE_ROPE_AXES_CONTIGUOUS, false, false},
        {3, 0, {12, 10, 10, 0}, ROSACE_ROPE_AXES_INTERLEAVED, false, false},
        {2, 0, {16, 16, 0, 0}, ROSACE_ROPE_AXES_CONTIGUOUS, true, false},
        {4, 40, {5, 0, 7, 8}, ROSACE_ROPE_AXES_CONTIGUOUS, true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rope_case c = plain_case;
        c.desc.axes = cases[i].axes;
        c.desc.rotary_dim = cases[i].rotary_dim;
        memcpy(c.desc.sections, cases[i].sections, sizeof c.desc.sections);
        c.desc.axis_order = cases[i].order;
        c.desc.axis_restart = cases[i].restart;
        c.desc.interleaved = cases[i].interleaved;
        c.desc.dtype = i % 2 ? ROSACE_F16 : ROSACE_F32;
        c.batch = 2;
        for (c.positions = 0; c.positions < POSITION_KINDS; c.positions++) {
            c.first = c.positions == OFFSET ? 1000 : INT32_MIN;
            c.last = INT32_MAX;
            run(&c, "rope on several axes");
        }
    }
}
END_TEST

START_TEST(xpos) {
    for (int interleaved = 0; interleaved < 2; interleaved++)
        for (int dtype = 0; dtype < 2; dtype++) {
            rope_case c = plain_case;
            c.desc.xpos_base = 512.0;
            c.desc.xpos_center = 3000;
            c.desc.interleaved = interleaved;
            c.desc.rotary_dim = interleaved ? 24 : 0;
            c.desc.dtype = dtype ? ROSACE_F16 : ROSACE_F32;
            c.batch = 2;
            for (c.positions = 0; c.positions < POSITION_KINDS; c.positions++) {
                c.first = dtype ? 2000 : -29000; /* the ends of what fits */
                c.last = dtype ? 4000 : 36000;
                run(&c, "xpos at the ends");
                c.last = 3100;
                c.first = c.positions == OFFSET ? 2998 : 2900;
                run(&c, "xpos");
            }
        }
}
END_TEST

START_TEST(rotates_every_layout_in_place_and_out_of_place) {
    for (int layout = 0; layout < HARNESS_LAYOUTS; layout++)
        for (int n = 0; n < 8; n++) {
            rope_case c = plain_case;
            c.batch = 2;
            c.heads = 3;
            c.kv_heads = 2;
            c.desc.interleaved = n & 1;
            c.desc.dtype = n & 2 ? ROSACE_F16 : ROSACE_F32;
            c.q_layout = layout;
            c.k_layout = (layout + n) % HARNESS_LAYOUTS;
            if (n & 4) {
                c.q_out_layout = (layout + 1) % HARNESS_LAYOUTS;
                c.k_out_layout = n == 7 ? -1 : layout;
            }
            c.desc.rotary_dim = n & 4 ? 48 : 0;
            run(&c, "rope");
        }
}
END_TEST

START_TEST(rotates_awkward_sizes) {
    static const struct {
        size_t head_dim, rotary_dim;
    } sizes[] = {{2, 0},   {6, 2},    {10, 10}, {22, 10},   {64, 10},  {80, 0},   {80, 32}, {96, 0},
                 {112, 0}, {112, 56}, {128, 0}, {130, 126}, {256, 64}, {1024, 0}, {1022, 0}};
    for (size_t n = 0; n < sizeof sizes / sizeof sizes[0]; n++)
        for (int kind = 0; kind < 4; kind++) {
            rope_case c = plain_case;
            c.desc.head_dim = sizes[n].head_dim;
            c.desc.rotary_dim = sizes[n].rotary_dim;
            c.desc.interleaved = kind & 1;
            c.desc.dtype = kind & 2 ? ROSACE_F16 : ROSACE_F32;
            c.seq = n % 3 ? 1 + n : 1;
            c.q_out_layout = n % 2 ? HARNESS_GAPS : -1;
            run(&c, "rope");
        }
}
END_TEST

START_TEST(rotates_grouped_heads_and_one_tensor_alone) {
    static const size_t heads[][2] = {{8, 1}, {32, 4}, {1, 0}, {0, 3}, {40, 0}, {5, 7}};
    for (size_t n = 0; n < sizeof heads / sizeof heads[0]; n++)
        for (size_t seq = 1; seq <= 9; seq += 4) {
            rope_case c = plain_case;
            c.seq = seq;
            c.heads = heads[n][0];
            c.kv_heads = heads[n][1];
            c.desc.head_dim = 32;
            run(&c, "rope");
        }
}
END_TEST

START_TEST(rotates_long_sequences) {
    if (harness_small()) harness_skip("long sequences take too long here");
    rope_case c = plain_case;
    c.desc.head_dim = 16;
    c.seq = 4099; /* several rows per work-item, and not a multiple of them */
    c.batch = 3;
    c.q_layout = HARNESS_BHSD;
    run(&c, "rope");
    c.desc.interleaved = true;
    c.positions = IDS;
    c.first = -5000;
    c.last = 5000;
    run(&c, "rope");
}
END_TEST

START_TEST(rotates_at_any_position) {
    static const int64_t firsts[] = {
        0, 1, -3, 4095, -70000, 1 << 20, (1 << 20) + 12345, -(1 << 24), INT32_MAX - 4, INT32_MIN};
    for (size_t n = 0; n < sizeof firsts / sizeof firsts[0]; n++)
        for (int inverse = 0; inverse < 2; inverse++) {
            rope_case c = plain_case;
            c.first = firsts[n];
            c.desc.inverse = inverse;
            c.desc.interleaved = n % 2;
            run(&c, llabs(firsts[n]) < INT64_C(1) << 21 ? "rope" : "rope beyond 2^21");
        }
    for (int kind = IDS; kind < POSITION_KINDS; kind++) {
        rope_case c = plain_case;
        c.batch = 3;
        c.positions = kind;
        c.first = -(1 << 21);
        c.last = 1 << 21;
        run(&c, "rope");
        c.id_offset = 1 << 20;
        run(&c, "rope");
        c.first = INT32_MIN;
        c.last = INT32_MAX;
        c.id_offset = 0;
        run(&c, "rope beyond 2^21");
    }
}
END_TEST

START_TEST(rotates_with_every_scaling) {
    for (int kind = ROSACE_ROPE_SCALING_NONE; kind <= ROSACE_ROPE_SCALING_LLAMA3; kind++)
        for (int inverse = 0; inverse < 2; inverse++) {
            rope_case c = plain_case;
            const rosace_rope_desc defaults = ROSACE_ROPE_DESC_DEFAULT;
            c.desc.scaling = defaults.scaling;
            c.desc.scaling.kind = kind;
            c.desc.scaling.factor = 8.0;
            c.desc.scaling.original_max_position = 256;
            c.desc.scaling.seq_len = 1000;
            c.desc.inverse = inverse;
            c.first = 900;
            run(&c, "rope");
        }
}
END_TEST

START_TEST(rotates_random_cases) {
    static const size_t dims[] = {16, 32, 64, 80, 96, 112, 128, 40};
    for (int n = 0; n < (harness_small() ? 6 : 60); n++) {
        rope_case c = plain_case;
        c.batch = (size_t)harness_random_integer(1, 3);
        c.seq = (size_t)harness_random_integer(1, harness_small() ? 5 : 70);
        c.kv_heads = (size_t)harness_random_integer(1, 4);
        c.heads = c.kv_heads * (size_t)harness_random_integer(1, 8);
        c.desc.head_dim = dims[harness_random_integer(0, 7)];
        if (n % 3 == 0) c.desc.rotary_dim = 2 * (size_t)harness_random_integer(1, (int64_t)c.desc.head_dim / 2);
        c.desc.theta = exp(harness_random_real(log(100.0), log(1e6)));
        c.desc.interleaved = harness_random_integer(0, 1);
        c.desc.inverse = harness_random_integer(0, 1);
        c.desc.dtype = harness_random_integer(0, 1) ? ROSACE_F16 : ROSACE_F32;
        c.q_layout = (int)harness_random_integer(0, HARNESS_LAYOUTS - 1);
        c.k_layout = (int)harness_random_integer(0, HARNESS_LAYOUTS - 1);
        c.q_out_layout = (int)harness_random_integer(-1, HARNESS_LAYOUTS - 1);
        c.k_out_layout = (int)harness_random_integer(-1, HARNESS_LAYOUTS - 1);
        c.positions = (int)harness_random_integer(0, POSITION_KINDS - 1);
        c.first = harness_random_integer(-(1 << 20), 1 << 20);
        c.last = c.first + harness_random_integer(0, 1 << 20);
        run(&c, "rope");
    }
}
END_TEST

START_TEST(rotates_packed_qkv_in_place) {
    const size_t batch = 2, seq = 5, heads = 4, kv_heads = 2, dim = 32;
    for (int dtype = ROSACE_F32; dtype <= ROSACE_F16; dtype++) {
        double *q = harness_random(batch * seq * heads * dim, dtype),
               *k = harness_random(batch * seq * kv_heads * dim, dtype);
        double *v = harness_random(batch * seq * kv_heads * dim, dtype);
        rosace_tensor qkv[3];
        harness_packed_qkv(dtype, batch, seq, heads, kv_heads, dim, q, k, v, qkv);
        rope_case c = plain_case;
        c.desc.head_dim = dim;
        c.desc.dtype = dtype;
        c.batch = batch;
        c.seq = seq;
        c.first = 100;
        rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
        args.q = &qkv[0];
        args.k = &qkv[1];
        const int32_t *positions = make_positions(&c, &args.positions);
        harness_writes(&qkv[0]);
        harness_writes(&qkv[1]);
        harness_ok(rosace_rope(harness_context(), harness_queue(), &c.desc, &args, 0, NULL, NULL));
        ref_rope(&c.desc, batch, seq, heads, positions, q);
        ref_rope(&c.desc, batch, seq, kv_heads, positions, k);
        harness_check("rope", &qkv[0], q, tolerance_for(&c.desc));
        harness_check("rope", &qkv[1], k, tolerance_for(&c.desc));
    }
}
END_TEST

START_TEST(rotates_as_every_class_of_device) {
    static const rosace_device_class classes[] = {ROSACE_DEVICE_CPU, ROSACE_DEVICE_INTEGRATED, ROSACE_DEVICE_DISCRETE,
                                                  ROSACE_DEVICE_OTHER};
    static const struct {
        size_t head_dim, rotary_dim, batch, seq, heads, kv_heads;
    } sizes[] = {{64, 0, 2, 37, 8, 2}, {112, 0, 1, 1, 32, 4}, {80, 20, 3, 9, 3, 3}, {22, 10, 1, 70, 1, 0}};
    for (size_t n = 0; n < sizeof classes / sizeof classes[0]; n++)
        for (size_t m = 0; m < sizeof sizes / sizeof sizes[0]; m++) {
            rope_case c = plain_case;
            c.as = &classes[n];
            c.desc.head_dim = sizes[m].head_dim;
            c.desc.rotary_dim = sizes[m].rotary_dim;
            c.desc.interleaved = (n + m) % 2;
            c.desc.dtype = m % 2 ? ROSACE_F16 : ROSACE_F32;
            c.batch = sizes[m].batch;
            c.seq = sizes[m].seq;
            c.heads = sizes[m].heads;
            c.kv_heads = sizes[m].kv_heads;
            c.q_layout = HARNESS_GAPS;
            c.q_out_layout = m == 0 ? -1 : HARNESS_BHSD_GAPS;
            c.first = -5;
            run(&c, "rope");
        }
}
END_TEST

HARNESS_DEVICE_SUITE("rope", rotates_as_every_class_of_device, rotates_every_layout_in_place_and_out_of_place, several_axes, xpos,
                     rotates_awkward_sizes, rotates_grouped_heads_and_one_tensor_alone, rotates_long_sequences,
                     rotates_at_any_position, rotates_with_every_scaling, rotates_random_cases,
                     rotates_packed_qkv_in_place)
