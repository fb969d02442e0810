#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the service must refuse, and what it must not lose by it.

PutMedia bodies that break each rule of the contract, HTTP that is malformed,
slow, oversized or ambiguous, clients that must not get in. After each: the
right error, the fragments before it are readable bit-exact, and an upload to
another stream that runs all the time never notices.
"""

import datetime
import hashlib
import json
import os
import random
import shutil
import socket
import ssl
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "support"))
import kvs_client  # noqa: E402
import matroska as mkv  # noqa: E402
from kvs_client import EMPTY_HASH, ApiError, Failure  # noqa: E402
from kvsd_server import (Bench, Raw, expect, expect_error,  # noqa: E402
                         expect_in, require, run_tool, until)

ERROR_NAMES = {
    4000: "STREAM_READ_ERROR", 4001: "MAX_FRAGMENT_SIZE_REACHED",
    4002: "MAX_FRAGMENT_DURATION_REACHED",
    4004: "FRAGMENT_TIMECODE_LESSER_THAN_PREVIOUS", 4006: "INVALID_MKV_DATA",
    4007: "INVALID_PRODUCER_TIMESTAMP",
    4009: "FRAGMENT_METADATA_LIMIT_REACHED", 4010: "TRACK_NUMBER_MISMATCH",
    4011: "FRAMES_MISSING_FOR_TRACK", 4012: "MORE_THAN_ALLOWED_TRACKS_FOUND",
}
SEED = int(os.environ.get("SEED", "1"))
EOFR = mkv.END_OF_FRAGMENT
HEAD_S_MAX = 30		# an unfinished head or handshake lives no longer
BODY_S_MAX = 60		# an unfinished JSON body
SILENT_S = 30		# B1: an upload is closed this long after its last byte


def now_ms():
    return int(time.time() * 1000)


# --- reading back --------------------------------------------------------------
def listed(client, stream):
    """Fragments by ListFragments over all time, oldest number first."""
    out, token = [], None
    while True:
        members = {"StreamName": stream, "MaxResults": 1000}
        if token:
            members["NextToken"] = token
        else:
            members["FragmentSelector"] = {
                "FragmentSelectorType": "SERVER_TIMESTAMP",
                "TimestampRange": {"StartTimestamp": 0,
                                   "EndTimestamp": time.time() + 3600}}
        page = client.call("listFragments", **members)
        out += page["Fragments"]
        token = page.get("NextToken")
        if not token:
            return sorted(out, key=lambda f: f["FragmentNumber"])


def clusters_of(client, stream, numbers):
    media = client.get_media_for_fragment_list(stream, numbers)
    docs = media.documents()
    media.close()
    expect([d.number for d in docs], numbers, "numbers read back")
    return [d.cluster for d in docs]


def expect_stored(client, stream, clusters):
    """Exactly these are listed (within a second or so) and bit-exact."""
    found = until(lambda: (lambda f: f if len(f) == len(clusters) else None)(
        listed(client, stream)), 10, 0.1, f"{len(clusters)} listed fragments")
    numbers = [f["FragmentNumber"] for f in found]
    if numbers:
        got = clusters_of(client, stream, numbers)
        assert got == list(clusters), "stored clusters differ"
    time.sleep(0.05)
    expect(len(listed(client, stream)), len(clusters), "listed fragments")
    return numbers


# --- an upload that must not notice anything -----------------------------------------
class Beside:
    def __init__(self):
        self.client = bench.client()
        self.client.call("createStream", StreamName="beside",
                         DataRetentionInHours=1)
        self.clusters = []
        self.put = None
        self.error = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        rng = random.Random(SEED)
        try:
            self.put = self.client.put_media("beside")
            self.put.write(mkv.header())
            at = now_ms()
            while not self.stop.wait(0.2):
                at += 1000
                c = mkv.fragment(rng, at, rng.randrange(500, 40000))
                self.clusters.append(c)
                self.put.write(c + EOFR, 4000)
            self.put.end()
            self.put.wait_closed()
        except Exception as error:  # told by finish()
            self.error = error

    def finish(self):
        self.stop.set()
        self.thread.join(40)
        with bench.case("the upload beside all this is untouched"):
            if self.error:
                raise self.error
            expect(self.put.events("ERROR"), [], "its errors")
            expect(len(self.put.events("PERSISTED")), len(self.clusters),
                   "its PERSISTED acks")
            expect_stored(self.client, "beside", self.clusters)


# --- PutMedia bodies that break a rule ------------------------------------------------
def good_start(put, rng, count=2, header=None):
    """Header and whole fragments, all PERSISTED. Returns (clusters, next)."""
    at = now_ms()
    put.write(mkv.header() if header is None else header)
    clusters = []
    for _ in range(count):
        c = mkv.fragment(rng, at, rng.randrange(200, 9000))
        clusters.append(c)
        put.write(c + EOFR)
        at += 1000
    put.wait_ack(lambda a: a["EventType"] == "PERSISTED" and
                 a["FragmentTimecode"] == at - 1000)
    return clusters, at


def refused(name, make, error_ids, fresh=False):
    """make(rng, timecode) -> bytes that must end the upload with one of the
    errors. fresh: the bytes are a body of their own."""
    stream = "bad-" + "".join(c if c.isalnum() else "-" for c in name)[:80]
    ids = (error_ids,) if isinstance(error_ids, int) else error_ids
    rng = random.Random(f"{SEED}{name}")
    client = bench.client()
    with bench.case(f"{name}: {'/'.join(map(str, ids))}, what was before "
                    "stays"):
        client.call("createStream", StreamName=stream, DataRetentionInHours=1)
        put = client.put_media(stream)
        clusters, at = good_start(put, rng)
        if fresh:
            put.end()
            put.wait_closed()
            put = client.put_media(stream)
        try:
            put.write(make(rng, at), 60000)
        except (Failure, OSError):
            pass    # it need not take all of it
        put.poll()
        if not put.events("ERROR"):
            try:
                put.end()
            except (Failure, OSError):
                pass
        put.wait_closed(30)
        errors = put.events("ERROR")
        expect(len(errors), 1, f"ERROR acks among {put.acks}")
        expect_in(errors[0]["ErrorId"], ids, "ErrorId")
        expect(errors[0]["ErrorCode"], ERROR_NAMES[errors[0]["ErrorId"]],
               "ErrorCode")
        expect(put.acks[-1]["EventType"], "ERROR", "last ack")
        expect_stored(client, stream, clusters)
        # The stream takes uploads as before.
        put = client.put_media(stream)
        more, _ = good_start(put, rng, 1)
        put.end()
        put.wait_closed()
        expect(put.events("ERROR"), [], "errors of the next upload")
        expect_stored(client, stream, clusters + more)


def cut_cluster(rng, at):
    return mkv.fragment(rng, at, 8000)[:-1000]


def long_cluster(rng, at):
    return mkv.cluster(at, [(b"a" * 50, 0), (b"b" * 50, 21000)])


def big_fragment(rng, at):
    piece = rng.randbytes(1 << 20)
    return mkv.cluster(at, b"".join(mkv.simple_block(piece, i)
                                    for i in range(52)), known=False)


def many_tags(count, name="n", value="v"):
    return lambda rng, at: (mkv.tags([(f"{name}{i}", value)
                                      for i in range(count)]) +
                            mkv.fragment(rng, at) + EOFR)


def two_tracks():
    return mkv.header([mkv.track(1), mkv.track(2, mkv.AUDIO, "A_AAC",
                                               b"\x11\x90")])


def bodies():
    frag = mkv.fragment
    head = mkv.header()
    block = mkv.simple_block
    block_in = mkv.id_bytes(mkv.CLUSTER) + mkv.unknown(1)
    return [
        ("garbage", lambda r, t: b"\0" * 100, 4006),
        ("random garbage", lambda r, t: b"\x0f" + r.randbytes(3000), 4006),
        ("no Matroska at all", lambda r, t: b"GET / HTTP/1.1\r\n\r\n", 4006,
         True),
        ("a second Segment", lambda r, t: head + frag(r, t) + EOFR, 4006),
        ("new Tracks after Clusters",
         lambda r, t: mkv.el(mkv.TRACKS, mkv.track()) + frag(r, t), 4006),
        ("body ends inside a Cluster", cut_cluster, (4006, 4000)),
        ("body ends inside the header", lambda r, t: head[:-20], (4006, 4000),
         True),
        ("Cluster without Timecode",
         lambda r, t: mkv.el(mkv.CLUSTER, block(b"x" * 100)) + EOFR, 4006),
        ("Cluster without a frame",
         lambda r, t: mkv.cluster(t, b"") + EOFR, (4006, 4011)),
        ("block longer than its Cluster",
         lambda r, t: mkv.el(mkv.CLUSTER, mkv.uint(mkv.TIMECODE, t, 8) +
                             mkv.id_bytes(mkv.SIMPLE_BLOCK) + mkv.vint(5000) +
                             b"\x81\0\0\x80" + bytes(1000)) + frag(r, t + 1),
         4006),
        ("block of two bytes",
         lambda r, t: mkv.cluster(t, mkv.el(mkv.SIMPLE_BLOCK, b"\x81\0")) +
         EOFR, 4006),
        ("block of unknown size",
         lambda r, t: block_in + mkv.uint(mkv.TIMECODE, t, 8) +
         mkv.id_bytes(mkv.SIMPLE_BLOCK) + mkv.unknown(1) + bytes(300), 4006),
        ("block of 2^40 bytes",
         lambda r, t: block_in + mkv.uint(mkv.TIMECODE, t, 8) +
         mkv.id_bytes(mkv.SIMPLE_BLOCK) + mkv.vint(1 << 40, 8) +
         b"\x81\0\0\x80" + bytes(5000), (4006, 4001)),
        ("Tags of 2^30 bytes",
         lambda r, t: mkv.id_bytes(mkv.TAGS) + mkv.vint(1 << 30, 8) +
         bytes(200000), (4006, 4009)),
        ("Timecode of nine bytes",
         lambda r, t: mkv.el(mkv.CLUSTER, mkv.uint(mkv.TIMECODE, t, 9) +
                             block(b"x" * 10)) + EOFR, 4006),
        ("lacing without its sizes",
         lambda r, t: mkv.cluster(t, block(b"\xff", flags=0x86)) + EOFR, 4006),
        ("header without Tracks",
         lambda r, t: mkv.ebml_header() + mkv.id_bytes(mkv.SEGMENT) +
         mkv.unknown() + mkv.info() + frag(r, t), (4006, 4010), True),
        ("CodecPrivate of 5 MiB",
         lambda r, t: mkv.header([mkv.track(private=bytes(5 << 20))]) +
         frag(r, t), 4006, True),
        ("header of 2^50 bytes",
         lambda r, t: mkv.ebml_header() + mkv.id_bytes(mkv.SEGMENT) +
         mkv.unknown() + mkv.id_bytes(mkv.INFO) + mkv.vint(1 << 50, 8) +
         bytes(100000), 4006, True),
        ("52 MiB in one fragment", big_fragment, 4001),
        ("21 s in one fragment", lambda r, t: long_cluster(r, t) + EOFR, 4002),
        ("the timecode of the one before",
         lambda r, t: frag(r, t - 1000) + EOFR, 4004),
        ("a timecode inside the one before",
         lambda r, t: frag(r, t - 600) + EOFR, 4004),
        ("an earlier timecode", lambda r, t: frag(r, t - 60000) + EOFR, 4004),
        ("a timecode of 2^60 ms", lambda r, t: frag(r, 1 << 60) + EOFR,
         (4007, 4006)),
        ("11 tags", many_tags(11), 4009),
        ("11 tags after the Cluster",
         lambda r, t: frag(r, t) + mkv.tags(
             [(f"n{i}", "v") for i in range(11)] +
             [("AWS_KINESISVIDEO_END_OF_FRAGMENT", "")]), 4009),
        ("tag name of 129 bytes", many_tags(1, "n" * 128), 4009),
        ("tag value of 257 bytes", many_tags(1, "n", "v" * 257), 4009),
        ("a tag that reads like the service's own",
         many_tags(1, "AWS_KINESISVIDEO_FRAGMENT_NUMBER"), 4009),
        ("a frame of a track that is not declared",
         lambda r, t: mkv.cluster(t, [(b"a" * 99, 0), (b"b" * 99, 1, 7)]) +
         EOFR, 4010),
        ("a track without a frame",
         lambda r, t: two_tracks() + mkv.cluster(
             t, [(b"a" * 99, 0, 1), (b"b" * 99, 1, 2)]) + EOFR +
         frag(r, t + 1000) + EOFR, 4011, True),
        ("four tracks",
         lambda r, t: mkv.header([mkv.track(i) for i in range(1, 5)]) +
         mkv.cluster(t, [(b"a", 0, i) for i in range(1, 5)]), 4012, True),
    ]


def test_bad_bodies():
    for name, make, ids, *fresh in bodies():
        if name == "a track without a frame":
            continue
        refused(name, make, ids, *fresh)


def test_missing_track():
    """4011 comes for the second fragment; the first one is good."""
    client = bench.client()
    client.call("createStream", StreamName="missing", DataRetentionInHours=1)
    rng = random.Random(SEED)
    at = now_ms()
    good = mkv.cluster(at, [(rng.randbytes(99), 0, 1),
                            (rng.randbytes(99), 1, 2)])
    with bench.case("a track without a frame: 4011, what was before stays"):
        put = client.put_media("missing")
        put.write(two_tracks() + good + EOFR + mkv.fragment(rng, at + 1000) +
                  EOFR)
        put.wait_closed()
        expect([a["ErrorId"] for a in put.events("ERROR")], [4011], "errors")
        expect([a["FragmentTimecode"] for a in put.events("PERSISTED")], [at],
               "persisted")
        expect_stored(client, "missing", [good])


def test_dropped_connections():
    client = bench.client()
    rng = random.Random(SEED)
    client.call("createStream", StreamName="dropped", DataRetentionInHours=1)
    clusters = []
    for name, last in (
            ("cut inside a Cluster", cut_cluster),
            ("cut inside a chunk", None),
            ("chunk size that is no number", b"zz\r\n"),
            ("chunk size of 17 digits", b"fffffffffffffffff\r\n"),
            ("chunk without its line end", b"3\r\nabcdef"),
            ("negative chunk size", b"-5\r\nabcde\r\n")):
        with bench.case(f"{name}: what was before stays"):
            put = client.put_media("dropped")
            more, at = good_start(put, rng)
            clusters += more
            if last is None:
                put.write_raw(b"1000\r\n" + mkv.fragment(rng, at)[:500])
                put.abort()
            elif callable(last):
                put.write(last(rng, at))
                put.abort()
            else:
                put.write_raw(last)
                put.wait_closed(10)
                for a in put.events("ERROR"):
                    expect_in(a["ErrorId"], (4000, 4006), "ErrorId")
                assert not put.events("PERSISTED")[2:]
            until(lambda: _free(client, "dropped"), 10, 0.1, "a free stream")
            expect_stored(client, "dropped", clusters)


def _free(client, stream):
    try:
        put = client.put_media(stream)
    except ApiError as error:
        expect(error.type, "ConnectionLimitExceededException", "error")
        return False
    put.end()
    put.wait_closed()
    return True


# --- what must be accepted --------------------------------------------------------
def accepted(name, data, absolute=False, timecodes=None, start=None):
    """Every Cluster of the file is PERSISTED and comes back byte for byte."""
    stream = "good-" + "".join(c if c.isalnum() else "-" for c in name)
    clusters = [b for k, b in mkv.split_upload(data)[1] if k == mkv.CLUSTER]
    client = bench.client()
    with bench.case(f"{name}: accepted, {len(clusters)} Clusters"):
        assert len(clusters) > 1, "the test needs several Clusters"
        client.call("createStream", StreamName=stream, DataRetentionInHours=1)
        put = client.put_media(stream, absolute=absolute, start=start)
        put.write(data)
        put.end()
        put.wait_closed()
        expect(put.events("ERROR"), [], "errors")
        want = timecodes or [mkv.cluster_timecode(c) for c in clusters]
        for event in ("BUFFERING", "RECEIVED", "PERSISTED"):
            expect([a["FragmentTimecode"] for a in put.events(event)], want,
                   event)
        expect_stored(client, stream, clusters)
        return client, stream
    return None


def test_muxers():
    raw = os.path.join(bench.temp, "in.mkv")
    mkv.make_h264(6, extra=("-y", "-f", "matroska", raw))
    with open(raw, "rb") as file:
        accepted("ffmpeg, seekable, with Cues", file.read())
    accepted("ffmpeg, CRC-32", mkv.make_h264(6, extra=("-write_crc32", "1")))
    accepted("ffmpeg, no CRC-32, two tracks",
             mkv.make_h264(6, audio=True, extra=("-write_crc32", "0")))
    out = os.path.join(bench.temp, "out.mkv")
    status, _, err = run_tool(["mkvmerge", "-q", "-o", out,
                               "--cluster-length", "2000ms", raw])
    expect(status, 0, f"mkvmerge {err}")
    with open(out, "rb") as file:
        accepted("mkvmerge", file.read())
    if not shutil.which("gst-launch-1.0"):
        print("# no gst-launch-1.0: matroskamux not tried")
        return
    status, _, err = run_tool(
        ["gst-launch-1.0", "-q", "filesrc", f"location={raw}", "!",
         "matroskademux", "!", "matroskamux", "streamable=true",
         "min-cluster-duration=1000000000",
         "max-cluster-duration=2000000000", "!", "filesink",
         f"location={out}"])
    if status or "WARNING" in err:
        print(f"# matroskamux not tried: {err[:200]}")
        return
    with open(out, "rb") as file:
        accepted("GStreamer matroskamux", file.read())


def test_forms():
    rng = random.Random(SEED)
    at = now_ms()
    plain = [mkv.fragment(rng, at + 1000 * i, 3000) for i in range(3)]
    unknown = [mkv.fragment(rng, at + 1000 * i, 3000, known=False)
               for i in range(3)]
    accepted("absolute, known sizes", mkv.header() + b"".join(plain), True)
    accepted("absolute, unknown sizes", mkv.header() + b"".join(unknown),
             True)
    accepted("Void and CRC-32 everywhere",
             mkv.header(before=mkv.void(100), after=mkv.void(9)) + b"".join(
                 mkv.fragment(rng, at + 1000 * i, 3000, crc=True, pad=200) +
                 mkv.void(50) for i in range(3)), True)
    accepted("Tags before Info", mkv.header(before=mkv.tags([("a", "b")])) +
             b"".join(plain), True)
    accepted("ten tags of full length", mkv.header() + plain[0] +
             mkv.tags([("n" * 127 + str(i), "v" * 256) for i in range(10)]) +
             plain[1] + plain[2], True)
    accepted("timecode scale of 100 us", mkv.header(scale=100000) + b"".join(
        mkv.fragment(rng, 10 * (at + 1000 * i), 3000) for i in range(3)),
             True, [at + 1000 * i for i in range(3)])
    accepted("timecode scale of 1 s", mkv.header(scale=1000000000) + b"".join(
        mkv.cluster(at // 1000 + i, [(rng.randbytes(500), 0)])
        for i in range(3)), True, [1000 * (at // 1000 + i) for i in range(3)])
    accepted("three tracks", mkv.header(
        [mkv.track(1), mkv.track(2, mkv.AUDIO, "A_AAC", b"\x11\x90"),
         mkv.track(3, mkv.DATA, "D_RADAR")]) + b"".join(
             mkv.cluster(at + 1000 * i, [(rng.randbytes(99), j, j + 1)
                                         for j in range(3)])
             for i in range(3)), True)
    accepted("block groups and wide sizes", mkv.header() + b"".join(
        mkv.cluster(at + 1000 * i, mkv.el(
            mkv.BLOCK_GROUP, mkv.el(mkv.BLOCK, b"\x81\0\0\0" +
                                    rng.randbytes(300), 8), 8))
        for i in range(3)), True)


def test_relative():
    """Acks carry the timecode as sent; producer time adds the start."""
    rng = random.Random(SEED)
    start = 1511852108.513
    data = mkv.header() + b"".join(mkv.fragment(rng, 2000 * i)
                                   for i in range(3))
    found = accepted("relative timecodes", data, start=start)
    with bench.case("relative timecodes: producer time adds the start"):
        client, stream = found
        expect([round(f["ProducerTimestamp"] * 1000)
                for f in listed(client, stream)],
               [1511852108513 + 2000 * i for i in range(3)], "producer times")


# --- acknowledgements -----------------------------------------------------------------
def test_acks():
    client = bench.client()
    rng = random.Random(SEED)
    client.call("createStream", StreamName="acks", DataRetentionInHours=1)
    at = now_ms()
    with bench.case("acks: one JSON line in each HTTP chunk"):
        put = client.put_media("acks")
        put.write(mkv.header())
        for i in range(6):
            put.write(mkv.fragment(rng, at + 1000 * i) + (EOFR if i % 2
                                                          else b""))
        put.end()
        put.wait_closed()
        chunks = [c for c in put.response.chunks if c]
        expect(len(chunks), len(put.acks), "chunks")
        for chunk, ack in zip(chunks, put.acks):
            assert chunk.endswith(b"\n") and chunk.count(b"\n") == 1, chunk
            assert b"\\" not in chunk and len(chunk) <= 1024, chunk
            expect(json.loads(chunk), ack, "ack")
    with bench.case("acks: BUFFERING, RECEIVED, PERSISTED, once each, in "
                    "this order"):
        by_time = {}
        for i, a in enumerate(put.acks):
            by_time.setdefault(a["FragmentTimecode"], []).append(a)
        expect(sorted(by_time), [at + 1000 * i for i in range(6)],
               "timecodes")
        for group in by_time.values():
            expect([a["EventType"] for a in group],
                   ["BUFFERING", "RECEIVED", "PERSISTED"], "events")
            expect(len({a["FragmentNumber"] for a in group}), 1, "numbers")
            for a in group:
                assert isinstance(a["FragmentNumber"], str), a
                assert isinstance(a["FragmentTimecode"], int), a


def test_end_of_fragment():
    """RECEIVED and PERSISTED need not wait for the next Cluster."""
    client = bench.client()
    client.call("createStream", StreamName="eofr", DataRetentionInHours=1)
    rng = random.Random(SEED)
    at = now_ms()
    for known in (True, False):
        with bench.case("END_OF_FRAGMENT completes a Cluster of "
                        f"{'known' if known else 'unknown'} size"):
            put = client.put_media("eofr")
            put.write(mkv.header() + mkv.fragment(rng, at, known=known) +
                      EOFR)
            put.wait_event("PERSISTED", 10, FragmentTimecode=at)
            put.end()
            put.wait_closed()


def test_expect_continue():
    """100 and 200 before any media, each in a record of its own."""
    client = bench.client()
    client.call("createStream", StreamName="expect", DataRetentionInHours=1)
    head = put_media_head(client, "expect", {"Expect": "100-continue"})
    with bench.case("Expect: 100-continue: 100, then 200, as two writes"):
        raw = Raw(client)
        raw.send(head)
        first = raw.recv()
        second = raw.recv()
        expect(first.decode(), "HTTP/1.1 100 Continue\r\n\r\n", "first write")
        assert second.startswith(b"HTTP/1.1 200 "), second
        assert b"ransfer-" in second and b"chunked" in second, second
        raw.send(b"0\r\n\r\n")
        raw.close()
    with bench.case("the 200 comes before any media"):
        raw = Raw(client)
        until(lambda: _free(client, "expect"), 10)
        raw.send(put_media_head(client, "expect"))
        first = raw.recv()
        assert first.startswith(b"HTTP/1.1 200 "), first
        raw.close()


def put_media_head(client, stream, unsigned=None, signed=None, when=None):
    fields = {"x-amzn-stream-name": stream,
              "x-amzn-fragment-timecode-type": "ABSOLUTE",
              "x-amzn-producer-start-timestamp": f"{time.time():.3f}",
              "transfer-encoding": "chunked"}
    fields.update(signed or {})
    fields = {k: v for k, v in fields.items() if v is not None}
    fields = client.signed("POST", "/putMedia", fields, EMPTY_HASH, when=when)
    fields.update(unsigned or {})
    return ("POST /putMedia HTTP/1.1\r\n" + "".join(
        f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n").encode()


def test_silence():
    """IDLE acks while nothing comes; closed SILENT_S after the last byte."""
    client = bench.client()
    client.call("createStream", StreamName="silent", DataRetentionInHours=1)
    rng = random.Random(SEED)
    with bench.case("silence: IDLE acks, then the answer ends in order"):
        put = client.put_media("silent")
        clusters, _ = good_start(put, rng, 1)
        began = time.monotonic()
        put.wait_event("IDLE", 20)
        put.wait_closed(SILENT_S + 15)
        took = time.monotonic() - began
        assert put.response.done, "the body was cut, not ended"
        assert took > SILENT_S - 5, f"closed after {took:.0f} s"
        assert len(put.events("IDLE")) >= 2, put.acks
        expect(put.events("ERROR"), [], "errors")
        expect_stored(client, "silent", clusters)


def test_retention_zero():
    client = bench.client()
    client.call("createStream", StreamName="live-only")
    rng = random.Random(SEED)
    at = now_ms()
    with bench.case("retention 0: RECEIVED, never PERSISTED"):
        viewer = bench.client()
        put = client.put_media("live-only")
        first = mkv.fragment(rng, at)
        put.write(mkv.header() + first[:-100])
        put.wait_event("BUFFERING")
        media = viewer.get_media("live-only", StartSelectorType="NOW")
        put.write(first[-100:] + EOFR + mkv.fragment(rng, at + 1000) + EOFR)
        put.wait_event("RECEIVED", FragmentTimecode=at + 1000)
        doc = media.next(10)
        assert doc is not None and doc.cluster == first, "live reader"
        media.close()
        put.end()
        put.wait_closed()
        expect([a["EventType"] for a in put.acks],
               ["BUFFERING", "RECEIVED"] * 2, "events")
    number = put.acks[0]["FragmentNumber"]
    times = {"StartTimestamp": time.time() - 60, "EndTimestamp": time.time()}
    for name, members in (
            ("getClip", {"ClipFragmentSelector": {
                "FragmentSelectorType": "SERVER_TIMESTAMP",
                "TimestampRange": times}}),
            ("listFragments", {"FragmentSelector": {
                "FragmentSelectorType": "SERVER_TIMESTAMP",
                "TimestampRange": times}}),
            ("getMediaForFragmentList", {"Fragments": [number]})):
        with bench.case(f"retention 0: {name} NoDataRetentionException"):
            with expect_error("NoDataRetentionException", 400):
                client.call(name, StreamName="live-only", **members)


def test_numbers():
    client = bench.client()
    client.call("createStream", StreamName="numbers", DataRetentionInHours=1)
    rng = random.Random(SEED)
    with bench.case("fragment numbers: 47 digits, increasing over sessions"):
        numbers = []
        at = now_ms()
        for _ in range(5):
            put = client.put_media("numbers")
            put.write(mkv.header())
            for _ in range(4):
                put.write(mkv.fragment(rng, at, 100) + EOFR)
                at += 700
            put.end()
            put.wait_closed()
            numbers += [a["FragmentNumber"]
                        for a in put.events("BUFFERING")]
        expect(len(numbers), 20, "fragments")
        assert all(len(n) == 47 and n.isdigit() for n in numbers), numbers
        assert all(int(a) < int(b) for a, b in zip(numbers, numbers[1:])), \
            numbers


# --- PutMedia heads -----------------------------------------------------------------
def expect_refused_head(name, error, status, stream="heads", signed=None,
                        client=None, when=None):
    with bench.case(f"PutMedia {name}: {error} before any 200"):
        client = client or bench.client()
        raw = Raw(client)
        raw.send(put_media_head(client, stream, signed=signed, when=when))
        got, fields, body = raw.read_response()
        raw.close()
        expect(got, status, f"status of {body}")
        expect(fields.get("x-amzn-errortype", "").split(":")[0], error,
               "x-amzn-ErrorType")
        expect(fields.get("x-amz-errortype", "").split(":")[0], error,
               "x-amz-ErrorType")
        assert fields.get("x-amz-requestid"), "no x-amz-RequestId"
        assert fields.get("x-amzn-requestid"), "no x-amzn-RequestId"
        assert isinstance(json.loads(body)["Message"], str), body


def test_heads():
    client = bench.client()
    made = client.call("createStream", StreamName="heads",
                       DataRetentionInHours=1)
    bad = "InvalidArgumentException"
    start = "x-amzn-producer-start-timestamp"
    kind = "x-amzn-fragment-timecode-type"
    for name, signed in (
            ("no stream", {"x-amzn-stream-name": None}),
            ("name and ARN", {"x-amzn-stream-arn": made["StreamARN"]}),
            ("name that breaks the pattern", {"x-amzn-stream-name": "a/b"}),
            ("name of 257", {"x-amzn-stream-name": "a" * 257}),
            ("no timecode type", {kind: None}),
            ("odd timecode type", {kind: "SOMETIMES"}),
            ("no start", {start: None}),
            ("start that is no number", {start: "yesterday"}),
            ("negative start", {start: "-1"}),
            ("start of 400 digits", {start: "9" * 400})):
        expect_refused_head(name, bad, 400, signed=signed)
    expect_refused_head("unknown stream", "ResourceNotFoundException", 404,
                        "no-such-stream")
    wrong = bench.client()
    wrong.secret = "x" * 40
    with bench.case("PutMedia wrong secret: 403 before any 200"):
        with expect_error(("SignatureDoesNotMatch", "InvalidSignatureException"), 403):
            wrong.put_media("heads")
    wrong = bench.client()
    wrong.access_key = "AKIAIOSFODNN7EXAMPLE"
    with bench.case("PutMedia unknown key: 403 before any 200"):
        with expect_error(("InvalidClientTokenId",
                           "UnrecognizedClientException"), 403):
            wrong.put_media("heads")
    for minutes in (-16, 16):
        when = datetime.datetime.now(datetime.timezone.utc) + \
            datetime.timedelta(minutes=minutes)
        expect_refused_head(f"signed {minutes} minutes from now",
                            "RequestExpired", 400, when=when)
    for minutes in (-14, 14):
        with bench.case(f"PutMedia signed {minutes} minutes from now is good"):
            when = datetime.datetime.now(datetime.timezone.utc) + \
                datetime.timedelta(minutes=minutes)
            raw = Raw(client)
            raw.send(put_media_head(client, "heads", when=when) +
                     b"0\r\n\r\n")
            first = raw.recv()
            raw.close()
            assert first.startswith(b"HTTP/1.1 200"), first
            until(lambda: _free(client, "heads"), 10)
    with bench.case("PutMedia by ARN"):
        put = client.put_media(arn=made["StreamARN"])
        put.end()
        put.wait_closed()
    with bench.case("PutMedia start with a short fraction"):
        raw = Raw(client)
        raw.send(put_media_head(client, "heads",
                                signed={start: "1511852108.5"}) +
                 b"0\r\n\r\n")
        first = raw.recv()
        raw.close()
        assert first.startswith(b"HTTP/1.1 200"), first


def test_second_upload():
    one, two = bench.client(), bench.client()
    one.call("createStream", StreamName="twice", DataRetentionInHours=1)
    rng = random.Random(SEED)
    with bench.case("a second upload: ConnectionLimitExceededException, the "
                    "first goes on"):
        put = one.put_media("twice")
        clusters, at = good_start(put, rng, 1)
        for _ in range(3):
            with expect_error("ConnectionLimitExceededException", 400):
                two.put_media("twice")
        c = mkv.fragment(rng, at)
        put.write(c + EOFR)
        put.end()
        put.wait_closed()
        expect(put.events("ERROR"), [], "errors")
        expect_stored(one, "twice", clusters + [c])
    with bench.case("after the first has ended the next one is let in"):
        until(lambda: _free(two, "twice"), 5)


def test_readers_limit():
    client = bench.client()
    client.call("createStream", StreamName="readers", DataRetentionInHours=1)
    readers = []
    with bench.case("a 4th GetMedia: ConnectionLimitExceededException"):
        for _ in range(3):
            readers.append(bench.client().get_media(
                "readers", StartSelectorType="NOW"))
        with expect_error("ConnectionLimitExceededException", 400):
            client.get_media("readers", StartSelectorType="NOW")
    with bench.case("a reader that leaves makes room"):
        readers.pop().close()

        def enter():
            try:
                readers.append(client.get_media("readers",
                                                StartSelectorType="NOW"))
            except ApiError:
                return False
            return True
        until(enter, 10, 0.1)
    for r in readers:
        r.close()


# --- HTTP --------------------------------------------------------------------------
class Smuggle:
    """Requests whose end is a matter of opinion. A signed CreateStream waits
    where a careless reader would see the next request."""

    def __init__(self):
        self.client = bench.client()
        self.count = 0

    def inner(self):
        self.count += 1
        self.name = f"smuggled-{self.count}"
        body = json.dumps({"StreamName": self.name}).encode()
        fields = self.client.signed(
            "POST", "/createStream", {"Content-Type": "application/json"},
            hashlib.sha256(body).hexdigest())
        fields["Content-Length"] = str(len(body))
        return ("POST /createStream HTTP/1.1\r\n" + "".join(
            f"{k}: {v}\r\n" for k, v in fields.items()) +
            "\r\n").encode() + body

    def attempt(self, name, framing, frame, body=b"{}"):
        """framing: unsigned header lines. frame(body): bytes after the head,
        before the inner request."""
        with bench.case(f"{name}: refused, nothing behind it runs"):
            inner = self.inner()
            fields = self.client.signed(
                "POST", "/listStreams", {"Content-Type": "application/json"},
                hashlib.sha256(body).hexdigest())
            head = "POST /listStreams HTTP/1.1\r\n" + "".join(
                f"{k}: {v}\r\n" for k, v in fields.items())
            raw = Raw(self.client)
            raw.send(head.encode() + framing + b"\r\n" + frame(body) + inner)
            out, closed = raw.read_until_closed(10)
            raw.close()
            assert closed, f"still open after {out[:300]}"
            assert out.count(b"HTTP/1.1 ") <= 1, out
            assert out.startswith((b"HTTP/1.1 4", b"HTTP/1.1 501")) or \
                not out, out[:300]
            with expect_error("ResourceNotFoundException"):
                self.client.call("describeStream", StreamName=self.name)


def test_smuggling():
    s = Smuggle()

    def chunked(body):
        return b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"

    def plain(body):
        return body

    te, cl = b"Transfer-Encoding: chunked\r\n", b"Content-Length: %d\r\n"
    s.attempt("TE and CL, chunked body", te + cl % 2, chunked)
    s.attempt("CL and TE, plain body", cl % 2 + te, plain)
    for value in (b"identity", b"chunked, identity", b"gzip, chunked",
                  b"xchunked", b"chunked, chunked", b"\x0bchunked",
                  b"chunked;q=1", b""):
        s.attempt(f"Transfer-Encoding {value!r}",
                  b"Transfer-Encoding: " + value + b"\r\n", chunked)
    s.attempt("two Transfer-Encoding lines", te + te, chunked)
    s.attempt("Transfer-Encoding with a space before the colon",
              b"Transfer-Encoding : chunked\r\n" + cl % 2, plain)
    s.attempt("two different Content-Length", cl % 2 + cl % 5, plain)
    for value in (b"+2", b"0x2", b"-2", b"2, 3", b"2 2", b"2;", b"2e0", b"",
                  b"18446744073709551618", b"9" * 40):
        s.attempt(f"Content-Length {value!r}",
                  b"Content-Length: " + value + b"\r\n", plain)
    for name, frame in (
            ("chunk size with a sign", b"+2\r\n{}\r\n0\r\n\r\n"),
            ("chunk size in C style", b"0x2\r\n{}\r\n0\r\n\r\n"),
            ("chunk size with a space before it", b" 2\r\n{}\r\n0\r\n\r\n"),
            ("empty chunk size", b"\r\n{}\r\n0\r\n\r\n"),
            ("chunk size over 64 bits",
             b"10000000000000002\r\n{}\r\n0\r\n\r\n"),
            ("chunk that ends elsewhere", b"2\r\n{}XX0\r\n\r\n"),
            ("bare CR in the size line", b"2\r{}\r\n0\r\n\r\n"),
            ("endless chunk extension", b"2;" + b"a" * 20000 + b"\r\n")):
        s.attempt(name, te, lambda body, f=frame: f)


def test_odd_heads():
    client = bench.client()
    signed = client.signed("POST", "/listStreams",
                           {"Content-Type": "application/json"},
                           hashlib.sha256(b"{}").hexdigest())
    signed["Content-Length"] = "2"
    lines = "".join(f"{k}: {v}\r\n" for k, v in signed.items()).encode()
    start = b"POST /listStreams HTTP/1.1\r\n"
    many = b"".join(b"X-%d: y\r\n" % i for i in range(500))
    for name, data in (
            ("head of 64 KiB", start + b"X: " + b"y" * 65536 + b"\r\n" +
             lines + b"\r\n{}"),
            ("head without an end", start + b"X: " + b"y" * 200000),
            ("500 header fields", start + many + lines + b"\r\n{}"),
            ("folded header", start + lines + b"X: a\r\n b\r\n\r\n{}"),
            ("NUL in a header", start + lines + b"X: a\0b\r\n\r\n{}"),
            ("bare CR in a header", start + lines + b"X: a\rb\r\n\r\n{}"),
            ("header without a colon", start + lines + b"nothing\r\n\r\n{}"),
            ("header name with a space", start + lines + b"X y: a\r\n\r\n{}"),
            ("no version", b"POST /listStreams\r\n" + lines + b"\r\n{}"),
            ("HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            ("HTTP/3.7", b"POST /listStreams HTTP/3.7\r\n" + lines +
             b"\r\n{}"),
            ("target of 20 kB", b"POST /" + b"a" * 20000 + b" HTTP/1.1\r\n" +
             lines + b"\r\n{}"),
            ("target with a space", b"POST /list Streams HTTP/1.1\r\n" +
             lines + b"\r\n{}"),
            ("plain noise", random.Random(SEED).randbytes(3000) +
             b"\r\n\r\n")):
        with bench.case(f"{name}: an error, then closed"):
            raw = Raw(client)
            try:
                raw.send(data)
            except OSError:
                pass
            out, closed = raw.read_until_closed(10)
            raw.close()
            assert closed, f"still open after {out[:200]}"
            assert out.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")) or not out, \
                out[:200]
            assert not out.startswith(b"HTTP/1.1 500"), out[:200]


def test_large_bodies():
    client = bench.client()
    for name, framing, body in (
            ("JSON body of 64 MiB, announced", b"Content-Length: 67108864\r\n",
             b" " * (4 << 20)),
            ("JSON body of 64 MiB, chunked",
             b"Transfer-Encoding: chunked\r\n",
             b"100000\r\n" + b" " * (1 << 20) + b"\r\n" +
             b"100000\r\n" + b" " * (1 << 20) + b"\r\n" +
             b"100000\r\n" + b" " * (1 << 20) + b"\r\n")):
        with bench.case(f"{name}: refused before it is taken"):
            fields = client.signed("POST", "/listStreams", {},
                                   hashlib.sha256(b"").hexdigest())
            head = "POST /listStreams HTTP/1.1\r\n" + "".join(
                f"{k}: {v}\r\n" for k, v in fields.items())
            raw = Raw(client)
            try:
                raw.send(head.encode() + framing + b"\r\n" + body)
            except OSError:
                pass
            out, closed = raw.read_until_closed(10)
            raw.close()
            assert closed, "still open"
            assert out.startswith(b"HTTP/1.1 4") or not out, out[:200]


def test_json():
    client = bench.client()
    made = client.call("createStream", StreamName="json",
                       DataRetentionInHours=1)
    arn = made["StreamARN"]
    client_errors = ("InvalidArgumentException", "SerializationException",
                     "ValidationException")
    for name, op, body in (
            ("not JSON", "describeStream", b"StreamName=json"),
            ("an array", "describeStream", b"[]"),
            ("a string", "describeStream", b'"json"'),
            ("empty body", "describeStream", b""),
            ("half an object", "describeStream", b'{"StreamName":"js'),
            ("something behind it", "describeStream",
             b'{"StreamName":"json"}{}'),
            ("100000 brackets", "describeStream", b"[" * 100000),
            ("100000 nested objects", "describeStream",
             b'{"a":' * 100000 + b"1" + b"}" * 100000),
            ("NUL in a name", "describeStream",
             b'{"StreamName":"json\\u0000x"}'),
            ("bad UTF-8", "describeStream", b'{"StreamName":"j\xff\xfe"}'),
            ("number for a name", "describeStream", b'{"StreamName":7}'),
            ("neither name nor ARN", "describeStream", b"{}"),
            ("pattern", "describeStream", b'{"StreamName":"a b"}'),
            ("257 characters", "describeStream",
             b'{"StreamName":"' + b"a" * 257 + b'"}'),
            ("empty name", "describeStream", b'{"StreamName":""}'),
            ("odd ARN", "describeStream", b'{"StreamARN":"arn:aws:s3:::x"}'),
            ("create without a name", "createStream", b"{}"),
            ("create with a bad name", "createStream",
             b'{"StreamName":"../x"}'),
            ("negative retention", "createStream",
             b'{"StreamName":"j2","DataRetentionInHours":-1}'),
            ("retention as text", "createStream",
             b'{"StreamName":"j2","DataRetentionInHours":"24"}'),
            ("retention over 10 years", "createStream",
             b'{"StreamName":"j2","DataRetentionInHours":87601}'),
            ("retention of 1e30", "createStream",
             b'{"StreamName":"j2","DataRetentionInHours":1e30}'),
            ("odd media type", "createStream",
             b'{"StreamName":"j2","MediaType":"video"}'),
            ("device name", "createStream",
             b'{"StreamName":"j2","DeviceName":"a/b"}'),
            ("empty tags", "createStream", b'{"StreamName":"j2","Tags":{}}'),
            ("empty tag key", "createStream",
             b'{"StreamName":"j2","Tags":{"":"x"}}'),
            ("tag value of 257", "createStream",
             b'{"StreamName":"j2","Tags":{"k":"' + b"v" * 257 + b'"}}'),
            ("tag with a forbidden character", "createStream",
             b'{"StreamName":"j2","Tags":{"k":"a#b"}}'),
            ("delete without an ARN", "deleteStream",
             b'{"StreamName":"json"}'),
            ("page of 0", "listStreams", b'{"MaxResults":0}'),
            ("page of 10001", "listStreams", b'{"MaxResults":10001}'),
            ("odd token", "listStreams", b'{"NextToken":"!!"}'),
            ("condition without a value", "listStreams",
             b'{"StreamNameCondition":{"ComparisonOperator":"EQUALS",'
             b'"ComparisonValue":"x"}}'),
            ("no API name", "getDataEndpoint", b'{"StreamName":"json"}'),
            ("odd API name", "getDataEndpoint",
             b'{"StreamName":"json","APIName":"PUT_MEDIUM"}'),
            ("no selector", "getMedia", b'{"StreamName":"json"}'),
            ("odd selector", "getMedia", b'{"StreamName":"json",'
             b'"StartSelector":{"StartSelectorType":"LATEST"}}'),
            ("selector without its number", "getMedia",
             b'{"StreamName":"json","StartSelector":'
             b'{"StartSelectorType":"FRAGMENT_NUMBER"}}'),
            ("number that is none", "getMedia",
             b'{"StreamName":"json","StartSelector":{"StartSelectorType":'
             b'"FRAGMENT_NUMBER","AfterFragmentNumber":"12x"}}'),
            ("timestamp that is none", "getMedia",
             b'{"StreamName":"json","StartSelector":{"StartSelectorType":'
             b'"SERVER_TIMESTAMP","StartTimestamp":"soon"}}'),
            ("no fragments", "getMediaForFragmentList",
             b'{"StreamName":"json","Fragments":[]}'),
            ("1001 fragments", "getMediaForFragmentList", json.dumps(
                {"StreamName": "json", "Fragments": ["1"] * 1001}).encode()),
            ("fragment that is no number", "getMediaForFragmentList",
             b'{"StreamName":"json","Fragments":["x"]}'),
            ("list without a selector", "listFragments",
             b'{"StreamName":"json"}'),
            ("list page of 1001", "listFragments",
             b'{"StreamName":"json","MaxResults":1001}'),
            ("list token that is odd", "listFragments",
             b'{"StreamName":"json","NextToken":"AAAA"}'),
            ("clip that ends before it starts", "getClip",
             b'{"StreamName":"json","ClipFragmentSelector":'
             b'{"FragmentSelectorType":"SERVER_TIMESTAMP","TimestampRange":'
             b'{"StartTimestamp":2000,"EndTimestamp":1000}}}'),
            ("clip of more than a day", "getClip",
             b'{"StreamName":"json","ClipFragmentSelector":'
             b'{"FragmentSelectorType":"SERVER_TIMESTAMP","TimestampRange":'
             b'{"StartTimestamp":1000,"EndTimestamp":100000}}}')):
        with bench.case(f"{op}, {name}: refused"):
            status, fields, data = client.raw_call("/" + op, body)
            expect(status, 400, f"status of {data[:200]}")
            expect_in(fields.get("x-amzn-errortype", "").split(":")[0],
                      client_errors, "error type")
    with bench.case("an API that does not exist: 4xx"):
        status, _, _ = client.raw_call("/makeCoffee", b"{}")
        expect_in(status, (400, 403, 404), "status")
    with bench.case("GET of an API: 4xx"):
        status, _, _ = client.raw_call("/listStreams", b"", method="GET")
        expect_in(status, (400, 403, 404, 405), "status")
    with bench.case("the stream is as it was"):
        found = client.call("describeStream", StreamARN=arn)["StreamInfo"]
        expect(found["StreamName"], "json", "name")
        with expect_error("ResourceNotFoundException", 404):
            client.call("describeStream", StreamName="j2")


def closed_within(sock, seconds, trickle=None):
    """Seconds until the peer closed; trickle: bytes sent one per second."""
    began = time.monotonic()
    sock.settimeout(1.0)
    at = 0
    while time.monotonic() - began < seconds:
        try:
            if trickle:
                sock.send(trickle[at % len(trickle):][:1])
                at += 1
            if not sock.recv(65536):
                return time.monotonic() - began
        except TimeoutError:
            continue
        except (ConnectionError, ssl.SSLError, OSError):
            return time.monotonic() - began
    raise AssertionError(f"still open after {seconds} s")


def slow_cases():
    client = bench.client()

    def tcp():
        return socket.create_connection((client.host, client.port), 10)

    def head(extra=""):
        fields = client.signed("POST", "/listStreams", {}, EMPTY_HASH)
        return ("POST /listStreams HTTP/1.1\r\n" + "".join(
            f"{k}: {v}\r\n" for k, v in fields.items()) + extra).encode()

    def silent_tcp():
        closed_within(tcp(), HEAD_S_MAX)

    def half_hello():
        sock = tcp()
        sock.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        closed_within(sock, HEAD_S_MAX)

    def silent_tls():
        closed_within(Raw(client).sock, HEAD_S_MAX)

    def slow_head():
        raw = Raw(client)
        raw.send(b"POST /listStreams HTTP/1.1\r\nX: ")
        closed_within(raw.sock, HEAD_S_MAX, b"y")

    def half_open():
        raw = Raw(client)
        raw.send(head())
        # FIN without TLS's own farewell
        socket.socket.shutdown(raw.sock, socket.SHUT_WR)
        closed_within(raw.sock, HEAD_S_MAX)

    def slow_body():
        raw = Raw(client)
        raw.send(head("Content-Length: 1000\r\n\r\n"))
        closed_within(raw.sock, BODY_S_MAX, b" ")

    def slow_chunks():
        raw = Raw(client)
        raw.send(head("Transfer-Encoding: chunked\r\n\r\n"))
        closed_within(raw.sock, BODY_S_MAX, b"1\r\n \r\n")

    def silent_upload():
        client.call("createStream", StreamName="never",
                    DataRetentionInHours=1)
        put = bench.client().put_media("never")
        began = time.monotonic()
        put.wait_closed(SILENT_S + 20)
        assert time.monotonic() - began > 5, "closed at once"

    return [("a TCP connection that says nothing", silent_tcp),
            ("half a TLS handshake", half_hello),
            ("a TLS connection that says nothing for the first time",
             silent_tls),
            ("a head that comes a byte a second", slow_head),
            ("a client that stops sending inside the head", half_open),
            ("a body that comes a byte a second", slow_body),
            ("chunks that come a byte a second", slow_chunks),
            ("an upload that sends nothing", silent_upload)]


def in_background():
    """The cases that wait, all at once."""
    def run(name, fn):
        with bench.case(f"{name} is closed"):
            fn()
    threads = [threading.Thread(target=run, args=case, daemon=True)
               for case in slow_cases()]
    threads.append(threading.Thread(target=test_silence, daemon=True))
    for t in threads:
        t.start()
    return threads


# --- TLS ----------------------------------------------------------------------------
def test_tls():
    client = bench.client()
    with bench.case("a client that does not know the CA turns away"):
        stranger = bench.client()
        stranger.context = ssl.create_default_context()
        try:
            Raw(stranger)
        except ssl.SSLCertVerificationError:
            pass
        else:
            raise AssertionError("the handshake went well")
    with bench.case("a client that asks for another host turns away"):
        raw = socket.create_connection((client.host, client.port), 10)
        try:
            client.context.wrap_socket(raw, server_hostname="example.org")
        except ssl.SSLCertVerificationError:
            pass
        else:
            raise AssertionError("the handshake went well")
    with bench.case("TLS 1.1 is refused"):
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname = False
        old.verify_mode = ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        raw = socket.create_connection((client.host, client.port), 10)
        try:
            old.wrap_socket(raw)
        except (ssl.SSLError, OSError):
            pass
        else:
            raise AssertionError("the handshake went well")
    with bench.case("plain HTTP on the TLS port is closed"):
        raw = socket.create_connection((client.host, client.port), 10)
        raw.send(b"POST /listStreams HTTP/1.1\r\nHost: x\r\n\r\n")
        closed_within(raw, 15)
    with bench.case("the service goes on"):
        client.call("listStreams")


def test_many_connections():
    """Connections that are dropped at every stage leave nothing behind."""
    client = bench.client()
    rng = random.Random(SEED)
    pid = bench.service.process.pid

    def fds():
        return len(os.listdir(f"/proc/{pid}/fd"))

    with bench.case("300 connections cut at random moments leave no "
                    "descriptor behind"):
        client.call("createStream", StreamName="cut", DataRetentionInHours=1)
        before = fds()
        head = put_media_head(client, "cut")
        body = mkv.header() + mkv.fragment(rng, now_ms(), 5000)
        data = head + b"%x\r\n" % len(body) + body + b"\r\n"
        for _ in range(300):
            if rng.random() < 0.3:
                sock = socket.create_connection((client.host, client.port), 10)
                sock.send(rng.randbytes(rng.randrange(1, 300)))
                sock.close()
                continue
            raw = Raw(client)
            raw.send(data[:rng.randrange(len(data))])
            raw.close()
        until(lambda: fds() <= before + 12, 40, 0.5,
              f"{fds()} descriptors, {before} before")
    with bench.case("the service goes on after them"):
        client.call("listStreams")


if __name__ == "__main__":
    require("ffmpeg", "mkvmerge")
    bench = Bench()
    bench.start()
    beside = Beside()
    waiting = in_background()
    wanted = sys.argv[1:]
    for test in (test_bad_bodies, test_missing_track, test_dropped_connections,
                 test_muxers, test_forms, test_relative, test_acks,
                 test_end_of_fragment, test_expect_continue,
                 test_retention_zero, test_numbers, test_heads,
                 test_second_upload, test_readers_limit, test_smuggling,
                 test_odd_heads, test_large_bodies, test_json, test_tls,
                 test_many_connections):
        if wanted and test.__name__ not in wanted:
            continue
        try:
            test()
        except Exception as error:  # the others are still of interest
            bench.check(test.__name__, False, f"{type(error).__name__}: {error}")
        if not bench.alive():
            break
    for t in waiting:
        t.join(90)
    beside.finish()
    sys.exit(bench.finish())
