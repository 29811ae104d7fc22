/* SPDX-License-Identifier: MIT
 * The masked softmax and the mask as a matrix, as operations of their own. */
#include "softmax.h"

#include "../check.h"
#include "../mask.h"
#include "../program.h"

#include <math.h>
#include <string.h>

enum { MATRIX_CHUNK = 16 };
static const int64_t max_seq = (int64_t)1 << 30;

#define INVALID(...) rsc_fail(ROSACE_INVALID_ARGUMENT, __VA_ARGS__)

/* ---- Checks that both operations share --------------------------------------------------------------------------- */

static rosace_status check_q_offset(int64_t *q_offset, const rosace_tensor *t)
{
    if (*q_offset == ROSACE_ALIGN_BOTTOM_RIGHT) *q_offset = (int64_t)t->shape[3] - (int64_t)t->shape[1];
    if (*q_offset < -max_seq || *q_offset > max_seq)
        return INVALID("q_offset = %lld: must be within 2^30", (long long)*q_offset);
    return ROSACE_OK;
}

static rosace_status check_lengths(const char *name, const rosace_tensor *t)
{
    if (t->shape[0] > UINT32_MAX || t->shape[2] > UINT32_MAX || t->shape[0] * t->shape[2] > INT32_MAX)
        return INVALID("%s.shape = [%zu, , %zu, ]: batch * heads must be at most 2^31 - 1", name, t->shape[0], t->shape[2]);
    if (t->shape[1] > (size_t)max_seq) return INVALID("%s.shape[1] = %zu: must be at most 2^30", name, t->shape[1]);
    if (t->shape[3] > (size_t)max_seq) return INVALID("%s.shape[3] = %zu: must be at most 2^30", name, t->shape[3]);
    return ROSACE_OK;
}

static rosace_status check_bias(rosace_context *context, rosace_bias_kind bias, cl_mem params, size_t offset, size_t heads,
                                rsc_range *range)
{
    *range = (rsc_range){.parent = NULL};
    if (bias == ROSACE_BIAS_NONE) return ROSACE_OK;
    if (bias != ROSACE_BIAS_ALIBI)
        return INVALID("bias = %d: must be ROSACE_BIAS_NONE or ROSACE_BIAS_ALIBI here", (int)bias);
    if (!params) return INVALID("bias_params: NULL, ROSACE_BIAS_ALIBI needs %zu slopes", heads);
    return rsc_check_array(context, "bias_params", params, offset, heads, sizeof(cl_float), false, range);
}

/* ---- Softmax ----------------------------------------------------------------------------------------------------- */

/* *probs is scores when the result goes there. */
static rosace_status check_softmax(rosace_context *context, rosace_softmax_args *args, const rosace_tensor **probs)
{
    const rosace_tensor *scores = &args->scores;
    if (!rosace_dtype_size(scores->dtype))
        return INVALID("scores.dtype = %d: must be ROSACE_F32 or ROSACE_F16", (int)scores->dtype);
    *probs = args->probs && !rsc_same_tensor(args->probs, scores) ? args->probs : scores;
    const bool in_place = *probs == scores;
    rsc_range scores_range, probs_range, bias_range, lse_range;
    rosace_status status = rsc_check_tensor(context, "scores", scores, scores->dtype, in_place, &scores_range);
    if (!status) status = rsc_check_tensor(context, "probs", *probs, scores->dtype, true, &probs_range);
    if (!status) status = check_lengths("scores", scores);
    if (status) return status;
    for (int i = 0; i < 4; i++)
        if ((*probs)->shape[i] != scores->shape[i])
            return INVALID("probs.shape[%d] = %zu: scores have %zu", i, (*probs)->shape[i], scores->shape[i]);
    status = rosace_mask_check(&args->mask);
    if (!status) status = check_q_offset(&args->q_offset, scores);
    if (status) return status;
    if (!isfinite(args->scale)) return INVALID("scale = %g: must be finite", (double)args->scale);
    if (!isfinite(args->softcap) || args->softcap < 0.0f)
        return INVALID("softcap = %g: must be finite and not negative", (double)args->softcap);
    const size_t heads = scores->shape[2];
    status = check_bias(context, args->bias, args->bias_params, args->bias_params_offset, heads, &bias_range);
    if (!status && !in_place) status = rsc_check_disjoint_tensors(context, "probs", *probs, "scores", scores);
    if (!status && bias_range.parent) status = rsc_check_disjoint("probs", &probs_range, "bias_params", &bias_range);
    if (status || !args->lse) return status;
    size_t count;
    if (!rsc_mul(scores->shape[0] * heads, scores->shape[1], &count))
        return INVALID("lse: batch * n_heads * seq_q overflows");
    status = rsc_check_array(context, "lse", args->lse, args->lse_offset, count, sizeof(cl_float), true, &lse_range);
    if (!status) status = rsc_check_disjoint("lse", &lse_range, "scores", &scores_range);
    if (!status) status = rsc_check_disjoint("lse", &lse_range, "probs", &probs_range);
    if (!status && bias_range.parent) status = rsc_check_disjoint("lse", &lse_range, "bias_params", &bias_range);
    return status;
}

/* What the context keeps: one kernel for one set of choices. */
typedef struct kept {
    rosace_context *context;
    rsc_softmax softmax; /* for the matrix, its kernel alone */
} kept;

static void drop(void *plan)
{
    kept *self = plan;
    rsc_softmax_destroy(&self->softmax);
    rsc_free(self->context, self);
}

static rosace_status keep(rosace_context *context, kept **out, void **plan)
{
    kept *self = *out = rsc_calloc(context, 1, sizeof *self);
    if (!self) return rsc_fail(ROSACE_OUT_OF_MEMORY, "masked softmax: no host memory");
    self->context = context;
    *plan = self;
    return ROSACE_OK;
}

static rosace_status make_softmax(rosace_context *context, const void *desc, void **plan)
{
    kept *self;
    rosace_status status = keep(context, &self, plan);
    if (status) return status;
    status = rsc_softmax_create(context, desc, &self->softmax);
    if (status) drop(self);
    return status;
}

static rsc_softmax_view view_of(const rosace_tensor *t)
{
    return (rsc_softmax_view){t->offset, (uint64_t)t->stride[0], (uint64_t)t->stride[2], (uint64_t)t->stride[1]};
}

static rsc_softmax_call softmax_call(const rosace_softmax_args *args, const rosace_tensor *probs)
{
    const rosace_tensor *scores = &args->scores;
    const size_t heads = scores->shape[2];
    return (rsc_softmax_call){.scores = scores->mem,
                              .probs = probs->mem,
                              .slopes = args->bias == ROSACE_BIAS_ALIBI ? args->bias_params : NULL,
                              .lse = args->lse,
                              .rows = scores->shape[1],
                              .matrices = scores->shape[0] * heads,
                              .args = {.scores = view_of(scores),
                                       .probs = view_of(probs),
                                       .mask = rsc_mask_pack(&args->mask, args->q_offset, (int64_t)scores->shape[3]),
                                       .lse_offset = args->lse_offset,
                                       .slopes_offset = args->bias_params_offset,
                                       .inner = (uint32_t)heads,
                                       .heads = (uint32_t)heads,
                                       .rows = (uint32_t)scores->shape[1],
                                       .columns = (uint32_t)scores->shape[3],
                                       .lse_rows = (uint32_t)scores->shape[1],
                                       .has_lse = args->lse != NULL,
                                       .scale = args->scale,
                                       .softcap = args->softcap}};
}

rosace_status rosace_masked_softmax(rosace_context *context, cl_command_queue queue, const rosace_softmax_args *given,
                                    cl_uint num_wait, const cl_event *wait, cl_event *event)
{
    if (!context) return INVALID("context: NULL");
    rosace_softmax_args args = ROSACE_SOFTMAX_ARGS_DEFAULT;
    const rosace_tensor *probs = NULL;
    rosace_status status = rsc_read_struct("args", given, &args, sizeof args);
    if (!status) status = check_softmax(context, &args, &probs);
    if (status) return status;

    rsc_softmax_desc desc;
    memset(&desc, 0, sizeof desc); /* compared as bytes */
    desc.dtype = args.scores.dtype;
    desc.bias = args.bias;
    desc.softcap = args.softcap > 0.0f;
    rsc_plan_entry *entry = NULL;
    void *plan = NULL;
    status = rsc_plan_acquire(context, "masked softmax", &desc, sizeof desc, make_softmax, drop, &desc, &entry, &plan);
    if (status) return status;
    const rsc_softmax_call call = softmax_call(&args, probs);
    rsc_chain chain;
    status = rsc_chain_begin(&chain, context, queue, num_wait, wait);
    if (!status) status = rsc_softmax_chain(&((kept *)plan)->softmax, &chain, &call);
    status = rsc_chain_end(&chain, status, event);
    rsc_plan_release(entry);
    return status;
}

/* ---- The mask as a matrix ---------------------------------------------------------------------------------------- */

typedef struct matrix_desc {
    int32_t dtype, bias;
} matrix_desc;

static rosace_status make_matrix(rosace_context *context, const void *desc, void **plan)
{
    const matrix_desc *wanted = desc;
    const char *const pieces[] = {wanted->bias == ROSACE_BIAS_ALIBI ? "position/alibi.clh" : "mask_matrix.cl",
                                  wanted->bias == ROSACE_BIAS_ALIBI ? "mask_matrix.cl" : NULL, NULL};
    kept *self;
    rosace_status status = keep(context, &self, plan);
    if (status) return status;
    rsc_options options = {.count = 0};
    rsc_option_int(&options, "CHUNK", MATRIX_CHUNK);
    rsc_option_int(&options, "DTYPE_F16", wanted->dtype == ROSACE_F16);
    status = rsc_kernel_create(context, pieces, "mask_matrix", &options, &self->softmax.kernel);
    if (status) drop(self);
    return status;
}

rosace_status rosace_mask_matrix(rosace_context *context, cl_command_queue queue, const rosace_mask *mask, int64_t q_offset,
                                 rosace_bias_kind bias, cl_mem bias_params, size_t bias_params_offset,
                                 const rosace_tensor *out, cl_uint num_wait, const cl_event *wait, cl_event *event)
{
    if (!context) return INVALID("context: NULL");
    if (!out) return INVALID("out: NULL");
    if (!rosace_dtype_size(out->dtype)) return INVALID("out.dtype = %d: must be ROSACE_F32 or ROSACE_F16", (int)out->dtype);
    rsc_range range, bias_range;
    rosace_status status = rosace_mask_check(mask);
    if (!status) status = rsc_check_tensor(context, "out", out, out->dtype, true, &range);
    if (!status) status = check_lengths("out", out);
    if (!status && out->shape[0] != 1) status = INVALID("out.shape[0] = %zu: must be 1", out->shape[0]);
    if (!status) status = check_q_offset(&q_offset, out);
    if (!status) status = check_bias(context, bias, bias_params, bias_params_offset, out->shape[2], &bias_range);
    if (!status && bias_range.parent) status = rsc_check_disjoint("out", &range, "bias_params", &bias_range);
    if (status) return status;

    const matrix_desc desc = {(int32_t)out->dtype, (int32_t)bias};
    rsc_plan_entry *entry = NULL;
    void *plan = NULL;
    status = rsc_plan_acquire(context, "mask matrix", &desc, sizeof desc, make_matrix, drop, &desc, &entry, &plan);
    if (status) return status;
    const cl_kernel kernel = ((kept *)plan)->softmax.kernel;
    const cl_mem params = bias_range.parent ? bias_params : out->mem;
    const rsc_mask_args packed = rsc_mask_pack(mask, q_offset, (int64_t)out->shape[3]);
    const cl_ulong offset = out->offset, seq_stride = (cl_ulong)out->stride[1], head_stride = (cl_ulong)out->stride[2];
    const cl_ulong params_offset = bias_range.parent ? bias_params_offset : 0;
    const size_t global[3] = {(out->shape[3] + MATRIX_CHUNK - 1) / MATRIX_CHUNK, out->shape[2], out->shape[1]};
    status = RSC_ARGS(kernel, "mask_matrix", RSC_ARG(out->mem), RSC_ARG(params), RSC_ARG(packed), RSC_ARG(offset),
                      RSC_ARG(seq_stride), RSC_ARG(head_stride), RSC_ARG(params_offset));
    if (!status) {
        rsc_chain chain;
        status = rsc_chain_begin(&chain, context, queue, num_wait, wait);
        if (!status) status = rsc_chain_kernel(&chain, kernel, 3, global, NULL, "mask_matrix");
        status = rsc_chain_end(&chain, status, event);
    }
    rsc_plan_release(entry);
    return status;
}
