/* SPDX-License-Identifier: MIT
 * Attention and matrix product on a device against what other implementations give (tests/golden/make.py names them). */
#include <math.h>
#include <string.h>

#include <rosace/matmul.h>

#include "golden.h"

/* The inputs of golden values are exact in both data types. */
static const rosace_dtype dtypes[] = {ROSACE_F32, ROSACE_F16};
static const double u = 0x1p-24; /* half a unit in the last place of an fp32 number below 1 */

/* A sum of products is off by about u times its largest partial sum, which is of the size of the largest score or of 1; four
 * of those for the product, the scale, a bias and a softcap. An error e of a score changes its probability by a factor
 * within 1 +- 2 e. */
static double score_error(const golden_case *c, const rosace_attention_desc *desc, size_t q_count, size_t k_count)
{
    size_t dim = desc->head_dim, group = desc->n_heads / desc->n_kv_heads;
    const double *q = golden_values(c, "q", q_count), *k = golden_values(c, "k", k_count);
    double scale = desc->scale != 0 ? (double)desc->scale : 1 / sqrt((double)dim), largest = 0;
    for (size_t m = 0; m < q_count / dim; m++)
        for (size_t n = m % desc->n_heads / group; n < k_count / dim; n += desc->n_kv_heads) {
            double sum = 0;
            for (size_t d = 0; d < dim; d++)
                sum += q[m * dim + d] * k[n * dim + d];
            largest = fmax(largest, fabs(scale * sum));
        }
    return 4 * u * (1 + largest);
}

/* NULL when the case has no such array. */
static int64_t *integers(const golden_case *c, const char *key, size_t *count)
{
    const golden_array *a = golden_find(c, key);
    if (!a) return NULL;
    int64_t *numbers = harness_alloc(a->count, sizeof *numbers);
    for (size_t i = 0; i < a->count; i++) numbers[i] = (int64_t)a->values[i];
    if (count) *count = a->count;
    return numbers;
}

static void attention_on_path(const golden_case *c, rosace_dtype dtype, rosace_attention_path path, int layout)
{
    rosace_attention_desc desc = golden_attention_desc(c);
    size_t seq_q = (size_t)golden_number(c, "seq_q", 0), seq_k = (size_t)golden_number(c, "seq_k", 0), dim = desc.head_dim;
    size_t q_count = seq_q * desc.n_heads * dim, k_count = seq_k * desc.n_kv_heads * dim;
    desc.dtype = dtype;
    desc.path = path;
    harness_case("%s path %d layout %s", c->name, (int)path, harness_layout_name(layout));

    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    args.q = harness_tensor(layout, dtype, 1, seq_q, desc.n_heads, dim, golden_values(c, "q", q_count));
    args.k = harness_tensor((layout + 1) % HARNESS_LAYOUTS, dtype, 1, seq_k, desc.n_kv_heads, dim, golden_values(c, "k", k_count));
    args.v = harness_tensor((layout + 2) % HARNESS_LAYOUTS, dtype, 1, seq_k, desc.n_kv_heads, dim, golden_values(c, "v", k_count));
    args.out = harness_tensor((layout + 3) % HARNESS_LAYOUTS, dtype, 1, seq_q, desc.n_heads, dim, NULL);
    args.q_offset = (int64_t)golden_number(c, "q_offset", (double)ROSACE_ALIGN_BOTTOM_RIGHT);
    rosace_tensor lse = harness_flat(ROSACE_F32, desc.n_heads * seq_q, NULL);
    args.lse = lse.mem;
    args.lse_offset = lse.offset;
    if (desc.bias == ROSACE_BIAS_ALIBI) {
        float slopes[16];
        double *values = harness_zeros(desc.n_heads);
        harness_ok(rosace_alibi_slopes(desc.n_heads, slopes));
        for (size_t h = 0; h < desc.n_heads; h++)
            values[h] = slopes[h];
        rosace_tensor t = harness_flat(ROSACE_F32, desc.n_heads, values);
        args.bias_params = t.mem;
        args.bias_params_offset = t.offset;
    }

    const golden_array *params = golden_find(c, "bias_params");
    if (params) {
        rosace_tensor t = harness_flat(ROSACE_F32, params->count, params->values);
        args.bias_params = t.mem;
        args.bias_params_offset = t.offset;
    }

    const golden_array *sinks = golden_find(c, "sink_logits");
    if (sinks) {
        rosace_tensor t = harness_flat(ROSACE_F32, sinks->count, sinks->values);
        args.sink_logits = t.mem;
        args.sink_logits_offset = t.offset;
    }
    int64_t *cu_q = integers(c, "cu_seqlens_q", &args.n_seqs), *cu_k = integers(c, "cu_seqlens_k", NULL);
    args.n_seqs -= args.n_seqs > 0; /* they have an element more */
    args.cu_seqlens_q = cu_q;
    args.cu_seqlens_k = cu_k;
    args.seq_lens_k = integers(c, "seq_lens_k", NULL);
    desc.head_window_left = integers(c, "head_window_left", NULL);

    rosace_status status = rosace_attention(harness_context(), harness_queue(), &desc, &args, 0, NULL, NULL);
    if (status == ROSACE_UNSUPPORTED && path == ROSACE_PATH_FUSED)
        return; /* the fused path may refuse a shape; the other may not */
    harness_ok(status);

    const golden_array *v = golden_find(c, "v");
    double error = score_error(c, &desc, q_count, k_count), largest_value = 0;
    for (size_t i = 0; i < v->count; i++)
        largest_value = fmax(largest_value, fabs(v->values[i]));
    double sum_error = 4 * u; /* of the exponentials, of the weighted values, and of the division */
    const char *op = path == ROSACE_PATH_FUSED ? "attention fused" : path == ROSACE_PATH_GEMM ? "attention gemm" : "decode";
    harness_check(op, &args.out, golden_values(c, "out", q_count),
                  (harness_tolerance){.absolute = largest_value * (2 * error + 2 * sum_error)});
    if (golden_find(c, "lse"))
        harness_check("lse", &lse, golden_values(c, "lse", desc.n_heads * seq_q),
                      (harness_tolerance){.absolute = error + sum_error, .relative = 2 * u});
}

START_TEST(attention_as_in_torch)
{
    int layout = 0;
    for (const golden_case *c = golden_read("attention.txt"); c; c = c->next) {
        if (golden_find(c, "slopes"))
            continue;
        for (int d = 0; d < 2; d++)
            for (rosace_attention_path path = ROSACE_PATH_GEMM; path <= ROSACE_PATH_FUSED; path++)
                attention_on_path(c, dtypes[d], path, layout++ % HARNESS_LAYOUTS);
    }
}
END_TEST

START_TEST(extras_as_in_torch)
{
    int turn = 0;
    for (const golden_case *c = golden_read("attention_extras.txt"); c; c = c->next, turn++)
        for (rosace_attention_path path = ROSACE_PATH_GEMM; path <= ROSACE_PATH_DECODE; path++)
            attention_on_path(c, dtypes[turn % 2], path, turn % HARNESS_LAYOUTS);
}
END_TEST

START_TEST(varlen_as_in_torch)
{
    int layout = 0;
    for (const golden_case *c = golden_read("varlen.txt"); c; c = c->next)
        for (rosace_attention_path path = ROSACE_PATH_GEMM; path <= ROSACE_PATH_DECODE; path++)
            attention_on_path(c, ROSACE_F32, path, layout++ % HARNESS_LAYOUTS);
}
END_TEST

/* The longest of `count` vectors. */
static double longest(const double *x, size_t count, size_t dim)
{
    double most = 0;
    for (size_t i = 0; i < count; i++) {
        double sum = 0;
        for (size_t d = 0; d < dim; d++)
            sum += x[i * dim + d] * x[i * dim + d];
        most = fmax(most, sqrt(sum));
    }
    return most;
}

/* Two scores or two terms of a score: no product is larger than both lengths, and errors are as above, once for either; a
 * rotation adds 8 roundings to both operands. */
START_TEST(relative_as_in_torch)
{
    static const rosace_attention_path paths[] = {ROSACE_PATH_GEMM, ROSACE_PATH_FUSED, ROSACE_PATH_DECODE};
    for (const golden_case *c = golden_read("relative.txt"); c; c = c->next)
        for (size_t p = 0; p < sizeof paths / sizeof paths[0]; p++) {
            rosace_attention_desc desc = golden_attention_desc(c);
            const size_t seq = (size_t)golden_number(c, "seq_q", 0), dim = desc.head_dim, count = seq * dim;
            const size_t rows = (size_t)(2 * desc.bias_max_distance + 1);
            const double *q = golden_values(c, "q", count), *k = golden_values(c, "k", count), *v = golden_values(c, "v", count);
            const rosace_rope_desc rope = ROSACE_ROPE_DESC_DEFAULT;
            harness_case("%s path %d", c->name, (int)paths[p]);
            desc.path = paths[p];
            if (desc.rerope_window) desc.rope = &rope;
            rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
            args.q = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq, 1, dim, q);
            args.k = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq, 1, dim, k);
            args.v = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq, 1, dim, v);
            args.out = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq, 1, dim, NULL);
            const rosace_tensor lse = harness_flat(ROSACE_F32, seq, NULL);
            args.lse = lse.mem;
            args.lse_offset = lse.offset;
            double key = longest(k, seq, dim), value = longest(v, seq, dim);
            if (desc.bias == ROSACE_BIAS_SHAW) {
                const double *keys = golden_values(c, "shaw_key", rows * dim), *values = golden_values(c, "shaw_value", rows * dim);
                const rosace_tensor shaw_key = harness_flat(ROSACE_F32, rows * dim, keys);
                const rosace_tensor shaw_value = harness_flat(ROSACE_F32, rows * dim, values);
                args.shaw_key = shaw_key.mem;
                args.shaw_key_offset = shaw_key.offset;
                args.shaw_value = shaw_value.mem;
                args.shaw_value_offset = shaw_value.offset;
                key += longest(keys, rows, dim);
                value += longest(values, rows, dim);
            }
            harness_ok(rosace_attention(harness_context(), harness_queue(), &desc, &args, 0, NULL, NULL));
            const double largest = longest(q, seq, dim) * key / sqrt((double)dim);
            const double error = 4 * u * (1 + largest) + (desc.rope ? 16 * u * largest : 0), sum_error = 4 * u;
            harness_check("relative", &args.out, golden_values(c, "out", count),
                          (harness_tolerance){.absolute = value * (2 * error + 2 * sum_error)});
            harness_check("lse", &lse, golden_values(c, "lse", seq),
                          (harness_tolerance){.absolute = error + sum_error, .relative = 2 * u});
        }
}
END_TEST

START_TEST(t5_buckets_as_in_transformers)
{
    for (const golden_case *c = golden_read("t5.txt"); c; c = c->next) {
        harness_case("%s", c->name);
        size_t last = (size_t)golden_number(c, "last", 0), buckets = (size_t)golden_number(c, "buckets", 0);
        double *numbers = harness_zeros(buckets);
        for (size_t i = 0; i < buckets; i++)
            numbers[i] = (double)i;
        const rosace_tensor params = harness_flat(ROSACE_F32, buckets, numbers);
        rosace_bias_matrix_args args = ROSACE_BIAS_MATRIX_ARGS_DEFAULT;
        args.out = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, 1, 1, 2 * last + 1, NULL);
        args.q_offset = (int64_t)last;
        args.bias = ROSACE_BIAS_T5;
        args.bias_buckets = (int64_t)buckets;
        args.bias_max_distance = (int64_t)golden_number(c, "max_distance", 0);
        args.bias_causal = golden_number(c, "causal", 0) != 0;
        args.bias_params = params.mem;
        args.bias_params_offset = params.offset;
        harness_ok(rosace_bias_matrix(harness_context(), harness_queue(), &args, 0, NULL, NULL));
        harness_check("t5 buckets", &args.out, golden_values(c, "bucket", 2 * last + 1), (harness_tolerance){.mostly_zero = true});
    }
}
END_TEST

START_TEST(alibi_slopes_as_in_mpt)
{
    for (const golden_case *c = golden_read("attention.txt"); c; c = c->next) {
        if (!golden_find(c, "slopes"))
            continue;
        size_t heads = (size_t)golden_number(c, "n_heads", 0);
        float slopes[16];
        double *got = harness_zeros(heads);
        harness_ok(rosace_alibi_slopes(heads, slopes));
        for (size_t h = 0; h < heads; h++)
            got[h] = slopes[h];
        harness_check_values("slopes", ROSACE_F32, heads, got, golden_values(c, "slopes", heads),
                             (harness_tolerance){.relative = 4 * u});
    }
}
END_TEST

START_TEST(matmul_as_in_torch)
{
    const golden_case *c = golden_read("layers.txt");
    while (strcmp(c->name, "matmul") != 0)
        c = c->next;
    size_t m = (size_t)golden_number(c, "m", 0), n = (size_t)golden_number(c, "n", 0), k = (size_t)golden_number(c, "k", 0);
    for (int d = 0; d < 2; d++) {
        rosace_tensor a = harness_flat(dtypes[d], m * k, golden_values(c, "a", m * k));
        rosace_tensor b = harness_flat(dtypes[d], k * n, golden_values(c, "b", k * n));
        rosace_tensor out = harness_flat(dtypes[d], m * n, golden_values(c, "c", m * n));
        rosace_matmul_args args = ROSACE_MATMUL_ARGS_DEFAULT;
        args.dtype = dtypes[d];
        args.path = ROSACE_MATMUL_TILE;
        args.a = (rosace_matrix){.mem = a.mem, .offset = a.offset, .rows = m, .cols = k};
        args.b = (rosace_matrix){.mem = b.mem, .offset = b.offset, .rows = k, .cols = n};
        args.c = (rosace_matrix){.mem = out.mem, .offset = out.offset, .rows = m, .cols = n};
        args.alpha = (float)golden_number(c, "alpha", 0);
        args.beta = (float)golden_number(c, "beta", 0);
        harness_ok(rosace_matmul(harness_context(), harness_queue(), &args, 0, NULL, NULL));
        /* 7 products of numbers below 4, and beta C below 8 */
        harness_check("matmul", &out, golden_values(c, "out", m * n), (harness_tolerance){.absolute = 10 * u * (7 * 16 + 8)});
    }
}
END_TEST

HARNESS_DEVICE_SUITE("golden_attention", attention_as_in_torch, extras_as_in_torch, relative_as_in_torch, varlen_as_in_torch, t5_buckets_as_in_transformers, alibi_slopes_as_in_mpt,
                     matmul_as_in_torch)
