#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# libcapture on real kernels: which rung each of them gives, that frames get
# from vivid into vicodec untouched and come out of its decoder as they were,
# and that every fallback works and is counted. O=build: where the programs
# are. Arguments: engines; default: uml qemu-6.12 qemu-6.1.
set -eu

if [ "${1:-}" = inside ]; then
	# In the guest: JSON lines only; the host judges.
	probe=$2/tests/capture_probe
	decode=$2/tests/fwht_decode
	cd /tmp
	ask() {
		echo "{\"asked\": \"$*\"}"
		"$probe" "$@" || echo "{\"status\": $?}"
	}
	measure() {
		ask encode --backend m2m --frames 20 --out p.fwht --raw r.yuv "$@"
		"$decode" p.fwht r.yuv | tail -1
	}
	sysctl -q -w vm.nr_hugepages=16 2>/dev/null || :
	ask list
	ask capture --frames 10
	ask encode --backend software --frames 10
	ask encode --backend software --frames 10 --format NV12
	ask encode --backend software --frames 10 --format YUYV --rung S3
	if [ "$3" = codec ]; then
		measure
		measure --rung S3 --coded-rung S3
		measure --rung S5 --coded-rung S5
		measure --copy
		ask encode --backend m2m --size 1280x720 --frames 30
		ask encode --backend m2m --size 320x180
	fi
	if [ "$3" = huge ]; then
		# Memory that must be contiguous, in a kernel that maps huge pages wrongly for a driver that
		# writes by CPU, as vivid does: what v4l2-ctl reads of a still picture is right. Pictures of one
		# huge page, as two need not lie in a row.
		modprobe -r vivid
		modprobe vivid n_devs=1 allocators=1
		camera=/dev/$(basename "$(dirname "$(grep -lx vivid-000-vid-cap /sys/class/video4linux/*/name)")")
		still() { # FORMAT WIDTH HEIGHT
			v4l2-ctl -d "$camera" -c osd_text_mode=2 --set-fmt-video="width=$2,height=$3,pixelformat=$1" \
				-p 30 --stream-mmap=4 --stream-skip=1 --stream-count=1 --stream-to=/tmp/right >/dev/null 2>&1
			for rung in auto S2 S3; do
				rm -f /tmp/raw
				ask capture --device "$camera" --format "$1" --size "$2x$3" --rung $rung --frames 6 --raw /tmp/raw
				for i in 1 2 3 4 5 6; do cat /tmp/right; done | cmp -s - /tmp/raw && same=true || same=false
				echo "{\"same\": $same, \"bytes\": $(stat -c %s /tmp/right)}"
			done
		}
		still YUYV 640 480
		still NV12 640 480
		still XR24 640 480
		echo '{"asked": "doctor"}'
		"$2/kvsctl" doctor "$camera" --seconds 1 >/tmp/report 2>&1 || :
		grep -q 'measured: not S2: .*vmap_udmabuf' /tmp/report && echo '{"told": true}' || echo '{"told": false}'
	fi
	exit 0
fi

here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$here"
O=$(cd "${O:-build}" && pwd)
export O
for p in tests/capture_probe tests/fwht_decode kvsctl; do
	[ -x "$O/$p" ] || { echo "no $O/$p: make first" >&2; exit 1; }
done

out=$(mktemp)
trap 'rm -f "$out"' EXIT

# run ENGINE WORLD CODEC MODULES: one guest, judged
run() {
	echo "== $1, $4"
	tests/hil/guest run --engine "$1" --mem 768M --timeout 600 \
		--modules "$4" -- sh tests/hil/test_capture.sh inside "$O" "$3" >"$out"
	python3 - "$2" "$out" <<'PY'
import json, sys

world = sys.argv[1]
runs, lines = {}, []
for line in open(sys.argv[2]):
    item = json.loads(line)
    if set(item) == {"asked"}:
        lines = runs.setdefault(item["asked"], [])
    else:
        lines.append(item)

bad = 0

def need(what, ok):
    global bad
    bad += not ok
    print("ok" if ok else "not ok", "-", what)

# What each world must give: camera rung by request.
rungs = {
    "uml": {"auto": "S1", "S1": "S1", "S2": None, "S3": "S3", "S4": "S4", "S5": "S5"},
    "contig": {"auto": "S3", "S1": None, "S2": None, "S3": "S3", "S4": None, "S5": "S5"},
    # Its udmabuf gives vivid, which writes by CPU, the wrong pages of S2: never a frame of that.
    "qemu-6.12": {"auto": "S1", "S1": "S1", "S2": None, "S3": "S3", "S5": "S5"},
    "qemu-6.1": {"auto": "S3", "S1": None, "S2": None, "S3": "S3", "S5": "S5"},
}[world]
got = {i.get("asked"): i for i in runs["capture --frames 10"]}
for asked, rung in rungs.items():
    need(f"rung {asked} is {rung}", got.get(asked, {}).get("rung") == rung)
    if rung:
        need(f"{asked}: 10 frames, no trouble",
             got[asked].get("frames") == 10 and not got[asked]["errors"] + got[asked]["short"])
        need(f"{asked}: stamps are monotonic", got[asked].get("clock") == "monotonic")

for asked, lines in runs.items():
    if not asked.startswith("encode") or "320x180" in asked:
        continue
    first = lines[0]
    need(f"{asked}: runs" if "frames" in first else f"{asked}: {first}", "frames" in first and not {"status"} & set(lines[-1]))
    if "frames" not in first:
        continue
    need(f"{asked}: a packet per frame", first["frames"] == first["packets"])
    need(f"{asked}: paired, in order", first["paired"] and first["ordered"])
    need(f"{asked}: key frames", first["keys"] >= 1)
    software, copied = "software" in asked, "--copy" in asked or "--rung S5" in asked
    touched = 0
    if software and "NV12" in asked:
        touched = 640 * 480
    elif software and "YUYV" in asked:
        touched = 640 * 480 * 7 // 2
    elif copied:
        touched = 640 * 480 * 3
    need(f"{asked}: bytes touched {touched}", first["bytes_touched_per_frame"] == touched)
    need(f"{asked}: copies", first["copies_per_frame"] == (1 if touched else 0))
    if not software:
        need(f"{asked}: imported", first["imported"] == (not copied))
        if len(lines) > 1:
            need(f"{asked}: PSNR {lines[1]}", lines[1].get("frames") == 20
                 and lines[1].get("psnr_min", 0) > 35)
if world == "qemu-6.12":
    for size, bytes in (("YUYV --size 640x480", 614400), ("NV12 --size 640x480", 460800),
                        ("XR24 --size 640x480", 1228800)):
        for asked, rung in (("auto", "S3"), ("S2", None), ("S3", "S3")):
            lines = next(r for a, r in runs.items() if f"{size} --rung {asked} " in a)
            first, last = lines[0], lines[-1]
            what = f"huge pages, contiguous, {size} {asked}"
            need(f"{what}: rung {rung}, {first}", first.get("rung") == rung)
            if not rung:
                need(f"{what}: given up, no frame", first == {"failed": "capture", "error": "Operation not supported"} and
                     last["same"] is False)
                continue
            need(f"{what}: 6 frames, no trouble", first["frames"] == 6 and first["dmabuf"] and first["rising"] and
                 not first["errors"] + first["short"] + first["dropped"] + first["stamps"] + first["copies"])
            need(f"{what}: as v4l2-ctl reads it, to the byte", last == {"same": True, "bytes": bytes})
            need(f"{what}: S2 was given up: {asked == 'auto'}", first["s2_given_up"] == (asked == "auto"))
    need("doctor says why it is not S2", runs["doctor"] == [{"told": True}])
if any("320x180" in a for a in runs):
    lines = runs["encode --backend m2m --size 320x180"]
    need("a size that the encoder lacks is -ERANGE", "out of range" in lines[0].get("error", ""))
sys.exit(1 if bad else 0)
PY
}

for engine in ${*:-uml qemu-6.12 qemu-6.1}; do
	case $engine in
	uml)
		run uml uml codec "vivid n_devs=1,vicodec"
		run uml uml codec "vivid n_devs=1 multiplanar=2,vicodec multiplanar=1"
		# Memory that must be contiguous: 4 KiB pages are refused.
		run uml contig plain "vivid n_devs=1 allocators=1"
		;;
	*)
		part=plain
		[ "$engine" != qemu-6.12 ] || part=huge
		run "$engine" "$engine" $part "vivid n_devs=1"
		;;
	esac
done
