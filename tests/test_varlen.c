/* SPDX-License-Identifier: MIT
 * Sequences of their own lengths in one call of attention, packed or padded: every row of every path against the reference, which
 * computes each alone. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bias_params.h"
#include "harness.h"
#include "src/device.h"
#include "src/ops/attention.h"
#include "src/reference/reference.h"

enum { MAX_SEQS = 8 };

typedef struct varlen_case {
    rosace_attention_desc desc;
    rosace_rope_desc rope; /* used when head_dim in it is not 0 */
    size_t n;              /* sequences */
    bool packed;
    int64_t seq_q[MAX_SEQS], seq_k[MAX_SEQS], visible[MAX_SEQS]; /* lengths; padded: seq_q[0] and seq_k[0] are the tensors' */
    bool lens;             /* `visible` says how many keys there are */
    int64_t q_offset, first_position;
    bool ids, one;         /* one: not even the batch is several sequences */
    int layout;
} varlen_case;

static const char *name_of(const varlen_case *c)
{
    const rosace_mask *m = &c->desc.mask;
    static char text[400];
    int at = snprintf(text, sizeof text, "%s%s causal %d window %lld:%lld sinks %lld prefix %lld chunk %lld bias %d offset %lld ids %d",
                      c->packed ? "packed" : "padded", c->desc.dtype == ROSACE_F16 ? " f16" : "", m->causal, (long long)m->window_left,
                      (long long)m->window_right, (long long)m->sinks, (long long)m->prefix, (long long)m->chunk, (int)c->desc.bias,
                      c->q_offset == ROSACE_ALIGN_BOTTOM_RIGHT ? -1LL : (long long)c->q_offset, c->ids);
    for (size_t i = 0; i < c->n; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, " %lld:%lld/%lld", (long long)c->seq_q[i], (long long)c->seq_k[i],
                       c->lens ? (long long)c->visible[i] : -1LL);
    return text;
}

/* Documents of all kinds, among them empty ones, such with more queries than keys, and such without keys. */
static varlen_case documents(void)
{
    varlen_case c = {.desc = ROSACE_ATTENTION_DESC_DEFAULT, .packed = true, .n = 6, .q_offset = ROSACE_ALIGN_BOTTOM_RIGHT,
                     .seq_q = {33, 0, 5, 70, 1, 9}, .seq_k = {33, 4, 0, 81, 40, 6}};
    if (harness_small()) {
        c.seq_q[0] = c.seq_k[0] = 11;
        c.seq_q[3] = 18;
        c.seq_k[3] = 21;
    }
    c.desc.n_heads = harness_small() ? 2 : 4;
    c.desc.n_kv_heads = c.desc.n_heads / 2;
    c.desc.head_dim = 32;
    c.desc.mask.causal = true;
    return c;
}

static varlen_case padded(size_t seq_q, size_t seq_k)
{
    varlen_case c = documents();
    c.packed = false;
    c.n = 4;
    c.seq_q[0] = (int64_t)seq_q;
    c.seq_k[0] = (int64_t)seq_k;
    c.lens = true;
    c.visible[0] = (int64_t)seq_k;
    c.visible[1] = 0;
    c.visible[2] = (int64_t)seq_k / 2;
    c.visible[3] = (int64_t)seq_k / 2;
    return c;
}

/* Documents of at most so many queries, as decoding has them. */
static varlen_case few(varlen_case c)
{
    for (size_t i = 0; i < c.n; i++)
        if (c.seq_q[i] > 3) c.seq_q[i] = 3;
    return c;
}

static const rsc_attention_variant *row_at(size_t i)
{
    const rsc_attention_variant *row;
    for (size_t at = 0; (row = rsc_attention_variant_at(at)) != NULL; at++) {
        if (!strcmp(row->name, "attention_gemm_clblast") || !strncmp(row->name, "attention_gpu_", 14)) continue;
        if (i-- == 0) return row;
    }
    return NULL;
}

typedef struct problem {
    rosace_attention_desc desc;
    rosace_attention_args args;
    rosace_tensor lse;
    int64_t cu_q[MAX_SEQS + 1], cu_k[MAX_SEQS + 1];
    double *out, *expected_lse;
    harness_tolerance tolerance;
} problem;

static int32_t *place_ids(size_t count, rosace_positions *out)
{
    int32_t *ids = harness_alloc(count, sizeof *ids);
    for (size_t i = 0; i < count; i++) ids[i] = (int32_t)harness_random_integer(0, 300);
    out->ids = harness_int32(ids, count, &out->ids_offset);
    return ids;
}

static int32_t *shifted(const varlen_case *c, const problem *p, bool keys, size_t batch, size_t seq)
{
    int32_t *ids = harness_alloc(batch * seq, sizeof *ids);
    for (size_t i = 0; i < c->n; i++) {
        const int64_t begin = c->packed ? (keys ? p->cu_k : p->cu_q)[i] : (int64_t)(i * seq);
        const int64_t length = c->packed ? (keys ? c->seq_k : c->seq_q)[i] : (int64_t)seq;
        for (int64_t m = 0; m < length; m++) ids[begin + m] = (int32_t)(c->first_position + m);
    }
    return ids;
}

static problem *make(const varlen_case *c)
{
    problem *p = harness_alloc(1, sizeof *p);
    p->desc = c->desc;
    rosace_attention_desc *d = &p->desc;
    if (c->rope.head_dim) d->rope = &c->rope;
    for (size_t i = 0; i < c->n; i++) {
        p->cu_q[i + 1] = p->cu_q[i] + c->seq_q[i];
        p->cu_k[i + 1] = p->cu_k[i] + c->seq_k[i];
    }
    const size_t batch = c->packed ? 1 : c->n;
    const size_t seq_q = (size_t)(c->packed ? p->cu_q[c->n] : c->seq_q[0]), seq_k = (size_t)(c->packed ? p->cu_k[c->n] : c->seq_k[0]);
    const size_t q_count = batch * seq_q * d->n_heads * d->head_dim, k_count = batch * seq_k * d->n_kv_heads * d->head_dim;
    double *q = harness_random(q_count, d->dtype), *k = harness_random(k_count, d->dtype), *v = harness_random(k_count, d->dtype);
    rosace_attention_args *a = &p->args;
    *a = (rosace_attention_args)ROSACE_ATTENTION_ARGS_DEFAULT;
    a->q = harness_tensor(c->layout, d->dtype, batch, seq_q, d->n_heads, d->head_dim, q);
    a->k = harness_tensor(c->layout, d->dtype, batch, seq_k, d->n_kv_heads, d->head_dim, k);
    a->v = harness_tensor(c->layout, d->dtype, batch, seq_k, d->n_kv_heads, d->head_dim, v);
    a->out = harness_tensor(c->layout, d->dtype, batch, seq_q, d->n_heads, d->head_dim, NULL);
    p->lse = harness_flat(ROSACE_F32, batch * d->n_heads * seq_q, NULL);
    a->lse = p->lse.mem;
    a->lse_offset = p->lse.offset;
    a->q_offset = c->q_offset;
    if (c->packed && !c->one) {
        a->n_seqs = c->n;
        a->cu_seqlens_q = p->cu_q;
        a->cu_seqlens_k = p->cu_k;
    }
    if (c->lens) a->seq_lens_k = c->visible;
    int32_t *q_ids = NULL, *k_ids = NULL;
    if (c->ids) {
        a->use_positions = true;
        a->q_positions.batch_stride = (ptrdiff_t)seq_q;
        a->k_positions.batch_stride = (ptrdiff_t)seq_k;
        q_ids = place_ids(batch * seq_q, &a->q_positions);
        k_ids = place_ids(batch * seq_k, &a->k_positions);
    } else if (c->first_position) {
        a->use_positions = true;
        a->q_positions.offset = a->k_positions.offset = c->first_position;
        q_ids = shifted(c, p, false, batch, seq_q);
        k_ids = shifted(c, p, true, batch, seq_k);
    }
    ref_bias bias = {d->bias, d->n_heads, d->bias_max_distance, d->bias_buckets, d->bias_width, d->bias_causal, NULL};
    const rosace_tensor params = bias_params(&bias);
    a->bias_params = params.mem;
    a->bias_params_offset = params.offset;

    p->out = harness_zeros(q_count);
    p->expected_lse = harness_zeros(batch * d->n_heads * seq_q);
    const ref_attention_args reference = {.batch = batch, .seq_q = seq_q, .seq_k = seq_k, .q_offset = c->q_offset, .q = q, .k = k,
                                          .v = v, .bias_params = bias.params, .q_positions = q_ids, .k_positions = k_ids,
                                          .out = p->out, .lse = p->expected_lse};
    ref_attention_sequences(d, &reference, c->packed ? c->n : 0, p->cu_q, p->cu_k, c->lens ? c->visible : NULL);

    /* As in test_attention.c. */
    const double unit = ldexp(1.0, -24), dim = (double)d->head_dim;
    double scale = 1.0 / sqrt(dim);
    if (d->logn_train_len) scale *= fmax(1.0, log(400.0 + (double)c->first_position) / log((double)d->logn_train_len));
    double score = unit * scale * dim * sqrt(dim) + bias_error(&bias, -(int64_t)seq_q, (int64_t)seq_k) + 8.0 * unit * (double)d->softcap;
    if (c->rope.head_dim) score += scale * sqrt(dim) * (d->dtype == ROSACE_F16 ? 4.0 * ldexp(1.0, -11) : 2e-6);
    p->tolerance = (harness_tolerance){.absolute = 2.0 * score + 16.0 * unit, .relative = 4.0 * unit, .mostly_zero = true};
    return p;
}

static void solve(const varlen_case *c, const char *variant)
{
    problem *p = make(c);
    harness_case("%s %s", variant, name_of(c));
    setenv("ROSACE_ATTENTION_VARIANT", variant, 1);
    const rosace_status status = rosace_attention(harness_context(), harness_queue(), &p->desc, &p->args, 0, NULL, NULL);
    unsetenv("ROSACE_ATTENTION_VARIANT");
    harness_ok(status);
    harness_check(variant, &p->args.out, p->out, p->tolerance);
    harness_tolerance lse = p->tolerance;
    lse.absolute *= 2.0;
    harness_check("lse", &p->lse, p->expected_lse, lse);
}

/* Decoding is for few queries, where a simulator gains by it, too. */
static void on_every_row(varlen_case c)
{
    for (size_t r = 0; row_at(r); r++) {
        /* llvmpipe ends loops early: long rows are refused there, which test_attention.c covers */
        if (row_at(r)->path == ROSACE_PATH_FUSED && c.seq_k[0] > 1000 && rsc_device_ends_loops(harness_device_info())) continue;
        const varlen_case own = row_at(r)->path == ROSACE_PATH_DECODE && harness_small() ? few(c) : c;
        solve(&own, row_at(r)->name);
    }
}

START_TEST(packed_documents)
{
    varlen_case c = documents();
    on_every_row(c);
    c.layout = HARNESS_GAPS;
    c.desc.mask.window_left = 6;
    c.desc.mask.sinks = 2;
    on_every_row(c);
    if (harness_small()) return;
    c.layout = HARNESS_BHSD_GAPS;
    c.desc.mask = (rosace_mask)ROSACE_MASK_DEFAULT;
    on_every_row(c);
    c.desc.mask.window_right = 3;
    c.desc.mask.prefix = 4;
    on_every_row(c);
    c.desc.mask = (rosace_mask)ROSACE_MASK_DEFAULT;
    c.desc.mask.causal = true;
    c.desc.mask.chunk = 8;
    c.desc.mask.chunk_back = 1;
    c.q_offset = 3;
    on_every_row(c);
    c.q_offset = ROSACE_ALIGN_BOTTOM_RIGHT;
    c.lens = true;
    for (size_t i = 0; i < c.n; i++) c.visible[i] = c.seq_k[i] / 2;
    on_every_row(c);
    on_every_row(few(documents()));
}
END_TEST

START_TEST(padded_keys)
{
    varlen_case c = padded(harness_small() ? 9 : 45, harness_small() ? 14 : 50);
    on_every_row(c);
    c.q_offset = 0;
    c.seq_k[0] = c.seq_q[0];
    for (size_t i = 0; i < c.n; i++)
        if (c.visible[i] > c.seq_k[0]) c.visible[i] = c.seq_k[0];
    c.desc.mask.window_left = 5;
    c.layout = HARNESS_GAPS;
    on_every_row(c);
    if (harness_small()) return;
    c = padded(1, 2300); /* decoding in several splits, most of them without keys for some */
    c.visible[3] = 3;
    on_every_row(c);
}
END_TEST

/* Positions that begin anew, biases by distance, softcap, log-n: one program a row. */
START_TEST(features)
{
    varlen_case c = documents();
    c.desc.dtype = ROSACE_F16;
    c.rope = (rosace_rope_desc)ROSACE_ROPE_DESC_DEFAULT;
    c.rope.head_dim = c.desc.head_dim;
    c.desc.bias = ROSACE_BIAS_TABLE;
    c.desc.bias_max_distance = 20;
    c.desc.softcap = 4.0f;
    c.desc.logn_train_len = 12;
    c.desc.mask.window_left = 30;
    on_every_row(c);
    c.ids = true;
    on_every_row(c);
    if (harness_small()) return;
    c.ids = false;
    c.first_position = 77;
    on_every_row(c);
    varlen_case d = padded(7, 60);
    d.desc = c.desc;
    d.rope = c.rope;
    on_every_row(d);
    d.ids = true;
    on_every_row(d);
    d.ids = false;
    d.first_position = 77;
    on_every_row(d);
}
END_TEST

static rosace_tensor rows_of(const rosace_tensor *t, int64_t begin, int64_t count)
{
    rosace_tensor own = *t;
    own.offset += (size_t)begin * (size_t)own.stride[1];
    own.shape[1] = (size_t)count;
    return own;
}

/* Windows of their own for each head, alone and with documents; keys that only some heads of a group see in both parts. */
START_TEST(windows_of_heads)
{
    static const int64_t several[2][4] = {{3, 40, -1, 0}, {9, 9, 2, 2}};
    for (int i = 0; i < (harness_small() ? 1 : 2); i++) {
        varlen_case c = documents();
        c.desc.head_window_left = several[i];
        c.desc.mask.sinks = 2 * i;
        on_every_row(c);
        c.n = 1;
        c.one = true;
        c.seq_q[0] = harness_small() ? 9 : 40;
        c.seq_k[0] = harness_small() ? 20 : 90;
        on_every_row(c);
        if (harness_small()) return;
        c.desc.mask.causal = false;
        c.desc.mask.prefix = 5;
        on_every_row(c);
        c = few(c);
        on_every_row(c);
    }
}
END_TEST

/* So few that no row takes several tiles at once: then all it does for a document is what it does for that alone. */
START_TEST(alone_same_bits)
{
    varlen_case c = documents();
    c.desc.n_heads = c.desc.n_kv_heads = 1;
    c.n = 3;
    c.seq_q[1] = 2;
    c.seq_q[2] = 7;
    c.seq_k[2] = 20;
    for (size_t r = 0; row_at(r); r++) {
        problem *p = make(&c);
        harness_case("%s %s", row_at(r)->name, name_of(&c));
        setenv("ROSACE_ATTENTION_VARIANT", row_at(r)->name, 1);
        harness_ok(rosace_attention(harness_context(), harness_queue(), &p->desc, &p->args, 0, NULL, NULL));
        const double *together = harness_download(&p->args.out);
        for (size_t i = 0; i < c.n; i++) {
            rosace_attention_args own = ROSACE_ATTENTION_ARGS_DEFAULT;
            own.q = rows_of(&p->args.q, p->cu_q[i], c.seq_q[i]);
            own.k = rows_of(&p->args.k, p->cu_k[i], c.seq_k[i]);
            own.v = rows_of(&p->args.v, p->cu_k[i], c.seq_k[i]);
            own.out = harness_tensor(HARNESS_BSHD, c.desc.dtype, 1, (size_t)c.seq_q[i], 1, c.desc.head_dim, NULL);
            harness_ok(rosace_attention(harness_context(), harness_queue(), &p->desc, &own, 0, NULL, NULL));
            const double *alone = harness_download(&own.out);
            const size_t first = (size_t)p->cu_q[i] * c.desc.head_dim, count = (size_t)c.seq_q[i] * c.desc.head_dim;
            for (size_t e = 0; e < count; e++)
                if (memcmp(&alone[e], &together[first + e], sizeof *alone) != 0)
                    harness_fail_at(__FILE__, __LINE__, "document %zu, element %zu: %.9g alone, %.9g packed", i, e, alone[e],
                                    together[first + e]);
        }
        unsetenv("ROSACE_ATTENTION_VARIANT");
    }
}
END_TEST

/* A plan of its own workspace, made for the largest call; calls without arrays are right, too. */
START_TEST(plans)
{
    varlen_case c = documents();
    c.desc.varlen = true;
    problem *p = make(&c);
    rosace_attention_desc desc = p->desc;
    desc.max_batch = 2;
    desc.max_seq_q = p->args.q.shape[1];
    desc.max_seq_k = p->args.k.shape[1];
    rosace_attention_plan *plan = NULL;
    harness_ok(rosace_attention_plan_create(harness_context(), &desc, &plan));
    harness_ok(rosace_attention_enqueue(plan, harness_queue(), &p->args, 0, NULL, NULL));
    harness_check("plan", &p->args.out, p->out, p->tolerance);
    c = padded(7, 9);
    c.lens = false;
    c.n = 2;
    c.desc.varlen = true;
    p = make(&c);
    harness_ok(rosace_attention_enqueue(plan, harness_queue(), &p->args, 0, NULL, NULL));
    harness_check("plan", &p->args.out, p->out, p->tolerance);
    rosace_attention_plan_destroy(&plan);
}
END_TEST

START_TEST(wrong_arrays)
{
    varlen_case c = documents();
    const varlen_case good = c;
#define WRONG(change, text)                                                                                            \
    do {                                                                                                               \
        c = good;                                                                                                      \
        problem *p = make(&c);                                                                                         \
        rosace_attention_args *a = &p->args;                                                                           \
        const size_t n = c.n;                                                                                          \
        (void)n;                                                                                                       \
        change;                                                                                                        \
        harness_case("%s", #change);                                                                                   \
        harness_refused(rosace_attention(harness_context(), harness_queue(), &p->desc, a, 0, NULL, event), event, &a->out, \
                        ROSACE_INVALID_ARGUMENT, text);                                                                \
    } while (0)
    static const int64_t lens[] = {33, 4, 0, 82, 40, 6}, negative[] = {1, -1, 0, 0, 0, 0};
    WRONG(p->cu_q[0] = 1, "cu_seqlens_q[0] = 1");
    WRONG(p->cu_k[0] = -1, "cu_seqlens_k[0] = -1");
    WRONG(p->cu_q[2] = p->cu_q[1] - 1, "cu_seqlens_q[2] = ");
    WRONG(p->cu_k[3] = p->cu_k[n] + 1, "cu_seqlens_k[3] = ");
    WRONG(p->cu_k[n] -= 1, "the length of the tensor");
    WRONG(p->cu_q[n] += 1, "cu_seqlens_q[6] = ");
    WRONG(a->cu_seqlens_k = NULL, "cu_seqlens_k (NULL, so cu_seqlens_q)");
    WRONG(a->cu_seqlens_q = NULL, "cu_seqlens_q: NULL");
    WRONG(a->n_seqs = 0; a->seq_lens_k = lens, "n_seqs = 0");
    WRONG(a->n_seqs = ((size_t)1 << 30) + 1; a->cu_seqlens_q = NULL, "n_seqs = 1073741825");
    WRONG(a->seq_lens_k = lens, harness_small() ? "seq_lens_k[0] = 33" : "seq_lens_k[3] = 82: must be 0 to 81");
    WRONG(a->seq_lens_k = negative, "seq_lens_k[1] = -1");
    WRONG(a->q_offset = -2, "q_offset = -2");
    static const int64_t short_windows[] = {0, -2, 0, 0}, long_windows[] = {0, (int64_t)1 << 30, 0, 0};
    WRONG(p->desc.head_window_left = short_windows, "head_window_left[1] = -2: must be -1 to 2^30 - 1");
    WRONG(p->desc.head_window_left = long_windows, "head_window_left[1] = 1073741824");
    c = padded(3, 5);
    problem *p = make(&c);
    p->args.n_seqs = 2;
    p->args.cu_seqlens_q = p->cu_q;
    harness_refused(rosace_attention(harness_context(), harness_queue(), &p->desc, &p->args, 0, NULL, event), event, &p->args.out,
                    ROSACE_INVALID_ARGUMENT, "q.shape[0] = 4");
    rosace_attention_plan *plan = NULL;
    harness_ok(rosace_attention_plan_create(harness_context(), &p->desc, &plan));
    harness_refused(rosace_attention_enqueue(plan, harness_queue(), &p->args, 0, NULL, event), event, &p->args.out,
                    ROSACE_INVALID_ARGUMENT, "n_seqs = 2: the plan's varlen is false");
    p->args.n_seqs = 0;
    p->args.cu_seqlens_q = NULL;
    harness_refused(rosace_attention_enqueue(plan, harness_queue(), &p->args, 0, NULL, event), event, &p->args.out,
                    ROSACE_INVALID_ARGUMENT, "seq_lens_k");
    rosace_attention_plan_destroy(&plan);
}
END_TEST

HARNESS_DEVICE_SUITE("varlen", packed_documents, padded_keys, windows_of_heads, features, alone_same_bits, plans, wrong_arrays)
