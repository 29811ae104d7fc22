/* SPDX-License-Identifier: MIT
 * Attention by matrix products around a masked softmax: the rows of this path. */
#include "attention.h"

const rsc_attention_variant rsc_attention_gemm_variants[] = {{.name = NULL}};
