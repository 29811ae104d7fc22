/* SPDX-License-Identifier: MIT
 * The small operations between the matrix products of a transformer, on packed rows; sizes are
 * arguments, so that one program serves every model.
 *
 *   embedding      out[r, :] = table[ids[r], :]                        global (ceil(width / VEC) * rows)
 *   rmsnorm        out[r, :] = x[r, :] / sqrt(mean(x^2) + eps) * w[:]   one group of GROUP work-items a row
 *   swiglu         out[i] = gate[i] / (1 + exp(-gate[i])) * up[i]      a work-item has VEC elements
 *   add            out[i] += a[i]                                      a work-item has VEC elements
 *   cross_entropy  loss[r] = log sum_c exp(a[r, c]) - a[r, target[r]]  one group of GROUP work-items a row
 *   layernorm      out[r, :] = (x[r, :] - mean) / sqrt(variance + eps) * w[:] + b[:]   as rmsnorm
 *   rmsnorm_heads  rmsnorm of every head of a view, in place                            as rmsnorm
 *   activate       out[i] = f(x[i])                                                     as swiglu
 *   gated          out[i] = f(gate[i]) * up[i]                                          as swiglu
 *   add_bias       out[r, :] += a[:]                                                    as embedding
 *   scatter_add    out[ids[r], :] += weight[r] * a[r, :]                                as embedding
 *
 * A_DTYPE, B_DTYPE, OUT_DTYPE   storage of the inputs and the output, as in lib/dtype.clh
 * VEC                           elements a work-item takes at once: 4 or 16
 * GROUP                         work-items that share a row, a power of two; 1 needs no barrier (CPU devices)
 */
#ifndef A_DTYPE
#define A_DTYPE 0
#endif
#ifndef B_DTYPE
#define B_DTYPE 0
#endif
#ifndef OUT_DTYPE
#define OUT_DTYPE 0
#endif
#ifndef GROUP
#define GROUP 64
#endif
#include "lib/dtype.clh"
#include "lib/reduce.clh"
#include "lib/vector.clh"

typedef DTYPE_NAME(STORE_, A_DTYPE) a_t;
typedef DTYPE_NAME(STORE_, B_DTYPE) b_t;
typedef DTYPE_NAME(STORE_, OUT_DTYPE) out_t;
typedef FLOATV floatv;
#define load_a DTYPE_NAME(load1_, A_DTYPE)
#define load_b DTYPE_NAME(load1_, B_DTYPE)
#define load_out DTYPE_NAME(load1_, OUT_DTYPE)
#define save_out DTYPE_NAME(store1_, OUT_DTYPE)
#define loadv_a VECTOR_NAME(load, A_DTYPE)
#define loadv_b VECTOR_NAME(load, B_DTYPE)
#define loadv_out VECTOR_NAME(load, OUT_DTYPE)
#define savev_out VECTOR_NAME(store, OUT_DTYPE)

#if VEC == 16
#define LANES(op, v) op(op(op(op(v.s0, v.s1), op(v.s2, v.s3)), op(op(v.s4, v.s5), op(v.s6, v.s7))), \
                        op(op(op(v.s8, v.s9), op(v.sa, v.sb)), op(op(v.sc, v.sd), op(v.se, v.sf))))
#else
#define LANES(op, v) op(op(v.s0, v.s1), op(v.s2, v.s3))
#endif
#define PLUS(a, b) ((a) + (b))

__kernel void embedding(__global const int *ids, ulong ids_offset, __global const a_t *table, ulong table_offset,
                        int vocab, __global out_t *out, ulong out_offset, ulong width) {
    const ulong across = (width + VEC - 1) / VEC;
    const ulong row = get_global_id(0) / across, column = get_global_id(0) % across * VEC;
    const int id = ids[ids_offset + row];
    out += out_offset + row * width + column;
    const ulong n = min((ulong)VEC, width - column);
    if (id < 0 || id >= vocab) {
        for (ulong i = 0; i < n; i++) save_out(NAN, out, i);
        return;
    }
    table += table_offset + (ulong)id * width + column;
    if (n == VEC) {
        savev_out(loadv_a(table, 0), out, 0);
    } else {
        for (ulong i = 0; i < n; i++) save_out(load_a(table, i), out, i);
    }
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
rmsnorm(__global const a_t *x, ulong x_offset, __global const b_t *weight, ulong weight_offset, __global out_t *out,
        ulong out_offset, ulong width, float eps) {
    GROUP_SCRATCH
    const ulong row = get_group_id(0), whole = width / VEC * VEC, lane = get_local_id(0);
    x += x_offset + row * width;
    weight += weight_offset;
    out += out_offset + row * width;

    floatv squares = 0.0f;
    for (ulong i = lane * VEC; i < whole; i += GROUP * VEC) {
        const floatv v = loadv_a(x, i);
        squares += v * v;
    }
    float sum = LANES(PLUS, squares);
    for (ulong i = whole + lane; i < width; i += GROUP) {
        const float v = load_a(x, i);
        sum += v * v;
    }
    const float scale = 1.0f / sqrt(GROUP_SUM(sum) / (float)width + eps);

    for (ulong i = lane * VEC; i < whole; i += GROUP * VEC)
        savev_out(loadv_a(x, i) * scale * loadv_b(weight, i), out, i);
    for (ulong i = whole + lane; i < width; i += GROUP) save_out(load_a(x, i) * scale * load_b(weight, i), out, i);
}

__kernel void swiglu(__global const a_t *gate, ulong gate_offset, __global const b_t *up, ulong up_offset,
                     __global out_t *out, ulong out_offset, ulong count) {
    const ulong first = get_global_id(0) * VEC;
    if (first >= count) return;
    gate += gate_offset + first;
    up += up_offset + first;
    out += out_offset + first;
    if (count - first >= VEC) {
        const floatv g = loadv_a(gate, 0);
        savev_out(g / (1.0f + exp(-g)) * loadv_b(up, 0), out, 0);
    } else {
        for (ulong i = 0; i < count - first; i++) {
            const float g = load_a(gate, i);
            save_out(g / (1.0f + exp(-g)) * load_b(up, i), out, i);
        }
    }
}

__kernel void add(__global const a_t *y, ulong y_offset, __global out_t *x, ulong x_offset, ulong count) {
    const ulong first = get_global_id(0) * VEC;
    if (first >= count) return;
    y += y_offset + first;
    x += x_offset + first;
    if (count - first >= VEC) {
        savev_out(loadv_out(x, 0) + loadv_a(y, 0), x, 0);
    } else {
        for (ulong i = 0; i < count - first; i++) save_out(load_out(x, i) + load_a(y, i), x, i);
    }
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
cross_entropy(__global const a_t *logits, ulong logits_offset, __global const int *targets, ulong targets_offset,
              __global float *loss, ulong loss_offset, ulong classes) {
    GROUP_SCRATCH
    const ulong row = get_group_id(0), whole = classes / VEC * VEC, lane = get_local_id(0);
    logits += logits_offset + row * classes;

    floatv peaks = -INFINITY;
    for (ulong i = lane * VEC; i < whole; i += GROUP * VEC) peaks = fmax(peaks, loadv_a(logits, i));
    float peak = LANES(fmax, peaks);
    for (ulong i = whole + lane; i < classes; i += GROUP) peak = fmax(peak, load_a(logits, i));
    peak = GROUP_MAX(peak);

    floatv sums = 0.0f;
    for (ulong i = lane * VEC; i < whole; i += GROUP * VEC) sums += exp(loadv_a(logits, i) - peak);
    float sum = LANES(PLUS, sums);
    for (ulong i = whole + lane; i < classes; i += GROUP) sum += exp(load_a(logits, i) - peak);
    sum = GROUP_SUM(sum);

    if (lane == 0) {
        const int target = targets[targets_offset + row];
        const bool inside = target >= 0 && (ulong)target < classes;
        loss[loss_offset + row] = inside ? log(sum) - (load_a(logits, (ulong)target) - peak) : NAN;
    }
}

/* ---- What other decoders and encoders have beside Llama's ---------------------------------------------------------- */

/* `bias` is only there with has_bias. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
layernorm(__global const a_t *x, ulong x_offset, __global const b_t *weight, ulong weight_offset, __global const b_t *bias,
          ulong bias_offset, int has_bias, __global out_t *out, ulong out_offset, ulong width, float eps) {
    GROUP_SCRATCH
    const ulong row = get_group_id(0), whole = width / VEC * VEC, lane = get_local_id(0);
    x += x_offset + row * width;
    weight += weight_offset;
    bias += bias_offset;
    out += out_offset + row * width;

    floatv sums = 0.0f;
    for (ulong i = lane * VEC; i < whole; i += GROUP * VEC) sums += loadv_a(x, i);
    float sum = LANES(PLUS, sums);
    for (ulong i = whole + lane; i < width; i += GROUP) sum += load_a(x, i);
    const float mean = GROUP_SUM(sum) / (float)width;

    floatv squares = 0.0f;
    for (ulong i = lane * VEC; i < whole; i += GROUP * VEC) {
        const floatv v = loadv_a(x, i) - mean;
        squares += v * v;
    }
    float square = LANES(PLUS, squares);
    for (ulong i = whole + lane; i < width; i += GROUP) {
        const float v = load_a(x, i) - mean;
        square += v * v;
    }
    const float scale = 1.0f / sqrt(GROUP_SUM(square) / (float)width + eps);

    for (ulong i = lane * VEC; i < whole; i += GROUP * VEC) {
        floatv y = (loadv_a(x, i) - mean) * scale * loadv_b(weight, i);
        if (has_bias) y += loadv_b(bias, i);
        savev_out(y, out, i);
    }
    for (ulong i = whole + lane; i < width; i += GROUP) {
        float y = (load_a(x, i) - mean) * scale * load_b(weight, i);
        if (has_bias) y += load_b(bias, i);
        save_out(y, out, i);
    }
}

/* x is [batch, seq, heads, width] with strides; a head's elements are neighbours. */
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
rmsnorm_heads(__global out_t *x, ulong x_offset, long batch_stride, long seq_stride, long head_stride, ulong seq, ulong heads,
              __global const b_t *weight, ulong weight_offset, ulong width, float eps) {
    GROUP_SCRATCH
    const ulong row = get_group_id(0), token = row / heads, lane = get_local_id(0);
    x += (long)x_offset + (long)(token / seq) * batch_stride + (long)(token % seq) * seq_stride + (long)(row % heads) * head_stride;
    weight += weight_offset;
    float sum = 0.0f;
    for (ulong i = lane; i < width; i += GROUP) {
        const float v = load_out(x, i);
        sum += v * v;
    }
    const float scale = 1.0f / sqrt(GROUP_SUM(sum) / (float)width + eps);
    for (ulong i = lane; i < width; i += GROUP) save_out(load_out(x, i) * scale * load_b(weight, i), x, i);
}

/* What `function` means; src/ops/layers.c has the same numbers. */
#define SILU 0      /* x / (1 + exp(-x)) */
#define GELU 1      /* x/2 erfc(-x / sqrt 2) */
#define GELU_TANH 2 /* x / (1 + exp(-2u)), u = sqrt(2/pi) (x + 0.044715 x^3): x/2 (1 + tanh(u)), nothing cancelled */
#define RELU 3
#define SOFTCAP 4 /* p tanh(x / p) */
#define SCALE 5   /* p x */

#define DEFINE_APPLY(name, type)                                                                                       \
    static type name(type x, int function, float p) {                                                                  \
        switch (function) {                                                                                            \
        case SILU: return x / (1.0f + exp(-x));                                                                        \
        case GELU: return 0.5f * x * erfc(x * -0.70710678f);                                                           \
        case GELU_TANH: return x / (1.0f + exp(-1.59576912f * x * (1.0f + 0.044715f * x * x)));                        \
        case RELU: return fmax(x, 0.0f);                                                                               \
        case SOFTCAP: return p * tanh(x / p);                                                                          \
        default: return p * x;                                                                                         \
        }                                                                                                              \
    }
DEFINE_APPLY(apply, float)
DEFINE_APPLY(applyv, floatv)

__kernel void activate(__global const a_t *x, ulong x_offset, __global out_t *out, ulong out_offset, ulong count, int function,
                       float p) {
    const ulong first = get_global_id(0) * VEC;
    if (first >= count) return;
    x += x_offset + first;
    out += out_offset + first;
    if (count - first >= VEC) {
        savev_out(applyv(loadv_a(x, 0), function, p), out, 0);
    } else {
        for (ulong i = 0; i < count - first; i++) save_out(apply(load_a(x, i), function, p), out, i);
    }
}

/* limit > 0: (clamp(up) + 1) * g / (1 + exp(-p g)), g = min(gate, limit), instead. */
__kernel void gated(__global const a_t *gate, ulong gate_offset, __global const b_t *up, ulong up_offset, __global out_t *out,
                    ulong out_offset, ulong count, int function, float p, float limit) {
    const ulong first = get_global_id(0) * VEC;
    if (first >= count) return;
    gate += gate_offset + first;
    up += up_offset + first;
    out += out_offset + first;
    for (ulong i = 0; i < min((ulong)VEC, count - first); i++) {
        float g = load_a(gate, i), u = load_b(up, i);
        if (limit > 0.0f) {
            g = fmin(g, limit);
            u = clamp(u, -limit, limit) + 1.0f;
            g = g / (1.0f + exp(-p * g));
        } else {
            g = apply(g, function, p);
        }
        save_out(g * u, out, i);
    }
}

__kernel void add_bias(__global const a_t *bias, ulong bias_offset, __global out_t *x, ulong x_offset, ulong width) {
    const ulong across = (width + VEC - 1) / VEC;
    const ulong row = get_global_id(0) / across, column = get_global_id(0) % across * VEC;
    bias += bias_offset + column;
    x += x_offset + row * width + column;
    if (width - column >= VEC) {
        savev_out(loadv_out(x, 0) + loadv_a(bias, 0), x, 0);
    } else {
        for (ulong i = 0; i < width - column; i++) save_out(load_out(x, i) + load_a(bias, i), x, i);
    }
}

/* No two of the ids are alike, or what they add is lost. */
__kernel void scatter_add(__global const int *ids, ulong ids_offset, __global const float *weight, ulong weight_offset,
                          __global const a_t *y, ulong y_offset, __global out_t *x, ulong x_offset, int x_rows, ulong width) {
    const ulong across = (width + VEC - 1) / VEC;
    const ulong row = get_global_id(0) / across, column = get_global_id(0) % across * VEC;
    const int id = ids[ids_offset + row];
    if (id < 0 || id >= x_rows) return;
    const float share = weight[weight_offset + row];
    y += y_offset + row * width + column;
    x += x_offset + (ulong)id * width + column;
    if (width - column >= VEC) {
        savev_out(loadv_out(x, 0) + share * loadv_a(y, 0), x, 0);
    } else {
        for (ulong i = 0; i < width - column; i++) save_out(load_out(x, i) + share * load_a(y, i), x, i);
    }
}
