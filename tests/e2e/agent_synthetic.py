#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`kvsd agent` with five made-up sources into three streams of `kvsd serve`, and what a reader gets.

front: colour bars as H.264, a RADAR's records. gate: counts of a thermal core as FFV1 and a view of
them as H.264, a tone. field: records alone. What went in is what the agent's --tap says; what comes
back is read without the product's parsers. O=build: where the programs are.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import kvs_client  # noqa: E402
from agent_tracks import TIME_BYTES, Stream, Tap, alaw_error, record_fields, same_times  # noqa: E402

O = os.environ.get("O", "build")
DURATION_S = int(os.environ.get("DURATION_S", "8"))
CONF = """\
[service]
endpoint = {endpoint}
ca_bundle = {ca}
credentials = {credentials}
[agent]
stop_timeout = 30s
[stream front]
[stream gate]
[stream field]
[source bars]
kind = synthetic
pattern = bars
stream = front
size = 320x240
rate = 25
encoder = openh264
bitrate = 1M
[source radar]
kind = synthetic
pattern = radar
stream = front
[source core]
kind = synthetic
pattern = thermal
stream = gate
size = 160x120
rate = 9
encoder = ffv1
view = yes
view_encoder = openh264
palette = iron
bitrate = 300k
[source tone]
kind = synthetic
pattern = tone
stream = gate
sample_rate = 8000
encoder = {audio}
[source lone]
kind = synthetic
pattern = radar
stream = field
"""
failures = 0


def check(name, ok, detail=""):
    global failures
    failures += not ok
    print(f"{'ok' if ok else 'not ok'} - {name}" + (f": {str(detail)[:600]}" if detail != "" and not ok else ""),
          flush=True)


def run(*argv, **kw):
    return subprocess.run(argv, capture_output=True, **kw)


def decode(path, track, *output):
    """Raw bytes of one track of an MKV file."""
    r = run("ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", f"0:{track - 1}", "-fps_mode", "passthrough",
            *output, "-f", "rawvideo", "-")
    return r.stdout, r.stderr.decode()[-300:]


def check_report(report):
    check("five sources, three streams", (len(report["sources"]), len(report["streams"])) == (5, 3), report)
    for source in report["sources"]:
        check(f"{source['name']}: nothing was lost on our side",
              not any(source[k] for k in ("frames_lost", "frames_dropped", "frames_error", "overruns", "reopened")) and
              not any(t["frames_skipped"] for t in source["tracks"]) and source["frames_captured"] > 5 * DURATION_S,
              source)
        for t in source["tracks"]:
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
    for (_, payload), (time_ns, stamp_ns, _) in zip(stream.blocks[name], tap.put):
        record = payload[TIME_BYTES:]
        good += (record_fields(payload) == (time_ns, stamp_ns) and record == tap.raw[stamp_ns] and
                 record[:4] == b"KVSR")
    check(f"{name}: each record is whole, its time in front to the ns", good == len(tap.put) > 10,
          f"{good} of {len(tap.put)}")
    private = json.loads(stream.tracks[name]["private"])
    check(f"{name}: the codec private says what it is", private["format"] == "KVSR" and
          private["time_bytes"] == TIME_BYTES, private)


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


def judge(work, audio):
    report = json.load(open(f"{work}/report.json"))
    check_report(report)
    taps = {name: Tap(f"{work}/tap/{name}") for name in ("bars", "radar", "core", "core-view", "tone", "lone")}
    front, gate, field = (Stream(f"{work}/{name}.mkv") for name in ("front", "gate", "field"))
    codec = "A_MS/ACM" if audio == "alaw" else "A_PCM/INT/LIT"
    check_stream("front", front, taps, {"bars": ("V_MPEG4/ISO/AVC", 1, 1), "radar": ("D_KVSD/RECORDS", 33, 2)})
    check_stream("gate", gate, taps, {"core-view": ("V_MPEG4/ISO/AVC", 1, 1), "core": ("V_FFV1", 1, 2),
                                      "tone": (codec, 2, 3)})
    check_stream("field", field, taps, {"lone": ("D_KVSD/RECORDS", 33, 1)})
    check_records("radar", front, taps["radar"])
    check_records("lone", field, taps["lone"])
    check_picture("bars", f"{work}/front.mkv", front, taps["bars"], "320x240")
    check_picture("core-view", f"{work}/gate.mkv", gate, taps["core-view"], "160x120")
    counts, said = decode(f"{work}/gate.mkv", 2, "-pix_fmt", "gray16le")
    check("core: the counts come back, each bit of them", counts == taps["core"].whole and len(counts) > 0,
          f"{len(counts)} of {len(taps['core'].whole)}, {zlib.crc32(counts):x} {said}")
    check_tone(f"{work}/gate.mkv", gate, taps["tone"], audio)
    probe = json.loads(run("ffprobe", "-v", "quiet", "-show_streams", "-of", "json", f"{work}/gate.mkv").stdout)
    check("FFmpeg knows what the tracks are", [s["codec_name"] for s in probe["streams"]] ==
          ["h264", "ffv1", "pcm_alaw" if audio == "alaw" else "pcm_s16le"], probe)


def main():
    audio = os.environ.get("AUDIO", "alaw")
    with tempfile.TemporaryDirectory() as work:
        service = kvs_client.Service.start([f"{O}/kvsd"], f"{work}/data", log=f"{work}/serve.log")
        try:
            env = dict(os.environ, AWS_ENDPOINT_URL=service.ready["endpoint"], AWS_CA_BUNDLE=service.ready["ca"],
                       AWS_SHARED_CREDENTIALS_FILE=service.ready["credentials"])
            os.mkdir(f"{work}/tap")
            with open(f"{work}/agent.conf", "w") as f:
                f.write(CONF.format(audio=audio, **service.ready))
            good = run(f"{O}/kvsd", "agent", "--check", "--config", f"{work}/agent.conf", text=True)
            check("--check says that it is good", good.returncode == 0 and "good" in good.stdout, good)
            agent = run(f"{O}/kvsd", "agent", "--config", f"{work}/agent.conf", "--duration", f"{DURATION_S}s",
                        "--report", f"{work}/report.json", "--tap", f"{work}/tap", text=True)
            check("the agent ends with all safe", agent.returncode == 0, agent.stderr)
            for name in ("front", "gate", "field"):
                run(f"{O}/kvsctl", "get", name, "--start", "EARLIEST", "--no-follow", "--raw", "-o",
                    f"{work}/{name}.mkv", env=env, check=True)
            if agent.returncode == 0:
                judge(work, audio)
        finally:
            service.stop()
        if os.environ.get("KEEP"):
            subprocess.run(["cp", "-r", work, os.environ["KEEP"]], check=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
