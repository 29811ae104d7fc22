#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What rosace tune says, keeps, shows and refuses; no time decides anything: test_tune.py ROSACE"""

import json
import os
import re
import signal
import subprocess
import sys
import time

from program import Runner

run = Runner(sys.argv[1])
cache = run.path("cache")
here = {"ROSACE_CACHE_DIR": cache}
ONE = ["tune", "--op", "attention", "--budget", "0.001"]  # one class is always finished


def known(**environment):
    report = json.loads(run.good("tune", "--list", "--json", **{**here, **environment}).stdout)
    run.check(report["schema"] == 1 and report["path"].startswith(cache), "JSON names the file")
    return {(c["operation"], c["shape"]): c for c in report["classes"]}


def test_refusals():
    for words, args in {
        "--budget 0": ["--budget", "0"],
        "--budget x": ["--budget", "x"],
        "--budget inf": ["--budget", "inf"],
        "--op attention,rope": ["--op", "attention,rope"],
        "--op ''": ["--op", ""],
        "unexpected argument 'x'": ["x"],
        "one of them": ["--list", "--clear"],
        "--colour": ["--colour"],
    }.items():
        run.bad(2, words, "tune", *args, **here)
    run.bad(1, "no device", "tune", "--device", "no such device", **here)
    run.bad(1, "ROSACE_TUNING=off", "tune", "--list", ROSACE_TUNING="off", **here)
    run.bad(1, "no cache folder", "tune", "--list", ROSACE_CACHE_DIR="")
    run.check("--budget" in run.good("tune", "--help").stdout, "help names the options")


def test_nothing_known():
    run.check("nothing is known" in run.good("tune", "--list", **here).stdout, "an empty list says so")
    run.check(known() == {}, "an empty list in JSON")
    run.good("tune", "--clear", **here)
    run.check("tuned             no (rosace tune" in run.good("devices", "-v", **here).stdout, "devices -v: not tuned")


def test_one_class():
    result = run.good(*ONE, **here)
    lines = result.stdout.splitlines()
    run.check(len(lines) == 1 and lines[0].startswith("attention  causal d64 "), f"a line for the class: {result.stdout}")
    run.check("1 classes measured" in result.stderr and "run it again" in result.stderr, f"what is left: {result.stderr}")
    run.check("\r" not in result.stderr, "no changing line where there is no terminal")
    classes = known()
    run.check(len(classes) == 1, f"one class is known: {classes}")
    (operation, shape), figures = next(iter(classes.items()))
    run.check(figures["row"] in lines[0] and 0 < figures["microseconds"] <= figures["default_microseconds"], f"{figures}")
    run.check(re.fullmatch(r"\d{4}-\d\d-\d\d", figures["date"]) is not None, "a date")
    listed = run.good("tune", "--list", **here).stdout.splitlines()
    run.check(len(listed) == 2 and figures["row"] in listed[1] and figures["date"] in listed[1], f"{listed}")
    run.check(f"tuned             1 classes, {figures['date']}" in run.good("devices", "-v", **here).stdout, "devices -v")
    run.check(os.stat(json.loads(run.good("tune", "-l", "-j", **here).stdout)["path"]).st_mode & 0o077 == 0, "private")


def test_interrupt():
    """Stopped at the first class: said, an exit status, and what was known stays."""
    before = known()
    process = subprocess.Popen([sys.argv[1], "tune", "--force"], env={**os.environ, **here}, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stderr.readline()  # the device: the handler is there
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=300)
    run.check(process.returncode == 1 and "rosace: tune: stopped" in stderr, f"{process.returncode}: {stderr}")
    run.check(known().keys() >= before.keys(), "nothing is lost")


def test_read_only():
    if os.geteuid() == 0:
        return
    folder = os.path.join(cache, "tuning")
    os.chmod(folder, 0o500)
    result = run.run(*ONE, "--force", **here)
    os.chmod(folder, 0o700)
    run.check(result.returncode == 1 and "cannot be written" in result.stderr and "nothing was saved" in result.stderr,
              f"{result}")
    run.check(len(known()) >= 1, "what was there stays")


def test_planted():
    """A store that was edited by hand: an unknown row is ignored, and tuning again replaces it."""
    path = json.loads(run.good("tune", "-l", "-j", **here).stdout)["path"]
    with open(path) as file:
        store = json.load(file)
    for entry in store["entries"]["attention"].values():
        entry["choice"] = "a row of tomorrow"
    with open(path, "w") as file:
        json.dump(store, file)
    run.check({c["row"] for c in known().values()} == {"a row of tomorrow"}, "shown as it is")
    run.good(*ONE, "--force", **here)
    run.check("a row of tomorrow" not in {c["row"] for (o, s), c in known().items() if s == "causal d64 f32"}, "replaced")
    with open(path, "w") as file:
        file.write(json.dumps(store)[:-9])
    run.check(known() == {}, "a damaged file is as good as none")
    run.good("tune", "--clear", **here)
    run.check(not os.path.exists(path), "cleared")


start = time.monotonic()
for test in (test_refusals, test_nothing_known, test_one_class, test_interrupt, test_read_only, test_planted):
    test()
print(f"{time.monotonic() - start:.1f} s")
run.end()
