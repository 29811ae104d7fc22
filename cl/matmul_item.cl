/* SPDX-License-Identifier: MIT
 * C = alpha * op(A) op(B) + beta * C for devices other than CPUs, row-major, batched; sums are fp32 for every storage type.
 * Operands as in matmul_panel.cl.
 *
 * matmul_item: a work-item makes one register tile, ROWS rows times two vectors of VEC columns, straight from A and B;
 * neighbours in a group share their loads through the caches. The launch is one-dimensional, since the other dimensions of
 * a launch end at 65535 groups on some devices: tiles of a row of tiles are neighbours, then rows of tiles, then the batch;
 * work-items beyond args.tiles have nothing to do.
 *
 * Defines and their defaults, so that this file compiles alone (and those of lib/matmul_operand.clh):
 *   VEC 4, 8, 16        width of a vector
 *   ROWS                rows of a register tile
 */
#include "lib/matmul_operand.clh"

#ifndef ROWS
#define ROWS 4
#endif

#define WIDTH (2 * VEC)

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

static void finish_vector(__global C_STORE *c, FLOATV x, uint columns, float alpha, float beta)
{
    x *= alpha;
    if (columns >= VEC) {
        if (beta != 0.0f) x += beta * load_cv(c, 0);
        store_cv(x, c, 0);
        return;
    }
    float row[VEC];
    vstorev(x, 0, row);
#pragma unroll
    for (uint j = 0; j < VEC; j++)
        if (j < columns) store_c(beta != 0.0f ? row[j] + beta * load_c(c, j) : row[j], c, j);
}

__kernel void matmul_item(__global const A_STORE *restrict a, __global const B_STORE *restrict b, __global C_STORE *restrict c,
                          const rsc_matmul_args args)
{
    const ulong id = get_global_id(0);
    if (id >= args.tiles) return;
    const uint across = (args.n + WIDTH - 1) / WIDTH, down = (args.m + ROWS - 1) / ROWS;
    const uint j0 = (uint)(id % across) * WIDTH, i0 = (uint)(id / across % down) * ROWS, z = (uint)(id / across / down);
    const uint columns = min(args.n - j0, (uint)WIDTH), rest = columns > VEC ? columns - VEC : 0;
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
        const FLOATV b1 = load_columns(b, b_stride, k, j0 + VEC, rest);
#pragma unroll
        for (uint i = 0; i < ROWS; i++) {
            /* Rows past the end repeat the last one and are not stored. */
            const FLOATV x = (FLOATV)(load_a(a, AT_A(i0 + min(i, rows - 1), k, a_stride)));
            s[i][0] = FMA(x, b0, s[i][0]);
            s[i][1] = FMA(x, b1, s[i][1]);
        }
    }
    c += i0 * c_stride + j0;
#pragma unroll
    for (uint i = 0; i < ROWS; i++)
        if (i < rows) {
            finish_vector(c + i * c_stride, s[i][0], columns, args.alpha, args.beta);
            finish_vector(c + i * c_stride + VEC, s[i][1], rest, args.alpha, args.beta);
        }
}
