/* SPDX-License-Identifier: MIT
 * What there is to measure. */
#include "ops.h"

const bench_op *const bench_ops[] = {
    &bench_attention_causal, &bench_attention_window, &bench_attention_decode,
    &bench_rope,             &bench_matmul,           &bench_softmax,
    NULL,
};
