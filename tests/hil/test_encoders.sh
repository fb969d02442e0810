#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# M2M encoders that give H.264, in a guest: vivid -> vh264enc, decoded by FFmpeg and compared bit by
# bit, every control, every fault; then agent -> service -> GetClip. O=build: where the programs are.
# CASES: of "encoder agent", default both; "faults": the short part for a kernel with DEBUG=1 (KASAN, lockdep).
set -eu

if [ "${1:-}" = inside ]; then
	# In the guest: an agent and the service; the files are judged by encoder_check.py.
	work=$(mktemp -d)
	kvsd serve --quickstart "$work/service" --listen 127.0.0.1:0 >"$work/ready" &
	service=$!
	tries=0
	until [ -s "$work/ready" ]; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || { echo "the service did not start" >&2; exit 1; }
		sleep 0.1
	done
	module=$2
	AWS_ENDPOINT_URL=$(sed -n 's/.*"endpoint": *"\([^"]*\)".*/\1/p' "$work/ready")
	AWS_CA_BUNDLE=$work/service/ca.pem
	AWS_SHARED_CREDENTIALS_FILE=$work/service/credentials
	export AWS_ENDPOINT_URL AWS_CA_BUNDLE AWS_SHARED_CREDENTIALS_FILE
	printf '%s\n' "[service]" "endpoint = $AWS_ENDPOINT_URL" "ca_bundle = $AWS_CA_BUNDLE" \
		"credentials = $AWS_SHARED_CREDENTIALS_FILE" "[stream cam]" "[source cam]" "kind = camera" \
		"stream = cam" "device = /dev/video0" "size = 640x480" "rate = 30" "encoder = m2m" \
		"bitrate = 2M" "[agent]" "stop_timeout = 100s" >"$work/agent.conf"
	mkdir -p "$work/tap"
	kvsd agent --config "$work/agent.conf" --duration 5s --report "$work/report.json" --tap "$work/tap" \
		>"$work/agent.log" 2>&1 || { cat "$work/agent.log"; exit 1; }
	# Where nobody else reads the frames; into a stream of its own.
	sed 's/stream cam\]/stream alone]/; s/^stream = cam/stream = alone/' "$work/agent.conf" >"$work/alone.conf"
	kvsd agent --config "$work/alone.conf" --duration 2s --report "$work/untapped.json" \
		>"$work/agent.log" 2>&1 || { cat "$work/agent.log"; exit 1; }
	kvsctl get cam --start EARLIEST --no-follow --raw -o "$work/media.mkv" 2>"$work/get.log"
	kvsctl clip cam -o "$work/clip.mp4"
	r=0
	python3 tests/hil/encoder_check.py agent "$work" || r=$?
	# The same path of what else encoders give; clips of VP8 there are none.
	for codec in hevc vp8; do
		/sbin/rmmod vh264enc
		/sbin/insmod "$module" $codec=1
		mkdir -p "$work/$codec/tap"
		# Several fragments in a few seconds, on a slow host too.
		sed "s/^\[stream cam\]/[stream $codec]\nfragment = 1s/; s/^stream = cam/stream = $codec\ngop = 5/" \
			"$work/agent.conf" >"$work/$codec/agent.conf"
		kvsd agent --config "$work/$codec/agent.conf" --duration 3s --report "$work/$codec/report.json" \
			--tap "$work/$codec/tap" >"$work/agent.log" 2>&1 || { cat "$work/agent.log"; exit 1; }
		kvsctl get $codec --start EARLIEST --no-follow --raw -o "$work/$codec/media.mkv" 2>"$work/get.log"
		python3 tests/hil/encoder_check.py agent-$codec "$work/$codec" || r=$?
	done
	# A driver that does not return, and cannot be killed: the other source of the same agent does not notice.
	/sbin/rmmod vh264enc
	/sbin/insmod "$module"
	mkdir -p "$work/stuck"
	printf '%s\n' "[stream other]" "[source other]" "kind = synthetic" "stream = other" "pattern = radar" "rate = 20" |
		cat "$work/agent.conf" - | sed "s/stream cam\]/stream stuck]/; s/^stream = cam/stream = stuck/" >"$work/stuck/agent.conf"
	kvsd agent --config "$work/stuck/agent.conf" --duration 40s --report "$work/stuck/report.json" >"$work/stuck/log" 2>&1 &
	agent=$!
	sleep 5
	echo 8 >/sys/module/vh264enc/parameters/fault_stuck
	sleep 15
	cat /sys/module/vh264enc/parameters/stuck_now >"$work/stuck/now"
	echo 0 >/sys/module/vh264enc/parameters/fault_stuck
	wait $agent || { cat "$work/stuck/log"; r=1; }
	cat /sys/module/vh264enc/parameters/stuck_now >>"$work/stuck/now"
	python3 tests/hil/encoder_check.py agent-stuck "$work/stuck" || { cat "$work/stuck/log"; r=1; }
	kill $service
	wait $service
	exit $r
fi

cd "$(dirname "$0")/../.."
O=$(cd "${O:-build}" && pwd)
export O
CASES=${CASES:-encoder agent}
case $CASES in *agent*) programs="tests/encoder_probe kvsd kvsctl" ;; *) programs=tests/encoder_probe ;; esac
for p in $programs; do
	[ -x "$O/$p" ] || { echo "no $O/$p: make first" >&2; exit 1; }
done
# No step of the guest kernels before this one: what a fresh machine needs.
tests/hil/guest prepare uml ${DEBUG:+--debug} >/dev/null
module=$(tests/hil/guest kmod uml ${DEBUG:+--debug} tests/hil/vh264enc)
failed=0
for case in $CASES; do
	echo "== vivid, vh264enc: $case"
	case $case in
	encoder) set -- python3 tests/hil/encoder_check.py modules "$O" "$module" ;;
	faults) set -- python3 tests/hil/encoder_check.py faults "$O" "$module" ;;
	agent) set -- sh tests/hil/test_encoders.sh inside "$module" ;;
	esac
	# DEBUG=1: the kernel that finds a lock taken wrongly, and memory used after it was freed.
	tests/hil/guest run --engine uml ${DEBUG:+--debug} --clock "${GUEST_CLOCK:-virtual}" --mem 1G --timeout 900 \
		--modules "vivid n_devs=1 node_types=0x1,$module" \
		--env "PATH=$O/tests:$O:$PATH" --env "ONLY=${ONLY:-}" -- "$@" || failed=1
done
exit $failed
