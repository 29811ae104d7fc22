/* SPDX-License-Identifier: MIT
 * Softmax of a matrix of scores over the keys that a mask leaves, in place. */
#include <rosace/attention.h>
#include <stdlib.h>

#include "../cli.h"
#include "ops.h"

typedef struct softmax_state {
    cl_mem scores;
    rosace_softmax_args args;
} softmax_state;

static bool create(bench_device *device, const bench_sizes *sizes, void **state, bench_work *work) {
    const size_t batch = (size_t)sizes->at[AXIS_BATCH], seq = (size_t)sizes->at[AXIS_SEQ];
    const size_t heads = (size_t)sizes->at[AXIS_HEADS], rows = batch * heads;
    const rosace_dtype dtype = (rosace_dtype)sizes->at[AXIS_DTYPE];
    softmax_state *s = cli_calloc(1, sizeof *s);
    if (!(*state = s)) return false;
    if (!(s->scores = bench_buffer(device, dtype, rows * seq * seq))) return false;
    s->args = (rosace_softmax_args)ROSACE_SOFTMAX_ARGS_DEFAULT;
    s->args.scores = sizes->at[AXIS_LAYOUT] == layout_bhsd
                         ? rosace_tensor_bhsd(s->scores, dtype, batch, seq, heads, seq)
                         : rosace_tensor_bshd(s->scores, dtype, batch, seq, heads, seq);
    s->args.mask.causal = true;
    if (sizes->at[AXIS_WINDOW]) s->args.mask.window_left = sizes->at[AXIS_WINDOW] - 1;
    /* Visible scores are read; every score is written, hidden ones as 0. */
    const double visible = (double)rosace_mask_pairs(&s->args.mask, 0, (int64_t)seq, (int64_t)seq);
    work->bytes = (double)rosace_dtype_size(dtype) * (double)rows * (visible + (double)seq * (double)seq);
    return true;
}

static bool enqueue(bench_device *device, void *state) {
    softmax_state *s = state;
    return !rosace_masked_softmax(device->context, device->queue, &s->args, 0, NULL, NULL) ||
           cli_fail_rosace("softmax");
}

static void destroy(void *state) {
    softmax_state *s = state;
    if (s->scores) clReleaseMemObject(s->scores);
    free(s);
}

const bench_op bench_softmax = {
    .op = "softmax",
    .about = "causal softmax of scores in place",
    .bound = ROOF_COPY,
    .beside = 1u << ROOF_UPDATE,
    .sweep = "dtype=f32 layout=bhsd batch=1 seq=4096 heads=4 window=0,512",
    .quick = "dtype=f32 layout=bhsd batch=1 seq=128 heads=2 window=0,32",
    .tiny = "dtype=f32 layout=bhsd batch=1 seq=8 heads=1 window=0",
    .create = create,
    .enqueue = enqueue,
    .destroy = destroy,
};
