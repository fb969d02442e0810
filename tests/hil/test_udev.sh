#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The udev rules under a real udevd, with cameras of vivid and vimc, tsalign.ko and a PPS clock: names, groups, modes, tags.
# The device tree's name for a sensor is looked up in trees made here, as vivid stands in none.
set -u
cd "$(dirname "$0")/../.."

# ok NAME COMMAND...
ok() {
	name=$1
	shift
	if "$@"; then
		echo "ok - udev: $name"
	else
		echo "not ok - udev: $name"
		failed=1
	fi
}

is() {
	[ "$(stat -L -c '%G %a' "$1" 2>&1)" = "$2" ] || { stat -L -c '# %n %G %a' "$1"; return 1; }
}

leads_to() {
	[ "$(readlink -f "$1")" = "$2" ] || { echo "# $1: $(readlink -f "$1")"; return 1; }
}

tagged() {
	udevadm info -q property "$1" | grep -q '^CURRENT_TAGS=.*:systemd:'
}

absent() {
	[ ! -e "$1" ] && [ ! -L "$1" ]
}

inside() {
	failed=0
	systemd-sysusers "$PWD/udev/kvsd.sysusers" 2>/dev/null
	ok "the group is made" grep -q ^kvsd: /etc/group
	cp udev/*.rules /etc/udev/rules.d/
	cp udev/kvsd-sensor-name /lib/udev/
	cat >/etc/udev/hwdb.d/71-kvsd.hwdb <<-X
		kvsd:path:platform-vivid.0:0
		 KVSD_SENSOR=camera-front

		kvsd:path:platform-vimc.0:0
		 KVSD_SENSOR=by-id
	X
	systemd-hwdb update
	/lib/systemd/systemd-udevd --daemon 2>/dev/null
	udevadm trigger --action=add && udevadm settle --timeout=60
	ok "the camera has its sensor's name" leads_to /dev/kvsd/camera-front /dev/video0
	ok "and its group" is /dev/kvsd/camera-front "kvsd 660"
	ok "and systemd's tag" tagged /dev/video0
	ok "and its place's name" leads_to /dev/kvsd/by-path/platform-vivid.0-0 /dev/video0
	ok "a name that is a folder's is none" absent /dev/kvsd/by-id
	ok "/dev/tsalign is the group's" is /dev/tsalign "kvsd 660"
	ok "and systemd's" tagged /dev/tsalign
	ok "a PPS clock is the group's to read" is /dev/pps0 "kvsd 640"
	two_cameras
	heaps
	return $failed
}

# One driver's two cameras have one place: what is suggested for each leads to it alone.
two_cameras() {
	rm /etc/udev/hwdb.d/71-kvsd.hwdb
	systemd-hwdb update
	modprobe -r vivid
	modprobe vivid n_devs=2 node_types=0x1,0x1
	udevadm trigger --action=add && udevadm settle --timeout=60
	for i in 0 1; do
		node=/dev/$(basename "$(dirname "$(grep -l "vivid-00$i-vid-cap" /sys/class/video4linux/*/name)")")
		kvsctl doctor --json --seconds 1 "$node" >"/tmp/doctor$i" 2>/dev/null
		device=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["suggested"])' <"/tmp/doctor$i" | sed -n 's/^device = //p')
		ok "camera $i of one driver is suggested by a name of its own" [ "${device%-vivid-00$i-vid-cap}" != "$device" ]
		ok "which leads to it" leads_to "$device" "$node"
	done
}

# What memory heaps a machine has is its own affair: the rules are asked for those that libcapture takes.
heaps() {
	for heap in $(sed -n 's|.*"/dev/dma_heap/\([^"]*\)".*|\1|p' libcapture/src/queue_heap.c); do
		ok "heap $heap is the group's" grep -Eq "^SUBSYSTEM==\"dma_heap\", KERNEL==\"([^\"]*\|)?$heap(\|[^\"]*)?\", GROUP=\"kvsd\"" udev/70-kvsd.rules
	done
}

# tree COMPATIBLE SENSOR...: whose kvsd,capture is phandle 7
tree() {
	rm -rf "$tmp/tree"
	mkdir -p "$tmp/tree/timing" "$tmp/tree/soc/other"
	printf 'acme,board\0' >"$tmp/tree/compatible"
	printf "acme,first\\0$1\\0" >"$tmp/tree/timing/compatible"
	shift
	for sensor; do
		mkdir -p "$tmp/tree/timing/sensor-$sensor"
		printf '\0\0\0\7' >"$tmp/tree/timing/sensor-$sensor/kvsd,capture"
	done
	mkdir -p "$tmp/tree/timing/sensor-other"
	printf '\0\0\0\10' >"$tmp/tree/timing/sensor-other/kvsd,capture"
}

named() {
	said=$(KVSD_DEVICETREE=$tmp/tree udev/kvsd-sensor-name "$tmp/$1")
	[ "$said" = "$2" ] || { echo "# $said"; return 1; }
}

device_tree() {
	mkdir -p "$tmp/video0/device/of_node" "$tmp/video1/device"
	printf '\0\0\0\7' >"$tmp/video0/device/of_node/phandle"
	tree kvsd,tsalign camera-front
	ok "device tree: a sensor is found by what captures it" named video0 KVSD_SENSOR=camera-front
	ok "device tree: a device outside it has no name" named video1 ""
	tree kvsd,tsalign camera-front camera-rear
	ok "device tree: two names are none" named video0 ""
	tree kvsd,tsaligner camera-front
	ok "device tree: other nodes name nothing" named video0 ""
}

[ "${1:-}" != inside ] || { inside; exit; }
for tool in udevadm systemd-hwdb systemd-sysusers; do
	command -v $tool >/dev/null || { echo "$tool is missing (udev, systemd)"; exit 77; }
done
failed=0
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
device_tree
ko=$(tests/hil/guest kmod uml kmod) || { echo "not ok - udev: tsalign.ko does not build"; exit 1; }
tests/hil/guest run --clock "${CLOCK:-virtual}" --timeout 400 --modules "vivid n_devs=1 node_types=0x1,vimc,pps-ktimer,$ko" -- sh tests/hil/test_udev.sh inside || failed=1
exit $failed
