#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""counters.py [BEFORE]: in a guest with tsalign.ko, snd-aloop, iio_dummy and tsalign_thermal. Sensors with clocks of their
own (radars by UDP and by a serial line, sound, inertial scans, a thermal core's telemetry) in one agent: their counters are streams
of the module, and what the agent puts into its tracks is the module's word. When the module's reference is not for frames,
the agent goes on by itself."""

import json
import os
import random
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tty

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "support")]

import tsalign as ts  # noqa: E402
from records import record  # noqa: E402
from agent_tracks import TIME_BYTES, Stream, Tap, aligned_fields  # noqa: E402

RADAR_HZ, RADAR_FAST = 40_000_000, 100  # ppm
ESTIMATE, KERNEL = 2, 3
NAMES = {"radar": "records-udp.127.0.0.1.5600", "sound": "audio-hw.0.1", "scans": "iio-gyro",
         "core": None}
WIRE = os.openpty()	# a serial line: the radar's end, ours
tty.setraw(WIRE[1])
WIRE_PATH = f"tty:{os.ttyname(WIRE[1])}:115200"
NAMES["wire"] = "records-" + re.sub("[^A-Za-z0-9_.-]", ".", WIRE_PATH[-21:])
CORE = "/sys/kernel/debug/tsalign_thermal"
CORE_ROW = 60 * 160	# bytes; of the first telemetry row
failed = 0


def check(what, good, detail=""):
    global failed
    failed += not good
    print(f"{'ok' if good else 'not ok'} - {what}{': ' + str(detail)[:400] if detail != '' else ''}", flush=True)


def boottime():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Radar(threading.Thread):
    """A record each 50 ms by its own clock, which is 100 ppm fast, sent up to 4 ms later. What it says is the truth:
    {ticks: CLOCK_BOOTTIME}."""
    def __init__(self, send, seed):
        super().__init__(daemon=True)
        self.truth, self.over, self.begin, self.send, self.seed = {}, False, boottime(), send, seed

    def ticks(self, ns):
        return (ns - self.begin) * RADAR_HZ // 1_000_000_000 * (1_000_000 + RADAR_FAST) // 1_000_000

    def run(self):
        rng = random.Random(self.seed)
        for n in range(1_000_000):
            if self.over:
                break
            now = boottime()
            ticks = self.ticks(now)
            self.truth[ticks] = now
            time.sleep(rng.random() * 0.004)
            self.send(record(rng.randbytes(64), n, ticks, RADAR_HZ))
            time.sleep(max(0, 0.05 - (boottime() - now) / 1e9))


class Listener(threading.Thread):
    """Every sample that the module took, by stream: {counter: event}."""
    def __init__(self):
        super().__init__(daemon=True)
        self.device, self.over, self.samples, self.lost = ts.Device(os.O_RDONLY), False, {}, 0

    def run(self):
        while not self.over:
            for e in self.device.events(0.2):
                if e.type == ts.SAMPLE:
                    self.samples.setdefault(e.stream, {})[e.counter] = e
                self.lost += e.type == ts.LOST


def service(work):
    with open(f"{work}/ready", "w", encoding="ascii") as out:
        child = subprocess.Popen(["kvsd", "serve", "--quickstart", f"{work}/service", "--listen", "127.0.0.1:0"],
                                 stdout=out, stderr=subprocess.DEVNULL)
    for _ in range(600):
        text = open(f"{work}/ready", encoding="ascii").read()
        if "\n" in text:
            break
        time.sleep(0.1)
    os.environ.update(AWS_ENDPOINT_URL=json.loads(text.splitlines()[0])["endpoint"],
                      AWS_CA_BUNDLE=f"{work}/service/ca.pem",
                      AWS_SHARED_CREDENTIALS_FILE=f"{work}/service/credentials")
    return child


def core_node():
    for name in os.listdir("/sys/class/video4linux"):
        if open(f"/sys/class/video4linux/{name}/name", encoding="ascii").read().strip() == "tsalign_thermal":
            return name
    return None


def core_set(name, value):
    with open(f"{CORE}/{name}", "w", encoding="ascii") as f:
        f.write(str(value))


def config(work):
    text = f"""[service]
endpoint = {os.environ['AWS_ENDPOINT_URL']}
ca_bundle = {work}/service/ca.pem
credentials = {work}/service/credentials
[agent]
stop_timeout = 60s
[stream sense]
[stream heat]
[source radar]
kind = records
stream = sense
device = udp:127.0.0.1:5600
timeout = 20s
[source wire]
kind = records
stream = heat
device = {WIRE_PATH}
timeout = 20s
[source scans]
kind = iio
stream = sense
device = gyro
sample_rate = 100
frame_samples = 10
buffers = 8
timeout = 20s
[source core]
kind = thermal
stream = heat
device = /dev/{core_node()}
telemetry_rows = 3
counter = lepton2
timeout = 20s
[source sound]
kind = audio
stream = sense
device = hw:0,1
sample_rate = 8000
channels = 1
timeout = 20s
encoder = alaw
"""
    with open(f"{work}/agent.conf", "w", encoding="ascii") as f:
        f.write(text)


def devices(work):
    os.makedirs("/sys/kernel/config/iio/triggers/hrtimer/t0", exist_ok=True)
    os.makedirs("/sys/kernel/config/iio/devices/dummy/gyro", exist_ok=True)
    with open("/sys/bus/iio/devices/iio:device0/trigger/current_trigger", "w", encoding="ascii") as f:
        f.write("t0")
    with open(f"{work}/tone", "wb") as f:
        f.write(bytes(8000 * 2 * 600))
    return subprocess.Popen(["aplay", "-q", "-D", "hw:0,0", "-t", "raw", "-f", "S16_LE", "-r", "8000", "-c", "1",
                             f"{work}/tone"], stderr=subprocess.DEVNULL)


def await_(condition, seconds=60):
    for _ in range(seconds * 10):
        if condition():
            return True
        time.sleep(0.1)
    return False


def streams(device):
    found = {}
    for i in range(64):
        try:
            found[device.stream(i).name] = i
        except FileNotFoundError:
            continue
    return found


def under_way(device, listener):
    """While the agent runs: the module has its counters; what happens when its reference is not for frames."""
    check("each counter is a stream of the module", await_(lambda: set(NAMES.values()) <= set(streams(device))),
          sorted(streams(device)))
    ids = {name: streams(device)[stream] for name, stream in NAMES.items()}
    core = ts.Page(device.fd, ids["core"])
    pages = {name: ts.Page(device.fd, i) for name, i in ids.items()}
    check("their maps hold", await_(lambda: all(p.read().state in (ts.COARSE, ts.LOCKED) and p.read().samples >= 20
                                                for p in pages.values())), [p.read().state for p in pages.values()])
    sync = subprocess.run(["kvsctl", "sync", "--json", "--seconds", "1"], capture_output=True, text=True, check=False)
    sensors = {s["name"]: s for s in json.loads(sync.stdout)["sensors"]}
    check("kvsctl sync lists them, by the kernel", all(sensors.get(n, {}).get("by") == "kernel" and
                                                       sensors[n]["samples"] for n in NAMES.values()), sorted(sensors))
    removed = subprocess.run(["rmmod", "tsalign"], capture_output=True, text=True, check=False)
    check("the module is not unloaded under them", removed.returncode and "in use" in removed.stderr, removed.stderr)
    # No map of a PTP clock's time is used for frames: the agent has its own.
    writer = ts.Device()
    phc = writer.create(ts.PHC, "phc", 1, 64, 10**12)
    begin = boottime() - 3_000_000_000
    writer.submit(phc, [(10**18 + i * 10_000_000, begin + i * 10_000_000) for i in range(200)], error_ns=100)
    writer.reference(2, phc)
    count = {i: len(listener.samples.get(i, ())) for i in ids.values()}
    await_(lambda: all(len(listener.samples.get(i, ())) >= n + 12 for i, n in count.items()))
    writer.reference(0)
    writer.close()
    count = {i: len(listener.samples.get(i, ())) for i in ids.values()}
    await_(lambda: all(len(listener.samples.get(i, ())) >= n + 12 for i, n in count.items()))
    core_trouble(core, lambda: len(listener.samples.get(ids["core"], ())))
    return ids


def core_trouble(page, heard):
    """What a core's telemetry may do: wrap, tear, stand still, begin anew."""
    # 40 s after it was loaded it has shown 2^32 ms.
    epoch = page.read().epoch
    check("core: its counter wraps in the same epoch", page.read().base_counter < 2**32 and
          await_(lambda: page.read().base_counter > 2**32, 90) and page.read().epoch == epoch,
          (page.read().base_counter, page.read().epoch))
    before = heard()
    core_set("torn", 1)
    await_(lambda: heard() >= before + 9)
    core_set("torn", 1)
    await_(lambda: heard() >= before + 18)
    check("core: torn telemetry is no step", page.read().epoch == epoch, page.read().epoch)
    core_set("still", 1)
    time.sleep(3)
    before = heard()
    time.sleep(3)
    check("core: a clock that stands still brings no sample", heard() == before and page.read().epoch == epoch,
          heard() - before)
    core_set("still", 0)
    await_(lambda: heard() >= before + 30)
    check("core: and goes on as before", page.read().epoch == epoch and heard() >= before + 30, heard() - before)
    before = heard()
    core_set("reset", 1)
    await_(lambda: heard() >= before + 60)
    now = page.read()
    check("core: switched off and on, its clock is of one more epoch", now.epoch == epoch + 1 and
          now.base_counter < 60_000, (now.epoch, now.base_counter))


def check_track(name, frames, told):
    """@frames: (counter, fields) as the agent put them; @told: what the module said of each counter."""
    by = [f["by"] for _, f in frames]
    mine = [(told[c], f) for c, f in frames if f["by"] == KERNEL and c in told]
    kinds = [(f["by"], f["epoch"]) for _, f in frames]
    changes = [pair for i, pair in enumerate(kinds) if not i or pair != kinds[i - 1]]
    order = [b for b, _ in changes if b in (ESTIMATE, KERNEL)]
    check(f"{name}: frames are by the module's word", by.count(KERNEL) >= 20 and len(mine) >= by.count(KERNEL) - 1,
          {b: by.count(b) for b in set(by)})
    exact = sum(f["boot"] == e.aligned_ns for e, f in mine)
    near = [abs(f["boot"] - e.aligned_ns) for e, f in mine]
    check(f"{name}: to the nanosecond what the module says of each counter", exact >= len(mine) * 9 // 10 and
          max(near, default=10**9) <= 1_000_000, f"{exact} of {len(mine)}, the others within {max(near, default=0)} ns")
    bounds = [(e.sigma_ns, f["sigma"]) for e, f in mine if f["sigma"] < 2**32 - 1]
    check(f"{name}: with the module's bound, and that of the wall clock", len(bounds) >= len(mine) * 9 // 10 and
          all(s >= k for k, s in bounds), f"{len(bounds)} of {len(mine)}, {[b for b in bounds if b[1] < b[0]][:3]}")
    ours = order.index(ESTIMATE, order.index(KERNEL)) if KERNEL in order and ESTIMATE in order[order.index(KERNEL):] else 0
    check(f"{name}: without the module's map by the agent's own, and then by the module's again",
          ours and KERNEL in order[ours:], order)
    check(f"{name}: each change opens an epoch; within one, time goes on",
          all(b[1]["epoch"] > a[1]["epoch"] or (b[1]["epoch"] == a[1]["epoch"] and b[1]["by"] == a[1]["by"] and
                                                b[1]["boot"] > a[1]["boot"]) for a, b in zip(frames, frames[1:])),
          changes)


def check_radar(name, radar, frames):
    """The truth is known: aligned times lie nearer to it than stamps, which are when a record came."""
    late = [(f["boot"] - radar.truth[c], f["raw"] - radar.truth[c]) for c, f in frames[len(frames) // 2:]
            if f["by"] == KERNEL]
    aligned, raw = (sorted(abs(e[i]) for e in late) for i in (0, 1))
    at = len(late) * 9 // 10
    check(f"{name}: aligned times are nearer to the truth than stamps", len(late) > 20 and aligned[at] < raw[at] / 2,
          f"p90 {aligned[at] / 1000:.0f} us, stamps {raw[at] / 1000:.0f} us" if late else late)


def check_sound(tap, told, offset):
    """Its track has no room for more than a time: that is the module's."""
    # The tap's times are the wall clock's; each frame has 160 samples or whatever the card's period is.
    frames = [ns - offset for ns, _, _ in tap.put]
    heard = sorted(e.aligned_ns for e in told.values() if e.aligned_ns)
    apart = []
    for ns in frames[len(frames) // 2:]:
        apart.append(min(abs(ns - h) for h in heard))
    near = sum(a <= 20_000 for a in apart)
    check("sound: its frames' times are what the module says", len(apart) >= 20 and near >= len(apart) // 2,
          f"{near} of {len(apart)} within 20 us, {sorted(apart)[:3]}")


def check_core(tap, told, offset, report):
    """Its frames by the tap, which has their pixels: what each showed, and the time that it was given."""
    truth = [struct.unpack_from("<QQ", pair) for pair in
             (lambda raw: [raw[i:i + 16] for i in range(0, len(raw), 16)])(open(f"{CORE}/truth", "rb").read())]
    # Those that came more than once are of a clock that stood still.
    times = {}
    for ms, at in truth:
        times.setdefault(ms, []).append(at)
    exact, aligned, raw, covered = 0, [], [], []
    frames = []
    for ns, stamp, _ in tap.put:
        low, high = struct.unpack_from("<HH", tap.raw[stamp], CORE_ROW + 2)
        frames.append((low | high << 16, ns - offset, stamp))
    for ms, boot, stamp in frames[len(frames) // 4:]:
        near = times.get(ms, [])
        if len(near) != 1:
            continue
        aligned.append(boot - near[0])
        raw.append(stamp - near[0])
        heard = [e for c, e in told.items() if c % 2**32 == ms]
        # The tap's times are the wall clock's.
        exact += any(abs(e.aligned_ns - boot) <= 20_000 for e in heard)
    errors, stamps = (sorted(abs(e) for e in of) for of in (aligned, raw))
    at = len(errors) * 9 // 10
    check("core: its frames' times are what the module says of each count", len(errors) > 100 and
          exact >= len(errors) * 6 // 10, f"{exact} of {len(errors)} within 20 us")
    check("core: nearer to the truth than stamps, but for a tick of its clock", errors and errors[at] <= 1_100_000 and
          errors[at] < stamps[at] / 2, f"p90 {errors[at] / 1000:.0f} us, stamps {stamps[at] / 1000:.0f} us" if errors else "")
    check("core: what was not believed is counted", report["counts_anew"] == 1 and 3 <= report["counts_guessed"],
          (report["counts_anew"], report["counts_guessed"]))


def fields(payload):
    return {**aligned_fields(payload), "raw": int.from_bytes(payload[16:24], "big")}


def main():
    work = tempfile.mkdtemp()
    player, serve = devices(work), service(work)
    config(work)
    NAMES["core"] = f"telemetry-dev.{core_node()}"
    device, listener = ts.Device(os.O_RDONLY), Listener()
    ether = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    radars = {"radar": Radar(lambda data: ether.sendto(data, ("127.0.0.1", 5600)), 4),
              "wire": Radar(lambda data: os.write(WIRE[0], data), 5)}
    for thread in (listener, *radars.values()):
        thread.start()
    agent = subprocess.Popen(["kvsd", "agent", "--config", f"{work}/agent.conf", "--report", f"{work}/report.json",
                              "--tap", work], stderr=open(f"{work}/log", "w", encoding="ascii"))
    ids = under_way(device, listener)
    mono = time.clock_gettime_ns(time.CLOCK_MONOTONIC) - boottime()
    offset = time.time_ns() - boottime()
    agent.terminate()
    agent.wait()
    check("the agent ends well", agent.returncode == 0, open(f"{work}/log", encoding="ascii").read()[-300:]
          if agent.returncode else "")
    for thread in (listener, *radars.values()):
        thread.over = True
    listener.join()
    check("its streams go with it", all(ts.Page(device.fd, i).read().state == ts.GONE for i in ids.values()))
    check("every sample was heard", not listener.lost, listener.lost)
    for name in ("sense", "heat"):
        subprocess.run(["kvsctl", "get", name, "--start", "EARLIEST", "--no-follow", "--raw", "-o", f"{work}/{name}.mkv"],
                       stderr=subprocess.DEVNULL, check=True)
    sense, heat = Stream(f"{work}/sense.mkv"), Stream(f"{work}/heat.mkv")
    for name, stream in (("radar", sense), ("wire", heat)):
        records = []
        for _, payload in stream.blocks[name]:
            f = fields(payload)
            f["raw"] -= mono
            records.append((struct.unpack_from("<Q", payload, TIME_BYTES + 20)[0]
                            if payload[TIME_BYTES:TIME_BYTES + 4] == b"KVSR" else None, f))
        check_track(name, records, listener.samples[ids[name]])
        check_radar(name, radars[name], records)
    scans = []
    at = 0
    for _, payload in sense.blocks["scans"]:
        scans.append((at, fields(payload)))
        at += (len(payload) - TIME_BYTES) // 16
    check_track("scans", scans, listener.samples[ids["scans"]])
    with open(f"{work}/report.json", encoding="ascii") as f:
        core = [s for s in json.load(f)["sources"] if s["name"] == "core"][0]
    check_core(Tap(f"{work}/core"), listener.samples[ids["core"]], offset, core)
    check_sound(Tap(f"{work}/sound"), listener.samples[ids["sound"]], offset)
    for child in (player, serve):
        child.terminate()
        child.wait()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
