# SPDX-License-Identifier: Apache-2.0
"""CPU of the service per GB of PutMedia body, against nginx taking the same by PUT."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from common import (CLIENT_CPU, REPO, SERVER_CPU, Clock, Missing, end, figure, median, pinned,
                    say, touch_memory)

sys.path.insert(0, str(REPO / "tests" / "support"))
import kvs_client  # noqa: E402

# Many short runs, taking turns: the machine's speed changes within seconds.
FRAGMENTS = 100			# of 1.04 MB: a run
RUNS = 11
RATIO_MAX = 1.3
TOUCH_BYTES = 512 << 20

# One worker; the body goes to a file beside its last place and is renamed.
NGINX_CONF = """\
{user}
daemon off;
worker_processes 1;
error_log stderr warn;
pid {dir}/pid;
events {{ worker_connections 64; }}
http {{
	log_format tls '$status $request_length $ssl_protocol $ssl_cipher';
	access_log {dir}/access.log tls;
	client_body_temp_path {dir}/body;
	client_max_body_size 0;
	{buffer}
	server {{
		listen 127.0.0.1:{port} ssl;
		ssl_certificate {dir}/cert.pem;
		ssl_certificate_key {dir}/key.pem;
		ssl_protocols TLSv1.3;
		root {dir}/www;
		location / {{ dav_methods PUT; create_full_put_path on; }}
	}}
}}
"""


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Side:
    """A server under load. Each run gives seconds of CPU per GB."""

    def __init__(self):
        self.total, self.user, self.system, self.wall = [], [], [], []

    def run(self, load, fragments, keep=True):
        head, mode = self.prepare()
        touch_memory(TOUCH_BYTES)
        clock = Clock(self.pid)
        result = load(self, head, mode, fragments)
        total, user, system = clock.spent()
        self.check(result, fragments)
        if keep:
            self.bytes = result["bytes"]
            gb = self.bytes / 1e9
            ticks = user + system
            self.total.append(total / gb)
            # The split is in ticks; the sum is exact.
            self.user.append(total / gb * user / ticks)
            self.system.append(total / gb * system / ticks)
            self.wall.append(result["seconds"] / gb)
        self.forget()


class Nginx(Side):
    def __init__(self, directory, buffer=""):
        super().__init__()
        self.dir = directory
        self.port = free_port()
        self.ca = directory / "cert.pem"
        for name in ("body", "www"):
            (directory / name).mkdir()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=bench",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                        directory / "key.pem", "-out", self.ca], check=True, capture_output=True)
        conf = directory / "nginx.conf"
        conf.write_text(NGINX_CONF.format(dir=directory, port=self.port, buffer=buffer,
                                          user="user root;" if os.getuid() == 0 else ""))
        self.process = subprocess.Popen(
            pinned(SERVER_CPU, ["/usr/sbin/nginx", "-p", directory, "-e", "stderr", "-c", conf]),
            stdout=subprocess.DEVNULL)
        self.pid = self._worker()

    def _worker(self):
        master = self.process.pid
        children = pathlib.Path(f"/proc/{master}/task/{master}/children")
        for _ in range(200):
            found = children.read_text().split() if children.exists() else []
            if found and (self.dir / "pid").exists():
                return int(found[0])
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise Missing("nginx does not start")

    def prepare(self):
        size = int(subprocess.run([self.program, "size", str(self.fragments)], check=True,
                                  capture_output=True).stdout)
        return ("PUT /media.mkv HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
                f"Content-Length: {size}\r\n\r\n", "length")

    def check(self, result, fragments):
        stored = (self.dir / "www" / "media.mkv").stat().st_size
        if stored != result["bytes"]:
            raise Missing(f"nginx stored {stored} of {result['bytes']} bytes")

    def forget(self):
        (self.dir / "www" / "media.mkv").unlink()

    def cipher(self):
        return (self.dir / "access.log").read_text().split("\n")[0].split()[-2:]

    def stop(self):
        end(self.process)


class Kvsd(Side):
    def __init__(self, directory, program):
        super().__init__()
        self.service = kvs_client.Service.start(pinned(SERVER_CPU, [program]), directory,
                                                log=directory.with_suffix(".log"))
        self.process = self.service.process
        self.pid = self.process.pid
        self.client = self.service.client()
        self.port = self.client.port
        self.ca = self.service.ready["ca"]
        self.count = 0

    def prepare(self):
        self.count += 1
        name = f"bench-{self.count}"
        self.client.call("createStream", StreamName=name, DataRetentionInHours=1)
        fields = self.client.signed("POST", "/putMedia", {
            "x-amzn-stream-name": name, "x-amzn-fragment-timecode-type": "ABSOLUTE",
            "x-amzn-producer-start-timestamp": f"{time.time():.3f}",
        }, kvs_client.EMPTY_HASH)
        fields["Transfer-Encoding"] = "chunked"
        fields["Connection"] = "close"
        lines = "".join(f"{k}: {v}\r\n" for k, v in fields.items())
        return f"POST /putMedia HTTP/1.1\r\n{lines}\r\n", "chunked"

    def check(self, result, fragments):
        if result["persisted"] != fragments or result["errors"]:
            raise Missing(f"kvsd persisted {result['persisted']} of {fragments} fragments, "
                          f"{result['errors']} errors")

    def forget(self):
        self.client.call("deleteStream",
                         StreamARN=self.client.call("describeStream",
                                                    StreamName=f"bench-{self.count}")
                         ["StreamInfo"]["StreamARN"])

    def stop(self):
        end(self.process)


def bench(build, work):
    program = build / "bench" / "bench_load"
    directory = pathlib.Path(tempfile.mkdtemp(prefix="ingest-", dir=work))
    head_file = directory / "head"

    def load(side, head, mode, fragments):
        head_file.write_bytes(head.encode("latin-1"))
        start_ms = int(time.time() * 1000) - 2000 * fragments
        out = subprocess.run(
            pinned(CLIENT_CPU, [program, side.port, side.ca, head_file, fragments, start_ms, mode]),
            stdout=subprocess.PIPE, timeout=120)
        if out.returncode:
            raise Missing(f"the load on {type(side).__name__} failed")
        return json.loads(out.stdout)

    sides = []
    try:
        for name in ("nginx", "nginx-128k"):
            (directory / name).mkdir()
        peer = Nginx(directory / "nginx")
        sides.append(peer)
        tuned = Nginx(directory / "nginx-128k", buffer="client_body_buffer_size 128k;")
        sides.append(tuned)
        ours = Kvsd(directory / "kvsd", build / "kvsd")
        sides.append(ours)
        for side in sides:
            side.program, side.fragments = program, FRAGMENTS
        for i in range(RUNS + 1):
            for side in sides:
                side.run(load, FRAGMENTS, keep=i > 0)	# the first one warms up
        report(ours, peer, tuned)
    except kvs_client.Failure as error:
        raise Missing(str(error)) from error
    finally:
        for side in sides:
            side.stop()
        shutil.rmtree(directory, ignore_errors=True)


def report(ours, peer, tuned):
    def split(side):
        return {"user": median(side.user), "system": median(side.system),
                "min": min(side.total), "max": max(side.total),
                "wall_s_per_GB": median(side.wall)}

    def paired(other):
        return median([a / b for a, b in zip(ours.total, other.total)])
    figure("ingest.cpu_per_GB_vs_nginx", median(ours.total), "s/GB", limit=RATIO_MAX,
           peer=median(peer.total), ratio_of_neighbours=paired(peer), ours=split(ours),
           nginx=split(peer), runs=RUNS, bytes=peer.bytes, nginx_tls=" ".join(peer.cipher()),
           what="kvsd: TLS, sealed, durable; nginx as shipped: TLS, into the page cache")
    # For comparison only: what nginx gains by one line that nobody must write.
    figure("ingest.cpu_per_GB_vs_nginx_128k_buffer", median(ours.total), "s/GB",
           peer=median(tuned.total), ratio_of_neighbours=paired(tuned), nginx=split(tuned))
