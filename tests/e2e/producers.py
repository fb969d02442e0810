#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The muxers that people have, piped through a signed PutMedia.

ffmpeg's matroska muxer and GStreamer's matroskamux write into a pipe; what
comes out goes to the service as it comes, byte for byte. Clusters of known and
of unknown size, CRC-32, Void, SeekHead, Cues, live modes; video, video and
sound, reordered pictures. Of each: every Cluster is PERSISTED and comes back
as it was, and what GetMedia and GetClip give decodes to the pictures that the
muxer was given (framemd5).

producers.py [WORD...]: cases with one of the words in their name
"""

import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "support"))
import matroska as mkv  # noqa: E402
from kvsd_server import Bench, expect, require, run_tool  # noqa: E402

RATE = 15
GOP = 30
SECONDS = 8
X264 = ["-c:v", "libx264", "-preset", "ultrafast", "-g", str(GOP),
        "-keyint_min", str(GOP), "-sc_threshold", "0", "-pix_fmt", "yuv420p",
        "-threads", "1"]
QUIET = ["ffmpeg", "-v", "error", "-nostdin", "-y"]


def ffmpeg(*options, b=0, sound=False, out="pipe:1"):
    """Encodes and muxes."""
    argv = [*QUIET, "-f", "lavfi", "-i",
            f"testsrc2=size=320x180:rate={RATE}:duration={SECONDS}"]
    if sound:
        argv += ["-f", "lavfi", "-i", "sine=frequency=440:"
                 f"duration={SECONDS}:sample_rate=48000"]
    argv += [*X264, "-bf", str(b)]
    if sound:
        argv += ["-c:a", "aac", "-b:a", "48k"]
    return [*argv, *options, "-f", "matroska", out]


def gst(source, *parts):
    return ["gst-launch-1.0", "-q", *source.split(), *parts]


MUX = "matroskamux name=mux min-cluster-duration=1000000000"


def remux(path, mux, sound=False):
    """The elementary streams of a file through matroskamux."""
    line = (f"filesrc location={path} ! matroskademux name=d "
            f"{mux} "
            "d.video_0 ! queue max-size-time=0 max-size-bytes=0 ! h264parse "
            "! video/x-h264,stream-format=avc,alignment=au ! mux. ")
    if sound:
        line += ("d.audio_0 ! queue max-size-time=0 max-size-bytes=0 ! "
                 "aacparse ! mux.")
    return gst(line)


def made(name, **options):
    """A file that ffmpeg made, seekable: with sizes, SeekHead and Cues."""
    path = os.path.join(bench.temp, name + ".mkv")
    if not os.path.exists(path):
        status, _, err = run_tool(ffmpeg(out=path, **options))
        expect(status, 0, f"ffmpeg {err}")
    return path


def file_of_gst(path, sound):
    out = os.path.join(bench.temp, f"gst-{sound}.mkv")
    argv = remux(path, f"{MUX} ! filesink location={out}", sound)
    status, _, err = run_tool(argv)
    expect(status, 0, f"matroskamux {err}")
    return out


# --- what the bytes are: a case that has not what its name says tests nothing ------
def forms(data):
    found = set()
    for ident, start, body, _ in mkv.level1(data):
        size = mkv.read_size(data, start + len(mkv.id_bytes(ident)))[0]
        if ident == mkv.CLUSTER:
            found.add("unknown" if size is None else "known")
        elif ident == mkv.SEGMENT:
            found.add("live" if size is None else "sized")
        else:
            found.add({mkv.VOID: "Void", mkv.CUES: "Cues",
                       mkv.SEEKHEAD: "SeekHead"}.get(ident, ""))
        if size and data[body] == mkv.CRC32:
            found.add("CRC-32")
    return found


def reordered(clusters):
    """Some frame of the first track comes before the one stored before it."""
    for cluster in clusters:
        times = [f[1] for f in mkv.frames(cluster) if f[0] == 1]
        if times != sorted(times):
            return True
    return False


# --- pictures ------------------------------------------------------------------------
def pictures(data, kind):
    """[(bytes, MD5)] of the decoded frames, in the order of their times."""
    status, out, err = run_tool(
        ["ffmpeg", "-v", "error", "-i", "pipe:0", "-map", f"0:{kind}",
         "-vsync", "passthrough", "-f", "framemd5", "pipe:1"], data)
    expect((status, err), (0, ""), "ffmpeg's status and errors")
    return [tuple(x.strip() for x in line.split(",")[4:6])
            for line in out.decode().split("\n")
            if line and not line.startswith("#")]


def upload(client, stream, argv):
    """What the muxer wrote, sent as it came, and the acks."""
    put = client.put_media(stream, absolute=False)
    data = b""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as muxer:
        while True:
            piece = muxer.stdout.read1(65536)
            if not piece:
                break
            data += piece
            put.write(piece)
        err = muxer.stderr.read().decode(errors="replace")
    expect(muxer.returncode, 0, f"the muxer's status {err}")
    put.end()
    put.wait_closed()
    return data, put


def read_back(client, stream, count):
    media = client.get_media(stream, StartSelectorType="EARLIEST")
    docs = media.documents(count)
    media.close()
    return docs


def run_case(name, make, has, sound=False, b=0):
    stream = "".join(c if c.isalnum() else "-" for c in name)
    client = bench.client()
    data = docs = None
    with bench.case(f"{name}: every Cluster PERSISTED, and back byte for "
                    "byte"):
        client.call("createStream", StreamName=stream, DataRetentionInHours=1)
        began = time.time()
        data, put = upload(client, stream, make())
        clusters = [c for k, c in mkv.split_upload(data)[1]
                    if k == mkv.CLUSTER]
        assert len(clusters) >= 3, f"{len(clusters)} Clusters"
        assert set(has) <= forms(data), f"{forms(data)}, wanted {has}"
        if b:
            assert reordered(clusters), "no picture is reordered"
        expect(put.events("ERROR"), [], "errors")
        expect(len(put.events("PERSISTED")), len(clusters), "PERSISTED")
        docs = read_back(client, stream, len(clusters))
        expect([d.cluster for d in docs] == clusters, True, "Clusters back")
    if not docs:
        return
    with bench.case(f"{name}: GetMedia and GetClip decode to its pictures"):
        media = docs[0].header + b"".join(d.cluster for d in docs)
        want = pictures(data, "v")
        expect(len(want), RATE * SECONDS, "pictures")
        expect(pictures(media, "v"), want, "pictures of GetMedia")
        clip = client.get_clip(stream, began - 5, time.time() + 5)
        expect(pictures(clip, "v"), want, "pictures of GetClip")
        if sound:
            heard = pictures(data, "a")
            assert len(heard) > 40 * SECONDS, len(heard)
            expect(pictures(media, "a"), heard, "sound of GetMedia")
            assert len(pictures(clip, "a")) >= len(heard) - 4, "clip's sound"


def cases():
    cat = ["cat"]
    live = ["-live", "1"]
    limit = ["-cluster_time_limit", "2500", "-cluster_size_limit", "8000000"]
    plain = {}
    return [
        ("ffmpeg, pipe", lambda: ffmpeg(), ["known", "live"], plain),
        ("ffmpeg, live, sound", lambda: ffmpeg(*live, *limit, sound=True),
         ["known", "live"], {"sound": True}),
        ("ffmpeg, CRC-32, B-frames",
         lambda: ffmpeg("-write_crc32", "1", *limit, b=3),
         ["known", "live"], {"b": 3}),
        ("ffmpeg, B-frames, sound, live",
         lambda: ffmpeg(*live, *limit, b=2, sound=True), ["known"],
         {"b": 2, "sound": True}),
        ("ffmpeg, file with SeekHead, Void, Cues, CRC-32, sound",
         lambda: [*cat, made("whole", b=2, sound=True)],
         ["sized", "known", "SeekHead", "Cues", "CRC-32", "Void"],
         {"b": 2, "sound": True}),
        ("matroskamux, streamable, openh264enc", lambda: gst(
            f"videotestsrc num-buffers={RATE * SECONDS} ! "
            f"video/x-raw,width=320,height=180,framerate={RATE}/1 ! "
            f"openh264enc gop-size={GOP} ! h264parse ! "
            f"{MUX} streamable=true ! fdsink"), ["unknown", "live"], plain),
        ("matroskamux, streamable, sound", lambda: remux(
            made("sound", sound=True), MUX + " streamable=true ! fdsink",
            True), ["unknown"], {"sound": True}),
        ("matroskamux, streamable, B-frames", lambda: remux(
            made("reordered", b=3), MUX + " streamable=true ! fdsink"),
         ["unknown"], {"b": 3}),
        ("matroskamux, pipe that cannot seek", lambda: remux(
            made("reordered", b=3), MUX + " ! fdsink"), [], {"b": 3}),
        ("matroskamux, file with Cues, sound", lambda: [
            *cat, file_of_gst(made("sound", sound=True), True)],
         ["known", "sized", "Cues", "SeekHead"], {"sound": True}),
    ]


if __name__ == "__main__":
    require("ffmpeg", "gst-launch-1.0")
    bench = Bench()
    bench.start()
    for case_name, make_it, wanted_forms, kind in cases():
        if not sys.argv[1:] or any(w in case_name for w in sys.argv[1:]):
            run_case(case_name, make_it, wanted_forms, **kind)
    sys.exit(bench.finish())
