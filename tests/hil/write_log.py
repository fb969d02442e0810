# SPDX-License-Identifier: Apache-2.0
"""What dm-log-writes wrote, and disks as a power cut would leave them.

The log holds each write in an order in which it may have reached the disk: what
a flush made durable stands before that flush (Linux:
Documentation/admin-guide/device-mapper/log-writes.rst).

    log = WriteLog(path)
    image = Image(log, path)            # advances, and cuts at increasing points
    image.cut(point, keep, copy)        # copy: the disk if the power went at point
"""

import mmap
import os
import struct

MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
UNIT = 4096		# what a disk writes whole


class Entry:
    """One write, flush, discard or mark; offset and data_at are in bytes."""

    __slots__ = ("offset", "length", "flags", "data_at", "mark")

    def __init__(self, offset, length, flags, data_at, mark):
        self.offset = offset
        self.length = length
        self.flags = flags
        self.data_at = data_at
        self.mark = mark


class WriteLog:
    """The log device's content. entries[i].mark is a string or None."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        magic, version, count, sector = struct.unpack_from("<QQQI", self.data)
        if magic != MAGIC or version != 1:
            raise ValueError(f"{path} is no log of dm-log-writes")
        self.entries = []
        at = sector
        for _ in range(count):
            start, sectors, flags, length = struct.unpack_from("<QQQQ", self.data, at)
            mark = None
            if flags & MARK:
                text = self.data[at + 32:at + 32 + length]
                mark = text.split(b"\0")[0].decode()
            self.entries.append(Entry(start * sector, sectors * sector, flags,
                                      at + sector, mark))
            at += sector
            if not flags & DISCARD:
                at += sectors * sector

    def boundaries(self):
        """Points (numbers of entries) right after what is durable by itself."""
        return [i + 1 for i, e in enumerate(self.entries) if e.flags & (FLUSH | FUA)]

    def marks(self):
        """(point right after it, its text)"""
        return [(i + 1, e.mark) for i, e in enumerate(self.entries) if e.mark]


class Image:
    """A disk onto which the log is replayed, up to the last flush before a point."""

    def __init__(self, log, path, size):
        self.log = log
        self.path = path
        self.at = 0		# entries applied
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.ftruncate(self.fd, size)
        self.size = size

    def close(self):
        os.close(self.fd)

    def apply(self, fd, entry, keep=None):
        """keep() says of each unit whether it reached the disk; None: all did."""
        if entry.flags & MARK:
            return
        end = entry.offset + entry.length
        at = entry.offset
        while at < end:
            # Units are the disk's: a write may begin inside one.
            stop = min(end, (at // UNIT + 1) * UNIT) if keep else end
            if keep is None or keep():
                if entry.flags & DISCARD:
                    self.zero(fd, at, stop - at)
                else:
                    data_at = entry.data_at + at - entry.offset
                    os.pwrite(fd, self.log.data[data_at:data_at + stop - at], at)
            at = stop

    @staticmethod
    def zero(fd, at, length):
        while length:
            piece = min(length, 1 << 20)
            if any(os.pread(fd, piece, at)):
                os.pwrite(fd, bytes(piece), at)
            at += piece
            length -= piece

    def advance(self, point):
        for entry in self.log.entries[self.at:point]:
            self.apply(self.fd, entry)
        self.at = max(self.at, point)

    def cut(self, point, keep, copy):
        """Makes the file copy what the disk is if the power goes when the first
        point entries were written: of writes after the last flush that were
        not forced out themselves, the units that keep() is true for."""
        durable = point
        while durable and not self.log.entries[durable - 1].flags & FLUSH:
            durable -= 1
        if durable < self.at:
            raise ValueError("points must not go back")
        self.advance(durable)
        self.copy_to(copy)
        fd = os.open(copy, os.O_RDWR)
        for entry in self.log.entries[durable:point]:
            self.apply(fd, entry, None if entry.flags & FUA else keep)
        os.close(fd)

    def copy_to(self, copy):
        """Holes stay holes."""
        fd = os.open(copy, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.ftruncate(fd, self.size)
        for start, end in self.extents():
            while start < end:
                piece = os.pread(self.fd, min(end - start, 1 << 20), start)
                start += os.pwrite(fd, piece, start)
        os.close(fd)

    def extents(self):
        at = 0
        while at < self.size:
            try:
                at = os.lseek(self.fd, at, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(self.fd, at, os.SEEK_HOLE)
            yield at, end
            at = end

    def differs_from(self, path):
        """Where the first byte is that another file of that size has otherwise, or None."""
        with open(path, "rb") as file:
            at = 0
            while at < self.size:
                ours = os.pread(self.fd, 1 << 20, at)
                theirs = os.pread(file.fileno(), 1 << 20, at)
                if ours != theirs:
                    return at
                at += len(ours)
        return None
