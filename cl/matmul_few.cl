/* SPDX-License-Identifier: MIT
 * C = alpha * A op(B) + beta * C for CPU devices, when A has few rows (a generation step): B is read once, as it lies, and
 * nothing of it is copied. Operands as in matmul_panel.cl; A is not transposed.
 *
 * A work-item, alone in its group, makes all rows of args.columns columns.
 *   TRANSPOSE_B: every element of C is a sum along a row of B. J rows of B and ROWS of A meet, lanes are steps of k, and a
 *     sum's lanes are added at its end. Rows of A beyond the first ROWS find B's rows in the cache.
 *   else: lanes are columns. STEPS rows of B at a time are added to sums in private memory, so that a work-item reads long
 *     stretches of B's rows; m is at most ROWS.
 *
 * Defines and their defaults, so that this file compiles alone (and those of lib/matmul_operand.clh):
 *   VEC 4, 8, 16   width of a vector
 *   ROWS           rows of A at a time
 *   J              rows of B at a time: ROWS*J vectors of sums should fit the registers
 *   COLUMNS        most columns of a work-item where B is not transposed, a multiple of VEC
 */
#include "lib/matmul_operand.clh"

#ifndef ROWS
#define ROWS 4
#endif
#ifndef J
#define J 4
#endif
#ifndef COLUMNS
#define COLUMNS 256
#endif

#define STEPS 8

#if VEC == 16
#define SUM(v) sum4((v).lo.lo + (v).lo.hi + (v).hi.lo + (v).hi.hi)
#elif VEC == 8
#define SUM(v) sum4((v).lo + (v).hi)
#else
#define SUM(v) sum4(v)
#endif

static float sum4(float4 v) { return (v.s0 + v.s1) + (v.s2 + v.s3); }

static void finish(__global C_STORE *c, float x, float alpha, float beta)
{
    x *= alpha;
    if (beta != 0.0f) x += beta * load_c(c, 0);
    store_c(x, c, 0);
}

#if TRANSPOSE_B

/* C[i0 .. i0 + ROWS - 1][j0 .. j0 + J - 1]; rows and columns beyond `rows` and `columns` repeat the last one. */
static void make_block(__global const A_STORE *a, size_t a_stride, __global const B_STORE *b, size_t b_stride,
                       __global C_STORE *c, size_t c_stride, uint rows, uint columns, const rsc_matmul_args *args)
{
    FLOATV s[ROWS][J];
    float rest[ROWS][J];
#pragma unroll
    for (uint i = 0; i < ROWS; i++)
#pragma unroll
        for (uint j = 0; j < J; j++) s[i][j] = (FLOATV)(0.0f);
    __global const A_STORE *a_row[ROWS];
    __global const B_STORE *b_row[J];
#pragma unroll
    for (uint i = 0; i < ROWS; i++) a_row[i] = a + min(i, rows - 1) * a_stride;
#pragma unroll
    for (uint j = 0; j < J; j++) b_row[j] = b + min(j, columns - 1) * b_stride;
    const size_t whole = args->k / VEC * VEC;
    for (size_t k = 0; k < whole; k += VEC) {
        FLOATV x[ROWS];
#pragma unroll
        for (uint i = 0; i < ROWS; i++) x[i] = load_av(a_row[i], k);
#pragma unroll
        for (uint j = 0; j < J; j++) {
            const FLOATV y = load_bv(b_row[j], k);
#pragma unroll
            for (uint i = 0; i < ROWS; i++) s[i][j] = FMA(x[i], y, s[i][j]);
        }
    }
#pragma unroll
    for (uint i = 0; i < ROWS; i++)
#pragma unroll
        for (uint j = 0; j < J; j++) rest[i][j] = SUM(s[i][j]);
    for (uint i = 0; i < rows; i++)
        for (uint j = 0; j < columns; j++) {
            float sum = rest[i][j];
            for (size_t k = whole; k < args->k; k++) sum += load_a(a + i * a_stride, k) * load_b(b + j * b_stride, k);
            finish(c + i * c_stride + j, sum, args->alpha, args->beta);
        }
}

#else

/* STEPS rows of B from b on, `count` of them (less at the end of k), added to the sums of `vectors` vectors of columns. */
static void add_rows(const float x[ROWS][STEPS], __global const B_STORE *b, size_t b_stride, uint vectors, FLOATV *sums)
{
    for (uint v = 0; v < vectors; v++) {
        FLOATV s[ROWS];
#pragma unroll
        for (uint i = 0; i < ROWS; i++) s[i] = sums[v * ROWS + i];
#pragma unroll
        for (uint l = 0; l < STEPS; l++) {
            const FLOATV y = load_bv(b, l * b_stride + v * VEC);
#pragma unroll
            for (uint i = 0; i < ROWS; i++) s[i] = FMA((FLOATV)(x[i][l]), y, s[i]);
        }
#pragma unroll
        for (uint i = 0; i < ROWS; i++) sums[v * ROWS + i] = s[i];
    }
}

#endif

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
matmul_few(__global const A_STORE *restrict a, __global const B_STORE *restrict b, __global C_STORE *restrict c,
           const rsc_matmul_args args)
{
    const uint j_begin = (uint)get_global_id(0) * args.columns;
    const uint z = (uint)get_global_id(2);
    const uint j_end = min(j_begin + args.columns, args.n);
    a += matrix_start(&args.a, z, args.inner);
    b += matrix_start(&args.b, z, args.inner);
    c += matrix_start(&args.c, z, args.inner);
    const size_t a_stride = (size_t)args.a.row_stride, b_stride = (size_t)args.b.row_stride;
    const size_t c_stride = (size_t)args.c.row_stride;

#if TRANSPOSE_B
    for (uint j0 = j_begin; j0 < j_end; j0 += J)
        for (uint i0 = 0; i0 < args.m; i0 += ROWS)
            make_block(a + i0 * a_stride, a_stride, b + j0 * b_stride, b_stride, c + i0 * c_stride + j0, c_stride,
                       min(args.m - i0, (uint)ROWS), min(j_end - j0, (uint)J), &args);
#else
    const uint vectors = (j_end - j_begin) / VEC, whole = vectors * VEC;
    FLOATV sums[COLUMNS / VEC * ROWS];
    for (uint i = 0; i < vectors * ROWS; i++) sums[i] = (FLOATV)(0.0f);
    b += j_begin;
    c += j_begin;
    float x[ROWS][STEPS];
    uint k = 0;
    for (; k + STEPS <= args.k; k += STEPS) {
        for (uint i = 0; i < ROWS; i++)
            for (uint l = 0; l < STEPS; l++) x[i][l] = load_a(a + min(i, args.m - 1) * a_stride, k + l);
        add_rows(x, b + k * b_stride, b_stride, vectors, sums);
    }
    for (; k < args.k; k++) {
        for (uint v = 0; v < vectors; v++) {
            const FLOATV y = load_bv(b, k * b_stride + v * VEC);
            for (uint i = 0; i < ROWS; i++)
                sums[v * ROWS + i] = FMA((FLOATV)(load_a(a + min(i, args.m - 1) * a_stride, k)), y, sums[v * ROWS + i]);
        }
    }
    for (uint i = 0; i < args.m; i++)
        for (uint v = 0; v < vectors; v++) {
            FLOATV sum = sums[v * ROWS + i] * args.alpha;
            if (args.beta != 0.0f) sum += args.beta * load_cv(c, i * c_stride + v * VEC);
            store_cv(sum, c, i * c_stride + v * VEC);
        }
    const uint columns = j_end - j_begin - whole; /* that fill no vector: in the last work-item of a row alone */
    if (!columns) return;
    FLOATV rest[ROWS];
    for (uint i = 0; i < ROWS; i++) rest[i] = (FLOATV)(0.0f);
    for (k = 0; k < args.k; k++) {
        float t[VEC];
        for (uint j = 0; j < VEC; j++) t[j] = j < columns ? load_b(b + k * b_stride, whole + j) : 0.0f;
        const FLOATV y = vloadv(0, t);
        for (uint i = 0; i < ROWS; i++)
            rest[i] = FMA((FLOATV)(load_a(a + min(i, args.m - 1) * a_stride, k)), y, rest[i]);
    }
    for (uint i = 0; i < args.m; i++) {
        float t[VEC];
        vstorev(rest[i], 0, t);
        for (uint j = 0; j < columns; j++) finish(c + i * c_stride + whole + j, t[j], args.alpha, args.beta);
    }
#endif
}
