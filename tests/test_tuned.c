/* SPDX-License-Identifier: MIT
 * What operations make of measurements: every stored choice gives the same answer, and a wrong one is as good as none. */
#include "harness.h"

#include "src/device.h"
#include "src/ops/attention.h"
#include "src/ops/matmul.h"
#include "src/reference/reference.h"
#include "src/tuning.h"

#include <stdio.h>
#include <string.h>

/* A context of its own on the harness's device: its entries are what a test gives it. */
static char log_text[16384];
static void keep_log(void *user, rosace_log_level level, const char *message)
{
    (void)user;
    if (level == ROSACE_LOG_DEBUG) return;
    const size_t length = strlen(log_text);
    snprintf(log_text + length, sizeof log_text - length, "%s\n", message);
}

static rosace_context *open_context(void)
{
    rosace_context *context;
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    desc.cl_context = rosace_context_cl(harness_context());
    desc.cl_device = rosace_context_cl_device(harness_context());
    desc.log = keep_log;
    log_text[0] = '\0';
    harness_ok(rosace_context_create(&desc, &context));
    return context;
}

typedef struct attention_case {
    rosace_attention_desc desc;
    rosace_attention_args args;
    double *expected;
    char class_name[RSC_CLASS_BYTES];
} attention_case;

static void make_case(attention_case *c, size_t head_dim, size_t kv_heads, rosace_dtype dtype, int64_t window)
{
    const size_t seq = harness_small() ? 19 : 75, heads = 2;
    c->desc = (rosace_attention_desc)ROSACE_ATTENTION_DESC_DEFAULT;
    c->desc.n_heads = heads;
    c->desc.n_kv_heads = kv_heads;
    c->desc.head_dim = head_dim;
    c->desc.dtype = dtype;
    c->desc.mask.causal = true;
    c->desc.mask.window_left = window;
    c->desc.scale = 0.125f;
    double *q = harness_random(seq * heads * head_dim, dtype), *k = harness_random(seq * kv_heads * head_dim, dtype);
    double *v = harness_random(seq * kv_heads * head_dim, dtype);
    c->args = (rosace_attention_args)ROSACE_ATTENTION_ARGS_DEFAULT;
    c->args.q = harness_tensor(HARNESS_BSHD, dtype, 1, seq, heads, head_dim, q);
    c->args.k = harness_tensor(HARNESS_BSHD, dtype, 1, seq, kv_heads, head_dim, k);
    c->args.v = harness_tensor(HARNESS_BSHD, dtype, 1, seq, kv_heads, head_dim, v);
    c->expected = harness_zeros(seq * heads * head_dim);
    ref_attention(&c->desc, &(ref_attention_args){.batch = 1, .seq_q = seq, .seq_k = seq, .q = q, .k = k, .v = v,
                                                  .out = c->expected});
    rsc_attention_class(&c->desc, c->class_name, sizeof c->class_name);
}

/* The answer is right; what was chosen for it is left in `choice`. */
static void run_case(rosace_context *context, attention_case *c, char choice[RSC_ROW_BYTES])
{
    const size_t *shape = c->args.q.shape;
    rosace_attention_desc desc = c->desc;
    desc.max_batch = 1;
    desc.max_seq_q = desc.max_seq_k = shape[1];
    for (int one_call = 0; one_call < 2; one_call++) {
        c->args.out = harness_tensor(HARNESS_BSHD, desc.dtype, 1, shape[1], shape[2], shape[3], NULL);
        rosace_attention_plan *plan = NULL;
        if (one_call) {
            harness_ok(rosace_attention(context, harness_queue(), &c->desc, &c->args, 0, NULL, NULL));
        } else {
            harness_ok(rosace_attention_plan_create(context, &desc, &plan));
            rsc_attention_plan_choice(plan, choice, RSC_ROW_BYTES);
            harness_ok(rosace_attention_enqueue(plan, harness_queue(), &c->args, 0, NULL, NULL));
        }
        harness_check("attention", &c->args.out, c->expected, (harness_tolerance){.absolute = 1e-5});
        rosace_attention_plan_destroy(&plan);
    }
}

START_TEST(every_choice_gives_the_same_answer)
{
    attention_case c;
    make_case(&c, 32, 1, ROSACE_F32, 9);
    rosace_context *context = open_context();
    char choice[RSC_ROW_BYTES], wanted[RSC_ROW_BYTES], standard[RSC_ROW_BYTES];
    run_case(context, &c, standard);
    ck_assert(!strstr(log_text, "tuned"));
    bool seen = false;
    size_t count = 0;
    for (; rsc_attention_candidate(harness_device_info(), &c.desc, count, wanted, sizeof wanted); count++) {
        harness_case("%s", wanted);
        harness_ok(rsc_tuning_try(context, "attention", c.class_name, wanted));
        log_text[0] = '\0';
        run_case(context, &c, choice);
        ck_assert_str_eq(choice, wanted);
        ck_assert_msg(strstr(log_text, ", tuned)"), "%s", log_text);
        seen |= !strcmp(wanted, standard);
    }
    ck_assert_msg(seen, "%s is none of %zu candidates", standard, count);
    /* Where loops end early only products are left to choose. */
    ck_assert_uint_ge(count, rsc_device_ends_loops(harness_device_info()) ? 1 : 2);
    rosace_context_destroy(&context);
}
END_TEST

START_TEST(a_wrong_choice_is_as_good_as_none)
{
    static const char *const wrong[] = {"none",           "attention_gemm/tile", "attention_cpu",  "attention_cpu/",
                                        "attention_cpu/v3", "attention_gemm_clblast", "attention", "/", "attention_gpu/x"};
    attention_case c;
    make_case(&c, 32, 2, ROSACE_F32, -1);
    rosace_context *context = open_context();
    char choice[RSC_ROW_BYTES], standard[RSC_ROW_BYTES];
    run_case(context, &c, standard);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        harness_case("%s", wrong[i]);
        harness_ok(rsc_tuning_try(context, "attention", c.class_name, wrong[i]));
        log_text[0] = '\0';
        run_case(context, &c, choice);
        ck_assert_str_eq(choice, standard);
        const char *said = strstr(log_text, "tuning: attention, causal d64 f32: there is no row");
        ck_assert_msg(!said || !strstr(said + 1, "tuning:"), "said twice:\n%s", log_text);
        ck_assert(!strstr(log_text, "tuned"));
    }
    harness_case("a name of no variant is said");
    harness_ok(rsc_tuning_try(context, "attention", c.class_name, "none"));
    run_case(context, &c, choice);
    ck_assert(strstr(log_text, "there is no row \"none\" here"));

    harness_case("the path that was asked for stays");
    harness_ok(rsc_tuning_try(context, "attention", c.class_name, "attention_gemm"));
    c.desc.path = ROSACE_PATH_FUSED;
    run_case(context, &c, choice);
    ck_assert_str_ne(choice, "attention_gemm");
    c.desc.path = ROSACE_PATH_AUTO;
    run_case(context, &c, choice);
    ck_assert_str_eq(choice, "attention_gemm");
    rosace_context_destroy(&context);
}
END_TEST

START_TEST(what_a_choice_cannot_do_is_done_by_another)
{
    rosace_context *context = open_context();
    rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
    char choice[RSC_ROW_BYTES], name[RSC_CLASS_BYTES];
    desc.n_heads = desc.n_kv_heads = 2;
    desc.head_dim = 64;
    desc.mask.causal = true;
    rsc_attention_class(&desc, name, sizeof name);
    ck_assert(rsc_attention_candidate(harness_device_info(), &desc, 0, choice, sizeof choice));
    harness_ok(rsc_tuning_try(context, "attention", name, choice));
    rosace_rope_desc rope = ROSACE_ROPE_DESC_DEFAULT;
    desc.bias = ROSACE_BIAS_SHAW; /* with rope only products have it */
    desc.bias_max_distance = 4;
    desc.rope = &rope;
    log_text[0] = '\0';
    rosace_attention_plan *plan;
    harness_ok(rosace_attention_plan_create(context, &desc, &plan));
    ck_assert_str_eq(rosace_attention_plan_variant(plan), "attention_gemm_f32_d64");
    ck_assert(!strstr(log_text, "tuning:"));
    rosace_attention_plan_destroy(&plan);
    rosace_context_destroy(&context);
}
END_TEST

START_TEST(classes_are_what_matters_to_tiles)
{
    static const struct {
        rosace_mask mask;
        size_t n_kv_heads, head_dim;
        rosace_dtype dtype;
        const char *name;
    } cases[] = {
        {{.window_left = -1, .window_right = -1}, 4, 64, ROSACE_F32, "causal d64 f32"},
        {{.causal = true, .window_left = -1, .window_right = -1}, 2, 64, ROSACE_F16, "causal d64 f16 gqa"},
        {{.causal = true, .window_left = 255, .window_right = -1}, 4, 72, ROSACE_F32, "window d128 f32"},
        {{.causal = true, .window_left = 4095, .window_right = -1}, 4, 128, ROSACE_F32, "causal d128 f32"},
        {{.window_left = 255, .window_right = -1}, 4, 136, ROSACE_F32, "causal d256 f32"},
        {{.window_left = 255, .window_right = 0}, 4, 256, ROSACE_F32, "window d256 f32"},
        {{.causal = true, .window_left = -1, .window_right = -1, .chunk = 128, .chunk_back = 1}, 1, 16, ROSACE_F32,
         "window d64 f32 gqa"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[RSC_CLASS_BYTES];
        rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
        desc.mask = cases[i].mask;
        desc.n_heads = 4;
        desc.n_kv_heads = cases[i].n_kv_heads;
        desc.head_dim = cases[i].head_dim;
        desc.dtype = cases[i].dtype;
        rsc_attention_class(&desc, name, sizeof name);
        ck_assert_str_eq(name, cases[i].name);
    }
}
END_TEST

START_TEST(every_row_gives_the_same_product)
{
    const size_t rows[] = {3, 37}, n = 45, k = 29;
    rosace_context *context = open_context();
    for (int i = 0; i < 2; i++) {
        const size_t m = rows[i];
        const char *name = i ? "f32 small" : "f32 few";
        double *a = harness_random(m * k, ROSACE_F32), *b = harness_random(k * n, ROSACE_F32), *c = harness_zeros(m * n);
        rosace_tensor a_view = harness_flat(ROSACE_F32, m * k, a), b_view = harness_flat(ROSACE_F32, k * n, b);
        rosace_matmul_args args = ROSACE_MATMUL_ARGS_DEFAULT;
        args.a = (rosace_matrix){.mem = a_view.mem, .offset = a_view.offset, .rows = m, .cols = k};
        args.b = (rosace_matrix){.mem = b_view.mem, .offset = b_view.offset, .rows = k, .cols = n};
        ref_matmul(m, n, k, false, false, 1.0, 0.0, a, b, c);
        rsc_matmul_desc desc;
        memset(&desc, 0, sizeof desc);
        rsc_matmul_call call = {.args = {.m = (uint32_t)m, .n = (uint32_t)n, .k = (uint32_t)k, .inner = 1}, .batch = 1};
        call.args.a = call.args.b = call.args.c = (rsc_matmul_operand_args){.row_stride = 64, .inner_div = 1};
        char class_name[RSC_CLASS_BYTES];
        rsc_matmul_class(&desc, &call, class_name);
        ck_assert_str_eq(class_name, name);
        size_t count = 0;
        for (const rsc_matmul_row *row; (row = rsc_matmul_candidate(harness_device_info(), &desc, &call, count)); count++) {
            if (row->kind == RSC_MATMUL_CLBLAST && harness_small()) continue; /* its kernels take a simulator hours */
            harness_case("%s, %s", name, row->name);
            harness_ok(rsc_tuning_try(context, "matmul", name, row->name));
            rosace_tensor c_view = harness_flat(ROSACE_F32, m * n, NULL);
            args.c = (rosace_matrix){.mem = c_view.mem, .offset = c_view.offset, .rows = m, .cols = n};
            harness_ok(rosace_matmul(context, harness_queue(), &args, 0, NULL, NULL));
            harness_check("matmul", &c_view, c, (harness_tolerance){.absolute = 1e-5});
            ck_assert_str_eq(rosace_matmul_variant(context, &args), row->name);
        }
        ck_assert_uint_ge(count, 1);
        static const char *const wrong[] = {"none", "matmul_few_v3", "attention_gemm"};
        for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
            harness_case("%s, %s", name, wrong[w]);
            harness_ok(rsc_tuning_try(context, "matmul", name, NULL));
            char standard[RSC_ROW_BYTES];
            snprintf(standard, sizeof standard, "%s", rosace_matmul_variant(context, &args));
            harness_ok(rsc_tuning_try(context, "matmul", name, wrong[w]));
            ck_assert_str_eq(rosace_matmul_variant(context, &args), standard);
            ck_assert(strstr(log_text, "tuning: matmul"));
        }
    }
    rosace_context_destroy(&context);
}
END_TEST

HARNESS_DEVICE_SUITE("tuned", every_row_gives_the_same_product, every_choice_gives_the_same_answer, a_wrong_choice_is_as_good_as_none,
                     what_a_choice_cannot_do_is_done_by_another, classes_are_what_matters_to_tiles)
