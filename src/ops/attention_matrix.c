/* SPDX-License-Identifier: MIT
 * Rows of fused attention by the matrix instructions of one vendor. Each is taken by what the device says of itself, and put
 * on trial by every plan, since what such instructions do with their lanes is promised by a vendor, not by OpenCL. */
#include "attention_matrix.h"

#include "attention_fused.h"

#include <stdio.h>
#include <string.h>

/* ---- What devices have ------------------------------------------------------------------------------------------- */

static bool target_begins(const rosace_device_info *device, const char *part)
{
    return strncmp(device->amd_target, part, strlen(part)) == 0;
}

/* True, or false with the reason. */
static bool find_way(const rosace_device_info *device, rsc_matrix_kind kind, rsc_matrix_way *way, char *reason, size_t bytes)
{
    *way = (rsc_matrix_way){.kind = kind};
    const unsigned lanes = device->n_sub_group_sizes ? device->sub_group_sizes[0] : 0; /* the least */
    switch (kind) {
    case RSC_MATRIX_MMA:
        way->lanes = 32;
        way->rows = 16;
        way->mma_k8 = device->nvidia_capability < 80;
        if (device->has_nvidia_ptx && device->nvidia_capability >= 75) return true;
        if (!device->has_nvidia_ptx) snprintf(reason, bytes, "not NVIDIA's compiler");
        else snprintf(reason, bytes, "compute capability %u.%u: 7.5 is needed", device->nvidia_capability / 10,
                      device->nvidia_capability % 10);
        return false;
    case RSC_MATRIX_DPAS:
        way->lanes = lanes;
        way->rows = 8;
        if (device->has_intel_matrix && device->has_intel_subgroups && (lanes == 8 || lanes == 16)) return true;
        if (!device->has_intel_matrix) snprintf(reason, bytes, "no cl_intel_subgroup_matrix_multiply_accumulate");
        else snprintf(reason, bytes, "the smallest subgroup has %u lanes: 8 or 16 are needed", lanes);
        return false;
    case RSC_MATRIX_WMMA:
        way->lanes = 32;
        way->rows = 16;
        way->wmma_gfx12 = target_begins(device, "gfx12");
        if (device->has_amd_gcn && device->has_fp16 && (target_begins(device, "gfx11") || way->wmma_gfx12)) return true;
        break;
    case RSC_MATRIX_MFMA:
        way->lanes = 64;
        way->rows = 16;
        if (device->has_amd_gcn && device->has_fp16 &&
            (target_begins(device, "gfx908") || target_begins(device, "gfx90a") || target_begins(device, "gfx94") ||
             target_begins(device, "gfx950")))
            return true;
        break;
    }
    if (!device->has_amd_gcn) snprintf(reason, bytes, "not AMD's compiler");
    else snprintf(reason, bytes, "%s has no %s", device->amd_target[0] ? device->amd_target : "a device of unknown target",
                  kind == RSC_MATRIX_WMMA ? "WMMA" : "MFMA");
    return false;
}

/* ---- Tiles, most wanted first ------------------------------------------------------------------------------------- */

/* What tests/offline/table.txt says of registers decided: more groups share what they load, more bands use it more often, until
 * registers run out, which is where tiles for a head_dim end. */
/* clang-format off */
static const rsc_matrix_tile tiles[] = {
    /* name      kind           lanes head_dim groups bands TILE_K queries local    local memory */
    {"g4b1k64",  RSC_MATRIX_MMA,    0,   64,      4,    1,    64,  false},  /* 31.0 KiB */
    {"g4b2k32",  RSC_MATRIX_MMA,    0,   64,      4,    2,    32,  false},  /* 25.0 KiB */
    {"g8b1k32",  RSC_MATRIX_MMA,    0,  128,      8,    1,    32,  false},  /* 35.0 KiB */
    {"g4b1k32",  RSC_MATRIX_MMA,    0,  128,      4,    1,    32,  false},  /* 28.0 KiB */
    {"g8b1k32",  RSC_MATRIX_DPAS,  16,  128,      8,    1,    32,  false},  /* 28.0 KiB */
    {"g8b1k16q", RSC_MATRIX_DPAS,   8,   64,      8,    1,    16,  true},   /* 17.8 KiB */
    {"g4b1k64q", RSC_MATRIX_WMMA,   0,   64,      4,    1,    64,  true},   /* 41.0 KiB */
    {"g4b1k32q", RSC_MATRIX_WMMA,   0,  128,      4,    1,    32,  true},   /* 46.0 KiB */
    {"g4b1k64",  RSC_MATRIX_MFMA,   0,   64,      4,    1,    64,  false},  /* 31.0 KiB */
    {"g4b1k32",  RSC_MATRIX_MFMA,   0,  128,      4,    1,    32,  false},  /* 28.0 KiB */
};
enum { N_TILES = sizeof tiles / sizeof *tiles };
/* clang-format on */

/* Odd multiples of 16, as the kernel's ODD_STRIDE. */
static size_t odd_stride(size_t width) { return width % 32 == 16 ? width : width + 16; }

/* What the kernel declares, at most. */
static size_t tile_bytes(const rsc_matrix_tile *tile, const rsc_matrix_way *way, size_t head_dim)
{
    const size_t dim = (head_dim + 15) / 16 * 16, rows = (size_t)tile->groups * tile->bands * way->rows;
    const size_t halves = (tile->tile_k + (tile->queries_local ? rows : 0)) * odd_stride(dim) +
                          (dim + rows) * odd_stride(tile->tile_k);
    return 2 * halves + rows * (4 * sizeof(int) + sizeof(float)) + tile->groups * sizeof(int);
}

/* The index-th tile that fits, NULL behind the last. */
static const rsc_matrix_tile *tile_at(const rosace_device_info *device, const rsc_matrix_way *way, size_t head_dim, size_t index)
{
    for (size_t i = 0; i < N_TILES; i++) {
        const rsc_matrix_tile *tile = &tiles[i];
        if (tile->kind == way->kind && (!tile->lanes || tile->lanes == way->lanes) && head_dim <= tile->head_dim &&
            tile->groups * way->lanes <= device->max_work_group_size &&
            tile_bytes(tile, way, head_dim) <= device->local_memory_bytes && index-- == 0)
            return tile;
    }
    return NULL;
}

/* ---- Plans -------------------------------------------------------------------------------------------------------- */

rosace_status rsc_attention_matrix_create(rosace_attention_plan *plan, const rsc_matrix_way *way, const rsc_matrix_tile *tile)
{
    const rosace_attention_desc *desc = &plan->desc;
    plan->tile = tile->name;
    rsc_fused_state *state = plan->state = rsc_calloc(plan->context, 1, sizeof *state);
    if (!state) return rsc_fail(ROSACE_OUT_OF_MEMORY, "attention plan: no host memory");
    state->queries = tile->groups * tile->bands * way->rows;
    state->items = tile->groups * way->lanes;
    state->per_item = 1;
    state->flat = true;
    plan->trial = RSC_TRIAL_COMPARE;
    rsc_options options = {.count = 0};
    rsc_option_int(&options, "MATRIX", way->kind);
    rsc_option_int(&options, "MATRIX_EMULATED", way->emulated);
    rsc_option_int(&options, "GROUPS", tile->groups);
    rsc_option_int(&options, "BANDS", tile->bands);
    rsc_option_int(&options, "TILE_K", tile->tile_k);
    rsc_option_int(&options, "QUERIES_LOCAL", tile->queries_local);
    if (way->kind == RSC_MATRIX_MMA) rsc_option_int(&options, "MMA_K8", way->mma_k8);
    if (way->kind == RSC_MATRIX_WMMA) rsc_option_int(&options, "WMMA_HALVES", way->wmma_gfx12 ? 2 : 1);
    if (way->kind == RSC_MATRIX_DPAS) {
        rsc_option_int(&options, "SUB_GROUP", way->lanes);
        options.intel_registers = !way->emulated; /* else results go to memory and back at every step */
    }
    snprintf(plan->variant_name, sizeof plan->variant_name, "%s_f16_d%zu_%s", plan->variant->name, desc->head_dim, tile->name);
    return rsc_fused_build(plan, state, "attention_matrix.cl", "attention_matrix", &options);
}

static rosace_status create(rosace_attention_plan *plan, rsc_matrix_kind kind)
{
    const rosace_device_info *device = rosace_context_device_info(plan->context);
    rsc_matrix_way way;
    char reason[160] = "";
    if (!find_way(device, kind, &way, reason, sizeof reason))
        return rsc_fail(ROSACE_UNSUPPORTED, "%s: %s", plan->variant->name, reason);
    const rsc_matrix_tile *tile = tile_at(device, &way, plan->desc.head_dim, 0);
    for (size_t i = 1; tile && plan->tile && strcmp(tile->name, plan->tile) != 0; i++)
        tile = tile_at(device, &way, plan->desc.head_dim, i);
    if (!tile) return rsc_fail(ROSACE_UNSUPPORTED, "%s: no tile %s here", plan->variant->name, plan->tile ? plan->tile : "fits");
    return rsc_attention_matrix_create(plan, &way, tile);
}

static bool accepts(const rosace_device_info *device, const rosace_attention_desc *desc, rsc_matrix_kind kind, char *reason,
                    size_t bytes)
{
    rsc_matrix_way way;
    if (!find_way(device, kind, &way, reason, bytes)) return false;
    if (desc->dtype != ROSACE_F16) {
        snprintf(reason, bytes, "%s: the instruction takes fp16", rosace_dtype_name(desc->dtype));
        return false;
    }
    if (desc->sink_logits) {
        snprintf(reason, bytes, "sink_logits: all other rows have them");
        return false;
    }
    if (!tile_at(device, &way, desc->head_dim, 0)) {
        snprintf(reason, bytes, "head_dim %zu: no tile fits registers, work-groups of %zu and %llu bytes of local memory",
                 desc->head_dim, device->max_work_group_size, (unsigned long long)device->local_memory_bytes);
        return false;
    }
    if (desc->bias == ROSACE_BIAS_SHAW) {
        snprintf(reason, bytes, "ROSACE_BIAS_SHAW: attention_gpu and path gemm have it");
        return false;
    }
    if (desc->rerope_window) {
        snprintf(reason, bytes, "rerope_window %lld: attention_gpu and path gemm have it", (long long)desc->rerope_window);
        return false;
    }
    return rsc_attention_has_positions(desc, reason, bytes) && rsc_attention_has_rows(desc, reason, bytes);
}

static const char *tile_name(const rosace_device_info *device, const rosace_attention_desc *desc, rsc_matrix_kind kind,
                             size_t index)
{
    rsc_matrix_way way;
    char reason[160];
    const rsc_matrix_tile *tile = find_way(device, kind, &way, reason, sizeof reason)
                                      ? tile_at(device, &way, desc->head_dim, index)
                                      : NULL;
    return tile ? tile->name : NULL;
}

/* ---- Rows --------------------------------------------------------------------------------------------------------- */

#define ROW(name, kind)                                                                                                \
    static bool accepts_##name(const rosace_device_info *device, const rosace_attention_desc *desc, char *reason, size_t bytes) \
    {                                                                                                                  \
        return accepts(device, desc, kind, reason, bytes);                                                             \
    }                                                                                                                  \
    static rosace_status create_##name(rosace_attention_plan *plan) { return create(plan, kind); }                     \
    static const char *tile_##name(const rosace_device_info *device, const rosace_attention_desc *desc, size_t index)  \
    {                                                                                                                  \
        return tile_name(device, desc, kind, index);                                                                   \
    }
ROW(mma, RSC_MATRIX_MMA)
ROW(dpas, RSC_MATRIX_DPAS)
ROW(wmma, RSC_MATRIX_WMMA)
ROW(mfma, RSC_MATRIX_MFMA)

static bool suits_gpu(const rosace_device_info *device) { return device->device_class != ROSACE_DEVICE_CPU; }

/* clang-format off */
#define FUSED rsc_fused_destroy, rsc_fused_workspace_bytes, rsc_fused_enqueue, suits_gpu
const rsc_attention_variant rsc_attention_matrix_variants[] = {
    {"attention_gpu_mma",  ROSACE_PATH_FUSED, accepts_mma,  create_mma,  FUSED, tile_mma},
    {"attention_gpu_dpas", ROSACE_PATH_FUSED, accepts_dpas, create_dpas, FUSED, tile_dpas},
    {"attention_gpu_wmma", ROSACE_PATH_FUSED, accepts_wmma, create_wmma, FUSED, tile_wmma},
    {"attention_gpu_mfma", ROSACE_PATH_FUSED, accepts_mfma, create_mfma, FUSED, tile_mfma},
    {.name = NULL},
};
/* clang-format on */
