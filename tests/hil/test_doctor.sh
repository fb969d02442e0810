#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kvsctl doctor and the media controller on real kernels: what it reports is
# what v4l2-ctl, media-ctl and sysfs say, what it names as missing is missing,
# and every device is left as it was. O=build: where the programs are.
# Arguments: worlds of uml bare qemu-6.1 host; default: all.
set -eu

doctor() {
	# doctor NAME ARG...: its JSON and exit code
	name=$1
	shift
	code=0
	"$O/kvsctl" doctor --json "$@" >"/out/$name.json" 2>"/out/$name.err" || code=$?
	echo "$code" >"/out/$name.code"
}

state() {
	# What the devices are set to, without what their drivers change.
	for n in /dev/video*; do
		echo "== $n"
		v4l2-ctl -d "$n" --all 2>&1 | grep -v 'volatile\|read-only'
	done
	for n in /dev/media*; do
		media-ctl -d "$n" -p
	done
	for n in /sys/bus/iio/devices/iio:device*; do
		[ ! -e "$n" ] || grep -H . "$n/current_timestamp_clock" "$n"/scan_elements/*_en "$n/buffer/enable"
	done
}

if [ "${1:-}" = inside ]; then
	O=$2
	probe=$O/tests/media_probe
	cd /tmp
	if [ "$3" != uml ]; then
		doctor plain --seconds 1
		exit 0
	fi
	echo very-secret-host >/proc/sys/kernel/hostname
	AWS_SECRET_ACCESS_KEY=very-secret-key
	export AWS_SECRET_ACCESS_KEY
	cat /sys/class/video4linux/*/name | sort >/out/names
	for n in /dev/video*; do
		v4l2-ctl -d "$n" --list-formats-ext --list-formats-meta >"/out/formats.$(basename "$n")" 2>&1
		v4l2-ctl -d "$n" --list-ctrls | grep -c 0x >"/out/ctrls.$(basename "$n")" || :
	done
	for n in /dev/media*; do
		media-ctl -d "$n" -p >"/out/topology.$(basename "$n")"
	done
	vivid=$(grep -l vivid-000-vid-cap /sys/class/video4linux/*/name)
	vivid=/dev/$(basename "$(dirname "$vivid")")
	echo "$vivid" >/out/vivid
	v4l2-ctl -d "$vivid" -p 25 >/dev/null
	# Stamps of the start; those of the end vivid makes ahead of time.
	v4l2-ctl -d "$vivid" -c timestamp_source=1
	# One industrial I/O device with a trigger, one without.
	for n in gyro idle; do
		mkdir "/sys/kernel/config/iio/devices/dummy/$n"
	done
	mkdir /sys/kernel/config/iio/triggers/hrtimer/t0
	echo 200 >/sys/bus/iio/devices/trigger0/sampling_frequency
	echo t0 >/sys/bus/iio/devices/iio:device0/trigger/current_trigger
	cat /sys/bus/iio/devices/iio:device0/scan_elements/*_type | sort >/out/scan.types
	state >/out/before
	doctor all --seconds 2 --record /out/record.tar
	state >/out/after
	doctor one "Scaler" --seconds 1
	doctor none no-such-camera
	"$O/kvsctl" doctor "$vivid" --seconds 1 >/out/text 2>&1 || :
	radio=$(grep -l vivid-000-sdr-cap /sys/class/video4linux/*/name)
	doctor radio "/dev/$(basename "$(dirname "$radio")")" --seconds 1
	doctor sound hw:0,1 --seconds 1
	doctor gyro gyro --seconds 1
	doctor idle iio:device1 --seconds 1
	"$O/kvsctl" doctor hw:0,0 --seconds 1 >/out/sound.text 2>&1 || :
	"$O/kvsctl" doctor gyro --seconds 1 >/out/gyro.text 2>&1 || :
	# In use by somebody who must not notice.
	v4l2-ctl -d "$vivid" --stream-mmap --stream-count=150 >/tmp/user 2>&1 &
	user=$!
	until grep -q '<' /tmp/user || ! kill -0 "$user"; do sleep 0.1; done
	doctor busy "$vivid" --seconds 1
	kill -0 "$user" && echo "still on" >/out/user
	wait "$user" && echo "undisturbed" >>/out/user
	v4l2-ctl -d "$vivid" -c timestamp_source=0
	doctor ahead "$vivid" --seconds 1

	# A pipeline whose pads do not agree, then do, and are put back.
	media=/dev/$(basename "$(dirname "$(grep -il vimc /sys/bus/media/devices/*/model)")")
	raw=$("$probe" match "Raw Capture 0" | sed 's/.*"path": "\(.*\)"}/\1/')
	v4l2-ctl -d "$raw" -v width=320,height=240,pixelformat=RGGB
	pads="'Sensor A':0 [fmt:SRGGB8_1X8/320x240]
		, 'Debayer A':0 [fmt:SRGGB8_1X8/320x240]
		, 'Debayer A':1 [fmt:RGB888_1X24/320x240]
		, 'Scaler':0 [fmt:RGB888_1X24/320x240 crop:(0,0)/160x120]
		, 'Scaler':1 [fmt:RGB888_1X24/320x240]"
	media-ctl -d "$media" -p >/out/graph.before
	{
		"$probe" stream - - Scaler RGB3 320x240 5 || :
		"$probe" stream - "$pads" "Debayer A" RGB3 320x240 5 || :
		"$probe" stream - "'Sensor A':0 [fmt:SRGGB8_1X8/9999x9999]" Scaler RGB3 320x240 5 || :
		"$probe" stream "'Sensor A':0->'Debayer A':0[0]" - Scaler RGB3 320x240 5 || :
		for t in "Raw Capture 0" "Sensor B" "RGB/YUV Capture" "Debayer A" vivid "$vivid"; do
			"$probe" match "$t" || :
		done
	} >/out/probe.json
	media-ctl -d "$media" -p >/out/graph.after
	"$probe" stream "'Debayer A':1->'Scaler':0[0], 'Debayer B':1->'Scaler':0[1]" \
		- "Debayer A" RGB3 320x240 1 >>/out/probe.json || :
	media-ctl -d "$media" -p >/out/graph.switched

	# Who may open it: nobody, then the group.
	chgrp video "$vivid"
	chmod 660 "$vivid"
	nobody="setpriv --reuid 65534 --regid 65534"
	code=0
	$nobody --clear-groups "$O/kvsctl" doctor --json >/out/nobody.json 2>/dev/null || code=$?
	echo "$code" >/out/nobody.code
	code=0
	$nobody --groups video "$O/kvsctl" doctor --json --seconds 1 >/out/group.json 2>/dev/null || code=$?
	echo "$code" >/out/group.code

	# What udev makes of each device, by its own parser and rule engine. It sets owners and names: last of all.
	if [ -d /lib/udev/rules.d ]; then
		getent group kvsd >/dev/null || echo "kvsd:x:990:" >>/etc/group
		getent group kvsd | cut -d: -f3 >/out/udev.gid
		mkdir -p /run/udev/rules.d
		cp "$4"/udev/*.rules /run/udev/rules.d/
		for d in /sys/class/video4linux/* /sys/class/misc/udmabuf /sys/class/dma_heap/system /sys/bus/media/devices/*; do
			udevadm test --action=add "$d" >"/out/udev.$(basename "$d")" 2>&1
		done
		# A rule that does not parse must be seen here.
		echo 'KERNEL=="video0", NOSUCHKEY="1"' >/run/udev/rules.d/99-kvsd-bad.rules
		udevadm test --action=add /sys/class/video4linux/video0 >/out/udevbad 2>&1
	fi

	rm -rf /dev/kvsd # of nodes that are going
	# Two devices of one driver, one of them set to a thermal core's counts; then with other numbers.
	pair() { # FILE: the nodes of both, in the driver's order
		cd /sys/class/video4linux
		grep -l vivid-00.-vid-cap ./*/name | while read -r n; do
			echo "$(cat "$n") /dev/$(basename "$(dirname "$n")")"
		done | sort | cut -d' ' -f2 >"$1"
		cd /tmp
	}
	modprobe -r vivid
	modprobe vivid n_devs=2 node_types=0x1,0x1
	pair /out/two.nodes
	second=$(tail -n 1 /out/two.nodes)
	v4l2-ctl -d "$second" -v width=320,height=180,pixelformat='Y16 '
	doctor two --seconds 1
	"$O/kvsctl" doctor "$second" --seconds 1 >/out/two.text 2>&1 || :
	modprobe -r vivid
	modprobe vim2m
	modprobe vivid n_devs=2 node_types=0x1,0x1
	pair /out/moved.nodes
	second=$(tail -n 1 /out/moved.nodes)
	v4l2-ctl -d "$second" -v width=320,height=180,pixelformat='Y16 '
	doctor moved --seconds 1
	# As if both were webcams of one model: what sysfs and udev then have.
	mkdir -p /run/class /run/usb/1-1 /run/usb/1-2 /dev/v4l/by-path
	n=0
	while read -r node; do
		n=$((n + 1))
		mkdir "/run/class/$(basename "$node")"
		echo "HD Webcam" >"/run/class/$(basename "$node")/name"
		echo 0 >"/run/class/$(basename "$node")/index"
		ln -s "/run/usb/1-$n" "/run/class/$(basename "$node")/device"
		ln -s "$node" "/dev/v4l/by-path/usb-0:$n-video-index0"
	done </out/moved.nodes
	mkdir /dev/v4l/by-id
	ln -s "$second" /dev/v4l/by-id/usb-HD_Webcam-video-index0
	mount --bind /run/class /sys/class/video4linux
	doctor twins --seconds 1
	rm /dev/v4l/by-id/*
	ln -s "$(head -n 1 /out/moved.nodes)" /dev/v4l/by-id/usb-HD_Webcam_0001-video-index0
	ln -s "$second" /dev/v4l/by-id/usb-HD_Webcam_0002-video-index0
	doctor serials --seconds 1
	umount /sys/class/video4linux
	exit 0
fi

here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$here"
O=$(cd "${O:-build}" && pwd)
export O
for p in "$O/kvsctl" "$O/tests/media_probe"; do
	[ -x "$p" ] || { echo "no $p: make first" >&2; exit 1; }
done
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
bad=0

for world in ${*:-uml bare qemu-6.1 host}; do
	echo "== $world"
	mkdir "$out/$world"
	case $world in
	uml) tests/hil/guest run --engine uml --clock virtual --mem 768M --timeout 400 --out "$out/$world" \
		--modules "vivid n_devs=1,vicodec,vimc,snd-aloop,iio_dummy,iio-trig-hrtimer" -- sh tests/hil/test_doctor.sh inside "$O" uml "$here" ;;
	bare) tests/hil/guest run --engine uml --clock "${CLOCK:-virtual}" --timeout 300 --out "$out/$world" \
		-- sh tests/hil/test_doctor.sh inside "$O" bare ;;
	qemu-6.1) tests/hil/guest run --engine qemu-6.1 --timeout 500 --out "$out/$world" \
		--modules "vivid n_devs=1" -- sh tests/hil/test_doctor.sh inside "$O" qemu-6.1 ;;
	host)
		code=0
		"$O/kvsctl" doctor --json --seconds 1 >"$out/host/plain.json" || code=$?
		echo "$code" >"$out/host/plain.code" ;;
	esac
	O=$O python3 tests/hil/doctor_check.py "$world" "$out/$world" || bad=1
done
exit $bad
