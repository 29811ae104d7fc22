/* SPDX-License-Identifier: MIT */
#include "weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "safetensors.h"

typedef struct loader {
    rosace_context *context;
    cl_command_queue queue;
    const char *path;
    const safetensors *file;
    size_t parameters;
} loader;

/* "[128, 64]" */
static void shape_text(const size_t *shape, size_t rank, char *out, size_t bytes) {
    size_t used = (size_t)snprintf(out, bytes, "[");
    for (size_t i = 0; i < rank && used < bytes; i++)
        used += (size_t)snprintf(out + used, bytes - used, "%s%zu", i ? ", " : "", shape[i]);
    if (used < bytes) snprintf(out + used, bytes - used, "]");
}

/* A tensor by name with the shape the configuration asks for; cols 0: a vector of `rows`. */
static const safetensor *find(const loader *from, const char *name, size_t rows, size_t cols) {
    const size_t wanted[] = {rows, cols}, rank = cols ? 2 : 1;
    const safetensor *tensor = safetensors_find(from->file, name);
    if (!tensor) {
        cli_fail("%s: tensor '%s' is missing", from->path, name);
        return NULL;
    }
    if (tensor->rank != rank || memcmp(tensor->shape, wanted, rank * sizeof *wanted)) {
        char is[160], should[64];
        shape_text(tensor->shape, tensor->rank, is, sizeof is);
        shape_text(wanted, rank, should, sizeof should);
        cli_fail("%s: tensor '%s' is %s where config.json asks for %s", from->path, name, is, should);
        return NULL;
    }
    return tensor;
}

/* Up to three tensors with equal columns, one above the other in one buffer. */
typedef struct part {
    const char *name;
    size_t rows;
} part;

static bool load(loader *from, const char *prefix, const part *parts, size_t n_parts, size_t cols, cl_mem *out) {
    char name[160];
    const safetensor *tensors[3];
    size_t count = 0;
    for (size_t i = 0; i < n_parts; i++) {
        snprintf(name, sizeof name, "%s%s.weight", prefix, parts[i].name);
        if (!(tensors[i] = find(from, name, parts[i].rows, cols))) return false;
        count += tensors[i]->count;
    }
    cl_int code;
    *out = clCreateBuffer(rosace_context_cl(from->context), CL_MEM_READ_ONLY, count * sizeof(float), NULL, &code);
    if (!*out)
        return cli_fail_cl(code, "%s: no device memory for '%s' (%zu bytes)", from->path, name, count * sizeof(float));
    float *values = cli_calloc(count, sizeof *values);
    if (!values) return false;
    bool ok = true;
    size_t at = 0;
    for (size_t i = 0; ok && i < n_parts; i++) {
        ok = safetensors_read(from->file, tensors[i], values + at);
        at += tensors[i]->count;
    }
    if (ok) {
        code = clEnqueueWriteBuffer(from->queue, *out, CL_TRUE, 0, count * sizeof *values, values, 0, NULL, NULL);
        if (code) ok = cli_fail_cl(code, "%s: cannot upload '%s'", from->path, name);
    }
    from->parameters += count;
    free(values);
    return ok;
}

static bool load_one(loader *from, const char *prefix, const char *name, size_t rows, size_t cols, cl_mem *out) {
    const part one = {name, rows};
    return load(from, prefix, &one, 1, cols, out);
}

/* Weights of a linear layer, stored [rows, cols], from a buffer. */
static bool make_linear(loader *from, const char *name, cl_mem mem, size_t rows, size_t cols, rosace_matmul_weights **out) {
    const rosace_matrix matrix = {.mem = mem, .rows = rows, .cols = cols};
    return !rosace_matmul_weights_create(from->context, from->queue, ROSACE_F32, &matrix, true, out) ||
           cli_fail_rosace("%s: '%s'", from->path, name);
}

static bool load_linear(loader *from, const char *prefix, const part *parts, size_t n_parts, size_t cols,
                        rosace_matmul_weights **out) {
    size_t rows = 0;
    for (size_t i = 0; i < n_parts; i++)
        rows += parts[i].rows;
    cl_mem mem = NULL;
    const bool ok = load(from, prefix, parts, n_parts, cols, &mem) && make_linear(from, parts[0].name, mem, rows, cols, out);
    if (mem) clReleaseMemObject(mem);
    return ok;
}

static bool load_one_linear(loader *from, const char *prefix, const char *name, size_t rows, size_t cols,
                            rosace_matmul_weights **out) {
    const part one = {name, rows};
    return load_linear(from, prefix, &one, 1, cols, out);
}

static bool load_layer(loader *from, const model_config *config, size_t index, layer_weights *out) {
    char prefix[64];
    const size_t hidden = config->hidden, inner = config->intermediate, dim = config->head_dim;
    const part qkv[] = {{"self_attn.q_proj", config->heads * dim},
                        {"self_attn.k_proj", config->kv_heads * dim},
                        {"self_attn.v_proj", config->kv_heads * dim}};
    snprintf(prefix, sizeof prefix, "model.layers.%zu.", index);
    bool ok = load_one(from, prefix, "input_layernorm", hidden, 0, &out->input_norm) &&
              load_linear(from, prefix, qkv, 3, hidden, &out->qkv) &&
              load_one_linear(from, prefix, "self_attn.o_proj", hidden, config->heads * dim, &out->out) &&
              load_one(from, prefix, "post_attention_layernorm", hidden, 0, &out->post_norm) &&
              load_one_linear(from, prefix, "mlp.gate_proj", inner, hidden, &out->gate) &&
              load_one_linear(from, prefix, "mlp.up_proj", inner, hidden, &out->up) &&
              load_one_linear(from, prefix, "mlp.down_proj", hidden, inner, &out->down);
    if (ok && config->position == POSITION_SHAW) {
        const size_t rows = 2 * (size_t)config->shaw_max_distance + 1;
        ok = load_one(from, prefix, "self_attn.relative_k", rows, dim, &out->shaw_key) &&
             load_one(from, prefix, "self_attn.relative_v", rows, dim, &out->shaw_value);
    }
    return ok;
}

bool weights_load(rosace_context *context, cl_command_queue queue, const char *path, const model_config *config,
                  model_weights *out) {
    safetensors *file;
    memset(out, 0, sizeof *out);
    if (!safetensors_open(path, &file)) return false;
    loader from = {context, queue, path, file, 0};
    bool ok = false;

    char surplus[96];
    snprintf(surplus, sizeof surplus, "model.layers.%zu.input_layernorm.weight", config->layers);
    if (safetensors_find(file, surplus)) {
        cli_fail("%s: has more layers than config.json's num_hidden_layers %zu", path, config->layers);
        goto end;
    }
    if (!(out->layers = cli_calloc(config->layers, sizeof *out->layers))) goto end;
    out->n_layers = config->layers;
    if (!load_one(&from, "", "model.embed_tokens", config->vocab, config->hidden, &out->embedding)) goto end;
    for (size_t i = 0; i < config->layers; i++)
        if (!load_layer(&from, config, i, &out->layers[i])) goto end;
    if (!load_one(&from, "", "model.norm", config->hidden, 0, &out->norm)) goto end;
    if (config->tied) {
        if (!make_linear(&from, "model.embed_tokens", out->embedding, config->vocab, config->hidden, &out->head)) goto end;
    } else if (!load_one_linear(&from, "", "lm_head", config->vocab, config->hidden, &out->head)) {
        goto end;
    }
    out->parameters = from.parameters;
    ok = true;

end:
    safetensors_close(&file);
    return ok;
}

static void release(cl_mem buffer) {
    if (buffer) clReleaseMemObject(buffer);
}

void weights_free(model_weights *weights) {
    release(weights->embedding);
    release(weights->norm);
    rosace_matmul_weights_destroy(&weights->head);
    for (size_t i = 0; i < weights->n_layers; i++) {
        layer_weights *layer = &weights->layers[i];
        release(layer->input_norm);
        release(layer->post_norm);
        rosace_matmul_weights_destroy(&layer->qkv);
        rosace_matmul_weights_destroy(&layer->out);
        rosace_matmul_weights_destroy(&layer->gate);
        rosace_matmul_weights_destroy(&layer->up);
        rosace_matmul_weights_destroy(&layer->down);
        release(layer->shaw_key);
        release(layer->shaw_value);
    }
    free(weights->layers);
    memset(weights, 0, sizeof *weights);
}
