/* SPDX-License-Identifier: MIT
 * Fused attention for devices whose work-groups share local memory (cl/attention_gpu.cl): tile sizes and rows. */
#include "attention_fused.h"

#include <stdio.h>
#include <string.h>

enum { ANY = 256 };

typedef struct gpu_tile {
    const char *name;  /* unique: w<ACROSS>x<DOWN>q<TILE_Q>k<TILE_K>c<CHUNK> */
    unsigned head_dim; /* at most */
    unsigned across, down, tile_q, tile_k, chunk;
} gpu_tile;

/* The first row whose work-group and local memory the device has. ROWS, KEYS and DIMS of the kernel give 16 accumulators for
 * scores and up to 64 for results, which is what a work-item's registers hold on the GPUs at hand. The larger groups read
 * keys and values half as often; the smaller take 64 work-items and less than 16 KiB, which OpenCL GPUs have. */
/* clang-format off */
static const gpu_tile gpu_tiles[] = {
    /* name           head_dim ACROSS DOWN TILE_Q TILE_K CHUNK      local memory */
    {"w8x16q64k32c16",      64,     8,  16,    64,    32,   16},  /* 29 KiB       */
    {"w8x8q32k32c16",       64,     8,   8,    32,    32,   16},  /* 15.5 KiB     */
    {"w8x16q32k32c32",     128,     8,  16,    32,    32,   32},  /* 25.5 KiB     */
    {"w8x8q16k32c32",      128,     8,   8,    16,    32,   32},  /* 14.9 KiB     */
    {"w8x8q8k32c32",       ANY,     8,   8,     8,    32,   32},  /* 13.5 KiB     */
};
enum { N_TILES = sizeof gpu_tiles / sizeof gpu_tiles[0] };
/* clang-format on */

static size_t gpu_tile_bytes(const gpu_tile *t, size_t head_dim)
{
    return sizeof(float) * (t->tile_q * (head_dim + 1) + t->tile_k * (t->chunk + 1) + t->tile_q * (t->tile_k + 1) +
                            t->tile_q * (t->across + 1));
}

/* The index-th row that fits, NULL behind the last. */
static const gpu_tile *gpu_tile_at(const rosace_device_info *device, size_t head_dim, size_t index)
{
    for (size_t i = 0; i < N_TILES; i++) {
        const gpu_tile *tile = &gpu_tiles[i];
        if (head_dim <= tile->head_dim && tile->across * tile->down <= device->max_work_group_size &&
            gpu_tile_bytes(tile, head_dim) <= device->local_memory_bytes && index-- == 0)
            return tile;
    }
    return NULL;
}

/* The row of this name (NULL: any), or the first that fits; NULL when none does. */
static const gpu_tile *find_gpu_tile(const rosace_device_info *device, size_t head_dim, const char *name)
{
    const gpu_tile *tile = gpu_tile_at(device, head_dim, 0);
    for (size_t i = 1; tile && name && strcmp(tile->name, name) != 0; i++) tile = gpu_tile_at(device, head_dim, i);
    return tile;
}

static const char *gpu_tile_name(const rosace_device_info *device, const rosace_attention_desc *desc, size_t index)
{
    const gpu_tile *tile = gpu_tile_at(device, desc->head_dim, index);
    return tile ? tile->name : NULL;
}

static rosace_status create_gpu(rosace_attention_plan *plan)
{
    const rosace_attention_desc *desc = &plan->desc;
    const gpu_tile *tile = find_gpu_tile(rosace_context_device_info(plan->context), desc->head_dim, plan->tile);
    plan->tile = tile->name;
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
    snprintf(plan->variant_name, sizeof plan->variant_name, "attention_gpu_%s_d%zu_%s",
             desc->dtype == ROSACE_F16 ? "f16" : "f32", desc->head_dim, tile->name);
    return rsc_fused_build(plan, state, "attention_gpu.cl", "attention_gpu", &options);
}

static bool accepts_gpu(const rosace_device_info *device, const rosace_attention_desc *desc, char *reason, size_t reason_bytes)
{
    if (!find_gpu_tile(device, desc->head_dim, NULL)) {
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
     suits_gpu, gpu_tile_name},
    {.name = NULL},
};
/* clang-format on */
