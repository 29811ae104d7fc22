/* SPDX-License-Identifier: MIT
 * C = alpha * op(A) op(B) + beta * C, row-major, batched; sums are fp32 for every storage type.
 *
 *   op(A): m x k     element (i, k) at row_stride*i + k     TRANSPOSE_A: at row_stride*k + i
 *   op(B): k x n     element (k, j) at row_stride*k + j     TRANSPOSE_B: at row_stride*j + k
 *   C:     m x n     element (i, j) at row_stride*i + j
 *
 * A register tile is ROWS rows of C times two vectors of VEC columns. An element of A is one broadcast for both vectors,
 * a vector of B one load for all rows.
 *
 * matmul_panel (PANEL = 1, for CPU devices): a work-item, alone in its group, makes `chunk` rows of one panel of 2*VEC
 * columns. Per block of BLOCK_K of k it copies its part of B into private memory once, in the order it is used, whatever
 * the layout of B, and then runs all its register tiles over it: the panel stays in the first cache, power-of-two strides
 * do no harm, and no workspace is needed. Sums that continue over blocks wait in `sums`, never in C.
 *
 * matmul_item (PANEL = 0, for all other devices): a work-item makes one register tile straight from A and B; neighbours
 * in a group share their loads through the caches.
 *
 * Defines and their defaults, so that this file compiles alone:
 *   VEC 4, 8, 16        width of a vector
 *   ROWS 1 to 16        rows of a register tile: 2*ROWS vectors of sums, and two of B, should fit the registers
 *   CHUNK               most rows of a work-item of matmul_panel, a multiple of ROWS
 *   BLOCK_K             a multiple of 16
 *   A_F16 B_F16 C_F16   storage of each operand: 0 fp32, 1 fp16
 *   TRANSPOSE_A, TRANSPOSE_B
 */
#include "lib/vector.clh"
#include "shared/matmul_args.h"

/* A product and a sum are one instruction where the device has it: mad() is two on some CPU devices. */
#pragma OPENCL FP_CONTRACT ON

#ifndef PANEL
#define PANEL 1
#endif
#ifndef ROWS
#define ROWS 4
#endif
#ifndef CHUNK
#define CHUNK (ROWS * 20)
#endif
#ifndef BLOCK_K
#define BLOCK_K 128
#endif
#ifndef TRANSPOSE_A
#define TRANSPOSE_A 0
#endif
#ifndef TRANSPOSE_B
#define TRANSPOSE_B 0
#endif
#ifndef A_F16
#define A_F16 0
#endif
#ifndef B_F16
#define B_F16 0
#endif
#ifndef C_F16
#define C_F16 0
#endif

#define WIDTH (2 * VEC)

/* Operands differ in type, so each has its own names: {A,B,C}_STORE, load_{a,b,c}, load_{b,c}v. */
#if A_F16
#define A_STORE half
#define load_a(p, i) vload_half(0, (p) + (i))
#define load_a16(p, i) vload_half16(0, (p) + (i))
#else
#define A_STORE float
#define load_a(p, i) ((p)[i])
#define load_a16(p, i) vload16(0, (p) + (i))
#endif
#if B_F16
#define B_STORE half
#define load_b(p, i) vload_half(0, (p) + (i))
#define load_bv(p, i) VECTOR_PASTE(vload_half, VEC)(0, (p) + (i))
#define load_b4(p, i) vload_half4(0, (p) + (i))
#else
#define B_STORE float
#define load_b(p, i) ((p)[i])
#define load_bv(p, i) vloadv(0, (p) + (i))
#define load_b4(p, i) vload4(0, (p) + (i))
#endif
#if C_F16
#define C_STORE half
#define load_c(p, i) vload_half(0, (p) + (i))
#define load_cv(p, i) VECTOR_PASTE(vload_half, VEC)(0, (p) + (i))
#define store_c(x, p, i) vstore_half_rte((x), 0, (p) + (i))
#define store_cv(x, p, i) VECTOR_PASTE(VECTOR_PASTE(vstore_half, VEC), _rte)((x), 0, (p) + (i))
#else
#define C_STORE float
#define load_c(p, i) ((p)[i])
#define load_cv(p, i) vloadv(0, (p) + (i))
#define store_c(x, p, i) ((p)[i] = (x))
#define store_cv(x, p, i) vstorev((x), 0, (p) + (i))
#endif

/* Element (i, k) of op(A) and (k, j) of op(B) as distances from the matrix' start. */
#if TRANSPOSE_A
#define AT_A(i, k, stride) ((size_t)(k) * (stride) + (i))
#else
#define AT_A(i, k, stride) ((size_t)(i) * (stride) + (k))
#endif
#if TRANSPOSE_B
#define AT_B(k, j, stride) ((size_t)(j) * (stride) + (k))
#else
#define AT_B(k, j, stride) ((size_t)(k) * (stride) + (j))
#endif

static size_t matrix_start(const rsc_matmul_operand_args *x, uint z, uint inner)
{
    return (size_t)(x->offset + z / inner * x->outer_stride + z % inner / x->inner_div * x->inner_stride);
}

/* One row of a finished register tile to C: columns j .. j + WIDTH - 1 as far as they are there. */
static void finish_row(__global C_STORE *c, FLOATV x0, FLOATV x1, uint columns, float alpha, float beta)
{
    x0 *= alpha;
    x1 *= alpha;
    if (columns >= WIDTH) {
        if (beta != 0.0f) {
            x0 += beta * load_cv(c, 0);
            x1 += beta * load_cv(c, VEC);
        }
        store_cv(x0, c, 0);
        store_cv(x1, c, VEC);
        return;
    }
    float row[WIDTH];
    vstorev(x0, 0, row);
    vstorev(x1, 0, row + VEC);
    for (uint j = 0; j < columns; j++) {
        float x = row[j];
        if (beta != 0.0f) x += beta * load_c(c, j);
        store_c(x, c, j);
    }
}

#if PANEL

/* op(B)[k0 .. k0 + depth - 1][j0 .. j0 + columns - 1], columns padded with zeros, one after the other in the order of k */
static void pack_b(__global const B_STORE *b, size_t stride, uint k0, uint depth, uint j0, uint columns, float *panel)
{
#if TRANSPOSE_B
    /* Four by four, so that rows are turned in registers. */
    for (uint j = 0; j < WIDTH; j += 4) {
        __global const B_STORE *row = b + AT_B(k0, j0 + j, stride);
        uint k = 0;
        if (j + 4 <= columns)
            for (; k + 4 <= depth; k += 4) {
                const float4 r0 = load_b4(row, k), r1 = load_b4(row + stride, k);
                const float4 r2 = load_b4(row + 2 * stride, k), r3 = load_b4(row + 3 * stride, k);
                float *out = panel + k * WIDTH + j;
                vstore4((float4)(r0.s0, r1.s0, r2.s0, r3.s0), 0, out);
                vstore4((float4)(r0.s1, r1.s1, r2.s1, r3.s1), 0, out + WIDTH);
                vstore4((float4)(r0.s2, r1.s2, r2.s2, r3.s2), 0, out + 2 * WIDTH);
                vstore4((float4)(r0.s3, r1.s3, r2.s3, r3.s3), 0, out + 3 * WIDTH);
            }
        for (; k < depth; k++)
            for (uint i = 0; i < 4; i++) panel[k * WIDTH + j + i] = j + i < columns ? load_b(row + i * stride, k) : 0.0f;
    }
#else
    __global const B_STORE *row = b + AT_B(k0, j0, stride);
    if (columns >= WIDTH) {
        for (uint k = 0; k < depth; k++, row += stride) {
            vstorev(load_bv(row, 0), 0, panel + k * WIDTH);
            vstorev(load_bv(row, VEC), 0, panel + k * WIDTH + VEC);
        }
        return;
    }
    for (uint k = 0; k < depth; k++, row += stride)
        for (uint j = 0; j < WIDTH; j++) panel[k * WIDTH + j] = j < columns ? load_b(row, j) : 0.0f;
#endif
}

/* Rows i0 .. i0 + rows - 1 of op(A), padded with zero rows, row by row of BLOCK_K floats. */
static void pack_a(__global const A_STORE *a, size_t stride, uint i0, uint rows, uint k0, uint depth, float *tile)
{
    for (uint i = 0; i < ROWS; i++) {
        float *out = tile + i * BLOCK_K;
        uint k = 0;
        if (i < rows) {
#if !TRANSPOSE_A
            __global const A_STORE *row = a + AT_A(i0 + i, k0, stride);
            for (; k + 16 <= depth; k += 16) vstore16(load_a16(row, k), 0, out + k);
#endif
            for (; k < depth; k++) out[k] = load_a(a, AT_A(i0 + i, k0 + k, stride));
        } else {
            for (; k < depth; k++) out[k] = 0.0f;
        }
    }
}

/* The register tile's inner loop; element (i, k) of A's tile is `element`. */
#define ACCUMULATE(depth, element)                                                                                     \
    for (uint k = 0; k < (depth); k++) {                                                                               \
        const FLOATV b0 = vloadv(0, panel + k * WIDTH), b1 = vloadv(0, panel + k * WIDTH + VEC);                         \
        _Pragma("unroll") for (uint i = 0; i < ROWS; i++)                                                              \
        {                                                                                                              \
            const FLOATV x = (FLOATV)(element);                                                                        \
            s[i][0] += x * b0;                                                                                         \
            s[i][1] += x * b1;                                                                                         \
        }                                                                                                              \
    }

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
matmul_panel(__global const A_STORE *restrict a, __global const B_STORE *restrict b, __global C_STORE *restrict c,
             const rsc_matmul_args args)
{
    const uint j0 = (uint)get_global_id(0) * WIDTH;
    const uint i_begin = (uint)get_global_id(1) * args.chunk;
    const uint z = (uint)get_global_id(2);
    const uint i_end = min(i_begin + args.chunk, args.m);
    const uint columns = min(args.n - j0, (uint)WIDTH);
    a += matrix_start(&args.a, z, args.inner);
    b += matrix_start(&args.b, z, args.inner);
    c += matrix_start(&args.c, z, args.inner);
    const size_t a_stride = (size_t)args.a.row_stride, c_stride = (size_t)args.c.row_stride;

    float panel[BLOCK_K * WIDTH];
    float sums[CHUNK * WIDTH];
    /* At least one block, so that k = 0 gives beta * C. */
    uint k0 = 0;
    do {
        const uint depth = min(args.k - k0, (uint)BLOCK_K);
        const bool last = args.k - k0 <= BLOCK_K;
        pack_b(b, (size_t)args.b.row_stride, k0, depth, j0, columns, panel);
        for (uint i0 = i_begin; i0 < i_end; i0 += ROWS) {
            const uint rows = min(i_end - i0, (uint)ROWS);
            float *sum = sums + (i0 - i_begin) * WIDTH;
            FLOATV s[ROWS][2];
            if (k0) {
#pragma unroll
                for (uint i = 0; i < ROWS; i++) {
                    s[i][0] = vloadv(0, sum + i * WIDTH);
                    s[i][1] = vloadv(0, sum + i * WIDTH + VEC);
                }
            } else {
#pragma unroll
                for (uint i = 0; i < ROWS; i++) s[i][0] = s[i][1] = (FLOATV)(0.0f);
            }
#if !A_F16
            if (rows == ROWS) {
                __global const A_STORE *tile = a + AT_A(i0, k0, a_stride);
                ACCUMULATE(depth, tile[AT_A(i, k, a_stride)])
            } else
#endif
            {
                float tile[ROWS * BLOCK_K];
                pack_a(a, a_stride, i0, rows, k0, depth, tile);
                ACCUMULATE(depth, tile[i * BLOCK_K + k])
            }
            if (!last) {
#pragma unroll
                for (uint i = 0; i < ROWS; i++) {
                    vstorev(s[i][0], 0, sum + i * WIDTH);
                    vstorev(s[i][1], 0, sum + i * WIDTH + VEC);
                }
            } else {
                __global C_STORE *out = c + i0 * c_stride + j0;
#pragma unroll
                for (uint i = 0; i < ROWS; i++)
                    if (i < rows) finish_row(out + i * c_stride, s[i][0], s[i][1], columns, args.alpha, args.beta);
            }
        }
        k0 += BLOCK_K;
    } while (k0 < args.k);
}

#else /* !PANEL */

static FLOATV load_columns(__global const B_STORE *b, size_t stride, uint k, uint j0, uint columns)
{
#if !TRANSPOSE_B
    if (columns >= VEC) return load_bv(b, AT_B(k, j0, stride));
#endif
    float t[VEC];
#pragma unroll
    for (uint j = 0; j < VEC; j++) t[j] = j < columns ? load_b(b, AT_B(k, j0 + j, stride)) : 0.0f;
    return vloadv(0, t);
}

__kernel void matmul_item(__global const A_STORE *restrict a, __global const B_STORE *restrict b, __global C_STORE *restrict c,
                          const rsc_matmul_args args)
{
    const uint j0 = (uint)get_global_id(0) * WIDTH;
    const uint i0 = (uint)get_global_id(1) * ROWS;
    const uint z = (uint)get_global_id(2);
    const uint columns = min(args.n - j0, (uint)WIDTH);
    const uint rows = min(args.m - i0, (uint)ROWS);
    a += matrix_start(&args.a, z, args.inner);
    b += matrix_start(&args.b, z, args.inner);
    c += matrix_start(&args.c, z, args.inner);
    const size_t a_stride = (size_t)args.a.row_stride, b_stride = (size_t)args.b.row_stride;
    const size_t c_stride = (size_t)args.c.row_stride;

    FLOATV s[ROWS][2];
#pragma unroll
    for (uint i = 0; i < ROWS; i++) s[i][0] = s[i][1] = (FLOATV)(0.0f);
    for (uint k = 0; k < args.k; k++) {
        const FLOATV b0 = load_columns(b, b_stride, k, j0, columns);
        const FLOATV b1 = load_columns(b, b_stride, k, j0 + VEC, columns > VEC ? columns - VEC : 0);
#pragma unroll
        for (uint i = 0; i < ROWS; i++) {
            /* Rows past the end repeat the last one and are not stored. */
            const FLOATV x = (FLOATV)(load_a(a, AT_A(i0 + min(i, rows - 1), k, a_stride)));
            s[i][0] += x * b0;
            s[i][1] += x * b1;
        }
    }
#pragma unroll
    for (uint i = 0; i < ROWS; i++)
        if (i < rows) finish_row(c + (i0 + i) * c_stride + j0, s[i][0], s[i][1], columns, args.alpha, args.beta);
}

#endif
