/* SPDX-License-Identifier: MIT
 * The reference's gradients against differences of its own forward pass, in double precision. */
#include <math.h>

#include "harness.h"
#include "src/reference/reference.h"

enum { BATCH = 2, SEQ_Q = 7, SEQ_K = 9, HEADS = 4, KV_HEADS = 2, DIM = 16, REACH = 3, BUCKETS = 6 };
enum { Q_COUNT = BATCH * SEQ_Q * HEADS * DIM, K_COUNT = BATCH * SEQ_K * KV_HEADS * DIM, TABLE = (2 * REACH + 1) * DIM };

static double objective(const rosace_attention_desc *desc, const ref_attention_args *args, const double *dout)
{
    double sum = 0;
    ref_attention(desc, args);
    for (size_t i = 0; i < Q_COUNT; i++)
        sum += args->out[i] * dout[i];
    return sum;
}

/* Every `step`-th gradient against the central difference, whose own error is h^2 and rounding by h. */
static void compare(const char *name, const rosace_attention_desc *desc, const ref_attention_args *args, const double *dout,
                    double *x, size_t count, size_t step, const double *gradient)
{
    const double h = 1e-5;
    const size_t checked = (count + step - 1) / step;
    double *expected = harness_zeros(checked), *got = harness_zeros(checked);
    for (size_t i = 0; i < checked; i++) {
        const double value = x[i * step];
        x[i * step] = value + h;
        const double above = objective(desc, args, dout);
        x[i * step] = value - h;
        const double below = objective(desc, args, dout);
        x[i * step] = value;
        expected[i] = (above - below) / (2 * h);
        got[i] = gradient[i * step];
    }
    harness_check_values(name, HARNESS_F64, checked, got, expected, (harness_tolerance){.absolute = 2e-8, .mostly_zero = true});
}

static void check_gradients(rosace_attention_desc desc)
{
    double *q = harness_random(Q_COUNT, HARNESS_F64), *k = harness_random(K_COUNT, HARNESS_F64);
    double *v = harness_random(K_COUNT, HARNESS_F64), *dout = harness_random(Q_COUNT, HARNESS_F64);
    ref_bias bias = {desc.bias, HEADS, desc.bias_max_distance, desc.bias_buckets, desc.bias_width, desc.bias_causal, NULL};
    const size_t params = ref_bias_params(&bias);
    double *numbers = params ? harness_random_range(params, HARNESS_F64, 0.25, 1.25) : NULL, *key = NULL, *value = NULL;
    if (desc.bias == ROSACE_BIAS_SHAW) {
        key = harness_random(TABLE, HARNESS_F64);
        value = harness_random(TABLE, HARNESS_F64);
    }
    desc.n_heads = HEADS;
    desc.n_kv_heads = KV_HEADS;
    desc.head_dim = DIM;
    const ref_attention_args args = {.batch = BATCH, .seq_q = SEQ_Q, .seq_k = SEQ_K, .q_offset = SEQ_K - SEQ_Q, .q = q, .k = k,
                                     .v = v, .bias_params = numbers, .shaw_key = key, .shaw_value = value,
                                     .out = harness_zeros(Q_COUNT)};
    const ref_attention_gradients g = {.dout = dout,
                                       .dq = harness_zeros(Q_COUNT),
                                       .dk = harness_zeros(K_COUNT),
                                       .dv = harness_zeros(K_COUNT),
                                       .bias_params = params ? harness_zeros(params) : NULL,
                                       .shaw_key = key ? harness_zeros(TABLE) : NULL,
                                       .shaw_value = key ? harness_zeros(TABLE) : NULL};
    ck_assert(ref_attention_backward(&desc, &args, &g));
    compare("dq", &desc, &args, dout, q, Q_COUNT, 41, g.dq);
    compare("dk", &desc, &args, dout, k, K_COUNT, 29, g.dk);
    compare("dv", &desc, &args, dout, v, K_COUNT, 29, g.dv);
    if (params) compare("bias", &desc, &args, dout, numbers, params, 1, g.bias_params);
    if (key) compare("shaw key", &desc, &args, dout, key, TABLE, 3, g.shaw_key);
    if (key) compare("shaw value", &desc, &args, dout, value, TABLE, 3, g.shaw_value);
}

START_TEST(masks_softcap_and_rotation)
{
    rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
    check_gradients(desc);
    desc.mask.causal = true;
    desc.mask.window_left = 3;
    desc.mask.sinks = 1;
    check_gradients(desc);
    desc.softcap = 1.5f;
    check_gradients(desc);
    rosace_rope_desc rope = ROSACE_ROPE_DESC_DEFAULT;
    rope.scaling.kind = ROSACE_ROPE_SCALING_YARN; /* whose rotation is no rotation alone: it stretches, too */
    rope.scaling.factor = 4.0;
    rope.scaling.original_max_position = 64;
    rope.interleaved = true;
    rope.rotary_dim = 8;
    rope.head_dim = DIM;
    desc.rope = &rope;
    desc.logn_train_len = 3;
    check_gradients(desc);
    desc.bias = ROSACE_BIAS_SHAW;
    desc.bias_max_distance = REACH;
    check_gradients(desc);
}
END_TEST

START_TEST(biases)
{
    for (int kind = ROSACE_BIAS_ALIBI; kind <= ROSACE_BIAS_TABLE; kind++) {
        harness_case("bias %d", kind);
        rosace_attention_desc desc = ROSACE_ATTENTION_DESC_DEFAULT;
        desc.bias = (rosace_bias_kind)kind;
        desc.bias_max_distance = kind == ROSACE_BIAS_T5 ? 5 : REACH;
        desc.bias_buckets = BUCKETS;
        desc.bias_width = 8;
        desc.mask.prefix = 2;
        desc.mask.causal = true;
        check_gradients(desc);
    }
}
END_TEST

HARNESS_HOST_SUITE("reference_backward", masks_softcap_and_rotation, biases)
