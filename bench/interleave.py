# SPDX-License-Identifier: MIT
"""Timing of several programs' work in turn, in one process."""

import os
import statistics
import time

import numpy as np

# Thread pools of peers (OpenMP, OpenBLAS, ONNX Runtime) keep their threads spinning for a while after a call, for the
# next one's sake. They keep that habit, since it is to their good; whoever comes next starts when the spinning is over.
PAUSE = 0.3
SAMPLE = 0.02  # seconds a sample lasts at least, in back-to-back calls


class Entrant:
    """One way to do the work of a case. `many(n)` does it n times, one call behind the other, and returns when all is
    done; `result()` gives an array to compare (None: nothing to compare). `role`: "rosace", the one that peers are
    compared with; "variant", another way of rosace's; "peer"; "limit", which does less than the case, a copy for
    instance. `work`: operations or bytes per call, where that is not the case's."""

    def __init__(self, name, many, result=None, role="peer", work=None, close=None):
        self.name, self.many, self.result, self.role, self.work = name, many, result, role, work
        self.close = close or (lambda: None)
        self.samples, self.calls, self.idle_cpu, self.difference = [], 1, 0.0, None

    @classmethod
    def of_call(cls, name, call, result=None, **more):
        def many(n):
            for _ in range(n):
                call()

        return cls(name, many, result, **more)

    @classmethod
    def of_queue(cls, device, name, enqueue, result=None, **more):
        def many(n):
            for _ in range(n):
                enqueue()
            device.finish()

        return cls(name, many, result, close=getattr(enqueue, "close", None), **more)

    @property
    def median(self):
        return statistics.median(self.samples)

    @property
    def least(self):
        return min(self.samples)

    @property
    def spread(self):
        if len(self.samples) < 4:
            return 0.0
        q1, _, q3 = statistics.quantiles(self.samples, n=4)
        return (q3 - q1) / self.median


def difference(a, b):
    """Largest absolute difference; not a number anywhere counts as infinite."""
    worst = 0.0
    a, b = np.ravel(a), np.ravel(b)
    for i in range(0, a.size, 1 << 22):
        part = np.abs(a[i : i + (1 << 22)].astype(np.float64) - b[i : i + (1 << 22)])
        worst = max(worst, float(part.max()) if np.isfinite(part).all() else float("inf"))
    return worst


def warm_up(entrant):
    """Finds how many calls make a sample. The first call was for the comparison; slow work needs no second."""
    calls = 1
    while True:
        begin = time.perf_counter()
        entrant.many(calls)
        seconds = time.perf_counter() - begin
        if seconds >= SAMPLE or calls >= 4096:
            entrant.calls, entrant.seconds = calls, seconds
            return
        calls = min(4096, int(calls * min(8.0, SAMPLE / max(seconds, 1e-9) + 1)))


class Machine:
    """How busy others keep the processors, as a share of all of them, since this was made. None: not known."""

    def __init__(self):
        self.begin = self._now()

    @staticmethod
    def _now():
        try:
            with open("/proc/stat") as file:
                ticks = [int(x) for x in file.readline().split()[1:9]]
        except (OSError, ValueError):
            return None
        idle = ticks[3] + ticks[4]
        scale = os.sysconf("SC_CLK_TCK")
        return (sum(ticks) - idle) / scale, sum(ticks) / scale, time.process_time()

    def others(self):
        now = self._now()
        if not self.begin or not now:
            return None
        busy, total, own = (b - a for a, b in zip(self.begin, now))
        return max(0.0, busy - own) / total if total > 0 else None


def interleave(entrants, seconds, least=3, most=200, pause=PAUSE):
    """Rounds of one sample each until about `seconds` have gone into them. An entrant that would take more than its
    share of that leaves early, after three samples at least (two, if a sample takes seconds). The processor time of the
    pauses is kept, as the evidence that nobody spins into the next one's sample."""
    for entrant in entrants:
        warm_up(entrant)
        time.sleep(pause)
    begin = time.perf_counter()
    rounds = 0
    while rounds < least or (rounds < most and time.perf_counter() - begin < seconds):
        for entrant in entrants:
            taken = len(entrant.samples)
            if entrant.seconds * taken > seconds / 3 and taken >= (2 if entrant.seconds > 1 else 3):
                continue
            start = time.perf_counter()
            entrant.many(entrant.calls)
            entrant.samples.append((time.perf_counter() - start) / entrant.calls)
            time.sleep(pause / 2)
            cpu = time.process_time()
            time.sleep(pause / 2)
            entrant.idle_cpu = max(entrant.idle_cpu, (time.process_time() - cpu) / (pause / 2))
        rounds += 1
    return rounds
