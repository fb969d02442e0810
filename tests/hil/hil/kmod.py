# SPDX-License-Identifier: Apache-2.0
"""Kernel modules of our own, built against a cached kernel."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

from . import cache
from .common import EXIT_KERNEL, EXIT_SETUP, REPO, HarnessError


def build(engine, debug, source):
    """Builds below $O, as the tree may be read-only to the guest; returns the .ko."""
    source = Path(source).resolve()
    if not (source / "Kbuild").is_file():
        raise HarnessError(EXIT_SETUP, f"{source} has no Kbuild")
    image = cache.find(engine, debug)
    if not image or not (image / "devel").is_dir():
        raise HarnessError(EXIT_KERNEL, f"{engine}: no build tree in the cache")
    out = Path(os.environ.get("O") or REPO / "build").resolve() / "kmod" / image.name / source.name
    out.mkdir(parents=True, exist_ok=True)
    with open(out / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in source.iterdir():
            copy = out / path.name
            if not copy.exists() or copy.read_bytes() != path.read_bytes():
                shutil.copyfile(path, copy)
        made = subprocess.run(["make", "-s", "-C", str(image / "devel"), f"M={out}",
                               *(["ARCH=um"] if engine == "uml" else [])],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    module = out / f"{source.name}.ko"
    if made.returncode or not module.is_file():
        raise HarnessError(EXIT_KERNEL, f"{source.name} does not build:\n{made.stdout}")
    return module
