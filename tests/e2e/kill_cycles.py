#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the service at random moments, over and over, under load.

Producers upload distinct random fragments to streams of their own and, like
every producer, repeat after a reconnect what was not acknowledged. After each
restart on the same directory:

  - every fragment number that was ever acknowledged PERSISTED is listed once,
    with its producer time, and reads back bit-exact;
  - every fragment that is listed reads back, and is one that was sent;
  - numbers of a stream never repeat and increase in the order of ingestion.

In the end `kvsd fsck` finds nothing wrong, then what is damaged on purpose, and repairs it.

kill_cycles.py [--cycles N] [--streams N] [--seed N]
"""

import argparse
import hashlib
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "support"))
import matroska as mkv  # noqa: E402
from kvs_client import ApiError, Failure  # noqa: E402
from kvsd_server import KVSD, Bench, expect, require, run_tool  # noqa: E402

WINDOW = 6		# fragments sent and not yet PERSISTED, per producer
PACE_S = 0.005		# between fragments of all producers, on average, at the least
FULL_CHECKS = 10	# times that everything is read again in a run
LIST_BATCH = 50		# fragments per GetMediaForFragmentList
DISK_SLACK = 512 << 20	# what the directory may hold beside the media


CHECKING = threading.Event()	# what was sent is sent again, but nothing new


class Producer(threading.Thread):
    """Sends fragment after fragment; keeps what it needs to judge."""

    def __init__(self, name, seed, pace_s=0.02):
        super().__init__(daemon=True)
        self.pace_s = pace_s
        self.stream = name
        self.rng = random.Random(f"{seed}{name}")
        self.start_ms = 1700000000000
        self.next_index = 0
        self.bytes = 0
        self.unacked = []	# [(timecode, cluster)] oldest first
        self.sent = {}		# timecode -> sha256 of the cluster
        self.persisted = {}	# number -> timecode
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.resent = 0
        self.seen = 0		# acks of this session taken so far
        self.refused = {}
        self.fault = None
        self.client = None	# set by the bench before each start

    def make(self):
        timecode = self.start_ms + 1000 * self.next_index
        self.next_index += 1
        size = int(2 ** self.rng.uniform(6, 17.5))
        self.bytes += size
        known = self.rng.random() < 0.5
        cluster = mkv.fragment(self.rng, timecode, size, known=known)
        with self.lock:
            self.sent[timecode] = hashlib.sha256(cluster).digest()
        return timecode, cluster

    def take_acks(self, put):
        new = put.acks[self.seen:]
        self.seen = len(put.acks)
        for ack in new:
            if ack["EventType"] == "ERROR":
                self.fault = f"ERROR ack {ack}"
            if ack["EventType"] != "PERSISTED":
                continue
            timecode, number = ack["FragmentTimecode"], ack["FragmentNumber"]
            with self.lock:
                if number in self.persisted:
                    self.fault = f"{number} is PERSISTED twice"
                self.persisted[number] = timecode
            self.unacked = [u for u in self.unacked if u[0] != timecode]

    def session(self):
        put = self.client.put_media(self.stream)
        self.seen = 0
        try:
            put.write(mkv.header())
            for _, cluster in self.unacked:
                self.resent += 1
                put.write(cluster + mkv.END_OF_FRAGMENT)
            while not put.closed and not self.fault:
                put.poll()
                self.take_acks(put)
                if self.stop.is_set() and not self.unacked:
                    put.end()
                    put.wait_closed()
                    return
                if len(self.unacked) < WINDOW and not self.stop.is_set() and \
                        not CHECKING.is_set():
                    item = self.make()
                    self.unacked.append(item)
                    put.write(item[1] + mkv.END_OF_FRAGMENT, 20000)
                    time.sleep(self.pace_s)
                else:
                    put.poll(0.5 if CHECKING.is_set() else 0.05)
        finally:
            # What was acknowledged before the connection broke counts.
            try:
                put.poll()
            finally:
                self.take_acks(put)
                put.abort()

    def run(self):
        while not self.fault:
            try:
                self.session()
                if self.stop.is_set() and not self.unacked:
                    return
            except ApiError as error:
                kinds = self.refused
                kinds[error.type] = kinds.get(error.type, 0) + 1
                if error.type != "ConnectionLimitExceededException":
                    self.fault = f"refused: {error}"
            except (Failure, OSError, ValueError):
                pass    # the service was killed
            except Exception as error:
                self.fault = f"{type(error).__name__}: {error}"
            time.sleep(0.03)


class Reader:
    """Checks one stream against its producer's notes."""

    def __init__(self, client, producer):
        self.client = client
        self.producer = producer
        self.stream = producer.stream

    def list(self):
        out, token = [], None
        while True:
            members = {"StreamName": self.stream, "MaxResults": 1000}
            if token:
                members["NextToken"] = token
            else:
                members["FragmentSelector"] = {
                    "FragmentSelectorType": "PRODUCER_TIMESTAMP",
                    "TimestampRange": {"StartTimestamp": 0,
                                       "EndTimestamp": 2000000000}}
            page = self.client.call("listFragments", **members)
            out += page["Fragments"]
            token = page.get("NextToken")
            if not token:
                return out

    def read(self, numbers):
        """number -> sha256 of the cluster"""
        out = {}
        for i in range(0, len(numbers), LIST_BATCH):
            batch = numbers[i:i + LIST_BATCH]
            media = self.client.get_media_for_fragment_list(self.stream,
                                                            batch)
            docs = media.documents()
            media.close()
            expect([d.number for d in docs], batch,
                   f"{self.stream}: fragments read")
            for d in docs:
                out[d.number] = hashlib.sha256(d.cluster).digest()
        return out

    def check(self, persisted, known):
        """persisted: acknowledged before the kill. known: number -> digest of
        what was read before; None: read everything again."""
        rows = self.list()
        numbers = [r["FragmentNumber"] for r in rows]
        assert len(numbers) == len(set(numbers)), \
            f"{self.stream}: a fragment is listed twice"
        times = {r["FragmentNumber"]: round(r["ProducerTimestamp"] * 1000)
                 for r in rows}
        lost = [n for n in persisted if n not in times]
        assert not lost, \
            f"{self.stream}: {len(lost)} acknowledged fragments are gone: " \
            f"{lost[:3]}"
        for n, timecode in persisted.items():
            expect(times[n], timecode, f"{self.stream}: producer time of {n}")
        todo = sorted(n for n in numbers if known is None or n not in known)
        got = self.read(todo)
        with self.producer.lock:
            sent = dict(self.producer.sent)
        for n in todo:
            assert times[n] in sent, f"{self.stream}: {n} was never sent"
            assert got[n] == sent[times[n]], \
                f"{self.stream}: {n} is not what was sent"
        # A repeat gets a larger number than what it repeats; the order of
        # numbers is the order of ingestion.
        first = {}
        for n in sorted(numbers):
            first.setdefault(times[n], n)
        order = [first[t] for t in sorted(first)]
        assert order == sorted(order), f"{self.stream}: numbers go back"
        return got, len(numbers)


def disk_bytes(directory):
    return sum(os.stat(os.path.join(path, name)).st_blocks * 512
               for path, _, names in os.walk(directory) for name in names)


def flip_bits(directory):
    """Of every fifth record of a segment, so that some are of fragments that count."""
    folder = os.path.join(directory, "data", "segments")
    for name in sorted(f for f in os.listdir(folder) if f.endswith(".seg")):
        flipped = seen = 0
        with open(os.path.join(folder, name), "r+b") as file:
            # One that is still open is mostly empty.
            for block in range(10, os.fstat(file.fileno()).st_size // 4096):
                file.seek(block * 4096)
                if file.read(4) != b"KVSR":
                    continue
                seen += 1
                if seen % 5:
                    continue
                file.seek(block * 4096 + 150)
                byte = file.read(1)[0]
                file.seek(block * 4096 + 150)
                file.write(bytes([byte ^ 1]))
                flipped += 1
        if flipped > 3:
            return
    raise AssertionError("no segment with records")


def fsck(bench, *options):
    """(exit status, what it printed)"""
    status, out, err = run_tool([KVSD, "fsck", bench.directory, *options])
    return status, f"{out}{err}"


def check_fsck(bench):
    bench.kill()
    status, text = fsck(bench, "--level", "media")
    bench.check("fsck finds nothing wrong after a kill", status == 0, text)
    flip_bits(bench.directory)
    status, text = fsck(bench, "--repair")
    bench.check("fsck finds and repairs flipped bits", status == 1, text)
    status, text = fsck(bench, "--level", "media")
    bench.check("and nothing after that", status == 0, text)
    bench.start()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seed", type=int,
                        default=int.from_bytes(os.urandom(4), "big"))
    args = parser.parse_args()
    require()
    print(f"# seed {args.seed}, {args.cycles} cycles", flush=True)
    rng = random.Random(args.seed)
    bench = Bench()
    began = time.monotonic()
    client = bench.start()
    producers = [Producer(f"cycle-{i}", args.seed, PACE_S * args.streams)
                 for i in range(args.streams)]
    for p in producers:
        client.call("createStream", StreamName=p.stream,
                    DataRetentionInHours=24)
        p.client = bench.client()
        p.start()
    known = {p.stream: {} for p in producers}
    done = reads = listed = slowest_ms = 0
    name = f"{args.cycles} times kill -9: nothing acknowledged is lost, " \
        "nothing is listed twice or unreadable"
    try:
        for cycle in range(args.cycles):
            time.sleep(rng.uniform(0.02, 0.8))
            bench.kill()
            persisted = {}
            for p in producers:
                with p.lock:
                    persisted[p.stream] = dict(p.persisted)
            start = time.monotonic()
            client = bench.start()
            slowest_ms = max(slowest_ms,
                             int(1000 * (time.monotonic() - start)))
            CHECKING.set()
            full = cycle % max(5, args.cycles // FULL_CHECKS) == 0
            listed = 0
            for p in producers:
                got, count = Reader(client, p).check(
                    persisted[p.stream], None if full else known[p.stream])
                known[p.stream].update(got)
                reads += len(got)
                listed += count
                if p.fault:
                    raise AssertionError(f"{p.stream}: {p.fault}")
            CHECKING.clear()
            done += 1
            if cycle % 100 == 99:
                print(f"# cycle {cycle + 1}: {listed} fragments, "
                      f"{time.monotonic() - began:.0f} s", flush=True)
        for p in producers:
            p.stop.set()
        for p in producers:
            p.join(60)
            assert not p.is_alive(), f"{p.stream} does not end"
            assert not p.fault, p.fault
        for p in producers:
            missing = set(p.sent) - set(p.persisted.values())
            assert not missing, f"{p.stream}: {len(missing)} never persisted"
        bench.kill()
        client = bench.start()
        total = 0
        for p in producers:
            got, count = Reader(client, p).check(dict(p.persisted), None)
            total += count
        bench.check(name, True)
        acked = sum(len(p.persisted) for p in producers)
        print(f"# {acked} fragments acknowledged, {total} listed, {reads} "
              f"reads, {sum(p.resent for p in producers)} repeated, slowest "
              f"restart {slowest_ms} ms, {time.monotonic() - began:.0f} s, "
              f"refusals {[p.refused for p in producers]}")
        used, media = disk_bytes(bench.directory), sum(p.bytes
                                                       for p in producers)
        bench.check("restarts do not use up the disk",
                    used <= 2 * media + DISK_SLACK,
                    f"{used >> 20} MiB for {media >> 20} MiB of media")
        check_fsck(bench)
        bench.check("the producers persisted something in every second cycle",
                    acked > args.cycles // 2, acked)
    except Exception as error:
        bench.check(name, False, f"after {done} cycles, seed {args.seed}: "
                    f"{type(error).__name__}: {error}")
    return bench.finish()


if __name__ == "__main__":
    sys.exit(main())
