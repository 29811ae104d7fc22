/* SPDX-License-Identifier: MIT
 *
 * Which key a query sees, as data.
 *
 * Query row m (0 .. seq_q-1) stands at i = m + off among the keys, where off = seq_k - seq_q: when the lengths differ,
 * the last query sees the last key (bottom-right alignment, as flash-attention has it). Key n is visible to it when
 *
 *     (  n <= upper(i)  and  ( n >= lower(i)  or  n < sinks ) )   or   n < prefix
 *
 *     upper(i) = min( seq_k - 1,  i if causal,  i + window_right if window_right >= 0,
 *                     end of i's own chunk if chunk > 0 )
 *     lower(i) = max( 0,  i - window_left if window_left >= 0,
 *                     first key of the chunk `chunk_back` chunks before i's own if chunk > 0 )
 *
 * Both window ends are inclusive: window_left = 0 leaves a causal query only itself; transformers' sliding_window = W is
 * window_left = W - 1. A row that sees no key gives zeros and a log-sum-exp of -infinity.
 * So a row's visible keys are at most two intervals, head [0, h) and band [lower, upper], and every mask costs the same.
 */
#ifndef ROSACE_MASK_H
#define ROSACE_MASK_H

#include <rosace/rosace.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct rosace_mask {
    bool causal;          /* no key after the query (default false) */
    int64_t window_left;  /* keys visible before the query, in tokens, itself not counted; -1: all (default -1) */
    int64_t window_right; /* keys visible after it; -1: all (default -1) */
    int64_t sinks;        /* the first `sinks` keys stay visible left of the window (StreamingLLM, LM-Infinite 2023) (default 0) */
    int64_t prefix;       /* the first `prefix` keys are visible to every query, before and after it (default 0) */
    int64_t chunk;        /* blocks of this many keys; 0: off (default 0) */
    int64_t chunk_back;   /* whole chunks visible before the query's own: 1 with causal is blockwise causal attention
                             (Sun et al. 2022), 0 is Llama 4's chunked attention (default 0) */
} rosace_mask;
#define ROSACE_MASK_DEFAULT { .window_left = -1, .window_right = -1 }

/* A half-open interval of keys; empty when begin >= end. */
typedef struct rosace_interval {
    int64_t begin, end;
} rosace_interval;

/* What query rows [q_begin, q_end) of a tile have to visit: first `head`, then `band`; they never overlap and head lies
 * before band. Keys of `head_full` and `band_full` (inside them) are visible to every row of the tile, so they need no
 * test; every other key of head and band is visible to some rows perhaps. A key in neither is visible to none. */
typedef struct rosace_mask_tile {
    rosace_interval head, band;
    rosace_interval head_full, band_full;
} rosace_mask_tile;

/* Checks a mask by itself: windows >= -1, sinks, prefix, chunk and chunk_back >= 0, chunk_back only with chunk, all
 * below 2^30. Errors: ROSACE_INVALID_ARGUMENT. */
ROSACE_API rosace_status rosace_mask_check(const rosace_mask *mask);

/* The visible keys of query row m as two intervals that do not overlap, head first. m may be any row 0 .. seq_q - 1;
 * q_offset is off above (seq_k - seq_q by default). Pure; never fails on a checked mask. */
ROSACE_API void rosace_mask_row(const rosace_mask *mask, int64_t q_offset, int64_t seq_k, int64_t m, rosace_interval *head,
                                rosace_interval *band);

/* The intervals a tile of rows has to visit. The same function serves every kernel. Pure; never fails on a checked mask. */
ROSACE_API void rosace_mask_tile_intervals(const rosace_mask *mask, int64_t q_offset, int64_t seq_k, int64_t q_begin,
                                           int64_t q_end, rosace_mask_tile *out);

/* How many (query, key) pairs are visible: the count that GFLOP/s figures are based on. */
ROSACE_API int64_t rosace_mask_pairs(const rosace_mask *mask, int64_t q_offset, int64_t seq_q, int64_t seq_k);

#ifdef __cplusplus
}
#endif
#endif
