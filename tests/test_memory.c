/* SPDX-License-Identifier: MIT
 * Memory of fused window attention grows with the length, not with its square: 65,536 tokens, a window of 512, 4 heads of
 * 64, against a quarter of that. Prints what the README states. The device's memory is the process's own here (PoCL). */
#include "harness.h"

#include <rosace/attention.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADS = 4, DIM = 64, WINDOW = 512, LONG = 65536, SHORT = LONG / 4 };

/* "VmHWM" or "VmRSS" of this process, in bytes; -1 where /proc does not tell. */
static double memory_of_process(const char *what)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    double kib = -1;
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, what, strlen(what)) == 0) kib = atof(line + strlen(what) + 1);
    if (file) fclose(file);
    return kib < 0 ? -1 : kib * 1024;
}

/* Peak starts again at what is in use now; false where the kernel does not let us. */
static bool restart_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    bool done = file && fputs("5", file) >= 0;
    if (file) done = fclose(file) == 0 && done;
    return done;
}

typedef struct figures {
    size_t workspace;
    double tensors, peak; /* bytes; peak over what was in use before the tensors were there */
} figures;

static cl_mem tensor(size_t count)
{
    cl_int code;
    cl_mem mem = clCreateBuffer(rosace_context_cl(harness_context()), CL_MEM_READ_WRITE, count * sizeof(float), NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    const float value = 0.5f;
    code = clEnqueueFillBuffer(harness_queue(), mem, &value, sizeof value, 0, count * sizeof(float), 0, NULL, NULL);
    ck_assert_int_eq(code, CL_SUCCESS);
    return mem;
}

static figures measure(size_t seq)
{
    figures f = {0};
    rosace_rope_desc rope = ROSACE_ROPE_DESC_DEFAULT;
    rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
    desc.n_heads = HEADS;
    desc.head_dim = DIM;
    desc.mask.causal = true;
    desc.mask.window_left = WINDOW - 1;
    desc.rope = &rope;
    desc.path = ROSACE_PATH_FUSED;
    desc.max_batch = 1;
    desc.max_seq_q = desc.max_seq_k = seq;

    size_t count = seq * HEADS * DIM;
    f.tensors = 4.0 * (double)count * sizeof(float);
    double before = memory_of_process("VmRSS:");
    bool peak = restart_peak();
    cl_mem mem[4];
    for (int i = 0; i < 4; i++) mem[i] = tensor(count);
    rosace_attention_plan *plan;
    harness_ok(rosace_attention_plan_create(harness_context(), &desc, &plan));
    ck_assert_int_eq(rosace_attention_plan_path(plan), ROSACE_PATH_FUSED);
    harness_ok(rosace_attention_workspace_bytes(plan, 1, seq, seq, &f.workspace));
    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    rosace_tensor *const views[4] = {&args.q, &args.k, &args.v, &args.out};
    for (int i = 0; i < 4; i++) *views[i] = rosace_tensor_bshd(mem[i], ROSACE_F32, 1, seq, HEADS, DIM);
    harness_ok(rosace_attention_enqueue(plan, harness_queue(), &args, 0, NULL, NULL));
    ck_assert_int_eq(clFinish(harness_queue()), CL_SUCCESS);

    /* Every value is 0.5, so is every mean of values. */
    float last[DIM];
    cl_int code = clEnqueueReadBuffer(harness_queue(), mem[3], CL_TRUE, (count - DIM) * sizeof(float), sizeof last, last, 0,
                                      NULL, NULL);
    ck_assert_int_eq(code, CL_SUCCESS);
    for (int i = 0; i < DIM; i++) ck_assert_float_eq_tol(last[i], 0.5f, 1e-5f);

    f.peak = peak && before >= 0 ? memory_of_process("VmHWM:") - before : -1;
    rosace_attention_plan_destroy(&plan);
    for (int i = 0; i < 4; i++) clReleaseMemObject(mem[i]);
    printf("seq %6zu: tensors %.1f MiB, workspace %.1f MiB, peak %.1f MiB; a score matrix would take %.0f MiB\n", seq,
           f.tensors / 0x1p20, (double)f.workspace / 0x1p20, f.peak / 0x1p20,
           (double)HEADS * (double)seq * (double)seq * sizeof(float) / 0x1p20);
    return f;
}

START_TEST(fused_attention_takes_linear_memory)
{
    measure(SHORT / 16); /* the driver's own memory is taken on first use */
    figures few = measure(SHORT), many = measure(LONG);
    ck_assert_uint_le(many.workspace, 4 * few.workspace + 4096);
    if (many.peak < 0) harness_skip("/proc does not tell the peak of memory here");
    /* Four times the length, four times the memory; 32 MiB for what the driver does besides. */
    ck_assert_msg(many.peak <= 4 * few.peak + 0x1p25, "%.1f MiB at the full length, %.1f MiB at a quarter of it",
                  many.peak / 0x1p20, few.peak / 0x1p20);
    ck_assert_msg(many.peak <= many.tensors + (double)many.workspace + 0x1p25, "%.1f MiB, the tensors have %.1f MiB",
                  many.peak / 0x1p20, many.tensors / 0x1p20);
}
END_TEST

HARNESS_DEVICE_SUITE("memory", fused_attention_takes_linear_memory)
