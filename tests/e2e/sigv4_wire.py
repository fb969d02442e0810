#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Signature Version 4 on the wire, by a signer written for this test alone.

It controls what the SDKs hide: the order of query parameters and headers,
white space, duplicated and unsigned fields, dates, scopes, encodings. A
request is let in exactly when its signature covers what is executed.
"""

import datetime
import hashlib
import hmac
import json
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "support"))
from kvsd_server import Bench, Raw, expect, expect_in, require  # noqa: E402

SEED = int(os.environ.get("SEED", "1"))
BAD_SIGNATURE = ("SignatureDoesNotMatch", "InvalidSignatureException")
INCOMPLETE = ("IncompleteSignature", "IncompleteSignatureException")
UNKNOWN_KEY = ("InvalidClientTokenId", "UnrecognizedClientException")
NO_TOKEN = ("MissingAuthenticationToken",
            "MissingAuthenticationTokenException")
ANY_AUTH = BAD_SIGNATURE + INCOMPLETE + UNKNOWN_KEY + NO_TOKEN + (
    "AccessDeniedException", "InvalidArgumentException")


def sha(data):
    return hashlib.sha256(data).hexdigest()


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def uri(text, keep="-_.~"):
    out = ""
    for byte in text.encode():
        c = chr(byte)
        out += c if c.isascii() and (c.isalnum() or c in keep) else \
            f"%{byte:02X}"
    return out


class Request:
    """A request whose parts can be bent before and after it is signed."""

    def __init__(self, client, path="/listStreams", body=b"{}"):
        self.key, self.secret = client.access_key, client.secret
        self.region = client.region
        self.method, self.path, self.query, self.body = "POST", path, [], body
        now = datetime.datetime.now(datetime.timezone.utc)
        self.date = now.strftime("%Y%m%dT%H%M%SZ")
        self.headers = [("Host", client.authority),
                        ("Content-Type", "application/json"),
                        ("X-Amz-Date", self.date)]
        self.signed = None	# names; all headers when None
        self.canonical_query = None
        self.canonical_path = None
        self.payload_hash = None
        self.scope = None
        self.authorization = None
        self.unsigned = []	# header lines added after signing
        self.version = "HTTP/1.1"
        self.target = None

    def set(self, name, value):
        self.headers = [(n, v) for n, v in self.headers
                        if n.lower() != name.lower()]
        if value is not None:
            self.headers.append((name, value))
        return self

    def query_text(self):
        """As on the wire, in the order given."""
        return "&".join(k if v is None else f"{k}={v}" for k, v in self.query)

    def sign(self):
        names = {}
        for name, value in self.headers:
            names.setdefault(name.lower(), []).append(" ".join(value.split()))
        if self.signed is not None:
            names = {n: v for n, v in names.items() if n in self.signed}
        listed = ";".join(sorted(names))
        query = self.canonical_query
        if query is None:
            query = "&".join(f"{k}={v or ''}" for k, v in sorted(
                (k, v or "") for k, v in self.query))
        path = self.canonical_path or uri(self.path, "-_.~/")
        self.canonical = "\n".join(
            [self.method, path, query,
             "".join(f"{n}:{','.join(names[n])}\n" for n in sorted(names)),
             listed, self.payload_hash or sha(self.body)])
        scope = self.scope or \
            f"{self.date[:8]}/{self.region}/kinesisvideo/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", self.date, scope,
                          sha(self.canonical.encode())])
        key = ("AWS4" + self.secret).encode()
        for part in scope.split("/"):
            key = mac(key, part)
        self.signature = mac(key, text).hex()
        self.authorization = (
            f"AWS4-HMAC-SHA256 Credential={self.key}/{scope}, "
            f"SignedHeaders={listed}, Signature={self.signature}")
        return self

    def bytes(self):
        target = self.target or self.path
        if self.query:
            target += "?" + self.query_text()
        lines = [f"{self.method} {target} {self.version}"]
        lines += [f"{n}: {v}" for n, v in self.headers]
        if self.authorization is not None:
            lines.append(f"Authorization: {self.authorization}")
        lines += self.unsigned
        lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body


def exchange(request):
    """(status, error type, body)"""
    raw = Raw(client)
    try:
        raw.send(request if isinstance(request, bytes) else request.bytes())
        status, fields, body = raw.read_response()
    finally:
        raw.close()
    return status, fields.get("x-amzn-errortype", "").split(":")[0], body


def good(name, request):
    with bench.case(f"{name}: let in"):
        status, kind, body = exchange(request)
        expect((status, kind), (200, ""), f"answer {body[:200]}")


def bad(name, request, types, statuses=(400, 401, 403)):
    with bench.case(f"{name}: {types[0] if types else 'refused'}"):
        status, kind, body = exchange(request)
        expect_in(status, statuses, f"status ({kind}, {body[:200]})")
        if types:
            expect_in(kind, types, f"type ({status}, {body[:200]})")


def new(**options):
    return Request(client, **options)


# --- what must be let in -----------------------------------------------------------
def test_good():
    good("plain request", new().sign())
    r = new().sign()
    r.headers.reverse()
    good("headers in another order than they were signed", r)
    r = new().sign()
    r.headers = [(n.upper(), v) for n, v in r.headers]
    good("header names in capitals", r)
    r = new().sign()
    r.unsigned = ["X-Proxy: added on the way", "Via: 1.1 x"]
    good("unsigned headers beside the signed ones", r)
    r = new()
    r.signed = {"host", "x-amz-date"}
    good("only Host and X-Amz-Date are signed", r.sign())
    r = new()
    r.headers.append(("X-Spaces", "  a   b\t c  "))
    good("white space inside a signed value", r.sign())
    r = new()
    r.headers += [("X-Twice", "one"), ("X-Twice", "two")]
    good("a signed header that comes twice", r.sign())
    r = new()
    r.headers.append(("X-Empty", ""))
    good("a signed header without a value", r.sign())
    r = new().set("X-Amz-Content-Sha256", sha(b"{}"))
    good("x-amz-content-sha256 of the body", r.sign())
    for name, query in (
            ("in order", [("a", "1"), ("b", "2")]),
            ("out of order", [("b", "2"), ("a", "1")]),
            ("same name twice", [("a", "2"), ("a", "1")]),
            ("no value", [("flag", None), ("b", "")]),
            ("prefix of another", [("a", "1"), ("a-b", "1"), ("a.b", "1")]),
            ("capitals and digits", [("z", "1"), ("A", "1"), ("0", "1")]),
            ("encoded", [("k%20x", "%2Fa%3D"), ("k", "%C3%A9")])):
        r = new()
        r.query = query
        good(f"query, {name}", r.sign())
    for name, written, canonical in (
            ("lower-case escapes", "k=%c3%a9", "k=%C3%A9"),
            ("needless escapes", "k=%41%7e", "k=A~"),
            ("a bare slash", "k=a/b", "k=a%2Fb")):
        r = new()
        r.canonical_query = canonical
        r.sign()
        r.query = [tuple(written.split("="))]
        good(f"query, {name}", r)
    r = new().sign()
    r.target = f"https://{client.authority}/listStreams"
    with bench.case("absolute-form target: served, or refused as such"):
        status, _, body = exchange(r)
        expect_in(status, (200, 400, 403, 404), f"status {body[:200]}")
    body = json.dumps({"StreamNameCondition": {
        "ComparisonOperator": "BEGINS_WITH", "ComparisonValue": "x"}}).encode()
    good("a larger body", new(body=body).sign())
    for minutes in (-14, 14):
        good(f"{minutes} minutes on the clock", at_minutes(minutes).sign())


def at_minutes(minutes, **options):
    r = new(**options)
    when = datetime.datetime.now(datetime.timezone.utc) + \
        datetime.timedelta(minutes=minutes)
    r.date = when.strftime("%Y%m%dT%H%M%SZ")
    return r.set("X-Amz-Date", r.date)


def test_two_in_one_write():
    with bench.case("two requests in one write: two answers in order"):
        raw = Raw(client)
        one = new(path="/describeStream", body=b'{"StreamName":"absent"}')
        raw.send(one.sign().bytes() + new().sign().bytes())
        out = b""
        while out.count(b"HTTP/1.1 ") < 2 or not out.rstrip().endswith(b"}"):
            piece = raw.recv()
            assert piece, out
            out += piece
        raw.close()
        first, second = out.split(b"HTTP/1.1 ")[1:]
        assert first.startswith(b"404") and second.startswith(b"200"), out


# --- what must not --------------------------------------------------------------------
def test_credentials():
    r = new()
    r.secret = r.secret[:-1] + ("A" if r.secret[-1] != "A" else "B")
    bad("secret that differs in its last character", r.sign(), BAD_SIGNATURE,
        (403,))
    r = new()
    r.key = "AKIAIOSFODNN7EXAMPLE"
    bad("unknown access key", r.sign(), UNKNOWN_KEY, (403,))
    r = new()
    r.key = "A" * 5000
    bad("access key of 5000 characters", r.sign(), ANY_AUTH)
    r = new()
    r.key = r.key.lower()
    if r.key != client.access_key:
        bad("access key in small letters", r.sign(), UNKNOWN_KEY)
    bad("no signature at all", new(), NO_TOKEN, (401, 403))
    r = new().sign()
    r.set("X-Amz-Security-Token", "made-up")
    bad("a session token that nobody issued, not signed", r, ())
    r = new().set("X-Amz-Security-Token", "made-up").sign()
    bad("a session token that nobody issued, signed", r, ())


def test_scope():
    for name, scope in (
            ("another service", "{d}/{r}/s3/aws4_request"),
            ("another date", "20200101/{r}/kinesisvideo/aws4_request"),
            ("another ending", "{d}/{r}/kinesisvideo/aws3_request"),
            ("one part less", "{d}/{r}/aws4_request"),
            ("one part more", "{d}/{r}/kinesisvideo/x/aws4_request"),
            ("no region", "{d}//kinesisvideo/aws4_request")):
        r = new()
        r.scope = scope.format(d=r.date[:8], r=r.region)
        bad(f"scope with {name}", r.sign(), ANY_AUTH)
    for minutes in (-16, 16, -24 * 60, 24 * 60, -525600):
        bad(f"{minutes} minutes on the clock", at_minutes(minutes).sign(),
            ("RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch",
             "InvalidSignatureException"))
    for date in ("", "yesterday", "20261301T000000Z", "20260230T000000Z",
                 "20260101T250000Z", "20260101T000000", "2026-01-01T00:00:00Z",
                 "99999999T999999Z", "20260101T000000Z" + "0" * 500):
        r = new()
        r.date = date
        r.scope = f"{date[:8]}/{r.region}/kinesisvideo/aws4_request"
        bad(f"date {date[:24]!r}", r.set("X-Amz-Date", date).sign(), ())
    bad("no date", new().set("X-Amz-Date", None).sign(), ())


def test_authorization():
    base = new().sign()
    text = base.authorization
    names = "content-type;host;x-amz-date"
    for name, value in (
            ("empty", ""), ("Basic", "Basic dXNlcjpwYXNz"),
            ("Bearer", "Bearer abc"), ("algorithm alone", "AWS4-HMAC-SHA256"),
            ("another algorithm", text.replace("SHA256", "SHA512")),
            ("no Credential", text.replace("Credential", "Cred")),
            ("no SignedHeaders", text.replace("SignedHeaders=" + names + ",",
                                              "")),
            ("no Signature", text.split(", Signature")[0]),
            ("Signature twice", text + ", Signature=" + base.signature),
            ("short Signature", text[:-1]), ("long Signature", text + "0"),
            ("Signature of zeros", text[:-64] + "0" * 64),
            ("Signature that is no hex", text[:-1] + "g"),
            ("empty Signature", text[:-64]),
            ("empty SignedHeaders", text.replace(names, "")),
            ("SignedHeaders out of order",
             text.replace(names, "host;content-type;x-amz-date")),
            ("SignedHeaders in capitals", text.replace(names, names.upper())),
            ("SignedHeaders with a header that is not there",
             text.replace(names, names + ";x-none")),
            ("SignedHeaders of 10000", text.replace(
                names, ";".join(f"h{i}" for i in range(1500)))),
            ("comma only", "AWS4-HMAC-SHA256 ,,,,"),
            ("10 kB", "AWS4-HMAC-SHA256 " + "A" * 10000)):
        r = new()
        r.headers = list(base.headers)
        r.date = base.date
        r.authorization = value
        bad(f"Authorization, {name}", r, ())
    r = new().sign()
    r.unsigned = ["Authorization: " + r.authorization]
    bad("Authorization twice", r, ())


def test_coverage():
    """What is executed must be what was signed."""
    r = new().sign()
    r.body = b'{"MaxResults":1}'
    bad("another body", r, BAD_SIGNATURE)
    r = new().sign()
    r.body = b""
    bad("the body is gone", r, BAD_SIGNATURE)
    r = new().sign()
    r.path = "/deleteStream"
    bad("another path", r, BAD_SIGNATURE)
    r = new().sign()
    r.method = "PUT"
    bad("another method", r, (), (400, 401, 403, 404, 405))
    r = new().sign()
    r.query = [("x", "1")]
    bad("a query that was not signed", r, BAD_SIGNATURE)
    r = new()
    r.query = [("b", "2"), ("a", "1")]
    r.canonical_query = "b=2&a=1"
    bad("a query signed in the order of the wire", r.sign(), BAD_SIGNATURE)
    r = new()
    r.query = [("a", "1")]
    r.sign()
    r.query = [("a", "2")]
    bad("another value in the query", r, BAD_SIGNATURE)
    r = new().sign()
    r.set("Content-Type", "text/plain")
    bad("another value of a signed header", r, BAD_SIGNATURE)
    r = new()
    r.headers += [("X-Twice", "one"), ("X-Twice", "two")]
    r.sign()
    r.headers[-2:] = [("X-Twice", "two"), ("X-Twice", "one")]
    bad("a doubled header in another order", r, BAD_SIGNATURE)
    r = new()
    r.headers.append(("X-One", "1"))
    r.sign()
    r.unsigned = ["X-One: 2"]
    bad("a second value for a signed header", r, BAD_SIGNATURE)
    r = new()
    r.signed = {"x-amz-date", "content-type"}
    bad("Host is not signed", r.sign(), ())
    r = new()
    r.signed = {"host", "content-type"}
    bad("X-Amz-Date is not signed", r.sign(), ())
    r = new()
    r.payload_hash = sha(b"something else")
    r.set("X-Amz-Content-Sha256", r.payload_hash)
    bad("x-amz-content-sha256 of another body, signed", r.sign(), ())
    r = new().sign()
    r.unsigned = ["X-Amz-Date: 20260101T000000Z"]
    bad("a second X-Amz-Date", r, ())
    r = new().sign()
    r.unsigned = ["Host: evil.example"]
    bad("a second Host", r, (), (400, 403))
    r = new().set("Host", None)
    bad("no Host", r.sign(), (), (400, 403))
    r = new().sign()
    r.set("Host", "evil.example")
    bad("another Host than was signed", r, (), (400, 403))


def test_folding():
    """Obsolete line folding is refused, signed as one line or not."""
    for name, fold in (("space", "\r\n "), ("tab", "\r\n\t")):
        r = new()
        r.headers.append(("X-Fold", "a b"))
        r.sign()
        data = r.bytes().replace(b"X-Fold: a b", b"X-Fold: a" +
                                 fold.encode() + b"b")
        bad(f"folded header with a {name}", data, (), (400,))
    r = new().sign()
    data = r.bytes().replace(b", SignedHeaders", b",\r\n SignedHeaders")
    bad("folded Authorization", data, (), (400,))


def test_presigned():
    """A signature in the query, if it is served, obeys its own limits."""
    def presigned(expires, minutes):
        r = at_minutes(minutes)
        r.signed = {"host"}
        r.headers = [h for h in r.headers if h[0] != "X-Amz-Date"]
        scope = f"{r.date[:8]}/{r.region}/kinesisvideo/aws4_request"
        r.query = [("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
                   ("X-Amz-Credential", uri(f"{r.key}/{scope}")),
                   ("X-Amz-Date", r.date), ("X-Amz-Expires", str(expires)),
                   ("X-Amz-SignedHeaders", "host")]
        r.sign()
        r.authorization = None
        r.query.append(("X-Amz-Signature", r.signature))
        return r
    with bench.case("presigned, in time: served, or refused"):
        status, _, body = exchange(presigned(300, 0))
        expect_in(status, (200, 400, 403), f"status {body[:200]}")
    bad("presigned, expired", presigned(60, -10), ())
    bad("presigned for more than a week", presigned(8 * 86400, 0), ())
    bad("presigned for a negative time", presigned(-5, 0), ())
    r = presigned(300, 0)
    r.query[-1] = ("X-Amz-Signature", "0" * 64)
    bad("presigned, wrong signature", r, ())
    r = presigned(300, 0)
    r.authorization = new().sign().authorization
    bad("presigned and signed in a header", r, ())


def test_paths():
    """Odd spellings of a path never reach an operation unsigned, and never
    fail the service."""
    for path in ("//listStreams", "/./listStreams", "/x/../listStreams",
                 "/%6cistStreams", "/listStreams/", "/listStreams%00",
                 "/listStreams%2f", "/%", "/%zz", "/\u00e9", "*",
                 "/" + "../" * 60 + "listStreams"):
        r = new(path=path)
        with bench.case(f"path {path[:30]!r}: answered, not served by "
                        "another name"):
            status, _, body = exchange(r.sign())
            expect_in(status, (0, 200, 400, 403, 404), f"status {body[:200]}")
            if status == 200:
                assert path != "/%6cistStreams" or b"StreamInfoList" in body


def test_mutations():
    """One changed character in what the signature covers is never served."""
    rng = random.Random(SEED)
    served = []
    with bench.case("200 requests with one changed character: none is "
                    "served, all are answered"):
        for i in range(200):
            r = new(body=b'{"MaxResults":10}').sign()
            data = bytearray(r.bytes())
            spans = [(data.index(r.signature.encode()), 64),
                     (data.index(r.date.encode()), 16),
                     (data.index(b"/" + r.date[:8].encode()) + 1, 8),
                     (len(data) - len(r.body), len(r.body)),
                     (data.index(b"/listStreams") + 1, 11),
                     (data.index(b"application/json"), 16),
                     (data.index(r.key.encode()), len(r.key))]
            start, length = rng.choice(spans)
            at = start + rng.randrange(length)
            old = data[at]
            while data[at] == old:
                data[at] = rng.choice(b"0123456789abcdefXYZ/+-.")
            status, kind, body = exchange(bytes(data))
            if not 400 <= status < 500:
                served.append((i, status, kind, bytes(data)))
        assert not served, f"seed {SEED}: {served[:2]}"
    with bench.case("the service goes on"):
        expect(exchange(new().sign())[0], 200, "status")


if __name__ == "__main__":
    require()
    bench = Bench()
    client = bench.start()
    for test in (test_good, test_two_in_one_write, test_credentials,
                 test_scope, test_authorization, test_coverage, test_folding,
                 test_presigned, test_paths, test_mutations):
        try:
            test()
        except Exception as error:  # the others are still of interest
            bench.check(test.__name__, False,
                        f"{type(error).__name__}: {error}")
    sys.exit(bench.finish())
