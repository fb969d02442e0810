#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`kvsd backup` while the service takes uploads, loses streams and restarts.

A service on the copy lists and reads all that was acknowledged PERSISTED
before the backup began, byte for byte, under the same numbers; a second run
copies what is new only; a deleted stream and its key are not in the copy any
more; one that was ended in the middle, by kill -9 or at a file's size, is
refused by a start and completed by the next run. The live service loses
nothing meanwhile.

backup.py [--seed N]
"""

import argparse
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "support"))
from kill_cycles import Producer, Reader  # noqa: E402
from kvs_client import ApiError, Failure  # noqa: E402
from kvsd_server import (KVSD, Bench, expect, expect_in, require,  # noqa: E402
                         run_tool, until)

RESTARTS = 4		# each leaves closed segments behind
ENOUGH = 30		# fragments that each producer has persisted between
SETTLED_S = 3		# older files are not copied again
SLOWING = 2000		# fragments until each waits for 1 s
CUTS = 8		# runs that are ended in the middle
MARK = "backup.incomplete"
TRIES = 30		# until kill -9 comes before the end


class Slowing(Producer):
    """The more there is the slower it gets: a slow machine, which takes
    longer for each check, does not get ever more to check."""

    def make(self):
        time.sleep(self.next_index / SLOWING)
        return super().make()


class Copy:
    """A service on a copy of the copy: a copy that was used is no copy."""

    def __init__(self, bench, dest):
        self.bench = Bench()
        self.bench.directory = os.path.join(self.bench.temp, "used")
        shutil.copytree(dest, self.bench.directory, symlinks=True)

    def __enter__(self):
        self.client = self.bench.start()
        return self

    def __exit__(self, *_):
        if self.bench.service is not None:
            self.bench.kill()


def persisted(producers):
    out = {}
    for p in producers:
        with p.lock:
            out[p.stream] = dict(p.persisted)
    return out


def backup(bench, dest, *options):
    status, out, err = run_tool([KVSD, "backup", bench.directory, dest,
                                 "--with-key", *options])
    text = f"{out.decode()}{err}"
    expect(status, 0, f"exit status of backup, which said {text}")
    print(f"# {text.strip()}".replace("\n", "\n# "), flush=True)
    found = re.search(r"(\d+) segments copied, (\d+) bytes; (\d+) unchanged, "
                      r"(\d+) bytes; (\d+) removed", text)
    return [int(n) for n in found.groups()]


def wait_for_more(producers):
    goal = {p.stream: len(p.persisted) + ENOUGH for p in producers}
    until(lambda: all(len(p.persisted) >= goal[p.stream] or p.fault
                      for p in producers), 60, 0.05, "fragments persisted")
    for p in producers:
        assert not p.fault, f"{p.stream}: {p.fault}"


def check_copy(bench, dest, producers, before, gone=()):
    """before: stream -> what was acknowledged before the backup began."""
    with Copy(bench, dest) as copy:
        names = [s["StreamName"] for s in
                 copy.client.call("listStreams")["StreamInfoList"]]
        expect(sorted(names), sorted(p.stream for p in producers), "streams")
        for name in gone:
            try:
                copy.client.call("describeStream", StreamName=name)
            except ApiError as error:
                expect(error.status, 404, "a deleted stream")
            else:
                raise AssertionError(f"{name} is in the copy")
        total = 0
        for p in producers:
            total += Reader(copy.client, p).check(before[p.stream], None)[1]
        copy.bench.kill()
        status, out, err = run_tool([KVSD, "fsck", copy.bench.directory,
                                     "--level", "media"])
        expect(status, 0, f"fsck of the copy, which said {out}{err}")
        # It goes on above every number that the original has handed out.
        client = copy.bench.start()
        highest = max(int(n) for numbers in persisted(producers).values()
                      for n in numbers)
        more = Producer(producers[0].stream, 7)
        more.start_ms += 10 ** 9
        more.client = client
        more.start()
        until(lambda: more.persisted or more.fault, 30, 0.05, "an upload")
        more.stop.set()
        more.join(30)
        assert not more.fault, more.fault
        assert min(int(n) for n in more.persisted) > highest, \
            "the copy hands out numbers of the original"
    print(f"# {total} fragments in the copy, "
          f"{sum(len(b) for b in before.values())} persisted before")


def is_refused(dest):
    """A start on it: it must not come up as a service without its media."""
    try:
        bench = Bench()
        bench.directory = dest
        bench.start()
    except Failure:
        return True
    bench.kill()
    return False


def is_complete(dest):
    return os.path.exists(os.path.join(dest, "data", "identity"))


def cut_at_size(bench, dest, limit):
    """Ends with SIGXFSZ where a file would grow over limit."""
    process = subprocess.Popen(
        [KVSD, "backup", bench.directory, dest, "--with-key"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_FSIZE, (limit, limit)))
    expect(process.wait(60), -signal.SIGXFSZ, f"end at {limit} bytes")


def cut_by_kill(bench, dest, segments):
    """kill -9 as soon as that many segments are in the copy. False: it was
    done before."""
    folder = os.path.join(dest, "data", "segments")
    process = subprocess.Popen(
        [KVSD, "backup", bench.directory, dest, "--with-key"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            if len(os.listdir(folder)) >= segments:
                break
        except FileNotFoundError:
            pass
        time.sleep(0.0005)
    process.kill()
    expect_in(process.wait(), (0, -signal.SIGKILL), "end of a killed run")
    return process.returncode != 0


def check_taken(bench, dest, producers, before):
    """A start takes it, and lists all of before."""
    with Copy(bench, dest) as copy:
        for p in producers:
            rows = {r["FragmentNumber"] for r in Reader(copy.client, p).list()}
            lost = set(before[p.stream]) - rows
            assert not lost, f"{p.stream}: {len(lost)} are gone"


def check_cut(bench, dest, producers, before, by_kill):
    """Not taken for a copy unless it is one."""
    if not by_kill:
        assert not is_complete(dest), "identity before the rest"
    if is_complete(dest):
        check_taken(bench, dest, producers, before)
    elif os.path.exists(os.path.join(dest, "data", MARK)):
        assert is_refused(dest), "half a copy is started"
        assert not is_complete(dest), "a start made it look complete"
    else:
        # Killed before it had begun: no segment is there.
        folder = os.path.join(dest, "data", "segments")
        assert not os.path.exists(folder), "segments without a mark"


def check_cuts(bench, producers, rng):
    folder = os.path.join(bench.directory, "data", "segments")
    count = sum(n.endswith(".seg") for n in os.listdir(folder))
    for i in range(CUTS):
        dest = os.path.join(bench.temp, f"cut-{i}")
        before = persisted(producers)
        if i % 2:
            cut_at_size(bench, dest, rng.choice((4096, 65536, 262144)))
        else:
            for _ in range(TRIES):
                if cut_by_kill(bench, dest, rng.randrange(1, count)):
                    break
                shutil.rmtree(dest, ignore_errors=True)
            else:
                raise AssertionError(f"{TRIES} runs were done before kill -9")
        check_cut(bench, dest, producers, before, not i % 2)
        before = persisted(producers)
        backup(bench, dest)
        assert is_complete(dest), "no identity"
        if i < 2:
            check_copy(bench, dest, producers, before)
        else:
            check_taken(bench, dest, producers, before)
        shutil.rmtree(dest)


def check_renewal_cut(bench, dest, producers, before):
    """A copy that was whole stays one that a start takes."""
    cut_at_size(bench, dest, 65536)
    check_taken(bench, dest, producers, before)


def key_of(bench, dest):
    """All bytes of the copy's catalogs."""
    out = b""
    folder = os.path.join(dest, "data")
    for name in sorted(os.listdir(folder)):
        if name.startswith(("catalog", "backup")):
            with open(os.path.join(folder, name), "rb") as file:
                out += file.read()
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int,
                        default=int.from_bytes(os.urandom(4), "big"))
    args = parser.parse_args()
    require()
    print(f"# seed {args.seed}", flush=True)
    rng = random.Random(args.seed)
    bench = Bench()
    try:
        run(bench, rng, args.seed)
    except Exception as error:
        bench.check("the test runs to its end", False,
                    f"seed {args.seed}: {type(error).__name__}: {error}")
    return bench.finish()


def run(bench, rng, seed):
    client = bench.start()
    producers = [Slowing(f"backup-{i}", seed) for i in range(4)]
    doomed = Slowing("backup-doomed", seed)
    for p in (*producers, doomed):
        client.call("createStream", StreamName=p.stream,
                    DataRetentionInHours=24)
        p.client = bench.client()
        p.start()
    for _ in range(RESTARTS):
        wait_for_more((*producers, doomed))
        client = bench.restart()
    wait_for_more((*producers, doomed))
    dest = os.path.join(bench.temp, "dest")
    everyone = [*producers, doomed]
    time.sleep(SETTLED_S)

    with bench.case("under load: what was persisted before is in the copy, "
                    "byte for byte"):
        before = persisted(everyone)
        backup(bench, dest)
        check_copy(bench, dest, everyone, before)
        assert b"backup-doomed" in key_of(bench, dest), "not in the catalog"
    doomed.stop.set()
    doomed.join(60)
    client.call("deleteStream", StreamARN=client.call(
        "describeStream", StreamName=doomed.stream)["StreamInfo"]["StreamARN"])
    wait_for_more(producers)
    with bench.case("a second run copies what is new, and a deleted stream "
                    "is gone"):
        before = persisted(producers)
        second = backup(bench, dest)
        # There is more by now: one from the beginning is the measure.
        whole = backup(bench, os.path.join(bench.temp, "whole"))
        assert second[1] < whole[1], \
            f"{second[1]} bytes copied, {whole[1]} from the beginning"
        assert second[2] > 0, "nothing is unchanged"
        assert b"backup-doomed" not in key_of(bench, dest), \
            "the deleted stream is in the copy's catalogs"
        check_copy(bench, dest, producers, before, (doomed.stream,))
    with bench.case("a whole copy that is brought up to date stays one when "
                    "that ends in the middle"):
        check_renewal_cut(bench, dest, producers, before)
        before = persisted(producers)
        backup(bench, dest)
        check_copy(bench, dest, producers, before)
    with bench.case("half a copy is refused by a start and completed by "
                    "another run"):
        check_cuts(bench, producers, rng)
    with bench.case("refused: another service's copy, one that was used, "
                    "other content, itself"):
        check_refusals(bench, dest)
    with bench.case("customer keys are named, each once"):
        for stream, key in (("backup-sealed", "alias/mine"),
                            ("backup-sealed-too", "alias/mine"),
                            ("backup-sealed-else", "alias/mine-else")):
            client.call("createStream", StreamName=stream, KmsKeyId=key,
                        DataRetentionInHours=24)
        status, out, _ = run_tool([KVSD, "backup", bench.directory,
                                   os.path.join(bench.temp, "named")])
        expect(status, 0, "exit status")
        assert b"3 streams are sealed with customer keys, which are not " \
            b"copied; keep these:\n" in out, out
        expect(sorted(line for line in out.splitlines()
                      if line.startswith(b"  ")),
               [b"  alias/mine", b"  alias/mine-else"], "keys")
    with bench.case("without --with-key the copy has no key and is refused"):
        bare = os.path.join(bench.temp, "bare")
        status, out, _ = run_tool([KVSD, "backup", bench.directory, bare])
        expect(status, 0, "exit status")
        assert b"without the master key" in out, out
        expect(sorted(os.listdir(bare)), ["data"], "files")
        assert is_refused(bare), "started without a key"
    with bench.case("the live service has lost nothing"):
        for p in producers:
            p.stop.set()
        for p in producers:
            p.join(60)
            assert not p.is_alive(), f"{p.stream} does not end"
            assert not p.fault, p.fault
        client = bench.restart()
        for p in producers:
            Reader(client, p).check(dict(p.persisted), None)


def check_refusals(bench, dest):
    other = Bench()
    other.start()
    used = os.path.join(bench.temp, "used")
    full = os.path.join(bench.temp, "full")
    shutil.copytree(dest, used)
    with open(os.path.join(used, "data", "index.db"), "wb"):
        pass
    os.makedirs(os.path.join(full, "data"))
    with open(os.path.join(full, "data", "letter"), "wb") as file:
        file.write(b"dear")
    for from_, to in ((other.directory, dest), (bench.directory, used),
                      (bench.directory, full),
                      (bench.directory, bench.directory)):
        status, out, err = run_tool([KVSD, "backup", from_, to])
        expect(status, 1, f"exit status, {from_} to {to}: {out}{err}")
    expect(sorted(os.listdir(os.path.join(full, "data"))),
           ["letter", "lock"], "files of somebody else")
    other.kill()


if __name__ == "__main__":
    sys.exit(main())
