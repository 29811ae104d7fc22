/* SPDX-License-Identifier: MIT
 *
 * A cache of keys and values, filled by rosace_rope (append with rotation) and read by rosace_attention.
 *
 * Token n of a sequence, counted from its first, is key n. Where it lies:
 *
 *     CONTIGUOUS   slot n                                                        n < capacity
 *     RING         slot n for n < sinks, else sinks + (n - sinks) % (capacity - sinks): memory for a window of an endless
 *                  stream, whose first tokens stay (StreamingLLM, Xiao et al. 2023)
 *     PAGED        slot n % block_size of block block_table[b][n / block_size] of a pool that sequences share
 *                  (PagedAttention, Kwon et al. 2023)
 *
 * The struct is the caller's, read during calls only. `length` is how many tokens a sequence has: an append puts token s at
 * key length + s and attention sees the keys before `length`, so that a step is
 *
 *     args.cache = &cache;  rosace_rope(...);   cache.length += seq;   args.cache = &cache;  rosace_attention(...);
 *
 * A ring's length goes on past its capacity, up to 2^62; positions, which rotate what is appended, are int32 as everywhere.
 */
#ifndef ROSACE_CACHE_H
#define ROSACE_CACHE_H

#include <rosace/rosace.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum rosace_cache_layout {
    ROSACE_CACHE_CONTIGUOUS = 0,
    ROSACE_CACHE_RING,
    ROSACE_CACHE_PAGED
} rosace_cache_layout;

typedef struct rosace_kv_cache {
    size_t struct_size; /* sizeof(rosace_kv_cache) */
    rosace_cache_layout layout; /* (default CONTIGUOUS) */
    rosace_tensor k, v; /* CONTIGUOUS, RING: [batch, capacity, n_kv_heads, head_dim]; PAGED: [n_blocks, block_size, n_kv_heads,
                           head_dim], block_size a multiple of 8. Any strides. Heads outside the slots ([batch, n_kv_heads,
                           capacity, head_dim] in memory) are fast on CPUs where a head's keys are many; in a pool, powers of
                           two from 32 on are fast as block sizes */
    int64_t length;     /* tokens of every sequence, see above (default 0) */
    int64_t sinks;      /* RING: keys before this one keep their slots (default 0) */
    const int32_t *block_table; /* PAGED: host memory, [batch, blocks_per_sequence], read during the call. Entries of keys that
                           the call reads or writes must be 0 to n_blocks - 1; others may be anything */
    size_t blocks_per_sequence; /* PAGED: entries of a row of the table */
} rosace_kv_cache;
#define ROSACE_KV_CACHE_DEFAULT { .struct_size = sizeof(rosace_kv_cache) }

#ifdef __cplusplus
}
#endif
#endif
