#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What rosace verify compares, reports and refuses; and that it finds a kernel that is wrong: test_verify.py ROSACE CL_FOLDER"""

import json
import os
import shutil
import sys

from program import Runner

run = Runner(sys.argv[1])
small = bool(os.environ.get("ROSACE_TEST_SMALL"))
WRONG = ["verify", "--quick", "--system", "alibi", "--path", "decode", "--dtype", "f32"]


def cells(*args, **environment):
    path = run.path("cells.json")
    if os.path.exists(path):
        os.remove(path)
    result = run.run(*args, "--json", path, **environment)
    with open(path) as file:
        return result, json.load(file)


def test_refusals():
    for words, args in {
        "--system ropes: 'ropes'": ["--system", "ropes"],
        "--system rope,: ''": ["--system", "rope,"],
        "--path gemm,fast: 'fast'": ["--path", "gemm,fast"],
        "--dtype f64: 'f64'": ["--dtype", "f64"],
        "--direction up: 'up'": ["--direction", "up"],
        "unexpected argument 'x'": ["x"],
        "--colour": ["--colour"],
    }.items():
        run.bad(2, words, "verify", *args)
    run.bad(1, "no device", "verify", "--device", "no such device")
    run.bad(1, "is a folder", "verify", "--json", run.folder)
    none = run.run("verify", "--system", "alibi", "--path", "rotate")
    run.check(none.returncode == 1 and "no system of those" in none.stderr, f"nothing to verify: {none.stderr}")
    listed = run.good("verify", "--list").stdout.splitlines()
    run.check(len(listed) > 40 and any(line.split()[0] == "alibi" for line in listed), f"the list: {listed}")


def test_few_systems():
    wanted = WRONG if small else ["verify", "--quick", "--system", "rope,none,alibi,sinusoidal", "--dtype", "f32"]
    result, report = cells(*wanted)
    run.check(result.returncode == 0, f"{wanted}: {result.returncode}: {result.stdout} {result.stderr}")
    found = {(c["system"], c["path"], c["dtype"], c["direction"]) for c in report["cells"]}
    attention = {(s, p, "f32", "forward") for s in ("rope", "none", "alibi") for p in ("fused", "decode", "gemm")}
    rotation = {("rope", "rotate", "f32", "forward"), ("sinusoidal", "rotate", "f32", "forward")}
    expected = {("alibi", "decode", "f32", "forward")} if small else attention | rotation
    run.check({c for c in found if c[3] == "forward"} == expected, f"cells: {found}")
    run.check(report["count"]["passed"] + report["count"]["declined"] == len(report["cells"]) and not report["count"]["failed"],
              f"counts: {report['count']}")
    for cell in report["cells"]:
        if cell["outcome"] == "declined":
            run.check(cell["reason"] and cell["path"] != "gemm", f"declined with a reason, and never by gemm: {cell}")
            continue
        if not cell["out"]:
            run.fail(f"nothing was computed: {cell}")
            continue
        errors = [cell["out"]] + ([cell["lse"]] if cell["path"] != "rotate" else [])
        run.check(all(e["values"] > 0 and e["max_abs"] > 0 and 0 < e["of_allowed"] <= 1 for e in errors), f"errors: {cell}")
        run.check(cell["path"] == "rotate" or cell["path"] in ("decode", "fused") or "gemm" in cell["variant"], f"variant: {cell}")
        line = next((x for x in result.stdout.splitlines() if x.split()[:3] == [cell["system"], cell["path"], "forward"]), "")
        run.check(f"{cell['out']['max_abs']:.2e}" in line, f"the line of {cell}: {line}")


def test_a_wrong_kernel_is_found():
    """A copy of the kernels in which ALiBi's slope is a little too steep."""
    folder = run.path("cl")
    shutil.copytree(sys.argv[2], folder)
    piece = os.path.join(folder, "position", "alibi.clh")
    with open(piece) as file:
        text = file.read()
    wrong = text.replace("-(slope)", "-1.01f * (slope)")
    run.check(wrong != text, "alibi.clh has a slope to change")
    with open(piece, "w") as file:
        file.write(wrong)
    result, report = cells(*WRONG, ROSACE_KERNEL_DIR=folder)
    (cell,) = report["cells"]
    run.check(result.returncode == 1 and "1 of 1 cells failed" in result.stderr, f"status {result.returncode}: {result.stderr}")
    run.check(cell["outcome"] == "failed" and cell["out"]["of_allowed"] > 1 and "FAILED f32: a " in result.stdout,
              f"the cell: {cell}, {result.stdout}")


test_refusals()
test_few_systems()
test_a_wrong_kernel_is_found()
run.end()
