/* SPDX-License-Identifier: MIT
 * The backward pass of attention on a device against the reference, which gets its `out` and `lse` from the reference, too. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <rosace/backward.h>

#include "bias_params.h"
#include "golden.h"
#include "harness.h"
#include "src/device.h"
#include "src/reference/reference.h"

typedef struct backward_case {
    rosace_attention_desc desc;
    rosace_rope_desc rope; /* used when head_dim in it is not 0 */
    size_t batch, seq_q, seq_k;
    int64_t q_offset;
    int layout; /* of q; the others have the next ones */
    int64_t first_position; /* -1: the default positions */
} backward_case;

static backward_case plain(size_t heads, size_t kv_heads, size_t head_dim, size_t seq_q, size_t seq_k)
{
    backward_case c = {.desc = ROSACE_ATTENTION_DESC_DEFAULT, .batch = 1, .seq_q = seq_q, .seq_k = seq_k,
                       .q_offset = ROSACE_ALIGN_BOTTOM_RIGHT, .first_position = -1};
    c.desc.n_heads = heads;
    c.desc.n_kv_heads = kv_heads;
    c.desc.head_dim = head_dim;
    return c;
}

static void name_case(const backward_case *c)
{
    const rosace_mask *m = &c->desc.mask;
    harness_case("%s batch %zu seq %zu:%zu offset %lld heads %zu:%zu head_dim %zu causal %d window %lld:%lld sinks %lld prefix %lld "
                 "chunk %lld back %lld %s softcap %g logn %lld rope %zu layout %s",
                 rosace_dtype_name(c->desc.dtype), c->batch, c->seq_q, c->seq_k,
                 c->q_offset == ROSACE_ALIGN_BOTTOM_RIGHT ? -1LL : (long long)c->q_offset, c->desc.n_heads, c->desc.n_kv_heads,
                 c->desc.head_dim, m->causal, (long long)m->window_left, (long long)m->window_right, (long long)m->sinks,
                 (long long)m->prefix, (long long)m->chunk, (long long)m->chunk_back, bias_name(c->desc.bias),
                 (double)c->desc.softcap, (long long)c->desc.logn_train_len, c->rope.head_dim, harness_layout_name(c->layout));
}

/* Errors are a share of the sums of absolute values. A probability is off, relatively, by what its score is off (a sum of head_dim
 * products below 1), and by what lse is; the gradient of a score by that and by the roundings of two sums of head_dim products;
 * out has the data type's rounding. Turned operands are kept in the data type, and so are gradients before they are turned. */
static double share_for(const backward_case *c, double largest_scale, double bias_off, double lse)
{
    const double unit = ldexp(1.0, -24), half = ldexp(1.0, c->desc.dtype == ROSACE_BF16 ? -8 : -11), dim = (double)c->desc.head_dim;
    double score = unit * largest_scale * dim * sqrt(dim) + bias_off + 2.0 * unit * lse;
    if (c->desc.softcap > 0.0f) score += 8.0 * unit * (double)c->desc.softcap;
    if (c->rope.head_dim) score += largest_scale * sqrt(dim) * (c->desc.dtype != ROSACE_F32 ? 4.0 * half : 2e-6);
    double share = 2.0 * score + unit * (16.0 + sqrt(dim) + sqrt((double)(c->seq_q + c->seq_k)));
    if (c->desc.dtype != ROSACE_F32) share += c->rope.head_dim ? 4.0 * half : half;
    return share;
}

static double *allow(const double *size, size_t rows, size_t dim, double share, bool turned)
{
    double *allowed = harness_zeros(rows * dim);
    for (size_t r = 0; r < rows; r++) {
        double largest = 0.0;
        for (size_t d = 0; d < dim; d++) largest = fmax(largest, size[r * dim + d]);
        for (size_t d = 0; d < dim; d++) allowed[r * dim + d] = share * (turned ? 3.0 * largest : size[r * dim + d]);
    }
    return allowed;
}

static void run(const backward_case *c)
{
    name_case(c);
    rosace_attention_desc desc = c->desc;
    if (c->rope.head_dim) desc.rope = &c->rope;
    const rosace_dtype dtype = desc.dtype;
    const size_t dim = desc.head_dim, q_rows = c->batch * c->seq_q * desc.n_heads, k_rows = c->batch * c->seq_k * desc.n_kv_heads;
    const size_t q_count = q_rows * dim, k_count = k_rows * dim;
    const int64_t q_offset = c->q_offset == ROSACE_ALIGN_BOTTOM_RIGHT ? (int64_t)c->seq_k - (int64_t)c->seq_q : c->q_offset;
    if (desc.scale == 0.0f) desc.scale = (float)(1.0 / sqrt((double)dim));
    double *q = harness_random(q_count, dtype), *k = harness_random(k_count, dtype), *v = harness_random(k_count, dtype);
    double *dout = harness_random(q_count, dtype), *out = harness_zeros(q_count), *lse = harness_zeros(q_rows);
    ref_bias bias = {desc.bias, desc.n_heads, desc.bias_max_distance, desc.bias_buckets, desc.bias_width, desc.bias_causal, NULL};
    const rosace_tensor params = bias_params(&bias);
    int32_t *q_positions = NULL, *k_positions = NULL;
    if (c->first_position >= 0) {
        q_positions = harness_alloc(c->batch * c->seq_q, sizeof *q_positions);
        k_positions = harness_alloc(c->batch * c->seq_k, sizeof *k_positions);
        for (size_t i = 0; i < c->batch * c->seq_q; i++)
            q_positions[i] = (int32_t)(c->first_position + q_offset + (int64_t)(i % c->seq_q));
        for (size_t i = 0; i < c->batch * c->seq_k; i++)
            k_positions[i] = (int32_t)(c->first_position + (int64_t)(i % c->seq_k));
    }
    const ref_attention_args reference = {.batch = c->batch, .seq_q = c->seq_q, .seq_k = c->seq_k, .q_offset = q_offset, .q = q,
                                          .k = k, .v = v, .bias_params = bias.params, .q_positions = q_positions,
                                          .k_positions = k_positions, .out = out, .lse = lse};
    ref_attention(&desc, &reference);
    const ref_attention_gradients g = {.dout = dout,
                                       .dq = harness_zeros(q_count),
                                       .dk = harness_zeros(k_count),
                                       .dv = harness_zeros(k_count),
                                       .dq_size = harness_zeros(q_count),
                                       .dk_size = harness_zeros(k_count),
                                       .dv_size = harness_zeros(k_count)};
    ck_assert(ref_attention_backward(&desc, &reference, &g));

    rosace_attention_args forward = ROSACE_ATTENTION_ARGS_DEFAULT;
    rosace_attention_backward_args args = ROSACE_ATTENTION_BACKWARD_ARGS_DEFAULT;
    const int next = (c->layout + 1) % HARNESS_LAYOUTS, third = (c->layout + 2) % HARNESS_LAYOUTS;
    forward.q = harness_tensor(c->layout, dtype, c->batch, c->seq_q, desc.n_heads, dim, q);
    forward.k = harness_tensor(next, dtype, c->batch, c->seq_k, desc.n_kv_heads, dim, k);
    forward.v = harness_tensor(next, dtype, c->batch, c->seq_k, desc.n_kv_heads, dim, v);
    forward.out = harness_tensor(third, dtype, c->batch, c->seq_q, desc.n_heads, dim, out);
    forward.q_offset = c->q_offset;
    const rosace_tensor sums = harness_flat(ROSACE_F32, q_rows, lse);
    forward.lse = sums.mem;
    forward.lse_offset = sums.offset;
    forward.bias_params = params.mem;
    forward.bias_params_offset = params.offset;
    if (q_positions) {
        forward.use_positions = true;
        forward.q_positions.ids = harness_int32(q_positions, c->batch * c->seq_q, &forward.q_positions.ids_offset);
        forward.q_positions.batch_stride = (ptrdiff_t)c->seq_q;
        forward.k_positions.ids = harness_int32(k_positions, c->batch * c->seq_k, &forward.k_positions.ids_offset);
        forward.k_positions.batch_stride = (ptrdiff_t)c->seq_k;
    }
    args.forward = &forward;
    args.dout = harness_tensor(next, dtype, c->batch, c->seq_q, desc.n_heads, dim, dout);
    args.dq = harness_tensor(third, dtype, c->batch, c->seq_q, desc.n_heads, dim, NULL);
    args.dk = harness_tensor(third, dtype, c->batch, c->seq_k, desc.n_kv_heads, dim, NULL);
    args.dv = harness_tensor(c->layout, dtype, c->batch, c->seq_k, desc.n_kv_heads, dim, NULL);

    desc.max_batch = c->batch;
    desc.max_seq_q = c->seq_q;
    desc.max_seq_k = c->seq_k;
    rosace_attention_backward_plan *plan = NULL;
    harness_ok(rosace_attention_backward_plan_create(harness_context(), &desc, &plan));
    const rosace_status status = rosace_attention_backward_enqueue(plan, harness_queue(), &args, 0, NULL, NULL);
    if (!(status == ROSACE_UNSUPPORTED && rsc_device_ends_loops(harness_device_info()))) {
        harness_ok(status);
        double logn = 1.0, largest_lse = 0.0;
        if (desc.logn_train_len)
            logn = fmax(1.0, log((double)(c->seq_k + c->seq_q + 1 + (size_t)(c->first_position > 0 ? c->first_position : 0))) /
                                 log((double)desc.logn_train_len));
        for (size_t i = 0; i < q_rows; i++) largest_lse = isinf(lse[i]) ? largest_lse : fmax(largest_lse, fabs(lse[i]));
        const double share = share_for(
            c, (double)desc.scale * logn,
            bias_error(&bias, q_offset - (int64_t)c->seq_k + 1, q_offset + (int64_t)c->seq_q - 1), largest_lse);
        const bool turned = c->rope.head_dim > 0;
        harness_check("backward dq", &args.dq, g.dq, (harness_tolerance){.allowed = allow(g.dq_size, q_rows, dim, share, turned), .mostly_zero = true});
        harness_check("backward dk", &args.dk, g.dk, (harness_tolerance){.allowed = allow(g.dk_size, k_rows, dim, share, turned), .mostly_zero = true});
        harness_check("backward dv", &args.dv, g.dv, (harness_tolerance){.allowed = allow(g.dv_size, k_rows, dim, share, false), .mostly_zero = true});
    }
    rosace_attention_backward_plan_destroy(&plan);
}

/* A simulator runs little, and the compiler of a device that ends loops takes its time for each program. */
static bool few(void) { return harness_small() || rsc_device_ends_loops(harness_device_info()); }
static size_t shorter(size_t n) { return few() && n > 20 ? 17 + n % 7 : n; }

START_TEST(lengths_and_layouts)
{
    static const size_t lengths[] = {1, 15, 16, 33, 65, 300};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i += few() ? 3 : 1) {
        backward_case c = plain(4, 2, 16, shorter(lengths[i]), shorter(lengths[i]));
        c.layout = (int)i % HARNESS_LAYOUTS;
        c.batch = 1 + i % 2;
        run(&c);
        c.desc.mask.causal = true;
        run(&c);
        c.desc.mask.window_left = 9;
        run(&c);
    }
}
END_TEST

START_TEST(head_dims)
{
    static const size_t dims[] = {24, 80, 256};
    for (size_t i = few() ? 1 : 0; i < sizeof dims / sizeof dims[0]; i += few() ? 3 : 1) {
        backward_case c = plain(2, 1, dims[i], shorter(50), shorter(70));
        c.desc.mask.causal = true;
        c.desc.mask.window_left = 20;
        c.desc.dtype = i % 2 ? ROSACE_F16 : i == 2 ? ROSACE_BF16 : ROSACE_F32;
        run(&c);
    }
}
END_TEST

/* Blocks of keys that share slots, first keys that all queries see, lengths that differ either way, rows that see nothing. */
START_TEST(masks)
{
    static const struct {
        size_t seq_q, seq_k;
        int64_t q_offset;
        rosace_mask mask;
    } cases[] = {
        {70, 70, ROSACE_ALIGN_BOTTOM_RIGHT, {false, 0, 0, 0, 0, 0, 0}},
        {90, 90, ROSACE_ALIGN_BOTTOM_RIGHT, {false, 5, 3, 0, 0, 0, 0}},
        {90, 90, ROSACE_ALIGN_BOTTOM_RIGHT, {false, -1, 3, 0, 0, 0, 0}},
        {130, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 10, -1, 2, 37, 0, 0}},
        {130, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 40, -1, 3, 0, 24, 2}},
        {130, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {false, -1, -1, 0, 0, 33, 0}},
        {17, 130, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 50, -1, 0, 0, 0, 0}},
        {90, 41, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 7, -1, 3, 0, 0, 0}},
        {40, 60, 50, {true, 15, -1, 0, 0, 0, 0}},
        {900, 900, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 20, -1, 0, 0, 0, 0}},
        {1100, 1100, ROSACE_ALIGN_BOTTOM_RIGHT, {true, 30, -1, 4, 300, 0, 0}},
        {1100, 1100, ROSACE_ALIGN_BOTTOM_RIGHT, {false, -1, -1, 2, 0, 64, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (few() && cases[i].seq_q > 100) continue;
        backward_case c = plain(2, 1, 16, cases[i].seq_q, cases[i].seq_k);
        c.desc.mask = cases[i].mask;
        c.q_offset = cases[i].q_offset;
        run(&c);
    }
}
END_TEST

START_TEST(scores_beside_products)
{
    backward_case c = plain(2, 1, 16, shorter(60), shorter(60));
    c.desc.mask.causal = true;
    c.desc.softcap = 3.0f;
    c.desc.logn_train_len = 8;
    c.desc.scale = 0.5f;
    run(&c);
    c.first_position = 100;
    run(&c);
    c.desc.softcap = 0.0f;
    c.desc.logn_train_len = 0;
    for (int kind = few() ? ROSACE_BIAS_T5 : ROSACE_BIAS_ALIBI; kind <= ROSACE_BIAS_TABLE; kind += few() ? 5 : 1) {
        if (kind == ROSACE_BIAS_SHAW || kind == ROSACE_BIAS_KERPLE_POWER || kind == ROSACE_BIAS_SANDWICH) continue;
        c.desc.bias = (rosace_bias_kind)kind;
        c.desc.bias_max_distance = 20;
        c.desc.bias_buckets = 16;
        run(&c);
    }
}
END_TEST

START_TEST(rotation)
{
    backward_case c = plain(4, 2, 16, shorter(50), shorter(50));
    c.rope = (rosace_rope_desc)ROSACE_ROPE_DESC_DEFAULT;
    c.rope.head_dim = 16;
    c.desc.mask.causal = true;
    run(&c);
    if (!few()) {
        c.desc.dtype = ROSACE_F16;
        run(&c);
    }
    c.desc.dtype = ROSACE_F32;
    c.first_position = 1000;
    c.rope.scaling.kind = ROSACE_ROPE_SCALING_YARN;
    c.rope.scaling.factor = 4.0;
    c.rope.scaling.original_max_position = 64;
    c.rope.interleaved = true;
    c.rope.rotary_dim = 8;
    run(&c);
}
END_TEST

/* The other kernel than the one that is taken here. */
START_TEST(kernel_for_gpus)
{
    if (rsc_device_ends_loops(harness_device_info())) harness_skip("it is the one that is taken here");
    setenv("ROSACE_BACKWARD_VARIANT", "backward_gpu", 1);
    backward_case c = plain(4, 2, 24, shorter(75), shorter(90));
    c.batch = 2;
    c.desc.mask.causal = true;
    c.desc.mask.window_left = 30;
    c.desc.mask.sinks = 2;
    c.desc.softcap = 4.0f;
    c.desc.bias = ROSACE_BIAS_ALIBI;
    c.layout = HARNESS_GAPS;
    run(&c);
    unsetenv("ROSACE_BACKWARD_VARIANT");
}
END_TEST

/* Forward and backward on the device against torch's autograd. */
START_TEST(gradients_as_in_torch)
{
    const double unit = ldexp(1.0, -24);
    for (const golden_case *g = golden_read("backward.txt"); g; g = g->next) {
        harness_case("%s", g->name);
        rosace_attention_desc desc = golden_attention_desc(g);
        rosace_rope_desc rope = ROSACE_ROPE_DESC_DEFAULT;
        if (golden_number(g, "rope", 0) != 0) desc.rope = &rope;
        const size_t dim = desc.head_dim, seq = (size_t)golden_number(g, "seq", 0);
        const size_t q_count = seq * desc.n_heads * dim, k_count = seq * desc.n_kv_heads * dim;
        rosace_attention_args forward = ROSACE_ATTENTION_ARGS_DEFAULT;
        forward.q = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq, desc.n_heads, dim, golden_values(g, "q", q_count));
        forward.k = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq, desc.n_kv_heads, dim, golden_values(g, "k", k_count));
        forward.v = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq, desc.n_kv_heads, dim, golden_values(g, "v", k_count));
        forward.out = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq, desc.n_heads, dim, NULL);
        const rosace_tensor lse = harness_flat(ROSACE_F32, desc.n_heads * seq, NULL);
        forward.lse = lse.mem;
        forward.lse_offset = lse.offset;
        const golden_array *params = golden_find(g, "bias_params");
        if (params) {
            const rosace_tensor t = harness_flat(ROSACE_F32, params->count, params->values);
            forward.bias_params = t.mem;
            forward.bias_params_offset = t.offset;
        }
        harness_ok(rosace_attention(harness_context(), harness_queue(), &desc, &forward, 0, NULL, NULL));
        rosace_attention_backward_args args = ROSACE_ATTENTION_BACKWARD_ARGS_DEFAULT;
        args.forward = &forward;
        args.dout = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq, desc.n_heads, dim, golden_values(g, "dout", q_count));
        args.dq = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq, desc.n_heads, dim, NULL);
        args.dk = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq, desc.n_kv_heads, dim, NULL);
        args.dv = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, seq, desc.n_kv_heads, dim, NULL);
        desc.max_batch = 1;
        desc.max_seq_q = desc.max_seq_k = seq;
        rosace_attention_backward_plan *plan = NULL;
        harness_ok(rosace_attention_backward_plan_create(harness_context(), &desc, &plan));
        harness_ok(rosace_attention_backward_enqueue(plan, harness_queue(), &args, 0, NULL, NULL));
        /* Inputs are normally distributed: scores stay below 16, so probabilities are within 128 units, and gradients are sums
         * of at most seq * dim terms of the size of a few. */
        const harness_tolerance tolerance = {.absolute = 128.0 * unit * (double)dim, .relative = 128.0 * unit, .mostly_zero = true};
        harness_check("backward golden", &args.dq, golden_values(g, "dq", q_count), tolerance);
        harness_check("backward golden", &args.dk, golden_values(g, "dk", k_count), tolerance);
        harness_check("backward golden", &args.dv, golden_values(g, "dv", k_count), tolerance);
        rosace_attention_backward_plan_destroy(&plan);
    }
}
END_TEST

START_TEST(refuses_what_is_wrong)
{
    rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
    desc.n_heads = 2;
    desc.head_dim = 16;
    rosace_attention_backward_plan *plan = NULL;
    harness_expect_status(rosace_attention_backward_plan_create(harness_context(), NULL, &plan), ROSACE_INVALID_ARGUMENT, "desc");
    harness_expect_status(rosace_attention_backward_plan_create(harness_context(), &desc, NULL), ROSACE_INVALID_ARGUMENT, "out");
    rosace_attention_desc other = desc;
    other.bias = ROSACE_BIAS_SHAW;
    other.bias_max_distance = 4;
    harness_expect_status(rosace_attention_backward_plan_create(harness_context(), &other, &plan), ROSACE_UNSUPPORTED,
                          "ROSACE_BIAS_SHAW");
    ck_assert_ptr_null(plan);
    other = desc;
    other.varlen = true;
    harness_expect_status(rosace_attention_backward_plan_create(harness_context(), &other, &plan), ROSACE_UNSUPPORTED, "varlen");
    rosace_rope_desc rope = ROSACE_ROPE_DESC_DEFAULT;
    other = desc;
    other.rope = &rope;
    other.mask.causal = true;
    other.rerope_window = 8;
    harness_expect_status(rosace_attention_backward_plan_create(harness_context(), &other, &plan), ROSACE_UNSUPPORTED,
                          "rerope_window = 8");

    harness_ok(rosace_attention_backward_plan_create(harness_context(), &desc, &plan));
    rosace_attention_args forward = ROSACE_ATTENTION_ARGS_DEFAULT;
    rosace_attention_backward_args args = ROSACE_ATTENTION_BACKWARD_ARGS_DEFAULT;
    rosace_tensor *const all[] = {&forward.q, &forward.k, &forward.v, &forward.out, &args.dout, &args.dq, &args.dk, &args.dv};
    const size_t count = 5 * 2 * 16;
    for (int i = 0; i < 8; i++)
        *all[i] = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, 5, 2, 16, i < 5 ? harness_random(count, ROSACE_F32) : NULL);
    const rosace_tensor lse = harness_flat(ROSACE_F32, 10, harness_zeros(10));
    forward.lse = lse.mem;
    forward.lse_offset = lse.offset;
    args.forward = &forward;
    size_t bytes = 0;
    harness_ok(rosace_attention_backward_workspace_bytes(plan, 1, 5, 5, &bytes));
    const rosace_tensor workspace = harness_flat(ROSACE_F32, bytes / sizeof(float) + 64, NULL);
    args.workspace = workspace.mem;
    args.workspace_bytes = bytes;
#define REFUSED(bad, status, text)                                                                                     \
    do {                                                                                                               \
        const rosace_attention_backward_args *const given = (bad);                                                     \
        harness_refused(rosace_attention_backward_enqueue(plan, harness_queue(), given, 0, NULL, event), event, &args.dq, status, \
                        text);                                                                                         \
    } while (0)
    REFUSED(NULL, ROSACE_INVALID_ARGUMENT, "args");
    rosace_attention_backward_args bad = args;
    bad.forward = NULL;
    REFUSED(&bad, ROSACE_INVALID_ARGUMENT, "forward");
    bad = args;
    bad.workspace_bytes = bytes - 1;
    REFUSED(&bad, ROSACE_INVALID_ARGUMENT, "workspace_bytes");
    bad.workspace = NULL;
    REFUSED(&bad, ROSACE_INVALID_ARGUMENT, "workspace: NULL");
    bad = args;
    bad.dk.shape[1] = 4;
    REFUSED(&bad, ROSACE_INVALID_ARGUMENT, "dk.shape[1] = 4");
    bad = args;
    bad.dv.mem = NULL;
    REFUSED(&bad, ROSACE_INVALID_ARGUMENT, "dv");
    bad = args;
    bad.dout.dtype = ROSACE_F16;
    REFUSED(&bad, ROSACE_INVALID_ARGUMENT, "dout");
    bad = args;
    bad.dq = bad.dk;
    REFUSED(&bad, ROSACE_INVALID_ARGUMENT, "dq");
    bad = args;
    bad.dv = forward.v;
    REFUSED(&bad, ROSACE_INVALID_ARGUMENT, "dv");
    rosace_attention_args without = forward;
    without.lse = NULL;
    bad = args;
    bad.forward = &without;
    REFUSED(&bad, ROSACE_INVALID_ARGUMENT, "forward.lse");
    rosace_attention_backward_plan_destroy(&plan);
}
END_TEST

HARNESS_DEVICE_SUITE("backward", lengths_and_layouts, head_dims, masks, scores_beside_products, rotation, kernel_for_gpus,
                     gradients_as_in_torch, refuses_what_is_wrong)
