/* SPDX-License-Identifier: MIT
 * Sequences of their own lengths, each computed alone. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "reference.h"

/* One sequence: rows q0 .. of queries and k0 .. of keys, both counted over the whole batch. */
static void one(const rosace_attention_desc *desc, const ref_attention_args *args, size_t batch, size_t q0, size_t k0, size_t seq_q,
                size_t seq_k)
{
    const size_t heads = desc->n_heads, kv_heads = desc->n_kv_heads ? desc->n_kv_heads : heads, dim = desc->head_dim;
    ref_attention_args own = *args;
    own.batch = 1;
    own.seq_q = seq_q;
    own.seq_k = seq_k;
    if (own.q_offset == ROSACE_ALIGN_BOTTOM_RIGHT) own.q_offset = (int64_t)seq_k - (int64_t)seq_q;
    own.q += q0 * heads * dim;
    own.k += k0 * kv_heads * dim;
    own.v += k0 * kv_heads * dim;
    own.out += q0 * heads * dim;
    own.q_positions = args->q_positions ? args->q_positions + q0 : NULL;
    own.k_positions = args->k_positions ? args->k_positions + k0 : NULL;
    own.lse = calloc(heads * seq_q + 1, sizeof *own.lse);
    if (seq_k) {
        ref_attention(desc, &own);
    } else {
        memset(own.out, 0, seq_q * heads * dim * sizeof *own.out);
        for (size_t i = 0; own.lse && i < heads * seq_q; i++) own.lse[i] = -(double)INFINITY;
    }
    for (size_t h = 0; args->lse && h < heads; h++)
        for (size_t m = 0; m < seq_q; m++)
            args->lse[(batch * heads + h) * args->seq_q + q0 - batch * args->seq_q + m] = own.lse ? own.lse[h * seq_q + m] : (double)NAN;
    free(own.lse);
}

void ref_attention_sequences(const rosace_attention_desc *desc, const ref_attention_args *args, size_t n_seqs,
                             const int64_t *cu_seqlens_q, const int64_t *cu_seqlens_k, const int64_t *seq_lens_k)
{
    for (size_t i = 0; n_seqs && i < n_seqs; i++) {
        const size_t q0 = (size_t)cu_seqlens_q[i], k0 = (size_t)cu_seqlens_k[i];
        const size_t seq_k = seq_lens_k ? (size_t)seq_lens_k[i] : (size_t)cu_seqlens_k[i + 1] - k0;
        if ((size_t)cu_seqlens_q[i + 1] > q0) one(desc, args, 0, q0, k0, (size_t)cu_seqlens_q[i + 1] - q0, seq_k);
    }
    for (size_t b = 0; !n_seqs && b < args->batch; b++)
        one(desc, args, b, b * args->seq_q, b * args->seq_k, args->seq_q, seq_lens_k ? (size_t)seq_lens_k[b] : args->seq_k);
}
