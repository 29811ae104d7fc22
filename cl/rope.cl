/* SPDX-License-Identifier: MIT
 *
 * Rotary position embedding of q and k in one launch:
 *
 *     out[a] = x[a] cos - x[b] sin      (a, b) = (2i, 2i + 1) with INTERLEAVED, else (i, i + ROTARY_DIM/2)
 *     out[b] = x[b] cos + x[a] sin      i = 0 .. ROTARY_DIM/2 - 1, angle = position * frequency i
 *
 * q, k, q_out, k_out   tensors [batch, seq, head, HEAD_DIM] with the views of `args`; an output may be its input
 * v, v_out             the same, copied as it is on the way to a cache; without heads when there is none
 * frequency            fractions of a turn: high words [ROTARY_DIM/2], then low words [ROTARY_DIM/2]; then, with several
 *                      axes, the axis of each pair [ROTARY_DIM/2]; with XPOS, -log2 of each pair's factor per position as
 *                      64-bit fractions, high words [ROTARY_DIM/2], low words [ROTARY_DIM/2]
 * ids                  int32 positions, when args.place.use_ids
 *
 * The angles of a token are the same for all its heads, so that one work-item takes some pairs of a token through many
 * heads. global = (runs of args.rows tokens * LANES, batch, groups of args.heads_per_item heads). LANES work-items
 * share a token: 1 where an item is a thread that walks memory by itself, ROTARY_DIM/2/VEC where neighbours should
 * touch neighbouring addresses.
 *
 *   HEAD_DIM     elements per head, even (default 64)
 *   ROTARY_DIM   how many rotate, even, <= HEAD_DIM (default HEAD_DIM)
 *   INTERLEAVED  0 or 1 (default 0)
 *   VEC          pairs at a time: 1, 2, 4, 8, 16, at most 8 with INTERLEAVED; divides ROTARY_DIM/2 (default 4)
 *   REST_VEC     elements at a time behind ROTARY_DIM; divides HEAD_DIM - ROTARY_DIM (default 1)
 *   LANES        1 or any divisor of ROTARY_DIM/2/VEC (default 1)
 *   GROUP        work-group size along axis 0 (default 1)
 *   AXES         of positions: 1 to 4 (default 1)
 *   XPOS         1: queries shrink and keys grow with the position (default 0)
 *   PREFETCH     1: what is args.ahead elements further is asked for early (default 0)
 *   DTYPE    as in lib/dtype.clh
 */
#include "lib/dtype.clh"
#include "lib/host.clh"
#include "lib/angle.clh"
#include "lib/key_row.clh"
#include "lib/place.clh"
#include "shared/rope_args.h"

#ifndef HEAD_DIM
#define HEAD_DIM 64
#endif
#ifndef ROTARY_DIM
#define ROTARY_DIM HEAD_DIM
#endif
#ifndef INTERLEAVED
#define INTERLEAVED 0
#endif
#ifndef REST_VEC
#define REST_VEC 1
#endif
#ifndef LANES
#define LANES 1
#endif
#ifndef GROUP
#define GROUP 1
#endif
#ifndef AXES
#define AXES 1
#endif
#ifndef XPOS
#define XPOS 0
#endif
#ifndef PREFETCH
#define PREFETCH 0
#endif

#define PAIRS (ROTARY_DIM / 2)
#define CHUNKS (PAIRS / VEC)
#define MINE (CHUNKS / LANES) /* chunks per work-item */
#if MINE * LANES * VEC != PAIRS
#error LANES * VEC must divide ROTARY_DIM / 2
#endif

/* Chunks stay in registers where they are few. Many are left in a loop: unrolled hundreds of times, they keep some
 * compilers busy for minutes. */
#if MINE <= 16
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("unroll 1")
#endif

/* One head's pairs from `pair` on. */
#if INTERLEAVED
#ifndef PAIR_VEC
#error INTERLEAVED takes VEC 1, 2, 4 or 8
#endif

static void rotate(__global const STORE *in, __global STORE *out, uint pair, VN(float) cosine, VN(float) sine) {
    PN(float) c, s, other;
    c.even = cosine;
    c.odd = cosine;
    s.even = -sine;
    s.odd = sine;
    const PN(float) x = PN(load)(in, 2 * pair);
    other.even = x.odd;
    other.odd = x.even;
    PN(store)(x * c + other * s, out, 2 * pair);
}
#else
#define load_pairs VEC_PASTE(load, VEC)
#define store_pairs VEC_PASTE(store, VEC)

static void rotate(__global const STORE *in, __global STORE *out, uint pair, VN(float) cosine, VN(float) sine) {
    const VN(float) a = load_pairs(in, pair), b = load_pairs(in, pair + PAIRS);
    store_pairs(a * cosine - b * sine, out, pair);
    store_pairs(b * cosine + a * sine, out, pair + PAIRS);
}
#endif

#define load_rest VEC_PASTE(load, REST_VEC)
#define store_rest VEC_PASTE(store, REST_VEC)

/* A processor prefetches within a page by itself, and looks past the page's end only as far as the instructions in flight
 * reach, which are too many per byte here. Measured with PoCL 3.1 on a Sapphire Rapids Xeon, 250 MB, head_dim 128:
 * 46 GB/s without, 66 with. */
#if PREFETCH
#define PREFETCH_HEAD(p)                                                                                               \
    for (uint byte = 0; byte < ROTARY_DIM * sizeof(STORE); byte += 64) prefetch_line((__global const uchar *)(p) + byte);
#else
#define PREFETCH_HEAD(p) ;
#endif

/* What one work-item does with one token's heads in one tensor: its chunks of pairs, then its share of the rest. */
static void rotate_heads(__global const STORE *in, long in_stride, __global STORE *out, long out_stride, int heads,
                         uint lane, const VN(float) *cosine, const VN(float) *sine, uint copy_rest, long ahead) {
    for (int h = 0; h < heads; h++, in += in_stride, out += out_stride) {
        if (ahead) PREFETCH_HEAD(in + ahead)
        UNROLL
        for (uint i = 0; i < MINE; i++)
            rotate(in, out, (lane + i * LANES) * VEC, cosine[i], sine[i]);
#if ROTARY_DIM < HEAD_DIM
        if (copy_rest)
            for (uint i = ROTARY_DIM + lane * REST_VEC; i < HEAD_DIM; i += LANES * REST_VEC)
                store_rest(load_rest(in, i), out, i);
#endif
    }
}

#if XPOS
/* 2^-(distance * fall) and 2^(distance * fall): the exponent's whole part and fraction are exact. */
static VN(float) xpos_factors(VN(uint) hi, VN(uint) lo, uint distance, VN(float) *up) {
    const VN(uint) carried = mul_hi(lo, (VN(uint))(distance));
    const VN(uint) part = hi * distance + carried;
    const VN(uint) one = 1u, none = 0u;
    const VN(int) whole = VN(as_int)(mul_hi(hi, (VN(uint))(distance)) + (part < carried ? one : none));
    const VN(float) rest = VN(convert_float)(part >> 8) * 0x1p-24f;
    *up = ldexp(exp2(rest), whole);
    return ldexp(exp2(-rest), -whole);
}
#endif

/* The same division of a token's heads, copied. */
static void copy_heads(__global const STORE *in, long in_stride, __global STORE *out, long out_stride, int heads, uint lane) {
    for (int h = 0; h < heads; h++, in += in_stride, out += out_stride) {
        for (uint i = lane * VEC; i < ROTARY_DIM; i += LANES * VEC)
            VEC_PASTE(store, VEC)(VEC_PASTE(load, VEC)(in, i), out, i);
#if ROTARY_DIM < HEAD_DIM
        for (uint i = ROTARY_DIM + lane * REST_VEC; i < HEAD_DIM; i += LANES * REST_VEC)
            store_rest(load_rest(in, i), out, i);
#endif
    }
}

static size_t row_at(const rope_view *view, size_t batch, size_t row, int head) {
    return (size_t)(view->offset + (long)batch * view->batch_stride + (long)row * view->seq_stride +
                    (long)head * view->head_stride);
}

/* Which heads of a tensor a work-item takes, when heads are counted through q, k and v: `before` of them come before
 * this tensor's. */
static int heads_here(int heads, int before, int first, int count, int *start) {
    const int from = clamp(first, before, before + heads), to = clamp(first + count, before, before + heads);
    *start = from - before;
    return to - from;
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
rope(__global const STORE *q, __global STORE *q_out, __global const STORE *k, __global STORE *k_out,
     __global const STORE *v, __global STORE *v_out, __global const uint *frequency, __global const int *ids,
     const rope_args args CACHE_PARAMS) {
    const uint lane = get_global_id(0) % LANES;
    const size_t first_row = get_global_id(0) / LANES * args.rows;
    const size_t end_row = min(first_row + args.rows, (size_t)args.seq);
    const size_t batch = get_global_id(1);
    const int first_head = (int)get_global_id(2) * args.heads_per_item;
    int q_head, k_head;
    const int q_heads = heads_here(args.heads[0], 0, first_head, args.heads_per_item, &q_head);
    const int k_heads = heads_here(args.heads[1], args.heads[0], first_head, args.heads_per_item, &k_head);
    int v_head;
    const int v_heads =
        heads_here(args.heads[2], args.heads[0] + args.heads[1], first_head, args.heads_per_item, &v_head);
    const rope_view v_view = args.in[2], v_out_view = args.out[2];
    const rope_view q_view = args.in[0], k_view = args.in[1], q_out_view = args.out[0], k_out_view = args.out[1];
    const rope_place place = args.place;
    const float scale = args.scale, sine_scale = args.sine_scale;
    const uint copy_q = args.copy_rest[0], copy_k = args.copy_rest[1];
    const long ahead[2] = {args.ahead[0], args.ahead[1]};
#if AXES > 1
    const long axis_stride = args.axis_stride;
#endif

#if XPOS
    const int xpos_center = args.xpos_center;
#endif

#if KV_CACHE
    __global const int *blocks = CACHE_BLOCKS(batch);
    const int append_at = blocks[-1];
#endif

    for (size_t row = first_row; row < end_row; row++) {
#if KV_CACHE
        const int key = append_at + (int)row;
        __global STORE *k_to = k_out + row_at(&k_out_view, batch, 0, k_head) +
                               key_row(&cache, blocks, key, cache.k_block_stride, (size_t)k_out_view.seq_stride);
        __global STORE *v_to = v_out + row_at(&v_out_view, batch, 0, v_head) +
                               key_row(&cache, blocks, key, cache.v_block_stride, (size_t)v_out_view.seq_stride);
#else
#define k_to (k_out + row_at(&k_out_view, batch, row, k_head))
#define v_to (v_out + row_at(&v_out_view, batch, row, v_head))
#endif
#if AXES > 1
        int position[AXES];
        for (int a = 0; a < AXES; a++) {
            rope_place on_axis = place;
            on_axis.offset += a * axis_stride;
            position[a] = place_of(&on_axis, ids, batch, row);
        }
#else
        const int position = place_of(&place, ids, batch, row);
        const float signed_scale = position < 0 ? -sine_scale : sine_scale;
#endif
        VN(float) c[MINE], s[MINE];
#if XPOS
        VN(float) key_c[MINE], key_s[MINE];
        const long away = (long)position - xpos_center;
#else
#define key_c c
#define key_s s
#endif
        UNROLL
        for (uint i = 0; i < MINE; i++) {
            const uint pair = (lane + i * LANES) * VEC;
            const VN(uint) hi = load_frequency(frequency, pair), lo = load_frequency(frequency, PAIRS + pair);
#if AXES > 1
            const VN(uint) axis = load_frequency(frequency, 2 * PAIRS + pair);
            VN(int) at = position[0];
            for (int a = 1; a < AXES; a++) at = axis == (uint)a ? (VN(int))(position[a]) : at;
            c[i] = angles_cos_sin(hi, lo, abs(at), &s[i]);
            s[i] *= at < 0 ? (VN(float))(-sine_scale) : (VN(float))(sine_scale);
#else
            c[i] = angle_cos_sin(hi, lo, abs(position), &s[i]);
            s[i] *= signed_scale;
#endif
            c[i] *= scale;
#if XPOS
            VN(float) up;
            const VN(float) down = xpos_factors(load_frequency(frequency, 3 * PAIRS + pair),
                                                load_frequency(frequency, 4 * PAIRS + pair), (uint)abs(away), &up);
            key_c[i] = c[i] * (away < 0 ? down : up);
            key_s[i] = s[i] * (away < 0 ? down : up);
            c[i] *= away < 0 ? up : down;
            s[i] *= away < 0 ? up : down;
#endif
        }
        rotate_heads(q + row_at(&q_view, batch, row, q_head), q_view.head_stride,
                     q_out + row_at(&q_out_view, batch, row, q_head), q_out_view.head_stride, q_heads, lane, c, s,
                     copy_q, ahead[0]);
        rotate_heads(k + row_at(&k_view, batch, row, k_head), k_view.head_stride,
                     k_to, k_out_view.head_stride, k_heads, lane, key_c, key_s,
                     copy_k, ahead[1]);
        if (v_heads)
            copy_heads(v + row_at(&v_view, batch, row, v_head), v_view.head_stride,
                       v_to, v_out_view.head_stride, v_heads, lane);
    }
}
