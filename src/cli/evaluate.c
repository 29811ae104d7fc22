/* SPDX-License-Identifier: MIT */
#include "evaluate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static size_t window_end(const evaluation *e, size_t index) {
    const uint64_t total = e->text->count, first = (uint64_t)e->longest + 1;
    if (e->windows == 1) return (size_t)total;
    return (size_t)(first + index * (total - first) / (e->windows - 1));
}

/* Host arrays of one batch. */
typedef struct batch_arrays {
    int32_t *ids, *targets;
    float *loss;
} batch_arrays;

static void free_arrays(batch_arrays *arrays) {
    free(arrays->ids);
    free(arrays->targets);
    free(arrays->loss);
}

static bool make_arrays(size_t tokens, batch_arrays *out) {
    *out = (batch_arrays){cli_calloc(tokens, sizeof *out->ids), cli_calloc(tokens, sizeof *out->targets),
                          cli_calloc(tokens, sizeof *out->loss)};
    if (out->ids && out->targets && out->loss) return true;
    free_arrays(out);
    return false;
}

/* Runs windows [first, first + batch) and adds their losses in nats to the two sums. */
static bool run_batch(const evaluation *e, language_model *model, rosace_attention_plan *plan, size_t first,
                      size_t batch, size_t length, const batch_arrays *arrays, double *all, double *last) {
    for (size_t b = 0; b < batch; b++) {
        const int32_t *begin = e->text->ids + window_end(e, first + b) - 1 - length;
        memcpy(arrays->ids + b * length, begin, length * sizeof *begin);
        memcpy(arrays->targets + b * length, begin + 1, length * sizeof *begin);
    }
    if (!model_losses(model, plan, arrays->ids, arrays->targets, batch, length, arrays->loss)) return false;
    const size_t tail = length < e->last ? length : e->last;
    for (size_t i = 0; i < batch * length; i++) {
        *all += arrays->loss[i];
        if (i % length >= length - tail) *last += arrays->loss[i];
    }
    return true;
}

bool evaluate(const evaluation *e, language_model *model, const position_system *system,
              const position_settings *settings, int64_t length, evaluation_progress progress, void *user,
              report_figure *out, char *variant, size_t variant_bytes) {
    const size_t n = (size_t)length, fit = e->batch_tokens / n;
    const size_t batch = fit < 1 ? 1 : fit > e->windows ? e->windows : fit;
    rosace_rope_desc rope;
    rosace_attention_desc desc;
    rosace_attention_plan *plan = NULL;
    batch_arrays arrays;
    bool ok = false;

    if (!make_arrays(batch * n, &arrays)) return false;
    const double start = now();
    position_describe(system, settings, model_get_config(model), length, &rope, &desc);
    desc.path = e->path;
    desc.max_batch = batch;
    desc.max_seq_q = desc.max_seq_k = n;
    if (rosace_attention_plan_create(e->context, &desc, &plan)) {
        cli_fail_rosace("%s at length %zu", system->name, n);
        goto end;
    }
    snprintf(variant, variant_bytes, "%s", rosace_attention_plan_variant(plan));

    double all = 0.0, last = 0.0;
    for (size_t first = 0; first < e->windows; first += batch) {
        const size_t now_batch = e->windows - first < batch ? e->windows - first : batch;
        if (!run_batch(e, model, plan, first, now_batch, n, &arrays, &all, &last)) goto end;
        if (progress) progress(user, (first + now_batch) * n, now() - start);
    }
    const double tail = (double)(n < e->last ? n : e->last), windows = (double)e->windows;
    out->all = all / (windows * (double)n) * e->bits_scale;
    out->last = last / (windows * tail) * e->bits_scale;
    out->seconds = now() - start;
    out->tokens = e->windows * n;
    if (!isfinite(out->all)) {
        cli_fail("%s at length %zu: the loss is not a number; do the weights hold NaN or infinity?", system->name, n);
        goto end;
    }
    ok = true;

end:
    rosace_attention_plan_destroy(&plan);
    free_arrays(&arrays);
    return ok;
}
