#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the kernel sources into a C file: embed.py OUT.c ROOT FILE..."""
import pathlib
import sys

out, root, *files = map(pathlib.Path, sys.argv[1:])
lines = ['/* Made from cl/ by cl/embed.py. */', '#include "program.h"', '']
rows = []
for i, file in enumerate(sorted(files, key=lambda f: f.resolve().relative_to(root.resolve()).as_posix())):
    data = file.read_bytes()
    name = file.resolve().relative_to(root.resolve()).as_posix()
    numbers = ",".join(map(str, data + b"\0"))
    lines.append(f"static const char source_{i}[] = {{{numbers}}};")
    rows.append(f'    {{"{name}", source_{i}, {len(data)}}},')
lines += ["", "const rsc_source rsc_sources[] = {", *rows, "    {0, 0, 0},", "};", ""]
out.write_text("\n".join(lines))
