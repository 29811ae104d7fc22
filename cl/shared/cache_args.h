/* SPDX-License-Identifier: MIT
 * A cache of keys and values (rosace/cache.h) as an argument of a kernel. Strides are in elements.
 *
 * Keys are numbered as the kernel's mask has them: in a ring that has dropped some, keys from `sinks` on count from a later one,
 * so that numbers stay small; `begin` is where such a key `sinks` lies behind the sinks. */
#ifndef ROSACE_CL_SHARED_CACHE_ARGS
#define ROSACE_CL_SHARED_CACHE_ARGS

#include "shared/types.h"

typedef struct rsc_cache_args {
    RSC_U64 k_block_stride, v_block_stride; /* of a pool */
    RSC_U32 sinks, ring, begin; /* slot of key n: n < sinks ? n : sinks + (n - sinks + begin) % ring */
    RSC_U32 block_size;         /* 0: no pool */
    RSC_U32 block_shift;        /* its logarithm, 32 where it is no power of two */
    RSC_U32 table_stride;       /* int32 for a sequence: the key of an append's token 0, then its blocks */
} rsc_cache_args;

#endif
