#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes kernel sources into a C file: embed.py OUT.c ROOT FILE..., or one as a string: embed.py --text NAME OUT.h FILE"""
import pathlib
import sys


def numbers_of(file):
    return ",".join(map(str, file.read_bytes() + b"\0"))


if sys.argv[1] == "--text":
    name, out, file = sys.argv[2:]
    text = numbers_of(pathlib.Path(file))
    pathlib.Path(out).write_text(f"/* Made by cl/embed.py. */\nstatic const char {name}[] = {{{text}}};\n")
    sys.exit()

out, root, *files = map(pathlib.Path, sys.argv[1:])
lines = ['/* Made from cl/ by cl/embed.py. */', '#include "program.h"', '']
rows = []
for i, file in enumerate(sorted(files, key=lambda f: f.resolve().relative_to(root.resolve()).as_posix())):
    name = file.resolve().relative_to(root.resolve()).as_posix()
    lines.append(f"static const char source_{i}[] = {{{numbers_of(file)}}};")
    rows.append(f'    {{"{name}", source_{i}, {file.stat().st_size}}},')
lines += ["", "const rsc_source rsc_sources[] = {", *rows, "    {0, 0, 0},", "};", ""]
out.write_text("\n".join(lines))
