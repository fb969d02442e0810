# SPDX-License-Identifier: Apache-2.0
"""Power cuts of a service whose segments' files are used again and again.

storage_max is what four segments take, so nearly each one that is made takes the
file of one that has just died. What becomes of files puts marks into the log as
well, and most points are around them. The guest's clock jumps a minute forward
every few MiB, so that what goes is a part of what there is. Looked at besides:

  - each file with a segment's name begins with its START record, and holds no
    record of another generation, before anything else looks at the disk
  - of each stream what is listed is what was acknowledged last, without a gap,
    and the newest KEPT bytes of all streams are among it
  - what had been dropped when the next file became a spare stays dropped (unless
    the index is made again, which knows no more of it than the segments do)
"""

import ctypes
import os
import select
import struct
import threading
import time
import urllib.error

import cut_judge
from cut_record import KILLS, STREAMS, Marked, Recording, start
from kill_cycles import WINDOW, Reader
from kvs_client import ApiError, Failure
from kvsd_server import expect
from recycle_cycles import Large, check_stream, free_port, metric

SEGMENT = 64 << 20
STORAGE = 4 * SEGMENT	# the least there is
BYTES = (50_000, 500_000)	# of a fragment
MINUTE = 6 << 20
RECYCLED = 3		# segments made of others, at the least, all runs together
LOG = 2 << 30
SAMPLE = 16		# fragments that are read, beside those at the ends of a stream
AROUND = 40		# entries of the log before and behind what becomes of a file
# Rows go until a segment does, and none goes while another one fits: then more than STORAGE
# less two segments is there. One of that may be dead, one is made and empty. A minute may go
# with it, and what was under way at each kill is there for nothing, as are ends of blocks.
KEPT = STORAGE - 3 * SEGMENT - (MINUTE + STREAMS * WINDOW * BYTES[1]) - \
    (KILLS + 1) * STREAMS * BYTES[1] - SEGMENT // 16
OPTIONS = ("--storage-max", f"{STORAGE >> 20}M")
METRIC = "kvsd_store_recycled_segments_total"
BLOCK, MAGIC, START = 4096, b"KVSR\x01", 1
IN_MOVED_TO = 0x80


class Calendar:
    """A minute is MINUTE bytes long."""

    def __init__(self):
        self.lock = threading.Lock()
        self.left = MINUTE

    def sent(self, count):
        with self.lock:
            self.left -= count
            if self.left < 0:
                self.left = MINUTE
                time.clock_settime(time.CLOCK_REALTIME, time.time() + 61)


class Uploader(Marked, Large):
    sizes = BYTES

    def __init__(self, *args):
        super().__init__(*args)
        self.bytes_of = {}	# timecode -> of its cluster
        self.calendar = None

    def make(self):
        timecode, cluster = super().make()
        self.bytes_of[timecode] = len(cluster)
        self.calendar.sent(len(cluster))
        return timecode, cluster


class Files(threading.Thread):
    """Marks what becomes of segments' files, and what is gone from the lists."""

    def __init__(self, recording, folder):
        super().__init__(daemon=True)
        self.recording = recording
        self.ended = threading.Event()
        self.pending = []
        self.floors = 0
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.inotify_init1(os.O_CLOEXEC)
        if self.fd < 0 or libc.inotify_add_watch(self.fd, folder.encode(), IN_MOVED_TO) < 0:
            raise OSError(ctypes.get_errno(), f"inotify of {folder}")

    def take(self, timeout):
        """What has been renamed, marked."""
        if not select.select([self.fd], [], [], timeout)[0]:
            return
        data, at = os.read(self.fd, 65536), 0
        while at < len(data):
            length = struct.unpack_from("<iIII", data, at)[3]
            name = data[at + 16:at + 16 + length].split(b"\0")[0].decode()
            self.pending.append(name)
            self.recording.disk.mark("file", name)
            at += 16 + length

    def oldest(self):
        """stream -> the oldest that is listed. The next spare made that durable, if none
        was made meanwhile: the index is synced before, in one go with it."""
        out = {}
        while not self.ended.is_set():
            try:
                for p in self.recording.producers:
                    numbers = [r["FragmentNumber"] for r in Reader(p.client, p).list()]
                    if numbers:
                        out[p.stream] = min(numbers)
                break
            except (ApiError, Failure, OSError, ValueError):
                self.take(0.1)	# killed meanwhile
        self.take(0)
        return {} if any(n.endswith(".old") for n in self.pending) else out

    def run(self):
        oldest = {}
        while not self.ended.is_set():
            self.take(0.2)
            spares = [n for n in self.pending if n.endswith(".old")]
            self.pending = []
            if spares:
                for stream, number in oldest.items():
                    self.recording.disk.mark("dropped", stream, number)
                    self.floors += 1
                oldest = self.oldest()
        os.close(self.fd)


class Recycling(Recording):
    log_bytes = LOG
    producer = Uploader

    def __init__(self, *args):
        self.files = None
        self.calendar = Calendar()
        self.before = self.now = 0	# the metric: of earlier runs, and of this one
        self.port = free_port()
        super().__init__(*args)

    def run(self, seconds):
        for p in self.producers:
            p.calendar = self.calendar
        try:
            super().run(seconds)
        finally:
            if self.files:
                self.files.ended.set()
                self.files.join()

    def start(self):
        self.before, self.now = self.before + self.now, 0
        return start(self.disk.mount, self.server_log, *OPTIONS,
                     "--metrics-listen", f"127.0.0.1:{self.port}")

    def begin(self):
        super().begin()
        if not self.files:
            self.files = Files(self, f"{self.disk.mount}/kvs/data/segments")
            self.files.start()

    def recycled(self):
        """In this run."""
        try:
            now = metric(self.port, METRIC)
        except (OSError, urllib.error.URLError):
            return self.now
        if now != self.now:
            self.now = now
            self.disk.mark("recycled", self.before + now)
        return now

    def wait_to_kill(self, seconds):
        self.wait(lambda: self.recycled() > 0)
        time.sleep(self.rng.choice((0, self.rng.uniform(0, seconds / KILLS))))
        self.recycled()

    def enough(self):
        if self.service:
            self.recycled()
        return (super().enough() and self.files.floors and self.now > 0 and
                self.before + self.now >= RECYCLED)

    def told(self):
        return f"{self.before} segments made of dead ones before the last kill, {self.now} after it"


class Judge(cut_judge.Judge):
    tamper = None

    def start(self):
        return start(self.mount, self.log, *OPTIONS)

    def check_disk(self, data):
        folder = f"{data}/data/segments"
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        segments = [f"{folder}/{n}" for n in names if n.endswith(".seg")]
        if self.tamper:
            self.tamper(segments)
        for path in segments:
            check_segment(path)

    def check_media(self, client, claims, producers, remade):
        there = []	# (number, bytes, what it is if it was PERSISTED and is not listed)
        for p in producers:
            persisted = claims.persisted.get(p.stream, {})
            check_stream(client, p, persisted)
            rows = {r["FragmentNumber"]: round(r["ProducerTimestamp"] * 1000)
                    for r in Reader(client, p).list()}
            for number, timecode in rows.items():
                assert timecode in p.bytes_of, f"{p.stream}: {number} was never sent"
                expect(persisted.get(number, timecode), timecode,
                       f"{p.stream}: producer time of {number}")
            floor = "" if remade else claims.floors.get(p.stream, "")
            back = [n for n in rows if n < floor]
            assert not back, f"{p.stream}: {len(back)} had been dropped: {back[:3]}"
            there += [(n, p.bytes_of[t], n not in rows and f"{p.stream} {n}")
                      for n, t in {**rows, **persisted}.items()]
            self.read_some(client, p, rows)
        check_kept(there)

    def read_some(self, client, producer, rows):
        numbers = sorted(rows)
        some = numbers[::len(numbers) // SAMPLE + 1]
        try:
            got = Reader(client, producer).read(some)
        except (AssertionError, Failure):
            # The oldest may have gone by now; the others may not.
            left = {r["FragmentNumber"] for r in Reader(client, producer).list()}
            if left >= set(some):
                raise
            some = [n for n in some if n in left]
            got = Reader(client, producer).read(some)
        for n in some:
            expect(got[n], producer.sent[rows[n]], f"{producer.stream}: {n}")


def check_kept(there):
    """The newest KEPT bytes of all streams."""
    total = 0
    for _, count, lost in sorted(there, reverse=True):
        total += count
        if total > KEPT:
            break
        assert not lost, f"fragments are gone: {lost}, with {total >> 20} MiB from there on"


def check_segment(path):
    """What a file was before must not be in it once it has a segment's name."""
    with open(path, "rb") as file:
        first = file.read(BLOCK)
        assert first.startswith(MAGIC) and first[5] == START, \
            f"{path}: of the past, or nothing: it has no START"
        file.seek(0)
        at = 0
        while data := file.read(256 * BLOCK):
            for i in range(0, len(data), BLOCK):
                if data.startswith(MAGIC, i) and data[i + 8:i + 24] != first[8:24]:
                    raise AssertionError(f"{path}: block {(at + i) // BLOCK} is of the past")
            at += len(data)


def plant(segments):
    """A record of the first one into the last."""
    with open(segments[0], "rb") as file:
        file.seek(BLOCK)
        record = file.read(BLOCK)
    with open(segments[-1], "r+b") as file:
        file.seek(-BLOCK, os.SEEK_END)
        file.write(record)


def behead(segments):
    with open(segments[-1], "r+b") as file:
        file.write(bytes(BLOCK))


def before_any(log):
    """Where PERSISTED was said before any segment died."""
    first = next(at for at, text in log.marks()
                 if text.startswith("file:") and text.endswith(".old"))
    return [at for at, text in log.marks() if at < first and text.startswith("persisted")]


def choose(log, rng, count, spread):
    """[(point, how many of the units that no flush covers are there)], increasing: mostly
    from before a file becomes a spare until another segment is made of it."""
    begin, around = None, set()
    last = len(log.entries)
    for at, text in log.marks():
        name = text[5:] if text.startswith("file:") else ""
        if name.endswith(".old"):
            begin = begin or at
            around.update(range(at - AROUND, at + 1))
        if begin and name:
            around.update(range(at - AROUND // 4, min(at + AROUND, last + 1)))
    acks = [at for at, text in log.marks() if at > begin and text.startswith("persisted")]
    out = [(point, rng.choice([0.0, 0.0, 0.3, 0.5, 0.9, 1.0]))
           for point in spread(rng, around, count * 3 // 5)]
    out += [(point, 0.0) for point in spread(rng, acks, count // 4)]
    out += [(point, rng.choice([0.0, 0.3, 0.7, 1.0]))
            for point in spread(rng, range(begin, last + 1), count - len(out))]
    return sorted(out)
