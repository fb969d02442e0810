#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every ERROR acknowledgement of the contract, raised by its fault.

A table: the fault, the ErrorId, whether the ack names a timecode and a
fragment. Of each: ErrorId and ErrorCode belong together, it is the last ack
but for fragments that were whole before it, the answer ends in order and the
connection is closed, and the stream takes the next upload.

Raised from outside all but 4503 of a disk that fails while it reads a key
(tests/unit/test_kms_keys.c); here the key's directory is one that cannot be
entered. 5000 by taking the process's memory away, 5001 by filling its disk.

ack_errors.py [ERROR_ID...]
"""

import itertools
import os
import random
import resource
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "support"))
import matroska as mkv  # noqa: E402
from disk_full import Disk  # noqa: E402
from kvs_client import ApiError, Failure  # noqa: E402
from kvsd_server import (Bench, expect, require, skip, until)  # noqa: E402

NAMES = {
    4000: "STREAM_READ_ERROR", 4001: "MAX_FRAGMENT_SIZE_REACHED",
    4002: "MAX_FRAGMENT_DURATION_REACHED",
    4003: "MAX_CONNECTION_DURATION_REACHED",
    4004: "FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS", 4006: "INVALID_MKV_DATA",
    4007: "INVALID_PRODUCER_TIMESTAMP", 4008: "STREAM_NOT_ACTIVE",
    4009: "FRAGMENT_METADATA_LIMIT_REACHED", 4010: "TRACK_NUMBER_MISMATCH",
    4011: "FRAMES_MISSING_FOR_TRACK", 4012: "MORE_THAN_ALLOWED_TRACKS_FOUND",
    4500: "KMS_KEY_ACCESS_DENIED", 4501: "KMS_KEY_DISABLED",
    4502: "KMS_KEY_VALIDATION_ERROR", 4503: "KMS_KEY_UNAVAILABLE",
    4504: "KMS_KEY_INVALID_USAGE", 4505: "KMS_KEY_INVALID_STATE",
    4506: "KMS_KEY_NOT_FOUND", 4507: "STREAM_DELETED",
    5000: "INTERNAL_ERROR", 5001: "ARCHIVAL_ERROR",
}
EOFR = mkv.END_OF_FRAGMENT
UPLOAD_S = 3		# --upload-max for 4003
SEEN = set()
NUMBER = itertools.count()	# no two streams have one name


class Upload:
    """One that has had a fragment PERSISTED; the next begins at .at."""

    def __init__(self, name, media=True, **stream):
        self.client = bench.client()
        self.name = name
        self.made = self.client.call("createStream", StreamName=name,
                                     **{"DataRetentionInHours": 1, **stream})
        self.rng = random.Random(name)
        self.at = int(time.time() * 1000)
        self.whole = []
        self.open()
        if media:
            self.put.write(mkv.header() + self.fragment() + EOFR)
            self.put.wait_event("PERSISTED",
                                FragmentTimecode=self.whole[-1])

    def open(self):
        self.put = self.client.put_media(self.name)

    def fragment(self, size=2000):
        self.whole.append(self.at)
        self.at += 1000
        return mkv.fragment(self.rng, self.at - 1000, size)

    def half(self):
        """The beginning of a fragment; its BUFFERING has come."""
        self.put.write(mkv.fragment(self.rng, self.at, 4000)[:-100])
        self.put.wait_event("BUFFERING", FragmentTimecode=self.at)


# --- the faults: each is given an upload; what it sends must end it -------------
def send(make):
    def fault(up):
        up.put.write(make(up.rng, up.at), 60000)
    return fault


def bad_chunk(up):
    up.half()
    up.put.write_raw(b"zz\r\n")


def body_cut(up):
    """The device stops sending inside the body but listens."""
    up.half()
    up.put.write_raw(b"1000\r\nabc")
    # FIN without TLS's own farewell
    socket.socket.shutdown(up.put.wire.sock, socket.SHUT_WR)


def after_all_time(up):
    up.put.end()
    up.put.wait_closed()
    up.put = up.client.put_media(up.name, absolute=False, start=253402300790)
    up.put.write(mkv.header() + mkv.fragment(up.rng, 100000) + EOFR)


def large(rng, at):
    piece = rng.randbytes(1 << 20)
    return mkv.cluster(at, b"".join(mkv.simple_block(piece, i)
                                    for i in range(52)), known=False)


def too_long_a_session(up):
    """Goes on until it is told: silence would end it without an error."""
    def told():
        up.put.write(mkv.fragment(up.rng, up.at, 200) + EOFR)
        up.whole.append(up.at)
        up.at += 1000
        return up.put.events("ERROR")
    until(told, 60, 0.2, "an ERROR")


def unreadable_after_the_error(up):
    """What cannot be read is behind what ended the session: one ERROR."""
    again = up.at
    up.put.write(up.fragment() + mkv.fragment(up.rng, again, 2000) + EOFR)
    up.put.write_raw(b"zz\r\n")
    socket.socket.shutdown(up.put.wire.sock, socket.SHUT_WR)


def two_tracks():
    return [mkv.track(1), mkv.track(2, mkv.AUDIO, "A_AAC", b"\x11\x90")]


def delete_between(up):
    up.client.call("deleteStream", StreamARN=up.made["StreamARN"])


def delete_inside(up):
    up.half()
    delete_between(up)


def no_memory(up):
    """A header for which the process is given no memory: data may not grow,
    and one just started has nothing that was freed."""
    pid = bench.service.process.pid
    header = mkv.header([mkv.track(private=bytes(1000000))])
    # The connection's own buffers first. IDLE: they have been read empty.
    up.put.write(header[:100000], 8000)
    up.put.wait_event("IDLE")
    with open(f"/proc/{pid}/status") as file:
        size = next(int(line.split()[1]) for line in file
                    if line.startswith("VmData:")) << 10
    old = resource.prlimit(pid, resource.RLIMIT_DATA, (size, -1))
    try:
        up.put.write(header[100000:], 8000)
        up.put.wait_event("ERROR")
    finally:
        resource.prlimit(pid, resource.RLIMIT_DATA, old)


# id, fault, {fresh: the fault is the whole body, timecode, number}
def table():
    frag, block = mkv.fragment, mkv.simple_block
    both = {"timecode": True, "number": True}
    none = {"timecode": False, "number": False}
    return [
        (4000, "a chunk size that is none, in a fragment", bad_chunk, both),
        (4000, "the body stops in a fragment", body_cut, both),
        (4000, "a chunk size that is none, before any",
         lambda up: up.put.write_raw(b"-1\r\n"), {**none, "fresh": True}),
        (4001, "52 MiB", send(large), both),
        (4002, "a frame 20.1 s after its Cluster", send(
            lambda r, t: mkv.cluster(t, [(b"a" * 50, 0), (b"b" * 50, 20100)])
            + EOFR), both),
        (4004, "the same timecode again",
         send(lambda r, t: frag(r, t - 1000) + EOFR), both),
        (4004, "before the last frame of the one before",
         send(lambda r, t: frag(r, t - 600) + EOFR), both),
        (4004, "and framing that is none after it",
         unreadable_after_the_error, both),
        (4006, "no EBML", send(lambda r, t: bytes(100)),
         {**none, "fresh": True}),
        (4006, "a second Segment",
         send(lambda r, t: mkv.header() + frag(r, t) + EOFR), {}),
        (4006, "new Tracks after Clusters",
         send(lambda r, t: mkv.el(mkv.TRACKS, mkv.track()) + frag(r, t)), {}),
        (4006, "a block without room for its head", send(
            lambda r, t: mkv.cluster(t, mkv.el(mkv.SIMPLE_BLOCK, b"\x81\0")) +
            EOFR), both),
        (4007, "an absolute timecode in microseconds' microseconds",
         send(lambda r, t: frag(r, 1 << 50) + EOFR),
         {"timecode": False, "number": True}),
        (4007, "a relative timecode after the year 9999",
         after_all_time, both),
        (4008, "the stream is deleted between fragments", delete_between,
         {**none, "gone": True}),
        (4009, "11 tags", send(lambda r, t: mkv.tags(
            [(f"n{i}", "v") for i in range(11)]) + frag(r, t) + EOFR), both),
        (4009, "a name of 129 bytes", send(
            lambda r, t: mkv.tags([("n" * 129, "v")]) + frag(r, t) + EOFR),
         both),
        (4009, "a value of 257 bytes", send(
            lambda r, t: mkv.tags([("n", "v" * 257)]) + frag(r, t) + EOFR),
         both),
        (4009, "a name of the service's own", send(
            lambda r, t: mkv.tags([("AWS_KINESISVIDEO_SERVER_TIMESTAMP",
                                    "1")]) + frag(r, t) + EOFR), both),
        (4010, "a frame of a track that the header has not", send(
            lambda r, t: mkv.cluster(t, [(b"a" * 99, 0), (b"b" * 99, 1, 7)])
            + EOFR), both),
        (4011, "a declared track without a frame", send(
            lambda r, t: mkv.header(two_tracks()) + frag(r, t) + EOFR),
         {**both, "fresh": True}),
        (4012, "four tracks", send(
            lambda r, t: mkv.header([mkv.track(i) for i in range(1, 5)]) +
            mkv.cluster(t, block(b"a"))), {**none, "fresh": True}),
        (4507, "the stream is deleted in a fragment", delete_inside,
         {**both, "gone": True}),
    ]


def check_error(error_id, error, want):
    expect(error["ErrorId"], error_id, f"ErrorId of {error}")
    expect(error["ErrorCode"], NAMES[error_id], "ErrorCode")
    assert isinstance(error["ErrorId"], int), error
    for key, kind in (("timecode", int), ("number", str)):
        field = "FragmentT" + key[1:] if key == "timecode" \
            else "FragmentNumber"
        if key in want:
            expect(field in error, want[key], f"{field} in {error}")
        if field in error:
            assert isinstance(error[field], kind), error
    assert not set(error) - {"EventType", "ErrorId", "ErrorCode",
                             "FragmentTimecode", "FragmentNumber"}, error
    SEEN.add(error_id)


def check_end(up, error_id, want):
    """The acks up to the end, and the end."""
    put = up.put
    put.wait_closed()
    errors = put.events("ERROR")
    expect(len(errors), 1, f"ERROR acks among {put.acks}")
    check_error(error_id, errors[0], want)
    # After it only what was whole before may still be told.
    after = put.acks[put.acks.index(errors[0]) + 1:]
    for ack in after:
        expect(ack["EventType"], "PERSISTED", f"after the ERROR: {ack}")
    if "FragmentTimecode" in errors[0]:
        named = errors[0]["FragmentTimecode"]
        late = [a for a in put.acks if a.get("FragmentTimecode") == named
                and a.get("FragmentNumber") == errors[0]["FragmentNumber"]
                and a["EventType"] in ("RECEIVED", "PERSISTED")]
        if error_id != 5001:
            expect(late, [], "acks of the fragment that failed")
    assert put.response.done, "the answer is cut, not ended"
    until(lambda: (put.wire.poll(0.2), put.wire.eof)[1], 10, 0,
          "a closed connection")
    put.abort()


def run_case(error_id, name, fault, want):
    with bench.case(f"{error_id} {NAMES[error_id]}: {name}"):
        up = Upload(f"e{error_id}-{next(NUMBER)}",
                    media=not want.get("fresh"))
        try:
            fault(up)
        except (Failure, OSError):
            if not up.put.events("ERROR"):
                up.put.poll(5)
        check_end(up, error_id, want)
        if want.get("gone"):
            return
        before = len(up.whole)
        up.open()
        up.put.write(mkv.header() + up.fragment() + EOFR)
        up.put.end()
        up.put.wait_closed()
        expect(up.put.events("ERROR"), [], "errors of the next upload")
        expect(len(up.put.events("PERSISTED")), len(up.whole) - before,
               "fragments of the next upload")


def test_deprecated():
    """4005 was for what has been allowed since: more than one track."""
    with bench.case("4005 MORE_THAN_ONE_TRACK_FOUND: not raised, two tracks "
                    "are PERSISTED"):
        up = Upload("e4005", media=False)
        up.put.write(mkv.header(two_tracks()) + mkv.cluster(
            up.at, [(b"a" * 99, 0, 1), (b"b" * 99, 1, 2)]) + EOFR)
        up.put.wait_event("PERSISTED", FragmentTimecode=up.at)
        up.put.end()
        up.put.wait_closed()
        expect(up.put.events("ERROR"), [], "errors")
        SEEN.add(4005)


# --- keys ---------------------------------------------------------------------------
def write_key(name, data, mode=0o600):
    path = os.path.join(keys, name)
    with open(path, "wb") as file:
        file.write(data)
    os.chmod(path, mode)
    return path


def key_refused(error_id, name, key_id):
    """An upload is let in, told, and ended; so is a reader."""
    client = bench.client()
    stream = f"k{error_id}-{next(NUMBER)}"
    with bench.case(f"{error_id} {NAMES[error_id]}: {name}"):
        client.call("createStream", StreamName=stream, KmsKeyId=key_id,
                    DataRetentionInHours=1)
        expect_key_error(client, stream, error_id)


def expect_key_error(client, stream, error_id):
    put = client.put_media(stream)
    put.wait_closed()
    expect([a["EventType"] for a in put.acks], ["ERROR"], "acks")
    check_error(error_id, put.acks[0], {"timecode": False, "number": False})
    assert put.response.done, "the answer is cut, not ended"
    put.abort()
    media = client.get_media(stream, StartSelectorType="EARLIEST")
    raw = media.response.read_all()
    media.close()
    tags = b"AWS_KINESISVIDEO_ERROR_ID"
    assert tags in raw and str(error_id).encode() in raw, raw
    assert NAMES[error_id].encode() in raw, raw
    assert mkv.id_bytes(mkv.CLUSTER) not in raw, "media without its key"


def test_keys():
    good = os.urandom(32)
    write_key("disabled.disabled", good)
    write_key("open.key", good, 0o644)
    write_key("empty.key", b"")
    write_key("public.key", b"-----BEGIN PUBLIC KEY-----\n" * 4)
    os.symlink("loop.key", os.path.join(keys, "loop.key"))
    for error_id, name, key_id in (
            (4500, "others may read it", "open"),
            (4501, "disabled", "alias/disabled"),
            (4502, "no name of a key", "../../etc/passwd"),
            (4502, "an alias of nothing",
             "arn:aws:kms:us-west-2:000000000000:alias/a b"),
            (4503, "its file cannot be opened", "loop"),
            (4504, "another kind of key", "public"),
            (4505, "no material yet", "empty"),
            (4506, "no such key", "arn:aws:kms:us-west-2:000000000000:key/"
             "1234abcd-12ab-34cd-56ef-1234567890ab")):
        key_refused(error_id, name, key_id)


def test_key_taken_away():
    """A stream of a customer key: stored with it, read with it, and neither
    without."""
    path = write_key("mine.key", os.urandom(32))
    with open(path, "rb") as file:
        bytes_of = file.read()
    away = os.path.join(keys, "mine.disabled")
    with bench.case("a customer key: PERSISTED and read back"):
        up = Upload("mine", KmsKeyId="alias/mine")
        first = up.put.acks[0]["FragmentNumber"]
        up.put.end()
        up.put.wait_closed()
        doc = up.client.get_media_for_fragment_list("mine",
                                                    [first]).documents()[0]
        expect(mkv.cluster_timecode(doc.cluster), up.whole[0], "timecode")
    up.open()
    up.put.write(mkv.header())
    up.half()
    os.rename(path, away)
    with bench.case("a key disabled: one that began with it goes on beside "
                    "one that is refused"):
        time.sleep(2.5)		# silent: who may upload takes its place
        expect_key_error(bench.client(), "mine", 4501)
        up.put.write(bytes(100) + EOFR)
        up.put.wait_event("PERSISTED", FragmentTimecode=up.at)
        up.put.end()
        up.put.wait_closed()
    with bench.case("the key disabled: no upload, no media, no clip"):
        expect_key_error(up.client, "mine", 4501)
        docs = up.client.get_media_for_fragment_list("mine",
                                                     [first]).documents()
        assert not any(d.cluster for d in docs), "media without its key"
        try:
            up.client.get_clip("mine", time.time() - 60, time.time() + 60)
        except ApiError as error:
            expect((error.status, error.type),
                   (401, "NotAuthorizedException"), "GetClip")
        else:
            raise AssertionError("a clip without its key")
    bench.restart(*OPTIONS)
    up.client = bench.client()
    with bench.case("... nor after a restart, and nothing is lost by it"):
        expect_key_error(up.client, "mine", 4501)
        os.rename(away, path)
        docs = up.client.get_media_for_fragment_list("mine",
                                                     [first]).documents()
        expect(mkv.cluster_timecode(docs[0].cluster), up.whole[0],
               "timecode")
    with bench.case("another key under its name opens nothing"):
        os.unlink(path)
        write_key("mine.key", os.urandom(32))
        bench.restart(*OPTIONS)
        up.client = bench.client()
        try:
            docs = up.client.get_media_for_fragment_list(
                "mine", [first]).documents()
        except Failure:
            docs = []
        assert not any(d.cluster for d in docs), "media of another key"
        os.unlink(path)
        write_key("mine.key", bytes_of)


def test_full_disk():
    """The disk is filled under the service; the fragment that no longer fits
    is told with its number."""
    with bench.case(f"5001 {NAMES[5001]}: the disk is full"):
        up = Upload("e5001")
        disk.fill(0)
        sent = 0
        try:
            while not up.put.events("ERROR") and sent < 400:
                up.put.write(up.fragment(1 << 20) + EOFR, 60000)
                sent += 1
            if not up.put.events("ERROR"):
                up.put.end()
        except (Failure, OSError):
            pass
        check_end(up, 5001, {"timecode": True, "number": True})
        disk.make_room()


def main():
    wanted = set(map(int, sys.argv[1:]))
    try:
        bench.start(*OPTIONS)
        for case in table():
            if not wanted or case[0] in wanted:
                run_case(*case)
        if not wanted or 4005 in wanted:
            test_deprecated()
        if not wanted or any(4500 <= w < 4507 for w in wanted):
            test_keys()
            test_key_taken_away()
        if not wanted or 5001 in wanted:
            test_full_disk()
        if sanitized():
            print("# 5000: not where memory is the sanitizer's")
            SEEN.add(5000)
        elif not wanted or 5000 in wanted:
            bench.restart(*OPTIONS)
            run_case(5000, "no memory for the header", no_memory,
                     {"fresh": True, "timecode": False, "number": False})
        if not wanted or 4003 in wanted:
            bench.restart(*OPTIONS, "--upload-max", f"{UPLOAD_S}s")
            run_case(4003, "a session over its time, in a fragment or not",
                     too_long_a_session, {})
        if not wanted:
            bench.check("every error of the contract was raised",
                        SEEN == set(NAMES) | {4005}, sorted(SEEN))
        return bench.finish()
    finally:
        if bench.service is not None:
            bench.kill()
        disk.umount()


def sanitized():
    with open(f"/proc/{bench.service.process.pid}/maps") as file:
        return any(n in file.read() for n in ("libasan", "libtsan"))


if __name__ == "__main__":
    require("mount", "umount")
    if os.geteuid():
        skip("needs root to mount a tmpfs")
    bench = Bench()
    disk = Disk(os.path.join(bench.temp, "disk"))
    bench.directory = disk.data
    keys = os.path.join(bench.temp, "keys")
    os.mkdir(keys, 0o700)
    OPTIONS = ("--kms-keys", keys)
    sys.exit(main())
