# SPDX-License-Identifier: Apache-2.0
"""What the benches share: figures, CPU clocks, processes, memory."""

import json
import mmap
import os
import pathlib
import statistics
import subprocess
import sys
import time

REPO = pathlib.Path(__file__).resolve().parents[2]
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPU, CLIENT_CPU = CPUS[0], CPUS[-1]

missed = []


class Missing(Exception):
    """A figure cannot be taken; why."""


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def figure(name, value, unit, limit=None, peer=None, ok=None, **detail):
    """One JSON line. With a peer the limit is for the ratio, else for the value."""
    ratio = None if peer is None else value / peer
    measured = value if ratio is None else ratio
    if ok is None:
        ok = limit is None or measured <= limit
    line = {"name": name, "value": rounded(value), "unit": unit, "limit": limit,
            "peer": rounded(peer), "ratio": rounded(ratio), "pass": bool(ok)}
    if detail:
        line["detail"] = {k: rounded(v) for k, v in detail.items()}
    print(json.dumps(line), flush=True)
    if not ok:
        missed.append(name)


def rounded(value):
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def median(values):
    return statistics.median(values)


# --- CPU time ------------------------------------------------------------------
def run_cpu(argv, **options):
    """Runs a command; (user + system seconds of it, its output)."""
    process = subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, **options)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise Missing(f"{argv[0]} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime, output


class Clock:
    """CPU time of a running process with all its threads, also ended ones."""

    def __init__(self, pid):
        self.pid = pid
        # clock_getcpuclockid(3), which Python does not have.
        self.clock = (~pid << 3) | 2
        self.before = self.read()

    def read(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text()
        fields = fields.rpartition(")")[2].split()
        return (time.clock_gettime(self.clock), int(fields[11]) * TICK_S,
                int(fields[12]) * TICK_S)

    def spent(self):
        """(all, user, system) seconds since the start; all is the exact one."""
        return tuple(b - a for a, b in zip(self.before, self.read()))


def pinned(cpu, argv):
    return ["taskset", "-c", str(cpu), *[str(a) for a in argv]]


# --- memory ----------------------------------------------------------------------
def touch_memory(size):
    """
    A hypervisor may have taken freed pages back; getting them again costs
    whoever touches them first. So they are touched here, right before.
    """
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE) as m:
        m[0] = 1


def end(process, patience=10):
    """Ends a process that this bench started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout:
        process.stdout.close()
