/* SPDX-License-Identifier: MIT
 * C = alpha * op(A) op(B) + beta * C for CPU devices, row-major, batched; sums are fp32 for every storage type.
 *
 *   op(A): m x k     element (i, k) at row_stride*i + k     TRANSPOSE_A: at row_stride*k + i
 *   op(B): k x n     element (k, j) at row_stride*k + j     TRANSPOSE_B: at row_stride*j + k
 *                    B_PACKED: [panels of WIDTH columns][k][WIDTH], made by matmul_pack, zeros beyond n
 *   C:     m x n     element (i, j) at row_stride*i + j
 *
 * A register tile is ROWS rows of C times two vectors of VEC columns. An element of A is one broadcast for both vectors, a
 * vector of B one load for all rows.
 *
 * matmul_panel: a work-item, alone in its group, makes args.chunk rows times args.columns columns. Per block of BLOCK_K of k
 * it copies its rows of A into private memory once (tiles, for the second cache), and then, panel by panel of WIDTH columns,
 * its part of B (panel, for the first cache), in the order they are used, whatever their layout: power-of-two strides do no
 * harm, and no workspace is needed. What the next block of rows or panel needs is prefetched a line at a time between
 * the steps: all at once it would stall them. Sums that continue over blocks wait in C, or, when that is not fp32, in `sums`.
 *
 * Defines and their defaults, so that this file compiles alone (and those of lib/matmul_operand.clh):
 *   VEC 4, 8, 16        width of a vector
 *   ROWS 1 to 14        rows of a register tile: 2*ROWS vectors of sums, and two of B, should fit the registers
 *   CHUNK               most rows of a work-item, a multiple of ROWS
 *   COLUMNS             most columns of a work-item, a multiple of WIDTH; where C is not fp32
 *   BLOCK_K             a multiple of 16
 *   B_PACKED 0, 1
 */
#include "lib/matmul_operand.clh"

#ifndef ROWS
#define ROWS 4
#endif
#ifndef CHUNK
#define CHUNK (ROWS * 20)
#endif
#ifndef COLUMNS
#define COLUMNS 128
#endif
#ifndef BLOCK_K
#define BLOCK_K 128
#endif
#ifndef B_PACKED
#define B_PACKED 0
#endif

#define WIDTH (2 * VEC)

/* Where a work-item reads its panel: packed matrices in fp32 need no copy. */
#if B_PACKED && !B_DTYPE
#define PANEL_SPACE __global
#else
#define PANEL_SPACE
#endif

#if TRANSPOSE_A
#define AT_TILE(i, k) ((k) * ROWS + (i))
#else
#define AT_TILE(i, k) ((i) * BLOCK_K + (k))
#endif

/* Private arrays are arrays of vectors: a store through vstorev becomes several on some devices, an assignment one.
 *
 * op(B)[k0 .. k0 + depth - 1][j0 .. j0 + columns - 1], columns padded with zeros, one after the other in the order of k.
 * packed_k: rows of the whole matrix, for B_PACKED. */
static void pack_b(__global const B_STORE *b, size_t stride, uint packed_k, uint k0, uint depth, uint j0, uint columns,
                   FLOATV *panel)
{
#if B_PACKED
    __global const B_STORE *from = b + ((size_t)j0 / WIDTH * packed_k + k0) * WIDTH;
    for (uint k = 0; k < 2 * depth; k++) panel[k] = load_bv(from, k * VEC);
#elif TRANSPOSE_B
    /* VEC by VEC, so that rows are turned in registers. */
    for (uint half_panel = 0; half_panel < 2; half_panel++) {
        const uint j = half_panel * VEC;
        __global const B_STORE *row = b + AT_B(k0, j0 + j, stride);
        FLOATV *out = panel + half_panel;
        uint k = 0;
        if (j + VEC <= columns)
            for (; k + VEC <= depth; k += VEC) {
                FLOATV block[VEC];
#pragma unroll
                for (uint i = 0; i < VEC; i++) block[i] = load_bv(row, i * stride + k);
                transpose(block);
#pragma unroll
                for (uint i = 0; i < VEC; i++) out[2 * (k + i)] = block[i];
            }
        for (; k < depth; k++) {
            float t[VEC];
            for (uint i = 0; i < VEC; i++) t[i] = j + i < columns ? load_b(row, i * stride + k) : 0.0f;
            out[2 * k] = vloadv(0, t);
        }
    }
#else
    __global const B_STORE *row = b + AT_B(k0, j0, stride);
    if (columns >= WIDTH) {
        for (uint k = 0; k < depth; k++, row += stride) {
            panel[2 * k] = load_bv(row, 0);
            panel[2 * k + 1] = load_bv(row, VEC);
        }
        return;
    }
    for (uint k = 0; k < depth; k++, row += stride) {
        float t[WIDTH];
        for (uint j = 0; j < WIDTH; j++) t[j] = j < columns ? load_b(row, j) : 0.0f;
        panel[2 * k] = vloadv(0, t);
        panel[2 * k + 1] = vloadv(0, t + VEC);
    }
#endif
}

/* Makes the B of B_PACKED; args.columns is WIDTH. Work-item x makes panel x. */
__kernel void matmul_pack(__global const B_STORE *restrict b, __global B_STORE *restrict packed, const rsc_matmul_args args)
{
#if !B_PACKED
    const uint j0 = (uint)get_global_id(0) * WIDTH;
    FLOATV panel[BLOCK_K * 2];
    for (uint k0 = 0; k0 < args.k; k0 += BLOCK_K) {
        const uint depth = min(args.k - k0, (uint)BLOCK_K);
        pack_b(b + args.b.offset, (size_t)args.b.row_stride, args.k, k0, depth, j0, min(args.n - j0, (uint)WIDTH), panel);
        __global B_STORE *out = packed + ((size_t)j0 / WIDTH * args.k + k0) * WIDTH;
        for (uint k = 0; k < 2 * depth; k++) store_bv(panel[k], out, k * VEC);
    }
#endif
}

/* Rows i0 .. i0 + rows - 1 of op(A), padded with zero rows up to ROWS: AT_TILE says where each element is. */
static void pack_a(__global const A_STORE *a, size_t stride, uint i0, uint rows, uint k0, uint depth, float *tile)
{
#if TRANSPOSE_A
    __global const A_STORE *row = a + AT_A(i0, k0, stride);
    for (uint k = 0; k < depth; k++, row += stride)
        for (uint i = 0; i < ROWS; i++) tile[AT_TILE(i, k)] = i < rows ? load_a(row, i) : 0.0f;
#else
    for (uint i = 0; i < ROWS; i++) {
        float *out = tile + AT_TILE(i, 0);
        __global const A_STORE *row = a + AT_A(i0 + i, k0, stride);
        uint k = 0;
        if (i < rows) {
            for (; k + VEC <= depth; k += VEC) *(FLOATV *)(out + k) = load_av(row, k);
            for (; k < depth; k++) out[k] = load_a(row, k);
        } else {
            for (; k < depth; k++) out[k] = 0.0f;
        }
    }
#endif
}

/* One row of a register tile to C: columns j .. j + WIDTH - 1 as far as they are there. */
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

/* Step l of a register tile from p (B) and tile (A) on. */
#define ACCUMULATE(l)                                                                                                  \
    {                                                                                                                  \
        const FLOATV b0 = p[2 * (l)], b1 = p[2 * (l) + 1];                                                             \
        _Pragma("unroll") for (int i = 0; i < ROWS; i++)                                                               \
        {                                                                                                              \
            const FLOATV x = (FLOATV)(tile[AT_TILE(i, l)]);                                                            \
            s[i][0] = FMA(x, b0, s[i][0]);                                                                             \
            s[i][1] = FMA(x, b1, s[i][1]);                                                                             \
        }                                                                                                              \
    }

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
matmul_panel(__global const A_STORE *restrict a, __global const B_STORE *restrict b, __global C_STORE *restrict c,
             const rsc_matmul_args args)
{
    const uint j_begin = (uint)get_global_id(0) * args.columns;
    const uint i_begin = (uint)get_global_id(1) * args.chunk;
    const uint z = (uint)get_global_id(2);
    const uint j_end = min(j_begin + args.columns, args.n);
    const uint i_end = min(i_begin + args.chunk, args.m);
    a += matrix_start(&args.a, z, args.inner);
    b += matrix_start(&args.b, z, args.inner);
    c += matrix_start(&args.c, z, args.inner);
    const size_t a_stride = (size_t)args.a.row_stride, b_stride = (size_t)args.b.row_stride;
    const size_t c_stride = (size_t)args.c.row_stride;

    float tiles[CHUNK * BLOCK_K] __attribute__((aligned(64)));
#if !B_PACKED || B_DTYPE
    FLOATV copy[BLOCK_K * 2];
#endif
#if C_DTYPE
    FLOATV sums[COLUMNS / WIDTH * CHUNK * 2];
#endif
    /* At least one block, so that k = 0 gives beta * C. */
    uint k0 = 0;
    do {
        const uint depth = min(args.k - k0, (uint)BLOCK_K);
        const bool last = args.k - k0 <= BLOCK_K;
        for (uint i0 = i_begin; i0 < i_end; i0 += ROWS)
            pack_a(a, a_stride, i0, min(i_end - i0, (uint)ROWS), k0, depth, tiles + (i0 - i_begin) * BLOCK_K);
        for (uint j0 = j_begin; j0 < j_end; j0 += WIDTH) {
            const uint columns = min(args.n - j0, (uint)WIDTH);
#if B_PACKED && !B_DTYPE
            __global const FLOATV *panel = (__global const FLOATV *)(b + ((size_t)j0 / WIDTH * args.k + k0) * WIDTH);
#else
            pack_b(b, b_stride, args.k, k0, depth, j0, columns, copy);
            const FLOATV *panel = copy;
#endif
            /* The panel after this one; at the very end this one again. */
            const bool wraps = j0 + WIDTH >= j_end;
            const uint next_j = !wraps ? j0 + WIDTH : last ? j0 : j_begin, next_k = wraps && !last ? k0 + BLOCK_K : k0;
            const uint next_last = max(min(args.k - next_k, (uint)BLOCK_K), 1u) - 1;
#if B_PACKED
            __global const B_STORE *next_b = b + ((size_t)next_j / WIDTH * args.k + next_k) * WIDTH;
#else
            __global const B_STORE *next_b = b + AT_B(next_k, next_j, b_stride);
#endif
            for (uint i0 = i_begin, t = 0; i0 < i_end; i0 += ROWS, t++) {
                const uint rows = min(i_end - i0, (uint)ROWS);
                const float *tile = tiles + (i0 - i_begin) * BLOCK_K;
                PANEL_SPACE const FLOATV *p = panel;
                __global C_STORE *out = c + i0 * c_stride + j0;
                FLOATV s[ROWS][2];
#pragma unroll
                for (int i = 0; i < ROWS; i++) s[i][0] = s[i][1] = (FLOATV)(0.0f);
                for (uint k = 0, q = 0; k < depth; k += LINE, q++) {
                    __global const C_STORE *c_line = out + min(q, rows - 1) * c_stride;
                    PREFETCH_TO_WRITE(c_line);
                    PREFETCH_TO_WRITE(c_line + min(columns - 1, (uint)LINE));
#if B_PACKED
                    const uint k_line = min(t * LINE + q, next_last);
                    PREFETCH(next_b + k_line * WIDTH);
                    PREFETCH(next_b + k_line * WIDTH + LINE);
#elif TRANSPOSE_B
                    const uint j_line = min(2 * q, min(args.n - next_j, (uint)WIDTH) - 1), k_line = min(t * LINE, next_last);
                    PREFETCH(next_b + AT_B(k_line, j_line, b_stride));
                    PREFETCH(next_b + AT_B(k_line, j_line + 1, b_stride));
#else
                    const uint k_line = min(t * LINE + q, next_last);
                    PREFETCH(next_b + AT_B(k_line, 0, b_stride));
                    PREFETCH(next_b + AT_B(k_line, LINE, b_stride));
#endif
                    if (depth - k >= LINE) {
                        /* A constant number of steps: their end is then always foreseen, which is worth 3 %. */
#pragma unroll 4
                        for (int l = 0; l < LINE; l++) ACCUMULATE(l)
                        p += 2 * LINE;
                        tile += AT_TILE(0, LINE);
                    } else {
                        for (uint l = 0; l < depth - k; l++) ACCUMULATE(l)
                    }
                }
#if C_DTYPE
                const float beta = args.beta;
                FLOATV *sum = sums + ((j0 - j_begin) / WIDTH * CHUNK + i0 - i_begin) * 2;
                if (k0) {
#pragma unroll
                    for (int i = 0; i < ROWS; i++) s[i][0] += sum[2 * i], s[i][1] += sum[2 * i + 1];
                }
                if (!last) {
#pragma unroll
                    for (int i = 0; i < ROWS; i++) sum[2 * i] = s[i][0], sum[2 * i + 1] = s[i][1];
                    continue;
                }
#else
                const float beta = k0 ? 1.0f : args.beta;
#endif
#pragma unroll
                for (int i = 0; i < ROWS; i++)
                    if (i < rows) finish_row(out + i * c_stride, s[i][0], s[i][1], columns, args.alpha, beta);
            }
        }
        k0 += BLOCK_K;
    } while (k0 < args.k);
}
