/* SPDX-License-Identifier: MIT
 * How devices are judged and chosen, on devices that are not here: this program brings the OpenCL queries itself, in place
 * of the loader's, and answers them from a table. */
#define CL_TARGET_OPENCL_VERSION 300
#include "harness.h"

#include <stdlib.h>
#include <string.h>

typedef struct fake_device {
    const char *name, *vendor, *version, *extensions;
    cl_device_type type;
    cl_uint units, mhz;
    bool unified, unavailable, no_compiler, embedded;
    cl_uint sub_groups;    /* CL_DEVICE_MAX_NUM_SUB_GROUPS, 0: the query fails, as before OpenCL 2.1 */
    const char *c_feature; /* one OpenCL C 3.0 feature */
    cl_uint warp;          /* NVIDIA's query */
    cl_uint capability[2]; /* NVIDIA's, major and minor */
    cl_uint broken;        /* a query that fails with CL_OUT_OF_RESOURCES */
} fake_device;

typedef struct fake_platform {
    const char *name;
    int n_devices;
    fake_device devices[4];
} fake_platform;

static const fake_platform *platforms;
static int n_platforms;
static cl_int platforms_error;

/* ---- The loader's functions ------------------------------------------------------------------------------------ */

static cl_int answer(const void *value, size_t bytes, size_t room, void *out, size_t *needed) {
    if (needed) *needed = bytes;
    if (out && room < bytes) return CL_INVALID_VALUE;
    if (out) memcpy(out, value, bytes);
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clGetPlatformIDs(cl_uint room, cl_platform_id *out, cl_uint *count) {
    if (platforms_error) return platforms_error;
    if (count) *count = (cl_uint)n_platforms;
    for (cl_uint i = 0; out && i < room && i < (cl_uint)n_platforms; i++)
        out[i] = (cl_platform_id)(uintptr_t)&platforms[i];
    return CL_SUCCESS;
}

CL_API_ENTRY cl_int CL_API_CALL clGetPlatformInfo(cl_platform_id id, cl_platform_info what, size_t room, void *out,
                                                  size_t *needed) {
    const char *text = what == CL_PLATFORM_NAME ? ((const fake_platform *)(void *)id)->name : "OpenCL 3.0 fake";
    return answer(text, strlen(text) + 1, room, out, needed);
}

CL_API_ENTRY cl_int CL_API_CALL clGetDeviceIDs(cl_platform_id id, cl_device_type type, cl_uint room, cl_device_id *out,
                                               cl_uint *count) {
    const fake_platform *platform = (const fake_platform *)(void *)id;
    ck_assert(type == CL_DEVICE_TYPE_ALL);
    if (platform->n_devices == 0) return CL_DEVICE_NOT_FOUND;
    if (platform->n_devices < 0) return CL_OUT_OF_HOST_MEMORY;
    if (count) *count = (cl_uint)platform->n_devices;
    for (cl_uint i = 0; out && i < room && i < (cl_uint)platform->n_devices; i++)
        out[i] = (cl_device_id)(uintptr_t)&platform->devices[i];
    return CL_SUCCESS;
}

static cl_platform_id platform_of(const fake_device *device) {
    for (int i = 0; i < n_platforms; i++)
        for (int k = 0; k < platforms[i].n_devices; k++)
            if (&platforms[i].devices[k] == device) return (cl_platform_id)(uintptr_t)&platforms[i];
    return NULL;
}

CL_API_ENTRY cl_int CL_API_CALL clGetDeviceInfo(cl_device_id id, cl_device_info what, size_t room, void *out,
                                                size_t *needed) {
    const fake_device *d = (const fake_device *)(void *)id;
    if (d->broken == what) return CL_OUT_OF_RESOURCES;
    const char *text = NULL;
    cl_uint number = 0;
    switch (what) {
    case CL_DEVICE_NAME: text = d->name; break;
    case CL_DEVICE_VENDOR: text = d->vendor ? d->vendor : "some vendor"; break;
    case CL_DRIVER_VERSION: text = "1"; break;
    case CL_DEVICE_VERSION: text = d->version ? d->version : "OpenCL 1.2 fake"; break;
    case CL_DEVICE_OPENCL_C_VERSION: text = "OpenCL C 1.2"; break;
    case CL_DEVICE_PROFILE: text = d->embedded ? "EMBEDDED_PROFILE" : "FULL_PROFILE"; break;
    case CL_DEVICE_EXTENSIONS: text = d->extensions ? d->extensions : ""; break;
    case CL_DEVICE_MAX_COMPUTE_UNITS: number = d->units; break;
    case CL_DEVICE_MAX_CLOCK_FREQUENCY: number = d->mhz; break;
    case CL_DEVICE_ADDRESS_BITS: number = 64; break;
    case CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT: number = 1; break;
    case CL_DEVICE_HOST_UNIFIED_MEMORY: number = d->unified; break;
    case CL_DEVICE_AVAILABLE: number = !d->unavailable; break;
    case CL_DEVICE_COMPILER_AVAILABLE: number = !d->no_compiler; break;
    case CL_DEVICE_MAX_NUM_SUB_GROUPS:
        if (d->sub_groups == 0) return CL_INVALID_VALUE;
        number = d->sub_groups;
        break;
    case 0x4003: /* CL_DEVICE_WARP_SIZE_NV */
        if (d->warp == 0) return CL_INVALID_VALUE;
        number = d->warp;
        break;
    case 0x4000: /* CL_DEVICE_COMPUTE_CAPABILITY_MAJOR_NV, and MINOR */
    case 0x4001:
        if (d->capability[0] == 0) return CL_INVALID_VALUE;
        number = d->capability[what - 0x4000];
        break;
    case CL_DEVICE_PLATFORM: {
        cl_platform_id platform = platform_of(d);
        return answer(&platform, sizeof platform, room, out, needed);
    }
    case CL_DEVICE_TYPE: return answer(&d->type, sizeof d->type, room, out, needed);
    case CL_DEVICE_MAX_WORK_GROUP_SIZE: {
        const size_t size = 256;
        return answer(&size, sizeof size, room, out, needed);
    }
    case CL_DEVICE_LOCAL_MEM_SIZE:
    case CL_DEVICE_GLOBAL_MEM_SIZE:
    case CL_DEVICE_MAX_MEM_ALLOC_SIZE: {
        const cl_ulong bytes = 1 << 20;
        return answer(&bytes, sizeof bytes, room, out, needed);
    }
    case CL_DEVICE_OPENCL_C_FEATURES: {
        cl_name_version feature = {CL_MAKE_VERSION(3, 0, 0), ""};
        if (!d->c_feature) return CL_INVALID_VALUE;
        strcpy(feature.name, d->c_feature);
        return answer(&feature, sizeof feature, room, out, needed);
    }
    default: return CL_INVALID_VALUE;
    }
    return text ? answer(text, strlen(text) + 1, room, out, needed) : answer(&number, sizeof number, room, out, needed);
}

/* ---- Machines -------------------------------------------------------------------------------------------------- */

#define GPU CL_DEVICE_TYPE_GPU
#define CPU CL_DEVICE_TYPE_CPU

static void set_machine(const fake_platform *table, int count) {
    platforms = table;
    n_platforms = count;
    platforms_error = CL_SUCCESS;
    unsetenv("ROSACE_DEVICE");
}
#define MACHINE(...)                                                                                                   \
    static const fake_platform machine[] = {__VA_ARGS__};                                                              \
    set_machine(machine, (int)(sizeof machine / sizeof *machine))

static const char *chosen(const char *selector) {
    static rosace_device_info info;
    return rosace_select_device(selector, &info) ? rosace_status_name(ROSACE_NO_DEVICE) : info.name;
}

static rosace_device_info info_of(const char *name) {
    rosace_device_info devices[8];
    size_t count = 0;
    harness_ok(rosace_devices(devices, 8, &count));
    for (size_t i = 0; i < count; i++)
        if (strcmp(devices[i].name, name) == 0) return devices[i];
    ck_abort_msg("no device %s", name);
}

START_TEST(discrete_before_integrated_before_cpu)
{
    MACHINE({"Portable Computing Language", 1, {{.name = "cpu", .type = CPU, .units = 128, .mhz = 5000}}},
            {"Empty", 0, {{0}}},
            {"Graphics", 3,
             {{.name = "small igpu", .type = GPU, .units = 8, .mhz = 300, .unified = true},
              {.name = "big dgpu", .type = GPU, .units = 60, .mhz = 2000},
              {.name = "small dgpu", .type = GPU, .units = 4, .mhz = 900}}},
            {"Things", 1, {{.name = "accelerator", .type = CL_DEVICE_TYPE_ACCELERATOR, .units = 1000, .mhz = 9000}}});
    ck_assert_str_eq(chosen(NULL), "big dgpu");
    ck_assert_str_eq(chosen("auto"), "big dgpu");
    ck_assert_str_eq(chosen("gpu"), "big dgpu");
    ck_assert_str_eq(chosen("igpu"), "small igpu");
    ck_assert_str_eq(chosen("IGPU,dgpu"), "small igpu");
    ck_assert_str_eq(chosen("cpu"), "cpu");
    ck_assert_str_eq(chosen("2:2"), "small dgpu");
    ck_assert_str_eq(chosen("1:0, 02:02"), "small dgpu");
    ck_assert_str_eq(chosen("small"), "small dgpu"); /* of those that answer, the best */
    ck_assert_str_eq(chosen("SMALL I"), "small igpu");
    ck_assert_str_eq(chosen("graphics"), "big dgpu");
    ck_assert_str_eq(chosen("nothing,0:1,accel,cpu"), "accelerator");
    ck_assert_int_gt(info_of("cpu").score, info_of("accelerator").score);
    setenv("ROSACE_DEVICE", "cpu", 1);
    ck_assert_str_eq(chosen(NULL), "cpu");
    ck_assert_str_eq(chosen("auto"), "cpu");
    ck_assert_str_eq(chosen("gpu"), "big dgpu");
    ck_assert_str_eq(chosen("nothing,auto"), "big dgpu"); /* only a selector that is auto and no more is replaced */
}
END_TEST

START_TEST(what_cannot_be_used_is_never_chosen)
{
    MACHINE({"Graphics", 4,
             {{.name = "asleep", .type = GPU, .units = 60, .mhz = 2000, .unavailable = true},
              {.name = "mute", .type = GPU, .units = 60, .mhz = 2000, .no_compiler = true},
              {.name = "old", .type = GPU, .units = 60, .mhz = 2000, .version = "OpenCL 1.1 old"},
              {.name = "good", .type = GPU, .units = 1, .mhz = 0, .version = "OpenCL 3.1 new"}}});
    ck_assert_str_eq(chosen("auto"), "good");
    const char *const bad[] = {"asleep", "mute", "old"};
    const char *const why[] = {"not available", "no compiler", "OpenCL 1.2"};
    for (size_t i = 0; i < 3; i++) {
        rosace_device_info info;
        char index[8] = "0:0";
        index[2] = (char)('0' + i);
        harness_case("%s", bad[i]);
        harness_expect_status(rosace_select_device(bad[i], &info), ROSACE_NO_DEVICE, "never chosen");
        harness_expect_status(rosace_select_device(index, &info), ROSACE_NO_DEVICE, "never chosen");
        ck_assert_int_lt(info_of(bad[i]).score, 0);
        ck_assert_ptr_nonnull(strstr(info_of(bad[i]).score_reason, why[i]));
    }
    ck_assert_int_ge(info_of("good").score, 0);
    ck_assert_ptr_nonnull(strstr(info_of("good").score_reason, "assumed"));
}
END_TEST

START_TEST(an_embedded_profile_needs_64_bit_integers)
{
    MACHINE({"Phone", 3,
             {{.name = "narrow", .type = GPU, .units = 60, .mhz = 2000, .embedded = true, .extensions = "cl_khr_fp16"},
              {.name = "wide", .type = GPU, .units = 1, .embedded = true, .extensions = "cl_khr_fp16 cles_khr_int64"},
              {.name = "nearly", .type = GPU, .units = 60, .embedded = true, .extensions = "cles_khr_int64_x"}}});
    ck_assert_str_eq(chosen("auto"), "wide");
    ck_assert_int_lt(info_of("nearly").score, 0);
    rosace_device_info info;
    harness_expect_status(rosace_select_device("narrow", &info), ROSACE_NO_DEVICE, "cles_khr_int64");
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    rosace_context *context = NULL;
    desc.device = "0:0";
    harness_expect_status(rosace_context_create(&desc, &context), ROSACE_NO_DEVICE, "64-bit integers are needed");
}
END_TEST

START_TEST(software_stands_behind_hardware)
{
    MACHINE({"rusticl", 1, {{.name = "llvmpipe (LLVM 15)", .type = GPU, .units = 64, .mhz = 4000, .unified = true}}},
            {"Oclgrind", 1,
             {{.name = "Oclgrind Simulator", .type = GPU | CPU | CL_DEVICE_TYPE_ACCELERATOR, .units = 900, .mhz = 9000}}},
            {"Real", 2, {{.name = "cpu", .type = CPU, .units = 1, .mhz = 100},
                         {.name = "odd", .type = CL_DEVICE_TYPE_ACCELERATOR, .units = 1, .mhz = 100}}});
    ck_assert_str_eq(chosen(NULL), "cpu");
    ck_assert_str_eq(chosen("gpu"), "ROSACE_NO_DEVICE");
    ck_assert_int_eq(info_of("llvmpipe (LLVM 15)").device_class, ROSACE_DEVICE_CPU);
    ck_assert_int_eq(info_of("Oclgrind Simulator").device_class, ROSACE_DEVICE_CPU);
    ck_assert_int_gt(info_of("llvmpipe (LLVM 15)").score, info_of("odd").score);
    ck_assert_int_gt(info_of("odd").score, info_of("Oclgrind Simulator").score);
    ck_assert_int_ge(info_of("Oclgrind Simulator").score, 0);
    ck_assert_str_eq(chosen("oclgrind"), "Oclgrind Simulator");
}
END_TEST

START_TEST(extensions_are_whole_words)
{
    MACHINE({"Intel(R) OpenCL Graphics", 4,
             {{.name = "short", .type = GPU, .extensions = "cl_intel_subgroups_short cl_khr_fp16_not cl_khr_subgroups_x"},
              {.name = "all", .type = GPU,
               .extensions = "cl_khr_fp16 cl_khr_subgroups cl_intel_subgroups_short cl_intel_subgroups "
                             "cl_khr_integer_dot_product cl_intel_subgroup_matrix_multiply_accumulate"},
              {.name = "feature", .type = GPU, .sub_groups = 4, .c_feature = "__opencl_c_subgroups"},
              {.name = "other feature", .type = GPU, .sub_groups = 4, .c_feature = "__opencl_c_fp64"}}});
    rosace_device_info info = info_of("short");
    ck_assert(!info.has_fp16 && !info.has_subgroups && !info.has_intel_subgroups && info.n_sub_group_sizes == 0);
    info = info_of("all");
    ck_assert(info.has_fp16 && info.has_subgroups && info.has_intel_subgroups && info.has_integer_dot && info.has_intel_matrix);
    ck_assert_uint_eq(info.n_sub_group_sizes, 1);
    ck_assert_uint_eq(info.sub_group_sizes[0], 0);
    ck_assert(info_of("feature").has_subgroups);
    ck_assert(!info_of("other feature").has_subgroups);
    ck_assert(!info.has_nvidia_ptx && !info.has_amd_gcn);
}
END_TEST

START_TEST(compilers_are_known_by_their_platform)
{
    MACHINE({"NVIDIA CUDA", 1,
             {{.name = "  gpu of n ", .vendor = "NVIDIA Corporation", .type = GPU, .warp = 32, .capability = {8, 6},
               .extensions = "cl_khr_subgroups cl_nv_device_attribute_query"}}},
            {"rusticl", 1, {{.name = "gpu of n, nouveau", .vendor = "NVIDIA Corporation", .type = GPU}}},
            {"AMD Accelerated Parallel Processing", 3,
             {{.name = "gfx1100", .type = GPU}, {.name = "gfx90a:sramecc+:xnack-", .type = GPU}, {.name = "amd cpu", .type = CPU}}});
    rosace_device_info info = info_of("gpu of n"); /* names are trimmed */
    ck_assert(info.has_nvidia_ptx && info.n_sub_group_sizes == 1 && info.sub_group_sizes[0] == 32);
    ck_assert(!info_of("gpu of n, nouveau").has_nvidia_ptx);
    ck_assert_uint_eq(info.nvidia_capability, 86);
    ck_assert_uint_eq(info_of("gpu of n, nouveau").nvidia_capability, 0);
    ck_assert_str_eq(info.amd_target, "");
    ck_assert(info_of("gfx1100").has_amd_gcn);
    ck_assert_str_eq(info_of("gfx1100").amd_target, "gfx1100");
    ck_assert_str_eq(info_of("gfx90a:sramecc+:xnack-").amd_target, "gfx90a");
    ck_assert(!info_of("amd cpu").has_amd_gcn);
}
END_TEST

START_TEST(a_broken_driver_harms_nobody_else)
{
    MACHINE({"Broken", 1, {{.name = "broken", .type = GPU, .units = 99, .broken = CL_DEVICE_LOCAL_MEM_SIZE}}},
            {"Worse", -1, {{0}}},
            {"Good", 1, {{.name = "good", .type = CPU, .units = 1}}});
    ck_assert_str_eq(chosen(NULL), "good");
    ck_assert_str_eq(chosen("2:0"), "good");
    const rosace_device_info broken = info_of("broken");
    ck_assert_int_lt(broken.score, 0);
    ck_assert_ptr_eq(strstr(broken.score_reason, "never chosen: clGetDeviceInfo(CL_DEVICE_LOCAL_MEM_SIZE): CL_OUT_OF_RES"),
                     broken.score_reason);
    rosace_device_info info;
    harness_expect_status(rosace_select_device("gpu", &info), ROSACE_NO_DEVICE, "CL_DEVICE_LOCAL_MEM_SIZE");
    n_platforms = 2;
    harness_expect_status(rosace_select_device(NULL, &info), ROSACE_NO_DEVICE, "CL_DEVICE_LOCAL_MEM_SIZE");
    platforms = machine + 1; /* no device at all, and a platform that says why */
    n_platforms = 1;
    harness_expect_status(rosace_select_device(NULL, &info), ROSACE_OUT_OF_MEMORY, "clGetDeviceIDs");
}
END_TEST

START_TEST(no_device_is_told_from_no_platform)
{
    MACHINE({"Empty", 0, {{0}}});
    size_t count = 7;
    harness_expect_status(rosace_devices(NULL, 0, &count), ROSACE_NO_DEVICE, "1 platform, none with a device");
    ck_assert_uint_eq(count, 0);
    n_platforms = 0;
    harness_expect_status(rosace_devices(NULL, 0, &count), ROSACE_NO_DEVICE, "no OpenCL platform");
    platforms_error = -1001;
    harness_expect_status(rosace_devices(NULL, 0, &count), ROSACE_NO_DEVICE, "no OpenCL platform");
    platforms_error = CL_OUT_OF_HOST_MEMORY;
    harness_expect_status(rosace_devices(NULL, 0, &count), ROSACE_OUT_OF_MEMORY, "clGetPlatformIDs");
}
END_TEST

HARNESS_HOST_SUITE("device_rules", discrete_before_integrated_before_cpu, what_cannot_be_used_is_never_chosen,
                   an_embedded_profile_needs_64_bit_integers,
                   software_stands_behind_hardware, extensions_are_whole_words, compilers_are_known_by_their_platform,
                   a_broken_driver_harms_nobody_else, no_device_is_told_from_no_platform)
