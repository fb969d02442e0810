#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""agent_cameras.py: the guest's half of test_agent_cameras.sh. Shares no code with the product."""
import glob
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from agent_tracks import Stream  # noqa: E402

FRAMES, GOP = 60, 15
CAMERA = "/sys/kernel/debug/codedcam/stream"
SEI, SPS, PPS, AUD = 6, 7, 8, 9
failures = 0


def check(name, ok, detail=""):
    global failures
    failures += not ok
    print(f"{'ok' if ok else 'not ok'} - {name}" + (f": {str(detail)[:600]}" if not ok else ""), flush=True)


def run(*args, **options):
    return subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, **options)


def nal_units(data):
    """Of Annex B; no zeros at their ends."""
    return [n.rstrip(b"\0") for n in data.split(b"\0\0\1")[1:]]


def nal_units_sized(payload):
    out, at = [], 0
    while at < len(payload):
        size = int.from_bytes(payload[at:at + 4], "big")
        out.append(payload[at + 4:at + 4 + size])
        at += 4 + size
    return [n.rstrip(b"\0") for n in out]


def kind(nal):
    return nal[0] & 31


def annex_b(nals):
    return b"".join(b"\0\0\0\1" + n for n in nals)


def h264(headers_always):
    """Access units; each has one slice."""
    raw = run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc=size=320x240:rate=30:duration={FRAMES / 30}", "-c:v", "libx264",
              "-preset", "ultrafast", "-tune", "zerolatency", "-x264-params", f"keyint={GOP}:min-keyint={GOP}:scenecut=0:slices=1:sliced-threads=0",
              "-pix_fmt", "yuv420p", "-threads", "1", "-f", "h264", "-").stdout
    units, pending = [], []
    for nal in nal_units(raw):
        if kind(nal) in (SPS, PPS) and units and not headers_always:
            continue
        if kind(nal) not in (SEI, AUD):
            pending.append(nal)
        if kind(nal) in (1, 5):
            units.append(annex_b(pending))
            pending = []
    return units


def mjpeg():
    raw = run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"testsrc=size=320x240:rate=30:duration={FRAMES / 30}", "-c:v", "mjpeg",
              "-q:v", "5", "-pix_fmt", "yuvj420p", "-f", "mjpeg", "-").stdout
    return [b"\xff\xd8\xff" + part for part in raw.split(b"\xff\xd8\xff")[1:]]


def give(units):
    """Each write is a frame; the camera has room for all of them."""
    fd = os.open(CAMERA, os.O_WRONLY)
    for unit in units:
        assert os.write(fd, unit) == len(unit)
    os.close(fd)


def pictures(path, *options):
    """A hash of each decoded picture."""
    said = run("ffmpeg", "-v", "error", "-nostdin", *options, "-i", path, "-map", "0:0", "-fps_mode", "passthrough", "-f", "framemd5", "-")
    return [line.split(b",")[-1].strip() for line in said.stdout.splitlines() if not line.startswith(b"#")], said.stderr.decode()


class Service:
    def __init__(self, work):
        self.process = subprocess.Popen(["kvsd", "serve", "--quickstart", f"{work}/service", "--listen", "127.0.0.1:0"],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        ready = json.loads(self.process.stdout.readline())
        self.ready = ready
        os.environ.update(AWS_ENDPOINT_URL=ready["endpoint"], AWS_CA_BUNDLE=ready["ca"], AWS_SHARED_CREDENTIALS_FILE=ready["credentials"])

    def stop(self):
        self.process.terminate()
        return self.process.wait(60)


def agent(service, work, name, lines, during=None, seconds=6):
    """Its report. @during: called while frames come."""
    conf = f"{work}/{name}.conf"
    with open(conf, "w") as f:
        f.write(f"[service]\nendpoint = {service.ready['endpoint']}\nca_bundle = {service.ready['ca']}\n"
                f"credentials = {service.ready['credentials']}\n[agent]\nstop_timeout = 60s\n[stream {name}]\n[source cam]\nkind = camera\n"
                f"stream = {name}\ntimeout = 20s\n{lines}")
    os.mkdir(f"{work}/{name}")
    p = subprocess.Popen(["kvsd", "agent", "--config", conf, "--duration", f"{seconds}s", "--report", f"{work}/{name}.json",
                          "--tap", f"{work}/{name}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if during:
        frames = f"{work}/{name}/cam/raw"
        while p.poll() is None and not (os.path.exists(frames) and os.path.getsize(frames)):
            time.sleep(0.05)
        if p.poll() is None:
            during()
    said = p.communicate(timeout=120)[1]
    check(f"{name}: the agent ends well", p.returncode == 0, said)
    got = run("kvsctl", "get", name, "--start", "EARLIEST", "--no-follow", "--raw", "-o", f"{work}/{name}.mkv")
    check(f"{name}: and its stream can be read", got.returncode == 0, got.stderr.decode())
    return json.load(open(f"{work}/{name}.json"))["sources"][0]


def check_source(name, source, track, fourcc, codec):
    sent = source["tracks"][0]
    check(f"{name}: {FRAMES} frames, none lost, none encoded again", source["format"] == fourcc and source["frames_captured"] == FRAMES and
          not source["frames_lost"] + source["frames_dropped"] + source["frames_error"] and sent["encoder"] == "none" and
          sent["frames_put"] == FRAMES and not sent["raw_copies"], source)
    check(f"{name}: the track is {codec}", track["codec"] == codec, track)


def check_h264(service, work, name, headers_always):
    units = h264(headers_always)
    keys = [i for i, u in enumerate(units) if any(kind(n) == 5 for n in nal_units(u))]
    with_sets = [i for i, u in enumerate(units) if any(kind(n) == SPS for n in nal_units(u))]
    check(f"{name}: what the camera has", len(units) == FRAMES and keys == list(range(0, FRAMES, GOP)) and
          with_sets == (keys if headers_always else [0]), (len(units), keys, with_sets))
    give(units)
    source = agent(service, work, name, "match = codedcam\nformat = H264\nencoder = none\n")
    stream = Stream(f"{work}/{name}.mkv")
    check_source(name, source, stream.tracks["cam"], "H264", "V_MPEG4/ISO/AVC")
    slices = [[n for n in nal_units_sized(p) if kind(n) in (1, 5)] for _, p in stream.blocks["cam"]]
    check(f"{name}: each slice comes back as the camera made it", slices == [[n for n in nal_units(u) if kind(n) in (1, 5)] for u in units],
          f"{len(slices)} of {len(units)}")
    sps = next(n for n in nal_units(units[0]) if kind(n) == SPS)
    check(f"{name}: the track has its parameter sets", sps in stream.tracks["cam"]["private"], stream.tracks["cam"]["private"].hex())
    check(f"{name}: its fragments begin with key frames", len(stream.fragments) >= 1 and all(
        any(ms == base and kind(nal_units_sized(p)[-1]) == 5 for ms, p in stream.blocks["cam"]) for base, _ in stream.fragments), stream.fragments)
    with open(f"{work}/{name}.h264", "wb") as f:
        f.write(b"".join(units))
    wanted, _ = pictures(f"{work}/{name}.h264")
    got, said = pictures(f"{work}/{name}.mkv")
    check(f"{name}: every picture decodes to what was encoded", len(wanted) == FRAMES and got == wanted and not said, f"{len(got)} {said}")


def check_mjpeg(service, work):
    units = mjpeg()
    give(units)
    source = agent(service, work, "mjpeg", "match = codedcam\nformat = MJPG\nencoder = none\n")
    stream = Stream(f"{work}/mjpeg.mkv")
    check_source("mjpeg", source, stream.tracks["cam"], "MJPG", "V_MJPEG")
    check("mjpeg: each picture comes back byte by byte", [p for _, p in stream.blocks["cam"]] == units and len(units) == FRAMES,
          f"{len(stream.blocks['cam'])} of {len(units)}")


def check_library(work):
    """The library alone: what the camera gives, in its buffers, on each rung that it has."""
    for fourcc, units in (("H264", h264(True)[:8]), ("MJPG", mjpeg()[:8])):
        for rung in ("S1", "S3"):
            give(units)
            said = run("capture_probe", "capture", "--device", node(), "--format", fourcc, "--size", "320x240", "--rung", rung,
                       "--frames", "8", "--raw", f"{work}/raw")
            got = json.loads(said.stdout.splitlines()[-1])
            raw = open(f"{work}/raw", "rb").read()
            check(f"{fourcc}, {rung}: 8 frames as they are, no copy", got.get("rung") == rung and got["frames"] == 8 and not got["touched"] and
                  hashlib.sha256(raw).digest() == hashlib.sha256(b"".join(units)).digest(), got)


def node(wanted="codedcam"):
    for name in sorted(os.listdir("/sys/class/video4linux")):
        if open(f"/sys/class/video4linux/{name}/name").read().strip() == wanted:
            return f"/dev/{name}"
    raise RuntimeError(f"no {wanted}")


# --- set up by the config -----------------------------------------------------------------

def controls(device, *names):
    said = run("v4l2-ctl", "-d", device, "-C", ",".join(names)).stdout.decode()
    return dict(line.split(": ") for line in said.splitlines())


def settled(device):
    """All that can be set, without what changes by itself."""
    said = run("v4l2-ctl", "-d", device, "--all", "-L").stdout.decode()
    return [line.split("flags=")[0].rstrip() for line in said.splitlines()
            if "volatile" not in line and "read-only" not in line and "inactive" not in line]


def graph():
    path = next(m for m in sorted(glob.glob("/dev/media*")) if b"vimc" in run("media-ctl", "-d", m, "-p").stdout)
    return run("media-ctl", "-d", path, "-p").stdout.decode()


def check_receiver(service, work):
    """HDMI, with its timings, a part of the picture, and controls by name."""
    device = node("vivid-000-vid-cap")
    for at in ("3", "0"):   # what vivid calls inactive settles with the first change
        run("v4l2-ctl", "-d", device, "-i", at)
    before = settled(device)
    seen = {"controls": {}, "all": "", "crop": ""}

    def during():
        seen["controls"] = controls(device, "brightness", "test_pattern", "gain", "gain_automatic")
        seen["all"] = run("v4l2-ctl", "-d", device, "--all").stdout.decode()
        seen["crop"] = run("v4l2-ctl", "-d", device, "--get-selection", "target=crop").stdout.decode()
    source = agent(service, work, "receiver", f"device = {device}\nformat = YUYV\nsize = 640x480\nencoder = jpeg\ninput = 3\ntimings = auto\n"
                   "control.brightness = 400\ncontrol.test_pattern = 4\ncontrol.gain_automatic = 0\ncontrol.gain = 77\ncrop = 640x480+64+32\n",
                   during, 3)
    wanted = {"brightness": "400", "test_pattern": "4", "gain_automatic": "0", "gain": "77"}
    check("receiver: its controls are as the config has them", {k: v.split()[0] for k, v in seen["controls"].items()} == wanted, seen["controls"])
    check("receiver: so are its input and what is cut out", "Video input : 3" in seen["all"] and
          "Left 64, Top 32, Width 640, Height 480" in seen["crop"], seen)
    check("receiver: frames come, none by a copy", source["frames_captured"] > 10 and not source["frames_copied"] and
          (source["width"], source["height"]) == (640, 480), source)
    after = settled(device)
    check("receiver: all is put back", len(before) > 20 and after == before, set(after) ^ set(before))


def check_pipeline(service, work):
    """A raw sensor, its mosaic and a scaler, whose formats do not agree until the agent makes them."""
    # The sensor feeds this one as well, on a link that cannot be cut.
    run("v4l2-ctl", "-d", node("Raw Capture 0"), "-v", "width=320,height=240,pixelformat=RGGB")
    before = graph()
    device = node("RGB/YUV Capture")
    refused = run("v4l2-ctl", "-d", device, "-v", "width=320,height=240,pixelformat=RGB3", "--stream-mmap", "--stream-count=1")
    check("pipeline: it does not stream as it is", b"Broken pipe" in refused.stderr + refused.stdout, refused)
    kept = settled(device)
    seen = {"graph": ""}
    source = agent(service, work, "pipeline", "match = Debayer A\nformat = RGB3\nsize = 320x240\nencoder = raw\n"
                   "links = 'Debayer A':1 -> 'Scaler':0 [1]\nlinks = 'Debayer B':1 -> 'Scaler':0 [0]\n"
                   "pads = 'Sensor A':0 [fmt:SRGGB8_1X8/320x240], 'Debayer A':0 [fmt:SRGGB8_1X8/320x240]\n"
                   "pads = 'Debayer A':1 [fmt:RGB888_1X24/320x240]\n"
                   "pads = 'Scaler':0 [fmt:RGB888_1X24/320x240 crop:(0,0)/160x120], 'Scaler':1 [fmt:RGB888_1X24/320x240]\n", lambda: seen.update(graph=graph()), 2)
    check("pipeline: frames come", source["frames_captured"] > 3 and source["device"] == device, source)
    check("pipeline: its pads are as the config has them", seen["graph"] != before and "SRGGB8_1X8/320x240" in seen["graph"] and
          "crop:(0,0)/160x120" in seen["graph"], seen["graph"])
    check("pipeline: pads, links and node are put back", graph() == before and settled(device) == kept)


def check_doctor():
    give(h264(True))
    said = run("kvsctl", "doctor", "codedcam", "--seconds", "1", "--json")
    report = json.loads(said.stdout)
    suggested = report["suggested"] or ""
    check("doctor: its frames need no encoder", said.returncode == 0 and "encoder = none" in suggested and "format = H264" in suggested and
          "size = 320x240" in suggested, suggested)


def main():
    work = tempfile.mkdtemp()
    service = Service(work)
    check_library(work)
    check_h264(service, work, "each", True)
    check_h264(service, work, "first", False)
    check_mjpeg(service, work)
    check_receiver(service, work)
    check_pipeline(service, work)
    check_doctor()
    check("the service ends well", service.stop() == 0)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
