/* SPDX-License-Identifier: MIT
 * Attention in one kernel with an online softmax: two shapes of it, one that owns wide vectors (cl/attention_cpu.cl) and one
 * whose work-groups share tiles in local memory (cl/attention_gpu.cl). Both visit the same keys and take the same argument,
 * so that all but the choice of tiles is shared here. Rows of the first shape are at the end, those of the second in
 * attention_gpu.c. */
#include "attention_fused.h"
#include "attention_sequences.h"

#include "../check.h"
#include "../device.h"
#include "../mask.h"
#include "shared/attention_args.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ANY = 256 };

/* ---- Tile sizes, most specific first ----------------------------------------------------------------------------- */

typedef struct cpu_tile {
    const char *name;    /* unique: v<VEC>x<VECS>t<TILES>k<TILE_K> */
    unsigned min_vector; /* the device's float_vector_width is at least this */
    unsigned head_dim;   /* at most */
    unsigned vec, vecs, tiles, tile_k, keys, dims;
} cpu_tile;

/* Measured with PoCL 3.1 on two cores of a Sapphire Rapids Xeon, fp32, 8 heads outside the sequence, share of the FMA peak
 * of the same run, causal N=4096 and a window of 256 keys at N=16384, D=64; then causal, D=128:
 *     4 tiles share what is copied of keys and values             73 %   51 %   73 %
 *     the same, what is copied aligned and by whole vectors       74 %   57 %   76 %
 *     8 tiles, what comes next and where results go prefetched    77 %   60 %   81 %
 * TILE_K of 32 loses 1 to 3 %, blocks of 12 or 14 keys and of 6 keys by 4 vectors are within 1 %. The rows for vectors of 8
 * and 4 follow from their 16 registers. */
/* clang-format off */
static const cpu_tile cpu_tiles[] = {
    /* name           vector  head_dim  VEC VECS TILES TILE_K KEYS DIMS */
    {"v16x2t8k64",      16,      128,  16,   2,    8,    64,   8,   8}, /* 32 registers: 16 accumulators, 2 operands, 1 broadcast */
    {"v16x2t4k64",      16,      128,  16,   2,    4,    64,   8,   8},
    {"v16x2t2k32",      16,      ANY,  16,   2,    2,    32,   8,   8}, /* what is private stays below 384 KiB */
    {"v8x2t8k64",        8,      128,   8,   2,    8,    64,   4,   4}, /* 16 registers: 8 accumulators */
    {"v8x2t2k32",        8,      ANY,   8,   2,    2,    32,   4,   4},
    {"v4x2t4k64",        0,      ANY,   4,   2,    4,    64,   4,   4},
};
/* clang-format on */

enum { N_CPU_TILES = sizeof cpu_tiles / sizeof cpu_tiles[0] };

static bool cpu_tile_fits(const cpu_tile *tile, const rosace_device_info *device, size_t head_dim)
{
    return device->float_vector_width >= tile->min_vector && head_dim <= tile->head_dim;
}

/* The row of this name (NULL: any), or the first that fits; the last row fits everything. */
static const cpu_tile *find_cpu_tile(const rosace_device_info *device, size_t head_dim, const char *name)
{
    const cpu_tile *tile = cpu_tiles;
    while (!cpu_tile_fits(tile, device, head_dim) || (name && strcmp(tile->name, name) != 0)) tile++;
    return tile;
}

static const char *cpu_tile_name(const rosace_device_info *device, const rosace_attention_desc *desc, size_t index)
{
    for (size_t i = 0; i < N_CPU_TILES; i++)
        if (cpu_tile_fits(&cpu_tiles[i], device, desc->head_dim) && index-- == 0) return cpu_tiles[i].name;
    return NULL;
}

/* ---- The plan's state -------------------------------------------------------------------------------------------- */

void rsc_fused_destroy(rosace_attention_plan *plan)
{
    rsc_fused_state *state = plan->state;
    if (!state) return;
    if (state->kernel) clReleaseKernel(state->kernel);
    rosace_rope_plan_destroy(&state->rope);
    rsc_bias_destroy(&state->bias);
    rsc_rerope_destroy(&state->rerope);
    rsc_free(plan->context, state);
    plan->state = NULL;
}

rosace_status rsc_fused_build(rosace_attention_plan *plan, rsc_fused_state *state, const char *piece, const char *kernel,
                              rsc_options *options)
{
    const rosace_attention_desc *desc = &plan->desc;
    rsc_option_int(options, "HEAD_DIM", (long)desc->head_dim);
    rsc_option_int(options, "DTYPE", (long)desc->dtype);
    rsc_option_int(options, "SOFTCAP", desc->softcap > 0.0f);
    rsc_option_int(options, "LOGN", desc->logn_train_len > 0);
    const rsc_extras_desc extras = rsc_attention_extras(desc);
    rsc_extras_options(&extras, options);
    rsc_attention_call_options(plan, options);
    rsc_option_int(options, "KV_CACHE", desc->cache);
    if (desc->rerope_window) rsc_option_int(options, "REROPE", 1);
    if (desc->bias == ROSACE_BIAS_SHAW) rsc_option_int(options, "SHAW", 1);
    const rsc_bias_desc bias = rsc_attention_bias(desc);
    const char *pieces[3];
    rsc_bias_pieces(desc->bias, piece, pieces);
    rosace_status status = rsc_kernel_create(plan->context, pieces, kernel, options, &state->kernel);
    if (!status) status = rsc_bias_create(plan->context, &bias, &state->bias);
    if (!status && desc->rope) status = rosace_rope_plan_create(plan->context, desc->rope, &state->rope);
    if (!status) status = rsc_rerope_create(plan->context, desc, &state->rerope);
    return status;
}

static rosace_status create_cpu(rosace_attention_plan *plan)
{
    const rosace_attention_desc *desc = &plan->desc;
    const cpu_tile *tile = find_cpu_tile(rosace_context_device_info(plan->context), desc->head_dim, plan->tile);
    plan->tile = tile->name;
    rsc_fused_state *state = plan->state = rsc_calloc(plan->context, 1, sizeof *state);
    if (!state) return rsc_fail(ROSACE_OUT_OF_MEMORY, "attention plan: no host memory");
    state->queries = tile->vec * tile->vecs;
    state->items = 1;
    const bool shaw = desc->bias == ROSACE_BIAS_SHAW, rerope = desc->rerope_window > 0;
    state->per_item = shaw || rerope ? (tile->tiles + 1) / 2 : tile->tiles; /* tiles of twice the size */
    /* Where values are not finite the sums are taken element by element, so a tile takes up to HEAD_DIM a key for those. */
    const unsigned dim = (unsigned)desc->head_dim;
    state->turns_of_tile = (shaw || rerope ? 2 : 1) * (dim / tile->keys) + dim + (shaw ? 40 : 2);
    state->turns_of_item = (rerope ? 3 : 2) * ((dim + tile->vec - 1) / tile->vec + 1);
    state->turns_to_begin = (shaw || rerope ? 12 : 8) * dim + 300;
    rsc_options options = {.count = 0};
    rsc_option_int(&options, "VEC", tile->vec);
    rsc_option_int(&options, "VECS", tile->vecs);
    rsc_option_int(&options, "TILES", state->per_item);
    rsc_option_int(&options, "TILE_K", tile->tile_k);
    rsc_option_int(&options, "KEYS", tile->keys);
    rsc_option_int(&options, "DIMS", tile->dims);
    snprintf(plan->variant_name, sizeof plan->variant_name, "attention_cpu_%s_d%zu_%s",
             rosace_dtype_name(desc->dtype), desc->head_dim, tile->name);
    return rsc_fused_build(plan, state, "attention_cpu.cl", "attention_cpu", &options);
}

/* ---- Workspace: rotated copies of q and k, then a table of biases -------------------------------------------------- */

rosace_status rsc_fused_workspace_bytes(const rosace_attention_plan *plan, size_t batch, size_t seq_q, size_t seq_k,
                                        size_t *bytes)
{
    const rsc_fused_state *state = plan->state;
    *bytes = 0;
    const rosace_status status = rsc_attention_add_rotated(plan, batch, seq_q, seq_k, bytes);
    return status ? status : rsc_attention_add_biases(plan, &state->bias, batch, seq_q, seq_k, bytes);
}

/* q and k as scores take them, within ReRoPE's window and beyond. */
typedef struct operands {
    rosace_tensor q, k, far_q, far_k;
} operands;

/* Puts q and k, rotated, into the workspace and says where they are. */
static rosace_status rotate(rosace_attention_plan *plan, rsc_chain *chain, const rsc_attention_call *call, operands *to)
{
    const rsc_fused_state *state = plan->state;
    const rosace_attention_desc *desc = &plan->desc;
    size_t q_bytes = 0;
    rosace_status status = rsc_attention_rotated_bytes(plan, call->batch, call->seq_q, desc->n_heads, &q_bytes);
    if (status) return status;
    size_t k_bytes = 0;
    status = rsc_attention_rotated_bytes(plan, call->batch, call->seq_k, desc->n_kv_heads, &k_bytes);
    if (status) return status;
    status = rsc_attention_rotate(state->rope, chain, call, &call->args->q, &call->q_positions, 0, &to->q);
    if (status) return status;
    status = rsc_attention_rotate(state->rope, chain, call, &call->args->k, &call->k_positions, q_bytes, &to->k);
    if (status || !desc->rerope_window) return status;
    status = rsc_rerope_queries(&state->rerope, state->rope, chain, call, q_bytes + k_bytes, &to->far_q);
    if (status || !state->rerope.slow) return status;
    return rsc_attention_rotate(state->rerope.slow, chain, call, &call->args->k, &call->k_positions, 2 * q_bytes + k_bytes,
                                &to->far_k);
}

/* ---- A call ------------------------------------------------------------------------------------------------------ */

/* Whether every row starts at a multiple of 8 elements; buffers themselves start at one of 128 bytes (OpenCL 1.2, table 4.3,
 * CL_DEVICE_MEM_BASE_ADDR_ALIGN), but for a caller's memory that a CPU's driver uses as it is: rows for CPUs do not ask. */
static bool is_aligned(const rosace_tensor *t)
{
    return t->offset % 8 == 0 && t->stride[0] % 8 == 0 && t->stride[1] % 8 == 0 && t->stride[2] % 8 == 0;
}

/* The most keys that a tile of a sequence visits. */
static uint64_t most_keys(const rosace_attention_plan *plan, const rsc_sequence *s)
{
    const rsc_fused_state *state = plan->state;
    uint64_t most = 0;
    for (int64_t m = 0; m < s->seq_q; m += state->queries) {
        rosace_mask_tile tile;
        const int64_t end = m + state->queries < s->seq_q ? m + state->queries : s->seq_q;
        rosace_mask_tile_intervals(&plan->desc.mask, s->q_offset, s->seq_k, m, end, &tile);
        const uint64_t keys = (uint64_t)(tile.head.end - tile.head.begin + tile.band.end - tile.band.begin);
        if (most < keys) most = keys;
    }
    return most;
}

/* How many tiles an item may take on a device that ends loops: at most *per_item. */
static rosace_status limit_loops(const rosace_attention_plan *plan, const rsc_attention_call *call, size_t *per_item)
{
    const rsc_fused_state *state = plan->state;
    const rosace_device_info *device = rosace_context_device_info(plan->context);
    if (!rsc_device_ends_loops(device)) return ROSACE_OK;
    uint64_t most = 0; /* keys that a tile visits */
    const rsc_sequence whole = {.seq_q = (int32_t)call->seq_q, .seq_k = (int32_t)call->seq_k, .q_offset = (int32_t)call->q_offset};
    for (size_t i = 0; i < (call->n_sequences ? call->n_sequences : 1); i++) {
        const uint64_t keys = most_keys(plan, call->n_sequences ? &call->sequences[i] : &whole);
        if (most < keys) most = keys;
    }
    const uint64_t of_tile = most * state->turns_of_tile + state->turns_to_begin;
    for (size_t n = *per_item;; n--) {
        /* Neighbours see at most a tile's rows more each. */
        const uint64_t turns = n * of_tile + (most + (n - 1) * state->queries) * state->turns_of_item;
        if (n > 1 && turns > RSC_LOOP_TURNS) continue;
        *per_item = n;
        return rsc_check_loops(device, plan->variant->name, turns);
    }
}

static rsc_attention_kernel_args pack(const rosace_attention_plan *plan, const rsc_attention_call *call,
                                      const operands *from, size_t bias_offset, size_t per_item)
{
    const rosace_tensor *q = &from->q, *k = &from->k;
    static const float log2_e = 1.44269504f;
    const rosace_attention_desc *desc = &plan->desc;
    const rosace_attention_args *args = call->args;
    const rsc_fused_state *state = plan->state;
    const float unit = desc->softcap > 0.0f ? 1.0f / desc->softcap : log2_e;
    const rosace_positions *positions = &call->q_positions;
    const size_t tiles = (call->seq_q + state->queries - 1) / state->queries;
    return (rsc_attention_kernel_args){
        .q = rsc_attention_view_of(q),
        .k = rsc_attention_view_of(k),
        .v = rsc_attention_view_of(&args->v),
        .out = rsc_attention_view_of(&args->out),
        .mask = rsc_mask_pack(&desc->mask, call->q_offset, (int64_t)call->seq_k),
        .lse_offset = args->lse_offset,
        .bias_offset = bias_offset,
        .ids_offset = (int64_t)positions->ids_offset,
        .ids_batch_stride = positions->batch_stride,
        .ids_seq_stride = positions->seq_stride,
        .position_first = positions->offset,
        .heads = (uint32_t)desc->n_heads,
        .group = (uint32_t)(desc->n_heads / desc->n_kv_heads),
        .seq_q = (uint32_t)call->seq_q,
        .lse_rows = (uint32_t)call->lse_rows,
        .tiles = (uint32_t)tiles,
        .per_item = (uint32_t)per_item,
        .near_heads = k->stride[2] < k->stride[1] ? (uint32_t)desc->n_kv_heads : 1,
        .has_lse = args->lse != NULL,
        .aligned = is_aligned(q) && is_aligned(k) && is_aligned(&from->far_k) && is_aligned(&args->v) && is_aligned(&args->out),
        .use_ids = desc->logn_train_len > 0 && positions->ids != NULL,
        .q_scale = desc->scale * unit,
        .bias_scale = unit,
        .cap_scale = desc->softcap * log2_e,
        .inverse_log_train = desc->logn_train_len > 0 ? (float)(1.0 / log((double)desc->logn_train_len)) : 0.0f,
    };
}

/* Fewer tiles an item where more would leave compute units idle. */
static size_t tiles_per_item(const rosace_attention_plan *plan, const rsc_attention_call *call)
{
    const rsc_fused_state *state = plan->state;
    size_t tiles = (call->seq_q + state->queries - 1) / state->queries * call->batch;
    if (call->n_sequences) tiles = 0;
    for (size_t i = 0; i < call->n_sequences; i++)
        tiles += ((size_t)call->sequences[i].seq_q + state->queries - 1) / state->queries;
    const size_t wanted = (size_t)4 * rosace_context_device_info(plan->context)->compute_units;
    const size_t most = tiles * plan->desc.n_heads / wanted;
    return most < 1 ? 1 : most < state->per_item ? most : state->per_item;
}

rosace_status rsc_fused_enqueue(rosace_attention_plan *plan, rsc_chain *chain, const rsc_attention_call *call)
{
    const rsc_fused_state *state = plan->state;
    const rosace_attention_args *args = call->args;
    operands from = {.q = args->q, .k = args->k, .far_q = args->q, .far_k = args->k};
    size_t per_item = tiles_per_item(plan, call);
    rosace_status status = limit_loops(plan, call, &per_item);
    if (!status && state->rope) status = rotate(plan, chain, call, &from);
    size_t table = 0;
    rsc_bias_place bias = {args->bias_params, args->bias_params_offset};
    if (!status) status = rsc_attention_add_rotated(plan, call->batch, call->seq_q, call->seq_k, &table);
    if (!status)
        status = rsc_bias_chain(&state->bias, chain, &plan->desc.mask, call->q_offset, plan->desc.n_heads, call->longest_q,
                                call->longest_k, bias, call->workspace, call->workspace_offset + table, &bias);
    if (status) return status;
    rsc_attention_kernel_args packed = pack(plan, call, &from, bias.offset, per_item);
    const size_t heads_of_slot = state->flat ? 1 : packed.group; /* whose tiles are numbered together */
    size_t slots = 0;
    cl_mem sequences = NULL;
    if (call->n_sequences) {
        status = rsc_sequences_slots(call, state->queries, heads_of_slot, per_item, &slots);
        if (!status) status = rsc_sequences_table(plan, call, state->queries, heads_of_slot, per_item, slots, &sequences);
        if (status) goto end;
        packed.tiles = (uint32_t)slots;
    }
    /* What is not wanted is never followed, but some drivers take no NULL. */
    const cl_mem lse = args->lse ? args->lse : args->out.mem;
    const cl_mem params = rsc_bias_piece(plan->desc.bias) ? bias.mem : from.q.mem;
    const cl_mem ids = packed.use_ids ? call->q_positions.ids : from.q.mem;
    status = RSC_ARGS(state->kernel, plan->variant->name, RSC_ARG(from.q.mem), RSC_ARG(from.k.mem), RSC_ARG(args->v.mem),
                      RSC_ARG(args->out.mem), RSC_ARG(lse), RSC_ARG(params), RSC_ARG(ids), RSC_ARG(packed));
    if (!status && plan->desc.cache)
        status = rsc_cache_set_args(state->kernel, 8, plan->variant->name, &call->cache, call->cache_table);
    const rsc_extras_desc wanted = rsc_attention_extras(&plan->desc);
    const rsc_extras extras = rsc_attention_extras_of(args);
    if (!status) status = rsc_extras_set(&wanted, &extras, state->kernel, plan->variant->name, plan->desc.cache ? 10 : 8);
    if (!status) status = rsc_attention_call_arguments(plan, state->kernel, sequences);
    if (!status && plan->desc.rerope_window)
        status = rsc_rerope_set_args(plan, state->kernel, &state->rerope, &from.far_q, &from.far_k);
    if (!status && plan->desc.bias == ROSACE_BIAS_SHAW) status = rsc_shaw_set_args(plan, state->kernel, args);
    if (status) goto end;
    size_t groups = ((size_t)packed.tiles * packed.group + packed.per_item - 1) / packed.per_item, items = 0;
    if (sequences) groups = slots * packed.group / heads_of_slot;
    const size_t batches = sequences ? 1 : call->batch, batch = state->flat ? batches : 1;
    if (!rsc_mul(groups, plan->desc.n_kv_heads, &groups) || !rsc_mul(groups, batch, &groups) || groups > INT32_MAX ||
        !rsc_mul(groups, state->items, &items)) {
        status = rsc_fail(ROSACE_UNSUPPORTED, "batch %zu, %zu heads, seq_q %zu: more tiles than a launch takes", call->batch,
                          plan->desc.n_heads, call->seq_q);
        goto end;
    }
    const size_t global[3] = {items, 1, batches / batch}, local[3] = {state->items, 1, 1};
    status = rsc_chain_kernel(chain, state->kernel, 3, global, local, plan->variant->name);
end:
    if (sequences) clReleaseMemObject(sequences);
    return status;
}

static bool accepts_cpu(const rosace_device_info *device, const rosace_attention_desc *desc, char *reason, size_t reason_bytes)
{
    (void)device;
    return rsc_attention_has_positions(desc, reason, reason_bytes);
}

/* On a GPU that no tile of local memory fits, products are better than private vectors. */
static bool suits_cpu(const rosace_device_info *device) { return device->device_class == ROSACE_DEVICE_CPU; }

/* clang-format off */
const rsc_attention_variant rsc_attention_fused_variants[] = {
    {"attention_cpu", ROSACE_PATH_FUSED, accepts_cpu, create_cpu, rsc_fused_destroy, rsc_fused_workspace_bytes, rsc_fused_enqueue,
     suits_cpu, cpu_tile_name},
    {.name = NULL},
};
/* clang-format on */
