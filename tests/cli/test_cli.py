#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the program prints, computes and refuses, with tiny models: test_cli.py ROSACE"""

import json
import math
import os
import random
import struct
import sys

import tiny
from program import Runner, series

run = Runner(sys.argv[1])
model, text = run.path("rope"), run.path("text")
weights = tiny.write(model, tiny.config())
TEXT = tiny.text(400)
with open(text, "wb") as file:
    file.write(TEXT)
SMALL = "ROSACE_TEST_SMALL" in os.environ  # a simulator: some tokens a second
WINDOWS = 1 if SMALL else 3
NEAR, FAR = (4, 8) if SMALL else (16, 24)
SHORT = ["--lengths", f"{NEAR},{FAR}", "--windows", WINDOWS]


def leftovers():
    return [name for name in os.listdir(run.folder) if "out" in name]


# ---- Help, version, devices --------------------------------------------------------------------------------------


def test_help():
    for args in (["--help"], ["help"], ["help", "eval"], ["eval", "--help"], ["help", "devices"], ["devices", "-h"], ["help", "tune"]):
        result = run.good(*args)
        run.check("Usage: rosace" in result.stdout and result.stderr == "", f"{args}: {result}")
    run.check(run.good("version").stdout.startswith("rosace "), "version")
    run.bad(2, "unknown command 'dance'", "dance")
    run.bad(2, "unknown command 'dance'", "help", "dance")
    run.check(run.run().returncode == 2, "no command")


def test_devices():
    table = run.good("devices").stdout.splitlines()
    run.check(table[0].split()[:3] == ["P:D", "class", "name"], f"heading {table[0]}")
    run.check(sum(line.startswith("*") for line in table) == 1, "one device is marked")
    listed = json.loads(run.good("devices", "--json").stdout)
    run.check(listed["schema"] == 1 and len(listed["devices"]) == len(table) - 1, "JSON lists the same devices")
    run.check([d["chosen"] for d in listed["devices"]].count(True) == 1, "JSON marks one device")
    full = run.good("devices", "-v", ROSACE_DEVICE=None).stdout
    run.check(all(f"{d['id']}  {d['name']}" in full for d in listed["devices"]), "-v names every device")
    run.check("auto takes" in full and "score" in full, "-v says what auto takes")
    run.bad(2, "unexpected argument 'x'", "devices", "x")
    run.bad(2, "--colour", "devices", "--colour")


# ---- Figures -----------------------------------------------------------------------------------------------------


def expected(c, values, length, windows, longest, visible, frequencies, last=64, data=TEXT):
    total, every, tails = len(data), [], []
    for i in range(windows):
        end = longest + 1 + i * (total - longest - 1) // (windows - 1) if windows > 1 else total
        loss = tiny.losses(c, values, data[end - 1 - length : end - 1], data[end - length : end], frequencies, visible)
        every += loss
        tails += loss[-last:]
    return sum(every) / len(every), sum(tails) / len(tails)


def plain_frequencies(c):
    dim = c["head_dim"]
    return [c["rope_theta"] ** (-2 * i / dim) for i in range(dim // 2)]


def causal(m, n):
    return n <= m


def close(report, name, length, figures, tolerance=2e-4):
    s, i = series(report, name), report["lengths"].index(length)
    got = s["all"][i], s["last"][i]
    run.check(all(abs(a - b) < tolerance for a, b in zip(got, figures)), f"{name} at {length}: {got}, expected {figures}")


def test_figures():
    c = tiny.config()
    args = [model, "--text", text, *SHORT, "--last", "5"]
    report = run.evaluate(*args, "--positions", "rope,window", "--window", "6")
    run.check(report["lengths"] == [NEAR, FAR] and report["unit"] == "bits per byte", "lengths and unit")
    for name, visible in (("rope/rope", causal), ("rope/window", lambda m, n: 0 <= m - n <= 6)):
        for length in (NEAR, FAR):
            close(report, name, length, expected(c, weights, length, WINDOWS, FAR, visible, plain_frequencies(c), last=5))
    one = run.evaluate(model, "--text", text, "--lengths", "20", "--windows", "1", "--positions", "rope")
    close(one, "rope/rope", 20, expected(c, weights, 20, 1, 20, causal, plain_frequencies(c)))


def test_forms_of_weights():
    forms = {
        "half": (tiny.config(), "F16"),
        "brain": (tiny.config(num_key_value_heads=1, tie_word_embeddings=True), "BF16"),
        "wide-heads": (tiny.config(head_dim=24, num_attention_heads=4, num_key_value_heads=2), "F32"),
        "no-head-dim": (tiny.config(num_key_value_heads=None), "F32"),
    }
    if SMALL:
        forms = {"brain": forms["brain"]}
    for name, (c, dtype) in forms.items():
        values = tiny.write(run.path(name), {"num_key_value_heads": c["num_attention_heads"], **c}, dtype, seed=5)
        if name == "no-head-dim":
            c = {key: value for key, value in c.items() if key != "head_dim"}
            with open(os.path.join(run.path(name), "config.json"), "w") as file:
                json.dump(c, file)
        full = {"num_key_value_heads": 2, "head_dim": 16, **c}
        report = run.evaluate(run.path(name) + "/", "--text", text, *SHORT, "--positions", "rope")
        close(report, f"{name}/rope", FAR, expected(full, values, FAR, WINDOWS, FAR, causal, plain_frequencies(full)))


def scaled(name, **rope):
    tiny.write(run.path(name), tiny.config(**rope))
    report = run.evaluate(run.path(name), "--text", text, "--lengths", "32", "--windows", WINDOWS, "--positions", "rope")
    return series(report, f"{name}/rope")["all"][0]


def test_scalings_of_the_configuration():
    """A factor of 2 in config.json is what pi, ntk and yarn make of a plain model at twice its length."""
    if SMALL:
        return
    report = run.evaluate(model, "--text", text, "--lengths", "32", "--windows", WINDOWS, "--positions", "rope,pi,ntk,yarn")
    ours = {s["system"]: s["all"][0] for s in report["series"]}
    forms = {
        "rope": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
        "pi": {"rope_scaling": {"type": "linear", "factor": 2.0}},
        "ntk": {"rope_scaling": {"rope_type": "dynamic", "factor": 1.0}},
        "yarn": {"rope_theta": 5.0, "rope_parameters": {"rope_theta": 10000.0, "rope_type": "yarn", "factor": 2.0,
                                                        "original_max_position_embeddings": 16}},
    }
    for system, keys in forms.items():
        got = scaled("scaled-" + system, **keys)
        run.check(abs(got - ours[system]) < 1e-5, f"{keys}: {got}, {system} gives {ours[system]}")
    c = tiny.config()
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 16}
    frequencies = []
    for f in plain_frequencies(c):
        turns = 16 * f / (2 * math.pi)
        smooth = min(1, max(0, (turns - 1) / (4 - 1)))
        frequencies.append((1 - smooth) * f / 8 + smooth * f)
    figure = expected(c, weights, 32, WINDOWS, 32, causal, frequencies)[0]
    got = scaled("scaled-llama3", rope_scaling=llama3)
    run.check(abs(got - figure) < 2e-4, f"llama3: {got}, expected {figure}")


def test_tokens():
    c = tiny.config(vocab_size=300)
    values = tiny.write(run.path("many"), c, seed=8)
    ids = [random.Random(4).randrange(300) for _ in range(1)] + [299, 0] + [b + 40 for b in TEXT[:60]]
    tokens = run.path("tokens")
    with open(tokens, "wb") as file:
        file.write(struct.pack(f"<{len(ids)}I", *ids))
    args = [run.path("many"), "--tokens", tokens, *SHORT, "--positions", "rope"]
    report = run.evaluate(*args)
    run.check(report["unit"] == "bits per token" and report["text"]["tokens"] == len(ids), "unit and count of tokens")
    figures = expected(c, values, FAR, WINDOWS, FAR, causal, plain_frequencies(c), data=ids)
    close(report, "many/rope", FAR, figures)
    both = run.evaluate(*args, "--text", text)
    run.check(both["unit"] == "bits per byte", "unit with the text at hand")
    close(both, "many/rope", FAR, [f * len(ids) / len(TEXT) for f in figures])
    run.bad(1, "not a whole number of 4-byte", "eval", run.path("many"), "--tokens", text_of("odd", b"12345"), *SHORT)
    big = text_of("big", struct.pack("<40I", *([0] * 39 + [300])))
    run.bad(1, "token id 300, but vocab_size", "eval", run.path("many"), "--tokens", big, *SHORT)
    huge = text_of("huge", struct.pack("<40I", *([0] * 39 + [2**31])))
    run.bad(1, "2147483648", "eval", run.path("many"), "--tokens", huge, *SHORT)
    run.bad(1, "give the text's token ids", "eval", run.path("many"), "--text", text, *SHORT)


def test_every_system_of_every_kind():
    """Everything runs, on both paths alike, and a window as wide as the length changes nothing."""
    folders = [model]
    windowed = ("sinusoidal", "alibi", "shaw", "xpos", "kerple", "sandwich")
    for kind in (*windowed, "hwfa"):
        folders.append(run.path(kind))
        tiny.write(folders[-1], tiny.config(kind))
    args = [*folders, "--text", text, "--lengths", "17" if SMALL else "16,24", "--windows", WINDOWS]
    report = run.evaluate(*args)
    names = [s["name"] for s in report["series"]]
    systems = ["rope", "window", "window+sinks", "window+sinks+rerope", "bca", "rerope", "leaky-rerope", "pi", "ntk", "yarn", "logn",
               "window+logn"]
    wanted = ["rope/" + s for s in systems]
    wanted += [f"{kind}/{s}" for kind in windowed for s in (kind, "window")] + ["hwfa/hwfa"]
    run.check(names == wanted, f"series {names}")
    if SMALL:
        return
    gemm = run.evaluate(*args, "--path", "gemm")
    for s, g in zip(report["series"], gemm["series"]):
        run.check(all(abs(x - y) < 1e-4 for x, y in zip(s["all"], g["all"])), f"{s['name']}: {s['all']} {g['all']}")
    wide = run.evaluate(*args, "--window", "30")
    for kind in ("rope", *windowed):
        a, b = series(wide, f"{kind}/{kind}")["all"], series(wide, f"{kind}/window")["all"]
        run.check(all(abs(x - y) < 1e-5 for x, y in zip(a, b)), f"{kind}: a window that hides nothing: {a} {b}")
    table = run.good("eval", *args, "-v").stdout
    run.check("window 15 + 4 sinks" in table and "1x" in table and "over all positions" in table, f"table: {table}")


def test_windows_stay_where_longest_puts_them():
    args = [model, "--text", text, "--windows", "2", "--positions", "rope"]
    if SMALL:
        return
    both = run.evaluate(*args, "--lengths", "16,40")
    alone = run.evaluate(*args, "--lengths", "16", "--longest", "40")
    a, b = series(both, "rope/rope")["all"][0], series(alone, "rope/rope")["all"][0]
    run.check(abs(a - b) < 1e-6, f"--longest 40: {a} {b}")
    run.bad(2, "--longest 20: is less than the length 40", "eval", *args, "--lengths", "16,40", "--longest", "20")


# ---- What is refused ---------------------------------------------------------------------------------------------


def text_of(name, data):
    with open(run.path(name), "wb") as file:
        file.write(data)
    return run.path(name)


def refuse(status, words, *args, **environment):
    """No report may be left behind, whole or in part."""
    reports = ["--json", run.path("out.json"), "--html", run.path("out.html")]
    run.bad(status, words, "eval", *args, *reports, **environment)
    run.check(not leftovers(), f"{args}: left {leftovers()}")
    for name in leftovers():
        os.remove(run.path(name))


def test_bad_arguments():
    good = [model, "--text", text, *SHORT]
    refuse(2, "--text is missing", model)
    refuse(2, "model folder is missing", "--text", text)
    refuse(2, "unknown position system 'rop'; known are rope, alibi", *good, "--positions", "rope,rop")
    refuse(1, "'alibi' does not fit", *good, "--positions", "alibi")
    for lengths in ("", "0", "-3", "12,", "12x", "1e3", "99999999999999999999"):
        refuse(2, "--lengths", model, "--text", text, "--lengths", lengths)
    for option in ("--window", "--sinks", "--block", "--rerope-window", "--rerope-leak", "--windows", "--last"):
        refuse(2, option, *good, option, "many")
        refuse(2, option, *good, option, "-1")
    refuse(2, "--path", *good, "--path", "magic")
    refuse(2, "--nonsense", *good, "--nonsense")
    refuse(1, "--device quantum", *good, "--device", "quantum")
    refuse(1, "quantum", *good, ROSACE_DEVICE="quantum")
    run.bad(1, "cannot be written", "eval", *good, "--json", run.path("no/such/folder.json"))
    run.bad(1, "is a folder", "eval", *good, "--html", run.folder)


def test_bad_text():
    refuse(1, "empty", model, "--text", text_of("empty", b""))
    refuse(1, "No such file", model, "--text", run.path("nowhere"))
    refuse(1, f"too few for a length of {FAR}", model, "--text", text_of("short", TEXT[:FAR]), *SHORT)
    report = run.evaluate(model, "--text", text_of("enough", TEXT[: FAR + 1]), *SHORT, "--positions", "rope")
    run.check(len(report["series"]) == 1, "a text of the largest length and one byte will do")


def test_bad_folders():
    args = ["--text", text, *SHORT]
    refuse(1, "config.json", run.path("nowhere"), *args)
    os.mkdir(run.path("hollow"))
    with open(run.path("hollow/config.json"), "w") as file:
        json.dump(tiny.config(), file)
    refuse(1, "model.safetensors: No such file", run.path("hollow"), *args)
    refuse(1, "model.safetensors", model, run.path("hollow"), *args)


def test_bad_configurations():
    folder = run.path("config")
    tiny.write(folder, tiny.config())
    cases = {
        "hidden_size is missing": {"hidden_size": None},
        'num_hidden_layers = "two": must be': {"num_hidden_layers": "two"},
        "num_attention_heads = 2.5: must be": {"num_attention_heads": 2.5},
        "not a multiple of num_key_value_heads": {"num_key_value_heads": 3, "num_attention_heads": 4},
        "head_dim 12 must be": {"head_dim": 12},
        'position_embedding_type = "learned": must be': {"position_embedding_type": "learned"},
        'rope_scaling.rope_type = "spiral": must be "default"': {"rope_scaling": {"rope_type": "spiral", "factor": 2.0}},
        'rope_scaling.factor = "two": must be': {"rope_scaling": {"type": "linear", "factor": "two"}},
        "rope_scaling.long_factor has 3 numbers: must have 8": {"rope_scaling": {"type": "longrope", "short_factor": [1] * 8,
                                                                               "long_factor": [1] * 3}},
        "rope_scaling = 4: must be an object": {"rope_scaling": 4},
        "rope_parameters.factor is missing": {"rope_parameters": {"rope_type": "linear"}},
        "rope_scaling.rope_type is missing": {"rope_scaling": {"factor": 2.0}},
        "rope_theta = -1: must be": {"rope_theta": -1},
        "shaw_max_distance is missing": {"position_embedding_type": "shaw"},
        'hidden_act = "gelu_10": must be': {"hidden_act": "gelu_10"},
        'model_type = "mamba": must be llama, mistral,': {"model_type": "mamba"},
        'architectures = ["LlamaForSequenceClassification"]: must be': {"architectures": ["LlamaForSequenceClassification"]},
        'quantization_config = {"quant_method": "mxfp4"}: must be null': {"quantization_config": {"quant_method": "mxfp4"}},
        "sliding_window = 8: must be null": {"sliding_window": 8},
        "tensor 'model.layers.0.self_attn.q_proj.bias' is missing": {"attention_bias": True},
        "tie_word_embeddings = 1: must be true or false": {"tie_word_embeddings": 1},
        'layer_types = ["full_attention"]: must be a list of 2': {"model_type": "mistral", "layer_types": ["full_attention"]},
        'layer_types = ["full_attention", "linear_attention"]: must be made of': {
            "model_type": "mistral", "layer_types": ["full_attention", "linear_attention"]},
        "sliding_window is missing": {"model_type": "gemma2"},
        "sliding_window = 0: must be a whole number": {"model_type": "mistral", "sliding_window": 0},
        "use_sliding_window is false, but": {"model_type": "qwen2", "layer_types": ["full_attention", "sliding_attention"],
                                             "sliding_window": 4},
        "use_bidirectional_attention = true: must be false": {"model_type": "gemma3_text", "use_bidirectional_attention": True},
        "layer_norm_eps = -1: must be": {"model_type": "gpt_neox", "layer_norm_eps": -1},
        "apply_residual_connection_post_layernorm = true": {"model_type": "bloom",
                                                            "apply_residual_connection_post_layernorm": True},
        "attn_config.alibi = false: must be true": {"model_type": "mpt", "d_model": 32, "n_heads": 2, "n_layers": 2,
                                                    "max_seq_len": 16, "attn_config": {"alibi": False}},
        "num_experts_per_tok 5 is more than": {"model_type": "gpt_oss", "num_local_experts": 4, "num_experts_per_tok": 5},
        "rotary_value = true: must be false": {"model_type": "roformer", "rotary_value": True},
        "embedding_size = 16: must be hidden_size": {"model_type": "roformer", "embedding_size": 16},
        "is an encoder": {"model_type": "roformer"},
        "hwfa_window is missing": {"position_embedding_type": "hwfa"},
        "kerple_r1' is missing": {"position_embedding_type": "kerple"},
        "is [32, 32] where config.json asks for [64, 32]": {"num_attention_heads": 4, "num_key_value_heads": 4},
        "has more layers than": {"num_hidden_layers": 1},
        "'model.layers.2.input_layernorm.weight' is missing": {"num_hidden_layers": 3},
        "'model.embed_tokens.weight' is [256, 32]": {"hidden_size": 64, "num_key_value_heads": 2},
    }
    for words, changes in cases.items():
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(tiny.config(**changes), file)
        refuse(1, words, folder, "--text", text, *SHORT)
    for words, data in (("line 1", '{"hidden_size": '), ("not a JSON object", "[1]"), ("line 1", "")):
        with open(os.path.join(folder, "config.json"), "w") as file:
            file.write(data)
        refuse(1, words, folder, "--text", text, *SHORT)


def test_bad_safetensors():
    folder = run.path("weights")
    tiny.write(folder, tiny.config())
    path = os.path.join(folder, "model.safetensors")
    with open(path, "rb") as file:
        whole = file.read()
    length = struct.unpack("<Q", whole[:8])[0]
    tensors = tiny.random_tensors(tiny.config())
    first = "model.embed_tokens.weight"

    def edited(change):
        return tiny.safetensors(tensors, edit=lambda header: change(header[first]))

    def set_key(key, value):
        return edited(lambda entry: entry.__setitem__(key, value))

    def remove(entry_name):
        return tiny.safetensors(tensors, edit=lambda header: header.pop(entry_name))

    end = json.loads(whole[8 : 8 + length])[first]["data_offsets"][1]
    cases = [
        ("too few", b""),
        ("too few", whole[:5]),
        ("header of", struct.pack("<Q", 2**63) + whole[8:]),
        ("header of", struct.pack("<Q", len(whole)) + whole[8:]),
        ("header of", whole[: 8 + length - 1]),
        ("truncated or its header lies", whole[:-1]),
        ("truncated or its header lies", whole[: 8 + length]),
        ("data, but tensors for", whole + b"more"),
        ("not JSON", whole[:8] + b"x" + whole[9:]),
        ("not a JSON object", struct.pack("<Q", 2) + b"[]"),
        ("unknown dtype", set_key("dtype", "F31")),
        ("must be F32, F16 or BF16", tiny.safetensors({n: (s, d) for n, (s, d) in tensors.items()}, dtype="I32")),
        ("needs dtype, shape", set_key("shape", 7)),
        ("not made of sizes", set_key("shape", [-1, 32])),
        ("not made of sizes", set_key("shape", [256.5, 32])),
        ("more elements than can be", set_key("shape", [2**62, 2**62])),
        ("bytes where dtype and shape need", set_key("shape", [255, 32])),
        ("at most 8", set_key("shape", [1] * 9)),
        ("no range", set_key("data_offsets", [end, 0])),
        ("no range", set_key("data_offsets", [-4, end])),
        ("header lies", set_key("data_offsets", [0, 2**60])),
        ("holes", set_key("data_offsets", [4, end + 4])),
        ("overlap", tiny.safetensors(tensors, edit=lambda header: header["model.norm.weight"].__setitem__(
            "data_offsets", [end - 4, end - 4 + 32 * 4]))),
        ("holes", remove(first)),
        ("is missing", tiny.safetensors({n: t for n, t in tensors.items() if n != "lm_head.weight"})),
    ]
    for words, data in cases:
        with open(path, "wb") as file:
            file.write(data)
        refuse(1, words, folder, "--text", text, *SHORT)
    with open(path, "wb") as file:
        file.write(tiny.safetensors({**tensors, first: ([256, 32], b"\xff" * (256 * 32 * 4))}))
    refuse(1, "not a number", folder, "--text", text, *SHORT)


# ---- Reports -----------------------------------------------------------------------------------------------------


def test_reports():
    out = run.path("out.json")
    run.good("eval", model, "--text", text, *SHORT, "--positions", "rope", "--json", out, "--html", run.path("out.html"))
    run.check(sorted(leftovers()) == ["out.html", "out.json"], f"files {leftovers()}")
    with open(out) as file:
        report = json.load(file)
    keys = {"schema", "rosace", "command", "device", "text", "unit", "windows", "last", "models", "lengths", "series"}
    run.check(set(report) == keys and report["schema"] == 1, f"keys {sorted(report)}")
    keys = {"name", "model", "system", "label", "parameters", "attention", "all", "last", "seconds", "tokens_per_second"}
    run.check(set(report["series"][0]) == keys, f"keys of a series {sorted(report['series'][0])}")
    run.check(report["command"].startswith("rosace eval ") and f"--text {text}" in report["command"], "command")
    run.check(all(s > 0 for s in report["series"][0]["tokens_per_second"]), "speed")
    old = os.stat(out).st_ino
    run.good("eval", model, "--text", text, *SHORT, "--positions", "rope", "--json", out)
    run.check(os.stat(out).st_ino != old, "an old report is replaced, not written over")
    run.good("eval", model, "--text", text, *SHORT, "--positions", "rope", "--json", "/dev/null")
    run.check(not os.path.isfile("/dev/null"), "/dev/null is still what it was")
    for name in leftovers():
        os.remove(run.path(name))


for name, test in list(globals().items()):
    if name.startswith("test_"):
        before = run.failures
        test()
        print("ok" if run.failures == before else "FAIL", name, flush=True)
run.end()
