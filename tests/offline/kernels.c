/* SPDX-License-Identifier: MIT
 * kernels FOLDER: every program that the library builds on the devices below, as a file each, for the compilers that
 * tests/offline/gate has. Nothing here names a kernel or its options: the library is asked for each operation as an
 * application would, for attention once per row of its variants, so that a new row is covered by being there.
 *
 * FOLDER gets N.cl and one line per program in `list`: profile, operation, file, options, separated by tabs. */
#include <rosace/attention.h>
#include <rosace/layers.h>
#include <rosace/matmul.h>
#include <rosace/rope.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_opencl.h"
#include "src/ops/attention.h"

#define NVIDIA "NVIDIA CUDA", "NVIDIA Corporation"
#define NVIDIA_EXTENSIONS "cl_khr_byte_addressable_store cl_nv_compiler_options cl_nv_device_attribute_query"
#define AMD "AMD Accelerated Parallel Processing", "Advanced Micro Devices, Inc."
#define AMD_EXTENSIONS "cl_khr_fp16 cl_khr_subgroups cl_amd_device_attribute_query"
#define INTEL "Intel(R) OpenCL Graphics", "Intel(R) Corporation"
#define INTEL_EXTENSIONS "cl_khr_fp16 cl_khr_subgroups cl_intel_subgroups cl_intel_subgroups_short cl_intel_required_subgroup_size"
#define INTEL_MATRIX INTEL_EXTENSIONS " cl_intel_subgroup_matrix_multiply_accumulate"
#define GPU CL_DEVICE_TYPE_GPU
#define CPU CL_DEVICE_TYPE_CPU

/* What drivers report. The rows without a vendor are devices of nothing but OpenCL 1.2, by the memory they have. */
/* clang-format off */
static const fake_device devices[] = {
    /* profile      platform, vendor  name                       extensions         type  unified width  group  local memory    subgroups     lanes capability */
    {"sm_75",       NVIDIA,           "NVIDIA T4",               NVIDIA_EXTENSIONS, GPU,  false,  1,     1024,  48 << 10,      {0},             32, {7, 5}},
    {"sm_80",       NVIDIA,           "NVIDIA A100",             NVIDIA_EXTENSIONS, GPU,  false,  1,     1024,  48 << 10,      {0},             32, {8, 0}},
    {"sm_90",       NVIDIA,           "NVIDIA H100",             NVIDIA_EXTENSIONS, GPU,  false,  1,     1024,  48 << 10,      {0},             32, {9, 0}},
    {"gfx906",      AMD,              "gfx906:sramecc+:xnack-",  AMD_EXTENSIONS,    GPU,  false,  1,     256,   64 << 10,      {0},             64, {0}},
    {"gfx90a",      AMD,              "gfx90a:sramecc+:xnack-",  AMD_EXTENSIONS,    GPU,  false,  1,     256,   64 << 10,      {0},             64, {0}},
    {"gfx1030",     AMD,              "gfx1030",                 AMD_EXTENSIONS,    GPU,  false,  1,     256,   64 << 10,      {0},             32, {0}},
    {"gfx1100",     AMD,              "gfx1100",                 AMD_EXTENSIONS,    GPU,  false,  1,     256,   64 << 10,      {0},             32, {0}},
    {"gfx1201",     AMD,              "gfx1201",                 AMD_EXTENSIONS,    GPU,  false,  1,     256,   64 << 10,      {0},             32, {0}},
    {"skl",         INTEL,            "Intel(R) Graphics Gen9",  INTEL_EXTENSIONS,  GPU,  true,   1,     256,   64 << 10,      {8, 16, 32},      0, {0}},
    {"tgllp",       INTEL,            "Intel(R) Iris(R) Xe",     INTEL_EXTENSIONS,  GPU,  true,   1,     512,   64 << 10,      {8, 16, 32},      0, {0}},
    {"dg2",         INTEL,            "Intel(R) Arc(TM)",        INTEL_MATRIX,      GPU,  false,  1,     1024,  64 << 10,      {8, 16, 32},      0, {0}},
    {"pvc",         INTEL,            "Intel(R) Data Center GPU Max", INTEL_MATRIX, GPU,  false,  1,     1024,  128 << 10,     {16, 32},         0, {0}},
    {"bare-16k",    "Other", "other", "GPU with 16 KiB",         "",                GPU,  true,   4,     64,    16 << 10,      {0},              0, {0}},
    {"bare-32k",    "Other", "other", "GPU with 32 KiB",         "",                GPU,  true,   4,     128,   32 << 10,      {0},              0, {0}},
    {"bare-64k",    "Other", "other", "GPU with 64 KiB",         "",                GPU,  false,  1,     256,   64 << 10,      {0},              0, {0}},
    {"bare-128k",   "Other", "other", "GPU with 128 KiB",        "",                GPU,  false,  1,     1024,  128 << 10,     {0},              0, {0}},
    {"mali",        "ARM Platform", "ARM", "Mali-G710",          "cl_khr_fp16 cl_khr_subgroups cl_arm_core_id",
                                                                                    GPU,  true,   4,     1024,  32 << 10,      {0},              0, {0}},
    {"adreno",      "QUALCOMM Snapdragon(TM)", "QUALCOMM", "QUALCOMM Adreno(TM)", "cl_khr_fp16 cl_khr_subgroups cl_qcom_ext_host_ptr",
                                                                                    GPU,  true,   1,     1024,  32 << 10,      {0},              0, {0}},
    {"cpu-4",       "Other", "other", "CPU of 4 lanes",          "",                CPU,  true,   4,     4096,  512 << 10,     {0},              0, {0}},
    {"cpu-8",       "Other", "other", "CPU of 8 lanes",          "",                CPU,  true,   8,     4096,  512 << 10,     {0},              0, {0}},
    {"cpu-16",      "Other", "other", "CPU of 16 lanes",         "",                CPU,  true,   16,    4096,  512 << 10,     {0},              0, {0}},
};
/* clang-format on */

static struct {
    const char *folder, *profile, *operation;
    FILE *list;
    int count;
    bool failed;
} out;

static void built(const char *source, const char *options)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%d.cl", out.folder, out.count);
    FILE *file = fopen(path, "w");
    if (!file || fputs(source, file) < 0 || fclose(file) ||
        fprintf(out.list, "%s\t%s\t%d.cl\t%s\n", out.profile, out.operation, out.count, options) < 0) {
        perror(path);
        out.failed = true;
    }
    out.count++;
}

/* What a device may refuse to do is no failure, all else is. */
static void expect(rosace_status status)
{
    if (!status || status == ROSACE_UNSUPPORTED) return;
    fprintf(stderr, "%s, %s: %s: %s\n", out.profile, out.operation, rosace_status_name(status), rosace_last_error());
    out.failed = true;
}

/* ---- Operations ---------------------------------------------------------------------------------------------------- */

static void attention_plan(rosace_context *context, const char *variant, const rosace_attention_desc *desc)
{
    rosace_attention_plan *plan = NULL;
    setenv("ROSACE_ATTENTION_VARIANT", variant, 1);
    expect(rosace_attention_plan_create(context, desc, &plan));
    unsetenv("ROSACE_ATTENTION_VARIANT");
    rosace_attention_plan_destroy(&plan);
}

static void attention(rosace_context *context)
{
    static const struct {
        size_t head_dim;
        rosace_dtype dtype;
    } shapes[] = {{64, ROSACE_F32}, {64, ROSACE_F16}, {128, ROSACE_F16}, {80, ROSACE_F32}, {256, ROSACE_F16}};
    const rsc_attention_variant *row;
    for (size_t r = 0; (row = rsc_attention_variant_at(r)) != NULL; r++) {
        if (row->suits && !row->suits(rosace_context_device_info(context))) continue;
        out.operation = row->name;
        rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
        desc.n_heads = 8;
        desc.n_kv_heads = 2;
        desc.max_seq_q = row->path == ROSACE_PATH_FUSED ? 0 : 1;
        desc.max_batch = desc.max_seq_k = desc.max_seq_q;
        /* what the other paths build does not depend on head_dim */
        for (size_t s = 0; s < (row->path == ROSACE_PATH_FUSED ? sizeof shapes / sizeof *shapes : 2); s++) {
            desc.head_dim = shapes[s].head_dim;
            desc.dtype = shapes[s].dtype;
            attention_plan(context, row->name, &desc);
        }
        desc.head_dim = 64;
        desc.dtype = ROSACE_F16;
        desc.softcap = 20.0f;
        desc.bias = ROSACE_BIAS_ALIBI;
        desc.logn_train_len = 128;
        attention_plan(context, row->name, &desc);
        desc.bias = ROSACE_BIAS_SHAW;
        desc.bias_max_distance = 8;
        attention_plan(context, row->name, &desc);
    }
}

static rosace_tensor tensor(rosace_dtype dtype) { return rosace_tensor_bshd(fake_mem, dtype, 1, 64, 8, 64); }

static void rope(rosace_context *context)
{
    out.operation = "rope";
    for (int i = 0; i < 4; i++) {
        rosace_rope_desc desc = ROSACE_ROPE_DESC_DEFAULT;
        desc.head_dim = 64;
        desc.interleaved = i & 1;
        desc.dtype = i & 2 ? ROSACE_F16 : ROSACE_F32;
        rosace_rope_plan *plan = NULL;
        expect(rosace_rope_plan_create(context, &desc, &plan));
        rosace_rope_plan_destroy(&plan);
    }
    const rosace_tensor x = rosace_tensor_bshd(fake_mem, ROSACE_F32, 1, 64, 1, 512);
    const rosace_positions positions = {.seq_stride = 1};
    out.operation = "sinusoidal";
    expect(rosace_sinusoidal_add(context, fake_queue, &x, &positions, 1.0f, 0, NULL, NULL));
}

static void softmax(rosace_context *context)
{
    for (int half = 0; half < 2; half++) {
        rosace_softmax_args args = ROSACE_SOFTMAX_ARGS_DEFAULT;
        out.operation = "softmax";
        args.scores = tensor(half ? ROSACE_F16 : ROSACE_F32);
        expect(rosace_masked_softmax(context, fake_queue, &args, 0, NULL, NULL));
    }
    const rosace_tensor x = rosace_tensor_bshd(fake_mem, ROSACE_F32, 1, 64, 8, 64);
    const rosace_mask mask = ROSACE_MASK_DEFAULT;
    out.operation = "mask_matrix";
    expect(rosace_mask_matrix(context, fake_queue, &mask, 0, ROSACE_BIAS_NONE, NULL, 0, &x, 0, NULL, NULL));
}

static void layers(rosace_context *context)
{
    out.operation = "layers";
    const size_t rows = 8, width = 64, vocabulary = 256;
    const rosace_array x = {fake_mem, 0, ROSACE_F32}, y = {fake_mem, 1 << 20, ROSACE_F32}, half = {fake_mem, 8 << 20, ROSACE_F16};
    expect(rosace_embedding(context, fake_queue, x, half, vocabulary, y, rows, width, 0, NULL, NULL));
    expect(rosace_rmsnorm(context, fake_queue, x, half, y, rows, width, 1e-5f, 0, NULL, NULL));
    expect(rosace_swiglu(context, fake_queue, x, y, half, rows * width, 0, NULL, NULL));
    expect(rosace_add(context, fake_queue, x, y, rows * width, 0, NULL, NULL));
    expect(rosace_cross_entropy(context, fake_queue, x, half, y, rows, vocabulary, 0, NULL, NULL));
}

static void matmul(rosace_context *context)
{
    out.operation = "matmul";
    for (int half = 0; half < 2; half++) {
        rosace_matmul_args args = ROSACE_MATMUL_ARGS_DEFAULT;
        args.path = ROSACE_MATMUL_TILE;
        args.dtype = half ? ROSACE_F16 : ROSACE_F32;
        args.transpose_b = half;
        args.a = args.b = args.c = (rosace_matrix){fake_mem, 0, 64, 64, 0, 0};
        args.b.offset = 1 << 20;
        args.c.offset = 2 << 20;
        expect(rosace_matmul(context, fake_queue, &args, 0, NULL, NULL));
    }
}

int main(int argc, char **argv)
{
    char path[1024];
    if (argc != 2) {
        fprintf(stderr, "usage: kernels FOLDER\n");
        return EXIT_FAILURE;
    }
    out.folder = argv[1];
    snprintf(path, sizeof path, "%s/list", out.folder);
    if (!(out.list = fopen(path, "w"))) {
        perror(path);
        return EXIT_FAILURE;
    }
    unsetenv("ROSACE_DEVICE");
    unsetenv("ROSACE_ATTENTION_PATH");
    unsetenv("ROSACE_KERNEL_DIR");
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        out.profile = devices[i].profile;
        out.operation = "context";
        fake_opencl(&devices[i], built);
        rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
        desc.cache_dir = "";
        rosace_context *context = NULL;
        expect(rosace_context_create(&desc, &context));
        if (!context) continue;
        attention(context);
        rope(context);
        softmax(context);
        layers(context);
        matmul(context);
        rosace_context_destroy(&context);
    }
    if (fclose(out.list)) {
        perror(path);
        out.failed = true;
    }
    printf("kernels: %d programs for %zu devices\n", out.count, sizeof devices / sizeof *devices);
    return out.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
