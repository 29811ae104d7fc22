#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The models of the demonstration under every position system against the figures that PyTorch gives for the same weights
and text (models/golden.json, made by models/reference.py). Figures must agree within 0.001 bits per byte, over all
positions and over the last ones."""

import argparse
import json
import os

from program import Runner

TOLERANCE = 1e-3
OPTIONS = {"window_left": "--window", "sinks": "--sinks", "block": "--block", "rerope": "--rerope-window", "leak": "--rerope-leak"}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("rosace", help="the program")
parser.add_argument("models", help="the folder of the models")
parser.add_argument("--length", type=int, action="append", help="only this one; may be repeated")
parser.add_argument("--system", action="append", help="only this one, as golden.json calls it; may be repeated")
args = parser.parse_args()

run = Runner(args.rosace)
models = args.models
with open(os.path.join(models, "golden.json")) as file:
    golden = json.load(file)
lengths = args.length or golden["lengths"]
results = [result for result in golden["results"] if not args.system or result["system"] in args.system]


def plan():
    """As few runs of the program as the different values of one option allow: (options, [(series name, result)])."""
    runs = []
    for result in results:
        options = {OPTIONS[key]: str(value) for key, value in result["parameters"].items()}
        name = result["model"] + "/" + (result["model"] if result["system"] == "plain" else result["system"])
        for taken, names in runs:
            if name not in names and all(taken.get(key, value) == value for key, value in options.items()):
                break
        else:
            taken, names = {}, {}
            runs.append((taken, names))
        taken.update(options)
        names[name] = result
    return runs


worst = 0.0
for options, names in plan():
    folders = sorted({name.split("/")[0] for name in names})
    systems = sorted({name.split("/")[1] for name in names})
    report = run.evaluate(
        *(os.path.join(models, folder) for folder in folders),
        "--text", os.path.join(models, "heldout.txt"), "--windows", golden["windows"], "--last", golden["last"],
        "--lengths", ",".join(map(str, lengths)), "--longest", max(golden["lengths"]), "--positions", ",".join(systems),
        *(part for option in options.items() for part in option))
    found = {series["name"]: series for series in report["series"]}
    for name, result in names.items():
        if not run.check(name in found, f"no series {name}"):
            continue
        for kind in ("all", "last"):
            for i, length in enumerate(lengths):
                got, expected = found[name][kind][i], result[kind][golden["lengths"].index(length)]
                worst = max(worst, abs(got - expected))
                run.check(abs(got - expected) <= TOLERANCE,
                          f"{name} {result['parameters']} at {length}, {kind}: {got:.6f}, PyTorch gives {expected:.6f}")
print(f"largest difference {worst:.2e} bits per byte on {report['device']['name']}")
run.end()
