/* SPDX-License-Identifier: MIT
 * Matrix products on both paths against the reference. */
#include <math.h>
#include <string.h>

#include <rosace/matmul.h>

#include "harness.h"
#include "src/ops/matmul.h"
#include "src/reference/reference.h"

typedef struct matmul_case {
    size_t m, n, k, batch;
    bool transpose_a, transpose_b;
    bool share_a, share_b; /* one for the whole batch */
    float alpha, beta;
    int layout;         /* of the three operands */
    rosace_dtype dtype;
} matmul_case;

static const rosace_matmul_path paths[] = {ROSACE_MATMUL_TILE, ROSACE_MATMUL_CLBLAST, ROSACE_MATMUL_AUTO};
static const char *const path_names[] = {"matmul_tile", "matmul_clblast", "matmul_auto"};

/* CLBlast's kernels take the simulator minutes, and fp16 on it needs an extension. */
static bool has_path(rosace_matmul_path path, rosace_dtype dtype)
{
    return path != ROSACE_MATMUL_CLBLAST || (!harness_small() && (dtype == ROSACE_F32 || harness_device_info()->has_fp16));
}

static rosace_matrix matrix_of(const rosace_tensor *t)
{
    return (rosace_matrix){.mem = t->mem,
                           .offset = t->offset,
                           .rows = t->shape[1],
                           .cols = t->shape[3],
                           .row_stride = (size_t)t->stride[1],
                           .batch_stride = t->shape[0] > 1 ? (size_t)t->stride[0] : 0};
}

static void run(const matmul_case *c, int path)
{
    const rosace_dtype dtype = c->dtype;
    if (!has_path(paths[path], dtype)) return;
    harness_case("%s %s %zux%zux%zu batch %zu%s%s%s%s alpha %g beta %g layout %s", path_names[path],
                 dtype == ROSACE_F16 ? "f16" : "f32", c->m, c->n, c->k, c->batch, c->transpose_a ? " ta" : "",
                 c->transpose_b ? " tb" : "", c->share_a ? " shared a" : "", c->share_b ? " shared b" : "", (double)c->alpha, (double)c->beta,
                 harness_layout_name(c->layout));
    const size_t a_batch = c->share_a ? 1 : c->batch, b_batch = c->share_b ? 1 : c->batch;
    double *a = harness_random(a_batch * c->m * c->k, dtype), *b = harness_random(b_batch * c->k * c->n, dtype);
    double *out = harness_random(c->batch * c->m * c->n, dtype);
    const rosace_tensor ta = harness_tensor(c->layout, dtype, a_batch, c->transpose_a ? c->k : c->m, 1,
                                            c->transpose_a ? c->m : c->k, a);
    const rosace_tensor tb = harness_tensor(c->layout, dtype, b_batch, c->transpose_b ? c->n : c->k, 1,
                                            c->transpose_b ? c->k : c->n, b);
    /* With beta = 0 what stands in C (here NaN) does not matter. */
    const rosace_tensor tc = harness_tensor(c->layout, dtype, c->batch, c->m, 1, c->n, c->beta != 0.0f ? out : NULL);
    rosace_matmul_args args = ROSACE_MATMUL_ARGS_DEFAULT;
    args.dtype = dtype;
    args.a = matrix_of(&ta);
    args.b = matrix_of(&tb);
    args.c = matrix_of(&tc);
    args.transpose_a = c->transpose_a;
    args.transpose_b = c->transpose_b;
    args.alpha = c->alpha;
    args.beta = c->beta;
    args.batch = c->batch;
    args.path = paths[path];
    harness_ok(rosace_matmul(harness_context(), harness_queue(), &args, 0, NULL, NULL));
    for (size_t z = 0; z < c->batch; z++)
        ref_matmul(c->m, c->n, c->k, c->transpose_a, c->transpose_b, (double)c->alpha, (double)c->beta,
                   a + (c->share_a ? 0 : z) * c->m * c->k, b + (c->share_b ? 0 : z) * c->k * c->n, out + z * c->m * c->n);
    /* k products below 1, each rounded with a sum that grows like sqrt(k): at most k sqrt(k) units, in practice far less;
     * CLBlast's fp16 also keeps its sums in fp16. AUTO takes the tile kernel on CPU devices. */
    const bool tile = args.path == ROSACE_MATMUL_TILE ||
                      (args.path == ROSACE_MATMUL_AUTO && harness_device_info()->device_class == ROSACE_DEVICE_CPU);
    const double unit = ldexp(1.0, dtype == ROSACE_F16 && !tile ? -11 : -24);
    const double k = (double)c->k;
    harness_check(path_names[path], &tc, out,
                  (harness_tolerance){.absolute = unit * (fabs((double)c->alpha) * k * sqrt(k) + 2.0 * fabs((double)c->beta))});
}

/* One row of the table by name, on whatever device: rows of other devices must be right here, too. */
static void run_row(const matmul_case *c, const char *name)
{
    const rosace_dtype dtype = c->dtype;
    harness_case("%s %s %zux%zux%zu batch %zu%s%s", name, dtype == ROSACE_F16 ? "f16" : "f32", c->m, c->n, c->k, c->batch,
                 c->transpose_a ? " ta" : "", c->transpose_b ? " tb" : "");
    double *a = harness_random(c->batch * c->m * c->k, dtype), *b = harness_random(c->batch * c->k * c->n, dtype);
    double *out = harness_random(c->batch * c->m * c->n, dtype);
    const rosace_tensor ta = harness_tensor(HARNESS_GAPS, dtype, c->batch, c->transpose_a ? c->k : c->m, 1,
                                            c->transpose_a ? c->m : c->k, a);
    const rosace_tensor tb = harness_tensor(HARNESS_GAPS, dtype, c->batch, c->transpose_b ? c->n : c->k, 1,
                                            c->transpose_b ? c->k : c->n, b);
    const rosace_tensor tc = harness_tensor(HARNESS_GAPS, dtype, c->batch, c->m, 1, c->n, out);
    const rsc_matmul_desc desc = {.a = dtype, .b = dtype, .c = dtype, .transpose_a = c->transpose_a,
                                  .transpose_b = c->transpose_b, .row = rsc_matmul_row_named(name)};
    ck_assert_ptr_nonnull(desc.row);
    const rosace_tensor *const tensors[3] = {&ta, &tb, &tc};
    rsc_matmul_operand_args operands[3];
    for (int i = 0; i < 3; i++)
        operands[i] = (rsc_matmul_operand_args){.offset = tensors[i]->offset, .row_stride = (uint64_t)tensors[i]->stride[1],
                                                .outer_stride = (uint64_t)tensors[i]->stride[0], .inner_div = 1};
    const rsc_matmul_call call = {.a = ta.mem, .b = tb.mem, .c = tc.mem, .batch = c->batch,
                                  .args = {.a = operands[0], .b = operands[1], .c = operands[2], .m = (uint32_t)c->m,
                                           .n = (uint32_t)c->n, .k = (uint32_t)c->k, .inner = 1, .alpha = c->alpha,
                                           .beta = c->beta}};
    rsc_matmul *matmul;
    rsc_chain chain;
    harness_ok(rsc_matmul_create(harness_context(), &desc, &matmul));
    harness_ok(rsc_chain_begin(&chain, harness_context(), harness_queue(), 0, NULL));
    const rosace_status status = rsc_matmul_chain(matmul, &chain, &call);
    harness_ok(rsc_chain_end(&chain, status, NULL));
    for (size_t z = 0; z < c->batch; z++)
        ref_matmul(c->m, c->n, c->k, c->transpose_a, c->transpose_b, (double)c->alpha, (double)c->beta, a + z * c->m * c->k,
                   b + z * c->k * c->n, out + z * c->m * c->n);
    const double k = (double)c->k, absolute = ldexp(1.0, -24) * (fabs((double)c->alpha) * k * sqrt(k) + 2.0 * fabs((double)c->beta));
    harness_check(name, &tc, out, (harness_tolerance){.absolute = absolute});
    rsc_matmul_destroy(&matmul);
}

START_TEST(every_row_on_every_device)
{
    for (const rsc_matmul_row *row = rsc_matmul_tile_rows; row->name; row++) {
        const bool few = row->kind == RSC_MATMUL_FEW_ROWS;
        matmul_case c = {.m = few ? 7 : 61, .n = 45, .k = 301, .batch = 2, .alpha = 1.5f, .beta = -1.0f, .transpose_b = few};
        if (harness_small()) c.m = 7, c.k = 40;
        run_row(&c, row->name);
        if (row->kind != RSC_MATMUL_ITEM) continue;
        c.transpose_a = c.transpose_b = true;
        run_row(&c, row->name);
        c.dtype = ROSACE_F16;
        c.m = c.n = 1;
        run_row(&c, row->name);
    }
}
END_TEST

START_TEST(few_rows)
{
    static const size_t rows[] = {1, 2, 3, 4, 5, 8, 9, 16};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int t = 0; t < 2; t++) {
            matmul_case c = {.m = rows[i], .n = i % 2 ? 37 : 2100, .k = i % 3 ? 75 : 16, .batch = 1 + i % 2, .alpha = 1.0f,
                             .beta = i % 2 ? 0.5f : 0.0f, .transpose_b = t, .dtype = i == 3 ? ROSACE_F16 : ROSACE_F32};
            if (harness_small()) c.n = 37;
            run(&c, 0);
        }
}
END_TEST

/* Weights give what the matrix itself gives, whatever their layout, and do not need the matrix when they are packed. */
START_TEST(weights)
{
    for (int i = 0; i < (harness_small() ? 2 : 6); i++) {
        const rosace_dtype dtype = i % 3 == 2 ? ROSACE_F16 : ROSACE_F32;
        const size_t m = i < 3 ? 50 : 3, n = harness_small() ? 35 : 75, k = harness_small() ? 20 : 301, batch = 2;
        const bool transpose = i % 2;
        double *a = harness_random(batch * m * k, dtype), *b = harness_random(k * n, dtype);
        double *out = harness_random(batch * m * n, dtype);
        const rosace_tensor ta = harness_tensor(HARNESS_GAPS, dtype, batch, m, 1, k, a);
        const rosace_tensor tb = harness_tensor(HARNESS_GAPS, dtype, 1, transpose ? n : k, 1, transpose ? k : n, b);
        const rosace_tensor tc = harness_tensor(HARNESS_GAPS, dtype, batch, m, 1, n, NULL);
        const rosace_matrix matrix = matrix_of(&tb);
        rosace_matmul_weights *w;
        harness_case("weights %zux%zux%zu %s%s", m, n, k, dtype ? "f16" : "f32", transpose ? " transposed" : "");
        harness_ok(rosace_matmul_weights_create(harness_context(), harness_queue(), dtype, &matrix, transpose, &w));
        rosace_matmul_args args = ROSACE_MATMUL_ARGS_DEFAULT;
        args.dtype = dtype;
        args.a = matrix_of(&ta);
        args.c = matrix_of(&tc);
        args.batch = batch;
        args.weights = w;
        args.path = ROSACE_MATMUL_TILE;
        ck_assert_str_ne(rosace_matmul_variant(harness_context(), &args), "");
        harness_ok(rosace_matmul(harness_context(), harness_queue(), &args, 0, NULL, NULL));
        for (size_t z = 0; z < batch; z++)
            ref_matmul(m, n, k, false, transpose, 1.0, 0.0, a + z * m * k, b, out + z * m * n);
        harness_check("matmul_weights", &tc, out,
                      (harness_tolerance){.absolute = ldexp(1.0, -24) * (double)k * sqrt((double)k)});
        rosace_matmul_args wrong = args;
        wrong.b = matrix;
        ck_assert_int_eq(rosace_matmul(harness_context(), harness_queue(), &wrong, 0, NULL, NULL), ROSACE_INVALID_ARGUMENT);
        wrong = args;
        wrong.a.cols--;
        ck_assert_int_eq(rosace_matmul(harness_context(), harness_queue(), &wrong, 0, NULL, NULL), ROSACE_INVALID_ARGUMENT);
        wrong = args;
        wrong.dtype = dtype == ROSACE_F16 ? ROSACE_F32 : ROSACE_F16;
        ck_assert_str_eq(rosace_matmul_variant(harness_context(), &wrong), "");
        /* The matrix's buffer is free for anything once its copy is made, and only then. */
        wrong = args;
        wrong.a.rows = wrong.c.rows = wrong.batch = 1;
        wrong.c.mem = matrix.mem;
        wrong.c.offset = 0;
        const rosace_status there = rosace_matmul(harness_context(), harness_queue(), &wrong, 0, NULL, NULL);
        ck_assert_int_eq(there, w->packed ? ROSACE_OK : ROSACE_INVALID_ARGUMENT);
        rosace_matmul_weights_destroy(&w);
        ck_assert_ptr_null(w);
        rosace_matmul_weights_destroy(&w);
    }
}
END_TEST

static void on_every_path(matmul_case c)
{
    for (int dtype = 0; dtype < 2; dtype++)
        for (int path = 0; path < 3; path++) {
            c.dtype = dtype ? ROSACE_F16 : ROSACE_F32;
            run(&c, path);
        }
}

START_TEST(sizes_around_tiles)
{
    static const size_t sizes[][3] = {{1, 1, 1},    {1, 33, 7},    {33, 1, 64},   {12, 32, 256},  {13, 31, 257}, {31, 33, 255},
                                      {64, 64, 64}, {97, 130, 19}, {241, 65, 40}, {300, 47, 300}, {5, 344, 128}, {480, 32, 513}};
    const size_t count = harness_small() ? 7 : sizeof sizes / sizeof sizes[0];
    for (size_t i = 0; i < count; i++)
        on_every_path((matmul_case){.m = sizes[i][0], .n = sizes[i][1], .k = sizes[i][2], .batch = 1, .alpha = 1.0f});
}
END_TEST

START_TEST(transposes_layouts_and_scales)
{
    for (int t = 0; t < 4; t++)
        for (int layout = 0; layout < HARNESS_LAYOUTS; layout += 1 + t % 2) {
            matmul_case c = {.m = 37, .n = 45, .k = 50, .batch = 1, .alpha = 0.5f, .beta = -2.0f, .layout = layout};
            if (harness_small()) c.m = 9, c.n = 10, c.k = 20;
            c.transpose_a = t & 1;
            c.transpose_b = t & 2;
            on_every_path(c);
        }
}
END_TEST

START_TEST(batches)
{
    for (int share = 0; share < 4; share++)
        for (int beta = 0; beta < 2; beta++) {
            matmul_case c = {.m = 20, .n = 35, .k = 33, .batch = 5, .share_a = share & 1, .share_b = share & 2, .alpha = 1.5f, .beta = (float)beta};
            on_every_path(c);
            c.layout = HARNESS_GAPS;
            c.transpose_b = true;
            on_every_path(c);
        }
}
END_TEST

START_TEST(whatever_comes)
{
    const int count = harness_small() ? 6 : 40, most = harness_small() ? 30 : 200;
    for (int i = 0; i < count; i++) {
        matmul_case c = {.m = (size_t)harness_random_integer(1, most),
                         .n = (size_t)harness_random_integer(1, most),
                         .k = (size_t)harness_random_integer(1, 2 * most),
                         .batch = (size_t)harness_random_integer(1, 3),
                         .alpha = (float)harness_random_real(-2.0, 2.0),
                         .beta = (float)harness_random_integer(0, 1),
                         .transpose_a = harness_random_integer(0, 1),
                         .transpose_b = harness_random_integer(0, 1),
                         .share_a = harness_random_integer(0, 1),
                         .share_b = harness_random_integer(0, 1),
                         .layout = (int)harness_random_integer(0, HARNESS_LAYOUTS - 1)};
        on_every_path(c);
    }
}
END_TEST

/* CLBlast indexes elements with 32-bit ints; the start of a matrix may be far below 2^31 and its end beyond. */
START_TEST(clblast_is_not_asked_for_more_than_it_can_index)
{
    rosace_device_info device = {.device_class = ROSACE_DEVICE_DISCRETE, .has_fp16 = true};
    rsc_matmul_desc desc = {.a = ROSACE_F16, .b = ROSACE_F16, .c = ROSACE_F16};
    const rsc_matmul_operand_args wide = {.row_stride = 65536, .inner_div = 1}, narrow = {.row_stride = 8, .inner_div = 1};
    rsc_matmul_call call = {.batch = 1, .args = {.a = wide, .b = narrow, .c = narrow, .m = 32768, .n = 8, .k = 65536, .inner = 1}};
    ck_assert_ptr_null(rsc_matmul_clblast_refuses(&device, &desc, &call)); /* the last index is 2^31 - 1 */
    call.args.m++;
    ck_assert_ptr_nonnull(rsc_matmul_clblast_refuses(&device, &desc, &call));
    desc.transpose_a = true;
    call.args.m = 65536;
    call.args.k = 32768;
    ck_assert_ptr_null(rsc_matmul_clblast_refuses(&device, &desc, &call));
    call.args.k++;
    ck_assert_ptr_nonnull(rsc_matmul_clblast_refuses(&device, &desc, &call));
}
END_TEST

START_TEST(refusals)
{
    const rosace_tensor a = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, 8, 1, 6, harness_random(48, ROSACE_F32));
    const rosace_tensor b = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, 6, 1, 7, harness_random(42, ROSACE_F32));
    const rosace_tensor c = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, 8, 1, 7, NULL);
    rosace_matmul_args good = ROSACE_MATMUL_ARGS_DEFAULT;
    good.a = matrix_of(&a);
    good.b = matrix_of(&b);
    good.c = matrix_of(&c);
    rosace_context *context = harness_context();
    cl_command_queue queue = harness_queue();
#define REFUSED(change, text)                                                                                          \
    do {                                                                                                               \
        rosace_matmul_args args = good;                                                                                \
        change;                                                                                                        \
        harness_case("%s", #change);                                                                                   \
        harness_refused(rosace_matmul(context, queue, &args, 0, NULL, event), event, &c, ROSACE_INVALID_ARGUMENT, text); \
    } while (0)
    harness_refused(rosace_matmul(NULL, queue, &good, 0, NULL, event), event, &c, ROSACE_INVALID_ARGUMENT, "context");
    harness_refused(rosace_matmul(context, NULL, &good, 0, NULL, event), event, &c, ROSACE_INVALID_ARGUMENT, "queue");
    harness_refused(rosace_matmul(context, queue, NULL, 0, NULL, event), event, &c, ROSACE_INVALID_ARGUMENT, "args");
    harness_refused(rosace_matmul(context, queue, &good, 1, NULL, event), event, &c, ROSACE_INVALID_ARGUMENT, "num_wait");
    REFUSED(args.struct_size = 0, "struct_size");
    REFUSED(args.struct_size = 4096, "struct_size");
    REFUSED(args.dtype = (rosace_dtype)7, "dtype");
    REFUSED(args.path = (rosace_matmul_path)9, "path");
    REFUSED(args.batch = 0, "batch");
    REFUSED(args.batch = 2, "c.batch_stride");
    REFUSED(args.alpha = NAN, "alpha");
    REFUSED(args.beta = INFINITY, "beta");
    REFUSED(args.a.mem = NULL, "a");
    REFUSED(args.b.mem = NULL, "b");
    REFUSED(args.c.mem = NULL, "c");
    REFUSED(args.a.rows = 0, "a.rows");
    REFUSED(args.b.cols = 0, "b.cols");
    REFUSED(args.a.row_stride = 5, "a.row_stride");
    REFUSED(args.a.offset = SIZE_MAX / 2, "a");
    REFUSED(args.b.rows = 5, "op(b)");
    REFUSED(args.c.rows = 7, "c.rows");
    REFUSED(args.c.cols = 6, "c.cols");
    REFUSED(args.transpose_a = true, "op(");
    REFUSED(args.c.row_stride = 100000, "c");
    REFUSED(args.a.mem = c.mem; args.a.offset = c.offset, "c");
    REFUSED(args.b.mem = c.mem; args.b.offset = c.offset, "c");
    REFUSED(args.batch = (size_t)INT32_MAX + 1, "batch");
    REFUSED(args.alpha = INFINITY, "alpha");
    REFUSED(args.beta = NAN, "beta");
    REFUSED(args.a.rows = (size_t)INT32_MAX + 1, "a.rows");
    REFUSED(args.b.cols = (size_t)INT32_MAX + 1, "b.cols");
    REFUSED(args.b.row_stride = SIZE_MAX, "b.row_stride");
    REFUSED(args.batch = 2; args.a.batch_stride = SIZE_MAX, "a.batch_stride");
    REFUSED(args.batch = 2; args.c.batch_stride = 1, "c");
    if (!harness_device_info()->has_fp16 && harness_device_info()->device_class == ROSACE_DEVICE_CPU) {
        const rosace_tensor h = harness_tensor(HARNESS_BSHD, ROSACE_F16, 1, 6, 1, 6, harness_random(36, ROSACE_F16));
        const rosace_tensor out = harness_tensor(HARNESS_BSHD, ROSACE_F16, 1, 6, 1, 6, NULL);
        rosace_matmul_args args = ROSACE_MATMUL_ARGS_DEFAULT;
        args.dtype = ROSACE_F16;
        args.path = ROSACE_MATMUL_CLBLAST;
        args.a = args.b = matrix_of(&h);
        args.c = matrix_of(&out);
        harness_refused(rosace_matmul(context, queue, &args, 0, NULL, event), event, &out, ROSACE_UNSUPPORTED, "cl_khr_fp16");
    }
}
END_TEST

HARNESS_DEVICE_SUITE("matmul", sizes_around_tiles, transposes_layouts_and_scales, batches, whatever_comes,
                     every_row_on_every_device, few_rows, weights,
                     clblast_is_not_asked_for_more_than_it_can_index, refusals)
