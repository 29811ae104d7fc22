#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Unpacks the libraries of Intel's OpenCL runtime: intel_opencl.py FOLDER_WITH_WHEELS OUT

OUT gets what lies in the wheels' lib/ folders and an intel.icd, so that OCL_ICD_VENDORS=OUT selects the runtime. The
ICD loader in the wheel stays behind, and so does a compiler plug-in the runtime never loads.
"""
import pathlib
import shutil
import sys
import zipfile

wheels, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).absolute()
out.mkdir(parents=True, exist_ok=True)
for wheel in sorted(wheels.glob("*.whl")):
    same = {}  # the wheels hold each library once per name it goes by
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            folder, _, name = member.filename.rpartition("/")
            if not folder.endswith(".data/data/lib") or name.startswith("libOpenCL") or name == "icx-lto.so":
                continue
            first = same.setdefault((member.file_size, member.CRC), name)
            (out / name).unlink(missing_ok=True)
            if first != name:
                (out / name).symlink_to(first)
                continue
            with archive.open(member) as source, open(out / name, "wb") as target:
                shutil.copyfileobj(source, target)
library = out / "libintelocl.so"
if not library.exists():
    sys.exit(f"intel_opencl.py: no {library.name} in {wheels}")
(out / "intel.icd").write_text(f"{library}\n")
