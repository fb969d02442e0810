#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# selftest.sh [ENGINE...] - does the guest harness keep its promises?
#
# Default: uml qemu-6.12 qemu-6.1; `uml-debug` and qemu-arm64 are the others.
# Prints "ok - name" or "not ok - name" a line and exits non-zero if any was not
# ok. A kernel that is not cached is prepared first (UML: about 6 minutes).
set -u
here=$(cd "$(dirname "$0")" && pwd)
guest=$here/guest
tmp=$(mktemp -d)
# The initramfs is made here, which tells our guests from anyone else's.
export TMPDIR="$tmp"
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
failed=0

ok() {
	echo "ok - $1"
}

not_ok() {
	echo "not ok - $1"
	sed 's/^/# /' "$tmp/stdout" "$tmp/stderr" 2>/dev/null | tail -n 30
	failed=1
}

# check NAME CONDITION...: the condition is a command
check() {
	name=$1
	shift
	if "$@"; then ok "$name"; else not_ok "$name"; fi
}

# in_guest OPTIONS... -- COMMAND...: leaves $code, stdout and stderr
in_guest() {
	"$guest" run $engine "$@" >"$tmp/stdout" 2>"$tmp/stderr" </dev/null
	code=$?
}

said() {
	grep -q "$1" "$tmp/stdout"
}

complained() {
	grep -q "$1" "$tmp/stderr"
}

exits() {
	[ "$code" -eq "$1" ]
}

a_guest_runs() {
	pgrep -f "initrd.$TMPDIR/" >/dev/null
}

no_guest_left() {
	! a_guest_runs
}

# within_a_minute COMMAND...: becomes true in time, on however busy a machine
within_a_minute() {
	tries=0
	until "$@"; do
		tries=$((tries + 1))
		[ "$tries" -lt 600 ] || return 1
		sleep 0.1
	done
}

test_plain_run() {
	began=$(date +%s)
	in_guest -- true
	boot_seconds=$(($(date +%s) - began))
	check "$label: exit code 0 passes through" exits 0
	mkdir -p "$tmp/out"
	echo payload >"$tmp/in"
	in_guest --out "$tmp/out" --file "$tmp/in:/tmp/here" -- sh -c \
		'cat /tmp/here; echo to-stderr >&2; echo left >/out/file; exit 7'
	check "$label: exit code 7 passes through" exits 7
	check "$label: stdout and the copied file arrive" said '^payload$'
	check "$label: stderr arrives apart" complained '^to-stderr$'
	check "$label: /out is collected" grep -q '^left$' "$tmp/out/file"
	check "$label: the console log is collected" test -s "$tmp/out/guest-console.log"
	in_guest -- sh -c 'seq 200000'
	check "$label: long output is whole" sh -c \
		"seq 200000 | cmp -s - '$tmp/stdout'"
	in_guest -- /nonexistent/command
	check "$label: a missing command is 127" exits 127
}

test_isolation() {
	marker=$here/.selftest-$$
	in_guest --env HELLO=world -- sh -c "echo x >'$marker' && cat '$marker' && echo \$HELLO"
	check "$label: the guest may write anywhere" said '^x$'
	check "$label: --env passes" said '^world$'
	check "$label: the host's files stay as they were" test ! -e "$marker"
	mkdir -p "$tmp/share"
	in_guest --share "$tmp/share:/mnt/share" -- cp /etc/hostname /mnt/share/kept
	check "$label: --share is written through" test -s "$tmp/share/kept"
}

test_failures() {
	# Longer than a boot takes, now: a guest that is not up is 200.
	in_guest --timeout $((boot_seconds * 4 + 10)) -- sleep 1000
	check "$label: timeout is 201" exits 201
	check "$label: nothing runs after a timeout" within_a_minute no_guest_left
	test_terminated
	in_guest --modules no_such_module -- true
	check "$label: a missing module is 203" exits 203
	check "$label: a missing module comes with the console" complained 'no_such_module'
	in_guest --require CONFIG_NO_SUCH_OPTION -- true
	check "$label: a missing kernel option is 202" exits 202
	in_guest -- sh -c 'echo c >/proc/sysrq-trigger; /bin/busybox poweroff -f'
	check "$label: a dying guest is 205" exits 205
	in_guest -- sh -c 'echo "BUG: made up by the self-test" >/dev/kmsg'
	check "$label: a report of the kernel is 206" exits 206
	in_guest --append rdinit=/nonexistent -- true
	check "$label: a guest that does not boot is 200" exits 200
	"$guest" run --bogus >"$tmp/stdout" 2>"$tmp/stderr"
	code=$?
	check "$label: bad arguments are 204" exits 204
	[ "${label#uml}" = "$label" ] || return
	in_guest --clock virtual -- true
	check "$label: --clock virtual is 204" exits 204
}

test_terminated() {
	"$guest" run $engine -- sleep 1000 >"$tmp/stdout" 2>"$tmp/stderr" </dev/null &
	pid=$!
	check "$label: a guest is seen while it runs" within_a_minute a_guest_runs
	kill "$pid"
	{ wait "$pid"; } 2>/dev/null
	code=$?
	check "$label: SIGTERM is 143" exits 143
	check "$label: nothing runs after SIGTERM" within_a_minute no_guest_left
	"$guest" run $engine -- sleep 1000 >"$tmp/stdout" 2>"$tmp/stderr" </dev/null &
	pid=$!
	within_a_minute a_guest_runs
	kill -KILL "$pid"
	{ wait "$pid"; } 2>/dev/null
	check "$label: nothing runs after SIGKILL" within_a_minute no_guest_left
}

test_devices() {
	in_guest --modules "vivid n_devs=1 node_types=0x1,vicodec" -- sh -c \
		'ls /dev/video0; cat /sys/class/video4linux/video*/name'
	check "$label: vivid is /dev/video0" said '^/dev/video0$'
	check "$label: vicodec has an encoder node" said 'stateful-encoder'
	in_guest -- "$here/probe"
	for probe in io_uring memfd udmabuf loopback; do
		check "$label: $probe works" said "^$probe ok"
	done
}

# Time passes when all sleep, and then at once; none passes while the host is slow.
test_virtual_clock() {
	in_guest --clock virtual --timeout 300 -- sh -c \
		'echo $HIL_CLOCK; was=$(date +%s); sleep 100000; echo $(($(date +%s) - was))'
	check "$label: a day's sleep ends in virtual time" exits 0
	check "$label: --clock is told to the command" said '^virtual$'
	check "$label: and the guest's clock went on by it" said '^10000[0-2]$'
	in_guest --clock virtual --modules "vivid n_devs=1 node_types=0x1" -- sh -c \
		'v4l2-ctl -d0 --set-parm 30; was=$(date +%s%N)
		v4l2-ctl -d0 --stream-mmap --stream-count 300 --verbose 2>&1 | grep -o "seq: *[0-9]*" | tail -n 1
		echo $((($(date +%s%N) - was) / 100000000)) tenths'
	check "$label: vivid loses no frame in virtual time" said '^seq: *299$'
	check "$label: and gives 30 in a second" said '^\(99\|100\) tenths$'
	in_guest -- sh -c 'echo $HIL_CLOCK'
	check "$label: without --clock it is the real one" said '^real$'
}

test_qemu_devices() {
	in_guest --modules "vivid n_devs=1" -- sh -c 'ls /dev/video0; uname -r'
	check "$label: boots with vivid as /dev/video0" said '^/dev/video0$'
	check "$label: is the right kernel" said "^${engine##*-}\."
	in_guest -- "$here/probe" io_uring memfd loopback
	check "$label: io_uring, memfd and loopback work" exits 0
	[ "$label" = qemu-6.1 ] && return
	in_guest -- "$here/probe" udmabuf
	check "$label: udmabuf works" exits 0
}

write_modules() {
	mkdir -p "$1"
	echo 'obj-m := hil_one.o hil_two.o' >"$1/Kbuild"
	cat >"$1/hil_one.c" <<-EOF
		#include <linux/module.h>
		int hil_one(void);
		int hil_one(void) { return 41; }
		EXPORT_SYMBOL_GPL(hil_one);
		MODULE_LICENSE("GPL");
		MODULE_DESCRIPTION("one");
	EOF
	cat >"$1/hil_two.c" <<-EOF
		#include <linux/module.h>
		int hil_one(void);
		static int add;
		module_param(add, int, 0444);
		static int __init two_init(void) { pr_alert("hil_two %d\n", hil_one() + add); return 0; }
		static void __exit two_exit(void) { }
		module_init(two_init);
		module_exit(two_exit);
		MODULE_LICENSE("GPL");
		MODULE_DESCRIPTION("two");
	EOF
}

# Two modules of ours, one needing the other, load into this kernel.
test_kmod() {
	write_modules "$tmp/src/hil"
	sum=$(cd "$tmp/src" && find . -type f -exec cksum {} + | sort)
	O=$tmp/build "$guest" kmod "${label%-debug}" $debug "$tmp/src/hil" >"$tmp/stdout" 2>"$tmp/stderr"
	code=$?
	check "$label: modules are built" exits 0
	check "$label: the sources' folder stays as it was" test "$sum" = \
		"$(cd "$tmp/src" && find . -type f -exec cksum {} + | sort)"
	in_guest --modules "$(paste -sd, "$tmp/stdout") add=1" -- sh -c 'dmesg | grep -o "hil_two.*"'
	check "$label: they load" said '^hil_two 42$'
	echo '#error no' >>"$tmp/src/hil/hil_one.c"
	O=$tmp/build "$guest" kmod "${label%-debug}" $debug "$tmp/src/hil" >"$tmp/stdout" 2>"$tmp/stderr"
	code=$?
	check "$label: a module that does not build is 202" exits 202
	check "$label: and the compiler is heard" complained '#error no'
}

# A guest of another architecture: its own programs, and a device tree.
test_arm64() {
	in_guest --modules "vivid n_devs=1" -- sh -c 'uname -m; ls /dev/video0; pwd; ls "$0"' "$here/guest"
	check "$label: is an arm64 guest" said '^aarch64$'
	check "$label: vivid is /dev/video0" said '^/dev/video0$'
	check "$label: the host's files are there" said "^$here/guest\$"
	cat >"$tmp/hello.c" <<-EOF
		#include <stdio.h>
		int main(void) { return puts("built for arm64") < 0; }
	EOF
	cat >"$tmp/overlay.dts" <<-EOF
		/dts-v1/;
		/plugin/;
		&{/} { hil-test { hil,line = <&pl061 5 0>; }; };
	EOF
	aarch64-linux-gnu-gcc -static -o "$tmp/hello" "$tmp/hello.c" &&
		aarch64-linux-gnu-gcc -o "$tmp/hello-dynamic" "$tmp/hello.c" &&
		dtc -q -@ -O dtb -o "$tmp/overlay.dtbo" "$tmp/overlay.dts"
	in_guest --dtb-overlay "$tmp/overlay.dtbo" --share "$tmp:/mnt/share" -- sh -c '"$0/hello" &&
		"$0/hello-dynamic" | tee /mnt/share/kept && ls /sys/firmware/devicetree/base/hil-test' "$tmp"
	check "$label: static and dynamic programs run" test "$(grep -c '^built for arm64$' "$tmp/stdout")" = 2
	check "$label: --share is written through" grep -q arm64 "$tmp/kept"
	check "$label: the overlay's node is there" said '^hil,line$'
	"$guest" run --engine qemu-6.1 --dtb-overlay "$tmp/overlay.dtbo" -- true 2>"$tmp/stderr"
	code=$?
	check "$label: --dtb-overlay without a device tree is 204" exits 204
}

[ $# -gt 0 ] || set -- uml qemu-6.12 qemu-6.1
for label; do
	debug=
	[ "$label" = uml-debug ] && debug=--debug
	engine="--engine ${label%-debug} $debug"
	"$guest" prepare "${label%-debug}" $debug >/dev/null || {
		not_ok "$label: kernel is prepared"
		continue
	}
	engine=${engine% }
	test_plain_run
	test_kmod
	case $label in
	qemu-arm64) test_arm64 ;;
	uml*)
		test_isolation
		test_failures
		test_devices
		test_virtual_clock
		;;
	*)
		test_qemu_devices
		[ "$label" != qemu-6.12 ] || { test_isolation && test_failures; }
		;;
	esac
done
exit $failed
