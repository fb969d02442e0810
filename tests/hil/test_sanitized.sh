#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The capture stack, built with sanitizers, on a real driver: each rung of a camera, a radio and its metadata,
# a user who is slow, controls set and refused, software encoders. In the stock kernel: UML's user space is too
# small for the sanitizers' shadows. SAN: which sanitizers, "address,undefined"; O: a build folder of theirs.
set -eu

if [ "${1:-}" = inside ]; then
	probe=$2/tests/capture_probe
	# 99: no program of ours ends with it.
	export ASAN_OPTIONS=exitcode=99:detect_stack_use_after_return=1 TSAN_OPTIONS=exitcode=99:second_deadlock_stack=1 \
		UBSAN_OPTIONS=halt_on_error=1:exitcode=99:print_stacktrace=1
	failed=0
	# check NAME EXPECTED ARGUMENTS...: says what is expected, and no sanitizer says anything
	check() {
		name=$1 expected=$2
		shift 2
		r=0
		"$probe" "$@" >/tmp/said 2>/tmp/complaints || r=$?
		if [ $r -lt 2 ] && [ ! -s /tmp/complaints ] && grep -q "$expected" /tmp/said; then
			echo "ok - $SAN: $name"
		else
			echo "not ok - $SAN: $name (exit $r)"
			sed 's/^/# /' /tmp/said /tmp/complaints | cut -c1-400 | head -n 60
			failed=1
		fi
	}
	node() { # CLASS NAME: of the driver's
		echo "/dev/$(basename "$(dirname "$(grep -lx "$2" /sys/class/"$1"/*/name)")")"
	}
	radio=$(node video4linux vivid-000-sdr-cap)
	meta=$(node video4linux vivid-000-meta-cap)
	check "what there is" '"vivid"' list
	check "controls" brightness controls
	check "each rung of a camera" '"rung": "S5".*"frames": 5,' capture --frames 5
	check "a user who is slow, copies" '"frames": 12,' capture --frames 12 --borrow 1 --hold 3 --rung S1 --format YUYV
	check "maps that read slowly" '"frames": 5,' capture --frames 5 --rung auto --slow-map
	check "input, timings, crop, controls" '"frames": 3,' capture --input 3 --timings --as-is --frames 3 --rung S1 \
		--set brightness=400 --set test_pattern=4 --crop 64,32,640x480
	check "a control that is refused" '"failed": "brightness"' capture --frames 1 --rung S1 --set brightness=256
	check "a radio" '"fourcc": "CU08"' capture --device "$radio" --as-is --frames 3 --rung S1
	check "metadata" '"frames": 3,' capture --device "$meta" --as-is --frames 3 --rung S3
	check "an encoder in software" '"packets": 5,' encode --backend software --frames 5 --size 320x180
	check "and from another format" '"packets": 5,' encode --backend software --frames 5 --size 320x180 --format YUYV --rung S3
	exit $failed
fi

cd "$(dirname "$0")/../.."
SAN=${SAN:-address,undefined}
export O="${O:-build-asan}" SAN
make -s O="$O" SAN="$SAN" "$O/tests/capture_probe" >/dev/null
O=$(cd "$O" && pwd)
exec tests/hil/guest run --engine qemu-6.12 --mem 1536M --timeout 800 --modules "vivid n_devs=1" --env "SAN=$SAN" -- \
	sh tests/hil/test_sanitized.sh inside "$O"
