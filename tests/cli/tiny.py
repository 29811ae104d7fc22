# SPDX-License-Identifier: MIT
"""Tiny models made on the spot, and the bits per byte they should give, in plain Python: what the tests of the program
stand on. Needs nothing but Python."""

import json
import math
import os
import random
import struct

L = 16  # training length


def config(position="rope", **changes):
    values = {
        "model_type": "llama",
        "position_embedding_type": position,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": L,
        "vocab_size": 256,
        "tie_word_embeddings": False,
    }
    if position == "sinusoidal":
        values["sinusoidal_scale"] = 0.5
    if position == "shaw":
        values["shaw_max_distance"] = 5
    if position == "xpos":
        values["xpos_scale_base"] = 8
    if position == "hwfa":
        values["hwfa_window"] = 12
    values.update(changes)
    return {key: value for key, value in values.items() if value is not None}


def shapes(c):
    width, inner, dim = c["hidden_size"], c["intermediate_size"], c["head_dim"]
    q, kv = c["num_attention_heads"] * dim, c["num_key_value_heads"] * dim
    out = {"model.embed_tokens.weight": [c["vocab_size"], width], "model.norm.weight": [width]}
    if not c["tie_word_embeddings"]:
        out["lm_head.weight"] = [c["vocab_size"], width]
    for layer in range(c["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        out[at + "input_layernorm.weight"] = out[at + "post_attention_layernorm.weight"] = [width]
        out[at + "self_attn.q_proj.weight"] = [q, width]
        out[at + "self_attn.k_proj.weight"] = out[at + "self_attn.v_proj.weight"] = [kv, width]
        out[at + "self_attn.o_proj.weight"] = [width, q]
        out[at + "mlp.gate_proj.weight"] = out[at + "mlp.up_proj.weight"] = [inner, width]
        out[at + "mlp.down_proj.weight"] = [width, inner]
        if c["position_embedding_type"] == "shaw":
            table = [2 * c["shaw_max_distance"] + 1, dim]
            out[at + "self_attn.relative_k.weight"] = out[at + "self_attn.relative_v.weight"] = table
        if c["position_embedding_type"] == "kerple":
            out[at + "self_attn.kerple_r1"] = out[at + "self_attn.kerple_r2"] = [c["num_attention_heads"]]
    return out


def encode(values, dtype):
    if dtype == "F32":
        return struct.pack(f"<{len(values)}f", *values)
    if dtype == "F16":
        return struct.pack(f"<{len(values)}e", *values)
    singles = struct.unpack(f"<{len(values)}I", struct.pack(f"<{len(values)}f", *values))
    return struct.pack(f"<{len(values)}H", *(bits >> 16 for bits in singles))


def decode(data, dtype):
    n = len(data) // (4 if dtype == "F32" else 2)
    if dtype != "BF16":
        return list(struct.unpack(f"<{n}{'f' if dtype == 'F32' else 'e'}", data))
    return list(struct.unpack(f"<{n}f", b"".join(b"\0\0" + data[2 * i : 2 * i + 2] for i in range(n))))


def random_tensors(c, dtype="F32", seed=1):
    """name -> (shape, bytes)"""
    source = random.Random(seed)
    out = {}
    for name, shape in shapes(c).items():
        count = math.prod(shape)
        if name.endswith("norm.weight") or "kerple" in name:
            values = [source.uniform(0.5, 1.5) for _ in range(count)]
        else:
            scale = 1.5 / math.sqrt(shape[-1])
            values = [source.uniform(-scale, scale) for _ in range(count)]
        out[name] = (shape, encode(values, dtype))
    return out


def safetensors(tensors, dtype="F32", edit=None):
    """The bytes of a file; `edit` may change the header (a dictionary) before it is written."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    if edit:
        edit(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"".join(data for _, data in tensors.values())


def write(folder, c, dtype="F32", seed=1, edit=None):
    """A model folder; returns its weights as name -> (shape, list of float)."""
    os.makedirs(folder, exist_ok=True)
    tensors = random_tensors(c, dtype, seed)
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump(c, file)
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(safetensors(tensors, dtype, edit))
    return {name: (shape, decode(data, dtype)) for name, (shape, data) in tensors.items()}


def text(count, seed=3):
    source = random.Random(seed)
    return bytes(source.choice(b"abcdefgh ") for _ in range(count))


# ---- The forward pass of a rope model, one row at a time ----------------------------------------------------------


def times(weight, x):
    (rows, cols), values = weight
    return [sum(values[r * cols + i] * x[i] for i in range(cols)) for r in range(rows)]


def norm(weight, x, eps):
    scale = 1 / math.sqrt(sum(v * v for v in x) / len(x) + eps)
    return [v * scale * w for v, w in zip(x, weight[1])]


def rotate(x, position, frequencies):
    half = len(x) // 2
    out = list(x)
    for i, frequency in enumerate(frequencies):
        cos, sin = math.cos(position * frequency), math.sin(position * frequency)
        out[i], out[i + half] = x[i] * cos - x[i + half] * sin, x[i + half] * cos + x[i] * sin
    return out


def losses(c, weights, ids, targets, frequencies, visible):
    """-log2 p of each target; visible(m, n) says whether query m sees key n."""
    dim, heads, kv_heads = c["head_dim"], c["num_attention_heads"], c["num_key_value_heads"]
    eps, width = c["rms_norm_eps"], c["hidden_size"]
    embedding = weights["model.embed_tokens.weight"][1]
    rows = [embedding[i * width : (i + 1) * width] for i in ids]
    for layer in range(c["num_hidden_layers"]):
        w = {name: weights[f"model.layers.{layer}.{name}.weight"] for name in (
            "input_layernorm", "post_attention_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
            "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")}

        def split(values, turn, m):
            parts = [values[i : i + dim] for i in range(0, len(values), dim)]
            return [rotate(part, m, frequencies) for part in parts] if turn else parts

        normed = [norm(w["input_layernorm"], x, eps) for x in rows]
        q = [split(times(w["self_attn.q_proj"], x), True, m) for m, x in enumerate(normed)]
        k = [split(times(w["self_attn.k_proj"], x), True, m) for m, x in enumerate(normed)]
        v = [split(times(w["self_attn.v_proj"], x), False, m) for m, x in enumerate(normed)]
        for m in range(len(rows)):
            seen, out = [n for n in range(len(rows)) if visible(m, n)], []
            for h in range(heads):
                g = h * kv_heads // heads
                scores = [sum(a * b for a, b in zip(q[m][h], k[n][g])) / math.sqrt(dim) for n in seen]
                shares = [math.exp(s - max(scores)) for s in scores]
                total = sum(shares)
                out += [sum(a * v[n][g][i] for a, n in zip(shares, seen)) / total for i in range(dim)]
            rows[m] = [a + b for a, b in zip(rows[m], times(w["self_attn.o_proj"], out))]
        for m, x in enumerate(rows):
            y = norm(w["post_attention_layernorm"], x, eps)
            gate, up = times(w["mlp.gate_proj"], y), times(w["mlp.up_proj"], y)
            inner = [g / (1 + math.exp(-g)) * u for g, u in zip(gate, up)]
            rows[m] = [a + b for a, b in zip(x, times(w["mlp.down_proj"], inner))]
    head = weights["lm_head.weight" if not c["tie_word_embeddings"] else "model.embed_tokens.weight"]
    out = []
    for x, target in zip(rows, targets):
        logits = times(head, norm(weights["model.norm.weight"], x, eps))
        peak = max(logits)
        out.append((math.log(sum(math.exp(l - peak) for l in logits)) + peak - logits[target]) / math.log(2))
    return out
