/* SPDX-License-Identifier: MIT
 * What an attention descriptor and the arguments of a call may be. */
#include "attention_sequences.h"

#include "../check.h"
#include "../position/bias.h"
#include "../position/positions.h"
#include "../position/rope_scaling.h"

#include <math.h>
#include <string.h>

enum { MIN_HEAD_DIM = 16, MAX_HEAD_DIM = 256, HEAD_DIM_STEP = 8 };
static const int64_t max_seq = (int64_t)1 << 30;

#define INVALID(...) rsc_fail(ROSACE_INVALID_ARGUMENT, __VA_ARGS__)

static rosace_status check_rope(const rosace_attention_desc *desc, rosace_rope_desc *rope)
{
    rosace_rope_desc given = ROSACE_ROPE_DESC_DEFAULT;
    const rosace_status status = rsc_read_struct("rope", desc->rope, &given, sizeof given);
    if (status) return status;
    given.head_dim = desc->head_dim;
    given.dtype = desc->dtype;
    if (given.xpos_base != 0.0) return INVALID("rope.xpos_base = %g: rotate q and k with rosace_rope before", given.xpos_base);
    return rsc_rope_check_desc(&given, rope);
}

/* The mask gets the widest of them, which is what all heads together visit. */
static rosace_status check_head_windows(rosace_attention_desc *desc)
{
    const int64_t *windows = desc->head_window_left;
    if (!windows) return ROSACE_OK;
    int64_t widest = 0;
    for (size_t h = 0; h < desc->n_heads; h++) {
        if (windows[h] < -1 || windows[h] >= max_seq)
            return INVALID("head_window_left[%zu] = %lld: must be -1 to 2^30 - 1", h, (long long)windows[h]);
        if (windows[h] == -1 || widest == -1) widest = -1;
        else if (widest < windows[h]) widest = windows[h];
    }
    desc->mask.window_left = widest;
    return ROSACE_OK;
}

rosace_status rsc_attention_check_desc(const rosace_attention_desc *in, rosace_attention_desc *out, rosace_rope_desc *rope)
{
    rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
    rosace_status status = rsc_read_struct("desc", in, &desc, sizeof desc);
    if (status) return status;

    status = rsc_check_dtype("dtype", desc.dtype);
    if (status) return status;
    if (desc.n_heads < 1 || desc.n_heads > 65536) return INVALID("n_heads = %zu: must be 1 to 65536", desc.n_heads);
    if (!desc.n_kv_heads) desc.n_kv_heads = desc.n_heads;
    if (desc.n_kv_heads > desc.n_heads || desc.n_heads % desc.n_kv_heads)
        return INVALID("n_kv_heads = %zu: must divide n_heads = %zu", desc.n_kv_heads, desc.n_heads);
    if (desc.head_dim < MIN_HEAD_DIM || desc.head_dim > MAX_HEAD_DIM || desc.head_dim % HEAD_DIM_STEP)
        return INVALID("head_dim = %zu: must be a multiple of %d, %d to %d", desc.head_dim, HEAD_DIM_STEP, MIN_HEAD_DIM,
                       MAX_HEAD_DIM);
    status = rosace_mask_check(&desc.mask);
    if (status) return status;

    status = check_head_windows(&desc);
    if (status) return status;

    const rsc_bias_desc bias = rsc_attention_bias(&desc);
    rsc_bias_desc checked_bias;
    status = rsc_bias_check(&bias, &checked_bias);
    if (status) return status;
    desc.bias_max_distance = checked_bias.max_distance;
    desc.bias_buckets = checked_bias.buckets;
    desc.bias_width = checked_bias.width;
    desc.bias_causal = checked_bias.causal;

    if (!isfinite(desc.scale)) return INVALID("scale = %g: must be finite", (double)desc.scale);
    if (desc.scale == 0.0f) desc.scale = (float)(1.0 / sqrt((double)desc.head_dim));
    if (!isfinite(desc.softcap) || desc.softcap < 0.0f)
        return INVALID("softcap = %g: must be finite and not negative", (double)desc.softcap);
    if (desc.cache != ROSACE_ATTENTION_CACHE_NONE && desc.cache != ROSACE_ATTENTION_CACHE_PLAIN)
        return INVALID("cache = %d: must be ROSACE_ATTENTION_CACHE_NONE or _PLAIN", (int)desc.cache);
    if (desc.cache && desc.rope)
        return INVALID("rope with cache: must be NULL, keys are rotated when they are appended (rosace_rope_args.cache)");
    if (desc.rope) {
        status = check_rope(&desc, rope);
        if (status) return status;
        desc.rope = rope;
    }
    if (desc.rerope_window < 0 || desc.rerope_window > max_seq)
        return INVALID("rerope_window = %lld: must be 0 (off) to 2^30", (long long)desc.rerope_window);
    if (desc.rerope_window && !desc.rope) return INVALID("rerope_window = %lld: needs rope", (long long)desc.rerope_window);
    if (desc.rerope_window && !desc.mask.causal)
        return INVALID("rerope_window = %lld: needs mask.causal", (long long)desc.rerope_window);
    if (desc.rerope_leak != 0.0) {
        const double ahead = (double)desc.rerope_window * (desc.rerope_leak - 1.0);
        if (!desc.rerope_window) return INVALID("rerope_leak = %g: needs rerope_window", desc.rerope_leak);
        if (!(desc.rerope_leak > 1.0) || !(ahead <= (double)max_seq))
            return INVALID("rerope_leak = %g: must be 0 (none) or greater than 1, and rerope_window * (rerope_leak - 1) at most 2^30",
                           desc.rerope_leak);
        if (ahead != floor(ahead))
            return INVALID("rerope_leak = %g: rerope_window * (rerope_leak - 1) = %g must be a whole number", desc.rerope_leak,
                           ahead);
    }
    if (desc.logn_train_len != 0 && (desc.logn_train_len < 2 || desc.logn_train_len > INT32_MAX))
        return INVALID("logn_train_len = %lld: must be 0 (off) or 2 to 2^31 - 1", (long long)desc.logn_train_len);
    if (desc.path != ROSACE_PATH_AUTO && desc.path != ROSACE_PATH_GEMM && desc.path != ROSACE_PATH_FUSED &&
        desc.path != ROSACE_PATH_DECODE)
        return INVALID("path = %d: must be ROSACE_PATH_AUTO, _GEMM, _FUSED or _DECODE", (int)desc.path);
    const bool any = desc.max_batch || desc.max_seq_q || desc.max_seq_k;
    if (any && !(desc.max_batch && desc.max_seq_q && desc.max_seq_k))
        return INVALID("max_batch = %zu, max_seq_q = %zu, max_seq_k = %zu: all three or none", desc.max_batch,
                       desc.max_seq_q, desc.max_seq_k);
    if (desc.max_seq_q > (size_t)max_seq) return INVALID("max_seq_q = %zu: must be at most 2^30", desc.max_seq_q);
    if (desc.max_seq_k > (size_t)max_seq) return INVALID("max_seq_k = %zu: must be at most 2^30", desc.max_seq_k);
    *out = desc;
    return ROSACE_OK;
}

/* ---- A call ------------------------------------------------------------------------------------------------------ */

/* A buffer of the call beside the tensors, for the overlap checks. */
typedef struct extra {
    const char *name;
    rsc_range range;
} extra;
enum { MAX_EXTRAS = 12 };
typedef struct extras {
    extra list[MAX_EXTRAS];
    unsigned count;
} extras;

/* An array of fp32. */
static rosace_status add_array(rosace_context *context, extras *list, const char *name, cl_mem mem, size_t offset,
                               size_t count, bool output)
{
    extra *e = &list->list[list->count++];
    e->name = name;
    return rsc_check_array(context, name, mem, offset, count, sizeof(cl_float), output, &e->range);
}

static rosace_status check_shape(const char *name, const rosace_tensor *t, size_t batch, size_t seq, size_t heads, size_t dim)
{
    static const char *const axis[4] = {"batch", "seq", "heads", "head_dim"};
    const size_t want[4] = {batch, seq, heads, dim};
    for (int i = 0; i < 4; i++)
        if (want[i] && t->shape[i] != want[i])
            return INVALID("%s.shape[%d] = %zu: %s must be %zu here", name, i, t->shape[i], axis[i], want[i]);
    return ROSACE_OK;
}

static rosace_status check_positions(rosace_context *context, extras *inputs, const char *name, const char *ids_name,
                                     const rosace_positions *p, size_t axes, size_t batch, size_t seq)
{
    rsc_range range;
    const rosace_status status = rsc_check_positions(context, name, p, axes, batch, seq, &range);
    if (!status && range.parent) inputs->list[inputs->count++] = (extra){ids_name, range};
    return status;
}

static rosace_status check_all_positions(const rosace_attention_plan *plan, extras *inputs, rsc_attention_call *call)
{
    const rosace_attention_args *args = call->args;
    if (!args->use_positions) {
        if (args->q_positions.ids || args->k_positions.ids)
            return INVALID("%s_positions.ids: not NULL, but use_positions is false", args->q_positions.ids ? "q" : "k");
        call->q_positions = (rosace_positions){.offset = call->q_offset + call->cache.shift, .seq_stride = 1};
        call->k_positions = (rosace_positions){.offset = 0, .seq_stride = 1};
    } else {
        call->q_positions = args->q_positions;
        call->k_positions = args->k_positions;
    }
    rosace_status status = ROSACE_OK;
    const size_t axes = plan->desc.rope ? plan->desc.rope->axes : 1;
    if (plan->desc.rope || plan->desc.logn_train_len)
        status = check_positions(plan->context, inputs, "q_positions", "q_positions.ids", &call->q_positions, axes, call->batch,
                                 call->seq_q);
    if (!status && plan->desc.rerope_leak > 0.0) { /* where far queries stand */
        rosace_positions far = call->q_positions;
        far.offset += (int64_t)((double)plan->desc.rerope_window * (plan->desc.rerope_leak - 1.0));
        status = rsc_check_positions(plan->context, "rerope_leak: q_positions", &far, axes, call->batch, call->seq_q, NULL);
    }
    if (!status && plan->desc.rope)
        status = check_positions(plan->context, inputs, "k_positions", "k_positions.ids", &call->k_positions, axes, call->batch,
                                 call->seq_k);
    return status;
}

static rosace_status check_bias_buffers(const rosace_attention_plan *plan, extras *inputs, const rosace_attention_args *args)
{
    const rosace_attention_desc *desc = &plan->desc;
    rosace_status status = ROSACE_OK;
    const rsc_bias_desc bias = rsc_attention_bias(desc);
    const size_t params = rsc_bias_params(&bias, desc->n_heads);
    if (params) {
        if (!args->bias_params) return INVALID("bias_params: NULL, %s needs %zu floats", rsc_bias_name(desc->bias), params);
        return add_array(plan->context, inputs, "bias_params", args->bias_params, args->bias_params_offset, params, false);
    }
    if (desc->bias == ROSACE_BIAS_SHAW) {
        const size_t count = (size_t)(2 * desc->bias_max_distance + 1) * desc->head_dim;
        if (args->shaw_key)
            status = add_array(plan->context, inputs, "shaw_key", args->shaw_key, args->shaw_key_offset, count,
                               false);
        if (!status && args->shaw_value)
            status = add_array(plan->context, inputs, "shaw_value", args->shaw_value, args->shaw_value_offset, count,
                               false);
    }
    return status;
}

static rosace_status check_sinks(const rosace_attention_plan *plan, extras *inputs, const rosace_attention_args *args)
{
    const size_t heads = plan->desc.n_heads;
    if (!plan->desc.sink_logits)
        return args->sink_logits ? INVALID("sink_logits: not NULL, but the descriptor's sink_logits is false") : ROSACE_OK;
    if (!args->sink_logits) return INVALID("sink_logits: NULL, the descriptor wants %zu floats", heads);
    return add_array(plan->context, inputs, "sink_logits", args->sink_logits, args->sink_logits_offset, heads, false);
}

static rosace_status check_workspace(const rosace_attention_plan *plan, const rosace_attention_args *args, size_t needed,
                                     rsc_range *range)
{
    cl_uint align_bits = 0;
    const cl_int code = clGetDeviceInfo(rosace_context_cl_device(plan->context), CL_DEVICE_MEM_BASE_ADDR_ALIGN,
                                        sizeof align_bits, &align_bits, NULL);
    if (code) return rsc_fail_cl(code, "clGetDeviceInfo CL_DEVICE_MEM_BASE_ADDR_ALIGN");
    if (align_bits >= 8 && args->workspace_offset_bytes % (align_bits / 8))
        return INVALID("workspace_offset_bytes = %zu: must be a multiple of %u", args->workspace_offset_bytes, align_bits / 8);
    if (args->workspace_bytes < needed)
        return INVALID("workspace_bytes = %zu: %zu bytes are needed for this call", args->workspace_bytes, needed);
    return rsc_check_array(plan->context, "workspace", args->workspace, args->workspace_offset_bytes, args->workspace_bytes,
                           1, true, range);
}

/* out, lse and workspace are written: none may meet another, nor anything that is read. */
static rosace_status check_overlaps(const rosace_attention_plan *plan, const rosace_attention_args *args,
                                    const rsc_range tensors[4], const extras *inputs, const extras *outputs)
{
    static const char *const names[4] = {"out", "q", "k", "v"};
    const rosace_tensor *const t[4] = {&args->out, &args->q, &args->k, &args->v};
    rosace_status status = ROSACE_OK;
    for (int i = 1; i < 4 && !status; i++)
        status = i > 1 && args->cache ? rsc_check_disjoint("out", &tensors[0], i == 2 ? "cache.k" : "cache.v", &tensors[i])
                                      : rsc_check_disjoint_tensors(plan->context, "out", t[0], names[i], t[i]);
    for (unsigned i = 0; i < inputs->count && !status; i++)
        status = rsc_check_disjoint("out", &tensors[0], inputs->list[i].name, &inputs->list[i].range);
    for (unsigned o = 0; o < outputs->count && !status; o++) {
        const extra *out = &outputs->list[o];
        for (int i = 0; i < 4 && !status; i++) status = rsc_check_disjoint(out->name, &out->range, names[i], &tensors[i]);
        for (unsigned i = 0; i < inputs->count && !status; i++)
            status = rsc_check_disjoint(out->name, &out->range, inputs->list[i].name, &inputs->list[i].range);
        for (unsigned i = 0; i < o && !status; i++)
            status = rsc_check_disjoint(out->name, &out->range, outputs->list[i].name, &outputs->list[i].range);
    }
    return status;
}

static rosace_status check_sizes(const rosace_attention_plan *plan, const rsc_attention_call *call)
{
    const rosace_attention_desc *desc = &plan->desc;
    if (call->seq_q > (size_t)max_seq) return INVALID("q.shape[1] = %zu: must be at most 2^30", call->seq_q);
    if (call->seq_k > (size_t)max_seq) return INVALID("k.shape[1] = %zu: must be at most 2^30", call->seq_k);
    if (!desc->max_batch) return ROSACE_OK;
    if (call->batch > desc->max_batch)
        return INVALID("q.shape[0] = %zu: the plan's max_batch is %zu", call->batch, desc->max_batch);
    if (call->seq_q > desc->max_seq_q)
        return INVALID("q.shape[1] = %zu: the plan's max_seq_q is %zu", call->seq_q, desc->max_seq_q);
    if (call->seq_k > desc->max_seq_k)
        return INVALID("k.shape[1] = %zu: the plan's max_seq_k is %zu", call->seq_k, desc->max_seq_k);
    return ROSACE_OK;
}

/* Keys and values of a cache: *args gets them as views, *call the numbers that kernels count with. */
static rosace_status check_cache(const rosace_attention_plan *plan, rosace_attention_args *args, rsc_attention_call *call,
                                 rsc_range tensors[4])
{
    const rosace_attention_desc *desc = &plan->desc;
    rsc_cache *cache = &call->cache;
    if (!desc->cache) return INVALID("cache: not NULL, but the plan's desc.cache is ROSACE_ATTENTION_CACHE_NONE");
    if (!args->cache) return INVALID("cache = NULL: the plan's desc.cache needs one");
    if (args->n_seqs || args->seq_lens_k)
        return rsc_fail(ROSACE_UNSUPPORTED, "%s with cache: must be left out, cache.length is every sequence's",
                        args->n_seqs ? "cu_seqlens_q" : "seq_lens_k");
    rosace_status status = rsc_cache_check(plan->context, args->cache, desc->dtype, call->batch, desc->n_kv_heads, desc->head_dim,
                                           false, cache);
    if (status) return status;
    args->k = cache->k;
    args->v = cache->v;
    tensors[2] = cache->k_range;
    tensors[3] = cache->v_range;
    const int64_t length = cache->given.length, offset = args->q_offset;
    call->q_offset = offset == ROSACE_ALIGN_BOTTOM_RIGHT ? length - (int64_t)call->seq_q : offset;
    if (offset != ROSACE_ALIGN_BOTTOM_RIGHT && (offset < 0 || offset > length + max_seq))
        return INVALID("q_offset = %lld: must be 0 to cache.length + 2^30 = %lld", (long long)offset, (long long)(length + max_seq));
    status = rsc_cache_check_seen(cache, &desc->mask, call->seq_q, &call->q_offset, &call->seq_k);
    if (!status && cache->shift && cache->given.sinks && desc->bias)
        return rsc_fail(ROSACE_UNSUPPORTED, "bias %s with cache.sinks = %lld: distances to sinks are not counted once a ring has "
                        "dropped keys (cache.length = %lld); a contiguous or paged cache has them", rsc_bias_name(desc->bias),
                        (long long)cache->given.sinks, (long long)length);
    return status;
}

static rosace_status resolve_q_offset(rsc_attention_call *call)
{
    const int64_t offset = call->args->q_offset;
    if (call->args->cache) return ROSACE_OK; /* it is */
    call->q_offset = offset;
    if (offset == ROSACE_ALIGN_BOTTOM_RIGHT) call->q_offset = (int64_t)call->seq_k - (int64_t)call->seq_q;
    else if (offset < 0 && call->seq_q <= call->seq_k)
        return INVALID("q_offset = %lld: must not be negative when seq_q = %zu <= seq_k = %zu", (long long)offset,
                       call->seq_q, call->seq_k);
    else if (offset < -max_seq || offset > max_seq)
        return INVALID("q_offset = %lld: must be within 2^30", (long long)offset);
    return ROSACE_OK;
}

rosace_status rsc_attention_check_args(const rosace_attention_plan *plan, rosace_attention_args *args,
                                       rsc_attention_call *call, size_t *workspace_bytes)
{
    rosace_context *context = plan->context;
    const rosace_attention_desc *desc = &plan->desc;
    memset(call, 0, sizeof *call);
    call->args = args;
    call->batch = args->q.shape[0];
    call->seq_q = args->q.shape[1];
    call->seq_k = args->k.shape[1];
    call->lse_rows = call->seq_q;
    rsc_range tensors[4]; /* out, q, k, v */
    extras inputs = {.count = 0}, outputs = {.count = 0};

    rosace_status status = rsc_check_tensor(context, "q", &args->q, desc->dtype, false, &tensors[1]);
    if (!status) status = check_shape("q", &args->q, 0, 0, desc->n_heads, desc->head_dim);
    if (desc->cache || args->cache) {
        if (!status) status = check_cache(plan, args, call, tensors);
    } else {
        if (!status) status = rsc_check_tensor(context, "k", &args->k, desc->dtype, false, &tensors[2]);
        if (!status) status = check_shape("k", &args->k, call->batch, 0, desc->n_kv_heads, desc->head_dim);
        if (!status) status = rsc_check_tensor(context, "v", &args->v, desc->dtype, false, &tensors[3]);
        if (!status) status = check_shape("v", &args->v, call->batch, call->seq_k, desc->n_kv_heads, desc->head_dim);
    }
    if (!status) status = rsc_check_tensor(context, "out", &args->out, desc->dtype, true, &tensors[0]);
    if (!status) status = check_shape("out", &args->out, call->batch, call->seq_q, desc->n_heads, desc->head_dim);
    if (!status) status = check_sizes(plan, call);
    if (!status) status = resolve_q_offset(call);
    if (!status) status = rsc_sequences_check(plan, args, call);
    if (!status) status = check_all_positions(plan, &inputs, call);
    if (!status) status = check_bias_buffers(plan, &inputs, args);
    if (!status) status = check_sinks(plan, &inputs, args);
    if (status) return status;

    if (args->lse) {
        size_t count;
        if (!rsc_mul(call->batch, desc->n_heads, &count) || !rsc_mul(count, call->seq_q, &count))
            return INVALID("lse: batch * n_heads * seq_q overflows");
        status = add_array(context, &outputs, "lse", args->lse, args->lse_offset, count, true);
        if (status) return status;
    }
    status = rosace_attention_workspace_bytes(plan, call->batch, call->seq_q, call->seq_k, workspace_bytes);
    if (status) return status;
    if (args->workspace && *workspace_bytes) {
        extra *e = &outputs.list[outputs.count++];
        e->name = "workspace";
        status = check_workspace(plan, args, *workspace_bytes, &e->range);
        if (status) return status;
    }
    return check_overlaps(plan, args, tensors, &inputs, &outputs);
}
