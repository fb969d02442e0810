#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of a service whose segments' files are used again and again.

storage_max is a few segments, so nearly each one that is made takes the file of
one that has just died. Producers upload, and a reader reads what is about to
go. After each restart on the same directory:

  - nothing is left of spares, and not more than storage_max on the disk;
  - of each stream what is listed is what was acknowledged last, without a gap,
    and reads back bit-exact, the oldest and the newest of it;
  - no read ever met what does not verify.

A backup that is taken meanwhile reads back; in the end `kvsd fsck` finds
nothing wrong. Skipped where the filesystem cannot zero a range.

recycle_cycles.py [--cycles N] [--seed N]
"""

import argparse
import os
import random
import re
import shutil
import sys
import threading
import time

os.environ["THREADS"] = "1"
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "support"))
from kill_cycles import CHECKING, Producer, Reader, disk_bytes, fsck  # noqa: E402
from kvs_client import ApiError, Failure  # noqa: E402
from kvsd_server import KVSD, Bench, expect, require, run_tool, skip  # noqa: E402

STREAMS = 4
STORAGE_MIB = 384	# one thread: four segments of 64 MiB, and two
AT_ENDS = 12		# fragments that are read, of each end of a stream
CYCLE_S = (0.5, 4.0)	# until the service is killed
BACKUPS = 4		# cycles between two


class Large(Producer):
    sizes = (200_000, 2_000_000)

    def __init__(self, *args):
        super().__init__(*args)
        self.noise = self.rng.randbytes(4 << 20)

    def make(self):
        """Megabytes of what was random once, and a timecode."""
        size = self.rng.randrange(*self.sizes)
        rng, self.rng = self.rng, Cut(self.rng, self.noise)
        made, self.rng.uniform = None, lambda low, high: 0
        try:
            self.rng.size = size
            made = super().make()
        finally:
            self.rng = rng
        return made


class Cut:
    """What fragment() asks a generator for, without its time."""

    def __init__(self, rng, noise):
        self.rng = rng
        self.noise = noise
        self.size = 0

    def random(self):
        return self.rng.random()

    def randbytes(self, _):
        at = self.rng.randrange(len(self.noise) - self.size // 2)
        return self.noise[at:at + self.size // 2]


class Oldest(threading.Thread):
    """Reads what goes next, all the time: gone, or right."""

    def __init__(self, client, producers):
        super().__init__(daemon=True)
        self.readers = [Reader(client, p) for p in producers]
        self.ended = threading.Event()
        self.wrong = None
        self.count = 0

    def look(self, reader):
        rows = reader.list()
        numbers = sorted(r["FragmentNumber"] for r in rows)[:3]
        times = {r["FragmentNumber"]: round(r["ProducerTimestamp"] * 1000)
                 for r in rows}
        media = reader.client.get_media_for_fragment_list(reader.stream, numbers)
        try:
            docs = media.documents()
        finally:
            media.close()
        for d in docs:
            # One that goes while it is read is cut off: no end, no number.
            if not d.cluster or d.number not in times:
                continue
            sent = reader.producer.sent[times[d.number]]
            if digest(d.cluster) == sent:
                self.count += 1
            elif d is not docs[-1]:
                self.wrong = f"{reader.stream}: {d.number} differs"

    def run(self):
        while not self.ended.is_set():
            for reader in self.readers:
                try:
                    self.look(reader)
                except (ApiError, Failure, OSError, ValueError):
                    time.sleep(0.02)	# killed, or gone meanwhile


def digest(data):
    import hashlib
    return hashlib.sha256(data).digest()


def check_stream(client, producer, persisted):
    """Return: fragments listed. What is sent again may push out the oldest
    between listing and reading: then there is another oldest."""
    reader = Reader(client, producer)
    rows = reader.list()
    for _ in range(20):
        try:
            return check_rows(reader, producer, persisted, rows)
        except (AssertionError, Failure):
            before, rows = rows, reader.list()
            if oldest_of(rows) == oldest_of(before):
                raise
    raise AssertionError(f"{producer.stream}: it is never still")


def oldest_of(rows):
    return min((r["FragmentNumber"] for r in rows), default=None)


def check_rows(reader, producer, persisted, rows):
    numbers = sorted(r["FragmentNumber"] for r in rows)
    expect(len(numbers), len(set(numbers)), f"{producer.stream}: listed once")
    times = {r["FragmentNumber"]: round(r["ProducerTimestamp"] * 1000)
             for r in rows}
    # What is gone is the oldest, a minute at a time: all, where it is as young.
    if numbers:
        lost = [n for n in persisted if n > numbers[0] and n not in times]
        assert not lost, f"{producer.stream}: {len(lost)} are gone: {lost[:3]}"
    some = sorted(set(numbers[:AT_ENDS] + numbers[-AT_ENDS:]))
    got = reader.read(some)
    with producer.lock:
        sent = dict(producer.sent)
    for n in some:
        assert got[n] == sent[times[n]], f"{producer.stream}: {n} differs"
    return len(numbers)


def metric(client_port, name):
    import urllib.request
    with urllib.request.urlopen(f"http://127.0.0.1:{client_port}/metrics", timeout=10) as answer:
        text = answer.read().decode("ascii")
    return int(re.search(rf"^{name} (\d+)$", text, re.M).group(1))


def spares(bench):
    return [n for n in os.listdir(f"{bench.directory}/data/segments")
            if n.endswith((".old", ".tmp"))]


def check_backup(bench, producers):
    dest = f"{bench.temp}/copy"
    shutil.rmtree(dest, ignore_errors=True)
    status, out, err = run_tool([KVSD, "backup", bench.directory, dest, "--with-key"],
                                timeout=300)
    expect(status, 0, f"backup: {out}{err}")
    with Used(bench, dest) as client:
        return sum(check_stream(client, p, {}) for p in producers)


class Used:
    """A service on the copy."""

    def __init__(self, bench, dest):
        self.bench = Bench()
        self.bench.directory = dest
        # Its own name in certificates and credentials is the same.
        self.of = bench

    def __enter__(self):
        return self.bench.start()

    def __exit__(self, *_):
        self.bench.kill()


def log_of(bench):
    with open(bench.log, encoding="utf-8", errors="replace") as file:
        return file.read()


def start(bench):
    return bench.start("--storage-max", f"{STORAGE_MIB}M", "--metrics-listen",
                       f"127.0.0.1:{bench.metrics_port}")


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def can_zero(folder):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    path = os.path.join(folder, "probe")
    with open(path, "wb") as file:
        file.write(b"x" * 4096)
        file.flush()
        r = libc.fallocate(file.fileno(), 16, ctypes.c_long(0), ctypes.c_long(4096))
    os.unlink(path)
    return r == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--seed", type=int,
                        default=int.from_bytes(os.urandom(4), "big"))
    args = parser.parse_args()
    require()
    print(f"# seed {args.seed}, {args.cycles} cycles", flush=True)
    rng = random.Random(args.seed)
    bench = Bench()
    if not can_zero(bench.temp):
        skip("the filesystem cannot zero a range")
    bench.metrics_port = free_port()
    client = start(bench)
    producers = [Large(f"again-{i}", args.seed) for i in range(STREAMS)]
    for p in producers:
        client.call("createStream", StreamName=p.stream, DataRetentionInHours=24)
        p.client = bench.client()
        p.start()
    oldest = Oldest(bench.client(), producers)
    oldest.start()
    recycled = left = done = copied = listed = 0
    name = f"{args.cycles} times kill -9 while files are used again"
    try:
        for cycle in range(args.cycles):
            time.sleep(rng.uniform(*CYCLE_S))
            if cycle % BACKUPS == BACKUPS - 1:
                copied += check_backup(bench, producers)
            recycled += metric(bench.metrics_port, "kvsd_store_recycled_segments_total")
            bench.kill()
            names = spares(bench)
            left += bool(names)
            persisted = {}
            for p in producers:
                with p.lock:
                    persisted[p.stream] = dict(p.persisted)
            CHECKING.set()
            client = start(bench)
            still = set(names) & set(spares(bench))
            assert not still, f"{still} are left"
            used = disk_bytes(f"{bench.directory}/data/segments")
            assert used <= STORAGE_MIB << 20, f"{used >> 20} MiB are used"
            for p in producers:
                listed += check_stream(client, p, persisted[p.stream])
                assert not p.fault, f"{p.stream}: {p.fault}"
            assert not oldest.wrong, oldest.wrong
            CHECKING.clear()
            done += 1
        bench.check(name, True)
        bench.kill()
        status, text = fsck(bench, "--level", "media")
        bench.check("fsck finds nothing wrong", status == 0, text)
        bench.check("something is left each time, on average",
                    listed > 10 * args.cycles, listed)
        bench.check("files were used again", recycled > args.cycles, recycled)
        bench.check("a backup meanwhile reads back", copied or args.cycles < BACKUPS)
        bad = [x for x in log_of(bench).split("\n") if "does not verify" in x]
        bench.check("nothing that was read did not verify", not bad, bad[:2])
        start(bench)
    except Exception as error:
        bench.check(name, False, f"after {done} cycles, seed {args.seed}: "
                    f"{type(error).__name__}: {error}")
    print(f"# {recycled} segments made of dead ones, {left} kills left a spare, "
          f"{oldest.count} of the oldest read")
    oldest.ended.set()
    for p in producers:
        p.stop.set()
        p.fault = p.fault or "over"
    return bench.finish()


if __name__ == "__main__":
    sys.exit(main())
