/* SPDX-License-Identifier: MIT */
#include "weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../cli.h"
#include "architecture.h"
#include "safetensors.h"

typedef struct loader {
    rosace_context *context;
    cl_command_queue queue;
    const char *path;
    const safetensors *file;
    const model_config *config;
    const tensor_names *names;
    bool *used; /* of the file's tensors */
    char layer[64]; /* "model.layers.0" */
    size_t parameters;
} loader;

/* ---- Tensors of the file ----------------------------------------------------------------------------------------- */

/* "[128, 64]" */
static void shape_text(const size_t *shape, size_t rank, char *out, size_t bytes) {
    size_t used = (size_t)snprintf(out, bytes, "[");
    for (size_t i = 0; i < rank && used < bytes; i++)
        used += (size_t)snprintf(out + used, bytes - used, "%s%zu", i ? ", " : "", shape[i]);
    if (used < bytes) snprintf(out + used, bytes - used, "]");
}

/* The elements of a tensor of the shape that the configuration asks for; trailing zeros of `wanted` are no axes. Freed by the
 * caller; NULL after saying why. */
static float *fetch(loader *from, const char *name, const size_t wanted[3]) {
    const safetensor *tensor = safetensors_find(from->file, name);
    const size_t rank = wanted[2] ? 3 : wanted[1] ? 2 : 1;
    if (!tensor) {
        cli_fail("%s: tensor '%s' is missing", from->path, name);
        return NULL;
    }
    if (tensor->rank != rank || memcmp(tensor->shape, wanted, rank * sizeof *wanted)) {
        char is[160], should[80];
        shape_text(tensor->shape, tensor->rank, is, sizeof is);
        shape_text(wanted, rank, should, sizeof should);
        cli_fail("%s: tensor '%s' is %s where config.json asks for %s", from->path, name, is, should);
        return NULL;
    }
    float *values = cli_calloc(tensor->count, sizeof *values);
    if (values && !safetensors_read(from->file, tensor, values)) {
        free(values);
        return NULL;
    }
    from->used[tensor - safetensors_at(from->file, 0)] = true;
    from->parameters += tensor->count;
    return values;
}

/* "<layer><name><suffix>"; names of a layer begin with a dot. */
static void full_name(const loader *from, const char *name, const char *suffix, char *out, size_t bytes) {
    snprintf(out, bytes, "%s%s%s", name[0] == '.' ? from->layer : "", name, suffix);
}

static float *fetch_named(loader *from, const char *name, const char *suffix, size_t rows, size_t cols) {
    char full[200];
    full_name(from, name, suffix, full, sizeof full);
    return fetch(from, full, (const size_t[3]){rows, cols, 0});
}

/* ---- Buffers ----------------------------------------------------------------------------------------------------- */

static bool upload(loader *from, const char *name, const float *values, size_t count, cl_mem *out) {
    cl_int code;
    *out = clCreateBuffer(rosace_context_cl(from->context), CL_MEM_READ_ONLY, count * sizeof(float), NULL, &code);
    if (!*out)
        return cli_fail_cl(code, "%s: no device memory for '%s' (%zu bytes)", from->path, name, count * sizeof(float));
    code = clEnqueueWriteBuffer(from->queue, *out, CL_TRUE, 0, count * sizeof *values, values, 0, NULL, NULL);
    return !code || cli_fail_cl(code, "%s: cannot upload '%s'", from->path, name);
}

static bool load(loader *from, const char *name, const char *suffix, size_t rows, size_t cols, cl_mem *out) {
    float *values = fetch_named(from, name, suffix, rows, cols);
    const bool ok = values && upload(from, name, values, rows * (cols ? cols : 1), out);
    free(values);
    return ok;
}

/* Norms of RMS kind may have weights that are added to 1. */
static bool load_norm(loader *from, const char *name, size_t width, norm_weights *out) {
    if (!name) return true;
    float *values = fetch_named(from, name, ".weight", width, 0);
    if (!values) return false;
    for (size_t i = 0; from->config->norm_one_plus && i < width; i++)
        values[i] += 1.0f;
    const bool ok = upload(from, name, values, width, &out->weight) &&
                    (!from->config->norm_bias || load(from, name, ".bias", width, 0, &out->bias));
    free(values);
    return ok;
}

static bool make_matrix(loader *from, const char *name, cl_mem mem, size_t rows, size_t cols, linear_weights *out) {
    const rosace_matrix matrix = {.mem = mem, .rows = rows, .cols = cols};
    out->rows = rows;
    out->cols = cols;
    return !rosace_matmul_weights_create(from->context, from->queue, ROSACE_F32, &matrix, true, &out->matrix) ||
           cli_fail_rosace("%s: '%s'", from->path, name);
}

/* From host arrays, matrix [rows, cols] and bias [rows], either NULL when it could not be had; frees both. */
static bool make_linear(loader *from, const char *name, float *matrix, float *bias, bool has_bias, size_t rows, size_t cols,
                        linear_weights *out) {
    cl_mem mem = NULL;
    const bool ok = matrix && (bias || !has_bias) && upload(from, name, matrix, rows * cols, &mem) &&
                    make_matrix(from, name, mem, rows, cols, out) && (!bias || upload(from, name, bias, rows, &out->bias));
    if (mem) clReleaseMemObject(mem);
    free(matrix);
    free(bias);
    return ok;
}

static bool load_linear(loader *from, const char *name, size_t rows, size_t cols, bool has_bias, linear_weights *out) {
    if (!name) return true;
    float *matrix = fetch_named(from, name, ".weight", rows, cols);
    float *bias = matrix && has_bias ? fetch_named(from, name, ".bias", rows, 0) : NULL;
    return make_linear(from, name, matrix, bias, has_bias, rows, cols, out);
}

/* ---- Queries, keys and values ------------------------------------------------------------------------------------ */

/* [heads, 3, dim, cols] -> [3, heads, dim, cols] */
static float *part_heads(float *values, size_t heads, size_t dim, size_t cols) {
    float *out = values ? cli_calloc(3 * heads * dim * cols, sizeof *out) : NULL;
    for (size_t h = 0; out && h < heads; h++)
        for (size_t part = 0; part < 3; part++)
            memcpy(out + (part * heads + h) * dim * cols, values + (h * 3 + part) * dim * cols, dim * cols * sizeof *out);
    free(values);
    return out;
}

/* Three tensors above each other. */
static float *stack(loader *from, const char *suffix, size_t cols) {
    const model_config *c = from->config;
    const char *const names[] = {from->names->q, from->names->k, from->names->v};
    const size_t rows[] = {c->heads * c->head_dim, c->kv_heads * c->head_dim, c->kv_heads * c->head_dim};
    const size_t width = cols ? cols : 1;
    float *out = cli_calloc((rows[0] + rows[1] + rows[2]) * width, sizeof *out);
    size_t at = 0;
    for (size_t i = 0; out && i < 3; i++) {
        float *part = fetch_named(from, names[i], suffix, rows[i], cols);
        if (!part) {
            free(out);
            return NULL;
        }
        memcpy(out + at, part, rows[i] * width * sizeof *out);
        at += rows[i] * width;
        free(part);
    }
    return out;
}

static float *fetch_qkv(loader *from, const char *suffix, size_t cols) {
    const model_config *c = from->config;
    if (!from->names->qkv) return stack(from, suffix, cols);
    float *values = fetch_named(from, from->names->qkv, suffix, 3 * c->heads * c->head_dim, cols);
    return from->names->qkv_by_head ? part_heads(values, c->heads, c->head_dim, cols ? cols : 1) : values;
}

/* r1 of every head, then r2 */
static bool load_kerple(loader *from, cl_mem *out) {
    const size_t heads = from->config->heads;
    float *r1 = fetch_named(from, ".self_attn.kerple_r1", "", heads, 0);
    float *r2 = r1 ? fetch_named(from, ".self_attn.kerple_r2", "", heads, 0) : NULL;
    float *both = r2 ? cli_calloc(2 * heads, sizeof *both) : NULL;
    if (both) {
        memcpy(both, r1, heads * sizeof *both);
        memcpy(both + heads, r2, heads * sizeof *both);
    }
    const bool ok = both && upload(from, "kerple", both, 2 * heads, out);
    free(r1);
    free(r2);
    free(both);
    return ok;
}

static bool load_attention(loader *from, layer_weights *out) {
    const model_config *c = from->config;
    const tensor_names *n = from->names;
    const size_t dim = c->head_dim, rows = (c->heads + 2 * c->kv_heads) * dim;
    float *matrix = fetch_qkv(from, ".weight", c->hidden);
    float *bias = matrix && c->qkv_bias ? fetch_qkv(from, ".bias", 0) : NULL;
    if (!make_linear(from, n->qkv ? n->qkv : n->q, matrix, bias, c->qkv_bias, rows, c->hidden, &out->qkv) ||
        !load_linear(from, n->out, c->hidden, c->heads * dim, c->out_bias, &out->out))
        return false;
    if (c->qk_norm) {
        norm_weights q = {NULL, NULL}, k = {NULL, NULL};
        const bool ok = load_norm(from, n->q_norm, dim, &q) && load_norm(from, n->k_norm, dim, &k);
        out->q_norm = q.weight;
        out->k_norm = k.weight;
        if (!ok) return false;
    }
    if (c->sinks && !load(from, ".self_attn.sinks", "", c->heads, 0, &out->sinks)) return false;
    if (c->position == POSITION_SHAW) {
        const size_t distances = 2 * (size_t)c->shaw_max_distance + 1;
        return load(from, ".self_attn.relative_k", ".weight", distances, dim, &out->shaw_key) &&
               load(from, ".self_attn.relative_v", ".weight", distances, dim, &out->shaw_value);
    }
    return c->position != POSITION_KERPLE || load_kerple(from, &out->bias_params);
}

/* ---- Experts: gpt-oss keeps those of a layer in one tensor, inputs before outputs, gate and up by turns ------------- */

/* Every second column of an expert's [inner, 2 outer], or every one of [inner, outer], as rows. */
static float *columns(const float *values, size_t inner, size_t outer, size_t first, size_t step) {
    float *out = cli_calloc(inner * outer, sizeof *out);
    for (size_t r = 0; out && r < outer; r++)
        for (size_t c = 0; c < inner; c++)
            out[r * inner + c] = values[c * outer * step + r * step + first];
    return out;
}

static bool load_experts(loader *from, layer_weights *out) {
    const model_config *c = from->config;
    const size_t n = c->experts, hidden = c->hidden, inner = c->intermediate;
    const struct {
        const char *name;
        size_t shape[3];
    } parts[] = {
        {".mlp.experts.gate_up_proj", {n, hidden, 2 * inner}},
        {".mlp.experts.gate_up_proj_bias", {n, 2 * inner, 0}},
        {".mlp.experts.down_proj", {n, inner, hidden}},
        {".mlp.experts.down_proj_bias", {n, hidden, 0}},
    };
    float *values[4] = {NULL};
    bool ok = load_linear(from, ".mlp.router", n, hidden, true, &out->router);
    for (size_t i = 0; ok && i < 4; i++) {
        char full[200];
        full_name(from, parts[i].name, "", full, sizeof full);
        ok = (values[i] = fetch(from, full, parts[i].shape)) != NULL;
    }
    ok = ok && (out->experts = cli_calloc(n, sizeof *out->experts));
    for (size_t e = 0; ok && e < n; e++) {
        const float *both = values[0] + e * hidden * 2 * inner, *both_bias = values[1] + e * 2 * inner;
        const float *down = values[2] + e * inner * hidden, *down_bias = values[3] + e * hidden;
        expert_weights *expert = &out->experts[e];
        ok = make_linear(from, parts[0].name, columns(both, hidden, inner, 0, 2), columns(both_bias, 1, inner, 0, 2), true, inner,
                         hidden, &expert->gate) &&
             make_linear(from, parts[0].name, columns(both, hidden, inner, 1, 2), columns(both_bias, 1, inner, 1, 2), true, inner,
                         hidden, &expert->up) &&
             make_linear(from, parts[2].name, columns(down, inner, hidden, 0, 1), columns(down_bias, 1, hidden, 0, 1), true,
                         hidden, inner, &expert->down);
    }
    for (size_t i = 0; i < 4; i++)
        free(values[i]);
    return ok;
}

/* ---- The whole file ---------------------------------------------------------------------------------------------- */

static bool load_layer(loader *from, size_t index, layer_weights *out) {
    const model_config *c = from->config;
    const tensor_names *n = from->names;
    snprintf(from->layer, sizeof from->layer, "%s%zu", n->layer, index);
    if (!load_norm(from, n->attention_norm, c->hidden, &out->attention_norm) || !load_attention(from, out) ||
        !load_norm(from, n->mlp_norm, c->hidden, &out->mlp_norm))
        return false;
    if (c->post_norms && (!load_norm(from, n->attention_post_norm, c->hidden, &out->attention_post_norm) ||
                          !load_norm(from, n->mlp_post_norm, c->hidden, &out->mlp_post_norm)))
        return false;
    if (c->mlp == MLP_EXPERTS) return load_experts(from, out);
    return (c->mlp != MLP_GATED || load_linear(from, n->gate, c->intermediate, c->hidden, c->mlp_bias, &out->gate)) &&
           load_linear(from, n->up, c->intermediate, c->hidden, c->mlp_bias, &out->up) &&
           load_linear(from, n->down, c->hidden, c->intermediate, c->mlp_bias, &out->down);
}

static bool load_embedding(loader *from, model_weights *out) {
    const model_config *c = from->config;
    const tensor_names *n = from->names;
    if (!load(from, n->embedding, ".weight", c->vocab, c->hidden, &out->embedding) ||
        !load_norm(from, n->embedding_norm, c->hidden, &out->embedding_norm))
        return false;
    if (!n->token_types) return true;
    char name[160];
    snprintf(name, sizeof name, "%s.weight", n->token_types);
    const safetensor *types = safetensors_find(from->file, name);
    float *values = fetch_named(from, n->token_types, ".weight", types && types->rank ? types->shape[0] : 1, c->hidden);
    const bool ok = values && upload(from, name, values, c->hidden, &out->token_type);
    free(values);
    return ok;
}

static bool load_head(loader *from, model_weights *out) {
    const model_config *c = from->config;
    const tensor_names *n = from->names;
    if (!load_norm(from, n->norm, c->hidden, &out->norm) ||
        !load_linear(from, n->head_transform, c->hidden, c->hidden, true, &out->head_transform) ||
        !load_norm(from, n->head_norm, c->hidden, &out->head_norm))
        return false;
    const bool ok = c->tied ? make_matrix(from, n->embedding, out->embedding, c->vocab, c->hidden, &out->head)
                            : load_linear(from, n->head, c->vocab, c->hidden, false, &out->head);
    return ok && (!n->head_bias || load(from, n->head_bias, "", c->vocab, 0, &out->head.bias));
}

/* A tensor of a layer that nothing above has read is a part of the model that would be left out; buffers of positions and
 * masks, which older files hold, are not. */
static bool check_all_used(const loader *from) {
    static const char *const harmless[] = {".rotary_emb.inv_freq", ".attention.bias", ".attention.masked_bias"};
    const size_t prefix = strlen(from->names->layer);
    for (size_t i = 0; i < safetensors_count(from->file); i++) {
        const char *name = safetensors_at(from->file, i)->name;
        bool known = from->used[i] || strncmp(name, from->names->layer, prefix);
        for (size_t h = 0; !known && h < sizeof harmless / sizeof *harmless; h++) {
            const size_t end = strlen(harmless[h]), bytes = strlen(name);
            known = bytes > end && !strcmp(name + bytes - end, harmless[h]);
        }
        if (!known)
            return cli_fail("%s: tensor '%s' has no place in a model of model_type %s with this config.json", from->path, name,
                            from->config->architecture->model_type);
    }
    return true;
}

bool weights_load(rosace_context *context, cl_command_queue queue, const char *path, const model_config *config,
                  model_weights *out) {
    safetensors *file;
    memset(out, 0, sizeof *out);
    if (!safetensors_open(path, &file)) return false;
    loader from = {.context = context, .queue = queue, .path = path, .file = file, .config = config,
                   .names = config->architecture->names};
    bool ok = false;

    char surplus[160];
    snprintf(from.layer, sizeof from.layer, "%s%zu", from.names->layer, config->layers);
    full_name(&from, from.names->attention_norm, ".weight", surplus, sizeof surplus);
    if (safetensors_find(file, surplus)) {
        cli_fail("%s: has more layers than config.json's %s %zu", path, config->architecture->keys.layers, config->layers);
        goto end;
    }
    if (!(from.used = cli_calloc(safetensors_count(file) + 1, sizeof *from.used))) goto end;
    if (!(out->layers = cli_calloc(config->layers, sizeof *out->layers))) goto end;
    out->n_layers = config->layers;
    out->n_experts = config->experts;
    if (!load_embedding(&from, out)) goto end;
    for (size_t i = 0; i < config->layers; i++)
        if (!load_layer(&from, i, &out->layers[i])) goto end;
    if (!load_head(&from, out) || !check_all_used(&from)) goto end;
    out->parameters = from.parameters;
    ok = true;

end:
    free(from.used);
    safetensors_close(&file);
    return ok;
}

/* ---- Freeing ----------------------------------------------------------------------------------------------------- */

static void release(cl_mem buffer) {
    if (buffer) clReleaseMemObject(buffer);
}

static void release_norm(norm_weights *norm) {
    release(norm->weight);
    release(norm->bias);
}

static void release_linear(linear_weights *linear) {
    rosace_matmul_weights_destroy(&linear->matrix);
    release(linear->bias);
}

static void release_layer(layer_weights *layer, size_t n_experts) {
    norm_weights *const norms[] = {&layer->attention_norm, &layer->attention_post_norm, &layer->mlp_norm, &layer->mlp_post_norm};
    linear_weights *const linears[] = {&layer->qkv, &layer->out, &layer->gate, &layer->up, &layer->down, &layer->router};
    cl_mem const buffers[] = {layer->q_norm,   layer->k_norm,     layer->sinks,
                              layer->shaw_key, layer->shaw_value, layer->bias_params};
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++)
        release_norm(norms[i]);
    for (size_t i = 0; i < sizeof linears / sizeof *linears; i++)
        release_linear(linears[i]);
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++)
        release(buffers[i]);
    for (size_t e = 0; layer->experts && e < n_experts; e++) {
        release_linear(&layer->experts[e].gate);
        release_linear(&layer->experts[e].up);
        release_linear(&layer->experts[e].down);
    }
    free(layer->experts);
}

void weights_free(model_weights *weights) {
    release(weights->embedding);
    release(weights->token_type);
    release_norm(&weights->embedding_norm);
    release_norm(&weights->norm);
    release_norm(&weights->head_norm);
    release_linear(&weights->head_transform);
    release_linear(&weights->head);
    for (size_t i = 0; i < weights->n_layers; i++)
        release_layer(&weights->layers[i], weights->n_experts);
    free(weights->layers);
    memset(weights, 0, sizeof *weights);
}
