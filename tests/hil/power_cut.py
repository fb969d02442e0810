#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Power cuts on a block device, in a guest (test_power_cut.sh).

`kvsd serve` runs on a device that logs each write (dm-log-writes), takes
uploads, is killed and started again. Each promise that a client was given puts
a mark into the log: an answer to CreateStream or DeleteStream, a PERSISTED. Then
the log is replayed to points in it, without what no flush had made durable,
with all of that, or with any part of it; the disk is mounted and the service is
started on it. Each time:

  - it starts, and takes an upload
  - each fragment that was PERSISTED before the point is listed once and reads
    back byte for byte; what is listed is what was sent
  - a stream that was created is there, one that was deleted is not
  - `kvsd fsck --level media` finds nothing wrong

power_cut.py FILESYSTEM... [--points N] [--seed N] [--seconds N]
"""

import argparse
import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("../support", "../e2e", "."):
    sys.path.insert(0, os.path.join(HERE, folder))
import matroska as mkv  # noqa: E402
from kill_cycles import Producer, Reader  # noqa: E402
from kvs_client import ApiError, Service  # noqa: E402
from kvsd_server import KVSD, expect, run_tool  # noqa: E402
from write_log import Image, WriteLog  # noqa: E402

DISK = 512 << 20	# two segments of 64 MiB ahead, and room
LOG = 512 << 20
STREAMS = 3
KILLS = 2		# of the service while it is recorded
ACKS_MIN = 4		# of each stream
START_S = 240		# what an emulated machine may take at most
DM_TARGET_MSG = 3 << 30 | 312 << 16 | 0xFD << 8 | 14
MKFS = {"ext4": ["mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
        "f2fs": ["mkfs.f2fs", "-q", "-t", "0"]}
# Without it fsync() may end before what leads to the data is written (DESIGN.md).
OPTIONS = {"ext4": "defaults", "f2fs": "fastboot"}


def tool(*argv):
    status, out, err = run_tool(list(argv), timeout=300)
    if status:
        raise AssertionError(f"{' '.join(argv)}: {status}: {err.strip()}")
    return out.decode().strip()


class Disk:
    """A device that logs what is written to it."""

    def __init__(self, folder, kind):
        self.data, self.log = f"{folder}/data.img", f"{folder}/log.img"
        self.mount = f"{folder}/mnt"
        os.makedirs(self.mount)
        for path, size in ((self.data, DISK), (self.log, LOG)):
            with open(path, "wb") as file:
                file.truncate(size)
        self.loops = [tool("losetup", "--find", "--show", path) for path in (self.data, self.log)]
        tool("dmsetup", "--noudevsync", "create", "logged", "--table",
             f"0 {DISK // 512} log-writes {self.loops[0]} {self.loops[1]}")
        self.control = os.open("/dev/mapper/control", os.O_RDWR)
        self.device = "/dev/dm-" + tool("dmsetup", "info", "-c", "--noheadings", "-o", "minor",
                                        "logged")
        tool(*MKFS[kind], self.device)
        tool("mount", "-t", kind, "-o", OPTIONS[kind], self.device, self.mount)
        os.sync()
        self.mark("made")

    def mark(self, *words):
        """Into the log, after all that a flush has made durable so far."""
        message = b"mark " + ":".join(map(str, words)).encode() + b"\0"
        body = struct.pack("<Q", 0) + message
        head = struct.pack("<3IIIIiIII Q 128s 136s", 4, 0, 0, 312 + len(body), 312, 0, 0, 0, 0, 0,
                           0, b"logged", b"")
        fcntl.ioctl(self.control, DM_TARGET_MSG, bytearray(head + body))

    def close(self):
        os.close(self.control)
        tool("umount", self.mount)
        tool("dmsetup", "--noudevsync", "remove", "--retry", "logged")
        for loop in self.loops:
            tool("losetup", "-d", loop)


class MarkedProducer(Producer):
    """A producer whose PERSISTED acks are in the disk's log."""

    def __init__(self, name, seed, disk):
        super().__init__(name, seed)
        self.disk = disk

    def take_acks(self, put):
        new = put.acks[self.seen:]
        super().take_acks(put)
        for ack in new:
            if ack["EventType"] == "PERSISTED":
                self.disk.mark("persisted", self.stream, ack["FragmentTimecode"],
                               ack["FragmentNumber"])


def start(folder, log):
    """One thread: an open segment more is 64 MiB more."""
    return Service.start([KVSD], f"{folder}/kvs", "--threads", "1", "--disk-free-min", "1M",
                         timeout=START_S, log=log)


class Recording:
    """The service on the logged disk; what is known of it afterwards."""

    def __init__(self, folder, kind, seed, seconds):
        self.server_log = f"{folder}/server.log"
        self.disk = Disk(folder, kind)
        self.rng = random.Random(f"{seed}{kind}")
        self.producers = [MarkedProducer(f"cut-{i}", f"{seed}{kind}", self.disk)
                          for i in range(STREAMS)]
        self.service = None
        self.deleted = 0
        try:
            self.run(seconds)
        finally:
            if self.service:
                self.service.kill()
            self.disk.close()
        self.log = WriteLog(self.disk.log)

    def run(self, seconds):
        self.begin()
        for p in self.producers:
            p.client.call("createStream", StreamName=p.stream, DataRetentionInHours=24)
            self.disk.mark("created", p.stream)
            p.start()
        other = threading.Thread(target=self.come_and_go, daemon=True)
        other.start()
        for _ in range(KILLS):
            time.sleep(seconds / KILLS * self.rng.uniform(0.7, 1.3))
            self.service.kill()
            self.begin()
        # However slow the machine is: until there is something to lose.
        end = time.monotonic() + START_S
        while time.monotonic() < end and not (
                self.deleted and all(len(p.persisted) >= ACKS_MIN for p in self.producers)):
            time.sleep(0.1)
        for p in self.producers:
            p.stop.set()
        for p in self.producers:
            p.join(START_S)
            assert not p.is_alive(), f"{p.stream} does not end"
            assert not p.fault, p.fault
        self.gone = True
        other.join(START_S)
        self.service.kill()
        self.service = None

    def begin(self):
        self.service = start(self.disk.mount, self.server_log)
        self.disk.mark("ready")
        self.gone = False
        self.client = self.service.client()
        for p in self.producers:
            p.client = self.service.client()

    def come_and_go(self):
        """Streams that are made, filled and deleted meanwhile."""
        number = 0
        while not self.gone and number < 1000:
            name, client = f"gone-{number}", self.service.client()
            number += 1
            try:
                arn = client.call("createStream", StreamName=name,
                                  DataRetentionInHours=1)["StreamARN"]
                self.disk.mark("created", name)
                send_one(client, name, self.rng)
                time.sleep(0.2)
                self.disk.mark("deleting", name)
                client.call("deleteStream", StreamARN=arn)
                self.disk.mark("deleted", name)
                self.deleted += 1
            except (Exception,):  # killed under it: the next one
                time.sleep(0.2)


def send_one(client, stream, rng):
    put = client.put_media(stream)
    try:
        cluster = mkv.fragment(rng, 1700000000000 + rng.randrange(10 ** 9), 5000)
        put.write(mkv.header() + cluster)
        put.end()
        put.wait_closed()
        assert put.events("PERSISTED"), f"{stream}: {put.acks}"
        return put.events("PERSISTED")[0]["FragmentNumber"], cluster
    finally:
        put.abort()


class Claims:
    """What was promised before a point of the log."""

    def __init__(self, log, point):
        self.persisted = {}
        self.created, self.deleting, self.deleted = set(), set(), set()
        self.ready = False
        for at, text in log.marks():
            if at > point:
                break
            word, *rest = text.split(":")
            if word == "persisted":
                self.persisted.setdefault(rest[0], {})[rest[2]] = int(rest[1])
            elif word == "ready":
                self.ready = True
            elif word in ("created", "deleting", "deleted"):
                getattr(self, word).add(rest[0])

    def count(self):
        return sum(len(of) for of in self.persisted.values())


class Judge:
    """Starts the service on a disk that lost its power."""

    def __init__(self, recording, kind, folder):
        self.recording = recording
        self.kind = kind
        self.mount = f"{folder}/cut"
        self.copy = f"{folder}/cut.img"
        self.log = f"{folder}/cut.log"
        os.makedirs(self.mount)

    def check(self, claims, rng):
        loop = tool("losetup", "--find", "--show", self.copy)
        service = None
        try:
            tool("mount", "-t", self.kind, "-o", OPTIONS[self.kind], loop, self.mount)
            data = f"{self.mount}/kvs"
            if claims.ready and rng.random() < 0.3:
                expect(self.fsck(data, "--repair")[0] in (0, 1), True, "fsck --repair first")
            service = start(self.mount, self.log)
            client = service.client()
            self.check_streams(client, claims)
            for p in self.recording.producers:
                if p.stream in claims.created:
                    Reader(client, p).check(claims.persisted.get(p.stream, {}), None)
            self.check_upload(client, rng)
            service.kill()
            service = None
            expect(self.fsck(data, "--level", "media"), (0, ""), "fsck")
        finally:
            if service:
                service.kill()
            if os.path.ismount(self.mount):
                tool("umount", self.mount)
            tool("losetup", "-d", loop)

    @staticmethod
    def fsck(data, *options):
        status, out, err = run_tool([KVSD, "fsck", data, *options], timeout=START_S)
        return status, "" if status == 0 else f"{out}{err}"

    @staticmethod
    def check_streams(client, claims):
        there = {s["StreamName"] for s in client.call("listStreams", MaxResults=1000)
                 ["StreamInfoList"]}
        lost = claims.created - claims.deleting - there
        assert not lost, f"streams that were created are gone: {lost}"
        back = claims.deleted & there
        assert not back, f"streams that were deleted are there: {back}"
        for name in claims.deleted:
            try:
                client.call("listFragments", StreamName=name, MaxResults=1)
            except ApiError as error:
                expect(error.type, "ResourceNotFoundException", name)
            else:
                raise AssertionError(f"{name} is deleted, but listed")

    @staticmethod
    def check_upload(client, rng):
        client.call("createStream", StreamName="after", DataRetentionInHours=1)
        number, cluster = send_one(client, "after", rng)
        media = client.get_media_for_fragment_list("after", [number])
        docs = media.documents()
        media.close()
        expect([(d.number, d.cluster) for d in docs], [(number, cluster)], "uploaded after")


def choose(log, rng, count):
    """[(point, how many of the units that no flush covers are there)], increasing.
    Every promise is one that a disk without any of them must keep."""
    def spread(points, n):
        """n of them, one in each of n equal parts."""
        points = sorted(points)
        parts = [points[len(points) * i // n:len(points) * (i + 1) // n] for i in range(n)]
        return [rng.choice(part) for part in parts if part]

    acks = [at for at, text in log.marks() if text.startswith(("persisted", "deleted", "created"))]
    out = [(point, 0.0) for point in spread(acks, count // 2)]
    out += [(point, rng.choice([0.0, 0.5, 0.9, 1.0]))
            for point in spread([p for p in log.boundaries() if p >= log.marks()[0][0]], count // 4)]
    whole = range(log.marks()[0][0], len(log.entries) + 1)
    out += [(point, rng.choice([0.0, 0.3, 0.7, 1.0]))
            for point in spread(whole, count - len(out))]
    return sorted(out)


class Run:
    def __init__(self, args):
        self.args = args
        self.failed = 0

    def result(self, name, good, detail=""):
        print(f"{'ok' if good else 'not ok'} - {name}", flush=True)
        if not good:
            self.failed += 1
            print("\n".join(f"#    {line[:400]}" for line in str(detail).split("\n")[-30:]), flush=True)

    def filesystem(self, kind, folder):
        began = time.monotonic()
        recording = Recording(folder, kind, self.args.seed, self.args.seconds)
        log = recording.log
        total = Claims(log, len(log.entries))
        print(f"# {kind}: {len(log.entries)} log entries, {len(log.boundaries())} flushes and "
              f"forced writes, {total.count()} fragments acknowledged, {len(total.deleted)} streams "
              f"deleted, {time.monotonic() - began:.0f} s", flush=True)
        self.result(f"{kind}: fragments were acknowledged and streams deleted while it was logged",
                    total.count() >= STREAMS and total.deleted)
        rng = random.Random(f"{self.args.seed}{kind}points")
        judge = Judge(recording, kind, folder)
        image = Image(log, f"{folder}/replay.img", DISK)
        points = choose(log, rng, self.args.points)
        good = claimed = 0
        for point, part in points:
            claims = Claims(log, point)
            image.cut(point, lambda part=part: rng.random() < part, judge.copy)
            error = self.judged(judge, claims, rng)
            good += error is None
            claimed += claims.count()
            if error:
                self.result(f"{kind}: power cut at {point} with {part:.1f} of what was not flushed",
                            False, f"seed {self.args.seed}: {error}")
                self.keep(recording.disk.log, kind)
        self.result(f"{kind}: nothing promised is lost in {len(points)} power cuts",
                    good == len(points), f"{good} of {len(points)}")
        print(f"# {kind}: {claimed} times a fragment looked for, {time.monotonic() - began:.0f} s")
        self.liar(kind, log, judge, folder, rng)
        image.advance(len(log.entries))
        at = image.differs_from(recording.disk.data)
        self.result(f"{kind}: all of the log replayed is the disk", at is None, f"at byte {at}")
        image.close()

    @staticmethod
    def keep(path, kind):
        """The log, for whoever looks into it: `guest run --out DIR`."""
        if os.environ.get("KEEP_LOG"):
            with open(f"/out/{kind}.log.gz", "wb") as out:
                subprocess.run(["gzip", "-1c", path], stdout=out, check=False)
                os.fsync(out.fileno())

    def judged(self, judge, claims, rng):
        """None or what is wrong"""
        try:
            judge.check(claims, rng)
        except Exception as error:
            tail = run_tool(["dmesg"])[1].decode(errors="replace")[-600:]
            if os.path.exists(judge.log):
                with open(judge.log, errors="replace") as log:
                    tail += log.read()[-1500:]
            return f"{type(error).__name__}: {error}\n{tail}"
        return None

    def liar(self, kind, log, judge, folder, rng):
        """What is checked can fail: a disk as it was when half of it was written."""
        acks = [at for at, text in log.marks() if text.startswith("persisted")]
        image = Image(log, f"{folder}/liar.img", DISK)
        image.cut(acks[len(acks) // 2], lambda: True, judge.copy)
        image.close()
        error = self.judged(judge, Claims(log, acks[-1]), rng)
        found = error and ("fragments are gone" in error or "were deleted are there" in error or
                           "were created are gone" in error)
        self.result(f"{kind}: a disk that lies is found out", found, error)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("filesystem", nargs="+", choices=sorted(MKFS))
    parser.add_argument("--points", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "big"))
    args = parser.parse_args()
    print(f"# seed {args.seed}", flush=True)
    run = Run(args)
    for kind in args.filesystem:
        folder = f"/ram/{kind}"
        os.makedirs("/ram", exist_ok=True)
        tool("mount", "-t", "tmpfs", "-o", "size=90%", "ram", "/ram")
        os.makedirs(folder)
        try:
            run.filesystem(kind, folder)
        except Exception as error:
            run.result(f"{kind}: power cuts", False, f"seed {args.seed}: {type(error).__name__}: {error}")
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            tool("umount", "-l", "/ram")
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
