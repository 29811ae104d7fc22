/* SPDX-License-Identifier: MIT
 *
 * What every operation should give, in double precision and plain loops, written from the papers and not from the
 * kernels: no OpenCL, no formula shared with cl/ or src/ops. Used by the tests and by `rosace verify`.
 * Of the public headers only types are used. Tensors are host arrays of double, packed [batch, seq, head, head_dim].
 */
#ifndef ROSACE_REFERENCE_H
#define ROSACE_REFERENCE_H

#include <rosace/attention.h>
#include <rosace/matmul.h>

/* cos/sin argument m*f_i straight from the definition, long double inside. frequencies: rotary_dim/2. */
void ref_rope_frequencies(const rosace_rope_desc *desc, double *frequencies, double *attention_factor);
/* x [batch, seq, heads, head_dim] in place; positions [axes, batch*seq] */
void ref_rope(const rosace_rope_desc *desc, size_t batch, size_t seq, size_t heads, const int32_t *positions, double *x);
/* The heads of one token, in place, at any position, of one axis: it may be a fraction. */
void ref_rope_at(const rosace_rope_desc *desc, size_t heads, long double position, double *token);
/* xPos: x is of queries, or of keys; as ref_rope without it. */
void ref_xpos(const rosace_rope_desc *desc, size_t batch, size_t seq, size_t heads, const int32_t *positions, bool keys, double *x);
/* x [batch, seq, width] in place */
void ref_sinusoidal_add(size_t batch, size_t seq, size_t width, const int32_t *positions, double scale, double *x);

/* The definition in mask.h as one predicate, i = m + q_offset. */
bool ref_visible(const rosace_mask *mask, int64_t q_offset, int64_t seq_k, int64_t m, int64_t n);

/* A bias by distance and its parameters, as rosace_bias_kind says. */
typedef struct ref_bias {
    rosace_bias_kind kind;
    size_t heads;
    int64_t max_distance, buckets, width;
    bool causal;
    const double *params;
} ref_bias;
double ref_bias_at(const ref_bias *bias, size_t head, int64_t distance);
size_t ref_bias_params(const ref_bias *bias); /* how many */
double ref_alibi_slope(size_t n_heads, size_t head);

typedef struct ref_attention_args {
    size_t batch, seq_q, seq_k;
    int64_t q_offset;             /* resolved, never ROSACE_ALIGN_BOTTOM_RIGHT */
    const double *q, *k, *v;      /* [batch, seq, heads, head_dim] */
    const double *bias_params;    /* as desc->bias wants them */
    const double *shaw_key, *shaw_value; /* [2r+1, head_dim] or NULL */
    const int32_t *q_positions, *k_positions; /* [batch*seq] for rope and log-n; NULL: default */
    double *out;                  /* [batch, seq_q, n_heads, head_dim] */
    double *lse;                  /* [batch, n_heads, seq_q] or NULL */
    const double *sink_logits;    /* [n_heads], or NULL: none */
} ref_attention_args;
/* Without memory for its copies of q and k, out is NaN throughout. */
void ref_attention(const rosace_attention_desc *desc, const ref_attention_args *args);
/* Each sequence alone: packed ones (n_seqs of them, a batch of 1), or the elements of a batch (n_seqs 0); seq_lens_k may be NULL.
 * Positions are of the tensors' tokens, q_offset of each sequence, and may be ROSACE_ALIGN_BOTTOM_RIGHT. */
void ref_attention_sequences(const rosace_attention_desc *desc, const ref_attention_args *args, size_t n_seqs,
                             const int64_t *cu_seqlens_q, const int64_t *cu_seqlens_k, const int64_t *seq_lens_k);

/* The gradients of sum(out * dout). args' out and lse are not read. Each output may be NULL; all are written, not added to. */
typedef struct ref_attention_gradients {
    const double *dout; /* as out */
    double *dq, *dk, *dv;
    double *bias_params;
    double *shaw_key, *shaw_value;
    double *dq_size, *dk_size, *dv_size; /* the same sums over absolute values: what rounding errors are measured by */
} ref_attention_gradients;
/* Returns false without memory for its copies. */
bool ref_attention_backward(const rosace_attention_desc *desc, const ref_attention_args *args,
                            const ref_attention_gradients *gradients);

/* scores [batch, seq_q, n_heads, seq_k] in place, meaning as rosace_masked_softmax; bias and lse may be NULL */
void ref_masked_softmax(const rosace_mask *mask, int64_t q_offset, size_t batch, size_t seq_q, size_t heads, size_t seq_k,
                        double scale, double softcap, const ref_bias *bias, double *scores, double *lse);
/* Results [batch, seq, heads, dim] and log-sum-exps [batch, heads, seq] over parts of the keys to those over all. */
void ref_attention_merge(size_t parts, size_t batch, size_t seq, size_t heads, size_t dim, const double *const *outs,
                         const double *const *lses, double *out, double *lse);
/* Adds a logit without a value to a row of probabilities and its log-sum-exp. */
void ref_sink(double sink, size_t count, double *row, double *lse);
/* out [seq_q, heads, seq_k] */
void ref_mask_matrix(const rosace_mask *mask, int64_t q_offset, size_t seq_q, size_t heads, size_t seq_k,
                     const ref_bias *bias, double *out);

/* C[m,n] = alpha op(A) op(B) + beta C, packed, one matrix */
void ref_matmul(size_t m, size_t n, size_t k, bool transpose_a, bool transpose_b, double alpha, double beta,
                const double *a, const double *b, double *c);
void ref_rmsnorm(size_t rows, size_t width, double eps, const double *x, const double *weight, double *out);
void ref_swiglu(size_t count, const double *gate, const double *up, double *out);
void ref_cross_entropy(size_t rows, size_t classes, const double *logits, const int32_t *targets, double *loss);
/* bias may be NULL. */
void ref_layernorm(size_t rows, size_t width, double eps, const double *x, const double *weight, const double *bias, double *out);
/* function: a rosace_activation. */
double ref_activation(int function, double x);
void ref_clamped_swiglu(size_t count, double alpha, double limit, const double *gate, const double *up, double *out);

#endif
