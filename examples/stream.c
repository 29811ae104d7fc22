/* SPDX-License-Identifier: MIT
 * An endless stream in constant memory: each token's key is rotated and appended with its value to a ring buffer, and its query
 * attends over the last WINDOW keys and the first SINKS. Prints the time of a token by how many came before it.
 *
 *     stream [TOKENS]     (default 2000)     cc stream.c $(pkg-config --cflags --libs rosace) -lm */
#include <math.h>
#include <rosace/attention.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { HEADS = 8, KV_HEADS = 2, DIM = 64, SINKS = 4, WINDOW = 1024, SLOTS = SINKS + WINDOW, PARTS = 10 };

static void check(int code, const char *what) { /* OpenCL's and rosace's success are both 0 */
    if (code == 0) return;
    fprintf(stderr, "stream: %s: %d %s\n", what, code, code <= ROSACE_INVALID_ARGUMENT ? rosace_last_error() : "");
    exit(1);
}

static cl_mem buffer(cl_context context, size_t count) {
    float *values = malloc(count * sizeof *values);
    cl_int code = values ? 0 : CL_OUT_OF_HOST_MEMORY;
    for (size_t i = 0; values && i < count; i++) values[i] = sinf(0.37f * (float)i);
    cl_mem mem = NULL;
    if (values) mem = clCreateBuffer(context, CL_MEM_COPY_HOST_PTR, count * sizeof *values, values, &code);
    free(values);
    check(code, "buffer");
    return mem;
}

static double now(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int main(int argc, char **argv) {
    const long tokens = argc > 1 ? atol(argv[1]) : 2000;
    if (tokens < PARTS) {
        fprintf(stderr, "stream: %ld tokens: must be at least %d\n", tokens, (int)PARTS);
        return 2;
    }
    rosace_context_desc desc = ROSACE_CONTEXT_DESC_DEFAULT;
    rosace_context *context;
    check(rosace_context_create(&desc, &context), "context");
    cl_int code;
    const cl_context cl = rosace_context_cl(context);
    cl_command_queue queue = clCreateCommandQueue(cl, rosace_context_cl_device(context), 0, &code);
    check(code, "queue");
    cl_mem mem[6] = {buffer(cl, HEADS * DIM),            buffer(cl, KV_HEADS * DIM),         buffer(cl, KV_HEADS * DIM),
                     buffer(cl, SLOTS * KV_HEADS * DIM), buffer(cl, SLOTS * KV_HEADS * DIM), buffer(cl, HEADS * DIM)};

    rosace_tensor q = rosace_tensor_bshd(mem[0], ROSACE_F32, 1, 1, HEADS, DIM);
    rosace_tensor k = rosace_tensor_bshd(mem[1], ROSACE_F32, 1, 1, KV_HEADS, DIM);
    rosace_tensor v = rosace_tensor_bshd(mem[2], ROSACE_F32, 1, 1, KV_HEADS, DIM);
    rosace_kv_cache cache = ROSACE_KV_CACHE_DEFAULT;
    cache.layout = ROSACE_CACHE_RING;
    cache.k = rosace_tensor_bhsd(mem[3], ROSACE_F32, 1, SLOTS, KV_HEADS, DIM);
    cache.v = rosace_tensor_bhsd(mem[4], ROSACE_F32, 1, SLOTS, KV_HEADS, DIM);
    cache.sinks = SINKS;

    rosace_rope_desc rope_desc = ROSACE_ROPE_DESC_DEFAULT;
    rope_desc.head_dim = DIM;
    rosace_rope_args append = ROSACE_ROPE_ARGS_DEFAULT;
    append.q = &q; /* in place */
    append.k = &k;
    append.v = &v;
    append.cache = &cache;
    rosace_attention_desc attention_desc = ROSACE_ATTENTION_DESC_DEFAULT;
    attention_desc.n_heads = HEADS;
    attention_desc.n_kv_heads = KV_HEADS;
    attention_desc.head_dim = DIM;
    attention_desc.mask.causal = true;
    attention_desc.mask.window_left = WINDOW - 1;
    attention_desc.mask.sinks = SINKS;
    rosace_attention_args attention = ROSACE_ATTENTION_ARGS_DEFAULT;
    attention.q = q;
    attention.out = rosace_tensor_bshd(mem[5], ROSACE_F32, 1, 1, HEADS, DIM);
    attention.cache = &cache;

    for (int part = 0; part < PARTS; part++) {
        const long end = tokens * (part + 1) / PARTS, begin = tokens * part / PARTS;
        double start = now();
        for (long n = begin; n < end; n++) {
            append.positions.offset = n;
            cache.length = n;
            check(rosace_rope(context, queue, &rope_desc, &append, 0, NULL, NULL), "append");
            cache.length = n + 1;
            check(rosace_attention(context, queue, &attention_desc, &attention, 0, NULL, NULL), "attention");
            check(clFinish(queue), "clFinish"); /* as a program that needs the token does */
            if (n == 0) start = now(); /* kernels were built */
        }
        printf("tokens %8ld to %8ld: %7.1f us each\n", begin, end - 1, 1e6 * (now() - start) / (double)(end - begin));
    }
    float out[HEADS * DIM], largest = 0.0f;
    check(clEnqueueReadBuffer(queue, mem[5], CL_TRUE, 0, sizeof out, out, 0, NULL, NULL), "read");
    for (int i = 0; i < HEADS * DIM; i++) largest = fmaxf(largest, fabsf(out[i]));
    for (int i = 0; i < 6; i++) clReleaseMemObject(mem[i]);
    clReleaseCommandQueue(queue);
    rosace_context_destroy(&context);
    if (largest > 0.0f && largest <= 1.0f) return 0; /* a mean of sines */
    fprintf(stderr, "stream: results up to %g\n", (double)largest);
    return 1;
}
