#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes models/NAME/, small models of every architecture with random weights, and models.txt, the logits that
transformers gives for them.

    python3 tests/golden/models.py          needs torch, transformers and safetensors; the tests need only the files

A model is one line of MODELS: its class, and the keys of its config.json that are not the usual ones. transformers
writes the folders. Weights are kept in fp16 and all arithmetic is fp32. The format of models.txt is that of make.py.
"""
import pathlib
import shutil

import torch
import transformers
from make import HERE, Golden

BATCH, LENGTH, VOCAB = 2, 13, 40

# Longer than LENGTH / 2 is no window, so that both kinds of layers differ.
SIZES = {"vocab_size": VOCAB, "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 40}
MODERN = {**SIZES, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 64}
SLIDING = {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}

MODELS = {
    "llama": ("LlamaForCausalLM", {**MODERN, "attention_bias": True, "mlp_bias": True, "rope_parameters": {
        "rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16}}),
    "mistral": ("MistralForCausalLM", {**MODERN, "sliding_window": 5}),
    "qwen2": ("Qwen2ForCausalLM", {**MODERN, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1,
                                   "tie_word_embeddings": True}),
    "qwen3": ("Qwen3ForCausalLM", {**MODERN, **SLIDING, "use_sliding_window": True, "head_dim": 24}),
    "gemma2": ("Gemma2ForCausalLM", {**MODERN, "sliding_window": 5, "query_pre_attn_scalar": 20,
                                     "attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0}),
    "gemma3": ("Gemma3ForCausalLM", {**MODERN, **SLIDING, "query_pre_attn_scalar": 20, "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}}}),
    "gpt_neox": ("GPTNeoXForCausalLM", {**SIZES, "max_position_embeddings": 64, "rotary_pct": 0.5}),
    "gpt_neox_sequential": ("GPTNeoXForCausalLM", {
        **SIZES, "max_position_embeddings": 64, "rotary_pct": 0.25, "num_hidden_layers": 1, "use_parallel_residual": False,
        "hidden_act": "gelu_new", "attention_bias": False}),
    "bloom": ("BloomForCausalLM", {"vocab_size": VOCAB, "hidden_size": 48, "n_head": 3, "n_layer": 1}),
    "mpt": ("MptForCausalLM", {"vocab_size": VOCAB, "d_model": 32, "n_heads": 2, "n_layers": 1,
                               "max_seq_len": 64}),
    "gpt_oss": ("GptOssForCausalLM", {
        **MODERN, **SLIDING, "intermediate_size": 24, "num_local_experts": 4, "num_experts_per_tok": 2, "swiglu_limit": 1.5,
        "rope_parameters": {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "beta_fast": 32.0, "beta_slow": 1.0,
                            "truncate": False, "original_max_position_embeddings": 16}}),
    "roformer": ("RoFormerForMaskedLM", {**SIZES, "embedding_size": 32, "max_position_embeddings": 64, "type_vocab_size": 2}),
}


def fill(model):
    """Random weights of a size at which every part of the model shows in the logits; exact in fp16."""
    for name, weight in model.named_parameters():
        if "embed_positions" in name:  # RoFormer's sinusoids
            continue
        module = name.split(".")[-2].lower()
        if ("norm" in module or module == "ln_f") and name.endswith("weight"):
            value = (0 if "Gemma" in type(model).__name__ else 1) + 0.3 * torch.randn(weight.shape)
        elif weight.dim() == 1 or name.endswith("_bias"):
            value = 0.3 * torch.randn(weight.shape)
        else:
            value = 1.5 * torch.randn(weight.shape) / (weight.shape[1] if weight.dim() == 3 else weight.shape[-1]) ** 0.5
        weight.data = value.half().float()
    model.tie_weights()


def main():
    golden = Golden("models.txt", "Logits of the models in models/, by transformers")
    for name, (kind, keys) in MODELS.items():
        torch.manual_seed(1)
        folder = HERE / "models" / name
        shutil.rmtree(folder, ignore_errors=True)
        model_class = getattr(transformers, kind)
        config = model_class.config_class(**keys, attn_implementation="eager")
        model = model_class(config).eval()
        fill(model)
        ids = torch.randint(VOCAB, (BATCH, LENGTH))
        with torch.no_grad():
            logits = model(input_ids=ids).logits
        golden.case(name, batch=BATCH, length=LENGTH, vocab=VOCAB, ids=ids, logits=logits)
        model.half().save_pretrained(folder)
        for extra in set(folder.iterdir()) - {folder / "config.json", folder / "model.safetensors"}:
            extra.unlink()
        weights = sum(p.numel() for p in model.parameters())
        print(f"{name}: {weights} weights, logits {logits.std():.3f}")
    golden.write()


if __name__ == "__main__":
    main()
