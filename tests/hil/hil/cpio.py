# SPDX-License-Identifier: Apache-2.0
"""Writes initramfs images ("newc" cpio), without needing root for device nodes."""

DIRECTORY = 0o040755
EXECUTABLE = 0o100755
REGULAR = 0o100644
CHARACTER = 0o020600


class Cpio:
    def __init__(self, path):
        self.out = open(path, "wb")
        self.inode = 0
        self.directories = set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._record("TRAILER!!!", 0, b"")
        self.out.close()

    def file(self, name, data, mode=REGULAR):
        self._parents(name)
        self._record(name, mode, data if isinstance(data, bytes) else data.encode())

    def directory(self, name):
        self._parents(name + "/")

    def character(self, name, major, minor):
        self._parents(name)
        self._record(name, CHARACTER, b"", major, minor)

    def _parents(self, name):
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            directory = "/".join(parts[:depth])
            if directory not in self.directories:
                self.directories.add(directory)
                self._record(directory, DIRECTORY, b"")

    def _record(self, name, mode, data, major=0, minor=0):
        self.inode += 1
        encoded = name.encode() + b"\0"
        fields = [self.inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(encoded), 0]
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        self.out.write(_padded(header + encoded))
        self.out.write(_padded(data))


def _padded(data):
    return data + b"\0" * (-len(data) % 4)
