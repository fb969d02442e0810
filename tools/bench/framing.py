# SPDX-License-Identifier: Apache-2.0
"""Framing: it touches no payload, and costs a tenth of the peer's muxer."""

import json
import os
import subprocess

from common import Missing, figure, median, run_cpu, say

RUNS = 7
FRAMES = 400_000
SIZES = (1 << 10, 1 << 20)
SIZE_RATIO_MAX = 1.3
PEER_RUNS = 5
PEER_RATIO_MAX = 0.1


def frame_sizes(program):
    """Interleaved, so that a slow second hits all sizes alike."""
    ns = {size: [] for size in SIZES}
    for _ in range(RUNS):
        for size in SIZES:
            _, out = run_cpu([program, "sizes", size, FRAMES])
            out = json.loads(out)
            if out["frames"] != FRAMES:
                raise Missing(f"{out['frames']} frames came out of {FRAMES}")
            ns[size].append(out["cpu_ns"] / FRAMES)
    small, large = (median(ns[size]) for size in SIZES)
    # Neither may cost more than the other: the ratio is of the dearer one.
    figure("framing.cpu_per_frame_1MB_over_1KB", max(small, large), "ns/frame",
           limit=SIZE_RATIO_MAX, peer=min(small, large), ns_1KB=small, ns_1MB=large,
           ns_min=min(min(v) for v in ns.values()), ns_max=max(max(v) for v in ns.values()),
           runs=RUNS, frames=FRAMES)


def make_file(directory):
    """Ten minutes of H.264 in MP4, made once: a minute encoded, then repeated."""
    path = directory / "ten-minutes.mp4"
    if path.exists():
        return path
    say("making ten minutes of H.264")
    minute = directory / "minute.mp4"
    part = directory / "part.mp4"
    ffmpeg = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
    subprocess.run([*ffmpeg, "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30:duration=60",
                    "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "60",
                    "-b:v", "500k", "-maxrate", "500k", "-bufsize", "500k",
                    "-pix_fmt", "yuv420p", minute], check=True)
    subprocess.run([*ffmpeg, "-stream_loop", "9", "-i", minute, "-c", "copy",
                    "-movflags", "+faststart", part], check=True)
    minute.unlink()
    part.rename(path)
    return path


def check_output(program, path, directory, frames):
    """What was framed is Matroska with every frame in it."""
    out = directory / "framed.mkv"
    run_cpu([program, "file", path, out])
    count = subprocess.run(
        ["ffprobe", "-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets",
         "-of", "csv=p=0", out], capture_output=True, text=True, check=True).stdout.strip()
    out.unlink()
    if int(count.strip(",")) != frames:
        raise Missing(f"ffprobe finds {count} of {frames} frames in what was framed")


def against_gstreamer(program, directory):
    path = make_file(directory)
    _, out = run_cpu([program, "file", path])
    frames = json.loads(out)["frames"]
    check_output(program, path, directory, frames)
    head = ["gst-launch-1.0", "-q", "filesrc", f"location={path}", "!", "qtdemux", "!"]
    quiet = {"stderr": subprocess.DEVNULL, "env": {**os.environ, "LC_ALL": "C"}}
    us = {"mux": [], "demux": [], "whole": [], "framing": []}
    for _ in range(PEER_RUNS):
        def add(name, seconds):
            us[name].append(seconds * 1e6 / frames)
        add("mux", run_cpu([*head, "h264parse", "!", "matroskamux", "!", "fakesink"], **quiet)[0])
        add("whole", run_cpu([program, "file", path])[0])
        add("demux", run_cpu([*head, "fakesink"], **quiet)[0])
        add("framing", json.loads(run_cpu([program, "table", path])[1])["cpu_ns"] / 1e9)
    us = {name: median(values) for name, values in us.items()}
    figure("framing.file_to_mkv_vs_gstreamer", us["whole"], "us/frame", limit=PEER_RATIO_MAX,
           peer=us["mux"], frames=frames, what="whole processes: read, demux, frame; no output")
    figure("framing.alone_vs_gstreamer", us["framing"], "us/frame", limit=PEER_RATIO_MAX,
           peer=us["mux"] - us["demux"], frames=frames, peer_demux_alone=us["demux"],
           what="ours without reading; peer minus filesrc ! qtdemux ! fakesink")


def bench(build, work):
    program = build / "bench" / "bench_framing"
    frame_sizes(program)
    against_gstreamer(program, work)
