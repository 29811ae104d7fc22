/* SPDX-License-Identifier: MIT
 * Numbers of every data type on the host and on the device, and how far apart they may be. */
#include <CL/cl_half.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "verify.h"

/* bf16 as cl/lib/dtype.clh defines it, to nearest even. */
static uint16_t bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static float of_bf16(uint16_t brain)
{
    const uint32_t bits = (uint32_t)brain << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void put(unsigned char *at, rosace_dtype dtype, size_t i, double value)
{
    const float single = (float)value;
    const uint16_t narrow = dtype == ROSACE_F16 ? cl_half_from_float(single, CL_HALF_RTE) : bf16_of(single);
    if (dtype == ROSACE_F32) memcpy(at + i * sizeof single, &single, sizeof single);
    else memcpy(at + i * sizeof narrow, &narrow, sizeof narrow);
}

static double get(const unsigned char *at, rosace_dtype dtype, size_t i)
{
    float single;
    uint16_t narrow;
    if (dtype == ROSACE_F32) {
        memcpy(&single, at + i * sizeof single, sizeof single);
        return (double)single;
    }
    memcpy(&narrow, at + i * sizeof narrow, sizeof narrow);
    return (double)(dtype == ROSACE_F16 ? cl_half_to_float(narrow) : of_bf16(narrow));
}

double *verify_random(size_t count, rosace_dtype dtype, double low, double high, uint64_t seed)
{
    double *values = cli_calloc(count, sizeof *values);
    unsigned char rounded[sizeof(float)];
    for (size_t i = 0; values && i < count; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u; /* Knuth's MMIX */
        put(rounded, dtype, 0, low + (high - low) * ldexp((double)(seed >> 11), -53));
        values[i] = get(rounded, dtype, 0);
    }
    return values;
}

cl_mem verify_upload(const verify_device *device, rosace_dtype dtype, size_t count, const double *values)
{
    const size_t bytes = count * rosace_dtype_size(dtype);
    unsigned char *host = cli_calloc(bytes, 1);
    if (!host) return NULL;
    for (size_t i = 0; i < count; i++) put(host, dtype, i, values ? values[i] : NAN);
    cl_int code = CL_SUCCESS;
    cl_mem mem = clCreateBuffer(rosace_context_cl(device->context), CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR, bytes, host, &code);
    free(host);
    if (!mem) cli_fail_cl(code, "verify: clCreateBuffer of %zu bytes", bytes);
    return mem;
}

double *verify_download(const verify_device *device, rosace_dtype dtype, size_t count, cl_mem mem)
{
    const size_t bytes = count * rosace_dtype_size(dtype);
    unsigned char *host = cli_calloc(bytes, 1);
    double *values = cli_calloc(count, sizeof *values);
    const cl_int code = host && values ? clEnqueueReadBuffer(device->queue, mem, CL_TRUE, 0, bytes, host, 0, NULL, NULL) : CL_SUCCESS;
    if (code) cli_fail_cl(code, "verify: clEnqueueReadBuffer");
    if (code || !host) {
        free(values);
        values = NULL;
    }
    for (size_t i = 0; values && i < count; i++) values[i] = get(host, dtype, i);
    free(host);
    return values;
}

/* The distance of neighbouring numbers at |x|, at the smallest normal number for less. */
static double ulp_at(double x, rosace_dtype dtype)
{
    static const struct {
        int digits, lowest;
    } formats[] = {[ROSACE_F32] = {FLT_MANT_DIG, FLT_MIN_EXP}, [ROSACE_F16] = {11, -13}, [ROSACE_BF16] = {8, FLT_MIN_EXP}};
    int exponent;
    frexp(x, &exponent);
    if (x == 0.0 || exponent < formats[dtype].lowest) exponent = formats[dtype].lowest;
    return ldexp(1.0, exponent - formats[dtype].digits);
}

bool verify_compare(rosace_dtype dtype, size_t count, const double *got, const double *expected, double absolute,
                    const double *factors, double relative, verify_error *error)
{
    double largest = 0.0;
    bool ok = true;
    for (size_t i = 0; i < count; i++)
        if (isfinite(expected[i])) largest = fmax(largest, fabs(expected[i]));
    error->values += count;
    for (size_t i = 0; i < count; i++) {
        const bool same = got[i] == expected[i], comparable = isfinite(got[i]) && isfinite(expected[i]);
        const double off = same ? 0.0 : comparable ? fabs(got[i] - expected[i]) : (double)INFINITY;
        const double unit = comparable ? ulp_at(expected[i], dtype) : 1.0;
        const double allowed = comparable ? absolute * (factors ? factors[i] : 1.0) + relative * fabs(expected[i]) + unit / 2.0 + (double)FLT_MIN : 0.0;
        const double share = off == 0.0 ? 0.0 : off / allowed;
        ok = ok && share <= 1.0;
        error->absolute = fmax(error->absolute, off);
        if (fabs(expected[i]) >= largest / 256.0) error->ulp = fmax(error->ulp, off / unit);
        if (share <= error->share && i) continue;
        error->share = share;
        error->allowed = allowed;
        error->got = got[i];
        error->expected = expected[i];
    }
    return ok;
}
