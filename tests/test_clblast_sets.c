/* SPDX-License-Identifier: MIT
 * Parameters for CLBlast: which sets there are, which of them a device gets, and that no answer depends on it. */
#include "program_fixture.h"

#include <rosace/matmul.h>

#include "src/ops/clblast_sets.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rosace_device_info device_of(rosace_device_class device_class, const char *platform)
{
    rosace_device_info device = {.device_class = device_class,
                                 .float_vector_width = 16,
                                 .max_work_group_size = 256,
                                 .local_memory_bytes = 32768,
                                 .has_fp16 = true};
    snprintf(device.platform_name, sizeof device.platform_name, "%s", platform);
    return device;
}

START_TEST(sets_are_whole)
{
    rosace_device_info device = device_of(ROSACE_DEVICE_DISCRETE, "");
    for (const rsc_clblast_set *set = rsc_clblast_sets; set->name; set++) {
        harness_case("%s", set->name);
        ck_assert(rsc_clblast_set_fits(set, &device, ROSACE_F32));
        ck_assert_uint_lt(strlen(set->name), RSC_ROW_BYTES);
        ck_assert_str_ne(set->name, RSC_CLBLAST_DATABASE);
        for (const rsc_clblast_set *other = set + 1; other->name; other++) ck_assert_str_ne(set->name, other->name);
    }
}
END_TEST

START_TEST(what_a_kernel_cannot_do_is_no_set)
{
    const rosace_device_info device = device_of(ROSACE_DEVICE_DISCRETE, "");
    const rsc_clblast_set good = {.mwg = 64, .nwg = 64, .kwg = 16, .mdim = 8, .ndim = 8, .kwi = 2, .vwm = 4, .vwn = 4};
    ck_assert(rsc_clblast_set_fits(&good, &device, ROSACE_F32));
    rsc_clblast_set bad[6] = {good, good, good, good, good, good};
    bad[0].kwi = 3;
    bad[1].mwg = 48;
    bad[2].nwg = 80;
    bad[3].mdim = bad[3].ndim = 32; /* 1024 items */
    bad[3].mwg = bad[3].nwg = 128;
    bad[3].kwg = 32;
    bad[4].kwg = 12;
    bad[5].sa = bad[5].sb = true; /* 64 KiB */
    bad[5].kwg = 128;
    for (int i = 0; i < 6; i++) {
        harness_case("%d", i);
        ck_assert(!rsc_clblast_set_fits(&bad[i], &device, ROSACE_F32));
    }
}
END_TEST

static size_t count_of(const rosace_device_info *device, bool *database)
{
    size_t n = 0;
    const char *name;
    *database = false;
    for (; (name = rsc_clblast_candidate(device, ROSACE_F32, n)); n++)
        if (!strcmp(name, RSC_CLBLAST_DATABASE)) *database = true;
    return n;
}

START_TEST(candidates_are_those_of_the_device)
{
    bool database;
    rosace_device_info device = device_of(ROSACE_DEVICE_DISCRETE, "Some GPUs");
    const size_t all = count_of(&device, &database);
    ck_assert(database && all > 4);
    device.max_work_group_size = 64;
    const size_t small = count_of(&device, &database);
    ck_assert(database && small < all && small > 1);
    device.local_memory_bytes = 0;
    ck_assert_uint_lt(count_of(&device, &database), small);
    device = device_of(ROSACE_DEVICE_CPU, "Some CPUs");
    ck_assert(count_of(&device, &database) > 1 && database);
    /* Where a set is shipped the process has left CLBlast's database. */
    device = device_of(ROSACE_DEVICE_CPU, "Portable Computing Language");
    ck_assert(count_of(&device, &database) > 1 && !database);
}
END_TEST

/* What is chosen, first without a measurement, then with one that names no row. */
START_TEST(a_wrong_entry_is_forgotten)
{
    rosace_context *context = open_context("");
    const char *plain = rsc_clblast_choice(context, ROSACE_F32);
    static const char *const wrong[] = {"no such set", "group256_128x128_local x", ""};
    for (int i = 0; i < 3; i++) {
        harness_ok(rsc_tuning_try(context, "clblast", "f32", wrong[i]));
        ck_assert_str_eq(rsc_clblast_choice(context, ROSACE_F32), plain);
        ck_assert(logged("there is no such row"));
    }
    context->info.max_work_group_size = 16;
    harness_ok(rsc_tuning_try(context, "clblast", "f32", "group256_64x64"));
    rsc_clblast_choice(context, ROSACE_F32);
    ck_assert(logged("this device has no room for it"));
    harness_ok(rsc_tuning_try(context, "clblast", "f16", RSC_CLBLAST_DATABASE));
    ck_assert_str_eq(rsc_clblast_choice(context, ROSACE_F16), RSC_CLBLAST_DATABASE);
    rosace_context_destroy(&context);

    setenv("ROSACE_TUNING", "off", 1);
    context = open_context("");
    unsetenv("ROSACE_TUNING");
    ck_assert_str_eq(rsc_clblast_choice(context, ROSACE_F32), RSC_CLBLAST_DATABASE);
    rosace_context_destroy(&context);
}
END_TEST

/* C = A B of odd sizes above every set's `least`, against sums in double. */
static void check_product(rosace_context *context)
{
    enum { M = 261, N = 259, K = 263 };
    static float a[M * K], b[K * N], c[M * N];
    for (unsigned i = 0; i < M * K; i++) a[i] = (float)(i * 7919u % 1009u) / 504.5f - 1.0f;
    for (unsigned i = 0; i < K * N; i++) b[i] = (float)(i * 104729u % 997u) / 498.5f - 1.0f;
    cl_int code[4];
    const cl_context cl = rosace_context_cl(context);
    cl_command_queue queue = clCreateCommandQueue(cl, rosace_context_cl_device(context), 0, &code[0]);
    cl_mem am = clCreateBuffer(cl, CL_MEM_COPY_HOST_PTR, sizeof a, a, &code[1]);
    cl_mem bm = clCreateBuffer(cl, CL_MEM_COPY_HOST_PTR, sizeof b, b, &code[2]);
    cl_mem cm = clCreateBuffer(cl, CL_MEM_READ_WRITE, sizeof c, NULL, &code[3]);
    for (int i = 0; i < 4; i++) ck_assert_int_eq(code[i], CL_SUCCESS);
    rosace_matmul_args args = ROSACE_MATMUL_ARGS_DEFAULT;
    args.path = ROSACE_MATMUL_CLBLAST;
    args.a = (rosace_matrix){.mem = am, .rows = M, .cols = K};
    args.b = (rosace_matrix){.mem = bm, .rows = K, .cols = N};
    args.c = (rosace_matrix){.mem = cm, .rows = M, .cols = N};
    harness_ok(rosace_matmul(context, queue, &args, 0, NULL, NULL));
    ck_assert_int_eq(clEnqueueReadBuffer(queue, cm, CL_TRUE, 0, sizeof c, c, 0, NULL, NULL), CL_SUCCESS);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++) {
            double sum = 0.0;
            for (int k = 0; k < K; k++) sum += (double)a[i * K + k] * b[k * N + j];
            ck_assert_msg(fabs(sum - c[i * N + j]) < 1e-4, "%d, %d: %g, not %g", i, j, c[i * N + j], sum);
        }
    clReleaseMemObject(am);
    clReleaseMemObject(bm);
    clReleaseMemObject(cm);
    clReleaseCommandQueue(queue);
}

START_TEST(products_under_sets)
{
    const rosace_device_info *device = harness_device_info();
    if (device->device_class == ROSACE_DEVICE_CPU && !strstr(device->platform_name, "Intel(R) OpenCL"))
        harness_skip("building CLBlast's kernels three times takes this driver a minute");
    rosace_context *context = open_context("");
    const char *choice = rsc_clblast_choice(context, ROSACE_F32);
    ck_assert_ptr_null(rsc_clblast_current(context, ROSACE_F32));
    ck_assert(!rsc_clblast_fall_back(context, ROSACE_F32, "nothing is in use")); /* the database stays what it is */
    check_product(context);
    ck_assert_str_eq(rsc_clblast_current(context, ROSACE_F32), choice);

    harness_case("what runs everywhere, after a failure");
    ck_assert(rsc_clblast_fall_back(context, ROSACE_F32, "a test"));
    ck_assert_str_eq(rsc_clblast_current(context, ROSACE_F32), rsc_clblast_sets[0].name);
    ck_assert(logged("a test"));
    check_product(context);
    ck_assert_str_eq(rsc_clblast_current(context, ROSACE_F32), rsc_clblast_sets[0].name);
    ck_assert(!rsc_clblast_fall_back(context, ROSACE_F32, "again"));
    rosace_context_destroy(&context);
}
END_TEST

HARNESS_DEVICE_SUITE("clblast_sets", sets_are_whole, what_a_kernel_cannot_do_is_no_set, candidates_are_those_of_the_device,
                     a_wrong_entry_is_forgotten, products_under_sets)
