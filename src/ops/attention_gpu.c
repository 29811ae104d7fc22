/* SPDX-License-Identifier: MIT
 * Fused attention for devices whose work-groups share local memory (cl/attention_gpu.cl): tile sizes and rows. */
#include "attention_fused.h"

#include <stdio.h>

enum { ANY = 256 };

typedef struct gpu_tile {
    unsigned head_dim; /* at most */
    unsigned across, down, tile_q, tile_k, chunk;
} gpu_tile;

/* The first row whose work-group and local memory the device has. ROWS, KEYS and DIMS of the kernel give 16 accumulators for
 * scores and up to 64 for results, which is what a work-item's registers hold on the GPUs at hand. The larger groups read
 * keys and values half as often; the smaller take 64 work-items and less than 16 KiB, which OpenCL GPUs have. */
/* clang-format off */
static const gpu_tile gpu_tiles[] = {
    /* head_dim ACROSS DOWN TILE_Q TILE_K CHUNK      local memory */
    {       64,     8,  16,    64,    32,   16},  /* 29 KiB       */
    {       64,     8,   8,    32,    32,   16},  /* 15.5 KiB     */
    {      128,     8,  16,    32,    32,   32},  /* 25.5 KiB     */
    {      128,     8,   8,    16,    32,   32},  /* 14.9 KiB     */
    {      ANY,     8,   8,     8,    32,   32},  /* 13.5 KiB     */
    {        0,     0,   0,     0,     0,    0},
};
/* clang-format on */

static size_t gpu_tile_bytes(const gpu_tile *t, size_t head_dim)
{
    return sizeof(float) * (t->tile_q * (head_dim + 1) + t->tile_k * (t->chunk + 1) + t->tile_q * (t->tile_k + 1) +
                            t->tile_q * (t->across + 1));
}

/* NULL when none fits. */
static const gpu_tile *find_gpu_tile(const rosace_device_info *device, size_t head_dim)
{
    for (const gpu_tile *tile = gpu_tiles; tile->head_dim; tile++)
        if (head_dim <= tile->head_dim && tile->across * tile->down <= device->max_work_group_size &&
            gpu_tile_bytes(tile, head_dim) <= device->local_memory_bytes)
            return tile;
    return NULL;
}

static rosace_status create_gpu(rosace_attention_plan *plan)
{
    const rosace_attention_desc *desc = &plan->desc;
    const gpu_tile *tile = find_gpu_tile(rosace_context_device_info(plan->context), desc->head_dim);
    rsc_fused_state *state = plan->state = rsc_calloc(plan->context, 1, sizeof *state);
    if (!state) return rsc_fail(ROSACE_OUT_OF_MEMORY, "attention plan: no host memory");
    state->queries = tile->tile_q;
    state->items = tile->across * tile->down;
    state->per_item = 1;
    state->flat = true;
    unsigned chunk = tile->chunk; /* halved until it divides head_dim; 8 always does */
    while (desc->head_dim % chunk) chunk /= 2;
    rsc_options options = {.count = 0};
    rsc_option_int(&options, "ACROSS", tile->across);
    rsc_option_int(&options, "DOWN", tile->down);
    rsc_option_int(&options, "TILE_Q", tile->tile_q);
    rsc_option_int(&options, "TILE_K", tile->tile_k);
    rsc_option_int(&options, "CHUNK", chunk);
    snprintf(plan->variant_name, sizeof plan->variant_name, "attention_gpu_%s_d%zu_q%uk%u",
             desc->dtype == ROSACE_F16 ? "f16" : "f32", desc->head_dim, state->queries, tile->tile_k);
    return rsc_fused_build(plan, state, "attention_gpu.cl", "attention_gpu", &options);
}

static bool accepts_gpu(const rosace_device_info *device, const rosace_attention_desc *desc, char *reason, size_t reason_bytes)
{
    if (!find_gpu_tile(device, desc->head_dim)) {
        snprintf(reason, reason_bytes, "head_dim %zu: no tile fits work-groups of %zu and %llu bytes of local memory",
                 desc->head_dim, device->max_work_group_size, (unsigned long long)device->local_memory_bytes);
        return false;
    }
    return rsc_fused_accepts(desc, reason, reason_bytes);
}

static bool suits_gpu(const rosace_device_info *device) { return device->device_class != ROSACE_DEVICE_CPU; }

/* clang-format off */
const rsc_attention_variant rsc_attention_gpu_variants[] = {
    {"attention_gpu", ROSACE_PATH_FUSED, accepts_gpu, create_gpu, rsc_fused_destroy, rsc_fused_workspace_bytes, rsc_fused_enqueue,
     suits_gpu},
    {.name = NULL},
};
/* clang-format on */
