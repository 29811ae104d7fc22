/* SPDX-License-Identifier: MIT
 * The operations, one file each. */
#ifndef ROSACE_CLI_BENCH_OPS_H
#define ROSACE_CLI_BENCH_OPS_H

#include "op.h"

extern const bench_op bench_attention_causal, bench_attention_window, bench_attention_decode;
extern const bench_op bench_rope;
extern const bench_op bench_matmul;
extern const bench_op bench_softmax;

#endif
