/* SPDX-License-Identifier: MIT
 * Attention: what is wrong in a descriptor or a call is named, and nothing is enqueued; what is wrong in what a query does not
 * see does not matter. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include <rosace/attention.h>

#include "harness.h"

enum { BATCH = 2, SEQ_Q = 5, SEQ_K = 7, HEADS = 4, KV_HEADS = 2, DIM = 16 };

static rosace_attention_desc good_desc(void)
{
    rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
    desc.n_heads = HEADS;
    desc.n_kv_heads = KV_HEADS;
    desc.head_dim = DIM;
    desc.mask.causal = true;
    return desc;
}

static rosace_attention_args good_args(rosace_tensor *lse)
{
    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    args.q = harness_tensor(HARNESS_GAPS, ROSACE_F32, BATCH, SEQ_Q, HEADS, DIM, harness_random(BATCH * SEQ_Q * HEADS * DIM, ROSACE_F32));
    args.k = harness_tensor(HARNESS_BHSD, ROSACE_F32, BATCH, SEQ_K, KV_HEADS, DIM, harness_random(BATCH * SEQ_K * KV_HEADS * DIM, ROSACE_F32));
    args.v = harness_tensor(HARNESS_BSHD, ROSACE_F32, BATCH, SEQ_K, KV_HEADS, DIM, harness_random(BATCH * SEQ_K * KV_HEADS * DIM, ROSACE_F32));
    args.out = harness_tensor(HARNESS_BSHD, ROSACE_F32, BATCH, SEQ_Q, HEADS, DIM, NULL);
    *lse = harness_flat(ROSACE_F32, BATCH * HEADS * SEQ_Q, NULL);
    args.lse = lse->mem;
    args.lse_offset = lse->offset;
    return args;
}

/* A buffer that holds just so many floats; the caller's to release. */
static cl_mem exact_buffer(size_t count)
{
    cl_int code = CL_SUCCESS;
    const cl_mem mem = clCreateBuffer(rosace_context_cl(harness_context()), CL_MEM_READ_ONLY, count * sizeof(cl_float), NULL, &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    return mem;
}

START_TEST(descriptors)
{
    rosace_context *context = harness_context();
    rosace_attention_plan *plan = NULL;
    rosace_attention_desc desc = good_desc();
    rosace_rope_desc rope = ROSACE_ROPE_DESC_DEFAULT;
    harness_expect_status(rosace_attention_plan_create(NULL, &desc, &plan), ROSACE_INVALID_ARGUMENT, "context");
    harness_expect_status(rosace_attention_plan_create(context, NULL, &plan), ROSACE_INVALID_ARGUMENT, "desc");
    harness_expect_status(rosace_attention_plan_create(context, &desc, NULL), ROSACE_INVALID_ARGUMENT, "out");
#define WRONG(change, text)                                                                                            \
    do {                                                                                                               \
        desc = good_desc();                                                                                            \
        rope = (rosace_rope_desc)ROSACE_ROPE_DESC_DEFAULT;                                                             \
        change;                                                                                                        \
        harness_case("%s", #change);                                                                                   \
        harness_expect_status(rosace_attention_plan_create(context, &desc, &plan), ROSACE_INVALID_ARGUMENT, text);     \
        ck_assert_ptr_null(plan);                                                                                      \
    } while (0)
    WRONG(desc.struct_size = 0, "struct_size");
    WRONG(desc.struct_size = sizeof desc + 1, "struct_size");
    WRONG(desc.dtype = (rosace_dtype)3, "dtype = 3");
    WRONG(desc.n_heads = 0, "n_heads = 0");
    WRONG(desc.n_heads = 70000, "n_heads = 70000");
    WRONG(desc.n_kv_heads = 3, "n_kv_heads = 3");
    WRONG(desc.n_kv_heads = 8, "n_kv_heads = 8");
    WRONG(desc.head_dim = 8, "head_dim = 8");
    WRONG(desc.head_dim = 20, "head_dim = 20");
    WRONG(desc.head_dim = 264, "head_dim = 264");
    WRONG(desc.mask.window_left = -2, "window_left = -2");
    WRONG(desc.mask.window_right = (int64_t)1 << 40, "window_right");
    WRONG(desc.mask.sinks = -1, "sinks = -1");
    WRONG(desc.mask.prefix = -1, "prefix = -1");
    WRONG(desc.mask.chunk = -4, "chunk = -4");
    WRONG(desc.mask.chunk_back = 1, "chunk_back = 1");
    WRONG(desc.bias = (rosace_bias_kind)17, "bias = 17");
    WRONG(desc.bias = ROSACE_BIAS_SHAW, "bias_max_distance = 0");
    WRONG(desc.bias = ROSACE_BIAS_SHAW; desc.bias_max_distance = 1025, "bias_max_distance = 1025");
    WRONG(desc.bias = ROSACE_BIAS_SANDWICH, "bias_width = 0");
    WRONG(desc.bias = ROSACE_BIAS_SANDWICH; desc.bias_width = 33, "bias_width = 33");
    WRONG(desc.bias = ROSACE_BIAS_SANDWICH; desc.bias_width = 5000, "bias_width = 5000");
    WRONG(desc.bias = ROSACE_BIAS_T5; desc.bias_max_distance = 128, "bias_buckets = 0");
    WRONG(desc.bias = ROSACE_BIAS_T5; desc.bias_max_distance = 128; desc.bias_buckets = 31, "bias_buckets = 31");
    WRONG(desc.bias = ROSACE_BIAS_T5; desc.bias_max_distance = 128; desc.bias_buckets = 2, "bias_buckets = 2");
    WRONG(desc.bias = ROSACE_BIAS_T5; desc.bias_causal = true; desc.bias_max_distance = 128; desc.bias_buckets = 1, "bias_buckets = 1");
    WRONG(desc.bias = ROSACE_BIAS_T5; desc.bias_max_distance = 8; desc.bias_buckets = 32, "bias_max_distance = 8: must be 9 to");
    WRONG(desc.bias = ROSACE_BIAS_T5; desc.bias_causal = true; desc.bias_max_distance = 9; desc.bias_buckets = 32,
          "bias_max_distance = 9: must be 17 to");
    WRONG(desc.bias = ROSACE_BIAS_TABLE, "bias_max_distance = 0");
    WRONG(desc.bias = ROSACE_BIAS_TABLE; desc.bias_max_distance = ((int64_t)1 << 20) + 1, "bias_max_distance = 1048577");
    WRONG(desc.scale = INFINITY, "scale");
    WRONG(desc.softcap = -1.0f, "softcap = -1");
    WRONG(desc.softcap = NAN, "softcap");
    WRONG(desc.rerope_window = 4, "rerope_window = 4: needs rope");
    WRONG(desc.rerope_window = -4, "rerope_window = -4");
    WRONG(desc.rope = &rope; desc.rerope_window = 4; desc.mask.causal = false, "needs mask.causal");
    WRONG(desc.rope = &rope; desc.rerope_leak = 4.0, "rerope_leak = 4: needs rerope_window");
    WRONG(desc.rope = &rope; desc.rerope_window = 4; desc.rerope_leak = 1.0, "rerope_leak = 1");
    WRONG(desc.rope = &rope; desc.rerope_window = 4; desc.rerope_leak = -2.0, "rerope_leak = -2");
    WRONG(desc.rope = &rope; desc.rerope_window = 4; desc.rerope_leak = (double)NAN, "rerope_leak");
    WRONG(desc.rope = &rope; desc.rerope_window = 1 << 20; desc.rerope_leak = 1026.0, "rerope_leak = 1026");
    WRONG(desc.rope = &rope; desc.rerope_window = 5; desc.rerope_leak = 1.5, "= 2.5 must be a whole number");
    WRONG(desc.rope = &rope; rope.theta = 0.5, "theta");
    WRONG(desc.rope = &rope; rope.rotary_dim = 18, "rotary_dim");
    WRONG(desc.rope = &rope; rope.struct_size = 0, "struct_size");
    WRONG(desc.logn_train_len = 1, "logn_train_len = 1");
    WRONG(desc.path = (rosace_attention_path)5, "path = 5");
    WRONG(desc.max_batch = 1, "max_batch = 1");
    WRONG(desc.max_batch = 1; desc.max_seq_q = (size_t)1 << 31; desc.max_seq_k = 1, "max_seq_q");
}
END_TEST

START_TEST(calls)
{
    rosace_context *context = harness_context();
    cl_command_queue queue = harness_queue();
    rosace_tensor lse;
    const rosace_attention_args good = good_args(&lse);
    for (rosace_attention_path path = ROSACE_PATH_GEMM; path <= ROSACE_PATH_FUSED; path++) {
        rosace_attention_desc desc = good_desc();
        desc.path = path;
        rosace_rope_desc rope = ROSACE_ROPE_DESC_DEFAULT;
        desc.rope = &rope;
        desc.bias = ROSACE_BIAS_ALIBI;
        desc.max_batch = BATCH;
        desc.max_seq_q = SEQ_Q;
        desc.max_seq_k = SEQ_K;
        rosace_attention_plan *plan = NULL;
        harness_ok(rosace_attention_plan_create(context, &desc, &plan));
        const rosace_tensor slopes = harness_flat(ROSACE_F32, HEADS, harness_random(HEADS, ROSACE_F32));
        rosace_attention_args base = good;
        base.bias_params = slopes.mem;
        base.bias_params_offset = slopes.offset;
        const rosace_tensor longer = harness_tensor(HARNESS_BSHD, ROSACE_F32, BATCH, SEQ_K + 1, KV_HEADS, DIM,
                                                    harness_random(BATCH * (SEQ_K + 1) * KV_HEADS * DIM, ROSACE_F32));
        const rosace_tensor half = harness_tensor(HARNESS_BSHD, ROSACE_F16, BATCH, SEQ_Q, HEADS, DIM,
                                                  harness_random(BATCH * SEQ_Q * HEADS * DIM, ROSACE_F16));
        size_t ids_offset = 0;
        const int32_t numbers[4] = {0, 1, 2, 3};
        const cl_mem few_ids = harness_int32(numbers, 4, &ids_offset);
        size_t workspace_bytes = 0;
        harness_ok(rosace_attention_workspace_bytes(plan, BATCH, SEQ_Q, SEQ_K, &workspace_bytes));
        ck_assert_uint_gt(workspace_bytes, 0);
        const rosace_tensor workspace = harness_flat(ROSACE_F32, workspace_bytes / 4, NULL);

        harness_refused(rosace_attention_enqueue(NULL, queue, &base, 0, NULL, event), event, &base.out, ROSACE_INVALID_ARGUMENT, "plan");
        harness_refused(rosace_attention_enqueue(plan, NULL, &base, 0, NULL, event), event, &base.out, ROSACE_INVALID_ARGUMENT, "queue");
        harness_refused(rosace_attention_enqueue(plan, queue, NULL, 0, NULL, event), event, &base.out, ROSACE_INVALID_ARGUMENT, "args");
        harness_refused(rosace_attention_enqueue(plan, queue, &base, 2, NULL, event), event, &base.out, ROSACE_INVALID_ARGUMENT, "num_wait");
#define REFUSED(change, text)                                                                                          \
    do {                                                                                                               \
        rosace_attention_args args = base;                                                                             \
        change;                                                                                                        \
        harness_case("%s: %s", rosace_attention_plan_variant(plan), #change);                                          \
        harness_refused(rosace_attention_enqueue(plan, queue, &args, 0, NULL, event), event, &base.out,                \
                        ROSACE_INVALID_ARGUMENT, text);                                                                \
        harness_check_untouched(&lse);                                                                                 \
    } while (0)
        REFUSED(args.struct_size = 0, "struct_size");
        REFUSED(args.struct_size = 1 << 20, "struct_size");
        REFUSED(args.q.mem = NULL, "q");
        REFUSED(args.k.mem = NULL, "k");
        REFUSED(args.v.mem = NULL, "v");
        REFUSED(args.out.mem = NULL, "out");
        REFUSED(args.q = half, "q.dtype");
        REFUSED(args.out = half, "out.dtype");
        REFUSED(args.q.stride[3] = 2, "q.stride[3]");
        REFUSED(args.k.stride[1] = -1, "k.stride[1]");
        REFUSED(args.q.shape[2] = 2, "q.shape[2]");
        REFUSED(args.q.shape[3] = 8, "q.shape[3]");
        REFUSED(args.k.shape[0] = 1, "k.shape[0]");
        REFUSED(args.k.shape[2] = 1, "k.shape[2]");
        REFUSED(args.k.shape[1] = 0, "k.shape[1]");
        REFUSED(args.v.shape[1] = SEQ_K - 1, "v.shape[1]");
        REFUSED(args.out.shape[1] = SEQ_Q - 1, "out.shape[1]");
        REFUSED(args.v.offset = SIZE_MAX / 16, "v");
        REFUSED(args.v.shape[1] = args.k.shape[1] = SEQ_K * 1000, "k");
        REFUSED(args.out.stride[2] = 4, "out");
        REFUSED(args.k = args.v = longer, "max_seq_k");
        REFUSED(args.q_offset = -1, "q_offset = -1");
        REFUSED(args.q_offset = (int64_t)1 << 50, "q_offset");
        REFUSED(args.out = args.q, "out");
        REFUSED(args.out.mem = args.k.mem, "out");
        REFUSED(args.lse_offset = SIZE_MAX / 8, "lse");
        REFUSED(args.lse_offset += 1000, "lse");
        REFUSED(args.lse = args.q.mem, "lse");
        REFUSED(args.bias_params = NULL, "bias_params");
        REFUSED(args.bias_params_offset = 1000, "bias_params");
        REFUSED(args.q_positions.ids = few_ids, "use_positions");
        REFUSED(args.use_positions = true; args.q_positions.offset = (int64_t)INT32_MAX + 1, "q_positions.offset");
        REFUSED(args.use_positions = true; args.k_positions.offset = INT32_MAX, "k_positions.offset");
        REFUSED(args.use_positions = true; args.k_positions.ids = few_ids; args.k_positions.batch_stride = 1000, "k_positions.ids");
        REFUSED(args.use_positions = true; args.q_positions.ids = few_ids; args.q_positions.seq_stride = -1, "seq_stride");
        REFUSED(args.workspace = workspace.mem; args.workspace_bytes = workspace_bytes - 1, "workspace_bytes");
        REFUSED(args.workspace = workspace.mem; args.workspace_bytes = workspace_bytes; args.workspace_offset_bytes = 3,
                "workspace_offset_bytes");
        REFUSED(args.workspace = workspace.mem; args.workspace_bytes = workspace_bytes * 4096, "workspace");
        rosace_attention_plan_destroy(&plan);
        ck_assert_ptr_null(plan);

        /* Without max_* and without a workspace of the call there is none. */
        desc.max_batch = desc.max_seq_q = desc.max_seq_k = 0;
        harness_ok(rosace_attention_plan_create(context, &desc, &plan));
        harness_refused(rosace_attention_enqueue(plan, queue, &base, 0, NULL, event), event, &base.out, ROSACE_INVALID_ARGUMENT, "workspace");
        size_t bytes = 0;
        harness_expect_status(rosace_attention_workspace_bytes(plan, BATCH, SEQ_Q, SEQ_K, NULL), ROSACE_INVALID_ARGUMENT, "bytes");
        harness_expect_status(rosace_attention_workspace_bytes(NULL, BATCH, SEQ_Q, SEQ_K, &bytes), ROSACE_INVALID_ARGUMENT, "plan");
        harness_expect_status(rosace_attention_workspace_bytes(plan, 0, SEQ_Q, SEQ_K, &bytes), ROSACE_INVALID_ARGUMENT, "batch");
        harness_expect_status(rosace_attention_workspace_bytes(plan, 1, 0, SEQ_K, &bytes), ROSACE_INVALID_ARGUMENT, "seq_q");
        harness_expect_status(rosace_attention_workspace_bytes(plan, 1, 1, (size_t)1 << 31, &bytes), ROSACE_INVALID_ARGUMENT, "seq_k");
        harness_expect_status(rosace_attention_workspace_bytes(plan, SIZE_MAX / 2, 1 << 20, 1 << 20, &bytes),
                              ROSACE_INVALID_ARGUMENT, "overflow");
        rosace_attention_plan_destroy(&plan);
        rosace_attention_plan_destroy(&plan);
        rosace_attention_plan_destroy(NULL);
    }
}
END_TEST

START_TEST(tables_of_clipped_positions)
{
    rosace_attention_desc desc = good_desc();
    desc.bias = ROSACE_BIAS_SHAW;
    desc.bias_max_distance = 3;
    rosace_tensor lse;
    const rosace_attention_args good = good_args(&lse);
    const rosace_tensor table = harness_flat(ROSACE_F32, 7 * DIM - 1, harness_random(7 * DIM - 1, ROSACE_F32));
    rosace_attention_args args = good;
    args.shaw_key = table.mem;
    args.shaw_key_offset = table.offset + 1000;
    harness_refused(rosace_attention(harness_context(), harness_queue(), &desc, &args, 0, NULL, event), event, &good.out,
                    ROSACE_INVALID_ARGUMENT, "shaw_key");
    args = good;
    args.shaw_value = table.mem;
    args.shaw_value_offset = table.offset + 1000;
    harness_refused(rosace_attention(harness_context(), harness_queue(), &desc, &args, 0, NULL, event), event, &good.out,
                    ROSACE_INVALID_ARGUMENT, "shaw_value");
    args.shaw_value = good.out.mem;
    args.shaw_value_offset = 0;
    harness_refused(rosace_attention(harness_context(), harness_queue(), &desc, &args, 0, NULL, event), event, &good.out,
                    ROSACE_INVALID_ARGUMENT, "out");
}
END_TEST

/* A buffer of parameters that is missing, one too short, and one that is written. */
START_TEST(parameters_of_biases)
{
    static const struct {
        rosace_bias_kind kind;
        size_t count;
        const char *text;
    } cases[] = {
        {ROSACE_BIAS_KERPLE_LOG, 2 * HEADS, "ROSACE_BIAS_KERPLE_LOG needs 8 floats"},
        {ROSACE_BIAS_KERPLE_POWER, 2 * HEADS, "ROSACE_BIAS_KERPLE_POWER needs 8 floats"},
        {ROSACE_BIAS_SANDWICH, HEADS, "ROSACE_BIAS_SANDWICH needs 4 floats"},
        {ROSACE_BIAS_T5, 6 * HEADS, "ROSACE_BIAS_T5 needs 24 floats"},
        {ROSACE_BIAS_TABLE, 7 * HEADS, "ROSACE_BIAS_TABLE needs 28 floats"},
    };
    rosace_tensor lse;
    const rosace_attention_args good = good_args(&lse);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        rosace_attention_desc desc = good_desc();
        desc.path = i % 2 ? ROSACE_PATH_GEMM : ROSACE_PATH_FUSED;
        desc.bias = cases[i].kind;
        desc.bias_buckets = 6;
        desc.bias_width = 4;
        desc.bias_max_distance = 3;
        harness_case("%s", cases[i].text);
        rosace_attention_args args = good;
        harness_refused(rosace_attention(harness_context(), harness_queue(), &desc, &args, 0, NULL, event), event, &good.out,
                        ROSACE_INVALID_ARGUMENT, cases[i].text);
        const cl_mem exact = exact_buffer(cases[i].count);
        args.bias_params = exact;
        args.bias_params_offset = 1;
        harness_refused(rosace_attention(harness_context(), harness_queue(), &desc, &args, 0, NULL, event), event, &good.out,
                        ROSACE_INVALID_ARGUMENT, "bias_params");
        args.bias_params = good.out.mem;
        args.bias_params_offset = 0;
        harness_refused(rosace_attention(harness_context(), harness_queue(), &desc, &args, 0, NULL, event), event, &good.out,
                        ROSACE_INVALID_ARGUMENT, "out");
        rosace_attention_plan *plan = NULL;
        harness_ok(rosace_attention_plan_create(harness_context(), &desc, &plan));
        args.bias_params = exact;
        harness_refused(rosace_attention_enqueue(plan, harness_queue(), &args, 0, NULL, event), event, &good.out,
                        ROSACE_INVALID_ARGUMENT, "workspace");
        rosace_attention_plan_destroy(&plan);
        clReleaseMemObject(exact);
    }
}
END_TEST

/* What the environment asks for is checked like an argument. */
START_TEST(environment)
{
    rosace_context *context = harness_context();
    rosace_attention_plan *plan = NULL;
    rosace_attention_desc desc = good_desc();
    setenv("ROSACE_ATTENTION_PATH", "fast", 1);
    harness_expect_status(rosace_attention_plan_create(context, &desc, &plan), ROSACE_INVALID_ARGUMENT, "ROSACE_ATTENTION_PATH");
    setenv("ROSACE_ATTENTION_PATH", "gemm", 1);
    harness_ok(rosace_attention_plan_create(context, &desc, &plan));
    ck_assert_int_eq(rosace_attention_plan_path(plan), ROSACE_PATH_GEMM);
    rosace_attention_plan_destroy(&plan);
    desc.path = ROSACE_PATH_FUSED; /* what the descriptor says goes before it */
    harness_ok(rosace_attention_plan_create(context, &desc, &plan));
    ck_assert_int_eq(rosace_attention_plan_path(plan), ROSACE_PATH_FUSED);
    rosace_attention_plan_destroy(&plan);
    unsetenv("ROSACE_ATTENTION_PATH");
    setenv("ROSACE_ATTENTION_VARIANT", "attention_magic", 1);
    harness_expect_status(rosace_attention_plan_create(context, &desc, &plan), ROSACE_INVALID_ARGUMENT, "attention_gemm");
    unsetenv("ROSACE_ATTENTION_VARIANT");
}
END_TEST

START_TEST(slopes)
{
    float one = 5.0f;
    harness_expect_status(rosace_alibi_slopes(4, NULL), ROSACE_INVALID_ARGUMENT, "slopes");
    harness_expect_status(rosace_alibi_slopes(0, &one), ROSACE_INVALID_ARGUMENT, "n_heads = 0");
    ck_assert_float_eq(one, 5.0f);
}
END_TEST

/* attention_cpu: what a query does not see may hold anything, what it sees shows. */
START_TEST(hidden_rows_may_hold_anything)
{
    enum { SEQ = 70, WIDTH = 32, WINDOW = 9, KEY = 40 };
    static const double poisons[] = {NAN, INFINITY};
    setenv("ROSACE_ATTENTION_VARIANT", "attention_cpu", 1);
    for (int i = 0; i < 4; i++) {
        harness_case("%s in %s", i % 2 ? "inf" : "nan", i < 2 ? "v" : "k");
        rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
        desc.n_heads = 1;
        desc.head_dim = WIDTH;
        desc.mask.causal = true;
        desc.mask.window_left = WINDOW;
        double *q = harness_random(SEQ * WIDTH, ROSACE_F32), *k = harness_random(SEQ * WIDTH, ROSACE_F32);
        double *v = harness_random(SEQ * WIDTH, ROSACE_F32);
        double *results[2];
        for (int poisoned = 0; poisoned < 2; poisoned++) {
            if (poisoned)
                for (int d = 0; d < WIDTH; d++) (i < 2 ? v : k)[KEY * WIDTH + d] = poisons[i % 2];
            rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
            args.q = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ, 1, WIDTH, q);
            args.k = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ, 1, WIDTH, k);
            args.v = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ, 1, WIDTH, v);
            args.out = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ, 1, WIDTH, NULL);
            harness_ok(rosace_attention(harness_context(), harness_queue(), &desc, &args, 0, NULL, NULL));
            results[poisoned] = harness_download(&args.out);
        }
        for (int m = 0; m < SEQ; m++)
            for (int d = 0; d < WIDTH; d++) {
                const double clean = results[0][m * WIDTH + d], got = results[1][m * WIDTH + d];
                const bool sees = m >= KEY && m <= KEY + WINDOW;
                if (sees ? isfinite(got) : !(fabs(got - clean) <= 1e-6))
                    harness_fail_at(__FILE__, __LINE__, "row %d, element %d: %g, without it %g", m, d, got, clean);
            }
    }
    unsetenv("ROSACE_ATTENTION_VARIANT");
}
END_TEST

HARNESS_DEVICE_SUITE("attention_errors", descriptors, calls, tables_of_clipped_positions, parameters_of_biases, environment, slopes,
                     hidden_rows_may_hold_anything)
