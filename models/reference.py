#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bits per byte of the demonstration models under every position system, in plain torch, float32.

    reference.py                            # every model, system and length: a table on the standard output
    reference.py --json golden.json         # the same, and the figures with 8 digits
    reference.py --model rope --system plain --system yarn --length 256

It shares no code with train.py: scores are formed in the open and the formulas are written as in their papers.

The protocol. The text has T bytes. Of the lengths N to evaluate the largest is Nmax. Window i of `windows` ends
before byte e_i = Nmax + 1 + floor(i (T - Nmax - 1) / (windows - 1)), whatever the length, so that all lengths
predict the same last bytes: the inputs are text[e_i-1-N .. e_i-2], the targets text[e_i-N .. e_i-1]. Reported
are the mean over all positions of all windows and the mean over the last 64 positions of all windows.

m is the position of a query, n of a key, both from 0; L is the training length, d the size of a head.
"""

import argparse
import json
import math
import os
import sys
import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

LENGTHS = [128, 144, 160, 192, 256, 512, 1024, 2048]
WINDOWS = 16
LAST = 64
ROWS = 128  # queries of one block of scores
TOKENS = 4096  # tokens of one forward pass, or one window


@dataclass(frozen=True)
class System:
    """What evaluation changes over the model as trained."""

    name: str
    window_left: int | None = None  # key n is visible iff 0 <= m - n <= window_left
    sinks: int = 0  # and the first keys, if they are not in the future
    block: int | None = None  # blockwise causal: the query's own block, causally, and the whole block before
    rerope: int | None = None  # relative position min(m - n, rerope); beside window+sinks it bounds that of the sinks
    leak: int | None = None  # with rerope: relative position rerope + (m - n - rerope) / leak from there on
    scaling: str | None = None  # pi, ntk or yarn, by the factor s = max(1, N / L)
    logn: bool = False  # q times max(1, log(m + 1) / log(L))

    @property
    def parameters(self):
        keys = ("window_left", "sinks", "block", "rerope", "leak")
        return {key: getattr(self, key) for key in keys if getattr(self, key)}

    @property
    def label(self):
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.parameters.items())])


PLAIN = [
    System("plain"),
    System("window", window_left=127),
    System("window", window_left=63),
]
SYSTEMS = {
    "rope": [
        *PLAIN,
        System("window+sinks", window_left=127, sinks=4),
        System("window+sinks", window_left=63, sinks=4),
        System("window+sinks+rerope", window_left=127, sinks=4, rerope=127),
        System("bca", block=64),
        System("rerope", rerope=96),
        System("leaky-rerope", rerope=96, leak=16),
        System("pi", scaling="pi"),
        System("ntk", scaling="ntk"),
        System("yarn", scaling="yarn"),
        System("logn", logn=True),
        System("window+logn", window_left=127, logn=True),
    ],
    "alibi": PLAIN,
    "sinusoidal": PLAIN,
    "shaw": PLAIN,
}


# ---- rotary frequencies -----------------------------------------------------------------------------------


def yarn_frequencies(frequency, dim, base, factor, length, beta_fast=32, beta_slow=1):
    """Peng et al. 2023, as transformers computes it (truncate=True)."""

    def pair_that_turns(rotations):
        return dim * math.log(length / (rotations * 2 * math.pi)) / (2 * math.log(base))

    low = max(math.floor(pair_that_turns(beta_fast)), 0)
    high = min(math.ceil(pair_that_turns(beta_slow)), dim - 1)
    span = high - low if high != low else 0.001
    ramp = ((torch.arange(dim // 2, dtype=torch.float64) - low) / span).clamp(0, 1)
    return frequency / factor * ramp + frequency * (1 - ramp)


def rotary(model, system, length):
    """Frequencies [d/2], the factor on the positions and the factor on cos and sin, for this length."""
    dim, base, trained = model.head_dim, model.rope_theta, model.trained
    s = max(1.0, length / trained)
    if system.scaling == "ntk":
        base *= s ** (dim / (dim - 2))
    frequency = base ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
    if system.scaling == "yarn":
        return yarn_frequencies(frequency, dim, base, s, trained), 1.0, 0.1 * math.log(s) + 1
    return frequency, 1 / s if system.scaling == "pi" else 1.0, 1.0


def rotate(x, position, frequency, factor):
    """Half-split pairs (x_i, x_{i+d/2}) turned by position * frequency_i; angles in float64."""
    angle = position.double()[:, None] * frequency
    cos, sin = (angle.cos() * factor).float(), (angle.sin() * factor).float()
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


# ---- model ------------------------------------------------------------------------------------------------


class Model:
    def __init__(self, folder):
        with open(os.path.join(folder, "config.json")) as file:
            config = json.load(file)
        self.position = config["position_embedding_type"]
        self.heads = config["num_attention_heads"]
        self.head_dim = config["head_dim"]
        self.layers = config["num_hidden_layers"]
        self.eps = config["rms_norm_eps"]
        self.rope_theta = config["rope_theta"]
        self.trained = config["max_position_embeddings"]
        self.sinusoidal_scale = config.get("sinusoidal_scale")
        self.shaw_max_distance = config.get("shaw_max_distance")
        weights = load_file(os.path.join(folder, "model.safetensors"))
        self.weights = {name: value.float() for name, value in weights.items()}

    def norm(self, x, name):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weights[name + ".weight"]

    def linear(self, x, name):
        return x @ self.weights[name + ".weight"].T

    def sinusoids(self, length):
        """p[k, 2t] = sin(k / 10000^(2t/D)), p[k, 2t+1] = cos(the same), D the width of the model."""
        width = self.heads * self.head_dim
        k = torch.arange(length, dtype=torch.float64)[:, None]
        angle = k / 10000.0 ** (torch.arange(0, width, 2, dtype=torch.float64) / width)
        table = torch.empty(length, width, dtype=torch.float64)
        table[:, 0::2], table[:, 1::2] = angle.sin(), angle.cos()
        return (table * self.sinusoidal_scale).float()

    def logits(self, tokens, system):
        """Logits [batch, length, vocabulary] of the tokens [batch, length]."""
        x = self.weights["model.embed_tokens.weight"][tokens]
        if self.position == "sinusoidal":
            x = x + self.sinusoids(tokens.shape[1])
        for layer in range(self.layers):
            at = f"model.layers.{layer}."
            x = x + self.attention(self.norm(x, at + "input_layernorm"), at + "self_attn.", system)
            y = self.norm(x, at + "post_attention_layernorm")
            y = F.silu(self.linear(y, at + "mlp.gate_proj")) * self.linear(y, at + "mlp.up_proj")
            x = x + self.linear(y, at + "mlp.down_proj")
        return self.linear(self.norm(x, "model.norm"), "lm_head")

    def attention(self, x, at, system):
        length = x.shape[1]
        position = torch.arange(length)
        q, k, v = (
            self.linear(x, at + name).unflatten(-1, (self.heads, self.head_dim)).transpose(1, 2)
            for name in ("q_proj", "k_proj", "v_proj")
        )
        if system.logn:
            q = q * torch.log(position + 1.0).div(math.log(self.trained)).clamp(min=1)[:, None]
        far_q, far_k = q, k
        if self.position == "rope":
            frequency, step, factor = rotary(self, system, length)
            q = rotate(q, position * step, frequency, factor)
            k = rotate(k, position * step, frequency, factor)
            if system.leak:
                far_q = rotate(far_q, position / system.leak + system.rerope * (1 - 1 / system.leak), frequency, factor)
                far_k = rotate(far_k, position / system.leak, frequency, factor)
            elif system.rerope:
                far_q = rotate(far_q, torch.full_like(position, system.rerope), frequency, factor)

        out = torch.empty_like(q)
        for rows in position.split(ROWS):
            visible = self.visible(rows[:, None], position, system)
            keys = visible.any(0).nonzero()[:, 0]  # the keys that some query of these rows sees
            visible, distance = visible[:, keys], rows[:, None] - keys
            score = q[:, :, rows] @ k[:, :, keys].transpose(-1, -2)
            if system.rerope:
                far = far_q[:, :, rows] @ far_k[:, :, keys].transpose(-1, -2)
                score = torch.where(distance < system.rerope, score, far)
            if self.position == "shaw":
                r = self.shaw_max_distance
                index = (distance.clamp(-r, r) + r).expand_as(score)
                by_row = q[:, :, rows] @ self.weights[at + "relative_k.weight"].T
                score = score + by_row.gather(-1, index)
            score = score / math.sqrt(self.head_dim)
            if self.position == "alibi":
                slope = 2.0 ** (-8.0 * torch.arange(1, self.heads + 1) / self.heads)
                score = score - slope[:, None, None] * distance.abs()
            a = score.masked_fill(~visible, -math.inf).softmax(-1)
            out[:, :, rows] = a @ v[:, :, keys]
            if self.position == "shaw":
                share = torch.zeros_like(by_row).scatter_add(-1, index, a)
                out[:, :, rows] += share @ self.weights[at + "relative_v.weight"]
        return self.linear(out.transpose(1, 2).flatten(2), at + "o_proj")

    @staticmethod
    def visible(m, n, system):
        causal = n <= m
        seen = causal
        if system.window_left is not None:
            seen = causal & ((m - n <= system.window_left) | (n < system.sinks))
        if system.block:
            seen = causal & (n // system.block >= m // system.block - 1)
        return seen


# ---- evaluation -------------------------------------------------------------------------------------------


def window_ends(total, longest, windows):
    step = max(windows - 1, 1)
    return [min(total, longest + 1 + i * (total - longest - 1) // step) for i in range(windows)]


@torch.no_grad()
def bits_per_byte(model, system, text, length, ends):
    """Means over all positions and over the last LAST positions."""
    span = torch.stack([text[end - 1 - length : end] for end in ends])
    losses = []
    for part in span.split(max(1, TOKENS // length)):
        logits = model.logits(part[:, :-1], system)
        loss = F.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="none")
        losses.append(loss.view(len(part), length).double() / math.log(2))
    loss = torch.cat(losses)
    return loss.mean().item(), loss[:, -LAST:].mean().item()


def table(title, key, lengths, results):
    print(f"{title}\n")
    print(f"{'model':<11} {'system':<54}" + "".join(f"{length:>8}" for length in lengths))
    for result in results:
        figures = "".join(f"{figure:>8.3f}" for figure in result[key])
        print(f"{result['model']:<11} {result['label']:<54}{figures}")
    print()


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default=here, help="folder of the models (default: that of this script)")
    parser.add_argument("--text", help="held-out text (default: heldout.txt beside the models)")
    parser.add_argument("--model", action="append", choices=SYSTEMS, help="only this one; may be repeated")
    parser.add_argument("--system", action="append", help="only systems of this name; may be repeated")
    parser.add_argument("--length", action="append", type=int, help="may be repeated (default: 128 .. 2048)")
    parser.add_argument("--windows", type=int, default=WINDOWS, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    lengths = args.length or LENGTHS
    with open(args.text or os.path.join(args.models, "heldout.txt"), "rb") as file:
        text = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).long()
    if len(text) <= max(lengths):
        parser.error("the text is too short for these lengths")
    ends = window_ends(len(text), max(lengths), args.windows)

    results = []
    for name in args.model or SYSTEMS:
        model = Model(os.path.join(args.models, name))
        for system in SYSTEMS[name]:
            if args.system and system.name not in args.system:
                continue
            start = time.time()
            figures = [bits_per_byte(model, system, text, length, ends) for length in lengths]
            results.append(
                {
                    "model": name,
                    "system": system.name,
                    "parameters": system.parameters,
                    "label": system.label,
                    "all": [round(whole, 8) for whole, _ in figures],
                    "last": [round(last, 8) for _, last in figures],
                }
            )
            print(f"{name} {system.label}: {time.time() - start:.0f} s", file=sys.stderr, flush=True)

    table(f"Bits per byte over the last {LAST} positions, by length", "last", lengths, results)
    table("Bits per byte over all positions, by length", "all", lengths, results)
    if args.json:
        head = {"text_bytes": len(text), "windows": args.windows, "last": LAST, "lengths": lengths}
        lines = ",\n    ".join(
            json.dumps({key: value for key, value in result.items() if key != "label"}) for result in results
        )
        with open(args.json, "w") as file:
            file.write(json.dumps(head)[:-1] + f',\n  "results": [\n    {lines}\n  ]\n}}\n')


if __name__ == "__main__":
    main()
