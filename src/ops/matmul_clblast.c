/* SPDX-License-Identifier: MIT
 * Matrix products on CLBlast. */
#include "clblast_sets.h"
#include "matmul.h"

#include <CL/cl_half.h>
#include <clblast_c.h>

/* CLBlast keeps offsets in 32-bit ints, and its kernels index elements with them: the last element counts, too.
 * rows, cols: of one matrix as stored. */
static bool fits(const rsc_matmul_operand_args *x, uint32_t rows, uint32_t cols, size_t batch, uint32_t inner)
{
    const uint64_t outer = (batch - 1) / inner, in = (batch < inner ? batch : inner) - 1;
    return x->offset <= INT32_MAX && x->row_stride <= INT32_MAX && x->outer_stride <= INT32_MAX &&
           x->inner_stride <= INT32_MAX && outer <= INT32_MAX &&
           x->offset + outer * x->outer_stride + in / x->inner_div * x->inner_stride +
                   (uint64_t)(rows - 1) * x->row_stride + (cols - 1) <=
               INT32_MAX;
}

const char *rsc_matmul_clblast_refuses(const rosace_device_info *device, const rsc_matmul_desc *desc,
                                       const rsc_matmul_call *call)
{
    const rsc_matmul_args *args = &call->args;
    if (desc->a != desc->b || desc->a != desc->c) return "CLBlast takes operands of one dtype only";
    if (desc->a != ROSACE_F32 && desc->a != ROSACE_F16) return "CLBlast has no bf16";
    if (desc->a == ROSACE_F16 && !device->has_fp16) return "CLBlast needs cl_khr_fp16 for fp16, which this device lacks";
    if (args->a.row_stride < (desc->transpose_a ? args->m : args->k) || args->c.row_stride < args->n ||
        args->b.row_stride < (desc->transpose_b ? args->k : args->n))
        return "CLBlast takes no rows that overlap";
    if (!args->k) return "CLBlast takes no empty matrix";
    const bool ta = desc->transpose_a, tb = desc->transpose_b;
    if (!fits(&args->a, ta ? args->k : args->m, ta ? args->m : args->k, call->batch, args->inner) ||
        !fits(&args->b, tb ? args->n : args->k, tb ? args->k : args->n, call->batch, args->inner) ||
        !fits(&args->c, args->m, args->n, call->batch, args->inner))
        return "CLBlast takes offsets, strides and elements below 2^31 only";
    return NULL;
}

static const char *status_name(CLBlastStatusCode code)
{
    switch (code) {
    case CLBlastOpenCLCompilerNotAvailable: return "compiler not available";
    case CLBlastOpenCLBuildProgramFailure: return "build failed";
    case CLBlastOpenCLOutOfResources: return "out of resources";
    case CLBlastOpenCLOutOfHostMemory: return "out of host memory";
    case CLBlastTempBufferAllocFailure: return "no memory for its buffers";
    case CLBlastInvalidLocalMemUsage: return "not enough local memory";
    case CLBlastNoHalfPrecision: return "no fp16";
    case CLBlastInvalidMatrixA: return "invalid matrix A";
    case CLBlastInvalidMatrixB: return "invalid matrix B";
    case CLBlastInvalidMatrixC: return "invalid matrix C";
    case CLBlastInvalidDimension: return "invalid dimension";
    case CLBlastInsufficientMemoryA: return "matrix A beyond its buffer";
    case CLBlastInsufficientMemoryB: return "matrix B beyond its buffer";
    case CLBlastInsufficientMemoryC: return "matrix C beyond its buffer";
    default: return "failed";
    }
}

/* Whether other parameters may help: what OpenCL itself says, and CLBlast of kernels; not what it says of matrices. */
static bool is_of_parameters(CLBlastStatusCode code)
{
    return code != CLBlastSuccess && (code > -1024 || code == CLBlastInvalidLocalMemUsage || code == CLBlastDatabaseError ||
                                      code == CLBlastUnknownError || code == CLBlastUnexpectedError);
}

static size_t start(const rsc_matmul_operand_args *x, size_t z, uint32_t inner)
{
    return (size_t)(x->offset + z / inner * x->outer_stride + z % inner / x->inner_div * x->inner_stride);
}

/* One level of batch with one stride? */
static bool is_strided(const rsc_matmul_call *call)
{
    const rsc_matmul_args *args = &call->args;
    return (call->batch <= args->inner || args->inner == 1) && args->a.inner_div == 1 && args->b.inner_div == 1 &&
           args->c.inner_div == 1;
}

static size_t one_stride(const rsc_matmul_operand_args *x, uint32_t inner)
{
    return (size_t)(inner == 1 ? x->outer_stride : x->inner_stride);
}

static CLBlastStatusCode strided(const rsc_matmul_desc *desc, const rsc_matmul_call *call, CLBlastTranspose ta,
                                 CLBlastTranspose tb, cl_command_queue *queue, cl_event *event)
{
    const rsc_matmul_args *g = &call->args;
    const size_t as = one_stride(&g->a, g->inner), bs = one_stride(&g->b, g->inner), cs = one_stride(&g->c, g->inner);
    const size_t al = (size_t)g->a.row_stride, bl = (size_t)g->b.row_stride, cl = (size_t)g->c.row_stride;
    const size_t ao = (size_t)g->a.offset, bo = (size_t)g->b.offset, co = (size_t)g->c.offset;
    if (desc->a == ROSACE_F16) {
        const cl_half alpha = cl_half_from_float(g->alpha, CL_HALF_RTE), beta = cl_half_from_float(g->beta, CL_HALF_RTE);
        if (call->batch == 1)
            return CLBlastHgemm(CLBlastLayoutRowMajor, ta, tb, g->m, g->n, g->k, alpha, call->a, ao, al, call->b, bo, bl,
                                beta, call->c, co, cl, queue, event);
        return CLBlastHgemmStridedBatched(CLBlastLayoutRowMajor, ta, tb, g->m, g->n, g->k, alpha, call->a, ao, al, as,
                                          call->b, bo, bl, bs, beta, call->c, co, cl, cs, call->batch, queue, event);
    }
    if (call->batch == 1)
        return CLBlastSgemm(CLBlastLayoutRowMajor, ta, tb, g->m, g->n, g->k, g->alpha, call->a, ao, al, call->b, bo, bl,
                            g->beta, call->c, co, cl, queue, event);
    return CLBlastSgemmStridedBatched(CLBlastLayoutRowMajor, ta, tb, g->m, g->n, g->k, g->alpha, call->a, ao, al, as,
                                      call->b, bo, bl, bs, g->beta, call->c, co, cl, cs, call->batch, queue, event);
}

static rosace_status scattered(rosace_context *context, const rsc_matmul_desc *desc, const rsc_matmul_call *call,
                               CLBlastTranspose ta, CLBlastTranspose tb, cl_command_queue *queue, cl_event *event,
                               CLBlastStatusCode *code)
{
    const rsc_matmul_args *g = &call->args;
    const size_t batch = call->batch;
    const bool half = desc->a == ROSACE_F16;
    size_t *offsets = rsc_calloc(context, batch, 3 * sizeof *offsets);
    float *scales = rsc_calloc(context, batch, 2 * sizeof *scales);
    if (!offsets || !scales) {
        rsc_free(context, offsets);
        rsc_free(context, scales);
        return rsc_fail(ROSACE_OUT_OF_MEMORY, "matmul: no host memory for %zu offsets", 3 * batch);
    }
    size_t *ao = offsets, *bo = offsets + batch, *co = offsets + 2 * batch;
    float *alpha = scales, *beta = scales + batch;
    cl_half *alpha_half = (cl_half *)alpha, *beta_half = (cl_half *)beta;
    for (size_t z = 0; z < batch; z++) {
        ao[z] = start(&g->a, z, g->inner);
        bo[z] = start(&g->b, z, g->inner);
        co[z] = start(&g->c, z, g->inner);
        if (half) {
            alpha_half[z] = cl_half_from_float(g->alpha, CL_HALF_RTE);
            beta_half[z] = cl_half_from_float(g->beta, CL_HALF_RTE);
        } else {
            alpha[z] = g->alpha;
            beta[z] = g->beta;
        }
    }
    const size_t al = (size_t)g->a.row_stride, bl = (size_t)g->b.row_stride, cl = (size_t)g->c.row_stride;
    if (half)
        *code = CLBlastHgemmBatched(CLBlastLayoutRowMajor, ta, tb, g->m, g->n, g->k, alpha_half, call->a, ao, al, call->b,
                                    bo, bl, beta_half, call->c, co, cl, batch, queue, event);
    else
        *code = CLBlastSgemmBatched(CLBlastLayoutRowMajor, ta, tb, g->m, g->n, g->k, alpha, call->a, ao, al, call->b, bo, bl,
                                    beta, call->c, co, cl, batch, queue, event);
    rsc_free(context, offsets);
    rsc_free(context, scales);
    return ROSACE_OK;
}

rosace_status rsc_matmul_clblast(rsc_chain *chain, const rsc_matmul_desc *desc, const rsc_matmul_call *call)
{
    const CLBlastTranspose ta = desc->transpose_a ? CLBlastTransposeYes : CLBlastTransposeNo;
    const CLBlastTranspose tb = desc->transpose_b ? CLBlastTransposeYes : CLBlastTransposeNo;
    cl_command_queue queue;
    rosace_status status = rsc_chain_before_foreign(chain, &queue);
    if (status) return status;
    rsc_clblast_ready(chain->context, desc->a);
    cl_event event = NULL;
    CLBlastStatusCode code;
    do {
        code = CLBlastSuccess;
        if (is_strided(call)) code = strided(desc, call, ta, tb, &queue, &event);
        else status = scattered(chain->context, desc, call, ta, tb, &queue, &event, &code);
        if (status) return status;
    } while (is_of_parameters(code) && rsc_clblast_fall_back(chain->context, desc->a, status_name(code)));
    if (code != CLBlastSuccess)
        return rsc_fail(ROSACE_CLBLAST_ERROR, "CLBlast%cgemm %ux%ux%u, batch %zu: %s (%d)", desc->a == ROSACE_F16 ? 'H' : 'S',
                        call->args.m, call->args.n, call->args.k, call->batch, status_name(code), (int)code);
    return rsc_chain_after_foreign(chain, event);
}
