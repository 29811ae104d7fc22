/* SPDX-License-Identifier: MIT
 *
 * Attention with the mask, the position system and the rotation given as data:
 *
 *     s[m, n]  = softcap( scale * logn(m) * <R q_m, R k_n> + bias(m, n) )    for visible (m, n), else -infinity
 *     out[m]   = sum_n softmax_n(s[m, n]) * v_n          lse[m] = log sum_n exp(s[m, n])
 *
 * softcap(x) = c * tanh(x / c), or x when c = 0. R is the optional rotation (rope.h) at absolute positions. Work is
 * O(seq_q * visible keys) on every path, extra memory O(seq_q + seq_k); score matrices are never stored whole.
 *
 * All of k and v must be finite, what is hidden, too: its weight is 0, and 0 * inf is NaN. Only with the variants
 * attention_cpu_* may rows of k and v that a query does not see hold anything. Arithmetic is fp32 whatever the dtype; with
 * fp16 or bf16 and `rope`, rotated q and k are rounded to it, which shows in lse (fp16 5e-4, bf16 4e-3) more than in out.
 */
#ifndef ROSACE_ATTENTION_H
#define ROSACE_ATTENTION_H

#include <rosace/cache.h>
#include <rosace/mask.h>
#include <rosace/rope.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is added to a score as a function of the distance i - n; i = m + off is the query's place among the keys (mask.h). The
 * numbers that a model learned, or that its head count gives, are `bias_params` of a call: fp32, packed, read on the device.
 * All but NONE, ALIBI and SHAW need workspace: fp32 [n_heads] for each distance that a visible pair can have. */
typedef enum rosace_bias_kind {
    ROSACE_BIAS_NONE = 0,
    ROSACE_BIAS_ALIBI, /* -slope[h] * |i - n|; params: [n_heads] (Press et al. 2021) */
    ROSACE_BIAS_SHAW,  /* clipped relative (Shaw et al. 2018): r = clip(i - n, -max_distance, max_distance) + max_distance;
                          scale * <q, key_table[r]> on the score (q as given: neither rotated nor log-n scaled),
                          sum_n a_n value_table[r] on the output;
                          tables: fp32 [2*max_distance + 1, head_dim], shared by the heads, finite; either may be absent.
                          With rope only path gemm has it */
    ROSACE_BIAS_KERPLE_LOG,   /* -r1[h] * ln(1 + r2[h] * |i - n|), r1, r2 > 0; params: [2, n_heads], r1 first (Chi et al. 2022) */
    ROSACE_BIAS_KERPLE_POWER, /* -r1[h] * |i - n|^r2[h], r1 > 0, 0 < r2 <= 2; params as before (Chi et al. 2022) */
    ROSACE_BIAS_SANDWICH,     /* factor[h] * sum_t cos((i - n) * 10000^(-2t/bias_width)), t = 0 .. bias_width/2 - 1, which is the
                                 product of both sinusoidal embeddings; params: [n_heads], in the paper n_heads / (8 (h + 1)),
                                 with a width of 128 (Chi et al. 2023) */
    ROSACE_BIAS_T5,           /* learned, by bucket of the distance: the first half of a side's buckets are one distance each,
                                 the others grow by equal factors up to bias_max_distance; params: [bias_buckets, n_heads], as
                                 transformers' relative_attention_bias.weight (Raffel et al. 2020). T5's own scale is 1 */
    ROSACE_BIAS_TABLE         /* table[h, clip(i - n, -bias_max_distance, bias_max_distance) + bias_max_distance];
                                 params: [n_heads, 2*bias_max_distance + 1]. -infinity hides */
} rosace_bias_kind;

typedef enum rosace_attention_path {
    ROSACE_PATH_AUTO = 0, /* decode for up to 8 queries, else fused, each where it can, else gemm. How many queries there are
                             is the call's own affair in rosace_attention, and max_seq_q's in a plan: prefill and decode are
                             two plans. On Mesa's llvmpipe, which ends a work-item's loops after 65535 turns, gemm in
                             place of fused. $ROSACE_ATTENTION_PATH (gemm, fused, decode) decides when set */
    ROSACE_PATH_GEMM,     /* matrix products around a masked softmax, one band of query rows at a time */
    ROSACE_PATH_FUSED,    /* one kernel with an online softmax; tiles outside the mask are never visited */
    ROSACE_PATH_DECODE    /* few queries over many keys (flash-decoding): the visible keys are divided among work-items, each
                             of which reads its keys and values once for all queries and heads that share them; any number of
                             queries is right, few are fast. With rope, visible keys are rotated anew in every call: a cache
                             that holds rotated keys (rosace_rope_args.k_cache) needs none */
} rosace_attention_path;

typedef enum rosace_attention_cache {
    ROSACE_ATTENTION_CACHE_NONE = 0,
    ROSACE_ATTENTION_CACHE_PLAIN /* a rosace_kv_cache of the descriptor's dtype, of any layout */
} rosace_attention_cache;

typedef struct rosace_attention_desc {
    size_t struct_size;         /* sizeof(rosace_attention_desc) */
    size_t n_heads;             /* query heads */
    size_t n_kv_heads;          /* key/value heads, divides n_heads (default 0 = n_heads); head h reads h / (n_heads/n_kv_heads) */
    size_t head_dim;            /* 16 to 256, a multiple of 8 */
    rosace_dtype dtype;         /* of q, k, v, out (default ROSACE_F32) */
    rosace_mask mask;           /* (default: everything visible) */
    rosace_bias_kind bias;      /* (default none) */
    int64_t bias_max_distance;  /* SHAW: 1 to 1024; TABLE: 1 to 2^20; T5: more than half of a side's buckets, to 2^20 */
    float scale;                /* (default 0 = 1/sqrt(head_dim)) */
    float softcap;              /* (default 0 = none) */
    const rosace_rope_desc *rope; /* rotate q and k on load; read during plan creation only; head_dim and dtype in it are
                                   taken from here (default NULL: none) */
    int64_t rerope_window;      /* ReRoPE (Su 2023, kexue 9708): relative position i - n while < rerope_window, else
                                   rerope_window, whatever the positions of the call. Needs rope and causal (default 0 = off) */
    int64_t logn_train_len;     /* scale q at position p by max(1, ln(p + 1) / ln(logn_train_len)) (Su 2022, kexue 8823);
                                   p is the query's position; >= 2 (default 0 = off) */
    rosace_attention_path path; /* (default AUTO) */
    size_t max_batch, max_seq_q, max_seq_k; /* largest call this plan serves. Given, workspace is part of the plan; left 0,
                                   a call that needs workspace must bring its own (default 0) */
    int64_t bias_buckets;       /* T5: all buckets, 4 to 65536 and even, or 2 to 65536 with bias_causal */
    int64_t bias_width;         /* SANDWICH: even, 2 to 4096 */
    bool bias_causal;           /* T5: all buckets are for keys at and before the query (decoders); keys after it count as its
                                   own place. False: half of them are for keys after it (encoders) */
    bool sink_logits;           /* a call brings a logit per head that takes part in the softmax's sum and has no value, as an
                                   invisible key would: sum_n exp(s[m, n]) + exp(sink[h]) under out and in lse; softcap does
                                   not bend it (Miller 2023 with a logit of 0; learned: OpenAI 2025, gpt-oss). Rows without a
                                   visible key are 0 with an lse of sink[h] (default false) */
    bool varlen;                /* calls may give sequences lengths of their own (cu_seqlens_q, seq_lens_k below); rosace_attention
                                   sets it by itself where a call does (default false) */
    rosace_attention_cache cache; /* what keys and values come from: args.k and args.v, or args.cache. Not with rope: an append
                                   rotates. Paths fused and decode (default NONE; rosace_attention goes by its args) */
    const int64_t *head_window_left; /* [n_heads], copied: window_left of each head in place of the mask's, -1: all. Every head visits
                                   its own window only; the decode path that of the widest head that shares its keys. Layers
                                   with windows of their own are plans of their own (default NULL: the mask's for all) */
    double rerope_leak;         /* Leaky ReRoPE (Su 2023, kexue 9708): from rerope_window w on the relative position is
                                   w + (i - n - w) / rerope_leak, from the positions of the call. Greater than 1, with
                                   w * (rerope_leak - 1) a whole number of at most 2^30, which positions of queries plus it must fit
                                   int32; needs rerope_window (default 0: it stays w) */
} rosace_attention_desc;
#define ROSACE_ATTENTION_DESC_DEFAULT { .struct_size = sizeof(rosace_attention_desc), .mask = ROSACE_MASK_DEFAULT }

/* Thread-safety: a plan may be enqueued from one thread at a time; different plans freely. A plan's own workspace is
 * shared by its calls, so calls of one plan that could overlap on the device (on several queues, or on one that is out of
 * order) must be ordered by events. */
typedef struct rosace_attention_plan rosace_attention_plan;

/* Errors: ROSACE_INVALID_ARGUMENT, ROSACE_UNSUPPORTED (the path asked for has no variant for this device and descriptor),
 * ROSACE_BUILD_FAILED, ROSACE_OUT_OF_MEMORY, ROSACE_OPENCL_ERROR. On failure *out is NULL. The context must outlive the
 * plan. A plan may be destroyed while its commands still run. */
ROSACE_API rosace_status rosace_attention_plan_create(rosace_context *context, const rosace_attention_desc *desc,
                                                      rosace_attention_plan **out);
ROSACE_API void rosace_attention_plan_destroy(rosace_attention_plan **plan);

/* The name of the variant a plan runs, as bench rows and logs have it, e.g. "attention_cpu_f32_d64_v16x2t8k64"; borrowed. */
ROSACE_API const char *rosace_attention_plan_variant(const rosace_attention_plan *plan);

/* The path a plan runs: ROSACE_PATH_GEMM, _FUSED or _DECODE. */
ROSACE_API rosace_attention_path rosace_attention_plan_path(const rosace_attention_plan *plan);

/* Bytes of device workspace a call of these sizes needs (0: none). Errors: ROSACE_INVALID_ARGUMENT (overflow). */
ROSACE_API rosace_status rosace_attention_workspace_bytes(const rosace_attention_plan *plan, size_t batch, size_t seq_q,
                                                          size_t seq_k, size_t *bytes);

/* off of mask.h when not the bottom-right default, see rosace_attention_args.q_offset */
#define ROSACE_ALIGN_BOTTOM_RIGHT INT64_MIN

typedef struct rosace_attention_args {
    size_t struct_size;      /* sizeof(rosace_attention_args) */
    rosace_tensor q, out;    /* [batch, seq_q, n_heads, head_dim]; out overlaps no input */
    rosace_tensor k, v;      /* [batch, seq_k, n_kv_heads, head_dim]; seq_k >= 1 */
    cl_mem lse;              /* fp32 [batch, n_heads, seq_q], packed (default NULL: not wanted) */
    size_t lse_offset;       /* in elements */
    int64_t q_offset;        /* place of query row 0 among the keys, >= 0 or any when seq_q > seq_k
                                (default ROSACE_ALIGN_BOTTOM_RIGHT = seq_k - seq_q) */
    cl_mem bias_params;      /* what bias_kind says (default NULL: for NONE and SHAW) */
    size_t bias_params_offset;
    cl_mem shaw_key, shaw_value; /* SHAW tables, fp32; either may be NULL */
    size_t shaw_key_offset, shaw_value_offset;
    rosace_positions q_positions, k_positions; /* for rope and log-n; default: keys 0, 1, ...; queries q_offset, q_offset+1, ... */
    bool use_positions;      /* take q_positions and k_positions instead of that default (default false) */
    cl_mem workspace;        /* (default NULL: the plan's) */
    size_t workspace_offset_bytes, workspace_bytes; /* offset: a multiple of the device's CL_DEVICE_MEM_BASE_ADDR_ALIGN / 8 */
    cl_mem sink_logits;      /* fp32 [n_heads]; -infinity: this head has none (default NULL: where the descriptor wants none) */
    size_t sink_logits_offset;
    /* Sequences of their own lengths, for plans with `varlen`. Host arrays, read before the call returns. Every sequence is computed
     * as a call of it alone would be: mask.h's seq_q and seq_k are its own lengths, its last query stands at its last key unless
     * q_offset says where the first query of each stands (>= 0), sinks, prefix, chunks and biases count from its first key, and
     * default positions begin anew (so do offsets; ids are of the tensors' tokens). Only tiles that a sequence sees are launched.
     * With rope the decode path rotates all packed keys, the fused path the whole tensors.
     *
     * Packed documents (Krell et al. 2021; flash-attention's varlen): the tensors have a batch of 1, document i is the rows
     * cu_seqlens_q[i] .. cu_seqlens_q[i+1] - 1 of q and out and those of cu_seqlens_k of k and v; lse is [n_heads, all queries].
     * Both arrays have n_seqs + 1 elements, start with 0, never fall and end with the tensor's length; documents may be empty. */
    size_t n_seqs;                               /* (default 0: not packed) */
    const int64_t *cu_seqlens_q, *cu_seqlens_k;  /* (default of cu_seqlens_k: cu_seqlens_q) */
    /* Key padding: of element b of the batch (with cu_seqlens: of document b) only the first seq_lens_k[b] keys are there, 0 to what
     * the tensor has. The last query stands at the last of these, as with flash-attention's seqused_k; a batch that is padded in
     * q and k alike wants q_offset = 0. Where nothing is visible out is 0 and lse -infinity. (default NULL: all) */
    const int64_t *seq_lens_k;
    const rosace_kv_cache *cache; /* in place of k and v, which are not read then; seq_k is its length, also beyond 2^30 in a ring.
                                What a query sees must be in the cache: a ring of fewer slots than sinks, window and queries is
                                refused, as are ALIBI and other biases once a ring with sinks has dropped keys (default NULL) */
} rosace_attention_args;
#define ROSACE_ATTENTION_ARGS_DEFAULT                                                                                  \
    {                                                                                                                  \
        .struct_size = sizeof(rosace_attention_args), .q_offset = ROSACE_ALIGN_BOTTOM_RIGHT,                           \
        .q_positions = {.seq_stride = 1 }, .k_positions = {.seq_stride = 1 }                                           \
    }

/* Enqueues the attention. `event` may be NULL; else it is the caller's to release.
 * Errors: ROSACE_INVALID_ARGUMENT and ROSACE_UNSUPPORTED (more than the device can launch or, with a fused path on llvmpipe,
 * loop over) before anything is enqueued; ROSACE_OPENCL_ERROR, ROSACE_CLBLAST_ERROR, ROSACE_OUT_OF_MEMORY. */
ROSACE_API rosace_status rosace_attention_enqueue(rosace_attention_plan *plan, cl_command_queue queue,
                                                  const rosace_attention_args *args, cl_uint num_wait,
                                                  const cl_event *wait, cl_event *event);

/* The same in one call: makes a plan on first use of a descriptor (max_* aside) and keeps it in the context, up to a limit
 * beyond which the longest unused goes; workspace, where needed and not given, is allocated for the call and freed when the
 * call's commands are complete. Errors: those of both. */
ROSACE_API rosace_status rosace_attention(rosace_context *context, cl_command_queue queue, const rosace_attention_desc *desc,
                                          const rosace_attention_args *args, cl_uint num_wait, const cl_event *wait,
                                          cl_event *event);

/* ALiBi's slopes: 2^(-8(h+1)/H) for H a power of two; else those of the next lower power P, followed by every second
 * one of 2P (Press et al. 2021, reference code). Errors: ROSACE_INVALID_ARGUMENT (slopes NULL, n_heads 0). */
ROSACE_API rosace_status rosace_alibi_slopes(size_t n_heads, float *slopes);

/* ---- The pieces by themselves ------------------------------------------------------------------------------------ */

/* Softmax over the visible keys of a matrix of scores [batch, seq_q, n_heads, seq_k] (a tensor view whose last axis is
 * the keys), in place or into `probs` (NULL: in place): p = softmax(softcap(scale * s + bias)), hidden keys become 0.
 * Rows without a visible key become 0, lse -infinity. `lse` as in rosace_attention_args, may be NULL. Scores and probs may
 * be of any dtype, both alike; seq_k is any length. bias: any but SHAW, with its fields as in rosace_attention_desc. A visible score that is NaN makes
 * its row NaN. Biases that need workspace get it for the time of the call. */
typedef struct rosace_softmax_args {
    size_t struct_size;
    rosace_tensor scores;
    const rosace_tensor *probs;
    rosace_mask mask;
    int64_t q_offset;
    float scale;   /* (default 1) */
    float softcap; /* (default 0 = none) */
    rosace_bias_kind bias;
    cl_mem bias_params;
    size_t bias_params_offset;
    cl_mem lse;
    size_t lse_offset;
    int64_t bias_max_distance, bias_buckets, bias_width; /* as in rosace_attention_desc */
    bool bias_causal;
    cl_mem sink_logits; /* as in rosace_attention_args; given, they take part (default NULL: none) */
    size_t sink_logits_offset;
} rosace_softmax_args;
#define ROSACE_SOFTMAX_ARGS_DEFAULT                                                                                    \
    {                                                                                                                  \
        .struct_size = sizeof(rosace_softmax_args), .mask = ROSACE_MASK_DEFAULT,                                       \
        .q_offset = ROSACE_ALIGN_BOTTOM_RIGHT, .scale = 1.0f                                                           \
    }
ROSACE_API rosace_status rosace_masked_softmax(rosace_context *context, cl_command_queue queue,
                                               const rosace_softmax_args *args, cl_uint num_wait, const cl_event *wait,
                                               cl_event *event);

/* Results of attention over parts of the keys, put together to the result over all of them: of a prefix's cache and of what
 * follows it, or of keys on several devices (flash-decoding: Dao et al. 2023; ring attention: Liu et al. 2023):
 *     lse = log sum_i exp(lse_i)      out = sum_i exp(lse_i - lse) out_i
 * Parts are what rosace_attention gives for the same queries; a key counts once for each part that sees it, a learned sink once
 * for each part that has it. A part's rows with an lse of -infinity have no weight, whatever they hold; rows that have no other
 * become 0 with an lse of -infinity. Arithmetic is fp32; all results are of one dtype. More than 8: merge what is merged.
 * Errors: ROSACE_INVALID_ARGUMENT before anything is enqueued; ROSACE_BUILD_FAILED, ROSACE_OPENCL_ERROR. */
typedef struct rosace_attention_part {
    rosace_tensor out;
    cl_mem lse; /* fp32 [batch, n_heads, seq_q], packed */
    size_t lse_offset;
} rosace_attention_part;
typedef struct rosace_attention_merge_args {
    size_t struct_size;
    const rosace_attention_part *parts; /* read during the call */
    size_t count;                       /* of parts: 2 to 8 */
    rosace_tensor out;                  /* [batch, seq_q, n_heads, head_dim], any head_dim; a part's out, or apart from all */
    cl_mem lse;                         /* a part's, or apart from all (default NULL: not wanted) */
    size_t lse_offset;
} rosace_attention_merge_args;
#define ROSACE_ATTENTION_MERGE_ARGS_DEFAULT { .struct_size = sizeof(rosace_attention_merge_args) }
ROSACE_API rosace_status rosace_attention_merge(rosace_context *context, cl_command_queue queue,
                                                const rosace_attention_merge_args *args, cl_uint num_wait,
                                                const cl_event *wait, cl_event *event);

/* Writes a mask and a bias as an additive matrix [1, seq_q, n_heads, seq_k]: 0 or the bias where visible, -infinity where
 * hidden. For use with other libraries; rosace itself never needs it. bias: any but SHAW. */
typedef struct rosace_bias_matrix_args {
    size_t struct_size;
    rosace_tensor out;
    rosace_mask mask;
    int64_t q_offset;
    rosace_bias_kind bias;
    int64_t bias_max_distance, bias_buckets, bias_width; /* as in rosace_attention_desc */
    bool bias_causal;
    cl_mem bias_params;
    size_t bias_params_offset;
} rosace_bias_matrix_args;
#define ROSACE_BIAS_MATRIX_ARGS_DEFAULT                                                                                \
    {                                                                                                                  \
        .struct_size = sizeof(rosace_bias_matrix_args), .mask = ROSACE_MASK_DEFAULT, .q_offset = ROSACE_ALIGN_BOTTOM_RIGHT \
    }
ROSACE_API rosace_status rosace_bias_matrix(rosace_context *context, cl_command_queue queue,
                                            const rosace_bias_matrix_args *args, cl_uint num_wait, const cl_event *wait,
                                            cl_event *event);

/* The same for a mask alone or with ALiBi. bias: NONE or ALIBI. */
ROSACE_API rosace_status rosace_mask_matrix(rosace_context *context, cl_command_queue queue, const rosace_mask *mask,
                                            int64_t q_offset, rosace_bias_kind bias, cl_mem bias_params,
                                            size_t bias_params_offset, const rosace_tensor *out, cl_uint num_wait,
                                            const cl_event *wait, cl_event *event);

#ifdef __cplusplus
}
#endif
#endif
