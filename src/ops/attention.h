/* SPDX-License-Identifier: MIT
 * The contract between the attention operation (attention.c: validates, picks a row, owns the plan) and its variants
 * (attention_decode.c, attention_matrix.c, attention_gpu.c, attention_fused.c, attention_gemm.c: each ends in rows). A new
 * variant is one row; attention.c lists the rows in order of preference and takes the first that accepts, so the last row
 * must accept everything that is valid. */
#ifndef ROSACE_SRC_OPS_ATTENTION_H
#define ROSACE_SRC_OPS_ATTENTION_H

#include <rosace/attention.h>

#include "../context.h"
#include "../position/bias.h"
#include "../queue.h"
#include "attention_extras.h"
#include "kv_cache.h"
#include "shared/attention_args.h"
#include "shared/sequence_args.h"
#include "shared/rerope_args.h"

/* A call whose arguments are checked and whose defaults are resolved. Tensors keep their strides. */
typedef struct rsc_attention_call {
    const rosace_attention_args *args; /* tensors, tables, lse; workspace fields are not to be read */
    size_t batch, seq_q, seq_k;
    int64_t q_offset;                  /* resolved; with sequences what spans the distances of all of them */
    size_t longest_q, longest_k;       /* of its sequences; seq_q and seq_k without */
    size_t lse_rows;                   /* of a head in lse */
    const rsc_sequence *sequences;     /* owned; NULL: the plan takes none, and every element of the batch is one, whole */
    size_t n_sequences;
    rosace_positions q_positions, k_positions; /* resolved: never the default */
    cl_mem workspace;                  /* NULL when 0 bytes are needed */
    size_t workspace_offset;           /* bytes */
    rsc_cache cache;                   /* where args->k and args->v come from, when the plan has a cache */
    cl_mem cache_table;
} rsc_attention_call;

typedef struct rsc_attention_variant rsc_attention_variant;

/* What a plan must pass before it is used (attention_trial.c): nothing; a launch that succeeds, since the driver doubts that
 * the work-group fits; or the results of the portable row, since the row leans on what no OpenCL standard promises. */
typedef enum rsc_trial { RSC_TRIAL_NONE = 0, RSC_TRIAL_RUN, RSC_TRIAL_COMPARE } rsc_trial;

struct rosace_attention_plan {
    rosace_context *context;
    rosace_attention_desc desc; /* checked; n_kv_heads and scale resolved; rope is NULL or points to `rope` */
    rosace_rope_desc rope;
    int64_t *head_window_left;  /* what desc's points to */
    cl_mem head_windows;        /* int32 [n_heads], INT32_MAX for all; NULL without */
    cl_mem visited;             /* uint32 [2]: tiles, keys; NULL: not counted */
    const rsc_attention_variant *variant;
    const char *tile;           /* name of the variant's tile row to run, NULL: the one its own heuristic takes */
    char variant_name[96];
    rsc_trial trial;            /* what the variant's `create` wants done before the plan is handed out */
    void *state;                /* the variant's own */
    cl_mem workspace;           /* the plan's own, or NULL */
    size_t workspace_bytes;
};

struct rsc_attention_variant {
    const char *name; /* "attention_cpu" */
    rosace_attention_path path;
    /* True, or false with one reason for people ("head_dim 80: a multiple of 16 is needed"). */
    bool (*accepts)(const rosace_device_info *device, const rosace_attention_desc *desc, char *reason, size_t reason_bytes);
    /* Builds kernels, fills state, variant_name, tile and trial. On failure `destroy` is called on what is there. */
    rosace_status (*create)(rosace_attention_plan *plan);
    void (*destroy)(rosace_attention_plan *plan); /* copes with state NULL and half-built */
    rosace_status (*workspace_bytes)(const rosace_attention_plan *plan, size_t batch, size_t seq_q, size_t seq_k, size_t *bytes);
    rosace_status (*enqueue)(rosace_attention_plan *plan, rsc_chain *chain, const rsc_attention_call *call);
    /* Whether the row is meant for such a device (NULL: any). One that is not runs only when it is asked for by name. */
    bool (*suits)(const rosace_device_info *device);
    /* The names of the tile rows that can run this here, for the tuner: the index-th, NULL behind the last. Names do not
     * repeat within a variant. A variant without this (NULL) has one way to run. */
    const char *(*tile)(const rosace_device_info *device, const rosace_attention_desc *desc, size_t index);
};

/* What a plan runs. */
typedef struct rsc_attention_choice {
    const rsc_attention_variant *variant;
    const char *tile; /* NULL: the variant's own heuristic */
    bool tuned;       /* measurements of this device say so (tuning.h) */
    bool count_visited; /* kernels of one sweep count what they visit, for tests (cl/lib/call.clh) */
} rsc_attention_choice;

/* The class of shapes under which a descriptor (a checked one) is measured: what matters to the choice of tiles, in names
 * like "window d64 f32 gqa". */
void rsc_attention_class(const rosace_attention_desc *desc, char *out, size_t out_bytes);

/* Every choice there is here for a descriptor, for the tuner: "VARIANT/TILE" or "VARIANT", the index-th; false behind the
 * last. What the static heuristic takes is among them. */
bool rsc_attention_candidate(const rosace_device_info *device, const rosace_attention_desc *desc, size_t index, char *out,
                             size_t out_bytes);

/* What a plan runs, by the name that rsc_attention_candidate gives it. */
void rsc_attention_plan_choice(const rosace_attention_plan *plan, char *out, size_t out_bytes);

/* The bias of a descriptor. */
static inline rsc_bias_desc rsc_attention_bias(const rosace_attention_desc *desc)
{
    return (rsc_bias_desc){desc->bias, desc->bias_max_distance, desc->bias_buckets, desc->bias_width, desc->bias_causal};
}

/* A descriptor checked, with n_kv_heads, scale and the rope's head_dim and dtype resolved: *out's rope is NULL or points to
 * *rope. A call's arguments checked against a plan, with its defaults resolved: fills all of *call but the workspace, and
 * the bytes of it that are needed. Of a workspace that args brings, extent and overlaps are checked. */
rosace_status rsc_attention_check_desc(const rosace_attention_desc *in, rosace_attention_desc *out, rosace_rope_desc *rope);
rosace_status rsc_attention_check_args(const rosace_attention_plan *plan, rosace_attention_args *args,
                                       rsc_attention_call *call, size_t *workspace_bytes);

/* A plan for a choice (of a checked descriptor), whatever the environment and measurements say, without a trial. The choice
 * gets the tile that was taken, on failure, too. */
rosace_status rsc_attention_plan_make(rosace_context *context, const rosace_attention_desc *desc,
                                      rsc_attention_choice *choice, rosace_attention_plan **out);

/* rosace_attention_enqueue with a workspace of the call's own where one is needed. */
rosace_status rsc_attention_run(rosace_attention_plan *plan, cl_command_queue queue, const rosace_attention_args *args,
                                cl_event *event);

/* Puts a new plan on trial with a small problem of its own descriptor, which was `desc`, checked. ROSACE_UNSUPPORTED: it
 * failed, and the message says how; the next choice is to be taken. */
rosace_status rsc_attention_trial(rosace_attention_plan *plan, const rosace_attention_desc *desc);

/* Where a step keeps things in the workspace starts at a multiple of this many bytes. */
enum { RSC_WORKSPACE_ALIGN = 256 };

/* A call's q or k, rotated to `positions` into the workspace, `bytes` from its start: packed, heads outside the sequence, so
 * that a head's rows are side by side. *to says where it is. */
rosace_status rsc_attention_rotate(rosace_rope_plan *rope, rsc_chain *chain, const rsc_attention_call *call,
                                   const rosace_tensor *from, const rosace_positions *positions, size_t bytes,
                                   rosace_tensor *to);

/* What cl/lib/call.clh wants of a plan: its defines, and the last arguments of its kernel (`sequences` NULL where the plan has
 * none). */
void rsc_attention_call_options(const rosace_attention_plan *plan, rsc_options *options);
rosace_status rsc_attention_call_arguments(const rosace_attention_plan *plan, cl_kernel kernel, cl_mem sequences);

/* Whether kernels that take one score per pair have the descriptor's position system; else false and the reason. */
bool rsc_attention_has_positions(const rosace_attention_desc *desc, char *reason, size_t reason_bytes);

/* Whether matrix products, matrix instructions and the like can read the descriptor's keys; else false and the reason. */
bool rsc_attention_has_rows(const rosace_attention_desc *desc, char *reason, size_t reason_bytes);

/* What such a copy takes. Then what both copies, when there are any, and a table of biases add to *bytes. */
rosace_status rsc_attention_rotated_bytes(const rosace_attention_plan *plan, size_t batch, size_t seq, size_t heads,
                                          size_t *bytes);
rosace_status rsc_attention_add_rotated(const rosace_attention_plan *plan, size_t batch, size_t seq_q, size_t seq_k,
                                        size_t *bytes);
rosace_status rsc_attention_add_biases(const rosace_attention_plan *plan, const rsc_bias *bias, size_t batch, size_t seq_q,
                                       size_t seq_k, size_t *bytes);

/* ReRoPE (attention_rerope.c): what pairs at a distance of rerope_window and beyond take. Zero-filled where it is off. */
typedef struct rsc_rerope {
    rosace_rope_plan *slow; /* Leaky: rotates queries at their position + ahead, and keys at theirs; else NULL: */
    cl_mem position;        /* int32, the one position of all far queries, and keys stay as they are */
    int64_t ahead;
    float scale;            /* of far scores, beside all else */
} rsc_rerope;
rosace_status rsc_rerope_create(rosace_context *context, const rosace_attention_desc *desc, rsc_rerope *rerope);
void rsc_rerope_destroy(rsc_rerope *rerope);

/* What copies of far queries, and with a leak of far keys, add to *bytes. The far queries into the workspace, `bytes` from its
 * start; rope: the plan's own. The arguments of lib/rerope.clh. */
rosace_status rsc_rerope_add_bytes(const rosace_attention_plan *plan, size_t batch, size_t seq_q, size_t seq_k, size_t *bytes);
rosace_status rsc_rerope_queries(const rsc_rerope *rerope, rosace_rope_plan *rope, rsc_chain *chain,
                                 const rsc_attention_call *call, size_t bytes, rosace_tensor *to);
rosace_status rsc_rerope_set_args(const rosace_attention_plan *plan, cl_kernel kernel, const rsc_rerope *rerope, const rosace_tensor *q,
                                  const rosace_tensor *k);

/* The last arguments of a kernel, which it has with one feature only. */
rosace_status rsc_attention_set_last(const rosace_attention_plan *plan, cl_kernel kernel, const char *what, const rsc_arg *args, cl_uint count);

/* Clipped relative positions (attention_shaw.c): the arguments of lib/shaw.clh. */
rosace_status rsc_shaw_set_args(const rosace_attention_plan *plan, cl_kernel kernel, const rosace_attention_args *call);

/* A tensor as kernels take it. */
rsc_attention_view rsc_attention_view_of(const rosace_tensor *t);

/* Up to this many queries a call is for the decode path where it is left to the library: by the call itself in one-call
 * functions, by max_seq_q in plans. */
enum { RSC_DECODE_QUERIES = 8 };

/* Each ends with a NULL name. */
extern const rsc_attention_variant rsc_attention_decode_variants[];
extern const rsc_attention_variant rsc_attention_matrix_variants[];
extern const rsc_attention_variant rsc_attention_gpu_variants[];
extern const rsc_attention_variant rsc_attention_fused_variants[];
extern const rsc_attention_variant rsc_attention_gemm_variants[];

/* Row i of all tables, in order of preference; NULL behind the last. */
const rsc_attention_variant *rsc_attention_variant_at(size_t i);

/* Positions of `n` tokens from plain offsets or an id buffer do not depend on the variant: rope.c's chain form, used to
 * rotate q or k into workspace (packed [batch, seq, heads, head_dim], fp32 or the tensor's dtype). */
rosace_status rsc_rope_chain(rosace_rope_plan *plan, rsc_chain *chain, const rosace_rope_args *checked_args);

#endif
