# SPDX-License-Identifier: Apache-2.0
"""In the guest: runs each program in turn and marks the seconds in which it is in full swing.

capture_guest.py BENCH_CAPTURE REPLAY_SO: JSON lines for the host, which reads the CPU time of
the guest's processes when it sees "begin" and "end". A line has the frames that vb2 gave out of the
camera until then, so that a busy host that loses frames skews nothing.
"""
import json
import os
import pathlib
import subprocess
import sys
import time

WARM_S = 4
MEASURE_S = 12
SIZE = (1280, 720)
TRACE = pathlib.Path("/sys/kernel/tracing")


def start_counting():
    """Every dequeued buffer of the camera is one event; the ring need not keep them."""
    event = TRACE / "events" / "vb2" / "vb2_dqbuf"
    (TRACE / "tracing_on").write_text("1")
    (event / "enable").write_text("1")


def dequeued():
    total = 0
    for cpu in (TRACE / "per_cpu").iterdir():
        fields = dict(line.split(": ") for line in (cpu / "stats").read_text().splitlines() if ": " in line)
        total += int(fields["entries"]) + int(fields["overrun"])
    return total


def gstreamer(camera):
    """The pipeline that copies least: DMA-buf exported by the camera, imported by the encoder."""
    return ["gst-launch-1.0", "-q", "v4l2src", f"device={camera}", "io-mode=dmabuf", "!",
            f"video/x-raw,format=I420,width={SIZE[0]},height={SIZE[1]},framerate=30/1", "!",
            "v4l2fwhtenc", "output-io-mode=dmabuf-import", "!", "fakesink", "sync=false"]


def ffmpeg(camera):
    """By the first encoder that gives H.264, as it comes: its Matroska writer wants SPS and PPS apart."""
    return ["ffmpeg", "-hide_banner", "-loglevel", "error", "-f", "v4l2", "-input_format", "yuv420p",
            "-video_size", f"{SIZE[0]}x{SIZE[1]}", "-framerate", "30", "-i", camera, "-c:v", "h264_v4l2m2m",
            "-g", "30", "-f", "h264", "-y", "/dev/null"]


def software(camera):
    """By x264, as Debian's FFmpeg has no openh264; as little of it as there is, and that is taken out again."""
    return ["ffmpeg", "-hide_banner", "-loglevel", "error", "-f", "v4l2", "-input_format", "yuv420p",
            "-video_size", f"{SIZE[0]}x{SIZE[1]}", "-framerate", "30", "-i", camera, "-c:v", "libx264", "-preset",
            "ultrafast", "-tune", "zerolatency", "-threads", "1", "-b:v", "2M", "-g", "30", "-f", "matroska",
            "-write_crc32", "0", "-y", "/dev/null"]


def node(text):
    """The device whose name in sysfs contains @text."""
    for path in sorted(pathlib.Path("/sys/class/video4linux").iterdir(), key=lambda p: int(p.name[5:])):
        if text in (path / "name").read_text():
            return f"/dev/{path.name}"
    raise SystemExit(f"no {text} here")


def mark(what, name, **more):
    print(json.dumps({"mark": what, "name": name, "events": dequeued(), **more}), flush=True)


def measure(name, argv, preload=""):
    run = subprocess.Popen(argv, env={**os.environ, "LD_PRELOAD": preload}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(WARM_S)
    mark("begin", name)
    time.sleep(MEASURE_S)
    gone = run.poll()
    status = pathlib.Path(f"/proc/{run.pid}/status").read_text() if gone is None else ""
    mark("end", name, kb={k: int(v.split()[0]) for k, v in
                          (line.split(":", 1) for line in status.splitlines() if ":" in line)
                          if k in ("RssAnon", "RssShmem")})
    # The host reads the CPU time now: the process must not be gone.
    time.sleep(1.5)
    run.terminate()
    out, error = run.communicate(timeout=20)
    if gone is not None:
        mark("failed", name, error=f"ended with {gone}: {error[-400:]}")
    else:
        mark("done", name, output=out.strip())


def main():
    ours, replay = sys.argv[1:]
    camera, fwht, h264 = node("vivid"), node("stateful-encoder"), node("vh264enc")
    start_counting()
    size = f"{SIZE[0]}x{SIZE[1]}"
    for _ in range(2):
        measure("loop", [ours, "loop", camera, fwht, size])
        measure("library", [ours, "library", camera, fwht, size])
        measure("gstreamer", gstreamer(camera))
        measure("record", [ours, "record", camera, h264, size])
        measure("ffmpeg", ffmpeg(camera))
        measure("software", [ours, "software", camera, "-", size], replay)
        measure("ffmpeg_software", software(camera), replay)


main()
