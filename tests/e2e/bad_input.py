#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the service must refuse, and what it must not lose by it.

PutMedia bodies that break each rule of the contract; then bad_http.py. After
each: the right error, the fragments before it are readable bit-exact, and an
upload to another stream that runs all the time never notices.

bad_input.py [TEST_FUNCTION...]
"""

import datetime
import json
import os
import random
import shutil
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "support"))
import bad_http  # noqa: E402
import matroska as mkv  # noqa: E402
from bad_http import put_media_head  # noqa: E402
from kvs_client import ApiError, Failure  # noqa: E402
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
    test_file_tags(raw)
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


def merge(raw, kind, tags):
    """The file that mkvmerge makes of raw with tags of that kind."""
    xml = os.path.join(bench.temp, "tags.xml")
    out = os.path.join(bench.temp, "tagged.mkv")
    with open(xml, "w") as file:
        file.write("<Tags><Tag>" + "".join(
            f"<Simple><Name>{name}</Name><String>{value}</String></Simple>"
            for name, value in tags) + "</Tag></Tags>")
    option = ["--global-tags", xml] if kind == "global" else \
        ["--tags", f"0:{xml}"]
    status, _, err = run_tool(["mkvmerge", "-q", "-o", out, *option,
                               "--cluster-length", "2000ms",
                               "--no-global-tags", raw])
    expect(status, 0, f"mkvmerge {err}")
    with open(out, "rb") as file:
        return file.read()


def remux(raw, *options):
    out = os.path.join(bench.temp, "tagged.mkv")
    status, _, err = run_tool(["ffmpeg", "-v", "error", "-y", "-i", raw,
                               "-c", "copy", *options, out])
    expect(status, 0, f"ffmpeg {err}")
    with open(out, "rb") as file:
        return file.read()


def refused_tags(name, data):
    """The fragment whose metadata it is gets 4009."""
    stream = "tags-" + name.replace(" ", "-").replace(",", "")
    client = bench.client()
    with bench.case(f"{name}: 4009"):
        client.call("createStream", StreamName=stream, DataRetentionInHours=1)
        put = client.put_media(stream, absolute=False)
        put.write(data)
        try:
            put.end()
        except (Failure, OSError):
            pass
        put.wait_closed()
        expect([e["ErrorId"] for e in put.events("ERROR")], [4009],
               "ErrorIds")


def test_file_tags(raw):
    """What Targets say is about a track is not fragment metadata, however
    much there is: muxers write it unasked. Tags without are, wherever they
    come from."""
    many = [(f"KEY{i}", str(i)) for i in range(12)]
    data = merge(raw, "track", many)
    names = [n for ident, start, _, end in mkv.level1(data)
             if ident == mkv.TAGS for n, _ in mkv.tag_pairs(data[start:end])]
    with bench.case("mkvmerge wrote the dozen, and statistics"):
        for name in [n for n, _ in many] + ["BPS", "NUMBER_OF_FRAMES"]:
            expect_in(name, names, "tag")
    accepted("mkvmerge, a dozen tags of a track", data)
    options = [a for n, v in many for a in ("-metadata:s:v:0", f"{n}={v}")]
    accepted("ffmpeg, a dozen tags of a track", remux(raw, *options))
    refused_tags("mkvmerge, 11 tags of the file",
                 merge(raw, "global", many[:11]))
    accepted("mkvmerge, ten tags of the file",
             merge(raw, "global", many[:10]))
    options = [a for n, v in many[:11] for a in ("-metadata", f"{n}={v}")]
    refused_tags("ffmpeg, 11 tags of the file", remux(raw, *options))


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
    selector = {"FragmentSelectorType": "SERVER_TIMESTAMP",
                "TimestampRange": times}
    with bench.case("retention 0: GetClip NoDataRetentionException"):
        with expect_error("NoDataRetentionException", 400):
            client.call("getClip", StreamName="live-only",
                        ClipFragmentSelector=selector)
    # The models of these two have no such error; nothing is retained.
    with bench.case("retention 0: ListFragments finds nothing"):
        expect(listed(client, "live-only"), [], "fragments")
    with bench.case("retention 0: GetMediaForFragmentList gives no media"):
        try:
            media = client.get_media_for_fragment_list("live-only", [number])
        except ApiError as error:
            expect_in(error.type, ("NoDataRetentionException",
                                   "ResourceNotFoundException"), "error")
        else:
            docs = media.documents()
            media.close()
            assert not any(d.cluster for d in docs), "media was given"
            assert docs and any("ERROR" in n for n in docs[-1].tags), \
                "no error tags"


def change_retention(client, stream, operation):
    now = client.call("describeStream", StreamName=stream)["StreamInfo"]
    client.call("updateDataRetention", StreamName=stream, Operation=operation,
                DataRetentionChangeInHours=1, CurrentVersion=now["Version"])


def test_retention_changes():
    client = bench.client()
    client.call("createStream", StreamName="changed")
    rng = random.Random(SEED)
    at = now_ms()
    sent = []

    def upload(last):
        clusters = [mkv.fragment(rng, at + 1000 * (len(sent) + i), 8 << 20)
                    for i in range(3)]
        put = client.put_media("changed")
        put.write(mkv.header() + EOFR.join(clusters) + EOFR)
        put.wait_event(last, FragmentTimecode=at + 1000 * (len(sent) + 2))
        put.end()
        put.wait_closed()
        expect(put.events("ERROR"), [], "errors")
        sent.extend(clusters)

    # It is behind each time: its connection is not read from.
    with bench.case("an open session goes through changes of the retention"):
        upload("RECEIVED")
        media = bench.client().get_media("changed", StartSelectorType="EARLIEST")
        expect(media.next(30).cluster == sent[0], True, "the first")
        change_retention(client, "changed", "INCREASE_DATA_RETENTION")
        upload("PERSISTED")
        for cluster in sent[1:]:
            expect(media.next(30).cluster == cluster, True, "in its turn")
        change_retention(client, "changed", "DECREASE_DATA_RETENTION")
        upload("RECEIVED")
        for cluster in sent[-3:]:
            expect(media.next(30).cluster == cluster, True, "in its turn")
        media.close()


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


def in_background():
    """The cases that wait, all at once."""
    def run(name, fn):
        with bench.case(f"{name} is closed"):
            fn()
    threads = [threading.Thread(target=run, args=case, daemon=True)
               for case in bad_http.slow_cases()]
    threads.append(threading.Thread(target=test_silence, daemon=True))
    for t in threads:
        t.start()
    return threads


def test_request_rates():
    """One percent of 5 per second: one in 20 s. By itself, at the end."""
    client = bench.client()
    for name in ("rates", "rates-2"):
        client.call("createStream", StreamName=name, DataRetentionInHours=1)
    bench.restart("--api-rate", "1")
    client = bench.client()
    readers = []

    def ask(stream):
        readers.append(bench.client().get_media(stream,
                                                StartSelectorType="NOW"))

    def ask_often():
        for _ in range(3):  # below the limit of readers
            ask("rates")

    with bench.case("too many requests: ClientLimitExceededException"):
        with expect_error("ClientLimitExceededException", 400):
            ask_often()
        expect(len(readers) > 0, True, "the first is let in")
    with bench.case("rates: other streams and operations are untouched"):
        ask("rates-2")
        client.put_media("rates").abort()
    for reader in readers:
        reader.close()
    bench.restart()
    client = bench.client()
    with bench.case("rates: off unless configured"):
        for _ in range(60):
            until(lambda: _is_let_in(client), 30, 0.05, "a reader less")


def _is_let_in(client):
    """Or those that have gone still count as readers: another limit, which passes."""
    try:
        client.get_media("rates", StartSelectorType="NOW").close()
    except ApiError as error:
        expect(error.type, "ConnectionLimitExceededException", "error")
        return False
    return True


if __name__ == "__main__":
    require("ffmpeg", "mkvmerge")
    bench = bad_http.bench = Bench()
    bench.start()
    beside = Beside()
    waiting = in_background()
    wanted = sys.argv[1:]
    for test in (test_bad_bodies, test_missing_track, test_dropped_connections,
                 test_muxers, test_forms, test_relative, test_acks,
                 test_end_of_fragment, test_expect_continue,
                 test_retention_zero, test_retention_changes, test_numbers,
                 test_heads, test_second_upload, test_readers_limit, *bad_http.TESTS):
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
    if bench.alive() and (not wanted or "test_request_rates" in wanted):
        test_request_rates()
    sys.exit(bench.finish())
