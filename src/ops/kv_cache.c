/* SPDX-License-Identifier: MIT */
#include "kv_cache.h"

#include <string.h>

#define INVALID(...) rsc_fail(ROSACE_INVALID_ARGUMENT, __VA_ARGS__)

static const int64_t most_keys = (int64_t)1 << 30; /* that kernels count */
static const int64_t most_length = (int64_t)1 << 62;
enum { BLOCK_STEP = 8 };

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }

static rosace_status check_tensor(rosace_context *context, const char *name, const rosace_tensor *t, rosace_dtype dtype,
                                  size_t n_kv_heads, size_t head_dim, bool written, rsc_range *range)
{
    const rosace_status status = rsc_check_tensor(context, name, t, dtype, written, range);
    if (status) return status;
    if (t->shape[2] != n_kv_heads) return INVALID("%s.shape[2] = %zu: n_kv_heads is %zu here", name, t->shape[2], n_kv_heads);
    if (t->shape[3] != head_dim) return INVALID("%s.shape[3] = %zu: head_dim is %zu here", name, t->shape[3], head_dim);
    if (t->shape[1] > (size_t)most_keys) return INVALID("%s.shape[1] = %zu: must be at most 2^30", name, t->shape[1]);
    return ROSACE_OK;
}

static rosace_status check_pool(const rosace_kv_cache *c)
{
    if (c->k.shape[1] % BLOCK_STEP)
        return INVALID("cache.k.shape[1] = %zu: a block must be a multiple of %d tokens", c->k.shape[1], (int)BLOCK_STEP);
    if (c->k.shape[0] > INT32_MAX) return INVALID("cache.k.shape[0] = %zu: must be at most 2147483647 blocks", c->k.shape[0]);
    if (!c->block_table) return INVALID("cache.block_table = NULL: a paged cache needs one");
    if (!c->blocks_per_sequence) return INVALID("cache.blocks_per_sequence = 0: must be at least 1");
    if (c->blocks_per_sequence > (size_t)most_keys / c->k.shape[1] + 1)
        return INVALID("cache.blocks_per_sequence = %zu: more than 2^30 tokens of %zu a block", c->blocks_per_sequence,
                       c->k.shape[1]);
    return ROSACE_OK;
}

static uint32_t shift_of(size_t size)
{
    uint32_t shift = 0;
    while (shift < 31 && (size_t)1 << shift < size) shift++;
    return (size_t)1 << shift == size ? shift : 32;
}

rosace_status rsc_cache_check(rosace_context *context, const rosace_kv_cache *in, rosace_dtype dtype, size_t batch,
                              size_t n_kv_heads, size_t head_dim, bool written, rsc_cache *out)
{
    *out = (rsc_cache){.given = ROSACE_KV_CACHE_DEFAULT, .batch = batch};
    rosace_kv_cache *c = &out->given;
    rosace_status status = rsc_read_struct("cache", in, c, sizeof *c);
    if (status) return status;
    const bool paged = c->layout == ROSACE_CACHE_PAGED, ring = c->layout == ROSACE_CACHE_RING;
    if (!paged && !ring && c->layout != ROSACE_CACHE_CONTIGUOUS)
        return INVALID("cache.layout = %d: must be ROSACE_CACHE_CONTIGUOUS, _RING or _PAGED", (int)c->layout);
    status = check_tensor(context, "cache.k", &c->k, dtype, n_kv_heads, head_dim, written, &out->k_range);
    if (!status) status = check_tensor(context, "cache.v", &c->v, dtype, n_kv_heads, head_dim, written, &out->v_range);
    if (status) return status;
    if (memcmp(c->k.shape, c->v.shape, sizeof c->k.shape))
        return INVALID("cache.v.shape = [%zu, %zu, %zu, %zu]: must be that of cache.k", c->v.shape[0], c->v.shape[1],
                       c->v.shape[2], c->v.shape[3]);
    if (!paged && c->k.shape[0] != batch) return INVALID("cache.k.shape[0] = %zu: batch is %zu here", c->k.shape[0], batch);
    if (c->length < 0 || c->length > most_length)
        return INVALID("cache.length = %lld: must be 0 to 2^62", (long long)c->length);
    const int64_t capacity = (int64_t)c->k.shape[1];
    if (c->sinks < 0 || (ring && c->sinks >= capacity) || (!ring && c->sinks))
        return INVALID("cache.sinks = %lld: must be %s", (long long)c->sinks,
                       ring ? "0 to capacity - 1" : "0 where the cache is no ring");
    if (paged && (status = check_pool(c)) != ROSACE_OK) return status;
    if (!paged && c->block_table) return INVALID("cache.block_table: must be NULL where the cache is not paged");

    out->k = c->k;
    out->v = c->v;
    out->k.shape[0] = out->v.shape[0] = batch;
    if (paged) out->k.stride[0] = out->v.stride[0] = 0;
    out->args = (rsc_cache_args){
        .k_block_stride = paged ? (uint64_t)c->k.stride[0] : 0,
        .v_block_stride = paged ? (uint64_t)c->v.stride[0] : 0,
        .sinks = ring ? (uint32_t)c->sinks : INT32_MAX,
        .ring = ring ? (uint32_t)(capacity - c->sinks) : 1,
        .block_size = paged ? (uint32_t)capacity : 0,
        .block_shift = paged ? shift_of((size_t)capacity) : 32,
        .table_stride = 1 + (paged ? (uint32_t)c->blocks_per_sequence : 0),
    };
    return ROSACE_OK;
}

/* ---- Room ---------------------------------------------------------------------------------------------------------- */

static rosace_status check_fits(const rosace_kv_cache *c, const char *what, int64_t end)
{
    const bool paged = c->layout == ROSACE_CACHE_PAGED;
    const int64_t slots = (int64_t)c->k.shape[1] * (paged ? (int64_t)c->blocks_per_sequence : 1);
    if (end <= min64(slots, most_keys)) return ROSACE_OK;
    return INVALID("cache.length = %lld: %s%lld tokens do not fit the %lld slots of %s", (long long)c->length, what,
                   (long long)end, (long long)min64(slots, most_keys),
                   paged ? "cache.blocks_per_sequence blocks" : "cache.k");
}

/* The entries of keys first .. end-1 of every sequence. `taken`, when not NULL, has a byte for each block of the pool, and no
 * block may be met twice. */
static rosace_status check_blocks(const rsc_cache *cache, int64_t first, int64_t end, unsigned char *taken)
{
    const rosace_kv_cache *c = &cache->given;
    const size_t size = c->k.shape[1];
    if (c->layout != ROSACE_CACHE_PAGED || first >= end) return ROSACE_OK;
    for (size_t b = 0; b < cache->batch; b++)
        for (size_t i = (size_t)first / size; i * size < (size_t)end; i++) {
            const int32_t block = c->block_table[b * c->blocks_per_sequence + i];
            if (block < 0 || (size_t)block >= c->k.shape[0])
                return INVALID("cache.block_table[%zu][%zu] = %d: must be 0 to %zu, the pool's blocks", b, i, (int)block,
                               c->k.shape[0] - 1);
            if (taken && taken[block])
                return INVALID("cache.block_table[%zu][%zu] = %d: two runs of tokens of this append would go to that block", b, i,
                               (int)block);
            if (taken) taken[block] = 1;
        }
    return ROSACE_OK;
}

rosace_status rsc_cache_check_append(rosace_context *context, rsc_cache *cache, size_t seq)
{
    const rosace_kv_cache *c = &cache->given;
    if (seq > (size_t)most_keys) return INVALID("k.shape[1] = %zu: must be at most 2^30", seq);
    const int64_t length = c->length, end = length + (int64_t)seq;
    if (c->layout == ROSACE_CACHE_RING) {
        const int64_t ring = cache->args.ring, turning = end - max64(length, c->sinks); /* tokens that go round */
        if (turning > ring)
            return INVALID("cache.k.shape[1] = %lld: %zu tokens at once need %lld slots, sinks and one for each",
                           (long long)c->k.shape[1], seq, (long long)(c->sinks + turning));
        cache->shift = max64(0, length - c->sinks);
        cache->args.begin = (uint32_t)(cache->shift % ring);
        return ROSACE_OK;
    }
    rosace_status status = check_fits(c, "with what is appended, ", end);
    if (status || c->layout != ROSACE_CACHE_PAGED) return status;
    unsigned char *taken = rsc_calloc(context, c->k.shape[0], 1);
    if (!taken) return rsc_fail(ROSACE_OUT_OF_MEMORY, "cache: no host memory");
    status = check_blocks(cache, length, end, taken);
    rsc_free(context, taken);
    return status;
}

/* What of a ring is gone must be hidden. */
static rosace_status check_ring(const rsc_cache *cache, const rosace_mask *mask, const rosace_mask_tile *seen, size_t seq_q)
{
    const rosace_kv_cache *c = &cache->given;
    const int64_t capacity = (int64_t)c->k.shape[1], gone = c->length - capacity; /* behind the sinks */
    /* A window that can never be held is refused from the first token on. */
    const bool chunks = mask->chunk > 0 && mask->chunk * (mask->chunk_back + 1) <= mask->window_left;
    const int64_t needed = mask->window_left >= 0 && !chunks ? max64(mask->sinks, c->sinks) + mask->window_left + 1 : 0;
    if (needed > capacity)
        return INVALID("cache.k.shape[1] = %lld: a ring for sinks of %lld and window_left = %lld needs %lld slots",
                       (long long)capacity, (long long)max64(mask->sinks, c->sinks), (long long)mask->window_left,
                       (long long)needed);
    if (gone <= 0) return ROSACE_OK;
    if (seen->head.end > c->sinks)
        return INVALID("cache.sinks = %lld: the mask's sinks = %lld and prefix = %lld must stay in the ring", (long long)c->sinks,
                       (long long)mask->sinks, (long long)mask->prefix);
    if (seen->band.begin < seen->band.end && seen->band.begin < c->sinks + gone) {
        const int64_t last = c->length - max64(seen->band.begin, c->sinks); /* keys */
        return INVALID("cache.k.shape[1] = %lld: %lld slots are needed for sinks of %lld and the last %lld keys, which %zu queries see",
                       (long long)capacity, (long long)(c->sinks + last), (long long)c->sinks, (long long)last, seq_q);
    }
    return ROSACE_OK;
}

rosace_status rsc_cache_check_seen(rsc_cache *cache, const rosace_mask *mask, size_t seq_q, int64_t *q_offset, size_t *seq_k)
{
    const rosace_kv_cache *c = &cache->given;
    if (c->length < 1) return INVALID("cache.length = %lld: must be at least 1", (long long)c->length);
    rosace_mask_tile seen;
    rosace_mask_tile_intervals(mask, *q_offset, c->length, 0, (int64_t)seq_q, &seen);
    rosace_status status = ROSACE_OK;
    if (c->layout == ROSACE_CACHE_RING) {
        status = check_ring(cache, mask, &seen, seq_q);
        cache->shift = max64(0, c->length - (int64_t)c->k.shape[1]);
        if (mask->chunk) cache->shift -= cache->shift % mask->chunk; /* chunks begin where they did */
        cache->args.begin = (uint32_t)(cache->shift % cache->args.ring);
        if (!status && c->length - cache->shift > most_keys)
            status = INVALID("mask.chunk = %lld: too long for a ring", (long long)mask->chunk);
    } else {
        status = check_fits(c, "", c->length);
        if (!status) status = check_blocks(cache, seen.head.begin, seen.head.end, NULL);
        if (!status) status = check_blocks(cache, seen.band.begin, seen.band.end, NULL);
    }
    *q_offset -= cache->shift;
    *seq_k = (size_t)(c->length - cache->shift);
    return status;
}

/* ---- For kernels ----------------------------------------------------------------------------------------------------- */

rosace_status rsc_cache_upload(rosace_context *context, const rsc_cache *cache, cl_mem *out)
{
    const rosace_kv_cache *c = &cache->given;
    size_t bytes;
    *out = NULL;
    if (!rsc_mul(cache->batch, cache->args.table_stride * sizeof(int32_t), &bytes))
        return INVALID("cache.blocks_per_sequence = %zu: the table's bytes overflow", c->blocks_per_sequence);
    int32_t *table = rsc_calloc(context, bytes, 1);
    if (!table) return rsc_fail(ROSACE_OUT_OF_MEMORY, "cache: no host memory for the table");
    for (size_t b = 0; b < cache->batch; b++) {
        int32_t *row = table + b * cache->args.table_stride;
        row[0] = (int32_t)(c->length - cache->shift);
        if (c->layout == ROSACE_CACHE_PAGED)
            memcpy(row + 1, c->block_table + b * c->blocks_per_sequence, c->blocks_per_sequence * sizeof *row);
    }
    const rosace_status status =
        rsc_buffer_create(context, bytes, CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR, table, "cache table", out);
    rsc_free(context, table);
    return status;
}

rosace_status rsc_cache_set_args(cl_kernel kernel, cl_uint first, const char *what, const rsc_cache *cache, cl_mem table)
{
    cl_int code = clSetKernelArg(kernel, first, sizeof cache->args, &cache->args);
    if (!code) code = clSetKernelArg(kernel, first + 1, sizeof table, &table);
    return code ? rsc_fail_cl(code, "%s: clSetKernelArg of the cache", what) : ROSACE_OK;
}
