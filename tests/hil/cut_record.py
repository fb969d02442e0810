# SPDX-License-Identifier: Apache-2.0
"""The service on a disk that logs each write, and what it promised meanwhile."""

import fcntl
import os
import random
import struct
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in ("../support", "../e2e", "."):
    sys.path.insert(0, os.path.join(HERE, folder))
import matroska as mkv  # noqa: E402
from kill_cycles import Producer  # noqa: E402
from kvs_client import Service  # noqa: E402
from kvsd_server import KVSD, run_tool  # noqa: E402
from write_log import WriteLog  # noqa: E402

DISK = 512 << 20	# two segments of 64 MiB ahead, and room
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

    def __init__(self, folder, kind, log_bytes):
        self.data, self.log = f"{folder}/data.img", f"{folder}/log.img"
        self.mount = f"{folder}/mnt"
        os.makedirs(self.mount)
        for path, size in ((self.data, DISK), (self.log, log_bytes)):
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


class Marked:
    """Of a producer: its PERSISTED acks are in the disk's log."""

    disk = None

    def take_acks(self, put):
        new = put.acks[self.seen:]
        super().take_acks(put)
        for ack in new:
            if ack["EventType"] == "PERSISTED":
                self.disk.mark("persisted", self.stream, ack["FragmentTimecode"],
                               ack["FragmentNumber"])


class MarkedProducer(Marked, Producer):
    pass


def start(folder, log, *options):
    """One thread: an open segment more is 64 MiB more."""
    return Service.start([KVSD], f"{folder}/kvs", "--threads", "1", "--disk-free-min", "1M",
                         *options, timeout=START_S, log=log)


class Recording:
    """The service on the logged disk; what is known of it afterwards."""

    log_bytes = 512 << 20
    producer = MarkedProducer

    def __init__(self, folder, kind, seed, seconds):
        self.server_log = f"{folder}/server.log"
        self.disk = Disk(folder, kind, self.log_bytes)
        self.rng = random.Random(f"{seed}{kind}")
        self.producers = [self.producer(f"cut-{i}", f"{seed}{kind}") for i in range(STREAMS)]
        for p in self.producers:
            p.disk = self.disk
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
            self.wait_to_kill(seconds)
            self.service.kill()
            self.begin()
        self.wait(self.enough)
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

    def wait_to_kill(self, seconds):
        time.sleep(seconds / KILLS * self.rng.uniform(0.7, 1.3))

    def enough(self):
        """There is something to lose."""
        return self.deleted and all(len(p.persisted) >= ACKS_MIN for p in self.producers)

    @staticmethod
    def wait(test):
        """However slow the machine is."""
        end = time.monotonic() + START_S
        while time.monotonic() < end and not test():
            time.sleep(0.1)

    def start(self):
        return start(self.disk.mount, self.server_log)

    def begin(self):
        self.service = self.start()
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
        self.floors = {}	# stream -> the oldest it had: what was older is dropped
        self.ready = False
        for at, text in log.marks():
            if at > point:
                break
            word, *rest = text.split(":")
            if word == "persisted":
                self.persisted.setdefault(rest[0], {})[rest[2]] = int(rest[1])
            elif word == "dropped":
                self.floors[rest[0]] = max(rest[1], self.floors.get(rest[0], ""))
            elif word == "ready":
                self.ready = True
            elif word in ("created", "deleting", "deleted"):
                getattr(self, word).add(rest[0])

    def count(self):
        return sum(len(of) for of in self.persisted.values())
