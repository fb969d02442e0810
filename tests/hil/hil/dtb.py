# SPDX-License-Identifier: Apache-2.0
"""QEMU's own device tree with overlays on it, for kernels without OF_OVERLAY."""

import re
import subprocess

from .common import EXIT_SETUP, HarnessError

# Above what QEMU gives to those nodes that have one.
PHANDLE_FIRST = 0x100000


def merge(machine, overlays, directory):
    """The path of the tree that QEMU makes for these arguments, overlays applied."""
    base = directory / "base.dtb"
    at = machine.index("-M") + 1
    called([*machine[:at], f"{machine[at]},dumpdtb={base}", *machine[at + 1:]])
    add_labels(base)
    merged = directory / "merged.dtb"
    called(["fdtoverlay", "-i", base, "-o", merged, *overlays])
    return merged


def add_labels(base):
    """QEMU's tree has no labels for overlays to name: each top node's name becomes its."""
    called(["fdtput", "-c", base, "/__symbols__"])
    nodes = called(["fdtget", "-l", base, "/"]).split()
    for number, node in enumerate(node for node in nodes if not node.startswith("__")):
        label = re.sub(r"\W", "_", node.split("@")[0])
        called(["fdtput", "-t", "s", base, "/__symbols__", label, "/" + node])
        if "phandle" not in called(["fdtget", "-p", base, "/" + node]).split():
            called(["fdtput", "-t", "u", base, "/" + node, "phandle", PHANDLE_FIRST + number])


def called(argv):
    done = subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise HarnessError(EXIT_SETUP, f"device tree: {argv[0]} failed: {done.stderr.strip()}")
    return done.stdout
