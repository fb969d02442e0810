# SPDX-License-Identifier: Apache-2.0
"""Packages of Debian's archive: asked for, downloaded, unpacked, never installed."""

import re
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

from .common import EXIT_KERNEL, HarnessError, say


class Archive:
    """The archive as this machine's sources have it, for its own architecture."""

    options = ["-o", "APT::Sandbox::User=root"]

    def cache(self, *arguments):
        return subprocess.run(["apt-cache", *self.options, *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, check=False).stdout

    def version(self, package):
        """Of the newest one, or None."""
        shown = self.cache("show", "--no-all-versions", package)
        found = re.search(r"^Version: (\S+)$", shown, re.M)
        return found and found[1]

    def newest(self, pattern):
        """(package, version) by the numbers in the pattern's group, newest first."""
        names = self.cache("pkgnames", pattern.split("(")[0]).split()
        matches = [match for match in map(re.compile(pattern).fullmatch, names) if match]
        # Of one version the shorter name, which is the signed one.
        matches.sort(key=lambda m: ([-int(n) for n in re.findall(r"\d+", m[1])], len(m[0])))
        for match in matches:
            version = self.version(match[0])
            if version:
                return match[0], version
        raise HarnessError(EXIT_KERNEL, f"apt knows no package {pattern}; run `apt-get update` "
                           "(bookworm and bookworm-security, main)")

    def fetch(self, package, directory, version=None):
        say(f"downloading {package}")
        before = set(directory.glob("*.deb"))
        wanted = f"{package}={version}" if version else package
        done = subprocess.run(["apt-get", "-q", *self.options, "download", wanted],
                              cwd=directory, stdout=subprocess.DEVNULL, check=False)
        debs = list(set(directory.glob("*.deb")) - before)
        if done.returncode or len(debs) != 1:
            raise HarnessError(EXIT_KERNEL, f"apt-get download {wanted} failed; `guest prepare "
                               "--update` takes what the archive has now")
        return debs[0]


class ForeignArchive(Archive):
    """For another architecture, which stays unknown to this machine's package state."""

    def __init__(self, architecture, directory):
        directory = Path(directory)
        for name in ("lists/partial", "archives/partial"):
            (directory / name).mkdir(parents=True)
        (directory / "status").touch()
        settings = {
            "APT::Sandbox::User": "root",
            "APT::Architecture": architecture,
            "APT::Architectures::": architecture,
            "Dir::State::Lists": directory / "lists",
            "Dir::State::status": directory / "status",
            "Dir::Cache::Archives": directory / "archives",
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
        }
        self.options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        say(f"asking the archive for its {architecture} packages")
        # Sources of others may lack the architecture: what matters is found missing later.
        subprocess.run(["apt-get", *self.options, "update", "-qq"], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)


@contextmanager
def archive(architecture=None):
    if not architecture:
        yield Archive()
        return
    with tempfile.TemporaryDirectory(prefix="kvsd-hil-apt-") as name:
        yield ForeignArchive(architecture, name)


def unpack(deb, directory):
    subprocess.run(["dpkg-deb", "-x", deb, directory], check=True)
