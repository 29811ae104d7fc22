/* SPDX-License-Identifier: MIT
 * The forward direction: a system on a path, on the device and by the reference. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../reference/reference.h"
#include "../cli.h"
#include "verify.h"

enum { HEADS = 4, KV_HEADS = 2, HEAD_DIM = 32, AXES = 4, DECODE_QUERIES = 3, POSITION = 1000 };
static const double unit = 0x1p-24; /* half a unit in the last place of an fp32 number below 1 */

typedef struct sizes {
    size_t batch, seq_q, seq_k, kv_heads, q_count, k_count, lse_count;
} sizes;

static sizes sizes_of(const verify_device *device, const verify_cell *cell)
{
    sizes s = {.batch = device->quick ? 1 : 2, .seq_q = device->quick ? 20 : 60, .seq_k = device->quick ? 33 : 75};
    if (cell->path == VERIFY_DECODE) s.seq_q = DECODE_QUERIES;
    s.kv_heads = cell->system->kv_heads ? cell->system->kv_heads : KV_HEADS;
    s.q_count = s.batch * s.seq_q * HEADS * HEAD_DIM;
    s.k_count = s.batch * s.seq_k * s.kv_heads * HEAD_DIM;
    s.lse_count = s.batch * HEADS * s.seq_q;
    return s;
}

/* Numbers on the host and the same on the device. */
typedef struct pair {
    double *values;
    cl_mem mem;
} pair;

static bool make_pair(const verify_device *device, rosace_dtype dtype, size_t count, double low, double high, uint64_t seed, pair *out)
{
    out->values = verify_random(count, dtype, low, high, seed);
    out->mem = out->values ? verify_upload(device, dtype, count, out->values) : NULL;
    return out->mem != NULL;
}

static void drop_pair(pair *p)
{
    free(p->values);
    if (p->mem) clReleaseMemObject(p->mem);
    *p = (pair){NULL, NULL};
}

static rosace_rope_desc rope_of(const verify_cell *cell)
{
    rosace_rope_desc rope = cell->system->rope;
    rope.head_dim = HEAD_DIM;
    rope.dtype = cell->dtype;
    if (rope.scaling.factor == 0.0) rope.scaling = (rosace_rope_scaling){.factor = 1.0};
    return rope;
}

/* ROSACE_UNSUPPORTED is the library's word for what a path or device cannot do; anything else is a failure of the cell. */
static void refused(verify_cell *cell, rosace_status status)
{
    cell->outcome = status == ROSACE_UNSUPPORTED ? VERIFY_DECLINED : VERIFY_FAILED;
    snprintf(cell->reason, sizeof cell->reason, "%s", rosace_last_error());
}

/* ---- Rotation ------------------------------------------------------------------------------------------------------ */

/* Two products with a cos and a sin that are within 1e-7, and three roundings, of inputs below 1; xPos multiplies by a factor
 * that has five roundings of its own. */
static bool check_rotation(verify_cell *cell, size_t count, const double *got, const double *expected, const double *factors)
{
    rosace_rope_desc rope = rope_of(cell);
    double factor = 1.0;
    if (!cell->system->sinusoidal && rosace_rope_frequencies(&rope, NULL, &factor)) return false;
    if (factors) factor *= 2.0;
    return verify_compare(cell->dtype, count, got, expected, 4e-7 * factor, factors, 0.0, &cell->out);
}

/* Positions [axes, tokens] of a few hundred to a few thousand, different on each axis. */
static bool make_positions(const verify_device *device, size_t batch, size_t seq, size_t axes, int32_t **out, cl_mem *mem)
{
    const size_t tokens = batch * seq;
    cl_int code = CL_SUCCESS;
    int32_t *ids = *out = cli_calloc(axes * tokens, sizeof *ids);
    if (!ids) return false;
    for (size_t i = 0; i < axes * tokens; i++) ids[i] = (int32_t)(POSITION * (i / tokens + 1) + 7 * (i % tokens % seq));
    *mem = clCreateBuffer(rosace_context_cl(device->context), CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR,
                          axes * tokens * sizeof *ids, ids, &code);
    return *mem || cli_fail_cl(code, "verify: clCreateBuffer");
}

static bool rotate(const verify_device *device, verify_cell *cell)
{
    const sizes s = sizes_of(device, cell);
    const size_t axes = cell->system->rope.axes ? cell->system->rope.axes : 1;
    const size_t heads[2] = {HEADS, s.kv_heads};
    rosace_rope_desc rope = rope_of(cell);
    rosace_tensor tensors[2];
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    pair x[2] = {{NULL, NULL}, {NULL, NULL}};
    int32_t *ids = NULL;
    cl_mem ids_mem = NULL;
    bool ok = make_positions(device, s.batch, s.seq_k, axes, &ids, &ids_mem);
    args.positions = (rosace_positions){.ids = ids_mem, .batch_stride = (ptrdiff_t)s.seq_k, .seq_stride = 1,
                                        .axis_stride = (ptrdiff_t)(s.batch * s.seq_k)};
    for (size_t i = 0; ok && i < 2; i++) {
        ok = make_pair(device, cell->dtype, s.batch * s.seq_k * heads[i] * HEAD_DIM, -1.0, 1.0, i + 1, &x[i]);
        tensors[i] = rosace_tensor_bshd(x[i].mem, cell->dtype, s.batch, s.seq_k, heads[i], HEAD_DIM);
    }
    if (!ok) goto done;
    const bool sinusoidal = cell->system->sinusoidal;
    if (sinusoidal) tensors[0] = rosace_tensor_bshd(x[0].mem, cell->dtype, s.batch, s.seq_k, 1, HEADS * HEAD_DIM);
    args.q = &tensors[0];
    args.k = &tensors[1];
    const rosace_status status =
        sinusoidal ? rosace_sinusoidal_add(device->context, device->queue, &tensors[0], &args.positions, 1.0f, 0, NULL, NULL)
                   : rosace_rope(device->context, device->queue, &rope, &args, 0, NULL, NULL);
    if (status) {
        refused(cell, status);
        goto done;
    }
    cell->outcome = VERIFY_PASSED;
    for (size_t i = 0; ok && i < (sinusoidal ? 1 : 2); i++) {
        const size_t count = s.batch * s.seq_k * heads[i] * HEAD_DIM;
        double *got = verify_download(device, cell->dtype, count, x[i].mem);
        double *factors = rope.xpos_base > 0.0 ? cli_calloc(count, sizeof *factors) : NULL;
        if (sinusoidal) ref_sinusoidal_add(s.batch, s.seq_k, HEADS * HEAD_DIM, ids, 1.0, x[i].values);
        else ref_rope(&rope, s.batch, s.seq_k, heads[i], ids, x[i].values);
        for (size_t j = 0; factors && j < count; j++) factors[j] = 1.0;
        if (factors) {
            ref_xpos(&rope, s.batch, s.seq_k, heads[i], ids, i == 1, factors);
            for (size_t j = 0; j < count; j++) x[i].values[j] *= factors[j];
        }
        ok = got && (factors || rope.xpos_base == 0.0);
        if (ok && !check_rotation(cell, count, got, x[i].values, factors)) cell->outcome = VERIFY_FAILED;
        free(factors);
        free(got);
    }
done:
    for (size_t i = 0; i < 2; i++) drop_pair(&x[i]);
    free(ids);
    if (ids_mem) clReleaseMemObject(ids_mem);
    return ok;
}

/* ---- Attention ----------------------------------------------------------------------------------------------------- */

/* All that a call reads and writes, and what it should give. */
typedef struct attention {
    sizes s;
    rosace_attention_desc desc;
    rosace_rope_desc rope;
    ref_bias bias;
    pair q, k, v, params, shaw_key, shaw_value, sinks;
    cl_mem out, lse;
    double *expected, *expected_lse;
} attention;

static void drop(attention *a)
{
    pair *const pairs[] = {&a->q, &a->k, &a->v, &a->params, &a->shaw_key, &a->shaw_value, &a->sinks};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) drop_pair(pairs[i]);
    if (a->out) clReleaseMemObject(a->out);
    if (a->lse) clReleaseMemObject(a->lse);
    free(a->expected);
    free(a->expected_lse);
}

/* Numbers such as models have them: ALiBi's slopes, Sandwich's factors, learned ones of either sign or, for KERPLE, above 0. */
static bool make_params(const verify_device *device, attention *a)
{
    const size_t count = ref_bias_params(&a->bias);
    const bool learned = a->bias.kind == ROSACE_BIAS_T5 || a->bias.kind == ROSACE_BIAS_TABLE;
    if (!count) return true;
    if (!make_pair(device, ROSACE_F32, count, learned ? -2.0 : 0.25, learned ? 2.0 : 1.25, 11, &a->params)) return false;
    if (a->bias.kind == ROSACE_BIAS_ALIBI || a->bias.kind == ROSACE_BIAS_SANDWICH) {
        for (size_t h = 0; h < HEADS; h++)
            a->params.values[h] = (double)(float)(a->bias.kind == ROSACE_BIAS_ALIBI ? ref_alibi_slope(HEADS, h)
                                                                                   : HEADS / (8.0 * (double)(h + 1)));
        clReleaseMemObject(a->params.mem);
        a->params.mem = verify_upload(device, ROSACE_F32, count, a->params.values);
    }
    a->bias.params = a->params.values;
    return a->params.mem != NULL;
}

static bool prepare(const verify_device *device, const verify_cell *cell, attention *a)
{
    static const rosace_attention_path paths[] = {[VERIFY_FUSED] = ROSACE_PATH_FUSED, [VERIFY_DECODE] = ROSACE_PATH_DECODE,
                                                  [VERIFY_GEMM] = ROSACE_PATH_GEMM};
    const sizes *s = &a->s;
    rosace_attention_desc *desc = &a->desc;
    a->s = sizes_of(device, cell);
    *desc = cell->system->attention;
    desc->struct_size = sizeof *desc;
    desc->n_heads = HEADS;
    desc->n_kv_heads = s->kv_heads;
    desc->head_dim = HEAD_DIM;
    desc->dtype = cell->dtype;
    desc->path = paths[cell->path];
    desc->max_batch = s->batch;
    desc->max_seq_q = s->seq_q;
    desc->max_seq_k = s->seq_k;
    if (desc->scale == 0.0f) desc->scale = (float)(1.0 / sqrt((double)HEAD_DIM));
    a->rope = rope_of(cell);
    if (cell->system->rope.theta > 0.0) desc->rope = &a->rope;
    a->bias = (ref_bias){desc->bias, HEADS, desc->bias_max_distance, desc->bias_buckets, desc->bias_width, desc->bias_causal, NULL};
    bool ok = make_pair(device, cell->dtype, s->q_count, -1.0, 1.0, 1, &a->q) &&
              make_pair(device, cell->dtype, s->k_count, -1.0, 1.0, 2, &a->k) &&
              make_pair(device, cell->dtype, s->k_count, -1.0, 1.0, 3, &a->v) && make_params(device, a);
    if (ok && desc->bias == ROSACE_BIAS_SHAW) {
        const size_t count = (size_t)(2 * desc->bias_max_distance + 1) * HEAD_DIM;
        ok = make_pair(device, ROSACE_F32, count, -1.0, 1.0, 12, &a->shaw_key) &&
             make_pair(device, ROSACE_F32, count, -1.0, 1.0, 13, &a->shaw_value);
    }
    if (ok && desc->sink_logits) ok = make_pair(device, ROSACE_F32, HEADS, -1.0, 3.0, 14, &a->sinks);
    a->expected = ok ? cli_calloc(s->q_count, sizeof *a->expected) : NULL;
    a->expected_lse = ok ? cli_calloc(s->lse_count, sizeof *a->expected_lse) : NULL;
    a->out = ok ? verify_upload(device, cell->dtype, s->q_count, NULL) : NULL;
    a->lse = ok ? verify_upload(device, ROSACE_F32, s->lse_count, NULL) : NULL;
    return a->expected && a->expected_lse && a->out && a->lse;
}

static rosace_status call(const verify_device *device, verify_cell *cell, attention *a)
{
    const sizes *s = &a->s;
    rosace_attention_plan *plan = NULL;
    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    args.q = rosace_tensor_bshd(a->q.mem, cell->dtype, s->batch, s->seq_q, HEADS, HEAD_DIM);
    args.k = rosace_tensor_bshd(a->k.mem, cell->dtype, s->batch, s->seq_k, s->kv_heads, HEAD_DIM);
    args.v = rosace_tensor_bshd(a->v.mem, cell->dtype, s->batch, s->seq_k, s->kv_heads, HEAD_DIM);
    args.out = rosace_tensor_bshd(a->out, cell->dtype, s->batch, s->seq_q, HEADS, HEAD_DIM);
    args.lse = a->lse;
    args.bias_params = a->params.mem;
    args.shaw_key = a->shaw_key.mem;
    args.shaw_value = a->shaw_value.mem;
    args.sink_logits = a->sinks.mem;
    rosace_status status = rosace_attention_plan_create(device->context, &a->desc, &plan);
    if (!status) snprintf(cell->variant, sizeof cell->variant, "%s", rosace_attention_plan_variant(plan));
    if (!status) status = rosace_attention_enqueue(plan, device->queue, &args, 0, NULL, NULL);
    rosace_attention_plan_destroy(&plan);
    return status;
}

static void expect(attention *a)
{
    const sizes *s = &a->s;
    const ref_attention_args reference = {
        .batch = s->batch, .seq_q = s->seq_q, .seq_k = s->seq_k, .q_offset = (int64_t)(s->seq_k - s->seq_q), .q = a->q.values,
        .k = a->k.values, .v = a->v.values, .bias_params = a->params.values, .shaw_key = a->shaw_key.values,
        .shaw_value = a->shaw_value.values, .out = a->expected, .lse = a->expected_lse, .sink_logits = a->sinks.values};
    ref_attention(&a->desc, &reference);
}

/* What a bias may be off. A logarithm or power is within 16 units in the last place by OpenCL's rules, products and roundings
 * beside it within 2; a sum of cosines, each off by 1e-7, rounds once per term. */
static double bias_bound(const attention *a)
{
    double largest = 0.0, factor = 0.0;
    for (size_t h = 0; a->bias.params && h < HEADS; h++) {
        for (int64_t d = -(int64_t)a->s.seq_q; d < (int64_t)a->s.seq_k; d++) largest = fmax(largest, fabs(ref_bias_at(&a->bias, h, d)));
        factor = fmax(factor, fabs(a->params.values[h]));
    }
    if (a->bias.kind != ROSACE_BIAS_SANDWICH) return 18.0 * unit * largest;
    const double terms = (double)(a->bias.width / 2);
    return factor * terms * (1e-7 + unit * sqrt(terms)) + 2.0 * unit * largest;
}

/* What a score may be off bounds what a weight is off, relatively, and so a result, which is a mean of values below 1. A score
 * is a sum of HEAD_DIM products below 1 (rounding errors add up like a random walk) times the scale, and a bias; with rope both
 * operands are rotated and kept in the data type. 16 more roundings for exponential, sums and rescaling. Shaw's terms double
 * the products of a score and the size of a value. */
static bool check_attention(const verify_device *device, verify_cell *cell, const attention *a)
{
    static const double stored[VERIFY_DTYPES] = {[ROSACE_F32] = 2e-6, [ROSACE_F16] = 4 * 0x1p-11, [ROSACE_BF16] = 4 * 0x1p-8};
    const double dim = HEAD_DIM;
    double largest = (double)a->desc.scale, factor = 1.0;
    if (a->desc.rope && rosace_rope_frequencies(a->desc.rope, NULL, &factor)) return cli_fail_rosace("verify");
    if (a->desc.logn_train_len) largest *= fmax(1.0, log((double)a->s.seq_k + 1.0) / log((double)a->desc.logn_train_len));
    largest *= factor * factor;
    double score = unit * largest * dim * sqrt(dim) + bias_bound(a) + 8.0 * unit * (double)a->desc.softcap;
    if (a->desc.rope) score += largest * sqrt(dim) * stored[cell->dtype];
    double bound = 2.0 * score + 16.0 * unit;
    if (a->desc.bias == ROSACE_BIAS_SHAW) bound *= 4.0;

    double *out = verify_download(device, cell->dtype, a->s.q_count, a->out);
    double *lse = out ? verify_download(device, ROSACE_F32, a->s.lse_count, a->lse) : NULL;
    if (lse) {
        const bool right = verify_compare(cell->dtype, a->s.q_count, out, a->expected, bound, NULL, 4.0 * unit, &cell->out);
        const bool sums = verify_compare(ROSACE_F32, a->s.lse_count, lse, a->expected_lse, 2.0 * bound, NULL, 4.0 * unit, &cell->lse);
        cell->outcome = right && sums ? VERIFY_PASSED : VERIFY_FAILED;
    }
    free(out);
    free(lse);
    return lse != NULL;
}

static bool attend(const verify_device *device, verify_cell *cell)
{
    attention a = {.out = NULL};
    bool ok = prepare(device, cell, &a);
    const rosace_status status = ok ? call(device, cell, &a) : ROSACE_OK;
    if (status) {
        refused(cell, status);
    } else if (ok) {
        expect(&a);
        ok = check_attention(device, cell, &a);
    }
    drop(&a);
    return ok;
}

bool verify_forward(const verify_device *device, verify_cell *cell)
{
    return cell->path == VERIFY_ROTATE ? rotate(device, cell) : attend(device, cell);
}
