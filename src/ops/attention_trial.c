/* SPDX-License-Identifier: MIT
 * The trial of a new plan whose row leans on what no standard promises: instructions of one vendor, the place of a work-item
 * in its subgroup, a work-group larger than the driver says. A small problem of the plan's own descriptor, with its mask, heads
 * and features, must run, and give what the portable row gives. Costs one more program, which is cached like any. */
#include "attention.h"

#include "../position/bias.h"

#include <math.h>
#include <string.h>

enum { QUERIES = 150, KEYS = 203 }; /* some tiles, the last of them not whole */

/* How far results may be apart. They are means of values in [-1, 1), with weights rounded to fp16 at worst, so within 2^-10 or
 * so of each other; numbers in wrong places are as far apart as the values. */
static const float tolerance = 0x1p-7f;

typedef struct trial {
    rosace_context *context;
    cl_command_queue queue;
    cl_mem q, k, v, out, lse, bias_params, sink_logits;
    size_t out_count, lse_count;
} trial;

/* n / 64 for |n| < 64 in 16 bits, exactly. */
static uint16_t narrow_of(rosace_dtype dtype, int n)
{
    if (dtype == ROSACE_BF16) {
        const float number = (float)n / 64.0f;
        uint32_t bits;
        memcpy(&bits, &number, sizeof bits);
        return (uint16_t)(bits >> 16);
    }
    const unsigned size = (unsigned)(n < 0 ? -n : n);
    if (!size) return 0;
    unsigned shift = 0;
    while (!(size << shift & 0x40u)) shift++;
    return (uint16_t)((n < 0 ? 0x8000u : 0u) | (15u - shift) << 10 | (size << shift & 0x3fu) << 4);
}

static float from_narrow(rosace_dtype dtype, uint16_t half)
{
    if (dtype == ROSACE_BF16) {
        const uint32_t bits = (uint32_t)half << 16;
        float number;
        memcpy(&number, &bits, sizeof number);
        return number;
    }
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    const float size = exponent == 31 ? NAN : exponent ? ldexpf((float)(1024 + fraction), exponent - 25) : ldexpf((float)fraction, -24);
    return half & 0x8000 ? -size : size;
}

/* `count` numbers n / 64, n of least .. 63, by a generator of Knuth's line (MMIX). */
static rosace_status fill(trial *t, rosace_dtype dtype, size_t count, int least, uint64_t seed, const char *what, cl_mem *out)
{
    const size_t bytes = count * rosace_dtype_size(dtype);
    unsigned char *values = rsc_calloc(t->context, count, rosace_dtype_size(dtype));
    if (!values) return rsc_fail(ROSACE_OUT_OF_MEMORY, "attention trial: no host memory");
    for (size_t i = 0; i < count; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const int n = least + (int)((seed >> 33) % (uint64_t)(64 - least));
        const float number = (float)n / 64.0f;
        const uint16_t narrow = narrow_of(dtype, n);
        if (dtype != ROSACE_F32) memcpy(values + i * sizeof narrow, &narrow, sizeof narrow);
        else memcpy(values + i * sizeof number, &number, sizeof number);
    }
    const rosace_status status = rsc_buffer_create(t->context, bytes, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, values, what, out);
    rsc_free(t->context, values);
    return status;
}

static rosace_status prepare(trial *t, const rosace_attention_desc *desc)
{
    cl_int code = CL_SUCCESS;
    t->queue = clCreateCommandQueue(rosace_context_cl(t->context), rosace_context_cl_device(t->context), 0, &code);
    if (code) return rsc_fail_cl(code, "attention trial: clCreateCommandQueue");
    const size_t row = desc->n_heads * desc->head_dim, kv_row = desc->n_kv_heads * desc->head_dim;
    t->out_count = QUERIES * row;
    t->lse_count = QUERIES * desc->n_heads;
    rosace_status status = fill(t, desc->dtype, t->out_count, -63, 1, "attention trial: q", &t->q);
    if (!status) status = fill(t, desc->dtype, KEYS * kv_row, -63, 2, "attention trial: k", &t->k);
    if (!status) status = fill(t, desc->dtype, KEYS * kv_row, -63, 3, "attention trial: v", &t->v);
    const rsc_bias_desc bias = rsc_attention_bias(desc);
    const size_t params = rsc_bias_params(&bias, desc->n_heads);
    if (!status && desc->sink_logits)
        status = fill(t, ROSACE_F32, desc->n_heads, -63, 5, "attention trial: sink_logits", &t->sink_logits);
    if (!status && params) status = fill(t, ROSACE_F32, params, 1, 4, "attention trial: bias_params", &t->bias_params);
    if (!status)
        status = rsc_buffer_create(t->context, t->out_count * rosace_dtype_size(desc->dtype), CL_MEM_WRITE_ONLY, NULL,
                                   "attention trial: out", &t->out);
    if (!status)
        status = rsc_buffer_create(t->context, t->lse_count * sizeof(float), CL_MEM_WRITE_ONLY, NULL, "attention trial: lse",
                                   &t->lse);
    return status;
}

static void clean_up(trial *t)
{
    const cl_mem buffers[] = {t->q, t->k, t->v, t->out, t->lse, t->bias_params, t->sink_logits};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        if (buffers[i]) clReleaseMemObject(buffers[i]);
    if (t->queue) clReleaseCommandQueue(t->queue);
}

/* Runs a plan and reads what it gave: out, then lse, as float; the caller's to free. */
static rosace_status run(trial *t, rosace_attention_plan *plan, float **results)
{
    const rosace_attention_desc *desc = &plan->desc;
    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    args.q = rosace_tensor_bshd(t->q, desc->dtype, 1, QUERIES, desc->n_heads, desc->head_dim);
    args.k = rosace_tensor_bshd(t->k, desc->dtype, 1, KEYS, desc->n_kv_heads, desc->head_dim);
    args.v = rosace_tensor_bshd(t->v, desc->dtype, 1, KEYS, desc->n_kv_heads, desc->head_dim);
    args.out = rosace_tensor_bshd(t->out, desc->dtype, 1, QUERIES, desc->n_heads, desc->head_dim);
    rosace_kv_cache cache = ROSACE_KV_CACHE_DEFAULT;
    cache.k = args.k;
    cache.v = args.v;
    cache.length = KEYS;
    if (desc->cache) args.cache = &cache;
    args.lse = t->lse;
    args.bias_params = t->bias_params;
    args.sink_logits = t->sink_logits;
    const size_t element = rosace_dtype_size(desc->dtype);
    float *values = rsc_calloc(t->context, t->out_count + t->lse_count, sizeof *values);
    uint16_t *halves = element == 2 ? rsc_calloc(t->context, t->out_count, element) : NULL;
    rosace_status status = values && (halves || element != 2)
                               ? rsc_attention_run(plan, t->queue, &args, NULL)
                               : rsc_fail(ROSACE_OUT_OF_MEMORY, "attention trial: no host memory");
    cl_int code = CL_SUCCESS;
    if (!status)
        code = clEnqueueReadBuffer(t->queue, t->out, CL_TRUE, 0, t->out_count * element, halves ? (void *)halves : values, 0, NULL,
                                   NULL);
    if (!status && !code)
        code = clEnqueueReadBuffer(t->queue, t->lse, CL_TRUE, 0, t->lse_count * sizeof(float), values + t->out_count, 0, NULL,
                                   NULL);
    if (code) status = rsc_fail_cl(code, "attention trial: clEnqueueReadBuffer");
    for (size_t i = 0; !status && halves && i < t->out_count; i++) values[i] = from_narrow(desc->dtype, halves[i]);
    rsc_free(t->context, halves);
    if (status) rsc_free(t->context, values);
    else *results = values;
    return status;
}

/* The portable row, or matrix products where that has no tile. */
static rosace_status run_trusted(trial *t, const rosace_attention_desc *desc, float **results)
{
    static const char *const names[] = {"attention_gpu", "attention_gemm"};
    rsc_attention_choice choice = {0};
    char reason[256] = "";
    for (size_t i = 0; i < sizeof names / sizeof *names && !choice.variant; i++) {
        const rsc_attention_variant *row;
        for (size_t r = 0; (row = rsc_attention_variant_at(r)) != NULL; r++)
            if (!strcmp(row->name, names[i]) &&
                row->accepts(rosace_context_device_info(t->context), desc, reason, sizeof reason))
                choice.variant = row;
    }
    if (!choice.variant) return rsc_fail(ROSACE_UNSUPPORTED, "no portable row to compare with: %s", reason);
    rosace_attention_desc alone = *desc; /* with a workspace for the trial only */
    alone.max_batch = alone.max_seq_q = alone.max_seq_k = 0;
    rosace_attention_plan *plan = NULL;
    rosace_status status = rsc_attention_plan_make(t->context, &alone, &choice, &plan);
    if (!status) status = run(t, plan, results);
    rosace_attention_plan_destroy(&plan);
    return status;
}

static rosace_status compare(const trial *t, const char *name, const float *got, const float *expected)
{
    size_t not_zero = 0;
    for (size_t i = 0; i < t->out_count + t->lse_count; i++) {
        const bool lse = i >= t->out_count;
        not_zero += !lse && expected[i] != 0.0f;
        if (lse && got[i] == expected[i]) continue; /* -infinity where nothing is visible */
        const float allowed = tolerance * (lse ? fmaxf(1.0f, fabsf(expected[i])) : 1.0f);
        if (fabsf(got[i] - expected[i]) <= allowed) continue; /* false for NaN */
        return rsc_fail(ROSACE_UNSUPPORTED, "%s: wrong on trial: %s[%zu] is %g, the portable row says %g", name,
                        lse ? "lse" : "out", lse ? i - t->out_count : i, (double)got[i], (double)expected[i]);
    }
    return not_zero ? ROSACE_OK : rsc_fail(ROSACE_UNSUPPORTED, "%s: its trial gave nothing but zeros", name);
}

rosace_status rsc_attention_trial(rosace_attention_plan *plan, const rosace_attention_desc *desc)
{
    trial t = {.context = plan->context};
    float *got = NULL, *expected = NULL;
    rosace_status status = prepare(&t, desc);
    if (!status) {
        status = run(&t, plan, &got);
        /* A group too large for the kernel, or an instruction the device does not have: the row's failure, not the caller's. */
        if (status == ROSACE_OPENCL_ERROR) {
            char said[512];
            strncpy(said, rosace_last_error(), sizeof said - 1);
            said[sizeof said - 1] = '\0';
            status = rsc_fail(ROSACE_UNSUPPORTED, "%s: failed on trial: %s", plan->variant_name, said);
        }
    }
    if (!status && plan->trial == RSC_TRIAL_COMPARE) {
        status = run_trusted(&t, desc, &expected);
        if (!status) status = compare(&t, plan->variant_name, got, expected);
    }
    rsc_free(plan->context, got);
    rsc_free(plan->context, expected);
    clean_up(&t);
    return status;
}
