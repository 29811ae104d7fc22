/* SPDX-License-Identifier: MIT
 * Attention of few queries over many keys: work is divided over the visible keys, and what the splits find is put together by
 * a second kernel (cl/decode_reduce.cl). Two shapes, one for devices with wide vectors (cl/decode_cpu.cl) and one for
 * devices whose work-groups share local memory (cl/decode_gpu.cl), with one argument. */
#include "attention_sequences.h"

#include "../check.h"
#include "../device.h"
#include "../mask.h"
#include "../program.h"
#include "shared/decode_args.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ANY = 256 };

/* How a call is cut. A work-item or work-group takes up to max_rows (query, head) pairs that read the same keys. */
typedef struct decode_shape {
    unsigned max_rows;
    unsigned step;     /* a split is a multiple of this many keys */
    unsigned min_keys; /* and no split is made for less */
    unsigned per_unit; /* splits are made until there are this many of them to a compute unit */
    unsigned launch_once; /* of up to this many keys none are made when there are items enough without */
} decode_shape;

/* ---- Tile sizes, most specific first ----------------------------------------------------------------------------- */

typedef struct cpu_tile {
    const char *name;
    unsigned min_vector; /* the device's float_vector_width is at least this */
    unsigned head_dim;   /* at most */
    unsigned vec, block, value_rows, dims;
    decode_shape shape;
} cpu_tile;

/* Measured with PoCL 3.1 and Intel's runtime on two cores of a Sapphire Rapids Xeon, fp32, 8:2 heads of 64, bytes of keys and
 * values against a kernel that only reads them, over 32768 keys (in a shared cache) and 262144:
 *     a row's maximum and exponential one after the other     PoCL 69 % and 54 %   Intel 67 % and 56 %
 *     rows side by side, nothing prefetched                        75        58          73        58
 *     rows side by side, the next block prefetched                 84        90          87        80
 * Blocks of 32 and 64 keys are alike but for the first level of the cache, which has room for the 32. */
/* clang-format off */
static const cpu_tile cpu_tiles[] = {
    /* name       vector head_dim VEC BLOCK VALUE_ROWS DIMS  rows step min_keys per_unit launch_once */
    {"v16k32r4",      16,      64, 16,   32,         4,   4, { 32,  32,    1024,       4,        4096}},
    {"v16k32r2",      16,     ANY, 16,   32,         2,   8, { 32,  32,    1024,       4,        4096}},
    {"v16k64r4",      16,     ANY, 16,   64,         4,   4, { 32,  64,    1024,       4,        4096}},
    {"v8k32r2",        8,     ANY,  8,   32,         2,   4, { 32,  32,    1024,       4,        4096}},
    {"v4k32r2",        0,     ANY,  4,   32,         2,   4, { 32,  32,    1024,       4,        4096}},
};
/* clang-format on */
enum { N_CPU_TILES = sizeof cpu_tiles / sizeof cpu_tiles[0] };

static bool cpu_tile_fits(const cpu_tile *t, const rosace_device_info *device)
{
    return device->float_vector_width >= t->min_vector;
}

/* The one of this name, else the first for the device and head_dim. */
static const cpu_tile *find_cpu_tile(const rosace_device_info *device, size_t head_dim, const char *name)
{
    for (size_t i = 0; name && i < N_CPU_TILES; i++)
        if (cpu_tile_fits(&cpu_tiles[i], device) && !strcmp(cpu_tiles[i].name, name)) return &cpu_tiles[i];
    const cpu_tile *tile = cpu_tiles;
    while (!cpu_tile_fits(tile, device) || head_dim > tile->head_dim) tile++;
    return tile;
}

static const char *cpu_tile_name(const rosace_device_info *device, const rosace_attention_desc *desc, size_t index)
{
    (void)desc;
    for (size_t i = 0; i < N_CPU_TILES; i++)
        if (cpu_tile_fits(&cpu_tiles[i], device) && index-- == 0) return cpu_tiles[i].name;
    return NULL;
}

typedef struct gpu_tile {
    const char *name;
    unsigned items, tile_k, chunk;
    decode_shape shape;
} gpu_tile;

/* The first whose work-group and local memory the device has. */
/* clang-format off */
static const gpu_tile gpu_tiles[] = {
    /* name   ITEMS TILE_K CHUNK  rows step min_keys per_unit launch_once */
    {"g128k64", 128,    64,   32, {  8,  64,     256,       8,           0}},
    {"g64k32",   64,    32,   32, {  8,  32,     256,       8,           0}},
    {NULL,        0,     0,    0, {  0,   0,       0,       0,           0}},
};
/* clang-format on */

static size_t gpu_tile_bytes(const gpu_tile *t, size_t head_dim)
{
    return sizeof(float) * (head_dim * t->shape.max_rows + (size_t)t->tile_k * (t->chunk + 1) +
                            t->shape.max_rows * (t->tile_k + 11));
}

static bool gpu_tile_fits(const gpu_tile *t, const rosace_device_info *device, size_t head_dim)
{
    return t->items <= device->max_work_group_size && gpu_tile_bytes(t, head_dim) <= device->local_memory_bytes;
}

/* The one of this name, else the first that fits; NULL when none does. */
static const gpu_tile *find_gpu_tile(const rosace_device_info *device, size_t head_dim, const char *name)
{
    const gpu_tile *first = NULL;
    for (const gpu_tile *tile = gpu_tiles; tile->name; tile++) {
        if (!gpu_tile_fits(tile, device, head_dim)) continue;
        if (!first) first = tile;
        if (name && !strcmp(tile->name, name)) return tile;
    }
    return first;
}

static const char *gpu_tile_name(const rosace_device_info *device, const rosace_attention_desc *desc, size_t index)
{
    for (const gpu_tile *tile = gpu_tiles; tile->name; tile++)
        if (gpu_tile_fits(tile, device, desc->head_dim) && index-- == 0) return tile->name;
    return NULL;
}

/* ---- The plan's state -------------------------------------------------------------------------------------------- */

typedef struct decode_state {
    cl_kernel kernel, reduce;
    rosace_rope_plan *rope;
    rsc_bias bias;
    rsc_rerope rerope;
    decode_shape shape;
    unsigned items;      /* of a work-group */
    unsigned lanes;      /* of a work-group of the reduction */
    bool several_heads; /* a work-item may take several key/value heads */
} decode_state;

static void destroy(rosace_attention_plan *plan)
{
    decode_state *state = plan->state;
    if (!state) return;
    if (state->kernel) clReleaseKernel(state->kernel);
    if (state->reduce) clReleaseKernel(state->reduce);
    rosace_rope_plan_destroy(&state->rope);
    rsc_bias_destroy(&state->bias);
    rsc_rerope_destroy(&state->rerope);
    rsc_free(plan->context, state);
    plan->state = NULL;
}

/* Kernels and rotation; `options` has what is the shape's own. */
static rosace_status build(rosace_attention_plan *plan, decode_state *state, const char *piece, const char *kernel,
                           rsc_options *options)
{
    const rosace_attention_desc *desc = &plan->desc;
    rsc_option_int(options, "HEAD_DIM", (long)desc->head_dim);
    rsc_option_int(options, "DTYPE", (long)desc->dtype);
    rsc_option_int(options, "SOFTCAP", desc->softcap > 0.0f);
    rsc_option_int(options, "LOGN", desc->logn_train_len > 0);
    rsc_option_int(options, "KV_CACHE", desc->cache);
    if (desc->rerope_window) rsc_option_int(options, "REROPE", 1);
    if (desc->bias == ROSACE_BIAS_SHAW) rsc_option_int(options, "SHAW", 1);
    rsc_option_int(options, "LANES", state->lanes);
    const rsc_extras_desc extras = rsc_attention_extras(desc);
    rsc_extras_options(&extras, options);
    rsc_attention_call_options(plan, options);
    const rsc_bias_desc bias = rsc_attention_bias(desc);
    const char *pieces[4] = {NULL};
    rsc_bias_pieces(desc->bias, piece, pieces);
    pieces[pieces[1] ? 2 : 1] = "decode_reduce.cl";
    rosace_status status = rsc_kernel_create(plan->context, pieces, kernel, options, &state->kernel);
    if (!status) status = rsc_kernel_create(plan->context, pieces, "decode_reduce", options, &state->reduce);
    if (!status) status = rsc_bias_create(plan->context, &bias, &state->bias);
    if (!status && desc->rope) status = rosace_rope_plan_create(plan->context, desc->rope, &state->rope);
    if (!status) status = rsc_rerope_create(plan->context, desc, &state->rerope);
    return status;
}

/* Few rows, and splits so short that a work-item's loops take half the turns there are (a split may get twice its least). A
 * row takes four turns for VEC keys, and for each key one for DIMS vectors of VALUE_ROWS rows. */
static void keep_loops_short(const cpu_tile *tile, size_t head_dim, decode_shape *shape)
{
    const size_t vectors = (head_dim + tile->vec - 1) / tile->vec, chunks = (vectors + tile->dims - 1) / tile->dims;
    shape->max_rows = 8;
    const size_t of_block = shape->max_rows * (4 * tile->block / tile->vec + chunks * tile->block);
    const size_t blocks = 30000 / of_block;
    shape->min_keys = (unsigned)((blocks ? blocks : 1) * tile->block);
    shape->per_unit = 1 << 24;
    shape->launch_once = 0;
}

static rosace_status create_cpu(rosace_attention_plan *plan)
{
    const rosace_attention_desc *desc = &plan->desc;
    const rosace_device_info *device = rosace_context_device_info(plan->context);
    const cpu_tile *tile = find_cpu_tile(device, desc->head_dim, plan->tile);
    plan->tile = tile->name;
    decode_state *state = plan->state = rsc_calloc(plan->context, 1, sizeof *state);
    if (!state) return rsc_fail(ROSACE_OUT_OF_MEMORY, "attention plan: no host memory");
    state->shape = tile->shape;
    if (rsc_device_ends_loops(device)) keep_loops_short(tile, desc->head_dim, &state->shape);
    /* PoCL's threads find more work-groups sooner than two: 4096 keys, 8:2 heads of 64, one launch 106 us, 8 splits 93. */
    if (strstr(device->platform_name, "Portable Computing Language")) state->shape.launch_once = 0;
    state->items = state->lanes = 1;
    state->several_heads = true;
    rsc_options options = {.count = 0};
    rsc_option_int(&options, "VEC", tile->vec);
    rsc_option_int(&options, "BLOCK", tile->block);
    rsc_option_int(&options, "MAX_ROWS", state->shape.max_rows);
    rsc_option_int(&options, "VALUE_ROWS", tile->value_rows);
    rsc_option_int(&options, "DIMS", tile->dims);
    rsc_option_int(&options, "PREFETCH", rsc_device_is_host(device));
    snprintf(plan->variant_name, sizeof plan->variant_name, "decode_cpu_%s_d%zu_%s",
             rosace_dtype_name(desc->dtype), desc->head_dim, tile->name);
    return build(plan, state, "decode_cpu.cl", "decode_cpu", &options);
}

/* As many rows as there are in a call of the length the plan is made for. */
static unsigned rows_for(const rosace_attention_desc *desc, unsigned most)
{
    const size_t rows = desc->n_heads / desc->n_kv_heads * (desc->max_seq_q ? desc->max_seq_q : 1);
    unsigned n = 1;
    while (n < rows && n < most) n *= 2;
    return n;
}

static rosace_status create_gpu(rosace_attention_plan *plan)
{
    const rosace_attention_desc *desc = &plan->desc;
    const gpu_tile *tile = find_gpu_tile(rosace_context_device_info(plan->context), desc->head_dim, plan->tile);
    plan->tile = tile->name;
    decode_state *state = plan->state = rsc_calloc(plan->context, 1, sizeof *state);
    if (!state) return rsc_fail(ROSACE_OUT_OF_MEMORY, "attention plan: no host memory");
    state->shape = tile->shape;
    state->shape.max_rows = rows_for(desc, tile->shape.max_rows);
    state->items = tile->items;
    state->lanes = (unsigned)(desc->head_dim / 4); /* at most 64, as `items` is at least */
    unsigned chunk = tile->chunk; /* halved until it divides head_dim; 8 always does */
    while (desc->head_dim % chunk) chunk /= 2;
    rsc_options options = {.count = 0};
    rsc_option_int(&options, "ITEMS", tile->items);
    rsc_option_int(&options, "ROWS", state->shape.max_rows);
    rsc_option_int(&options, "TILE_K", tile->tile_k);
    rsc_option_int(&options, "CHUNK", chunk);
    snprintf(plan->variant_name, sizeof plan->variant_name, "decode_gpu_%s_d%zu_%sr%u",
             rosace_dtype_name(desc->dtype), desc->head_dim, tile->name, state->shape.max_rows);
    return build(plan, state, "decode_gpu.cl", "decode_gpu", &options);
}

/* ---- Workspace: partial results, rotated copies of q and k, a table of biases --------------------------------------------------- */

static size_t least(size_t a, size_t b) { return a < b ? a : b; }
static size_t divide_up(size_t a, size_t b) { return (a + b - 1) / b; }

static size_t wanted_items(const rosace_attention_plan *plan)
{
    const decode_state *state = plan->state;
    const size_t units = rosace_context_device_info(plan->context)->compute_units;
    return state->shape.per_unit * (units ? units : 1);
}

/* What partial results may take at most, a bound that never falls with any size: with one split they take nothing; with more,
 * items * splits < wanted + items. */
static rosace_status partial_bytes(const rosace_attention_plan *plan, size_t batch, size_t seq_q, size_t seq_k, size_t *bytes)
{
    const decode_state *state = plan->state;
    const size_t most_splits = seq_k / state->shape.min_keys;
    size_t rows = plan->desc.n_heads, all, n;
    *bytes = 0;
    if (most_splits < 2) return ROSACE_OK;
    const size_t of_item = plan->desc.n_heads * seq_q;
    if (rsc_mul(rows, batch, &rows) && rsc_mul(rows, seq_q, &rows) && rsc_mul(rows, most_splits, &all) &&
        rsc_add(rows, wanted_items(plan) * least(state->shape.max_rows, of_item), &n) &&
        rsc_mul(least(all, n), (plan->desc.head_dim + 2) * sizeof(cl_float), &n) &&
        rsc_add(n, RSC_WORKSPACE_ALIGN - 1, &n)) {
        *bytes = n / RSC_WORKSPACE_ALIGN * RSC_WORKSPACE_ALIGN;
        return ROSACE_OK;
    }
    return rsc_fail(ROSACE_INVALID_ARGUMENT, "workspace: the bytes for batch %zu, seq_q %zu, seq_k %zu overflow", batch, seq_q,
                    seq_k);
}

/* Where the biases begin. */
static rosace_status bias_begin(const rosace_attention_plan *plan, size_t batch, size_t seq_q, size_t seq_k, size_t *bytes)
{
    const rosace_status status = partial_bytes(plan, batch, seq_q, seq_k, bytes);
    return status ? status : rsc_attention_add_rotated(plan, batch, seq_q, seq_k, bytes);
}

static rosace_status workspace_bytes(const rosace_attention_plan *plan, size_t batch, size_t seq_q, size_t seq_k, size_t *bytes)
{
    const decode_state *state = plan->state;
    const rosace_status status = bias_begin(plan, batch, seq_q, seq_k, bytes);
    return status ? status : rsc_attention_add_biases(plan, &state->bias, batch, seq_q, seq_k, bytes);
}

/* ---- A call ------------------------------------------------------------------------------------------------------ */

/* What the kernel takes: q and k within ReRoPE's window, and beyond. */
typedef struct operands {
    rosace_tensor q, k, far_q, far_k;
} operands;

/* Rotates keys begin .. end-1 into their places of the copy at *to. */
static rosace_status rotate_keys(rosace_rope_plan *rope, rsc_chain *chain, const rsc_attention_call *call, int64_t begin,
                                 int64_t end, const rosace_tensor *to)
{
    if (begin >= end) return ROSACE_OK;
    rosace_tensor from = call->args->k, into = *to;
    from.offset += (size_t)begin * (size_t)from.stride[1];
    into.offset += (size_t)begin * (size_t)into.stride[1];
    from.shape[1] = into.shape[1] = (size_t)(end - begin);
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    args.q = &from;
    args.q_out = &into;
    args.positions = call->k_positions;
    if (args.positions.ids) args.positions.ids_offset += (size_t)begin * (size_t)args.positions.seq_stride;
    else args.positions.offset += begin;
    return rsc_rope_chain(rope, chain, &args);
}

/* Of the visible keys those from `begin` and before `end`. */
static rosace_status rotate_visible(rosace_rope_plan *rope, rsc_chain *chain, const rsc_attention_call *call,
                                    const rosace_mask_tile *visible, int64_t begin, int64_t end, size_t bytes, rosace_tensor *k)
{
    const rosace_tensor *from = &call->args->k;
    const rosace_interval parts[2] = {visible->head, visible->band};
    *k = rosace_tensor_bhsd(call->workspace, from->dtype, from->shape[0], from->shape[1], from->shape[2], from->shape[3]);
    k->offset = (call->workspace_offset + bytes) / rosace_dtype_size(from->dtype);
    rosace_status status = ROSACE_OK;
    for (int i = 0; i < 2 && !status; i++)
        status = rotate_keys(rope, chain, call, parts[i].begin < begin ? begin : parts[i].begin,
                             parts[i].end > end ? end : parts[i].end, k);
    return status;
}

/* Puts q and the keys that are visible, rotated, into the workspace behind `bytes` and says where they are. */
static rosace_status rotate(rosace_attention_plan *plan, rsc_chain *chain, const rsc_attention_call *call,
                            const rosace_mask_tile *visible, size_t bytes, operands *to)
{
    const decode_state *state = plan->state;
    const int64_t window = plan->desc.rerope_window, all = (int64_t)call->seq_k;
    size_t q_bytes = 0, k_bytes = 0;
    rosace_status status = rsc_attention_rotated_bytes(plan, call->batch, call->seq_q, plan->desc.n_heads, &q_bytes);
    if (!status) status = rsc_attention_rotated_bytes(plan, call->batch, call->seq_k, plan->desc.n_kv_heads, &k_bytes);
    if (!status) status = rsc_attention_rotate(state->rope, chain, call, &call->args->q, &call->q_positions, bytes, &to->q);
    /* Only the keys that some query sees from nearer than the window, or from further off. */
    const int64_t near_begin = window ? call->q_offset - window + 1 : 0;
    const int64_t far_end = call->q_offset + (int64_t)call->seq_q - window;
    if (!status) status = rotate_visible(state->rope, chain, call, visible, near_begin, all, bytes + q_bytes, &to->k);
    if (status || !window) return status;
    bytes += q_bytes + k_bytes;
    status = rsc_rerope_queries(&state->rerope, state->rope, chain, call, bytes, &to->far_q);
    if (status || !state->rerope.slow) return status;
    return rotate_visible(state->rerope.slow, chain, call, visible, 0, far_end, bytes + q_bytes, &to->far_k);
}

static int64_t length_of(rosace_interval x) { return x.end > x.begin ? x.end - x.begin : 0; }

/* The keys that some query of the call sees, by their places in the tensor: packed ones all, though some may be hidden. */
static rosace_mask_tile visible_to_all(const rosace_attention_desc *desc, const rsc_attention_call *call)
{
    rosace_mask_tile all = {.band = {0, (int64_t)call->seq_k}}, own;
    if (call->args->n_seqs) return all;
    if (!call->n_sequences) {
        rosace_mask_tile_intervals(&desc->mask, call->q_offset, (int64_t)call->seq_k, 0, (int64_t)call->seq_q, &all);
        return all;
    }
    all.band = (rosace_interval){INT64_MAX, 0};
    for (size_t i = 0; i < call->n_sequences; i++) {
        const rsc_sequence *s = &call->sequences[i];
        rosace_mask_tile_intervals(&desc->mask, s->q_offset, s->seq_k, 0, s->seq_q, &own);
        if (all.head.end < own.head.end) all.head.end = own.head.end;
        if (own.band.begin >= own.band.end) continue;
        if (all.band.begin > own.band.begin) all.band.begin = own.band.begin;
        if (all.band.end < own.band.end) all.band.end = own.band.end;
    }
    /* What both hold is rotated once. */
    if (all.band.begin < all.head.end) all.band.begin = all.head.end;
    return all;
}

/* The most keys that a sequence sees. */
static size_t most_keys(const rosace_attention_desc *desc, const rsc_attention_call *call)
{
    rosace_mask_tile own = visible_to_all(desc, call);
    if (!call->n_sequences) return (size_t)(length_of(own.head) + length_of(own.band));
    size_t most = 0;
    for (size_t i = 0; i < call->n_sequences; i++) {
        const rsc_sequence *s = &call->sequences[i];
        rosace_mask_tile_intervals(&desc->mask, s->q_offset, s->seq_k, 0, s->seq_q, &own);
        const size_t keys = (size_t)(length_of(own.head) + length_of(own.band));
        if (most < keys) most = keys;
    }
    return most;
}

static size_t sequences_of(const rsc_attention_call *call) { return call->n_sequences ? call->n_sequences : call->batch; }

/* How rows, heads and keys are divided. */
static void cut(const rosace_attention_plan *plan, const rsc_attention_call *call, const rosace_tensor *k,
                rsc_decode_kernel_args *packed)
{
    const decode_state *state = plan->state;
    const decode_shape *shape = &state->shape;
    const size_t group = plan->desc.n_heads / plan->desc.n_kv_heads, rows = group * call->longest_q;
    packed->row_tiles = (uint32_t)divide_up(rows, shape->max_rows);
    packed->rows = (uint32_t)divide_up(rows, packed->row_tiles);
    /* Heads side by side in memory share its pages and what is fetched ahead of a reader. */
    const bool side_by_side = k->stride[2] < k->stride[1];
    const size_t keys = most_keys(&plan->desc, call);
    /* Windows of their own would widen each other's. */
    const bool share = state->several_heads && side_by_side && rows < shape->max_rows && !plan->head_windows;
    packed->kv_heads = (uint32_t)plan->desc.n_kv_heads;
    packed->kv_tiles = (uint32_t)divide_up(plan->desc.n_kv_heads, share ? shape->max_rows / rows : 1);

    const size_t items = sequences_of(call) * packed->row_tiles * packed->kv_tiles;
    /* Where a head an item keeps every unit busy and time is not all in reading memory, one launch is less than two. Measured
     * with Intel's runtime, 4096 keys, 8:2 heads of 64: 76 us, with 4 splits 88. */
    const size_t units = rosace_context_device_info(plan->context)->compute_units;
    const bool launch_once = keys <= shape->launch_once && (items % (units ? units : 1) == 0 || items >= 4 * units);
    const size_t splits = launch_once ? 1 : least(keys / shape->min_keys, divide_up(wanted_items(plan), items));
    packed->splits = splits > 1 ? (uint32_t)splits : 1;
    packed->step = shape->step;
}

static rosace_status enqueue(rosace_attention_plan *plan, rsc_chain *chain, const rsc_attention_call *call)
{
    static const float log2_e = 1.44269504f;
    const decode_state *state = plan->state;
    const rosace_attention_desc *desc = &plan->desc;
    const rosace_attention_args *args = call->args;
    const rosace_mask_tile visible = visible_to_all(desc, call);
    cl_mem sequences = NULL;
    operands from = {.q = args->q, .k = args->k, .far_q = args->q, .far_k = args->k};
    size_t bytes = 0;
    rosace_status status = partial_bytes(plan, call->batch, call->seq_q, call->seq_k, &bytes);
    if (!status && state->rope) status = rotate(plan, chain, call, &visible, bytes, &from);
    size_t table = 0;
    rsc_bias_place biases = {args->bias_params, args->bias_params_offset};
    if (!status) status = bias_begin(plan, call->batch, call->seq_q, call->seq_k, &table);
    if (!status)
        status = rsc_bias_chain(&state->bias, chain, &desc->mask, call->q_offset, desc->n_heads, call->longest_q, call->longest_k, biases,
                                call->workspace, call->workspace_offset + table, &biases);
    if (status) return status;

    const float unit = desc->softcap > 0.0f ? 1.0f / desc->softcap : log2_e;
    const rosace_positions *positions = &call->q_positions;
    rsc_decode_kernel_args packed = {
        .q = rsc_attention_view_of(&from.q),
        .k = rsc_attention_view_of(&from.k),
        .v = rsc_attention_view_of(&args->v),
        .out = rsc_attention_view_of(&args->out),
        .mask = rsc_mask_pack(&desc->mask, call->q_offset, (int64_t)call->seq_k),
        .lse_offset = args->lse_offset,
        .bias_offset = biases.offset,
        .results_offset = call->workspace_offset / sizeof(cl_float),
        .ids_offset = (int64_t)positions->ids_offset,
        .ids_batch_stride = positions->batch_stride,
        .ids_seq_stride = positions->seq_stride,
        .position_first = positions->offset,
        .heads = (uint32_t)desc->n_heads,
        .group = (uint32_t)(desc->n_heads / desc->n_kv_heads),
        .seq_q = (uint32_t)call->seq_q,
        .lse_rows = (uint32_t)call->lse_rows,
        .has_lse = args->lse != NULL,
        .use_ids = desc->logn_train_len > 0 && positions->ids != NULL,
        .q_scale = desc->scale * unit,
        .bias_scale = unit,
        .cap_scale = desc->softcap * log2_e,
        .inverse_log_train = desc->logn_train_len > 0 ? (float)(1.0 / log((double)desc->logn_train_len)) : 0.0f,
    };
    cut(plan, call, &from.k, &packed);
    const size_t rows = call->batch * desc->n_heads * call->seq_q;
    packed.states_offset = packed.results_offset + rows * packed.splits * desc->head_dim;

    /* What is not wanted is never followed, but some drivers take no NULL. */
    const cl_mem lse = args->lse ? args->lse : args->out.mem;
    const cl_mem bias = rsc_bias_piece(desc->bias) ? biases.mem : from.q.mem;
    const cl_mem ids = packed.use_ids ? call->q_positions.ids : from.q.mem;
    const cl_mem partial = packed.splits > 1 ? call->workspace : args->out.mem;
    status = RSC_ARGS(state->kernel, plan->variant->name, RSC_ARG(from.q.mem), RSC_ARG(from.k.mem), RSC_ARG(args->v.mem),
                      RSC_ARG(args->out.mem), RSC_ARG(lse), RSC_ARG(bias), RSC_ARG(ids), RSC_ARG(partial), RSC_ARG(packed));
    if (!status && desc->cache) status = rsc_cache_set_args(state->kernel, 9, plan->variant->name, &call->cache, call->cache_table);
    const rsc_extras_desc wanted = rsc_attention_extras(desc);
    const rsc_extras extras = rsc_attention_extras_of(args);
    if (!status) status = rsc_extras_set(&wanted, &extras, state->kernel, plan->variant->name, desc->cache ? 11 : 9);
    if (!status && desc->rerope_window)
        status = rsc_rerope_set_args(plan, state->kernel, &state->rerope, &from.far_q, &from.far_k);
    if (!status && desc->bias == ROSACE_BIAS_SHAW) status = rsc_shaw_set_args(plan, state->kernel, args);
    if (!status && call->n_sequences) status = rsc_sequences_table(plan, call, 1, 1, 1, 0, &sequences);
    if (!status) status = rsc_attention_call_arguments(plan, state->kernel, sequences);
    if (status) goto end;
    const size_t groups = (size_t)packed.row_tiles * packed.kv_tiles * packed.splits * sequences_of(call);
    const size_t global = groups * state->items, local = state->items;
    status = rsc_chain_kernel(chain, state->kernel, 1, &global, &local, plan->variant->name);
    if (status || packed.splits == 1) goto end;

    status = RSC_ARGS(state->reduce, "decode_reduce", RSC_ARG(partial), RSC_ARG(args->out.mem), RSC_ARG(lse), RSC_ARG(packed));
    const size_t reduce_global = state->lanes * rows, reduce_local = state->lanes;
    if (!status) status = rsc_chain_kernel(chain, state->reduce, 1, &reduce_global, &reduce_local, "decode_reduce");
end:
    if (sequences) clReleaseMemObject(sequences);
    return status;
}

static bool accepts_cpu(const rosace_device_info *device, const rosace_attention_desc *desc, char *reason, size_t reason_bytes)
{
    (void)device;
    return rsc_attention_has_positions(desc, reason, reason_bytes);
}

static bool accepts_gpu(const rosace_device_info *device, const rosace_attention_desc *desc, char *reason, size_t reason_bytes)
{
    if (!find_gpu_tile(device, desc->head_dim, NULL)) {
        snprintf(reason, reason_bytes, "head_dim %zu: no tile fits work-groups of %zu and %llu bytes of local memory",
                 desc->head_dim, device->max_work_group_size, (unsigned long long)device->local_memory_bytes);
        return false;
    }
    return rsc_attention_has_positions(desc, reason, reason_bytes);
}

static bool suits_cpu(const rosace_device_info *device) { return device->device_class == ROSACE_DEVICE_CPU; }
static bool suits_gpu(const rosace_device_info *device) { return device->device_class != ROSACE_DEVICE_CPU; }

/* clang-format off */
const rsc_attention_variant rsc_attention_decode_variants[] = {
    {"decode_gpu", ROSACE_PATH_DECODE, accepts_gpu, create_gpu, destroy, workspace_bytes, enqueue, suits_gpu,
     gpu_tile_name},
    {"decode_cpu", ROSACE_PATH_DECODE, accepts_cpu, create_cpu, destroy, workspace_bytes, enqueue, suits_cpu,
     cpu_tile_name},
    {.name = NULL},
};
/* clang-format on */
