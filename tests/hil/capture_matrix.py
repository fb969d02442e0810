#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""capture_matrix.py PROBE: the guest's half of test_capture_matrix.sh."""
import contextlib
import glob
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile

PROBE = sys.argv[1]
RUNGS = ["S1", "S3", "S4", "S5"]
FRAMES = 6
IOCTLS_MAX, WAITS_MAX = 6, 2    # for a frame
FLAG_STAMPED, FLAG_COPY = 0x8, 0x10
bad = 0


def need(what, ok, detail=""):
    global bad
    bad += not ok
    print("ok" if ok else "not ok", "-", what, "" if ok else detail, flush=True)


def run(*args, check=True):
    p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=60)
    if check and p.returncode:
        raise RuntimeError(f"{' '.join(args)}: {p.stdout}")
    return p.stdout


def probe(*args):
    lines = [json.loads(line) for line in run(PROBE, *args, check=False).splitlines() if line.startswith("{")]
    return lines[-1] if lines else {}


def load(**parameters):
    run("/sbin/modprobe", "-r", "vivid")
    run("/sbin/modprobe", "vivid", "n_devs=1", *(f"{k}={v}" for k, v in parameters.items()))


def node(capability, pattern="/dev/video*"):
    """The first node whose own capabilities (not the whole device's) have this."""
    for path in sorted(glob.glob(pattern)):
        info = run("v4l2-ctl", "-d", path, "--info", check=False)
        own = info.split("Device Caps", 1)[-1].split("Media Driver")[0]
        if capability in own:
            return path
    raise RuntimeError(f"no {capability} node")


def settled(path):
    """All that can be set, without what changes by itself: volatile, read-only, counters."""
    text = run("v4l2-ctl", "-d", path, "--all", "-L", check=False)
    return [line.split("flags=")[0].rstrip() for line in text.splitlines()
            if "volatile" not in line and "read-only" not in line and "inactive" not in line]


def still(camera):
    """A picture that does not move, with no counters in it."""
    run("v4l2-ctl", "-d", camera, "-c", "osd_text_mode=2")


def reference(camera, fourcc, width, height, directory):
    """What v4l2-ctl, which shares nothing with us, reads."""
    path = os.path.join(directory, "reference")
    run("v4l2-ctl", "-d", camera, f"--set-fmt-video=width={width},height={height},pixelformat={fourcc}")
    run("v4l2-ctl", "-d", camera, "-p", "30", check=False)  # of single-planar nodes alone: haste, no more
    run("v4l2-ctl", "-d", camera, "--stream-mmap=4", "--stream-skip=1", "--stream-count=1", f"--stream-to={path}")
    with open(path, "rb") as f:
        return f.read()


def expected_rung(asked, contiguous):
    # Scattered pages are of no use to memory that must be contiguous.
    return None if contiguous and asked in ("S1", "S4") else asked


def check_run(name, got, rung, frames=FRAMES, syncs=0):
    """@syncs: of each frame, for each of its dma-bufs."""
    need(f"{name}: rung {rung}", got.get("rung") == rung, got)
    if not rung or "frames" not in got:
        return False
    need(f"{name}: {frames} frames, none bad", got["frames"] == frames and
         not got["errors"] + got["short"] + got["dropped"] + got["stale"] + got["stamps"], got)
    need(f"{name}: no copy, no byte touched", not got["copies"] and not got["touched"] and
         not got["flags"] & (FLAG_COPY | FLAG_STAMPED), got)
    need(f"{name}: stamps rise, by the monotonic clock", got["rising"] and got["clock"] == "monotonic", got)
    need(f"{name}: dma-bufs", got["dmabuf"] == (rung != "S5"), got)
    synced = frames * syncs * got["planes"] if rung != "S5" else 0
    need(f"{name}: {synced} syncs of caches, none refused", (got["syncs"], got["syncs_failed"]) == (synced, 0), got)
    need(f"{name}: system calls of a frame", got["ioctls_per_frame"] <= IOCTLS_MAX and
         got["waits_per_frame"] <= WAITS_MAX, got)
    need(f"{name}: all is put back", got["not_restored"] == 0, got)
    return True


def small_rung(asked, got, contiguous):
    """Of few pages, which may lie in a row whoever gives them; one always does."""
    return asked if got.get("rung") else expected_rung(asked, contiguous)


def check_content(what, raw, wanted):
    with open(raw, "rb") as f:
        frames = f.read()
    need(f"{what}: as v4l2-ctl reads it, to the byte", len(wanted) >= 640 * 480 and frames == wanted * FRAMES,
         f"{len(frames)} bytes of {len(wanted)}")


@contextlib.contextmanager
def without_udmabuf():
    os.rename("/dev/udmabuf", "/dev/udmabuf.away")
    try:
        yield
    finally:
        os.rename("/dev/udmabuf.away", "/dev/udmabuf")


def check_slow_maps(name, camera, fourcc, contiguous, hints, directory):
    """A board whose coherent maps read slowly (the clock says so; the memory is the kernel's): memory that is
    cached and synced where the driver has it (S3), else a heap's that it imports (S4), else as it is (S5)."""
    raw = os.path.join(directory, "raw")
    wanted = reference(camera, fourcc, 640, 480, directory)
    options = ("--device", camera, "--format", fourcc, "--slow-map", "--sync", "--frames", str(FRAMES), "--raw", raw)
    with without_udmabuf():
        for asked, rung in (("S3", "S3" if hints else None), ("auto", "S3" if hints else "S5" if contiguous else "S4")):
            what = f"{name} {fourcc.strip()} {asked}, maps are slow"
            got = probe("capture", "--rung", asked, *options)
            if not check_run(what, got, rung, syncs=2):
                continue
            need(f"{what}: {'non-coherent' if hints else 'coherent'} memory", got["non_coherent"] == bool(hints), got)
            check_content(what, raw, wanted)


def check_listed(camera):
    """The mosaics of raw sensors."""
    lines = [json.loads(line) for line in run(PROBE, "list").splitlines()]
    formats = {f["fourcc"]: f["sizes"] for line in lines if line["path"] == camera for f in line["formats"]}
    bayer = {"BA81", "GBRG", "GRBG", "RGGB", "BG10", "GB10", "BA10", "RG10", "BG12", "GB12", "BA12", "RG12",
             "BYR2", "GB16", "GR16", "RG16"}
    need("Bayer mosaics of 8 to 16 bits are listed with their sizes", all(formats.get(f, 0) > 0 for f in bayer), formats)


def check_pictures(name, camera, formats, contiguous, directory):
    raw = os.path.join(directory, "raw")
    for fourcc in formats:
        wanted = reference(camera, fourcc, 640, 480, directory)
        # What the source must set and put back: another format.
        run("v4l2-ctl", "-d", camera, "--set-fmt-video=width=320,height=180,pixelformat=" +
            ("NV21" if fourcc != "NM12" else "NM21"))
        before = settled(camera)
        for asked in RUNGS:
            what = f"{name} {fourcc.strip()} {asked}"
            got = probe("capture", "--device", camera, "--format", fourcc, "--rung", asked, "--sync",
                        "--frames", str(FRAMES), "--raw", raw)
            if check_run(what, got, expected_rung(asked, contiguous), syncs=2):
                check_content(what, raw, wanted)
                need(f"{what}: coherent memory", not got["non_coherent"], got)
            after = settled(camera)
            need(f"{what}: the device is as it was", after == before, set(before) ^ set(after))


def check_radio(name, contiguous, directory):
    radio = node("SDR Capture", "/dev/swradio*")
    raw = os.path.join(directory, "raw")
    for asked in RUNGS:
        what = f"{name} SDR {asked}"
        got = probe("capture", "--device", radio, "--as-is", "--rung", asked, "--frames", "3", "--raw", raw)
        if not check_run(what, got, small_rung(asked, got, contiguous), 3):
            continue
        need(f"{what}: CU08 at 300 kHz", got["fourcc"] == "CU08" and got["sample_rate"] == 300000 and
             got["sample_bytes"] == 2 and got["media"] == 1, got)
        with open(raw, "rb") as f:
            samples = f.read()
        # An FM carrier: each sample lies on a circle around 127, of vivid's radius of 127.
        radii = [((samples[i] - 127) ** 2 + (samples[i + 1] - 127) ** 2) ** 0.5 for i in range(0, len(samples), 2)]
        need(f"{what}: all samples are of the carrier", len(samples) == 3 * got["bytes"] and
             all(125.5 < r < 129.5 for r in radii), f"{len(samples)} {min(radii)}..{max(radii)}")
        need(f"{what}: it turns", len(set(samples)) > 100)


def check_metadata(name, contiguous, directory):
    meta = node("Metadata Capture")
    raw = os.path.join(directory, "raw")
    for asked in RUNGS:
        what = f"{name} metadata {asked}"
        got = probe("capture", "--device", meta, "--as-is", "--rung", asked, "--frames", "3", "--raw", raw)
        if not check_run(what, got, small_rung(asked, got, contiguous), 3):
            continue
        with open(raw, "rb") as f:
            records = f.read()
        size = len(records) // 3
        # struct uvc_meta_buf: ns, sof, length, flags; vivid counts 30 sof a frame.
        sofs = [int.from_bytes(records[i * size + 8:i * size + 10], sys.byteorder) for i in range(3)]
        # A busy machine loses frames: exactly those that the sequence leaves out, each of them counted.
        sequences = got["sequences"]
        gaps = [b - a - 1 for a, b in zip(sequences, sequences[1:])]
        need(f"{what}: records are those of their frames, in order", size >= 12 and got["media"] == 2 and
             len(sequences) == 3 and sofs == [30 * s for s in sequences] and min(gaps) >= 0, f"{size} {sofs} {got}")
        need(f"{what}: each frame that is missing was counted", sum(gaps) == got["lost"], f"{sequences} {got}")


def check_settings(camera, directory):
    before = settled(camera)
    # vivid's fourth input, HDMI, has brightness from 384 on.
    got = probe("capture", "--device", camera, "--input", "3", "--timings", "--as-is", "--frames", "3",
                "--rung", "S1", "--set", "brightness=400", "--set", "test_pattern=4", "--crop", "64,32,640x480")
    check_run("HDMI, timings, crop, controls", got, "S1", 3)
    need("the signal is there", got.get("signal") == "ok", got)
    need("input, timings, crop, controls are put back", settled(camera) == before,
         set(before) ^ set(settled(camera)))
    for option, name, error in (("no_such_control=1", "no_such_control", "No such device or address"),
                                ("brightness=256", "brightness", "Numerical result out of range"),
                                ("button=1", "button", "Operation not supported"),
                                ("test_pattern=99", "test_pattern", "Numerical result out of range")):
        got = probe("capture", "--device", camera, "--frames", "1", "--rung", "S1", "--set", option)
        need(f"{option} is refused by name", got == {"failed": name, "error": error}, got)
    need("and nothing is changed", settled(camera) == before)


def check_skipped(camera):
    """Cameras that begin dark: the first frames of a start are left out, and counted."""
    got = probe("capture", "--device", camera, "--frames", "3", "--rung", "S1", "--skip", "5")
    need("5 frames are left out at the start", got.get("skipped") == 5 and got["frames"] == 3 and
         got["sequences"][0] == 5 + got["lost"] - (got["sequences"][2] - got["sequences"][0] - 2), got)


def check_borrow(camera, directory):
    raw = os.path.join(directory, "raw")
    wanted = reference(camera, "YUYV", 640, 480, directory)
    for rung in RUNGS:
        got = probe("capture", "--device", camera, "--format", "YUYV", "--frames", "12", "--rung", rung,
                    "--borrow", "1", "--hold", "3", "--raw", raw)
        need(f"slow user, {rung}: copies, nothing dropped", got.get("copies", 0) >= 6 and
             got.get("frames") == 12 and got["touched"] == 2 * got["copies"] * 640 * 480 * 2 and
             not got["dropped"], got)
        with open(raw, "rb") as f:
            need(f"slow user, {rung}: copies are as v4l2-ctl reads it", f.read() == wanted * 12)


def receiver(camera, controls):
    """Sets what is at the HDMI input, which is another one's state to vivid."""
    run("v4l2-ctl", "-d", camera, "-i", "3")
    run("v4l2-ctl", "-d", camera, "-c", controls)
    run("v4l2-ctl", "-d", camera, "-i", "0")


def check_source_change(camera):
    """The receiver's signal goes, or becomes another one, while frames come."""
    receiver(camera, "dv_timings_signal_mode=0")  # so that vivid's flags have settled
    for what, controls, error in (("no signal", "dv_timings_signal_mode=1", "Link has been severed"),
                                  ("no lock", "dv_timings_signal_mode=2", "Link has been severed"),
                                  ("another size", "dv_timings=2,dv_timings_signal_mode=4", "Stale file handle")):
        before = settled(camera)
        p = subprocess.Popen([PROBE, "capture", "--device", camera, "--input", "3", "--timings", "--as-is", "--rung", "S1",
                              "--frames", "100000"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            p.communicate(timeout=2)
            need(f"{what}: runs until then", False)
        except subprocess.TimeoutExpired:
            pass
        run("v4l2-ctl", "-d", camera, "-c", controls)
        try:
            out = p.communicate(timeout=20)[0]
        except subprocess.TimeoutExpired:
            p.kill()
            out = p.communicate()[0] + "still running"
        need(f"{what}: dequeue says {error}", f'"error": "{error}"' in out, out)
        if what != "another size":  # the timings that are found are then the new ones
            got = probe("capture", "--device", camera, "--input", "3", "--timings", "--as-is", "--frames", "1", "--rung", "S1")
            need(f"{what}: so does the next open", got.get("failed") == "timings" and got.get("error") in
                 ("Link has been severed", "No locks available"), got)
        receiver(camera, "dv_timings=0,dv_timings_signal_mode=0")
        need(f"{what}: the device is as it was", settled(camera) == before, set(before) ^ set(settled(camera)))


def nodes():
    return [node("Video Capture"), node("SDR Capture", "/dev/swradio*"), node("Metadata Capture")]


def compliance(path):
    """What it says, without what it measures."""
    text = run("v4l2-compliance", "-d", path, check=False)
    return [line for line in text.splitlines() if re.search(r"test |fail|warn|^Total", line)]


def main():
    directory = tempfile.mkdtemp()
    for allocators, hints, planes in itertools.product((0, 1), (0, 1), (1, 2)):
        load(allocators=allocators, cache_hints=hints, multiplanar=planes)
        camera = node("Video Capture")
        still(camera)
        name = f"{'dma-contig' if allocators else 'vmalloc'}{', hints' if hints else ''}{', multi-planar' if planes == 2 else ''}"
        formats = ["NM12", "Y16 "] if planes == 2 else ["NV12", "YUYV", "Y16 "]
        if (allocators, hints, planes) == (0, 0, 1):
            formats += ["Y16 -BE", "RGGB"]
        check_pictures(name, camera, formats, bool(allocators), directory)
        check_slow_maps(name, camera, "NM12" if planes == 2 else "YUYV", bool(allocators), hints, directory)
        check_radio(name, bool(allocators), directory)
        check_metadata(name, bool(allocators), directory)
    load()
    camera = node("Video Capture")
    said = {path: compliance(path) for path in nodes()}
    still(camera)
    reference(camera, "YUYV", 640, 480, directory)
    before = {path: settled(path) for path in nodes()}
    check_listed(camera)
    check_settings(camera, directory)
    check_skipped(camera)
    check_borrow(camera, directory)
    check_source_change(camera)
    for path in nodes()[1:]:
        check_run(path, probe("capture", "--device", path, "--as-is", "--rung", "S1", "--frames", "3"), "S1", 3)
    for path in nodes():
        need(f"{path} is as it was", settled(path) == before[path] and len(before[path]) > 10, set(settled(path)) ^ set(before[path]))
        after = compliance(path)
        need(f"v4l2-compliance says the same of it as before: {said[path][-1:]}", len(said[path]) > 20 and
             said[path][-1].startswith("Total for vivid") and after == said[path], set(after) ^ set(said[path]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
