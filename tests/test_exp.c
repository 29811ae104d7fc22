/* SPDX-License-Identifier: MIT
 * The exponentials of cl/lib/exp.clh against those of the C library in double. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "src/program.h"
#include "src/source.h"

static const char kernel_text[] = "\n__kernel void apply(__global const float *x, __global float *y, int which)\n"
                                  "{\n"
                                  "    const size_t i = get_global_id(0);\n"
                                  "    const FLOATV v = vloadv(i, x);\n"
                                  "    vstorev(which ? tanhv(v) : exp2v(v), i, y);\n"
                                  "}\n";

static void ok(cl_int code)
{
    if (code) harness_fail_at(__FILE__, __LINE__, "OpenCL error %d", code);
}

/* exp2v (which 0) or tanhv (1) of count numbers, with vectors of vec. */
static float *apply(int vec, int which, const float *x, size_t count)
{
    rosace_context *context = harness_context();
    const cl_context cl = rosace_context_cl(context);
    const cl_device_id device = rosace_context_cl_device(context);
    rsc_text text = {0};
    harness_ok(rsc_expand(context, (const char *const[]){"lib/exp.clh", NULL}, &text));
    const char *sources[] = {text.text, kernel_text};
    char options[64];
    snprintf(options, sizeof options, "-cl-std=CL1.2 -DVEC=%d", vec);
    cl_int code;
    const cl_program program = clCreateProgramWithSource(cl, 2, sources, NULL, &code);
    ok(code);
    ok(clBuildProgram(program, 1, &device, options, NULL, NULL));
    const cl_kernel kernel = clCreateKernel(program, "apply", &code);
    ok(code);
    const cl_mem in = clCreateBuffer(cl, CL_MEM_READ_ONLY, count * sizeof *x, NULL, &code);
    ok(code);
    const cl_mem out = clCreateBuffer(cl, CL_MEM_WRITE_ONLY, count * sizeof *x, NULL, &code);
    ok(code);
    ok(clEnqueueWriteBuffer(harness_queue(), in, CL_TRUE, 0, count * sizeof *x, x, 0, NULL, NULL));
    ok(clSetKernelArg(kernel, 0, sizeof in, &in));
    ok(clSetKernelArg(kernel, 1, sizeof out, &out));
    ok(clSetKernelArg(kernel, 2, sizeof which, &which));
    const size_t items = count / (size_t)vec;
    ok(clEnqueueNDRangeKernel(harness_queue(), kernel, 1, NULL, &items, NULL, 0, NULL, NULL));
    float *y = harness_alloc(count, sizeof *y);
    ok(clEnqueueReadBuffer(harness_queue(), out, CL_TRUE, 0, count * sizeof *y, y, 0, NULL, NULL));
    ok(clReleaseMemObject(in));
    ok(clReleaseMemObject(out));
    ok(clReleaseKernel(kernel));
    ok(clReleaseProgram(program));
    rsc_free(context, text.text);
    return y;
}

static void compare(int vec, int which, double low, double high, double most_ulp)
{
    const char *name = which ? "tanhv" : "exp2v";
    const size_t count = harness_small() ? 2048 : (size_t)1 << 18;
    harness_case("%s on vectors of %d, %g to %g", name, vec, low, high);
    float *x = harness_alloc(count, sizeof *x);
    for (size_t i = 0; i < count; i++) x[i] = (float)harness_random_real(low, high);
    const float *y = apply(vec, which, x, count);
    double worst = 0.0;
    for (size_t i = 0; i < count; i++) {
        const double expected = which ? tanh((double)x[i]) : exp2((double)x[i]);
        const double off = fabs((double)y[i] - expected) / harness_ulp(expected, ROSACE_F32);
        worst = fmax(worst, off);
        if (!(off <= most_ulp))
            harness_fail_at(__FILE__, __LINE__, "%s(%.9g) = %.9g, expected %.9g: %.2f ulp", name, (double)x[i], (double)y[i],
                            expected, off);
    }
    printf("%s on vectors of %d, %g to %g: at most %.2f ulp\n", name, vec, low, high, worst);
}

START_TEST(errors_are_as_stated)
{
    for (int vec = 4; vec <= 16; vec *= 2) {
        compare(vec, 0, -1.0, 0.0, 2.0);
        compare(vec, 0, -126.0, 0.0, 2.0);
        compare(vec, 1, -1.0, 1.0, 3.0);
        compare(vec, 1, -12.0, 12.0, 3.0);
    }
}
END_TEST

START_TEST(exact_values)
{
    const float x[16] = {0.0f, -1.0f, -127.0f, -128.0f, -1e30f, -3e38f, -INFINITY, NAN, -2.0f, -10.0f, -0.0f, -64.0f, 0.0f, 0.0f, 0.0f, 0.0f};
    const float *y = apply(16, 0, x, 16);
    const float expected[] = {1.0f, 0.5f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, NAN, 0.25f, 0x1p-10f, 1.0f, 0x1p-64f};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (isnan(expected[i]) ? !isnan(y[i]) : y[i] != expected[i])
            harness_fail_at(__FILE__, __LINE__, "exp2v(%g) = %g, expected %g", (double)x[i], (double)y[i], (double)expected[i]);
    const float *t = apply(16, 1, x, 16);
    if (t[0] != 0.0f || t[3] != -1.0f || t[6] != -1.0f || !isnan(t[7]))
        harness_fail_at(__FILE__, __LINE__, "tanhv(0, -128, -inf, nan) = %g, %g, %g, %g", (double)t[0], (double)t[3],
                        (double)t[6], (double)t[7]);
}
END_TEST

HARNESS_DEVICE_SUITE("exp", errors_are_as_stated, exact_values)
