/* SPDX-License-Identifier: MIT
 * A mixture of experts: the router's logits come to the host, which sorts tokens by expert; each expert then runs over its own
 * tokens alone, gathered, and what it gives is added where they stand. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "state.h"

/* Host arrays of one routing. */
typedef struct routing {
    float *logits;  /* [rows, experts] */
    int32_t *best;  /* [rows, used]: experts of a row */
    float *weight;  /* [rows, used]: their shares */
    int32_t *token; /* [rows * used]: rows by expert */
    float *share;   /* [rows * used]: as they stand there */
    size_t *first;  /* [experts + 1]: where an expert's begin */
} routing;

static void free_routing(routing *r) {
    free(r->logits);
    free(r->best);
    free(r->weight);
    free(r->token);
    free(r->share);
    free(r->first);
}

static bool make_routing(size_t rows, size_t experts, size_t used, routing *out) {
    *out = (routing){
        .logits = cli_calloc(rows * experts, sizeof *out->logits),
        .best = cli_calloc(rows * used, sizeof *out->best),
        .weight = cli_calloc(rows * used, sizeof *out->weight),
        .token = cli_calloc(rows * used, sizeof *out->token),
        .share = cli_calloc(rows * used, sizeof *out->share),
        .first = cli_calloc(experts + 1, sizeof *out->first),
    };
    return out->logits && out->best && out->weight && out->token && out->share && out->first;
}

/* The `used` largest of a row's logits, and their softmax. */
static void pick(float *logits, size_t experts, size_t used, int32_t *best, float *weight) {
    float sum = 0.0f, largest = 0.0f;
    for (size_t i = 0; i < used; i++) {
        size_t top = 0;
        for (size_t e = 1; e < experts; e++)
            if (logits[e] > logits[top]) top = e;
        if (i == 0) largest = logits[top];
        best[i] = (int32_t)top;
        weight[i] = expf(logits[top] - largest);
        sum += weight[i];
        logits[top] = -INFINITY;
    }
    for (size_t i = 0; i < used; i++)
        weight[i] /= sum;
}

static void route(routing *r, size_t rows, size_t experts, size_t used) {
    for (size_t row = 0; row < rows; row++) {
        pick(r->logits + row * experts, experts, used, r->best + row * used, r->weight + row * used);
        for (size_t i = 0; i < used; i++)
            r->first[r->best[row * used + i] + 1]++;
    }
    for (size_t e = 0; e < experts; e++)
        r->first[e + 1] += r->first[e];
    /* first[e] runs through the places of expert e, and ends where those of e + 1 begin */
    for (size_t i = 0; i < rows * used; i++) {
        const size_t place = r->first[r->best[i]]++;
        r->token[place] = (int32_t)(i / used);
        r->share[place] = r->weight[i];
    }
    memmove(r->first + 1, r->first, experts * sizeof *r->first);
    r->first[0] = 0;
}

/* `n` of an expert's tokens, from place `at` on. */
static bool run_expert(language_model *model, const expert_weights *expert, cl_mem y, cl_mem z, size_t at, size_t n, size_t rows) {
    const model_config *c = &model->config;
    const rosace_array gate = model_array(model->gate, 0), up = model_array(model->up, 0);
    if (rosace_embedding(model->context, model->queue, model_array(model->picked, at), model_array(y, 0), rows,
                         model_array(model->part, 0), n, c->hidden, 0, NULL, NULL))
        return cli_fail_rosace("tokens of an expert");
    if (!model_linear(model, "gate projection", &expert->gate, model->part, 0, model->gate, 0, n) ||
        !model_linear(model, "up projection", &expert->up, model->part, 0, model->up, 0, n))
        return false;
    if (rosace_clamped_swiglu(model->context, model->queue, gate, up, gate, n * c->intermediate, c->expert_alpha, c->expert_limit,
                              0, NULL, NULL))
        return cli_fail_rosace("activation");
    if (!model_linear(model, "down projection", &expert->down, model->gate, 0, model->part_out, 0, n)) return false;
    return !rosace_scatter_add(model->context, model->queue, model_array(z, 0), rows, model_array(model->picked, at),
                               model_array(model->share, at), model_array(model->part_out, 0), n, c->hidden, 0, NULL, NULL) ||
           cli_fail_rosace("sum of the experts");
}

static bool exchange(language_model *model, routing *r, cl_mem z, size_t rows) {
    const model_config *c = &model->config;
    const size_t count = rows * c->experts_used;
    const float zero = 0.0f;
    cl_int code = clEnqueueReadBuffer(model->queue, model->router, CL_TRUE, 0, rows * c->experts * sizeof *r->logits, r->logits, 0,
                                      NULL, NULL);
    if (code) return cli_fail_cl(code, "cannot read the router's logits");
    route(r, rows, c->experts, c->experts_used);
    code = clEnqueueFillBuffer(model->queue, z, &zero, sizeof zero, 0, rows * c->hidden * sizeof zero, 0, NULL, NULL);
    if (!code) code = clEnqueueWriteBuffer(model->queue, model->picked, CL_TRUE, 0, count * sizeof *r->token, r->token, 0, NULL, NULL);
    if (!code) code = clEnqueueWriteBuffer(model->queue, model->share, CL_TRUE, 0, count * sizeof *r->share, r->share, 0, NULL, NULL);
    return !code || cli_fail_cl(code, "cannot upload the routing");
}

bool model_experts(language_model *model, const layer_weights *layer, cl_mem y, cl_mem z, size_t rows) {
    const model_config *c = &model->config;
    routing r;
    bool ok = make_routing(rows, c->experts, c->experts_used, &r) &&
              model_linear(model, "router", &layer->router, y, 0, model->router, 0, rows) && exchange(model, &r, z, rows);
    for (size_t e = 0; ok && e < c->experts; e++)
        for (size_t at = r.first[e]; ok && at < r.first[e + 1]; at += model->mlp_rows) {
            const size_t left = r.first[e + 1] - at;
            ok = run_expert(model, &layer->experts[e], y, z, at, left < model->mlp_rows ? left : model->mlp_rows, rows);
        }
    free_routing(&r);
    return ok;
}
