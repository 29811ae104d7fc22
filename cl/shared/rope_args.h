/* SPDX-License-Identifier: MIT
 * Arguments of the kernels in rope.cl and sinusoidal.cl, as both compilers see them: fixed-width members in an order
 * that leaves no padding. Offsets and strides are in elements. */
#ifndef ROSACE_CL_SHARED_ROPE_ARGS
#define ROSACE_CL_SHARED_ROPE_ARGS

#include "shared/types.h"

typedef struct rope_view {
    RSC_I64 offset;
    RSC_I64 batch_stride, seq_stride, head_stride;
} rope_view;

/* Where token s of batch b stands: start + s, or start + ids[offset + b*batch_stride + s*seq_stride]. */
typedef struct rope_place {
    RSC_I64 offset, batch_stride, seq_stride;
    RSC_I32 start;
    RSC_U32 use_ids;
} rope_place;

typedef struct rope_args {
    rope_view in[3], out[3]; /* q, k and v */
    rope_place place;
    RSC_I64 axis_stride; /* between the ids of two axes */
    RSC_I64 ahead[2]; /* from a token's elements to those to prefetch; 0: none */
    RSC_I32 heads[3];     /* 0: that tensor is absent */
    RSC_U32 copy_rest[2]; /* 1: elements from ROTARY_DIM on are to be copied */
    RSC_U32 seq;
    RSC_U32 rows; /* consecutive tokens per work-item */
    RSC_I32 heads_per_item;
    float scale;      /* of cos */
    float sine_scale; /* of sin at positive positions */
    RSC_I32 xpos_center;
    RSC_U32 reserved;
} rope_args;

typedef struct sinusoidal_args {
    RSC_I64 offset, batch_stride, seq_stride; /* of x */
    rope_place place;
    RSC_U32 seq;
    RSC_U32 pairs; /* width / 2 */
    RSC_U32 rows;
    RSC_U32 lanes; /* work-items that share a token */
    float scale;
    RSC_U32 items; /* work-items of a batch */
} sinusoidal_args;

/* A size that is not as written here makes an array's length negative, which stops the build of either side. */
typedef char rsc_rope_args_size[sizeof(rope_args) == 6 * 32 + 32 + 8 + 16 + 48 ? 1 : -1];
typedef char rsc_sinusoidal_args_size[sizeof(sinusoidal_args) == 24 + 32 + 24 ? 1 : -1];

#endif
