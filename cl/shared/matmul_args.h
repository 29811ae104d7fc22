/* SPDX-License-Identifier: MIT
 * The argument of the matmul kernels, seen by host and device. C[z] = alpha * op(A[z]) op(B[z]) + beta * C[z], where matrix
 * z of an operand starts at offset + (z / inner) * outer_stride + ((z % inner) / inner_div) * inner_stride, in elements. */
#ifndef ROSACE_CL_SHARED_MATMUL_ARGS
#define ROSACE_CL_SHARED_MATMUL_ARGS

#include "shared/types.h"

typedef struct rsc_matmul_operand_args {
    RSC_U64 offset;
    RSC_U64 row_stride; /* of the matrix as stored */
    RSC_U64 outer_stride, inner_stride;
    RSC_U32 inner_div; /* this many consecutive z % inner share a matrix */
    RSC_U32 unused;
} rsc_matmul_operand_args;

typedef struct rsc_matmul_args {
    rsc_matmul_operand_args a, b, c;
    RSC_U64 tiles; /* matmul_item: register tiles in all */
    RSC_U32 m, n, k;
    RSC_U32 inner;
    RSC_U32 chunk;   /* rows of C that one work-item makes: a multiple of ROWS */
    RSC_U32 columns; /* columns of C that one work-item makes: a multiple of the panel's width */
    float alpha, beta;
} rsc_matmul_args;

#endif
