#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tsalign.ko in a guest: maps against the truth, vivid's buffers, gpio-sim's lines, what it must refuse,
# loading and unloading; its KUnit suite; size, sparse, checkpatch. O=build: where it is built.
# CASES: of "kunit truth live reference same counters exposure feeds vivid capture replug late sensors inject fuzz lines board race life smp lint bench", default all but
# bench, and with DEBUG all but smp and lint. smp: the suites and the race on two processors of
# Debian's stock kernel, which has no KUnit.
# DEBUG=1: in the kernel with KASAN and lockdep. SEEDS, ROUNDS, CYCLES: how much (100, 20000, 50).
set -eu

sim=/sys/kernel/config/gpio-sim/tsalign

# What was printed since the mark "KTAP", without times.
ktap() {
	dmesg | sed -n 's/^\[ *[0-9.]*\] *//; s/^[a-z_]*: //; /KTAP version/,$p' |
		grep -E '^ *(not )?ok |# .*: pass:|^ *# ' >/tmp/ktap || true
	grep -E -B3 '^ *not ok' /tmp/ktap && return 1
	for suite in tsalign tsalign-ring tsalign-uapi; do
		grep -E "^ok [0-9]+ $suite$" /tmp/ktap || { echo "not ok - $suite did not pass"; return 1; }
	done
}

if [ "${1:-}" = inside-smp ]; then
	[ "$(nproc)" -ge 2 ] && echo "ok - $(nproc) processors" || { echo "not ok - one processor"; exit 1; }
	r=0
	insmod "$KO/tsalign_alone.ko" || r=1
	ktap || r=1
	rmmod tsalign_alone
	insmod "$KO/tsalign-smp.ko" || r=1
	"$O/tests/tsalign_race" || r=1
	rmmod tsalign || r=1
	exit $r
fi

if [ "${1:-}" = inside ]; then
	shift
	cd "$(dirname "$0")/tsalign"
	modprobe gpio-sim
	mkdir -p $sim/bank
	echo tsalign-sim >$sim/bank/label
	echo 8 >$sim/bank/num_lines
	echo 1 >$sim/live
	r=0
	for case in "$@"; do
		echo "== $case"
		case $case in
		kunit)
			insmod "$KO/tsalign_kunit.ko"
			ktap || r=1
			rmmod tsalign_kunit
			continue ;;
		board) insmod "$KO/tsalign.ko"; set -- board "$KO/tsalign_truth.ko" tsalign-sim ;;
		same | counters) insmod "$KO/tsalign.ko" ;;
		late) set -- late "$KO/tsalign.ko" ;;
		exposure)
			modprobe vivid n_devs=1 node_types=0x1
			insmod "$KO/tsalign.ko"
			set -- exposure "$KO/tsalign_shutter.ko" tsalign-sim ;;
		sensors) insmod "$KO/tsalign.ko"; set -- sensors "$KO/tsalign_shutter.ko" tsalign-sim ;;
		life) set -- life "$KO/tsalign.ko" "$KO/tsalign_truth.ko" tsalign-sim ;;
		feeds)
			insmod "$KO/tsalign.ko"
			modprobe pps-ktimer
			set -- feeds "$O/kvsctl" "$KO/tsalign_clocks.ko" ;;
		lines) insmod "$KO/tsalign.ko"; insmod "$KO/tsalign_truth.ko" gpio=tsalign-sim; set -- lines ;;
		*) insmod "$KO/tsalign.ko" inject=1; insmod "$KO/tsalign_truth.ko"; set -- "$case" ;;
		esac
		if [ "$case" = race ]; then
			"$O/tests/tsalign_race" || r=1
		elif [ "$case" = same ]; then
			"$O/tests/tsalign_same" || r=1
		elif [ "$case" = counters ]; then
			modprobe -a snd-aloop iio_dummy iio-trig-hrtimer videobuf2-v4l2 videobuf2-vmalloc
			insmod "$KO/tsalign_thermal.ko"
			python3 counters.py || r=1
		elif [ "$case" = bench ]; then
			insmod "$KO/tsalign_cost.ko"
			"$O/bench/bench_tsalign" || r=1
		else
			python3 check.py "$@" || r=1
		fi
		rmmod tsalign_cost tsalign_thermal 2>/dev/null || true
		rmmod tsalign_truth tsalign_shutter 2>/dev/null || true
		rmmod tsalign 2>/dev/null || true
	done
	exit $r
fi

cd "$(dirname "$0")/../.."
O=$(cd "${O:-build}" && pwd)
export O
# bench: figures, which a busy machine spoils; asked for by name.
default="kunit truth live reference same counters exposure feeds vivid capture inject fuzz lines board race life"
default="$default replug late sensors"
# The debug kernel's sizes are not the module's.
[ -n "${DEBUG:-}" ] || default="$default smp lint"
cases=${CASES:-$default}
tests/hil/guest prepare uml ${DEBUG:+--debug} >/dev/null
kdir=$(tests/hil/guest kdir uml ${DEBUG:+--debug})
KO=$O/kmod/guest${DEBUG:+-debug}
mkdir -p "$KO/tsalign" "$KO/kunit" "$KO/truth"
cp -Ru kmod/. "$KO/tsalign"
cp -Ru kmod/. "$KO/kunit"
cp -Ru tests/hil/tsalign/. "$KO/truth"
build() {
	# Ours are make's flags of another make.
	env -u MAKEFLAGS -u MFLAGS -u O make -s -j"$(nproc)" -C "$kdir" ARCH=um "$@" ||
		{ echo "not ok - the module does not build"; exit 1; }
}
build M="$KO/tsalign"
build M="$KO/truth" TSALIGN="$KO/tsalign" KBUILD_EXTRA_SYMBOLS="$KO/tsalign/Module.symvers"
cp "$KO/tsalign/tsalign.ko" "$KO/truth/tsalign_truth.ko" "$KO/truth/tsalign_cost.ko" "$KO/truth/tsalign_shutter.ko" "$KO/truth/tsalign_clocks.ko" \
	"$KO/truth/tsalign_thermal.ko" "$KO/"
case " $cases " in *" kunit "*)
	build M="$KO/kunit" TSALIGN_KUNIT=1
	cp "$KO/kunit/tsalign_kunit.ko" "$KO/" ;;
esac
failed=0
guest=
virtual=
smp() {
	cp "$(tests/hil/guest kmod qemu-6.12 kmod)" "$KO/tsalign-smp.ko" &&
		cp "$(tests/hil/guest kmod qemu-6.12 tests/hil/tsalign/alone TSALIGN="$PWD/kmod")" "$KO/" &&
		tests/hil/guest run --engine qemu-6.12 --cpus 2 --timeout 300 --env KO="$KO" \
			-- sh tests/hil/test_tsalign.sh inside-smp
}
for case in $cases; do
	case $case in
	smp) smp || failed=1 ;;
	lint) KO=$KO kdir=$kdir sh tests/hil/tsalign/lint.sh || failed=1 ;;
	# What these compare must not depend on how busy the host is.
	same | counters | exposure | lines) virtual="$virtual $case" ;;
	*) guest="$guest $case" ;;
	esac
done
if [ -n "$virtual" ]; then
	# shellcheck disable=SC2086
	tests/hil/guest run --engine uml ${DEBUG:+--debug} --clock virtual --mem 512M --timeout 400 --env KO="$KO" \
		--env "PATH=$O:$PATH" -- sh tests/hil/test_tsalign.sh inside $virtual || failed=1
fi
if [ -n "$guest" ]; then
	# shellcheck disable=SC2086
	tests/hil/guest run --engine uml ${DEBUG:+--debug} --mem 512M --timeout "${TIMEOUT:-$((400 + 4 * ${CYCLES:-50}))}" \
		--modules "vivid n_devs=2 node_types=0x1" --env KO="$KO" --env SEEDS="${SEEDS:-100}" --env ROUNDS="${ROUNDS:-20000}" --env CYCLES="${CYCLES:-50}" \
		-- sh tests/hil/test_tsalign.sh inside $guest || failed=1
fi
exit $failed
