/* SPDX-License-Identifier: MIT
 * The masked softmax and the mask as a matrix, as operations of their own. */
#include "softmax.h"

#include "../check.h"
#include "../mask.h"
#include "../position/bias.h"
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

static rosace_status check_bias(rosace_context *context, const rsc_bias_desc *given, cl_mem params, size_t offset,
                                size_t heads, rsc_bias_desc *checked, rsc_range *range)
{
    *range = (rsc_range){.parent = NULL};
    if (given->kind == ROSACE_BIAS_SHAW) return INVALID("bias = ROSACE_BIAS_SHAW: attention alone has it");
    const rosace_status status = rsc_bias_check(given, checked);
    if (status || given->kind == ROSACE_BIAS_NONE) return status;
    const size_t count = rsc_bias_params(checked, heads);
    if (!params) return INVALID("bias_params: NULL, %s needs %zu floats", rsc_bias_name(given->kind), count);
    return rsc_check_array(context, "bias_params", params, offset, count, sizeof(cl_float), false, range);
}

/* ---- Softmax ----------------------------------------------------------------------------------------------------- */

/* *probs is scores when the result goes there. */
static rosace_status check_softmax(rosace_context *context, rosace_softmax_args *args, const rosace_tensor **probs,
                                   rsc_bias_desc *bias)
{
    const rosace_tensor *scores = &args->scores;
    if (!rosace_dtype_size(scores->dtype))
        return rsc_check_dtype("scores.dtype", scores->dtype);
    *probs = args->probs && !rsc_same_tensor(args->probs, scores) ? args->probs : scores;
    const bool in_place = *probs == scores;
    rsc_range scores_range, probs_range, bias_range, lse_range, sink_range = {.parent = NULL};
    rosace_status status = rsc_check_tensor(context, "scores", scores, scores->dtype, in_place, &scores_range);
    if (!status && in_place) status = rsc_check_readable("scores", scores->mem);
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
    const rsc_bias_desc given = {args->bias, args->bias_max_distance, args->bias_buckets, args->bias_width, args->bias_causal};
    status = check_bias(context, &given, args->bias_params, args->bias_params_offset, heads, bias, &bias_range);
    if (!status && args->sink_logits)
        status = rsc_check_array(context, "sink_logits", args->sink_logits, args->sink_logits_offset, heads, sizeof(cl_float),
                                 false, &sink_range);
    if (!status && !in_place) status = rsc_check_disjoint_tensors(context, "probs", *probs, "scores", scores);
    if (!status && bias_range.parent) status = rsc_check_disjoint("probs", &probs_range, "bias_params", &bias_range);
    if (!status && sink_range.parent) status = rsc_check_disjoint("probs", &probs_range, "sink_logits", &sink_range);
    if (status || !args->lse) return status;
    size_t count;
    if (!rsc_mul(scores->shape[0] * heads, scores->shape[1], &count))
        return INVALID("lse: batch * n_heads * seq_q overflows");
    status = rsc_check_array(context, "lse", args->lse, args->lse_offset, count, sizeof(cl_float), true, &lse_range);
    if (!status) status = rsc_check_disjoint("lse", &lse_range, "scores", &scores_range);
    if (!status) status = rsc_check_disjoint("lse", &lse_range, "probs", &probs_range);
    if (!status && bias_range.parent) status = rsc_check_disjoint("lse", &lse_range, "bias_params", &bias_range);
    if (!status && sink_range.parent) status = rsc_check_disjoint("lse", &lse_range, "sink_logits", &sink_range);
    return status;
}

/* What the context keeps: kernels for one set of choices, under a key that is zero-filled before it is set. */
typedef struct kept_key {
    int64_t max_distance, buckets, width;
    int32_t bias, bias_causal, dtype, softcap, device_class, sink;
} kept_key;

typedef struct kept {
    rosace_context *context;
    rsc_softmax softmax; /* for the matrix, its kernel alone */
    rsc_bias bias;
} kept;

static void set_key(kept_key *key, const rsc_bias_desc *bias, rosace_dtype dtype, bool softcap)
{
    memset(key, 0, sizeof *key);
    key->max_distance = bias->max_distance;
    key->buckets = bias->buckets;
    key->width = bias->width;
    key->bias = (int32_t)bias->kind;
    key->bias_causal = bias->causal;
    key->dtype = (int32_t)dtype;
    key->softcap = softcap;
}

static void drop(void *plan)
{
    kept *self = plan;
    rsc_softmax_destroy(&self->softmax);
    rsc_bias_destroy(&self->bias);
    rsc_free(self->context, self);
}

static rosace_status keep(rosace_context *context, const kept_key *key, kept **out, void **plan)
{
    kept *self = *out = rsc_calloc(context, 1, sizeof *self);
    if (!self) return rsc_fail(ROSACE_OUT_OF_MEMORY, "masked softmax: no host memory");
    self->context = context;
    const rsc_bias_desc bias = {(rosace_bias_kind)key->bias, key->max_distance, key->buckets, key->width, key->bias_causal != 0};
    const rosace_status status = rsc_bias_create(context, &bias, &self->bias);
    if (status) {
        drop(self);
        return status;
    }
    *plan = self;
    return ROSACE_OK;
}

/* The bias of a call, its table in a buffer for the time of the call where it is one. *temporary is to be released. */
static rosace_status chain_bias(const rsc_bias *bias, rsc_chain *chain, const rosace_mask *mask, int64_t q_offset, size_t heads,
                                size_t seq_q, size_t seq_k, rsc_bias_place params, cl_mem *temporary, rsc_bias_place *out)
{
    size_t bytes = 0;
    rosace_status status = rsc_bias_bytes(bias, mask, heads, seq_q, seq_k, &bytes);
    if (!status && bytes)
        status = rsc_buffer_create(chain->context, bytes, CL_MEM_READ_WRITE, NULL, "table of biases", temporary);
    return status ? status : rsc_bias_chain(bias, chain, mask, q_offset, heads, seq_q, seq_k, params, *temporary, 0, out);
}

static rosace_status make_softmax(rosace_context *context, const void *key, void **plan)
{
    const kept_key *wanted = key;
    const rsc_softmax_desc desc = {.dtype = (rosace_dtype)wanted->dtype,
                                   .bias = (rosace_bias_kind)wanted->bias,
                                   .device_class = (rosace_device_class)wanted->device_class,
                                   .softcap = wanted->softcap != 0,
                                   .extras = {.sink = wanted->sink != 0}};
    kept *self;
    rosace_status status = keep(context, wanted, &self, plan);
    if (status) return status;
    status = rsc_softmax_create(context, &desc, &self->softmax);
    if (status) drop(self);
    return status;
}

static rsc_softmax_view view_of(const rosace_tensor *t)
{
    return (rsc_softmax_view){t->offset, (uint64_t)t->stride[0], (uint64_t)t->stride[2], (uint64_t)t->stride[1]};
}

static rsc_softmax_call softmax_call(const rosace_softmax_args *args, const rosace_tensor *probs, rsc_bias_place bias)
{
    const rosace_tensor *scores = &args->scores;
    const size_t heads = scores->shape[2];
    return (rsc_softmax_call){.scores = scores->mem,
                              .probs = probs->mem,
                              .bias_params = bias.mem,
                              .lse = args->lse,
                              .extras = {.sink_logits = args->sink_logits, .args = {.sink_offset = args->sink_logits_offset}},
                              .rows = scores->shape[1],
                              .matrices = scores->shape[0] * heads,
                              .args = {.scores = view_of(scores),
                                       .probs = view_of(probs),
                                       .mask = rsc_mask_pack(&args->mask, args->q_offset, (int64_t)scores->shape[3]),
                                       .lse_offset = args->lse_offset,
                                       .params_offset = bias.offset,
                                       .inner = (uint32_t)heads,
                                       .heads = (uint32_t)heads,
                                       .rows = (uint32_t)scores->shape[1],
                                       .columns = (uint32_t)scores->shape[3],
                                       .lse_rows = (uint32_t)scores->shape[1],
                                       .has_lse = args->lse != NULL,
                                       .scale = args->scale,
                                       .softcap = args->softcap}};
}

rosace_status rosace_masked_softmax(rosace_context *context, cl_command_queue queue, const rosace_softmax_args *args,
                                    cl_uint num_wait, const cl_event *wait, cl_event *event)
{
    if (!context) return INVALID("context: NULL");
    return rsc_masked_softmax_as(context, queue, args, rosace_context_device_info(context)->device_class, num_wait, wait, event);
}

rosace_status rsc_masked_softmax_as(rosace_context *context, cl_command_queue queue, const rosace_softmax_args *given,
                                    rosace_device_class device_class, cl_uint num_wait, const cl_event *wait, cl_event *event)
{
    rosace_softmax_args args = ROSACE_SOFTMAX_ARGS_DEFAULT;
    const rosace_tensor *probs = NULL;
    rsc_bias_desc bias;
    rosace_status status = rsc_read_struct("args", given, &args, sizeof args);
    if (!status) status = check_softmax(context, &args, &probs, &bias);
    if (status) return status;

    kept_key key;
    set_key(&key, &bias, args.scores.dtype, args.softcap > 0.0f);
    key.device_class = (int32_t)device_class;
    key.sink = args.sink_logits != NULL;
    rsc_plan_entry *entry = NULL;
    void *plan = NULL;
    status = rsc_plan_acquire(context, "masked softmax", &key, sizeof key, make_softmax, drop, &key, &entry, &plan);
    if (status) return status;
    const kept *self = plan;
    rsc_bias_place place = {args.bias_params, args.bias_params_offset};
    cl_mem temporary = NULL;
    rsc_chain chain;
    status = rsc_chain_begin(&chain, context, queue, num_wait, wait);
    if (!status)
        status = chain_bias(&self->bias, &chain, &args.mask, args.q_offset, args.scores.shape[2], args.scores.shape[1],
                            args.scores.shape[3], place, &temporary, &place);
    const rsc_softmax_call call = softmax_call(&args, probs, place);
    if (!status) status = rsc_softmax_chain(&self->softmax, &chain, &call);
    status = rsc_chain_end(&chain, status, event);
    if (temporary) clReleaseMemObject(temporary);
    rsc_plan_release(entry);
    return status;
}

/* ---- The mask as a matrix ---------------------------------------------------------------------------------------- */

static rosace_status make_matrix(rosace_context *context, const void *key, void **plan)
{
    const kept_key *wanted = key;
    const char *pieces[3];
    rsc_bias_pieces((rosace_bias_kind)wanted->bias, "mask_matrix.cl", pieces);
    kept *self;
    rosace_status status = keep(context, wanted, &self, plan);
    if (status) return status;
    rsc_options options = {.count = 0};
    rsc_option_int(&options, "CHUNK", MATRIX_CHUNK);
    rsc_option_int(&options, "DTYPE", (long)wanted->dtype);
    status = rsc_kernel_create(context, pieces, "mask_matrix", &options, &self->softmax.kernel);
    if (status) drop(self);
    return status;
}

static rosace_status check_matrix(rosace_context *context, rosace_bias_matrix_args *args, rsc_bias_desc *bias)
{
    const rosace_tensor *out = &args->out;
    if (!rosace_dtype_size(out->dtype)) return rsc_check_dtype("out.dtype", out->dtype);
    rsc_range range, bias_range;
    rosace_status status = rosace_mask_check(&args->mask);
    if (!status) status = rsc_check_tensor(context, "out", out, out->dtype, true, &range);
    if (!status) status = check_lengths("out", out);
    if (!status && out->shape[0] != 1) status = INVALID("out.shape[0] = %zu: must be 1", out->shape[0]);
    if (!status) status = check_q_offset(&args->q_offset, out);
    const rsc_bias_desc given = {args->bias, args->bias_max_distance, args->bias_buckets, args->bias_width, args->bias_causal};
    if (!status)
        status = check_bias(context, &given, args->bias_params, args->bias_params_offset, out->shape[2], bias, &bias_range);
    if (!status && bias_range.parent) status = rsc_check_disjoint("out", &range, "bias_params", &bias_range);
    return status;
}

static rosace_status chain_matrix(const kept *self, rsc_chain *chain, const rosace_bias_matrix_args *args, cl_mem *temporary)
{
    const rosace_tensor *out = &args->out;
    rsc_bias_place bias = {args->bias_params, args->bias_params_offset};
    rosace_status status = chain_bias(&self->bias, chain, &args->mask, args->q_offset, out->shape[2], out->shape[1],
                                      out->shape[3], bias, temporary, &bias);
    if (status) return status;
    const cl_mem params = args->bias ? bias.mem : out->mem;
    const rsc_mask_args packed = rsc_mask_pack(&args->mask, args->q_offset, (int64_t)out->shape[3]);
    const cl_ulong offset = out->offset, seq_stride = (cl_ulong)out->stride[1], head_stride = (cl_ulong)out->stride[2];
    const cl_ulong params_offset = args->bias ? bias.offset : 0;
    const size_t global[2] = {(out->shape[3] + MATRIX_CHUNK - 1) / MATRIX_CHUNK * out->shape[1], out->shape[2]};
    status = RSC_ARGS(self->softmax.kernel, "mask_matrix", RSC_ARG(out->mem), RSC_ARG(params), RSC_ARG(packed), RSC_ARG(offset),
                      RSC_ARG(seq_stride), RSC_ARG(head_stride), RSC_ARG(params_offset));
    return status ? status : rsc_chain_kernel(chain, self->softmax.kernel, 2, global, NULL, "mask_matrix");
}

rosace_status rosace_bias_matrix(rosace_context *context, cl_command_queue queue, const rosace_bias_matrix_args *given,
                                 cl_uint num_wait, const cl_event *wait, cl_event *event)
{
    if (!context) return INVALID("context: NULL");
    rosace_bias_matrix_args args = ROSACE_BIAS_MATRIX_ARGS_DEFAULT;
    rsc_bias_desc bias;
    rosace_status status = rsc_read_struct("args", given, &args, sizeof args);
    if (!status) status = check_matrix(context, &args, &bias);
    if (status) return status;

    kept_key key;
    set_key(&key, &bias, args.out.dtype, false);
    rsc_plan_entry *entry = NULL;
    void *plan = NULL;
    status = rsc_plan_acquire(context, "mask matrix", &key, sizeof key, make_matrix, drop, &key, &entry, &plan);
    if (status) return status;
    cl_mem temporary = NULL;
    rsc_chain chain;
    status = rsc_chain_begin(&chain, context, queue, num_wait, wait);
    if (!status) status = chain_matrix(plan, &chain, &args, &temporary);
    status = rsc_chain_end(&chain, status, event);
    if (temporary) clReleaseMemObject(temporary);
    rsc_plan_release(entry);
    return status;
}

rosace_status rosace_mask_matrix(rosace_context *context, cl_command_queue queue, const rosace_mask *mask, int64_t q_offset,
                                 rosace_bias_kind bias, cl_mem bias_params, size_t bias_params_offset,
                                 const rosace_tensor *out, cl_uint num_wait, const cl_event *wait, cl_event *event)
{
    if (!context) return INVALID("context: NULL");
    if (!mask) return INVALID("mask: NULL");
    if (!out) return INVALID("out: NULL");
    if (bias != ROSACE_BIAS_NONE && bias != ROSACE_BIAS_ALIBI)
        return INVALID("bias = %d: must be ROSACE_BIAS_NONE or ROSACE_BIAS_ALIBI here", (int)bias);
    rosace_bias_matrix_args args = ROSACE_BIAS_MATRIX_ARGS_DEFAULT;
    args.out = *out;
    args.mask = *mask;
    args.q_offset = q_offset;
    args.bias = bias;
    args.bias_params = bias_params;
    args.bias_params_offset = bias_params_offset;
    return rosace_bias_matrix(context, queue, &args, num_wait, wait, event);
}
