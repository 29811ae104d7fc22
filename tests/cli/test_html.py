#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The page of `rosace eval --html` in a real browser: test_html.py ROSACE

Chromium renders it, light and dark; its DOM has every series with a curve, its console stays silent, it asks for nothing
from outside, and every series' colour is there to be seen."""

import html.parser
import re
import shutil
import struct
import subprocess
import sys
import zlib

import tiny
from program import Runner

browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if not browser:
    print("SKIP no chromium")
    sys.exit(77)
run = Runner(sys.argv[1])
text, page = run.path("text"), run.path("page.html")
with open(text, "wb") as file:
    file.write(tiny.text(400))
folders = []
for kind in ("rope", "sinusoidal", "alibi", "shaw"):
    folders.append(run.path("a <&> " + kind if kind == "shaw" else kind))
    tiny.write(folders[-1], tiny.config(kind))
report = run.evaluate(*folders, "--text", text, "--lengths", "8,16,20,32,64", "--windows", "2", "--html", page)
names = [series["name"] for series in report["series"]]


def chromium(*args):
    profile = run.path("profile")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr",
               f"--user-data-dir={profile}", "--window-size=1200,2200", "--virtual-time-budget=3000", "--log-level=0"]
    result = subprocess.run([*command, *args, "file://" + page], capture_output=True, timeout=300)
    console = [line for line in result.stderr.decode(errors="replace").splitlines() if "CONSOLE" in line]
    run.check(not console, f"the console says {console}")
    run.check(result.returncode == 0, f"chromium {args}: status {result.returncode}: {result.stderr[-500:]}")
    return result.stdout.decode()


class Page(html.parser.HTMLParser):
    """Series with the points of their curves, text, and everything that would be fetched."""

    def __init__(self):
        super().__init__()
        self.series, self.fetched, self.text, self.scripts, self.inside = {}, [], [], 0, None

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if "data-series" in values:
            self.inside = values["data-series"]
            self.series[self.inside] = []
        elif tag == "path" and self.inside and not values.get("class"):
            self.series[self.inside] = re.findall(r"([\d.]+) ([\d.]+)", values["d"])
        self.scripts += tag == "script"
        for key in ("src", "href"):
            if key in values and not values[key].startswith("data:"):
                self.fetched.append(values[key])

    def handle_endtag(self, tag):
        if tag == "g":
            self.inside = None

    def handle_data(self, data):
        self.text.append(data)


def pixels(path):
    """The colours of a PNG of 8 bits a channel, as a set of (r, g, b), and the one of the upper left corner."""
    with open(path, "rb") as file:
        data = file.read()
    width, _, depth, kind, _, _, interlace = struct.unpack(">IIBBBBB", data[16:29])
    if (depth, interlace) != (8, 0) or kind not in (2, 6):
        raise ValueError(f"a PNG of depth {depth}, kind {kind}, interlace {interlace}")
    packed, at = b"", 8
    while at < len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        if name == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += 12 + length
    raw, step = zlib.decompress(packed), 3 if kind == 2 else 4
    stride, above, colours, corner = width * step, bytes(width * step), set(), None
    for begin in range(0, len(raw), stride + 1):
        method, row = raw[begin], bytearray(raw[begin + 1 : begin + 1 + stride])
        for i in range(stride) if method else ():
            a, b = row[i - step] if i >= step else 0, above[i]
            if method == 1:
                guess = a
            elif method == 2:
                guess = b
            elif method == 3:
                guess = (a + b) // 2
            else:
                c = above[i - step] if i >= step else 0
                p = a + b - c
                guess = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            row[i] = (row[i] + guess) & 255
        above = bytes(row)
        colours.update(zip(above[0::step], above[1::step], above[2::step]))
        corner = corner or tuple(above[:3])
    return colours, corner


dom = chromium("--dump-dom")
seen = Page()
seen.feed(dom)
run.check(sorted(seen.series) == sorted(names), f"series of the page {sorted(seen.series)}, of the report {sorted(names)}")
for name, points in seen.series.items():
    run.check(len(points) == len(report["lengths"]), f"{name} has {len(points)} points")
    run.check([float(x) for x, _ in points] == sorted(float(x) for x, _ in points), f"{name}: x rises with the length")
run.check(not seen.fetched and not seen.scripts and "url(" not in dom, f"the page needs {seen.fetched}")
words = " ".join(seen.text)
for part in ("training length 16", "16\N{MULTIPLICATION SIGN}" if 256 in report["lengths"] else "2\N{MULTIPLICATION SIGN}",
             report["device"]["name"], "rosace eval", "a <&> shaw"):
    run.check(part in words, f"the page says nothing of {part}")

with open(page) as file:
    styles = file.read()
light, dark = (dict(re.findall(r"\.(c\d+)\{--c:#([0-9a-f]{6})\}", part))
               for part in re.search(r"\n(\.c\d.*)\n@media\(prefers-color-scheme:dark\)\{(\.c\d.*)\}\n", styles).groups())
corners = []
for palette, scheme in ((light, 1), (dark, 0)):
    shot = run.path("shot.png")
    chromium(f"--screenshot={shot}", f"--blink-settings=preferredColorScheme={scheme}")
    colours, corner = pixels(shot)
    corners.append(sum(corner))
    for name, value in palette.items():
        wanted = tuple(bytes.fromhex(value))
        run.check(wanted in colours, f"colour {name} #{value} of scheme {scheme} is not on the page")
run.check(len(light) == len(dark) > 0, "every colour has a light and a dark form")
run.check(corners[0] > 600 and corners[1] < 150, f"background light {corners[0]}, dark {corners[1]}")
run.end()
