/* SPDX-License-Identifier: MIT
 * The kinds of biases by distance, and the tables of those that are one. */
#include "bias.h"

#include "../check.h"
#include "../program.h"
#include "rope_scaling.h"
#include "shared/bias_args.h"

#include <math.h>

#define INVALID(...) rsc_fail(ROSACE_INVALID_ARGUMENT, __VA_ARGS__)

enum { MAX_SHAW_DISTANCE = 1024, MAX_DISTANCE = 1 << 20, MAX_BUCKETS = 1 << 16, MAX_WIDTH = 4096 };

/* ---- What kinds need --------------------------------------------------------------------------------------------- */

static rosace_status check_max_distance(const rsc_bias_desc *desc, int64_t least, int64_t most)
{
    if (desc->max_distance >= least && desc->max_distance <= most) return ROSACE_OK;
    return INVALID("bias_max_distance = %lld: must be %lld to %lld with %s", (long long)desc->max_distance, (long long)least,
                   (long long)most, rsc_bias_name(desc->kind));
}

static size_t one_per_head(const rsc_bias_desc *desc, size_t heads)
{
    (void)desc;
    return heads;
}

static size_t two_per_head(const rsc_bias_desc *desc, size_t heads)
{
    (void)desc;
    return 2 * heads;
}

static rosace_status shaw_check(const rsc_bias_desc *desc, rsc_bias_desc *checked)
{
    checked->max_distance = desc->max_distance;
    return check_max_distance(desc, 1, MAX_SHAW_DISTANCE);
}

static rosace_status sandwich_check(const rsc_bias_desc *desc, rsc_bias_desc *checked)
{
    checked->width = desc->width;
    if (desc->width < 2 || desc->width > MAX_WIDTH || desc->width % 2)
        return INVALID("bias_width = %lld: must be even, 2 to %d with ROSACE_BIAS_SANDWICH", (long long)desc->width, MAX_WIDTH);
    return ROSACE_OK;
}

static rosace_status sandwich_constants(rosace_context *context, const rsc_bias_desc *desc, cl_mem *out)
{
    const size_t pairs = (size_t)desc->width / 2;
    double frequencies[MAX_WIDTH / 2];
    uint32_t words[MAX_WIDTH];
    rsc_rope_powers(10000.0, (size_t)desc->width, frequencies);
    rsc_turn_words(frequencies, pairs, words);
    return rsc_buffer_create(context, 2 * pairs * sizeof *words, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, words,
                             "Sandwich frequencies", out);
}

/* Buckets of one direction. */
static int64_t t5_side(const rsc_bias_desc *desc) { return desc->causal ? desc->buckets : desc->buckets / 2; }

static rosace_status t5_check(const rsc_bias_desc *desc, rsc_bias_desc *checked)
{
    checked->max_distance = desc->max_distance;
    checked->buckets = desc->buckets;
    checked->causal = desc->causal;
    const int64_t least = desc->causal ? 2 : 4;
    if (desc->buckets < least || desc->buckets > MAX_BUCKETS || (!desc->causal && desc->buckets % 2))
        return INVALID("bias_buckets = %lld: must be %lld to %d%s with ROSACE_BIAS_T5", (long long)desc->buckets,
                       (long long)least, MAX_BUCKETS, desc->causal ? "" : " and even");
    return check_max_distance(desc, t5_side(desc) / 2 + 1, MAX_DISTANCE);
}

static size_t t5_params(const rsc_bias_desc *desc, size_t heads) { return (size_t)desc->buckets * heads; }

/* Half of a side's buckets are one distance each; the other half grow by equal factors up to max_distance. */
static uint32_t t5_bucket(const rsc_bias_desc *desc, int64_t distance)
{
    const int64_t side = t5_side(desc), exact = side / 2;
    if (distance < exact) return (uint32_t)distance;
    const long double steps = (long double)(side - exact) * logl((long double)distance / (long double)exact) /
                              logl((long double)desc->max_distance / (long double)exact);
    /* A distance that begins a bucket must not miss it by a rounding. */
    const int64_t bucket = exact + (int64_t)floorl(steps + 1e-9L);
    return (uint32_t)(bucket < side ? bucket : side - 1);
}

static rosace_status t5_constants(rosace_context *context, const rsc_bias_desc *desc, cl_mem *out)
{
    const size_t count = (size_t)desc->max_distance + 1;
    uint32_t *buckets = rsc_calloc(context, count, sizeof *buckets);
    if (!buckets) return rsc_fail(ROSACE_OUT_OF_MEMORY, "T5 buckets: no host memory");
    for (size_t d = 0; d < count; d++) buckets[d] = t5_bucket(desc, (int64_t)d);
    const rosace_status status = rsc_buffer_create(context, count * sizeof *buckets, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR,
                                                   buckets, "T5 buckets", out);
    rsc_free(context, buckets);
    return status;
}

static rosace_status table_check(const rsc_bias_desc *desc, rsc_bias_desc *checked)
{
    checked->max_distance = desc->max_distance;
    return check_max_distance(desc, 1, MAX_DISTANCE);
}

static size_t table_params(const rsc_bias_desc *desc, size_t heads) { return (size_t)(2 * desc->max_distance + 1) * heads; }

/* ---- The kinds --------------------------------------------------------------------------------------------------- */

typedef struct bias_row {
    const char *name;
    const char *piece;   /* with `direct`, of the attention kernels, else of cl/bias_table.cl; NULL: no number is added */
    bool direct;
    bool clipped;        /* constant from max_distance on */
    rosace_status (*check)(const rsc_bias_desc *desc, rsc_bias_desc *checked); /* copies what it reads; NULL: reads nothing */
    size_t (*params)(const rsc_bias_desc *desc, size_t heads);
    rosace_status (*constants)(rosace_context *context, const rsc_bias_desc *desc, cl_mem *out);
} bias_row;

/* clang-format off */
static const bias_row rows[] = {
    [ROSACE_BIAS_NONE] =         {"ROSACE_BIAS_NONE",         NULL,                         true,  false, NULL,           NULL,         NULL},
    [ROSACE_BIAS_ALIBI] =        {"ROSACE_BIAS_ALIBI",        "position/alibi.clh",         true,  false, NULL,           one_per_head, NULL},
    [ROSACE_BIAS_SHAW] =         {"ROSACE_BIAS_SHAW",         NULL,                         true,  false, shaw_check,     NULL,         NULL},
    [ROSACE_BIAS_KERPLE_LOG] =   {"ROSACE_BIAS_KERPLE_LOG",   "position/kerple_log.clh",    false, false, NULL,           two_per_head, NULL},
    [ROSACE_BIAS_KERPLE_POWER] = {"ROSACE_BIAS_KERPLE_POWER", "position/kerple_power.clh",  false, false, NULL,           two_per_head, NULL},
    [ROSACE_BIAS_SANDWICH] =     {"ROSACE_BIAS_SANDWICH",     "position/sandwich.clh",      false, false, sandwich_check, one_per_head, sandwich_constants},
    [ROSACE_BIAS_T5] =           {"ROSACE_BIAS_T5",           "position/t5.clh",            false, true,  t5_check,       t5_params,    t5_constants},
    [ROSACE_BIAS_TABLE] =        {"ROSACE_BIAS_TABLE",        "position/user_table.clh",    false, true,  table_check,    table_params, NULL},
};
/* clang-format on */
enum { N_ROWS = sizeof rows / sizeof rows[0] };

const char *rsc_bias_name(rosace_bias_kind kind) { return (unsigned)kind < N_ROWS ? rows[kind].name : "unknown bias"; }

rosace_status rsc_bias_check(const rsc_bias_desc *given, rsc_bias_desc *checked)
{
    if ((unsigned)given->kind >= N_ROWS) return INVALID("bias = %d: must be one of rosace_bias_kind", (int)given->kind);
    *checked = (rsc_bias_desc){.kind = given->kind};
    return rows[given->kind].check ? rows[given->kind].check(given, checked) : ROSACE_OK;
}

size_t rsc_bias_params(const rsc_bias_desc *checked, size_t heads)
{
    const bias_row *row = &rows[checked->kind];
    return row->params ? row->params(checked, heads) : 0;
}

const char *rsc_bias_piece(rosace_bias_kind kind) { return rows[kind].direct ? rows[kind].piece : "position/table.clh"; }

void rsc_bias_pieces(rosace_bias_kind kind, const char *piece, const char *pieces[3])
{
    unsigned n = 0;
    if (rsc_bias_piece(kind)) pieces[n++] = rsc_bias_piece(kind);
    pieces[n++] = piece;
    pieces[n] = NULL;
}

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

rosace_status rsc_bias_create(rosace_context *context, const rsc_bias_desc *checked, rsc_bias *out)
{
    *out = (rsc_bias){.context = context, .desc = *checked};
    const bias_row *row = &rows[checked->kind];
    if (row->direct) return ROSACE_OK;
    const char *const pieces[] = {row->piece, "bias_table.cl", NULL};
    const rsc_options options = {.count = 0};
    rosace_status status = rsc_kernel_create(context, pieces, "bias_table", &options, &out->table);
    if (!status && row->constants) status = row->constants(context, checked, &out->constants);
    if (status) rsc_bias_destroy(out);
    return status;
}

void rsc_bias_destroy(rsc_bias *bias)
{
    if (bias->table) clReleaseKernel(bias->table);
    if (bias->constants) clReleaseMemObject(bias->constants);
    bias->table = NULL;
    bias->constants = NULL;
}

/* The distances that visible pairs can have by the mask alone. */
static void mask_reach(const rosace_mask *mask, int64_t *least, int64_t *most)
{
    static const int64_t far = (int64_t)1 << 40;
    *least = -far;
    *most = far;
    if (mask->prefix == 0) {
        if (mask->window_right >= 0) *least = -mask->window_right;
        if (mask->chunk > 0 && *least < 1 - mask->chunk) *least = 1 - mask->chunk;
        if (mask->causal) *least = 0;
    }
    if (mask->prefix == 0 && mask->sinks == 0) {
        if (mask->window_left >= 0) *most = mask->window_left;
        if (mask->chunk > 0 && *most >= (mask->chunk_back + 1) * mask->chunk) *most = (mask->chunk_back + 1) * mask->chunk - 1;
    }
}

static int64_t clip(int64_t x, int64_t least, int64_t most) { return x < least ? least : x > most ? most : x; }

/* Floats of a head that hold `distances` of them. */
static size_t stride_for(int64_t distances) { return ((size_t)distances + 2 * RSC_BIAS_SPARE + 15) / 16 * 16; }

rosace_status rsc_bias_bytes(const rsc_bias *bias, const rosace_mask *mask, size_t heads, size_t seq_q, size_t seq_k,
                             size_t *bytes)
{
    *bytes = 0;
    if (!bias->table) return ROSACE_OK;
    int64_t least, most, distances = (int64_t)(seq_q + seq_k - 1);
    mask_reach(mask, &least, &most);
    if (distances > most - least + 1) distances = most - least + 1;
    if (rows[bias->desc.kind].clipped && distances > 2 * bias->desc.max_distance + 1)
        distances = 2 * bias->desc.max_distance + 1;
    size_t floats;
    if (!rsc_mul(stride_for(distances), heads, &floats) || !rsc_add(floats, RSC_BIAS_HEADER, &floats) ||
        !rsc_mul(floats, sizeof(cl_float), bytes))
        return INVALID("workspace: the bytes of %lld biases for %zu heads overflow", (long long)distances, heads);
    return ROSACE_OK;
}

rosace_status rsc_bias_chain(const rsc_bias *bias, rsc_chain *chain, const rosace_mask *mask, int64_t q_offset, size_t heads,
                             size_t seq_q, size_t seq_k, rsc_bias_place params, cl_mem memory, size_t byte_offset,
                             rsc_bias_place *out)
{
    *out = params;
    if (!bias->table) return ROSACE_OK;
    int64_t least, most;
    mask_reach(mask, &least, &most);
    /* Lengths and q_offset are at most 2^30, so that distances fit 32 bits; where nothing is visible one of them is left. */
    least = clip(least, q_offset - (int64_t)seq_k + 1, q_offset + (int64_t)seq_q - 1);
    most = clip(most, least, q_offset + (int64_t)seq_q - 1);
    if (rows[bias->desc.kind].clipped) {
        least = clip(least, -bias->desc.max_distance, bias->desc.max_distance);
        most = clip(most, -bias->desc.max_distance, bias->desc.max_distance);
    }
    if (least < INT32_MIN + 64 || most > INT32_MAX - 64)
        return rsc_fail(ROSACE_UNSUPPORTED, "%s: distances from %lld to %lld do not fit 32 bits", rsc_bias_name(bias->desc.kind),
                        (long long)least, (long long)most);
    *out = (rsc_bias_place){memory, byte_offset / sizeof(cl_float)};
    const rsc_bias_args args = {.table_offset = out->offset,
                                .params_offset = params.offset,
                                .first = (int32_t)least,
                                .last = (int32_t)most,
                                .stride = (uint32_t)stride_for(most - least + 1),
                                .heads = (uint32_t)heads,
                                .max_distance = (int32_t)bias->desc.max_distance,
                                .buckets = (int32_t)bias->desc.buckets,
                                .pairs = (int32_t)(bias->desc.width / 2),
                                .one_sided = bias->desc.causal};
    const cl_mem constants = bias->constants ? bias->constants : params.mem; /* never followed when there are none */
    const rosace_status status = RSC_ARGS(bias->table, "bias table", RSC_ARG(memory), RSC_ARG(params.mem), RSC_ARG(constants),
                                          RSC_ARG(args));
    const size_t global[1] = {args.stride};
    return status ? status : rsc_chain_kernel(chain, bias->table, 1, global, NULL, "bias table");
}
