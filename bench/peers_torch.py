# SPDX-License-Identifier: MIT
"""What PyTorch has for each operation. Arrays come and go as numpy, [batch, head, seq, dim]."""

import functools

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from interleave import Entrant

torch.set_grad_enabled(False)
torch._dynamo.config.recompile_limit = 64


def threads(n):
    torch.set_num_threads(n)


def version():
    return f"torch {torch.__version__}"


def _entrant(name, call):
    holder = {}

    def run():
        holder["out"] = call()

    return Entrant.of_call(name, run, lambda: holder["out"].numpy())


@functools.cache
def _compiled_flex():
    return torch.compile(flex_attention, dynamic=False)


def sdpa_causal(q, k, v):
    q, k, v = map(torch.from_numpy, (q, k, v))
    yield _entrant("torch SDPA, causal", lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True))


def sdpa_window(q, k, v, window):
    q, k, v = map(torch.from_numpy, (q, k, v))
    place = torch.arange(q.shape[2])
    distance = place[:, None] - place
    visible = (distance >= 0) & (distance < window)
    yield _entrant("torch SDPA, boolean mask", lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=visible))


def flex(q, k, v, window, blocks=(128, 64)):
    """Compiled, with a block mask, at two block sizes: the better one counts."""
    q, k, v = map(torch.from_numpy, (q, k, v))
    n = q.shape[2]

    def causal(b, h, m, n):
        return m >= n

    def windowed(b, h, m, n):
        return (m >= n) & (m - n < window)

    for block in blocks:
        mask = create_block_mask(windowed if window else causal, None, None, n, n, device="cpu", BLOCK_SIZE=block)
        run = _compiled_flex()
        yield _entrant(
            f"torch FlexAttention compiled, blocks of {block}", functools.partial(run, q, k, v, block_mask=mask)
        )


def decode(q, k, v):
    q, k, v = map(torch.from_numpy, (q, k, v))
    heads, kv_heads = q.shape[1], k.shape[1]
    group = heads // kv_heads
    yield _entrant("torch SDPA, enable_gqa", lambda: F.scaled_dot_product_attention(q, k, v, enable_gqa=True))
    # The heads of a group as rows of one query: K and V are read once per group.
    rows = q.view(q.shape[0], kv_heads, group, q.shape[3])
    yield _entrant(
        "torch SDPA, group as rows",
        lambda: F.scaled_dot_product_attention(rows, k, v).view(q.shape[0], heads, 1, q.shape[3]),
    )

    def by_hand():
        weights = torch.softmax(torch.matmul(rows, k.transpose(-1, -2)) * q.shape[3] ** -0.5, -1)
        return torch.matmul(weights, v).view(q.shape[0], heads, 1, q.shape[3])

    yield _entrant("torch matmul, softmax, matmul", by_hand)


def matmul(a, b, transpose_b):
    a, b = map(torch.from_numpy, (a, b))
    b = b.T if transpose_b else b
    out = torch.empty(a.shape[0], b.shape[1])
    yield _entrant("torch.matmul", lambda: torch.matmul(a, b, out=out))


def rope_tables(seq, head_dim, theta=10000.0):
    frequency = theta ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angle = torch.arange(seq, dtype=torch.float64)[:, None] * frequency
    return angle.cos().float(), angle.sin().float()


def _rotate_whole(x, cos, sin, interleaved):
    """As models write it: rotate_half, x cos + half sin."""
    if interleaved:
        cos, sin = cos.repeat_interleave(2, -1), sin.repeat_interleave(2, -1)
        half = torch.stack([-x[..., 1::2], x[..., 0::2]], -1).flatten(-2)
    else:
        cos, sin = torch.cat([cos, cos], -1), torch.cat([sin, sin], -1)
        a, b = x.chunk(2, -1)
        half = torch.cat([-b, a], -1)
    return x * cos + half * sin


def _rotate_pairs(x, cos, sin, interleaved):
    if interleaved:
        a, b = x[..., 0::2], x[..., 1::2]
        return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def rope(q, k, interleaved):
    """q and k [batch, head, seq, dim]. Results are new tensors; one variant writes them back."""
    q, k = map(torch.from_numpy, (q, k))
    cos, sin = rope_tables(q.shape[2], q.shape[3])

    def both(rotate, q, k):
        return rotate(q, cos, sin, interleaved), rotate(k, cos, sin, interleaved)

    def back(q, k):
        for x in (q, k):
            x.copy_(_rotate_pairs(x, cos, sin, interleaved))

    def entrant(name, call):
        holder = {}

        def run():
            holder["out"] = call(q, k)

        return Entrant.of_call(name, run, lambda: np.concatenate([x.numpy().ravel() for x in holder["out"]]))

    whole = functools.partial(both, _rotate_whole)
    pairs = functools.partial(both, _rotate_pairs)
    yield entrant("torch rope, eager", whole)
    yield entrant("torch rope, compiled", torch.compile(whole, dynamic=False))
    yield entrant("torch rope by pairs, compiled", torch.compile(pairs, dynamic=False))
    own_q, own_k = q.clone(), k.clone()
    yield Entrant.of_call(
        "torch rope in place, compiled",
        functools.partial(torch.compile(back, dynamic=False), own_q, own_k),
        lambda: np.concatenate([x.numpy().ravel() for x in (own_q, own_k)]),
    )


def copy(data):
    source = torch.from_numpy(data)
    target = torch.empty_like(source)
    yield Entrant.of_call("torch copy_", lambda: target.copy_(source), role="limit")


def softmax(scores, window):
    """scores [1, head, seq, seq]"""
    x = torch.from_numpy(scores)
    place = torch.arange(x.shape[-1])
    distance = place[:, None] - place
    hidden = (distance < 0) | (distance >= window) if window else distance < 0
    additive = torch.zeros(hidden.shape).masked_fill(hidden, float("-inf"))

    def masked(x):
        return torch.softmax(x.masked_fill(hidden, float("-inf")), -1)

    def added(x):
        return torch.softmax(x + additive, -1)

    yield _entrant("torch softmax, eager", lambda: added(x))
    compiled_fill, compiled_add = torch.compile(masked, dynamic=False), torch.compile(added, dynamic=False)
    yield _entrant("torch softmax masked_fill, compiled", lambda: compiled_fill(x))
    yield _entrant("torch softmax of a sum, compiled", lambda: compiled_add(x))
