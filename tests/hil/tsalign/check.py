#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""check.py CASE [ARG...]: in a guest with tsalign.ko; one `ok - ...` or `not ok - ...` a promise."""

import errno
import glob
import json
import mmap
import os
import random
import re
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import tsalign as ts  # noqa: E402

TRUTH = "/sys/kernel/debug/tsalign_truth/"
DEBUG = "/sys/kernel/debug/tsalign/"
failed = 0


def check(what, good, detail=""):
    global failed
    failed += not good
    print(f"{'ok' if good else 'not ok'} - {what}{': ' + str(detail) if detail != '' else ''}", flush=True)


def refused(call, *codes):
    try:
        call()
    except OSError as e:
        return e.errno in codes
    return False


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(str(text))


def boottime():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


# --- against the truth ---------------------------------------------------------------------

def pairs_of(name):
    with open(TRUTH + name, "rb") as f:
        return list(ts.PAIR.iter_unpack(f.read()))


def line_of(name, mhz, seconds, seed, mean=1_000_000, drift=100_000, burst=2, drop=20, step=0):
    return f"{name} {mhz} {drift} {mean} {burst} {drop} {seconds} {step} {seed}"


def run(*args, **kw):
    write(TRUTH + "run", line_of(*args, **kw))
    return pairs_of("truth")


def run_together(*lines):
    """All at once, in the order in which they are heard: (truth, heard) of each."""
    write(TRUTH + "run", "\n".join(lines))
    return [(pairs_of(f"truth{i or ''}"), pairs_of(f"heard{i or ''}")) for i in range(len(lines))]


def errors_of(page, truth, mhz):
    """Of the last second's frames and of the next second's, which nobody has heard of."""
    now = page.read()
    near = truth[-2 * (mhz // 1000 + 1):]
    return [abs(now.base_ns + ((c - now.base_counter) * now.mult >> now.shift) - ns) for c, ns in near], now


def percentile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))]


def offline(heard):
    """The likeliest line of exactly these samples, as delays are never negative and dense near nothing: the edge of
    their lower hull at the centroid. What it says of the newest."""
    hull = []
    for k, ns in heard:
        while len(hull) > 1 and ((hull[-1][0] - hull[-2][0]) * (ns - hull[-2][1]) <=
                                 (hull[-1][1] - hull[-2][1]) * (k - hull[-2][0])):
            hull.pop()
        hull.append((k, ns))
    mid = sum(k for k, _ in heard) / len(heard)
    (k0, ns0), (k1, ns1) = next((a, b) for a, b in zip(hull, hull[1:]) if a[0] <= mid <= b[0])
    return ns0 + (ns1 - ns0) * (heard[-1][0] - k0) // (k1 - k0)


def steps(device):
    """Sensors that step once, by 0.4 s: one epoch each, and within each no time goes back."""
    opened, causes, errors, back = [], set(), [], 0
    for seed in range(1, 21):
        device.events()
        truth = run(f"stepped{seed % 4}", 30_000, 30, seed, step=400)
        stream = device.find(f"stepped{seed % 4}")
        errs, now = errors_of(ts.Page(device.fd, stream), truth, 30_000)
        told = [e for e in device.events() if e.stream == stream]
        came = [i for i, e in enumerate(told) if e.type == ts.STREAM_CAME]
        told = told[came[-1] + 1 if came else 0:]
        samples = [e for e in told if e.type == ts.SAMPLE and e.aligned_ns]
        back += sum(a.epoch == b.epoch and a.aligned_ns >= b.aligned_ns for a, b in zip(samples, samples[1:]))
        opened.append(len({e.epoch for e in samples}))
        causes |= {e.cause for e in told if e.type == ts.EPOCH and e.epoch == now.epoch}
        errors.append(percentile(errs, 0.99))
    check("a step of 0.4 s opens one epoch, each time", set(opened) == {2} and causes == {2}, (opened, causes))
    check("no time goes back within an epoch", not back, back)
    check("after the step the map is right again", max(errors) <= 500_000, max(errors))
    return now


RATES = (30_000, 20_000, 9_000)	# mHz


def judge(device, name, mhz, truth, heard, found):
    """Adds what one run says of one sensor."""
    page = ts.Page(device.fd, device.find(name))
    errs, now = errors_of(page, truth, mhz)
    found["beyond"] += sum(e > now.sigma_ns + now.sigma_ppb for e in errs)
    found["bounded"] += len(errs)
    newest = heard[-1][0]
    true_ns = truth[newest][1]
    found["raw"].append(heard[-1][1] - true_ns)
    found["map"].append(abs(page.apply(newest) - true_ns))
    found["best"].append(abs(offline(heard) - true_ns))


def apart_is_apart(device):
    """Of three together one steps: the others do not notice."""
    epochs = []
    for seed in range(1, 11):
        device.events()
        run_together(*(line_of(f"near{mhz // 1000}", mhz, 15, seed, step=400 * (mhz == 20_000)) for mhz in RATES))
        mine = {device.find(f"near{mhz // 1000}"): mhz for mhz in RATES}
        told = {mhz: set() for mhz in RATES}
        for e in device.events():
            if e.type == ts.SAMPLE and e.stream in mine and e.aligned_ns:
                told[mine[e.stream]].add(e.epoch)
        epochs.append(tuple(len(told[mhz]) for mhz in RATES))
    check("one of three steps: one more epoch of that one, none of the others", set(epochs) == {(1, 2, 1)}, epochs)


def case_truth():
    device = ts.Device(os.O_RDONLY)
    seeds = int(os.environ.get("SEEDS", "100"))
    print(f"   p99 of |error| in us of {seeds} runs, all three sensors at once: raw, map, best offline line of the same samples")
    for seconds in (10, 30, 60):
        found = {mhz: {"raw": [], "map": [], "best": [], "beyond": 0, "bounded": 0} for mhz in RATES}
        for seed in range(1, seeds + 1):
            made = run_together(*(line_of(f"sim{mhz // 1000}", mhz, seconds, seed) for mhz in RATES))
            for mhz, (truth, heard) in zip(RATES, made):
                judge(device, f"sim{mhz // 1000}", mhz, truth, heard, found[mhz])
        for mhz, of in found.items():
            r, p99, b = (percentile(of[kind], 0.99) / 1000 for kind in ("raw", "map", "best"))
            what = f"{mhz // 1000} Hz after {seconds} s"
            print(f"   {what}: {r:.1f}, {p99:.1f}, {b:.1f}")
            check(f"{what}: within 1.3 times of the best offline line", p99 <= 1.3 * b, f"{p99 / b:.2f}")
            if (mhz, seconds) == (30_000, 30):
                check(f"{what}: 99 % nearer than 50 us", p99 <= 50, f"{p99:.1f} us")
            check(f"{what}: the error bound holds for 99 %", of["beyond"] <= of["bounded"] // 100,
                  f"{of['beyond']} of {of['bounded']} beyond")
    apart_is_apart(device)
    now = steps(device)
    events = [e for e in ts.Device().events() if e.type == ts.EPOCH]
    check("a descriptor hears of nothing before its open", not events)
    check("a source that left is GONE, its page stays", now.state == ts.GONE)


def case_live():
    device = ts.Device(os.O_RDONLY)
    device.events()
    write(TRUTH + "live", "100000 3000")
    with open(TRUTH + "truth", "rb") as f:
        truth = dict(ts.PAIR.iter_unpack(f.read()))
    worst = int(open(TRUTH + "lateness", encoding="ascii").read())
    page = ts.Page(device.fd, device.find("live"))
    now = page.read()
    late = [page.apply(c) - ns for c, ns in truth.items() if c > len(truth) // 2]
    check("a timer's pairs from hard interrupts", now.samples + now.outliers == len(truth) and now.samples > 30,
          f"{now.samples} and {now.outliers} outliers")
    check("its map lies between its schedule and the timer's worst lateness",
          min(late) > -now.sigma_ns - 1000 and max(late) <= worst + now.sigma_ns,
          f"{min(late)} .. {max(late)} ns, worst {worst}")
    heard = [e for e in device.events() if e.type == ts.SAMPLE]
    numbers = [e.counter for e in heard]
    check("each pair is one event, in order", numbers == sorted(set(numbers)) and len(numbers) == len(truth),
          f"{len(numbers)} of {len(truth)}")


# --- V4L2 -----------------------------------------------------------------------------------

def nodes(pattern):
    """/dev nodes of vivid whose name in sysfs matches."""
    ret = []
    for path in sorted(glob.glob("/sys/class/video4linux/*")):
        with open(path + "/name", encoding="ascii") as f:
            if re.search(pattern, f.read()):
                ret.append("/dev/" + os.path.basename(path))
    return ret


def dequeue(node, count):
    """(sequence, stamp in us) as v4l2-ctl, which knows nothing of us, sees them."""
    r = subprocess.run(["v4l2-ctl", "-d", node, "-p", "30", "--verbose", "--stream-mmap=4", f"--stream-count={count}"],
                       capture_output=True, text=True, timeout=60, check=True)
    seen = re.findall(r"cap dqbuf: \d+ seq:\s*(\d+) .*?ts: (\d+)\.(\d+)", r.stdout + r.stderr)
    return [(int(s), int(a) * 1_000_000 + int(b)) for s, a, b in seen]


def readers(node):
    """Frames by read(): no call tells the minor, so the queue has a name of its own until one does."""
    device = ts.Device(os.O_RDONLY)
    begin = boottime()
    fd = os.open(node, os.O_RDONLY)
    sizes = {len(os.read(fd, 1 << 24)) for _ in range(15)}
    os.close(fd)
    events = device.events(1)
    named = [device.stream(i) for i in {e.stream for e in events if e.type == ts.SAMPLE}]
    check(f"{node}: read by read(), its minor is not known", len(named) == 1 and named[0].minor == -1 and
          re.fullmatch(r"v4l2-queue\d+", named[0].name) and named[0].kind == ts.V4L2, named)
    with open(DEBUG + "queues", encoding="ascii") as f:
        check(f"{node}: which is said", re.search(rf"^queue \d+ stream {named[0].id} minor -1 ", f.read(), re.M))
    mine = [e for e in events if e.type == ts.SAMPLE]
    page = ts.Page(device.fd, named[0].id)
    now = page.read()
    check(f"{node}: each of its frames is a sample, in order", len(sizes) == 1 and len(mine) >= 15 and
          all(a.counter < b.counter and a.host_ns < b.host_ns for a, b in zip(mine, mine[1:])) and
          all(begin < e.host_ns < boottime() for e in mine) and now.samples + now.outliers == len(mine),
          f"{len(mine)}, {now.samples} samples")
    dequeue(node, 3)
    minor = os.minor(os.stat(node).st_rdev)
    check(f"{node}: one who dequeues tells it, and the name without goes", page.read().state == ts.GONE and
          device.stream(device.find(f"v4l2-{minor}")).minor == minor, page.read().state)
    fd = os.open(node, os.O_RDONLY)
    device.events()
    for _ in range(5):
        os.read(fd, 1 << 24)
    os.close(fd)
    again = {e.stream for e in device.events(1) if e.type == ts.SAMPLE}
    check(f"{node}: which is not forgotten: read() is then of that stream", again == {device.find(f"v4l2-{minor}")},
          again)
    device.close()


def case_vivid(*cards):
    readers(nodes("vivid.*vid-cap")[1])
    for node in nodes("vivid.*vid-cap"):
        device = ts.Device(os.O_RDONLY)
        begin = boottime()
        user = dequeue(node, 30)
        minor = os.minor(os.stat(node).st_rdev)
        events = device.events(1)
        came = device.find(f"v4l2-{minor}")
        stream = device.stream(came)
        mine = [e for e in events if e.stream == came and e.type == ts.SAMPLE]
        kernel = [(e.counter, e.stamp_ns // 1000) for e in mine]
        check(f"{node}: its stream is known by its minor", stream.minor == minor and stream.kind == ts.V4L2)
        check(f"{node}: each buffer once, stamp and sequence as dequeued", len(user) == 30 and user == kernel[:30],
              f"{len(kernel)} seen, {sum(u == k for u, k in zip(user, kernel))} alike")
        check(f"{node}: arrivals lie in order, within the run",
              all(a.host_ns < b.host_ns for a, b in zip(mine, mine[1:])) and
              all(begin < e.host_ns < boottime() for e in mine))
        page = ts.Page(device.fd, came)
        now = page.read()
        check(f"{node}: the map holds", now.state in (ts.COARSE, ts.LOCKED, ts.HOLDOVER) and now.samples > 10,
              f"state {now.state}, sigma {now.sigma_ns} ns")
        check(f"{node}: the map puts each buffer within the run",
              all(begin < page.apply(e.counter) < boottime() for e in mine))
        epoch = now.epoch
        dequeue(node, 10)
        check(f"{node}: streaming again opens an epoch", page.read().epoch > epoch)
        device.events()
        subprocess.run(["v4l2-ctl", "-d", node, "-c", "inject_v4l2_buf_flag_error=1"], check=True)
        user = dequeue(node, 10)
        mine = [e for e in device.events(1) if e.stream == came and e.type == ts.SAMPLE]
        damaged, now = [e for e in mine if e.flags & ts.ERROR], page.read()
        check(f"{node}: a buffer that is done with an error is told, and no sample", len(damaged) == 1 and
              len(mine) >= len(user) and now.samples + now.outliers == len(mine) - 1,
              f"{len(damaged)} of {len(mine)}, {now.samples} samples, {now.outliers} outliers")
        device.close()


# --- libcapture and kvsctl ---------------------------------------------------------------------

def json_lines(text):
    return [json.loads(line) for line in text.splitlines()]


def case_capture():
    """A camera and a thermal camera through libcapture: each frame by the module's word; kvsctl sync sees the same."""
    camera, thermal = nodes("vivid.*vid-cap")[:2]
    device = ts.Device(os.O_RDONLY)
    probe = os.environ["O"] + "/tests/align_probe"
    watch = subprocess.Popen(["kvsctl", "sync", "--json", "--seconds", "5"], stdout=subprocess.PIPE, text=True)
    taken = subprocess.run([probe, "150", camera + ":YUYV", thermal + ":Y16 "], capture_output=True, text=True,
                           timeout=60, check=False)
    lines = json_lines(taken.stdout)
    errors = [line for line in lines if "error" in line]
    check("both capture at once", taken.returncode == 0 and not errors, errors or taken.stderr[-300:])
    report = json.loads(watch.communicate(timeout=60)[0])
    events = device.events()
    for node in (camera, thermal):
        minor = os.minor(os.stat(node).st_rdev)
        stream = device.find(f"v4l2-{minor}")
        frames = [f for f in lines if f["device"] == node and "sequence" in f]
        state = [f for f in lines if f["device"] == node and "state" in f][-1]
        frame_checks(node, frames, [e for e in events if e.stream == stream and e.type == ts.SAMPLE])
        # After a step just now the map does not hold yet.
        check(f"{node}: its alignment is the module's stream", state["by"] == frames[-1]["by"] and
              state["minor"] == minor and (state["by"] != "kernel" or
                                           (state["id"], state["name"]) == (stream, f"v4l2-{minor}")), state)
        sync_checks(report, f"v4l2-{minor}", minor)
    check("kvsctl sync: from the module's pages", report["from"] == "kernel" and report["tsalign"]["present"] and
          report["tsalign"]["sees_v4l2"] and report["tsalign"]["injects"])
    # A host that is busy gives few frames in five seconds; the map holds after some.
    for seconds in ("5", "20", "60"):
        own = subprocess.run(["kvsctl", "sync", "--json", "--seconds", seconds, camera, thermal], capture_output=True,
                             text=True, timeout=120, check=False)
        sensors = json.loads(own.stdout)["sensors"] if own.returncode == 0 else []
        if own.returncode or all(s["by"] == "kernel" for s in sensors):
            break
    check("kvsctl sync DEVICE...: it captures, and its frames are by the module's word",
          [s["name"] for s in sensors] == [camera, thermal] and
          any(s["by"] == "kernel" for s in sensors) and
          all(s["by"] in ("kernel", "estimate") and s["frames"] for s in sensors), sensors or own.stderr)
    device.close()


def frame_checks(node, frames, events):
    """A busy host stops vivid for a while, which may be a step: an epoch, and the estimate until the map holds."""
    mine = [f for f in frames if f["by"] == "kernel"]
    check(f"{node}: frames are by the module's word once its map holds",
          len(mine) > 20 and frames[0]["by"] != "kernel", f"{len(mine)} of {len(frames)}")
    bounds = [f["sigma_ns"] for f in mine if f["sigma_ns"] < 2**64 - 1]
    check(f"{node}: with an error bound, but for the first few", len(bounds) > 20 and min(bounds) > 0,
          f"{len(bounds)} of {len(mine)}")
    pairs = list(zip(frames, frames[1:]))
    check(f"{node}: who else's word it is opens an epoch; within one, time goes on",
          all(b["epoch"] > a["epoch"] or (b["epoch"] == a["epoch"] and b["by"] == a["by"] and b["ns"] > a["ns"])
              for a, b in pairs), sorted({(f["epoch"], f["by"]) for f in frames}))
    told = {e.counter: e for e in events if e.aligned_ns}
    apart = [abs(f["ns"] - told[f["sequence"]].aligned_ns) - told[f["sequence"]].sigma_ns for f in mine
             if f["sequence"] in told]
    check(f"{node}: the time of a frame is what the module says of its buffer, within its bound",
          len(apart) == len(mine) and max(apart) <= 0, f"{len(apart)} of {len(mine)}, {max(apart, default=None)} ns")


def sync_checks(report, name, minor):
    found = [s for s in report["sensors"] if s["name"] == name]
    good = (len(found) == 1 and found[0]["minor"] == minor and found[0]["by"] == "kernel" and
            found[0]["state"] in ("waiting", "coarse", "locked", "holdover") and
            (found[0]["sigma_ns"] is None) == (found[0]["state"] == "waiting") and
            found[0]["samples"] and found[0]["frames"] > 20 and found[0]["offset_ns"] is not None)
    check(f"kvsctl sync: {name} with the module's figures", good, found)


def modules():
    with open("/proc/modules", encoding="ascii") as f:
        return [line.split()[0] for line in f]


def case_late(tsalign):
    """tsalign before vb2: it hears of vb2 when that comes, and lets go of it when it goes."""
    def probes():
        with open(DEBUG + "queues", encoding="ascii") as f:
            return re.findall(r"^probe vb2_\w+ (\w+)", f.read(), re.M)

    before = modules()
    subprocess.run(["rmmod", "vivid"], check=True)
    while vb2 := [m for m in modules() if m.startswith("videobuf2")]:
        gone = [m for m in vb2 if not subprocess.run(["rmmod", m], stderr=subprocess.DEVNULL, check=False).returncode]
        if not gone:
            break
    check("vb2 is not loaded", not [m for m in modules() if m.startswith("videobuf2")], vb2)
    subprocess.run(["insmod", tsalign], check=True)
    device = ts.Device()
    check("without vb2 no buffers are seen, which is told", probes() == ["absent"] * 3 and not device.info()[4] & 1,
          probes())
    subprocess.run(["modprobe", "vivid", "n_devs=2", "node_types=0x1"], check=True)
    check("vb2 came: seen", probes() == ["connected"] * 3 and device.info()[4] & 1 == 1, probes())
    node = nodes("vivid.*vid-cap")[0]
    dequeue(node, 10)
    page = ts.Page(device.fd, device.find(f"v4l2-{os.minor(os.stat(node).st_rdev)}"))
    check("and its buffers arrive", page.read().samples + page.read().outliers >= 10, page.read().samples)
    subprocess.run(["modprobe", "-r", "vivid"], check=True)
    for module in [m for m in modules() if m.startswith("videobuf2")]:
        subprocess.run(["modprobe", "-r", module], stderr=subprocess.DEVNULL, check=False)
    check("vb2 goes under it", probes() == ["absent"] * 3 and page.read().state == ts.GONE, probes())
    subprocess.run(["modprobe", "vivid", "n_devs=2", "node_types=0x1"], check=True)
    check("and is there again", probes() == ["connected"] * 3 and set(before) <= set(modules()))
    device.close()


def case_replug():
    """vivid goes and comes back: gone, then the same stream in its next epoch."""
    device = ts.Device(os.O_RDONLY)
    node = nodes("vivid.*vid-cap")[0]
    minor = os.minor(os.stat(node).st_rdev)
    dequeue(node, 5)
    came = device.find(f"v4l2-{minor}")
    page = ts.Page(device.fd, came)
    epoch = page.read().epoch
    subprocess.run(["rmmod", "vivid"], check=True)
    check("a driver that is unloaded takes its streams along", page.read().state == ts.GONE, page.read().state)
    subprocess.run(["modprobe", "vivid", "n_devs=2", "node_types=0x1"], check=True)
    dequeue(nodes("vivid.*vid-cap")[0], 5)
    now = page.read()
    check("replugged: the same page, the next epoch", now.epoch > epoch and now.state != ts.GONE,
          f"epoch {epoch} -> {now.epoch}, state {now.state}")


# --- lines -----------------------------------------------------------------------------------

def pull(line):
    return glob.glob(f"/sys/devices/platform/gpio-sim.0/gpiochip*/sim_gpio{line}/pull")[0]


def value(line):
    with open(os.path.dirname(pull(line)) + "/value", encoding="ascii") as f:
        return int(f.read())


def pulses(line, count, period=0.02):
    for _ in range(count):
        write(pull(line), "pull-up")
        time.sleep(period / 2)
        write(pull(line), "pull-down")
        time.sleep(period / 2)


def interrupt(name):
    with open("/proc/interrupts", encoding="ascii") as f:
        return re.search(rf"^ *(\d+):.* {name}$", f.read(), re.M).group(1)


def case_lines():
    device = ts.Device()
    strobe, pps = device.find("strobe"), device.find("pps")
    before = boottime()
    pulses(0, 40)
    pulses(1, 3, 0.05)
    mine = [e for e in device.events(1) if e.type == ts.SAMPLE]
    edges = [e for e in mine if e.stream == strobe]
    check("each strobe edge arrives once, in order", [e.counter for e in edges] == list(range(40)), len(edges))
    check("edges are stamped when they are", all(before < e.host_ns < boottime() for e in edges))
    check("pps edges arrive", sum(e.stream == pps for e in mine) == 3)
    irq = interrupt("strobe")
    for _ in range(3):
        write(TRUTH + "storm", irq)
        time.sleep(0.3)
    device.events()
    pulses(0, 5)
    after = [e for e in device.events(1) if e.stream == strobe and e.type == ts.SAMPLE]
    with open(DEBUG + "lines", encoding="ascii") as f:
        text = f.read()
    edges, floods = map(int, re.search(r"line strobe .*edges (\d+) floods (\d+)", text).groups())
    check("a flood is cut and counted", 3 <= floods <= 300 and 45 <= edges <= 400, f"{edges} edges, {floods} cut")
    check("after it the line works again", len(after) == 5, len(after))
    trigger_checks(device)
    device.close()


def trigger_checks(device):
    fired = device.trigger(0, 1, 20_000, pulse_ns=5_000_000)
    stream = fired.stream
    device.events()
    time.sleep(2)
    told = device.get_trigger(0)
    events = [e for e in device.events() if e.type == ts.FIRED and e.stream == stream]
    check("an output fires at its rate", 30 <= len(events) <= 41, f"{len(events)} in 2 s, late {told.late}")
    check("each firing has its number k, at or after k / rate",
          all(0 <= e.host_ns - e.counter * 50_000_000 <= 25_000_000 for e in events))
    numbers = [e.counter for e in events]
    check("none fires twice", numbers == sorted(set(numbers)))
    together(device)
    off = device.trigger(0, 0)
    check("a disabled output rests", not off.enable and value(2) == 0)
    check("contradictions are refused", refused(lambda: device.trigger(0, 1, 20_000, pulse_ns=60_000_000), errno.EINVAL) and
          refused(lambda: device.trigger(0, 1, 0, pulse_ns=50_000), errno.EINVAL) and
          refused(lambda: device.trigger(0, 1, 20_000, 50_000_000, 50_000), errno.EINVAL) and
          refused(lambda: device.trigger(2, 1, 20_000, 0, 50_000), errno.ENOENT) and
          refused(lambda: device.trigger(NOT_AN_INDEX, 0), errno.ENOENT))


def together(device):
    """Two sensors: one is exposed for 10 ms around the moment at which the other one's line rises."""
    aims = {0: 20_000_000 - 5_000_000, 1: 20_000_000}
    ids = {device.trigger(0, 1, 20_000, 20_000_000, 5_000_000, 10_000_000, 1).stream: 0,
           device.trigger(1, 1, 20_000, 20_000_000, 5_000_000).stream: 1}
    device.events()
    time.sleep(2)
    events = [e for e in device.events() if e.type == ts.FIRED and e.stream in ids]
    check("outputs have their phase, one of them by its exposure's middle",
          all(0 <= e.host_ns - e.counter * 50_000_000 - aims[ids[e.stream]] <= 25_000_000 for e in events))
    numbers = [{e.counter for e in events if ids[e.stream] == i} for i in (0, 1)]
    common = numbers[0] & numbers[1]
    check("and fire in the same periods", len(common) >= 20 and len(common) >= len(numbers[0] | numbers[1]) * 3 // 4,
          [len(common), len(numbers[0]), len(numbers[1])])
    check("the other one rests, too", not device.trigger(1, 0).enable and value(3) == 0)


NOT_AN_INDEX = 0xFFFFFFFF


def case_board(module, label):
    """Each mistake in the properties: refused, with the property's name in the log."""
    wrong = {1: "gpios", 2: "kvsd,pulse-ns", 3: "kvsd,point", 4: "kvsd,role", 5: "label", 6: "kvsd,period-ns",
             7: "kvsd,period-ns", 8: "kvsd,pulse-ns", 9: "kvsd,exposure-ns", 10: "label"}
    for bad, name in wrong.items():
        refused_board(["insmod", module, f"gpio={label}", f"bad={bad}"], f"board {bad}", name, "tsalign_truth")


def refused_board(load, mark, name, module):
    write("/dev/kmsg", mark + "\n")
    subprocess.run(load, check=True)
    log = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
    log = log[log.rindex(mark):]
    bound = os.path.exists("/sys/bus/platform/drivers/tsalign/tsalign")
    check(f"{mark}: a wrong {name} is refused by name",
          not bound and re.search(rf"tsalign tsalign: .*{re.escape(name)}", log) is not None,
          log.splitlines()[1:3] if bound else "")
    subprocess.run(["rmmod", module], check=True)


# --- sensors and their strobes -----------------------------------------------------------------

SHUTTER = "/sys/kernel/debug/tsalign_shutter/"
EDGE = struct.Struct("=4Q")


def edges_told():
    """{sequence: (the edge raised before that buffer, ns before, ns after)}; none where it was left out."""
    with open(SHUTTER + "truth", "rb") as f:
        return {sequence: (first, last) for sequence, raised, first, last in EDGE.iter_unpack(f.read()) if raised}


def case_sensors(module, label):
    """A sensor node with a strobe: vivid's buffers, each of which an edge goes before, and counts that slip."""
    load = ["insmod", module, f"gpio={label}"]
    subprocess.run(load + ["strobe=1"], check=True)
    device = ts.Device()
    node = nodes("vivid.*vid-cap")[0]
    minor = os.minor(os.stat(node).st_rdev)
    strobe = device.find("shutter")
    write(SHUTTER + "irq", interrupt("shutter"))
    slips = 0
    for what, fault in (("no fault", None), ("an edge that is left out", "skip"), ("an edge that comes twice", "twice")):
        write(SHUTTER + "fault_at", 40 if fault else 0)
        write(SHUTTER + "fault", fault or "skip")
        # A slip is proven by 16 buffers in a row that are not late: on a busy host that takes a while.
        dequeue(node, 300)
        stream = device.find(f"v4l2-{minor}")
        page = ts.Page(device.fd, stream).read()
        events = [e for e in device.events() if e.stream == stream and e.type == ts.SAMPLE]
        told = edges_told()
        paired = [e for e in events if e.flags & ts.STROBE]
        # What vivid was late with is no sample, though it is paired.
        taken = [e.counter for e in paired if not e.flags & ts.OUTLIER]
        last = told.get(taken[-1], (0, 0)) if taken else (0, 0)
        slips += fault is not None
        check(f"{what}: buffers are paired with edges", len(paired) > 50, f"{len(taken)} and {len(paired) - len(taken)} late ones of {len(events)}")
        check(f"{what}: the newest sample is the edge before its own buffer",
              last[0] <= page.updated_ns <= last[1], f"{page.updated_ns - last[0]} ns after it was raised")
        check(f"{what}: slips are counted", page.mispaired == slips, page.mispaired)
    rule = device.rule(stream)
    check("the sensor node's rule is the stream's, as is its strobe",
          rule[2] == 4 and rule[7] == strobe and page.point == 4 and device.stream(stream).strobe == strobe, rule)
    device.close()
    subprocess.run(["rmmod", "tsalign_shutter"], check=True)
    rule_of_node(load, node, minor)
    contradictions(load)


def rule_of_node(load, node, minor):
    subprocess.run(load, check=True)
    # A queue keeps the rule that it was found with: it goes, and is found anew.
    subprocess.run(["rmmod", "tsalign_shutter", "vivid"], check=True)
    subprocess.run(["modprobe", "vivid", "n_devs=2", "node_types=0x1"], check=True)
    subprocess.run(load, check=True)
    dequeue(node, 20)
    device = ts.Device()
    stream = device.find(f"v4l2-{minor}")
    rule = device.rule(stream)
    page = ts.Page(device.fd, stream)
    now = page.read()
    check("a sensor node without a strobe: its rule", rule[1:3] == [3, 2] and rule[4:6] == [2_000_000, 10_000_000] and
          rule[7] == ts.NO_ID and now.point == 2 and now.delay_ns == 2_000_000, rule)
    before = page.apply(10)
    device.set_rule([stream, 1, 1, 0, 0, 0, 0, ts.NO_ID, *[0] * 7])
    check("the map was moved by delay and readout", abs(page.apply(10) - before - 12_000_000) < 1000,
          page.apply(10) - before)
    device.close()
    subprocess.run(["rmmod", "tsalign_shutter"], check=True)


def contradictions(load):
    wrong = {1: "kvsd,capture", 2: "kvsd,strobe", 3: "kvsd,point", 4: "kvsd,point", 5: "kvsd,readout-ns"}
    for bad, name in wrong.items():
        refused_board(load + [f"bad={bad}"], f"sensor {bad}", name, "tsalign_shutter")


# --- exposures ---------------------------------------------------------------------------------

LAG_NS = 500_000
READOUT_NS = 180 * 20_000


def ends_told():
    """{sequence: when its frame ended}: the edge."""
    with open(SHUTTER + "truth", "rb") as f:
        return {sequence: last for sequence, raised, first, last in EDGE.iter_unpack(f.read()) if raised}


def mid_errors(frames, ends, rows):
    """(error, sigma) of each frame's time to the middle of its exposure."""
    return [(f["ns"] - (ends[f["sequence"]] - (rows * 20_000 + READOUT_NS) // 2), f["sigma_ns"])
            for f in frames if f["sequence"] in ends]


def case_exposure(module, label):
    """vivid with an exposure of 5 ms, then 20: each frame's time is the middle of it, by the module and without leave
    to set its rule."""
    node = nodes("vivid.*vid-cap")[0]
    subprocess.run(["insmod", module, f"gpio={label}", "exposure=1"], check=True)
    write(SHUTTER + "irq", interrupt("shutter"))
    os.chmod(node, 0o666)
    for who, user in (("the module's rule", None), ("without leave to set a rule", 65534)):
        os.chmod("/dev/tsalign", 0o444 if user else 0o600)
        exposures(node, who, user)
    os.chmod("/dev/tsalign", 0o600)
    subprocess.run(["rmmod", "tsalign_shutter"], check=True)


def set_rows(node, rows):
    subprocess.run(["v4l2-ctl", "-d", node, "-c", f"exposure={rows}"], check=True)


def exposures(node, who, user):
    device = ts.Device()
    write(SHUTTER + "fault_at", 0)
    set_rows(node, 250)
    probe = subprocess.Popen([os.environ["O"] + "/tests/align_probe", "500", f"{node}:YUYV@mid-exposure+{LAG_NS}"],
                             stdout=subprocess.PIPE, text=True, user=user)
    time.sleep(8)
    rule = device.rule(device.find(f"v4l2-{os.minor(os.stat(node).st_rdev)}"))
    changed = boottime()
    set_rows(node, 1000)
    lines = json_lines(probe.communicate(timeout=120)[0])
    frames, state = [f for f in lines if f.get("by") == "kernel" and "sequence" in f], lines[-1]
    check(f"{who}: it is the module that has it, or has none", rule[1:3] + rule[4:7] ==
          ([1, 1, 0, 0, 0] if user else [3, 5, LAG_NS, READOUT_NS, 5_000_000]), rule[:7])
    ends = ends_told()
    # Late ones are late themselves: their line is that of the others.
    before = mid_errors([f for f in frames if f["ns"] < changed - 100_000_000][50:], ends, 250)
    after = mid_errors([f for f in frames if f["ns"] > changed + 1_500_000_000], ends, 1000)
    for what, errors in (("mid exposure", before), ("after a change by 15 ms, moved by half of it", after)):
        within = sum(-sigma <= e <= sigma for e, sigma in errors)
        check(f"{who}: {what}", len(errors) > 50 and within >= len(errors) * 9 // 10,
              f"{within} of {len(errors)} within sigma, error {percentile([abs(e) for e, _ in errors], 0.5)} ns of "
              f"{percentile([s for _, s in errors], 0.5)}")
    # Those that end about when it changes may have been exposed with either.
    soon = [f for f in frames if changed - 200_000_000 < f["ns"] < changed + 1_500_000_000]
    both = [[abs(e) <= sigma for e, sigma in mid_errors(soon, ends, rows)] for rows in (250, 1000)]
    covered = sum(any(pair) for pair in zip(*both))
    at = max((i for i, pair in enumerate(zip(*both)) if pair[0]), default=0)
    check(f"{who}: while it changes, each frame's sigma covers it", len(soon) > 20 and covered >= len(soon) * 9 // 10 and
          sum(new for _, new in list(zip(*both))[at + 1:]) >= (len(soon) - at - 1) * 9 // 10, (covered, len(soon), at))
    wide = [f["sigma_ns"] for f in soon if f["sigma_ns"] >= 7_500_000]
    check(f"{who}: and some frames later it is as before", 1 <= len(wide) <= 8, len(wide))
    last = [f for f in frames if f["ns"] > changed - 100_000_000]
    check(f"{who}: a changed exposure opens no epoch, and no time goes back", len({f["epoch"] for f in last}) == 1 and
          all(a["ns"] < b["ns"] for a, b in zip(last, last[1:])), sorted({f["epoch"] for f in last}))
    check(f"{who}: what was taken off is told", state["delay_ns"] == (20_000_000 + READOUT_NS) // 2 + LAG_NS and
          state["point"] == "mid-exposure" and not state["wrong"], state)
    rule = device.rule(rule[0])
    check(f"{who}: at the end there is no rule", rule[1:3] + rule[4:7] == [1, 1, 0, 0, 0], rule[:7])
    device.close()


# --- references --------------------------------------------------------------------------------

def feed(device, stream, count=300, period=10_000_000, begin=None, counter=0, tick=1):
    begin = begin or boottime() - count * period - 1_000_000
    for at in range(0, count, 100):
        device.submit(stream, [(counter + i * tick, begin + i * period) for i in range(at, min(at + 100, count))])
    return begin


def await_reference(page, reference):
    """A map is told anew with the next sample, or by the module's next look; until then it does not hold."""
    for _ in range(100):
        now = page.read()
        if now.reference == reference and now.state in (ts.COARSE, ts.LOCKED, ts.HOLDOVER):
            return
        time.sleep(0.1)


def case_reference():
    device = ts.Device()
    # Pairs from before the boot cannot be.
    time.sleep(max(0, 5_000_000_000 - boottime()) / 1e9)
    frames = device.create(ts.DEVICE, "frames", 0, 32, 0)
    begin = feed(device, frames)
    page = ts.Page(device.fd, frames)
    check("submitted pairs: the map is their line", abs(page.apply(299) - begin - 299 * 10_000_000) < 20_000,
          page.apply(299) - begin - 299 * 10_000_000)
    epoch = page.read().epoch
    tai = time.clock_gettime_ns(11) - boottime()
    device.reference(1)
    await_reference(page, 1)
    now = page.read()
    check("TAI: a new epoch, later by the clocks' difference",
          now.epoch > epoch and now.reference == 1 and
          abs(page.apply(299) - begin - 299 * 10_000_000 - tai) < 200_000_000, now.epoch)
    epoch = now.epoch
    stale = time.clock_gettime_ns(time.CLOCK_REALTIME) - 1_000_000
    time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME) + 3_000_000_000)
    check("CLOCK_REALTIME from before it was set is refused",
          refused(lambda: device.submit(frames, [(300, stale)], clock=0), errno.ESTALE))
    # The module looks once a second.
    for _ in range(100):
        if page.read().epoch > epoch:
            break
        time.sleep(0.1)
    now = page.read()
    moved = page.apply(299) - begin - 299 * 10_000_000 - tai
    causes = [e.cause for e in device.events() if e.type == ts.EPOCH and e.stream == frames]
    check("the clock is set: one epoch, and the map moves along", now.epoch == epoch + 1 and causes[-1] == 3 and
          abs(moved - 3_000_000_000) < 200_000_000, f"moved {moved} ns, causes {causes}")
    phc = device.create(ts.PHC, "phc", 1, 64, 10**12)
    # A PHC 50 ppm fast, at 1e18.
    p0 = boottime() - 3_001_000_000
    for at in range(0, 300, 100):
        device.submit(phc, [(10**18 + i * 10_000_500, p0 + i * 10_000_000) for i in range(at, at + 100)],
                      error_ns=100)
    device.reference(2, phc)
    await_reference(page, 2)
    want = 10**18 + (begin + 299 * 10_000_000 - p0) * 1_000_050 // 1_000_000
    check("a PHC as the reference: frames in its time", abs(page.apply(299) - want) < 20_000,
          page.apply(299) - want)
    check("only a PHC can be one", refused(lambda: device.reference(2, frames), errno.EINVAL) and
          refused(lambda: device.reference(2, 63), errno.ENOENT) and refused(lambda: device.reference(9), errno.EINVAL))
    other = ts.Device()
    gone = other.create(ts.PHC, "other", 1, 64, 10**12)
    other.submit(gone, [(10**18 + i * 10_000_000, p0 + i * 10_000_000) for i in range(100)], error_ns=100)
    other.reference(2, gone)
    states = [page.read().state]
    other.close()
    for _ in range(100):
        if page.read().state == 1:
            break
        time.sleep(0.1)
    states.append(page.read().state)
    check("a PHC that has gone is no reference", states[0] in (2, 3, 4) and states[1] == 1, states)
    device.reference(0)
    write(DEBUG + "inject/suspend", 1)
    causes = [e.cause for e in device.events() if e.type == ts.EPOCH and e.stream == frames]
    check("a suspend opens an epoch", causes[-1:] == [4], causes)
    bursts(device)
    rules(device, frames)
    device.close()


def bursts(device):
    fifo = device.create(ts.DEVICE, "fifo", 0, 16, 1_000_000)
    now = boottime() - 2_000_000_000
    for k in range(40):
        device.submit(fifo, [((k * 32 + i) % 65536, now + (k * 32 + 31) * 1_000_000 if i == 31 else 1 + now)
                             for i in range(32)], flags=1)
    page = ts.Page(device.fd, fifo)
    check("a FIFO's bursts are back-dated", abs(page.apply(1000) - now - 1_000_000_000) < 100_000,
          page.apply(1000) - now - 1_000_000_000)


def rules(device, frames):
    page = ts.Page(device.fd, frames)
    feed(device, frames, counter=1000)
    before = page.apply(1000)
    rule = device.rule(frames)
    rule[1:3], rule[4:7] = [3, 5], [2_000_000, 8_000_000, 6_000_000]
    device.set_rule(rule)
    # End of frame, 2 ms late; the middle row was exposed 4 + 3 ms before that.
    check("a rule moves the map to the middle of the exposure", abs(before - page.apply(1000) - 9_000_000) < 50_000,
          before - page.apply(1000))
    check("page tells point and delay", page.read().point == 5 and page.read().delay_ns == 2_000_000)
    # Counts take 10 ms. From 6 ms: the map moves by half of what the exposure does.
    began, moves = page.read().epoch, []
    for exposure in (7, 15, 17):
        rule[6] = exposure * 1_000_000
        at = page.apply(1000)
        device.set_rule(rule)
        moves.append((round((at - page.apply(1000)) / 1e6, 1), page.read().epoch - began))
    check("other exposures open no epoch until the map is off by half a count since the last sample",
          moves == [(0.5, 0), (4.0, 0), (1.0, 1)], moves)
    rule[4] += 1
    device.set_rule(rule)
    check("another delay opens one, however small", page.read().epoch == began + 2)
    rule[5] = 0
    check("a rule without the readout time contradicts itself", refused(lambda: device.set_rule(rule), errno.EINVAL))


# --- injectors ------------------------------------------------------------------------------------

def inject(**values):
    for name in ("stream", "jitter_ns", "drop_permille", "duplicate_permille", "step_ns"):
        write(DEBUG + "inject/" + name, values.get(name, ts.NO_ID if name == "stream" else 0))


def case_inject():
    """What tests of others count on: each fault that can be made, and none that was not asked for."""
    device = ts.Device()
    # Pairs from before the boot cannot be.
    time.sleep(max(0, 22_000_000_000 - boottime()) / 1e9)
    one, other = (device.create(ts.DEVICE, name, 0, 32, 100_000) for name in ("one", "other"))
    page, period, begin = ts.Page(device.fd, one), 10_000_000, boottime() - 20_500_000_000
    fed = 0

    def told(count):
        """Feeds both; the events of each as (pairs of (late, event), of the other stream)."""
        nonlocal fed
        device.events()
        for stream in (one, other):
            for at in range(fed, fed + count, 100):
                device.submit(stream, [(i, begin + i * period) for i in range(at, min(at + 100, fed + count))])
        fed += count
        events = [(e.host_ns - begin - e.counter * period, e) for e in device.events() if e.type == ts.SAMPLE]
        return ([e for e in events if e[1].stream == one], [e for e in events if e[1].stream == other])

    tracing = "/sys/kernel/tracing/"
    write(tracing + "events/tsalign/tsalign_event/enable", 1)
    mine, theirs = told(300)
    write(tracing + "events/tsalign/tsalign_event/enable", 0)
    with open(tracing + "trace", encoding="ascii") as f:
        traced = re.findall(r"tsalign_event: (.*)", f.read())
    check("the tracepoint tells each event", len(traced) >= 600, traced[:1])
    check("nothing is injected that nobody asked for", len(mine) == len(theirs) == 300 and
          all(not late and not e.flags for late, e in mine + theirs))
    inject(stream=one, drop_permille=1000)
    mine, theirs = told(20)
    check("drop: no pair of that stream arrives, each of others", not mine and len(theirs) == 20, f"{len(mine)}")
    inject(stream=one, duplicate_permille=1000)
    mine, theirs = told(20)
    counters = [e.counter for _, e in mine]
    check("duplicate: each pair comes twice, and the second one is refused",
          counters == sorted(2 * list(range(320, 340))) and len(theirs) == 20 and
          all(e.flags & ts.INJECTED and bool(e.flags & ts.OUTLIER) == bool(i % 2) for i, (_, e) in enumerate(mine)))
    inject(stream=one, jitter_ns=1_000_000)
    mine, theirs = told(200)
    lates = [late for late, _ in mine]
    check("jitter: late by any part of it", min(lates) >= 0 and 500_000 < max(lates) < 1_000_000 and
          len(set(lates)) > 100 and all(e.flags & ts.INJECTED for _, e in mine) and
          not any(late for late, _ in theirs), (min(lates), max(lates)))
    epoch, elsewhere = page.read().epoch, ts.Page(device.fd, other)
    check("none of these is a step", epoch == 1)
    inject(stream=one, step_ns=40_000_000)
    told(600)
    now = page.read()
    check("step: one epoch, and the map is later by it", now.epoch == epoch + 1 and elsewhere.read().epoch == 1 and
          abs(page.apply(fed) - begin - fed * period - 40_000_000) <= now.sigma_ns + now.sigma_ppb,
          f"epoch {now.epoch}, {page.apply(fed) - begin - fed * period} ns")
    inject()
    device.close()


# --- what must be refused --------------------------------------------------------------------------

def case_fuzz():
    rng = random.Random(int(os.environ.get("SEED", "1")))
    rounds = int(os.environ.get("ROUNDS", "20000"))
    device, reader = ts.Device(), ts.Device(os.O_RDONLY)
    mine = device.create(ts.DEVICE, "mine", 0, 32, 30_000)
    check("what writes needs a descriptor for writing",
          all(refused(lambda r=r: reader.call(r, bytes(r >> 16 & 0x3FFF)), errno.EPERM) for r in ts.ALL_IOC[4:]))
    check("a stream takes pairs only from who made it",
          refused(lambda: ts.Device().submit(mine, [(1, boottime())]), errno.EPERM))
    bad = [ts.ioc(d, nr, s) for d in range(4) for nr in range(256) for s in (0, 1, 8, 72, 16383)]
    wrong = [r for r in bad if r not in ts.ALL_IOC and not refused(lambda r=r: device.call(r, bytes(16384)[:max(r >> 16 & 0x3FFF, 1)]), errno.ENOTTY)]
    check("no other number, direction or size is known", not wrong, [hex(r) for r in wrong[:4]])
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    pointers = [0, 1, 4095, 2**63, 2**64 - 4096, 2**64 - 1, 0x60000000 + 8]
    outcome = set()
    for request in ts.ALL_IOC:
        for pointer in pointers[:-1]:
            r = libc.ioctl(device.fd, ctypes.c_ulong(request), ctypes.c_void_p(pointer))
            outcome.add((r, ctypes.get_errno()))
    check("null, kernel and wild pointers are faults", outcome == {(-1, errno.EFAULT)}, outcome)
    for pointer in pointers[:-1]:
        if not refused(lambda p=pointer: device.call(ts.IOC_SUBMIT, ts.SUBMIT.pack(mine, 2, 7, 0, p, 0, *[0] * 5)), errno.EFAULT):
            check("pairs at a bad pointer are a fault", False, hex(pointer))
    now = boottime()
    check("too many pairs", refused(lambda: device.submit(mine, [(1, now)] * 257), errno.E2BIG))
    check("the future, and what is too old", refused(lambda: device.submit(mine, [(1, now + 10**10)]), errno.EINVAL) and
          refused(lambda: device.submit(mine, [(1, max(now - 601 * 10**9, 0) if now > 601 * 10**9 else 2**64 - 1)]), errno.EINVAL))
    check("a clock that is none", refused(lambda: device.submit(mine, [(1, now)], clock=3), errno.EINVAL))
    check("a counter wider than told", refused(lambda: device.submit(mine, [(2**32, now)]), errno.EINVAL))
    check("names: taken, empty, too long, odd", refused(lambda: device.create(ts.DEVICE, "mine", 0, 32, 0), errno.EEXIST) and
          all(refused(lambda n=n: device.create(ts.DEVICE, n, 0, 32, 0), errno.EINVAL)
              for n in ("", "x" * 32, "a b", "a/b", "\x7f", "v4l2-0")))
    check("flags that nobody knows", all(refused(lambda f=1 << i: device.submit(mine, [(1, now)], flags=f), errno.EINVAL)
                                         for i in range(2, 32)))
    reserved = 0
    for request, layout in ((ts.IOC_STREAM, ts.STREAM), (ts.IOC_GET_RULE, ts.RULE), (ts.IOC_SUBMIT, ts.SUBMIT),
                            (ts.IOC_SET_RULE, ts.RULE), (ts.IOC_GET_TRIGGER, ts.TRIGGER), (ts.IOC_TRIGGER, ts.TRIGGER)):
        data = bytearray(layout.size)
        if layout is ts.SUBMIT:
            data[:4] = struct.pack("=I", mine)
        data[-4] = 1
        reserved += not refused(lambda r=request, d=data: device.call(r, d), errno.EINVAL)
    check("reserved fields must be zero", not reserved, f"{reserved} taken")
    seen = {}
    for _ in range(rounds):
        request = rng.choice(ts.ALL_IOC)
        data = bytearray(rng.randbytes(request >> 16 & 0x3FFF))
        if rng.random() < 0.7:
            for i in range(0, len(data) - 3, 4):
                if rng.random() < 0.8:
                    data[i:i + 4] = struct.pack("=I", rng.choice([0, 0, 1, 2, mine, 7, 64, 0xFFFFFFFF]))
        try:
            device.call(request, data)
            seen[0] = seen.get(0, 0) + 1
        except OSError as e:
            seen[e.errno] = seen.get(e.errno, 0) + 1
    allowed = {0, errno.EINVAL, errno.ENOENT, errno.EFAULT, errno.EPERM, errno.E2BIG, errno.ENOSPC, errno.EEXIST, errno.ESTALE}
    check(f"{rounds} random calls: only errors that are promised", set(seen) <= allowed, seen)
    check("a read with no room, and of nothing", refused(lambda: os.read(device.fd, 63), errno.EINVAL))
    mapping(device, mine)
    device.close()
    reader.close()


def mapping(device, mine):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]

    def mapped(size, prot, flags, offset):
        at = libc.mmap(None, size, prot, flags, device.fd, offset)
        return None if at in (None, 2**64 - 1) else at

    size = mmap.PAGESIZE
    good = mapped(size, 1, 1, mine * size)
    check("a page is mapped to be read", good is not None)
    check("and cannot be made writable or executable",
          libc.mprotect(good, size, 3) == -1 and libc.mprotect(good, size, 5) == -1)
    check("not writable, private, larger, beyond, of a free slot",
          not any(mapped(*a) for a in ((size, 3, 1, mine * size), (size, 2, 1, mine * size), (size, 1, 2, mine * size),
                                       (size, 5, 1, mine * size), (2 * size, 1, 1, mine * size), (size, 1, 1, 64 * size),
                                       (size, 1, 1, 1 << 40), (size, 1, 1, 50 * size))))


# --- lives ---------------------------------------------------------------------------------------

def case_life(tsalign, truth, label):
    """Unbind with open descriptors and mapped pages, then unload, over and over."""
    cycles = int(os.environ.get("CYCLES", "50"))
    refusals = unbound = kept = lines = 0
    last = ""
    for i in range(cycles):
        subprocess.run(["insmod", tsalign, "inject=1"], check=True)
        subprocess.run(["insmod", truth, f"gpio={label}"], check=True)
        device = ts.Device()
        strobe = device.find("strobe")
        page = ts.Page(device.fd, strobe)
        pulses(0, 2, 0.002)
        mine = device.create(ts.DEVICE, "mine", 0, 32, 0)
        other = ts.Device(os.O_RDONLY)
        own = ts.Page(other.fd, mine)
        feed(device, mine, 100, 1_000_000)
        device.trigger(0, 1, 100_000, pulse_ns=1_000_000)
        if i % 2:
            write("/sys/bus/platform/drivers/tsalign/unbind", "tsalign")
            write("/sys/bus/platform/drivers/tsalign/bind", "tsalign")
            pulses(0, 1, 0.002)
            unbound += page.read().epoch >= 2 and page.read().state != ts.GONE
        subprocess.run(["rmmod", "tsalign_truth"], check=True)
        lines += page.read().state == ts.GONE and page.read().samples <= 3
        refusals += subprocess.run(["rmmod", "tsalign"], stderr=subprocess.DEVNULL, check=False).returncode != 0
        samples = own.read().samples
        device.close()
        other.close()
        del page
        kept += samples == 100 and own.read().state == ts.GONE
        last = f"{samples} samples, state {own.read().state}"
        del own
        subprocess.run(["rmmod", "tsalign"], check=True)
    check(f"{cycles} lives: pages outlive their devices", kept == lines == cycles, f"{kept}, {lines}; {last}")
    check(f"{cycles} lives: bound again, lines are the same streams in their next epoch", unbound == cycles // 2)
    check(f"{cycles} lives: no unloading under an open descriptor", refusals == cycles)


# --- clocks that kvsctl feed reads ------------------------------------------------------------

FRAME_NS = 33_333_333
PHC_AHEAD = 37_000_000_000


def phc_at(boot):
    return boot + boot // 10_000 + PHC_AHEAD


def await_map(page, samples):
    for _ in range(600):
        now = page.read()
        if now.state in (ts.COARSE, ts.LOCKED) and now.samples >= samples:
            break
        time.sleep(0.1)
    return page.read()


def feed_paths():
    for name in glob.glob("/sys/class/video4linux/*/name"):
        if open(name, encoding="ascii").read().strip() == "tsalign_clocks":
            video = "/dev/" + name.split("/")[-2]
    phc = [p for p in glob.glob("/sys/class/ptp/*/clock_name")
           if open(p, encoding="ascii").read().strip() == "tsalign test"]
    return "/dev/" + phc[0].split("/")[-2], sorted(glob.glob("/dev/pps*"))[0], video


def pulse_error(page, counts):
    """Of the last pulse's time to the nearest count's; "1700000000.000000000#12", by a timer of 10 ms."""
    seconds, ns = open(glob.glob("/sys/class/pps/*/assert")[0], encoding="ascii").read().split("#")[0].split(".")
    pulse = int(seconds) * 1_000_000_000 + int(ns) + boottime() - time.time_ns()
    return min(abs(page.apply(n) - pulse) for n in range(counts))


def soon(error, limit):
    """A host that is busy may keep the first ones back."""
    for _ in range(60):
        now = error()
        if abs(now) <= limit:
            break
        time.sleep(0.5)
    return now


def feeds_follow(device, way):
    """What the maps say of each clock, beside what the clock is."""
    pages = {name: ts.Page(device.fd, device.find(name)) for name in ("phc", "second", "frame")}
    phc = await_map(pages["phc"], 20)
    at = boottime()
    error = pages["phc"].apply(phc_at(at)) - at
    check(f"PTP, {way}: its map finds BOOTTIME within its sigma", abs(error) <= phc.sigma_ns < 1_000_000,
          f"{error} ns, sigma {phc.sigma_ns}")
    check(f"PTP, {way}: its drift is 100 ppm", abs(phc.drift_ppb - 100_000) <= max(2_000, phc.sigma_ppb), phc.drift_ppb)
    frame = await_map(pages["frame"], 60)
    # The event comes when the host gets to it.
    error = soon(lambda: pages["frame"].apply(frame.base_counter) - frame.base_counter * FRAME_NS, 2_000_000)
    check("frame sync: a frame's number tells when it started", -frame.sigma_ns <= error <= 2_000_000,
          f"{error} ns, sigma {frame.sigma_ns}")
    second = await_map(pages["second"], 4)
    error = soon(lambda: pulse_error(pages["second"], second.samples + 60), 20_000_000)
    check("PPS: each pulse is a count, where the kernel saw it", second.samples >= 4 and second.lost == 0 and
          error <= 20_000_000, f"{second.samples} samples, {second.lost} lost, {error} ns")
    device.reference(2, device.find("phc"))
    await_reference(pages["frame"], 2)
    frame = pages["frame"].read()
    error = soon(lambda: pages["frame"].apply(frame.base_counter) - phc_at(frame.base_counter * FRAME_NS), 2_000_000)
    check("frames in the PTP clock's time", -frame.sigma_ns <= error <= 2_000_000, f"{error} ns")
    device.reference(0)
    return pages


def case_feeds(kvsctl, module):
    for precise, way in ((0, "read between two"), (1, "latched")):
        subprocess.run(["insmod", module, f"precise={precise}"], check=True)
        phc, pps, video = feed_paths()
        feed = subprocess.Popen([kvsctl, "feed", "--json", f"ptp:{phc}=phc", f"pps:{pps}=second",
                                 f"fsync:{video}=frame"], stdout=subprocess.PIPE, text=True)
        device = ts.Device()
        for _ in range(600):
            if device.info()[2] >= 3:
                break
            time.sleep(0.1)
        pages = feeds_follow(device, way)
        taken = subprocess.run([kvsctl, "feed", f"ptp:{phc}=phc", "--seconds", "1"], capture_output=True, check=False)
        check("a name that is taken is told", taken.returncode == 7 and b"'phc' already" in taken.stderr, taken.stderr)
        feed.terminate()
        said = {f["name"]: f for f in json.loads(feed.communicate()[0])["feeds"]}
        check("it says at the end what it gave", feed.returncode == 0 and said["phc"]["pairs"] >= 20 and
              said["second"]["pairs"] >= 3 and said["frame"]["pairs"] >= 60, said)
        check("its streams go with it", all(page.read().state == ts.GONE for page in pages.values()))
        device.close()
        subprocess.run(["rmmod", "tsalign_clocks"], check=True)
    no = subprocess.run([kvsctl, "feed", "ptp:/dev/null", "--seconds", "1"], capture_output=True, check=False)
    check("what is no clock is refused", no.returncode == 7 and b"no such device" in no.stderr, no.stderr)


def main():
    case, args = sys.argv[1], sys.argv[2:]
    globals()["case_" + case](*args)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
