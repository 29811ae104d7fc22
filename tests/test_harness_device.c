/* SPDX-License-Identifier: MIT
 * The harness itself, on a device: layouts, guard zones, and checks of calls. */
#include <string.h>

#include "harness.h"

enum { BATCH = 2, SEQ = 3, HEADS = 4, DIM = 5, COUNT = BATCH * SEQ * HEADS * DIM };

/* What an operation would do by mistake: write an fp32 element of the buffer. */
static void write_element(cl_mem mem, size_t index)
{
    const float value = 7;
    ck_assert_int_eq(clEnqueueWriteBuffer(harness_queue(), mem, CL_TRUE, index * sizeof value, sizeof value, &value, 0, NULL, NULL),
                     CL_SUCCESS);
}

START_TEST(every_layout_gives_back_what_was_put_in)
{
    for (int layout = 0; layout < HARNESS_LAYOUTS; layout++)
        for (rosace_dtype dtype = ROSACE_F32; dtype <= ROSACE_F16; dtype++) {
            const double *values = harness_random(COUNT, dtype);
            rosace_tensor t = harness_tensor(layout, dtype, BATCH, SEQ, HEADS, DIM, values);
            ck_assert_mem_eq(harness_download(&t), values, COUNT * sizeof *values);
            harness_check("itself", &t, values, (harness_tolerance){0});
            harness_check_untouched(&t);
        }
}
END_TEST

/* One element of a tensor's buffer is written: true when it lies outside the view. Inside it is a wrong value, outside a
 * stray write; either way it is found. */
static bool write_is_found(int layout, const double *values, size_t index)
{
    rosace_tensor t = harness_tensor(layout, ROSACE_F32, BATCH, SEQ, HEADS, DIM, values);
    write_element(t.mem, index);
    const volatile bool outside = memcmp(harness_download(&t), values, COUNT * sizeof *values) == 0;
    if (outside)
        harness_must_fail("was written", harness_check("itself", &t, values, (harness_tolerance){0}));
    else
        harness_must_fail("1 of 120 values", harness_check("itself", &t, values, (harness_tolerance){0}));
    harness_must_fail("was written", harness_check_untouched(&t));
    return outside;
}

START_TEST(stray_writes_are_found)
{
    for (int layout = 0; layout < HARNESS_LAYOUTS; layout++) {
        harness_case("%s", harness_layout_name(layout));
        const double *values = harness_random(COUNT, ROSACE_F32);
        rosace_tensor t = harness_tensor(layout, ROSACE_F32, BATCH, SEQ, HEADS, DIM, values);
        size_t bytes = 0, strays = 0;
        ck_assert_int_eq(clGetMemObjectInfo(t.mem, CL_MEM_SIZE, sizeof bytes, &bytes, NULL), CL_SUCCESS);
        for (size_t i = 0; i < bytes / sizeof(float); i++)
            strays += write_is_found(layout, values, i);
        ck_assert_uint_eq(strays, bytes / sizeof(float) - COUNT);
    }
}
END_TEST

START_TEST(outputs_begin_as_nan_and_count_as_written)
{
    rosace_tensor t = harness_flat(ROSACE_F32, 3, NULL);
    const double *now = harness_download(&t);
    for (int i = 0; i < 3; i++)
        ck_assert(now[i] != now[i]);
    for (size_t i = 0; i < 3; i++)
        write_element(t.mem, t.offset + i);
    harness_check("written", &t, ((double[]){7, 7, 7}), (harness_tolerance){0});
    harness_must_fail("was written", harness_check_untouched(&t));
}
END_TEST

START_TEST(views_of_one_buffer_are_told_apart)
{
    rosace_tensor qkv[3];
    double *q = harness_random(1 * 2 * 3 * 4, ROSACE_F32), *kv = harness_random(1 * 2 * 1 * 4, ROSACE_F32);
    harness_packed_qkv(ROSACE_F32, 1, 2, 3, 1, 4, q, kv, kv, qkv);
    write_element(qkv[0].mem, qkv[1].offset + 2);
    harness_must_fail("was written", harness_check("q", &qkv[0], q, (harness_tolerance){0}));
    harness_writes(&qkv[1]);
    harness_check("q", &qkv[0], q, (harness_tolerance){0});
    kv[2] = 7;
    harness_check("k", &qkv[1], kv, (harness_tolerance){0});
}
END_TEST

START_TEST(calls_are_judged_by_status_text_and_event)
{
    rosace_device_info info;
    harness_ok(rosace_select_device(NULL, &info));
    harness_must_fail("gave ROSACE_INVALID_ARGUMENT", harness_ok(rosace_select_device(NULL, NULL)));
    harness_expect_status(rosace_select_device(NULL, NULL), ROSACE_INVALID_ARGUMENT, "out");
    harness_must_fail("expected \"no such words\"",
                      harness_expect_status(rosace_select_device(NULL, NULL), ROSACE_INVALID_ARGUMENT, "no such words"));
    rosace_tensor t = harness_flat(ROSACE_F32, 3, NULL);
    harness_refused(rosace_select_device(NULL, NULL), event, &t, ROSACE_INVALID_ARGUMENT, "out");
    harness_must_fail("wrote to its event", harness_nothing_enqueued_at(__FILE__, __LINE__, NULL, NULL));
    write_element(t.mem, t.offset);
    harness_must_fail("was written", harness_nothing_enqueued_at(__FILE__, __LINE__, harness_untouched_event, &t));
}
END_TEST

HARNESS_DEVICE_SUITE("harness_device", every_layout_gives_back_what_was_put_in, stray_writes_are_found,
                     outputs_begin_as_nan_and_count_as_written, views_of_one_buffer_are_told_apart,
                     calls_are_judged_by_status_text_and_event)
