/* SPDX-License-Identifier: MIT
 * Rotary position embedding: checks, the plan, and the launch of cl/rope.cl. */
#include "rope.h"

#include <string.h>

#include "../check.h"
#include "../position/positions.h"
#include "../position/rope_scaling.h"
#include "../program.h"
#include "../queue.h"
#include "attention.h"
#include "kv_cache.h"
#include "token_rows.h"

struct rosace_rope_plan {
    rosace_context *context;
    rosace_rope_desc desc; /* checked */
    rsc_token_rows rows;
    size_t lanes; /* work-items that share a token */
    float attention_factor;
    cl_mem frequencies; /* rsc_turn_words, rsc_rope_axes, rsc_rope_xpos */
    cl_kernel kernel;
    cl_kernel append; /* to a cache (rosace_kv_cache); NULL before the first call with one */
};

/* ---- Plan -------------------------------------------------------------------------------------------------------- */

/* The words of the frequencies, of the axes, of xPos, and a 0, for ids of one position for all tokens. */
static rosace_status upload_frequencies(rosace_rope_plan *plan, const rosace_rope_desc *from, double slower) {
    double frequencies[512], factor;
    uint32_t words[5 * 512 + 1];
    const size_t pairs = plan->desc.rotary_dim / 2;
    rsc_rope_fill(&plan->desc, frequencies, &factor);
    for (size_t i = 0; i < pairs; i++) frequencies[i] /= slower;
    rsc_turn_words(frequencies, pairs, words);
    rsc_rope_axes(&plan->desc, words + 2 * pairs);
    rsc_rope_xpos(&plan->desc, words + 3 * pairs);
    words[5 * pairs] = 0;
    plan->attention_factor = (float)factor;
    if (from) { /* whole turns drop out of the difference */
        uint32_t before[2 * 512];
        double factor_before;
        rsc_rope_fill(from, frequencies, &factor_before);
        rsc_turn_words(frequencies, pairs, before);
        for (size_t i = 0; i < pairs; i++) {
            const uint64_t turn = ((uint64_t)words[i] << 32 | words[pairs + i]) - ((uint64_t)before[i] << 32 | before[pairs + i]);
            words[i] = (uint32_t)(turn >> 32);
            words[pairs + i] = (uint32_t)turn;
        }
        plan->attention_factor = (float)(factor / factor_before);
    }
    return rsc_buffer_create(plan->context, (5 * pairs + 1) * sizeof *words, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, words,
                             "rope frequencies", &plan->frequencies);
}

static rosace_status build_kernel(rosace_rope_plan *plan, bool append, cl_kernel *kernel) {
    const rosace_rope_desc *desc = &plan->desc;
    const size_t pairs = desc->rotary_dim / 2;
    /* An interleaved pair is one access of two elements. */
    const unsigned vec = rsc_vector_for(pairs, desc->interleaved ? plan->rows.vector / 2 : plan->rows.vector);
    plan->lanes = plan->rows.share ? pairs / vec : 1;

    rsc_options options = {0};
    rsc_option_int(&options, "HEAD_DIM", (long)desc->head_dim);
    rsc_option_int(&options, "ROTARY_DIM", (long)desc->rotary_dim);
    rsc_option_int(&options, "INTERLEAVED", desc->interleaved);
    rsc_option_int(&options, "VEC", vec);
    rsc_option_int(&options, "REST_VEC", rsc_vector_for(desc->head_dim - desc->rotary_dim, plan->rows.vector));
    rsc_option_int(&options, "LANES", (long)plan->lanes);
    rsc_option_int(&options, "GROUP", plan->rows.group);
    rsc_option_int(&options, "PREFETCH", !plan->rows.share);
    rsc_option_int(&options, "AXES", (long)desc->axes);
    rsc_option_int(&options, "XPOS", desc->xpos_base > 0.0);
    rsc_option_int(&options, "DTYPE", (long)desc->dtype);
    if (append) rsc_option_int(&options, "KV_CACHE", 1);
    return rsc_kernel_create(plan->context, (const char *const[]){"rope.cl", NULL}, "rope", &options, kernel);
}

rosace_status rosace_rope_plan_create(rosace_context *context, const rosace_rope_desc *desc, rosace_rope_plan **out) {
    if (!out) return rsc_fail(ROSACE_INVALID_ARGUMENT, "out = NULL: a place for the plan is needed");
    *out = NULL;
    if (!context) return rsc_fail(ROSACE_INVALID_ARGUMENT, "context = NULL: a context is needed");
    return rsc_rope_plan_create_as(context, desc, rosace_context_device_info(context)->device_class, out);
}

/* `checked` with all frequencies divided by `slower`, or what turns keys rotated by `from` into keys rotated by `checked`, both
 * at their own position. */
static rosace_status create(rosace_context *context, const rosace_rope_desc *from, const rosace_rope_desc *checked,
                            double slower, rosace_device_class device_class, rosace_rope_plan **out) {
    rosace_status status;
    rosace_rope_plan *plan = rsc_calloc(context, 1, sizeof *plan);
    if (!plan) return rsc_fail(ROSACE_OUT_OF_MEMORY, "rope plan: no host memory");
    plan->context = context;
    plan->desc = *checked;
    plan->rows = rsc_token_rows_for(rosace_context_device_info(context), device_class, checked->dtype);
    status = upload_frequencies(plan, from, slower);
    if (status) goto fail;
    plan->desc.scaling.short_factor = plan->desc.scaling.long_factor = NULL; /* the caller's, and used */
    status = build_kernel(plan, false, &plan->kernel);
    if (status) goto fail;
    *out = plan;
    return ROSACE_OK;

fail:
    rosace_rope_plan_destroy(&plan);
    return status;
}

rosace_status rsc_rope_plan_create_as(rosace_context *context, const rosace_rope_desc *desc,
                                      rosace_device_class device_class, rosace_rope_plan **out) {
    rosace_rope_desc checked;
    const rosace_status status = rsc_rope_check_desc(desc, &checked);
    return status ? status : create(context, NULL, &checked, 1.0, device_class, out);
}

rosace_status rsc_rope_plan_create_slower(rosace_context *context, const rosace_rope_desc *desc, double slower,
                                          rosace_rope_plan **out) {
    rosace_rope_desc checked;
    const rosace_status status = rsc_rope_check_desc(desc, &checked);
    return status ? status
                  : create(context, NULL, &checked, slower, rosace_context_device_info(context)->device_class, out);
}

void rosace_rope_plan_destroy(rosace_rope_plan **plan) {
    if (!plan || !*plan) return;
    if ((*plan)->kernel) clReleaseKernel((*plan)->kernel);
    if ((*plan)->append) clReleaseKernel((*plan)->append);
    if ((*plan)->frequencies) clReleaseMemObject((*plan)->frequencies);
    rsc_free((*plan)->context, *plan);
    *plan = NULL;
}

/* ---- Checks ------------------------------------------------------------------------------------------------------ */

/* Tensors of a call by slot; an output that is its input is left out. */
enum { Q, K, V, Q_OUT, K_OUT, V_OUT, TENSORS, MAX_HEADS = 1 << 28 };

/* A call's arguments, checked: with a cache, k_out and v_cache are the slots that are written. */
typedef struct checked_call {
    rosace_rope_args args;
    rosace_tensor k_slots, v_slots;
    rsc_cache cache; /* when args.cache is not NULL */
    const char *names[TENSORS];
} checked_call;

static rosace_status check_tensor(const rosace_rope_plan *plan, const char *name, const rosace_tensor *tensor, bool output,
                                  rsc_range *range) {
    const rosace_status status = rsc_check_tensor(plan->context, name, tensor, plan->desc.dtype, output, range);
    if (status) return status;
    if (tensor->shape[3] != plan->desc.head_dim)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s.shape[3] = %zu: must be the plan's head_dim = %zu", name,
                        tensor->shape[3], plan->desc.head_dim);
    if (tensor->shape[1] > INT32_MAX)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s.shape[1] = %zu: must be at most 2147483647", name,
                        tensor->shape[1]);
    if (tensor->shape[2] > MAX_HEADS)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s.shape[2] = %zu: must be at most %d", name, tensor->shape[2],
                        MAX_HEADS);
    return ROSACE_OK;
}

/* Positions that are known here must not overflow the factors of pair 0, which fall or grow the fastest. */
static rosace_status check_xpos(const rosace_rope_plan *plan, const rosace_positions *positions, size_t seq) {
    const rosace_rope_desc *desc = &plan->desc;
    if (!(desc->xpos_base > 0.0) || positions->ids) return ROSACE_OK;
    const int64_t first = positions->offset - desc->xpos_center, last = first + (int64_t)seq - 1;
    const double most = 66.0 * desc->xpos_base;
    if ((double)first >= -most && (double)last <= most) return ROSACE_OK;
    return rsc_fail(ROSACE_INVALID_ARGUMENT,
                    "positions.offset = %lld with %zu tokens: with xPos they must be within 66 * xpos_base = %g of xpos_center = "
                    "%lld",
                    (long long)positions->offset, seq, most, (long long)desc->xpos_center);
}

static rosace_status check_same_shape(const char *name, const rosace_tensor *tensor, const char *of_name,
                                      const rosace_tensor *of) {
    if (!memcmp(tensor->shape, of->shape, sizeof of->shape)) return ROSACE_OK;
    return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s.shape = [%zu, %zu, %zu, %zu]: must be that of %s", name,
                    tensor->shape[0], tensor->shape[1], tensor->shape[2], tensor->shape[3], of_name);
}

/* The slots of a cache that tokens `of` go to. */
static rosace_status check_cache(const rosace_rope_plan *plan, const char *name, const rosace_tensor *cache, size_t slot,
                                 const char *of_name, const rosace_tensor *of, rosace_tensor *slots) {
    rosace_status status = check_tensor(plan, name, cache, true, NULL);
    if (status) return status;
    *slots = *cache;
    slots->shape[1] = of->shape[1];
    if (memcmp(slots->shape, of->shape, sizeof of->shape))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s.shape = [%zu, %zu, %zu, %zu]: batch, heads and head_dim must be those of %s",
                        name, cache->shape[0], cache->shape[1], cache->shape[2], cache->shape[3], of_name);
    if (slot > cache->shape[1] || of->shape[1] > cache->shape[1] - slot)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "cache_slot = %zu: %zu tokens from there on do not fit the %zu slots of %s", slot,
                        of->shape[1], cache->shape[1], name);
    slots->offset += slot * (size_t)cache->stride[1];
    return ROSACE_OK;
}

static rosace_status check_caches(const rosace_rope_plan *plan, checked_call *call) {
    rosace_rope_args *args = &call->args;
    if (!args->k_cache) {
        if (args->v || args->v_cache)
            return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s without k_cache: must be NULL", args->v ? "v" : "v_cache");
        if (args->cache_slot)
            return rsc_fail(ROSACE_INVALID_ARGUMENT, "cache_slot = %zu without k_cache: must be 0", args->cache_slot);
        return ROSACE_OK;
    }
    if (!args->k) return rsc_fail(ROSACE_INVALID_ARGUMENT, "k_cache without k: must be NULL");
    if (args->k_out) return rsc_fail(ROSACE_INVALID_ARGUMENT, "k_out and k_cache: one of them must be NULL");
    if (!args->v != !args->v_cache)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s without %s: both or neither", args->v ? "v" : "v_cache",
                        args->v ? "v_cache" : "v");
    rosace_status status = check_tensor(plan, "k", args->k, false, NULL);
    if (!status) status = check_cache(plan, "k_cache", args->k_cache, args->cache_slot, "k", args->k, &call->k_slots);
    if (!status && args->v) status = check_tensor(plan, "v", args->v, false, NULL);
    if (!status && args->v) status = check_same_shape("v", args->v, "k", args->k);
    if (!status && args->v) status = check_cache(plan, "v_cache", args->v_cache, args->cache_slot, "v", args->v, &call->v_slots);
    args->k_out = &call->k_slots;
    if (args->v) args->v_cache = &call->v_slots;
    call->names[K_OUT] = "k_cache";
    return status;
}

/* A rosace_kv_cache; what is written of it counts as the whole of its tensors. */
static rosace_status check_kv_cache(const rosace_rope_plan *plan, checked_call *call) {
    rosace_rope_args *args = &call->args;
    if (args->k_cache || args->v_cache || args->cache_slot)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "%s and cache: one of them must be left out",
                        args->k_cache ? "k_cache" : args->v_cache ? "v_cache" : "cache_slot");
    if (!args->k || !args->v) return rsc_fail(ROSACE_INVALID_ARGUMENT, "cache without %s: it takes keys and values", args->k ? "v" : "k");
    if (args->k_out) return rsc_fail(ROSACE_INVALID_ARGUMENT, "k_out and cache: one of them must be NULL");
    rosace_status status = check_tensor(plan, "k", args->k, false, NULL);
    if (!status) status = check_tensor(plan, "v", args->v, false, NULL);
    if (!status) status = check_same_shape("v", args->v, "k", args->k);
    if (!status)
        status = rsc_cache_check(plan->context, args->cache, plan->desc.dtype, args->k->shape[0], args->k->shape[2],
                                 plan->desc.head_dim, true, &call->cache);
    if (!status) status = rsc_cache_check_append(plan->context, &call->cache, args->k->shape[1]);
    args->k_out = &call->cache.given.k;
    args->v_cache = &call->cache.given.v;
    call->names[K_OUT] = "cache.k";
    call->names[V_OUT] = "cache.v";
    return status;
}

static rosace_status check_args(const rosace_rope_plan *plan, const rosace_rope_args *args, checked_call *call) {
    *call = (checked_call){.args = ROSACE_ROPE_ARGS_DEFAULT, .names = {"q", "k", "v", "q_out", "k_out", "v_cache"}};
    rosace_rope_args *checked = &call->args;
    rosace_status status = rsc_read_struct("rope args", args, checked, sizeof *checked);
    if (status) return status;

    if (!checked->q && !checked->k)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "q = NULL and k = NULL: one of them is needed");
    if (!checked->q && checked->q_out) return rsc_fail(ROSACE_INVALID_ARGUMENT, "q_out without q: must be NULL");
    if (!checked->k && checked->k_out) return rsc_fail(ROSACE_INVALID_ARGUMENT, "k_out without k: must be NULL");
    status = checked->cache ? check_kv_cache(plan, call) : check_caches(plan, call);
    if (status) return status;
    if (checked->q_out && rsc_same_tensor(checked->q, checked->q_out)) checked->q_out = NULL;
    if (checked->k_out && !checked->cache && rsc_same_tensor(checked->k, checked->k_out)) checked->k_out = NULL;

    const rosace_tensor *tensors[TENSORS] = {checked->q, checked->k, checked->v,
                                             checked->q_out, checked->k_out, checked->v_cache};
    const bool written[TENSORS] = {!checked->q_out, !checked->k_out, false, true, true, true};
    rsc_range ranges[TENSORS];
    for (int i = 0; i < TENSORS; i++) {
        if (!tensors[i]) continue;
        status = check_tensor(plan, call->names[i], tensors[i], written[i], &ranges[i]);
        if (!status && i < Q_OUT && written[i]) status = rsc_check_readable(call->names[i], tensors[i]->mem);
        if (!status && i >= Q_OUT && (i == Q_OUT || !checked->cache))
            status = check_same_shape(call->names[i], tensors[i], call->names[i - Q_OUT], tensors[i - Q_OUT]);
        if (status) return status;
    }
    const rosace_tensor *shape_of = checked->q ? checked->q : checked->k;
    if (checked->q && checked->k && memcmp(checked->q->shape, checked->k->shape, 2 * sizeof checked->q->shape[0]))
        return rsc_fail(ROSACE_INVALID_ARGUMENT,
                        "k.shape = [%zu, %zu, ...]: batch and seq must be those of q, [%zu, %zu, ...]",
                        checked->k->shape[0], checked->k->shape[1], checked->q->shape[0], checked->q->shape[1]);

    rsc_range ids;
    status = rsc_check_positions(plan->context, "positions", &checked->positions, plan->desc.axes, shape_of->shape[0],
                                 shape_of->shape[1], &ids);
    if (status) return status;

    status = check_xpos(plan, &checked->positions, shape_of->shape[1]);
    if (status) return status;

    for (int i = 0; i < TENSORS; i++) {
        if (!tensors[i] || !written[i]) continue;
        for (int j = 0; j < TENSORS; j++) {
            if (!tensors[j] || j == i || (written[j] && j < i)) continue;
            status = rsc_check_disjoint_tensors(plan->context, call->names[i], tensors[i], call->names[j], tensors[j]);
            if (status) return status;
        }
        if (!ids.parent) continue;
        status = rsc_check_disjoint(call->names[i], &ranges[i], "positions.ids", &ids);
        if (status) return status;
    }
    return ROSACE_OK;
}

/* ---- Launch ------------------------------------------------------------------------------------------------------ */

/* Tokens ahead that are a page away, in elements, so that a page is asked for while the one before is worked on; nothing for
 * what a core's own cache holds. */
static int64_t ahead_of(const rosace_tensor *tensor) {
    const size_t element = rosace_dtype_size(tensor->dtype), held = (size_t)1 << 20;
    if (tensor->shape[0] * tensor->shape[1] * tensor->shape[2] * tensor->shape[3] * element < held) return 0;
    const int64_t page = 4096, token = (int64_t)tensor->stride[1] * (int64_t)element;
    return token > 0 && token < page ? (page + token - 1) / token * tensor->stride[1] : tensor->stride[1];
}

static rope_view view_of(const rosace_tensor *tensor) {
    return (rope_view){(int64_t)tensor->offset, tensor->stride[0], tensor->stride[1], tensor->stride[2]};
}

/* With `cache`, k_out and v_cache of the args are its views. */
static rosace_status launch(rosace_rope_plan *plan, rsc_chain *chain, const rosace_rope_args *checked_args, const rsc_cache *cache,
                            cl_mem cache_table) {
    const rosace_tensor *in[3] = {checked_args->q, checked_args->k, checked_args->v};
    const rosace_tensor *out[3] = {checked_args->q_out, checked_args->k_out, checked_args->v_cache};
    const rosace_tensor *any = in[0] ? in[0] : in[1];
    const size_t batch = any->shape[0], seq = any->shape[1];

    rope_args args = {.place = rsc_positions_place(&checked_args->positions), .seq = (uint32_t)seq,
                      .axis_stride = checked_args->positions.axis_stride,
                      .xpos_center = (int32_t)plan->desc.xpos_center};
    cl_mem mem[6];
    size_t heads = 0;
    for (int i = 0; i < 3; i++) {
        /* An absent tensor has no heads; its pointers are never followed. */
        const rosace_tensor *from = in[i] ? in[i] : any, *to = in[i] && out[i] ? out[i] : from;
        args.in[i] = view_of(from);
        args.out[i] = view_of(to);
        args.heads[i] = in[i] ? (int32_t)in[i]->shape[2] : 0;
        heads += (size_t)args.heads[i];
        mem[2 * i] = from->mem;
        mem[2 * i + 1] = to->mem;
        if (i == 2) continue; /* not rotated */
        args.ahead[i] = ahead_of(from);
        args.copy_rest[i] = to != from;
    }
    args.scale = plan->attention_factor;
    args.sine_scale = plan->desc.inverse ? -plan->attention_factor : plan->attention_factor;
    args.rows = rsc_rows_per_item(&plan->rows, seq * batch, plan->lanes);

    size_t global[3] = {rsc_global_rows(&plan->rows, seq, args.rows, plan->lanes), batch, 1};
    const size_t local[3] = {plan->rows.group, 1, 1};
    /* Short sequences leave a device idle unless the heads are divided, too. */
    const size_t wanted = plan->rows.items / (global[0] * batch) + 1, most = heads / plan->rows.min_heads;
    const size_t parts = wanted < most ? wanted : most ? most : 1;
    args.heads_per_item = (int32_t)((heads + parts - 1) / parts);
    global[2] = (heads + (size_t)args.heads_per_item - 1) / (size_t)args.heads_per_item;

    const cl_mem ids = checked_args->positions.ids ? checked_args->positions.ids : plan->frequencies;
    const cl_kernel kernel = cache ? plan->append : plan->kernel;
    rosace_status status = RSC_ARGS(kernel, "rope", RSC_ARG(mem[0]), RSC_ARG(mem[1]), RSC_ARG(mem[2]),
                                          RSC_ARG(mem[3]), RSC_ARG(mem[4]), RSC_ARG(mem[5]),
                                          RSC_ARG(plan->frequencies), RSC_ARG(ids), RSC_ARG(args));
    if (!status && cache) status = rsc_cache_set_args(kernel, 9, "rope", cache, cache_table);
    return status ? status : rsc_chain_kernel(chain, kernel, 3, global, local, "rope");
}

rosace_status rsc_rope_chain(rosace_rope_plan *plan, rsc_chain *chain, const rosace_rope_args *checked_args) {
    return launch(plan, chain, checked_args, NULL, NULL);
}

static rosace_status append(rosace_rope_plan *plan, rsc_chain *chain, const checked_call *call) {
    rosace_rope_args args = call->args;
    args.k_out = &call->cache.k;
    args.v_cache = &call->cache.v;
    cl_mem table = NULL;
    rosace_status status = plan->append ? ROSACE_OK : build_kernel(plan, true, &plan->append);
    if (!status) status = rsc_cache_upload(plan->context, &call->cache, &table);
    if (!status) status = launch(plan, chain, &args, &call->cache, table);
    if (table) clReleaseMemObject(table); /* OpenCL keeps it until the launch is complete */
    return status;
}

rosace_status rosace_rope_enqueue(rosace_rope_plan *plan, cl_command_queue queue, const rosace_rope_args *args,
                                  cl_uint num_wait, const cl_event *wait, cl_event *event) {
    if (!plan) return rsc_fail(ROSACE_INVALID_ARGUMENT, "plan = NULL: a rope plan is needed");
    checked_call checked;
    rosace_status status = check_args(plan, args, &checked);
    if (status) return status;
    rsc_chain chain;
    status = rsc_chain_begin(&chain, plan->context, queue, num_wait, wait);
    if (!status) status = checked.args.cache ? append(plan, &chain, &checked) : rsc_rope_chain(plan, &chain, &checked.args);
    return rsc_chain_end(&chain, status, event);
}

/* ---- In one call ------------------------------------------------------------------------------------------------- */

static rosace_status make_plan(rosace_context *context, const void *desc, void **plan) {
    rosace_rope_plan *made;
    const rosace_status status = rosace_rope_plan_create(context, desc, &made);
    *plan = made;
    return status;
}

static void drop_plan(void *plan) {
    rosace_rope_plan *dropped = plan;
    rosace_rope_plan_destroy(&dropped);
}

rosace_status rosace_rope(rosace_context *context, cl_command_queue queue, const rosace_rope_desc *desc,
                          const rosace_rope_args *args, cl_uint num_wait, const cl_event *wait, cl_event *event) {
    if (!context) return rsc_fail(ROSACE_INVALID_ARGUMENT, "context = NULL: a context is needed");
    rosace_rope_desc checked;
    rsc_rope_key key;
    rosace_status status = rsc_rope_check_desc(desc, &checked);
    if (status) return status;
    rsc_rope_key_set(&key, &checked);
    rsc_plan_entry *entry;
    void *plan;
    status = rsc_plan_acquire(context, "rope", &key, sizeof key, make_plan, drop_plan, &checked, &entry, &plan);
    if (status) return status;
    status = rosace_rope_enqueue(plan, queue, args, num_wait, wait, event);
    rsc_plan_release(entry);
    return status;
}

/* ---- Keys that move ---------------------------------------------------------------------------------------------- */

/* What the context keeps: the change of rotation (NULL when there is none), and `to` without its attention factor. */
typedef struct move_plan {
    rosace_context *context;
    rosace_rope_plan *change, *shift;
} move_plan;

typedef struct move_key {
    rsc_rope_key from, to;
} move_key;

typedef struct move_descs {
    rosace_rope_desc from, to; /* checked */
    bool same;
} move_descs;

static void drop_move(void *plan) {
    move_plan *self = plan;
    rosace_rope_plan_destroy(&self->change);
    rosace_rope_plan_destroy(&self->shift);
    rsc_free(self->context, self);
}

static rosace_status make_move(rosace_context *context, const void *desc, void **plan) {
    const move_descs *descs = desc;
    const rosace_device_class device_class = rosace_context_device_info(context)->device_class;
    move_plan *self = rsc_calloc(context, 1, sizeof *self);
    if (!self) return rsc_fail(ROSACE_OUT_OF_MEMORY, "rope move: no host memory");
    self->context = context;
    rosace_status status = create(context, NULL, &descs->to, 1.0, device_class, &self->shift);
    if (!status && !descs->same) status = create(context, &descs->from, &descs->to, 1.0, device_class, &self->change);
    if (status) {
        drop_move(self);
        return status;
    }
    self->shift->attention_factor = 1.0f; /* the keys have it */
    *plan = self;
    return ROSACE_OK;
}

static rosace_status check_move(const rosace_rope_desc *from, const rosace_rope_desc *to, move_descs *out, move_key *key) {
    rosace_status status = rsc_rope_check_desc(from, &out->from);
    if (!status) status = rsc_rope_check_desc(to ? to : from, &out->to);
    if (status) return status;
    if (out->from.xpos_base > 0.0 || out->to.xpos_base > 0.0)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "xpos_base: keys with xPos do not move");
    rsc_rope_key_set(&key->from, &out->from);
    rsc_rope_key_set(&key->to, &out->to);
    rsc_rope_key alike;
    memcpy(&alike, &key->to, sizeof alike); /* padding, too */
    alike.desc.theta = key->from.desc.theta;
    memcpy(&alike.desc.scaling, &key->from.desc.scaling, sizeof alike.desc.scaling);
    if (memcmp(&alike.desc, &key->from.desc, sizeof alike.desc))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "to: must be as from but for theta and scaling");
    out->same = !memcmp(&key->from, &key->to, sizeof key->to);
    return ROSACE_OK;
}

static rosace_status check_shift(rosace_context *context, const rosace_rope_move_args *args, size_t axes) {
    if (args->shift < -(int64_t)UINT32_MAX || args->shift > (int64_t)UINT32_MAX)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "shift = %lld: positions must fit int32", (long long)args->shift);
    rosace_positions after = args->positions;
    after.offset += args->shift;
    const rosace_status status = rsc_check_positions(context, "positions", &after, axes, args->k.shape[0], args->k.shape[1], NULL);
    return status ? rsc_fail(ROSACE_INVALID_ARGUMENT, "shift = %lld: %s", (long long)args->shift, rosace_last_error()) : ROSACE_OK;
}

/* A turn by one distance for all, in halves where it does not fit int32. */
static rosace_status chain_shift(move_plan *self, rsc_chain *chain, const rosace_tensor *k, int64_t shift) {
    rosace_status status = ROSACE_OK;
    while (shift && !status) {
        const int64_t part = shift > INT32_MAX ? INT32_MAX : shift < -INT32_MAX ? -INT32_MAX : shift;
        rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
        args.k = k;
        args.positions = (rosace_positions){
            .offset = part, .ids = self->shift->frequencies, .ids_offset = 5 * (self->shift->desc.rotary_dim / 2)};
        status = rsc_rope_chain(self->shift, chain, &args);
        shift -= part;
    }
    return status;
}

rosace_status rosace_rope_move(rosace_context *context, cl_command_queue queue, const rosace_rope_desc *from,
                               const rosace_rope_desc *to, const rosace_rope_move_args *given, cl_uint num_wait,
                               const cl_event *wait, cl_event *event) {
    if (!context) return rsc_fail(ROSACE_INVALID_ARGUMENT, "context = NULL: a context is needed");
    move_descs descs;
    move_key key;
    rosace_rope_move_args moved = ROSACE_ROPE_MOVE_ARGS_DEFAULT;
    rosace_status status = check_move(from, to, &descs, &key);
    if (!status) status = rsc_read_struct("rope move args", given, &moved, sizeof moved);
    if (status) return status;
    rsc_plan_entry *entry;
    void *plan;
    status = rsc_plan_acquire(context, "rope move", &key, sizeof key, make_move, drop_move, &descs, &entry, &plan);
    if (status) return status;
    move_plan *self = plan;
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    checked_call checked;
    args.k = &moved.k;
    args.positions = moved.positions;
    status = check_args(self->shift, &args, &checked);
    if (!status) status = check_shift(context, &moved, descs.to.axes);
    if (!status) {
        rsc_chain chain;
        status = rsc_chain_begin(&chain, context, queue, num_wait, wait);
        if (!status && self->change) status = rsc_rope_chain(self->change, &chain, &checked.args);
        if (!status) status = chain_shift(self, &chain, &moved.k, moved.shift);
        status = rsc_chain_end(&chain, status, event);
    }
    rsc_plan_release(entry);
    return status;
}
