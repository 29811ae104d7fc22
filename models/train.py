#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Train one of the demonstration models: a small byte-level decoder, one position system.

The model is shaped like Llama (RMSNorm, SwiGLU, no biases, untied head) and is saved under the tensor names
of transformers' LlamaForCausalLM; only the way it learns of positions differs between the models.

    train.py --make-text --out .                      # train.txt and heldout.txt, from Debian's `bible`
    train.py --position rope --text train.txt --out rope

A position system is one subclass of `Position`, listed in POSITIONS. Needs torch and safetensors.
"""

import argparse
import json
import math
import os
import re
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import save as to_safetensors
from torch import nn

LENGTH = 128  # L: bytes per training crop
VOCAB = 256
WIDTH = 128
LAYERS = 4
HEADS = 4
HEAD_DIM = WIDTH // HEADS
HIDDEN = 344
EPS = 1e-5

BATCH = 32
LEARNING_RATE = 3e-3
BETAS = (0.9, 0.98)
WEIGHT_DECAY = 0.05
WARMUP = 100
CLIP = 1.0
INIT_STD = 0.02
HELDOUT_SHARE = 0.05


# ---- position systems -------------------------------------------------------------------------------------


class Position:
    """What a position system may do; the default is to do nothing (causal attention without positions).

    `config` goes into config.json beside the model's own keys. Tensors of `attend` are [batch, head, time, dim].
    """

    def __init__(self, args):
        self.config = {}

    def embed(self, x):
        """Change the token embeddings x [batch, time, width] before the first layer."""
        return x

    def add_parameters(self, attention, layer):
        """Give the attention module of this layer (0-based) the learned tensors that the system needs."""

    def attend(self, attention, q, k, v):
        """Causal attention. `attention` is the layer's module: its parameters, and `attention.layer`."""
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class Rope(Position):
    """Rotary position embedding, half-split pairs (x_i, x_{i+d/2}); Su et al. 2021, eq. 34."""

    theta = 10000.0

    def __init__(self, args):
        super().__init__(args)
        frequency = self.theta ** (-torch.arange(0, HEAD_DIM, 2, dtype=torch.float64) / HEAD_DIM)
        angle = torch.arange(LENGTH, dtype=torch.float64)[:, None] * frequency
        self.cos = torch.cat([angle.cos()] * 2, -1).float()
        self.sin = torch.cat([-angle.sin(), angle.sin()], -1).float()

    def rotate(self, x):
        return x * self.cos + x.roll(HEAD_DIM // 2, -1) * self.sin

    def attend(self, attention, q, k, v):
        return F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True)


class Sinusoidal(Position):
    """Absolute sinusoids added to the embedding, scaled to its size; Vaswani et al. 2017, section 3.5."""

    scale = 0.05

    def __init__(self, args):
        super().__init__(args)
        self.config = {"sinusoidal_scale": self.scale}
        frequency = 10000.0 ** (-torch.arange(0, WIDTH, 2, dtype=torch.float64) / WIDTH)
        angle = torch.arange(LENGTH, dtype=torch.float64)[:, None] * frequency
        self.table = self.scale * torch.stack([angle.sin(), angle.cos()], -1).flatten(1).float()

    def embed(self, x):
        return x + self.table


class Alibi(Position):
    """Scores lowered by slope_h * (m - n), slope_h = 2^(-8(h+1)/H); Press et al. 2021, section 3."""

    def __init__(self, args):
        super().__init__(args)
        slope = 2.0 ** (-8.0 * torch.arange(1, HEADS + 1) / HEADS)
        step = torch.arange(LENGTH)
        distance = step[:, None] - step
        bias = -slope[:, None, None] * distance
        self.bias = bias.masked_fill(distance < 0, -math.inf)[None]

    def attend(self, attention, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, attn_mask=self.bias)


class Shaw(Position):
    """Learned vectors per clipped distance, on keys and values; Shaw et al. 2018, eq. 3 to 5.

    score = q.(k + P^K[j]) / sqrt(d), output = sum a (v + P^V[j]), j = clip(m - n, -r, r) + r. The heads of a
    layer share the tables. A causal model reads the rows r..2r only; the others stay zero.
    """

    def __init__(self, args):
        super().__init__(args)
        self.r = args.shaw_max_distance
        self.config = {"shaw_max_distance": self.r}
        # Column c of a score row stands for the distance LENGTH - 1 - c: see `skew`.
        self.rows = torch.arange(LENGTH - 1, -1, -1).clamp(max=self.r) + self.r
        self.future = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)

    def add_parameters(self, attention, layer):
        for name in ("relative_k", "relative_v"):
            table = nn.Embedding(2 * self.r + 1, HEAD_DIM)
            nn.init.zeros_(table.weight)
            nn.init.normal_(table.weight.data[self.r :], std=INIT_STD)
            setattr(attention, name, table)

    @staticmethod
    def skew(x):
        """[.., m, LENGTH-1-(m-n)] -> [.., m, n], for n <= m; what stands at n > m has no meaning."""
        return F.pad(x, (1, 0)).reshape(*x.shape[:2], LENGTH + 1, LENGTH)[:, :, 1:]

    @staticmethod
    def unskew(x):
        """The way back, for an x that is zero at n > m."""
        return F.pad(x, (0, 0, 1, 0)).reshape(*x.shape[:2], LENGTH, LENGTH + 1)[..., 1:]

    def attend(self, attention, q, k, v):
        rel_k = attention.relative_k(self.rows)
        rel_v = attention.relative_v(self.rows)
        q = q * HEAD_DIM**-0.5
        score = q @ k.transpose(-1, -2) + self.skew(q @ rel_k.T)
        a = score.masked_fill(self.future, -math.inf).softmax(-1)
        return a @ v + self.unskew(a) @ rel_v


POSITIONS = {"rope": Rope, "sinusoidal": Sinusoidal, "alibi": Alibi, "shaw": Shaw}


# ---- model ------------------------------------------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self, position, layer):
        super().__init__()
        self.position, self.layer = position, layer
        self.q_proj = nn.Linear(WIDTH, WIDTH, bias=False)
        self.k_proj = nn.Linear(WIDTH, WIDTH, bias=False)
        self.v_proj = nn.Linear(WIDTH, WIDTH, bias=False)
        self.o_proj = nn.Linear(WIDTH, WIDTH, bias=False)
        position.add_parameters(self, layer)

    def forward(self, x):
        q, k, v = (
            proj(x).unflatten(-1, (HEADS, HEAD_DIM)).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        out = self.position.attend(self, q, k, v)
        return self.o_proj(out.transpose(1, 2).flatten(2))


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.up_proj = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.down_proj = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, position, layer):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(WIDTH, eps=EPS)
        self.self_attn = Attention(position, layer)
        self.post_attention_layernorm = nn.RMSNorm(WIDTH, eps=EPS)
        self.mlp = MLP()

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    def __init__(self, position):
        super().__init__()
        self.position = position
        self.embed_tokens = nn.Embedding(VOCAB, WIDTH)
        self.layers = nn.ModuleList(Layer(position, n) for n in range(LAYERS))
        self.norm = nn.RMSNorm(WIDTH, eps=EPS)

    def forward(self, tokens):
        x = self.position.embed(self.embed_tokens(tokens))
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Model(nn.Module):
    def __init__(self, position):
        super().__init__()
        self.model = Decoder(position)
        self.lm_head = nn.Linear(WIDTH, VOCAB, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=INIT_STD)
        nn.init.normal_(self.model.embed_tokens.weight, std=INIT_STD)

    def forward(self, tokens):
        return self.lm_head(self.model(tokens))


# ---- text, training, output -------------------------------------------------------------------------------


def make_text(out):
    """train.txt and heldout.txt: the King James Bible, one verse a line, without the verse labels."""
    run = subprocess.run(["bible", "-f", "Gen1:1-Rev22:21"], stdout=subprocess.PIPE, check=True)
    text = re.sub(rb"(?m)^\w+:\d+ ", b"", run.stdout)
    cut = text.index(b"\n", int(len(text) * (1 - HELDOUT_SHARE))) + 1
    os.makedirs(out, exist_ok=True)
    for name, part in (("train.txt", text[:cut]), ("heldout.txt", text[cut:])):
        with open(os.path.join(out, name), "wb") as file:
            file.write(part)
        print(f"{name}: {len(part)} bytes")


def read_bytes(path):
    with open(path, "rb") as file:
        return torch.frombuffer(bytearray(file.read()), dtype=torch.uint8).long()


def rate(step, steps):
    """Linear warm-up, then a cosine to zero."""
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / max(1, steps - WARMUP)))


def train(model, text, steps, seed):
    random = torch.Generator().manual_seed(seed)
    window = torch.arange(LENGTH + 1)
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps))
    start, total, count = time.time(), 0.0, 0
    for step in range(1, steps + 1):
        crop = text[torch.randint(len(text) - LENGTH, (BATCH, 1), generator=random) + window]
        loss = F.cross_entropy(model(crop[:, :-1]).flatten(0, 1), crop[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        scheduler.step()
        total, count = total + loss.item() / math.log(2), count + 1
        if step % 50 == 0 or step == steps:
            print(f"step {step}: {total / count:.4f} bits per byte, {time.time() - start:.0f} s", flush=True)
            total, count = 0.0, 0


@torch.no_grad()
def evaluate(model, text):
    """Bits per byte over the text, cut into windows of LENGTH bytes."""
    count = (len(text) - 1) // LENGTH
    inputs = text[: count * LENGTH].view(count, LENGTH)
    targets = text[1 : count * LENGTH + 1].view(count, LENGTH)
    loss = sum(
        F.cross_entropy(model(i).flatten(0, 1), t.flatten(), reduction="sum").item()
        for i, t in zip(inputs.split(64), targets.split(64))
    )
    return loss / targets.numel() / math.log(2)


def save(model, name, out):
    """config.json and model.safetensors (fp16); each file appears whole or not at all."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "position_embedding_type": name,
        **model.model.position.config,
        "hidden_size": WIDTH,
        "intermediate_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HEAD_DIM,
        "hidden_act": "silu",
        "rms_norm_eps": EPS,
        "rope_theta": Rope.theta,
        "max_position_embeddings": LENGTH,
        "vocab_size": VOCAB,
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "torch_dtype": "float16",
    }
    tensors = {key: value.to(torch.float16).contiguous() for key, value in model.state_dict().items()}
    files = {
        "model.safetensors": to_safetensors(tensors, metadata={"format": "pt"}),
        "config.json": (json.dumps(config, indent=2) + "\n").encode(),
    }
    os.makedirs(out, exist_ok=True)
    for file_name, content in files.items():
        path = os.path.join(out, file_name)
        with open(path + ".tmp", "wb") as file:
            file.write(content)
        os.replace(path + ".tmp", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--make-text", action="store_true", help="write train.txt and heldout.txt to --out, and stop")
    parser.add_argument("--position", choices=POSITIONS)
    parser.add_argument("--text", default="train.txt", help="the text to train on (default: %(default)s)")
    parser.add_argument("--heldout", help="a text to measure the finished model on")
    parser.add_argument("--steps", type=int, default=3000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--shaw-max-distance", type=int, default=32, metavar="R", help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--out", required=True, help="folder to write to")
    args = parser.parse_args()
    if args.make_text:
        make_text(args.out)
        return
    if not args.position:
        parser.error("--position or --make-text is needed")

    torch.set_num_threads(args.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(args.seed)
    model = Model(POSITIONS[args.position](args))
    print(f"{args.position}: {sum(p.numel() for p in model.parameters())} parameters", flush=True)
    train(model, read_bytes(args.text), args.steps, args.seed)
    save(model, args.position, args.out)
    if args.heldout:
        print(f"held out: {evaluate(model, read_bytes(args.heldout)):.4f} bits per byte at length {LENGTH}")


if __name__ == "__main__":
    sys.exit(main())
