/* SPDX-License-Identifier: MIT */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "state.h"

/* The widest intermediates, the MLP's and the logits, are made for so many bytes of rows at a time. */
static const size_t slice_bytes = (size_t)64 << 20;

const model_config *model_get_config(const language_model *model) {
    return &model->config;
}

size_t model_parameters(const language_model *model) {
    return model->weights.parameters;
}

static void release(cl_mem *buffer) {
    if (*buffer) clReleaseMemObject(*buffer);
    *buffer = NULL;
}

static void release_scratch(language_model *model) {
    cl_mem *const buffers[] = {&model->ids,  &model->targets, &model->loss,   &model->x,      &model->y,
                               &model->z,    &model->qkv,     &model->gate,   &model->up,     &model->logits,
                               &model->part, &model->router,  &model->picked, &model->share,  &model->part_out};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        release(buffers[i]);
    model->capacity = 0;
}

void model_free(language_model **model) {
    if (!*model) return;
    release_scratch(*model);
    release(&(*model)->bias_params);
    weights_free(&(*model)->weights);
    free(*model);
    *model = NULL;
}

static bool create(language_model *model, const char *what, size_t rows, size_t width, cl_mem *out) {
    cl_int code;
    *out = clCreateBuffer(rosace_context_cl(model->context), CL_MEM_READ_WRITE, rows * width * 4, NULL, &code);
    return *out || cli_fail_cl(code, "no device memory for %s of %zu tokens (%zu bytes)", what, rows, rows * width * 4);
}

/* What ALiBi and Sandwich need of the number of heads alone. */
static bool load_bias_params(language_model *model) {
    const size_t heads = model->config.heads;
    float *values = cli_calloc(heads, sizeof *values);
    if (!values) return false;
    bool ok = true;
    if (model->config.position == POSITION_ALIBI)
        ok = !rosace_alibi_slopes(heads, values) || cli_fail_rosace("ALiBi slopes");
    else
        for (size_t h = 0; h < heads; h++)
            values[h] = (float)heads / (8.0f * (float)(h + 1));
    if (ok) ok = create(model, "slopes", heads, 1, &model->bias_params);
    if (ok) {
        const cl_int code = clEnqueueWriteBuffer(model->queue, model->bias_params, CL_TRUE, 0, heads * sizeof *values, values, 0,
                                                 NULL, NULL);
        if (code) ok = cli_fail_cl(code, "cannot upload slopes");
    }
    free(values);
    return ok;
}

bool model_load(rosace_context *context, cl_command_queue queue, const char *folder, language_model **out) {
    const size_t bytes = strlen(folder) + 32;
    char *path = cli_calloc(bytes, 1);
    language_model *self = cli_calloc(1, sizeof *self);
    *out = NULL;
    if (!path || !self) goto fail;
    self->context = context;
    self->queue = queue;
    snprintf(path, bytes, "%s/config.json", folder);
    if (!config_load(path, &self->config)) goto fail;
    snprintf(path, bytes, "%s/model.safetensors", folder);
    if (!weights_load(context, queue, path, &self->config, &self->weights)) goto fail;
    if ((self->config.position & (POSITION_ALIBI | POSITION_SANDWICH)) && !load_bias_params(self)) goto fail;
    free(path);
    *out = self;
    return true;

fail:
    free(path);
    model_free(&self);
    return false;
}

static size_t max_size(size_t a, size_t b) {
    return a > b ? a : b;
}
static size_t min_size(size_t a, size_t b) {
    return a < b ? a : b;
}

static bool create_scratch(language_model *model, size_t tokens) {
    const model_config *c = &model->config;
    const size_t heads_width = c->heads * c->head_dim, wide = max_size(c->hidden, heads_width);
    model->mlp_rows = min_size(tokens, max_size(1, slice_bytes / 4 / c->intermediate));
    model->logit_rows = min_size(tokens, max_size(1, slice_bytes / 4 / c->vocab));
    if (!create(model, "token ids", tokens, 1, &model->ids) || !create(model, "targets", tokens, 1, &model->targets) ||
        !create(model, "losses", tokens, 1, &model->loss) || !create(model, "activations", tokens, c->hidden, &model->x) ||
        !create(model, "activations", tokens, wide, &model->y) || !create(model, "activations", tokens, wide, &model->z) ||
        !create(model, "queries, keys and values", tokens, heads_width + 2 * c->kv_heads * c->head_dim, &model->qkv) ||
        !create(model, "MLP activations", model->mlp_rows, c->intermediate, &model->gate) ||
        !create(model, "MLP activations", model->mlp_rows, c->intermediate, &model->up) ||
        !create(model, "logits", model->logit_rows, c->vocab, &model->logits))
        return false;
    return c->mlp != MLP_EXPERTS ||
           (create(model, "the router", tokens, c->experts, &model->router) &&
            create(model, "the routing", tokens, c->experts_used, &model->picked) &&
            create(model, "the routing", tokens, c->experts_used, &model->share) &&
            create(model, "an expert", model->mlp_rows, c->hidden, &model->part) &&
            create(model, "an expert", model->mlp_rows, c->hidden, &model->part_out));
}

bool model_reserve(language_model *model, size_t tokens) {
    if (tokens <= model->capacity) return true;
    release_scratch(model);
    if (!create_scratch(model, tokens)) {
        release_scratch(model);
        return false;
    }
    model->capacity = tokens;
    return true;
}

/* ---- Forward pass ------------------------------------------------------------------------------------------------ */

static bool embed(language_model *model, size_t batch, size_t length) {
    const model_config *c = &model->config;
    const size_t rows = batch * length;
    const rosace_array x = model_array(model->x, 0);
    if (rosace_embedding(model->context, model->queue, model_array(model->ids, 0), model_array(model->weights.embedding, 0),
                         c->vocab, x, rows, c->hidden, 0, NULL, NULL) ||
        (c->embedding_scale > 0.0f &&
         rosace_scale(model->context, model->queue, x, rows * c->hidden, c->embedding_scale, 0, NULL, NULL)) ||
        (model->weights.token_type && rosace_add_bias(model->context, model->queue, x, model_array(model->weights.token_type, 0),
                                                      rows, c->hidden, 0, NULL, NULL)))
        return cli_fail_rosace("embedding");
    if (model->weights.embedding_norm.weight && !model_norm(model, &model->weights.embedding_norm, model->x, model->x, rows))
        return false;
    if (c->position != POSITION_SINUSOIDAL) return true;
    const rosace_tensor view = rosace_tensor_bshd(model->x, ROSACE_F32, batch, length, 1, c->hidden);
    const rosace_positions positions = {.seq_stride = 1};
    return !rosace_sinusoidal_add(model->context, model->queue, &view, &positions, c->sinusoidal_scale, 0, NULL, NULL) ||
           cli_fail_rosace("sinusoidal positions");
}

/* What stands between the last layer and the output matrix; *out is where it ends. */
static bool finish(language_model *model, size_t rows, cl_mem *out) {
    const model_weights *w = &model->weights;
    *out = model->x;
    if (w->norm.weight) {
        if (!model_norm(model, &w->norm, model->x, model->y, rows)) return false;
        *out = model->y;
    }
    if (!w->head_transform.matrix) return true;
    const rosace_array z = model_array(model->z, 0);
    if (!model_linear(model, "head", &w->head_transform, *out, 0, model->z, 0, rows)) return false;
    if (rosace_activate(model->context, model->queue, model->config.activation, z, z, rows * model->config.hidden, 0, NULL, NULL))
        return cli_fail_rosace("activation");
    *out = model->z;
    return model_norm(model, &w->head_norm, model->z, model->z, rows);
}

/* `rows` rows from `row` on */
static bool project_logits(language_model *model, cl_mem hidden, size_t row, size_t rows) {
    const model_config *c = &model->config;
    if (!model_linear(model, "logits", &model->weights.head, hidden, row, model->logits, 0, rows)) return false;
    return c->logit_softcap == 0.0f ||
           !rosace_softcap(model->context, model->queue, model_array(model->logits, 0), rows * c->vocab, c->logit_softcap, 0, NULL,
                           NULL) ||
           cli_fail_rosace("soft cap");
}

/* The queue is in order and every caller waits at its end, so the host arrays outlive the writes. */
static bool forward(language_model *model, const attention_plans *plans, const int32_t *ids, size_t batch, size_t length,
                    cl_mem *hidden) {
    const cl_int code =
        clEnqueueWriteBuffer(model->queue, model->ids, CL_FALSE, 0, batch * length * sizeof *ids, ids, 0, NULL, NULL);
    bool ok = !code || cli_fail_cl(code, "cannot upload token ids");
    ok = ok && embed(model, batch, length);
    for (size_t i = 0; ok && i < model->config.layers; i++)
        ok = model_layer(model, plans, i, batch, length);
    return ok && finish(model, batch * length, hidden);
}

static bool losses(language_model *model, cl_mem hidden, size_t rows, const int32_t *targets, float *loss) {
    const size_t vocab = model->config.vocab, bytes = rows * sizeof *targets;
    cl_int code = clEnqueueWriteBuffer(model->queue, model->targets, CL_FALSE, 0, bytes, targets, 0, NULL, NULL);
    if (code) return cli_fail_cl(code, "cannot upload token ids");
    for (size_t row = 0; row < rows; row += model->logit_rows) {
        const size_t n = min_size(model->logit_rows, rows - row);
        if (!project_logits(model, hidden, row, n)) return false;
        if (rosace_cross_entropy(model->context, model->queue, model_array(model->logits, 0), model_array(model->targets, row),
                                 model_array(model->loss, row), n, vocab, 0, NULL, NULL))
            return cli_fail_rosace("cross entropy");
    }
    code = clEnqueueReadBuffer(model->queue, model->loss, CL_TRUE, 0, bytes, loss, 0, NULL, NULL);
    return !code || cli_fail_cl(code, "cannot read the losses");
}

bool model_losses(language_model *model, const attention_plans *plans, const int32_t *ids, const int32_t *targets,
                  size_t batch, size_t length, float *loss) {
    cl_mem hidden;
    if (!model_reserve(model, batch * length)) return false;
    const bool ok = forward(model, plans, ids, batch, length, &hidden) && losses(model, hidden, batch * length, targets, loss);
    if (!ok) clFinish(model->queue);
    return ok;
}

bool model_logits(language_model *model, const attention_plans *plans, const int32_t *ids, size_t batch, size_t length,
                  float *logits) {
    const size_t rows = batch * length, vocab = model->config.vocab;
    cl_mem hidden;
    if (!model_reserve(model, rows)) return false;
    bool ok = forward(model, plans, ids, batch, length, &hidden);
    for (size_t row = 0; ok && row < rows; row += model->logit_rows) {
        const size_t n = min_size(model->logit_rows, rows - row);
        ok = project_logits(model, hidden, row, n);
        if (!ok) break;
        const cl_int code = clEnqueueReadBuffer(model->queue, model->logits, CL_TRUE, 0, n * vocab * sizeof *logits,
                                                logits + row * vocab, 0, NULL, NULL);
        ok = !code || cli_fail_cl(code, "cannot read the logits");
    }
    if (!ok) clFinish(model->queue);
    return ok;
}
