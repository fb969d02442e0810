#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tsalign.ko on an arm64 machine with a device tree: the overlay of QEMU's machine is on it, the module probes and has
# every line of the overlay, edges that come from outside (QEMU's power button) arrive in its hard interrupt, an
# output fires; it can be unbound and unloaded. O=build: where it is built.
set -eu

debug=/sys/kernel/debug/tsalign
failed=0
say() {
	if [ "$1" -eq 0 ]; then echo "ok - $2"; else echo "not ok - $2"; failed=1; fi
}

edges() { sed -n 's/^line line-strobe-camera .* edges \([0-9]*\) .*/\1/p' $debug/lines; }
# id kind name state epoch samples ...
samples() { sed -n 's/^[0-9]* [0-9]* line-strobe-camera [a-z]* [0-9]* \([0-9]*\) .*/\1/p' $debug/streams; }

if [ "${1:-}" = inside ]; then
	mount -t debugfs none /sys/kernel/debug 2>/dev/null || true
	[ "$(uname -m)" = aarch64 ] && [ -e /sys/firmware/devicetree/base/timing/compatible ] && r=0 || r=1
	say $r "arm64, and the overlay's node is in the device tree"
	insmod "$2" && r=0 || r=1
	say $r "the module loads"
	[ -e /sys/bus/platform/drivers/tsalign/timing ] && r=0 || r=1
	say $r "it is bound to the node"
	r=0
	for name in line-pps line-radar-frame line-strobe-camera line-vsync-thermal line-trigger-camera; do
		grep -q " $name " $debug/streams || { echo "no stream $name"; r=1; }
	done
	say $r "each line of the overlay is a stream"
	grep -q "line-strobe-camera" /proc/interrupts && r=0 || r=1
	say $r "the strobe has an interrupt of the line's controller"
	# Pressed from outside, again and again; however slow this machine is.
	for _ in $(seq 600); do
		[ "$(edges)" -lt 5 ] || break
		sleep 0.2
	done
	n=$(edges)
	[ "$n" -ge 5 ] && r=0 || r=1
	say $r "edges arrive: $n"
	k=$(awk '/line-strobe-camera/ { s = 0; for (i = 2; i <= 3; i++) s += $i; print s }' /proc/interrupts)
	[ "$k" -ge "$n" ] && [ "$(samples)" -ge 1 ] && r=0 || r=1
	say $r "each in an interrupt, and as a sample: $k, $(samples)"
	grep -q "line-pps .* edges 0 floods 0" $debug/lines && r=0 || r=1
	say $r "none on a line that nobody moves"
	# Nine frames a second by read(): no call tells the minor, but the queue's device is the node of the overlay.
	modprobe -a videobuf2-v4l2 videobuf2-vmalloc && insmod "$3" && r=0 || r=1
	[ $r = 0 ] && [ "$(dd if=/dev/video0 of=/dev/null bs=10080 count=25 iflag=fullblock 2>&1 | head -n 1)" = "25+0 records in" ] || r=1
	say $r "the thermal core of the overlay gives frames"
	# End of frame is told, start of frame is wanted (3, 2), with the delay of the overlay.
	grep -q "^queue 0 stream [0-9]* minor -1 stamped 3 point 2 delay_ns 2000000$" $debug/queues && r=0 || r=1
	say $r "its queue has the rule of its sensor's node: $(grep ^queue $debug/queues)"
	# Samples and outliers: this machine may be slow.
	n=$(awk '$3 == "v4l2-queue0" { print $6 + $7 }' $debug/streams)
	[ "${n:-0}" -ge 20 ] && r=0 || r=1
	say $r "its frames are samples: $n"
	rmmod tsalign_thermal
	grep -q "^[0-9]* 1 v4l2-queue0 gone " $debug/streams && r=0 || r=1
	say $r "its driver has gone, and its stream"
	echo timing >/sys/bus/platform/drivers/tsalign/unbind
	! grep -q "line-strobe-camera" /proc/interrupts && grep -q " line-strobe-camera gone " $debug/streams && r=0 || r=1
	say $r "unbound: its interrupt is given back, its stream has gone"
	echo timing >/sys/bus/platform/drivers/tsalign/bind
	for _ in $(seq 600); do
		[ "$(edges)" -lt 2 ] || break
		sleep 0.2
	done
	[ "$(edges)" -ge 2 ] && r=0 || r=1
	say $r "bound again, edges arrive again: $(edges)"
	rmmod tsalign && r=0 || r=1
	say $r "unloaded"
	exit $failed
fi

cd "$(dirname "$0")/../.."
O=${O:-build}
mkdir -p "$O/dts"
O=$(cd "$O" && pwd)
export O
tests/hil/guest prepare qemu-arm64 >/dev/null
ko=$(tests/hil/guest kmod qemu-arm64 kmod | tail -n 1)
thermal=$(tests/hil/guest kmod qemu-arm64 tests/hil/tsalign ONLY=tsalign_thermal TSALIGN="$PWD/kmod" | tail -n 1)
dtbo=$O/dts/kvsd-tsalign-qemu-virt.dtbo
dtc -@ -I dts -O dtb -o "$dtbo.arm64" dts/overlays/kvsd-tsalign-qemu-virt.dtso
work=$(mktemp -d)
presser=
trap 'kill $presser 2>/dev/null || true; rm -rf "$work"' EXIT
# Presses the button each half second, as long as there is a machine.
python3 - "$work/monitor" <<-'END' &
	import os, socket, sys, time
	path = sys.argv[1]
	while os.path.exists(os.path.dirname(path)):
	    time.sleep(0.5)
	    try:
	        with socket.socket(socket.AF_UNIX) as s:
	            s.settimeout(5)
	            s.connect(path)
	            while True:
	                s.recv(65536)
	                s.sendall(b"system_powerdown\n")
	                time.sleep(0.5)
	    except OSError:
	        pass
END
presser=$!
tests/hil/guest run --engine qemu-arm64 --dtb-overlay "$dtbo.arm64" --monitor "$work/monitor" --timeout 400 \
	-- sh tests/hil/test_tsalign_arm64.sh inside "$ko" "$thermal" || failed=1
exit $failed
