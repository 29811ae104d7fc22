#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints the version that include/rosace/rosace.h states, so that it stands in one place."""
import pathlib
import re

header = (pathlib.Path(__file__).parent.parent / "include/rosace/rosace.h").read_text()
print(".".join(re.search(rf"ROSACE_VERSION_{part} (\d+)", header)[1] for part in ("MAJOR", "MINOR", "PATCH")))
