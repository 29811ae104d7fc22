/* SPDX-License-Identifier: MIT
 * Caches of keys and values (rosace/cache.h): checks, and the form that kernels take. */
#ifndef ROSACE_SRC_OPS_KV_CACHE_H
#define ROSACE_SRC_OPS_KV_CACHE_H

#include <rosace/cache.h>
#include <rosace/mask.h>

#include "../check.h"
#include "../queue.h"
#include "shared/cache_args.h"

/* A checked cache. */
typedef struct rsc_cache {
    rosace_kv_cache given; /* struct_size aside, the caller's */
    size_t batch;
    rosace_tensor k, v; /* [batch, ...] as kernels see them: a pool, which all sequences share, has a batch stride of 0 */
    rsc_range k_range, v_range;
    int64_t shift;      /* RING: keys from `sinks` on have numbers that are less by this in kernels, see cache_args.h */
    rsc_cache_args args;
} rsc_cache;

/* All but what depends on the call's keys. `written`: by an append. */
rosace_status rsc_cache_check(rosace_context *context, const rosace_kv_cache *in, rosace_dtype dtype, size_t batch,
                              size_t n_kv_heads, size_t head_dim, bool written, rsc_cache *out);

/* That `seq` tokens may be appended at `length`; sets numbers for that. */
rosace_status rsc_cache_check_append(rosace_context *context, rsc_cache *cache, size_t seq);

/* That all that queries q_offset .. (of the sequence, not resolved against `shift`) see is there; sets numbers for that: *seq_k
 * keys, and *q_offset as kernels have it. */
rosace_status rsc_cache_check_seen(rsc_cache *cache, const rosace_mask *mask, size_t seq_q, int64_t *q_offset, size_t *seq_k);

/* The table of a checked cache on the device; the caller's to release. */
rosace_status rsc_cache_upload(rosace_context *context, const rsc_cache *cache, cl_mem *out);

/* CACHE_PARAMS of cl/lib/key_row.clh, from argument `first` of a kernel on. */
rosace_status rsc_cache_set_args(cl_kernel kernel, cl_uint first, const char *what, const rsc_cache *cache, cl_mem table);

#endif
