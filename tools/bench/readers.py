# SPDX-License-Identifier: Apache-2.0
"""One camera of 8 Mbit/s to 200 live viewers: CPU per GB sent, delay per frame."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from common import CLIENT_CPU, Clock, Missing, figure, pinned
from servers import Kvsd, Nginx, kvs_client

READERS = 200
SECONDS = int(os.environ.get("BENCH_SECONDS", "60")) // 3
FRAME_RATE = 30
FILE_BYTES = 20 << 20		# what a viewer gets of nginx: 20 s of it
RATIO_MAX = 1.5
P99_MS_MAX = 50


def run(program, directory, server, heads, mode):
    """What the load says, with cpu: the server's seconds per GB sent."""
    file = directory / "heads"
    file.write_bytes(b"".join(h.encode("latin-1") + b"\0" for h in heads))
    process = subprocess.Popen(
        pinned(CLIENT_CPU, [program, server.port, server.ca, file, READERS, SECONDS, mode]),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if not process.stdout.readline():
            raise Missing(f"{mode}: the readers are not connected")
        clock = Clock(server.pid)
        say_go(process)
        process.stdout.readline()
        total, user, system = clock.spent()
        say_go(process)
        line = process.stdout.readline()
    finally:
        process.stdin.close()
        code = process.wait(60)
        process.stdout.close()
    if code or not line:
        raise Missing(f"{mode}: the load failed")
    result = json.loads(line)
    result.update(cpu=total / (result["bytes"] / 1e9), user=user, system=system)
    return result


def say_go(process):
    process.stdin.write("go\n")
    process.stdin.flush()


def with_kvsd(program, directory, build):
    server = Kvsd(directory / "kvsd", build / "kvsd", "--readers", str(READERS))
    try:
        server.create("live")
        heads = [server.put_head("live")] + [server.get_head("live")] * READERS
        result = run(program, directory, server, heads, "tail")
    finally:
        server.stop()
    # A frame that is on its way at the end is not there yet.
    wanted = (SECONDS * FRAME_RATE - FRAME_RATE) * READERS
    if result["ended"] or result["frames"] < wanted:
        raise Missing(f"{result['frames']} of {wanted} frames came, {result['ended']} readers "
                      "were cut off")
    return result


def with_nginx(program, directory):
    server = Nginx(directory / "nginx")
    (directory / "nginx" / "www" / "film.mkv").write_bytes(os.urandom(FILE_BYTES))
    try:
        result = run(program, directory, server, [server.get_head("film.mkv")] * READERS, "file")
    finally:
        server.stop()
    if result["bytes"] < READERS * FILE_BYTES:
        raise Missing(f"nginx sent {result['bytes']} of {READERS * FILE_BYTES} bytes")
    return result


def bench(build, work):
    program = build / "bench" / "bench_readers"
    directory = pathlib.Path(tempfile.mkdtemp(prefix="readers-", dir=work))
    try:
        ours = with_kvsd(program, directory, build)
        nginx = with_nginx(program, directory)
    except kvs_client.Failure as error:
        raise Missing(str(error)) from error
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    figure("readers.cpu_per_GB_vs_nginx", ours["cpu"], "s/GB", limit=RATIO_MAX, peer=nginx["cpu"],
           readers=READERS, seconds=SECONDS, user=ours["user"], system=ours["system"],
           what="kvsd: live tail of one upload; nginx: a static file over TLS")
    figure("readers.frame_delay_p99", ours["p99_ms"], "ms", limit=P99_MS_MAX,
           p50_ms=ours["p50_ms"], max_ms=ours["max_ms"], frames=ours["frames"])
