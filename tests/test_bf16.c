/* SPDX-License-Identifier: MIT
 * bf16 storage in every operation: exact conversion, results against the reference, and torch's own bf16 (tests/golden/make.py). */
#include <math.h>
#include <rosace/layers.h>
#include <rosace/matmul.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"
#include "src/ops/attention.h"
#include "src/ops/matmul.h"
#include "src/ops/rope.h"
#include "src/reference/reference.h"

static const double unit = 0x1p-24; /* half a unit in the last place of an fp32 number below 1 */

/* ---- Conversion -------------------------------------------------------------------------------------------------- */

/* Numbers given by their bits, through the embedding, which does nothing but read and write them. */
static rosace_tensor convert(const rosace_array *from, rosace_dtype to, size_t rows, size_t width)
{
    int32_t *ids = harness_alloc(rows, sizeof *ids);
    for (size_t r = 0; r < rows; r++) ids[r] = (int32_t)r;
    rosace_array index = {0};
    index.mem = harness_int32(ids, rows, &index.offset);
    const rosace_tensor out = harness_flat(to, rows * width, NULL);
    const rosace_array to_array = {out.mem, out.offset, to};
    harness_ok(rosace_embedding(harness_context(), harness_queue(), index, *from, rows, to_array, rows, width, 0, NULL, NULL));
    return out;
}

START_TEST(every_number_is_read_and_written)
{
    enum { WIDTH = 512 + 3 }; /* vectors, and what is left of them */
    const size_t rows = harness_small() ? 2 : 0x10000 / WIDTH, count = rows * WIDTH;
    double *values = harness_zeros(count);
    for (size_t i = 0; i < count; i++) values[i] = harness_double_from_bf16((uint16_t)(i * 0x10000 / count));
    const rosace_tensor brain = harness_flat(ROSACE_BF16, count, values), single = harness_flat(ROSACE_F32, count, values);
    const rosace_array from_brain = {brain.mem, brain.offset, ROSACE_BF16}, from_single = {single.mem, single.offset, ROSACE_F32};
    rosace_tensor out = convert(&from_brain, ROSACE_F32, rows, WIDTH);
    harness_check("read", &out, values, (harness_tolerance){0});
    out = convert(&from_single, ROSACE_BF16, rows, WIDTH);
    harness_check("written", &out, values, (harness_tolerance){0});
}
END_TEST

START_TEST(rounding_as_in_torch)
{
    const golden_case *c = golden_read("bf16.txt");
    const size_t count = golden_find(c, "x")->count;
    const rosace_tensor x = harness_flat(ROSACE_F32, count, golden_values(c, "x", count));
    const rosace_array from = {x.mem, x.offset, ROSACE_F32};
    const double *expected = golden_values(c, "out", count);
    /* As a whole, and number by number: the same, bit for bit but for subnormal ones, which a device may take for 0. */
    for (size_t width = count; width; width = width == count ? 1 : 0) {
        const rosace_tensor out = convert(&from, ROSACE_BF16, count / width, width);
        const double *got = harness_download(&out);
        for (size_t i = 0; i < count; i++)
            ck_assert_msg(got[i] == (double)(float)expected[i] || (fabs(expected[i]) <= 0x1p-126 && fabs(got[i]) <= 0x1p-126),
                          "%zu: %a became %a, not %a", i, golden_values(c, "x", count)[i], got[i], expected[i]);
    }
}
END_TEST

START_TEST(nan_stays_nan)
{
    /* NaN that loses its payload with the lower half of its bits, and NaN that rounding would carry over into -0. */
    const uint32_t bits[] = {0x7F800001u, 0xFF800001u, 0x7F80FFFFu, 0x7FFFFFFFu, 0xFFFFFFFFu, 0x7F800000u, 0xFF800000u, 0x7FC00000u};
    enum { COUNT = 32, KINDS = sizeof bits / sizeof *bits };
    int32_t all[COUNT];
    for (size_t i = 0; i < COUNT; i++) memcpy(&all[i], &bits[i % KINDS], sizeof all[i]);
    rosace_array from = {.dtype = ROSACE_F32};
    from.mem = harness_int32(all, COUNT, &from.offset);
    for (size_t width = COUNT; width; width = width == COUNT ? 1 : 0) {
        const rosace_tensor out = convert(&from, ROSACE_BF16, COUNT / width, width);
        const double *got = harness_download(&out);
        for (size_t i = 0; i < COUNT; i++) {
            if (i % KINDS == 5) ck_assert(got[i] == (double)INFINITY);
            else if (i % KINDS == 6) ck_assert(got[i] == -(double)INFINITY);
            else ck_assert_msg(isnan(got[i]), "%08x became %a", bits[i % KINDS], got[i]);
        }
    }
}
END_TEST

/* ---- Rotation ---------------------------------------------------------------------------------------------------- */

START_TEST(rotation)
{
    enum { BATCH = 2, SEQ = 7, HEADS = 3, SLOTS = 12, SLOT = 4 };
    static const rosace_device_class classes[] = {ROSACE_DEVICE_CPU, ROSACE_DEVICE_DISCRETE};
    for (int i = 0; i < 2; i++) {
        rosace_rope_desc desc = ROSACE_ROPE_DESC_DEFAULT;
        desc.head_dim = 40;
        desc.rotary_dim = i ? 24 : 40;
        desc.interleaved = i == 0;
        desc.dtype = ROSACE_BF16;
        const size_t row = HEADS * desc.head_dim;
        harness_case("rotary_dim %zu interleaved %d", desc.rotary_dim, desc.interleaved);
        double *q = harness_random(BATCH * SEQ * row, ROSACE_BF16), *k = harness_random(BATCH * SEQ * row, ROSACE_BF16),
               *v = harness_random(BATCH * SEQ * row, ROSACE_BF16);
        rosace_tensor tq = harness_tensor(HARNESS_GAPS, ROSACE_BF16, BATCH, SEQ, HEADS, desc.head_dim, q);
        const rosace_tensor tk = harness_tensor(HARNESS_BHSD, ROSACE_BF16, BATCH, SEQ, HEADS, desc.head_dim, k),
                            tv = harness_tensor(HARNESS_BSHD, ROSACE_BF16, BATCH, SEQ, HEADS, desc.head_dim, v);
        double *k_cache = harness_zeros(BATCH * SLOTS * row), *v_cache = harness_zeros(BATCH * SLOTS * row);
        const rosace_tensor tk_cache = harness_tensor(HARNESS_GAPS, ROSACE_BF16, BATCH, SLOTS, HEADS, desc.head_dim, k_cache),
                            tv_cache = harness_tensor(HARNESS_BSHD, ROSACE_BF16, BATCH, SLOTS, HEADS, desc.head_dim, v_cache);
        rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
        args.q = &tq;
        args.k = &tk;
        args.v = &tv;
        args.k_cache = &tk_cache;
        args.v_cache = &tv_cache;
        args.cache_slot = SLOT;
        args.positions.offset = 100000;
        rosace_rope_plan *plan;
        harness_ok(rsc_rope_plan_create_as(harness_context(), &desc, classes[i], &plan));
        harness_ok(rosace_rope_enqueue(plan, harness_queue(), &args, 0, NULL, NULL));
        rosace_rope_plan_destroy(&plan);
        int32_t positions[BATCH * SEQ];
        for (int t = 0; t < BATCH * SEQ; t++) positions[t] = 100000 + t % SEQ;
        ref_rope(&desc, BATCH, SEQ, HEADS, positions, q);
        ref_rope(&desc, BATCH, SEQ, HEADS, positions, k);
        for (size_t b = 0; b < BATCH; b++) {
            memcpy(k_cache + (b * SLOTS + SLOT) * row, k + b * SEQ * row, SEQ * row * sizeof *k);
            memcpy(v_cache + (b * SLOTS + SLOT) * row, v + b * SEQ * row, SEQ * row * sizeof *v);
        }
        harness_check("rope", &tq, q, (harness_tolerance){.absolute = 4e-7});
        harness_check("append", &tk_cache, k_cache, (harness_tolerance){.absolute = 4e-7});
        harness_check("append", &tv_cache, v_cache, (harness_tolerance){0});
    }
}
END_TEST

START_TEST(rotation_as_in_transformers)
{
    const golden_case *c = golden_read("bf16.txt")->next;
    rosace_rope_desc desc = ROSACE_ROPE_DESC_DEFAULT;
    desc.head_dim = 40;
    desc.dtype = ROSACE_BF16;
    const size_t seq = golden_find(c, "positions")->count;
    const double *q = golden_values(c, "q", seq * 80), *k = golden_values(c, "k", seq * 40);
    rosace_tensor tq = harness_tensor(HARNESS_BSHD, ROSACE_BF16, 1, seq, 2, 40, q),
                  tk = harness_tensor(HARNESS_BSHD, ROSACE_BF16, 1, seq, 1, 40, k);
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    args.q = &tq;
    args.k = &tk;
    args.positions.ids = harness_int32(golden_int32(c, "positions", seq), seq, &args.positions.ids_offset);
    harness_ok(rosace_rope(harness_context(), harness_queue(), &desc, &args, 0, NULL, NULL));
    /* Both round to bf16, to either side where their fp40 results lie about a middle: those of transformers have angles that are
     * off by up to a unit in the last place of the position, 1023. */
    const rosace_tensor *const tensors[] = {&tq, &tk};
    for (size_t i = 0; i < 2; i++) {
        const size_t count = seq * (i ? 40 : 80);
        const double *expected = golden_values(c, i ? "k_out" : "q_out", count);
        double *allowed = harness_zeros(count);
        for (size_t j = 0; j < count; j++) {
            const double *x = i ? k : q;
            allowed[j] = harness_ulp(expected[j], ROSACE_BF16) / 2 + 1023 * 0x1p-23 * (fabs(x[j]) + fabs(x[j % 40 < 20 ? j + 20 : j - 20]));
        }
        harness_check("rope, transformers", tensors[i], expected, (harness_tolerance){.allowed = allowed});
    }
}
END_TEST

START_TEST(sinusoidal)
{
    enum { SEQ = 9, WIDTH = 38 };
    double *x = harness_random(2 * SEQ * WIDTH, ROSACE_BF16);
    const rosace_tensor t = harness_tensor(HARNESS_GAPS, ROSACE_BF16, 2, SEQ, 1, WIDTH, x);
    const rosace_positions positions = {.offset = 300, .seq_stride = 1};
    harness_ok(rosace_sinusoidal_add(harness_context(), harness_queue(), &t, &positions, 2.0f, 0, NULL, NULL));
    int32_t ids[2 * SEQ];
    for (int i = 0; i < 2 * SEQ; i++) ids[i] = 300 + i % SEQ;
    ref_sinusoidal_add(2, SEQ, WIDTH, ids, 2.0, x);
    harness_check("sinusoidal", &t, x, (harness_tolerance){.absolute = 8e-7});
}
END_TEST

/* ---- Attention --------------------------------------------------------------------------------------------------- */

static void attention(const char *variant, const rosace_attention_desc *wanted, size_t seq_q, size_t seq_k)
{
    enum { BATCH = 2 };
    rosace_attention_desc desc = *wanted;
    harness_case("%s head_dim %zu seq %zu:%zu rope %d", variant, desc.head_dim, seq_q, seq_k, desc.rope != NULL);
    const size_t dim = desc.head_dim, q_count = BATCH * seq_q * desc.n_heads * dim, k_count = BATCH * seq_k * desc.n_kv_heads * dim;
    double *q = harness_random(q_count, ROSACE_BF16), *k = harness_random(k_count, ROSACE_BF16), *v = harness_random(k_count, ROSACE_BF16);
    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    args.q = harness_tensor(HARNESS_GAPS, ROSACE_BF16, BATCH, seq_q, desc.n_heads, dim, q);
    args.k = harness_tensor(HARNESS_BHSD, ROSACE_BF16, BATCH, seq_k, desc.n_kv_heads, dim, k);
    args.v = harness_tensor(HARNESS_BSHD, ROSACE_BF16, BATCH, seq_k, desc.n_kv_heads, dim, v);
    args.out = harness_tensor(HARNESS_BHSD_GAPS, ROSACE_BF16, BATCH, seq_q, desc.n_heads, dim, NULL);
    const rosace_tensor lse = harness_flat(ROSACE_F32, BATCH * desc.n_heads * seq_q, NULL);
    args.lse = lse.mem;
    args.lse_offset = lse.offset;
    setenv("ROSACE_ATTENTION_VARIANT", variant, 1);
    harness_ok(rosace_attention(harness_context(), harness_queue(), &desc, &args, 0, NULL, NULL));
    unsetenv("ROSACE_ATTENTION_VARIANT");

    double *out = harness_zeros(q_count), *expected_lse = harness_zeros(BATCH * desc.n_heads * seq_q);
    const double scale = 1.0 / sqrt((double)dim);
    desc.scale = (float)scale;
    const ref_attention_args reference = {.batch = BATCH, .seq_q = seq_q, .seq_k = seq_k, .q_offset = (int64_t)(seq_k - seq_q),
                                          .q = q, .k = k, .v = v, .out = out, .lse = expected_lse};
    ref_attention(&desc, &reference);
    /* As in test_attention.c: scores off by fp32 rounding, and with rope by that of two rotated operands to bf16. */
    double score = unit * scale * (double)dim * sqrt((double)dim);
    if (desc.rope) score += scale * sqrt((double)dim) * 4.0 * 0x1p-8;
    const harness_tolerance tolerance = {.absolute = 2.0 * score + 16.0 * unit, .relative = 4.0 * unit};
    harness_check(variant, &args.out, out, tolerance);
    harness_check("lse", &lse, expected_lse, (harness_tolerance){.absolute = 2.0 * tolerance.absolute, .relative = tolerance.relative});
}

START_TEST(attention_on_every_row)
{
    rosace_rope_desc rope = ROSACE_ROPE_DESC_DEFAULT;
    const rsc_attention_variant *row;
    for (size_t at = 0; (row = rsc_attention_variant_at(at)) != NULL; at++) {
        rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
        desc.n_heads = 4;
        desc.n_kv_heads = 2;
        desc.head_dim = 40; /* vectors of 16, and half of one */
        desc.dtype = ROSACE_BF16;
        desc.mask.causal = true;
        desc.mask.window_left = 40;
        desc.mask.sinks = 3;
        rosace_attention_desc checked;
        char reason[256] = "";
        harness_ok(rsc_attention_check_desc(&desc, &checked, &rope));
        if (!row->accepts(harness_device_info(), &checked, reason, sizeof reason)) {
            ck_assert_msg(*reason, "%s refuses without a reason", row->name);
            ck_assert_msg(strcmp(row->name, "attention_cpu") && strcmp(row->name, "attention_gpu") &&
                              strcmp(row->name, "decode_cpu") && strcmp(row->name, "decode_gpu") &&
                              strcmp(row->name, "attention_gemm"), "%s refuses bf16: %s", row->name, reason);
            continue;
        }
        const size_t seq_k = harness_small() ? 40 : 130, seq_q = row->path == ROSACE_PATH_DECODE ? 3 : harness_small() ? 21 : 77;
        attention(row->name, &desc, seq_q, seq_k);
        desc.rope = &rope;
        attention(row->name, &desc, seq_q, seq_k);
    }
}
END_TEST

START_TEST(attention_as_in_torch)
{
    const golden_case *c = golden_read("bf16.txt")->next->next;
    const double *q = golden_values(c, "q", 9 * 4 * 40), *k = golden_values(c, "k", 9 * 2 * 40), *v = golden_values(c, "v", 9 * 2 * 40);
    double largest = 0.0, score = 0.0;
    for (size_t i = 0; i < 9 * 2 * 40; i++) largest = fmax(largest, fabs(v[i]));
    for (size_t m = 0; m < 36; m++)
        for (size_t n = 0; n < 18; n++) {
            double sum = 0.0;
            for (size_t d = 0; d < 40; d++) sum += fabs(q[m * 40 + d] * k[n * 40 + d]);
            score = fmax(score, sum / sqrt(40.0));
        }
    for (rosace_attention_path path = ROSACE_PATH_GEMM; path <= ROSACE_PATH_DECODE; path++) {
        harness_case("path %d", (int)path);
        rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
        desc.n_heads = 4;
        desc.n_kv_heads = 2;
        desc.head_dim = 40;
        desc.dtype = ROSACE_BF16;
        desc.mask.causal = true;
        desc.path = path;
        rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
        args.q = harness_tensor(HARNESS_BSHD, ROSACE_BF16, 1, 9, 4, 40, q);
        args.k = harness_tensor(HARNESS_BSHD, ROSACE_BF16, 1, 9, 2, 40, k);
        args.v = harness_tensor(HARNESS_BSHD, ROSACE_BF16, 1, 9, 2, 40, v);
        args.out = harness_tensor(HARNESS_BSHD, ROSACE_BF16, 1, 9, 4, 40, NULL);
        const rosace_status status = rosace_attention(harness_context(), harness_queue(), &desc, &args, 0, NULL, NULL);
        if (status == ROSACE_UNSUPPORTED && path != ROSACE_PATH_GEMM) continue;
        harness_ok(status);
        harness_check("attention, torch in double", &args.out, golden_values(c, "exact", 9 * 4 * 40),
                      (harness_tolerance){.absolute = largest * (8.0 * unit * score + 16.0 * unit)});
        /* torch's bf16 rounds the weights as well, and its result as ours is. */
        double *allowed = harness_zeros(9 * 4 * 40);
        const double *theirs = golden_values(c, "out", 9 * 4 * 40);
        for (size_t i = 0; i < 9 * 4 * 40; i++) allowed[i] = harness_ulp(theirs[i], ROSACE_BF16) / 2;
        harness_check("attention, torch in bf16", &args.out, theirs,
                      (harness_tolerance){.absolute = largest * 0x1p-8, .allowed = allowed});
    }
}
END_TEST

START_TEST(softmax_and_matrix)
{
    enum { SEQ = 45, HEADS = 2 };
    rosace_mask mask = ROSACE_MASK_DEFAULT;
    mask.causal = true;
    mask.window_left = 21;
    double *scores = harness_random_range(SEQ * HEADS * SEQ, ROSACE_BF16, -8, 8), *expected_lse = harness_zeros(HEADS * SEQ);
    rosace_softmax_args args = ROSACE_SOFTMAX_ARGS_DEFAULT;
    args.scores = harness_tensor(HARNESS_GAPS, ROSACE_BF16, 1, SEQ, HEADS, SEQ, scores);
    args.mask = mask;
    const rosace_tensor lse = harness_flat(ROSACE_F32, HEADS * SEQ, NULL);
    args.lse = lse.mem;
    args.lse_offset = lse.offset;
    harness_ok(rosace_masked_softmax(harness_context(), harness_queue(), &args, 0, NULL, NULL));
    ref_masked_softmax(&mask, 0, 1, SEQ, HEADS, SEQ, 1.0, 0.0, NULL, scores, expected_lse);
    harness_check("softmax", &args.scores, scores, (harness_tolerance){.relative = 64 * unit});
    harness_check("lse", &lse, expected_lse, (harness_tolerance){.absolute = 64 * unit});

    ref_bias bias = {.kind = ROSACE_BIAS_ALIBI, .heads = HEADS};
    double slopes[HEADS];
    for (size_t h = 0; h < HEADS; h++) slopes[h] = (double)(float)ref_alibi_slope(HEADS, h);
    bias.params = slopes;
    const rosace_tensor params = harness_flat(ROSACE_F32, HEADS, slopes),
                        out = harness_tensor(HARNESS_GAPS, ROSACE_BF16, 1, SEQ, HEADS, SEQ, NULL);
    double *matrix = harness_zeros(SEQ * HEADS * SEQ);
    harness_ok(rosace_mask_matrix(harness_context(), harness_queue(), &mask, ROSACE_ALIGN_BOTTOM_RIGHT, ROSACE_BIAS_ALIBI,
                                  params.mem, params.offset, &out, 0, NULL, NULL));
    ref_mask_matrix(&mask, 0, SEQ, HEADS, SEQ, &bias, matrix);
    harness_check("mask_matrix", &out, matrix, (harness_tolerance){.relative = 2.0 * unit});
}
END_TEST

/* ---- Matrix products and layers ------------------------------------------------------------------------------------ */

START_TEST(products_on_every_row_for_this_device)
{
    for (const rsc_matmul_row *row = rsc_matmul_tile_rows; row->name; row++) {
        if (!row->suits(harness_device_info())) continue; /* the same code with other widths */
        const size_t m = row->kind == RSC_MATMUL_FEW_ROWS ? 5 : harness_small() ? 9 : 37, n = 45, k = harness_small() ? 40 : 301;
        harness_case("%s", row->name);
        const double *a = harness_random(m * k, ROSACE_BF16), *b = harness_random(n * k, ROSACE_BF16);
        double *c = harness_random(m * n, ROSACE_BF16);
        const rosace_tensor ta = harness_flat(ROSACE_BF16, m * k, a), tb = harness_flat(ROSACE_BF16, n * k, b),
                            tc = harness_flat(ROSACE_BF16, m * n, c);
        const rsc_matmul_desc desc = {.a = ROSACE_BF16, .b = ROSACE_BF16, .c = ROSACE_BF16, .transpose_b = true, .row = row};
        const rsc_matmul_call call = {
            .a = ta.mem, .b = tb.mem, .c = tc.mem, .batch = 1,
            .args = {.a = {.offset = ta.offset, .row_stride = k, .inner_div = 1}, .b = {.offset = tb.offset, .row_stride = k, .inner_div = 1},
                     .c = {.offset = tc.offset, .row_stride = n, .inner_div = 1}, .m = (uint32_t)m, .n = (uint32_t)n,
                     .k = (uint32_t)k, .inner = 1, .alpha = 0.5f, .beta = 2.0f}};
        rsc_matmul *matmul;
        rsc_chain chain;
        harness_ok(rsc_matmul_create(harness_context(), &desc, &matmul));
        harness_ok(rsc_chain_begin(&chain, harness_context(), harness_queue(), 0, NULL));
        const rosace_status status = rsc_matmul_chain(matmul, &chain, &call);
        harness_ok(rsc_chain_end(&chain, status, NULL));
        ref_matmul(m, n, k, false, true, 0.5, 2.0, a, b, c);
        harness_check(row->name, &tc, c, (harness_tolerance){.absolute = unit * (0.5 * (double)k * sqrt((double)k) + 4.0)});
        rsc_matmul_destroy(&matmul);
    }
}
END_TEST

START_TEST(clblast_is_refused_with_the_reason)
{
    const rosace_tensor x = harness_tensor(HARNESS_BSHD, ROSACE_BF16, 1, 6, 1, 6, harness_random(36, ROSACE_BF16)),
                        out = harness_tensor(HARNESS_BSHD, ROSACE_BF16, 1, 6, 1, 6, NULL);
    rosace_matmul_args args = ROSACE_MATMUL_ARGS_DEFAULT;
    args.dtype = ROSACE_BF16;
    args.path = ROSACE_MATMUL_CLBLAST;
    args.a = args.b = (rosace_matrix){.mem = x.mem, .offset = x.offset, .rows = 6, .cols = 6};
    args.c = (rosace_matrix){.mem = out.mem, .offset = out.offset, .rows = 6, .cols = 6};
    harness_refused(rosace_matmul(harness_context(), harness_queue(), &args, 0, NULL, event), event, &out, ROSACE_UNSUPPORTED,
                    "CLBlast has no bf16");
}
END_TEST

START_TEST(layers)
{
    enum { ROWS = 3, WIDTH = 133, COUNT = ROWS * WIDTH };
    const double *x = harness_random_range(COUNT, ROSACE_BF16, -3, 3), *y = harness_random_range(COUNT, ROSACE_BF16, -3, 3);
    const double *weight = harness_random_range(WIDTH, ROSACE_F32, 0.5, 2);
    const rosace_tensor tx = harness_flat(ROSACE_BF16, COUNT, x), ty = harness_flat(ROSACE_BF16, COUNT, y),
                        scale = harness_flat(ROSACE_F32, WIDTH, weight), norm = harness_flat(ROSACE_BF16, COUNT, NULL),
                        gated = harness_flat(ROSACE_BF16, COUNT, NULL), loss = harness_flat(ROSACE_F32, ROWS, NULL);
    const rosace_array ax = {tx.mem, tx.offset, ROSACE_BF16}, ay = {ty.mem, ty.offset, ROSACE_BF16},
                       as = {scale.mem, scale.offset, ROSACE_F32}, an = {norm.mem, norm.offset, ROSACE_BF16},
                       ag = {gated.mem, gated.offset, ROSACE_BF16}, al = {loss.mem, loss.offset, ROSACE_F32};
    double *expected = harness_zeros(COUNT), *losses = harness_zeros(ROWS);
    harness_ok(rosace_rmsnorm(harness_context(), harness_queue(), ax, as, an, ROWS, WIDTH, 1e-5f, 0, NULL, NULL));
    ref_rmsnorm(ROWS, WIDTH, 1e-5f, x, weight, expected);
    harness_check("rmsnorm", &norm, expected, (harness_tolerance){.relative = 0x1p-23 * (8.0 + 0.5 * WIDTH)});
    harness_ok(rosace_swiglu(harness_context(), harness_queue(), ax, ay, ag, COUNT, 0, NULL, NULL));
    ref_swiglu(COUNT, x, y, expected);
    harness_check("swiglu", &gated, expected, (harness_tolerance){.relative = 8 * 0x1p-23});
    const int32_t targets[ROWS] = {0, 132, 17};
    rosace_array at = {0};
    at.mem = harness_int32(targets, ROWS, &at.offset);
    harness_ok(rosace_cross_entropy(harness_context(), harness_queue(), ax, at, al, ROWS, WIDTH, 0, NULL, NULL));
    ref_cross_entropy(ROWS, WIDTH, x, targets, losses);
    harness_check("cross entropy", &loss, losses, (harness_tolerance){.absolute = 64 * unit, .relative = 16 * unit});
}
END_TEST

HARNESS_DEVICE_SUITE("bf16", every_number_is_read_and_written, rounding_as_in_torch, nan_stays_nan, rotation,
                     rotation_as_in_transformers, sinusoidal, attention_on_every_row, attention_as_in_torch, softmax_and_matrix,
                     products_on_every_row_for_this_device, clblast_is_refused_with_the_reason, layers)
