# SPDX-License-Identifier: Apache-2.0
"""doctor_check.py WORLD DIR: judges what test_doctor.sh left, against what other tools say."""
import configparser
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile

WORLD, DIR = sys.argv[1], pathlib.Path(sys.argv[2])
bad = 0


def need(what, ok):
    global bad
    bad += not ok
    print("ok" if ok else "not ok", "-", f"{WORLD}: {what}")


def load(name):
    return json.loads((DIR / f"{name}.json").read_text())


def code(name):
    return int((DIR / f"{name}.code").read_text())


def text(name):
    return (DIR / name).read_text()


def feature(report, name):
    return next(f for f in report["kernel"] if f["feature"] == name)


def lacks(report, part):
    return [l for l in report["lacks"] if part in l["what"]]


def said(value):
    """Where anything claims how it is known, it is one of the two."""
    if isinstance(value, dict):
        return all(said(v) for v in value.values()) and value.get("how", "measured") in ("measured", "declared")
    return all(said(v) for v in value) if isinstance(value, list) else True


def check_formats(report):
    """Formats and sizes as v4l2-ctl lists them. 'Size:' lines appear once per discrete size."""
    for device in report["devices"]:
        name = os.path.basename(device["path"])
        if not (DIR / f"formats.{name}").exists():
            continue
        listed = text(f"formats.{name}")
        need(f"{name}: {len(device['formats'])} formats, as v4l2-ctl",
             len(device["formats"]) == len(re.findall(r"^\s*\[\d+\]:", listed, re.M)))
        sizes = len(re.findall(r"^\s*Size: ", listed, re.M))
        need(f"{name}: {sizes} sizes, as v4l2-ctl", sizes == sum(len(f["sizes"]) for f in device["formats"]))
        if name in {os.path.basename(p) for p in report["controls"]}:
            # v4l2-ctl leaves the headings of classes out.
            wanted = int(text(f"ctrls.{name}") or 0)
            got = len(report["controls"][device["path"]])
            need(f"{name}: {got} controls, v4l2-ctl lists {wanted}", wanted and got >= wanted)


def check_graph(report):
    for graph in report["media"]:
        name = os.path.basename(graph["path"])
        topology = text(f"topology.{name}")
        wanted = set(re.findall(r"^- entity \d+: (.*) \(\d+ pads?, \d+ links?", topology, re.M))
        need(f"{name}: {len(wanted)} entities, as media-ctl", {e["name"] for e in graph["entities"]} == wanted)
        arrows = len(re.findall(r"^\s*-> ", topology, re.M))
        need(f"{name}: {arrows} links, as media-ctl",
             arrows == sum(len(p["links"]) for e in graph["entities"] for p in e["pads"]))
        nodes = set(re.findall(r"device node name (\S+)", topology))
        need(f"{name}: nodes, as media-ctl", {e["node"] for e in graph["entities"]} - {""} == nodes)


def check_streams(report, vivid):
    stream = next(s for s in report["streams"] if s["device"] == vivid)
    declared, measured = stream["declared"], stream["measured"]
    need(f"vivid declares {declared}", declared["rate"] == "25" and declared["clock"] == "monotonic"
         and declared["point"] == "start of exposure")
    need(f"vivid measured {measured}", measured["frames"] >= 20 and measured["increasing"]
         and measured["clock"] == "monotonic" and measured["clock_verdict"] == "agrees"
         and measured["rung"] == "S1" and not measured["stamps_replaced"])
    need("the rate is about what is declared", 15 < measured["rate"] < 30)
    need("jitter: the median is not over the 99th percentile", 0 <= measured["jitter_p50_ms"] <= measured["jitter_p99_ms"])
    need("a median age between the least and the largest",
         0 <= measured["lag_min_ms"] <= measured["lag_median_ms"] <= measured["lag_max_ms"] < 1000)
    need("the driver's memory was read", (stream["map_read_bytes_per_s"] or 0) > 1e6)
    unset = [s for s in report["streams"] if "pipeline" in s.get("error", "")]
    need("a vimc pipeline that is not set up is told as such", len(unset) >= 1 and unset[0]["measured"] is None)
    pairs = {(p["source"], p["kind"]): p for p in report["pairs"]}
    m2m = pairs[(vivid, "m2m")]["measured"]
    need(f"vivid into vicodec: {m2m}", m2m["source_rung"] == "S1" and m2m["imported"]
         and m2m["copies_per_frame"] == 0 and m2m["bytes_touched_per_frame"] == 0 and m2m["packets"] >= 10)
    software = pairs.get((vivid, "openh264"))
    if software:
        need("software encodes, one copy per frame", software["codec"] == "H264"
             and software["measured"]["copies_per_frame"] == 1)


def stream_of(report, device):
    return next(s for s in report["streams"] if s["device"] == device)


def check_samples(name, stream, rate):
    """What came of a source of samples, by its own count and by its stamps."""
    declared, m = stream["declared"], stream["measured"]
    need(f"{name} declares {declared}", declared["sample_rate"] == rate and declared["clock"] == "monotonic"
         and declared["point"] == "first sample")
    need(f"{name} measured {m}", m["frames"] >= 3 and m["increasing"] and not m["stamps_replaced"]
         and m["clock"] == "monotonic" and m["clock_verdict"] == "agrees" and m["point_verdict"] == "agrees"
         and m["jitter_p50_ms"] <= m["jitter_p99_ms"])
    # Of a starved guest neither is the nominal one, but they are of the same run.
    need(f"{name}: its rate by both clocks", m["overruns"] or m["lost"]
         or abs(m["sample_rate"] / (m["rate"] * declared["frame_samples"]) - 1) < 1e-6)


def check_sensors(report):
    sensors = {s["path"]: s for s in report["sensors"]}
    loop, gyro, idle = sensors["hw:0,0"], sensors["iio:device0"], sensors["iio:device1"]
    need(f"a sound card's PCMs: {sorted(sensors)}", "hw:0,1" in sensors and loop["kind"] == "audio")
    need(f"formats and rates of a PCM: {loop}", {"S16_LE", "S32_LE"} <= set(loop["formats"]) and loop["rate_min"] == 8000
         and {8000, 44100, 48000} <= set(loop["rates"]) and loop["channels_max"] >= 2)
    need(f"an IIO device: {gyro}", gyro["name"] == "gyro" and gyro["trigger"] == "t0" and gyro["rates"] == [200])
    types = sorted(f"{'be' if e['big_endian'] else 'le'}:{'s' if e['signed'] else 'u'}{e['bits']}/{e['storage_bits']}"
                   f">>{e['shift']}" for e in gyro["elements"])
    need(f"the scan's elements are the kernel's {types}", len(types) == 5 and types == sorted(text("scan.types").split())
         and [e["offset"] for e in gyro["elements"]] == [0, 2, 4, 6, 8])
    need("the timestamps' clock is the one it is set to", gyro["clock"] == "realtime")
    check_samples("audio", stream_of(report, "hw:0,0"), 48000)
    check_samples("iio", stream_of(report, "iio:device0"), 200)
    need("without a trigger it gives nothing, and that is said", idle["trigger"] is None
         and "trigger" in stream_of(report, "iio:device1")["error"] and lacks(report, "iio:device1"))
    kinds = {s["kind"] for s in report["streams"] if s["measured"]}
    need(f"streamed from: {sorted(kinds)}", kinds == {"capture", "sdr", "metadata", "audio", "iio"})
    for name, device in (("sound", "hw:0,1"), ("gyro", "iio:device0")):
        one = load(name)
        need(f"{name}: that alone, exit code 0", code(name) == 0 and [s["device"] for s in one["streams"]] == [device]
             and one["streams"][0]["measured"])
    need("idle: exit code 8", code("idle") == 8)
    for part in ("48000 samples/s; measured:", "S16_LE", "first sample; measured: agrees"):
        need(f"audio's text says '{part}'", part in text("sound.text"))
    for part in ("trigger t0, 200 scans/s", "200 samples/s; measured:", "le:s"):
        need(f"iio's text says '{part}'", part in text("gyro.text"))


def check_record():
    with tarfile.open(DIR / "record.tar") as tar:
        names = {os.path.basename(m.name) for m in tar}
        content = b"".join(tar.extractfile(m).read() for m in tar.getmembers())
    need(f"the archive holds {sorted(names)}", {"CONTENTS", "report.json", "report.txt", "cpuinfo", "meminfo",
                                                "kernel.log", "sysfs-names.txt"} <= names)
    need("the archive has no host name and no key", b"very-secret" not in content)
    need("the archive has the kernel's log", b"vivid" in content and b"Linux version" in content)


def check_agent(report, name="one camera"):
    """The agent reads what was suggested."""
    kvsd = os.path.join(os.environ["O"], "kvsd")
    if not os.path.exists(kvsd):
        return
    (DIR / "credentials").write_text("[default]\naws_access_key_id = A\naws_secret_access_key = B\n")
    conf = DIR / "agent.conf"
    conf.write_text(f"[service]\nendpoint = https://127.0.0.1:1\ncredentials = {DIR}/credentials\n"
                    f"[stream front-door]\n{report['suggested']}")
    run = subprocess.run([kvsd, "agent", "--check", "--config", str(conf)], capture_output=True, text=True)
    need(f"{name}: kvsd agent takes the suggestion {run.stderr.strip()}", run.returncode == 0)


def check_probe():
    lines = [json.loads(l) for l in text("probe.json").splitlines()]
    need(f"pads that do not agree: {lines[0]}", lines[0].get("error") == "Broken pipe")
    need(f"set up, it streams: {lines[1]}", lines[1].get("frames") == 5)
    need(f"a size that no sensor has: {lines[2]}", lines[2].get("failed") == "setup" and "something else" in lines[2]["why"])
    need(f"an immutable link: {lines[3]}", "immutable" in lines[3].get("why", ""))
    need("all is put back, as media-ctl sees it", text("graph.before") == text("graph.after")
         and "Sensor A" in text("graph.before"))
    need("switched links are put back", text("graph.switched") == text("graph.before"))
    found = {l["match"]: l["path"] for l in lines if "match" in l}
    nodes = dict(re.findall(r"entity \d+: (.*) \(.*\n.*\n\s*device node name (\S+)", text("graph.before")))
    need("nodes by entity", found["Raw Capture 0"] == nodes["Raw Capture 0"]
         and found["RGB/YUV Capture"] == nodes["RGB/YUV Capture"])
    need("nodes along the links", found["Sensor B"] == nodes["Raw Capture 1"]
         and found["Debayer A"] == nodes["RGB/YUV Capture"])
    need("a node by its card", found["vivid"] == text("vivid").strip())


def complaints(said):
    """What udev says of rules that it cannot read."""
    return [l for l in said.splitlines() if re.search(r"kvsd[\w-]*\.rules:\d+.*([Ii]nvalid|[Uu]nknown|ignor|unexpected|fail)", l)
            and "Command" not in l and "builtin" not in l]


def check_udev():
    if not (DIR / "udev.gid").exists():
        print("ok # skip - uml: udev is not installed")
        return
    gid, links, grouped, tagged = text("udev.gid").strip(), {}, set(), set()
    for path in DIR.glob("udev.*"):
        device, said = path.name[5:], path.read_text()
        if device == "gid":
            continue
        links[device] = set(re.findall(r"70-kvsd\.rules:\d+ LINK '(.*)'", said))
        if re.search(rf"70-kvsd\.rules:\d+ GROUP {gid}$", said, re.M) and re.search("70-kvsd.* MODE 0660", said):
            grouped.add(device)
        if re.search("^TAGS=.*:systemd:", said, re.M):
            tagged.add(device)
        need(f"udev: {device}: every line of our rules parses {complaints(said)[:2]}", not complaints(said))
    need("udev: a line that does not parse would be seen", complaints(text("udevbad")))
    nodes = {os.path.basename(n["path"]): n for n in load("all")["nodes"]}
    devices = {os.path.basename(d["path"]): d["kind"] for d in load("all")["devices"]}
    cameras = {n for n, kind in devices.items() if kind == "capture"}
    coders = {n for n, kind in devices.items() if kind in ("encoder", "decoder")}
    need(f"udev: cameras {sorted(cameras)} are named by where they are plugged in, and tagged",
         cameras and cameras <= tagged and all(
             any(re.fullmatch(r"kvsd/by-path/platform-\w+\.0-\d+", l) for l in links[n]) for n in cameras))
    need(f"udev: encoders and decoders {sorted(coders)} are named by their drivers", coders and all(
        any(l.startswith(f"kvsd/m2m/{nodes[n]['name']}-") for l in links[n]) for n in coders))
    others = {n for n in links if n not in cameras | coders and links[n]}
    need(f"udev: nothing else has a name of ours {sorted(others)}", not others)
    names = [l for ls in links.values() for l in ls]
    need("udev: no name twice", len(names) == len(set(names)))
    wanted = {n for n in links if re.match("video|v4l-subdev|swradio|media|udmabuf|system", n)}
    need(f"udev: group kvsd, 0660: all but {sorted(wanted - grouped)}", wanted == grouped)


def check_access(vivid):
    report = load("nobody")
    told = [l for l in report["lacks"] if vivid in l["what"]]
    need("nobody: incomplete", code("nobody") == 8 and not report["complete"])
    need(f"nobody: the group is named: {told}", told and "-aG video" in told[0]["remedy"])
    others = [l for l in report["lacks"] if "cannot be opened" in l["what"] and vivid not in l["what"]]
    need("nobody: where no group may, the udev rules are named",
         others and all("70-kvsd.rules" in l["remedy"] for l in others))
    need("nobody: udmabuf is not called absent", feature(report, "udmabuf")["state"] == "not known")
    report = load("group")
    need("in the group the camera streams", [s["device"] for s in report["streams"] if s["measured"]] == [vivid])


def check_uml():
    vivid = text("vivid").strip()
    report = load("all")
    need("every value says how it is known", said(report))
    need("complete, exit code 0", report["complete"] and code("all") == 0)
    names = sorted(n["name"] for n in report["nodes"] if n["kind"] in ("video", "SDR", "subdevice"))
    sysfs = sorted(l for l in text("names").splitlines() if not re.search("vbi|touch|-rad-", l))
    need(f"{len(names)} nodes, named as in sysfs", names == sysfs)
    kinds = {d["kind"] for d in report["devices"]}
    need(f"kinds {sorted(kinds)}", {"capture", "encoder", "decoder", "sdr", "metadata"} <= kinds)
    for name in ("udmabuf", "dma-heap", "io_uring", "io_uring SEND_ZC", "ktls", "v4l2", "media", "vivid"):
        need(f"{name} is present", feature(report, name)["state"] == "present")
    need("tsalign is absent", feature(report, "tsalign")["state"] == "absent")
    check_formats(report)
    check_graph(report)
    check_streams(report, vivid)
    check_record()
    check_agent(report)
    before, after = text("before"), text("after")
    need("every device is as it was", before == after and vivid in before)
    if before != after:
        subprocess.run(["diff", DIR / "before", DIR / "after"], check=False)
    one = load("one")
    need("one camera by its entity", len(one["streams"]) == 1)
    ahead = load("ahead")["streams"][0]["measured"]
    need(f"stamps of the future contradict: {ahead['lag_max_ms']} ms",
         ahead["clock_verdict"] == "contradicts" and (ahead["stamps_replaced"] or ahead["lag_median_ms"] < 0))
    check_sensors(report)
    busy = load("busy")
    need(f"a camera in use: {busy['streams'][0].get('error')}", code("busy") == 8
         and "another program" in busy["streams"][0]["error"])
    need("who uses it did not notice", "still on" in text("user") and "undisturbed" in text("user"))
    radio = load("radio")
    need("a radio streams and needs no encoder", code("radio") == 0 and radio["streams"][0]["measured"]["frames"] >= 3
         and not radio["pairs"])
    need("a camera that is not there", code("none") == 8 and "no such camera" in text("none.err"))
    shown = text("text")
    for part in ("declared monotonic; measured: monotonic (agrees)", "rung S1", "suggested for agent.conf", vivid):
        need(f"the text says '{part}'", part in shown)
    check_probe()
    check_udev()
    check_access(vivid)
    check_two()


def sections(report):
    """[(name, {key: value})] of what is suggested."""
    parser = configparser.RawConfigParser(strict=True)
    parser.read_string(report["suggested"] or "")
    return [(name.removeprefix("source "), dict(parser[name])) for name in parser.sections()]


def check_two():
    """Cameras of one driver, or of one model: sections that no number of a node and no plugging in changes."""
    two, moved, twins, serials = (load(n) for n in ("two", "moved", "twins", "serials"))
    nodes, moved_nodes = text("two.nodes").split(), text("moved.nodes").split()
    got = sections(two)
    need(f"two cameras: a section each: {got}", [s["device"] for _, s in got] == nodes and len(nodes) == 2
         and [s["kind"] for _, s in got] == ["camera", "thermal"] and got[0][0] != got[1][0] and code("two") == 0)
    need("two cameras: the core's counts are kept as they are", (got[1][1]["encoder"], got[1][1]["size"]) == ("auto", "320x180")
         and "format" not in got[1][1] and got[0][1]["encoder"] in ("openh264", "m2m"))
    counts = next(s for s in two["streams"] if s["device"] == nodes[1])["measured"]["counts"]
    need(f"two cameras: what the core sees: {counts}", 0 <= counts["coldest"]["count"] < counts["mean"] <
         counts["hottest"]["count"] <= 65535 and counts["hottest"]["x"] < 320 and counts["hottest"]["y"] < 180)
    need("two cameras: the text has it", "    counts  measured: " in text("two.text") and "kind = thermal" in text("two.text"))
    check_agent(two, "two cameras")
    need("two cameras: other numbers, the same names", moved_nodes != nodes and
         [n for n, _ in sections(moved)] == [n for n, _ in got] and [s["device"] for _, s in sections(moved)] == moved_nodes)
    got = sections(twins)
    need(f"two of one model, without serials: by where they are plugged in: {got}", [s["device"] for _, s in got] ==
         [f"/dev/v4l/by-path/usb-0:{n}-video-index0" for n in (1, 2)] and got[0][0] != got[1][0])
    check_agent(twins, "two of one model")
    got = sections(serials)
    need(f"two of one model, with serials: by these: {got}", [s["device"] for _, s in got] ==
         [f"/dev/v4l/by-id/usb-HD_Webcam_000{n}-video-index0" for n in (1, 2)])


def check_bare():
    report = load("plain")
    need("no module: incomplete, exit code 8", code("plain") == 8 and not report["complete"])
    need("no module: no video device", lacks(report, "no video device"))
    need("no module: nothing is made up", not report["devices"] and not report["streams"]
         and report["suggested"] is None)
    need("no module: vivid's option is named", "CONFIG_VIDEO_VIVID" in feature(report, "vivid")["remedy"]
         and feature(report, "vivid")["state"] == "absent")


def check_old():
    report = load("plain")
    need("6.1: udmabuf is absent, and CONFIG_UDMABUF named", feature(report, "udmabuf")["state"] == "absent"
         and "CONFIG_UDMABUF" in feature(report, "udmabuf")["remedy"])
    stream = report["streams"][0]
    need(f"6.1: the camera streams from rung S3: {stream.get('error', '')}",
         stream["measured"] and stream["measured"]["rung"] in ("S3", "S4"))


def check_host():
    report = load("plain")
    cameras = [d for d in report["devices"] if d["kind"] == "capture"]
    need("host: a report", said(report) and report["machine"]["kernel"])
    need("host: an exit code that fits", code("plain") == (0 if report["complete"] else 8))
    if not cameras:
        need("host: no camera is told", code("plain") == 8 and lacks(report, "no video device"))


{"uml": check_uml, "bare": check_bare, "qemu-6.1": check_old, "host": check_host}[WORLD]()
sys.exit(1 if bad else 0)
