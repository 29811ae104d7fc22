/* SPDX-License-Identifier: MIT
 * A language model on an OpenCL device: weights loaded once as fp32, every layer by the library's operations. */
#ifndef ROSACE_CLI_MODEL_H
#define ROSACE_CLI_MODEL_H

#include <rosace/attention.h>

#include "config.h"

typedef struct language_model language_model;

/* The attention of each kind of layers; NULL for a kind that no layer has. */
typedef struct attention_plans {
    rosace_attention_plan *plan[ATTENTION_KINDS];
    rosace_rope_desc rope[ATTENTION_KINDS]; /* with xPos: rotates queries and keys before */
} attention_plans;

/* Loads DIR/config.json and DIR/model.safetensors. The model keeps context and queue (in order) as long as it lives.
 * Says what is wrong and returns false; *out is then NULL. */
bool model_load(rosace_context *context, cl_command_queue queue, const char *folder, language_model **out);
void model_free(language_model **model);

const model_config *model_get_config(const language_model *model);
size_t model_parameters(const language_model *model);

/* Makes room for forward passes of up to `tokens` tokens in all. */
bool model_reserve(language_model *model, size_t tokens);

/* The losses in nats of `batch` rows of `length` tokens: loss[b, s] = -log p(targets[b, s] | ids[b, 0 .. s]), or, for a
 * bidirectional model, given all of ids[b, :]. Waits for the result. */
bool model_losses(language_model *model, const attention_plans *plans, const int32_t *ids, const int32_t *targets,
                  size_t batch, size_t length, float *loss);

/* The same up to the logits [batch, length, vocab]. */
bool model_logits(language_model *model, const attention_plans *plans, const int32_t *ids, size_t batch, size_t length,
                  float *logits);

#endif
