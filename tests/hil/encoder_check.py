# SPDX-License-Identifier: Apache-2.0
"""vivid -> vh264enc -> FFmpeg, in the guest.

encoder_check.py modules BUILD VH264ENC.KO
    (ONLY=jpeg, hevc, vp8 or stuck: that alone.) Key frames are I_PCM, so they must come back bit by bit; all else of a picture is the picture
    before. Then each fault that vh264enc can make.
encoder_check.py faults BUILD VH264ENC.KO
    The short part of it that frees what is in use: for a kernel that finds that (KASAN, lockdep).
encoder_check.py agent|agent-hevc|agent-vp8|agent-stuck DIR
    What the service gave back (media.mkv, clip.mp4) against what the agent saw (tap, report.json).
"""
import json
import os
import struct
import subprocess
import sys
import threading

BUILD, MODULE = sys.argv[2:4] if not sys.argv[1].startswith("agent") else (None, None)
# What hangs holds on for ever; a busy host only for a while.
RUN_S_MAX = 60
PARAMETERS = "/sys/module/vh264enc/parameters/"
RATE = 30
CONTROL = {"gop": 0x2, "header_mode": 0x400, "repeat_headers": 0x800, "level": 0x200, "quality": 0x8}
DEVICE = "vh264enc"
bad = 0


def need(what, ok, found=""):
    global bad
    bad += not ok
    print(f"{'ok' if ok else 'not ok'} - {what}" + ("" if ok else f" # {found}"), flush=True)


def sh(*command):
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def load(vivid, encoder):
    """Both modules anew: what they are is told at load."""
    for name in ("vh264enc", "vivid"):
        if os.path.isdir(f"/sys/module/{name}"):
            sh("/sbin/rmmod", name)
    sh("/sbin/modprobe", "vivid", "n_devs=1", "node_types=0x1", *vivid.split())
    sh("/sbin/insmod", MODULE, *encoder.split())


def parameter(name, value):
    with open(PARAMETERS + name, "w", encoding="ascii") as f:
        f.write(str(value))


class Faults:
    """Parameters of the module while a block runs."""

    def __init__(self, **values):
        self.values = values

    def __enter__(self):
        self.old = {}
        for name, value in self.values.items():
            with open(PARAMETERS + name, encoding="ascii") as f:
                self.old[name] = f.read().strip()
            parameter(name, value)

    def __exit__(self, *_):
        for name, value in self.old.items():
            parameter(name, value)


class Totals(dict):
    """What a run that did not end well lacks is no number that a check wants."""

    def __missing__(self, name):
        return -1


def probe(*args, frames=12, files=False, at_packet=None, at_end=None):
    """(packets, totals) of one run of encoder_probe. at_packet: (count, what to call with it then).

    at_end: called when the encoder was closed, or could not be opened; the process may not be able to end.
    """
    command = [f"{BUILD}/tests/encoder_probe", "--frames", str(frames), *args]
    if files:
        command += ["--raw", "/tmp/raw", "--out", "/tmp/coded"]
    packets, totals = [], Totals()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as run:
        # Whatever the device does, each call of the library ends, so this does.
        guard = threading.Timer(RUN_S_MAX, run.kill)
        guard.start()
        for line in run.stdout:
            item = json.loads(line) if line.endswith("\n") else {}
            if "frame" not in item:
                totals = Totals(item)
                if at_end and ("closed" in item or "failed" in item):
                    at_end()
                continue
            packets.append(item)
            if at_packet and len(packets) == at_packet[0]:
                at_packet[1](run)
        guard.cancel()
    killed = (at_packet and not totals) or (at_end and "failed" in totals)
    if not killed and (totals["fds_left"] or totals["maps_left"]):
        need(f"{' '.join(args)}: nothing is left open or mapped", False, totals)
    return packets, totals


def key_frames(packets):
    return [p["frame"] for p in packets if p["key"]]


# --- pictures -----------------------------------------------------------------

def raw_frames(fourcc, width, height, path="/tmp/raw"):
    """What went in, as I420."""
    size, luma = width * height * 3 // 2, width * height
    with open(path, "rb") as f:
        data = f.read()
    for at in range(0, len(data), size):
        frame = data[at:at + size]
        if fourcc in ("NV12", "NM12"):
            frame = frame[:luma] + frame[luma::2] + frame[luma + 1::2]
        yield frame


def decoded_frames(width, height, path="/tmp/coded", read=(), pix_fmt="yuv420p"):
    """What FFmpeg makes of what came out."""
    # The raw muxer complains of times that are rounded to the same 1/30 s.
    subprocess.run(["ffmpeg", "-v", "fatal", "-threads", "1", *read, "-i", path, "-fps_mode", "passthrough",
                    "-f", "rawvideo", "-pix_fmt", pix_fmt, "-y", "/tmp/decoded"],
                   check=True, stdin=subprocess.DEVNULL)
    size = width * height * 3 // 2
    with open("/tmp/decoded", "rb") as f:
        data = f.read()
    return [data[at:at + size] for at in range(0, len(data), size)]


def macroblocks(frame, width, height):
    luma, step = width * height, width // 2
    planes = [(0, width, 16), (luma, step, 8), (luma + luma // 4, step, 8)]
    for y in range(height // 16):
        for x in range(width // 16):
            yield b"".join(frame[base + (side * y + i) * stride + side * x:
                                 base + (side * y + i) * stride + side * x + side]
                           for base, stride, side in planes for i in range(side))


def exact(what, packets, fourcc, width, height):
    """Each key frame is its raw frame, each other the picture before."""
    raw = list(raw_frames(fourcc, width, height))
    got = decoded_frames(width, height)
    wrong, last = [], None
    if len(got) != len(packets):
        need(f"{what}: decodes", False, f"{len(got)} pictures of {len(packets)} packets")
        return
    for packet, picture in zip(packets, got):
        last = raw[packet["frame"]] if packet["key"] else last
        if picture != last:
            wrong.append(packet["frame"])
    need(f"{what}: pictures are what went in, bit by bit", not wrong, wrong)


# --- bits ---------------------------------------------------------------------

def units():
    with open("/tmp/coded", "rb") as f:
        data = f.read()
    at = data.find(b"\0\0\1")
    while at >= 0:
        end = data.find(b"\0\0\1", at + 3)
        yield data[at + 3:end if end >= 0 else len(data)]
        at = end


class Bits:
    def __init__(self, data):
        self.value = int.from_bytes(data, "big")
        self.left = 8 * len(data)

    def take(self, count):
        self.left -= count
        return self.value >> self.left & (1 << count) - 1

    def ue(self):
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def se(self):
        k = self.ue()
        return (k + 1) // 2 if k & 1 else -(k // 2)


def slice_qp(unit):
    """As vh264enc writes its slice headers."""
    kind, bits = unit[0] & 31, Bits(unit[1:20])
    bits.ue()
    slice_type = bits.ue() % 5
    bits.ue()
    bits.take(8)
    if kind == 5:
        bits.ue()
    if slice_type == 0:
        bits.take(2)
    bits.take(2 if kind == 5 else 1)
    return 26 + bits.se()


def stream():
    """(profile, level, QPs of the slices) of what came out."""
    sps = [u for u in units() if u[0] & 31 == 7]
    return sps[0][1], sps[0][3], {slice_qp(u) for u in units() if u[0] & 31 in (1, 5)}


# --- what works -----------------------------------------------------------------

def matrix(cases):
    for fourcc, size, rung, *more in cases:
        width, height = map(int, size.split("x"))
        packets, t = probe("--format", fourcc, "--size", size, "--rung", rung, *more,
                           "gop_frames=5", frames=12, files=True)
        what = " ".join((fourcc, size, rung, *more))
        copied = "--copy" in more
        if "submitted" not in t:
            need(f"{what}: runs", False, t)
            continue
        need(f"{what}: all frames come out, on {rung}", t.get("error") == "EPIPE" and
             len(packets) == t["submitted"] and t["source_rung"] == rung, t)
        need(f"{what}: {'a copy each' if copied else 'no copy'}", bool(packets) and
             t["copies"] == (t["submitted"] if copied else 0) and t["imported"] != copied, t)
        need(f"{what}: a key frame in five", key_frames(packets) == list(range(0, t["submitted"], 5)),
             key_frames(packets))
        need(f"{what}: the driver's flag agrees", all(p["key"] == p["driver_key"] for p in packets))
        exact(what, packets, fourcc, width, height)


def bitrate():
    packets, t = probe("bitrate=20000000", "--rate", "6=40000000", "--lockstep", frames=10, files=True)
    raw = list(raw_frames("YU12", 640, 480))
    got = decoded_frames(640, 480)
    fresh = [renewed(got[i - 1], raw[i], got[i]) for i in range(1, len(got))]
    want = [bits // RATE // 8 // 384 for bits in (20000000, 40000000)]
    sizes = [p["bytes"] for p in packets[1:]]
    need("the bitrate decides how much of a P frame is new",
         all(want[0] * 384 <= s < want[1] * 384 for s in sizes[:5]), sizes)
    need("... and may be changed while it runs", len(sizes) == 9
         and all(s >= want[1] * 384 for s in sizes[5:]), sizes)
    # Blocks that the camera did not change count as old.
    need("... and nothing else is new", len(fresh) == 9 and all(0 <= n <= want[0] for n in fresh[:5])
         and all(0 <= n <= want[1] for n in fresh) and any(fresh), fresh)
    packets, _ = probe("bitrate=1000000", "bitrate_mode=1")
    sizes = {p["bytes"] for p in packets[1:]}
    need("CBR fills up", sizes == {1000000 // RATE // 8}, sizes)


def controls():
    for profile, idc in ((0, 66), (2, 77), (3, 100)):
        probe(f"profile={profile}", "level=31", frames=2, files=True)
        need(f"profile {idc}, level 3.1", stream()[:2] == (idc, 31), stream()[:2])
    for wish, qp in (("qp_min=30", 30), ("qp_max=20", 20), ("qp=17", 17)):
        probe(wish, frames=4, files=True)
        need(f"{wish}: slices at {qp}", stream()[2] == {qp}, stream()[2])
    packets, _ = probe("gop_frames=10", "--force", "7", "--lockstep", frames=20)
    need("a forced key frame is the next frame", key_frames(packets) == [0, 7, 17], key_frames(packets))
    _, t = probe("gop_frames=1000", frames=2)
    need("what the driver adjusted is told", t["adjusted"] == CONTROL["gop"] and not t["ignored"], t)
    _, t = probe("quality=50", "level=70", frames=2)
    need("what it lacks is told", t["ignored"] == CONTROL["quality"] | CONTROL["level"], t)


def headers():
    def in_front():
        """Whether each IDR has SPS and PPS directly before it."""
        kinds = [u[0] & 31 for u in units()]
        at = [i for i, k in enumerate(kinds) if k == 5]
        return bool(at) and all(i >= 2 and kinds[i - 2:i] == [7, 8] for i in at)

    for name, args, separate, joined in (
            ("repeated by the device", [], 0, 0),
            ("with the first frame alone", ["repeat_headers=0"], 0, 2),
            ("in a buffer of their own", ["header_mode=1", "repeat_headers=0"], 1, 3),
            ("in a buffer and repeated", ["header_mode=1"], 1, 1)):
        packets, t = probe("gop_frames=4", *args, files=True)
        need(f"headers {name}: before each key frame", in_front() and t["missing"] == 0, t)
        need(f"headers {name}: {joined} joined", (t["separate"], t["joined"]) == (separate, joined)
             and t["errors"] == 0 and len(packets) == 12, t)
        exact(f"headers {name}", packets, "YU12", 640, 480)
    with Faults(separate_only="Y"):
        packets, t = probe("gop_frames=4", "header_mode=0", "repeat_headers=1", files=True)
        need("a device that only gives them alone", in_front() and t["joined"] == 3
             and t["ignored"] == CONTROL["header_mode"] | CONTROL["repeat_headers"], t)
        _, t = probe("--coded-rung", "S3", "gop_frames=4", files=True)
        need("... into the driver's memory", in_front() and t["joined"] == 3 and t["rung"] == "S3", t)


# --- what fails -----------------------------------------------------------------

def blocks(frame, width, height):
    """The 64 samples of each 8 x 8 block, plane by plane."""
    at = 0
    for w, h in ((width, height), (width // 2, height // 2), (width // 2, height // 2)):
        for y in range(0, h, 8):
            for x in range(0, w, 8):
                yield b"".join(frame[at + (y + i) * w + x:at + (y + i) * w + x + 8] for i in range(8))
        at += w * h


def jpeg():
    """vh264enc's JPEGs have the mean of each block, and quality decides how coarse a step is."""
    sizes = {}
    for fourcc, rung, quality, more in (("YU12", "S1", 100, ()), ("NV12", "S3", 100, ()), ("YU12", "S1", 50, ()),
                                        ("YU12", "S1", 100, ("--copy",))):
        packets, t = probe("--codec", "JPEG", "--format", fourcc, "--rung", rung, *more, f"quality={quality}", frames=3,
                           files=True)
        what = f"JPEG {fourcc} {rung} {' '.join(more)} quality {quality}"
        need(f"{what}: all frames come out, each a key frame", t["error"] == "EPIPE" and 0 < len(packets) == t["submitted"]
             and all(p["key"] for p in packets) and t["copies"] == (t["submitted"] if more else 0)
             and not t["ignored"], t)
        got = decoded_frames(640, 480, read=("-f", "mjpeg"), pix_fmt="yuvj420p")
        raw = list(raw_frames(fourcc, 640, 480))
        step = 1 + (100 - quality) // 10
        wrong = [p["frame"] for p, g in zip(packets, got)
                 for a, b in zip(blocks(g, 640, 480), blocks(raw[p["frame"]], 640, 480))
                 if a != a[:1] * 64 or abs(a[0] * 64 - sum(b)) > 32 + 64 * (step - 1)]
        need(f"{what}: each block is the mean of what went in", len(got) == len(packets) and not wrong,
             (len(got), len(packets), len(wrong)))
        sizes[quality] = min(p["bytes"] for p in packets) if packets else 0
    need("less quality takes fewer bytes", 0 < sizes[50] < sizes[100], sizes)
    _, t = probe("--codec", "JPEG", "gop_frames=5", "bitrate=1000000", frames=2)
    need("a GOP and a bitrate are nothing that JPEG has, and are told", t["ignored"] == 0x3, t)
    with Faults(fault_empty=2):
        packets, t = probe("--codec", "JPEG", frames=4)
        # The last one's, if the drain began before it, is the end of the drain: then its frame made none.
        need("empty packets are dropped and counted", t["errors"] + t["skipped"] == t["submitted"] // 2 > 0
             and t["errors"] > 0 and len(packets) == t["submitted"] - t["submitted"] // 2, t)
    run = subprocess.run([f"{BUILD}/tests/encoder_probe", "--codec", "H264"], stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, text=True, check=False)
    need("no H.264 of an encoder that has JPEG alone", "EPROTONOSUPPORT" in run.stdout, run.stdout)


def hevc_kinds():
    return [u[0] >> 1 & 63 for u in units()]


def hevc_sets_in_front():
    """Whether each IDR has VPS, SPS and PPS directly before it."""
    kinds = hevc_kinds()
    at = [i for i, k in enumerate(kinds) if k == 20]
    return bool(at) and all(i >= 3 and kinds[i - 3:i] == [32, 33, 34] for i in at)


def hevc():
    """vh264enc's H.265 is PCM throughout, so that every picture comes back bit by bit."""
    for fourcc, size, rung, more in (("YU12", "640x480", "S1", ()), ("NV12", "1280x720", "S3", ()),
                                     ("YU12", "320x180", "S1", ()), ("NV12", "640x480", "S1", ("--copy",))):
        width, height = map(int, size.split("x"))
        packets, t = probe("--codec", "HEVC", "--format", fourcc, "--size", size, "--rung", rung, *more,
                           "gop_frames=5", files=True)
        what = " ".join(("HEVC", fourcc, size, rung, *more))
        need(f"{what}: all frames come out", t["error"] == "EPIPE" and 0 < len(packets) == t["submitted"]
             and t["copies"] == (t["submitted"] if more else 0) and not t["ignored"], t)
        need(f"{what}: a key frame in five, by the bitstream", key_frames(packets) == list(range(0, len(packets), 5))
             and [k for k in hevc_kinds() if k < 32] == [20 if p["key"] else 1 for p in packets], packets)
        need(f"{what}: the driver's flag agrees", all(p["key"] == p["driver_key"] for p in packets))
        need(f"{what}: VPS, SPS and PPS before each", hevc_sets_in_front(), hevc_kinds())
        raw = list(raw_frames(fourcc, width, height))
        got = decoded_frames(width, height, read=("-f", "hevc"))
        need(f"{what}: pictures are what went in, bit by bit",
             got == [raw[p["frame"]] for p in packets] and bool(got), len(got))
    for name, args, joined in (("with the first frame alone", ["repeat_headers=0"], 2),
                               ("in a buffer of their own", ["header_mode=1", "repeat_headers=0"], 3)):
        packets, t = probe("--codec", "HEVC", "gop_frames=4", *args, files=True)
        need(f"HEVC: sets {name}: before each key frame", hevc_sets_in_front() and t["joined"] == joined
             and not t["missing"] and len(packets) == 12, t)
        need(f"HEVC: sets {name}: decodes", decoded_frames(640, 480, read=("-f", "hevc")) == list(raw_frames("YU12", 640, 480)))
    probe("--codec", "HEVC", "level=31", "gop_frames=10", "--force", "7", "--lockstep", frames=20, files=True)
    sps = [u for u in units() if u[0] >> 1 & 63 == 33]
    # Behind the NAL header, four bits, three and one: eleven bytes of profile.
    need("HEVC: level 3.1", sps and sps[0].replace(b"\0\0\3", b"\0\0")[14] == 93, sps[:1])
    need("HEVC: a forced key frame is the next frame", [i for i, k in enumerate(k for k in hevc_kinds() if k < 32)
                                                        if k == 20] == [0, 7, 17], hevc_kinds())
    with Faults(fault_key_flag=2):
        packets, _ = probe("--codec", "HEVC", "gop_frames=5")
        need("HEVC: a key flag that lies is not believed", key_frames(packets) == [0, 5, 10], packets)
    with Faults(fault_hang=5):
        packets, t = probe("--codec", "HEVC", "--timeout", "1000")
        need("HEVC: a hang is -ETIMEDOUT", t["error"] == "ETIMEDOUT" and len(packets) == 4, t)


def mosaic(frame, width, height):
    """Each block of 4 x 4 samples as its mean, rounded half up: what VP8 is at QP 4, and at 0."""
    out, at = bytearray(len(frame)), 0
    for w, h in ((width, height), (width // 2, height // 2), (width // 2, height // 2)):
        for y in range(at, at + w * h, 4 * w):
            line = bytearray(w)
            for x in range(0, w, 4):
                total = sum(sum(frame[i + x:i + x + 4]) for i in (y, y + w, y + 2 * w, y + 3 * w))
                line[x:x + 4] = bytes(((total + 8) // 16,)) * 4
            for i in (y, y + w, y + 2 * w, y + 3 * w):
                out[i:i + w] = line
        at += w * h
    return bytes(out)


def vp8_decoded(packets, width, height):
    """What FFmpeg makes of the packets, put into an IVF file."""
    with open("/tmp/coded", "rb") as f, open("/tmp/coded.ivf", "wb") as ivf:
        ivf.write(struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, b"VP80", width, height, RATE, 1, len(packets), 0))
        for i, p in enumerate(packets):
            ivf.write(struct.pack("<IQ", p["bytes"], i) + f.read(p["bytes"]))
    return decoded_frames(width, height, "/tmp/coded.ivf")


def vp8_pictures(packets, fourcc, width, height, bits=None, path="/tmp/raw"):
    """What they are to be: a key frame whole, of others the next macroblocks, as many as the bitrate allows."""
    raw = list(raw_frames(fourcc, width, height, path))
    across, down = width // 16, height // 16
    part = 0 if bits is None else min(bits // RATE // 8 // 96, across * down)
    picture, first, want = b"", 0, []
    for p in packets:
        fresh = mosaic(raw[p["frame"]], width, height)
        if p["key"]:
            picture, first = fresh, 0
        else:
            new = bytearray(picture)
            for mb in (i % (across * down) for i in range(first, first + part)):
                at = 0
                for w, side in ((width, 16), (width // 2, 8), (width // 2, 8)):
                    for y in range(mb // across * side, (mb // across + 1) * side):
                        x = at + y * w + mb % across * side
                        new[x:x + side] = fresh[x:x + side]
                    at += w * height * side // 16
            picture, first = bytes(new), (first + part) % (across * down)
        want.append(picture)
    return want


def vp8_tags(packets):
    """Of each packet, from its bytes: (key, version, shown, quantiser of a key frame)."""
    with open("/tmp/coded", "rb") as f:
        for p in packets:
            data = f.read(p["bytes"])
            yield not data[0] & 1, data[0] >> 1 & 7, data[0] >> 4 & 1, data[3:6] == b"\x9d\x01\x2a"


def vp8():
    """vh264enc's VP8 is flat blocks: what a decoder makes of them follows from the frames to the bit."""
    for fourcc, size, rung, bits, more in (("YU12", "640x480", "S1", None, ()), ("NV12", "1280x720", "S3", None, ()),
                                           ("NV12", "640x480", "S1", 2000000, ("--copy",)),
                                           ("YU12", "640x480", "S3", 20000000, ())):
        width, height = map(int, size.split("x"))
        rate = ["qp=4"] if bits is None else [f"bitrate={bits}"]
        packets, t = probe("--codec", "VP80", "--format", fourcc, "--size", size, "--rung", rung, *more,
                           "gop_frames=5", *rate, files=True)
        what = " ".join(("VP8", fourcc, size, rung, *rate, *more))
        need(f"{what}: all frames come out", t["error"] == "EPIPE" and 0 < len(packets) == t["submitted"]
             and t["copies"] == (t["submitted"] if more else 0) and not t["ignored"] + t["adjusted"], t)
        tags = list(vp8_tags(packets))
        need(f"{what}: a key frame in five, by the frame's tag", key_frames(packets) == list(range(0, len(packets), 5))
             and [(t[0], t[3]) for t in tags] == [(p["key"], p["key"]) for p in packets] and all(t[2] for t in tags), tags)
        need(f"{what}: the driver's flag agrees", all(p["key"] == p["driver_key"] for p in packets))
        got, want = vp8_decoded(packets, width, height), vp8_pictures(packets, fourcc, width, height, bits)
        need(f"{what}: pictures are the means of what went in, to the bit", got == want and len(got) == 12,
             [i for i, (a, b) in enumerate(zip(got, want)) if a != b] or len(got))
        need(f"{what}: frames between keys are new as far as the bitrate goes", (len(set(want)) > 3) == (bits is not None)
             and all(p["key"] or p["bytes"] <= (bits or 0) // RATE // 8 + 900 for p in packets), packets)
    vp8_controls()
    with Faults(fault_key_flag=1):
        packets, _ = probe("--codec", "VP80", "gop_frames=5")
        need("VP8: a key flag that is never set: the tag tells", key_frames(packets) == [0, 5, 10]
             and not any(p["driver_key"] for p in packets), packets)
    with Faults(fault_key_flag=2):
        packets, _ = probe("--codec", "VP80", "gop_frames=5")
        need("VP8: a key flag that lies is not believed", key_frames(packets) == [0, 5, 10], packets)
    with Faults(coded_bytes=3000):
        packets, t = probe("--codec", "VP80", "--lockstep")
        need("VP8: frames that do not fit their buffer are errors", t["errors"] == t["submitted"] == 12
             and not packets and t["error"] == "EPIPE", t)
    for fault in ("error", "empty"):
        with Faults(**{f"fault_{fault}": 4}):
            packets, t = probe("--codec", "VP80", "--lockstep", "qp=4", "gop_frames=100", files=True)
            need(f"VP8: {fault}: dropped, counted, a key frame after each", t["errors"] == 3 and len(packets) == 9
                 and key_frames(packets) == [0, 4, 8], t)
            need(f"VP8: {fault}: what is left decodes to the bit",
                 vp8_decoded(packets, 640, 480) == vp8_pictures(packets, "YU12", 640, 480), packets)
    with Faults(fault_hang=5):
        packets, t = probe("--codec", "VP80", "--timeout", "1000")
        need("VP8: a hang is -ETIMEDOUT", t["error"] == "ETIMEDOUT" and len(packets) == 4, t)
        packets, t = probe("--codec", "VP80", "--timeout", "1000", "--heal", PARAMETERS + "fault_hang", frames=20)
        need("VP8: ... and opened again it goes on, with a key frame", t["reopened"] == 1
             and [p["key"] for p in packets if p["run"]][:1] == [True], t)


def vp8_controls():
    packets, t = probe("--codec", "VP80", "qp=4", "gop_frames=10", "--force", "7", "--lockstep", frames=20)
    need("VP8: a forced key frame is the next frame", key_frames(packets) == [0, 7, 17], key_frames(packets))
    packets, t = probe("--codec", "VP80", "profile=9", "qp=4", frames=3, files=True)
    need("VP8: profile 3", {tag[1] for tag in vp8_tags(packets)} == {3} and not t["ignored"], t)
    packets, _ = probe("--codec", "VP80", "bitrate=1000000", "bitrate_mode=1", files=True)
    need("VP8: CBR fills up", {p["bytes"] for p in packets if not p["key"]} == {1000000 // RATE // 8}, packets)
    need("VP8: ... with what no decoder reads", vp8_decoded(packets, 640, 480) ==
         vp8_pictures(packets, "YU12", 640, 480, 1000000), packets)
    # A step of QP 40 is 37 eighths: no mean is further off than half of it, and the rounding.
    for wish, step in (("qp_min=40", 37), ("qp=40", 37), ("qp_max=0", 4)):
        packets, t = probe("--codec", "VP80", wish, "gop_frames=1", frames=2, files=True)
        got, want = vp8_decoded(packets, 640, 480), vp8_pictures(packets, "YU12", 640, 480)
        off = max(abs(a - b) for g, w in zip(got, want) for a, b in zip(g, w))
        need(f"VP8: {wish} decides how coarse a step is", len(got) == 2 and not t["ignored"]
             and (off == 0 if step == 4 else 0 < off <= (step // 2 + 4) // 8 + 1), (off, t))
    _, t = probe("--codec", "VP80", "level=31", "header_mode=1", "repeat_headers=1", frames=2)
    need("VP8: what it lacks is told", t["ignored"] == CONTROL["level"] | CONTROL["header_mode"]
         | CONTROL["repeat_headers"], t)


def hangs():
    def stuck(what, *args, packets_want, frames=12):
        packets, t = probe("--timeout", "1000", *args, frames=frames)
        need(f"{what} is -ETIMEDOUT, not before the timeout, and close ends", t["error"] == "ETIMEDOUT"
             and t["error_ms"] >= 1000 and len(packets) == packets_want, t)

    with Faults(fault_hang=5):
        stuck("a hang", packets_want=4)
        packets, t = probe("--timeout", "1000", "--heal", PARAMETERS + "fault_hang", frames=20)
        need("... and opened again it goes on", t["reopened"] == 1 and t["error"] == "ETIMEDOUT"
             and packets[-1]["run"] == 1 and [p["key"] for p in packets if p["run"]][0], t)
    with Faults(fault_no_last="Y"):
        stuck("a drain without end", packets_want=12)
    with Faults(delay_ms=3600000):
        stuck("slower than the timeout", packets_want=0, frames=2)
    with Faults(delay_ms=300):
        packets, t = probe(frames=6)
        need("slow is no error", t["error"] == "EPIPE" and len(packets) == 6, t)


def in_driver():
    with open(PARAMETERS + "stuck_now", encoding="ascii") as f:
        return int(f.read())


def stuck():
    """The driver does not return, and cannot be killed. Nothing waits for it; once it returns nothing of it is left."""
    calls = {"open": 1, "S_FMT": 2, "REQBUFS": 4, "QBUF": 8, "DQBUF": 16, "STREAMON": 32, "STREAMOFF": 64,
             "ENCODER_CMD": 128, "S_CTRL": 256, "close": 512}

    def release(what):
        need(f"stuck in {what}: ... with the driver still inside", in_driver() == 1, in_driver())
        parameter("fault_stuck", 0)

    packets, t = probe("--stuck", "20000", "gop_frames=5", files=True)
    need("on a thread of its own: all frames come out, by import", t["error"] == "EPIPE" and len(packets) == 12
         and key_frames(packets) == [0, 5, 10] and t["copies"] == 0 and t["imported"]
         and not t["strange"] + t["disordered"] + t["unpaired"], t)
    exact("on a thread of its own", packets, "YU12", 640, 480)
    for name in ("open", "S_FMT", "REQBUFS", "S_CTRL", "STREAMON"):
        with Faults(fault_stuck=calls[name]):
            _, t = probe("--stuck", "300", "gop_frames=5", at_end=lambda: release(name))
            need(f"stuck in {name}: open is -ETIMEDOUT", (t["failed"], t["error"]) == ("open", "ETIMEDOUT"), t)
    for name in ("QBUF", "DQBUF"):
        with Faults(fault_stuck=0):
            packets, t = probe("--stuck", "5000", "--heal", PARAMETERS + "fault_stuck", frames=100, files=True,
                               at_packet=(4, lambda run: parameter("fault_stuck", calls[name])))
            need(f"stuck in {name}: -ETIMEDOUT, and not opened again while it lasts", t["early"] == "EBUSY"
                 and t["reopened"] == 1, t)
            need(f"stuck in {name}: once it returned it goes on, with a key frame", t["error"] == "ETIMEDOUT"
                 and [p["key"] for p in packets if p["run"]][:1] == [True], t)
    for name in ("STREAMOFF", "close"):
        with Faults(fault_stuck=0):
            packets, t = probe("--stuck", "5000", frames=12, at_end=lambda: release(name),
                               at_packet=(4, lambda run: parameter("fault_stuck", calls[name])))
            need(f"stuck in {name}: all came out before, close ends", t["error"] == "EPIPE" and len(packets) == 12, t)
    with Faults(fault_stuck=calls["ENCODER_CMD"]):
        packets, t = probe("--stuck", "5000", at_end=lambda: release("ENCODER_CMD"))
        need("stuck in ENCODER_CMD: the drain is -ETIMEDOUT", t["error"] == "ETIMEDOUT", t)
    works("after all of these")


def spoiled():
    for fault in ("error", "empty", "runt"):
        with Faults(**{f"fault_{fault}": 4}):
            # In lockstep the loss is known before the next frame goes in.
            packets, t = probe("--lockstep", "gop_frames=100", files=True)
            need(f"{fault}: spoiled packets are dropped and counted", t["error"] == "EPIPE"
                 and t["errors"] == 3 and len(packets) == 9 and not t["unpaired"] + t["skipped"], t)
            need(f"{fault}: a key frame after each", key_frames(packets) == [0, 4, 8], key_frames(packets))
            exact(fault, packets, "YU12", 640, 480)
            packets, t = probe("gop_frames=100")
            # An empty one that ends the drain too is no error: its frame has no packet.
            need(f"{fault}: counted as fast as they come too", t["errors"] + t["skipped"] == 3
                 and t["skipped"] <= (fault == "empty") and len(packets) == 9 and t["error"] == "EPIPE", t)
    with Faults(fault_drop=4):
        packets, t = probe("gop_frames=100", files=True)
        need("skipped frames are counted", t["skipped"] == 3 and len(packets) == 9
             and not t["errors"] + t["unpaired"] and key_frames(packets) == [0], t)
        exact("skipped frames", packets, "YU12", 640, 480)
    with Faults(coded_bytes=20000):
        packets, t = probe("--lockstep")
        need("frames that do not fit their buffer are errors", t["errors"] == t["submitted"] == 12
             and not packets and t["error"] == "EPIPE", t)
    for lie, flag in ((1, False), (2, True)):
        with Faults(fault_key_flag=lie):
            packets, t = probe("gop_frames=5")
            need(f"the driver's key flag is always {flag}: the bitstream tells",
                 key_frames(packets) == [0, 5, 10] and {p["driver_key"] for p in packets} == {flag}, t)


def order():
    with Faults(fault_reorder=1):
        packets, t = probe("gop_frames=1", files=True)
        need("buffers in another order: paired by key", len(packets) == 12
             and not t["unpaired"] + t["skipped"] + t["disordered"] + t["strange"], t)
        exact("buffers in another order", packets, "YU12", 640, 480)
    with Faults(fault_reorder=2):
        packets, t = probe("gop_frames=1", files=True)
        # A drain that meets a pair half-way lets its first out before its second.
        need("late packets come in coded order, none is lost", sorted(p["frame"] for p in packets)
             == list(range(12)) and t["disordered"] and not t["unpaired"] + t["skipped"] + t["strange"], t)
        exact("late packets", packets, "YU12", 640, 480)
    with Faults(fault_reorder=2, fault_drop=5):
        packets, t = probe("gop_frames=1", files=True)
        need("... and a frame without a packet is a skipped one", t["skipped"] == 2
             and sorted(p["frame"] for p in packets) == [i for i in range(12) if i % 5 != 4]
             and not t["unpaired"] + t["strange"], t)
        exact("late and skipped packets", packets, "YU12", 640, 480)


def stale():
    with Faults(fault_source_change=5):
        packets, t = probe()
        need("a source change is -ESTALE, after the packets before it", t["error"] == "ESTALE"
             and key_frames(packets) == [0] and len(packets) >= 4, t)
        packets, t = probe("--heal", PARAMETERS + "fault_source_change", frames=20)
        need("... and opened again it goes on", t["reopened"] == 1 and packets[-1]["run"] == 1, t)


def plug(name):
    """Into the driver's file: bind, unbind."""
    driver = "/sys/bus/platform/drivers/vh264enc/"
    with open(driver + name, "w", encoding="ascii") as f:
        f.write(DEVICE)


def unplug(what="streaming"):
    # 4096 frames are more than two minutes: it ends by the unplugging alone.
    packets, t = probe(frames=4096, at_packet=(4, lambda run: plug("unbind")))
    need(f"unplugged while {what} is -ENODEV, and close ends", t["error"] == "ENODEV" and len(packets) >= 4, t)
    plug("bind")


def works(what):
    packets, t = probe()
    need(f"{what} it works", t["error"] == "EPIPE" and len(packets) == 12, t)


def faults():
    """Each way in which a job, a buffer or a file ends at the wrong time."""
    for name, value in (("hang", 5), ("no_last", "Y")):
        with Faults(**{f"fault_{name}": value}):
            packets, t = probe("--timeout", "1000")
            need(f"{name} is -ETIMEDOUT", t["error"] == "ETIMEDOUT", t)
    for name, value in (("error", 2), ("empty", 2), ("runt", 2), ("drop", 2), ("reorder", 2)):
        with Faults(**{f"fault_{name}": value}):
            packets, t = probe(frames=6)
            need(f"{name}: the drain ends", t["error"] == "EPIPE" and not t["unpaired"]
                 and len(packets) + t["errors"] + t["skipped"] == 6, t)
    with Faults(coded_bytes=20000):
        _, t = probe("--lockstep", frames=4)
        need("frames that do not fit their buffer are errors", t["errors"] == 4, t)
    with Faults(fault_source_change=5):
        _, t = probe()
        need("a source change is -ESTALE", t["error"] == "ESTALE", t)
    unplug()
    with Faults(delay_ms=100):
        unplug("a job is due later")
    with Faults(fault_hang=5):
        unplug("a job hangs")
        packets, _ = probe(at_packet=(4, lambda run: run.kill()))
        need("killed while a job hangs", len(packets) == 4, packets)
    with Faults(fault_reorder=2):
        packets, _ = probe(frames=4096, at_packet=(4, lambda run: run.kill()))
        need("killed while a packet is held back", len(packets) >= 4, packets)
    works("after all of that")
    load("", "")
    works("loaded anew")
    for name in ("vh264enc", "vivid"):
        sh("/sbin/rmmod", name)
    return 1 if bad else 0


# --- the whole path -------------------------------------------------------------

def renewed(before, new, now):
    """How many blocks are the raw frame's; -1: one is neither that nor as before."""
    blocks = [list(macroblocks(f, 640, 480)) for f in (before, new, now)]
    if any(c not in (a, b) for a, b, c in zip(*blocks)):
        return -1
    return sum(a != b == c for a, b, c in zip(*blocks))


def untapped(path):
    """Nobody but the encoder read the frames of this run."""
    with open(path, encoding="utf-8") as f:
        report = json.load(f)
    (source,) = report["sources"]
    (track,) = source["tracks"]
    need("agent: frames that only the encoder reads are opened for it alone, and imported",
         source["import_only"] is True and track["source_imported"] is True and track["encoder"] == "m2m", report)
    need("agent: ... without a copy of one", source["frames_captured"] > 10 and track["raw_copies"] == 0
         and source["frames_copied"] == 0 and track["raw_bytes_touched_per_frame"] == 0, report)
    need("agent: ... on rung S1", source["memory_rung"] == "S1", source)


def agent(directory):
    def path(name):
        return os.path.join(directory, name)

    untapped(path("untapped.json"))
    with open(path("report.json"), encoding="utf-8") as f:
        report = json.load(f)
    (source,), (sent,) = report["sources"], report["streams"]
    report = {**source, **source["tracks"][0], **sent}
    raw = list(raw_frames(report["format"], 640, 480, path("tap/cam/raw")))
    need("agent: every frame became a packet", len(raw) > 30
         and report["frames_put"] == report["frames_captured"] == len(raw), report)
    need("agent: by import, no copy", report["raw_copies"] == 0, report)
    need("agent: frames that are tapped are for the CPU too", report["import_only"] is False, report)
    for name in ("media.mkv", "clip.mp4"):
        told = json.loads(subprocess.run(
            ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries",
             "packet=flags:stream=codec_name,width,height", "-of", "json", path(name)],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True).stdout)
        keys = ["K" in p["flags"] for p in told["packets"]]
        got = decoded_frames(640, 480, path(name))
        need(f"agent: {name} is H.264 and has every frame", told["streams"][0]["codec_name"] == "h264"
             and len(got) == len(keys) == len(raw), f"{len(got)}, {len(keys)} of {len(raw)}")
        need(f"agent: {name} begins with a key frame and has more",
             keys[0] and sum(keys) >= report["fragments_sealed"] > 1, (sum(keys), report))
        wrong = [i for i, key in enumerate(keys) if key and got[i] != raw[i]]
        need(f"agent: {name}: key frames are the camera's, bit by bit", not wrong, wrong)
        fresh = [renewed(got[i - 1], raw[i], got[i]) for i in range(1, 12) if not keys[i]]
        need(f"agent: {name}: other frames renew blocks as 2 Mbit/s allow",
             all(0 <= n <= 2000000 // RATE // 8 // 384 for n in fresh) and any(fresh), fresh)
    return 1 if bad else 0


def agent_codec(codec, directory):
    """H.265 comes back bit by bit; of VP8 key frames are the means, others as far as the bitrate goes."""
    def path(name):
        return os.path.join(directory, name)

    with open(path("report.json"), encoding="utf-8") as f:
        report = json.load(f)
    (source,), (sent,) = report["sources"], report["streams"]
    track = source["tracks"][0]
    raw = list(raw_frames(source["format"], 640, 480, path(f"tap/cam/raw")))
    need(f"agent, {codec}: every frame became a packet, by import", len(raw) > 30 and track["encoder"] == "m2m"
         and sent["frames_put"] == source["frames_captured"] == len(raw) and track["raw_copies"] == 0, report)
    need(f"agent, {codec}: every fragment was acknowledged as persisted",
         sent["fragments_sealed"] == sent["fragments_persisted"] > 1, sent)
    told = json.loads(subprocess.run(
        ["ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=flags,size:stream=codec_name,width,height",
         "-of", "json", path("media.mkv")], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True).stdout)
    packets = [{"frame": i, "key": "K" in p["flags"]} for i, p in enumerate(told["packets"])]
    need(f"agent, {codec}: the track says so", [told["streams"][0][k] for k in ("codec_name", "width", "height")] ==
         [codec, 640, 480] and len(packets) == len(raw), told["streams"])
    keys = key_frames(packets)
    need(f"agent, {codec}: begins with a key frame, has more, one a fragment", keys[:1] == [0]
         and len(keys) >= sent["fragments_sealed"] > 1, (keys, sent))
    got = decoded_frames(640, 480, path("media.mkv"))
    want = raw if codec == "hevc" else vp8_pictures(packets, source["format"], 640, 480, 2000000,
                                                    path(f"tap/cam/raw"))
    need(f"agent, {codec}: every picture is what was to be, to the bit", got == want,
         [i for i, (a, b) in enumerate(zip(got, want)) if a != b] or (len(got), len(want)))
    return 1 if bad else 0


def agent_stuck(directory):
    """One of two sources' encoders did not return from the driver for 15 seconds of 40."""
    def read(name):
        with open(os.path.join(directory, name), encoding="utf-8") as f:
            return f.read()

    report, log = json.loads(read("report.json")), read("log")
    sources = {s["name"]: s for s in report["sources"]}
    streams = {s["name"]: s for s in report["streams"]}
    need("agent, stuck: the driver was inside then, and is not any more", read("now").split() == ["1", "0"], read("now"))
    need("agent, stuck: it is told", "encoder m2m: stuck" in log, log[-2000:])
    other = streams["other"]
    need("agent, stuck: the other source lost no frame", sources["other"]["frames_captured"] >= 20 * 39
         and sources["other"]["frames_dropped"] == other["frames_dropped"] == other["fragments_dropped"] == 0
         and other["frames_put"] == sources["other"]["frames_captured"], (sources["other"], other))
    track = sources["cam"]["tracks"][0]
    need("agent, stuck: the encoder came back", track["encoder_reopened"] >= 1, track)
    need("agent, stuck: ... and what it gave was stored", streams["stuck"]["fragments_sealed"] ==
         streams["stuck"]["fragments_persisted"] > 2, streams["stuck"])
    return 1 if bad else 0


def modules():
    only = os.environ.get("ONLY")
    if only:
        load("", f"{only}=1" if only != "stuck" else "")
        {"jpeg": jpeg, "hevc": hevc, "vp8": vp8, "stuck": stuck}[only]()
        return 1 if bad else 0
    load("", "")
    matrix([(f, s, r) for f in ("YU12", "NV12") for s in ("640x480", "1280x720")
            for r in ("S1", "S3")])
    matrix([("NV12", "640x480", "S1", "--copy")])
    with Faults(size_align=64, stride_align=64):
        # 180 lines are 192 to the device: a crop rectangle, and copies.
        matrix([("YU12", "320x180", "S1", "--copy")])
    bitrate()
    controls()
    headers()
    hangs()
    spoiled()
    order()
    stale()
    stuck()
    unplug()
    works("plugged in again")
    load("", "encoder_cmd=0")
    packets, t = probe()
    need("without ENCODER_CMD a drain ends", t["error"] == "EPIPE" and len(packets) == 12, t)
    with Faults(fault_drop=4):
        packets, t = probe("--timeout", "1000")
        need("... also when the last frame made no packet", t["error"] == "EPIPE"
             and t["skipped"] == 3 and len(packets) == 9, t)
    load("multiplanar=2", "multiplanar=1")
    matrix([("NM12", "640x480", "S1"), ("YM12", "640x480", "S3"), ("NV12", "640x480", "S1")])
    load("", "multiplanar=1 own_planes=1")
    # What the camera has in one piece of memory, the encoder wants in two or three.
    matrix([("NV12", "640x480", "S1", "--copy"), ("YU12", "640x480", "S3", "--copy")])
    load("allocators=1", "memory=dma-contig")
    matrix([("NV12", "640x480", "S3")])
    load("", "jpeg=1")
    jpeg()
    load("", "hevc=1")
    hevc()
    load("", "vp8=1")
    vp8()
    sh("/sbin/rmmod", "vh264enc")
    return 1 if bad else 0


if sys.argv[1] == "agent-stuck":
    sys.exit(agent_stuck(sys.argv[2]))
if sys.argv[1].startswith("agent-"):
    sys.exit(agent_codec(sys.argv[1][6:], sys.argv[2]))
sys.exit(agent(sys.argv[2]) if sys.argv[1] == "agent" else {"modules": modules, "faults": faults}[sys.argv[1]]())
