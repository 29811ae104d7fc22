/* SPDX-License-Identifier: MIT
 *
 * Matrix products, row-major: C = alpha * op(A) op(B) + beta * C, batched with strides.
 */
#ifndef ROSACE_MATMUL_H
#define ROSACE_MATMUL_H

#include <rosace/rosace.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A matrix or a batch of them. Element (b, r, c) is at offset + b*batch_stride + r*row_stride + c, in elements. */
typedef struct rosace_matrix {
    cl_mem mem;
    size_t offset;
    size_t rows, cols;       /* as stored, before any transposition */
    size_t row_stride;       /* >= cols (0 = cols) */
    size_t batch_stride;     /* unused when batch is 1; 0 is allowed for inputs: one matrix serves the whole batch */
} rosace_matrix;

typedef enum rosace_matmul_path {
    ROSACE_MATMUL_AUTO = 0, /* what `rosace tune` measured to be faster; before that CLBlast on GPUs, tile on CPU
                               devices; the other one where that cannot */
    ROSACE_MATMUL_CLBLAST,  /* with parameters as rosace_tune found them, else of a table of devices, else CLBlast's own;
                               CLBlast keeps them for the process, where a program that calls it, too, meets them */
    ROSACE_MATMUL_TILE      /* rosace's own kernel: any dtype without extensions */
} rosace_matmul_path;

/* A matrix B that stays: put once into the order in which the kernels read it, where that helps (CPU devices, path not
 * CLBLAST), so that no product has to. Products read it only, so any number of threads may use it. */
typedef struct rosace_matmul_weights rosace_matmul_weights;

typedef struct rosace_matmul_args {
    size_t struct_size;
    rosace_dtype dtype;      /* of A, B and C; fp16 and bf16 accumulate in fp32 on TILE, fp16 as the device does on CLBLAST
                                (which needs cl_khr_fp16, and has no bf16) */
    rosace_matrix a, b, c;   /* op(A): m x k, op(B): k x n, C: m x n; C overlaps neither */
    bool transpose_a, transpose_b;
    float alpha, beta;       /* beta = 0: C is not read (NaN in it does not matter) */
    size_t batch;            /* (default 1) */
    rosace_matmul_path path; /* (default AUTO) */
    const rosace_matmul_weights *weights; /* in place of b and transpose_b, which must be zero (default NULL: b); one for
                                the whole batch, of this context and dtype; kept alive until the product is complete */
} rosace_matmul_args;
#define ROSACE_MATMUL_ARGS_DEFAULT { .struct_size = sizeof(rosace_matmul_args), .alpha = 1.0f, .batch = 1 }

/* Enqueues the product. Errors: ROSACE_INVALID_ARGUMENT, ROSACE_UNSUPPORTED (path CLBLAST, which this call
 * is not for: bf16, fp16 without cl_khr_fp16, rows that overlap, elements from 2^31 on),
 * ROSACE_CLBLAST_ERROR, ROSACE_BUILD_FAILED, ROSACE_OUT_OF_MEMORY, ROSACE_OPENCL_ERROR. Thread-safety: as the context,
 * safe. */
ROSACE_API rosace_status rosace_matmul(rosace_context *context, cl_command_queue queue, const rosace_matmul_args *args,
                                       cl_uint num_wait, const cl_event *wait, cl_event *event);

/* The name of what rosace_matmul takes for these args: "matmul_panel_v16", "matmul_few_v16", "matmul_clblast" and so on;
 * "" when it would refuse them. Static storage. */
ROSACE_API const char *rosace_matmul_variant(rosace_context *context, const rosace_matmul_args *args);

/* Makes weights of a matrix (of one; its batch_stride is not read), stored [k, n], or [n, k] with `transpose`. Waits until
 * that is done. Where packing does not help the weights are the matrix itself, whose buffer is retained: do not change it as
 * long as they live. Packed, they are a copy of about its size. On success *out is the caller's, to be destroyed before the
 * context. `queue` is one of the context's device; what it still has to do to the matrix is waited for.
 * Errors: as rosace_matmul. */
ROSACE_API rosace_status rosace_matmul_weights_create(rosace_context *context, cl_command_queue queue, rosace_dtype dtype,
                                                      const rosace_matrix *matrix, bool transpose,
                                                      rosace_matmul_weights **out);
ROSACE_API void rosace_matmul_weights_destroy(rosace_matmul_weights **weights);

#ifdef __cplusplus
}
#endif
#endif
