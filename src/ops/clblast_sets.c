/* SPDX-License-Identifier: MIT */
#include "clblast_sets.h"

#include "../context_state.h"

#include <clblast_c.h>
#include <stdio.h>
#include <string.h>

enum { GPU, CPU };

static const char operation[] = "clblast";

/* Those for CPUs are the fastest of 16 tried with PoCL 3.1 (a group of one item, whose tile is in vectors) and of 40 with
 * Intel's runtime (which makes vectors of a row of 16 items itself) on two cores of a Sapphire Rapids Xeon; CLBlast's
 * database has neither. Those for GPUs are there to be measured by `rosace tune`: small and large tiles, with and without
 * local memory. */
/* clang-format off */
const rsc_clblast_set rsc_clblast_sets[] = {
    /* name                     for  MWG  NWG KWG  MDIM NDIM KWI VWM VWN  STRM   STRN   SA     SB   least */
    {"anywhere_32x32",          GPU,  32,  32, 32,    8,   8,  2,  4,  2, false, false, true,  true,  896},
    {"item_16x16_v8",           CPU,  16,  16, 16,    1,   1,  2,  8,  4, false, false, false, false,  64},
    {"item_16x12_v8",           CPU,  16,  12, 16,    1,   1,  2,  8,  4, false, false, false, false,  64},
    {"item_32x8_v8",            CPU,  32,   8, 16,    1,   1,  2,  8,  8, false, false, false, false,  64},
    {"row16_32x64_v2",          CPU,  32,  64, 32,   16,   8,  4,  2,  8, false, false, false, false,  64},
    {"row16_32x64_k2_v2",       CPU,  32,  64, 32,   16,   8,  2,  2,  4, false, false, false, false,  64},
    {"row16_16x64_v1",          CPU,  16,  64, 32,   16,   8,  8,  1,  8, false, false, false, false,  64},
    {"group64_64x64_local",     GPU,  64,  64, 16,    8,   8,  2,  4,  4, false, false, true,  true,  256},
    {"group64_64x64",           GPU,  64,  64, 32,    8,   8,  2,  4,  4, false, false, false, false, 256},
    {"group256_64x64_local",    GPU,  64,  64, 16,   16,  16,  2,  2,  2, true,  true,  true,  true,  256},
    {"group256_64x64",          GPU,  64,  64, 32,   16,  16,  2,  4,  4, false, false, false, false, 256},
    {"group256_128x64_local",   GPU, 128,  64, 16,   16,  16,  2,  4,  2, true,  false, true,  true,  256},
    {"group128_128x64_local",   GPU, 128,  64, 16,   16,   8,  2,  4,  4, false, false, true,  true,  256},
    {"group256_128x128_local",  GPU, 128, 128, 16,   16,  16,  2,  4,  4, true,  true,  true,  true,  256},
    {"group256_128x128",        GPU, 128, 128, 32,   16,  16,  2,  8,  8, false, false, false, false, 256},
    {.name = NULL},
};

/* CPU devices by their report. What is not here goes by CLBlast's database. */
static const struct {
    const char *platform; /* part of its name */
    unsigned min_vector;
    rosace_dtype dtype;
    const char *set;
} known[] = {
    {"Portable Computing Language", 8, ROSACE_F32, "item_16x16_v8"},
    {"Intel(R) OpenCL",             8, ROSACE_F32, "row16_32x64_v2"},
};
/* clang-format on */
enum { N_KNOWN = sizeof known / sizeof known[0] };

static const rsc_clblast_set *set_named(const char *name)
{
    for (const rsc_clblast_set *set = rsc_clblast_sets; set->name; set++)
        if (!strcmp(set->name, name)) return set;
    return NULL;
}

/* As CLBlast's tuner demands of its kernel 0: whole vectors per item, whole rows of a tile copied by each item. */
bool rsc_clblast_set_fits(const rsc_clblast_set *set, const rosace_device_info *device, rosace_dtype dtype)
{
    const size_t bytes = rosace_dtype_size(dtype), a = set->sa ? (size_t)set->kwg * set->mwg : 0;
    const size_t b = set->sb ? (size_t)set->kwg * set->nwg : 0;
    return set->kwg % set->kwi == 0 && set->mwg % (set->mdim * set->vwm) == 0 && set->nwg % (set->ndim * set->vwn) == 0 &&
           set->kwg % set->mdim == 0 && set->kwg % set->ndim == 0 &&
           (size_t)set->mdim * set->ndim <= device->max_work_group_size && (a + b) * bytes <= device->local_memory_bytes;
}

/* For a device, without measurements. */
static const char *shipped(const rosace_device_info *device, rosace_dtype dtype)
{
    for (size_t i = 0; i < N_KNOWN && device->device_class == ROSACE_DEVICE_CPU; i++)
        if (known[i].dtype == dtype && device->float_vector_width >= known[i].min_vector &&
            strstr(device->platform_name, known[i].platform) && rsc_clblast_set_fits(set_named(known[i].set), device, dtype))
            return known[i].set;
    return RSC_CLBLAST_DATABASE;
}

const char *rsc_clblast_candidate(const rosace_device_info *device, rosace_dtype dtype, size_t index)
{
    const bool cpu = device->device_class == ROSACE_DEVICE_CPU;
    if (!strcmp(shipped(device, dtype), RSC_CLBLAST_DATABASE) && index-- == 0) return RSC_CLBLAST_DATABASE;
    for (const rsc_clblast_set *set = rsc_clblast_sets; set->name; set++)
        if (set->cpu == cpu && rsc_clblast_set_fits(set, device, dtype) && index-- == 0) return set->name;
    return NULL;
}

const char *rsc_clblast_choice(rosace_context *context, rosace_dtype dtype)
{
    const rosace_device_info *device = rosace_context_device_info(context);
    char name[RSC_ROW_BYTES];
    if (context->tuning_off) return RSC_CLBLAST_DATABASE;
    if (rsc_tuned(context, operation, rsc_clblast_class(dtype), name)) {
        if (!strcmp(name, RSC_CLBLAST_DATABASE)) return RSC_CLBLAST_DATABASE;
        const rsc_clblast_set *set = set_named(name);
        if (set && rsc_clblast_set_fits(set, device, dtype)) return set->name;
        rsc_tuning_refuse(context, operation, rsc_clblast_class(dtype),
                          set ? "this device has no room for it" : "there is no such row");
    }
    return shipped(device, dtype);
}

/* Gives CLBlast a set; its status. */
static int give(const rosace_device_info *device, rosace_dtype dtype, const rsc_clblast_set *set)
{
    static const char *names[] = {"GEMMK", "KREG",  "KWG", "KWI", "MDIMA", "MDIMC", "MWG", "NDIMB",
                                  "NDIMC", "NWG", "SA",  "SB",    "STRM",  "STRN", "VWM", "VWN"};
    static const char *least_name[] = {"XGEMM_MIN_INDIRECT_SIZE"};
    const size_t values[] = {0,         1,        set->kwg, set->kwi, set->mdim, set->mdim, set->mwg, set->ndim,
                             set->ndim, set->nwg, set->sa,  set->sb,  set->strm, set->strn, set->vwm, set->vwn};
    const size_t least = set->least;
    const CLBlastPrecision precision = dtype == ROSACE_F16 ? CLBlastPrecisionHalf : CLBlastPrecisionSingle;
    const int code = CLBlastOverrideParameters(device->device, "Xgemm", precision, sizeof values / sizeof *values, names, values);
    return code ? code : CLBlastOverrideParameters(device->device, "GemmRoutine", precision, 1, least_name, &least);
}

/* Under the lock. */
static bool apply(rosace_context *context, rosace_dtype dtype, const rsc_clblast_set *set)
{
    const char **current = &context->clblast_set[dtype == ROSACE_F16];
    if (*current && !strcmp(*current, set->name)) return true;
    const int code = give(&context->info, dtype, set);
    if (!code) *current = set->name;
    if (code)
        rsc_log(context, ROSACE_LOG_WARNING, "CLBlast takes no %s for %s (%d); it stays as it is", set->name,
                rsc_clblast_class(dtype), code);
    else
        rsc_log(context, ROSACE_LOG_DEBUG, "CLBlast: %s for %s", set->name, rsc_clblast_class(dtype));
    return !code;
}

void rsc_clblast_apply(rosace_context *context, rosace_dtype dtype, const char *name)
{
    const rsc_clblast_set *set = set_named(name);
    rsc_lock(&context->clblast_lock);
    context->clblast_ready[dtype == ROSACE_F16] = true;
    if (set) apply(context, dtype, set);
    rsc_unlock(&context->clblast_lock);
}

const char *rsc_clblast_current(rosace_context *context, rosace_dtype dtype)
{
    rsc_lock(&context->clblast_lock);
    const char *set = context->clblast_set[dtype == ROSACE_F16];
    rsc_unlock(&context->clblast_lock);
    return set;
}

void rsc_clblast_ready(rosace_context *context, rosace_dtype dtype)
{
    rsc_lock(&context->clblast_lock);
    const bool ready = context->clblast_ready[dtype == ROSACE_F16];
    rsc_unlock(&context->clblast_lock);
    if (!ready) rsc_clblast_apply(context, dtype, rsc_clblast_choice(context, dtype));
}

bool rsc_clblast_fall_back(rosace_context *context, rosace_dtype dtype, const char *reason)
{
    rsc_lock(&context->clblast_lock);
    const char *set = context->clblast_set[dtype == ROSACE_F16];
    const bool again = set && strcmp(set, rsc_clblast_sets[0].name) != 0 && apply(context, dtype, &rsc_clblast_sets[0]);
    rsc_unlock(&context->clblast_lock);
    if (again) {
        rsc_log(context, ROSACE_LOG_WARNING, "CLBlast with %s: %s; %s instead", set, reason, rsc_clblast_sets[0].name);
        rsc_tuning_refuse(context, operation, rsc_clblast_class(dtype), reason);
    }
    return again;
}
