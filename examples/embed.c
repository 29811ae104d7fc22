/* SPDX-License-Identifier: MIT
 * rosace inside a program that already has its OpenCL context and queue: rotate q and k, then attend over a local window,
 * the second after the first by event. Prints a checksum. cc embed.c $(pkg-config --cflags --libs rosace) -lm */
#include <rosace/attention.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 1, SEQ = 300, HEADS = 4, KV_HEADS = 2, DIM = 64, KV_COUNT = BATCH * SEQ * KV_HEADS * DIM, COUNT = 2 * KV_COUNT };

static void check(int code, const char *what) { /* OpenCL's and rosace's success are both 0 */
    if (code == 0) return;
    fprintf(stderr, "embed: %s: %d %s\n", what, code, code <= ROSACE_INVALID_ARGUMENT ? rosace_last_error() : "");
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

int main(void) {
    /* The application's own objects. */
    rosace_device_info device;
    check(rosace_select_device(NULL, &device), "device");
    cl_int code;
    cl_context cl = clCreateContext(NULL, 1, &device.device, NULL, NULL, &code);
    check(code, "context");
    cl_command_queue queue = clCreateCommandQueue(cl, device.device, 0, &code);
    check(code, "queue");
    cl_mem q = buffer(cl, COUNT), k = buffer(cl, KV_COUNT), v = buffer(cl, KV_COUNT), out = buffer(cl, COUNT);

    /* rosace on top of them. */
    rosace_context_desc context_desc = ROSACE_CONTEXT_DESC_DEFAULT;
    context_desc.cl_context = cl;
    rosace_context *context;
    check(rosace_context_create(&context_desc, &context), "rosace context");

    rosace_attention_args attention = ROSACE_ATTENTION_ARGS_DEFAULT;
    attention.q = rosace_tensor_bshd(q, ROSACE_F32, BATCH, SEQ, HEADS, DIM);
    attention.k = rosace_tensor_bshd(k, ROSACE_F32, BATCH, SEQ, KV_HEADS, DIM);
    attention.v = rosace_tensor_bshd(v, ROSACE_F32, BATCH, SEQ, KV_HEADS, DIM);
    attention.out = rosace_tensor_bshd(out, ROSACE_F32, BATCH, SEQ, HEADS, DIM);

    rosace_rope_desc rope_desc = ROSACE_ROPE_DESC_DEFAULT;
    rope_desc.head_dim = DIM;
    rosace_rope_args rope = ROSACE_ROPE_ARGS_DEFAULT;
    rope.q = &attention.q; /* no q_out, no k_out: in place */
    rope.k = &attention.k;
    cl_event rotated, attended;
    check(rosace_rope(context, queue, &rope_desc, &rope, 0, NULL, &rotated), "rope");

    rosace_attention_desc attention_desc = ROSACE_ATTENTION_DESC_DEFAULT;
    attention_desc.n_heads = HEADS;
    attention_desc.n_kv_heads = KV_HEADS;
    attention_desc.head_dim = DIM;
    attention_desc.mask.causal = true;
    attention_desc.mask.window_left = 127;
    check(rosace_attention(context, queue, &attention_desc, &attention, 1, &rotated, &attended), "attention");

    static float result[COUNT];
    check(clEnqueueReadBuffer(queue, out, CL_TRUE, 0, sizeof result, result, 1, &attended, NULL), "read");
    double sum = 0.0;
    for (int i = 0; i < COUNT; i++) sum += (double)result[i] * (i % 7 - 3);
    printf("rosace %s on %s: checksum %.4f\n", rosace_version(), device.name, sum);

    clReleaseEvent(rotated);
    clReleaseEvent(attended);
    rosace_context_destroy(&context);
    for (int i = 0; i < 4; i++) clReleaseMemObject((cl_mem[]){q, k, v, out}[i]);
    clReleaseCommandQueue(queue);
    clReleaseContext(cl);
    return 0;
}
