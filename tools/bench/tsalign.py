# SPDX-License-Identifier: Apache-2.0
"""tsalign.ko in a guest: what a V4L2 buffer costs with it, what reading a map costs, how large it is.

The guest kernel says what its part took (tests/hil/tsalign/tsalign_cost.c fires vb2's tracepoints); the
size is that of the module for Debian's x86_64 kernel, whose modules carry more than the guest's.
"""
import importlib.util
import json
import os
import subprocess

from common import REPO, Missing, figure, say

HIL = REPO / "tests" / "hil"
GUEST_S = 900


def prepared(engine):
    if subprocess.run([HIL / "guest", "status", engine], stdout=subprocess.DEVNULL).returncode:
        say(f"making the guest's kernel {engine}, once")
        subprocess.run(["sh", "tools/dev/deps", "uml"], cwd=REPO, check=True, stdout=subprocess.DEVNULL)
        subprocess.run([HIL / "guest", "prepare", engine], check=True, stdout=subprocess.DEVNULL)


def costs(build):
    """The lines of bench_tsalign in the guest."""
    run = subprocess.run(["sh", HIL / "test_tsalign.sh"], cwd=REPO, capture_output=True, text=True, timeout=GUEST_S,
                         env={**os.environ, "O": str(build), "CASES": "bench"})
    lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    if len(lines) < 4:
        raise Missing(f"{len(lines)} figures: {(run.stdout + run.stderr).strip()[-600:]}")
    return lines


def size(build):
    """The module for Debian's kernel, as tests/hil/tsalign/size.py counts it."""
    spec = importlib.util.spec_from_file_location("size", HIL / "tsalign" / "size.py")
    counts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(counts)
    built = subprocess.run([HIL / "guest", "kmod", "qemu-6.12", "kmod"], cwd=REPO, stdout=subprocess.PIPE, text=True,
                           env={**os.environ, "O": str(build)})
    if built.returncode:
        raise Missing("tsalign.ko does not build for Debian's kernel")
    return counts.LIMIT, counts.measure(built.stdout.strip().split("\n")[-1])


def bench(build, work):
    prepared("uml")
    prepared("qemu-6.12")
    for line in costs(build):
        figure("tsalign." + line["name"].removeprefix("tsalign_"), line["value"], line["unit"],
               limit=line["limit"])
    limit, m = size(build)
    figure("tsalign.size", m["loaded"], "bytes", limit=limit, text=m["text"], rodata=m["rodata"], data=m["data"],
           bss=m["bss"], what="loaded: without .init, .modinfo, __versions")
    figure("tsalign.size_text_data", m["size"], "bytes", limit=limit, what="text + data by size(1)")
