# SPDX-License-Identifier: Apache-2.0
"""Guest kernels: fetched from Debian's archive or built, then kept in the cache.

An entry is <cache>/<engine>-<package version>-<recipe hash>/ with
  linux          the kernel (UML: a host executable; QEMU: what -kernel takes)
  config         its configuration
  lib/modules/   its modules, uncompressed, with modules.dep
  busybox        the guest's, where its architecture is not the host's
  devel/         what building a module outside the tree needs
It appears by rename, so an entry that exists is complete. Of QEMU's kernels devel/
comes by rename too, when a module is first built for one.
"""

import fcntl
import hashlib
import lzma
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

from . import apt
from .common import EXIT_KERNEL, EXIT_SETUP, HERE, HarnessError, say

# Raise to throw away what an older harness put into the cache.
RECIPE = 1

# Kept per engine, by last use.
ENTRIES_MAX = 3

# engine -> pattern of the package that carries the kernel; the group is the
# version to compare. Signed and unsigned images hold the same kernel.
PACKAGES = {
    "uml": r"linux-source-(6\.12)",
    "qemu-6.12": r"linux-image-(6\.12\.\d+)\+deb12-amd64(?:-unsigned)?",
    "qemu-6.1": r"linux-image-(6\.1\.0-\d+)-amd64(?:-unsigned)?",
    "qemu-arm64": r"linux-image-(6\.1\.0-\d+)-arm64(?:-unsigned)?",
}
ENGINES = list(PACKAGES)

# Engines whose packages are not of the host's architecture (which is amd64).
FOREIGN = {"qemu-arm64": "arm64"}


def root():
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kvsd" / "hil"


def variant(engine, debug):
    if debug and engine != "uml":
        raise HarnessError(EXIT_SETUP, f"--debug: there is no debug kernel for {engine}")
    return engine + ("-debug" if debug else "")


def recipe_files(engine, debug):
    if engine != "uml":
        return [HERE / "modules-qemu"]
    fragments = [HERE / "um.config"] + ([HERE / "um-debug.config"] if debug else [])
    return fragments + sorted((HERE / "patches").glob("uml-*.patch"))


def recipe_hash(engine, debug):
    digest = hashlib.sha256(b"%d" % RECIPE)
    for path in recipe_files(engine, debug):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def find(engine, debug=False):
    """The newest cached kernel that this recipe made, or None."""
    entries = root().glob(f"{variant(engine, debug)}-[0-9]*-{recipe_hash(engine, debug)}")
    return max(entries, key=lambda entry: entry.stat().st_mtime, default=None)


def prepare(engine, debug=False, update=False):
    """Return a cached kernel, fetching or building it first when there is none."""
    found = find(engine, debug)
    if found and not update:
        os.utime(found)
        return found
    check_packages(engine)
    root().mkdir(parents=True, exist_ok=True)
    with locked(engine):
        found = find(engine, debug)  # another run may have made it meanwhile
        if found and not update:
            return found
        with apt.archive(FOREIGN.get(engine)) as archive:
            package, version = archive.newest(PACKAGES[engine])
            name = f"{variant(engine, debug)}-{version.replace(':', '.')}"
            entry = root() / f"{name}-{recipe_hash(engine, debug)}"
            if entry.exists():
                say(f"{engine}: {package} {version} is the newest and cached")
                return entry
            make_entry(engine, debug, archive, package, entry)
        drop_old_entries(engine, debug)
    return entry


def make_entry(engine, debug, archive, package, entry):
    say(f"{entry.name}: preparing from {package} (about 60-150 MiB)")
    partial = root() / (entry.name + ".partial")
    download = root() / (entry.name + ".download")
    for path in (partial, download):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    try:
        deb = archive.fetch(package, download)
        if engine == "uml":
            build_uml(deb, partial, debug)
        else:
            unpack_image(deb, partial)
        if engine in FOREIGN:
            unpack_busybox(archive.fetch("busybox-static", download), partial)
        partial.rename(entry)
    finally:
        shutil.rmtree(download, ignore_errors=True)
    say(f"{entry.name}: ready, {disk_mib(entry)} MiB")


def kernel_tree(engine, debug=False):
    """Where `make -C` builds a module for the cached kernel."""
    entry = find(engine, debug)
    if not entry:
        raise HarnessError(EXIT_KERNEL, f"{engine}: not cached; run `guest prepare {engine}`")
    devel = entry / "devel"
    if engine == "uml":
        return devel
    if not devel.is_dir():
        with locked(engine):
            if not devel.is_dir():
                make_devel(engine, entry)
    release = next((entry / "lib/modules").iterdir()).name
    return devel / f"usr/src/linux-headers-{release}"


def make_devel(engine, entry):
    """The headers of the very package that the kernel is of; make's helpers are the host's."""
    release = next((entry / "lib/modules").iterdir()).name
    abi, flavour = release.rsplit("-", 1)
    kbuild = "linux-kbuild-" + re.match(r"6\.1(?=\.0-)|.*", abi)[0]
    partial = entry / "devel.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    say(f"{entry.name}: fetching the headers of {release}")
    with apt.archive(FOREIGN.get(engine)) as archive:
        packages = [(archive, f"linux-headers-{release}"), (archive, f"linux-headers-{abi}-common"),
                    (apt.Archive(), kbuild)]
        version = entry.name.removeprefix(engine + "-").rsplit("-", 1)[0]
        for source, package in packages:
            deb = source.fetch(package, partial, version)
            apt.unpack(deb, partial)
            deb.unlink()
    sources = partial / "usr/src"
    keep = {"arm64": ("arm", "arm64"), "amd64": ("x86",)}[flavour]
    for path in (sources / f"linux-headers-{abi}-common/arch").iterdir():
        if path.is_dir() and path.name not in keep:
            shutil.rmtree(path)
    # It includes the common one by where the package installs it.
    makefile = sources / f"linux-headers-{release}/Makefile"
    makefile.write_text(makefile.read_text().replace("/usr/src/", "../"))
    partial.rename(entry / "devel")


def drop_old_entries(engine, debug):
    """Keep a few: work on two branches would else build each kernel again and again."""
    pattern = re.compile(re.escape(variant(engine, debug)) + r"-\d.*-[0-9a-f]{12}$")
    entries = [path for path in root().iterdir() if pattern.match(path.name)]
    entries.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in entries[ENTRIES_MAX:]:
        say(f"removing the older {path.name}")
        shutil.rmtree(path)


@contextmanager
def locked(engine):
    with open(root() / f"lock-{engine}", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{engine}: waiting for another run that prepares it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def package_list(engine):
    name = {"uml": "packages-uml", "qemu-arm64": "packages-qemu-arm64"}.get(engine, "packages-qemu")
    lines = (HERE / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def check_packages(engine):
    wanted = package_list(engine)
    result = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n", *wanted],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    present = {line.split()[1] for line in result.stdout.splitlines()
               if line.startswith("installed ")}
    missing = [package for package in wanted if package not in present]
    if missing:
        raise HarnessError(EXIT_SETUP, f"{engine} needs packages that are not installed:\n"
                           f"    apt-get install --no-install-recommends {' '.join(missing)}")


def build_uml(deb, dest, debug):
    fragments = [path for path in recipe_files("uml", debug) if path.suffix == ".config"]
    result = subprocess.run([HERE / "build-uml", deb, dest, *fragments],
                            stdin=subprocess.DEVNULL, check=False)
    if result.returncode:
        raise HarnessError(EXIT_KERNEL, "the UML kernel was not built, see above; "
                           f"work directory: {dest}.build")


def unpack_image(deb, dest):
    """Keep the kernel and, of its 4000 modules, the listed ones with what they need."""
    unpacked = Path(str(deb) + ".unpacked")
    apt.unpack(deb, unpacked)
    release = next((unpacked / "lib/modules").iterdir()).name
    shutil.copy(unpacked / f"boot/vmlinuz-{release}", dest / "linux")
    shutil.copy(unpacked / f"boot/config-{release}", dest / "config")
    subprocess.run(["depmod", "-b", unpacked, release], check=True)

    source = unpacked / "lib/modules" / release
    target = dest / "lib/modules" / release
    wanted = (HERE / "modules-qemu").read_text().splitlines()
    for path in modules_closure(source, [w for w in wanted if w and not w.startswith("#")]):
        destination = target / path.removesuffix(".xz")
        destination.parent.mkdir(parents=True, exist_ok=True)
        data = (source / path).read_bytes()
        destination.write_bytes(lzma.decompress(data) if path.endswith(".xz") else data)
    for path in source.glob("modules.builtin*"):
        shutil.copy(path, target)
    shutil.copy(source / "modules.order", target)
    subprocess.run(["depmod", "-b", dest, release], check=True)


def unpack_busybox(deb, dest):
    unpacked = Path(str(deb) + ".unpacked")
    apt.unpack(deb, unpacked)
    shutil.copy(unpacked / "bin/busybox", dest / "busybox")


def modules_closure(directory, names):
    """Paths below directory of the named modules and all they depend on, needed first."""
    needs = {}
    for line in (directory / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[module_name(path)] = (path, rest.split())
    paths = []
    for name in names:
        path, dependencies = needs.get(module_name(name), (None, []))
        if path:
            # modules.dep lists the nearest dependency first.
            paths += list(reversed(dependencies)) + [path]
    return list(dict.fromkeys(paths))


def module_name(path):
    return Path(path).name.split(".ko")[0].replace("-", "_")


def disk_mib(path):
    files = (item for item in path.rglob("*") if item.is_file() and not item.is_symlink())
    return sum(item.stat().st_size for item in files) >> 20
