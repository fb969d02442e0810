#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# libcamera's cameras through its vimc pipeline, in a guest. O=build: where the programs are.
set -eu

if [ "${1:-}" = inside ]; then
	probe=$2/tests/libcamera_probe
	export CAPTURE_MODULE_PATH="$2" LIBCAMERA_LOG_LEVELS='*:ERROR'
	CAPTURE_MODULE_PATH=/nowhere "$probe" missing
	"$probe" none
	# libcamera asks udev, which is not in the guest, what is there: its
	# database says that these devices are ready.
	mkdir -p /run/udev/data
	touch /run/udev/control
	for d in /sys/class/video4linux/* /sys/bus/media/devices/*; do
		echo I:1 >"/run/udev/data/c$(cat "$d/dev")"
	done
	# vimc's debayer has multiples of six.
	exec "$probe" 318x240
fi

cd "$(dirname "$0")/../.."
O=$(cd "${O:-build}" && pwd)
export O
[ -x "$O/tests/libcamera_probe" ] || { echo "no $O/tests/libcamera_probe: make first" >&2; exit 1; }
[ -e "$O/libcapture-libcamera.so" ] || { echo "built without libcamera (LIBCAMERA=0)"; exit 77; }
ls /usr/lib/*/libcamera/ipa_vimc.so >/dev/null 2>&1 || { echo "libcamera-ipa is not installed"; exit 77; }
for lib in "$O"/libcapture.so.* "$O/kvsd"; do
	if readelf -d "$lib" | grep -Eq 'NEEDED.*lib(camera|stdc\+\+)'; then
		echo "not ok - $lib needs libcamera"
		exit 1
	fi
done
echo "ok - the library and the agent do not load libcamera"
exec tests/hil/guest run --engine uml --clock "${CLOCK:-virtual}" --timeout 400 --modules vimc -- sh tests/hil/test_libcamera.sh inside "$O"
