#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""record_pair.py PROGRAM... FILE CAMERA THERMAL SECONDS: runs the example and judges its file.

Two tracks that decode without a word, each thermal frame at the time of a camera frame, and as
many frames as the program says.
"""
import json
import re
import subprocess
import sys

bad = 0


def need(what, ok, why=""):
    global bad
    bad += not ok
    print(f"ok - {what}" if ok else f"not ok - {what} {why}", flush=True)


run = subprocess.run(sys.argv[1:], capture_output=True, text=True)
said = re.fullmatch(r"camera (\d+), thermal (\d+), without a partner (\d+)\n", run.stdout)
need("record_pair records", run.returncode == 0 and said, run.stdout + run.stderr)
if not said:
    sys.exit(1)
counts = [int(said[1]), int(said[2])]
path, seconds = sys.argv[-4], int(sys.argv[-1])
need("both cameras gave frames", counts[0] > seconds and counts[1] > seconds, counts)
need("most thermal frames have a partner", int(said[3]) <= counts[1] / 2 + 1, said[0])

info = subprocess.run(["mkvinfo", "-v", path], capture_output=True, text=True)
need("mkvinfo has nothing to say against it", info.returncode == 0 and
     not re.search(r"error|warning|unknown element", info.stdout + info.stderr, re.I), info.stderr)
decoded = subprocess.run(["ffmpeg", "-v", "warning", "-i", path, "-map", "0", "-fps_mode", "passthrough",
                          "-f", "null", "-"], capture_output=True, text=True)
need("every frame decodes", decoded.returncode == 0 and not decoded.stderr, decoded.stderr[:500])
probe = json.loads(subprocess.run(["ffprobe", "-v", "error", "-show_streams", "-show_packets", "-of", "json", path],
                                  capture_output=True, text=True, check=True).stdout)
codecs = [s["codec_name"] for s in probe["streams"]]
need("H.264 and lossless counts", codecs[:1] == ["h264"] and codecs[1:] in (["rawvideo"], ["ffv1"]), codecs)
need("counts have 16 bits", probe["streams"][-1].get("pix_fmt") == "gray16le", probe["streams"][-1])
times = [[p["pts_time"] for p in probe["packets"] if p["stream_index"] == i] for i in (0, 1)]
need("the file has every frame", [len(t) for t in times] == counts, f"{[len(t) for t in times]} {counts}")
need("thermal frames are at camera frames", set(times[1]) <= set(times[0]), sorted(set(times[1]) - set(times[0]))[:5])
sys.exit(1 if bad else 0)
