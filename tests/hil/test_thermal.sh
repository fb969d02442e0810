#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Counts from a V4L2 node: vivid's Y16 and Y16_BE through FFV1 and raw, with a
# view beside it, into files that ffmpeg gives back bit for bit. O=build: where
# the programs are.
set -eu

if [ "${1:-}" = inside ]; then
	# In the guest: files only; the host judges.
	probe=$2/tests/thermal_probe
	dir=$3
	take() { # NAME OPTIONS...
		at=$dir/$1
		shift
		mkdir "$at"
		"$probe" --dir "$at" --device /dev/video0 "$@" >"$at/report.json"
	}
	take little --format "Y16 " --size 640x480 --frames 6 --m2m
	take big --format "Y16 -BE" --size 640x360 --frames 6
	take small --format "Y16 -BE" --size 320x180 --frames 6 --telemetry 2 --palette iron
	sync
	exit 0
fi

here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$here"
O=$(cd "${O:-build}" && pwd)
export O
[ -x "$O/tests/thermal_probe" ] || { echo "no $O/tests/thermal_probe: make first" >&2; exit 1; }
command -v ffmpeg >/dev/null || { echo "ffmpeg is missing"; exit 77; }

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
r=0
tests/hil/guest run --engine uml --clock "${CLOCK:-virtual}" --mem 512M --timeout 400 --modules "vivid n_devs=1 node_types=0x1,vicodec" \
	--out "$out" -- sh tests/hil/test_thermal.sh inside "$O" /out || r=$?
if [ $r = 77 ]; then echo "libavcodec is not built in"; fi
[ $r = 0 ] || exit $r
failed=0
for name in little big small; do
	python3 tests/e2e/thermal_check.py "$out/$name" "$name" || failed=1
done
# Of 30 frames a second, 640x360 and more is too much to be raw and 320x180 is not.
for pair in little:ffv1 big:ffv1 small:y16; do
	if grep -q "\"encoder\": \"${pair#*:}\"" "$out/${pair%:*}/report.json"; then
		echo "ok - ${pair%:*}: kept as ${pair#*:}"
	else
		echo "not ok - ${pair%:*}: kept as ${pair#*:}"
		failed=1
	fi
done
# An M2M encoder takes the view where it lies (vicodec would read more than a picture of 360 lines has).
if grep -q '"rung": "S1", "m2m_packets": 6, "m2m_imported": true, "m2m_copies": 0' "$out/little/report.json"; then
	echo "ok - little: an M2M encoder imports the view"
else
	echo "not ok - little: an M2M encoder imports the view: $(head -n 1 "$out/little/report.json")"
	failed=1
fi
exit $failed
