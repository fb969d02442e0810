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
	exit 0
fi

here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$here"
O=$(cd "${O:-build}" && pwd)
export O
for p in capture_probe fwht_decode; do
	[ -x "$O/tests/$p" ] || { echo "no $O/tests/$p: make first" >&2; exit 1; }
done

out=$(mktemp)
trap 'rm -f "$out"' EXIT

# run ENGINE WORLD CODEC MODULES: one guest, judged
run() {
	echo "== $1, $4"
	tests/hil/guest run --engine "$1" --mem 768M --timeout 240 \
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
    "qemu-6.12": {"auto": "S1", "S1": "S1", "S2": "S2", "S3": "S3", "S5": "S5"},
    "qemu-6.1": {"auto": "S3", "S1": None, "S2": None, "S3": "S3", "S5": "S5"},
}[world]
got = {i["asked"]: i for i in runs["capture --frames 10"]}
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
		run "$engine" "$engine" plain "vivid n_devs=1"
		;;
	esac
done
