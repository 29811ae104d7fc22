#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes rope_frequencies.h beside this file: frequencies and attention factors as the transformers library has them.

Made with transformers 4.x or newer and torch:  python3 rope_frequencies.py
"""
import pathlib

import torch
import transformers
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

DIM, THETA, LENGTH = 32, 500000.0, 8192
YARN = dict(factor=8.0, original_max_position_embeddings=LENGTH)
LLAMA3 = dict(factor=8.0, original_max_position_embeddings=LENGTH, low_freq_factor=1.0, high_freq_factor=4.0)
CASES = [  # type, theta, its parameters, the length now
    ("linear", THETA, dict(factor=4.0), None),
    ("dynamic", THETA, dict(factor=2.0), 8192),
    ("dynamic", THETA, dict(factor=2.0), 20000),
    ("yarn", THETA, YARN, None),
    ("yarn", 10000.0, YARN, None),
    ("yarn", THETA, dict(YARN, truncate=False), None),
    ("yarn", THETA, dict(YARN, beta_fast=16.0, beta_slow=2.0), None),
    ("yarn", THETA, dict(YARN, attention_factor=1.5), None),
    ("yarn", THETA, dict(YARN, mscale=0.707, mscale_all_dim=1.2), None),
    ("yarn", THETA, dict(YARN, mscale=0.707), None),
    ("llama3", THETA, LLAMA3, None),
    ("llama3", 10000.0, dict(LLAMA3, high_freq_factor=8.0), None),
]

rows = []
for kind, theta, parameters, now in CASES:
    config = LlamaConfig(
        hidden_size=4 * DIM, num_attention_heads=4, head_dim=DIM,
        max_position_embeddings=LENGTH if kind == "dynamic" else 16 * LENGTH,
        rope_parameters=dict(rope_type=kind, rope_theta=theta, **parameters))
    frequencies, attention = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=now)
    get = parameters.get
    fields = [f".kind = ROSACE_ROPE_SCALING_{kind.upper()}", f".factor = {get('factor')}"]
    if kind != "linear":
        fields.append(f".original_max_position = {LENGTH}")
    if now:
        fields.append(f".seq_len = {now}")
    if kind == "yarn":
        fields += [f".beta_fast = {get('beta_fast', 32.0)}", f".beta_slow = {get('beta_slow', 1.0)}"]
        fields += [f".{name} = {get(name)}" for name in ("attention_factor", "mscale", "mscale_all_dim") if get(name)]
        if not get("truncate", True):
            fields.append(".no_truncate = true")
    if kind == "llama3":
        fields += [f".low_freq_factor = {get('low_freq_factor')}", f".high_freq_factor = {get('high_freq_factor')}"]
    values = [f"{f:.9g}" for f in frequencies.tolist()]
    lines = [", ".join(values[i:i + 6]) for i in range(0, len(values), 6)]
    rows.append(f"    {{{theta}, {attention!r},\n     {{{', '.join(fields)}}},\n     {{" + ",\n      ".join(lines) + "}},")

pathlib.Path(__file__).with_suffix(".h").write_text(f"""/* SPDX-License-Identifier: MIT
 * Made by rope_frequencies.py with transformers {transformers.__version__}; its arithmetic is fp32. */
/* clang-format off */
#include <rosace/rope.h>

enum {{ GOLDEN_ROPE_DIM = {DIM} }};
static const struct golden_rope_case {{
    double theta, attention_factor;
    rosace_rope_scaling scaling;
    double frequencies[GOLDEN_ROPE_DIM / 2];
}} golden_rope[] = {{
""" + "\n".join(rows) + "\n};\n")
