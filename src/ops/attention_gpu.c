/* SPDX-License-Identifier: MIT
 * Fused attention for devices whose work-groups share local memory (cl/attention_gpu.cl): tile sizes and rows. */
#include "attention_fused.h"

#include <stdio.h>
#include <string.h>

enum { ANY = 256 };

typedef struct gpu_tile {
    const char *name;       /* unique: w<ACROSS>x<DOWN>q<TILE_Q>k<TILE_K>c<CHUNK>v<VALUES> */
    unsigned head_dim;      /* at most */
    unsigned memory;        /* KiB of local memory that the device has at least */
    bool narrow;            /* for hardware threads of Intel's that run 8 or 16 work-items of 128 registers */
    unsigned across, down, tile_q, tile_k, chunk, values;
} gpu_tile;

/* The first row whose work-group and local memory the device has. ROWS * KEYS and ROWS * DIM / ACROSS of the kernel are
 * accumulators in registers, 20 to 36 in the narrow rows, 48 to 80 in the others: tests/offline/table.txt says what compilers
 * make of them. The larger groups read keys and values half as often; the last row of each head_dim takes 64 work-items and less than
 * 16 KiB, which every OpenCL GPU has. */
/* clang-format off */
static const gpu_tile gpu_tiles[] = {
    /* name               head_dim KiB narrow ACROSS DOWN TILE_Q TILE_K CHUNK VALUES   local memory, D the largest */
    {"w8x16q32k32c32v16",       64,  32, true,     8,  16,    32,    32,   32,   16},  /* 19.6 KiB */
    {"w8x16q16k16c32v8",       128,  32, true,     8,  16,    16,    16,   32,    8},  /* 14.6 KiB */
    {"w8x16q16k32c16v4",       ANY,  32, true,     8,  16,    16,    32,   16,    4},  /* 23.3 KiB */
    {"w8x16q64k32c32v16",       64,  48, false,    8,  16,    64,    32,   32,   16},  /* 33.8 KiB */
    {"w8x16q64k32c16v8",        64,  32, false,    8,  16,    64,    32,   16,    8},  /* 31.8 KiB */
    {"w8x8q32k16c16v8",         64,  16, false,    8,   8,    32,    16,   16,    8},  /* 14.6 KiB */
    {"w8x32q64k32c32v8",       128,  96, false,    8,  32,    64,    32,   32,    8},  /* 49.8 KiB */
    {"w8x16q32k32c32v8",       128,  32, false,    8,  16,    32,    32,   32,    8},  /* 27.1 KiB */
    {"w8x8q16k32c16v8",        128,  16, false,    8,   8,    16,    32,   16,    8},  /* 15.3 KiB */
    {"w8x16q32k32c32v4",       ANY,  48, false,    8,  16,    32,    32,   32,    4},  /* 43.1 KiB */
    {"w8x16q16k32c32v4",       ANY,  32, false,    8,  16,    16,    32,   32,    4},  /* 23.8 KiB */
    {"w8x8q8k32c32v4",         ANY,  16, false,    8,   8,     8,    32,   32,    4},  /* 14.2 KiB */
};
enum { N_TILES = sizeof gpu_tiles / sizeof gpu_tiles[0] };
/* clang-format on */

/* What the kernel declares. */
static size_t gpu_tile_bytes(const gpu_tile *t, size_t head_dim)
{
    const size_t width = 4 * t->across, dim = (head_dim + width - 1) / width * width;
    const size_t keys = t->tile_k * (t->chunk + 4), values = t->values * dim;
    return sizeof(float) * (t->tile_q * (head_dim + 4) + (keys > values ? keys : values) + t->tile_q * (t->tile_k + 4) +
                            t->tile_q * 4 + t->tile_q + t->tile_q * (t->across + 1));
}

/* The index-th row that fits, NULL behind the last. */
static const gpu_tile *gpu_tile_at(const rosace_device_info *device, size_t head_dim, size_t index)
{
    for (size_t i = 0; i < N_TILES; i++) {
        const gpu_tile *tile = &gpu_tiles[i];
        if (tile->narrow == device->has_intel_subgroups && head_dim <= tile->head_dim &&
            tile->memory <= device->local_memory_bytes >> 10 &&
            tile->across * tile->down <= device->max_work_group_size &&
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

/* How lanes of a subgroup exchange values here: LANE_XOR of cl/lib/lane_xor.clh. */
typedef enum lane_way { LANES_NONE = 0, LANES_INTEL, LANES_PTX, LANES_GCN } lane_way;

/* Of the subgroup sizes Intel's drivers report, the one at which a work-item has 128 registers: compilers left alone take a
 * wider one and spill. 0 where none is reported. */
static unsigned intel_lanes(const rosace_device_info *device)
{
    for (unsigned i = 0; device->has_intel_subgroups && i < device->n_sub_group_sizes; i++)
        if (device->sub_group_sizes[i] == 8 || device->sub_group_sizes[i] == 16) return device->sub_group_sizes[i];
    return 0;
}

static lane_way lane_way_of(const rosace_device_info *device)
{
    if (intel_lanes(device)) return LANES_INTEL;
    if (device->has_nvidia_ptx) return LANES_PTX;
    if (device->has_amd_gcn) return LANES_GCN;
    return LANES_NONE;
}

static rosace_status create(rosace_attention_plan *plan, lane_way lanes)
{
    const rosace_attention_desc *desc = &plan->desc;
    const gpu_tile *tile = find_gpu_tile(rosace_context_device_info(plan->context), desc->head_dim, plan->tile);
    if (!tile) return rsc_fail(ROSACE_UNSUPPORTED, "%s: no tile fits head_dim %zu here", plan->variant->name, desc->head_dim);
    plan->tile = tile->name;
    rsc_fused_state *state = plan->state = rsc_calloc(plan->context, 1, sizeof *state);
    if (!state) return rsc_fail(ROSACE_OUT_OF_MEMORY, "attention plan: no host memory");
    state->queries = tile->tile_q;
    state->items = tile->across * tile->down;
    state->per_item = 1;
    state->turns_of_tile = (unsigned)desc->head_dim / 8 + 4;
    state->flat = true;
    unsigned chunk = tile->chunk; /* halved until it divides head_dim; 8 always does */
    while (desc->head_dim % chunk) chunk /= 2;
    rsc_options options = {.count = 0};
    rsc_option_int(&options, "ACROSS", tile->across);
    rsc_option_int(&options, "DOWN", tile->down);
    rsc_option_int(&options, "TILE_Q", tile->tile_q);
    rsc_option_int(&options, "TILE_K", tile->tile_k);
    rsc_option_int(&options, "CHUNK", chunk);
    rsc_option_int(&options, "VALUES", tile->values);
    rsc_option_int(&options, "LANE_XOR", lanes);
    const unsigned sub_group = intel_lanes(rosace_context_device_info(plan->context));
    if (sub_group) rsc_option_int(&options, "SUB_GROUP", sub_group);
    snprintf(plan->variant_name, sizeof plan->variant_name, "%s_%s_d%zu_%s", plan->variant->name,
             rosace_dtype_name(desc->dtype), desc->head_dim, tile->name);
    rosace_status status = rsc_fused_build(plan, state, "attention_gpu.cl", "attention_gpu", &options);
    /* Only a hint: some drivers say 32 and run 64. */
    if (!status && rsc_kernel_work_group_size(plan->context, state->kernel) < state->items) plan->trial = RSC_TRIAL_RUN;
    if (!status && lanes != LANES_NONE) plan->trial = RSC_TRIAL_COMPARE;
    return status;
}

static rosace_status create_gpu(rosace_attention_plan *plan) { return create(plan, LANES_NONE); }
static rosace_status create_lanes(rosace_attention_plan *plan)
{
    return create(plan, lane_way_of(rosace_context_device_info(plan->context)));
}

static bool accepts_gpu(const rosace_device_info *device, const rosace_attention_desc *desc, char *reason, size_t reason_bytes)
{
    if (!find_gpu_tile(device, desc->head_dim, NULL)) {
        snprintf(reason, reason_bytes, "head_dim %zu: no tile fits work-groups of %zu and %llu bytes of local memory",
                 desc->head_dim, device->max_work_group_size, (unsigned long long)device->local_memory_bytes);
        return false;
    }
    if (desc->bias == ROSACE_BIAS_SHAW && device->has_intel_subgroups && device->device_class != ROSACE_DEVICE_CPU) {
        snprintf(reason, reason_bytes, "ROSACE_BIAS_SHAW: more registers than work-items of Intel's GPUs have, path gemm has it");
        return false;
    }
    return rsc_attention_has_positions(desc, reason, reason_bytes);
}

static bool accepts_lanes(const rosace_device_info *device, const rosace_attention_desc *desc, char *reason,
                          size_t reason_bytes)
{
    if (lane_way_of(device) == LANES_NONE) {
        snprintf(reason, reason_bytes, "no exchange between lanes: neither cl_intel_subgroups of 8 or 16 lanes nor "
                 "NVIDIA's or AMD's compiler");
        return false;
    }
    return accepts_gpu(device, desc, reason, reason_bytes);
}

static bool suits_gpu(const rosace_device_info *device) { return device->device_class != ROSACE_DEVICE_CPU; }

/* clang-format off */
#define FUSED rsc_fused_destroy, rsc_fused_workspace_bytes, rsc_fused_enqueue
const rsc_attention_variant rsc_attention_gpu_variants[] = {
    {"attention_gpu_lanes", ROSACE_PATH_FUSED, accepts_lanes, create_lanes, FUSED, suits_gpu, gpu_tile_name},
    {"attention_gpu",       ROSACE_PATH_FUSED, accepts_gpu,   create_gpu,   FUSED, suits_gpu, gpu_tile_name},
    {.name = NULL},
};
/* clang-format on */
