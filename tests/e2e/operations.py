#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`kvsd serve` as an operator meets it: the configuration and --check, reload, health and metrics, the
log, systemd's notify, watchdog and sockets (played by this test), a stop in the middle of fragments,
and the units themselves. Needs no root and no systemd that runs."""
import ctypes
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import kvs_client  # noqa: E402
import matroska as mkv  # noqa: E402
from kvsd_server import (BUILD, KVSD, ROOT, Bench, Raw, expect, expect_error,  # noqa: E402
                         require, run_tool, until)

SLOW = 60.0     # how long anything may take on a machine that is busy
START = 1700000000000
KEY = ("AKIAOPERATIONS", "operationssecret")
SANITIZED = bool(re.search("asan|tsan|san", os.path.basename(BUILD)))


# --- what the service is given ----------------------------------------------------------------------
def certificate(path, name):
    """PATH/NAME.pem and .key: self-signed, so it is its own CA."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "30", "-subj", f"/CN={name}", "-keyout", f"{path}/{name}.key", "-out",
                    f"{path}/{name}.pem", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
                   check=True, capture_output=True)


class Notify:
    """systemd's side of NOTIFY_SOCKET: everything that came, with its time."""

    def __init__(self, path):
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(path if path[0] != "@" else "\0" + path[1:])
        self.sock.setblocking(False)
        self.came = []

    def poll(self):
        while True:
            try:
                text = self.sock.recv(4096).decode()
            except BlockingIOError:
                return self.came
            for line in text.split("\n"):
                self.came.append((time.monotonic(), line))

    def lines(self):
        return [line for _, line in self.poll()]

    def wait(self, line, since=0):
        until(lambda: line in self.lines()[since:], SLOW, 0.02, f"{line} at NOTIFY_SOCKET")


class Serve:
    """`kvsd serve --config` on a directory of its own."""

    def __init__(self, bench):
        self.bench = bench
        self.dir = tempfile.mkdtemp(prefix="ops-", dir=bench.temp)
        self.conf = f"{self.dir}/serve.conf"
        self.log = f"{self.dir}/log"
        self.process = None
        self.ready = {}
        certificate(self.dir, "one")
        with open(f"{self.dir}/credentials", "w", encoding="ascii") as out:
            out.write(f"[default]\naws_access_key_id = {KEY[0]}\naws_secret_access_key = {KEY[1]}\n")
        self.sections = {
            "serve": {"listen": "127.0.0.1:0", "threads": "2", "data_dir": f"{self.dir}/data",
                      "cert": f"{self.dir}/one.pem", "key": f"{self.dir}/one.key",
                      "credentials": f"{self.dir}/credentials"},
            "limits": {},
            "operations": {"metrics_listen": "127.0.0.1:0"},
        }

    def set(self, section, **keys):
        self.sections[section].update(keys)
        self.write()

    def write(self, text=None):
        with open(self.conf, "w", encoding="ascii") as out:
            out.write(text or "".join(f"[{s}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())
                                      for s, keys in self.sections.items()))

    def start(self, *options, env=None, fds=()):
        """fds: sockets to pass as systemd does."""
        self.close()
        if not os.path.exists(self.conf):
            self.write()
        environment = dict(os.environ, **(env or {}))
        argv = [KVSD, "serve", "--config", self.conf, *options]
        numbers = [s.fileno() for s in fds]
        if fds:
            environment["LISTEN_FDS"] = str(len(fds))
            argv = ["sh", "-c", 'LISTEN_PID=$$; export LISTEN_PID; exec "$@"', "sh", *argv]

        def place():
            high = [os.dup2(n, 100 + i) for i, n in enumerate(numbers)]
            for i, n in enumerate(high):
                os.dup2(n, 3 + i)
                os.close(n)

        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log, env=environment,
                                            close_fds=not fds, preexec_fn=place if fds else None)
        os.set_blocking(self.process.stdout.fileno(), False)
        line = b""

        def said():
            nonlocal line
            line += self.process.stdout.read() or b""
            if self.process.poll() is not None:
                raise AssertionError(f"it ended with {self.process.returncode}: {self.text()[-600:]}")
            return line.endswith(b"\n")

        until(said, SLOW, 0.05, "the line on stdout")
        self.ready = json.loads(line)
        return self.client()

    def client(self, ca="one"):
        return kvs_client.Client(self.ready["endpoint"], f"{self.dir}/{ca}.pem", *KEY)

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def wait_log(self, pattern, count=1):
        until(lambda: len(re.findall(pattern, self.text(), re.M)) >= count, SLOW, 0.05, f"'{pattern}' in the log")
        return re.findall(pattern, self.text(), re.M)[-1]

    def reload(self):
        """SIGHUP, and the line that it ends with."""
        lines = r"^(?:info|error) serve: (reload.*)$"
        before = len(re.findall(lines, self.text(), re.M))
        self.process.send_signal(signal.SIGHUP)
        return self.wait_log(lines, before + 1)

    def term(self):
        self.process.send_signal(signal.SIGTERM)

    def wait_end(self):
        status = self.process.wait(SLOW)
        self.process.stdout.close()
        self.process = None
        return status

    def stop(self):
        self.term()
        return self.wait_end()

    def close(self):
        """At the end of a case, however it ended."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None
        found = re.search(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|Assertion .* failed",
                          self.text() if os.path.exists(self.log) else "")
        if found:
            self.bench.check("no sanitizer report, no failed assertion", False, self.text()[found.start():])

    # --- the operations port ---
    def http(self, request, wait=SLOW):
        """Bytes in, (status, fields, body) out; status 0: closed without an answer."""
        with socket.create_connection(("127.0.0.1", self.ready["metrics_port"]), wait) as sock:
            sock.settimeout(wait)
            return exchange(sock, request)

    def get(self, path):
        return self.http(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def metrics(self):
        status, fields, body = self.get("/metrics")
        expect(status, 200, "status of /metrics")
        expect(fields["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        return parse_metrics(body.decode("ascii"))


def exchange(sock, request):
    sock.sendall(request)
    data = b""
    while True:
        try:
            piece = sock.recv(65536)
        except ConnectionResetError:
            piece = b""
        if not piece:
            break
        data += piece
    if not data:
        return 0, {}, b""
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("ascii").split("\r\n")
    fields = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), fields, body


# --- Prometheus' text format 0.0.4, as its document has it, and no more -------------------------------
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(rf'({NAME})(?:\{{le="([^"\\]+)"\}})? ([0-9]+(?:\.[0-9]+)?)')


def parse_metrics(text):
    """{name: (type, {suffix or le: value})}; raises on anything that a strict reader would refuse."""
    assert text.endswith("\n") and "\r" not in text and "\n\n" not in text, "line ends"
    families, name, kind, helped = {}, None, None, None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            helped, words = line[7:].split(" ", 1)
            assert re.fullmatch(NAME, helped) and words and helped not in families, line
            continue
        if line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            assert name == helped and kind in ("counter", "gauge", "summary", "histogram"), line
            families[name] = (kind, {})
            continue
        found = SAMPLE.fullmatch(line)
        assert found and name, f"not a sample: {line}"
        sample, bound, value = found.groups()
        assert sample.startswith(name), f"{sample} after TYPE {name}"
        suffix = sample[len(name):]
        wanted = {"counter": [""], "gauge": [""], "summary": ["_sum", "_count"],
                  "histogram": ["_bucket", "_sum", "_count"]}[kind]
        assert suffix in wanted and (bound is not None) == (suffix == "_bucket"), line
        label = bound if bound is not None else suffix
        assert label not in families[name][1], f"twice: {line}"
        families[name][1][label] = float(value)
    for name, (kind, samples) in families.items():
        check_family(name, kind, samples)
    return families


def check_family(name, kind, samples):
    assert samples, f"{name} has no sample"
    if kind == "counter":
        assert name.endswith("_total"), name
    if kind == "summary":
        assert samples["_sum"] <= samples["_count"], name  # ours are means of 0 and 1
    if kind != "histogram":
        return
    bounds = [le for le in samples if le not in ("_sum", "_count")]
    assert bounds[-1] == "+Inf" and bounds[:-1] == sorted(bounds[:-1], key=float), name
    counts = [samples[le] for le in bounds]
    assert counts == sorted(counts) and counts[-1] == samples["_count"], f"{name}: {samples}"


def value(families, name, label=""):
    return families[f"kvs_{name}"][1][label]


# What CloudWatch has for these.
CLOUDWATCH = """PutMedia: Requests IncomingBytes IncomingFragments IncomingFrames ActiveConnections
 ConnectionErrors FragmentIngestionLatency FragmentPersistLatency Latency BufferingAckLatency
 ReceivedAckLatency PersistedAckLatency ErrorAckCount Success
GetMedia: Requests OutgoingBytes OutgoingFragments OutgoingFrames MillisBehindNow ConnectionErrors Success
GetMediaForFragmentList: OutgoingBytes OutgoingFragments OutgoingFrames Requests Success
ListFragments: Latency Requests Success
GetClip: Latency Requests Success OutgoingBytes
ArchivedFragmentsConsumed: Media Metadata"""


def cloudwatch_names():
    for line in re.sub(r"\n ", " ", CLOUDWATCH).split("\n"):
        api, _, names = line.partition(":")
        for name in names.split():
            yield f"kvs_{api}_{name}"


# --- the cases ---------------------------------------------------------------------------------------
def check_option(bench):
    s = Serve(bench)
    s.write()

    def check(*options):
        return run_tool([KVSD, "serve", "--config", s.conf, "--check", *options])

    with bench.case("--check: a good file, and nothing is made"):
        status, out, err = check()
        expect((status, out, err), (0, f"{s.conf}: good\n".encode(), ""))
        expect(os.path.exists(f"{s.dir}/data"), False, "data directory")
    with bench.case("--check: what is wrong is named with file, line and key"):
        s.write("[serve]\nthreads = 2\n[limits]\nreaders = many\n")
        status, _, err = check()
        expect((status, err), (2, f"kvsd serve: {s.conf}:4: [limits] readers: 'many' is not a number\n"))
    with bench.case("--check: the files that it names are looked at"):
        certificate(s.dir, "two")
        for change, words in (({"key": f"{s.dir}/two.key"}, "not a pair of PEM files"),
                              ({"cert": f"{s.dir}/none.pem"}, "No such file"),
                              ({"credentials": f"{s.dir}/one.pem"}, "credentials"),
                              ({"data_dir": f"{s.dir}/one.pem"}, "Not a directory"),
                              ({"master_key": f"{s.dir}/none"}, "master_key")):
            old = dict(s.sections["serve"])
            s.set("serve", **change)
            status, _, err = check()
            s.sections["serve"] = old
            assert status == 1 and words in err and err.count("\n") == 1, (change, status, err)
    with bench.case("--check: beside a service that runs"):
        s.write()
        s.start()
        expect(check()[0], 0, "status")
        expect(s.stop(), 0, "exit status")
    with bench.case("a second word on where the data is refused"):
        status, _, err = check("--quickstart", s.dir)
        assert status == 2 and "--quickstart has its own" in err, err
    s.close()


def upload(client, stream, count, first=0, size=4000):
    """Whole fragments of two frames each; returns (bytes sent, acks)."""
    rng = random.Random(stream)
    data = mkv.header() + b"".join(mkv.fragment(rng, START + 1000 * (first + i), size) for i in range(count))
    put = client.put_media(stream)
    put.write(data)
    put.end()
    acks = put.wait_closed()
    put.wire.close()
    return len(data), acks


def traffic(bench):
    s = Serve(bench)
    with bench.case("every metric of CloudWatch's is there, at nought"):
        client = s.start()
        families = s.metrics()
        for name in cloudwatch_names():
            found = [n for n in families if n in (name, name + "_total")]
            assert found, f"{name} is not there"
            expect(sum(families[found[0]][1].values()), 0, name)
    with bench.case("what goes through is counted, exactly"):
        numbers = use_everything(client)
        check_numbers(s.metrics(), numbers)
    with bench.case("an upload under way is a gauge, and its end takes it away"):
        put = client.put_media("cam")
        expect(value(s.metrics(), "PutMedia_ActiveConnections"), 1)
        assert s.metrics()["kvsd_connections"][1][""] >= 1
        put.end()
        put.wait_closed()
        put.wire.close()
        until(lambda: value(s.metrics(), "PutMedia_ActiveConnections") == 0, SLOW, 0.05, "no upload")
    with bench.case("frames to readers are counted as they come out, of the store and of the live edge"):
        count_frames(s, client)
    with bench.case("counters only grow, whoever asks and however many do"):
        hammer_metrics(s, client)
    with bench.case("the log has one line per request, with the id that the client has"):
        check_log(s, client)
    with bench.case("an error in an upload is one line with its request's id"):
        put = client.put_media("cam")
        put.write(mkv.header() + b"\xff" * 64)
        put.wait_closed()
        ident = put.response.headers["x-amzn-requestid"]
        s.wait_log(rf"warning serve: upload id={ident} stream=cam ack=INVALID_MKV_DATA")
        expect(value(s.metrics(), "PutMedia_ErrorAckCount_total"), 1)
    with bench.case("it ends in order"):
        expect(s.stop(), 0, "exit status")
    s.close()


def use_everything(client):
    """One of each; what the figures must then be."""
    client.call("createStream", StreamName="cam", DataRetentionInHours=1)
    sent, acks = upload(client, "cam", 5)
    expect(len([a for a in acks if a["EventType"] == "PERSISTED"]), 5, "persisted")
    with expect_error("ResourceNotFoundException", 404):
        client.put_media("nobody")
    listed = client.call("listFragments", StreamName="cam", MaxResults=7, FragmentSelector={
        "FragmentSelectorType": "PRODUCER_TIMESTAMP",
        "TimestampRange": {"StartTimestamp": START / 1000, "EndTimestamp": START / 1000 + 60}})["Fragments"]
    expect(len(listed), 5, "fragments listed")
    media = client.get_media_for_fragment_list("cam", [f["FragmentNumber"] for f in listed[:3]])
    expect(len(media.documents()), 3, "documents")
    media.close()
    media = client.get_media("cam", StartSelectorType="EARLIEST")
    expect(len(media.documents(5)), 5, "documents")
    media.close()
    with expect_error("MissingCodecPrivateDataException"):
        client.get_clip("cam", START / 1000, START / 1000 + 60, "PRODUCER_TIMESTAMP")
    return {"sent": sent, "media": sum(f["FragmentSizeInBytes"] for f in listed)}


def check_numbers(m, numbers):
    for name, wanted in {
            "PutMedia_Requests_total": 2, "PutMedia_ConnectionErrors_total": 1,
            "PutMedia_IncomingBytes_total": numbers["sent"], "PutMedia_IncomingFragments_total": 5,
            "PutMedia_IncomingFrames_total": 10, "PutMedia_ErrorAckCount_total": 0,
            "GetMedia_Requests_total": 1, "GetMedia_OutgoingFragments_total": 5, "GetMedia_OutgoingFrames_total": 10,
            "GetMediaForFragmentList_Requests_total": 1, "GetMediaForFragmentList_OutgoingFragments_total": 3,
            "GetMediaForFragmentList_OutgoingFrames_total": 6,
            "ListFragments_Requests_total": 1, "GetClip_Requests_total": 1,
            "ArchivedFragmentsConsumed_Media_total": 3, "ArchivedFragmentsConsumed_Metadata_total": 7,
            "CreateStream_Requests_total": 1}.items():
        expect(value(m, name), wanted, name)
    for name, wanted in {"PutMedia_FragmentIngestionLatency": 5, "PutMedia_FragmentPersistLatency": 5,
                         "PutMedia_BufferingAckLatency": 5, "PutMedia_ReceivedAckLatency": 5,
                         "PutMedia_PersistedAckLatency": 5, "PutMedia_Latency": 2, "GetMedia_MillisBehindNow": 5,
                         "ListFragments_Latency": 1, "GetClip_Latency": 1, "PutMedia_Success": 5,
                         "GetMedia_Success": 5, "GetMediaForFragmentList_Success": 3, "GetClip_Success": 1,
                         "ListFragments_Success": 1}.items():
        expect(value(m, name, "_count"), wanted, f"count of {name}")
    expect(value(m, "GetClip_Success", "_sum"), 0, "GetClip that was refused")
    expect(value(m, "PutMedia_Success", "_sum"), 5, "fragments persisted")
    # GetMedia's body has the media and our tags; in milliseconds the media is 15 years old.
    assert value(m, "GetMedia_OutgoingBytes_total") > numbers["media"]
    assert value(m, "PutMedia_PersistedAckLatency", "_sum") >= value(m, "PutMedia_FragmentPersistLatency", "_sum")
    assert m["kvsd_store_media_bytes_total"][1][""] >= numbers["media"]
    assert m["kvsd_disk_free_bytes"][1][""] > 0
    assert 29 * 86400 < m["kvsd_certificate_expires_seconds"][1][""] - time.time() < 31 * 86400


def count_frames(s, client):
    """What a reader got, block by block, is what was counted; nothing else is read meanwhile."""
    client.call("createStream", StreamName="live", DataRetentionInHours=1)
    rng, before = random.Random(7), value(s.metrics(), "GetMedia_OutgoingFrames_total")
    media = client.get_media("live", StartSelectorType="EARLIEST")
    put, sizes = client.put_media("live"), [1, 2, 7, 300]
    put.write(mkv.header())
    docs = []
    for i, frames in enumerate(sizes):
        at = START + 1000 * i
        put.write(mkv.cluster(at, [(rng.randbytes(1 + rng.randrange(3000)), f) for f in range(frames)])
                  + mkv.END_OF_FRAGMENT)
        put.wait_event("PERSISTED", FragmentTimecode=at)
        docs += media.documents(1)
        got = sum(len(kvs_client.blocks(d.cluster)) for d in docs)
        expect(got, sum(sizes[:i + 1]), "frames that the live reader has")
        expect(value(s.metrics(), "GetMedia_OutgoingFrames_total") - before, got, "counted")
    put.end()
    put.wait_closed()
    put.wire.close()
    media.close()
    before = value(s.metrics(), "GetMediaForFragmentList_OutgoingFrames_total")
    media = client.get_media_for_fragment_list("live", [d.number for d in docs[1:]])
    got = sum(len(kvs_client.blocks(d.cluster)) for d in media.documents())
    media.close()
    expect(got, sum(sizes[1:]), "frames from the store")
    expect(value(s.metrics(), "GetMediaForFragmentList_OutgoingFrames_total") - before, got, "counted")


def hammer_metrics(s, client):
    """More askers than there are connections, while uploads run."""
    askers, before = [], s.metrics()
    for i in range(24):
        sock = socket.create_connection(("127.0.0.1", s.ready["metrics_port"]), SLOW)
        sock.settimeout(SLOW)
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        askers.append(sock)
        if i % 6 == 0:
            upload(client, "cam", 2, 100 + 10 * i)
    for sock in askers:
        status, _, body = exchange(sock, b"")
        sock.close()
        expect(status, 200, "status")
        now = parse_metrics(body.decode("ascii"))
        for name, (kind, samples) in before.items():
            if kind in ("counter", "histogram"):
                assert all(now[name][1][k] >= v for k, v in samples.items()), name
    after = s.metrics()
    expect(value(after, "PutMedia_IncomingFragments_total"),
           value(before, "PutMedia_IncomingFragments_total") + 8, "fragments")


def check_log(s, client):
    status, headers, _ = client.raw_call("/listStreams", b"{}")
    expect(status, 200, "status")
    ident = headers["x-amzn-requestid"]
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", ident), ident
    s.wait_log(rf"id={ident}\b")
    seen = {}
    for line in re.findall(r"^info serve: request (.*)$", s.text(), re.M):
        pairs = [pair.split("=", 1) for pair in line.split(" ")]
        assert all(len(p) == 2 and p[1] for p in pairs), line
        fields = dict(pairs)
        assert len(fields) == len(pairs), line
        assert {"id", "peer", "api", "status", "bytes", "ms", "end"} <= set(fields), line
        assert fields["end"] in ("done", "cut", "timeout"), line
        seen.setdefault(fields["id"], []).append(fields)
    expect(len(seen[ident]), 1, "lines of one request")
    got = seen[ident][0]
    expect((got["api"], got["status"]), ("ListStreams", "200"))
    errors = [f[0] for f in seen.values() if f[0]["status"] == "404"]
    expect([(e["api"], e["error"]) for e in errors], [("PutMedia", "ResourceNotFoundException")])


def attack_surface(bench):
    s = Serve(bench)
    with bench.case("health: ok"):
        s.start()
        expect(s.get("/healthz")[::2], (200, b"ok\n"))
        expect(s.get("/readyz")[::2], (200, b"ok\n"))
        expect(s.get("/healthz?x=1")[0], 200, "with a query")
    with bench.case("HEAD has no body"):
        status, fields, body = s.http(b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        expect((status, body), (200, b""))
        assert int(fields["content-length"]) > 1000, fields
    for name, request, wanted in (
            ("POST", b"POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405),
            ("a body", b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde", 400),
            ("chunks", b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
            ("two lengths", b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
             400),
            ("no host", b"GET /healthz HTTP/1.1\r\n\r\n", 400),
            ("another path", b"GET /healthz/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 404),
            ("an absolute target", b"GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400),
            ("HTTP/2", b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n", 505),
            ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
            ("a head of 4 KiB", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 4096, 431),
            ("a hundred fields", b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"a:b\r\n" * 400 + b"\r\n", 431)):
        with bench.case(f"the operations port answers {wanted} to {name}"):
            expect(s.http(request)[0], wanted, "status")
    with bench.case("who says nothing is closed, and others are served then"):
        silent = [socket.create_connection(("127.0.0.1", s.ready["metrics_port"]), SLOW) for _ in range(20)]
        for i, sock in enumerate(silent):
            sock.sendall(b"GET /hea"[:i % 8])
        expect(s.get("/healthz")[0], 200, "status")
        for sock in silent:
            sock.settimeout(SLOW)
            try:
                expect(sock.recv(1), b"", "answer")
            except ConnectionResetError:
                pass
            sock.close()
        # Nothing of it touched the service itself.
        expect(s.client().call("listStreams"), {"StreamInfoList": []})
    with bench.case("many bytes at random leave it as it was"):
        rng = random.Random(1)
        for _ in range(50):
            s.http(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + rng.randbytes(rng.randrange(200)) + b"\r\n\r\n")
        expect(s.get("/readyz")[0], 200, "status")
    with bench.case("it is off unless it is asked for"):
        expect(s.stop(), 0, "exit status")
        s.sections["operations"] = {}
        s.write()
        s.start()
        assert "metrics_port" not in s.ready
        expect(s.stop(), 0, "exit status")
    s.close()


def served_certificate(s, ca):
    client = s.client(ca)
    with socket.create_connection((client.host, client.port), SLOW) as raw:
        with client.context.wrap_socket(raw, server_hostname=client.host) as tls:
            return dict(x[0] for x in tls.getpeercert()["subject"])["commonName"]


def reloads(bench):
    s = Serve(bench)
    notify = Notify(f"{s.dir}/notify")
    certificate(s.dir, "two")
    with bench.case("reload: it starts with one certificate"):
        client = s.start(env={"NOTIFY_SOCKET": notify.path})
        client.call("createStream", StreamName="cam", DataRetentionInHours=1)
        expect(served_certificate(s, "one"), "one")
    old = client.put_media("cam")
    rng = random.Random(3)
    old.write(mkv.header() + mkv.fragment(rng, START))
    for name, change in (("a line that is wrong", lambda: s.write("[serve]\nthreads = no\n")),
                         ("a key of another certificate", lambda: s.set("serve", key=f"{s.dir}/two.key")),
                         ("a certificate that is not there", lambda: s.set("serve", cert=f"{s.dir}/none.pem")),
                         ("a certificate that is no PEM", lambda: s.set("serve", cert=s.conf)),
                         ("a file that is gone", lambda: os.unlink(s.conf))):
        with bench.case(f"reload: {name}: one line, nothing has changed"):
            keep = dict(s.sections["serve"])
            change()
            line = s.reload()
            assert line.endswith("nothing has changed"), line
            s.sections["serve"] = keep
            expect(served_certificate(s, "one"), "one")
    with bench.case("reload: systemd hears when it begins and when it is over"):
        seen = len(notify.lines())
        s.set("serve", cert=f"{s.dir}/two.pem", key=f"{s.dir}/two.key", region="eu-west-1", threads="3")
        s.set("limits", readers="1")
        expect(s.reload(), f"reloaded {s.conf}; region, threads: from the next start on")
        notify.wait("READY=1", seen)
        lines = notify.lines()[seen:]
        assert lines.index("RELOADING=1") < lines.index("READY=1"), lines
        assert any(re.fullmatch(r"MONOTONIC_USEC=[0-9]+", x) for x in lines), lines
    with bench.case("reload: new connections get the new certificate"):
        expect(served_certificate(s, "two"), "two")
        try:
            served_certificate(s, "one")
            raise AssertionError("the old one is still served")
        except ssl.SSLError:
            pass
    with bench.case("reload: an upload from before it goes on"):
        old.write(mkv.fragment(rng, START + 1000))
        old.end()
        expect(len([a for a in old.wait_closed() if a["EventType"] == "PERSISTED"]), 2, "persisted")
    with bench.case("reload: the new limit holds"):
        client = s.client("two")
        first = client.get_media("cam", StartSelectorType="EARLIEST")
        with expect_error("ConnectionLimitExceededException"):
            client.get_media("cam", StartSelectorType="EARLIEST")
        first.close()
    with bench.case("reload: a disk with less than is wanted: not ready, one line, and back"):
        s.set("operations", disk_free_min="1000000000G")  # which no disk has
        expect(s.reload(), f"reloaded {s.conf}; region, threads: from the next start on")
        status, _, body = s.get("/readyz")
        assert status == 503 and b"MiB free" in body, (status, body)
        expect(s.get("/healthz")[0], 200, "healthz")
        expect(s.metrics()["kvsd_ready"][1][""], 0)
        s.set("operations", disk_free_min="1M")
        s.reload()
        expect(s.get("/readyz")[0], 200, "readyz")
        expect(len(re.findall(r"warning serve: degraded: disk of", s.text())), 1, "lines")
        expect(len(re.findall(r"info serve: recovered: disk of", s.text())), 1, "lines")
    with bench.case("reload: counted"):
        m = s.metrics()
        expect((m["kvsd_reloads_total"][1][""], m["kvsd_reload_failures_total"][1][""]), (3, 5))
    with bench.case("reload: many at once, under load, and it ends in order"):
        put = client.put_media("cam")
        put.write(mkv.header())
        for i in range(30):
            s.process.send_signal(signal.SIGHUP)
            put.write(mkv.fragment(rng, START + 10000 + 1000 * i))
            served_certificate(s, "two")
            notify.poll()
        put.end()
        expect(len([a for a in put.wait_closed() if a["EventType"] == "PERSISTED"]), 30, "persisted")
        expect(s.stop(), 0, "exit status")
        assert "STOPPING=1" in notify.lines()
    s.close()


# --- one thread that stands still -------------------------------------------------------------------------
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17


def ptrace(request, tid):
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, tid, None, None) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


class Frozen:
    """One thread of a process stands still, as in a debugger."""

    def __init__(self, pid, name):
        base = f"/proc/{pid}/task"
        self.tid = None
        for tid in os.listdir(base):
            with open(f"{base}/{tid}/comm", encoding="ascii") as comm:
                if comm.read().strip() == name:
                    self.tid = int(tid)
        assert self.tid, f"no thread {name}"

    def __enter__(self):
        ptrace(PTRACE_SEIZE, self.tid)
        ptrace(PTRACE_INTERRUPT, self.tid)
        os.waitpid(self.tid, 0x40000000)  # __WALL

    def __exit__(self, *_):
        ptrace(PTRACE_DETACH, self.tid)


def watchdog(bench):
    s = Serve(bench)
    notify = Notify("@kvsd-test-%d" % os.getpid())
    # A second of ours is 200 ms of systemd's patience: it is asked every quarter of it.
    s.set("operations", alive_within="3s")
    with bench.case("watchdog: fed while all threads turn"):
        s.start(env={"NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "8000000"})
        notify.wait("READY=1")
        notify.wait("WATCHDOG=1")
        until(lambda: notify.lines().count("WATCHDOG=1") >= 3, SLOW, 0.05, "three meals")
    for thread in ("kvsd-ring-0", "kvsd-ring-1"):
        with bench.case(f"watchdog: {thread} stands still: not alive, not ready, not fed; then it is again"):
            number = thread[-1]
            with Frozen(s.process.pid, thread):
                until(lambda: s.get("/healthz")[0] == 503, SLOW, 0.1, "/healthz 503")
                status, _, body = s.get("/healthz")
                assert re.fullmatch(rf"thread {number} has not turned for [0-9]+ s\n", body.decode()), body
                expect(s.get("/readyz")[0], 503, "readyz")
                expect(s.get("/metrics")[0], 503, "metrics, of which a part is missing")
                # Who is not alive is not fed: the order of the two is the same for all askers.
                fed = notify.lines().count("WATCHDOG=1")
                for _ in range(3):
                    expect(s.get("/healthz")[0], 503, "healthz")
                    time.sleep(1)
                expect(notify.lines().count("WATCHDOG=1"), fed, "meals of the dead")
            until(lambda: s.get("/healthz")[0] == 200, SLOW, 0.1, "/healthz 200")
            until(lambda: s.get("/readyz")[0] == 200, SLOW, 0.1, "/readyz 200")
            until(lambda: notify.lines().count("WATCHDOG=1") > fed, SLOW, 0.05, "fed again")
            s.metrics()
            # Each time is told once: as it begins, and as it is over.
            text = s.text()
            assert f"warning serve: degraded: thread {number} has not turned" in text, text
            expect(len(re.findall(r"serve: degraded: thread [0-9]+ has not turned", text)),
                   text.count("serve: recovered: every thread turns"), "lines")
    with bench.case("watchdog: a reload that waits for one thread is no silence of the others"):
        expect(s.stop(), 0, "exit status")
        s.set("operations", alive_within="60s")
        seen = len(notify.lines())
        s.start(env={"NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "60000000"})
        notify.wait("READY=1", seen)
        with Frozen(s.process.pid, "kvsd-ring-1"):
            seen = len(notify.lines())
            expect(s.reload(), f"reloaded {s.conf}")
            notify.wait("READY=1", seen)
        assert "warning serve: reload: a thread does not turn" in s.text(), "nobody was waited for"
        lines = [line.split("\n")[0] for line in notify.lines()[seen:]]
        during = lines[lines.index("RELOADING=1"):lines.index("READY=1")]
        assert "WATCHDOG=1" in during, during
    with bench.case("watchdog: not ours when it is meant for another process"):
        expect(s.stop(), 0, "exit status")
        seen = len(notify.lines())
        s.start(env={"NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "200000", "WATCHDOG_PID": "1"})
        notify.wait("READY=1", seen)
        for _ in range(5):
            s.get("/healthz")
            time.sleep(0.1)
        expect(notify.lines()[seen:].count("WATCHDOG=1"), 0)
        expect(s.stop(), 0, "exit status")
    s.close()


# --- a stop in the middle ------------------------------------------------------------------------------------
def refuses(s):
    """No new connection is served."""
    try:
        s.client().call("listStreams")
        return False
    except (OSError, kvs_client.Failure):
        return True


def drain(bench):
    s = Serve(bench)
    s.set("limits", drain="10min")
    rng = random.Random(4)

    def begin(stream, offset, known=True):
        """An upload that is in the middle of its second fragment; what was sent of that, and the rest."""
        client = s.client()
        put = client.put_media(stream)
        second = mkv.fragment(rng, START + offset + 1000, 40000, known=known)
        put.write(mkv.header() + mkv.fragment(rng, START + offset) + second[:30000])
        put.wait_event("BUFFERING", FragmentTimecode=START + offset + 1000)
        return put, second[:30000], second[30000:]

    for known in (True, False):
        kind = "known" if known else "unknown"
        with bench.case(f"drain: fragments of {kind} size end, uploads end between them, readers have them whole"):
            client = s.start()
            offset = 0 if known else 100000
            if known:
                client.call("createStream", StreamName="cam", DataRetentionInHours=1)
            reader = client.get_media("cam", StartSelectorType="NOW")
            put, sent, rest = begin("cam", offset, known)
            # Not only much: NOW may still be in what the start before this one has stored.
            reader.wait_bytes(lambda data: sent[1000:20000] in data)
            s.term()
            s.wait_log("info serve: stopping", 1 if known else 2)
            until(lambda: s.get("/readyz")[0] == 503, SLOW, 0.05, "/readyz 503")
            assert b"stopping" in s.get("/readyz")[2]
            expect(s.get("/healthz")[0], 200, "healthz")
            # The threads close their sockets after /readyz knows of it.
            until(lambda: refuses(s), SLOW, 0.05, "no new connection")
            expect(s.process.poll(), None, "the service waits")
            third = mkv.fragment(rng, START + offset + 2000)
            put.write(rest)
            put.write(third)
            acks = put.wait_closed()
            persisted = [a["FragmentTimecode"] for a in acks if a["EventType"] == "PERSISTED"]
            expect(persisted, [START + offset, START + offset + 1000], "persisted")
            expect([a for a in acks if a["EventType"] == "ERROR"], [], "errors")
            documents = reader.documents()
            assert documents and all(d.tags_after for d in documents), "a reader got half a fragment"
            expect(mkv.cluster_timecode(documents[-1].cluster), START + offset + 1000, "last fragment read")
            expect(s.wait_end(), 0, "exit status")
    with bench.case("drain: what was acknowledged is there after the next start"):
        client = s.start()
        media = client.get_media("cam", StartSelectorType="EARLIEST")
        expect([mkv.cluster_timecode(d.cluster) for d in media.documents(4)],
               [START, START + 1000, START + 100000, START + 101000])
        media.close()
    with bench.case("drain: who sends nothing is not waited for"):
        s.set("limits", drain="8s")
        s.reload()
        put, _, _ = begin("cam", 200000)
        s.term()
        acks = put.wait_closed()
        expect([a["FragmentTimecode"] for a in acks if a["EventType"] == "PERSISTED"], [START + 200000])
        expect(s.wait_end(), 0, "exit status")
    with bench.case("drain: a second SIGTERM does not wait"):
        s.set("limits", drain="10min")
        s.start()
        put, _, rest = begin("cam", 300000)
        s.term()
        s.wait_log("info serve: stopping", 4)
        end = time.monotonic() + SLOW
        s.term()
        for i in range(0, len(rest)):
            # A device that goes on, slowly: it is not silent, and does not come to the end.
            if s.process.poll() is not None or time.monotonic() > end:
                break
            try:
                put.write(rest[i:i + 1])
            except (OSError, kvs_client.Failure):
                break
            time.sleep(0.2)
        assert i < len(rest) - 1, "it came to the end of the fragment"
        expect(s.wait_end(), 0, "exit status")
    s.close()


# --- sockets that systemd holds ------------------------------------------------------------------------------
def listener():
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    sock.listen(64)
    return sock


def activation(bench):
    s = Serve(bench)
    web = listener()
    ops = listener()
    # systemd gives them as it has them; not blocking is what io_uring does not wait on.
    web.setblocking(False)
    del s.sections["operations"]["metrics_listen"]

    def start(**env):
        client = s.start(fds=(web, ops), env={"LISTEN_FDNAMES": "https:metrics", **env})
        s.ready["metrics_port"] = ops.getsockname()[1]
        return client

    with bench.case("activation: the passed socket is served by all threads, and a queue survives a restart"):
        start()
        expect(urllib.parse.urlsplit(s.ready["endpoint"]).port, web.getsockname()[1], "port")
        clients = [s.client() for _ in range(12)]
        for client in clients:
            client.call("listStreams")  # connections are kept: each thread gets some
        clients[0].call("createStream", StreamName="cam", DataRetentionInHours=1)
        expect(s.metrics()["kvsd_threads"][1][""], 2)
        expect(s.stop(), 0, "exit status")
        early = socket.create_connection(web.getsockname(), SLOW)  # while nobody is there
        start()
        early.settimeout(SLOW)
        client = s.client()
        with client.context.wrap_socket(early, server_hostname="127.0.0.1") as tls:
            tls.sendall(b"nonsense\r\n\r\n")
            assert tls.recv(12) == b"HTTP/1.1 400", "no answer to who waited"
        expect(len(s.client().call("listStreams")["StreamInfoList"]), 1, "streams")
    with bench.case("activation: uploads and readers over it"):
        client = s.client()
        _, acks = upload(client, "cam", 3)
        expect(len([a for a in acks if a["EventType"] == "PERSISTED"]), 3, "persisted")
    with bench.case("activation: the socket named metrics is the operations port"):
        expect(s.get("/readyz")[0], 200, "status")
        expect(value(s.metrics(), "PutMedia_IncomingFragments_total"), 3)
        expect(s.stop(), 0, "exit status")
    with bench.case("activation: what is meant for another process is left alone"):
        argv = [KVSD, "serve", "--config", s.conf, "--check"]
        status, _, err = run_tool(["env", "LISTEN_PID=1", "LISTEN_FDS=1", *argv])
        expect((status, err), (0, ""))
        s.start(env={"LISTEN_PID": "1", "LISTEN_FDS": "7"})
        assert urllib.parse.urlsplit(s.ready["endpoint"]).port != web.getsockname()[1]
        expect(s.stop(), 0, "exit status")
    for name, make, names, words in (
            ("a datagram socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "", "not a stream"),
            ("one that does not listen", lambda: socket.socket(), "", "not a listening socket"),
            ("two for metrics", listener, "metrics:metrics", "a second one named metrics")):
        with bench.case(f"activation: {name} is refused"):
            socks = [make(), make()]
            try:
                s.start(fds=socks, env={"LISTEN_FDNAMES": names})
                raise AssertionError("it started")
            except AssertionError as error:
                assert "it ended with 1" in str(error) and words in str(error), error
            finally:
                s.close()
                for sock in socks:
                    sock.close()
    with bench.case("activation: more sockets than threads are refused"):
        socks = [listener() for _ in range(3)]
        try:
            s.start(fds=socks)
            raise AssertionError("it started")
        except AssertionError as error:
            assert "3 sockets for 2 threads" in str(error), error
        finally:
            s.close()
            for sock in socks:
                sock.close()
    s.close()


# --- the units -----------------------------------------------------------------------------------------------
def units(bench):
    directory = os.path.join(bench.temp, "units")
    os.mkdir(directory)
    source = os.path.join(ROOT, "kvsd", "serve", "systemd")
    with open(f"{source}/kvsd-serve.service.in", encoding="ascii") as unit:
        text = unit.read().replace("@BINDIR@", os.path.dirname(KVSD)).replace("@DOCDIR@", "/usr/share/doc/kvsd")
    assert "@" not in re.sub(r"@[a-z-]+", "", text), "a place that is not filled in"
    with open(f"{directory}/kvsd-serve.service", "w", encoding="ascii") as unit:
        unit.write(text)
    shutil.copy(f"{source}/kvsd-serve.socket", directory)
    if not shutil.which("systemd-analyze"):
        print("ok - units # SKIP missing: systemd-analyze")
        return
    with bench.case("units: systemd-analyze security says at most 2.0"):
        _, out, err = run_tool(["systemd-analyze", "security", "--offline=true",
                                f"{directory}/kvsd-serve.service"])
        found = re.search(r"Overall exposure level for kvsd-serve.service: ([0-9.]+)", out.decode())
        assert found, err
        print(f"# exposure {found.group(1)}")
        assert float(found.group(1)) <= 2.0, out.decode()
    with bench.case("units: systemd-analyze verify has nothing to say"):
        status, out, err = run_tool(["systemd-analyze", "verify", f"{directory}/kvsd-serve.service",
                                     f"{directory}/kvsd-serve.socket"])
        ours = [x for x in (out.decode() + err).split("\n") if "kvsd" in x]
        expect((status, ours), (0, []))
    if SANITIZED or not shutil.which("strace"):
        return
    with bench.case("units: every system call of the service passes its filter"):
        check_filter(bench, text)


def allowed_calls(text):
    def expand(name):
        if name[0] != "@":
            return {name}
        out = set()
        for line in run_tool(["systemd-analyze", "syscall-filter", name])[1].decode().split("\n")[1:]:
            word = line.strip()
            if word and word[0] != "#":
                out |= expand(word)
        return out

    calls = set(expand("@default"))
    for line in re.findall(r"^SystemCallFilter=(.*)$", text, re.M):
        for name in line.lstrip("~").split():
            calls = calls - expand(name) if line[0] == "~" else calls | expand(name)
    return calls


def check_filter(bench, text):
    s = Serve(bench)
    s.write()
    trace = f"{s.dir}/trace"
    argv = ["strace", "-f", "-qq", "-o", trace, KVSD, "serve", "--config", s.conf]
    with open(s.log, "ab") as log:
        s.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=log)
    assert select.select([s.process.stdout], [], [], SLOW)[0], "it does not start"
    s.ready = json.loads(s.process.stdout.readline())
    client = s.client()
    client.call("createStream", StreamName="cam", DataRetentionInHours=1)
    upload(client, "cam", 3)
    s.metrics()
    pid = int(re.match(r"[0-9]+", open(trace, encoding="ascii", errors="replace").readline()).group())
    os.kill(pid, signal.SIGHUP)
    s.wait_log("reloaded")
    os.kill(pid, signal.SIGTERM)
    expect(s.wait_end(), 0, "exit status")
    used = set()
    with open(trace, encoding="ascii", errors="replace") as lines:
        for line in lines:
            found = re.match(r"[0-9]+ +([a-z0-9_]+)\(", line)
            if found:
                used.add(found.group(1))
    s.close()
    # The first one is systemd's own; SQLite gives files to their directory's owner when it is root.
    others = {"execve"} | ({"fchown"} if os.geteuid() == 0 else set())
    expect(sorted(used - allowed_calls(text) - others), [], "calls that the filter refuses")
    assert "io_uring_enter" in used, "nothing was traced"


CASES = {"check": check_option, "traffic": traffic, "attack": attack_surface, "reload": reloads,
         "watchdog": watchdog, "drain": drain, "activation": activation, "units": units}


def main():
    require("openssl")
    bench = Bench()
    for name in sys.argv[1:] or CASES:
        CASES[name](bench)
    return bench.finish()


if __name__ == "__main__":
    sys.exit(main())
