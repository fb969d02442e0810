#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""agent_check.py openh264|m2m|slow-acks|refusals DIR: what came back from the service against what went in.

DIR is what test_agent.sh collected: tap/cam/raw and tap/cam/frames (the agent's own record), media.mkv
(GetMedia), clip.mp4 (GetClip), report.json. Independent of the product's parsers.
For slow-acks: prompt/ and slow/ with tap/frames and report.json of two agents that ran side by side;
ACK_DELAY: of the slow one, seconds.
`agent_check.py fwht FILE` writes the frames of a GetMedia body to stdout.
"""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import matroska  # noqa: E402

UUID = bytes.fromhex("9344c29079749ab779abc5232a65981e")
SIZE, PSNR_MIN = "640x480", 30.0
failures = 0


def check(name, ok, detail=""):
    global failures
    failures += not ok
    print(f"{'ok' if ok else 'not ok'} - {name}" + (f": {detail}" if detail and not ok else ""))


def documents(body):
    """A GetMedia body cut at its EBML headers, found by walking, not by searching."""
    starts = [start for ident, start, _, _ in matroska.level1(body) if ident == matroska.EBML]
    return [body[a:b] for a, b in zip(starts, starts[1:] + [len(body)])]


def media_frames(path):
    """[(timecode ms, key, payload)] in order, and the number of documents."""
    out = []
    docs = documents(open(path, "rb").read())
    for doc in docs:
        for ident, start, _, end in matroska.level1(doc):
            if ident != matroska.CLUSTER:
                continue
            cluster = doc[start:end]
            base = matroska.cluster_timecode(cluster)
            out += [(base + rel, bool(flags & 0x80), payload)
                    for _, rel, flags, payload in matroska.frames(cluster)]
    return out, len(docs)


def nal_units(payload):
    at = 0
    while at < len(payload):
        size = int.from_bytes(payload[at:at + 4], "big")
        assert at + 4 + size <= len(payload), "a NAL unit is cut"
        yield payload[at + 4:at + 4 + size]
        at += 4 + size


def frame_time(payload):
    """(aligned ns, raw ns) of our SEI, or None."""
    for nal in nal_units(payload):
        if nal[0] & 31 != 6:
            continue
        rbsp = re.sub(rb"\x00\x00\x03", b"\x00\x00", nal[1:])
        if rbsp[0] == 5 and rbsp[2:18] == UUID:
            return int.from_bytes(rbsp[18:26], "big"), int.from_bytes(rbsp[34:42], "big")
    return None


def tap(directory):
    raw, put = [], []
    for line in open(os.path.join(directory, "tap", "cam", "frames")):
        word, *values = line.split()
        (raw if word == "raw" else put).append([int(v) for v in values])
    return raw, put


def read_report(directory):
    """The report of an agent with one source of one track, as one level of figures."""
    report = json.load(open(os.path.join(directory, "report.json")))
    (source,), (stream,) = report["sources"], report["streams"]
    (track,) = source["tracks"]
    return {**source, **track, **stream}


def psnr(directory, arguments):
    """PSNR of each frame of the video that arguments open, against tap/cam/raw."""
    r = subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", SIZE, "-i",
         os.path.join(directory, "tap", "cam", "raw"), *arguments, "-lavfi",
         # One frame more at the end of both: the filter keeps back the last one.
         "[0:v]tpad=stop=1:stop_mode=clone,setpts=N/30/TB[a];"
         "[1:v]tpad=stop=1:stop_mode=clone,setpts=N/30/TB[b];[b][a]psnr=stats_file=-",
         "-fps_mode", "passthrough", "-f", "null", "-"],
        capture_output=True, text=True)
    if r.returncode:
        return None, r.stderr[-400:]
    return [float(v) for v in re.findall(r"psnr_avg:(\S+)", r.stdout)], ""


def frame_count(path):
    r = subprocess.run(["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v", "-show_entries",
                        "stream=nb_read_frames", "-of", "csv=p=0", path], capture_output=True, text=True)
    return r.stdout.strip(), r.stderr.strip()


def check_report(report, put):
    check("every captured frame was encoded and put",
          report["frames_skipped"] == 0 and report["frames_put"] == report["frames_captured"] == len(put), report)
    check("every fragment was persisted",
          report["fragments_left"] == 0 and report["fragments_dropped"] == 0 and
          report["fragments_persisted"] == report["fragments_sealed"] > 1, report)


def check_times(frames, raw, put):
    expected = [(ns + 500000) // 1000000 for ns, *_ in put]
    check("GetMedia returns every frame", len(frames) == len(put), f"{len(frames)} of {len(put)}")
    check("timecodes are the frames' times in ms", [f[0] for f in frames] == expected)
    check("timecodes never go back", all(a[0] < b[0] for a, b in zip(frames, frames[1:])))
    check("frames keep the kernel's stamps", [r[0] for r in raw][:len(put)] == [p[1] for p in put])


def check_h264(directory):
    raw, put = tap(directory)
    frames, docs = media_frames(os.path.join(directory, "media.mkv"))
    report = read_report(directory)
    check_report(report, put)
    check_times(frames, raw, put)
    check("one document per fragment", docs == report["fragments_sealed"], docs)
    times = [frame_time(f[2]) for f in frames]
    check("the ns times come back exactly", times == [(p[0], p[1]) for p in put])
    check("no raw frame was copied", report["raw_copies"] == 0, report["raw_copies"])
    check("the camera's memory is the arena (S1)", report["memory_rung"] == "S1", report["memory_rung"])
    annexb = os.path.join(directory, "media.h264")
    private = codec_private(os.path.join(directory, "media.mkv"))
    with open(annexb, "wb") as f:
        f.write(private)
        for _, _, payload in frames:
            f.write(b"".join(b"\0\0\0\1" + n for n in nal_units(payload)))
    for name, path in (("GetMedia", annexb), ("GetClip", os.path.join(directory, "clip.mp4"))):
        values, error = psnr(directory, ["-i", path])
        check(f"{name} decodes to what was captured (PSNR > {PSNR_MIN:.0f} dB, each frame)",
              bool(values) and len(values) == len(put) + 1 and min(values) > PSNR_MIN,
              error or f"{len(values or []) - 1} of {len(put)} frames, lowest {min(values or [0])}")
        if values:
            print(f"   {name}: {len(put)} frames, PSNR lowest {min(values):.1f} dB")
    count, error = frame_count(os.path.join(directory, "clip.mp4"))
    check("FFmpeg finds every frame in the clip, without complaint", count == str(len(put)) and not error,
          f"{count}: {error}")


def codec_private(path):
    """SPS and PPS of the first document's avcC, as Annex B."""
    data = documents(open(path, "rb").read())[0]
    for ident, start, body, end in matroska.level1(data):
        if ident != matroska.TRACKS:
            continue
        for entry, _, b, e in matroska.elements(data, body, end):
            if entry != matroska.TRACK_ENTRY:
                continue
            for leaf, _, lb, le in matroska.elements(data, b, e):
                if leaf == 0x63A2:
                    return parameter_sets(data[lb:le])
    return b""


def parameter_sets(avcc):
    out, at = b"", 5
    for mask in (31, 255):
        count = avcc[at] & mask
        at += 1
        for _ in range(count):
            size = int.from_bytes(avcc[at:at + 2], "big")
            out += b"\0\0\0\1" + avcc[at + 2:at + 2 + size]
            at += 2 + size
    return out


def check_m2m(directory):
    raw, put = tap(directory)
    frames, _ = media_frames(os.path.join(directory, "media.mkv"))
    report = read_report(directory)
    check_report(report, put)
    check_times(frames, raw, put)
    check("the encoder read the camera's memory", report["source_imported"] and report["raw_copies"] == 0, report)
    check("no byte of a raw frame was touched", report["raw_bytes_touched_per_frame"] == 0)
    check("payloads come back whole", [len(f[2]) for f in frames] == [p[2] for p in put])
    *lines, last = [json.loads(l) for l in open(os.path.join(directory, "decoded.json"))]
    check("vicodec decodes every frame", last["frames"] == len(put) == len(lines), last)
    check(f"and it is what was captured (PSNR > {PSNR_MIN:.0f} dB, each frame)", last["psnr_min"] > PSNR_MIN, last)
    print(f"   {last['frames']} frames, PSNR lowest {last['psnr_min']:.1f} dB")
    log = open(os.path.join(directory, "clip.log")).read()
    check("GetClip refuses FWHT", "UnsupportedStreamMediaType" in log and
          os.path.exists(os.path.join(directory, "clip.exit")), log)


def run_of(directory):
    report = read_report(directory)
    stamps = [p[1] / 1e9 for p in tap(directory)[1]] or [0.0]
    # What the camera lost although it had buffers is the guest's affair, not the agent's.
    offered = report["frames_captured"] + report["frames_starved"]
    return {"report": report, "stamps": stamps, "share": report["frames_captured"] / offered if offered else 0.0}


def compare_window(runs):
    """Both clocks are the guest's: what each did while both ran. When an agent opened its camera is the host's affair."""
    first = max(run["stamps"][0] for run in runs)
    last = min(run["stamps"][-1] for run in runs)
    for run in runs:
        inside = [s for s in run["stamps"] if first <= s <= last]
        run["span"] = last - first
        run["rate"] = len(inside) / (last - first) if last > first else 0.0
        run["gap"] = max([b - a for a, b in zip(inside, inside[1:])], default=float("inf"))


def check_slow_acks(directory):
    prompt, slow = runs = [run_of(os.path.join(directory, run)) for run in ("prompt", "slow")]
    compare_window(runs)
    for name, run in (("prompt", prompt), ("slow", slow)):
        report = run["report"]
        print(f"   {name} acks: {len(run['stamps'])} frames put, {report['frames_lost']} lost, "
              f"{report['frames_starved']} of them for want of a buffer; while both ran, {run['span']:.1f} s, "
              f"{run['rate']:.1f} per s, largest gap {run['gap']:.2f} s")
        check(f"{name} acks: every captured frame was put",
              report["frames_skipped"] == 0 and report["frames_dropped"] == 0 and
              report["frames_put"] == report["frames_captured"] == len(run["stamps"]) > 1, report)
        check(f"{name} acks: the camera was never reopened", report["reopened"] == 0, report)
        check(f"{name} acks: everything was sent once, and acknowledged",
              report["fragments_left"] == 0 and report["fragments_dropped"] == 0 and
              report["fragments_persisted"] == report["fragments_sent"] == report["fragments_sealed"] > 1, report)
    delay_ms = 1000 * float(os.environ["ACK_DELAY"])
    p50 = [run["report"]["persisted_latency_ms_p50"] for run in runs]
    check("the acks were what was asked for", p50[0] < 5 / 6 * delay_ms < p50[1], p50)
    check("slow acks: both ran together for most of the time", prompt["span"] >= 0.5 * max(
        run["stamps"][-1] - run["stamps"][0] for run in runs), [(r["stamps"][0], r["stamps"][-1]) for r in runs])
    # Against the agent beside it: a busy host takes frames from both, waiting for acks from one.
    for key, what in (("share", "the camera gave up as few frames"), ("rate", "as many frames per second")):
        check(f"slow acks: {what}", slow[key] >= 0.8 * prompt[key] > 0, (slow[key], prompt[key]))
    gap_max = max(2.0, 3 * prompt["gap"])
    check("slow acks: no gap between frames", slow["gap"] <= gap_max, (slow["gap"], gap_max))
    check("slow acks: frames came to the end", prompt["stamps"][-1] - slow["stamps"][-1] <= gap_max,
          (slow["stamps"][-1], prompt["stamps"][-1]))


def check_refusals(directory):
    said = {}
    for line in open(os.path.join(directory, "refusals")):
        name, code, text = line.rstrip("\n").split("\t")
        said[name] = (int(code), text)
    for name, code, parts in (
            ("size", 1, ("641x361", "640x360")), ("format", 1, ("ABCD", "YUYV")),
            ("missing", 1, ("/dev/video9", "No such file", "/dev/video0")),
            ("no camera", 1, ("/dev/null", "/dev/video0")), ("encoder", 1, ("no M2M encoder",)),
            ("key", 2, ("agent.conf:8", "[source cam] bogus")), ("busy", 1, ("/dev/video0", "in use"))):
        got = said.get(name, (None, ""))
        check(f"{name}: refused, and said why and what there is",
              got[0] == code and all(part in got[1] for part in parts), got)


def main():
    case, where = sys.argv[1:3]
    if case == "fwht":
        for _, _, payload in media_frames(where)[0]:
            sys.stdout.buffer.write(payload)
        return 0
    {"openh264": check_h264, "m2m": check_m2m, "slow-acks": check_slow_acks,
     "refusals": check_refusals}[case](where)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
