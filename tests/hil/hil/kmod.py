# SPDX-License-Identifier: Apache-2.0
"""Kernel modules of our own, built against a cached kernel."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import cache
from .common import EXIT_KERNEL, EXIT_SETUP, REPO, HarnessError

# engine -> what make is told. Modules' type information needs pahole and says nothing here.
STOCK = ["CONFIG_DEBUG_INFO_BTF_MODULES="]
ARGUMENTS = {
    "uml": ["ARCH=um"],
    "qemu-6.12": STOCK,
    "qemu-6.1": STOCK,
    "qemu-arm64": ["ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-", *STOCK],
}


def build(engine, debug, source, variables=()):
    """Builds below $O a copy of the folder, which is only read; returns the modules' paths."""
    source = Path(source).resolve()
    if not (source / "Kbuild").is_file():
        raise HarnessError(EXIT_SETUP, f"{source} has no Kbuild")
    tree = cache.kernel_tree(engine, debug)
    name = cache.find(engine, debug).name
    out = Path(os.environ.get("O") or REPO / "build").resolve() / "kmod" / name / source.name
    out.mkdir(parents=True, exist_ok=True)
    with open(out / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        copy_tree(source, out)
        (out / "modules.order").unlink(missing_ok=True)
        # What another make has set for itself means something else to this one.
        env = {name: value for name, value in os.environ.items()
               if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "O")}
        made = subprocess.run(["make", "-s", f"-j{os.cpu_count()}", "-C", str(tree), f"M={out}",
                               *ARGUMENTS[engine], *variables],
                              env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
        modules = ordered(out) if not made.returncode else []
    if not modules:
        raise HarnessError(EXIT_KERNEL, f"{source.name} does not build:\n{made.stdout}")
    print(made.stdout, end="", file=sys.stderr)  # warnings
    return modules


def copy_tree(source, out):
    """Unchanged files keep their times, so that make does nothing again."""
    for path in source.rglob("*"):
        copy = out / path.relative_to(source)
        if path.is_dir():
            copy.mkdir(exist_ok=True)
        elif not copy.exists() or copy.read_bytes() != path.read_bytes():
            shutil.copyfile(path, copy)
    # What the folder no longer has would still be built.
    for copy in out.rglob("*.[ch]"):
        if not (source / copy.relative_to(out)).exists() and not copy.name.endswith(".mod.c"):
            copy.unlink()


def ordered(out):
    """The modules that kbuild lists, in the order of the Kbuild, which is that of loading."""
    lines = (out / "modules.order").read_text().splitlines()
    return [(out / line).with_suffix(".ko") for line in lines]
