/* SPDX-License-Identifier: MIT
 * What a device can do at best: arithmetic without memory, memory without arithmetic. Also the data that benches run
 * on.
 *
 * Defines: VEC 1, 2, 4, 8, 16: floats per vector.
 */
#ifndef VEC
#define VEC 4
#endif
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#if VEC == 1
typedef float vec;
#else
typedef JOIN(float, VEC) vec;
#endif

/* fma() where the device is quick at it; else what the compiler may contract. */
#ifdef FP_FAST_FMAF
#define MULTIPLY_ADD(a, b, c) fma(a, b, c)
#else
#pragma OPENCL FP_CONTRACT ON
#define MULTIPLY_ADD(a, b, c) ((a) * (b) + (c))
#endif

/* 12 chains that do not depend on each other hide the latency of the instruction (4 to 5 cycles at 2 per cycle), and
 * leave room for x and y in 16 registers. Every chain goes to 1, far from infinity and from denormals. */
#define CHAINS 12
#define FMA_LOOP(type, out)                                                                                            \
    type a0 = first, a1 = a0 + 0.01f, a2 = a0 + 0.02f, a3 = a0 + 0.03f, a4 = a0 + 0.04f, a5 = a0 + 0.05f;              \
    type a6 = a0 + 0.06f, a7 = a0 + 0.07f, a8 = a0 + 0.08f, a9 = a0 + 0.09f, a10 = a0 + 0.10f, a11 = a0 + 0.11f;       \
    const type x = factor, y = 1.0f - factor;                                                                          \
    for (int i = 0; i < loops; i++) {                                                                                  \
        a0 = MULTIPLY_ADD(a0, x, y), a1 = MULTIPLY_ADD(a1, x, y), a2 = MULTIPLY_ADD(a2, x, y);                         \
        a3 = MULTIPLY_ADD(a3, x, y), a4 = MULTIPLY_ADD(a4, x, y), a5 = MULTIPLY_ADD(a5, x, y);                         \
        a6 = MULTIPLY_ADD(a6, x, y), a7 = MULTIPLY_ADD(a7, x, y), a8 = MULTIPLY_ADD(a8, x, y);                         \
        a9 = MULTIPLY_ADD(a9, x, y), a10 = MULTIPLY_ADD(a10, x, y), a11 = MULTIPLY_ADD(a11, x, y);                     \
    }                                                                                                                  \
    out = ((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + a7)) + ((a8 + a9) + (a10 + a11))

/* Vectors in each work-item, for devices that run one item at a time. out: a vector per item. */
__kernel void fma_vector(__global vec *out, float factor, int loops) {
    const size_t item = get_global_id(0);
    const float first = (float)item * 1e-4f;
    FMA_LOOP(vec, out[item]);
}

/* A float in each work-item, for devices whose lanes are work-items. out: a float per item. */
__kernel void fma_scalar(__global float *out, float factor, int loops) {
    const size_t item = get_global_id(0);
    const float first = (float)item * 1e-6f;
    FMA_LOOP(float, out[item]);
}

/* Where the compiler makes code for the host's processor, lines can be asked for early, past the end of the page at
 * which the processor's own prefetching stops, and stores can go past the caches, which saves reading what is
 * overwritten. */
#if defined(__clang__) && (defined(__x86_64__) || defined(__aarch64__))
#define ASK_FOR(p) __builtin_prefetch((__private const void *)(size_t)(p))
#define STORE_PAST(value, p) __builtin_nontemporal_store(value, p)
#else
#define ASK_FOR(p)
#define STORE_PAST(value, p) (*(p) = (value))
#endif

/* Item i handles `count` vectors: first * i, first * i + step, ... So items own runs (first = count, step = 1), or
 * neighbours read neighbours (first = 1, step = global size). ahead: how many vectors early one is asked for. */
__kernel void copy_floats(__global const vec *restrict from, __global vec *restrict to, int count, ulong first,
                          ulong step, ulong ahead) {
    size_t at = get_global_id(0) * first;
    for (int i = 0; i < count; i++, at += step) {
        ASK_FOR(from + at + ahead);
        to[at] = from[at];
    }
}

/* The same with stores past the caches. */
__kernel void copy_past_floats(__global const vec *restrict from, __global vec *restrict to, int count, ulong first,
                               ulong step, ulong ahead) {
    size_t at = get_global_id(0) * first;
    for (int i = 0; i < count; i++, at += step) {
        ASK_FOR(from + at + ahead);
        STORE_PAST(from[at], to + at);
    }
}

/* In place: what is written has just been read. Signs go back and forth, magnitudes stay. */
__kernel void update_floats(__global vec *data, int count, ulong first, ulong step, ulong ahead) {
    size_t at = get_global_id(0) * first;
    for (int i = 0; i < count; i++, at += step) {
        ASK_FOR(data + at + ahead);
        data[at] = -data[at];
    }
}

/* out: a vector per item, so that no compiler drops what is read. count is a multiple of 4. */
__kernel void read_floats(__global const vec *from, __global vec *out, int count, ulong first, ulong step,
                          ulong ahead) {
    size_t at = get_global_id(0) * first;
    vec a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;
    for (int i = 0; i < count; i += 4, at += 4 * step) {
        ASK_FOR(from + at + ahead);
        ASK_FOR(from + at + ahead + step);
        ASK_FOR(from + at + ahead + 2 * step);
        ASK_FOR(from + at + ahead + 3 * step);
        a += from[at];
        b += from[at + step];
        c += from[at + 2 * step];
        d += from[at + 3 * step];
    }
    out[get_global_id(0)] = (a + b) + (c + d);
}

__kernel void nothing(__global float *unused) {
}

/* Numbers in [-0.5, 0.5) that differ from place to place and from seed to seed. */
float noise(uint place, uint seed) {
    uint x = place * 0x9E3779B1u ^ seed * 0x85EBCA77u;
    x = (x ^ (x >> 15)) * 0x2C1B3C6Du;
    x = (x ^ (x >> 12)) * 0x297A2D39u;
    return (float)((x ^ (x >> 15)) >> 8) * 0x1p-24f - 0.5f;
}

__kernel void fill_f32(__global float *out, uint seed) {
    out[get_global_id(0)] = noise((uint)get_global_id(0), seed);
}

__kernel void fill_f16(__global half *out, uint seed) {
    vstore_half(noise((uint)get_global_id(0), seed), get_global_id(0), out);
}

__kernel void fill_bf16(__global ushort *out, uint seed) {
    out[get_global_id(0)] = (ushort)(as_uint(noise((uint)get_global_id(0), seed)) >> 16);
}
