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

With --recycle the service has room for a few segments, so that the files of dead
ones are used again: cut_recycle.py says what else is looked at then.

power_cut.py FILESYSTEM... [--points N] [--seed N] [--seconds N] [--recycle]
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import time

import cut_recycle
from cut_judge import Judge
from cut_record import DISK, MKFS, STREAMS, Claims, Recording, tool
from kvsd_server import run_tool
from write_log import Image


def spread(rng, points, n):
    """n of them, one in each of n equal parts."""
    points = sorted(points)
    parts = [points[len(points) * i // n:len(points) * (i + 1) // n] for i in range(n)]
    return [rng.choice(part) for part in parts if part]


def choose(log, rng, count):
    """[(point, how many of the units that no flush covers are there)], increasing.
    Every promise is one that a disk without any of them must keep."""
    acks = [at for at, text in log.marks() if text.startswith(("persisted", "deleted", "created"))]
    out = [(point, 0.0) for point in spread(rng, acks, count // 2)]
    out += [(point, rng.choice([0.0, 0.5, 0.9, 1.0]))
            for point in spread(rng, [p for p in log.boundaries() if p >= log.marks()[0][0]], count // 4)]
    whole = range(log.marks()[0][0], len(log.entries) + 1)
    out += [(point, rng.choice([0.0, 0.3, 0.7, 1.0]))
            for point in spread(rng, whole, count - len(out))]
    return sorted(out)


class Run:
    def __init__(self, args):
        self.args = args
        self.failed = 0
        self.recording, self.judge = Recording, Judge
        if args.recycle:
            self.recording, self.judge = cut_recycle.Recycling, cut_recycle.Judge

    def result(self, name, good, detail=""):
        print(f"{'ok' if good else 'not ok'} - {name}", flush=True)
        if not good:
            self.failed += 1
            print("\n".join(f"#    {line[:400]}" for line in str(detail).split("\n")[-30:]), flush=True)

    def filesystem(self, kind, folder):
        began = time.monotonic()
        recording = self.recording(folder, kind, self.args.seed, self.args.seconds)
        log = recording.log
        total = Claims(log, len(log.entries))
        print(f"# {kind}: {len(log.entries)} log entries, {len(log.boundaries())} flushes and "
              f"forced writes, {total.count()} fragments acknowledged, {len(total.deleted)} streams "
              f"deleted, {time.monotonic() - began:.0f} s", flush=True)
        self.result(f"{kind}: fragments were acknowledged and streams deleted while it was logged",
                    total.count() >= STREAMS and total.deleted)
        if self.args.recycle:
            self.result(f"{kind}: files of dead segments became others, also after the last kill",
                        recording.enough(), recording.told())
            print(f"# {kind}: {recording.told()}", flush=True)
        rng = random.Random(f"{self.args.seed}{kind}points")
        judge = self.judge(recording, kind, folder)
        image = Image(log, f"{folder}/replay.img", DISK)
        points = choose(log, rng, self.args.points)
        if self.args.recycle:
            points = cut_recycle.choose(log, rng, self.args.points, spread)
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
        if self.args.recycle:
            self.liar_of_the_past(kind, log, judge, folder, rng)
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
        self.stand(log, judge, folder, acks)
        error = self.judged(judge, Claims(log, acks[-1]), rng)
        found = error and ("fragments are gone" in error or "were deleted are there" in error or
                           "were created are gone" in error)
        self.result(f"{kind}: a disk that lies is found out", found, error)

    @staticmethod
    def stand(log, judge, folder, points):
        """The disk as it was half way through these points. Returns where that is."""
        image = Image(log, f"{folder}/liar.img", DISK)
        point = points[len(points) // 2]
        image.cut(point, lambda: True, judge.copy)
        image.close()
        return point

    def liar_of_the_past(self, kind, log, judge, folder, rng):
        """The same, of what is looked for only where files are used again."""
        points = cut_recycle.before_any(log)
        self.stand(log, judge, folder, points)
        claims = Claims(log, len(log.entries))
        claims.persisted, claims.deleted = {}, set()
        claims.created &= {p.stream for p in judge.recording.producers}
        claims.ready = False	# no repair first: it knows no floor
        error = self.judged(judge, claims, rng)
        self.result(f"{kind}: a disk that brings back what was dropped is found out",
                    error and "had been dropped" in error, error)
        for name, plant in (("a record of another segment", cut_recycle.plant),
                            ("a segment without its beginning", cut_recycle.behead)):
            point = self.stand(log, judge, folder, points)
            judge.tamper = plant
            error = self.judged(judge, Claims(log, point), rng)
            judge.tamper = None
            self.result(f"{kind}: {name} is found out", error and "of the past" in error, error)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("filesystem", nargs="+", choices=sorted(MKFS))
    parser.add_argument("--points", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--recycle", action="store_true")
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
