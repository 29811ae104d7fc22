#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The shape of what rosace bench reports and what it refuses; no time decides anything: test_bench.py ROSACE"""

import json
import math
import os
import sys

from program import Runner

run = Runner(sys.argv[1])
SMALL = "ROSACE_TEST_SMALL" in os.environ  # a simulator: tensors of kilobytes, an operation or two
BOUNDS = {"fma": "GFLOP/s", "copy": "GB/s", "update": "GB/s", "read": "GB/s"}
CASES = {
    ("attention", "causal"): "fma",
    ("attention", "window"): "fma",
    ("attention", "decode"): "read",
    ("rope", None): "copy",
    ("matmul", None): "fma",
    ("softmax", None): "copy",
}


def bench(*args):
    """rosace bench --json; the standard output and the report."""
    path = run.path("bench.json")
    if os.path.exists(path):
        os.remove(path)
    result = run.good("bench", "--quick", *args, "--json", path)
    if not run.check(os.path.exists(path), f"{args}: no report: {result.stderr}"):
        run.end()
    with open(path) as file:
        return result.stdout, json.load(file)


def check_time(time, what):
    run.check(time["samples"] >= 1 and 0 < time["min"] <= time["median"] < 3600, f"{what}: times {time}")
    run.check(0 <= time["spread"] < 1000, f"{what}: spread {time}")


def check_row(row):
    name, sizes = row["name"], row["sizes"]
    bound = CASES[row["op"], row["case"]]
    run.check(name.startswith(row["op"]) and row["bound"] == bound, f"{name}: bound {row['bound']}")
    check_time(row["seconds"], name)
    run.check(bound in row["rooflines"], f"{name}: no roofline {bound}")
    for key, roof in row["rooflines"].items():
        run.check(roof["unit"] == BOUNDS[key] and roof["best"] >= roof["median"] > 0, f"{name}: {key} {roof}")
        check_time(roof["seconds"], f"{name}: {key}")
    work = row["flops"] if bound == "fma" else row["bytes"]
    rate = row["gflops_per_second" if bound == "fma" else "gbytes_per_second"]
    run.check(math.isclose(rate * 1e9 * row["seconds"]["median"], work, rel_tol=1e-6), f"{name}: rate {rate}")
    run.check(math.isclose(row["share"] * row["rooflines"][bound]["best"], rate, rel_tol=1e-6), f"{name}: share")
    run.check(row["share_best"] >= row["share"] > 0, f"{name}: shares {row['share']}, {row['share_best']}")
    return sizes


def pairs(seq, window):
    return sum(min(m + 1, window or seq) for m in range(seq))


def test_everything():
    text, report = bench()
    run.check(report["schema"] == 1 and report["quick"] is True, "heading of the report")
    run.check(report["date"].startswith("20") and "bench --quick" in report["command"] and report["device"]["id"], "command and device of the report")
    rows = report["results"]
    run.check({(r["op"], r["case"]) for r in rows} == set(CASES), f"operations {[r['name'] for r in rows]}")
    run.check(len({r["name"] for r in rows}) == len(rows), "names of cases are unique")
    for row in rows:
        sizes = check_row(row)
        run.check(row["name"] in text, f"{row['name']} is printed")
        if row["op"] == "attention" and row["case"] != "decode":
            expected = 4 * sizes["head-dim"] * sizes["heads"] * pairs(sizes["seq"], sizes.get("window", 0))
            run.check(row["flops"] == expected, f"{row['name']}: {row['flops']} flops, not {expected}")
            run.check("attention" in row["variant"], f"{row['name']}: variant {row['variant']}")
        if row["op"] == "attention" and row["case"] == "decode":
            keys = min(sizes["seq"], sizes["window"] or sizes["seq"])
            expected = 4 * sizes["head-dim"] * (2 * keys * sizes["kv-heads"] + 2 * sizes["heads"])
            run.check(row["bytes"] == expected, f"{row['name']}: {row['bytes']} bytes, not {expected}")
        if row["op"] == "rope":
            expected = 8 * sizes["seq"] * sizes["head-dim"] * (sizes["heads"] + sizes["kv-heads"])
            run.check(row["bytes"] == expected, f"{row['name']}: {row['bytes']} bytes, not {expected}")
        if row["op"] == "matmul":
            run.check(row["flops"] == 2 * sizes["m"] ** 3, f"{row['name']}: {row['flops']} flops")
        if row["op"] == "softmax":
            expected = 4 * sizes["heads"] * (pairs(sizes["seq"], sizes["window"]) + sizes["seq"] ** 2)
            run.check(row["bytes"] == expected, f"{row['name']}: {row['bytes']} bytes, not {expected}")


def test_choice():
    _, report = bench(
        "--op",
        "rope",
        "--seq",
        "8,16",
        "--heads",
        "2",
        "--dtype",
        "f16",
        "--layout",
        "bshd",
        "--pairs",
        "half",
        "--repeat",
        "2",
        "--tensor",
        "1",
    )
    rows = report["results"]
    run.check(
        [r["name"] for r in rows] == ["rope_f16_bshd_half_n8_h2_g2_d32", "rope_f16_bshd_half_n16_h2_g2_d32"],
        f"cases {[r['name'] for r in rows]}",
    )
    for row in rows:
        check_row(row)
        run.check(row["seconds"]["samples"] == 2, f"{row['name']}: samples {row['seconds']}")
        run.check(row["bytes"] == 4 * 4 * 32 * row["sizes"]["seq"], f"{row['name']}: bytes of fp16")
    if not SMALL:
        _, report = bench("--case", "decode", "--queries", "2", "--window", "0", "--path", "fused", "--repeat", "1")
        run.check([r["sizes"]["queries"] for r in report["results"]] == [2], "queries of a decode")


def test_costs():
    text, report = bench("--op", "rope,softmax", "--costs", "--repeat", "2", "--tensor", "1", "--seq", "16")
    costs = {c["op"]: c for c in report["costs"]}
    run.check(set(costs) == {"rope", "softmax"} and "plan,cold" in text, f"operations with costs {report['costs']}")
    for op, cost in costs.items():
        plan = op == "rope"
        for key in ("plan_cold", "plan_warm"):
            run.check((cost[key] is not None) == plan, f"{op}: {key} {cost[key]}")
        values = [v for v in cost.values() if isinstance(v, float)]
        run.check(len(values) == 7 + 2 * plan and all(0 < v < 600 for v in values), f"{op}: {cost}")
    run.check(bench("--op", "rope", "--seq", "8", "--repeat", "1", "--tensor", "1")[1]["costs"] == [], "costs not asked")


def test_refusals():
    run.bad(2, "--op 'dance': known are attention,rope,matmul,softmax", "bench", "--op", "rope,dance")
    run.bad(2, "--case 'acausal': known are causal,window,decode", "bench", "--case", "acausal")
    run.bad(2, "there is no such case", "bench", "--op", "rope", "--case", "causal")
    run.bad(2, "--m: none of the chosen operations has it", "bench", "--op", "rope", "--m", "3")
    run.bad(2, "--seq x: must be a whole number", "bench", "--seq", "16,x")
    run.bad(2, "--seq '': must be a whole number", "bench", "--seq", "16,")
    run.bad(2, "--heads 0: must be a whole number from 1", "bench", "--heads", "0")
    run.bad(2, "--dtype f64: must be one of f32,f16", "bench", "--dtype", "f64")
    run.bad(2, "--seconds -1: must be a number", "bench", "--seconds", "-1")
    run.bad(2, "--repeat 0: must be a whole number", "bench", "--repeat", "0")
    run.bad(2, "--tensor lots: must be a whole number", "bench", "--tensor", "lots")
    run.bad(2, "unexpected argument 'x'", "bench", "x")
    run.bad(1, "cannot be written", "bench", "--json", run.path("no/such/folder"))
    # Devices and kernels have their say only when the case is made.
    for words, args in (
        ("attention has auto, fused and gemm", ["--case", "causal", "--path", "tile"]),
        ("head_dim", ["--op", "rope", "--head-dim", "31"]),
    ):
        result = run.run("bench", "--quick", *args, "--json", run.path("never"))
        run.check(result.returncode == 1 and words in result.stderr, f"{args}: {result}")
        run.check(not os.path.exists(run.path("never")), f"{args}: left a report")


if not SMALL:
    test_everything()
    test_costs()
test_choice()
test_refusals()
run.end()
