#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`kvsd agent` with five made-up sources and two of records into four streams of `kvsd serve`, and what a reader gets.

front: colour bars as H.264, a RADAR's records. gate: counts of a thermal core as FFV1 and a view of
them as H.264, a tone. field: records alone. wire: records that this script writes to a FIFO and sends
by UDP, header and all: they must come back as they were written. What went in is what the agent's --tap says; what
comes back is read without the product's parsers. O=build: where the programs are.

agent_synthetic.py [PART...]: "tracks" is all of that. In a guest whose clock stands while code runs (HIL_CLOCK=virtual)
nothing is too slow, so that none may be lost however busy the machine is. "slow", an encoder that cannot follow, is
of the real clock.
"""
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
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import kvs_client  # noqa: E402
from records import record  # noqa: E402
from agent_tracks import TIME_BYTES, Stream, Tap, alaw_error, aligned_fields, record_fields, same_times  # noqa: E402

O = os.environ.get("O", "build")
VIRTUAL = os.environ.get("HIL_CLOCK") == "virtual"
DURATION_S = int(os.environ.get("DURATION_S", "8"))
HEAD = """\
[service]
endpoint = {endpoint}
ca_bundle = {ca}
credentials = {credentials}
[agent]
stop_timeout = 30s
"""
CONF = HEAD + """\
[stream front]
[stream gate]
[stream field]
[stream wire]
[source bars]
kind = synthetic
pattern = bars
stream = front
size = 320x240
rate = 25
buffers = 16
encoder = openh264
bitrate = 1M
[source radar]
kind = synthetic
pattern = radar
stream = front
buffers = 16
[source core]
kind = synthetic
pattern = thermal
stream = gate
size = 160x120
rate = 9
buffers = 16
encoder = ffv1
view = yes
view_encoder = openh264
palette = iron
bitrate = 300k
telemetry_rows = 2
scale_uk = 10000
offset_uk = -1000000
spot = 10,20
[source tone]
kind = synthetic
pattern = tone
stream = gate
sample_rate = 8000
buffers = 32
encoder = {audio}
[source lone]
kind = synthetic
pattern = radar
stream = field
buffers = 16
[source fifo]
kind = records
device = pipe:{fifo}
stream = wire
[source datagrams]
kind = records
device = udp:127.0.0.1:{port}
stream = wire
"""
# More frames than any encoder takes, beside a source that must not notice. Its buffers hold more than the whole run, so
# what it loses is not for want of a CPU.
SLOW = HEAD + """\
[stream slow]
[source storm]
kind = synthetic
pattern = thermal
stream = slow
size = 640x480
rate = 1000
encoder = ffv1
[source calm]
kind = synthetic
pattern = tone
stream = slow
sample_rate = 8000
frame_samples = 800
buffers = 32
encoder = aac
"""
SLOW_S = 3
CALM_FRAMES = SLOW_S * 8000 // 800
# Frames per second of those that are due by the clock alone.
RATES = {"bars": 25, "core": 9}
RECORD_HZ = 20
SENSOR_END_S = 2
THREADED = ("openh264", "ffv1")
failures = 0


def check(name, ok, detail=""):
    global failures
    failures += not ok
    print(f"{'ok' if ok else 'not ok'} - {name}" + (f": {str(detail)[:600]}" if detail != "" and not ok else ""),
          flush=True)


def run(*argv, **kw):
    return subprocess.run(argv, capture_output=True, **kw)


def numbered(sequence, payload, flags):
    return record(payload, sequence, 1000 * sequence, 1000000, b"TEST", flags)


class Sensor(threading.Thread):
    """Writes records, the last of them a while before the agent ends. @connect: what gives a function that takes one."""
    def __init__(self, seed, connect):
        super().__init__(daemon=True)
        self.connect, self.over, self.sent = connect, threading.Event(), {}
        rnd = random.Random(seed)
        # No payload, one byte, and what spans several reads of a pipe; sequence numbers that wrap.
        self.records = [numbered((i - 20) % (1 << 32), rnd.randbytes([0, 1, 17, 700, 1400, 4000][i % 6]), i % 10 == 9)
                        for i in range(RECORD_HZ * (DURATION_S - SENSOR_END_S))]
        self.start()

    def run(self):
        try:
            put = self.connect()
            for r in self.records:
                self.sent[struct.unpack_from("<I", r, 16)[0]] = r
                put(r)
                if self.over.wait(1 / RECORD_HZ):
                    return
        except (BrokenPipeError, ConnectionRefusedError):
            pass	# the agent has ended

    def stop(self):
        self.over.set()


def to_fifo(path, ready):
    ready.wait()
    fd = os.open(path, os.O_WRONLY)
    return lambda r: write_all(fd, r)


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]


def to_udp(port, ready):
    ready.wait()
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    return lambda r: s.sendto(r, ("127.0.0.1", port))


def free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def decode(path, track, *output):
    """Raw bytes of one track of an MKV file."""
    r = run("ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", f"0:{track - 1}", "-fps_mode", "passthrough",
            *output, "-f", "rawvideo", "-")
    return r.stdout, r.stderr.decode()[-300:]


def check_report(report):
    check("seven sources, four streams", (len(report["sources"]), len(report["streams"])) == (7, 4), report)
    for source in report["sources"]:
        check(f"{source['name']}: nothing was lost on our side",
              not any(source[k] for k in ("frames_lost", "frames_dropped", "frames_error", "overruns", "reopened")) and
              not any(t["frames_skipped"] or t["frames_queue_full"] for t in source["tracks"]) and
              source["frames_captured"] > 5 * DURATION_S, source)
        due = DURATION_S * RATES.get(source["name"], 0)
        check(f"{source['name']}: as many as were due came", not VIRTUAL or not due or
              abs(source["frames_captured"] - due) <= 1, source["frames_captured"])
        for t in source["tracks"]:
            check(f"{t['name']}: encoded on a thread of its own, if that takes long",
                  (t["queue_frames_max"] > 0) == (t["encoder"] in THREADED) and
                  (VIRTUAL or (t["encode_s"] > 0) == (t["encoder"] in THREADED)), t)
            # Refused are only those before the first key frame of their stream.
            check(f"{t['name']}: all was put", t["frames_put"] + t["frames_refused"] == t["frames_encoded"] ==
                  source["frames_captured"] and t["frames_refused"] <= 25, t)
    for s in report["streams"]:
        check(f"{s['name']}: every fragment was acknowledged",
              s["fragments_left"] == 0 and s["fragments_persisted"] == s["fragments_sealed"] == s["fragments_sent"] > 1,
              s)


def check_stream(name, stream, taps, expected):
    got = {n: (t["codec"], t["type"], t["number"]) for n, t in stream.tracks.items()}
    check(f"{name}: its tracks are declared in this order", got == expected, got)
    lengths = [b[0] - a[0] for a, b in zip(stream.fragments, stream.fragments[1:])]
    check(f"{name}: fragments are cut at 2 s, whatever the tracks", lengths and
          all(1900 <= ms <= 2600 for ms in lengths), lengths)
    whole = set(range(1, len(expected) + 1))
    check(f"{name}: each fragment has a frame of each track", all(f[1] == whole for f in stream.fragments[:-1]),
          stream.fragments)
    for track in expected:
        check(f"{track}: every frame comes back at its time", same_times(stream.blocks[track], taps[track].put),
              f"{len(stream.blocks[track])} of {len(taps[track].put)}")


def check_records(name, stream, tap):
    good = 0
    for (_, payload), (time_ns, stamp_ns, _), raw in zip(stream.blocks[name], tap.put, tap.sources):
        record = payload[TIME_BYTES:]
        good += (record_fields(payload) == (time_ns, stamp_ns) and record == raw and
                 record[:4] == b"KVSR")
    check(f"{name}: each record is whole, its time in front to the ns", good == len(tap.put) > 10,
          f"{good} of {len(tap.put)}")
    aligned = [aligned_fields(payload) for _, payload in stream.blocks[name]]
    same = all(abs((a["unix"] - a["boot"]) - (b["unix"] - b["boot"])) <= a["sigma"] + b["sigma"]
               for a, b in zip(aligned, aligned[1:]) if a["epoch"] == b["epoch"])
    check(f"{name}: its aligned time is the same on both clocks", same, aligned)
    check(f"{name}: most times are read off a line", all(0 < a["by"] < 4 for a in aligned) and
          2 * sum(a["by"] > 1 for a in aligned) > len(aligned), aligned)
    private = json.loads(stream.tracks[name]["private"])
    check(f"{name}: the codec private says what it is", private["format"] == "KVSR" and
          private["time_bytes"] == TIME_BYTES, private)


def check_sensor(name, stream, tap, sensor):
    """What came back is a run of what was written, without a gap, byte by byte."""
    got = [payload[TIME_BYTES:] for _, payload in stream.blocks[name]]
    sent = list(sensor.sent.values())
    first = sent.index(got[0]) if got and got[0] in sent else -1
    check(f"{name}: the records that were written come back, byte by byte",
          first >= 0 and got == sent[first:first + len(got)] and len(got) == len(tap.put) > 5 * DURATION_S,
          f"{len(got)} of {len(sent)} from {first}, put {len(tap.put)}")
    check(f"{name}: none is missing at the ends", first == 0 and len(got) == len(sent) == len(sensor.records),
          f"{first} + {len(got)} of {len(sent)}")


def check_picture(name, path, stream, tap, size):
    with open(path + ".raw", "wb") as f:
        f.write(tap.whole)
    r = run("ffmpeg", "-v", "error", "-nostdin", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", size, "-i",
            path + ".raw", "-i", path, "-lavfi",
            "[0:v]tpad=stop=1:stop_mode=clone,settb=1/30,setpts=N[a];"
            f"[1:{stream.tracks[name]['number'] - 1}]tpad=stop=1:stop_mode=clone,settb=1/30,setpts=N[b];"
            "[b][a]psnr=stats_file=-", "-fps_mode", "passthrough", "-f", "null", "-", text=True)
    values = [float(v) for v in re.findall(r"psnr_avg:(\S+)", r.stdout)]
    check(f"{name}: decodes to what was seen (PSNR > 28 dB, each frame)",
          len(values) == len(tap.put) + 1 and min(values) > 28,
          f"{len(values)} of {len(tap.put)}, lowest {min(values or [0])} {r.stderr[-300:]}")


def check_tone(path, stream, tap, audio):
    number = stream.tracks["tone"]["number"]
    r = run("ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", f"0:{number - 1}", "-f", "s16le", "-")
    ok = len(r.stdout) == len(tap.whole) > 8000 * DURATION_S and alaw_error(tap.whole, r.stdout) <= 16
    check(f"tone: decodes to what was heard ({audio})", ok, f"{len(r.stdout)} of {len(tap.whole)} "
          f"{r.stderr.decode()[-300:]}")


def judge(work, audio, sensors):
    report = json.load(open(f"{work}/report.json"))
    check_report(report)
    taps = {name: Tap(f"{work}/tap/{name}") for name in ("bars", "radar", "core", "core-view", "tone", "lone",
                                                "fifo", "datagrams")}
    front, gate, field, wire = (Stream(f"{work}/{name}.mkv") for name in ("front", "gate", "field", "wire"))
    codec = "A_MS/ACM" if audio == "alaw" else "A_PCM/INT/LIT"
    check_thermal(report, taps["core"])
    check_stream("front", front, taps, {"bars": ("V_MPEG4/ISO/AVC", 1, 1), "radar": ("D_KVSD/RECORDS", 33, 2)})
    check_stream("gate", gate, taps, {"core-view": ("V_MPEG4/ISO/AVC", 1, 1), "core": ("V_FFV1", 1, 2),
                                      "tone": (codec, 2, 3)})
    check_stream("field", field, taps, {"lone": ("D_KVSD/RECORDS", 33, 1)})
    check_records("radar", front, taps["radar"])
    check_records("lone", field, taps["lone"])
    check_stream("wire", wire, taps, {"fifo": ("D_KVSD/RECORDS", 33, 1), "datagrams": ("D_KVSD/RECORDS", 33, 2)})
    for name, sensor in sensors.items():
        check_records(name, wire, taps[name])
        check_sensor(name, wire, taps[name], sensor)
    check_picture("bars", f"{work}/front.mkv", front, taps["bars"], "320x240")
    check_picture("core-view", f"{work}/gate.mkv", gate, taps["core-view"], "160x118")
    counts, said = decode(f"{work}/gate.mkv", 2, "-pix_fmt", "gray16le")
    check("core: the counts come back, each bit of them", counts == taps["core"].whole and len(counts) > 0,
          f"{len(counts)} of {len(taps['core'].whole)}, {zlib.crc32(counts):x} {said}")
    check_tone(f"{work}/gate.mkv", gate, taps["tone"], audio)
    probe = json.loads(run("ffprobe", "-v", "quiet", "-show_streams", "-of", "json", f"{work}/gate.mkv").stdout)
    check("FFmpeg knows what the tracks are", [s["codec_name"] for s in probe["streams"]] ==
          ["h264", "ffv1", "pcm_alaw" if audio == "alaw" else "pcm_s16le"], probe)


def check_thermal(report, tap):
    """What the report says of the last picture, measured again in its counts."""
    (core,) = (s for s in report["sources"] if s["name"] == "core")
    counts, view = sorted(core["tracks"], key=lambda t: t["name"])
    said = view.get("thermal", {})
    frame = struct.unpack("<19200H", tap.sources[-1])
    picture = frame[:160 * 118]
    spot = [frame[y * 160 + x] for y in (19, 20, 21) for x in (9, 10, 11)]

    def point(x, y, count):
        return {"x": x, "y": y, "count": count, "temperature_mk": count * 10 - 1000}

    def place(count):
        at = picture.index(count)
        return point(at % 160, at // 160, count)

    check("core: the report has its coldest and hottest pixel, in kelvin and where", said.get("min") ==
          place(min(picture)) and said.get("max") == place(max(picture)), (said, min(picture), max(picture)))
    mean, near = sum(picture) / len(picture), sum(spot) / 9
    check("core: ... its mean and its spot", abs(said["mean"]["count"] - mean) <= 0.5 and
          abs(said["mean"]["temperature_mk"] - (mean * 10 - 1000)) <= 1 and
          (said["spot"]["x"], said["spot"]["y"]) == (10, 20) and abs(said["spot"]["count"] - near) <= 0.5 and
          abs(said["spot"]["temperature_mk"] - (near * 10 - 1000)) <= 1, (said, mean, near))
    check("core: ... the range that it shows", said["range"] == "auto" and min(picture) - 64 <= said["shown_min"] <
          said["shown_max"] <= max(picture) + 64, said)
    check("core: ... and what its telemetry begins with", said["telemetry_rows"] == 2 and
          said["telemetry"] == tap.sources[-1][118 * 320:][:64].hex(), said)
    check("core: only its view measures", "thermal" not in counts, counts)


def run_agent(conf, work):
    """With sensors that begin once it says that its sources are open."""
    ready = threading.Event()
    sensors = {"fifo": Sensor(1, lambda: to_fifo(conf["fifo"], ready)),
               "datagrams": Sensor(2, lambda: to_udp(conf["port"], ready))}
    with open(f"{work}/agent.err", "w") as err:
        agent = subprocess.Popen([f"{O}/kvsd", "agent", "--config", f"{work}/agent.conf", "--duration",
                                  f"{DURATION_S}s", "--report", f"{work}/report.json", "--tap", f"{work}/tap"],
                                 stdout=subprocess.PIPE, stderr=err, text=True)
        agent.stdout.readline()
        ready.set()
        agent.communicate(timeout=DURATION_S + 60)
    for sensor in sensors.values():
        sensor.stop()
        sensor.join(5)
    check("the agent ends with all safe", agent.returncode == 0, open(f"{work}/agent.err").read())
    return agent.returncode, sensors


def check_all_troubles(work):
    """A start that cannot work says all that is wrong, not only the first."""
    text = open(f"{work}/agent.conf").read()
    text = text.replace("pipe:", "pipe:/nowhere").replace("udp:127.0.0.1:", "udp:192.0.2.1:")
    with open(f"{work}/bad.conf", "w") as f:
        f.write(text)
    r = run(f"{O}/kvsd", "agent", "--config", f"{work}/bad.conf", "--duration", "1s", text=True)
    check("all sources that cannot be opened are named at once", r.returncode == 1 and "fifo: " in r.stderr and
          "datagrams: " in r.stderr, r)


def check_slow_encoder(work, service):
    """A source whose encoder cannot follow loses frames, counts them and costs the other one nothing."""
    with open(f"{work}/slow.conf", "w") as f:
        f.write(SLOW.format(**service.ready))
    r = run(f"{O}/kvsd", "agent", "--config", f"{work}/slow.conf", "--duration", f"{SLOW_S}s", "--report",
            f"{work}/slow.json", text=True)
    check("a slow encoder: all is safe at the end", r.returncode == 0, r)
    storm, calm = json.load(open(f"{work}/slow.json"))["sources"]
    (track,) = storm["tracks"]
    print(f"   storm: {storm['frames_captured']} frames encoded in {track['encode_s']} s, {storm['frames_lost']} lost, "
          f"held for {storm['held_s']} s; calm: {calm['frames_captured']} frames, {calm['frames_lost']} lost")
    check("what it cannot take stays in the source, is lost there and counted", storm["frames_lost"] > 0 and
          storm["held_s"] > 0 and storm["frames_dropped"] == storm["frames_copied"] == 0, storm)
    check("each frame that was taken is encoded, also those that waited at the end",
          track["frames_encoded"] == storm["frames_captured"] > 0 and track["queue_frames_max"] > 1 and
          track["encode_s"] > 0, track)
    check("the other source lost nothing", not any(calm[k] for k in ("frames_lost", "frames_dropped", "overruns")) and
          3 * calm["frames_captured"] > 2 * CALM_FRAMES and not calm["tracks"][0]["frames_queue_full"], calm)


def check_tracks(work, service):
    audio = os.environ.get("AUDIO", "alaw")
    env = dict(os.environ, AWS_ENDPOINT_URL=service.ready["endpoint"], AWS_CA_BUNDLE=service.ready["ca"],
               AWS_SHARED_CREDENTIALS_FILE=service.ready["credentials"])
    os.mkdir(f"{work}/tap")
    conf = dict(service.ready, audio=audio, fifo=f"{work}/fifo", port=free_port())
    os.mkfifo(conf["fifo"])
    with open(f"{work}/agent.conf", "w") as f:
        f.write(CONF.format(**conf))
    good = run(f"{O}/kvsd", "agent", "--check", "--config", f"{work}/agent.conf", text=True)
    check("--check says that it is good", good.returncode == 0 and "good" in good.stdout, good)
    check_all_troubles(work)
    code, sensors = run_agent(conf, work)
    for name in ("front", "gate", "field", "wire"):
        run(f"{O}/kvsctl", "get", name, "--start", "EARLIEST", "--no-follow", "--raw", "-o",
            f"{work}/{name}.mkv", env=env, check=True)
    if code == 0:
        judge(work, audio, sensors)


PARTS = {"tracks": check_tracks, "slow": check_slow_encoder}


def main():
    with tempfile.TemporaryDirectory() as work:
        service = kvs_client.Service.start([f"{O}/kvsd"], f"{work}/data", log=f"{work}/serve.log")
        try:
            for part in sys.argv[1:] or PARTS:
                PARTS[part](work, service)
        finally:
            service.stop()
        if os.environ.get("KEEP"):
            subprocess.run(["cp", "-r", work, os.environ["KEEP"]], check=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
