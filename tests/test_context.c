/* SPDX-License-Identifier: MIT
 * Contexts: made, adopted, out of memory, used by several threads. */
#include "harness.h"

#include <rosace/layers.h>

#include "src/context.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *count_alloc(void *user, size_t bytes);
static void count_free(void *user, void *memory);

/* An allocator that counts, and fails once when asked to. */
typedef struct counter {
    long live, calls, fail_at; /* fail_at: the call that gets NULL, -1 for none */
} counter;

static void *count_alloc(void *user, size_t bytes) {
    counter *c = user;
    if (c->calls++ == c->fail_at) return NULL;
    c->live++;
    return malloc(bytes);
}

static void count_free(void *user, void *memory) {
    counter *c = user;
    c->live -= memory != NULL;
    free(memory);
}

static rosace_context_desc plain_desc(void) {
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    desc.cache_dir = "";
    return desc;
}

/* x[i] += y[i] on 4 numbers, with everything an operation needs: program, kernel, plan, buffers. */
static rosace_status add_four(rosace_context *context, cl_command_queue queue) {
    const float x[4] = {1, 2, 3, 4}, y[4] = {10, 20, 30, 40};
    float got[4] = {0};
    cl_mem mem[2] = {NULL, NULL};
    rosace_status status = rsc_buffer_create(context, sizeof x, CL_MEM_READ_WRITE, x, "x", &mem[0]);
    if (!status) status = rsc_buffer_create(context, sizeof y, CL_MEM_READ_ONLY, y, "y", &mem[1]);
    if (!status)
        status = rosace_add(context, queue, (rosace_array){mem[0], 0, ROSACE_F32}, (rosace_array){mem[1], 0, ROSACE_F32}, 4,
                            0, NULL, NULL);
    if (!status) {
        ck_assert_int_eq(clEnqueueReadBuffer(queue, mem[0], CL_TRUE, 0, sizeof got, got, 0, NULL, NULL), CL_SUCCESS);
        for (int i = 0; i < 4; i++) ck_assert_float_eq(got[i], 11.0f * (float)(i + 1));
    }
    for (int i = 0; i < 2; i++)
        if (mem[i]) ck_assert_int_eq(clReleaseMemObject(mem[i]), CL_SUCCESS);
    return status;
}

static cl_command_queue queue_on(cl_context context, cl_device_id device) {
    cl_int code;
    cl_command_queue queue = clCreateCommandQueue(context, device, 0, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    return queue;
}

static cl_uint references(cl_context context) {
    cl_uint count = 0;
    ck_assert_int_eq(clGetContextInfo(context, CL_CONTEXT_REFERENCE_COUNT, sizeof count, &count, NULL), CL_SUCCESS);
    return count;
}

/* Drivers let go of finished commands in a thread of their own, so the count may take a moment to come down. */
static void await_references(cl_context context, cl_uint expected) {
    const struct timespec moment = {0, 1000000};
    for (int i = 0; i < 5000 && references(context) != expected; i++) nanosleep(&moment, NULL);
    ck_assert_uint_eq(references(context), expected);
}

START_TEST(arguments_are_checked)
{
    rosace_context *context = harness_context();
    rosace_context_desc desc = plain_desc();
    harness_expect_status(rosace_context_create(&desc, NULL), ROSACE_INVALID_ARGUMENT, "out = NULL");
    harness_expect_status(rosace_context_create(NULL, &context), ROSACE_INVALID_ARGUMENT, "desc = NULL");
    ck_assert_ptr_null(context);
    desc.struct_size = 0;
    harness_expect_status(rosace_context_create(&desc, &context), ROSACE_INVALID_ARGUMENT, "desc.struct_size = 0");
    desc = plain_desc();
    desc.device = "no such device";
    context = harness_context();
    harness_expect_status(rosace_context_create(&desc, &context), ROSACE_NO_DEVICE, "no such device");
    ck_assert_ptr_null(context);
    desc = plain_desc();
    desc.allocator.alloc = count_alloc;
    harness_expect_status(rosace_context_create(&desc, &context), ROSACE_INVALID_ARGUMENT, "both or neither");
    desc = plain_desc();
    desc.cl_device = harness_device_info()->device;
    harness_expect_status(rosace_context_create(&desc, &context), ROSACE_INVALID_ARGUMENT, "desc.cl_device");

    rosace_context_destroy(NULL);
    context = NULL;
    rosace_context_destroy(&context);
    ck_assert_ptr_null(rosace_context_cl(NULL));
    ck_assert_ptr_null(rosace_context_cl_device(NULL));
    ck_assert_ptr_null(rosace_context_device_info(NULL));
}
END_TEST

START_TEST(a_shorter_descriptor_takes_defaults)
{
    rosace_context *context;
    rosace_context_desc desc = plain_desc();
    desc.allocator = (rosace_allocator){count_alloc, NULL, NULL}; /* not reached */
    desc.struct_size = offsetof(rosace_context_desc, allocator);
    harness_ok(rosace_context_create(&desc, &context));
    rosace_context_destroy(&context);
    ck_assert_ptr_null(context);
}
END_TEST

START_TEST(all_memory_comes_from_the_allocator_and_goes_back)
{
    counter c = {.fail_at = -1};
    rosace_context *context;
    rosace_context_desc desc = plain_desc();
    desc.allocator = (rosace_allocator){count_alloc, count_free, &c};
    harness_ok(rosace_context_create(&desc, &context));
    ck_assert_int_gt(c.live, 0);
    cl_command_queue queue = queue_on(rosace_context_cl(context), rosace_context_cl_device(context));
    harness_ok(add_four(context, queue));
    harness_ok(add_four(context, queue));
    clReleaseCommandQueue(queue);
    rosace_context_destroy(&context);
    ck_assert_int_eq(c.live, 0);
}
END_TEST

START_TEST(running_out_of_memory_anywhere_is_survived)
{
    bool failed = true;
    for (long fail_at = 0; failed; fail_at++) {
        harness_case("allocation %ld fails", fail_at);
        counter c = {.fail_at = fail_at};
        rosace_context *context;
        rosace_context_desc desc = plain_desc();
        desc.cache_dir = NULL; /* the cache on disk allocates, too */
        desc.allocator = (rosace_allocator){count_alloc, count_free, &c};
        rosace_status status = rosace_context_create(&desc, &context);
        if (!status) {
            cl_command_queue queue = queue_on(rosace_context_cl(context), rosace_context_cl_device(context));
            status = add_four(context, queue);
            if (status) harness_ok(add_four(context, queue)); /* only that one call failed */
            clReleaseCommandQueue(queue);
        } else {
            ck_assert_ptr_null(context);
        }
        rosace_context_destroy(&context);
        ck_assert_int_eq(c.live, 0);
        failed = c.calls > fail_at;
        if (status && status != ROSACE_OUT_OF_MEMORY) ck_abort_msg("%s: %s", rosace_status_name(status), rosace_last_error());
        if (!failed) ck_assert_int_eq(status, ROSACE_OK);
    }
}
END_TEST

START_TEST(an_adopted_context_is_retained)
{
    cl_int code;
    cl_device_id device = harness_device_info()->device;
    cl_context cl = clCreateContext(NULL, 1, &device, NULL, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    const cl_uint before = references(cl);
    rosace_context *context;
    rosace_context_desc desc = plain_desc();
    desc.cl_context = cl;
    desc.device = "ignored, when a context is given";
    for (int named = 0; named < 2; named++) {
        desc.cl_device = named ? device : NULL;
        harness_ok(rosace_context_create(&desc, &context));
        ck_assert_ptr_eq(rosace_context_cl(context), cl);
        ck_assert_ptr_eq(rosace_context_cl_device(context), device);
        ck_assert_int_eq(memcmp(rosace_context_device_info(context), harness_device_info(), sizeof(rosace_device_info)), 0);
        ck_assert_uint_gt(references(cl), before);
        cl_command_queue queue = queue_on(cl, device);
        harness_ok(add_four(context, queue));
        clReleaseCommandQueue(queue);
        rosace_context_destroy(&context);
        await_references(cl, before);
    }
    desc.cl_device = (cl_device_id)(void *)&code;
    harness_expect_status(rosace_context_create(&desc, &context), ROSACE_INVALID_ARGUMENT, "is none of the 1 devices");
    await_references(cl, before);
    clReleaseContext(cl);
}
END_TEST

START_TEST(an_adopted_context_may_have_several_devices)
{
    const cl_device_partition_property properties[] = {CL_DEVICE_PARTITION_EQUALLY, 1, 0};
    cl_device_id parent = harness_device_info()->device, parts[64];
    cl_uint most = 0, count = 0;
    cl_int code = clGetDeviceInfo(parent, CL_DEVICE_PARTITION_MAX_SUB_DEVICES, sizeof most, &most, NULL);
    if (code || most < 2 || harness_device_info()->compute_units > 64) harness_skip("the device cannot be partitioned");
    code = clCreateSubDevices(parent, properties, 64, parts, &count);
    if (code || count < 2) harness_skip("the device cannot be partitioned equally (%d)", code);

    cl_context cl = clCreateContext(NULL, 2, parts, NULL, NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    cl_uint listed = 0;
    ck_assert_int_eq(clGetContextInfo(cl, CL_CONTEXT_NUM_DEVICES, sizeof listed, &listed, NULL), CL_SUCCESS);
    if (listed != 2) { /* PoCL 3.1 lists the parent alone */
        clReleaseContext(cl);
        harness_skip("the driver lists %u devices for a context on 2 sub-devices", (unsigned)listed);
    }
    rosace_context *context;
    rosace_context_desc desc = plain_desc();
    desc.cl_context = cl;
    desc.cache_dir = NULL; /* binaries of programs with several devices */
    harness_expect_status(rosace_context_create(&desc, &context), ROSACE_INVALID_ARGUMENT, "has 2 devices");
    desc.cl_device = parent;
    harness_expect_status(rosace_context_create(&desc, &context), ROSACE_INVALID_ARGUMENT, "is none of the 2 devices");
    for (int which = 0; which < 4; which++) { /* twice each: from source, from disk */
        harness_case("sub-device %d", which % 2);
        desc.cl_device = parts[which % 2];
        harness_ok(rosace_context_create(&desc, &context));
        ck_assert_uint_eq(rosace_context_device_info(context)->platform_index, UINT_MAX);
        cl_command_queue queue = queue_on(cl, parts[which % 2]), other = queue_on(cl, parts[1 - which % 2]);
        harness_ok(add_four(context, queue));
        harness_expect_status(add_four(context, other), ROSACE_INVALID_ARGUMENT, "belongs to another device");
        clReleaseCommandQueue(other);
        clReleaseCommandQueue(queue);
        rosace_context_destroy(&context);
    }
    clReleaseContext(cl);
    for (cl_uint i = 0; i < count; i++) clReleaseDevice(parts[i]);
}
END_TEST

typedef struct log_lines {
    int count;
    bool broken; /* a line with a line end in it, or an empty one */
    char last[256];
} log_lines;

static void keep_log(void *user, rosace_log_level level, const char *message) {
    log_lines *lines = user;
    lines->count++;
    if (level > ROSACE_LOG_DEBUG || !*message || strchr(message, '\n')) lines->broken = true;
    snprintf(lines->last, sizeof lines->last, "%s", message);
}

START_TEST(the_log_goes_to_the_callback)
{
    log_lines lines = {0};
    rosace_context *context;
    rosace_context_desc desc = plain_desc();
    desc.log = keep_log;
    desc.log_user = &lines;
    harness_ok(rosace_context_create(&desc, &context));
    ck_assert_int_ge(lines.count, 1);
    ck_assert_ptr_nonnull(strstr(lines.last, rosace_context_device_info(context)->name));
    rsc_log(context, ROSACE_LOG_DEBUG, "%d lines\nin %s", 2, "one");
    ck_assert_str_eq(lines.last, "2 lines in one");
    ck_assert(!lines.broken);
    rosace_context_destroy(&context);
}
END_TEST

START_TEST(buffers_have_limits)
{
    cl_mem mem = (cl_mem)(void *)&mem;
    const uint64_t most = harness_device_info()->max_alloc_bytes;
    if (most < SIZE_MAX) {
        harness_expect_status(rsc_buffer_create(harness_context(), (size_t)most + 1, CL_MEM_READ_WRITE, NULL, "workspace", &mem),
                              ROSACE_OUT_OF_MEMORY, "workspace");
        ck_assert_ptr_null(mem);
    }
    harness_ok(rsc_buffer_create(harness_context(), 0, CL_MEM_READ_WRITE, "", "nothing", &mem));
    size_t bytes = 0;
    clGetMemObjectInfo(mem, CL_MEM_SIZE, sizeof bytes, &bytes, NULL);
    ck_assert_uint_ge(bytes, 1);
    clReleaseMemObject(mem);
}
END_TEST

START_TEST(words_for_statuses_and_errors)
{
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", ROSACE_VERSION_MAJOR, ROSACE_VERSION_MINOR, ROSACE_VERSION_PATCH);
    ck_assert_str_eq(rosace_version(), version);
    ck_assert_str_eq(rosace_status_name(ROSACE_OK), "ROSACE_OK");
    for (int status = ROSACE_IO_ERROR; status <= ROSACE_INVALID_ARGUMENT; status++)
        ck_assert_int_eq(strncmp(rosace_status_name((rosace_status)status), "ROSACE_", 7), 0);
    ck_assert_str_eq(rosace_status_name((rosace_status)1), "unknown status");
    ck_assert_uint_eq(rosace_dtype_size(ROSACE_F32), 4);
    ck_assert_uint_eq(rosace_dtype_size(ROSACE_F16), 2);
    ck_assert_uint_eq(rosace_dtype_size((rosace_dtype)9), 0);

    ck_assert_int_eq(rsc_fail_cl(CL_OUT_OF_HOST_MEMORY, "call"), ROSACE_OUT_OF_MEMORY);
    ck_assert_int_eq(rsc_fail_cl(CL_MEM_OBJECT_ALLOCATION_FAILURE, "call"), ROSACE_OUT_OF_MEMORY);
    ck_assert_int_eq(rsc_fail_cl(CL_INVALID_VALUE, "call %d", 7), ROSACE_OPENCL_ERROR);
    ck_assert_str_eq(rosace_last_error(), "call 7: CL_INVALID_VALUE (-30)");
    rsc_fail_cl(-9999, "call");
    ck_assert_str_eq(rosace_last_error(), "call: unknown OpenCL error (-9999)");
    rsc_fail(ROSACE_IO_ERROR, "before: %s", rosace_last_error()); /* the old line may be part of the new one */
    ck_assert_str_eq(rosace_last_error(), "before: call: unknown OpenCL error (-9999)");

    char *longest = harness_alloc(10001, 1);
    for (int i = 0; i < 10000; i += 2) memcpy(longest + i, "\xC3\xA4", 2); /* two bytes a letter: never half of one */
    rsc_fail(ROSACE_IO_ERROR, "%s", longest);
    const size_t length = strlen(rosace_last_error());
    ck_assert_uint_lt(length, 4096);
    ck_assert_uint_gt(length, 4000);
    ck_assert_str_eq(rosace_last_error() + length - 3, "...");
    ck_assert_uint_eq((length - 3) % 2, 0);
}
END_TEST

/* ---- Threads --------------------------------------------------------------------------------------------------- */

enum { THREADS = 4, KEYS = 3, ROUNDS = 500 };

static void *read_fresh_error(void *out) {
    *(bool *)out = rosace_last_error()[0] == '\0';
    rsc_fail(ROSACE_IO_ERROR, "of the other thread");
    return NULL;
}

START_TEST(each_thread_has_its_own_last_error)
{
    pthread_t thread;
    bool fresh = false;
    rsc_fail(ROSACE_IO_ERROR, "of this thread");
    ck_assert_int_eq(pthread_create(&thread, NULL, read_fresh_error, &fresh), 0);
    pthread_join(thread, NULL);
    ck_assert(fresh);
    ck_assert_str_eq(rosace_last_error(), "of this thread");
    harness_ok(rosace_select_device(NULL, &(rosace_device_info){0})); /* success keeps the line */
    ck_assert_str_eq(rosace_last_error(), "of this thread");
}
END_TEST

/* A plan that knows when two threads hold it. */
typedef struct fake_plan {
    rosace_context *owner;
    int uses, holders;
} fake_plan;
typedef struct fake_desc {
    int key;
    int *made; /* per key */
    int failures_left;
} fake_desc;

static rosace_status make_fake(rosace_context *context, const void *desc, void **plan) {
    fake_desc *d = (fake_desc *)(uintptr_t)desc;
    if (d->failures_left > 0) {
        d->failures_left--;
        return rsc_fail(ROSACE_IO_ERROR, "made to fail");
    }
    d->made[d->key]++; /* under the entry's lock */
    fake_plan *made = rsc_calloc(context, 1, sizeof *made);
    if (!made) return rsc_fail(ROSACE_OUT_OF_MEMORY, "no memory");
    made->owner = context;
    *plan = made;
    return ROSACE_OK;
}

static rosace_context *fake_owner;
static int fake_dropped;
static void drop_fake(void *plan) {
    fake_dropped++;
    rsc_free(((fake_plan *)plan)->owner, plan);
}

static void *use_plans(void *made) {
    for (int i = 0; i < ROUNDS; i++) {
        fake_desc desc = {i % KEYS, made, 0};
        rsc_plan_entry *entry;
        void *plan;
        if (rsc_plan_acquire(fake_owner, "fake", &desc.key, sizeof desc.key, make_fake, drop_fake, &desc, &entry, &plan))
            return "acquire failed";
        fake_plan *p = plan;
        if (p->holders++ != 0) return "two threads hold one plan";
        p->uses++;
        p->holders--;
        rsc_plan_release(entry);
    }
    return NULL;
}

START_TEST(plans_are_made_once_and_held_by_one)
{
    rosace_context_desc context_desc = plain_desc();
    harness_ok(rosace_context_create(&context_desc, &fake_owner));
    int made[KEYS] = {0};
    rsc_plan_entry *entry;
    void *plan;
    fake_desc failing = {0, made, 1};
    harness_expect_status(rsc_plan_acquire(fake_owner, "fake", &failing.key, sizeof failing.key, make_fake, drop_fake, &failing,
                                           &entry, &plan),
                          ROSACE_IO_ERROR, "made to fail");
    ck_assert_ptr_null(entry);

    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, use_plans, made), 0);
    for (int i = 0; i < THREADS; i++) {
        void *problem;
        pthread_join(threads[i], &problem);
        ck_assert_msg(!problem, "%s", (const char *)problem);
    }
    for (int key = 0; key < KEYS; key++) ck_assert_int_eq(made[key], 1);

    fake_desc other = {1, made, 0};
    harness_ok(rsc_plan_acquire(fake_owner, "other kind", &other.key, sizeof other.key, make_fake, drop_fake, &other, &entry,
                                &plan));
    ck_assert_int_eq(((fake_plan *)plan)->uses, 0);
    rsc_plan_release(entry);
    fake_dropped = 0;
    rosace_context_destroy(&fake_owner);
    ck_assert_int_eq(fake_dropped, KEYS + 1);
}
END_TEST

/* Ever new keys, as from a length in a descriptor: the number of plans stays in bounds, and one in use stays. */
START_TEST(plans_do_not_pile_up)
{
    enum { MANY = 3 * RSC_MAX_PLANS };
    rosace_context_desc context_desc = plain_desc();
    harness_ok(rosace_context_create(&context_desc, &fake_owner));
    int made[MANY] = {0};
    fake_dropped = 0;
    fake_desc first = {0, made, 0};
    rsc_plan_entry *held, *entry;
    void *kept, *plan;
    harness_ok(rsc_plan_acquire(fake_owner, "fake", &first.key, sizeof first.key, make_fake, drop_fake, &first, &held, &kept));
    ((fake_plan *)kept)->uses = 77;
    for (int key = 1; key < MANY; key++)
        for (int often = 1; often >= 0; often--) { /* key 1 before every other: used often, so never the longest unused */
            fake_desc desc = {often ? 1 : key, made, 0};
            harness_ok(rsc_plan_acquire(fake_owner, "fake", &desc.key, sizeof desc.key, make_fake, drop_fake, &desc, &entry,
                                        &plan));
            rsc_plan_release(entry);
        }
    ck_assert_int_eq(fake_dropped, MANY - RSC_MAX_PLANS);
    ck_assert_int_eq(made[1], 1);
    ck_assert_int_eq(((fake_plan *)kept)->uses, 77);
    rsc_plan_release(held);
    fake_desc gone = {2, made, 0};
    harness_ok(rsc_plan_acquire(fake_owner, "fake", &gone.key, sizeof gone.key, make_fake, drop_fake, &gone, &entry, &plan));
    rsc_plan_release(entry);
    ck_assert_int_eq(made[2], 2);
    rosace_context_destroy(&fake_owner);
    ck_assert_int_eq(fake_dropped, MANY + 1);
}
END_TEST

typedef struct worker {
    rosace_context *context;
    cl_command_queue queue;
    rosace_status status;
} worker;

static void *work(void *user) {
    worker *w = user;
    for (int i = 0; i < 20 && !w->status; i++) w->status = add_four(w->context, w->queue);
    return NULL;
}

START_TEST(one_context_serves_several_threads)
{
    if (harness_small()) harness_skip("the simulator does not run kernels of two queues at a time");
    rosace_context *context;
    rosace_context_desc desc = plain_desc();
    harness_ok(rosace_context_create(&desc, &context));
    pthread_t threads[THREADS];
    worker workers[THREADS];
    for (int i = 0; i < THREADS; i++)
        workers[i] = (worker){context, queue_on(rosace_context_cl(context), rosace_context_cl_device(context)), ROSACE_OK};
    for (int i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) {
        harness_case("thread %d", i);
        ck_assert_int_eq(workers[i].status, ROSACE_OK);
        clReleaseCommandQueue(workers[i].queue);
    }
    rosace_context_destroy(&context);
}
END_TEST

HARNESS_DEVICE_SUITE("context", arguments_are_checked, a_shorter_descriptor_takes_defaults,
                     all_memory_comes_from_the_allocator_and_goes_back, running_out_of_memory_anywhere_is_survived,
                     an_adopted_context_is_retained, an_adopted_context_may_have_several_devices, the_log_goes_to_the_callback,
                     buffers_have_limits, words_for_statuses_and_errors, each_thread_has_its_own_last_error,
                     plans_are_made_once_and_held_by_one, plans_do_not_pile_up, one_context_serves_several_threads)
