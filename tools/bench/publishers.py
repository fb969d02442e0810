# SPDX-License-Identifier: Apache-2.0
"""Many cameras at 600 kbit/s: CPU per stream-second, time to PERSISTED, memory per session."""

import json
import mmap
import os
import pathlib
import resource
import shutil
import subprocess
import tempfile
import time

from common import CLIENT_CPU, Clock, Missing, end, figure, pinned, touch_memory
from servers import Kvsd, Nginx, NginxRtmp, Sink, kvs_client

COUNTS = (150, 1000)
SESSIONS = int(os.environ.get("BENCH_SESSIONS", "10000"))
HOLD_S = 20			# all of them connected
FRAGMENT_S = 2
SECONDS = int(os.environ.get("BENCH_SECONDS", "60")) // FRAGMENT_S * FRAGMENT_S
NGINX_RATIO_MAX = 2 / 3
RTMP_RATIO_MAX = 1 / 2		# at the smallest of COUNTS
SINK_RATIO_MAX = 2.0
P50_MS_MAX, P99_MS_MAX = 5, 20
SESSION_KIB_MAX = 48
LATE_MS_MAX = 250		# the load's own lateness; beyond, its figures are not of this load
TOUCH_BYTES = 512 << 20
FRAME_RATE, FRAME_BYTES = 30, 2500	# the load's
FRAGMENT_BYTES = 600_000 // 8 * FRAGMENT_S
WRITE_BYTES = 1 << 20		# the service's write buffer
DISK_S = max(SECONDS // 6, 2)


def rss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().split("\n"):
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise Missing(f"process {pid} is gone")


def disk_ms(directory, bytes_per_s):
    """Sorted milliseconds of a bare write + fdatasync of as many bytes as the service
    gathers, at the load's rate, without anything else of ours running."""
    data = mmap.mmap(-1, WRITE_BYTES)
    data.write(os.urandom(WRITE_BYTES))
    count = max(int(bytes_per_s * DISK_S) // WRITE_BYTES, 8)
    fd = os.open(directory / "disk", os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
    took = []
    try:
        os.posix_fallocate(fd, 0, count * WRITE_BYTES)
        os.fsync(fd)
        start = time.monotonic()
        for i in range(count):
            time.sleep(max(0, start + i * WRITE_BYTES / bytes_per_s - time.monotonic()))
            begin = time.monotonic()
            os.pwrite(fd, data, i * WRITE_BYTES)
            os.fdatasync(fd)
            took.append(1e3 * (time.monotonic() - begin))
    finally:
        os.close(fd)
        os.unlink(directory / "disk")
    return sorted(took)


class Load:
    """bench_publishers on one server: one run of `count` sessions."""

    def __init__(self, program, directory):
        self.program = program
        self.heads = directory / "heads"

    def size(self):
        return int(subprocess.run([self.program, "size", str(SECONDS)], check=True,
                                  capture_output=True).stdout)

    def argv(self, server, count, mode, phase):
        return [self.program, server.port, server.ca, self.heads, count, SECONDS,
                int(time.time() * 1000), mode, phase]

    def run(self, server, heads, count, mode, phase="spread"):
        """What the load says, with cpu: server's seconds per stream-second, and kib: what
        its memory grew by, per session, while all sent."""
        self.heads.write_bytes(b"".join(h.encode("latin-1") + b"\0" for h in heads))
        touch_memory(TOUCH_BYTES)
        before = rss_kib(server.pid)
        process = subprocess.Popen(
            pinned(CLIENT_CPU, self.argv(server, count, mode, phase)),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            if not process.stdout.readline():
                raise Missing(f"{count} sessions with {type(server).__name__}: not connected")
            clock = Clock(server.pid)
            process.stdin.write("go\n")
            process.stdin.flush()
            time.sleep(SECONDS * 0.75)
            grown = rss_kib(server.pid) - before
            line = process.stdout.readline()
            total, user, system = clock.spent()
        finally:
            process.stdin.close()
            code = process.wait(120)
            process.stdout.close()
        if code or not line:
            raise Missing(f"the load on {type(server).__name__} failed")
        result = json.loads(line)
        if result["late_ms"] > LATE_MS_MAX:
            raise Missing(f"{count} sessions: the load itself was {result['late_ms']} ms late")
        result.update(cpu=total / (count * SECONDS), kib=grown / count, user=user, system=system)
        return result


class RtmpLoad(Load):
    """bench_rtmp: the same cameras, by RTMP."""

    def argv(self, server, count, mode, phase):
        return [self.program, server.port, count, SECONDS]


def with_rtmp(directory, build, count):
    server = NginxRtmp(directory / f"rtmp-{count}")
    try:
        result = RtmpLoad(build / "bench" / "bench_rtmp", directory).run(server, [], count,
                                                                         "rtmp")
        files = list((server.dir / "www").iterdir())
        stored = sum(f.stat().st_size for f in files)
    finally:
        server.stop()
    wanted = count * SECONDS * FRAME_RATE * FRAME_BYTES
    if len(files) != count or stored < wanted:
        raise Missing(f"nginx-rtmp recorded {stored} of {wanted} bytes in {len(files)} files")
    return result


def with_kvsd(load, directory, build, count, phase="spread"):
    server = Kvsd(directory / f"kvsd-{count}-{phase}", build / "kvsd")
    try:
        names = [f"camera-{i}" for i in range(count)]
        for name in names:
            server.create(name)
        result = load.run(server, [server.put_head(n) for n in names], count, "chunked",
                          phase)
    finally:
        server.stop()
    wanted = result["fragments"]
    if result["persisted"] != wanted or result["errors"]:
        raise Missing(f"kvsd persisted {result['persisted']} of {wanted} fragments, "
                      f"{result['errors']} errors")
    return result


def with_streams(directory, build, names):
    """A service that has these streams. Each is two syncs, so they are made in memory."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        made = pathlib.Path(memory) / "kvsd"
        server = Kvsd(made, build / "kvsd")
        try:
            for name in names:
                server.create(name)
        finally:
            server.stop()
        shutil.copytree(made, directory)
    return Kvsd(directory, build / "kvsd")


def connected(load, directory, build):
    """SESSIONS that publish slowly, all connected at once: what one of them takes."""
    names = [f"camera-{i}" for i in range(SESSIONS)]
    server = with_streams(directory / "kvsd-connected", build, names)
    try:
        heads = [server.put_head(n) for n in names]
        load.heads.write_bytes(b"".join(h.encode("latin-1") + b"\0" for h in heads))
        before = rss_kib(server.pid)
        clock = Clock(server.pid)
        process = subprocess.Popen(
            pinned(CLIENT_CPU, [load.program, server.port, server.ca, load.heads, SESSIONS, 1,
                                int(time.time() * 1000), "slow", "spread"]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            if not process.stdout.readline():
                raise Missing(f"{SESSIONS} sessions: not connected")
            shaken = clock.spent()[0]
            clock = Clock(server.pid)
            time.sleep(HOLD_S)
            grown = rss_kib(server.pid) - before
            cpu = clock.spent()[0]
            process.stdin.write("end\n")
            process.stdin.close()
            line = process.stdout.readline()
        finally:
            end(process)
    finally:
        server.stop()
    if not line:
        raise Missing(f"{SESSIONS} sessions: the load failed")
    result = json.loads(line)
    lost = result["fragments"] - result["persisted"]
    kib = grown / SESSIONS
    figure("publishers.connected", SESSIONS, "sessions",
           ok=not lost and not result["errors"], fragments=result["fragments"],
           not_persisted=lost, errors=result["errors"], kib_with_tls=kib,
           cpu_percent=100 * cpu / HOLD_S, connect_cpu_ms=1e3 * shaken / SESSIONS,
           hold_s=HOLD_S, what="each a PutMedia with a frame every 4 s, on one thread")


def with_nginx(load, directory, count):
    server = Nginx(directory / f"nginx-{count}")
    size = load.size()
    try:
        result = load.run(server, [server.put_head(f"{i}.mkv", size) for i in range(count)],
                          count, "length")
        short = [i for i in range(count) if server.stored(f"{i}.mkv") != size]
    finally:
        server.stop()
    if short:
        raise Missing(f"nginx stored {count - len(short)} of {count} files")
    return result


def with_sink(load, directory, build, count):
    server = Sink(directory / f"sink-{count}", build / "bench" / "bench_sink")
    try:
        return load.run(server, [], count, "sink")
    finally:
        server.stop()


def bench(build, work):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    directory = pathlib.Path(tempfile.mkdtemp(prefix="publishers-", dir=work))
    load = Load(build / "bench" / "bench_publishers", directory)
    try:
        for count in COUNTS:
            ours = with_kvsd(load, directory, build, count)
            if count == min(COUNTS):
                report_rtmp(count, ours, with_rtmp(directory, build, count))
            report(count, ours,
                   with_nginx(load, directory, count), with_sink(load, directory, build, count),
                   disk_ms(directory, count * FRAGMENT_BYTES / FRAGMENT_S))
        connected(load, directory, build)
        report_together(with_kvsd(load, directory, build, max(COUNTS), "together"))
    except kvs_client.Failure as error:
        raise Missing(str(error)) from error
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        shutil.rmtree(directory, ignore_errors=True)


def report_rtmp(count, ours, rtmp):
    figure(f"publishers.{count}.cpu_vs_nginx_rtmp", 1e6 * ours["cpu"], "us per stream-second",
           limit=RTMP_RATIO_MAX, peer=1e6 * rtmp["cpu"], load_late_ms=rtmp["late_ms"],
           publishers_per_core=1 / rtmp["cpu"], kib=rtmp["kib"],
           what="nginx-rtmp: the same frames recorded as FLV, without TLS, not durable")


def report_together(ours):
    # The worst case, for comparison: every camera's fragment ends within one frame's time.
    figure(f"publishers.{max(COUNTS)}.together.persisted_p99", ours["p99_ms"], "ms",
           p50_ms=ours["p50_ms"], max_ms=ours["max_ms"], cpu_us=1e6 * ours["cpu"],
           kib_with_tls=ours["kib"], burst_MB=max(COUNTS) * FRAGMENT_BYTES / 1e6)


def report(count, ours, nginx, sink, disk):
    def us(result):
        return 1e6 * result["cpu"]
    name = f"publishers.{count}"
    figure(f"{name}.cpu_vs_nginx", us(ours), "us per stream-second", limit=NGINX_RATIO_MAX,
           peer=us(nginx), publishers_per_core=1 / ours["cpu"], seconds=SECONDS,
           user=ours["user"], system=ours["system"], load_late_ms=ours["late_ms"],
           what="kvsd: TLS, sealed, durable; nginx: TLS PUT of the same paced bytes to a file")
    figure(f"{name}.cpu_vs_sink", us(ours), "us per stream-second", limit=SINK_RATIO_MAX,
           peer=us(sink), what="sink: TLS decrypted and thrown away")
    gate = count == max(COUNTS)
    figure(f"{name}.persisted_p50", ours["p50_ms"], "ms", limit=P50_MS_MAX if gate else None,
           bare_disk_p50_ms=disk[len(disk) // 2],
           what="from the last byte sent; fragments of different cameras end at different times")
    figure(f"{name}.persisted_p99", ours["p99_ms"], "ms", limit=P99_MS_MAX if gate else None,
           max_ms=ours["max_ms"], bare_disk_p99_ms=disk[len(disk) * 99 // 100],
           bare_disk_max_ms=disk[-1])
    figure(f"{name}.memory_per_session", ours["kib"] - sink["kib"], "KiB",
           limit=SESSION_KIB_MAX, with_tls=ours["kib"], tls=sink["kib"], nginx=nginx["kib"])
