/* SPDX-License-Identifier: MIT */
#include "model.h"

#include <rosace/layers.h>
#include <rosace/matmul.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "weights.h"

/* The widest intermediates, the MLP's and the logits, are made for so many bytes of rows at a time. */
static const size_t slice_bytes = (size_t)64 << 20;

struct language_model {
    rosace_context *context;
    cl_command_queue queue;
    model_config config;
    model_weights weights;
    cl_mem slopes; /* ALiBi, or NULL */

    size_t capacity;             /* tokens the buffers below have room for */
    cl_mem ids, targets, loss;   /* [capacity] */
    cl_mem x;                    /* [capacity, hidden]: the residual stream */
    cl_mem y, z;                 /* [capacity, max(hidden, heads head_dim)] */
    cl_mem qkv;                  /* [capacity, (heads + 2 kv_heads) head_dim] */
    size_t mlp_rows, logit_rows; /* rows of one slice */
    cl_mem gate, up, logits;     /* [mlp_rows, intermediate] twice, [logit_rows, vocab] */
};

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
    cl_mem *const buffers[] = {&model->ids, &model->targets, &model->loss, &model->x,  &model->y,
                               &model->z,   &model->qkv,     &model->gate, &model->up, &model->logits};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        release(buffers[i]);
    model->capacity = 0;
}

void model_free(language_model **model) {
    if (!*model) return;
    release_scratch(*model);
    release(&(*model)->slopes);
    weights_free(&(*model)->weights);
    free(*model);
    *model = NULL;
}

static bool create(language_model *model, const char *what, size_t rows, size_t width, cl_mem *out) {
    cl_int code;
    *out = clCreateBuffer(rosace_context_cl(model->context), CL_MEM_READ_WRITE, rows * width * 4, NULL, &code);
    return *out || cli_fail_cl(code, "no device memory for %s of %zu tokens (%zu bytes)", what, rows, rows * width * 4);
}

static bool load_slopes(language_model *model) {
    const size_t heads = model->config.heads;
    float *slopes = cli_calloc(heads, sizeof *slopes);
    if (!slopes) return false;
    bool ok = !rosace_alibi_slopes(heads, slopes) || cli_fail_rosace("ALiBi slopes");
    if (ok) ok = create(model, "slopes", heads, 1, &model->slopes);
    if (ok) {
        const cl_int code = clEnqueueWriteBuffer(model->queue, model->slopes, CL_TRUE, 0, heads * sizeof *slopes,
                                                 slopes, 0, NULL, NULL);
        if (code) ok = cli_fail_cl(code, "cannot upload ALiBi slopes");
    }
    free(slopes);
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
    if (self->config.position == POSITION_ALIBI && !load_slopes(self)) goto fail;
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

bool model_reserve(language_model *model, size_t tokens) {
    if (tokens <= model->capacity) return true;
    release_scratch(model);
    const model_config *c = &model->config;
    const size_t heads_width = c->heads * c->head_dim, wide = max_size(c->hidden, heads_width);
    model->mlp_rows = min_size(tokens, max_size(1, slice_bytes / 4 / c->intermediate));
    model->logit_rows = min_size(tokens, max_size(1, slice_bytes / 4 / c->vocab));
    if (!create(model, "token ids", tokens, 1, &model->ids) || !create(model, "targets", tokens, 1, &model->targets) ||
        !create(model, "losses", tokens, 1, &model->loss) ||
        !create(model, "activations", tokens, c->hidden, &model->x) ||
        !create(model, "activations", tokens, wide, &model->y) ||
        !create(model, "activations", tokens, wide, &model->z) ||
        !create(model, "queries, keys and values", tokens, heads_width + 2 * c->kv_heads * c->head_dim, &model->qkv) ||
        !create(model, "MLP activations", model->mlp_rows, c->intermediate, &model->gate) ||
        !create(model, "MLP activations", model->mlp_rows, c->intermediate, &model->up) ||
        !create(model, "logits", model->logit_rows, c->vocab, &model->logits)) {
        release_scratch(model);
        return false;
    }
    model->capacity = tokens;
    return true;
}

/* ---- Forward pass ------------------------------------------------------------------------------------------------ */

static rosace_array array(cl_mem mem, size_t offset) {
    return (rosace_array){mem, offset, ROSACE_F32};
}

/* out[out_row ...] = in[in_row ...] W^T, weights [out_width, in_width] */
static bool project(language_model *model, const char *what, cl_mem in, size_t in_row,
                    const rosace_matmul_weights *weights, cl_mem out,
                    size_t out_row, size_t rows, size_t in_width, size_t out_width) {
    rosace_matmul_args args = ROSACE_MATMUL_ARGS_DEFAULT;
    args.a = (rosace_matrix){.mem = in, .offset = in_row * in_width, .rows = rows, .cols = in_width};
    args.c = (rosace_matrix){.mem = out, .offset = out_row * out_width, .rows = rows, .cols = out_width};
    args.weights = weights;
    return !rosace_matmul(model->context, model->queue, &args, 0, NULL, NULL) || cli_fail_rosace("%s", what);
}

static bool norm(language_model *model, cl_mem in, cl_mem weight, cl_mem out, size_t rows) {
    return !rosace_rmsnorm(model->context, model->queue, array(in, 0), array(weight, 0), array(out, 0), rows,
                           model->config.hidden, model->config.eps, 0, NULL, NULL) ||
           cli_fail_rosace("norm");
}

static bool add(language_model *model, cl_mem x, cl_mem y, size_t rows) {
    return !rosace_add(model->context, model->queue, array(x, 0), array(y, 0), rows * model->config.hidden, 0, NULL,
                       NULL) ||
           cli_fail_rosace("residual");
}

/* Heads `first` .. `first + heads` of the packed queries, keys and values. */
static rosace_tensor packed_heads(const language_model *model, size_t batch, size_t length, size_t first,
                                  size_t heads) {
    const size_t dim = model->config.head_dim, width = (model->config.heads + 2 * model->config.kv_heads) * dim;
    rosace_tensor tensor = rosace_tensor_bshd(model->qkv, ROSACE_F32, batch, length, heads, dim);
    tensor.offset = first * dim;
    tensor.stride[0] = (ptrdiff_t)(length * width);
    tensor.stride[1] = (ptrdiff_t)width;
    return tensor;
}

static bool attend(language_model *model, rosace_attention_plan *plan, const layer_weights *layer, size_t batch,
                   size_t length) {
    const model_config *c = &model->config;
    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    args.q = packed_heads(model, batch, length, 0, c->heads);
    args.k = packed_heads(model, batch, length, c->heads, c->kv_heads);
    args.v = packed_heads(model, batch, length, c->heads + c->kv_heads, c->kv_heads);
    args.out = rosace_tensor_bshd(model->z, ROSACE_F32, batch, length, c->heads, c->head_dim);
    args.bias_params = model->slopes;
    args.shaw_key = layer->shaw_key;
    args.shaw_value = layer->shaw_value;
    return !rosace_attention_enqueue(plan, model->queue, &args, 0, NULL, NULL) || cli_fail_rosace("attention");
}

static bool mlp(language_model *model, const layer_weights *layer, size_t rows) {
    const size_t hidden = model->config.hidden, inner = model->config.intermediate;
    for (size_t row = 0; row < rows; row += model->mlp_rows) {
        const size_t n = min_size(model->mlp_rows, rows - row);
        if (!project(model, "gate projection", model->y, row, layer->gate, model->gate, 0, n, hidden, inner) ||
            !project(model, "up projection", model->y, row, layer->up, model->up, 0, n, hidden, inner))
            return false;
        if (rosace_swiglu(model->context, model->queue, array(model->gate, 0), array(model->up, 0),
                          array(model->gate, 0), n * inner, 0, NULL, NULL))
            return cli_fail_rosace("SwiGLU");
        if (!project(model, "down projection", model->gate, 0, layer->down, model->z, row, n, inner, hidden))
            return false;
    }
    return true;
}

static bool run_layer(language_model *model, rosace_attention_plan *plan, const layer_weights *layer, size_t batch,
                      size_t length) {
    const model_config *c = &model->config;
    const size_t rows = batch * length, heads_width = c->heads * c->head_dim;
    return norm(model, model->x, layer->input_norm, model->y, rows) &&
           project(model, "query, key and value projection", model->y, 0, layer->qkv, model->qkv, 0, rows, c->hidden,
                   heads_width + 2 * c->kv_heads * c->head_dim) &&
           attend(model, plan, layer, batch, length) &&
           project(model, "output projection", model->z, 0, layer->out, model->y, 0, rows, heads_width, c->hidden) &&
           add(model, model->x, model->y, rows) && norm(model, model->x, layer->post_norm, model->y, rows) &&
           mlp(model, layer, rows) && add(model, model->x, model->z, rows);
}

static bool embed(language_model *model, size_t batch, size_t length) {
    const model_config *c = &model->config;
    if (rosace_embedding(model->context, model->queue, array(model->ids, 0), array(model->weights.embedding, 0),
                         c->vocab, array(model->x, 0), batch * length, c->hidden, 0, NULL, NULL))
        return cli_fail_rosace("embedding");
    if (c->position != POSITION_SINUSOIDAL) return true;
    const rosace_tensor x = rosace_tensor_bshd(model->x, ROSACE_F32, batch, length, 1, c->hidden);
    const rosace_positions positions = {.seq_stride = 1};
    return !rosace_sinusoidal_add(model->context, model->queue, &x, &positions, c->sinusoidal_scale, 0, NULL, NULL) ||
           cli_fail_rosace("sinusoidal positions");
}

static bool losses(language_model *model, size_t rows) {
    const size_t vocab = model->config.vocab;
    for (size_t row = 0; row < rows; row += model->logit_rows) {
        const size_t n = min_size(model->logit_rows, rows - row);
        if (!project(model, "logits", model->y, row, model->weights.head, model->logits, 0, n, model->config.hidden,
                     vocab))
            return false;
        if (rosace_cross_entropy(model->context, model->queue, array(model->logits, 0), array(model->targets, row),
                                 array(model->loss, row), n, vocab, 0, NULL, NULL))
            return cli_fail_rosace("cross entropy");
    }
    return true;
}

bool model_losses(language_model *model, rosace_attention_plan *plan, const int32_t *ids, const int32_t *targets,
                  size_t batch, size_t length, float *loss) {
    const size_t rows = batch * length, bytes = rows * 4;
    if (!model_reserve(model, rows)) return false;
    /* The queue is in order and the last command below waits, so the host arrays outlive these writes. */
    cl_int code = clEnqueueWriteBuffer(model->queue, model->ids, CL_FALSE, 0, bytes, ids, 0, NULL, NULL);
    if (!code) code = clEnqueueWriteBuffer(model->queue, model->targets, CL_FALSE, 0, bytes, targets, 0, NULL, NULL);
    bool ok = !code || cli_fail_cl(code, "cannot upload token ids");
    ok = ok && embed(model, batch, length);
    for (size_t i = 0; ok && i < model->config.layers; i++)
        ok = run_layer(model, plan, &model->weights.layers[i], batch, length);
    ok = ok && norm(model, model->x, model->weights.norm, model->y, rows) && losses(model, rows);
    if (!ok) {
        clFinish(model->queue);
        return false;
    }
    code = clEnqueueReadBuffer(model->queue, model->loss, CL_TRUE, 0, bytes, loss, 0, NULL, NULL);
    return !code || cli_fail_cl(code, "cannot read the losses");
}
