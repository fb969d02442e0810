#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A full disk: uploads are answered 5001, nothing else suffers, and when there
is room again the service goes on by itself. With storage_free it does not come
to that: the oldest goes. Needs root for a small tmpfs."""

import errno
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "support"))
import matroska as mkv  # noqa: E402
from kvs_client import ApiError, Failure  # noqa: E402
from kvsd_server import (Bench, expect, require, run_tool, skip,  # noqa: E402
                         until)

DISK_MIB = 512
ROOM_MIB = 24		# left of it when the test begins
FRAGMENT = 1 << 20


class Disk:
    """A tmpfs with a ballast file in it."""

    def __init__(self, path):
        self.path = path
        os.makedirs(path)
        status, _, err = run_tool(["mount", "-t", "tmpfs", "-o",
                                   f"size={DISK_MIB}m,mode=0700", "kvsd-test",
                                   path])
        if status:
            skip(f"no tmpfs can be mounted here: {err.strip()}")
        self.ballast = os.path.join(path, "ballast")
        self.data = os.path.join(path, "data")
        os.mkdir(self.data, 0o700)

    def free(self):
        stat = os.statvfs(self.path)
        return stat.f_bavail * stat.f_frsize

    def fill(self, leave):
        """The service may take or give back room meanwhile."""
        with open(self.ballast, "ab") as file:
            for _ in range(1000):
                size = self.free() - leave
                if size <= 0:
                    return
                at = os.fstat(file.fileno()).st_size
                try:
                    os.posix_fallocate(file.fileno(), at, size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def make_room(self):
        os.unlink(self.ballast)

    def umount(self):
        # The service has just ended; its last descriptor may linger.
        for _ in range(50):
            done = subprocess.run(["umount", self.path], check=False,
                                  stderr=subprocess.DEVNULL)
            if done.returncode == 0:
                return
            time.sleep(0.1)
        subprocess.run(["umount", "-l", self.path], check=False)


class Upload:
    """Fragments to one stream, and what became of them."""

    def __init__(self, client, stream):
        self.client = client
        self.stream = stream
        self.rng = random.Random(stream)
        self.at = 1700000000000
        self.good = {}		# number -> cluster
        self.errors = []

    def send(self, count, size=FRAGMENT):
        """One session of count fragments; it may end early."""
        put = self.client.put_media(self.stream)
        sent = {}
        try:
            put.write(mkv.header())
            for _ in range(count):
                if put.closed or put.events("ERROR"):
                    break
                cluster = mkv.fragment(self.rng, self.at, size)
                sent[self.at] = cluster
                self.at += 1000
                put.write(cluster + mkv.END_OF_FRAGMENT, 60000)
                put.poll()
            if not put.events("ERROR"):
                put.end()
            put.wait_closed()
        except (Failure, OSError):
            put.poll()
        finally:
            put.abort()
        for ack in put.events("PERSISTED"):
            self.good[ack["FragmentNumber"]] = sent[ack["FragmentTimecode"]]
        new = put.events("ERROR")
        self.errors += new
        return new

    def check_readable(self):
        numbers = sorted(self.good)
        for i in range(0, len(numbers), 10):
            batch = numbers[i:i + 10]
            media = self.client.get_media_for_fragment_list(self.stream,
                                                            batch)
            docs = media.documents()
            media.close()
            expect([d.number for d in docs], batch, "numbers read back")
            for d in docs:
                assert d.cluster == self.good[d.number], "bytes differ"


def main():
    require("mount", "umount")
    if os.geteuid():
        skip("needs root to mount a tmpfs")
    return on_small_disk(run) | on_small_disk(run_kept_free)


def on_small_disk(work):
    bench = Bench()
    disk = Disk(os.path.join(bench.temp, "disk"))
    bench.directory = disk.data
    try:
        work(bench, disk)
        status = bench.finish()
    finally:
        if bench.service is not None:
            bench.kill()
        disk.umount()
    return status


def run_kept_free(bench, disk):
    """Recordings of several segments, then somebody else fills the disk."""
    client = bench.start("--storage-free", "96M")
    client.call("createStream", StreamName="kept", DataRetentionInHours=1)
    upload = Upload(client, "kept")
    with bench.case("storage_free: everything is PERSISTED"):
        expect(upload.send(240), [], "errors")
        expect(len(upload.good), 240, "persisted")
    oldest = min(upload.good)
    disk.fill(80 << 20)
    with bench.case("storage_free: also while the disk has less than that"):
        for _ in range(4):
            expect(upload.send(50), [], "errors")
        expect(len(upload.good), 440, "persisted")
    with bench.case("storage_free: the newest is there, the oldest is not"):
        for number in sorted(upload.good)[:-60]:
            del upload.good[number]
        upload.check_readable()
        media = client.get_media_for_fragment_list("kept", [oldest])
        assert not any(d.cluster for d in media.documents())
        media.close()
        assert disk.free() >= 80 << 20, f"{disk.free()} bytes free"


def works(upload):
    before = len(upload.good)
    return not upload.send(3) and len(upload.good) == before + 3


def run(bench, disk):
    client = bench.start()
    for name in ("one", "two"):
        client.call("createStream", StreamName=name, DataRetentionInHours=1)
    one = Upload(bench.client(), "one")
    two = Upload(bench.client(), "two")
    with bench.case("before: fragments are PERSISTED"):
        expect(one.send(4), [], "errors")
        expect(two.send(2), [], "errors")
        expect((len(one.good), len(two.good)), (4, 2), "persisted")
    disk.fill(ROOM_MIB << 20)
    before = len(one.good)
    with bench.case("a full disk: 5001 ARCHIVAL_ERROR"):
        for _ in range(20):
            if one.send(20):
                break
        assert one.errors, f"no error, {len(one.good)} persisted, " \
            f"{disk.free()} bytes free"
        for ack in one.errors:
            expect((ack["ErrorId"], ack["ErrorCode"]),
                   (5001, "ARCHIVAL_ERROR"), "error")
    print(f"# {len(one.good) - before} fragments of 1 MiB went into "
          f"{ROOM_MIB} MiB", flush=True)
    disk.fill(0)
    with bench.case("a full disk: every upload says so, again and again"):
        for _ in range(5):
            try:
                assert one.send(2), "no error"
            except ApiError as error:
                assert error.status in (500, 503), error
    with bench.case("a full disk: the control plane answers"):
        for name in ("one", "two"):
            found = client.call("describeStream", StreamName=name)
            expect(found["StreamInfo"]["Status"], "ACTIVE", "status")
        expect(len(client.call("listStreams")["StreamInfoList"]), 2,
               "streams")
    with bench.case("a full disk: createStream answers, with success or an "
                    "error that says it is ours"):
        try:
            client.call("createStream", StreamName="three",
                        DataRetentionInHours=1)
        except ApiError as error:
            assert error.status >= 500, error
    with bench.case("a full disk: what was acknowledged is readable"):
        one.check_readable()
        two.check_readable()
    with bench.case("a full disk: live readers of an upload still get it"):
        pass_live(bench)
    disk.make_room()
    with bench.case("room again: uploads are PERSISTED, without a restart"):
        until(lambda: works(one), 20, 0.5, "uploads without an error")
        expect(two.send(3), [], "errors")
    disk.fill(0)
    with bench.case("full again: kill -9, and the service comes up and reads"):
        bench.restart()
        one.client, two.client = bench.client(), bench.client()
        one.check_readable()
        two.check_readable()
    disk.make_room()
    if bench.service is None:
        bench.start()
        one.client, two.client = bench.client(), bench.client()
    with bench.case("and room again: uploads are PERSISTED"):
        until(lambda: works(one), 20, 0.5, "uploads without an error")
        expect(two.send(3), [], "errors")
    with bench.case("room again: everything is readable"):
        one.check_readable()
        two.check_readable()
    with bench.case("room again: after kill -9, too"):
        bench.restart()
        one.client, two.client = bench.client(), bench.client()
        one.check_readable()
        two.check_readable()


def pass_live(bench):
    """Retention 0 needs no disk."""
    client, viewer = bench.client(), bench.client()
    try:
        client.call("createStream", StreamName="live")
    except ApiError:
        return    # nowhere to write the stream itself
    put = client.put_media("live")
    rng = random.Random(1)
    first = mkv.fragment(rng, 1700000000000)
    put.write(mkv.header() + first[:-50])
    put.wait_event("BUFFERING")
    media = viewer.get_media("live", StartSelectorType="NOW")
    put.write(first[-50:] + mkv.END_OF_FRAGMENT)
    put.wait_event("RECEIVED")
    doc = media.next(10)
    assert doc is not None and doc.cluster == first
    put.end()
    put.wait_closed()
    media.close()


if __name__ == "__main__":
    sys.exit(main())
