#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the golden values beside this file: what other implementations give for the operations of rosace.

    python3 tests/golden/make.py          needs torch and transformers; the tests need only the files

The peers are the classes and functions of transformers and torch that are named below, called, not copied. Format, one
for all files: a line "case NAME" begins a case; each further line is "KEY COUNT VALUE...", arrays packed in the order that
include/rosace gives their axes; '#' begins a comment. Numbers have 9 digits, which is enough to give back every fp32.
"""
import pathlib
import types

import torch
import torch.nn.functional as F
import transformers
from torch.nn.attention.bias import causal_lower_right
from torch.nn.attention.flex_attention import flex_attention
from transformers import GPTNeoXConfig, GptOssConfig, LlamaConfig, T5Config, masking_utils
from transformers.activations import ACT2FN
from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLTextConfig, Qwen2VLVisionConfig
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLTextConfig
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.gpt_neox import modeling_gpt_neox as neox
from transformers.models.gpt_oss import modeling_gpt_oss as gpt_oss
from transformers.models.gpt_oss.modeling_gpt_oss import GptOssExperts
from transformers.models.gptj import modeling_gptj as gptj
from transformers.models.llama import modeling_llama as llama
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor
from transformers.models.qwen2_vl import modeling_qwen2_vl as qwen2_vl
from transformers.models.qwen3_vl import modeling_qwen3_vl as qwen3_vl
from transformers.models.roformer import modeling_roformer as roformer
from transformers.models.t5 import modeling_t5 as t5
from transformers.models.xlm.modeling_xlm import create_sinusoidal_embeddings

HERE = pathlib.Path(__file__).parent


class Golden:
    def __init__(self, name, about):
        self.path = HERE / name
        self.lines = [f"# {about}", f"# made by make.py with torch {torch.__version__}, transformers {transformers.__version__}"]

    def case(self, name, **values):
        self.lines += ["", f"case {name}"]
        for key, value in values.items():
            flat = torch.as_tensor(value, dtype=torch.float64).flatten().tolist()
            self.lines.append(" ".join([key, str(len(flat))] + [f"{v:.9g}" for v in flat]))

    def write(self):
        self.path.write_text("\n".join(self.lines) + "\n")
        print(self.path.name, self.path.stat().st_size)


def random(*shape):
    """Normally distributed multiples of 1/64: short to write, and exact in fp32 and fp16."""
    return torch.round(64 * torch.randn(*shape)) / 64


# ---- Rotation: fp32 throughout, as transformers does it -----------------------------------------------------------------

# rosace_rope_scaling_kind
LINEAR, DYNAMIC, YARN, LLAMA3, LONGROPE, PROPORTIONAL = 1, 3, 4, 5, 9, 10
POSITIONS = [0, 1, 7, 100, 1023]


def rope_case(golden, name, rotate, inv_freq, attention_factor, head_dim, positions=POSITIONS, **options):
    """rotate(q, k) on [1, seq, heads, head_dim]; frequencies as transformers has them."""
    tokens = len(positions) // options.get("axes", 1)
    q, k = random(1, tokens, 2, head_dim), random(1, tokens, 1, head_dim)
    q_out, k_out = rotate(q, k)
    golden.case(name, head_dim=head_dim, rotary_dim=2 * len(inv_freq), positions=positions, **options,
                frequencies=inv_freq, attention_factor=attention_factor, q=q, k=k, q_out=q_out, k_out=k_out)


def llama_case(golden, name, parameters, max_position=2048, head_dim=32, positions=POSITIONS, **options):
    config = LlamaConfig(hidden_size=2 * head_dim, num_attention_heads=2, head_dim=head_dim,
                         max_position_embeddings=max_position, rope_parameters=parameters)
    embedding = llama.LlamaRotaryEmbedding(config)
    cos, sin = embedding(random(1), torch.tensor([positions]))  # dynamic changes its frequencies here
    rope_case(golden, name, lambda q, k: llama.apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=2),
              embedding.inv_freq, embedding.attention_scaling, head_dim, positions,
              theta=parameters["rope_theta"], **options)


def rope():
    golden = Golden("rope.txt", "Rotated queries and keys of transformers' models")
    llama_case(golden, "llama", dict(rope_type="default", rope_theta=10000.0))
    llama_case(golden, "llama_theta", dict(rope_type="default", rope_theta=500000.0), head_dim=64)
    llama_case(golden, "linear", dict(rope_type="linear", rope_theta=10000.0, factor=4.0), scaling=LINEAR, factor=4)
    llama_case(golden, "dynamic", dict(rope_type="dynamic", rope_theta=10000.0, factor=2.0), max_position=1024,
               positions=[0, 5, 1500, 3071], scaling=DYNAMIC, factor=2, original_max_position=1024, seq_len=3072)
    llama_case(golden, "dynamic_short", dict(rope_type="dynamic", rope_theta=10000.0, factor=2.0), max_position=1024,
               positions=[0, 5, 500], scaling=DYNAMIC, factor=2, original_max_position=1024, seq_len=501)
    yarn = dict(rope_type="yarn", rope_theta=10000.0, factor=8.0, original_max_position_embeddings=256)
    yarn_options = dict(scaling=YARN, factor=8, original_max_position=256)
    llama_case(golden, "yarn", yarn, **yarn_options)
    llama_case(golden, "yarn_deepseek", yarn | dict(mscale=0.707, mscale_all_dim=1.2), **yarn_options, mscale=0.707,
               mscale_all_dim=1.2)
    llama_case(golden, "yarn_gpt_oss", yarn | dict(rope_theta=150000.0, truncate=False, beta_fast=24.0, beta_slow=2.0),
               head_dim=64, **yarn_options, no_truncate=1, beta_fast=24, beta_slow=2)
    llama_case(golden, "yarn_factor_given", yarn | dict(attention_factor=1.25), **yarn_options, yarn_attention_factor=1.25)
    llama_case(golden, "llama3", dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0,
                                      high_freq_factor=4.0, original_max_position_embeddings=8192), max_position=131072,
               head_dim=64, scaling=LLAMA3, factor=8, original_max_position=8192)

    head_dim, positions = 32, torch.tensor([POSITIONS])
    config = GPTNeoXConfig(hidden_size=2 * head_dim, num_attention_heads=2,
                           rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.25))
    embedding = neox.GPTNeoXRotaryEmbedding(config)
    cos, sin = embedding(random(1), positions)
    rope_case(golden, "gpt_neox_partial", lambda q, k: neox.apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=2),
              embedding.inv_freq, 1, head_dim)

    rotary_dim = 16  # the rest passes through, as GPTJAttention._attn's caller does it
    sin, cos = gptj.create_sinusoidal_positions(1024, rotary_dim)[positions].chunk(2, dim=-1)
    inv_freq = 1.0 / 10000 ** (torch.arange(0, rotary_dim, 2) / rotary_dim)
    rope_case(golden, "gptj_partial_interleaved",
              lambda q, k: [torch.cat([gptj.apply_rotary_pos_emb(x[..., :rotary_dim], sin, cos), x[..., rotary_dim:]], -1)
                            for x in (q, k)], inv_freq, 1, head_dim, interleaved=1)

    table = roformer.RoFormerSinusoidalPositionalEmbedding(1024, head_dim)
    table.weight.data = table.create_weight()
    sinusoidal = table(None, position_ids=positions)[:, None]
    inv_freq = 1.0 / 10000 ** (torch.arange(0, head_dim, 2) / head_dim)

    def rotate(q, k):
        q, k = roformer.RoFormerSelfAttention.apply_rotary_position_embeddings(sinusoidal, q.transpose(1, 2), k.transpose(1, 2))
        return q.transpose(1, 2), k.transpose(1, 2)

    rope_case(golden, "roformer_interleaved", rotate, inv_freq, 1, head_dim, interleaved=1)

    table = torch.nn.Parameter(torch.empty(1024, 24), requires_grad=False)
    create_sinusoidal_embeddings(1024, 24, out=table)
    golden.case("sinusoidal", width=24, positions=POSITIONS, table=table[POSITIONS])

    short, long = [1 + i / 64 for i in range(16)], [1 + 4 * i for i in range(16)]
    longrope = dict(rope_type="longrope", rope_theta=10000.0, short_factor=short, long_factor=long,
                    original_max_position_embeddings=512)
    options = dict(scaling=LONGROPE, original_max_position=512, short_factor=short, long_factor=long)
    llama_case(golden, "longrope_short", longrope | dict(factor=4.0), positions=[0, 1, 7, 511], **options, factor=4, seq_len=512)
    llama_case(golden, "longrope_long", longrope | dict(factor=4.0), positions=[0, 1, 7, 512], **options, factor=4, seq_len=513)
    llama_case(golden, "longrope_phi3", longrope | dict(attention_factor=1.125), positions=[0, 9], **options, factor=4,
               longrope_attention_factor=1.125, seq_len=10)
    llama_case(golden, "proportional", dict(rope_type="proportional", rope_theta=10000.0, factor=8.0, partial_rotary_factor=0.3),
               scaling=PROPORTIONAL, factor=8, share=0.3)

    # Positions of three axes, or two, one after the other
    def axes_case(name, embedding, places, sections, inv_freq=None, **options):
        cos, sin = embedding(random(1), places)
        positions = places.flatten().tolist()
        rope_case(golden, name, lambda q, k: llama.apply_rotary_pos_emb(q, k, cos, sin, unsqueeze_dim=2),
                  embedding.inv_freq if inv_freq is None else inv_freq, 1, 32, positions, axes=len(sections), sections=sections, **options)

    places = torch.tensor([[[0, 3, 100, 1023]], [[5, 0, 17, 9]], [[2, 11, 0, 40]]])
    parameters = dict(rope_type="default", rope_theta=10000.0)
    axes_case("mrope", qwen2_vl.Qwen2VLRotaryEmbedding(Qwen2VLTextConfig(
        hidden_size=64, num_attention_heads=2, rope_parameters=parameters | dict(mrope_section=[4, 6, 6]))), places, [4, 6, 6])
    axes_case("mrope_interleaved", qwen3_vl.Qwen3VLTextRotaryEmbedding(Qwen3VLTextConfig(
        hidden_size=64, num_attention_heads=2, head_dim=32, rope_parameters=parameters | dict(mrope_section=[6, 5, 5]))), places,
        [6, 5, 5], axis_order=1)
    vision = qwen2_vl.Qwen2VLVisionRotaryEmbedding(Qwen2VLVisionConfig(embed_dim=64, num_heads=2,
                                                                       rope_parameters=dict(rope_type="axial", rope_theta=10000.0)))
    axes_case("vision", vision, torch.tensor([[[0, 1, 7, 30], [0, 25, 3, 31]]]), [8, 8], inv_freq=[*vision.inv_freq, *vision.inv_freq],
              axis_restart=1)
    golden.write()


# ---- Masks: 0 and 1 ----------------------------------------------------------------------------------------------------


def mask():
    golden = Golden("mask.txt", "Masks of transformers' masking_utils, [seq_q, seq_k]; queries begin after `past` keys")
    padding = torch.zeros(1, dtype=torch.int64)
    bidirectional = masking_utils.sliding_window_bidirectional_mask_function
    for seq_q, past in [(9, 0), (4, 5), (1, 12)]:
        seq_k, name = seq_q + past, f"{seq_q}_after_{past}"
        kinds = {"causal": (masking_utils.causal_mask_function, dict(causal=1))}
        for w in 1, 3, 4:
            kinds[f"sliding_{w}"] = (masking_utils.sliding_window_causal_mask_function(w), dict(causal=1, sliding_window=w))
            kinds[f"both_ways_{w}"] = (bidirectional(w), dict(window_left=w, window_right=w))
            kinds[f"chunked_{w}"] = (masking_utils.chunked_causal_mask_function(w, padding), dict(causal=1, chunk=w))
        for kind, (function, options) in kinds.items():
            matrix = masking_utils.sdpa_mask(batch_size=1, q_length=seq_q, kv_length=seq_k, q_offset=past,
                                             mask_function=function, allow_is_causal_skip=False,
                                             allow_is_bidirectional_skip=False)
            golden.case(f"{kind}_{name}", seq_q=seq_q, seq_k=seq_k, **options, visible=matrix)
    golden.write()


# ---- Attention: torch in double, so that the values are exact to the digits written ------------------------------------


def attention_case(golden, name, compute, heads=2, kv_heads=2, seq_q=7, seq_k=7, head_dim=16, **options):
    """compute(q, k, v) on [1, heads, seq, head_dim] gives out, or (out, lse)."""
    q, k, v = random(1, seq_q, heads, head_dim), random(1, seq_k, kv_heads, head_dim), random(1, seq_k, kv_heads, head_dim)
    out = compute(*(x.double().transpose(1, 2) for x in (q, k, v)))
    lse = {}
    if isinstance(out, tuple):
        out, lse = out[0], {"lse": out[1]}
    golden.case(name, n_heads=heads, n_kv_heads=kv_heads, seq_q=seq_q, seq_k=seq_k, head_dim=head_dim, **options, q=q, k=k,
                v=v, out=out.transpose(1, 2), **lse)


def flex(score_mod=None, mask_mod=None, **kwargs):
    """FlexAttention, eager, with its log-sum-exp."""

    def modified(score, b, h, m, n):
        if score_mod:
            score = score_mod(score, h, m, n)
        return torch.where(mask_mod(m, n), score, -float("inf")) if mask_mod else score

    return lambda q, k, v: flex_attention(q, k, v, score_mod=modified, return_lse=True, **kwargs)


def attention():
    golden = Golden("attention.txt", "Attention of torch: scaled_dot_product_attention and FlexAttention")
    sdpa = F.scaled_dot_product_attention
    attention_case(golden, "plain", sdpa, seq_q=5, seq_k=9)
    attention_case(golden, "causal", lambda q, k, v: sdpa(q, k, v, is_causal=True), causal=1)
    attention_case(golden, "causal_gqa", lambda q, k, v: sdpa(q, k, v, is_causal=True, enable_gqa=True), heads=6,
                   kv_heads=2, causal=1)
    attention_case(golden, "causal_top_left", lambda q, k, v: sdpa(q, k, v, is_causal=True), seq_q=4, seq_k=9, causal=1,
                   q_offset=0)
    attention_case(golden, "causal_bottom_right",
                   lambda q, k, v: sdpa(q, k, v, attn_mask=causal_lower_right(4, 9)), seq_q=4, seq_k=9, causal=1)
    attention_case(golden, "scale", lambda q, k, v: sdpa(q, k, v, scale=0.75), scale=0.75, head_dim=24)

    def window(q, k, v):
        matrix = masking_utils.sdpa_mask(batch_size=1, q_length=11, kv_length=11,
                                         mask_function=masking_utils.sliding_window_causal_mask_function(4),
                                         allow_is_causal_skip=False)
        return sdpa(q, k, v, attn_mask=matrix)

    attention_case(golden, "sliding_window_4", window, seq_q=11, seq_k=11, causal=1, window_left=3)

    attention_case(golden, "window_lse", flex(mask_mod=lambda m, n: (m - n <= 2) & (n - m <= 1)), seq_q=8, seq_k=8,
                   window_left=2, window_right=1)
    attention_case(golden, "softcap_lse", flex(lambda s, h, m, n: 1.5 * torch.tanh(s / 1.5), lambda m, n: n <= m + 3),
                   seq_q=5, seq_k=8, causal=1, softcap=1.5)
    attention_case(golden, "softcap_gqa", flex(lambda s, h, m, n: 2 * torch.tanh(s / 2), lambda m, n: n <= m, enable_gqa=True),
                   heads=4, kv_heads=1, causal=1, softcap=2)
    # BLOOM adds slope * n, which differs from -slope * (m - n) by a constant per row: the same but for the lse.
    for heads in 4, 12:
        slopes = build_alibi_tensor(torch.ones(1, 2, dtype=torch.int64), heads, torch.float64)[:, 0, 1]
        seq_q = 48 // heads - 1
        attention_case(golden, f"alibi_{heads}", flex(lambda s, h, m, n: s - slopes[h] * (m + 2 - n), lambda m, n: n <= m + 2),
                       heads=heads, kv_heads=heads, seq_q=seq_q, seq_k=seq_q + 2, causal=1, alibi=1)
    bloom = build_alibi_tensor(torch.ones(1, 7, dtype=torch.int64), 4, torch.float64).reshape(1, 4, 1, 7)
    hidden = torch.full((7, 7), -float("inf"), dtype=torch.float64).triu(1)
    attention_case(golden, "alibi_bloom", lambda q, k, v: sdpa(q, k, v, attn_mask=bloom + hidden), heads=4, kv_heads=4,
                   causal=1, alibi=1)
    for heads in 4, 8, 12:
        mpt = build_mpt_alibi_tensor(heads, 2)  # slope * (-1, 0)
        golden.case(f"slopes_{heads}", n_heads=heads, slopes=-mpt[:, 0, 0],
                    bloom=build_alibi_tensor(torch.ones(1, 2, dtype=torch.int64), heads, torch.float32)[:, 0, 1])

    # rosace_bias_kind; those of models that transformers does not have are added by their formulas
    KERPLE_LOG, KERPLE_POWER, SANDWICH, T5, TABLE = 3, 4, 5, 6, 7

    def away(m, n):
        return (m - n).abs().double()

    r1, r2 = torch.tensor([[0.5, 1.25], [0.75, 0.375]])
    attention_case(golden, "kerple_log", flex(lambda s, h, m, n: s - r1[h] * torch.log(1 + r2[h] * away(m + 1, n)), lambda m, n: n <= m + 1),
                   seq_q=6, seq_k=7, causal=1, bias=KERPLE_LOG, bias_params=[*r1, *r2])
    attention_case(golden, "kerple_power", flex(lambda s, h, m, n: s - r1[h] * away(m, n) ** r2[h]), seq_q=6, seq_k=6,
                   bias=KERPLE_POWER, bias_params=[*r1, *r2])
    factors = torch.tensor([0.25, 0.125])
    angles = 10000.0 ** (-torch.arange(0, 24, 2, dtype=torch.float64) / 24)
    attention_case(golden, "sandwich", flex(lambda s, h, m, n: s + factors[h] * torch.cos((m - n) * angles).sum(), lambda m, n: n <= m),
                   causal=1, bias=SANDWICH, bias_width=24, bias_params=factors)
    table = random(2, 7)
    attention_case(golden, "table", flex(lambda s, h, m, n: s + table[h, (m - n).clamp(-3, 3) + 3]), seq_q=8, seq_k=8, bias=TABLE,
                   bias_max_distance=3, bias_params=table)
    for causal in 0, 1:
        module = t5.T5Attention(T5Config(d_model=32, d_kv=16, num_heads=2, is_decoder=bool(causal), relative_attention_num_buckets=8,
                                         relative_attention_max_distance=16), has_relative_attention_bias=True)
        weight = random(8, 2)
        module.relative_attention_bias.weight.data = weight.double()
        hide = torch.full((26, 26), -float("inf"), dtype=torch.float64).triu(1) if causal else 0
        with torch.no_grad():
            matrix = module.compute_bias(26, 26) + hide
        attention_case(golden, f"t5_{causal}", lambda q, k, v: sdpa(q, k, v, attn_mask=matrix, scale=1.0), seq_q=26, seq_k=26, scale=1,
                       causal=causal, bias=T5, bias_buckets=8, bias_max_distance=16, bias_causal=causal, bias_params=weight)
    golden.write()

    golden = Golden("t5.txt", "Buckets of distances i - n = last, last - 1, ..., -last of transformers' T5")
    for causal in 0, 1:
        for buckets, furthest in (32, 128), (8, 16), (12, 40), (64, 300):
            distances = torch.arange(-furthest - 9, furthest + 10)
            golden.case(f"t5_{buckets}_{furthest}_{causal}", buckets=buckets, max_distance=furthest, causal=causal, last=furthest + 9,
                        bucket=t5.T5Attention._relative_position_bucket(distances, not causal, buckets, furthest))
    golden.write()


def relative():
    golden = Golden("relative.txt", "Attention of torch with clipped relative positions (Shaw et al. 2018) and with ReRoPE (Su 2023)")
    SHAW, LENGTH = 2, 40
    place = torch.arange(LENGTH)
    distance = place[:, None] - place
    for name, reach, options, hidden in (("shaw", 3, {}, distance < -LENGTH),
                                         ("shaw_window", 30, dict(causal=1, window_left=33), (distance < 0) | (distance > 33))):
        key, value = random(2 * reach + 1, 16), random(2 * reach + 1, 16)
        index = distance.clamp(-reach, reach) + reach

        def shaw(q, k, v):
            score = (q @ k.mT + torch.einsum("bhmd,mnd->bhmn", q, key.double()[index])) / 4
            score = score.masked_fill(hidden, -float("inf"))
            weight = score.softmax(-1)
            return weight @ v + torch.einsum("bhmn,mnd->bhmd", weight, value.double()[index]), score.logsumexp(-1)

        attention_case(golden, name, shaw, heads=1, kv_heads=1, seq_q=LENGTH, seq_k=LENGTH, **options, bias=SHAW,
                       bias_max_distance=reach, shaw_key=key, shaw_value=value)

    frequency = 10000.0 ** (-torch.arange(0, 16, 2, dtype=torch.float64) / 16)

    def turned(x, position):
        angle = torch.cat([position[:, None] * frequency] * 2, -1)[None]
        return llama.apply_rotary_pos_emb(x, x, angle.cos(), angle.sin())[0]

    for name, leak in ("rerope", 0), ("rerope_leaky", 2.5):

        def rerope(q, k, v, window=10):
            at = place.double()
            if leak:
                far = turned(q, at / leak + window * (1 - 1 / leak)) @ turned(k, at / leak).mT
            else:
                far = turned(q, torch.full_like(at, window)) @ k.mT
            score = torch.where(distance < window, turned(q, at) @ turned(k, at).mT, far) / 4
            score = score.masked_fill(distance < 0, -float("inf"))
            return score.softmax(-1) @ v, score.logsumexp(-1)

        attention_case(golden, name, rerope, heads=1, kv_heads=1, seq_q=LENGTH, seq_k=LENGTH, causal=1, rerope_window=10,
                       rerope_leak=leak)
    golden.write()


def extras():
    golden = Golden("attention_extras.txt", "Attention of torch and transformers with what a call may bring beside a bias by distance")
    # gpt-oss's own function; its lse is not among what it returns
    for name, past in ("sinks", 0), ("sinks_longer", 3):
        sinks = torch.tensor([0.5, -1.25, 3.0, 0.0])

        def sunk(q, k, v):
            module = types.SimpleNamespace(num_key_value_groups=2, sinks=sinks.double(), training=False)
            hide = torch.full((6, 6 + past), -float("inf"), dtype=torch.float64).triu(1 + past)
            out, _ = gpt_oss.eager_attention_forward(module, q, k, v, hide, 0.25)
            scores = 0.25 * q @ k.repeat_interleave(2, 1).transpose(2, 3) + hide
            sink = sinks.double().reshape(1, 4, 1, 1).expand(1, 4, 6, 1)
            return out.transpose(1, 2), torch.cat([scores, sink], -1).logsumexp(-1)

        attention_case(golden, name, sunk, heads=4, kv_heads=2, seq_q=6, seq_k=6 + past, causal=1, sink_logits=sinks)
    golden.write()


def documents(name, golden, lens_q, lens_k, present, offset, compute, heads=4, kv_heads=2, head_dim=16, **options):
    """Packed documents, each by FlexAttention alone over its first `present` keys. compute(offset) is FlexAttention's."""
    cu_q, cu_k = ([0] + torch.tensor(x).cumsum(0).tolist() for x in (lens_q, lens_k))
    q, k, v = random(cu_q[-1], heads, head_dim), random(cu_k[-1], kv_heads, head_dim), random(cu_k[-1], kv_heads, head_dim)
    out, lse = [], []
    for a, b, first, n_q, n in zip(cu_q, cu_q[1:], cu_k, lens_q, present):
        if n and n_q:
            parts = (x[None].double().transpose(1, 2) for x in (q[a:b], k[first:first + n], v[first:first + n]))
            one, total = compute(n - n_q if offset is None else offset)(*parts)
            out.append(one[0].transpose(0, 1).nan_to_num())
            lse.append(total[0])
        else:
            out.append(torch.zeros(n_q, heads, head_dim, dtype=torch.float64))
            lse.append(torch.full((heads, n_q), -float("inf"), dtype=torch.float64))
    lens = {} if present == lens_k else {"seq_lens_k": present}
    places = {} if offset is None else {"q_offset": offset}
    golden.case(name, n_heads=heads, n_kv_heads=kv_heads, seq_q=cu_q[-1], seq_k=cu_k[-1], head_dim=head_dim, cu_seqlens_q=cu_q,
                cu_seqlens_k=cu_k, **lens, **places, **options, q=q, k=k, v=v, out=torch.cat(out), lse=torch.cat(lse, 1))


def varlen():
    golden = Golden("varlen.txt", "Sequences of their own lengths: FlexAttention of torch on each alone")
    documents("causal", golden, [4, 1, 0, 7], [6, 9, 2, 7], [6, 9, 2, 7], None,
              lambda o: flex(None, lambda m, n: n <= m + o, enable_gqa=True), causal=1)
    documents("window", golden, [5, 8], [5, 10], [5, 10], None,
              lambda o: flex(None, lambda m, n: (n <= m + o) & (n >= m + o - 2), enable_gqa=True), causal=1, window_left=2)
    documents("padded", golden, [3, 4, 5], [6, 7, 8], [4, 7, 0], None,
              lambda o: flex(None, lambda m, n: n <= m + o, enable_gqa=True), causal=1)
    documents("padded_first", golden, [6, 4], [6, 4], [5, 2], 0,
              lambda o: flex(None, lambda m, n: n <= m + o, enable_gqa=True), causal=1)
    windows = torch.tensor([2, 100, 0, 4])
    documents("head_windows", golden, [8, 3], [9, 7], [9, 7], None,
              lambda o: flex(lambda s, h, m, n: torch.where(n >= m + o - windows[h], s, -float("inf")), lambda m, n: n <= m + o,
                             enable_gqa=True), causal=1, head_window_left=[2, -1, 0, 4])
    golden.write()


# ---- Gradients: autograd through scaled_dot_product_attention in double precision -----------------------------------------


def gradients():
    golden = Golden("backward.txt", "Gradients of torch's scaled_dot_product_attention, by autograd")

    def case(name, seq=7, heads=4, kv_heads=2, head_dim=16, window=None, alibi=False, rope=False):
        q, k, v, dout = (random(1, seq, n, head_dim).double().requires_grad_() for n in (heads, kv_heads, kv_heads, heads))
        options = {"causal": 1}
        turned = q, k
        if rope:
            embedding = llama.LlamaRotaryEmbedding(LlamaConfig(hidden_size=heads * head_dim, num_attention_heads=heads))
            embedding.inv_freq = 10000.0 ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
            angles = torch.arange(seq)[:, None] * torch.cat([embedding.inv_freq, embedding.inv_freq])
            turned = llama.apply_rotary_pos_emb(q, k, angles.cos()[None], angles.sin()[None], unsqueeze_dim=2)
            options["rope"] = 1
        distance = torch.arange(seq)[:, None] - torch.arange(seq)
        bias = torch.zeros(heads, seq, seq, dtype=torch.float64)
        if alibi:
            slopes = build_alibi_tensor(torch.ones(1, 2, dtype=torch.int64), heads, torch.float64)[:, 0, 1]
            bias = bias - slopes[:, None, None] * distance.abs()
            options.update(bias=1, bias_params=slopes)
        hidden = distance < 0
        if window:
            hidden = hidden | (distance >= window)
            options["window_left"] = window - 1
        out = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (*turned, v)), enable_gqa=True,
                                             attn_mask=bias.masked_fill(hidden, -float("inf")))
        out.transpose(1, 2).backward(dout.detach())
        golden.case(name, n_heads=heads, n_kv_heads=kv_heads, head_dim=head_dim, seq=seq, **options, q=q, k=k, v=v, dout=dout,
                    dq=q.grad, dk=k.grad, dv=v.grad)

    case("causal")
    case("window_rope", window=5, rope=True)
    case("alibi", alibi=True)
    golden.write()


# ---- Layers ------------------------------------------------------------------------------------------------------------


def layers():
    golden = Golden("layers.txt", "Layers of torch and transformers, in double")
    x, weight = random(3, 20), random(20)
    norm = torch.nn.RMSNorm(20, eps=1e-5, dtype=torch.float64)
    norm.weight.data = weight.double()
    golden.case("rmsnorm", rows=3, width=20, eps=1e-5, x=x, weight=weight, out=norm(x.double()).detach())
    gate, up = 4 * random(40), random(40)
    golden.case("swiglu", gate=gate, up=up, out=F.silu(gate.double()) * up.double())
    logits, targets = 3 * random(4, 17), torch.tensor([0, 16, 5, 8])
    golden.case("cross_entropy", rows=4, classes=17, logits=logits, targets=targets,
                loss=F.cross_entropy(logits.double(), targets, reduction="none"))
    a, b, c = random(5, 7), random(7, 6), random(5, 6)
    golden.case("matmul", m=5, n=6, k=7, alpha=0.5, beta=-2, a=a, b=b, c=c,
                out=torch.addmm(c.double(), a.double(), b.double(), alpha=0.5, beta=-2))
    x, weight, bias = 2 * random(3, 20) + 1, random(20), random(20)
    for name, b in ("layernorm", bias), ("layernorm_no_bias", None):
        values = {} if b is None else {"bias": b}
        golden.case(name, rows=3, width=20, eps=1e-5, x=x, weight=weight, **values, out=F.layer_norm(
            x.double(), (20,), weight.double(), None if b is None else b.double(), 1e-5))
    x = 3 * random(40)
    for function, name in enumerate(("silu", "gelu", "gelu_pytorch_tanh", "relu")):
        golden.case("activation", function=function, x=x, out=ACT2FN[name](x.double()))
    golden.case("softcap", cap=2.5, x=x, out=2.5 * torch.tanh(x.double() / 2.5))
    config = GptOssConfig(hidden_size=4, intermediate_size=20, num_local_experts=1, swiglu_limit=1.5)
    gate, up = 2 * random(40), 2 * random(40)
    gated = GptOssExperts(config)._apply_gate(torch.stack([gate, up], -1).flatten().double())
    golden.case("clamped_swiglu", alpha=config.swiglu_alpha, limit=1.5, gate=gate, up=up, out=gated)
    golden.write()


# ---- bf16: what torch rounds to, and what it gives ---------------------------------------------------------------------


def bf16():
    golden = Golden("bf16.txt", "bfloat16 of torch")
    kept = torch.tensor([0, 1, 0x7F, 0x80, 0x3F7F, 0x3F80, 0x3F81, 0x42FF, 0x4300, 0x7EFF, 0x7F7E, 0x7F7F])
    bits = (kept[:, None] << 16 | torch.tensor([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])).flatten().to(torch.int32)
    x = torch.cat([bits, bits | -0x80000000]).view(torch.float32)
    golden.case("rounding", x=x, out=x.bfloat16())

    def brain(*shape):
        return torch.randn(*shape).bfloat16()

    config = LlamaConfig(hidden_size=80, num_attention_heads=2, head_dim=40,
                         rope_parameters=dict(rope_type="default", rope_theta=10000.0))
    cos, sin = llama.LlamaRotaryEmbedding(config)(random(1), torch.tensor([POSITIONS]))
    q, k = brain(1, 5, 2, 40), brain(1, 5, 1, 40)
    q_out, k_out = llama.apply_rotary_pos_emb(q.float(), k.float(), cos, sin, unsqueeze_dim=2)
    golden.case("rope", positions=POSITIONS, q=q, k=k, q_out=q_out.bfloat16(), k_out=k_out.bfloat16())

    q, k, v = brain(1, 4, 9, 40), brain(1, 2, 9, 40), brain(1, 2, 9, 40)
    out, exact = (F.scaled_dot_product_attention(*tensors, is_causal=True, enable_gqa=True).transpose(1, 2)
                  for tensors in ((q, k, v), (q.double(), k.double(), v.double())))
    golden.case("attention", q=q.transpose(1, 2), k=k.transpose(1, 2), v=v.transpose(1, 2), out=out, exact=exact)
    golden.write()


if __name__ == "__main__":
    for make in rope, mask, attention, relative, extras, varlen, layers, bf16, gradients:
        torch.manual_seed(1)
        make()
