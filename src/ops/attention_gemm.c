/* SPDX-License-Identifier: MIT
 * Attention by matrix products around a masked softmax. Query rows are taken a block at a time, and of the keys only the
 * intervals that the block's mask visits (mask.h), so work is O(seq_q * visible keys) and the scores of a block are all that
 * is ever stored:
 *
 *     scores[z, r, :] = q k^T over head keys | band keys      softmax in place      out = probs v over the same keys
 *
 * z counts batches and heads, r the rows of a block. Scores are fp32 whatever the tensors are; with other tensors than fp32 the result
 * is put together in fp32, too, and rounded once. This path has every feature, since each is a step of its own here:
 *   rope      q and k are rotated into workspace first
 *   ReRoPE    a second block of scores, from what lies beyond the window
 *   Shaw      q * key_table^T before the softmax gathers it by distance; sums of probabilities by distance times value_table
 *   biases by distance, log-n, softcap     in the softmax kernel, from a table in the workspace where they are one
 */
#include "attention_sequences.h"

#include "../check.h"
#include "../mask.h"
#include "../program.h"
#include "matmul.h"
#include "shared/attention_args.h"
#include "softmax.h"

#include <math.h>
#include <stdio.h>

enum { COLUMN_ALIGN = 16, N_BLOCKS = 5, MIN_ROWS = 32 };

/* Scores in flight: they should stay in a CPU's caches, and give a GPU enough to do at once. */
static size_t scores_budget(const rosace_device_info *device)
{
    return device->device_class == ROSACE_DEVICE_CPU ? (size_t)8 << 20 : (size_t)64 << 20;
}

typedef struct gemm_state {
    rsc_softmax softmax;
    rsc_matmul *scores, *values;
    rsc_matmul *shaw_key, *shaw_value;
    cl_kernel round; /* NULL with fp32 */
    rosace_rope_plan *rope;
    rsc_rerope rerope;
    rsc_bias bias;
} gemm_state;

static bool accepts(const rosace_device_info *device, const rosace_attention_desc *desc, char *reason, size_t reason_bytes)
{
    (void)device;
    return rsc_attention_has_rows(desc, reason, reason_bytes);
}

static bool only_by_name(const rosace_device_info *device)
{
    (void)device;
    return false;
}

/* For devices where rosace's own kernel is the rule: never chosen but by name. */
static bool accepts_clblast(const rosace_device_info *device, const rosace_attention_desc *desc, char *reason,
                            size_t reason_bytes)
{
    (void)device;
    if (!rsc_attention_has_rows(desc, reason, reason_bytes)) return false;
    if (desc->dtype == ROSACE_F32) return true;
    snprintf(reason, reason_bytes, "dtype %s: scores are fp32, and CLBlast takes operands of one dtype only",
             rsc_dtype_constant(desc->dtype));
    return false;
}

static void destroy(rosace_attention_plan *plan)
{
    gemm_state *state = plan->state;
    if (!state) return;
    rsc_softmax_destroy(&state->softmax);
    rsc_bias_destroy(&state->bias);
    rsc_matmul_destroy(&state->scores);
    rsc_matmul_destroy(&state->values);
    rsc_matmul_destroy(&state->shaw_key);
    rsc_matmul_destroy(&state->shaw_value);
    rosace_rope_plan_destroy(&state->rope);
    if (state->round) clReleaseKernel(state->round);
    rsc_rerope_destroy(&state->rerope);
    rsc_free(plan->context, state);
    plan->state = NULL;
}

static rosace_status create_round(rosace_attention_plan *plan, gemm_state *state)
{
    static const char *const pieces[] = {"attention_round.cl", NULL};
    rsc_options options = {.count = 0};
    rsc_option_int(&options, "DTYPE", (long)plan->desc.dtype);
    rsc_option_int(&options, "HEAD_DIM", (long)plan->desc.head_dim);
    return rsc_kernel_create(plan->context, pieces, "attention_round", &options, &state->round);
}

static rosace_status create(rosace_attention_plan *plan)
{
    const rosace_attention_desc *desc = &plan->desc;
    const rosace_dtype dtype = desc->dtype;
    gemm_state *state = plan->state = rsc_calloc(plan->context, 1, sizeof *state);
    if (!state) return rsc_fail(ROSACE_OUT_OF_MEMORY, "attention plan: no host memory");
    const bool clblast = plan->variant->accepts == accepts_clblast;
    snprintf(plan->variant_name, sizeof plan->variant_name, "%s_%s_d%zu", plan->variant->name, rosace_dtype_name(dtype),
             desc->head_dim);
    const rsc_softmax_desc softmax = {.dtype = ROSACE_F32,
                                      .bias = desc->bias,
                                      .device_class = rosace_context_device_info(plan->context)->device_class,
                                      .rerope = desc->rerope_window > 0,
                                      .logn = desc->logn_train_len > 0,
                                      .softcap = desc->softcap > 0.0f,
                                      .extras = rsc_attention_extras(desc)};
    const rsc_matmul_desc scores = {.a = dtype, .b = dtype, .c = ROSACE_F32, .transpose_b = true, .prefer_clblast = clblast, .one_kernel = true};
    const rsc_matmul_desc values = {.a = ROSACE_F32, .b = dtype, .c = ROSACE_F32, .prefer_clblast = clblast, .one_kernel = true};
    const rsc_matmul_desc shaw_key = {.a = dtype, .b = ROSACE_F32, .c = ROSACE_F32, .transpose_b = true, .prefer_clblast = clblast, .one_kernel = true};
    const rsc_matmul_desc shaw_value = {.a = ROSACE_F32, .b = ROSACE_F32, .c = ROSACE_F32, .prefer_clblast = clblast, .one_kernel = true};
    const rsc_bias_desc bias = rsc_attention_bias(desc);
    rosace_status status = rsc_softmax_create(plan->context, &softmax, &state->softmax);
    if (!status) status = rsc_bias_create(plan->context, &bias, &state->bias);
    if (!status) status = rsc_matmul_create(plan->context, &scores, &state->scores);
    if (!status) status = rsc_matmul_create(plan->context, &values, &state->values);
    if (!status && desc->bias == ROSACE_BIAS_SHAW)
        status = rsc_matmul_create(plan->context, &shaw_key, &state->shaw_key);
    if (!status && desc->bias == ROSACE_BIAS_SHAW)
        status = rsc_matmul_create(plan->context, &shaw_value, &state->shaw_value);
    if (!status && dtype != ROSACE_F32) status = create_round(plan, state);
    if (!status && desc->rope) status = rosace_rope_plan_create(plan->context, desc->rope, &state->rope);
    if (!status) status = rsc_rerope_create(plan->context, desc, &state->rerope);
    return status;
}

/* ---- Workspace --------------------------------------------------------------------------------------------------- */

/* Where things stand in the workspace, in bytes from its start, and what a step covers. */
typedef struct layout {
    size_t q, k, q_far, k_far;                   /* rotated, packed [batch, heads, seq, head_dim] */
    size_t bias;                          /* the table of a bias by distance */
    size_t scores, far, shaw, histogram;  /* fp32 [matrices, rows, row_stride or distances] */
    size_t out;                           /* fp32 [matrices, rows, head_dim], for fp16 only */
    size_t bytes;
    size_t rows, row_stride;              /* of a block of scores */
    size_t batches, heads;                /* that are computed at once: all heads of some batches, or some heads of one */
    size_t distances;                     /* Shaw: 2*max_distance + 1, else 0 */
} layout;

static bool take(layout *l, size_t *at, size_t bytes)
{
    size_t end;
    if (!rsc_add(l->bytes, bytes, &end) || !rsc_add(end, RSC_WORKSPACE_ALIGN - 1, &end)) return false;
    *at = l->bytes;
    l->bytes = end / RSC_WORKSPACE_ALIGN * RSC_WORKSPACE_ALIGN;
    return true;
}

static bool take4(layout *l, size_t *at, size_t a, size_t b, size_t c, size_t d, size_t element)
{
    return rsc_mul(a, b, &a) && rsc_mul(a, c, &a) && rsc_mul(a, d, &a) && rsc_mul(a, element, &a) && take(l, at, a);
}

/* The most keys that any `rows` consecutive rows visit, wherever they stand. */
static size_t most_columns(const rosace_mask *mask, size_t rows, size_t seq_k)
{
    const int64_t all = (int64_t)seq_k, head = mask->prefix > mask->sinks ? mask->prefix : mask->sinks;
    int64_t band = all;
    if (mask->window_left >= 0 && (mask->causal || mask->window_right >= 0)) {
        const int64_t right = mask->causal ? 0 : mask->window_right;
        const int64_t width = mask->window_left + right + (int64_t)rows;
        if (width < band) band = width;
    }
    if (mask->chunk > 0) {
        const int64_t width = (mask->chunk_back + 2) * mask->chunk + (int64_t)rows;
        if (width < band) band = width;
    }
    return (size_t)(head + band < all ? head + band : all);
}

static size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

/* Blocks for `z` matrices of l->rows rows, one after the other from `at` on. */
static void place_blocks(const rosace_attention_desc *desc, layout *l, size_t at, size_t z)
{
    const struct {
        size_t *place, width; /* floats per row */
    } blocks[N_BLOCKS] = {{&l->scores, l->row_stride},
                  {&l->far, desc->rerope_window ? l->row_stride : 0},
                  {&l->shaw, l->distances},
                  {&l->histogram, l->distances},
                  {&l->out, desc->dtype != ROSACE_F32 ? desc->head_dim : 0}};
    for (size_t i = 0; i < N_BLOCKS; i++) {
        *blocks[i].place = at;
        at += round_up(z * l->rows * blocks[i].width * sizeof(cl_float), RSC_WORKSPACE_ALIGN);
    }
}

/* A plan's workspace is made for its largest call and serves every smaller one, so bytes must never fall as a size grows:
 * blocks get what all matrices at once would take, or the budget if that is less (but a row at least), and then as many
 * rows and matrices go at once as that holds. False when sizes overflow. */
static bool lay_out(const rosace_attention_plan *plan, size_t batch, size_t seq_q, size_t seq_k, layout *l)
{
    const rosace_attention_desc *desc = &plan->desc;
    const rosace_device_info *device = rosace_context_device_info(plan->context);
    const size_t element = rosace_dtype_size(desc->dtype), group = desc->n_heads / desc->n_kv_heads;
    if (!seq_k) seq_k = 1; /* a sequence without keys, as one with few */
    *l = (layout){.rows = rsc_matmul_rows(device)};
    /* A block of rows visits that many keys more than a row does: tall for its window, it would work for nothing. */
    const size_t reach = most_columns(&desc->mask, 0, (size_t)1 << 30);
    while (l->rows > MIN_ROWS && reach < 3 * l->rows) l->rows /= 2;
    if (l->rows > seq_q) l->rows = seq_q;
    l->distances = desc->bias == ROSACE_BIAS_SHAW ? (size_t)(2 * desc->bias_max_distance + 1) : 0;
    l->row_stride = round_up(most_columns(&desc->mask, l->rows, seq_k), COLUMN_ALIGN);
    size_t row_bytes, all;
    if (!rsc_mul(l->row_stride, desc->rerope_window ? 2 : 1, &row_bytes) ||
        !rsc_add(row_bytes, 2 * l->distances + (desc->dtype != ROSACE_F32 ? desc->head_dim : 0), &row_bytes) ||
        !rsc_mul(row_bytes, sizeof(cl_float), &row_bytes) || !rsc_mul(batch, desc->n_heads, &all))
        return false;
    size_t blocks_bytes = scores_budget(device), wanted;
    if (blocks_bytes < row_bytes) blocks_bytes = row_bytes;
    if (rsc_mul(all, l->rows, &wanted) && rsc_mul(wanted, row_bytes, &wanted) && wanted < blocks_bytes) blocks_bytes = wanted;
    if (blocks_bytes / row_bytes < l->rows) l->rows = blocks_bytes / row_bytes;
    const size_t matrices = blocks_bytes / (row_bytes * l->rows);
    if (matrices >= desc->n_heads) {
        l->heads = desc->n_heads;
        l->batches = matrices / desc->n_heads < batch ? matrices / desc->n_heads : batch;
    } else {
        l->heads = matrices >= group ? matrices / group * group : 1;
        l->batches = 1;
    }
    if (desc->rope) {
        if (!take4(l, &l->q, batch, seq_q, desc->n_heads, desc->head_dim, element) ||
            !take4(l, &l->k, batch, seq_k, desc->n_kv_heads, desc->head_dim, element))
            return false;
        if (desc->rerope_window && !take4(l, &l->q_far, batch, seq_q, desc->n_heads, desc->head_dim, element)) return false;
        if (desc->rerope_leak > 0.0 && !take4(l, &l->k_far, batch, seq_k, desc->n_kv_heads, desc->head_dim, element))
            return false;
    }
    const gemm_state *state = plan->state;
    size_t start, bias_bytes;
    if (rsc_bias_bytes(&state->bias, &desc->mask, desc->n_heads, seq_q, seq_k, &bias_bytes) || !take(l, &l->bias, bias_bytes))
        return false;
    if (!rsc_add(blocks_bytes, N_BLOCKS * RSC_WORKSPACE_ALIGN, &blocks_bytes) || !take(l, &start, blocks_bytes)) return false;
    place_blocks(desc, l, start, l->batches * l->heads);
    return true;
}

static rosace_status workspace_bytes(const rosace_attention_plan *plan, size_t batch, size_t seq_q, size_t seq_k, size_t *bytes)
{
    layout l;
    if (!lay_out(plan, batch, seq_q, seq_k, &l))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "workspace: the bytes for batch %zu, seq_q %zu, seq_k %zu overflow", batch,
                        seq_q, seq_k);
    *bytes = l.bytes;
    return ROSACE_OK;
}

/* ---- Steps of a call --------------------------------------------------------------------------------------------- */

typedef struct run {
    rosace_attention_plan *plan;
    const gemm_state *state;
    rsc_chain *chain;
    const rsc_attention_call *call;
    layout at;
    rosace_tensor q, k, q_far, k_far; /* as the scores take them: rotated or as given */
    rsc_bias_place bias;       /* of the softmax kernel */
    /* The step: rows [row, row + rows) of `heads` heads from head on in `batches` batches from batch on. */
    size_t row, rows, batch, batches, head, heads;
    rosace_mask mask;        /* of these heads */
    rosace_interval part[2]; /* keys: head, band */
    size_t width[2];         /* their columns, side by side */
} run;

static size_t floats_at(const run *r, size_t bytes) { return (r->call->workspace_offset + bytes) / sizeof(cl_float); }

static rosace_status rotate(run *r)
{
    const rsc_attention_call *call = r->call;
    const rosace_tensor *q = &call->args->q, *k = &call->args->k;
    rosace_rope_plan *rope = r->state->rope;
    rosace_status status = rsc_attention_rotate(rope, r->chain, call, q, &call->q_positions, r->at.q, &r->q);
    if (!status) status = rsc_attention_rotate(rope, r->chain, call, k, &call->k_positions, r->at.k, &r->k);
    if (status || !r->plan->desc.rerope_window) return status;
    const rsc_rerope *rerope = &r->state->rerope;
    status = rsc_rerope_queries(rerope, rope, r->chain, call, r->at.q_far, &r->q_far);
    if (!status && rerope->slow)
        status = rsc_attention_rotate(rerope->slow, r->chain, call, k, &call->k_positions, r->at.k_far, &r->k_far);
    return status;
}

/* The step's part of a tensor of queries (q, out), from its first row on. */
static rsc_matmul_operand_args query_rows(const run *r, const rosace_tensor *t)
{
    return (rsc_matmul_operand_args){
        .offset = t->offset + r->batch * (size_t)t->stride[0] + r->row * (size_t)t->stride[1] + r->head * (size_t)t->stride[2],
        .row_stride = (size_t)t->stride[1],
        .outer_stride = (size_t)t->stride[0],
        .inner_stride = (size_t)t->stride[2],
        .inner_div = 1};
}

/* The step's part of a tensor of keys (k, v), from key `first` on. */
static rsc_matmul_operand_args key_rows(const run *r, const rosace_tensor *t, int64_t first)
{
    const size_t group = r->plan->desc.n_heads / r->plan->desc.n_kv_heads;
    return (rsc_matmul_operand_args){.offset = t->offset + r->batch * (size_t)t->stride[0] +
                                               (size_t)first * (size_t)t->stride[1] + r->head / group * (size_t)t->stride[2],
                                     .row_stride = (size_t)t->stride[1],
                                     .outer_stride = (size_t)t->stride[0],
                                     .inner_stride = (size_t)t->stride[2],
                                     .inner_div = (uint32_t)group};
}

/* A block in the workspace: [batches, heads, rows, row_stride] fp32. */
static rsc_matmul_operand_args block(const run *r, size_t bytes, size_t row_stride)
{
    const size_t matrix = r->rows * row_stride;
    return (rsc_matmul_operand_args){.offset = floats_at(r, bytes),
                                     .row_stride = row_stride,
                                     .outer_stride = r->heads * matrix,
                                     .inner_stride = matrix,
                                     .inner_div = 1};
}

static rosace_status multiply(const run *r, rsc_matmul *matmul, cl_mem a, const rsc_matmul_operand_args *ao, cl_mem b,
                              const rsc_matmul_operand_args *bo, cl_mem c, const rsc_matmul_operand_args *co, size_t n, size_t k,
                              float beta)
{
    const rsc_matmul_call call = {.a = a,
                                  .b = b,
                                  .c = c,
                                  .args = {.a = *ao,
                                           .b = *bo,
                                           .c = *co,
                                           .m = (uint32_t)r->rows,
                                           .n = (uint32_t)n,
                                           .k = (uint32_t)k,
                                           .inner = (uint32_t)r->heads,
                                           .alpha = 1.0f,
                                           .beta = beta},
                                  .batch = r->batches * r->heads};
    return rsc_matmul_chain(matmul, r->chain, &call);
}

/* q k^T over both parts, into the block at `bytes`. */
static rosace_status scores(const run *r, const rosace_tensor *q, const rosace_tensor *k, size_t bytes)
{
    const rsc_matmul_operand_args a = query_rows(r, q);
    rsc_matmul_operand_args c = block(r, bytes, r->at.row_stride);
    rosace_status status = ROSACE_OK;
    for (int i = 0; i < 2 && !status; i++) {
        const rsc_matmul_operand_args b = key_rows(r, k, r->part[i].begin);
        status = multiply(r, r->state->scores, q->mem, &a, k->mem, &b, r->call->workspace, &c, r->width[i],
                          r->plan->desc.head_dim, 0.0f);
        c.offset += r->width[i];
    }
    return status;
}

static rosace_status shaw_key(const run *r)
{
    const rosace_attention_args *args = r->call->args;
    const rosace_attention_desc *desc = &r->plan->desc;
    const rsc_matmul_operand_args a = query_rows(r, &args->q), c = block(r, r->at.shaw, r->at.distances);
    const rsc_matmul_operand_args b = {.offset = args->shaw_key_offset, .row_stride = desc->head_dim, .inner_div = 1};
    return multiply(r, r->state->shaw_key, args->q.mem, &a, args->shaw_key, &b, r->call->workspace, &c, r->at.distances,
                    desc->head_dim, 0.0f);
}

static rosace_status softmax(const run *r)
{
    const rosace_attention_args *args = r->call->args;
    const rosace_attention_desc *desc = &r->plan->desc;
    const rosace_positions *positions = &r->call->q_positions;
    const cl_mem workspace = r->call->workspace;
    const size_t matrix = r->rows * r->at.row_stride;
    const rsc_softmax_view view = {floats_at(r, r->at.scores), r->heads * matrix, matrix, r->at.row_stride};
    const bool shaw = desc->bias == ROSACE_BIAS_SHAW, logn = desc->logn_train_len > 0;
    /* Without head columns (the head may be merged with the band) one shift serves both parts. */
    const int64_t band_shift = (int64_t)r->width[0] - r->part[1].begin;
    const rsc_softmax_call call = {
        .scores = workspace,
        .probs = workspace,
        .far = workspace,
        .bias_params = r->bias.mem,
        .shaw = workspace,
        .histogram = workspace,
        .ids = logn ? positions->ids : NULL,
        .lse = args->lse,
        .rows = r->rows,
        .matrices = r->batches * r->heads,
        .extras = rsc_attention_extras_of(args),
        .args = {.scores = view,
                 .probs = view,
                 .mask = rsc_mask_pack(&r->mask, r->call->q_offset, (int64_t)r->call->seq_k),
                 .head_shift = r->width[0] ? -r->part[0].begin : band_shift,
                 .band_shift = band_shift,
                 .lse_offset = args->lse_offset,
                 .params_offset = r->bias.offset,
                 .bias_offset = floats_at(r, r->at.shaw),
                 .histogram_offset = floats_at(r, r->at.histogram),
                 .far_offset = floats_at(r, r->at.far),
                 .ids_offset = (int64_t)positions->ids_offset,
                 .ids_batch_stride = positions->batch_stride,
                 .ids_seq_stride = positions->seq_stride,
                 .position_first = positions->offset,
                 .use_ids = logn && positions->ids,
                 .b_first = (uint32_t)r->batch,
                 .h_first = (uint32_t)r->head,
                 .inner = (uint32_t)r->heads,
                 .heads = (uint32_t)desc->n_heads,
                 .rows = (uint32_t)r->rows,
                 .row_first = (uint32_t)r->row,
                 .columns = (uint32_t)(r->width[0] + r->width[1]),
                 .lse_rows = (uint32_t)r->call->lse_rows,
                 .has_lse = args->lse != NULL,
                 .has_bias = shaw && args->shaw_key,
                 .has_histogram = shaw && args->shaw_value,
                 .max_distance = (int32_t)desc->bias_max_distance,
                 .rerope_window = (int32_t)desc->rerope_window,
                 .scale = desc->scale,
                 .softcap = desc->softcap,
                 .far_scale = r->state->rerope.scale,
                 .inverse_log_train = logn ? (float)(1.0 / log((double)desc->logn_train_len)) : 0.0f}};
    return rsc_softmax_chain(&r->state->softmax, r->chain, &call);
}

/* fp16: the step's result from the workspace to out. */
static rosace_status round_out(const run *r)
{
    const rsc_matmul_operand_args to = query_rows(r, &r->call->args->out);
    const rsc_attention_view view = {to.offset, to.outer_stride, to.row_stride, to.inner_stride};
    const cl_ulong from = floats_at(r, r->at.out);
    const cl_uint rows = (cl_uint)r->rows, inner = (cl_uint)r->heads;
    const rosace_status status = RSC_ARGS(r->state->round, "attention_round", RSC_ARG(r->call->workspace), RSC_ARG(from),
                                          RSC_ARG(r->call->args->out.mem), RSC_ARG(view), RSC_ARG(rows), RSC_ARG(inner));
    const size_t global[2] = {r->rows, r->batches * r->heads};
    return status ? status : rsc_chain_kernel(r->chain, r->state->round, 2, global, NULL, "attention_round");
}

/* out = probs v over both parts, plus what Shaw's value table adds. Without any key, zeros. */
static rosace_status values(const run *r)
{
    const rosace_attention_args *args = r->call->args;
    const rosace_attention_desc *desc = &r->plan->desc;
    const bool direct = desc->dtype == ROSACE_F32;
    const rsc_matmul_operand_args c = direct ? query_rows(r, &args->out) : block(r, r->at.out, desc->head_dim);
    const cl_mem out = direct ? args->out.mem : r->call->workspace;
    rsc_matmul_operand_args a = block(r, r->at.scores, r->at.row_stride);
    rosace_status status = ROSACE_OK;
    float beta = 0.0f;
    for (int i = 0; i < 2 && !status; i++) {
        if (!r->width[i] && (i == 0 || beta != 0.0f)) continue;
        const rsc_matmul_operand_args b = key_rows(r, &args->v, r->width[i] ? r->part[i].begin : 0);
        status = multiply(r, r->state->values, r->call->workspace, &a, args->v.mem, &b, out, &c, desc->head_dim,
                          r->width[i], beta);
        a.offset += r->width[i];
        beta = 1.0f;
    }
    if (!status && r->at.distances && args->shaw_value) {
        const rsc_matmul_operand_args b = {.offset = args->shaw_value_offset, .row_stride = desc->head_dim, .inner_div = 1};
        a = block(r, r->at.histogram, r->at.distances);
        status = multiply(r, r->state->shaw_value, r->call->workspace, &a, args->shaw_value, &b, out, &c, desc->head_dim,
                          r->at.distances, 1.0f);
    }
    return status || direct ? status : round_out(r);
}

/* The keys that rows [row, row + rows) visit. */
static rosace_status visit(run *r)
{
    rosace_mask_tile tile;
    rosace_mask_tile_intervals(&r->mask, r->call->q_offset, (int64_t)r->call->seq_k, (int64_t)r->row,
                               (int64_t)(r->row + r->rows), &tile);
    r->part[0] = tile.head;
    r->part[1] = tile.band;
    for (int i = 0; i < 2; i++) {
        if (r->part[i].begin >= r->part[i].end) r->part[i] = (rosace_interval){0, 0};
        r->width[i] = (size_t)(r->part[i].end - r->part[i].begin);
    }
    if (r->width[0] + r->width[1] <= r->at.row_stride) return ROSACE_OK;
    return rsc_fail(ROSACE_UNSUPPORTED, "attention_gemm: rows from %zu on visit %zu keys, more than the %zu foreseen", r->row,
                    r->width[0] + r->width[1], r->at.row_stride);
}

static rosace_status step(const run *r)
{
    const rosace_attention_desc *desc = &r->plan->desc;
    rosace_status status = scores(r, &r->q, &r->k, r->at.scores);
    if (!status && desc->rerope_window) status = scores(r, &r->q_far, &r->k_far, r->at.far);
    if (!status && r->at.distances && r->call->args->shaw_key) status = shaw_key(r);
    if (!status) status = softmax(r);
    if (!status) status = values(r);
    return status;
}

/* How many heads from r->head on go at once: all that fit, or neighbours with one window. Those of a step either begin with a
 * key/value head or share one. */
static size_t heads_at_once(run *r, size_t most)
{
    const rosace_attention_desc *desc = &r->plan->desc;
    const size_t group = desc->n_heads / desc->n_kv_heads;
    const int64_t *windows = desc->head_window_left;
    if (!windows) return most;
    if (r->head % group && most > group - r->head % group) most = group - r->head % group;
    size_t n = 1;
    while (n < most && windows[r->head + n] == windows[r->head]) n++;
    r->mask.window_left = windows[r->head];
    return n;
}

static size_t at_most(size_t n, size_t most) { return n < most ? n : most; }

static rosace_status enqueue(rosace_attention_plan *plan, rsc_chain *chain, const rsc_attention_call *call)
{
    if (call->n_sequences) return rsc_sequences_each(plan, chain, call, enqueue);
    run r = {.plan = plan, .state = plan->state, .chain = chain, .call = call, .q = call->args->q, .k = call->args->k,
             .k_far = call->args->k, .mask = plan->desc.mask};
    if (!lay_out(plan, call->batch, call->seq_q, call->seq_k, &r.at))
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "workspace: its size overflows");
    rosace_status status = plan->desc.rope ? rotate(&r) : ROSACE_OK;
    const rsc_bias_place params = {call->args->bias_params, call->args->bias_params_offset};
    if (!status)
        status = rsc_bias_chain(&r.state->bias, chain, &plan->desc.mask, call->q_offset, plan->desc.n_heads, call->longest_q,
                                call->longest_k, params, call->workspace, call->workspace_offset + r.at.bias, &r.bias);
    for (r.row = 0; r.row < call->seq_q && !status; r.row += r.rows) {
        r.rows = at_most(r.at.rows, call->seq_q - r.row);
        for (r.batch = 0; r.batch < call->batch && !status; r.batch += r.batches) {
            r.batches = at_most(r.at.batches, call->batch - r.batch);
            for (r.head = 0; r.head < plan->desc.n_heads && !status; r.head += r.heads) {
                r.heads = heads_at_once(&r, at_most(r.at.heads, plan->desc.n_heads - r.head));
                status = visit(&r);
                if (!status) status = step(&r);
            }
        }
    }
    return status;
}

/* clang-format off */
const rsc_attention_variant rsc_attention_gemm_variants[] = {
    {"attention_gemm", ROSACE_PATH_GEMM, accepts, create, destroy, workspace_bytes, enqueue, NULL, NULL},
    {"attention_gemm_clblast", ROSACE_PATH_GEMM, accepts_clblast, create, destroy, workspace_bytes, enqueue, only_by_name, NULL},
    {.name = NULL},
};
/* clang-format on */
