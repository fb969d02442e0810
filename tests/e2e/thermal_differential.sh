#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Counts and views against ffmpeg: every format, odd sizes, noise and extremes through FFV1 and
# uncompressed into our Matroska come back bit for bit; JPEGs show the view.
set -eu
cd "$(dirname "$0")/../.."
o=${O:-build}
for tool in ffmpeg ffprobe python3; do
	command -v $tool >/dev/null || { echo "$tool is missing"; exit 77; }
done
make -s O="$o" "$o/tests/thermal_probe" >/dev/null
d=$(mktemp -d)
trap 'rm -rf "$d"' EXIT
failed=0

# try NAME "CHECKS" PROBE-OPTIONS...
try() {
	name=$1
	checks=$2
	shift 2
	rm -rf "$d/case"
	mkdir "$d/case"
	r=0
	"$o/tests/thermal_probe" --dir "$d/case" "$@" >"$d/case/report.json" 2>"$d/err" || r=$?
	if [ $r = 77 ]; then echo "libavcodec is not built in"; exit 77; fi
	if [ $r != 0 ]; then
		echo "not ok - $name: exit $r: $(cat "$d/err")"
		failed=1
		return
	fi
	if [ -s "$d/err" ]; then
		echo "not ok - $name: says $(cat "$d/err")"
		failed=1
	fi
	# shellcheck disable=SC2086 # several words on purpose
	python3 tests/e2e/thermal_check.py "$d/case" "$name" $checks || failed=1
}

try "ramp" crc --codec ffv1
for f in "Y16 " "Y16 -BE" "Y14 " "Y12 " GREY; do
	try "$f, ffv1" nojpeg --codec ffv1 --frames 3 --format "$f"
	try "$f, raw" nojpeg --codec y16 --frames 3 --format "$f"
done
try "noise, ffv1" nojpeg --codec ffv1 --scene noise --frames 5
try "extremes, ffv1" nojpeg --codec ffv1 --scene extreme --frames 5
try "odd sides, telemetry" "" --codec ffv1 --size 81x63 --telemetry 2 --palette iron --frames 3
try "small, raw" nojpeg --codec y16 --size 33x17 --frames 3
try "the smallest, ffv1" nojpeg --codec ffv1 --size 8x8 --scene extreme --frames 3
try "rainbow, 640x512" "" --size 640x512 --palette rainbow --frames 2
exit $failed
