#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""stall_meter.py FILE COMMAND...: runs it, and writes how many seconds its processes waited for a CPU.

The host's scheduler counts that for each thread (/proc/PID/task/TID/schedstat). To a guest such time
is a machine that stands still; tests that count lost frames subtract what it explains.
"""
import os
import subprocess
import sys
import time

EVERY_S = 0.2


def descendants(pid):
    found, todo = [], [pid]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/children") as f:
                    todo += [int(child) for child in f.read().split()]
        except OSError:
            pass	# it has ended
    return found


def look(pid, waited):
    for process in descendants(pid):
        try:
            for task in os.listdir(f"/proc/{process}/task"):
                with open(f"/proc/{process}/task/{task}/schedstat") as f:
                    waited[task] = int(f.read().split()[1])
        except OSError:
            pass


def main():
    waited = {}	# TID: ns; thread ids are not used again so soon
    command = subprocess.Popen(sys.argv[2:])
    while command.poll() is None:
        look(command.pid, waited)
        time.sleep(EVERY_S)
    with open(sys.argv[1], "w") as f:
        f.write(f"{sum(waited.values()) / 1e9:.3f}\n")
    return command.returncode


if __name__ == "__main__":
    sys.exit(main())
