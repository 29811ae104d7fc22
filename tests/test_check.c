/* SPDX-License-Identifier: MIT
 * The argument checks every operation goes through. */
#include "harness.h"

#include <rosace/attention.h>
#include <rosace/layers.h>
#include <rosace/matmul.h>

#include "src/check.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_BUFFERS = 16 };
static cl_mem made[MAX_BUFFERS];
static int n_made;

static cl_mem buffer(size_t bytes, cl_mem_flags flags) {
    cl_mem mem;
    ck_assert_int_lt(n_made, MAX_BUFFERS);
    harness_ok(rsc_buffer_create(harness_context(), bytes, flags, NULL, "test buffer", &mem));
    made[n_made++] = mem;
    return mem;
}

static cl_mem sub_buffer(cl_mem parent, size_t origin, size_t bytes) {
    const cl_buffer_region region = {origin, bytes};
    cl_int code;
    ck_assert_int_lt(n_made, MAX_BUFFERS);
    cl_mem mem = clCreateSubBuffer(parent, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    made[n_made++] = mem;
    return mem;
}

/* The smallest origin but 0 that a sub-buffer may have here. */
static size_t sub_buffer_step(void) {
    cl_uint bits = 0;
    ck_assert_int_eq(clGetDeviceInfo(harness_device_info()->device, CL_DEVICE_MEM_BASE_ADDR_ALIGN, sizeof bits, &bits, NULL),
                     CL_SUCCESS);
    return bits / 8;
}

static void release_buffers(void) {
    while (n_made > 0) ck_assert_int_eq(clReleaseMemObject(made[--n_made]), CL_SUCCESS);
}

static rosace_status check(const rosace_tensor *tensor, bool output) {
    return rsc_check_tensor(harness_context(), "q", tensor, ROSACE_F32, output, NULL);
}

START_TEST(sums_and_products_tell_overflow)
{
    size_t out;
    ck_assert(rsc_mul(SIZE_MAX / 3, 3, &out));
    ck_assert(!rsc_mul(SIZE_MAX / 3 + 1, 3, &out));
    ck_assert(!rsc_mul(SIZE_MAX, SIZE_MAX, &out));
    ck_assert(rsc_mul(0, SIZE_MAX, &out) && out == 0);
    ck_assert(rsc_mul(SIZE_MAX, 0, &out) && out == 0);
    ck_assert(rsc_add(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
    ck_assert(!rsc_add(SIZE_MAX, 1, &out));
}
END_TEST

START_TEST(structs_of_every_age_are_read)
{
    typedef struct sample {
        size_t struct_size;
        int64_t old, young;
    } sample;
    const sample defaults = {sizeof(sample), 1, 2};
    sample full = defaults, caller = {offsetof(sample, young), 10, 20};
    harness_ok(rsc_read_struct("desc", &caller, &full, sizeof full));
    ck_assert_int_eq(full.old, 10);
    ck_assert_int_eq(full.young, 2);
    ck_assert_uint_eq(full.struct_size, sizeof full);

    caller.struct_size = sizeof caller;
    harness_ok(rsc_read_struct("desc", &caller, &full, sizeof full));
    ck_assert_int_eq(full.young, 20);

    const size_t bad[] = {0, 1, sizeof(size_t) - 1, sizeof(sample) + 1, SIZE_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        harness_case("struct_size %zu", bad[i]);
        caller.struct_size = bad[i];
        full = defaults;
        harness_expect_status(rsc_read_struct("desc", &caller, &full, sizeof full), ROSACE_INVALID_ARGUMENT,
                              "desc.struct_size");
        ck_assert_int_eq(full.old, 1);
    }
    harness_expect_status(rsc_read_struct("desc", NULL, &full, sizeof full), ROSACE_INVALID_ARGUMENT, "desc = NULL");
}
END_TEST

START_TEST(every_layout_is_a_valid_view)
{
    for (int layout = 0; layout < HARNESS_LAYOUTS; layout++) {
        harness_case("layout %s", harness_layout_name(layout));
        rosace_tensor q = harness_tensor(layout, ROSACE_F32, 2, 5, 3, 16, NULL);
        rsc_range range;
        harness_ok(rsc_check_tensor(harness_context(), "q", &q, ROSACE_F32, true, &range));
        ck_assert_ptr_eq(range.parent, q.mem);
        ck_assert_uint_eq(range.begin, q.offset * 4);
        ck_assert_uint_ge(range.end - range.begin, 2 * 5 * 3 * 16 * 4);
    }
}
END_TEST

START_TEST(a_view_may_touch_the_end_of_its_buffer_and_not_more)
{
    cl_mem mem = buffer(1000 * 4, CL_MEM_READ_WRITE);
    rosace_tensor q = rosace_tensor_bshd(mem, ROSACE_F32, 2, 5, 4, 25);
    harness_ok(check(&q, true));
    q.offset = 1;
    harness_expect_status(check(&q, true), ROSACE_INVALID_ARGUMENT, "ends at byte 4004, its buffer at 4000");
    q = rosace_tensor_bhsd(mem, ROSACE_F32, 2, 5, 4, 25);
    harness_ok(check(&q, true));
    q.stride[0]++;
    harness_expect_status(check(&q, true), ROSACE_INVALID_ARGUMENT, "ends at byte 4004");
    release_buffers();
}
END_TEST

START_TEST(views_that_overflow_are_refused)
{
    cl_mem mem = buffer(4000, CL_MEM_READ_WRITE);
    const size_t huge[] = {SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 4 + 1, (size_t)PTRDIFF_MAX, SIZE_MAX / 16};
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        rosace_tensor q = rosace_tensor_bshd(mem, ROSACE_F32, 1, 5, 4, 25);
        harness_case("offset %zu", huge[i]);
        q.offset = huge[i];
        harness_expect_status(check(&q, false), ROSACE_INVALID_ARGUMENT, "q: ");
        for (size_t axis = 0; axis < 4; axis++) {
            size_t shape[4] = {1, 5, 4, 25};
            harness_case("shape[%zu] = %zu", axis, huge[i]);
            shape[axis] = huge[i];
            q = rosace_tensor_bshd(mem, ROSACE_F32, shape[0], shape[1], shape[2], shape[3]);
            harness_expect_status(check(&q, false), ROSACE_INVALID_ARGUMENT, "q: ");
            q = rosace_tensor_bhsd(mem, ROSACE_F32, shape[0], shape[1], shape[2], shape[3]);
            harness_expect_status(check(&q, false), ROSACE_INVALID_ARGUMENT, "q: ");
        }
    }
    rosace_tensor q = rosace_tensor_bshd(mem, ROSACE_F32, 2, 5, 4, 25);
    q.stride[0] = PTRDIFF_MAX;
    harness_expect_status(check(&q, false), ROSACE_INVALID_ARGUMENT, "q: ");
    release_buffers();
}
END_TEST

START_TEST(what_is_no_view_is_refused_by_name)
{
    cl_mem mem = buffer(4000, CL_MEM_READ_WRITE);
    const rosace_tensor good = rosace_tensor_bshd(mem, ROSACE_F32, 2, 5, 4, 25);
    rosace_tensor q;
    harness_expect_status(check(NULL, false), ROSACE_INVALID_ARGUMENT, "q = NULL");
    q = good;
    q.mem = NULL;
    harness_expect_status(check(&q, false), ROSACE_INVALID_ARGUMENT, "q = NULL: must be a buffer");
    q = good;
    q.dtype = ROSACE_F16;
    harness_expect_status(check(&q, false), ROSACE_INVALID_ARGUMENT, "q.dtype = 1 (ROSACE_F16): must be ROSACE_F32");
    q = good;
    q.dtype = (rosace_dtype)7;
    harness_expect_status(check(&q, false), ROSACE_INVALID_ARGUMENT, "q.dtype = 7");
    harness_expect_status(rsc_check_tensor(harness_context(), "q", &q, q.dtype, false, NULL), ROSACE_INVALID_ARGUMENT,
                          "q.dtype = 7");
    for (int axis = 0; axis < 4; axis++) {
        harness_case("axis %d", axis);
        q = good;
        q.shape[axis] = 0;
        harness_expect_status(check(&q, false), ROSACE_INVALID_ARGUMENT, "= 0");
        q = good;
        q.stride[axis] = -1;
        harness_expect_status(check(&q, false), ROSACE_INVALID_ARGUMENT, "= -1");
    }
    q = good;
    q.stride[3] = 2;
    harness_expect_status(check(&q, false), ROSACE_INVALID_ARGUMENT, "q.stride[3] = 2: must be 1");
    q = good;
    q.stride[3] = 0;
    harness_expect_status(check(&q, false), ROSACE_INVALID_ARGUMENT, "q.stride[3] = 0: must be 1");
    release_buffers();
}
END_TEST

START_TEST(buffers_must_allow_what_is_done_with_them)
{
    rosace_tensor q = rosace_tensor_bshd(buffer(4000, CL_MEM_READ_ONLY), ROSACE_F32, 2, 5, 4, 25);
    harness_ok(check(&q, false));
    harness_expect_status(check(&q, true), ROSACE_INVALID_ARGUMENT, "CL_MEM_READ_ONLY");
    q.mem = buffer(4000, CL_MEM_WRITE_ONLY);
    harness_ok(check(&q, true));
    harness_expect_status(check(&q, false), ROSACE_INVALID_ARGUMENT, "CL_MEM_WRITE_ONLY");
    release_buffers();
}
END_TEST

START_TEST(what_is_written_in_place_is_read_too)
{
    rosace_context *context = harness_context();
    cl_command_queue queue = harness_queue();
    const cl_mem mem = buffer(4000, CL_MEM_WRITE_ONLY), readable = buffer(4000, CL_MEM_READ_WRITE);
    const char *const why = "is read, but its buffer is CL_MEM_WRITE_ONLY";
    const rosace_tensor x = rosace_tensor_bshd(mem, ROSACE_F32, 1, 5, 1, 16);

    rosace_rope_desc rope = ROSACE_ROPE_DESC_DEFAULT;
    rope.head_dim = 16;
    rosace_rope_args turn = ROSACE_ROPE_ARGS_DEFAULT;
    turn.k = &x;
    harness_expect_status(rosace_rope(context, queue, &rope, &turn, 0, NULL, NULL), ROSACE_INVALID_ARGUMENT, why);
    harness_expect_status(rosace_sinusoidal_add(context, queue, &x, &turn.positions, 1.0f, 0, NULL, NULL),
                          ROSACE_INVALID_ARGUMENT, why);
    rosace_softmax_args softmax = ROSACE_SOFTMAX_ARGS_DEFAULT;
    softmax.scores = x;
    harness_expect_status(rosace_masked_softmax(context, queue, &softmax, 0, NULL, NULL), ROSACE_INVALID_ARGUMENT, why);
    const rosace_array to = {.mem = mem}, from = {.mem = readable};
    harness_expect_status(rosace_add(context, queue, to, from, 8, 0, NULL, NULL), ROSACE_INVALID_ARGUMENT, why);
    rosace_matmul_args product = ROSACE_MATMUL_ARGS_DEFAULT;
    product.a = (rosace_matrix){.mem = readable, .rows = 4, .cols = 4};
    product.b = (rosace_matrix){.mem = readable, .offset = 16, .rows = 4, .cols = 4};
    product.c = (rosace_matrix){.mem = mem, .rows = 4, .cols = 4};
    product.beta = 1.0f;
    harness_expect_status(rosace_matmul(context, queue, &product, 0, NULL, NULL), ROSACE_INVALID_ARGUMENT, why);
    release_buffers();
}
END_TEST

START_TEST(buffers_of_another_context_are_refused)
{
    cl_int code;
    cl_device_id device = harness_device_info()->device;
    cl_context other = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    cl_mem mem = clCreateBuffer(other, CL_MEM_READ_WRITE, 4000, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    rosace_tensor q = rosace_tensor_bshd(mem, ROSACE_F32, 2, 5, 4, 25);
    harness_expect_status(check(&q, false), ROSACE_INVALID_ARGUMENT, "q: belongs to another OpenCL context");
    harness_expect_status(rsc_check_array(harness_context(), "w", mem, 0, 1, 4, false, NULL), ROSACE_INVALID_ARGUMENT,
                          "w: belongs to another OpenCL context");
    clReleaseMemObject(mem);
    clReleaseContext(other);
}
END_TEST

START_TEST(outputs_must_not_overlap_themselves)
{
    cl_mem mem = buffer(4000, CL_MEM_READ_WRITE);
    const rosace_tensor good = rosace_tensor_bshd(mem, ROSACE_F32, 2, 5, 4, 25);
    for (int axis = 0; axis < 3; axis++) {
        harness_case("axis %d", axis);
        rosace_tensor q = good;
        q.stride[axis] = 0; /* shared rows are fine to read */
        harness_ok(check(&q, false));
        harness_expect_status(check(&q, true), ROSACE_INVALID_ARGUMENT, "overlap itself");
        q = good;
        q.stride[axis]--;
        harness_ok(check(&q, false));
        harness_expect_status(check(&q, true), ROSACE_INVALID_ARGUMENT, "overlap itself");
        q.shape[axis] = 1; /* the stride of an axis with one element counts for nothing */
        harness_ok(check(&q, true));
    }
    release_buffers();
}
END_TEST

START_TEST(arrays_fit_their_buffer)
{
    cl_mem mem = buffer(400, CL_MEM_READ_WRITE);
    rosace_context *context = harness_context();
    rsc_range range;
    harness_ok(rsc_check_array(context, "w", mem, 40, 60, 4, false, &range));
    ck_assert_uint_eq(range.begin, 160);
    ck_assert_uint_eq(range.end, 400);
    harness_ok(rsc_check_array(context, "w", mem, 100, 0, 4, false, NULL));
    harness_expect_status(rsc_check_array(context, "w", mem, 41, 60, 4, false, NULL), ROSACE_INVALID_ARGUMENT, "offset 41 + 60");
    harness_expect_status(rsc_check_array(context, "w", mem, SIZE_MAX, 1, 4, false, NULL), ROSACE_INVALID_ARGUMENT, "w: ");
    harness_expect_status(rsc_check_array(context, "w", mem, 1, SIZE_MAX, 4, false, NULL), ROSACE_INVALID_ARGUMENT, "w: ");
    harness_expect_status(rsc_check_array(context, "w", mem, 0, SIZE_MAX / 2, 4, false, NULL), ROSACE_INVALID_ARGUMENT, "w: ");
    harness_expect_status(rsc_check_array(context, "w", NULL, 0, 1, 4, false, NULL), ROSACE_INVALID_ARGUMENT, "w = NULL");
    cl_mem read_only = buffer(400, CL_MEM_READ_ONLY), write_only = buffer(400, CL_MEM_WRITE_ONLY);
    harness_ok(rsc_check_array(context, "w", read_only, 0, 100, 4, false, NULL));
    harness_ok(rsc_check_array(context, "w", write_only, 0, 100, 4, true, NULL));
    harness_expect_status(rsc_check_array(context, "w", read_only, 0, 100, 4, true, NULL), ROSACE_INVALID_ARGUMENT,
                          "CL_MEM_READ_ONLY");
    harness_expect_status(rsc_check_array(context, "w", write_only, 0, 100, 4, false, NULL), ROSACE_INVALID_ARGUMENT,
                          "CL_MEM_WRITE_ONLY");
    release_buffers();
}
END_TEST

START_TEST(sub_buffers_are_seen_through)
{
    const size_t step = sub_buffer_step();
    cl_mem parent = buffer(4 * step, CL_MEM_READ_WRITE);
    cl_mem first = sub_buffer(parent, step, step), second = sub_buffer(parent, 2 * step, step);
    rosace_context *context = harness_context();
    rsc_range whole, a, b;
    harness_ok(rsc_check_array(context, "whole", parent, 0, 4 * step, 1, false, &whole));
    harness_ok(rsc_check_array(context, "a", first, 0, step, 1, false, &a));
    harness_ok(rsc_check_array(context, "b", second, 0, step, 1, false, &b));
    harness_expect_status(rsc_check_array(context, "a", first, 1, step, 1, false, NULL), ROSACE_INVALID_ARGUMENT, "do not fit");
    ck_assert_ptr_eq(a.parent, parent);
    ck_assert_uint_eq(a.begin, step);
    ck_assert_uint_eq(b.end, 3 * step);
    harness_ok(rsc_check_disjoint("a", &a, "b", &b));
    harness_expect_status(rsc_check_disjoint("a", &a, "whole", &whole), ROSACE_INVALID_ARGUMENT, "a overlaps whole");

    rosace_tensor x = rosace_tensor_bshd(first, ROSACE_F32, 1, 1, 1, step / 4), y = x;
    y.mem = second;
    harness_ok(rsc_check_disjoint_tensors(context, "x", &x, "y", &y));
    y.mem = parent;
    harness_ok(rsc_check_disjoint_tensors(context, "x", &x, "y", &y));
    y.offset = step / 4 * 2 - 1;
    harness_expect_status(rsc_check_disjoint_tensors(context, "x", &x, "y", &y), ROSACE_INVALID_ARGUMENT, "x overlaps y");
    release_buffers();
}
END_TEST

/* ---- Interleaved views ----------------------------------------------------------------------------------------- */

static rosace_status disjoint(const rosace_tensor *a, const rosace_tensor *b) {
    rosace_status ab = rsc_check_disjoint_tensors(harness_context(), "a", a, "b", b);
    rosace_status ba = rsc_check_disjoint_tensors(harness_context(), "b", b, "a", a);
    ck_assert_int_eq(ab, ba);
    return ab;
}

/* Whether two small views share a byte, by looking at all of them. */
static bool share_a_byte(const rosace_tensor *a, const rosace_tensor *b, size_t buffer_bytes) {
    unsigned char *seen = harness_alloc(buffer_bytes, 1);
    const rosace_tensor *views[] = {a, b};
    for (int which = 0; which < 2; which++) {
        const rosace_tensor *t = views[which];
        const size_t size = rosace_dtype_size(t->dtype);
        for (size_t i = 0; i < t->shape[0] * t->shape[1] * t->shape[2] * t->shape[3]; i++) {
            const size_t d = i % t->shape[3], h = i / t->shape[3] % t->shape[2];
            const size_t s = i / t->shape[3] / t->shape[2] % t->shape[1], n = i / t->shape[3] / t->shape[2] / t->shape[1];
            const size_t at = t->offset + n * (size_t)t->stride[0] + s * (size_t)t->stride[1] + h * (size_t)t->stride[2] + d;
            for (size_t byte = at * size; byte < (at + 1) * size; byte++) {
                if (which == 1 && seen[byte]) return true;
                if (which == 0) seen[byte] = 1;
            }
        }
    }
    return false;
}

START_TEST(slices_of_packed_layouts_are_told_apart)
{
    enum { B = 2, S = 5, H = 4, KV = 2, D = 8 };
    cl_mem mem = buffer(B * S * 3 * H * D * 4, CL_MEM_READ_WRITE);
    const rosace_tensor bshd = rosace_tensor_bshd(mem, ROSACE_F32, B, S, H, D);
    const struct {
        const char *name;
        ptrdiff_t stride[3];
        size_t slice, kv_heads;
    } layouts[] = {
        {"[batch, seq, 3, head, d]", {S * 3 * H * D, 3 * H * D, D}, H * D, H},
        {"[batch, seq, head + 2 kv_head, d]", {S * (H + 2 * KV) * D, (H + 2 * KV) * D, D}, H * D, KV},
        {"[batch, seq, head, 3, d]", {S * H * 3 * D, H * 3 * D, 3 * D}, D, H},
        {"[batch, 3, head, seq, d]", {3 * H * S * D, D, S * D}, H * S * D, H},
        {"[3, batch, seq, head, d]", {S * H * D, H * D, D}, B * S * H * D, H},
        {"[seq, batch, 3, head, d]", {3 * H * D, B * 3 * H * D, D}, H * D, H},
    };
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        for (size_t batch = 1; batch <= B; batch++) {
            for (size_t seq = 1; seq <= S; seq += S - 1) {
                harness_case("%s, batch %zu, seq %zu", layouts[i].name, batch, seq);
                rosace_tensor q = bshd, k;
                memcpy(q.stride, layouts[i].stride, sizeof layouts[i].stride);
                q.shape[0] = batch;
                q.shape[1] = seq;
                k = q;
                k.shape[2] = layouts[i].kv_heads;
                k.offset = layouts[i].slice;
                rosace_tensor v = k;
                v.offset += layouts[i].kv_heads == KV ? KV * D : layouts[i].slice;
                ck_assert_int_eq(disjoint(&q, &k), ROSACE_OK);
                ck_assert_int_eq(disjoint(&q, &v), ROSACE_OK);
                ck_assert_int_eq(disjoint(&k, &v), ROSACE_OK);
                k.offset--;
                /* one element to the left meets q's last, unless a gap of the short view lies there */
                const bool meets = share_a_byte(&q, &k, B * S * 3 * H * D * 4);
                ck_assert_int_eq(disjoint(&q, &k), meets ? ROSACE_INVALID_ARGUMENT : ROSACE_OK);
                ck_assert_int_eq(disjoint(&q, &q), ROSACE_INVALID_ARGUMENT);
            }
        }
    }
    release_buffers();
}
END_TEST

START_TEST(no_overlap_is_ever_missed)
{
    enum { BYTES = 4096 };
    cl_mem mem = buffer(BYTES, CL_MEM_READ_WRITE);
    int apart = 0, interleaved = 0;
    const int rounds = harness_small() ? 2000 : 20000;
    for (int round = 0; round < rounds; round++) {
        rosace_tensor t[2];
        const ptrdiff_t unit = (ptrdiff_t)harness_random_integer(1, 4);
        for (int i = 0; i < 2; i++) {
            t[i] = rosace_tensor_bshd(mem, harness_random_integer(0, 3) ? ROSACE_F32 : ROSACE_F16, 1, 1, 1, 1);
            t[i].offset = (size_t)harness_random_integer(0, 40);
            for (int axis = 0; axis < 3; axis++) {
                t[i].shape[axis] = (size_t)harness_random_integer(1, 4);
                t[i].stride[axis] = unit * (ptrdiff_t)harness_random_integer(0, 12);
                /* half of the strides alike, so that some pairs interleave */
                if (i == 1 && harness_random_integer(0, 1)) t[1].stride[axis] = t[0].stride[axis];
            }
            t[i].shape[3] = (size_t)harness_random_integer(1, 4);
        }
        rsc_range range[2];
        for (int i = 0; i < 2; i++)
            harness_ok(rsc_check_tensor(harness_context(), "t", &t[i], t[i].dtype, false, &range[i]));
        if (disjoint(&t[0], &t[1]) != ROSACE_OK) continue;
        apart++;
        interleaved += range[0].begin < range[1].end && range[1].begin < range[0].end;
        ck_assert_msg(!share_a_byte(&t[0], &t[1], BYTES), "round %d: an overlap was missed", round);
    }
    ck_assert_int_gt(apart, rounds / 50);
    ck_assert_int_gt(interleaved, rounds / 200);
    release_buffers();
}
END_TEST

START_TEST(the_same_view_is_recognised)
{
    cl_mem mem = buffer(4000, CL_MEM_READ_WRITE);
    const rosace_tensor a = rosace_tensor_bshd(mem, ROSACE_F32, 1, 5, 4, 25);
    rosace_tensor b = a;
    ck_assert(rsc_same_tensor(&a, &b));
    b.stride[0] = 77; /* one batch: its stride is never used */
    ck_assert(rsc_same_tensor(&a, &b));
    b = a;
    b.stride[1]++;
    ck_assert(!rsc_same_tensor(&a, &b));
    b = a;
    b.offset++;
    ck_assert(!rsc_same_tensor(&a, &b));
    b = a;
    b.shape[1]--;
    ck_assert(!rsc_same_tensor(&a, &b));
    b = a;
    b.mem = buffer(4000, CL_MEM_READ_WRITE);
    ck_assert(!rsc_same_tensor(&a, &b));
    release_buffers();
}
END_TEST

HARNESS_DEVICE_SUITE("check", sums_and_products_tell_overflow, structs_of_every_age_are_read, every_layout_is_a_valid_view,
                     a_view_may_touch_the_end_of_its_buffer_and_not_more, views_that_overflow_are_refused,
                     what_is_no_view_is_refused_by_name, buffers_must_allow_what_is_done_with_them,
                     what_is_written_in_place_is_read_too,
                     buffers_of_another_context_are_refused, outputs_must_not_overlap_themselves, arrays_fit_their_buffer,
                     sub_buffers_are_seen_through, slices_of_packed_layouts_are_told_apart, no_overlap_is_ever_missed,
                     the_same_view_is_recognised)
