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

/* Sums of losses in nats, and of how many. */
typedef struct loss_sums {
    double all, last;
    size_t n_all, n_last;
} loss_sums;

/* Of how many tokens a bidirectional model has one to predict. */
enum { MASKED_OF = 8 };

/* Runs windows [first, first + batch). */
static bool run_batch(const evaluation *e, language_model *model, const attention_plans *plans, size_t first,
                      size_t batch, size_t length, const batch_arrays *arrays, loss_sums *sums) {
    const bool masked = model_get_config(model)->bidirectional;
    for (size_t b = 0; b < batch; b++) {
        const int32_t *begin = e->text->ids + window_end(e, first + b) - 1 - length;
        memcpy(arrays->ids + b * length, begin, length * sizeof *begin);
        memcpy(arrays->targets + b * length, masked ? begin : begin + 1, length * sizeof *begin);
        for (size_t i = MASKED_OF - 1; masked && i < length; i += MASKED_OF)
            arrays->ids[b * length + i] = e->mask_token;
    }
    if (!model_losses(model, plans, arrays->ids, arrays->targets, batch, length, arrays->loss)) return false;
    const size_t tail = length < e->last ? length : e->last;
    for (size_t i = 0; i < batch * length; i++) {
        if (masked && i % length % MASKED_OF != MASKED_OF - 1) continue;
        sums->all += arrays->loss[i];
        sums->n_all++;
        if (i % length < length - tail) continue;
        sums->last += arrays->loss[i];
        sums->n_last++;
    }
    return true;
}

bool evaluate(const evaluation *e, language_model *model, const position_system *system,
              const position_settings *settings, int64_t length, evaluation_progress progress, void *user,
              report_figure *out, char *variant, size_t variant_bytes) {
    const size_t n = (size_t)length, fit = e->batch_tokens / n;
    const size_t batch = fit < 1 ? 1 : fit > e->windows ? e->windows : fit;
    attention_plans plans;
    batch_arrays arrays;
    bool ok = false;

    if (!make_arrays(batch * n, &arrays)) return false;
    const double start = now();
    if (!position_plans(e->context, system, settings, model_get_config(model), batch, length, e->path, &plans)) goto end;
    position_variant(&plans, variant, variant_bytes);

    loss_sums sums = {0.0, 0.0, 0, 0};
    for (size_t first = 0; first < e->windows; first += batch) {
        const size_t now_batch = e->windows - first < batch ? e->windows - first : batch;
        if (!run_batch(e, model, &plans, first, now_batch, n, &arrays, &sums)) goto end;
        if (progress) progress(user, (first + now_batch) * n, now() - start);
    }
    /* A window too short to have a masked token predicts nothing. */
    out->all = sums.n_all ? sums.all / (double)sums.n_all * e->bits_scale : 0.0;
    out->last = sums.n_last ? sums.last / (double)sums.n_last * e->bits_scale : 0.0;
    out->seconds = now() - start;
    out->tokens = sums.n_all;
    if (!isfinite(out->all)) {
        cli_fail("%s at length %zu: the loss is not a number; do the weights hold NaN or infinity?", system->name, n);
        goto end;
    }
    ok = true;

end:
    position_plans_free(&plans);
    free_arrays(&arrays);
    return ok;
}
