/* SPDX-License-Identifier: MIT
 * One layer: attention and mlp, in the order and with the norms that the configuration says. */
#include <rosace/matmul.h>

#include "../cli.h"
#include "state.h"

bool model_linear(language_model *model, const char *what, const linear_weights *weights, cl_mem in, size_t in_row, cl_mem out,
                  size_t out_row, size_t rows) {
    rosace_matmul_args args = ROSACE_MATMUL_ARGS_DEFAULT;
    args.a = (rosace_matrix){.mem = in, .offset = in_row * weights->cols, .rows = rows, .cols = weights->cols};
    args.c = (rosace_matrix){.mem = out, .offset = out_row * weights->rows, .rows = rows, .cols = weights->rows};
    args.weights = weights->matrix;
    if (rosace_matmul(model->context, model->queue, &args, 0, NULL, NULL)) return cli_fail_rosace("%s", what);
    if (!weights->bias) return true;
    return !rosace_add_bias(model->context, model->queue, model_array(out, args.c.offset), model_array(weights->bias, 0), rows,
                            weights->rows, 0, NULL, NULL) ||
           cli_fail_rosace("%s: bias", what);
}

bool model_norm(language_model *model, const norm_weights *weights, cl_mem in, cl_mem out, size_t rows) {
    const model_config *c = &model->config;
    const rosace_array from = model_array(in, 0), to = model_array(out, 0), weight = model_array(weights->weight, 0);
    const rosace_status status =
        c->layer_norm ? rosace_layernorm(model->context, model->queue, from, weight, model_array(weights->bias, 0), to, rows,
                                         c->hidden, c->eps, 0, NULL, NULL)
                      : rosace_rmsnorm(model->context, model->queue, from, weight, to, rows, c->hidden, c->eps, 0, NULL, NULL);
    return !status || cli_fail_rosace("norm");
}

static bool add(language_model *model, cl_mem x, cl_mem y, size_t rows) {
    return !rosace_add(model->context, model->queue, model_array(x, 0), model_array(y, 0), rows * model->config.hidden, 0, NULL,
                       NULL) ||
           cli_fail_rosace("residual");
}

/* ---- Attention --------------------------------------------------------------------------------------------------- */

/* Heads `first` .. `first + heads` of the packed queries, keys and values. */
static rosace_tensor packed_heads(const language_model *model, size_t batch, size_t length, size_t first, size_t heads) {
    const size_t dim = model->config.head_dim, width = (model->config.heads + 2 * model->config.kv_heads) * dim;
    rosace_tensor tensor = rosace_tensor_bshd(model->qkv, ROSACE_F32, batch, length, heads, dim);
    tensor.offset = first * dim;
    tensor.stride[0] = (ptrdiff_t)(length * width);
    tensor.stride[1] = (ptrdiff_t)width;
    return tensor;
}

static bool norm_heads(language_model *model, const rosace_tensor *heads, cl_mem weight) {
    return !weight ||
           !rosace_rmsnorm_heads(model->context, model->queue, heads, model_array(weight, 0), model->config.eps, 0, NULL, NULL) ||
           cli_fail_rosace("norm of queries and keys");
}

/* y -> z, both [batch * length, ...] */
static bool attend(language_model *model, const attention_plans *plans, size_t kind, const layer_weights *layer, size_t batch,
                   size_t length) {
    const model_config *c = &model->config;
    rosace_attention_args args = ROSACE_ATTENTION_ARGS_DEFAULT;
    args.q = packed_heads(model, batch, length, 0, c->heads);
    args.k = packed_heads(model, batch, length, c->heads, c->kv_heads);
    args.v = packed_heads(model, batch, length, c->heads + c->kv_heads, c->kv_heads);
    args.out = rosace_tensor_bshd(model->z, ROSACE_F32, batch, length, c->heads, c->head_dim);
    args.bias_params = layer->bias_params ? layer->bias_params : model->bias_params;
    args.sink_logits = layer->sinks;
    args.shaw_key = layer->shaw_key;
    args.shaw_value = layer->shaw_value;
    if (!norm_heads(model, &args.q, layer->q_norm) || !norm_heads(model, &args.k, layer->k_norm)) return false;
    if (plans->rope[kind].struct_size) {
        rosace_rope_args rotation = ROSACE_ROPE_ARGS_DEFAULT;
        rotation.q = &args.q;
        rotation.k = &args.k;
        if (rosace_rope(model->context, model->queue, &plans->rope[kind], &rotation, 0, NULL, NULL))
            return cli_fail_rosace("rotation");
    }
    return !rosace_attention_enqueue(plans->plan[kind], model->queue, &args, 0, NULL, NULL) || cli_fail_rosace("attention");
}

/* in -> y, over qkv and z */
static bool attention(language_model *model, const attention_plans *plans, size_t index, cl_mem in, size_t batch,
                      size_t length) {
    const layer_weights *layer = &model->weights.layers[index];
    const size_t rows = batch * length;
    return model_linear(model, "query, key and value projection", &layer->qkv, in, 0, model->qkv, 0, rows) &&
           attend(model, plans, model->config.kind_of[index], layer, batch, length) &&
           model_linear(model, "output projection", &layer->out, model->z, 0, model->y, 0, rows);
}

/* ---- MLP --------------------------------------------------------------------------------------------------------- */

static bool activate(language_model *model, size_t count) {
    const model_config *c = &model->config;
    const rosace_array gate = model_array(model->gate, 0), up = model_array(model->up, 0);
    const rosace_status status =
        c->mlp == MLP_PLAIN
            ? rosace_activate(model->context, model->queue, c->activation, up, gate, count, 0, NULL, NULL)
            : c->activation == ROSACE_ACTIVATION_SILU
                  ? rosace_swiglu(model->context, model->queue, gate, up, gate, count, 0, NULL, NULL)
                  : rosace_gated(model->context, model->queue, c->activation, gate, up, gate, count, 0, NULL, NULL);
    return !status || cli_fail_rosace("activation");
}

static bool mlp(language_model *model, const layer_weights *layer, cl_mem in, cl_mem out, size_t rows) {
    const model_config *c = &model->config;
    if (c->mlp == MLP_EXPERTS) return model_experts(model, layer, in, out, rows);
    for (size_t row = 0; row < rows; row += model->mlp_rows) {
        const size_t n = rows - row < model->mlp_rows ? rows - row : model->mlp_rows;
        if ((c->mlp == MLP_GATED && !model_linear(model, "gate projection", &layer->gate, in, row, model->gate, 0, n)) ||
            !model_linear(model, "up projection", &layer->up, in, row, model->up, 0, n) ||
            !activate(model, n * c->intermediate) ||
            !model_linear(model, "down projection", &layer->down, model->gate, 0, out, row, n))
            return false;
    }
    return true;
}

/* ---- The layer --------------------------------------------------------------------------------------------------- */

static bool post_norm(language_model *model, const norm_weights *weights, cl_mem x, size_t rows) {
    return !weights->weight || model_norm(model, weights, x, x, rows);
}

bool model_layer(language_model *model, const attention_plans *plans, size_t index, size_t batch, size_t length) {
    const layer_weights *layer = &model->weights.layers[index];
    const size_t rows = batch * length;
    cl_mem x = model->x, y = model->y, z = model->z;
    switch (model->config.block) {
    case BLOCK_SEQUENTIAL:
        return model_norm(model, &layer->attention_norm, x, y, rows) && attention(model, plans, index, y, batch, length) &&
               post_norm(model, &layer->attention_post_norm, y, rows) && add(model, x, y, rows) &&
               model_norm(model, &layer->mlp_norm, x, y, rows) && mlp(model, layer, y, z, rows) &&
               post_norm(model, &layer->mlp_post_norm, z, rows) && add(model, x, z, rows);
    case BLOCK_PARALLEL: /* attention leaves z free, and the mlp reads what x was */
        return model_norm(model, &layer->attention_norm, x, y, rows) && attention(model, plans, index, y, batch, length) &&
               model_norm(model, &layer->mlp_norm, x, z, rows) && add(model, x, y, rows) && mlp(model, layer, z, y, rows) &&
               add(model, x, y, rows);
    case BLOCK_POST_NORM:
        return attention(model, plans, index, x, batch, length) && add(model, x, y, rows) &&
               model_norm(model, &layer->attention_norm, x, x, rows) && mlp(model, layer, x, z, rows) &&
               add(model, x, z, rows) && model_norm(model, &layer->mlp_norm, x, x, rows);
    }
    return cli_fail("unknown kind of block %d", (int)model->config.block);
}
