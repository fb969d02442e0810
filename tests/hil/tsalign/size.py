#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""size.py MODULE.ko...: what each keeps in memory once it is loaded; exit code 1 beyond 64 KiB.

Counted: text, read-only data (with unwind tables and call sites), data and bss, as the loader lays them
out. Not: .modinfo and __versions, which it drops once it has read them, and the sections of the start
(.init*), which are freed after it. What `size` calls text + data has these, but no bss: it must not be more either.
"""
import re
import subprocess
import sys

LIMIT = 65536
DROPPED = re.compile(r"\.modinfo|__versions|(\.rela)?\.init\b.*")


def sections(path):
    """(name, type, bytes, flags) of each section that has a place in memory."""
    text = subprocess.run(["readelf", "-SW", path], capture_output=True, text=True, check=True).stdout
    row = re.compile(r"^ *\[ *\d+\] (\S+) +(\S+) +[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+) +[0-9a-f]+ +([WAXMSILGTExopC]*) ", re.M)
    return [(name, kind, int(size, 16), flags) for name, kind, size, flags in row.findall(text) if "A" in flags]


def measure(path):
    """{"text", "rodata", "data", "bss", "loaded", "size"} in bytes."""
    sums = dict.fromkeys(("text", "rodata", "data", "bss"), 0)
    size = 0
    for name, kind, length, flags in sections(path):
        size += length if kind != "NOBITS" else 0
        if DROPPED.fullmatch(name):
            continue
        part = "bss" if kind == "NOBITS" else "text" if "X" in flags else "data" if "W" in flags else "rodata"
        sums[part] += length
    return {**sums, "loaded": sum(sums.values()), "size": size}


def main():
    missed = False
    for path in sys.argv[1:]:
        m = measure(path)
        if not m["text"]:
            raise SystemExit(f"{path}: readelf tells of no text")
        missed |= max(m["loaded"], m["size"]) > LIMIT
        print(f"{m['loaded']} bytes loaded (text {m['text']}, rodata {m['rodata']}, data {m['data']}, bss {m['bss']}); "
              f"text + data by size: {m['size']}")
    return 1 if missed or not sys.argv[1:] else 0


if __name__ == "__main__":
    sys.exit(main())
