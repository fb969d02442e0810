# SPDX-License-Identifier: Apache-2.0
"""Capture and M2M encoding of 720p in one guest: libcapture, GStreamer, and the bare V4L2 calls.

User-Mode Linux runs each guest process in a process of the host's (its stub) and the guest's kernel in
another, so the host's scheduler knows exactly what the user-space code of the guest cost, and what
vivid, vicodec and the system calls did. The bare loop is the floor of both and is subtracted.
"""
import json
import os
import pathlib
import subprocess

from common import REPO, Missing, figure, median, say

GUEST_S = 420
BUFFERS_PER_FRAME = 3		# camera, encoder in, encoder out: each is dequeued
SOFTWARE = ("software", "ffmpeg_software")	# the camera's alone
FRAMES_MIN = 60			# in the measured seconds, or the host was too busy
IOCTLS_MAX, WAITS_MAX = 6, 2
RATIO_MAX = 0.5


def descendants(pid):
    """{pid: parent} of all processes below @pid."""
    parents = {}
    for path in pathlib.Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            fields = (path / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(path.name)] = int(fields[1])
    below = {}
    grown = True
    while grown:
        more = {p: q for p, q in parents.items() if p not in below and (q == pid or q in below)}
        grown = bool(more)
        below.update(more)
    return below


def on_cpu(pid):
    """Seconds that a process and its threads were on a CPU."""
    total = 0
    try:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    except OSError:
        return 0.0
    return total / 1e9


def executable(pid):
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except OSError:
        return ""


def guest_cpu(harness):
    """(user-space code, kernel) of the guest below process @harness, seconds."""
    below = descendants(harness)
    kernels = [p for p in below if executable(p).endswith("/linux")]
    mains = [p for p in kernels if below[p] not in kernels]
    if len(mains) != 1:
        raise Missing(f"{len(mains)} guest kernels where one was expected")
    stubs = sum(on_cpu(p) for p in below if p != mains[0] and is_below(p, mains[0], below))
    return stubs, on_cpu(mains[0])


def is_below(pid, ancestor, parents):
    while pid in parents:
        pid = parents[pid]
        if pid == ancestor:
            return True
    return False


def run_guest(build):
    """[(name, user s, kernel s, frames, memory kB, output)] of each run in the guest."""
    guest = subprocess.Popen(
        [REPO / "tests" / "hil" / "guest", "run", "--engine", "uml",
         "--modules", f"vivid n_devs=1 node_types=0x1,vicodec,{h264_module()}", "--mem", "512M", "--timeout", str(GUEST_S), "--",
         "python3", "-B", REPO / "tools" / "bench" / "capture_guest.py",
         build / "bench" / "bench_capture", build / "bench" / "replay.so"],
        env={**os.environ, "O": str(build)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    runs, begin = [], None
    for line in guest.stdout:
        event = json.loads(line)
        if event["mark"] == "begin":
            begin = (guest_cpu(guest.pid), event["events"])
        elif event["mark"] == "end":
            now = guest_cpu(guest.pid)
            frames = (event["events"] - begin[1]) / (1 if event["name"] in SOFTWARE else BUFFERS_PER_FRAME)
            runs.append({"name": event["name"], "user": now[0] - begin[0][0], "kernel": now[1] - begin[0][1],
                         "frames": frames, "kb": event["kb"]})
        elif event["mark"] == "failed":
            guest.kill()
            raise Missing(f"{event['name']}: {event['error']}")
        elif event["mark"] == "done" and event["output"]:
            runs[-1]["counts"] = json.loads(event["output"])
    if guest.wait():
        raise Missing(f"the guest ended with {guest.returncode}: {guest.stderr.read()[-600:]}")
    return runs


def h264_module():
    """The guest's H.264 encoder, built where it is not yet."""
    built = subprocess.run([REPO / "tests" / "hil" / "guest", "kmod", "uml", "tests/hil/vh264enc"], cwd=REPO,
                           stdout=subprocess.PIPE, text=True)
    if built.returncode:
        raise Missing("the guest's H.264 encoder does not build")
    return built.stdout.strip().split("\n")[-1]


def of(runs, name, key):
    return median([r[key] / r["frames"] for r in runs if r["name"] == name])


def bench(build, work):
    if subprocess.run([REPO / "tests" / "hil" / "guest", "status", "uml"], stdout=subprocess.DEVNULL).returncode:
        say("making the UML kernel, once: about 6 minutes")
        subprocess.run(["sh", "tools/dev/deps", "uml"], cwd=REPO, check=True)
        subprocess.run([REPO / "tests" / "hil" / "guest", "prepare", "uml"], check=True, stdout=subprocess.DEVNULL)
    runs = run_guest(build)
    if any(r["frames"] < FRAMES_MIN for r in runs):
        raise Missing(f"too few frames: {[round(r['frames']) for r in runs]}")
    report(runs)


def report(runs):
    user = {n: 1e6 * of(runs, n, "user") for n in ("loop", "library", "gstreamer", "record", "ffmpeg") + SOFTWARE}
    kernel = {n: 1e6 * of(runs, n, "kernel") for n in user}
    ours, peer = user["library"] - user["loop"], user["gstreamer"] - user["loop"]
    figure("capture.user_cpu_per_frame_vs_gstreamer", ours, "us/frame", limit=RATIO_MAX, peer=peer,
           user=user, kernel=kernel, ratio_not_subtracted=user["library"] / user["gstreamer"],
           frames={n: sum(r["frames"] for r in runs if r["name"] == n) for n in user},
           what="720p30 vivid -> vicodec by DMA-buf; user-space code alone, bare V4L2 loop subtracted")
    # Nothing is subtracted: the loop is another encoder's, and this is the harder limit.
    figure("capture.record_user_cpu_per_frame_vs_ffmpeg", user["record"], "us/frame", limit=RATIO_MAX,
           peer=user["ffmpeg"],
           what="720p30 vivid -> M2M H.264 -> /dev/null, ours as Matroska, FFmpeg's bare; the encoder's time is the "
                "kernel's")
    figure("capture.software_user_cpu_per_frame_vs_ffmpeg", user["software"], "us/frame", limit=RATIO_MAX,
           peer=user["ffmpeg_software"],
           what="720p30 vivid YUV420 -> software H.264 -> Matroska, ours by openh264, FFmpeg's by x264 (Debian's FFmpeg "
                "lacks openh264); the encoders' time is out of both: after 60 frames their packets are replayed")
    counts = [r["counts"] for r in runs if r["name"] == "library"]
    # Two digits: a frame more may be under way at the end than at the start.
    frames = sum(c["frames"] for c in counts)
    floor = [r["counts"] for r in runs if r["name"] == "loop"]
    for name, limit in (("ioctls", IOCTLS_MAX), ("waits", WAITS_MAX)):
        figure(f"capture.{name}_per_frame", round(sum(c[name] for c in counts) / frames, 2), "calls",
               limit=limit, loop=sum(c[name] for c in floor) / sum(c["frames"] for c in floor))
    figure("capture.allocations_after_start", sum(c["allocations"] for c in counts), "calls", limit=0, frames=frames)
    figure("capture.raw_copies", sum(c["copies"] for c in counts), "copies", limit=0, frames=frames)
    figure("capture.gstreamer_memory", max(r["kb"]["RssAnon"] for r in runs if r["name"] == "gstreamer") / 1024, "MiB",
           what="RssAnon; no limit: for comparison with agent.memory_outside_arena")
