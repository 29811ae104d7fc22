# SPDX-License-Identifier: MIT
"""Running the program and checking what it says."""

import json
import os
import subprocess
import sys
import tempfile


class Runner:
    """Counts failures; the folder is fresh and goes away with the process."""

    def __init__(self, program):
        self.program = program
        self.failures = self.checks = 0
        self._folder = tempfile.TemporaryDirectory(prefix="rosace-test-")
        self.folder = self._folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def fail(self, what):
        self.failures += 1
        print("FAIL", what, flush=True)

    def check(self, condition, what):
        self.checks += 1
        if not condition:
            self.fail(what)
        return condition

    def run(self, *args, **environment):
        values = {key: value for key, value in {**os.environ, **environment}.items() if value is not None}
        return subprocess.run([self.program, *map(str, args)], capture_output=True, text=True, env=values, timeout=1200)

    def good(self, *args, **environment):
        """Runs and expects success; the result."""
        result = self.run(*args, **environment)
        self.check(result.returncode == 0, f"{args}: exit status {result.returncode}: {result.stderr.strip()}")
        return result

    def bad(self, status, words, *args, **environment):
        """Runs and expects this status and one line 'rosace: ...' with the words in it."""
        result = self.run(*args, **environment)
        lines = [line for line in result.stderr.splitlines() if line.startswith("rosace: ")]
        what = f"{args}: status {result.returncode}, stdout {result.stdout[:200]!r}, stderr {result.stderr[:600]!r}"
        self.check(result.returncode == status, f"expected status {status}: {what}")
        self.check(len(lines) == 1 and words in lines[0], f"expected one line with '{words}': {what}")
        self.check(result.stdout == "", f"expected nothing on the standard output: {what}")

    def evaluate(self, *args, **environment):
        """rosace eval --json; the report."""
        path = self.path("report.json")
        if os.path.exists(path):
            os.remove(path)
        result = self.good("eval", *args, "--json", path, **environment)
        if not self.check(os.path.exists(path), f"{args}: no report"):
            sys.exit(result.stderr)
        with open(path) as file:
            return json.load(file)

    def end(self):
        print(f"{self.checks} checks, {self.failures} failures")
        sys.exit(1 if self.failures else 0)


def series(report, name):
    return next(s for s in report["series"] if s["name"] == name)
