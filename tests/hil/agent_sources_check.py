#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""agent_sources_check.py DIR SECONDS: what test_agent_sources.sh collected: the agent's report and tap, what
GetMedia gave of the streams. Independent of the product's parsers. A guest that is kept from its CPU loses
frames in its drivers, though they have buffers: each of these must be counted. FOUR=1: four sources on a host
that is idle: none may be lost for want of a buffer, or be dropped, and few by the drivers themselves.
CLOCK=virtual: nothing is too slow, so not one frame may be missing, by anybody's fault."""
import json
import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from agent_tracks import TIME_BYTES, Stream, Tap, alaw_error, record_fields, same_times  # noqa: E402

failures = 0
# Frames per second of each source; None: its driver does not say.
RATES = {"camera": 30, "core": 10, "radio": 300000 / 16384, "sound": 50, "meta": 30, "scans": 10, "vimc": None}
SHARE = 0.8
SCAN_BYTES, SCANS = 16, 10
FOUR = os.environ.get("FOUR") == "1"
VIRTUAL = os.environ.get("CLOCK") == "virtual"
V4L2 = {"camera", "thermal", "sdr", "metadata"}
THREADED = {"openh264", "ffv1"}


def check(name, ok, detail=""):
    global failures
    failures += not ok
    print(f"{'ok' if ok else 'not ok'} - {name}" + (f": {str(detail)[:500]}" if detail != "" and not ok else ""))


def decode(path, track, *output):
    r = subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-i", path, "-map", f"0:{track - 1}", "-fps_mode",
                        "passthrough", *output, "-"], capture_output=True)
    return r.stdout, r.stderr.decode()[-300:]


def check_counted(name, source, tap):
    """What is missing in the tap's stamps is what the report counts as lost, at the rate of the camera."""
    stamps = [stamp for _, stamp, _ in tap.put]
    periods = (stamps[-1] - stamps[0]) * source["rate_num"] / source["rate_den"] / 1e9
    seen = len(stamps) - 1 + source["frames_lost"]
    # Lost before the first that was put, or after the last.
    check(f"{name}: each frame that is missing was counted", periods - 2 - periods / 50 <= seen, (seen, periods))


def ours_lost(source):
    """As a share: with buffers at hand a V4L2 driver loses a frame by itself."""
    ours = source["frames_starved"] if source["kind"] in V4L2 else source["frames_lost"]
    return ours / max(ours + source["frames_captured"], 1)


def scans_missing(tap):
    """Frames' worth of scans that the device left out, by its own timestamps."""
    data = b"".join(tap.sources)
    at = [struct.unpack_from("<q", data, i + SCAN_BYTES - 8)[0] for i in range(0, len(data), SCAN_BYTES)]
    return sum(round((b - a) * RATES["scans"] * SCANS / 1e9) - 1 for a, b in zip(at, at[1:])) / SCANS


def check_all_the_time(name, source, tap, seconds, gap_s, ours_max):
    """Frames came from the start to the end, at the rate of the sensor."""
    stamps = [stamp / 1e9 for _, stamp, _ in tap.put]
    gap = max((b - a for a, b in zip(stamps, stamps[1:])), default=seconds)
    check(f"{name}: frames came all the time", stamps[-1] - stamps[0] >= SHARE * seconds and gap <= max(2.0, 3 * gap_s),
          (stamps[-1] - stamps[0], gap, gap_s))
    if not RATES[name]:
        return
    due = RATES[name] * seconds
    lost = scans_missing(tap) if name == "scans" else source["frames_lost"]
    check(f"{name}: frames came at its rate, or were lost and counted", source["frames_captured"] + lost >= SHARE * due,
          (source["frames_captured"], lost, due))
    check(f"{name}: few were lost for want of a buffer", ours_lost(source) <= ours_max, (ours_lost(source), ours_max))


def check_none_missing(name, source, tap, seconds):
    """As many as there were to be, by the counters and by the stamps."""
    check(f"{name}: not one was lost, by its driver neither", not any(
        source[k] for k in ("frames_lost", "frames_starved", "overruns")), source)
    if not RATES[name]:
        return
    due = RATES[name] * seconds
    check(f"{name}: all {due:.0f} came", abs(source["frames_captured"] - due) <= 1, source["frames_captured"])
    # Half a period: the drivers' clock has ticks of 10 ms. Sound before the first picture is not put.
    check(f"{name}: none is missing between two", len(tap.put) >= due - 4 and largest_gap(tap) < 1.5 / RATES[name] and
          (source["kind"] not in ("camera", "thermal") or len(tap.put) == source["frames_captured"]),
          (len(tap.put), largest_gap(tap)))


def largest_gap(tap):
    return max((b[1] - a[1] for a, b in zip(tap.put, tap.put[1:])), default=0) / 1e9


def check_report(report, taps, seconds):
    # The host may stop the whole guest: then every source has this gap.
    gap_s = sorted(largest_gap(tap) for tap in taps.values())[len(taps) // 2]
    # None may come off worse than all: with a guest that is too slow for them, all lose.
    ours = sorted(ours_lost(s) for s in report["sources"] if s["name"] != "vimc")
    ours_max = max(1 - SHARE, 3 * ours[len(ours) // 2])
    for s in report["sources"]:
        name, (track,) = s["name"], s["tracks"]
        print(f"   {name}: {s['frames_captured']} frames, {s['frames_lost']} lost ({s['frames_starved']} for want of a buffer), {s['frames_copied']} copied, "
              f"{track['frames_put']} put as {track['codec']}, busy "
              f"{s['busy_s']:.1f} s, {s['busy_ms_max']:.0f} ms at once; encoding {track['encode_s']:.1f} s, "
              f"{track['encode_ms_max']:.0f} ms at once, at most {track['queue_frames_max']} waiting, held for "
              f"{s['held_s']:.1f} s")
        check(f"{name}: nothing was dropped, skipped or opened again", not any(
            s[k] for k in ("frames_dropped", "frames_copied", "frames_error", "reopened")) and
            not track["frames_skipped"] and not track["frames_queue_full"], s)
        check(f"{name}: encoded on a thread of its own, if in software and long",
              (track["queue_frames_max"] > 0) == (track["encoder"] in THREADED) and
              (VIRTUAL or (track["encode_s"] > 0) == (track["encoder"] in THREADED)), track)
        check_all_the_time(name, s, taps[name], seconds, gap_s, ours_max)
        if FOUR:
            check(f"{name}: none was lost for want of a buffer", s["frames_starved"] == s["overruns"] == 0, s)
            check(f"{name}: its driver lost one in a hundred at most", s["frames_lost"] * 100 <= s["frames_captured"], s)
        if VIRTUAL:
            check_none_missing(name, s, taps[name], seconds)
        if s.get("rate_num"):
            check_counted(name, s, taps[name])
        check(f"{name}: every frame was put", track["frames_put"] + track["frames_refused"] ==
              track["frames_encoded"] == s["frames_captured"] and track["frames_refused"] <= 100, track)
    for s in report["streams"]:
        print(f"   {s['name']}: {s['fragments_persisted']} fragments, acknowledged after "
              f"{s['persisted_latency_ms_p50']:.0f} ms (p50)")
        check(f"{s['name']}: every fragment was acknowledged",
              s["fragments_left"] == s["fragments_dropped"] == 0 and
              s["fragments_persisted"] == s["fragments_sealed"] >= seconds // 4, s)


def late_blocks(blocks, put):
    """(place, ms late) of those that are not at their time, the first few."""
    late = [(i, ms - (ns + 500000) // 1000000) for i, ((ms, _), (ns, _, _)) in enumerate(zip(blocks, put))]
    return sum(d != 0 for _, d in late), [pair for pair in late if pair[1]][:20]


def check_tracks(name, stream, taps, expected):
    got = {n: (t["codec"], t["type"], t["number"]) for n, t in stream.tracks.items()}
    check(f"{name}: the tracks", got == expected, got)
    for track in expected:
        check(f"{track}: every frame comes back at its time", same_times(stream.blocks[track], taps[track].put),
              (f"{len(stream.blocks[track])} of {len(taps[track].put)}", late_blocks(stream.blocks[track], taps[track].put)))


def check_data(name, stream, tap):
    good = sum(record_fields(payload) == (ns, stamp) and payload[TIME_BYTES:] == raw
               for (_, payload), (ns, stamp, _), raw in zip(stream.blocks[name], tap.put, tap.sources))
    check(f"{name}: what it gave comes back, with its times", good == len(tap.put) > 0, f"{good} of {len(tap.put)}")


def check_scans(stream, seconds):
    """iio_dummy's values are its driver's constants."""
    data = b"".join(payload[TIME_BYTES:] for _, payload in stream.blocks["scans"])
    scans = [struct.unpack_from("<hhhh", data, at)[:4] for at in range(0, len(data), SCAN_BYTES)]
    check("scans: every one has the dummy's values", len(scans) >= SCANS * SHARE * RATES["scans"] * seconds / 2 and
          all(s == (7, -33, -2, 344) for s in scans), scans[:3])


def check_sound(path, stream, tap):
    pcm, said = decode(path, stream.tracks["sound"]["number"], "-f", "s16le")
    check("sound: decodes to what was heard", len(pcm) == len(tap.whole) > 0 and alaw_error(tap.whole, pcm) <= 16,
          f"{len(pcm)} of {len(tap.whole)} {said}")
    samples = [int.from_bytes(pcm[i:i + 2], "little", signed=True) for i in range(0, len(pcm), 2)]
    loud = [s for s in samples if abs(s) > 4000]
    crossings = sum(a < 0 <= b for a, b in zip(samples, samples[1:]))
    hertz = crossings * 8000 / max(len(samples), 1)
    check("sound: it is the tone that was played", len(loud) > len(samples) // 4 and 400 < hertz < 450, hertz)


def check_rest(where, taps, seconds):
    rest = Stream(f"{where}/rest.mkv")
    vimc = {"vimc": ("V_UNCOMPRESSED", 1, 1)} if "vimc" in taps else {}
    check_tracks("rest", rest, taps, {**vimc, "scans": ("D_KVSD/IIO", 33, 1 + len(vimc))})
    check_data("scans", rest, taps["scans"])
    check_scans(rest, seconds)
    if vimc:
        check("vimc: each picture comes back as it was", [p for _, p in rest.blocks["vimc"]] == taps["vimc"].sources)


def main():
    where, seconds = sys.argv[1], int(sys.argv[2])
    open(f"{where}/tap/camera/raw", "ab").close()
    taps = {name: Tap(f"{where}/tap/{name}") for name in RATES if os.path.exists(f"{where}/tap/{name}")}
    print(f"   sources: {' '.join(taps)}")
    check_report(json.load(open(f"{where}/report.json")), taps, seconds)
    gate, sense = (Stream(f"{where}/{name}.mkv") for name in ("gate", "sense"))
    check_tracks("gate", gate, taps, {"camera": ("V_MPEG4/ISO/AVC", 1, 1), "sound": ("A_MS/ACM", 2, 2)})
    check_tracks("sense", sense, taps, {"core": ("V_FFV1", 1, 1), "radio": ("D_KVSD/SDR", 33, 2),
                                        **({} if FOUR else {"meta": ("D_KVSD/METADATA", 33, 3)})})
    counts, said = decode(f"{where}/sense.mkv", 1, "-f", "rawvideo", "-pix_fmt", "gray16le")
    check("core: the counts come back, each bit of them", counts == taps["core"].whole and len(counts) > 0,
          f"{len(counts)} of {len(taps['core'].whole)} {said}")
    for name in ("radio",) if FOUR else ("radio", "meta"):
        check_data(name, sense, taps[name])
    if not FOUR:
        check_rest(where, taps, seconds)
    check_sound(f"{where}/gate.mkv", gate, taps["sound"])
    _, said = decode(f"{where}/gate.mkv", 1, "-f", "null")
    check("camera: decodes without complaint", "error" not in said.lower(), said)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
