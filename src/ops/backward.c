/* SPDX-License-Identifier: MIT
 * The backward pass of attention: delta; then, on CPU devices, a kernel over blocks of keys that gives dk, dv and parts of dq, and
 * the sum of those parts (cl/backward_cpu.cl, cl/lib/backward.clh); on others a kernel over keys for dk and dv, and one over
 * queries for dq (cl/backward_gpu.cl). */
#include <rosace/backward.h>

#include "../check.h"
#include "../device.h"
#include "../mask.h"
#include "../position/positions.h"
#include "../program.h"
#include "attention.h"
#include "shared/backward_args.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INVALID(...) rsc_fail(ROSACE_INVALID_ARGUMENT, __VA_ARGS__)

enum { ANY = 256, MAX_SLOTS = 16, GPU_ACROSS = 16, GPU_DOWN = 8 };

/* ---- Tile sizes, most specific first ----------------------------------------------------------------------------- */

typedef struct backward_tile {
    const char *name;    /* v<VEC>x<VECS>k<TILE_K> */
    unsigned min_vector; /* the device's float_vector_width is at least this */
    unsigned head_dim;   /* at most */
    unsigned vec, vecs, tile_k, keys, dims;
} backward_tile;

/* TILE_K is what keeps the private arrays of an item (two copies of keys and values, scores twice, a tile of queries five
 * times) below 384 KiB, and so in the second level of caches. */
/* clang-format off */
static const backward_tile tiles[] = {
    /* name       vector  head_dim  VEC VECS TILE_K KEYS DIMS */
    {"v16x2k128",     16,       64,  16,   2,   128,   8,   8},
    {"v16x2k64",      16,      128,  16,   2,    64,   8,   8},
    {"v16x2k32",      16,      ANY,  16,   2,    32,   8,   8},
    {"v8x2k128",       8,       64,   8,   2,   128,   4,   4},
    {"v8x2k64",        8,      128,   8,   2,    64,   4,   4},
    {"v8x2k32",        8,      ANY,   8,   2,    32,   4,   4},
    {"v4x2k64",        0,      128,   4,   2,    64,   4,   4},
    {"v4x2k32",        0,      ANY,   4,   2,    32,   4,   4},
};
/* clang-format on */

/* Neither a GPU nor the software that plays one has a use for wide vectors and hundreds of KiB of private memory. */
static bool suits_gpu(const rosace_device_info *device)
{
    return device->device_class != ROSACE_DEVICE_CPU || rsc_device_ends_loops(device);
}

/* Queries and keys of a tile of cl/backward_gpu.cl; half as many where the sums of a row would not fit registers. */
static unsigned gpu_tile(size_t head_dim) { return head_dim <= 128 ? 32 : 16; }

/* The last row fits everything. */
static const backward_tile *find_tile(const rosace_device_info *device, size_t head_dim)
{
    const backward_tile *tile = tiles;
    while (device->float_vector_width < tile->min_vector || head_dim > tile->head_dim) tile++;
    return tile;
}

/* ---- Plans ------------------------------------------------------------------------------------------------------- */

struct rosace_attention_backward_plan {
    rosace_attention_plan base; /* context and descriptor, for what checks calls of either direction */
    const backward_tile *tile; /* NULL: backward_gpu */
    unsigned queries;          /* of a tile */
    unsigned items;            /* of a work-group of main and dq */
    cl_kernel delta, main, dq; /* main: dk and dv, and on CPUs parts of dq */
    rosace_rope_plan *rope, *back; /* NULL without rope; the other way round */
    rsc_bias bias;
    char name[96];
    cl_mem workspace; /* the plan's own, or NULL */
    size_t workspace_bytes;
};

static rosace_status base_bytes(const rosace_attention_plan *plan, size_t batch, size_t seq_q, size_t seq_k, size_t *bytes);

static const rsc_attention_variant base_row = {.name = "backward", .workspace_bytes = base_bytes};

void rosace_attention_backward_plan_destroy(rosace_attention_backward_plan **plan)
{
    if (!plan || !*plan) return;
    rosace_attention_backward_plan *p = *plan;
    *plan = NULL;
    if (p->delta) clReleaseKernel(p->delta);
    if (p->main) clReleaseKernel(p->main);
    if (p->dq) clReleaseKernel(p->dq);
    if (p->workspace) clReleaseMemObject(p->workspace);
    rosace_rope_plan_destroy(&p->rope);
    rosace_rope_plan_destroy(&p->back);
    rsc_bias_destroy(&p->bias);
    rsc_free(p->base.context, p);
}

static rosace_status check_supported(const rosace_attention_desc *desc)
{
    if (desc->rerope_window)
        return rsc_fail(ROSACE_UNSUPPORTED, "rerope_window = %lld: has no backward pass", (long long)desc->rerope_window);
    if (desc->cache != ROSACE_ATTENTION_CACHE_NONE) return rsc_fail(ROSACE_UNSUPPORTED, "cache: has no backward pass");
    if (desc->varlen) return rsc_fail(ROSACE_UNSUPPORTED, "varlen: has no backward pass; each sequence can be a call of its own");
    if (desc->head_window_left) return rsc_fail(ROSACE_UNSUPPORTED, "head_window_left: has no backward pass");
    if (desc->bias == ROSACE_BIAS_SHAW) return rsc_fail(ROSACE_UNSUPPORTED, "ROSACE_BIAS_SHAW: has no backward pass");
    return ROSACE_OK;
}

static rosace_status build(rosace_attention_backward_plan *plan)
{
    rosace_context *context = plan->base.context;
    const rosace_attention_desc *desc = &plan->base.desc;
    const rosace_device_info *device = rosace_context_device_info(context);
    const char *wish = getenv("ROSACE_BACKWARD_VARIANT");
    const bool gpu = wish && *wish ? !strcmp(wish, "backward_gpu") : suits_gpu(device);
    const backward_tile *tile = plan->tile = gpu ? NULL : find_tile(device, desc->head_dim);
    const char *type = rosace_dtype_name(desc->dtype);
    rsc_options rows = {.count = 0}, options = {.count = 0}; /* of delta, of the others */
    rsc_option_int(&rows, "HEAD_DIM", (long)desc->head_dim);
    rsc_option_int(&rows, "DTYPE", (long)desc->dtype);
    options = rows;
    rsc_option_int(&options, "SOFTCAP", desc->softcap > 0.0f);
    rsc_option_int(&options, "LOGN", desc->logn_train_len > 0);
    rsc_options of_dq = options;
    if (gpu) {
        plan->queries = gpu_tile(desc->head_dim);
        snprintf(plan->name, sizeof plan->name, "backward_gpu_%s_d%zu_q%uk%u", type, desc->head_dim, plan->queries, plan->queries);
        plan->items = GPU_ACROSS * GPU_DOWN;
        if (plan->items > device->max_work_group_size) plan->items = GPU_ACROSS * GPU_DOWN / 2;
        rsc_option_int(&options, "TILE", plan->queries);
        rsc_option_int(&options, "ACROSS", GPU_ACROSS);
        rsc_option_int(&options, "DOWN", plan->items / GPU_ACROSS);
        of_dq = options;
        rsc_option_int(&options, "OWN_KEYS", 1);
    } else {
        plan->queries = tile->vec * tile->vecs;
        plan->items = 1;
        snprintf(plan->name, sizeof plan->name, "backward_cpu_%s_d%zu_%s", type, desc->head_dim, tile->name);
        rsc_option_int(&options, "VEC", tile->vec);
        rsc_option_int(&options, "VECS", tile->vecs);
        rsc_option_int(&options, "TILE_K", tile->tile_k);
        rsc_option_int(&options, "KEYS", tile->keys);
        rsc_option_int(&options, "DIMS", tile->dims);
        of_dq = options;
    }
    const char *const delta[] = {"backward_delta.cl", NULL};
    const rsc_bias_desc bias = rsc_attention_bias(desc);
    const char *pieces[3];
    rsc_bias_pieces(desc->bias, gpu ? "backward_gpu.cl" : "backward_cpu.cl", pieces);
    rosace_status status = rsc_kernel_create(context, delta, "backward_delta", &rows, &plan->delta);
    if (!status) status = rsc_kernel_create(context, pieces, gpu ? "backward_gpu" : "backward_cpu", &options, &plan->main);
    if (!status) status = rsc_kernel_create(context, pieces, gpu ? "backward_gpu" : "backward_dq", &of_dq, &plan->dq);
    if (!status) status = rsc_bias_create(context, &bias, &plan->bias);
    if (status || !desc->rope) return status;
    status = rosace_rope_plan_create(context, desc->rope, &plan->rope);
    rosace_rope_desc back = *desc->rope;
    back.inverse = !back.inverse;
    return status ? status : rosace_rope_plan_create(context, &back, &plan->back);
}

rosace_status rosace_attention_backward_plan_create(rosace_context *context, const rosace_attention_desc *desc,
                                                    rosace_attention_backward_plan **out)
{
    if (!out) return INVALID("out: NULL");
    *out = NULL;
    if (!context) return INVALID("context: NULL");
    rosace_attention_desc checked;
    rosace_rope_desc rope;
    rosace_status status = rsc_attention_check_desc(desc, &checked, &rope);
    if (!status) status = check_supported(&checked);
    if (status) return status;
    rosace_attention_backward_plan *plan = rsc_calloc(context, 1, sizeof *plan);
    if (!plan) return rsc_fail(ROSACE_OUT_OF_MEMORY, "backward plan: no host memory");
    plan->base.context = context;
    plan->base.desc = checked;
    plan->base.variant = &base_row;
    if (checked.rope) {
        plan->base.rope = rope;
        plan->base.desc.rope = &plan->base.rope;
    }
    status = build(plan);
    plan->base.rope.scaling.short_factor = plan->base.rope.scaling.long_factor = NULL; /* the caller's, and used */
    if (!status && checked.max_batch) {
        status = rosace_attention_backward_workspace_bytes(plan, checked.max_batch, checked.max_seq_q, checked.max_seq_k,
                                                           &plan->workspace_bytes);
        if (!status)
            status = rsc_buffer_create(context, plan->workspace_bytes, CL_MEM_READ_WRITE, NULL, "backward workspace",
                                       &plan->workspace);
    }
    if (status) rosace_attention_backward_plan_destroy(&plan);
    *out = plan;
    return status;
}

const char *rosace_attention_backward_plan_variant(const rosace_attention_backward_plan *plan) { return plan ? plan->name : ""; }

/* ---- Blocks of keys and slots ------------------------------------------------------------------------------------ */

typedef struct division {
    size_t block_keys, blocks, head_blocks, slots;
} division;

static size_t ceil_div(size_t a, size_t b) { return (a + b - 1) / b; }

/* Keys from the first to the last that a query sees beside sinks and prefix; INT64_MAX: no limit but the length. */
static int64_t band_width(const rosace_mask *mask)
{
    int64_t left = mask->window_left, right = mask->causal ? 0 : mask->window_right;
    if (mask->chunk > 0) {
        const int64_t before = (mask->chunk_back + 1) * mask->chunk - 1;
        if (left < 0 || left > before) left = before;
        if (right < 0 || right > mask->chunk - 1) right = mask->chunk - 1;
    }
    return left < 0 || right < 0 ? INT64_MAX : left + right + 1;
}

/* Where a window limits what a query sees, a block is at least as long, so that few slots serve any number of blocks. Else
 * there are as many slots as blocks, and blocks enough to keep the device busy. What this depends on beside the plan is seq_k
 * alone, and slots never fall as it grows. */
static division divide(const rosace_attention_backward_plan *plan, size_t seq_k)
{
    const rosace_attention_desc *desc = &plan->base.desc;
    const size_t tile_k = plan->tile->tile_k, queries = plan->queries;
    const size_t units = rosace_context_device_info(plan->base.context)->compute_units;
    size_t most = ceil_div(8 * units, desc->n_kv_heads);
    if (most > MAX_SLOTS) most = MAX_SLOTS;
    division d = {.block_keys = ceil_div(ceil_div(seq_k, most), tile_k) * tile_k};
    const int64_t width = band_width(&desc->mask);
    const size_t far = (size_t)(desc->mask.sinks > desc->mask.prefix ? desc->mask.sinks : desc->mask.prefix);
    if (width < (int64_t)1 << 32) {
        const size_t tile_width = (size_t)width + queries - 1;
        const size_t keys = ceil_div(tile_width > 2 * tile_k ? tile_width : 2 * tile_k, tile_k) * tile_k;
        if (ceil_div(far, keys) + 2 <= MAX_SLOTS) {
            d.block_keys = keys;
            d.head_blocks = ceil_div(far, keys);
            d.blocks = ceil_div(seq_k, keys);
            d.slots = d.head_blocks + 2; /* tile_width keys lie in two blocks at most */
            if (d.head_blocks > d.blocks) d.head_blocks = d.blocks;
            if (d.slots > d.blocks) d.slots = d.blocks;
            if (d.slots == d.blocks) d.head_blocks = d.blocks;
            return d;
        }
    }
    d.blocks = d.head_blocks = ceil_div(seq_k, d.block_keys);
    d.slots = ceil_div(seq_k, tile_k); /* at least as many as blocks */
    if (d.slots > most) d.slots = most;
    return d;
}

/* ---- Workspace: rotated q and k, a table of biases, delta, parts of dq --------------------------------------------- */

typedef struct layout {
    size_t table, delta, partial, bytes; /* offsets in bytes; all of it */
} layout;

static bool align(size_t *bytes)
{
    if (!rsc_add(*bytes, RSC_WORKSPACE_ALIGN - 1, bytes)) return false;
    *bytes = *bytes / RSC_WORKSPACE_ALIGN * RSC_WORKSPACE_ALIGN;
    return true;
}

/* Adds a * b * c * d floats. */
static bool add_floats(size_t *bytes, size_t a, size_t b, size_t c, size_t d)
{
    size_t n = sizeof(cl_float);
    return rsc_mul(n, a, &n) && rsc_mul(n, b, &n) && rsc_mul(n, c, &n) && rsc_mul(n, d, &n) && rsc_add(*bytes, n, bytes) &&
           align(bytes);
}

static rosace_status lay_out(const rosace_attention_backward_plan *plan, size_t batch, size_t seq_q, size_t seq_k, layout *out)
{
    const rosace_attention_desc *desc = &plan->base.desc;
    const size_t row_tiles = ceil_div(seq_q, plan->queries);
    *out = (layout){.table = 0};
    size_t at = 0, heads;
    rosace_status status = rsc_attention_add_rotated(&plan->base, batch, seq_q, seq_k, &at);
    out->table = at;
    if (!status) status = rsc_attention_add_biases(&plan->base, &plan->bias, batch, seq_q, seq_k, &at);
    if (status) return status;
    bool fits = align(&at) && rsc_mul(batch, desc->n_heads, &heads);
    out->delta = at;
    fits = fits && add_floats(&at, heads, seq_q, 1, 1);
    out->partial = at;
    if (plan->tile) fits = fits && add_floats(&at, divide(plan, seq_k).slots * heads, row_tiles, plan->queries, desc->head_dim);
    out->bytes = at;
    if (!fits) return INVALID("workspace: the bytes for batch %zu, seq_q %zu, seq_k %zu overflow", batch, seq_q, seq_k);
    return ROSACE_OK;
}

static rosace_status base_bytes(const rosace_attention_plan *plan, size_t batch, size_t seq_q, size_t seq_k, size_t *bytes)
{
    layout l;
    /* base is the first member */
    const rosace_status status = lay_out((const rosace_attention_backward_plan *)plan, batch, seq_q, seq_k, &l);
    *bytes = status ? 0 : l.bytes;
    return status;
}

rosace_status rosace_attention_backward_workspace_bytes(const rosace_attention_backward_plan *plan, size_t batch, size_t seq_q,
                                                        size_t seq_k, size_t *bytes)
{
    return rosace_attention_workspace_bytes(plan ? &plan->base : NULL, batch, seq_q, seq_k, bytes);
}

/* ---- Checks ------------------------------------------------------------------------------------------------------ */

typedef struct named_range {
    const char *name;
    rsc_range range;
} named_range;

/* dq, dk and dv meet neither each other nor anything that is read. `forward` passed its own checks. */
static rosace_status check_outputs(const rosace_attention_backward_plan *plan, const rosace_attention_backward_args *args,
                                   const rosace_attention_args *forward, const rsc_attention_call *call)
{
    rosace_context *context = plan->base.context;
    const rosace_attention_desc *desc = &plan->base.desc;
    enum { DQ, DK, DV, OUTPUTS, DOUT = OUTPUTS, Q, K, V, OUT, TENSORS };
    const struct {
        const char *name;
        const rosace_tensor *tensor, *like;
    } t[TENSORS] = {{"dq", &args->dq, &forward->q},    {"dk", &args->dk, &forward->k}, {"dv", &args->dv, &forward->v},
                    {"dout", &args->dout, &forward->q}, {"q", &forward->q, NULL},       {"k", &forward->k, NULL},
                    {"v", &forward->v, NULL},          {"out", &forward->out, NULL}};
    rsc_range ranges[TENSORS];
    for (int i = 0; i < TENSORS; i++) {
        rosace_status status = rsc_check_tensor(context, t[i].name, t[i].tensor, desc->dtype, i < OUTPUTS, &ranges[i]);
        for (int axis = 0; axis < 4 && t[i].like && !status; axis++)
            if (t[i].tensor->shape[axis] != t[i].like->shape[axis])
                status = INVALID("%s.shape[%d] = %zu: must be %zu here", t[i].name, axis, t[i].tensor->shape[axis],
                                 t[i].like->shape[axis]);
        /* dq and dk are turned back in place */
        if (!status && i < OUTPUTS) status = rsc_check_readable(t[i].name, t[i].tensor->mem);
        if (status) return status;
    }
    for (int o = 0; o < OUTPUTS; o++)
        for (int i = o + 1; i < TENSORS; i++) {
            const rosace_status status =
                rsc_check_disjoint_tensors(context, t[o].name, t[o].tensor, t[i].name, t[i].tensor);
            if (status) return status;
        }

    named_range others[8];
    unsigned n = 0;
    const rsc_bias_desc bias = rsc_attention_bias(desc);
    const size_t rows = call->batch * desc->n_heads * call->seq_q, params = rsc_bias_params(&bias, desc->n_heads);
    others[n].name = "lse";
    rosace_status status = rsc_check_array(context, "lse", forward->lse, forward->lse_offset, rows, sizeof(cl_float), false,
                                           &others[n++].range);
    if (!status && params) {
        others[n].name = "bias_params";
        status = rsc_check_array(context, "bias_params", forward->bias_params, forward->bias_params_offset, params,
                                 sizeof(cl_float), false, &others[n++].range);
    }
    if (!status && args->workspace) {
        others[n].name = "workspace";
        status = rsc_check_array(context, "workspace", args->workspace, args->workspace_offset_bytes, args->workspace_bytes, 1,
                                 true, &others[n++].range);
    }
    const size_t axes = desc->rope ? desc->rope->axes : 1;
    if (!status && call->q_positions.ids && (desc->rope || desc->logn_train_len)) {
        others[n].name = "q_positions.ids";
        status = rsc_check_positions(context, "q_positions", &call->q_positions, axes, call->batch, call->seq_q,
                                     &others[n++].range);
    }
    if (!status && call->k_positions.ids && desc->rope) {
        others[n].name = "k_positions.ids";
        status = rsc_check_positions(context, "k_positions", &call->k_positions, axes, call->batch, call->seq_k,
                                     &others[n++].range);
    }
    for (unsigned i = 0; i < n && !status; i++) {
        for (int o = 0; o < OUTPUTS && !status; o++)
            status = rsc_check_disjoint(t[o].name, &ranges[o], others[i].name, &others[i].range);
        if (!status && !strcmp(others[i].name, "workspace"))
            status = rsc_check_disjoint("workspace", &others[i].range, "dout", &ranges[DOUT]);
    }
    return status;
}

/* Turns of loops of the busiest item, about, where the device counts them: of backward_gpu. */
static rosace_status check_loops(const rosace_attention_backward_plan *plan, const rsc_attention_call *call)
{
    const rosace_device_info *device = rosace_context_device_info(plan->base.context);
    if (!rsc_device_ends_loops(device)) return ROSACE_OK;
    const rosace_attention_desc *desc = &plan->base.desc;
    const uint64_t of_tile = desc->head_dim / 8 * 17 + plan->queries + 2; /* chunks of 8 dimensions, then rows */
    const uint64_t q_tiles = ceil_div(call->seq_q, plan->queries), k_tiles = ceil_div(call->seq_k, plan->queries);
    uint64_t most = 0, owners = 0; /* of a tile of queries, of one of keys */
    for (size_t m = 0; m < call->seq_q; m += plan->queries) {
        rosace_mask_tile t;
        const size_t end = m + plan->queries < call->seq_q ? m + plan->queries : call->seq_q;
        rosace_mask_tile_intervals(&desc->mask, call->q_offset, (int64_t)call->seq_k, (int64_t)m, (int64_t)end, &t);
        const uint64_t keys = (uint64_t)(t.head.end - t.head.begin + t.band.end - t.band.begin);
        if (most < keys / plan->queries + 2) most = keys / plan->queries + 2;
    }
    owners = (band_width(&desc->mask) < (int64_t)1 << 32 && !desc->mask.sinks && !desc->mask.prefix ? most : q_tiles) *
             (desc->n_heads / desc->n_kv_heads);
    if (most > k_tiles + 2) most = k_tiles + 2;
    return rsc_check_loops(device, plan->name, (most > owners ? most : owners) * of_tile + 64);
}

/* ---- A call ------------------------------------------------------------------------------------------------------ */

static rsc_backward_args pack(const rosace_attention_backward_plan *plan, const rosace_attention_backward_args *args,
                              const rsc_attention_call *call, const rosace_tensor *q, const rosace_tensor *k, const division *d,
                              const layout *l, size_t bias_offset)
{
    static const float log2_e = 1.44269504f;
    const rosace_attention_desc *desc = &plan->base.desc;
    const rosace_positions *positions = &call->q_positions;
    const float unit = desc->softcap > 0.0f ? 1.0f / desc->softcap : log2_e;
    return (rsc_backward_args){
        .q = rsc_attention_view_of(q),
        .k = rsc_attention_view_of(k),
        .v = rsc_attention_view_of(&call->args->v),
        .out = rsc_attention_view_of(&call->args->out),
        .dout = rsc_attention_view_of(&args->dout),
        .dq = rsc_attention_view_of(&args->dq),
        .dk = rsc_attention_view_of(&args->dk),
        .dv = rsc_attention_view_of(&args->dv),
        .mask = rsc_mask_pack(&desc->mask, call->q_offset, (int64_t)call->seq_k),
        .lse_offset = call->args->lse_offset,
        .delta_offset = (call->workspace_offset + l->delta) / sizeof(cl_float),
        .partial_offset = (call->workspace_offset + l->partial) / sizeof(cl_float),
        .bias_offset = bias_offset,
        .ids_offset = (int64_t)positions->ids_offset,
        .ids_batch_stride = positions->batch_stride,
        .ids_seq_stride = positions->seq_stride,
        .position_first = positions->offset,
        .batch = (uint32_t)call->batch,
        .heads = (uint32_t)desc->n_heads,
        .group = (uint32_t)(desc->n_heads / desc->n_kv_heads),
        .seq_q = (uint32_t)call->seq_q,
        .tiles = (uint32_t)ceil_div(call->seq_q, plan->queries),
        .use_ids = desc->logn_train_len > 0 && positions->ids != NULL,
        .block_keys = (uint32_t)d->block_keys,
        .blocks = (uint32_t)d->blocks,
        .head_blocks = (uint32_t)d->head_blocks,
        .slots = (uint32_t)d->slots,
        .q_scale = desc->scale * unit,
        .bias_scale = unit,
        .cap_scale = desc->softcap * log2_e,
        .inverse_log_train = desc->logn_train_len > 0 ? (float)(1.0 / log((double)desc->logn_train_len)) : 0.0f,
        .dk_scale = 1.0f / unit,
        .dq_scale = desc->scale,
    };
}

static rosace_status count_items(const char *name, size_t a, size_t b, size_t c, size_t *items)
{
    if (!rsc_mul(a, b, items) || !rsc_mul(*items, c, items) || *items > INT32_MAX)
        return rsc_fail(ROSACE_UNSUPPORTED, "%s: more work-items than a launch takes", name);
    return ROSACE_OK;
}

static rosace_status turn(rosace_rope_plan *rope, rsc_chain *chain, const rosace_tensor *x, const rosace_positions *positions)
{
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    args.q = x;
    args.positions = *positions;
    return rsc_rope_chain(rope, chain, &args);
}

static rosace_status enqueue(rosace_attention_backward_plan *plan, rsc_chain *chain, const rosace_attention_backward_args *args,
                             const rsc_attention_call *call)
{
    const rosace_attention_desc *desc = &plan->base.desc;
    division d = {.blocks = ceil_div(call->seq_k, plan->queries)};
    if (plan->tile) d = divide(plan, call->seq_k);
    layout l;
    rosace_status status = lay_out(plan, call->batch, call->seq_q, call->seq_k, &l);
    if (!status) status = check_loops(plan, call);
    const size_t group[1] = {plan->items};
    size_t rows = 0, items = 0, row_tiles = 0;
    if (!status) status = count_items(plan->name, call->batch, desc->n_heads, call->seq_q, &rows);
    if (!status) status = count_items(plan->name, call->batch, desc->n_kv_heads, d.blocks * group[0], &items);
    if (!status)
        status = count_items(plan->name, call->batch, desc->n_heads, ceil_div(call->seq_q, plan->queries) * group[0], &row_tiles);
    if (status) return status;

    rosace_tensor q = call->args->q, k = call->args->k;
    if (plan->rope) {
        size_t q_bytes = 0;
        status = rsc_attention_rotated_bytes(&plan->base, call->batch, call->seq_q, desc->n_heads, &q_bytes);
        if (!status) status = rsc_attention_rotate(plan->rope, chain, call, &call->args->q, &call->q_positions, 0, &q);
        if (!status) status = rsc_attention_rotate(plan->rope, chain, call, &call->args->k, &call->k_positions, q_bytes, &k);
    }
    rsc_bias_place bias = {call->args->bias_params, call->args->bias_params_offset};
    if (!status)
        status = rsc_bias_chain(&plan->bias, chain, &desc->mask, call->q_offset, desc->n_heads, call->seq_q, call->seq_k, bias,
                                call->workspace, call->workspace_offset + l.table, &bias);
    if (status) return status;
    const rsc_backward_args packed = pack(plan, args, call, &q, &k, &d, &l, bias.offset);
    /* What is not wanted is never followed, but some drivers take no NULL. */
    const cl_mem params = rsc_bias_piece(desc->bias) ? bias.mem : q.mem;
    const cl_mem ids = packed.use_ids ? call->q_positions.ids : q.mem;
    const rosace_attention_args *f = call->args;
    status = RSC_ARGS(plan->delta, plan->name, RSC_ARG(f->out.mem), RSC_ARG(args->dout.mem), RSC_ARG(call->workspace),
                      RSC_ARG(packed));
    if (!status) status = rsc_chain_kernel(chain, plan->delta, 1, &rows, NULL, plan->name);
    if (!status)
        status = RSC_ARGS(plan->main, plan->name, RSC_ARG(q.mem), RSC_ARG(k.mem), RSC_ARG(f->v.mem), RSC_ARG(args->dout.mem),
                          RSC_ARG(f->lse), RSC_ARG(params), RSC_ARG(ids), RSC_ARG(call->workspace), RSC_ARG(args->dk.mem),
                          RSC_ARG(args->dv.mem), RSC_ARG(packed));
    if (!status) status = rsc_chain_kernel(chain, plan->main, 1, &items, group, plan->name);
    if (!status && plan->tile)
        status = RSC_ARGS(plan->dq, plan->name, RSC_ARG(args->dq.mem), RSC_ARG(ids), RSC_ARG(call->workspace), RSC_ARG(packed));
    if (!status && !plan->tile)
        status = RSC_ARGS(plan->dq, plan->name, RSC_ARG(q.mem), RSC_ARG(k.mem), RSC_ARG(f->v.mem), RSC_ARG(args->dout.mem),
                          RSC_ARG(f->lse), RSC_ARG(params), RSC_ARG(ids), RSC_ARG(call->workspace), RSC_ARG(args->dq.mem),
                          RSC_ARG(args->dq.mem), RSC_ARG(packed));
    if (!status) status = rsc_chain_kernel(chain, plan->dq, 1, &row_tiles, group, plan->name);
    if (!status && plan->back) status = turn(plan->back, chain, &args->dq, &call->q_positions);
    if (!status && plan->back) status = turn(plan->back, chain, &args->dk, &call->k_positions);
    return status;
}

rosace_status rosace_attention_backward_enqueue(rosace_attention_backward_plan *plan, cl_command_queue queue,
                                                const rosace_attention_backward_args *given, cl_uint num_wait,
                                                const cl_event *wait, cl_event *event)
{
    if (!plan) return INVALID("plan: NULL");
    rosace_attention_backward_args args = ROSACE_ATTENTION_BACKWARD_ARGS_DEFAULT;
    rosace_attention_args forward = ROSACE_ATTENTION_ARGS_DEFAULT;
    rosace_status status = rsc_read_struct("args", given, &args, sizeof args);
    if (!status) status = rsc_read_struct("forward", args.forward, &forward, sizeof forward);
    if (status) return status;
    if (!forward.lse) return INVALID("forward.lse: NULL, but the backward pass needs it");
    forward.workspace = args.workspace;
    forward.workspace_offset_bytes = args.workspace_offset_bytes;
    forward.workspace_bytes = args.workspace_bytes;
    rsc_attention_call call;
    size_t needed = 0;
    status = rsc_attention_check_args(&plan->base, &forward, &call, &needed);
    if (!status) status = check_outputs(plan, &args, &forward, &call);
    if (status) return status;
    call.workspace = args.workspace ? args.workspace : plan->workspace;
    call.workspace_offset = args.workspace ? args.workspace_offset_bytes : 0;
    if (!args.workspace && needed > plan->workspace_bytes)
        return INVALID("workspace: NULL, but %zu bytes are needed (bring them, or give max_batch, max_seq_q and max_seq_k to the "
                       "plan)",
                       needed);
    rsc_chain chain;
    status = rsc_chain_begin(&chain, plan->base.context, queue, num_wait, wait);
    if (!status) status = enqueue(plan, &chain, &args, &call);
    return rsc_chain_end(&chain, status, event);
}
