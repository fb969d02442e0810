#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The bytes of GetMedia and GetMediaForFragmentList, element by element.

Each body is cut at its EBML headers by a reader that shares nothing with the
service. Every document: the producer's header byte for byte, the service's
tags, the Cluster byte for byte, the producer's tags, the closing tags; and
ffprobe, mkvinfo and mkvmerge accept it.
"""

import json
import os
import random
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "support"))
import matroska as mkv  # noqa: E402
from kvsd_server import (Bench, expect, require, run_tool,  # noqa: E402
                         until)

PRE = "AWS_KINESISVIDEO_"
LAST = (PRE + "CONTINUATION_TOKEN").encode()
TOKEN_BYTES = len(LAST) + 3 + 47
SECONDS = re.compile(r"^\d+\.\d{3}$")
NUMBER = re.compile(r"^\d{47}$")


def read_body(media, count, mark=LAST, mark_bytes=TOKEN_BYTES, timeout=20):
    """Bytes of a body until the count-th document is whole."""
    def whole():
        media.poll(0.2)
        data = bytes(media.data)
        if data.count(mark) < count:
            assert not media.ended, \
                f"the body ended after {data.count(mark)} of {count}"
            return None
        at = -1
        for _ in range(count):
            at = data.index(mark, at + 1)
        return data if len(data) >= at + mark_bytes else None
    return until(whole, timeout, 0.0, f"{count} documents")


def documents(body):
    """Each document as a list of (id, bytes)."""
    out = []
    for ident, start, _, end in mkv.level1(body):
        if ident == mkv.EBML:
            out.append([])
        out[-1].append((ident, body[start:end]))
    return out


class Sent:
    """One fragment as it was sent: what its document must hold."""

    def __init__(self, cluster, tags=(), timecode=None):
        self.cluster = cluster
        self.tags = list(tags)
        self.timecode = mkv.cluster_timecode(cluster) if timecode is None \
            else timecode


def check_document(doc, header, sent, producer_ms, before_s, after_s,
                   trailing=True):
    """Asserts the layout; returns the fragment number."""
    kinds = [k for k, _ in doc]
    expect(kinds[0], mkv.EBML, "first element")
    expect(kinds[1], mkv.SEGMENT, "second element")
    expect(mkv.element(doc[1][1], 0)[2], None, "Segment's size")
    at = kinds.index(mkv.CLUSTER)
    before = doc[:at - 1]
    got_header = b"".join(b for _, b in before)
    expect(got_header.hex(), header.hex(), "producer's header")
    own = doc[at - 1][1]
    expect(doc[at - 1][0], mkv.TAGS, "element before the Cluster")
    assert own[4] & 0xF0 == 0x10, "the Tags' size is not 4 bytes wide"
    pairs = mkv.tag_pairs(own)
    expect([n for n, _ in pairs],
           [PRE + "FRAGMENT_NUMBER", PRE + "SERVER_TIMESTAMP",
            PRE + "PRODUCER_TIMESTAMP"], "tags before the Cluster")
    number, server, producer = (v for _, v in pairs)
    assert NUMBER.match(number), number
    assert SECONDS.match(server), server
    expect(producer, f"{producer_ms // 1000}.{producer_ms % 1000:03d}",
           "producer timestamp")
    assert before_s - 1 <= float(server) <= after_s + 1, \
        f"server timestamp {server} not in {before_s}..{after_s}"
    expect(doc[at][1] == sent.cluster, True, "Cluster byte for byte")
    rest = doc[at + 1:]
    if trailing:
        expect(rest[-1][0], mkv.TAGS, "last element")
        assert rest[-1][1][4] & 0xF0 == 0x10, "the Tags' size is not 4 bytes"
        last = mkv.tag_pairs(rest[-1][1])
        expect([n for n, _ in last], [PRE + "MILLIS_BEHIND_NOW",
                                      PRE + "CONTINUATION_TOKEN"],
               "closing tags")
        assert last[0][1].isdigit(), f"MILLIS_BEHIND_NOW {last[0][1]}"
        assert int(last[0][1]) <= (after_s - before_s + 60) * 1000, \
            f"MILLIS_BEHIND_NOW {last[0][1]} is more than the test's age"
        expect(last[1][1], number, "continuation token")
        rest = rest[:-1]
    expect([b.hex() for _, b in rest], [t.hex() for t in sent.tags],
           "producer's tags after the Cluster")
    return number


def check_tools(doc, sent):
    data = b"".join(b for _, b in doc)
    frames = len(mkv.frames(sent.cluster))
    status, out, err = run_tool(
        ["ffprobe", "-v", "warning", "-f", "matroska", "-show_entries",
         "packet=stream_index,size", "-of", "json", "-i", "pipe:0"], data)
    expect((status, err.strip()), (0, ""), "ffprobe")
    packets = json.loads(out)["packets"]
    expect(len(packets), frames, "packets ffprobe found")
    path = os.path.join(bench.temp, "doc.mkv")
    with open(path, "wb") as file:
        file.write(data)
    status, out, err = run_tool(["mkvinfo", path])
    text = out.decode(errors="replace") + err
    expect(status, 0, "mkvinfo")
    assert not re.search(r"(?i)error|unknown element|invalid|malformed", text), \
        "mkvinfo: " + text
    assert "Cluster" in text and PRE + "FRAGMENT_NUMBER" in text, text
    status, out, _ = run_tool(["mkvmerge", "-J", path])
    found = json.loads(out)
    expect((status, found["errors"], found["warnings"]), (0, [], []),
           "mkvmerge")


def upload(client, stream, data, absolute, start):
    """Sends it in chunks of uneven size; returns numbers in order."""
    put = client.put_media(stream, absolute=absolute, start=start)
    rng = random.Random(7)
    at = 0
    while at < len(data):
        n = rng.choice((1, 5, 700, 4096, 30000))
        put.write(data[at:at + n], n)
        at += n
    put.end()
    put.wait_closed()
    errors = put.events("ERROR")
    assert not errors, errors
    assert all("FragmentTimecode" in a for a in put.acks
               if a["EventType"] != "IDLE")
    return [(a["FragmentTimecode"], a["FragmentNumber"])
            for a in put.events("PERSISTED")]


def header_of(data):
    """The header as documents must carry it, and the Tags between Tracks and
    the first Cluster: those belong to the first fragment. The Segment's size
    is unknown, whatever the producer thought it would be."""
    header, _ = mkv.split_upload(data)
    out, tags = b"", []
    tracks = False
    for ident, start, body, end in mkv.level1(header):
        if ident == mkv.SEGMENT:
            width = body - start - 4
            out += mkv.id_bytes(ident) + mkv.unknown(width)
        elif ident == mkv.TAGS and tracks:
            tags.append(header[start:end])
        else:
            assert not tags, "an element between Tags and Cluster"
            out += header[start:end]
        tracks |= ident == mkv.TRACKS
    return out, tags


def check_upload(name, data, sent, absolute, start=None):
    """Uploads to a new stream, then checks all ways to read it back."""
    client = bench.client()
    client.call("createStream", StreamName=name, DataRetentionInHours=1)
    before = time.time()
    start = before if start is None else start
    header, _ = header_of(data)
    numbers = []
    with bench.case(f"{name}: every fragment is acknowledged PERSISTED"):
        acked = upload(client, name, data, absolute, start)
        expect([t for t, _ in acked], [s.timecode for s in sent],
               "acknowledged timecodes")
        numbers = [n for _, n in acked]
    if not numbers:
        return
    start_ms = 0 if absolute else round(start * 1000)
    docs = []
    with bench.case(f"{name}: GetMedia EARLIEST, every document"):
        media = client.get_media(name, StartSelectorType="EARLIEST")
        assert re.match(r"video/(webm|x-matroska)$",
                        media.response.headers["content-type"])
        body = read_body(media, len(sent))
        media.close()
        docs = documents(body)
        expect(len(docs), len(sent), "documents")
        got = [check_document(d, header, s, start_ms + s.timecode, before,
                              time.time()) for d, s in zip(docs, sent)]
        expect(got, numbers, "numbers, as acknowledged")
        assert all(a < b for a, b in zip(got, got[1:])), "not increasing"
    with bench.case(f"{name}: the upload is put together again bit-exact"):
        again = b"".join(b for _, b in docs[0][:[k for k, _ in docs[0]].index(
            mkv.CLUSTER) - 1])
        for doc in docs:
            at = [k for k, _ in doc].index(mkv.CLUSTER)
            again += b"".join(b for _, b in doc[at:-1])
        whole = header + b"".join(s.cluster + b"".join(s.tags) for s in sent)
        assert again == whole, f"{len(again)} bytes, sent {len(whole)}"
    with bench.case(f"{name}: ffprobe, mkvinfo, mkvmerge find no fault"):
        for doc, s in zip(docs, sent):
            check_tools(doc, s)
    for kind, key in (("FRAGMENT_NUMBER", "AfterFragmentNumber"),
                      ("CONTINUATION_TOKEN", "ContinuationToken")):
        with bench.case(f"{name}: GetMedia {kind} goes on after it"):
            media = client.get_media(name, StartSelectorType=kind,
                                     **{key: numbers[0]})
            body = read_body(media, len(sent) - 1)
            media.close()
            got = [check_document(d, header, s, start_ms + s.timecode,
                                  before, time.time())
                   for d, s in zip(documents(body), sent[1:])]
            expect(got, numbers[1:], "numbers")
    with bench.case(f"{name}: GetMediaForFragmentList in the asked order"):
        order = list(reversed(range(len(sent))))
        media = client.get_media_for_fragment_list(
            name, [numbers[i] for i in order])
        until(lambda: media.poll(0.1) or media.ended, 20, 0.0, "its end")
        listed = documents(bytes(media.data))
        media.close()
        expect(len(listed), len(sent), "documents")
        for doc, i in zip(listed, order):
            got = check_document(doc, header, sent[i],
                                 start_ms + sent[i].timecode, before,
                                 time.time(), trailing=False)
            expect(got, numbers[i], "number")
            check_tools(doc, sent[i])


def of_file(data):
    """The Sents of an MKV file without tags among its clusters."""
    sent = [Sent(b) for k, b in mkv.split_upload(data)[1] if k == mkv.CLUSTER]
    sent[0].tags = header_of(data)[1]
    return sent


def test_ffmpeg_pipe():
    data = mkv.make_h264(audio=True)
    check_upload("ffmpeg-pipe", data, of_file(data), absolute=False)


def test_ffmpeg_file():
    """Known Segment size, SeekHead, Void, Cues at the end."""
    path = os.path.join(bench.temp, "file.mkv")
    mkv.make_h264(4, extra=("-y", "-f", "matroska", path))
    with open(path, "rb") as file:
        data = file.read()
    kinds = [k for k, _, _, _ in mkv.level1(data)]
    assert mkv.SEEKHEAD in kinds and mkv.CUES in kinds
    check_upload("ffmpeg-file", data, of_file(data), absolute=False,
                 start=1511852108.005)


def absolute_clusters(known):
    """PIC's layout with clusters at the wall clock."""
    header, clusters = mkv.pic_style(mkv.make_h264(6))
    now = int(time.time() * 1000)
    out = []
    for c in clusters:
        blocks = b"".join(mkv.simple_block(p, rel, t, f & 0x80)
                          for t, rel, f, p in mkv.frames(c))
        out.append(mkv.cluster(now + mkv.cluster_timecode(c), blocks,
                               known=known))
    return header, out


def test_tags_before():
    """Tags without END_OF_FRAGMENT belong to the next Cluster."""
    header, clusters = absolute_clusters(False)
    sent = []
    data = header
    for i, c in enumerate(clusters):
        tags = [mkv.tags([(f"name{j}", f"value {i} \u00e9")])
                for j in range(i)]
        data += b"".join(tags) + c
        sent.append(Sent(c, tags))
    check_upload("tags-before", data, sent, absolute=True)


def test_tags_after():
    """Tags with END_OF_FRAGMENT belong to the Cluster before."""
    header, clusters = absolute_clusters(False)
    sent = []
    data = header
    for i, c in enumerate(clusters):
        tags = [mkv.tags([("AWS_KINESISVIDEO_IMAGE_GENERATION", "")]),
                mkv.tags([("shot", str(i)),
                          ("AWS_KINESISVIDEO_END_OF_FRAGMENT", "")])]
        data += c + b"".join(tags)
        sent.append(Sent(c, tags))
    check_upload("tags-after", data, sent, absolute=True)


def test_tags_at_end():
    """Tags after the last Cluster belong to it, though nothing says so."""
    header, clusters = absolute_clusters(True)
    tags = mkv.tags([("last", "yes")])
    sent = [Sent(c) for c in clusters]
    sent[-1].tags = [tags]
    check_upload("tags-at-end", header + b"".join(clusters) + tags, sent,
                 absolute=True)


def test_live():
    """A reader gets frames of a Cluster that is still being sent; one that
    comes in the middle of a Cluster gets it whole, once it is; and later
    readers get the same bytes."""
    client, viewer, late = bench.client(), bench.client(), bench.client()
    client.call("createStream", StreamName="live", DataRetentionInHours=1)
    rng = random.Random(3)
    now = int(time.time() * 1000)
    sent = [mkv.cluster(now + 1000 * i, b"".join(
        mkv.simple_block(rng.randbytes(9000), j * 100) for j in range(8)),
        known=False) for i in range(3)]
    half = len(sent[1]) // 2
    live = []
    with bench.case("live: frames arrive before their Cluster ends"):
        put = client.put_media("live")
        put.write(mkv.header() + sent[0] + mkv.END_OF_FRAGMENT)
        put.wait_event("PERSISTED", FragmentTimecode=now)
        media = viewer.get_media("live", StartSelectorType="NOW")
        put.write(sent[1][:half])
        put.wait_event("BUFFERING", FragmentTimecode=now + 1000)
        # Whole blocks are passed on; the last one may not be whole yet.
        some = sent[1][:half - 9100]
        media.wait_bytes(lambda d: some in d, 10)
    with bench.case("live: a reader that comes late gets whole Clusters"):
        other = late.get_media("live", StartSelectorType="NOW")
        put.write(sent[1][half:])
        put.write(sent[2] + mkv.END_OF_FRAGMENT)
        put.wait_event("PERSISTED", FragmentTimecode=now + 2000)
        body = read_body(other, 2)
        got = [b for d in documents(body) for k, b in d if k == mkv.CLUSTER]
        assert got in (sent[:2], sent[1:]), f"{len(got)} Clusters"
        other.close()
    with bench.case("live: every document has its layout"):
        until(lambda: sent[2] in media.data or media.poll(0.1), 10)
        body = read_body(media, bytes(media.data).count(LAST))
        media.close()
        live = documents(body)
        for doc in live:
            cluster = next(b for k, b in doc if k == mkv.CLUSTER)
            i = sent.index(cluster)
            tags = [mkv.END_OF_FRAGMENT] if i != 1 else []
            check_document(doc, mkv.header(), Sent(cluster, tags),
                           now + 1000 * i, now / 1000, time.time())
    put.end()
    put.wait_closed()
    with bench.case("live: a later reader gets the same bytes"):
        media = viewer.get_media("live", StartSelectorType="EARLIEST")
        later = documents(read_body(media, 3))
        media.close()
        assert live
        for doc, again in zip(live, later[-len(live):]):
            expect(b"".join(b for _, b in doc[:-1]).hex(),
                   b"".join(b for _, b in again[:-1]).hex(), "document")


def unread(put):
    """Bytes of an upload that the service has left in its socket."""
    ours = put.wire.sock.getsockname()[1]
    ends = f":{bench.port:04X}", f":{ours:04X}"
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in file:
            field = line.split()
            if (field[1][8:], field[2][8:]) == ends:
                return int(field[4].split(":")[1], 16)
    raise AssertionError("no such connection")


def test_unwatched():
    """In the middle of a fragment, and while nobody watches, several frames are
    read together; that hides nothing from anybody."""
    client = bench.client()
    client.call("createStream", StreamName="unwatched", DataRetentionInHours=1)
    rng = random.Random(5)
    put = client.put_media("unwatched")
    put.write(mkv.header())
    at = int(time.time() * 1000)
    seen = 0

    def frame(offset):
        nonlocal seen
        put.write(mkv.simple_block(rng.randbytes(500), offset))
        # The pace of a device.
        end = time.monotonic() + 0.12
        while time.monotonic() < end:
            seen += unread(put) > 0
            time.sleep(0.002)

    def begin():
        nonlocal at
        at += 2000
        put.write(mkv.cluster(at, mkv.simple_block(rng.randbytes(500)),
                              known=False))

    with bench.case("unwatched: frames gather in the socket"):
        for _ in range(5):
            begin()
            for offset in range(1, 12):
                frame(100 * offset)
            if seen:
                break
        assert seen
    with bench.case("unwatched: what nothing follows is read all the same"):
        begin()
        frame(100)
        until(lambda: not unread(put), 10)
    with bench.case("unwatched: each frame at once for who begins to watch"):
        begin()
        frame(100)
        media = bench.client().get_media("unwatched", StartSelectorType="NOW")
        until(lambda: not unread(put), 10)
        begin()
        for offset in range(1, 12):
            payload = rng.randbytes(500)
            put.write(mkv.simple_block(payload, 100 * offset))
            media.wait_bytes(lambda d, p=payload: p in d, 10)
        media.close()
    put.end()
    put.wait_closed()
    expect(put.events("ERROR"), [], "errors")


def test_live_only():
    """Retention 0: the newest fragments can be read for some minutes, also
    after the upload, when no other connection is left."""
    client = bench.client()
    client.call("createStream", StreamName="buffer")
    rng = random.Random(4)
    now = int(time.time() * 1000)
    sent = [mkv.fragment(rng, now + 1000 * i, 20000) for i in range(4)]
    put = client.put_media("buffer")
    put.write(mkv.header() + b"".join(sent))
    put.end()
    put.wait_closed()
    for reader in ("a reader", "another one, later"):
        with bench.case(f"retention 0: {reader} gets the buffer, EARLIEST"):
            media = bench.client().get_media("buffer",
                                             StartSelectorType="EARLIEST")
            docs = documents(read_body(media, 4))
            media.close()
            for i, doc in enumerate(docs):
                check_document(doc, mkv.header(), Sent(sent[i]),
                               now + 1000 * i, now / 1000, time.time())
    for at_ms, first in ((now - 5000, 0), (now + 1000, 1), (now + 2500, 2)):
        with bench.case(f"retention 0: from the time of fragment {first}"):
            media = bench.client().get_media(
                "buffer", StartSelectorType="PRODUCER_TIMESTAMP",
                StartTimestamp=at_ms / 1000)
            docs = documents(read_body(media, 4 - first))
            media.close()
            expect(len(docs), 4 - first, "documents")
            check_document(docs[0], mkv.header(), Sent(sent[first]),
                           now + 1000 * first, now / 1000, time.time())


def large_cluster(at):
    rng = random.Random(5)
    return mkv.cluster(at, b"".join(mkv.simple_block(
        rng.randbytes(250000), 100 * i) for i in range(80)), known=False)


def test_large():
    """20 MB in one fragment: its frames are visible as they come, and who does
    not read meanwhile gets the same bytes."""
    now = int(time.time() * 1000)
    sent = large_cluster(now)
    for name, hours in (("stored", 1), ("retention 0", 0)):
        stream = f"large-{hours}"
        client, viewer = bench.client(), bench.client()
        client.call("createStream", StreamName=stream,
                    DataRetentionInHours=hours)
        put = client.put_media(stream)
        media = viewer.get_media(stream, StartSelectorType="NOW")
        slow = bench.client().get_media(stream, StartSelectorType="NOW")
        with bench.case(f"20 MB, {name}: nearly all of it before its end"):
            put.write(mkv.header() + sent[:-1000])
            media.wait_bytes(lambda d: len(d) > len(sent) - 300000)
            expect(put.events("RECEIVED"), [], "whole already")
            put.write(sent[-1000:] + mkv.END_OF_FRAGMENT)
            put.wait_event("PERSISTED" if hours else "RECEIVED")
        for who, body in (("the live reader", media),
                          ("one who was behind", slow)):
            with bench.case(f"20 MB, {name}: {who} gets all of it"):
                check_document(documents(read_body(body, 1))[0], mkv.header(),
                               Sent(sent, [mkv.END_OF_FRAGMENT]), now,
                               now / 1000, time.time())
            body.close()
        put.end()
        put.wait_closed()
        with bench.case(f"20 MB, {name}: later, too"):
            later = viewer.get_media(stream, StartSelectorType="EARLIEST")
            doc = documents(read_body(later, 1))[0]
            later.close()
            assert (mkv.CLUSTER, sent) in doc


if __name__ == "__main__":
    require("ffmpeg", "ffprobe", "mkvinfo", "mkvmerge")
    bench = Bench()
    bench.start()
    for test in (test_ffmpeg_pipe, test_ffmpeg_file, test_tags_before,
                 test_tags_after, test_tags_at_end, test_live,
                 test_unwatched, test_live_only, test_large):
        try:
            test()
        except Exception as error:  # the other uploads are still of interest
            bench.check(test.__name__, False, f"{type(error).__name__}: {error}")
    sys.exit(bench.finish())
