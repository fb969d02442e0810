# SPDX-License-Identifier: Apache-2.0
"""HTTP and TLS that the service must refuse: ambiguous, malformed, oversized
and slow requests, JSON that breaks the models, clients that must not get in.
Part of bad_input.py, which runs it: `tests` and `slow_cases` are its face."""

import hashlib
import json
import os
import random
import socket
import ssl
import time

import matroska as mkv
from kvs_client import EMPTY_HASH
from kvsd_server import Raw, expect, expect_error, expect_in, until

SEED = int(os.environ.get("SEED", "1"))
HEAD_S_MAX = 30		# an unfinished head or handshake lives no longer
BODY_S_MAX = 60		# an unfinished JSON body
bench = None		# set by the caller


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
    s.attempt("the same Content-Length twice", cl % 2 + cl % 2, plain)
    s.attempt("a folded Transfer-Encoding",
              b"Transfer-Encoding:\r\n chunked\r\n" + cl % 2, plain)
    s.attempt("a header line that ends in a bare LF",
              b"X: y\n" + te + cl % 2, plain)
    s.attempt("a head that ends in a bare LF", cl % 2 + b"\n", plain)
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
            ("chunk size line that ends in a bare LF",
             b"2\n{}\r\n0\r\n\r\n"),
            ("chunk that ends in a bare LF", b"2\r\n{}\n0\r\n\r\n"),
            ("chunk that ends elsewhere", b"2\r\n{}XX0\r\n\r\n"),
            ("bare CR in the size line", b"2\r{}\r\n0\r\n\r\n"),
            ("endless chunk extension", b"2;" + b"a" * 20000 + b"\r\n")):
        s.attempt(name, te, lambda body, f=frame: f)


    smuggle_behind_uploads(s)


def smuggle_behind_uploads(s):
    """An upload's head is signed, its body is not: behind one that cannot be
    read to its end, or was refused, no request may be found."""
    s.client.call("createStream", StreamName="smuggler",
                  DataRetentionInHours=1)
    good = mkv.header() + mkv.fragment(random.Random(SEED),
                                       int(time.time() * 1000))
    last = b"0\r\n\r\n"

    def chunk(data):
        return b"%x\r\n" % len(data) + data + b"\r\n"

    with bench.case("behind an upload that ends in order the next one runs"):
        inner, out = s.inner(), b""
        raw = Raw(s.client)
        raw.send(put_media_head(s.client, "smuggler") +
                 chunk(good) + last + inner)
        while out.count(b"HTTP/1.1 200") < 2:
            piece = raw.recv(20)
            assert piece, f"closed after {out[:300]}"
            out += piece
        raw.close()
        s.client.call("describeStream", StreamName=s.name)
    for name, framing, body in (
            ("TE and CL", {"Content-Length": "5"}, last),
            ("two TE", {"Transfer-Encoding": "chunked"}, last),
            ("no media at all", {}, chunk(bytes(200)) + last),
            ("media that is refused", {}, chunk(good) + chunk(
                mkv.header()) + last),
            ("a chunk that ends elsewhere", {}, chunk(good)[:-2] + b"XX" +
             last),
            ("a chunk size with a sign", {}, chunk(good) + b"+0\r\n\r\n"),
            ("a chunk size over 64 bits", {}, chunk(good) +
             b"10000000000000000\r\n\r\n"),
            ("a last chunk that ends in a bare LF", {}, chunk(good) +
             b"0\n\n"),
            ("a trailer line without a colon", {}, chunk(good) +
             b"0\r\nnothing\r\n\r\n")):
        with bench.case(f"behind an upload with {name}: nothing runs"):
            inner = s.inner()
            raw = Raw(s.client)
            raw.send(put_media_head(s.client, "smuggler", unsigned=framing) +
                     body + inner)
            out, closed = raw.read_until_closed(20)
            raw.close()
            assert closed, f"still open after {out[:300]}"
            assert out.count(b"HTTP/1.1 ") <= 1, out
            # A framing of two minds is not let in; the others were.
            expect(out[9:12], b"400" if framing else b"200", "status")
            with expect_error("ResourceNotFoundException"):
                s.client.call("describeStream", StreamName=s.name)


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
        put.wait_closed(50)
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


# --- TLS ----------------------------------------------------------------------------
def test_end_behind_the_head():
    """FIN comes before anybody has looked the key up."""
    client = bench.client()
    client.call("createStream", StreamName="ended", DataRetentionInHours=1)
    for name, body in (("nothing", b""), ("half a chunk", b"10\r\nabc")):
        with bench.case(f"an upload that ends after its head and {name}: "
                        "STREAM_READ_ERROR at once"):
            raw = Raw(client)
            raw.send(put_media_head(client, "ended") + body)
            socket.socket.shutdown(raw.sock, socket.SHUT_WR)
            out, closed = raw.read_until_closed(HEAD_S_MAX / 2)
            raw.close()
            assert closed, f"still open after {out[-300:]}"
            expect_in(b"STREAM_READ_ERROR", out, "the answer")


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
        body = mkv.header() + mkv.fragment(rng, int(time.time() * 1000), 5000)
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


TESTS = (test_smuggling, test_odd_heads, test_large_bodies, test_json,
         test_end_behind_the_head, test_tls,
         test_many_connections)
