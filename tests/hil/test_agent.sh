#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The whole path in a guest: vivid -> encoder -> PutMedia -> service -> what a reader gets, compared
# frame by frame with what went in. CASES: which. ACK_DELAY: seconds. O=build: where the programs are.
set -eu

cases=${CASES:-refusals slow-acks openh264 m2m}
ack_delay=${ACK_DELAY:-60}
if [ "${1:-}" = inside ]; then
	# In the guest: runs things and leaves files in /out/CASE; the host judges.
	work=$(mktemp -d)
	config() { # FILE KIND SIZE ENDPOINT CA CREDENTIALS DEVICE
		printf '%s\n' "[service]" "endpoint = $4" "ca_bundle = $5" "credentials = $6" \
			"[stream cam]" "[source cam]" "kind = camera" "stream = cam" \
			"device = $7" "size = $3" "rate = 30" "encoder = $2" "bitrate = 2M" "timeout = 20s" \
			"[agent]" "stop_timeout = 100s" >"$1"
		kvsd agent --check --config "$1" >/dev/null
	}
	ready() { # FILE
		tries=0
		until [ -s "$1" ]; do
			tries=$((tries + 1))
			[ $tries -lt 600 ] || { echo "$1: nothing came" >&2; exit 1; }
			sleep 0.1
		done
	}
	# What the agent says when it cannot work.
	refusals() {
		# Without an encoder: the driver lets go of its devices.
		echo vicodec.0 >/sys/bus/platform/drivers/vicodec/unbind
		try() { # NAME LINES-OF-[source cam]...
			name=$1
			shift
			printf '%s\n' "[service]" "endpoint = https://127.0.0.1:9" "credentials = $work/credentials" \
				"[stream cam]" "[source cam]" "kind = camera" "stream = cam" "$@" >"$work/agent.conf"
			if kvsd agent --config "$work/agent.conf" --duration 2s 2>"$work/said" >/dev/null; then r=0; else r=$?; fi
			printf '%s\t%s\t%s\n' "$name" "$r" "$(tr '\n' ' ' <"$work/said")" >>/out/refusals/refusals
		}
		try size "size = 641x361"
		try format "format = ABCD"
		try missing "device = /dev/video9"
		try "no camera" "device = /dev/null"
		try encoder "rate = 30" "encoder = m2m"
		try key "bogus = 1"
		printf '%s\n' "[service]" "endpoint = https://127.0.0.1:9" "credentials = $work/credentials" \
			"[stream cam]" "[source cam]" "kind = camera" "stream = cam" "size = 640x360" "[agent]" "stop_timeout = 1s" >"$work/busy.conf"
		kvsd agent --config "$work/busy.conf" >"$work/started" 2>/dev/null &
		busy=$!
		ready "$work/started"
		try busy "size = 640x360"
		kill $busy
		wait $busy || true
		echo vicodec.0 >/sys/bus/platform/drivers/vicodec/bind
	}
	# Two cameras at the same time, so that a busy host slows both alike: the acks differ.
	slow_acks() {
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x \
			-keyout "$work/key.pem" -out "$work/cert.pem" \
			-addext "subjectAltName=IP:127.0.0.1,DNS:localhost" 2>/dev/null
		services=
		for run in prompt slow; do
			delay=0 device=/dev/video0
			[ $run = prompt ] || delay=$ack_delay device=/dev/video1
			python3 tests/support/fake_kvs.py --cert "$work/cert.pem" --key "$work/key.pem" \
				--ack-delay $delay >"$work/$run.ready" 2>&1 &
			services="$services $!"
			ready "$work/$run.ready"
			port=$(sed -n 's/.*"port": *\([0-9]*\).*/\1/p' "$work/$run.ready" | head -n 1)
			config "$work/$run.conf" m2m 640x480 "https://localhost:$port" "$work/cert.pem" "$work/credentials" $device
			# The frames' times are wanted, not the frames.
			mkdir -p /out/slow-acks/$run/tap/cam "$work/$run/cam"
			ln -s /dev/null "$work/$run/cam/raw"
		done
		for run in prompt slow; do
			kvsd agent --config "$work/$run.conf" --duration 20s --report "/out/slow-acks/$run/report.json" \
				--tap "$work/$run" &
			eval "$run=\$!"
		done
	}
	# Until both have captured what they will: they close their cameras before they wait for acks.
	slow_acks_captured() {
		sleep 20
		for pid in $prompt $slow; do
			while readlink /proc/"$pid"/fd/* 2>/dev/null | grep -q '^/dev/video'; do
				sleep 0.2
			done
		done
	}
	# While it waits for its acks, the cases after it have the CPU.
	slow_acks_end() {
		wait "$prompt"
		wait "$slow"
		for run in prompt slow; do
			cp "$work/$run/cam/frames" /out/slow-acks/$run/tap/cam/
		done
		# shellcheck disable=SC2086 # two ids
		kill $services
	}
	whole_path() { # ENCODER
		mkdir "/out/$1/tap"
		kvsd serve --quickstart "$work/$1-service" --listen 127.0.0.1:0 >"$work/$1-ready" &
		service=$!
		ready "$work/$1-ready"
		AWS_ENDPOINT_URL=$(sed -n 's/.*"endpoint": *"\([^"]*\)".*/\1/p' "$work/$1-ready")
		AWS_CA_BUNDLE=$work/$1-service/ca.pem
		AWS_SHARED_CREDENTIALS_FILE=$work/$1-service/credentials
		export AWS_ENDPOINT_URL AWS_CA_BUNDLE AWS_SHARED_CREDENTIALS_FILE
		config "$work/agent.conf" "$1" 640x480 "$AWS_ENDPOINT_URL" "$AWS_CA_BUNDLE" "$AWS_SHARED_CREDENTIALS_FILE" /dev/video2
		kvsd agent --config "$work/agent.conf" --duration 6s --report "/out/$1/report.json" --tap "/out/$1/tap"
		kvsctl get cam --start EARLIEST --no-follow --raw -o "/out/$1/media.mkv" 2>"/out/$1/get.log"
		kvsctl clip cam -o "/out/$1/clip.mp4" 2>"/out/$1/clip.log" || echo $? >"/out/$1/clip.exit"
		if [ "$1" = m2m ]; then
			python3 tests/hil/agent_check.py fwht /out/m2m/media.mkv >/out/m2m/media.fwht
			fwht_decode /out/m2m/media.fwht /out/m2m/tap/cam/raw >/out/m2m/decoded.json
		fi
		kill $service
		wait $service
	}
	printf '[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = secretsecret\n' >"$work/credentials"
	late=
	for case in $cases; do
		mkdir "/out/$case"
		case $case in
		refusals) refusals ;;
		slow-acks)
			slow_acks
			late=yes
			slow_acks_captured
			;;
		*) whole_path "$case" ;;
		esac
	done
	[ -z "$late" ] || slow_acks_end
	exit 0
fi

cd "$(dirname "$0")/../.."
O=$(cd "${O:-build}" && pwd)
export O
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failed=0
code=0
tests/hil/guest run --engine uml --clock "${CLOCK:-virtual}" --mem 768M --timeout $((ack_delay * 3 + 300)) --out "$out" \
	--modules "vivid n_devs=3 node_types=0x1,0x1,0x1,vicodec" --env "PATH=$O/tests:$O:$PATH" --env "CASES=$cases" \
	--env "ACK_DELAY=$ack_delay" -- sh tests/hil/test_agent.sh inside >"$out/log" 2>&1 || code=$?
if [ $code != 0 ]; then
	echo "not ok - the guest session failed (exit $code)"
	tail -n 30 "$out/log"
	exit 1
fi
for case in $cases; do
	echo "== vivid, $case"
	ACK_DELAY=$ack_delay python3 tests/hil/agent_check.py $case "$out/$case" || failed=1
done
exit $failed
