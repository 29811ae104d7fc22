/* SPDX-License-Identifier: MIT
 * Matrix product, normalisation, SwiGLU and loss by their definitions. */
#include <math.h>

#include "reference.h"

void ref_matmul(size_t m, size_t n, size_t k, bool transpose_a, bool transpose_b, double alpha, double beta,
                const double *a, const double *b, double *c)
{
    for (size_t row = 0; row < m; row++)
        for (size_t col = 0; col < n; col++) {
            double sum = 0;
            for (size_t i = 0; i < k; i++)
                sum += (transpose_a ? a[i * m + row] : a[row * k + i]) * (transpose_b ? b[col * k + i] : b[i * n + col]);
            /* beta = 0 means that C is not read: it may hold NaN */
            c[row * n + col] = alpha * sum + (beta != 0 ? beta * c[row * n + col] : 0);
        }
}

void ref_rmsnorm(size_t rows, size_t width, double eps, const double *x, const double *weight, double *out)
{
    for (size_t r = 0; r < rows; r++) {
        double squares = 0;
        for (size_t i = 0; i < width; i++)
            squares += x[r * width + i] * x[r * width + i];
        double norm = sqrt(squares / (double)width + eps);
        for (size_t i = 0; i < width; i++)
            out[r * width + i] = x[r * width + i] / norm * weight[i];
    }
}

void ref_swiglu(size_t count, const double *gate, const double *up, double *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
}

void ref_cross_entropy(size_t rows, size_t classes, const double *logits, const int32_t *targets, double *loss)
{
    for (size_t r = 0; r < rows; r++) {
        const double *row = logits + r * classes;
        double largest = row[0], sum = 0;
        for (size_t c = 1; c < classes; c++)
            largest = fmax(largest, row[c]);
        for (size_t c = 0; c < classes; c++)
            sum += exp(row[c] - largest);
        bool valid = targets[r] >= 0 && (size_t)targets[r] < classes;
        loss[r] = valid ? largest + log(sum) - row[targets[r]] : (double)NAN;
    }
}

void ref_layernorm(size_t rows, size_t width, double eps, const double *x, const double *weight, const double *bias, double *out)
{
    for (size_t r = 0; r < rows; r++) {
        const double *row = x + r * width;
        double mean = 0, variance = 0;
        for (size_t i = 0; i < width; i++)
            mean += row[i] / (double)width;
        for (size_t i = 0; i < width; i++)
            variance += (row[i] - mean) * (row[i] - mean) / (double)width;
        for (size_t i = 0; i < width; i++)
            out[r * width + i] = (row[i] - mean) / sqrt(variance + eps) * weight[i] + (bias ? bias[i] : 0);
    }
}

double ref_activation(int function, double x)
{
    static const double pi = 3.14159265358979323846;
    switch (function) {
    case 0: return x / (1 + exp(-x));
    case 1: return x / 2 * erfc(-x / sqrt(2));
    case 2: return x / (1 + exp(-2 * sqrt(2 / pi) * (x + 0.044715 * x * x * x))); /* (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)) */
    case 3: return x > 0 ? x : 0;
    default: return (double)NAN;
    }
}

void ref_clamped_swiglu(size_t count, double alpha, double limit, const double *gate, const double *up, double *out)
{
    for (size_t i = 0; i < count; i++) {
        double g = fmin(gate[i], limit), u = fmax(-limit, fmin(limit, up[i]));
        out[i] = (u + 1) * g / (1 + exp(-alpha * g));
    }
}
