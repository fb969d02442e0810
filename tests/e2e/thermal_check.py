#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""thermal_check.py DIR NAME [crc]: what thermal_probe wrote, by other eyes.

ffmpeg must give back the very counts that went in; the view must keep the order of the counts; each
JPEG must show the view. With `crc`, a bit is turned over in a packet: ffmpeg must notice.
"""
import json
import math
import pathlib
import subprocess
import sys

where, name = pathlib.Path(sys.argv[1]), sys.argv[2]
told = json.loads((where / "report.json").read_text().strip().split("\n")[-1])
failed = 0


def need(what, ok):
    global failed
    failed += not ok
    print("ok" if ok else "not ok", "-", f"{name}: {what}")


def ffmpeg(*args):
    command = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "warning", *args]
    return subprocess.run(command, capture_output=True, check=False)


def decode(path, pix_fmt, *options):
    return ffmpeg(*options, "-i", str(path), "-fps_mode", "passthrough", "-f", "rawvideo",
                  "-pix_fmt", pix_fmt, "-")


def check_counts():
    raw = (where / "counts.raw").read_bytes()
    got = decode(where / "counts.mkv", "gray16le")
    need(f"{told['encoder']}: {told['frames']} frames, {len(raw)} bytes of counts come back as they were",
         len(raw) == told["frames"] * told["width"] * told["height"] * 2 and got.stdout == raw)
    # Its own output may round two times to one; that is not about our file.
    said = "".join(l for l in got.stderr.decode().splitlines(True) if "to muxer" not in l)
    need(f"ffmpeg has nothing to say {said[:200]}".rstrip(), not said.strip())
    probe = subprocess.run(["ffprobe", "-v", "error", "-show_entries", "stream=codec_name,pix_fmt", "-of",
                            "csv=p=0", str(where / "counts.mkv")], capture_output=True, text=True, check=True)
    codec = {"ffv1": "ffv1", "y16": "rawvideo"}[told["encoder"]]
    need(f"ffprobe sees {codec} of gray16le", probe.stdout.strip() == f"{codec},gray16le")
    return raw


def check_crc():
    data = bytearray((where / "counts.mkv").read_bytes())
    data[len(data) - told["bytes"] // told["frames"] // 8] ^= 0x10  # in the last of four slices
    (where / "bent.mkv").write_bytes(data)
    said = decode(where / "bent.mkv", "gray16le", "-err_detect", "+crccheck").stderr.decode()
    need("a bit turned over is found by a slice's CRC", "CRC mismatch" in said)


def check_order(counts, luma):
    """Whether a hotter pixel is never darker; `counts` and `luma` of one frame, same pixels."""
    low, high = {}, {}
    for c, y in zip(counts, luma):
        low[c] = min(low.get(c, 255), y)
        high[c] = max(high.get(c, 0), y)
    last = 0
    for c in sorted(low):
        if low[c] < last or low[c] != high[c]:
            return False
        last = high[c]
    return True


def check_view(raw):
    width, height = told["width"], told["height"] - told["telemetry"]
    frame, out_width = told["width"] * told["height"] * 2, told["view_width"]
    size = out_width * told["view_height"] * 3 // 2
    yuv = (where / "view.yuv").read_bytes()
    need("a view of each frame, of even sides",
         len(yuv) == size * told["frames"] and out_width == width + width % 2
         and told["view_height"] == height + height % 2)
    ordered, spread = True, 0
    for n in range(told["frames"]):
        counts, luma = [], []
        for y in range(height):
            at = n * frame + y * width * 2
            counts += memoryview(raw[at:at + width * 2]).cast("H")
            luma += yuv[n * size + y * out_width:n * size + y * out_width + width]
        ordered = ordered and check_order(counts, luma)
        spread = max(spread, max(luma) - min(luma))
    if told["palette"] in ("white-hot", "iron"):
        need("what is hotter is never darker", ordered)
    need(f"the view uses its range ({spread})", spread > 150)
    return yuv, size


def full(plane, span):
    table = bytes(max(0, min(255, math.floor((i - 16) * 255 / span + 0.5))) for i in range(256))
    return plane.translate(table)


def check_jpeg(yuv, size):
    pixels = told["view_width"] * told["view_height"]
    worst = 99.0
    for n in range(told["frames"]):
        view = yuv[n * size:(n + 1) * size]
        want = full(view[:pixels], 219) + full(view[pixels:], 224)
        got = decode(where / f"view-{n}.jpg", "yuvj420p").stdout
        if len(got) != size:
            worst = 0.0
            break
        error = sum((a - b) ** 2 for a, b in zip(got, want)) / size
        worst = min(worst, 10 * math.log10(255 ** 2 / error) if error else 99.0)
    need(f"every JPEG shows the view: PSNR at least {worst:.1f} dB", worst > 35)



if sys.byteorder != "little":
    sys.exit("this reads counts as a little endian machine")
counts_raw = check_counts()
if "crc" in sys.argv[3:]:
    check_crc()
view_yuv, view_size = check_view(counts_raw)
if told["jpeg"] and "nojpeg" not in sys.argv[3:]:
    check_jpeg(view_yuv, view_size)
sys.exit(1 if failed else 0)
