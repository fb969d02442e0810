# SPDX-License-Identifier: Apache-2.0
"""An independent client of the service for tests: Python standard library only.

Shares no code with the service. One thread, explicit deadlines.

    service = Service.start([KVSD], directory)      # kvsd serve --quickstart
    client = service.client()
    client.call("createStream", StreamName="cam", DataRetentionInHours=1)
    put = client.put_media("cam", absolute=True)
    put.write(mkv_bytes); put.end()
    acks = put.wait_closed()
    for doc in client.get_media("cam", StartSelectorType="EARLIEST").documents():
        doc.number, doc.header, doc.cluster, doc.tags
"""

import configparser
import datetime
import hashlib
import hmac
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import time
import urllib.parse

EMPTY_HASH = hashlib.sha256(b"").hexdigest()
DEADLINE_S = 30.0


class Failure(Exception):
    """The service or the transport did not do what the test needs."""


class ApiError(Failure):
    """An error answer: status, type (first header spelling) and message."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body
        self.type = headers.get("x-amzn-errortype", "").split(":")[0]
        try:
            self.message = json.loads(body).get("Message", "")
        except (ValueError, AttributeError):
            self.message = ""
        super().__init__(f"{status} {self.type}: {self.message}")


# --- signing -----------------------------------------------------------------
def _hmac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def sign(method, path, headers, body_hash, access_key, secret, region,
         service="kinesisvideo", token=None, when=None):
    """Returns the headers with X-Amz-Date and Authorization added."""
    when = when or datetime.datetime.now(datetime.timezone.utc)
    stamp = when.strftime("%Y%m%dT%H%M%SZ")
    headers = dict(headers)
    headers["X-Amz-Date"] = stamp
    if token:
        headers["X-Amz-Security-Token"] = token
    canonical = sorted((k.lower(), " ".join(v.split()))
                       for k, v in headers.items())
    names = ";".join(k for k, _ in canonical)
    request = "\n".join([method, urllib.parse.quote(path, safe="/-_.~"), "",
                         "".join(f"{k}:{v}\n" for k, v in canonical), names,
                         body_hash])
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, scope,
                         hashlib.sha256(request.encode()).hexdigest()])
    key = _hmac(("AWS4" + secret).encode(), stamp[:8])
    for part in (region, service, "aws4_request"):
        key = _hmac(key, part)
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}")
    return headers


# --- transport ---------------------------------------------------------------
class Wire:
    """A TLS connection; reads and writes interleave on one thread."""

    def __init__(self, host, port, context, timeout=DEADLINE_S):
        raw = socket.create_connection((host, port), timeout=timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = context.wrap_socket(raw, server_hostname=host)
        self.sock.setblocking(False)
        self.received = bytearray()
        self.eof = False
        self.error = None

    def _wait(self, read, write, timeout):
        select.select([self.sock] if read else [],
                      [self.sock] if write else [], [], max(0.0, timeout))

    def poll(self, timeout=0.0):
        """Takes what has arrived, waiting up to timeout for the first byte."""
        end = time.monotonic() + timeout
        got = False
        while not self.eof:
            try:
                piece = self.sock.recv(65536)
                if not piece:
                    self.eof = True
                    break
                self.received += piece
                got = True
                continue
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                self.eof = True
                break
            except (ssl.SSLError, OSError) as error:
                self.eof = True
                self.error = error
                break
            left = end - time.monotonic()
            if got or left <= 0:
                break
            self._wait(True, False, left)
        return got

    def send(self, data, timeout=DEADLINE_S):
        """Sends all of it, reading meanwhile."""
        end = time.monotonic() + timeout
        view = memoryview(data)
        while view:
            try:
                sent = self.sock.send(view[:65536])
                view = view[sent:]
                continue
            except ssl.SSLWantWriteError:
                pass
            except ssl.SSLWantReadError:
                pass
            self.poll()
            left = end - time.monotonic()
            if left <= 0:
                raise Failure("send: the peer takes nothing")
            self._wait(True, True, left)

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass


class Response:
    """One HTTP/1.1 response, read as it comes."""

    def __init__(self, wire):
        self.wire = wire
        self.status = None
        self.headers = {}
        self.chunked = False
        self.left = None        # bytes left of the body or of the chunk
        self.done = False
        self.chunks = []        # payload of complete chunks, in order
        self._state = "size"

    def read_head(self, timeout=DEADLINE_S):
        end = time.monotonic() + timeout
        while b"\r\n\r\n" not in self.wire.received:
            left = end - time.monotonic()
            if self.wire.eof or left <= 0:
                raise Failure("no response head: "
                              f"{bytes(self.wire.received)!r} "
                              f"{self.wire.error or ''}")
            self.wire.poll(left)
        head, _, rest = bytes(self.wire.received).partition(b"\r\n\r\n")
        self.wire.received[:] = rest
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self.chunked = self.headers.get("transfer-encoding") == "chunked"
        if not self.chunked:
            self.left = int(self.headers.get("content-length", "0"))
            self.done = self.left == 0
        return self

    def take(self):
        """Payload bytes that are here now."""
        out = bytearray()
        data = self.wire.received
        while not self.done:
            if not self.chunked:
                n = min(len(data), self.left)
                out += data[:n]
                del data[:n]
                self.left -= n
                self.done = self.left == 0
                break
            if self._state == "size":
                i = data.find(b"\r\n")
                if i < 0:
                    break
                self.left = int(bytes(data[:i]).split(b";")[0], 16)
                del data[:i + 2]
                self._state = "data" if self.left else "end"
                self.chunks.append(b"")
            elif self._state == "data":
                n = min(len(data), self.left)
                if not n:
                    break
                out += data[:n]
                self.chunks[-1] += bytes(data[:n])
                del data[:n]
                self.left -= n
                if not self.left:
                    self._state = "crlf"
            elif self._state == "crlf":
                if len(data) < 2:
                    break
                if data[:2] != b"\r\n":
                    raise Failure("chunk without its line end")
                del data[:2]
                self._state = "size"
            else:
                if len(data) < 2:
                    break
                if data[:2] != b"\r\n":
                    raise Failure("trailers or garbage after last chunk")
                del data[:2]
                self.done = True
        if len(self.chunks) > 64:
            del self.chunks[:-64]
        return bytes(out)

    def read_all(self, timeout=DEADLINE_S):
        end = time.monotonic() + timeout
        out = bytearray(self.take())
        while not self.done:
            left = end - time.monotonic()
            if self.wire.eof or left <= 0:
                raise Failure(f"body is cut after {len(out)} bytes "
                              f"{self.wire.error or ''}")
            self.wire.poll(left)
            out += self.take()
        return bytes(out)


# --- the client --------------------------------------------------------------
class Client:
    def __init__(self, endpoint, ca, access_key, secret, region="us-west-2",
                 token=None):
        url = urllib.parse.urlsplit(endpoint)
        self.host = url.hostname
        self.port = url.port or 443
        self.authority = url.netloc
        self.access_key = access_key
        self.secret = secret
        self.region = region
        self.token = token
        self.context = ssl.create_default_context(cafile=ca)
        self._kept = None

    @classmethod
    def of_ready_line(cls, line, region="us-west-2"):
        """From the JSON line that `kvsd serve --quickstart` prints."""
        ready = json.loads(line)
        parser = configparser.ConfigParser()
        parser.read(ready["credentials"])
        section = parser["default"]
        return cls(ready["endpoint"], ready["ca"],
                   section["aws_access_key_id"],
                   section["aws_secret_access_key"], region)

    def wire(self):
        return Wire(self.host, self.port, self.context)

    def signed(self, method, path, headers, body_hash, **options):
        headers = {"Host": self.authority, **headers}
        return sign(method, path, headers, body_hash, self.access_key,
                    self.secret, self.region, token=self.token, **options)

    def request(self, path, body, headers=None, keep=True, sign_it=True,
                method="POST", wire=None, **options):
        """Sends one request; returns a Response whose head is read."""
        all_headers = {"Content-Type": "application/json", **(headers or {})}
        if sign_it:
            all_headers = self.signed(method, path, all_headers,
                                      hashlib.sha256(body).hexdigest(),
                                      **options)
        else:
            all_headers = {"Host": self.authority, **all_headers}
        all_headers["Content-Length"] = str(len(body))
        text = f"{method} {path} HTTP/1.1\r\n" + "".join(
            f"{k}: {v}\r\n" for k, v in all_headers.items()) + "\r\n"
        wire = wire or (self._kept if keep else None)
        self._kept = None
        if wire is not None:
            wire.poll()
            if wire.eof:
                wire.close()
                wire = None
        wire = wire or self.wire()
        wire.send(text.encode("latin-1") + body)
        return Response(wire).read_head()

    def raw_call(self, path, body, **options):
        """Returns (status, headers, body bytes), whatever the status."""
        response = self.request(path, body, **options)
        data = response.read_all()
        if response.headers.get("connection", "").lower() == "close":
            response.wire.close()
        else:
            self._kept = response.wire
        return response.status, response.headers, data

    def call(self, operation, **members):
        """A JSON operation, e.g. call("listStreams", MaxResults=5)."""
        status, headers, data = self.raw_call(
            "/" + operation, json.dumps(members).encode())
        if status != 200:
            raise ApiError(status, headers, data)
        return json.loads(data) if data else {}

    def put_media(self, stream=None, *, arn=None, absolute=True, start=None,
                  expect=False, headers=None, wire=None):
        """Opens an upload; raises ApiError unless the answer is 200."""
        put = PutMedia(self, stream, arn, absolute, start, expect,
                       headers or {}, wire)
        if put.response.status != 200:
            body = put.response.read_all()
            put.wire.close()
            raise ApiError(put.response.status, put.response.headers, body)
        return put

    def get_media(self, stream=None, *, arn=None, **selector):
        body = {"StartSelector": selector}
        body.update({"StreamARN": arn} if arn else {"StreamName": stream})
        return Media(self._stream_of("/getMedia", body))

    def get_media_for_fragment_list(self, stream, numbers):
        return Media(self._stream_of("/getMediaForFragmentList",
                                     {"StreamName": stream,
                                      "Fragments": numbers}))

    def get_clip(self, stream, start, end, kind="SERVER_TIMESTAMP"):
        """The MP4's bytes; times are epoch seconds."""
        response = self._stream_of("/getClip", {
            "StreamName": stream, "ClipFragmentSelector": {
                "FragmentSelectorType": kind, "TimestampRange": {
                    "StartTimestamp": start, "EndTimestamp": end}}})
        data = response.read_all()
        response.wire.close()
        return data

    def _stream_of(self, path, members):
        response = self.request(path, json.dumps(members).encode(), keep=False)
        if response.status != 200:
            data = response.read_all()
            response.wire.close()
            raise ApiError(response.status, response.headers, data)
        return response


class PutMedia:
    """An upload. acks is the list of acknowledgements as dicts, in order."""

    def __init__(self, client, stream, arn, absolute, start, expect, headers,
                 wire=None):
        self.acks = []
        self.text = b""
        self.saw_continue = False
        self.wire = wire or client.wire()
        start = time.time() if start is None else start
        fields = {
            "x-amzn-fragment-timecode-type":
                "ABSOLUTE" if absolute else "RELATIVE",
            "x-amzn-producer-start-timestamp": f"{start:.3f}",
        }
        if stream is not None:
            fields["x-amzn-stream-name"] = stream
        if arn is not None:
            fields["x-amzn-stream-arn"] = arn
        fields.update(headers)
        fields = {k: v for k, v in fields.items() if v is not None}
        fields = client.signed("POST", "/putMedia", fields, EMPTY_HASH)
        fields["Transfer-Encoding"] = "chunked"
        if expect:
            fields["Expect"] = "100-continue"
        head = "POST /putMedia HTTP/1.1\r\n" + "".join(
            f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"
        self.wire.send(head.encode("latin-1"))
        self.response = Response(self.wire).read_head()
        while self.response.status == 100:
            self.saw_continue = True
            self.response = Response(self.wire).read_head()

    def write(self, data, chunk_bytes=16384):
        """Sends media as HTTP chunks; collects acks meanwhile."""
        for i in range(0, len(data), chunk_bytes):
            piece = data[i:i + chunk_bytes]
            self.wire.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
        self.poll()

    def write_raw(self, data):
        """Bytes as they are: the caller does the chunking (or breaks it)."""
        self.wire.send(data)

    def end(self):
        self.wire.send(b"0\r\n\r\n")

    def poll(self, timeout=0.0):
        if timeout and not self.response.done:
            self.wire.poll(timeout)
        else:
            self.wire.poll()
        self.text += self.response.take()
        while b"\n" in self.text:
            line, _, self.text = self.text.partition(b"\n")
            if line.strip():
                self.acks.append(json.loads(line))

    @property
    def closed(self):
        return self.response.done or (self.wire.eof and
                                      not self.wire.received)

    def wait_ack(self, test, timeout=DEADLINE_S):
        """Waits for the first ack with test(ack) true and returns it."""
        end = time.monotonic() + timeout
        seen = 0
        while True:
            self.poll()
            for ack in self.acks[seen:]:
                if test(ack):
                    return ack
            seen = len(self.acks)
            left = end - time.monotonic()
            if left <= 0 or self.closed:
                raise Failure(f"no such ack among {self.acks}")
            self.poll(min(left, 1.0))

    def wait_event(self, event, timeout=DEADLINE_S, **match):
        return self.wait_ack(lambda a: a["EventType"] == event and all(
            a.get(k) == v for k, v in match.items()), timeout)

    def wait_closed(self, timeout=DEADLINE_S):
        """Waits for the end of the response; returns all acks."""
        end = time.monotonic() + timeout
        while not self.closed:
            left = end - time.monotonic()
            if left <= 0:
                raise Failure(f"the upload does not end: {self.acks}")
            self.poll(min(left, 1.0))
        return self.acks

    def events(self, event):
        return [a for a in self.acks if a["EventType"] == event]

    def abort(self):
        """Drops the connection without a word."""
        self.wire.close()


# --- Matroska ----------------------------------------------------------------
EBML, SEGMENT, CLUSTER, TAGS = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0x1254C367
TRACKS, TIMECODE, SIMPLE_BLOCK = 0x1654AE6B, 0xE7, 0xA3
TAG, SIMPLE_TAG, TAG_NAME, TAG_STRING = 0x7373, 0x67C8, 0x45A3, 0x4487


def element(data, pos):
    """(id, header end, size or None when unknown); None: needs more bytes."""
    if pos >= len(data):
        return None
    n = 9 - data[pos].bit_length()
    if n > 4 or pos + n >= len(data):
        if n > 4:
            raise Failure(f"bad element id at {pos}")
        return None
    ident = int.from_bytes(data[pos:pos + n], "big")
    pos += n
    n = 9 - data[pos].bit_length()
    if n > 8:
        raise Failure(f"bad element size at {pos}")
    if pos + n > len(data):
        return None
    size = int.from_bytes(data[pos:pos + n], "big") & ((1 << 7 * n) - 1)
    return ident, pos + n, None if size == (1 << 7 * n) - 1 else size


def children(data, pos, end):
    while pos < end:
        ident, body, size = element(data, pos)
        yield ident, pos, body, body + size
        pos = body + size


def simple_tags(data, pos, end):
    """TagName -> TagString of a Tags body."""
    out = {}
    for ident, _, body, stop in children(data, pos, end):
        if ident != TAG:
            continue
        for sub, _, sub_body, sub_stop in children(data, body, stop):
            if sub != SIMPLE_TAG:
                continue
            name = value = ""
            for leaf, _, a, b in children(data, sub_body, sub_stop):
                if leaf == TAG_NAME:
                    name = data[a:b].decode()
                elif leaf == TAG_STRING:
                    value = data[a:b].decode()
            out[name] = value
    return out


class Document:
    """One fragment of a GetMedia body."""

    def __init__(self):
        self.header = b""       # EBML header up to the first Tags or Cluster
        self.cluster = b""      # whole Cluster elements, verbatim
        self.tags = {}          # of Tags before the cluster
        self.tags_after = {}    # of Tags after the cluster
        self.raw = b""

    @property
    def number(self):
        return self.tags.get("AWS_KINESISVIDEO_FRAGMENT_NUMBER")

    @property
    def token(self):
        return self.tags_after.get("AWS_KINESISVIDEO_CONTINUATION_TOKEN")

    @property
    def complete(self):
        return self.token is not None


def split_mkv(data):
    """(header bytes, [level-1 elements (id, bytes)...]) of an MKV file."""
    header_end = None
    parts = []
    pos = 0
    while pos < len(data):
        ident, body, size = element(data, pos)
        if ident == SEGMENT:
            pos = body
            continue
        if ident == CLUSTER and size is None:
            stop = body
            while stop < len(data):
                found = element(data, stop)
                if found[0] in (CLUSTER, TAGS, EBML, 0x1C53BB6B):
                    break
                stop = found[1] + found[2]
        else:
            stop = body + size
        if ident in (CLUSTER, TAGS) and header_end is None:
            header_end = pos
        if header_end is not None:
            parts.append((ident, bytes(data[pos:stop])))
        pos = stop
    return bytes(data[:header_end or len(data)]), parts


def blocks(cluster):
    """[(track, absolute timecode, payload)] of a whole Cluster element."""
    _, pos, size = element(cluster, 0)
    end = len(cluster) if size is None else pos + size
    timecode = 0
    out = []
    for ident, _, a, b in children(cluster, pos, end):
        if ident == TIMECODE:
            timecode = int.from_bytes(cluster[a:b], "big")
        elif ident == SIMPLE_BLOCK:
            track = cluster[a] & 0x7F
            rel = int.from_bytes(cluster[a + 1:a + 3], "big", signed=True)
            out.append((track, timecode + rel, bytes(cluster[a + 4:b])))
    return out


class Media:
    """A GetMedia or GetMediaForFragmentList body as it comes."""

    def __init__(self, response):
        self.response = response
        self.wire = response.wire
        self.data = bytearray()

    def poll(self, timeout=0.0):
        self.wire.poll(timeout)
        self.data += self.response.take()

    @property
    def ended(self):
        return self.response.done or (self.wire.eof and
                                      not self.wire.received)

    def wait_bytes(self, test, timeout=DEADLINE_S):
        """Waits until test(bytes not yet taken as documents) is true."""
        end = time.monotonic() + timeout
        while not test(bytes(self.data)):
            left = end - time.monotonic()
            if left <= 0 or self.ended:
                raise Failure(f"not in the {len(self.data)} bytes received")
            self.poll(min(left, 1.0))

    def _cut(self):
        """The first whole document, or None. Whole: its trailing AWS tags
        came, or an EBML header or the end of the body follows."""
        doc = Document()
        pos = 0
        seen_cluster = False
        data = self.data
        while True:
            found = element(data, pos) if pos < len(data) else None
            if found is None:
                return self._end(doc, pos) if self.ended else None
            ident, body, size = found
            if ident == EBML and pos:
                return self._end(doc, pos)
            if ident == SEGMENT:
                pos = body
                continue
            if ident == CLUSTER and size is None:
                stop = self._unknown_end(body)
                if stop is None:
                    return None
            else:
                stop = body + size
                if stop > len(data):
                    if self.ended:
                        raise Failure("the body ends inside an element")
                    return None
            if ident == CLUSTER:
                doc.header = doc.header or bytes(data[:pos])
                doc.cluster += bytes(data[pos:stop])
                seen_cluster = True
            elif ident == TAGS:
                tags = simple_tags(data, body, stop)
                if "AWS_KINESISVIDEO_FRAGMENT_NUMBER" in tags:
                    doc.header = doc.header or bytes(data[:pos])
                (doc.tags_after if seen_cluster else doc.tags).update(tags)
                if doc.complete:
                    return self._end(doc, stop)
            pos = stop

    def _unknown_end(self, pos):
        while True:
            if pos >= len(self.data):
                return pos if self.ended else None
            found = element(self.data, pos)
            if found is None:
                return None
            if found[0] in (CLUSTER, TAGS, EBML, 0x1C53BB6B, TRACKS):
                return pos
            pos = found[1] + found[2]
            if pos > len(self.data):
                return None

    def _end(self, doc, pos):
        if not pos:
            return None
        doc.raw = bytes(self.data[:pos])
        del self.data[:pos]
        return doc

    def next(self, timeout=DEADLINE_S):
        """The next document, or None at the end of the body."""
        end = time.monotonic() + timeout
        while True:
            self.poll()
            doc = self._cut()
            if doc is not None:
                return doc
            if self.ended:
                return None
            left = end - time.monotonic()
            if left <= 0:
                raise Failure(f"no document; {len(self.data)} bytes wait")
            self.wire.poll(min(left, 1.0))

    def documents(self, count=None, timeout=DEADLINE_S):
        """The next count documents (all until the end when None)."""
        out = []
        while count is None or len(out) < count:
            doc = self.next(timeout)
            if doc is None:
                break
            out.append(doc)
        return out

    def close(self):
        self.wire.close()


# --- the service as a process ------------------------------------------------
def last_line(path):
    if not path:
        return "no log"
    with open(path, errors="replace") as log:
        return (log.read().strip().split("\n") or [""])[-1]


class Service:
    """`kvsd serve --quickstart`, started and stopped by the test."""

    def __init__(self, process, ready_line):
        self.process = process
        self.ready_line = ready_line
        self.ready = json.loads(ready_line)

    @classmethod
    def start(cls, command, directory, *options, listen="127.0.0.1:0",
              timeout=DEADLINE_S, log=None):
        argv = [*command, "serve", "--quickstart", str(directory),
                "--listen", listen, *options]
        stderr = open(log, "ab") if log else None
        process = subprocess.Popen(argv, stdout=subprocess.PIPE,
                                   stderr=stderr)
        if stderr:
            stderr.close()
        os.set_blocking(process.stdout.fileno(), False)
        line = b""
        end = time.monotonic() + timeout
        while not line.endswith(b"\n"):
            if process.poll() is not None:
                raise Failure(f"kvsd ended with {process.returncode}: "
                              f"{last_line(log)}")
            if time.monotonic() > end:
                process.kill()
                raise Failure("kvsd does not say that it is ready")
            select.select([process.stdout], [], [], 0.2)
            line += process.stdout.read() or b""
        return cls(process, line.decode())

    def client(self, **options):
        return Client.of_ready_line(self.ready_line, **options)

    def kill(self):
        """Like a power cut for the process: SIGKILL."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self, timeout=DEADLINE_S):
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(timeout)
        self.process.stdout.close()
        return status
