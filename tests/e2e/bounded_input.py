#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Input made to make the service spend memory.

Each attack comes over CONNECTIONS connections at the same time. Of each: the
contract's error (or none, where the input is merely odd), the peak of the
service's resident memory over what it had before is at most

	SLACK_MIB + CONNECTIONS * UPLOAD_MIB	of uploads
	SLACK_MIB + CONNECTIONS * HEAD_KIB	of requests without a body

and an upload to another stream that runs all the time never notices. A session
may hold a header (2 MiB, and the buffer that it grew from), a frame index
(1 MiB) per open fragment, tags (64 KiB) and pages under way; nothing of it
depends on what a size field says or on how long the input goes on.

bounded_input.py [WORD...]: attacks with one of the words in their name
"""

import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "support"))
import bad_http  # noqa: E402
import bad_input  # noqa: E402
import matroska as mkv  # noqa: E402
from kvs_client import Failure  # noqa: E402
from kvsd_server import Bench, Raw, expect, expect_in, require  # noqa: E402

CONNECTIONS = 8
SLACK_MIB = 8
UPLOAD_MIB = 4
HEAD_KIB = 128
READERS = 40
READER_MIB = 1.5	# plaintext that is queued, and what is ciphered of it
HUGE = (1 << 56) - 2	# the largest size that eight bytes can say
EOFR = mkv.END_OF_FRAGMENT


class Peak:
    """The most resident memory since it was made, over what was there."""

    def __init__(self):
        self.proc = f"/proc/{bench.service.process.pid}"
        with open(self.proc + "/clear_refs", "w") as file:
            file.write("5")
        self.before = self._kib("VmRSS")

    def _kib(self, name):
        with open(self.proc + "/status") as file:
            return next(int(line.split()[1]) for line in file
                        if line.startswith(name + ":"))

    def grown_mib(self):
        return (self._kib("VmHWM") - self.before) / 1024


def at_once(work):
    """work(i) on each connection at the same time; the first failure."""
    errors = []

    def run(i):
        try:
            work(i)
        except Exception as error:  # told below
            errors.append(error)
    threads = [threading.Thread(target=run, args=(i,))
               for i in range(CONNECTIONS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    if errors:
        raise errors[0]


def within(name, limit_mib, work):
    with bench.case(name):
        peak = Peak()
        work()
        grown = peak.grown_mib()
        print(f"# {name}: {grown:.1f} of {limit_mib:.0f} MiB", flush=True)
        if not sanitized:
            assert grown <= limit_mib, f"{grown:.1f} MiB, {limit_mib} allowed"


# --- uploads -------------------------------------------------------------------------
def sized(ident, size, body=b""):
    return mkv.id_bytes(ident) + mkv.vint(size, 8) + body


def start():
    """Up to where Info and Tracks are expected."""
    return mkv.ebml_header() + mkv.id_bytes(mkv.SEGMENT) + mkv.unknown(8)


def open_cluster(at):
    return (mkv.id_bytes(mkv.CLUSTER) + mkv.unknown(1) +
            mkv.uint(mkv.TIMECODE, at, 8))


def nested(ident, depth):
    """Masters in each other, each as large as it says."""
    out = b""
    for _ in range(depth):
        out = mkv.el(ident, out)
    return out


def bodies():
    """(name, what of the timecode, ErrorIds or how many are PERSISTED)"""
    tiny = mkv.simple_block(b"x")
    filler = bytes(8 << 20)     # of all connections more than is allowed
    head = mkv.header()
    frame = mkv.simple_block(b"f" * 100)

    def lie(ident, before=b"", body=filler):
        return lambda at: before + sized(ident, HUGE, body)

    def inside(part):
        return lambda at: head + open_cluster(at) + part

    return [
        ("an EBML header of 2^56", lie(mkv.EBML), (4006,)),
        ("Info of 2^56", lie(mkv.INFO, start()), (4006,)),
        ("Tracks of 2^56", lie(mkv.TRACKS, start() + mkv.info()), (4006,)),
        ("Void of 2^56 in the header",
         lie(mkv.VOID, start(), bytes(3 << 20)), (4006,)),
        ("CodecPrivate of 2^56", lambda at: start() + mkv.info() + sized(
            mkv.TRACKS, 1 << 40, sized(mkv.TRACK_ENTRY, 1 << 39, sized(
                0x63A2, 1 << 38, filler))), (4006,)),
        ("an unknown element of 2^56 in the header",
         lie(0x42F00D & 0x3FFF | 0x4000, start(), bytes(3 << 20)), (4006,)),
        ("a Segment of 2^56", lambda at: mkv.ebml_header() + sized(
            mkv.SEGMENT, HUGE) + mkv.info() + mkv.el(
                mkv.TRACKS, mkv.track()) + mkv.fragment(
                    random.Random(at), at) + EOFR, 1),
        ("a Cluster of 2^56", lambda at: head + sized(
            mkv.CLUSTER, HUGE, mkv.uint(mkv.TIMECODE, at, 8) + frame * 9),
         (4001, 4006)),
        ("a SimpleBlock of 2^56", inside(
            sized(mkv.SIMPLE_BLOCK, HUGE, b"\x81\0\0\x80" + filler)),
         (4001, 4006)),
        ("a BlockGroup of 2^56", inside(sized(mkv.BLOCK_GROUP, HUGE, sized(
            mkv.BLOCK, HUGE >> 8, b"\x81\0\0\x80" + filler))), (4001, 4006)),
        ("Void of 2^56 in a Cluster", inside(
            frame + sized(mkv.VOID, HUGE, filler)), (4001, 4006)),
        ("Tags of 2^56", lambda at: head + sized(mkv.TAGS, HUGE, filler),
         (4006, 4009)),
        ("a TagString of 2^56", lambda at: head + sized(
            mkv.TAGS, 1 << 40, sized(mkv.TAG, 1 << 39, sized(
                mkv.SIMPLE_TAG, 1 << 38, mkv.text(mkv.TAG_NAME, "n") + sized(
                    mkv.TAG_STRING, 1 << 37, filler)))), (4006, 4009)),
        ("SimpleTags 20,000 deep", lambda at: head + mkv.el(
            mkv.TAGS, mkv.el(mkv.TAG, nested(mkv.SIMPLE_TAG, 20000))) +
         mkv.fragment(random.Random(at), at), (4006, 4009)),
        ("BlockGroups 10,000 deep",
         inside(nested(mkv.BLOCK_GROUP, 10000)), (4006, 4011)),
        ("TrackEntries 10,000 deep", lambda at: start() + mkv.info() + mkv.el(
            mkv.TRACKS, nested(mkv.TRACK_ENTRY, 10000)), (4006,)),
        ("a million blocks of a byte", inside(tiny * 1000000), (4001,)),
        ("a million empty Voids in the header",
         lambda at: start() + b"\xec\x80" * 1500000, (4006,)),
        ("a million empty Voids between Clusters", lambda at: head +
         mkv.fragment(random.Random(at), at) + b"\xec\x80" * 1000000 + EOFR,
         1),
        ("Attachments of 2^56 in the header",
         lie(0x1941A469, start(), bytes(3 << 20)), (4006,)),
        ("Cues of 2^56 behind a Cluster", lambda at: head + mkv.fragment(
            random.Random(at), at) + sized(mkv.CUES, HUGE, filler), (4006,)),
        ("Cues of 200 MiB of which 8 come", lambda at: head + mkv.fragment(
            random.Random(at), at) + sized(mkv.CUES, 200 << 20, filler),
         (4000, 4006)),
        ("four million empty laces", inside(mkv.el(
            mkv.SIMPLE_BLOCK, b"\x81\0\0\x84\xff") * 16000), (4001,)),
        ("a hundred thousand Clusters without a frame", lambda at: head + b"".join(
            open_cluster(at + i) for i in range(0, 1000000, 10)),
         (4006, 4011)),
        ("a thousand fragments of a byte", lambda at: head + b"".join(
            open_cluster(at + i) + tiny + EOFR for i in range(1000)), 1000),
        ("a hundred thousand Tags", lambda at: head + mkv.tags(
            [("n", "v")]) * 100000 + mkv.fragment(random.Random(at), at),
         (4009,)),
        ("a hundred thousand tracks", lambda at: start() + mkv.info() +
         mkv.el(mkv.TRACKS, mkv.track() * 20000), (4006, 4012)),
        ("Tracks that never come: Info, then nothing but Void",
         lambda at: start() + mkv.info() + mkv.void(60000) * 60, (4006,)),
        ("a track whose frames never come: the other's go on", lambda at:
         mkv.header([mkv.track(1), mkv.track(2, mkv.AUDIO, "A_AAC",
                                             b"\x11\x90")]) +
         open_cluster(at) + b"".join(mkv.simple_block(b"f" * 50, i * 100)
                                     for i in range(300)), (4002, 4011)),
    ]


def attack(make, ids):
    """The same over each connection, each to a stream of its own."""
    data = make(int(time.time() * 1000))

    def one(i):
        put = bench.client().put_media(f"attacked-{i}")
        try:
            put.write(data, 60000)
            if not put.events("ERROR"):
                put.end()
        except (Failure, OSError):
            pass    # it need not take all of it
        put.wait_closed(60)
        errors = [a["ErrorId"] for a in put.events("ERROR")]
        put.abort()
        if isinstance(ids, int):
            expect(errors, [], "errors")
            expect(len(put.events("PERSISTED")), ids, "PERSISTED")
        else:
            expect(len(errors), 1, f"errors among {put.acks[-9:]}")
            expect_in(errors[0], ids, "ErrorId")
    at_once(one)


def chunk_cases():
    """Raw bytes after the head of an upload, and ids as in bodies()."""
    whole = mkv.header() + mkv.fragment(random.Random(1),
                                        int(time.time() * 1000), 2000) + EOFR
    bytewise = b"".join(b"1\r\n%c\r\n" % c for c in whole) + b"0\r\n\r\n"
    return [
        ("a chunk of 2^63 - 1", b"7fffffffffffffff\r\n" + bytes(2 << 20),
         (4000, 4006)),
        ("a chunk of 2^64 - 1", b"ffffffffffffffff\r\n" + bytes(2 << 20),
         (4000, 4006)),
        ("a chunk of 2^64", b"10000000000000000\r\n" + bytes(1 << 20),
         (4000,)),
        ("a chunk size of a million digits", b"0" * 1000000 + b"5\r\nabcde",
         (4000,)),
        ("a chunk extension of a megabyte", b"5;" + b"x" * (1 << 20), (4000,)),
        ("a chunk size line that ends in a bare LF", b"5\nabcde\r\n", (4000,)),
        ("trailers without an end", b"0\r\n" + b"X: y\r\n" * 200000, (4000,)),
        ("media in chunks of one byte", bytewise, 1),
    ]


def raw_attack(data, ids):
    def one(i):
        put = bench.client().put_media(f"attacked-{i}")
        try:
            put.write_raw(data)
        except (Failure, OSError):
            pass
        put.wait_closed(60)
        errors = [a["ErrorId"] for a in put.events("ERROR")]
        put.abort()
        if isinstance(ids, int):
            expect((errors, len(put.events("PERSISTED"))), ([], ids), "acks")
        else:
            expect(len(errors), 1, f"errors among {put.acks}")
            expect_in(errors[0], ids, "ErrorId")
    at_once(one)


# --- requests --------------------------------------------------------------------------
def head_cases():
    post = b"POST /listStreams HTTP/1.1\r\nHost: x\r\n"
    return [
        ("fields without an end", post + b"X-Flood: yyyyyyyy\r\n" * 200000),
        ("a field name of 4 MiB", post + b"x" * (4 << 20)),
        ("a field value of 4 MiB", post + b"X: " + b"y" * (4 << 20)),
        ("a target of 4 MiB", b"POST /" + b"a" * (4 << 20)),
        ("empty lines before a request", b"\r\n" * 2000000),
        ("a million folded lines",
         post + b"X: a\r\n" + b" b\r\n" * 1000000),
        ("lines that end in a bare LF",
         post.replace(b"\r\n", b"\n") + b"X: y\n" * 800000 + b"\n"),
    ]


def head_attack(data):
    def one(_):
        raw = Raw(bench.client(), 60)
        try:
            raw.send(data)
        except OSError:
            pass
        out, closed = raw.read_until_closed(30)
        raw.close()
        assert closed, f"still open after {out[:200]}"
        assert out.startswith(b"HTTP/1.1 4") or not out, out[:200]
    at_once(one)


# --- readers ---------------------------------------------------------------------------
def slow_readers():
    """They ask for a stream that is being sent, and read nothing."""
    rng = random.Random(6)
    put = bench.client().put_media("watched")
    put.write(mkv.header())
    readers = [bench.client().get_media("watched", StartSelectorType=kind)
               for kind in ("NOW", "EARLIEST") * (READERS // 2)]
    at = int(time.time() * 1000)
    for i in range(16):
        put.write(mkv.fragment(rng, at + 1000 * i, 6 << 20) + EOFR)
        put.wait_event("PERSISTED", 60, FragmentTimecode=at + 1000 * i)
    put.end()
    put.wait_closed()
    expect(put.events("ERROR"), [], "errors")
    for r in readers:
        r.close()


def main():
    client = bench.client()
    client.call("createStream", StreamName="watched", DataRetentionInHours=1)
    for i in range(CONNECTIONS):
        client.call("createStream", StreamName=f"attacked-{i}",
                    DataRetentionInHours=1)
    beside = bad_input.Beside()
    wanted = sys.argv[1:]
    uploads = SLACK_MIB + CONNECTIONS * UPLOAD_MIB
    heads = SLACK_MIB + CONNECTIONS * HEAD_KIB / 1024
    todo = [(f"upload: {n}", uploads, lambda m=m, e=e: attack(m, e))
            for n, m, e in bodies()]
    todo += [(f"upload: {n}", uploads, lambda d=d, e=e: raw_attack(d, e))
             for n, d, e in chunk_cases()]
    todo += [(f"head: {n}", heads, lambda d=d: head_attack(d))
             for n, d in head_cases()]
    todo.append((f"readers: {READERS} that read nothing of 96 MiB",
                 SLACK_MIB + READERS * READER_MIB, slow_readers))
    for name, limit, work in todo:
        if (not wanted or any(w in name for w in wanted)) and bench.alive():
            within(name, limit, work)
    beside.finish()
    return bench.finish()


if __name__ == "__main__":
    require()
    bench = bad_http.bench = bad_input.bench = Bench()
    bench.start("--readers", str(READERS))
    with open(f"/proc/{bench.service.process.pid}/maps") as maps:
        text = maps.read()
    sanitized = "libasan" in text or "libtsan" in text
    sys.exit(main())
