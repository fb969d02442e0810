#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tests/run-check: what it says of its tests, and that none outlives it."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
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


def there(pid):
    """It runs: neither gone nor waiting for its parent."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


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


def ends(build, pids, number):
    pids.unlink(missing_ok=True)
    run = start(build, "endless")
    if not until(pids.exists):
        case("the test began", False)
        return
    started = [int(word) for word in pids.read_text().split()]
    os.killpg(run.pid, number)
    gone = until(lambda: not any(there(pid) for pid in started))
    case(f"its tests end with it, by {signal.Signals(number).name}", gone)
    for pid in started:
        if there(pid):
            os.kill(pid, signal.SIGKILL)
    run.communicate(timeout=WAIT_S)


def main():
    if not shutil.which("setpriv"):
        print("ok - tests that end with their step # SKIP no setpriv")
        return 77
    build = pathlib.Path(tempfile.mkdtemp())
    pids = build / "pids"
    (build / "tests").mkdir()
    for name, text in TESTS.items():
        path = build / "tests" / name
        path.write_text("#!/bin/sh\n" + text.format(pids=pids) + "\n")
        path.chmod(0o755)
    try:
        says(build)
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
            ends(build, pids, number)
    finally:
        shutil.rmtree(build)
    return failed > 0


sys.exit(main())
