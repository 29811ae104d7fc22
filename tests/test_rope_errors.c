/* SPDX-License-Identifier: MIT
 * Every refusal of rosace_rope: status, message, and nothing enqueued. */
#include <math.h>
#include <string.h>

#include "harness.h"
#include <rosace/rope.h>

enum { BATCH = 2, SEQ = 6, HEADS = 3, KV_HEADS = 1, DIM = 16 };

/* A valid call, q and k into outputs of their own with ids, for a test to spoil in one place. */
typedef struct call {
    rosace_context *context;
    cl_command_queue queue;
    rosace_rope_desc desc;
    rosace_tensor q, k, q_out, k_out;
    rosace_rope_args args;
    const rosace_rope_desc *desc_given;
    const rosace_rope_args *args_given;
    cl_uint num_wait;
    const cl_event *wait;
} call;

static void make_call(call *c) {
    *c = (call){.context = harness_context(),
                .queue = harness_queue(),
                .desc = ROSACE_ROPE_DESC_DEFAULT,
                .args = ROSACE_ROPE_ARGS_DEFAULT};
    c->desc.head_dim = DIM;
    c->desc_given = &c->desc;
    double *values = harness_random(BATCH * SEQ * HEADS * DIM, ROSACE_F32);
    c->q = harness_tensor(HARNESS_BSHD, ROSACE_F32, BATCH, SEQ, HEADS, DIM, values);
    c->k = harness_tensor(HARNESS_BHSD, ROSACE_F32, BATCH, SEQ, KV_HEADS, DIM, values);
    c->q_out = harness_tensor(HARNESS_BHSD, ROSACE_F32, BATCH, SEQ, HEADS, DIM, NULL);
    c->k_out = harness_tensor(HARNESS_BSHD, ROSACE_F32, BATCH, SEQ, KV_HEADS, DIM, NULL);
    c->args.q = &c->q;
    c->args.k = &c->k;
    c->args.q_out = &c->q_out;
    c->args.k_out = &c->k_out;
    const int32_t ids[SEQ] = {0, 1, 2, 3, 4, 5};
    c->args.positions.ids = harness_int32(ids, SEQ, &c->args.positions.ids_offset);
    c->args_given = &c->args;
}

/* One wrong thing at a time: after `statement` the call is refused, and neither output changes. */
#define REFUSED(statement, status, substring)                                                                          \
    do {                                                                                                               \
        call c;                                                                                                        \
        make_call(&c);                                                                                                 \
        const rosace_tensor q_out = c.q_out, k_out = c.k_out, q = c.q, k = c.k;                                        \
        harness_case("%s", #statement);                                                                                \
        statement;                                                                                                     \
        harness_refused(rosace_rope(c.context, c.queue, c.desc_given, c.args_given, c.num_wait, c.wait, event), event, \
                        &q_out, status, substring);                                                                    \
        harness_check_untouched(&k_out);                                                                               \
        harness_check_untouched(&q);                                                                                   \
        harness_check_untouched(&k);                                                                                   \
    } while (0)
#define INVALID(statement, substring) REFUSED(statement, ROSACE_INVALID_ARGUMENT, substring)

START_TEST(pointers_and_sizes_are_checked) {
    INVALID(c.context = NULL, "context");
    INVALID(c.queue = NULL, "queue");
    INVALID(c.desc_given = NULL, "desc");
    INVALID(c.args_given = NULL, "args");
    INVALID(c.args.struct_size = 0, "struct_size");
    INVALID(c.args.struct_size = sizeof c.args + 8, "struct_size");
    INVALID(c.desc.struct_size = 0, "struct_size");
    INVALID(c.desc.head_dim = 61, "head_dim = 61: must be even, 2 to 1024");
    INVALID(c.desc.rotary_dim = 18, "rotary_dim = 18");
    INVALID(c.desc.theta = 0, "theta");
    INVALID(c.desc.scaling.kind = (rosace_rope_scaling_kind)99, "scaling.kind = 99");
    INVALID((c.args.q = NULL, c.args.q_out = NULL, c.args.k = NULL, c.args.k_out = NULL), "q = NULL and k = NULL");
    INVALID(c.args.q = NULL, "q_out without q");
    INVALID(c.args.k = NULL, "k_out without k");
    INVALID(c.num_wait = 1, "wait");
    rosace_rope_plan *plan = (rosace_rope_plan *)1;
    const rosace_rope_desc desc = {.struct_size = sizeof desc};
    harness_expect_status(rosace_rope_plan_create(harness_context(), &desc, &plan), ROSACE_INVALID_ARGUMENT,
                          "head_dim = 0");
    ck_assert_ptr_null(plan);
    harness_expect_status(rosace_rope_plan_create(harness_context(), &desc, NULL), ROSACE_INVALID_ARGUMENT, "out");
    harness_expect_status(rosace_rope_plan_create(NULL, &desc, &plan), ROSACE_INVALID_ARGUMENT, "context");
    harness_expect_status(rosace_rope_plan_create(harness_context(), NULL, &plan), ROSACE_INVALID_ARGUMENT, "desc");
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    harness_expect_status(rosace_rope_enqueue(NULL, harness_queue(), &args, 0, NULL, NULL), ROSACE_INVALID_ARGUMENT,
                          "plan");
}
END_TEST

START_TEST(tensors_are_checked) {
    INVALID(c.q.mem = NULL, "q");
    INVALID(c.k_out.mem = NULL, "k_out");
    INVALID(c.q.dtype = ROSACE_F16, "q.dtype");
    INVALID(c.k.dtype = (rosace_dtype)9, "k.dtype");
    INVALID(c.q.shape[1] = 0, "q.shape[1]");
    INVALID((c.q.shape[3] = 8, c.q_out.shape[3] = 8), "q.shape[3] = 8: must be the plan's head_dim = 16");
    INVALID((c.k.shape[3] = 14, c.k_out.shape[3] = 14), "k.shape[3] = 14");
    INVALID(c.q_out.shape[2] = 2, "q_out.shape");
    INVALID((c.k.shape[0] = 1, c.k_out.shape[0] = 1), "k.shape = [1, 6, ...]: batch and seq must be those of q");
    INVALID((c.k.shape[1] = 5, c.k_out.shape[1] = 5), "k.shape = [2, 5, ...]");
    INVALID(c.q.stride[3] = 2, "q.stride[3]");
    INVALID(c.k.stride[1] = -DIM, "k.stride[1]");
    INVALID(c.q_out.stride[2] = 0, "q_out");
    INVALID(c.q_out.stride[2] = DIM / 2, "q_out");
    INVALID(c.q.offset = (size_t)1 << 40, "q");
    INVALID(c.k.stride[0] = PTRDIFF_MAX, "k");
    INVALID(c.k_out.offset = SIZE_MAX, "k_out");
}
END_TEST

START_TEST(overlaps_are_checked) {
    INVALID((c.k_out.mem = c.q_out.mem, c.k_out.offset = c.q_out.offset), "q_out");
    INVALID((c.q_out = c.q, c.q_out.stride[1] = c.q.stride[2], c.q_out.stride[2] = SEQ * DIM), "q_out");
    INVALID((c.k_out = c.q, c.k_out.shape[2] = KV_HEADS), "k_out");
    INVALID((c.k = c.q, c.k.shape[2] = KV_HEADS, c.args.q_out = NULL), "overlap");
    INVALID((c.k = c.q, c.k.shape[2] = KV_HEADS, c.args.q_out = NULL, c.args.k_out = NULL), "overlap");
    INVALID((c.args.positions.ids = c.q_out.mem, c.args.positions.ids_offset = c.q_out.offset), "positions.ids");
}
END_TEST

START_TEST(positions_are_checked) {
    INVALID((c.args.positions.ids = NULL, c.args.positions.offset = (int64_t)INT32_MAX - SEQ + 2),
            "positions.offset = 2147483643");
    INVALID((c.args.positions.ids = NULL, c.args.positions.offset = (int64_t)INT32_MIN - 1), "positions.offset");
    INVALID((c.args.positions.ids = NULL, c.args.positions.offset = INT64_MAX), "positions.offset");
    INVALID((c.args.positions.ids = NULL, c.args.positions.offset = INT64_MIN), "positions.offset");
    INVALID(c.args.positions.offset = (int64_t)INT32_MAX + 1, "positions.offset");
    INVALID(c.args.positions.seq_stride = -1, "positions.seq_stride = -1");
    INVALID(c.args.positions.batch_stride = -SEQ, "positions.batch_stride = -6");
    INVALID(c.args.positions.seq_stride = 1000000, "positions.ids");
    INVALID(c.args.positions.batch_stride = 1000000, "positions.ids");
    INVALID(c.args.positions.ids_offset = (size_t)1 << 40, "positions.ids");
    INVALID(c.args.positions.ids_offset = SIZE_MAX, "positions.ids");
    INVALID(c.args.positions.seq_stride = PTRDIFF_MAX, "positions");
}
END_TEST

START_TEST(axes_are_checked) {
    INVALID(c.desc.axes = 5, "axes = 5");
    INVALID(c.desc.axes = 2, "sections = 0, 0, 0, 0: must be rotary_dim / 2 = 8 together");
    INVALID((c.desc.axes = 2, c.desc.sections[0] = 4, c.desc.sections[1] = 5), "sections = 4, 5");
    INVALID((c.desc.axes = 2, c.desc.sections[0] = 4, c.desc.sections[2] = 4), "sections[2] = 4");
    INVALID((c.desc.axes = 2, c.desc.sections[0] = SIZE_MAX, c.desc.sections[1] = 9), "sections[0]");
    INVALID((c.desc.axes = 2, c.desc.sections[0] = 8, c.desc.axis_order = (rosace_rope_axis_order)2), "axis_order = 2");
    INVALID((c.desc.axes = 3, c.desc.sections[0] = 0, c.desc.sections[1] = 4, c.desc.sections[2] = 4,
             c.desc.axis_order = ROSACE_ROPE_AXES_INTERLEAVED), "sections[1] = 4: every axes = 3-th of 8 pairs is too few");
    INVALID((c.desc.axes = 2, c.desc.sections[0] = 4, c.desc.sections[1] = 4, c.desc.axis_restart = true,
             c.desc.scaling.kind = ROSACE_ROPE_SCALING_NTK), "axis_restart: scaling.kind = 2");
    INVALID((c.desc.axes = 2, c.desc.sections[0] = 4, c.desc.sections[1] = 4, c.desc.axis_restart = true,
             c.desc.axis_order = ROSACE_ROPE_AXES_INTERLEAVED), "axis_restart: needs");
    INVALID((c.desc.axes = 2, c.desc.sections[0] = 4, c.desc.sections[1] = 4, c.args.positions.axis_stride = -1),
            "positions.axis_stride = -1");
    INVALID((c.desc.axes = 2, c.desc.sections[0] = 4, c.desc.sections[1] = 4, c.args.positions.axis_stride = 1000000),
            "positions.ids");
}
END_TEST

START_TEST(xpos_is_checked) {
    INVALID(c.desc.xpos_base = 1.0, "xpos_base = 1: must be");
    INVALID(c.desc.xpos_base = -512.0, "xpos_base = -512");
    INVALID(c.desc.xpos_base = (double)NAN, "xpos_base");
    INVALID((c.desc.xpos_base = 512.0, c.desc.xpos_center = INT64_C(1) << 31), "xpos_center = 2147483648");
    INVALID((c.desc.xpos_base = 512.0, c.desc.axes = 2, c.desc.sections[0] = 8), "needs axes = 1");
    INVALID((c.desc.xpos_base = 512.0, c.args.positions.ids = NULL, c.args.positions.offset = 40000),
            "positions.offset = 40000 with 6 tokens: with xPos");
}
END_TEST

START_TEST(the_valid_call_passes) {
    call c;
    make_call(&c);
    cl_event event;
    harness_ok(rosace_rope(c.context, c.queue, &c.desc, &c.args, 0, NULL, &event));
    ck_assert_int_eq(clWaitForEvents(1, &event), CL_SUCCESS);
    clReleaseEvent(event);
    c.args.positions = (rosace_positions){.offset = (int64_t)INT32_MAX - SEQ + 1}; /* the last that fits */
    harness_ok(rosace_rope(c.context, c.queue, &c.desc, &c.args, 0, NULL, NULL));
}
END_TEST

HARNESS_DEVICE_SUITE("rope_errors", pointers_and_sizes_are_checked, tensors_are_checked, overlaps_are_checked,
                     positions_are_checked, axes_are_checked, xpos_is_checked, the_valid_call_passes)
