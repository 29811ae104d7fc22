/* SPDX-License-Identifier: MIT
 * What is particular to fused attention on GPUs: matrix instructions, played in local memory; exchange between lanes, where a
 * device has it; the trial of new plans, and what is taken when one fails. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "src/context_state.h"
#include "src/ops/attention_fused.h"
#include "src/ops/attention_matrix.h"
#include "src/reference/reference.h"

/* A problem of one descriptor, with its inputs on the device and the reference's results. */
typedef struct problem {
    rosace_attention_desc desc; /* checked */
    rosace_attention_args args;
    rosace_tensor lse;
    double *out, *expected_lse;
} problem;

static rosace_attention_desc descriptor(size_t head_dim, rosace_dtype dtype)
{
    rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
    desc.n_heads = harness_small() ? 2 : 4;
    desc.n_kv_heads = desc.n_heads / 2;
    desc.head_dim = head_dim;
    desc.dtype = dtype;
    desc.mask.causal = true;
    return desc;
}

static problem make_problem(const rosace_attention_desc *given, size_t seq_q, size_t seq_k, int layout)
{
    problem p = {.args = ROSACE_ATTENTION_ARGS_DEFAULT};
    rosace_rope_desc rope;
    harness_ok(rsc_attention_check_desc(given, &p.desc, &rope));
    const rosace_attention_desc *d = &p.desc;
    const size_t batch = harness_small() ? 1 : 2;
    double *q = harness_random(batch * seq_q * d->n_heads * d->head_dim, d->dtype);
    double *k = harness_random(batch * seq_k * d->n_kv_heads * d->head_dim, d->dtype);
    double *v = harness_random(batch * seq_k * d->n_kv_heads * d->head_dim, d->dtype);
    double *slopes = NULL;
    p.args.q = harness_tensor(layout, d->dtype, batch, seq_q, d->n_heads, d->head_dim, q);
    p.args.k = harness_tensor(layout, d->dtype, batch, seq_k, d->n_kv_heads, d->head_dim, k);
    p.args.v = harness_tensor(layout, d->dtype, batch, seq_k, d->n_kv_heads, d->head_dim, v);
    p.args.out = harness_tensor(layout, d->dtype, batch, seq_q, d->n_heads, d->head_dim, NULL);
    p.lse = harness_flat(ROSACE_F32, batch * d->n_heads * seq_q, NULL);
    p.args.lse = p.lse.mem;
    p.args.lse_offset = p.lse.offset;
    if (d->bias == ROSACE_BIAS_ALIBI) {
        slopes = harness_random_range(d->n_heads, ROSACE_F32, 0.0, 0.1);
        const rosace_tensor t = harness_flat(ROSACE_F32, d->n_heads, slopes);
        p.args.bias_params = t.mem;
        p.args.bias_params_offset = t.offset;
    }
    p.out = harness_zeros(batch * seq_q * d->n_heads * d->head_dim);
    p.expected_lse = harness_zeros(batch * d->n_heads * seq_q);
    const ref_attention_args reference = {.batch = batch, .seq_q = seq_q, .seq_k = seq_k,
                                          .q_offset = (int64_t)seq_k - (int64_t)seq_q, .q = q, .k = k, .v = v,
                                          .bias_params = slopes, .out = p.out, .lse = p.expected_lse};
    ref_attention(d, &reference);
    return p;
}

/* As in test_attention.c; matrix rows round weights to fp16 besides, each by at most 2^-11 of itself, so that a mean of values
 * below 1 moves by as much. */
static void solve(const char *name, const rsc_attention_variant *row, problem *p, bool rounds_weights)
{
    rsc_attention_choice choice = {.variant = row};
    rosace_attention_plan *plan = NULL;
    harness_ok(rsc_attention_plan_make(harness_context(), &p->desc, &choice, &plan));
    const rosace_status status = rosace_attention_enqueue(plan, harness_queue(), &p->args, 0, NULL, NULL);
    rosace_attention_plan_destroy(&plan);
    harness_ok(status);
    const double unit = ldexp(1.0, -24), dim = (double)p->desc.head_dim;
    const double score = unit * ((double)p->desc.scale * dim * sqrt(dim) + 100.0);
    harness_tolerance tolerance = {.absolute = 2.0 * score + 16.0 * unit + (rounds_weights ? ldexp(1.0, -11) : 0.0),
                                   .relative = 4.0 * unit};
    harness_check(name, &p->args.out, p->out, tolerance);
    harness_check("lse", &p->lse, p->expected_lse, (harness_tolerance){.absolute = 4.0 * score + 32.0 * unit, .relative = 4.0 * unit});
}

/* ---- Matrix instructions, played ----------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    rsc_matrix_way way;
    rsc_matrix_tile tile;
} instructions[] = {
    {"mma", {RSC_MATRIX_MMA, 32, 16, false, false, true}, {"g2b1k32", RSC_MATRIX_MMA, 0, 128, 2, 1, 32, false}},
    {"dpas of 16 lanes", {RSC_MATRIX_DPAS, 16, 8, false, false, true}, {"g2b2k32", RSC_MATRIX_DPAS, 0, 128, 2, 2, 32, false}},
    {"dpas of 8 lanes", {RSC_MATRIX_DPAS, 8, 8, false, false, true}, {"g4b1k16q", RSC_MATRIX_DPAS, 0, 128, 4, 1, 16, true}},
    {"wmma of gfx11", {RSC_MATRIX_WMMA, 32, 16, false, false, true}, {"g2b1k32q", RSC_MATRIX_WMMA, 0, 128, 2, 1, 32, true}},
    {"wmma of gfx12", {RSC_MATRIX_WMMA, 32, 16, false, true, true}, {"g1b2k32", RSC_MATRIX_WMMA, 0, 128, 1, 2, 32, false}},
    {"mfma", {RSC_MATRIX_MFMA, 64, 16, false, false, true}, {"g2b1k16", RSC_MATRIX_MFMA, 0, 128, 2, 1, 16, false}},
};
enum { N_INSTRUCTIONS = sizeof instructions / sizeof *instructions };

static size_t under_test; /* of `instructions`; rows carry no data of their own */

static rosace_status create_played(rosace_attention_plan *plan)
{
    return rsc_attention_matrix_create(plan, &instructions[under_test].way, &instructions[under_test].tile);
}

static const rsc_attention_variant played = {.name = "attention_played", .path = ROSACE_PATH_FUSED, .create = create_played,
                                             .destroy = rsc_fused_destroy, .workspace_bytes = rsc_fused_workspace_bytes,
                                             .enqueue = rsc_fused_enqueue};

START_TEST(matrix_instructions)
{
    if (harness_device_info()->local_memory_bytes < 30u << 10 || harness_device_info()->max_work_group_size < 128)
        harness_skip("%zu work-items, %llu bytes of local memory", harness_device_info()->max_work_group_size,
                     (unsigned long long)harness_device_info()->local_memory_bytes);
    for (under_test = 0; under_test < N_INSTRUCTIONS; under_test++) {
        const char *name = instructions[under_test].name;
        /* Dimensions that 16 does not divide, and features, with one instruction each. */
        rosace_attention_desc desc = descriptor(under_test == 3 ? 40 : 32, ROSACE_F16);
        if (under_test == 1) {
            desc.softcap = 3.0f;
            desc.logn_train_len = 16;
            desc.bias = ROSACE_BIAS_ALIBI;
        }
        harness_case("%s, causal", name);
        problem p = make_problem(&desc, harness_small() ? 19 : 75, harness_small() ? 21 : 90, HARNESS_BHSD);
        solve(name, &played, &p, true);
        desc.mask.window_left = 9;
        desc.mask.sinks = 3;
        harness_case("%s, window with sinks, rows that no vector read is for", name);
        p = make_problem(&desc, harness_small() ? 18 : 130, harness_small() ? 18 : 130, HARNESS_GAPS);
        solve(name, &played, &p, true);
    }
}
END_TEST

/* ---- Lanes --------------------------------------------------------------------------------------------------------- */

static const rsc_attention_variant *row_called(const char *name)
{
    const rsc_attention_variant *row;
    for (size_t i = 0; (row = rsc_attention_variant_at(i)) != NULL; i++)
        if (!strcmp(row->name, name)) return row;
    ck_abort_msg("no row %s", name);
}

START_TEST(exchange_between_lanes)
{
    const rsc_attention_variant *row = row_called("attention_gpu_lanes");
    for (int dtype = 0; dtype < 2; dtype++) {
        rosace_attention_desc desc = descriptor(dtype ? 64 : 96, dtype ? ROSACE_F16 : ROSACE_F32);
        char reason[256] = "";
        if (!row->accepts(harness_device_info(), &desc, reason, sizeof reason)) harness_skip("%s", reason);
        harness_case("%s", dtype ? "fp16" : "fp32");
        problem p = make_problem(&desc, 75, 90, HARNESS_BHSD);
        solve("lanes", row, &p, false);
        desc.mask.window_left = 30;
        p = make_problem(&desc, 130, 130, HARNESS_GAPS);
        solve("lanes", row, &p, false);
    }
}
END_TEST

/* ---- Trials -------------------------------------------------------------------------------------------------------- */

/* A row that does the next query's work. */
static rosace_status enqueue_wrong(rosace_attention_plan *plan, rsc_chain *chain, const rsc_attention_call *call)
{
    rsc_attention_call wrong = *call;
    wrong.q_offset++;
    return rsc_fused_enqueue(plan, chain, &wrong);
}

static rosace_status trial_of(const rsc_attention_variant *row)
{
    const rosace_attention_desc given = descriptor(64, ROSACE_F16);
    rosace_attention_desc desc;
    rosace_rope_desc rope;
    harness_ok(rsc_attention_check_desc(&given, &desc, &rope));
    rsc_attention_choice choice = {.variant = row};
    rosace_attention_plan *plan = NULL;
    harness_ok(rsc_attention_plan_make(harness_context(), &desc, &choice, &plan));
    plan->trial = RSC_TRIAL_COMPARE;
    const rosace_status status = rsc_attention_trial(plan, &desc);
    rosace_attention_plan_destroy(&plan);
    return status;
}

START_TEST(a_trial_tells_right_from_wrong)
{
    if (harness_small()) harness_skip("a trial is no small problem");
    rsc_attention_variant row = *row_called("attention_gpu");
    harness_ok(trial_of(&row));
    harness_ok(trial_of(row_called("attention_gemm")));
    row.enqueue = enqueue_wrong;
    harness_expect_status(trial_of(&row), ROSACE_UNSUPPORTED, "wrong on trial");
}
END_TEST

static void note_warning(void *user, rosace_log_level level, const char *message)
{
    int *refused = user;
    if (level == ROSACE_LOG_WARNING && strstr(message, "does not work here")) ++*refused;
}

/* A device that claims to be an AMD GPU, whose compiler knows nothing of AMD's built-ins: what leans on them fails to build,
 * and the portable row is found behind it. */
START_TEST(what_does_not_build_leaves_its_place)
{
    if (harness_small()) harness_skip("a simulator reports each failed build");
    int refused = 0;
    rosace_context_desc context_desc = ROSACE_CONTEXT_DESC_DEFAULT;
    context_desc.log = note_warning;
    context_desc.log_user = &refused;
    rosace_context *context = NULL;
    harness_ok(rosace_context_create(&context_desc, &context));
    context->info.device_class = ROSACE_DEVICE_DISCRETE;
    context->info.has_amd_gcn = context->info.has_fp16 = true;
    context->info.has_intel_subgroups = false;
    strcpy(context->info.amd_target, "gfx90a");
    rosace_attention_desc desc = descriptor(64, ROSACE_F16);
    desc.path = ROSACE_PATH_FUSED;
    rosace_attention_plan *plan = NULL;
    const rosace_status status = rosace_attention_plan_create(context, &desc, &plan);
    char name[96];
    snprintf(name, sizeof name, "%s", rosace_attention_plan_variant(plan));
    rosace_attention_plan_destroy(&plan);
    rosace_context_destroy(&context);
    harness_ok(status);
    ck_assert_msg(!strncmp(name, "attention_gpu_f16_d64_", 22), "%s was taken", name);
    ck_assert_int_eq(refused, 2); /* matrix instructions, and lanes */
}
END_TEST

HARNESS_DEVICE_SUITE("attention_gpu", matrix_instructions, exchange_between_lanes, a_trial_tells_right_from_wrong,
                     what_does_not_build_leaves_its_place)
