/* SPDX-License-Identifier: MIT
 * Masks as intervals.
 *
 * With S = min(max(prefix, sinks), seq_k), a key n < S is visible to a row exactly when n < head(i), and a key n >= S
 * exactly when it is in the row's band, where
 *
 *     head(i) = max(prefix, min(sinks, upper(i) + 1), 0)        band(i) = [max(S, lower(i)), upper(i) + 1)
 *
 * head, lower and upper never fall as i grows, and bands of neighbouring rows touch. So what a tile of rows has to visit
 * and what all of its rows see follow from its first and its last row alone. cl/lib/mask.clh says the same on the device. */
#include "mask.h"

#include "error.h"

static int64_t min64(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t max64(int64_t a, int64_t b) { return a > b ? a : b; }
static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static int64_t lower(const rosace_mask *mask, int64_t i)
{
    int64_t key = 0;
    if (mask->window_left >= 0) key = max64(key, i - mask->window_left);
    if (mask->chunk > 0) key = max64(key, (floor_div(i, mask->chunk) - mask->chunk_back) * mask->chunk);
    return key;
}

static int64_t upper(const rosace_mask *mask, int64_t seq_k, int64_t i)
{
    int64_t key = seq_k - 1;
    if (mask->causal) key = min64(key, i);
    if (mask->window_right >= 0) key = min64(key, i + mask->window_right);
    if (mask->chunk > 0) key = min64(key, (floor_div(i, mask->chunk) + 1) * mask->chunk - 1);
    return key;
}

static int64_t head_end(const rosace_mask *mask, int64_t seq_k, int64_t i)
{
    return max64(min64(mask->prefix, seq_k), max64(0, min64(mask->sinks, upper(mask, seq_k, i) + 1)));
}

static bool empty(rosace_interval a) { return a.begin >= a.end; }

rosace_status rosace_mask_check(const rosace_mask *mask)
{
    static const int64_t limit = (int64_t)1 << 30;
    if (!mask) return rsc_fail(ROSACE_INVALID_ARGUMENT, "mask: NULL");
    const struct {
        const char *name;
        int64_t value, least;
    } fields[] = {
        {"window_left", mask->window_left, -1}, {"window_right", mask->window_right, -1},
        {"sinks", mask->sinks, 0},              {"prefix", mask->prefix, 0},
        {"chunk", mask->chunk, 0},              {"chunk_back", mask->chunk_back, 0},
    };
    for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++)
        if (fields[f].value < fields[f].least || fields[f].value >= limit)
            return rsc_fail(ROSACE_INVALID_ARGUMENT, "mask.%s = %lld: must be %lld to 2^30 - 1", fields[f].name,
                            (long long)fields[f].value, (long long)fields[f].least);
    if (mask->chunk_back && !mask->chunk)
        return rsc_fail(ROSACE_INVALID_ARGUMENT, "mask.chunk_back = %lld: must be 0 when chunk is 0",
                        (long long)mask->chunk_back);
    return ROSACE_OK;
}

void rosace_mask_tile_intervals(const rosace_mask *mask, int64_t q_offset, int64_t seq_k, int64_t q_begin, int64_t q_end,
                                rosace_mask_tile *out)
{
    *out = (rosace_mask_tile){{0, 0}, {0, 0}, {0, 0}, {0, 0}};
    if (q_begin >= q_end) return;
    const int64_t first = q_begin + q_offset, last = q_end - 1 + q_offset;
    const int64_t split = min64(max64(mask->prefix, mask->sinks), seq_k);
    out->head = (rosace_interval){0, head_end(mask, seq_k, last)};
    out->head_full = (rosace_interval){0, head_end(mask, seq_k, first)};
    out->band = (rosace_interval){max64(split, lower(mask, first)), upper(mask, seq_k, last) + 1};
    out->band_full = (rosace_interval){max64(split, lower(mask, last)), upper(mask, seq_k, first) + 1};
    if (empty(out->band_full)) out->band_full = (rosace_interval){0, 0};
    if (empty(out->band)) {
        out->band = (rosace_interval){out->head.end, out->head.end};
        return;
    }
    /* One interval where head and band touch, unless keys that only some rows see lie between two full parts. */
    const bool touch = out->head.end == out->band.begin;
    if (touch && empty(out->band_full)) {
        out->band_full = out->head_full;
    } else if (touch && out->head_full.end == out->band_full.begin) {
        out->band_full.begin = 0;
    } else if (!touch || !empty(out->head_full)) {
        return;
    }
    out->band.begin = 0;
    out->head = out->head_full = (rosace_interval){0, 0};
}

void rosace_mask_row(const rosace_mask *mask, int64_t q_offset, int64_t seq_k, int64_t m, rosace_interval *head,
                     rosace_interval *band)
{
    rosace_mask_tile tile;
    rosace_mask_tile_intervals(mask, q_offset, seq_k, m, m + 1, &tile);
    *head = tile.head;
    *band = tile.band;
}

int64_t rosace_mask_pairs(const rosace_mask *mask, int64_t q_offset, int64_t seq_q, int64_t seq_k)
{
    int64_t pairs = 0;
    for (int64_t m = 0; m < seq_q; m++) {
        rosace_interval head, band;
        rosace_mask_row(mask, q_offset, seq_k, m, &head, &band);
        pairs += head.end - head.begin + band.end - band.begin;
    }
    return pairs;
}

rsc_mask_args rsc_mask_pack(const rosace_mask *mask, int64_t q_offset, int64_t seq_k)
{
    return (rsc_mask_args){
        .window_left = mask->window_left,
        .window_right = mask->window_right,
        .sinks = mask->sinks,
        .prefix = mask->prefix,
        .chunk = mask->chunk,
        .chunk_back = mask->chunk_back,
        .seq_k = seq_k,
        .q_offset = q_offset,
        .causal = mask->causal,
    };
}
