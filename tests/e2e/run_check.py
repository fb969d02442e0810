#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tests/run-check: what it says of its tests, and that none outlives it."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("O", "build")
WAIT_S = 60

TESTS = {
    "good": "echo '[  PASSED  ] 3 test(s).'",
    "bad": "echo the reason; exit 3",
    "none": "echo nothing to test with; exit 77",
    # A process beside it, in its group, as tests have.
    "endless": "sleep 1000 & echo $$ $! >{pids}.new && mv {pids}.new {pids}; wait",
}
failed = 0


def case(name, good, detail=""):
    global failed
    failed += not good
    print("ok" if good else "not ok", "-", name)
    if not good and detail:
        print("".join(f"#    {line}\n" for line in detail.splitlines()), end="")


def until(test):
    end = time.monotonic() + WAIT_S
    while not test():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def left(run):
    """What runs in the session that it began, and how. Not by environment: while it calls exec, a process has none."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            state, parent, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(session) == run.pid and state not in "ZX":
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(folder.name)] = f"{folder.name} {state}, parent {parent}: {words}"
        except OSError:     # gone meanwhile
            pass
    return found


def start(build, *tests):
    return subprocess.Popen([ROOT / "tests" / "run-check", build, *tests], cwd=ROOT,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            start_new_session=True)


def says(build):
    run = start(build, "good", "bad", "none", "missing")
    text = run.communicate(timeout=WAIT_S)[0]
    case("each test has its line", all(line in text for line in (
        "ok   good (3)\n", "FAIL bad (exit 3)\n     the reason\n", "skip none: nothing to test with\n",
        "FAIL missing (exit 127)\n", "3 passed, 2 failed, 1 skipped\n")), text)
    case("a test that failed fails it", run.returncode != 0)


def end(run, number):
    """What is left of it when it was ended by that signal, once all had the time to go."""
    rest = {}

    def gone():
        nonlocal rest
        # Twice, as the first look misses whose parent forks and goes meanwhile.
        rest = left(run) or left(run)
        return not rest

    os.killpg(run.pid, number)
    until(gone)
    for pid in rest:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run.communicate(timeout=WAIT_S)
    return "\n".join(rest.values())


def ends(build, pids, number):
    pids.unlink(missing_ok=True)
    run = start(build, "endless")
    began = until(pids.exists)
    rest = end(run, number)
    case(f"its tests end with it, by {signal.Signals(number).name}", began and not rest,
         rest or "the test did not begin")


def ends_anywhere(build):
    """Told while it begins, wherever it is."""
    for step in range(40):
        run = start(build, "endless")
        time.sleep(step / 1000)
        rest = end(run, (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)[step % 3])
        if rest:
            break
    case("its tests end with it while they begin", not rest, f"after {step} ms:\n{rest}")


def main():
    # In a shell's background it is ignored, and would be by all that is begun from here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    build = pathlib.Path(tempfile.mkdtemp())
    pids = build / "pids"
    (build / "tests").mkdir()
    (build / "tests" / "bounded").symlink_to(BUILD / "tests" / "bounded")
    for name, text in TESTS.items():
        path = build / "tests" / name
        path.write_text("#!/bin/sh\n" + text.format(pids=pids) + "\n")
        path.chmod(0o755)
    try:
        says(build)
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            ends(build, pids, number)
        ends_anywhere(build)
    finally:
        shutil.rmtree(build)
    return failed > 0


sys.exit(main())
