/* SPDX-License-Identifier: MIT
 * CLBlast's matrix products for the tuner: which set of parameters it is given (ops/clblast_sets.h).
 *
 * CLBlast has a tuner of its own, but in C++ only, and it cannot be stopped, goes through hundreds of builds (8 s each with
 * PoCL) of one kernel alone, and leaves to its caller what to keep. So a short list of sets is measured here like any other
 * table of rows: as whole products, in bounded time, with answers compared. */
#include "tune.h"

#include "../ops/clblast_sets.h"
#include "../ops/matmul.h"

#include <stdio.h>
#include <string.h>

static void describe(const rsc_subject *subject, size_t size, rsc_matmul_desc *desc, rsc_matmul_call *call)
{
    const uint32_t n = (uint32_t)size;
    const rsc_matmul_operand_args square = {.row_stride = n, .inner_div = 1};
    memset(desc, 0, sizeof *desc);
    desc->a = desc->b = desc->c = subject->dtype;
    desc->path = ROSACE_MATMUL_CLBLAST;
    *call = (rsc_matmul_call){
        .args = {.a = square, .b = square, .c = square, .m = n, .n = n, .k = n, .inner = 1, .alpha = 1.0f}, .batch = 1};
}

static bool class_at(const rosace_device_info *device, size_t index, rsc_subject *out)
{
    const bool cpu = device->device_class == ROSACE_DEVICE_CPU;
    if (index > (device->has_fp16 ? 1 : 0)) return false;
    out->dtype = index ? ROSACE_F16 : ROSACE_F32;
    out->least = 512;
    out->most = cpu ? 512 : 2048; /* where a launch is nothing, size hardly matters */
    snprintf(out->class_name, sizeof out->class_name, "%s", rsc_clblast_class(out->dtype));
    return true;
}

static bool row_at(const rosace_device_info *device, const rsc_subject *subject, size_t index, char row[RSC_ROW_BYTES])
{
    const char *name = rsc_clblast_candidate(device, subject->dtype, index);
    if (name) snprintf(row, RSC_ROW_BYTES, "%s", name);
    return name != NULL;
}

static rosace_status prepare(rsc_bench *bench)
{
    const rsc_subject *subject = bench->subject;
    const size_t count = subject->most * subject->most;
    bench->dtype = subject->dtype;
    bench->tolerance = subject->dtype == ROSACE_F16 ? 3e-2f : 1e-4f; /* CLBlast adds up in the data type itself */
    rosace_status status = rsc_bench_buffer(bench, 0, subject->dtype, count, false);
    if (!status) status = rsc_bench_buffer(bench, 1, subject->dtype, count, true);
    if (!status) status = rsc_bench_buffer(bench, 2, subject->dtype, count, true);
    return status;
}

typedef struct clblast_plan {
    rsc_matmul *matmul;
    const char *set;
} clblast_plan;

static void drop(rsc_bench *bench, void *plan)
{
    clblast_plan *p = plan;
    rsc_matmul_destroy(&p->matmul);
    rsc_free(bench->context, p);
}

static rosace_status make(rsc_bench *bench, void **plan, char row[RSC_ROW_BYTES])
{
    rsc_matmul_desc desc;
    rsc_matmul_call call;
    describe(bench->subject, bench->size, &desc, &call);
    bench->out_count = bench->size * bench->size;
    clblast_plan *made = rsc_calloc(bench->context, 1, sizeof *made);
    if (!made) return rsc_fail(ROSACE_OUT_OF_MEMORY, "tuning: no host memory");
    made->set = rsc_clblast_choice(bench->context, bench->subject->dtype);
    snprintf(row, RSC_ROW_BYTES, "%s", made->set);
    const rosace_status status = rsc_matmul_create(bench->context, &desc, &made->matmul);
    if (status) drop(bench, made);
    else *plan = made;
    return status;
}

static rosace_status run(rsc_bench *bench, void *plan)
{
    const clblast_plan *p = plan;
    rsc_matmul_desc desc;
    rsc_matmul_call call;
    rsc_chain chain;
    describe(bench->subject, bench->size, &desc, &call);
    call.c = bench->buffers[0];
    call.a = bench->buffers[1];
    call.b = bench->buffers[2];
    rsc_clblast_apply(bench->context, bench->subject->dtype, p->set);
    rosace_status status = rsc_chain_begin(&chain, bench->context, bench->queue, 0, NULL);
    if (!status) status = rsc_matmul_chain(p->matmul, &chain, &call);
    status = rsc_chain_end(&chain, status, NULL);
    const char *current = rsc_clblast_current(bench->context, bench->subject->dtype);
    if (!status && strcmp(p->set, RSC_CLBLAST_DATABASE) != 0 && (!current || strcmp(current, p->set) != 0))
        status = rsc_fail(ROSACE_CLBLAST_ERROR, "CLBlast cannot run it here");
    return status;
}

const rsc_tunable rsc_tune_clblast = {
    .operation = "clblast",
    .flag = ROSACE_TUNE_CLBLAST,
    .class_at = class_at,
    .row_at = row_at,
    .prepare = prepare,
    .make = make,
    .run = run,
    .drop = drop,
    .standard_first = true,
};
