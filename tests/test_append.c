/* SPDX-License-Identifier: MIT
 * Appending to a cache of keys and values in the launch that rotates: what is written where, and every refusal. */
#include <math.h>
#include <string.h>

#include "harness.h"
#include "src/ops/rope.h"
#include "src/reference/reference.h"
#include <rosace/attention.h>

/* Old contents of a cache with tokens [batch, seq] from `slot` on in place of what was there. */
static double *cache_with(const double *old, const double *tokens, size_t batch, size_t slots, size_t seq, size_t slot,
                          size_t width)
{
    double *cache = harness_copy(old, batch * slots * width);
    for (size_t b = 0; b < batch; b++)
        memcpy(cache + (b * slots + slot) * width, tokens + b * seq * width, seq * width * sizeof *tokens);
    return cache;
}

static void append(const rosace_rope_desc *desc, rosace_device_class device_class, size_t seq, size_t slot, int cache_layout,
                   int v_layout, bool with_v, bool q_in_place)
{
    enum { BATCH = 2, SLOTS = 40, HEADS = 6, KV_HEADS = 2 };
    const size_t dim = desc->head_dim, width = KV_HEADS * dim;
    harness_case("head_dim %zu rotary_dim %zu interleaved %d dtype %d class %d seq %zu slot %zu layouts %s %s v %d in place %d", dim,
                 desc->rotary_dim, desc->interleaved, (int)desc->dtype, (int)device_class, seq, slot,
                 harness_layout_name(cache_layout), harness_layout_name(v_layout), with_v, q_in_place);
    double *q = harness_random(BATCH * seq * HEADS * dim, desc->dtype), *k = harness_random(BATCH * seq * width, desc->dtype),
           *v = harness_random(BATCH * seq * width, desc->dtype);
    double *old_k = harness_random(BATCH * SLOTS * width, desc->dtype), *old_v = harness_random(BATCH * SLOTS * width, desc->dtype);
    rosace_tensor tq = harness_tensor(HARNESS_GAPS, desc->dtype, BATCH, seq, HEADS, dim, q);
    const rosace_tensor tk = harness_tensor(v_layout, desc->dtype, BATCH, seq, KV_HEADS, dim, k);
    const rosace_tensor tv = harness_tensor(v_layout, desc->dtype, BATCH, seq, KV_HEADS, dim, v);
    const rosace_tensor k_cache = harness_tensor(cache_layout, desc->dtype, BATCH, SLOTS, KV_HEADS, dim, old_k);
    const rosace_tensor v_cache = harness_tensor((cache_layout + 1) % HARNESS_LAYOUTS, desc->dtype, BATCH, SLOTS, KV_HEADS, dim,
                                                 old_v);
    const rosace_tensor q_out = harness_tensor(HARNESS_BHSD, desc->dtype, BATCH, seq, HEADS, dim, NULL);
    rosace_rope_args args = ROSACE_ROPE_ARGS_DEFAULT;
    args.q = &tq;
    args.q_out = q_in_place ? NULL : &q_out;
    args.k = &tk;
    args.k_cache = &k_cache;
    if (with_v) {
        args.v = &tv;
        args.v_cache = &v_cache;
    }
    args.cache_slot = slot;
    args.positions.offset = (int64_t)slot;
    rosace_rope_plan *plan = NULL;
    harness_ok(rsc_rope_plan_create_as(harness_context(), desc, device_class, &plan));
    harness_ok(rosace_rope_enqueue(plan, harness_queue(), &args, 0, NULL, NULL));
    rosace_rope_plan_destroy(&plan);

    int32_t *positions = harness_alloc(BATCH * seq, sizeof *positions);
    for (size_t i = 0; i < BATCH * seq; i++) positions[i] = (int32_t)(slot + i % seq);
    ref_rope(desc, BATCH, seq, HEADS, positions, q);
    ref_rope(desc, BATCH, seq, KV_HEADS, positions, k);
    const harness_tolerance tolerance = {.absolute = 6e-7};
    harness_check("append q", q_in_place ? &tq : &q_out, q, tolerance);
    harness_check("append k", &k_cache, cache_with(old_k, k, BATCH, SLOTS, seq, slot, width), tolerance);
    if (with_v) harness_check("append v", &v_cache, cache_with(old_v, v, BATCH, SLOTS, seq, slot, width), (harness_tolerance){.absolute = 0.0});
    else harness_check_untouched(&v_cache);
    harness_check_untouched(&tk);
    harness_check_untouched(&tv);
}

/* A program for a descriptor and a class of device serves many calls. */
START_TEST(writes_its_slots_and_nothing_else)
{
    for (int class = 0; class < 2; class++)
        for (int i = 0; i < (harness_small() ? 1 : 3); i++) {
            rosace_rope_desc desc = ROSACE_ROPE_DESC_DEFAULT;
            desc.head_dim = i == 1 ? 20 : 32;
            desc.rotary_dim = i == 0 ? 32 : i == 1 ? 12 : 24;
            desc.interleaved = i == 2;
            desc.dtype = i == 1 ? ROSACE_F16 : ROSACE_F32;
            const rosace_device_class device_class = class ? ROSACE_DEVICE_DISCRETE : ROSACE_DEVICE_CPU;
            for (int layout = 0; layout < HARNESS_LAYOUTS; layout += harness_small() ? 3 : 1) {
                append(&desc, device_class, 1, (size_t)layout, layout, HARNESS_BSHD, true, true);
                append(&desc, device_class, 5, 35, layout, (layout + 2) % HARNESS_LAYOUTS, true, false);
                append(&desc, device_class, 40, 0, layout, HARNESS_BHSD, layout % 2, layout % 3 == 0);
            }
        }
}
END_TEST

/* Tokens one by one into a cache, attention over what is there so far: the same as attention over all with rotation on load. */
START_TEST(decodes_what_one_call_computes)
{
    enum { HEADS = 8, KV_HEADS = 2, DIM = 32, SEQ = 9, SLOTS = 12 };
    rosace_rope_desc rope = ROSACE_ROPE_DESC_DEFAULT;
    rope.head_dim = DIM;
    rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
    desc.n_heads = HEADS;
    desc.n_kv_heads = KV_HEADS;
    desc.head_dim = DIM;
    desc.mask.causal = true;
    desc.mask.window_left = 5;
    double *q = harness_random(SEQ * HEADS * DIM, ROSACE_F32), *k = harness_random(SEQ * KV_HEADS * DIM, ROSACE_F32),
           *v = harness_random(SEQ * KV_HEADS * DIM, ROSACE_F32), *expected = harness_zeros(SEQ * HEADS * DIM);
    rosace_attention_desc whole = desc;
    whole.rope = &rope;
    whole.scale = (float)(1.0 / sqrt(DIM));
    const ref_attention_args reference = {.batch = 1, .seq_q = SEQ, .seq_k = SEQ, .q = q, .k = k, .v = v, .out = expected};
    ref_attention(&whole, &reference);

    const rosace_tensor all_q = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ, HEADS, DIM, q);
    const rosace_tensor all_k = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ, KV_HEADS, DIM, k);
    const rosace_tensor all_v = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ, KV_HEADS, DIM, v);
    const rosace_tensor k_cache = harness_tensor(HARNESS_BHSD, ROSACE_F32, 1, SLOTS, KV_HEADS, DIM, NULL);
    const rosace_tensor v_cache = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SLOTS, KV_HEADS, DIM, NULL);
    const rosace_tensor out = harness_tensor(HARNESS_BSHD, ROSACE_F32, 1, SEQ, HEADS, DIM, NULL);
    const size_t steps[] = {4, 1, 1, 3}; /* how many tokens come at a time */
    size_t at = 0;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; at += steps[i++]) {
        rosace_tensor new_q = all_q, new_k = all_k, new_v = all_v;
        new_q.offset += at * HEADS * DIM;
        new_k.offset += at * KV_HEADS * DIM;
        new_v.offset += at * KV_HEADS * DIM;
        new_q.shape[1] = new_k.shape[1] = new_v.shape[1] = steps[i];
        rosace_rope_args append_args = ROSACE_ROPE_ARGS_DEFAULT;
        append_args.q = &new_q;
        append_args.k = &new_k;
        append_args.v = &new_v;
        append_args.k_cache = &k_cache;
        append_args.v_cache = &v_cache;
        append_args.cache_slot = at;
        append_args.positions.offset = (int64_t)at;
        harness_ok(rosace_rope(harness_context(), harness_queue(), &rope, &append_args, 0, NULL, NULL));
        rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
        args.q = new_q;
        args.k = k_cache;
        args.v = v_cache;
        args.k.shape[1] = args.v.shape[1] = at + steps[i];
        args.out = out;
        args.out.offset += at * HEADS * DIM;
        args.out.shape[1] = steps[i];
        harness_ok(rosace_attention(harness_context(), harness_queue(), &desc, &args, 0, NULL, NULL));
    }
    harness_check("decode", &out, expected, (harness_tolerance){.absolute = 5e-6});
}
END_TEST

/* ---- Refusals ------------------------------------------------------------------------------------------------------- */

enum { BATCH = 2, SEQ = 3, SLOTS = 8, HEADS = 2, KV_HEADS = 1, DIM = 16 };

typedef struct call {
    rosace_rope_desc desc;
    rosace_tensor q, k, v, k_cache, v_cache, spare;
    rosace_rope_args args;
} call;

static void make_call(call *c)
{
    *c = (call){.desc = ROSACE_ROPE_DESC_DEFAULT, .args = ROSACE_ROPE_ARGS_DEFAULT};
    c->desc.head_dim = DIM;
    double *values = harness_random(BATCH * SLOTS * HEADS * DIM, ROSACE_F32);
    c->q = harness_tensor(HARNESS_BSHD, ROSACE_F32, BATCH, SEQ, HEADS, DIM, values);
    c->k = harness_tensor(HARNESS_BSHD, ROSACE_F32, BATCH, SEQ, KV_HEADS, DIM, values);
    c->v = harness_tensor(HARNESS_BHSD, ROSACE_F32, BATCH, SEQ, KV_HEADS, DIM, values);
    c->k_cache = harness_tensor(HARNESS_BHSD, ROSACE_F32, BATCH, SLOTS, KV_HEADS, DIM, values);
    c->v_cache = harness_tensor(HARNESS_BSHD, ROSACE_F32, BATCH, SLOTS, KV_HEADS, DIM, values);
    c->spare = harness_tensor(HARNESS_BSHD, ROSACE_F32, BATCH, SEQ, KV_HEADS, DIM, values);
    c->args.q = &c->q;
    c->args.k = &c->k;
    c->args.v = &c->v;
    c->args.k_cache = &c->k_cache;
    c->args.v_cache = &c->v_cache;
    c->args.cache_slot = SLOTS - SEQ;
}

/* After `statement` the call is refused, and nothing changes. */
#define INVALID(statement, substring)                                                                                  \
    do {                                                                                                               \
        call c;                                                                                                        \
        make_call(&c);                                                                                                 \
        const rosace_tensor k_cache = c.k_cache, v_cache = c.v_cache, q = c.q, k = c.k, v = c.v;                       \
        harness_case("%s", #statement);                                                                                \
        statement;                                                                                                     \
        harness_refused(rosace_rope(harness_context(), harness_queue(), &c.desc, &c.args, 0, NULL, event), event,      \
                        &k_cache, ROSACE_INVALID_ARGUMENT, substring);                                                 \
        harness_check_untouched(&v_cache);                                                                             \
        harness_check_untouched(&q);                                                                                   \
        harness_check_untouched(&k);                                                                                   \
        harness_check_untouched(&v);                                                                                   \
    } while (0)

START_TEST(what_does_not_fit_is_refused)
{
    INVALID(c.args.cache_slot = SLOTS - SEQ + 1, "cache_slot = 6: 3 tokens from there on do not fit the 8 slots of k_cache");
    INVALID(c.args.cache_slot = SIZE_MAX, "cache_slot");
    INVALID(c.k_cache.shape[1] = SEQ - 1, "cache_slot");
    INVALID(c.v_cache.shape[1] = SLOTS - 1, "slots of v_cache");
    INVALID(c.k_cache.shape[1] = SLOTS + 1000, "k_cache");
    INVALID(c.k_cache.shape[0] = BATCH - 1, "k_cache.shape");
    INVALID(c.v_cache.shape[2] = KV_HEADS + 1; c.v_cache.stride[2] = DIM / 2, "v_cache");
    INVALID(c.v_cache.shape[3] = DIM / 2, "v_cache.shape[3]");
    INVALID(c.v.shape[1] = SEQ - 1, "v.shape");
    INVALID(c.k_cache.dtype = ROSACE_F16, "k_cache.dtype");
    INVALID(c.v_cache.dtype = ROSACE_F16, "v_cache.dtype");
    INVALID(c.v.dtype = ROSACE_F16, "v.dtype");
    INVALID(c.k_cache.mem = NULL, "k_cache");
    INVALID(c.v_cache.mem = NULL, "v_cache");
    INVALID(c.v.mem = NULL, "v");
    INVALID(c.k_cache.stride[1] = 0, "k_cache");
    INVALID(c.k_cache.stride[3] = 2, "k_cache.stride[3]");
    INVALID(c.v_cache.offset = SIZE_MAX / 2, "v_cache");
}
END_TEST

START_TEST(what_does_not_go_together_is_refused)
{
    INVALID(c.args.k = NULL, "k_cache without k");
    INVALID(c.args.k_cache = NULL, "v without k_cache");
    INVALID(c.args.k_cache = NULL; c.args.v = NULL, "v_cache without k_cache");
    INVALID(c.args.k_cache = NULL; c.args.v = NULL; c.args.v_cache = NULL, "cache_slot = 5 without k_cache");
    INVALID(c.args.v = NULL, "v_cache without v");
    INVALID(c.args.v_cache = NULL, "v without v_cache");
    INVALID(c.args.k_out = &c.spare, "k_out and k_cache");
}
END_TEST

START_TEST(overlaps_are_refused)
{
    INVALID(c.args.v_cache = &c.k_cache, "overlap");
    INVALID(c.k_cache = c.v_cache, "overlap");
    INVALID(c.v = c.k_cache; c.v.shape[1] = SEQ; c.v.offset += (SLOTS - SEQ) * DIM, "overlap");
    INVALID(c.k = c.k_cache; c.k.shape[1] = SEQ; c.k.offset += (SLOTS - SEQ - 1) * DIM, "overlap");
    INVALID(c.v_cache.mem = c.q.mem; c.v_cache.offset = c.q.offset; c.v_cache.shape[1] = SEQ; c.v_cache.stride[0] = SEQ * DIM;
            c.args.cache_slot = 0, "overlap");
}
END_TEST

HARNESS_DEVICE_SUITE("append", writes_its_slots_and_nothing_else, decodes_what_one_call_computes, what_does_not_fit_is_refused,
                     what_does_not_go_together_is_refused, overlaps_are_refused)
