/* SPDX-License-Identifier: MIT
 * Matrix products for the tuner. */
#include "tune.h"

#include "../ops/matmul.h"

#include <stdio.h>
#include <string.h>

/* C = A B of a subject in one size. */
static void describe(const rsc_subject *subject, size_t size, rsc_matmul_desc *desc, rsc_matmul_call *call)
{
    const uint32_t n = (uint32_t)size, m = subject->rows ? (uint32_t)subject->rows : n;
    memset(desc, 0, sizeof *desc);
    desc->a = desc->b = desc->c = subject->dtype;
    desc->transpose_b = subject->transpose_b;
    *call = (rsc_matmul_call){
        .args = {.a = {.row_stride = n, .inner_div = 1},
                 .b = {.row_stride = n, .inner_div = 1},
                 .c = {.row_stride = n, .inner_div = 1},
                 .m = m,
                 .n = n,
                 .k = n,
                 .inner = 1,
                 .alpha = 1.0f},
        .batch = 1,
    };
}

static bool class_at(const rosace_device_info *device, size_t index, rsc_subject *out)
{
    static const struct {
        size_t rows, least, most;
        bool transpose_b; /* as the weights of a model usually are */
    } shapes[] = {{0, 512, 2048, false}, {4, 512, 4096, true}, {0, 256, 256, false}};
    enum { N_SHAPES = sizeof shapes / sizeof shapes[0] };
    if (index >= 2 * N_SHAPES) return false;
    const size_t shape = index % N_SHAPES;
    const bool gpu = device->device_class != ROSACE_DEVICE_CPU; /* where half precision is the rule */
    out->dtype = (index >= N_SHAPES) != gpu ? ROSACE_F16 : ROSACE_F32;
    out->rows = shapes[shape].rows;
    out->transpose_b = shapes[shape].transpose_b;
    out->least = shapes[shape].least;
    out->most = shapes[shape].most;
    rsc_matmul_desc desc;
    rsc_matmul_call call;
    describe(out, out->least, &desc, &call);
    rsc_matmul_class(&desc, &call, out->class_name);
    return true;
}

static bool row_at(const rosace_device_info *device, const rsc_subject *subject, size_t index, char row[RSC_ROW_BYTES])
{
    rsc_matmul_desc desc;
    rsc_matmul_call call;
    describe(subject, subject->least, &desc, &call);
    const rsc_matmul_row *found = rsc_matmul_candidate(device, &desc, &call, index);
    if (found) snprintf(row, RSC_ROW_BYTES, "%s", found->name);
    return found != NULL;
}

static rosace_status prepare(rsc_bench *bench)
{
    const rsc_subject *subject = bench->subject;
    const size_t n = subject->most, m = subject->rows ? subject->rows : n;
    bench->dtype = subject->dtype;
    /* CLBlast adds up in the data type itself. */
    bench->tolerance = subject->dtype == ROSACE_F16 ? 3e-2f : 1e-4f;
    rosace_status status = rsc_bench_buffer(bench, 0, subject->dtype, m * n, false);
    if (!status) status = rsc_bench_buffer(bench, 1, subject->dtype, m * n, true);
    if (!status) status = rsc_bench_buffer(bench, 2, subject->dtype, n * n, true);
    return status;
}

/* Rows are chosen call by call; here each has a plan of its own. */
static rosace_status make(rsc_bench *bench, void **plan, char row[RSC_ROW_BYTES])
{
    rsc_matmul_desc desc;
    rsc_matmul_call call;
    describe(bench->subject, bench->size, &desc, &call);
    bench->out_count = (size_t)call.args.m * call.args.n;
    desc.row = rsc_matmul_choose(bench->context, &desc, &call);
    snprintf(row, RSC_ROW_BYTES, "%s", desc.row->name);
    rsc_matmul *made = NULL;
    const rosace_status status = rsc_matmul_create(bench->context, &desc, &made);
    *plan = made;
    return status;
}

static rosace_status run(rsc_bench *bench, void *plan)
{
    rsc_matmul_desc desc;
    rsc_matmul_call call;
    rsc_chain chain;
    describe(bench->subject, bench->size, &desc, &call);
    call.c = bench->buffers[0];
    call.a = bench->buffers[1];
    call.b = bench->buffers[2];
    rosace_status status = rsc_chain_begin(&chain, bench->context, bench->queue, 0, NULL);
    if (!status) status = rsc_matmul_chain(plan, &chain, &call);
    return rsc_chain_end(&chain, status, NULL);
}

static void drop(rsc_bench *bench, void *plan)
{
    (void)bench;
    rsc_matmul *matmul = plan;
    rsc_matmul_destroy(&matmul);
}

const rsc_tunable rsc_tune_matmul = {
    "matmul", ROSACE_TUNE_MATMUL, class_at, row_at, prepare, make, run, drop, false,
};
