/* SPDX-License-Identifier: MIT
 * gpt-oss: a mixture of experts, sliding layers by turns, a learned sink for each head, YaRN. Weights in plain types; the
 * packed ones (quantization_config) are refused. */
#include "../cli.h"
#include "architecture.h"

static const neutral_key neutral[] = {{"hidden_act", "\"silu\""}, {NULL, NULL}};

static bool read_gpt_oss(const reader *root, model_config *config) {
    config->mlp = MLP_EXPERTS;
    config->mlp_bias = config->sinks = true;
    if (!reader_bool(root, "attention_bias", true, &config->qkv_bias) ||
        !reader_size(root, "num_local_experts", -1, 4096, &config->experts) ||
        !reader_size(root, "num_experts_per_tok", -1, 4096, &config->experts_used) ||
        !reader_float(root, "swiglu_alpha", 1.702, 0.0, &config->expert_alpha) ||
        !reader_float(root, "swiglu_limit", 7.0, 1e-6, &config->expert_limit))
        return false;
    if (config->experts_used > config->experts)
        return cli_fail("%s: num_experts_per_tok %zu is more than num_local_experts %zu", root->path, config->experts_used,
                        config->experts);
    config->out_bias = config->qkv_bias;
    return read_layer_types(root, 2, config) && read_common_rope(root, config);
}

const architecture architecture_gpt_oss = {
    .model_type = "gpt_oss",
    .class_name = "GptOssForCausalLM",
    .keys = LLAMA_KEYS,
    .names = &llama_names,
    .neutral = neutral,
    .read = read_gpt_oss,
};
