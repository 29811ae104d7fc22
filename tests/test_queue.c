/* SPDX-License-Identifier: MIT
 * Chains of commands: in order, whatever the queue, behind a wait list, under one event. */
#include "harness.h"

#include "src/queue.h"

#include <string.h>

static const char source[] = "__kernel void advance(__global int *x, int a) { x[0] = x[0] * 3 + a; }\n";

/* A kernel whose runs do not commute, on one number. */
typedef struct stepper {
    cl_program program;
    cl_kernel kernel;
    cl_mem mem;
} stepper;

static stepper stepper_make(void) {
    stepper s = {0};
    const char *text = source;
    const int zero = 0;
    cl_int code;
    s.program = clCreateProgramWithSource(rosace_context_cl(harness_context()), 1, &text, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    ck_assert_int_eq(clBuildProgram(s.program, 0, NULL, "-cl-std=CL1.2", NULL, NULL), CL_SUCCESS);
    s.kernel = clCreateKernel(s.program, "advance", &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    harness_ok(rsc_buffer_create(harness_context(), sizeof(int), CL_MEM_READ_WRITE, &zero, "x", &s.mem));
    return s;
}

static void stepper_free(stepper *s) {
    clReleaseMemObject(s->mem);
    clReleaseKernel(s->kernel);
    clReleaseProgram(s->program);
}

static rosace_status step(rsc_chain *chain, stepper *s, int a) {
    const size_t one = 1;
    rosace_status status = RSC_ARGS(s->kernel, "step", RSC_ARG(s->mem), RSC_ARG(a));
    return status ? status : rsc_chain_kernel(chain, s->kernel, 1, &one, NULL, "step");
}

static int value_of(const stepper *s) {
    int value = -1;
    ck_assert_int_eq(clEnqueueReadBuffer(harness_queue(), s->mem, CL_TRUE, 0, sizeof value, &value, 0, NULL, NULL),
                     CL_SUCCESS);
    return value;
}

static cl_int event_status(cl_event event) {
    cl_int status = CL_QUEUED;
    ck_assert_int_eq(clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof status, &status, NULL), CL_SUCCESS);
    return status;
}

static void finish(cl_event event) {
    ck_assert_int_eq(clWaitForEvents(1, &event), CL_SUCCESS);
    ck_assert_int_eq(clReleaseEvent(event), CL_SUCCESS);
}

/* The harness's two queues; the second may be NULL. */
enum { QUEUES = 2 };
static cl_command_queue queue_of(int which) {
    harness_case(which ? "out-of-order queue" : "in-order queue");
    return which ? harness_queue_out_of_order() : harness_queue();
}

START_TEST(commands_run_one_after_the_other)
{
    for (int which = 0; which < QUEUES; which++) {
        cl_command_queue queue = queue_of(which);
        if (!queue) continue;
        stepper s = stepper_make();
        rsc_chain chain;
        cl_event event = NULL;
        int expected = 0;
        rosace_status status = rsc_chain_begin(&chain, harness_context(), queue, 0, NULL);
        for (int i = 1; !status && i <= 8; i++) {
            status = step(&chain, &s, i);
            expected = expected * 3 + i;
        }
        harness_ok(rsc_chain_end(&chain, status, &event));
        finish(event);
        ck_assert_int_eq(value_of(&s), expected);
        stepper_free(&s);
    }
}
END_TEST

START_TEST(a_chain_waits_for_its_list)
{
    if (harness_small()) harness_skip("the simulator runs commands when they are enqueued");
    for (int which = 0; which < QUEUES; which++) {
        cl_command_queue queue = queue_of(which);
        if (!queue) continue;
        stepper s = stepper_make();
        cl_int code;
        cl_event go = clCreateUserEvent(rosace_context_cl(harness_context()), &code), done = NULL;
        ck_assert_int_eq(code, CL_SUCCESS);
        rsc_chain chain;
        rosace_status status = rsc_chain_begin(&chain, harness_context(), queue, 1, &go);
        if (!status) status = step(&chain, &s, 1);
        if (!status) status = step(&chain, &s, 2);
        harness_ok(rsc_chain_end(&chain, status, &done));
        ck_assert_int_eq(clFlush(queue), CL_SUCCESS);
        ck_assert_int_ne(event_status(done), CL_COMPLETE);
        ck_assert_int_eq(clSetUserEventStatus(go, CL_COMPLETE), CL_SUCCESS);
        finish(done);
        ck_assert_int_eq(value_of(&s), 5);
        clReleaseEvent(go);
        stepper_free(&s);
    }
}
END_TEST

START_TEST(chains_follow_each_other_by_events)
{
    for (int which = 0; which < QUEUES; which++) {
        cl_command_queue queue = queue_of(which);
        if (!queue) continue;
        stepper s = stepper_make();
        cl_event last = NULL;
        int expected = 0;
        for (int i = 1; i <= 6; i++) {
            rsc_chain chain;
            cl_event before = last; /* the same variable may be wait list and event */
            rosace_status status = rsc_chain_begin(&chain, harness_context(), queue, last ? 1 : 0, last ? &last : NULL);
            if (!status) status = step(&chain, &s, i);
            harness_ok(rsc_chain_end(&chain, status, &last));
            if (before) ck_assert_int_eq(clReleaseEvent(before), CL_SUCCESS);
            expected = expected * 3 + i;
        }
        finish(last);
        ck_assert_int_eq(value_of(&s), expected);
        stepper_free(&s);
    }
}
END_TEST

START_TEST(nothing_to_do_still_gives_an_event)
{
    for (int which = 0; which < QUEUES; which++) {
        cl_command_queue queue = queue_of(which);
        if (!queue) continue;
        stepper s = stepper_make();
        const size_t empty[2] = {4, 0};
        const int a = 1;
        for (int waits = 0; waits < 2; waits++) {
            rsc_chain chain;
            cl_event first = NULL, event = NULL;
            rosace_status status = rsc_chain_begin(&chain, harness_context(), queue, 0, NULL);
            if (!status) status = step(&chain, &s, 0);
            harness_ok(rsc_chain_end(&chain, status, &first));

            status = rsc_chain_begin(&chain, harness_context(), queue, waits ? 1 : 0, waits ? &first : NULL);
            if (!status) status = RSC_ARGS(s.kernel, "step", RSC_ARG(s.mem), RSC_ARG(a));
            if (!status) status = rsc_chain_kernel(&chain, s.kernel, 2, empty, NULL, "step");
            harness_ok(rsc_chain_end(&chain, status, &event));
            ck_assert_ptr_nonnull(event);
            finish(event);
            if (waits) ck_assert_int_eq(event_status(first), CL_COMPLETE);
            finish(first);
        }
        ck_assert_int_eq(value_of(&s), 0);
        stepper_free(&s);
    }
}
END_TEST

START_TEST(calls_without_a_wait_list_keep_their_place)
{
    for (int which = 0; which < QUEUES; which++) {
        cl_command_queue queue = queue_of(which);
        if (!queue) continue;
        const size_t one = 1;
        const int a = 2;
        for (int with_event = which; with_event < 2; with_event++) { /* out of order it needs one */
            /* A new number each time: under Intel's CPU runtime 2026.2 a blocking write to an old one may still land after a
             * kernel that another queue runs later. */
            stepper s = stepper_make();
            rsc_chain chain;
            cl_event event = NULL, foreign = NULL;
            rosace_status status = rsc_chain_begin(&chain, harness_context(), queue, 0, NULL);
            if (!status) status = step(&chain, &s, 1);
            cl_command_queue foreign_queue = NULL;
            if (!status) status = rsc_chain_before_foreign(&chain, &foreign_queue);
            harness_ok(status);
            harness_ok(RSC_ARGS(s.kernel, "step", RSC_ARG(s.mem), RSC_ARG(a)));
            ck_assert_int_eq(clEnqueueNDRangeKernel(foreign_queue, s.kernel, 1, NULL, &one, NULL, 0, NULL, with_event ? &foreign : NULL),
                             CL_SUCCESS);
            status = rsc_chain_after_foreign(&chain, foreign);
            if (!status) status = step(&chain, &s, 3);
            harness_ok(rsc_chain_end(&chain, status, &event));
            finish(event);
            ck_assert_msg(value_of(&s) == (1 * 3 + 2) * 3 + 3, "queue %d, event %d: %d", which, with_event, value_of(&s));
            stepper_free(&s);
        }
    }
}
END_TEST

START_TEST(a_foreign_call_may_come_last)
{
    stepper s = stepper_make();
    const size_t one = 1;
    const int a = 7;
    rsc_chain chain;
    cl_event event = NULL;
    cl_command_queue foreign_queue = NULL;
    rosace_status status = rsc_chain_begin(&chain, harness_context(), harness_queue(), 0, NULL);
    if (!status) status = rsc_chain_before_foreign(&chain, &foreign_queue);
    if (!status) status = RSC_ARGS(s.kernel, "step", RSC_ARG(s.mem), RSC_ARG(a));
    harness_ok(status);
    ck_assert_ptr_eq(foreign_queue, harness_queue());
    ck_assert_int_eq(clEnqueueNDRangeKernel(harness_queue(), s.kernel, 1, NULL, &one, NULL, 0, NULL, NULL), CL_SUCCESS);
    status = rsc_chain_after_foreign(&chain, NULL);
    harness_ok(rsc_chain_end(&chain, status, &event));
    finish(event);
    ck_assert_int_eq(value_of(&s), 7);
    stepper_free(&s);

    if (!harness_queue_out_of_order()) return;
    status = rsc_chain_begin(&chain, harness_context(), harness_queue_out_of_order(), 0, NULL);
    if (!status) status = rsc_chain_after_foreign(&chain, NULL);
    harness_expect_status(rsc_chain_end(&chain, status, NULL), ROSACE_OPENCL_ERROR, "no event");
}
END_TEST

START_TEST(a_chain_that_fails_leaves_the_event_alone)
{
    stepper s = stepper_make();
    rsc_chain chain;
    cl_event event = harness_untouched_event;
    rosace_status status = rsc_chain_begin(&chain, harness_context(), harness_queue(), 0, NULL);
    if (!status) status = step(&chain, &s, 1);
    harness_ok(status);
    harness_expect_status(rsc_chain_end(&chain, rsc_fail(ROSACE_UNSUPPORTED, "half way"), &event), ROSACE_UNSUPPORTED,
                          "half way");
    ck_assert_ptr_eq(event, harness_untouched_event);
    stepper_free(&s);
}
END_TEST

static rosace_status begin_and_end(cl_command_queue queue, cl_uint num_wait, const cl_event *wait) {
    rsc_chain chain;
    cl_event event = harness_untouched_event;
    rosace_status status = rsc_chain_begin(&chain, harness_context(), queue, num_wait, wait);
    status = rsc_chain_end(&chain, status, &event);
    if (status) ck_assert_ptr_eq(event, harness_untouched_event);
    return status;
}

START_TEST(queues_and_wait_lists_are_checked)
{
    cl_int code;
    cl_device_id device = harness_device_info()->device;
    cl_context other = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    cl_command_queue foreign = clCreateCommandQueue(other, device, 0, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    cl_event foreign_event = clCreateUserEvent(other, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    const cl_event none[2] = {NULL, NULL};

    harness_expect_status(begin_and_end(NULL, 0, NULL), ROSACE_INVALID_ARGUMENT, "queue = NULL");
    harness_expect_status(begin_and_end(foreign, 0, NULL), ROSACE_INVALID_ARGUMENT, "queue: belongs to another OpenCL context");
    harness_expect_status(begin_and_end(harness_queue(), 1, NULL), ROSACE_INVALID_ARGUMENT, "num_wait = 1, wait = NULL");
    harness_expect_status(begin_and_end(harness_queue(), 0, none), ROSACE_INVALID_ARGUMENT, "num_wait = 0, wait = a list");
    harness_expect_status(begin_and_end(harness_queue(), 2, none), ROSACE_INVALID_ARGUMENT, "wait[0] = NULL");
    harness_expect_status(begin_and_end(harness_queue(), 1, &foreign_event), ROSACE_INVALID_ARGUMENT,
                          "wait[0]: belongs to another OpenCL context");
    clSetUserEventStatus(foreign_event, CL_COMPLETE);
    clReleaseEvent(foreign_event);
    clReleaseCommandQueue(foreign);
    clReleaseContext(other);
}
END_TEST

HARNESS_DEVICE_SUITE("queue", commands_run_one_after_the_other, a_chain_waits_for_its_list, chains_follow_each_other_by_events,
                     nothing_to_do_still_gives_an_event, calls_without_a_wait_list_keep_their_place,
                     a_foreign_call_may_come_last, a_chain_that_fails_leaves_the_event_alone,
                     queues_and_wait_lists_are_checked)
