#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The quotas of requests, points and bytes, and their errors.

At one percent of Amazon's, so that one request is let in and the next is not
unless many seconds have passed: nothing here depends on how fast the machine
is. The least time that a bound of bytes makes something take is no
matter of the machine either.

limits.py [TEST_FUNCTION...]
"""

import os
import random
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "support"))
import matroska as mkv  # noqa: E402
from kvs_client import ApiError  # noqa: E402
from kvsd_server import (Bench, expect, expect_error, require,  # noqa: E402
                         until)

EOFR = mkv.END_OF_FRAGMENT
OVER = "ClientLimitExceededException"


def refused_soon(call, tries=12):
    """Some of the calls succeed, then one is over the limit. Each on a
    connection of its own, which may be any thread's."""
    good = 0
    with expect_error(OVER, 400):
        for _ in range(tries):
            call(bench.client())
            good += 1
    assert good, "not even the first is let in"


def stored(stream, count=2):
    client = bench.client()
    client.call("createStream", StreamName=stream, DataRetentionInHours=1)
    put = client.put_media(stream)
    put.write(mkv.header())
    at = int(time.time() * 1000)
    for i in range(count):
        put.write(mkv.fragment(random.Random(i), at + 1000 * i) + EOFR)
    put.end()
    put.wait_closed()
    return [a["FragmentNumber"] for a in put.events("PERSISTED")]


def selector():
    return {"FragmentSelectorType": "SERVER_TIMESTAMP", "TimestampRange": {
        "StartTimestamp": time.time() - 3600,
        "EndTimestamp": time.time() + 3600}}


def test_requests():
    for name in ("one", "two"):
        stored(name)
    bench.restart("--api-rate", "1")
    calls = {
        "DescribeStream": lambda c, s: c.call("describeStream", StreamName=s),
        "GetDataEndpoint": lambda c, s: c.call(
            "getDataEndpoint", StreamName=s, APIName="GET_MEDIA"),
        "PutMedia": lambda c, s: c.put_media(s).abort(),
        "GetMedia": lambda c, s: c.get_media(
            s, StartSelectorType="NOW").close(),
    }
    for name, call in calls.items():
        with bench.case(f"{name}: of one stream too often"):
            refused_soon(lambda c, f=call: f(c, "one"))
        with bench.case(f"{name}: another stream has its own"):
            call(bench.client(), "two")
    with bench.case("ListStreams: too often, of the whole account"):
        refused_soon(lambda c: c.call("listStreams"))
    with bench.case("CreateStream: too often"):
        refused_soon(lambda c: c.call(
            "createStream", StreamName=f"n{random.getrandbits(60)}"))
    with bench.case("ListTagsForStream: of an ARN too often"):
        arn = tagged_arn()
        refused_soon(lambda c: c.call("listTagsForStream", StreamARN=arn))


def tagged_arn():
    def described():
        try:
            return bench.client().call("describeStream", StreamName="two")
        except ApiError as error:
            expect(error.type, OVER, "error")
            return None
    return until(described, 60, 0.5)["StreamInfo"]["StreamARN"]


def test_points():
    bench.restart()
    numbers = stored("points", 7)
    stored("points-2", 1)
    bench.restart("--api-rate", "1")
    with bench.case("ListFragments: MaxResults are points of metadata"):
        refused_soon(lambda c: c.call(
            "listFragments", StreamName="points", MaxResults=1000,
            FragmentSelector=selector()))
    with bench.case("GetMediaForFragmentList: fragments are points of media"):
        def read(client):
            media = client.get_media_for_fragment_list("points", numbers * 9)
            expect(len(media.documents()), len(numbers) * 9, "fragments")
            media.close()
        refused_soon(read)
    with bench.case("GetClip: of the same points"):
        with expect_error(OVER, 400):
            bench.client().call("getClip", StreamName="points",
                                ClipFragmentSelector=selector())
    with bench.case("points: another stream has its own"):
        client = bench.client()
        found = client.call("listFragments", StreamName="points-2",
                            FragmentSelector=selector())
        expect(len(found["Fragments"]), 1, "fragments")


def test_bytes():
    """Two MiB at half a MiB a second, a quarter of a second's at once."""
    size = 2 << 20
    least_s = 3.0
    bench.restart("--put-rate", "512K")
    client = bench.client()
    client.call("createStream", StreamName="paced", DataRetentionInHours=1)
    with bench.case("put_rate: an upload is taken no faster, and whole"):
        began = time.monotonic()
        put = client.put_media("paced")
        cluster = mkv.fragment(random.Random(1), int(time.time() * 1000),
                               size)
        put.write(mkv.header() + cluster + EOFR)
        put.end()
        put.wait_closed()
        took = time.monotonic() - began
        expect([a["EventType"] for a in put.acks if a["EventType"] != "IDLE"],
               ["BUFFERING", "RECEIVED", "PERSISTED"], "acks")
        assert took > least_s, f"{size} bytes in {took:.2f} s"
        numbers = [a["FragmentNumber"] for a in put.events("PERSISTED")]
    with bench.case("put_rate: the end of what is sent waits for the bytes "
                    "before it"):
        put = client.put_media("paced")
        put.write(mkv.header() + mkv.fragment(
            random.Random(2), int(time.time() * 1000), 200 << 10) + EOFR)
        put.end()
        # FIN without TLS's own farewell
        socket.socket.shutdown(put.wire.sock, socket.SHUT_WR)
        put.wait_closed()
        expect([a["EventType"] for a in put.acks if a["EventType"] != "IDLE"],
               ["BUFFERING", "RECEIVED", "PERSISTED"], "acks")
    bench.restart("--get-rate", "512K")
    client = bench.client()
    with bench.case("get_rate: a reader is given it no faster, and whole"):
        began = time.monotonic()
        media = client.get_media("paced", StartSelectorType="EARLIEST")
        doc = media.next()
        took = time.monotonic() - began
        media.close()
        expect(doc.cluster == cluster, True, "the Cluster")
        assert took > least_s, f"{size} bytes in {took:.2f} s"
    with bench.case("get_rate: GetMediaForFragmentList likewise"):
        began = time.monotonic()
        docs = client.get_media_for_fragment_list(
            "paced", numbers).documents()
        took = time.monotonic() - began
        expect(docs[0].cluster == cluster, True, "the Cluster")
        assert took > least_s, f"{size} bytes in {took:.2f} s"


def test_connections():
    """Answers under way, since nobody reads them: one that is paced is."""
    bench.restart("--lists", "2", "--get-rate", "64K")
    client = bench.client()
    client.call("createStream", StreamName="lists", DataRetentionInHours=1)
    put = client.put_media("lists")
    put.write(mkv.header() + mkv.fragment(
        random.Random(9), int(time.time() * 1000), 3 << 20) + EOFR)
    put.end()
    put.wait_closed()
    numbers = [a["FragmentNumber"] for a in put.events("PERSISTED")]
    with bench.case("lists: as many connections at once as are allowed"):
        running = [bench.client().get_media_for_fragment_list("lists", numbers)
                   for _ in range(2)]
        with expect_error(OVER, 400):
            bench.client().get_media_for_fragment_list("lists", numbers)
    with bench.case("lists: one that has ended makes room"):
        running.pop().close()
        def free():
            try:
                running.append(bench.client().get_media_for_fragment_list(
                    "lists", numbers))
            except ApiError as error:
                expect(error.type, OVER, "the error")
                return False
            return True
        until(free, 20, 0.2, "room for another")
    for one in running:
        one.close()


class Feeder(threading.Thread):
    """Fragments to an upload until it is told to end."""

    def __init__(self, put):
        super().__init__(daemon=True)
        self.put, self.count = put, 0
        self.enough = threading.Event()
        put.write(mkv.header())

    def run(self):
        at = int(time.time() * 1000)
        rng = random.Random(at)
        while not self.enough.is_set():
            self.put.write(mkv.fragment(rng, at + 1000 * self.count) + EOFR)
            self.count += 1
            time.sleep(0.1)

    def end(self):
        self.enough.set()
        self.join()
        self.put.end()
        self.put.wait_closed()
        expect(self.put.events("ERROR"), [], "errors")
        expect(len(self.put.events("PERSISTED")), self.count, "persisted")


def test_rotation():
    """A device opens its next session before it ends the last one, half of
    what one may last from its beginning on."""
    bench.restart("--upload-max", "16s")
    client = bench.client()
    client.call("createStream", StreamName="rotated", DataRetentionInHours=1)
    with bench.case("rotation: not in the middle of a session"):
        first = Feeder(client.put_media("rotated"))
        began = time.monotonic()
        first.start()
        with expect_error("ConnectionLimitExceededException", 400):
            bench.client().put_media("rotated")
    with bench.case("rotation: later both go on, and no third one"):
        time.sleep(max(0.0, began + 8.2 - time.monotonic()))
        second = Feeder(bench.client().put_media("rotated"))
        second.start()
        with expect_error("ConnectionLimitExceededException", 400):
            bench.client().put_media("rotated")
        before = first.count
        until(lambda: first.count > before + 3 and second.count > 3)
        first.end()
        until(lambda c=second.count: second.count > c + 3)
        second.end()


if __name__ == "__main__":
    require()
    bench = Bench()
    bench.start()
    for test in (test_requests, test_points, test_bytes, test_connections,
                 test_rotation):
        if sys.argv[1:] and test.__name__ not in sys.argv[1:]:
            continue
        test()
    sys.exit(bench.finish())
