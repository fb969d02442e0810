# SPDX-License-Identifier: Apache-2.0
"""CPU of the service per GB of PutMedia body, against nginx taking the same by PUT."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

from common import CLIENT_CPU, SERVER_CPU, Clock, Missing, figure, median, pinned, touch_memory
from servers import Kvsd, Nginx, kvs_client

# Many short runs, taking turns: the machine's speed changes within seconds.
FRAGMENTS = 100			# of 1.04 MB: a run
RUNS = 11
RATIO_MAX = 1.0
PARTS_MAX = 1.2
TOUCH_BYTES = 512 << 20


class Side:
    """A server under load. Each run gives seconds of CPU per GB."""

    def __init__(self, server):
        self.server = server
        self.total, self.user, self.system, self.wall = [], [], [], []

    def run(self, load, keep=True):
        head = self.prepare()
        touch_memory(TOUCH_BYTES)
        clock = Clock(self.server.pid)
        result = load(self.server, head, self.mode)
        total, user, system = clock.spent()
        self.check(result)
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


def measure_parts(build, directory, size):
    """Seconds of CPU per GB of what cannot be left out, each alone."""
    out = subprocess.run(
        pinned(SERVER_CPU, [build / "bench" / "bench_parts", directory, max(size >> 20, 8)]),
        env={**os.environ, "BENCH_CLIENT_CPU": str(CLIENT_CPU)},
        stdout=subprocess.PIPE, timeout=120)
    if out.returncode:
        raise Missing("the parts of bulk ingest cannot be measured")
    return json.loads(out.stdout)


class NginxSide(Side):
    mode = "length"

    def __init__(self, server, size):
        super().__init__(server)
        self.size = size

    def prepare(self):
        return self.server.put_head("media.mkv", self.size)

    def check(self, result):
        stored = self.server.stored("media.mkv")
        if stored != result["bytes"]:
            raise Missing(f"nginx stored {stored} of {result['bytes']} bytes")

    def forget(self):
        self.server.forget("media.mkv")


class KvsdSide(Side):
    mode = "chunked"
    count = 0

    def prepare(self):
        self.count += 1
        self.name = f"bench-{self.count}"
        self.server.create(self.name)
        return self.server.put_head(self.name)

    def check(self, result):
        if result["persisted"] != FRAGMENTS or result["errors"]:
            raise Missing(f"kvsd persisted {result['persisted']} of {FRAGMENTS} fragments, "
                          f"{result['errors']} errors")

    def forget(self):
        self.server.forget(self.name)


def bench(build, work):
    program = build / "bench" / "bench_load"
    directory = pathlib.Path(tempfile.mkdtemp(prefix="ingest-", dir=work))
    head_file = directory / "head"

    def load(server, head, mode):
        head_file.write_bytes(head.encode("latin-1"))
        start_ms = int(time.time() * 1000) - 2000 * FRAGMENTS
        out = subprocess.run(
            pinned(CLIENT_CPU, [program, server.port, server.ca, head_file, FRAGMENTS, start_ms,
                                mode]),
            stdout=subprocess.PIPE, timeout=120)
        if out.returncode:
            raise Missing(f"the load on {type(server).__name__} failed")
        return json.loads(out.stdout)

    servers = []
    try:
        size = int(subprocess.run([program, "size", str(FRAGMENTS)], check=True,
                                  capture_output=True).stdout)
        servers.append(Nginx(directory / "nginx"))
        servers.append(Nginx(directory / "nginx-128k", "client_body_buffer_size 128k;"))
        servers.append(Kvsd(directory / "kvsd", build / "kvsd"))
        peer, tuned = (NginxSide(s, size) for s in servers[:2])
        ours = KvsdSide(servers[2])
        parts = []
        for i in range(RUNS + 1):
            for side in (peer, tuned, ours):
                side.run(load, keep=i > 0)	# the first one warms up
            parts.append(measure_parts(build, directory, size))
        report(ours, peer, tuned)
        report_parts(ours, parts[1:])
    except kvs_client.Failure as error:
        raise Missing(str(error)) from error
    finally:
        for server in servers:
            server.stop()
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
           nginx=split(peer), runs=RUNS, bytes=peer.bytes,
           nginx_tls=" ".join(peer.server.cipher()),
           what="kvsd: TLS, sealed, durable; nginx as shipped: TLS, into the page cache")
    # For comparison only: what nginx gains by one line that nobody must write.
    figure("ingest.cpu_per_GB_vs_nginx_128k_buffer", median(ours.total), "s/GB",
           peer=median(tuned.total), ratio_of_neighbours=paired(tuned), nginx=split(tuned))


def report_parts(ours, parts):
    def against(name, limit, crypto, what):
        """`crypto`: which library's decrypt and encrypt."""
        keys = (*crypto, "receive", "write")
        sums = [sum(p[k] for k in keys) for p in parts]
        figure(name, median(ours.total), "s/GB", limit=limit, peer=median(sums),
               parts={k: median([p[k] for p in parts]) for k in keys},
               ratio_of_neighbours=median([a / b for a, b in zip(ours.total, sums)]), what=what)
    against("ingest.cpu_per_GB_vs_parts", PARTS_MAX, ("decrypt", "encrypt"),
            "AES-GCM decrypt + encrypt by OpenSSL, socket receive, file write, each alone")
    # For comparison only: the faster its library, the more all else counts.
    against("ingest.cpu_per_GB_vs_parts_own_library", None, ("service_decrypt", "service_encrypt"),
            "the same, AES-GCM by the library that the service takes here")
