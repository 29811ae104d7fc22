/* SPDX-License-Identifier: MIT
 *
 * Rotary position embedding (Su et al. 2021, RoFormer, eq. 34) and the frequency scalings built on it.
 *
 * Pair i (i = 0 .. rotary_dim/2 - 1) of a head's vector x at position m is turned by the angle m * f_i, where
 * f_i = theta^(-2i/rotary_dim), or what a scaling makes of it:
 *
 *     x'_a = c * (x_a cos(m f_i) - x_b sin(m f_i))        (a, b) = (2i, 2i+1)             interleaved
 *     x'_b = c * (x_b cos(m f_i) + x_a sin(m f_i))        (a, b) = (i, i + rotary_dim/2)  half-split ("neox", Llama)
 *
 * c is the scaling's attention factor (1 for all but YaRN and LongRoPE). Elements from rotary_dim on pass through.
 *
 * Angles are reduced exactly before any float arithmetic: frequencies are kept as 64-bit fractions of a turn, so that
 * position times frequency wraps to the fraction of a turn in integer arithmetic. The error of cos and sin is that of
 * their final fp32 rounding at every position of the int32 range, not one that grows with the position.
 */
#ifndef ROSACE_ROPE_H
#define ROSACE_ROPE_H

#include <rosace/cache.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How the frequencies are changed to reach past the training length L = original_max_position. */
typedef enum rosace_rope_scaling_kind {
    ROSACE_ROPE_SCALING_NONE = 0,
    ROSACE_ROPE_SCALING_LINEAR,  /* position interpolation: f_i / factor (Chen et al. 2023) */
    ROSACE_ROPE_SCALING_NTK,     /* theta * factor^(d/(d-2)) (bloc97 2023) */
    ROSACE_ROPE_SCALING_DYNAMIC, /* NTK with factor' = factor*seq_len/L - (factor-1) once seq_len > L (transformers "dynamic") */
    ROSACE_ROPE_SCALING_YARN,    /* per-frequency ramp between interpolation and none (Peng et al. 2023; transformers "yarn") */
    ROSACE_ROPE_SCALING_LLAMA3,  /* low/high frequency factors with a smooth ramp (transformers "llama3") */
    ROSACE_ROPE_SCALING_NTK_OLD,   /* theta * factor (Su 2023, kexue 9706: the first form of NTK-RoPE) */
    ROSACE_ROPE_SCALING_NTK_FIXED, /* f_i * factor^(-2(i+1)/d): NTK_OLD with its start put right (Su 2023, kexue 9706) */
    ROSACE_ROPE_SCALING_NTK_MIXED, /* f_i * factor^(-((i+1)/(d/2))^exponent) (Su 2023, kexue 9706) */
    ROSACE_ROPE_SCALING_LONGROPE,  /* f_i / short_factor[i], or / long_factor[i] once seq_len > L (Ding et al. 2024; transformers
                                      "longrope") */
    ROSACE_ROPE_SCALING_PROPORTIONAL /* the first int(share * d/2) pairs turn by f_i / factor, the rest not at all (transformers
                                        "proportional") */
} rosace_rope_scaling_kind;

typedef struct rosace_rope_scaling {
    rosace_rope_scaling_kind kind;
    double factor;                   /* >= 1; used by all but NONE (default 1); LONGROPE: for the attention factor */
    int64_t original_max_position;   /* L; DYNAMIC, YARN, LLAMA3, LONGROPE */
    int64_t seq_len;                 /* the length now; DYNAMIC, LONGROPE */
    double beta_fast, beta_slow;     /* YARN (default 32 and 1) */
    double attention_factor;         /* YARN; 0: 0.1 ln(factor) + 1, or what mscale and mscale_all_dim say (default 0).
                                        LONGROPE; 0: sqrt(1 + ln(factor) / ln(L)) */
    double mscale, mscale_all_dim;   /* YARN; 0: unused (default 0) */
    bool no_truncate;                /* YARN: do not round the ramp's ends to whole dimensions (default false) */
    double low_freq_factor, high_freq_factor; /* LLAMA3 (default 1 and 4) */
    double exponent;                 /* NTK_MIXED (default 0.625) */
    double share;                    /* PROPORTIONAL: above 0, at most 1 (default 1) */
    const double *short_factor, *long_factor; /* LONGROPE: factor_count numbers above 0 each. They stay the caller's, are read
                                        by the call that gets the descriptor and by none after it (default NULL) */
    size_t factor_count;             /* LONGROPE: must be rotary_dim/2 */
} rosace_rope_scaling;

/* Which axis a pair takes its position from, when a token stands at several: time, row and column of an image, say. */
typedef enum rosace_rope_axis_order {
    ROSACE_ROPE_AXES_CONTIGUOUS = 0, /* the first sections[0] pairs from axis 0, the next from axis 1, ... (Qwen2-VL) */
    ROSACE_ROPE_AXES_INTERLEAVED     /* pair i from axis a = i mod axes while i < axes * sections[a], else from axis 0 (Qwen3-VL) */
} rosace_rope_axis_order;

typedef struct rosace_rope_desc {
    size_t struct_size;          /* sizeof(rosace_rope_desc) */
    size_t head_dim;             /* elements per head: even, 2 to 1024 */
    size_t rotary_dim;           /* how many of them rotate: even, <= head_dim (default 0 = head_dim) */
    double theta;                /* base of the frequencies, > 1 (default 10000) */
    bool interleaved;            /* pairs are neighbours (GPT-J, RoFormer) instead of halves (default false) */
    bool inverse;                /* turn by -position: the backward pass, and, where c is 1, what undoes the forward (default
                                    false) */
    rosace_dtype dtype;          /* of every tensor (default ROSACE_F32) */
    rosace_rope_scaling scaling; /* (default NONE) */
    size_t axes;                 /* 1 to 4 (default 0 = 1) */
    size_t sections[4];          /* with several axes: how many pairs each has; rotary_dim/2 together */
    rosace_rope_axis_order axis_order; /* (default CONTIGUOUS) */
    bool axis_restart;           /* CONTIGUOUS: frequencies begin anew in each section, theta^(-j/sections[a]) for its pair j:
                                    2-D rotation as vision transformers have it; scaling NONE or LINEAR (default false) */
    double xpos_base;            /* xPos (Sun et al. 2022): beside the rotation, pair i of a query at position p is multiplied by
                                    z_i^((p - xpos_center) / xpos_base), that of a key divided by it, z_i = (2i/rotary_dim + 0.4)
                                    / 1.4, so that scores fall with the distance; 512 in the paper, at least 2 (default 0 = off).
                                    One axis, and rosace_rope only */
    int64_t xpos_center;         /* scores do not depend on it, ranges do: z_0^(256 / 512) is 1/1.87. Keys in fp16 overflow about
                                    8 * xpos_base positions from it, in fp32 66 * xpos_base; the middle of what is in use is
                                    best. Must be the same for all that meet (default 0) */
} rosace_rope_desc;
#define ROSACE_ROPE_DESC_DEFAULT                                                                                       \
    {                                                                                                                  \
        .struct_size = sizeof(rosace_rope_desc), .theta = 10000.0,                                                     \
        .scaling = {.factor = 1.0, .beta_fast = 32.0, .beta_slow = 1.0, .low_freq_factor = 1.0, .high_freq_factor = 4.0, \
                    .exponent = 0.625, .share = 1.0 }                                                                  \
    }

/* Where each token stands. With ids NULL, token s of every batch has the position offset + s; else the int32 at
 * ids[ids_offset + b*batch_stride + s*seq_stride] plus offset. A batch_stride of 0 shares one row among the batch. */
typedef struct rosace_positions {
    int64_t offset;           /* (default 0); every position must fit int32 */
    cl_mem ids;               /* int32 (default NULL) */
    size_t ids_offset;        /* in elements */
    ptrdiff_t batch_stride;   /* in elements */
    ptrdiff_t seq_stride;     /* in elements; 1 for a packed row */
    ptrdiff_t axis_stride;    /* in elements; where a rotation has several axes, those of axis a begin a * axis_stride further,
                                 as in ids [axes][batch][seq]. Without ids all axes have the same position (default 0) */
} rosace_positions;

/* The frequencies f_i in radians per position, and the attention factor c, exactly as the kernels use them.
 * `frequencies` receives rotary_dim/2 doubles; either output may be NULL. Needs no device.
 * Errors: ROSACE_INVALID_ARGUMENT, as for rosace_rope_plan_create. */
ROSACE_API rosace_status rosace_rope_frequencies(const rosace_rope_desc *desc, double *frequencies, double *attention_factor);

/* What stands beside a model's rope_scaling or rope_parameters in its config.json; the keys' names are the members'. */
typedef struct rosace_rope_model {
    size_t struct_size;      /* sizeof(rosace_rope_model) */
    const char *name;        /* what errors call the object (default NULL = "rope_parameters") */
    size_t head_dim;         /* even, 2 to 1024 */
    double theta;            /* rope_theta, which one in the object overrides (default 0 = 10000) */
    double partial_rotary_factor;             /* likewise, at most 1 (default 0 = all of the head rotates) */
    int64_t max_position_embeddings;          /* (default 0 = not known) */
    int64_t original_max_position_embeddings; /* as Phi-3 has it beside the object; overrides the one in it (default 0 = none) */
    const char *layer_type;  /* which of the objects in the object, when it has one per kind of layer, as Gemma 3 has:
                                "full_attention", "sliding_attention" (default NULL) */
    int64_t seq_len;         /* the length now, for dynamic and longrope (default 0) */
} rosace_rope_model;
#define ROSACE_ROPE_MODEL_DEFAULT { .struct_size = sizeof(rosace_rope_model) }

/* The rotation that a transformers model means by the object under "rope_scaling" or "rope_parameters" in its config.json:
 * `json` is its text, `length` bytes ("null", too: no scaling). Types default, linear, dynamic, yarn, llama3, longrope,
 * proportional; mrope_section and mrope_interleaved give the axes. The layout of pairs and the data type are not in it: *out has the defaults, for the caller to change.
 * `factors` is the caller's, room for factors_count numbers: with longrope, which needs rotary_dim of them, *out points into it
 * and is good for as long as it is; other types leave it alone, and it may be NULL. Needs no device.
 * Errors: ROSACE_INVALID_ARGUMENT, with the key and its value: an unknown type, a key that is missing, of a wrong type or out
 * of range, a list that is not as long as what rotates. *out is left alone then. */
ROSACE_API rosace_status rosace_rope_desc_from_json(const char *json, size_t length, const rosace_rope_model *model,
                                                    double *factors, size_t factors_count, rosace_rope_desc *out);

/* A rotation made ready for a device: kernel built, frequencies uploaded. Serves any batch, length, head count, stride.
 * Thread-safety: a plan may be enqueued from one thread at a time; different plans freely. */
typedef struct rosace_rope_plan rosace_rope_plan;

/* Errors: ROSACE_INVALID_ARGUMENT (message names field, value and what is allowed), ROSACE_BUILD_FAILED,
 * ROSACE_OUT_OF_MEMORY, ROSACE_OPENCL_ERROR. On failure *out is NULL. The context must outlive the plan. */
ROSACE_API rosace_status rosace_rope_plan_create(rosace_context *context, const rosace_rope_desc *desc, rosace_rope_plan **out);
ROSACE_API void rosace_rope_plan_destroy(rosace_rope_plan **plan);

/* The tensors of one rotation: q [batch, seq, n_heads, head_dim] and k [batch, seq, n_kv_heads, head_dim], rotated in
 * one launch. Either input may be NULL. An output that is NULL, or describes the same elements in the same order as its
 * input, means in place; otherwise it must not overlap any other tensor of the call.
 *
 * With k_cache the same launch appends to a cache of keys and values: token s of every batch goes to slot cache_slot + s,
 * k rotated, v (when given) as it is. k itself keeps its values then. The caches are [batch, slots, n_kv_heads, head_dim] of
 * any strides; slots outside of cache_slot .. cache_slot + seq - 1 are not touched. rosace_attention then reads the first
 * cache_slot + seq slots, as views whose shape[1] says so, and needs no rotation of its own. */
typedef struct rosace_rope_args {
    size_t struct_size; /* sizeof(rosace_rope_args) */
    const rosace_tensor *q, *k;
    const rosace_tensor *q_out, *k_out;
    rosace_positions positions;
    const rosace_tensor *k_cache; /* where rotated keys go (default NULL: no cache); needs k, and k_out NULL */
    const rosace_tensor *v;       /* values, of the shape of k; needs v_cache (default NULL) */
    const rosace_tensor *v_cache; /* where they go; needs v and k_cache (default NULL) */
    size_t cache_slot;            /* of token 0 (default 0) */
    const rosace_kv_cache *cache; /* in place of k_cache, v_cache and cache_slot: where k, rotated, and v go, both needed. Refused
                                     when two tokens of the call would get one slot (default NULL) */
} rosace_rope_args;
#define ROSACE_ROPE_ARGS_DEFAULT { .struct_size = sizeof(rosace_rope_args), .positions = {.seq_stride = 1 } }

/* Enqueues the rotation. `event` may be NULL; else it is the caller's to release.
 * Errors: ROSACE_INVALID_ARGUMENT before anything is enqueued; ROSACE_OPENCL_ERROR. */
ROSACE_API rosace_status rosace_rope_enqueue(rosace_rope_plan *plan, cl_command_queue queue, const rosace_rope_args *args,
                                             cl_uint num_wait, const cl_event *wait, cl_event *event);

/* The same in one call: makes a plan on first use of a descriptor and keeps it in the context, up to a limit beyond which
 * the longest unused goes. */
ROSACE_API rosace_status rosace_rope(rosace_context *context, cl_command_queue queue, const rosace_rope_desc *desc,
                                     const rosace_rope_args *args, cl_uint num_wait, const cl_event *wait, cl_event *event);

/* Keys in a cache, already rotated, as if they had stood `shift` tokens further on, or had been rotated by another rotation, or
 * both, in place: what `from` made of a key at its position p becomes what `to` would have made of it at p + shift. So a cache
 * whose first tokens went away is renumbered, and LongRoPE goes from its short to its long factors, without the keys being
 * computed again. Angles are exact (differences of fractions of a turn), and the attention factor changes by its ratio; what
 * rounds is the key as stored, once per launch, so keys lose half a unit in the last place each time.
 * from and to may differ in theta and scaling alone; `to` NULL: as `from`. positions: of the keys before the shift, all of which
 * must fit int32 after it, too; read only where from and to differ. With several axes, every axis shifts.
 * Errors: ROSACE_INVALID_ARGUMENT before anything is enqueued; those of rosace_rope. */
typedef struct rosace_rope_move_args {
    size_t struct_size; /* sizeof(rosace_rope_move_args) */
    rosace_tensor k;    /* [batch, seq, n_kv_heads, head_dim] */
    rosace_positions positions;
    int64_t shift;      /* in tokens, of either sign (default 0) */
} rosace_rope_move_args;
#define ROSACE_ROPE_MOVE_ARGS_DEFAULT { .struct_size = sizeof(rosace_rope_move_args), .positions = {.seq_stride = 1 } }
ROSACE_API rosace_status rosace_rope_move(rosace_context *context, cl_command_queue queue, const rosace_rope_desc *from,
                                          const rosace_rope_desc *to, const rosace_rope_move_args *args, cl_uint num_wait,
                                          const cl_event *wait, cl_event *event);

/* Adds the sinusoidal position table (Vaswani et al. 2017) to x, in place:
 *     x[b, s, 0, 2t]   += scale * sin(pos / 10000^(2t/d))
 *     x[b, s, 0, 2t+1] += scale * cos(pos / 10000^(2t/d))        t = 0 .. d/2 - 1, d = x->shape[3], even
 * x is [batch, seq, 1, model width] of any dtype. Errors as rosace_rope. */
ROSACE_API rosace_status rosace_sinusoidal_add(rosace_context *context, cl_command_queue queue, const rosace_tensor *x,
                                               const rosace_positions *positions, float scale, cl_uint num_wait,
                                               const cl_event *wait, cl_event *event);

#ifdef __cplusplus
}
#endif
#endif
