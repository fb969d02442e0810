#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The whole path in a guest: vivid -> encoder -> PutMedia -> service -> what a reader gets, compared
# frame by frame with what went in. O=build: where the programs are.
set -eu

if [ "${1:-}" = inside ]; then
	# In the guest: runs things and leaves files in /out; the host judges.
	case=$2
	work=$(mktemp -d)
	mkdir -p /out/tap
	config() { # KIND SIZE ENDPOINT CA CREDENTIALS [DEVICE]
		printf '%s\n' "[service]" "endpoint = $3" "ca_bundle = $4" "credentials = $5" \
			"[stream cam]" "[source cam]" "kind = camera" "stream = cam" \
			"device = ${6:-/dev/video0}" "size = $2" "rate = 30" "encoder = $1" "bitrate = 2M" \
			"[agent]" "stop_timeout = 100s" >"$work/agent.conf"
		kvsd agent --check --config "$work/agent.conf" >/dev/null
	}
	ready() { # FILE
		tries=0
		until [ -s "$1" ]; do
			tries=$((tries + 1))
			[ $tries -lt 300 ] || { echo "the service did not start" >&2; exit 1; }
			sleep 0.1
		done
	}
	if [ "$case" = refusals ]; then
		# What the agent says when it cannot work; the host compares.
		printf '[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = secretsecret\n' \
			>"$work/credentials"
		try() { # NAME LINES-OF-[source cam]...
			name=$1
			shift
			printf '%s\n' "[service]" "endpoint = https://127.0.0.1:9" "credentials = $work/credentials" \
				"[stream cam]" "[source cam]" "kind = camera" "stream = cam" "$@" >"$work/agent.conf"
			if kvsd agent --config "$work/agent.conf" --duration 2s 2>"$work/said" >/dev/null; then r=0; else r=$?; fi
			printf '%s\t%s\t%s\n' "$name" "$r" "$(tr '\n' ' ' <"$work/said")" >>/out/refusals
		}
		try size "size = 641x361"
		try format "format = ABCD"
		try missing "device = /dev/video9"
		try "no camera" "device = /dev/null"
		try encoder "rate = 30" "encoder = m2m"
		try key "bogus = 1"
		printf '%s\n' "[service]" "endpoint = https://127.0.0.1:9" "credentials = $work/credentials" \
			"[stream cam]" "[source cam]" "kind = camera" "stream = cam" "size = 640x360" "[agent]" "stop_timeout = 1s" >"$work/busy.conf"
		kvsd agent --config "$work/busy.conf" --duration 6s >"$work/started" 2>/dev/null &
		ready "$work/started"
		try busy "size = 640x360"
		wait
		exit 0
	fi
	if [ "$case" = slow-acks ]; then
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=x \
			-keyout "$work/key.pem" -out "$work/cert.pem" \
			-addext "subjectAltName=IP:127.0.0.1,DNS:localhost" 2>/dev/null
		printf '[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = secretsecret\n' \
			>"$work/credentials"
		# Two cameras at the same time, so that a busy host slows both alike: the acks differ.
		services=
		for run in prompt slow; do
			delay=0 device=/dev/video0
			[ $run = prompt ] || delay=60 device=/dev/video1
			python3 tests/support/fake_kvs.py --cert "$work/cert.pem" --key "$work/key.pem" \
				--ack-delay $delay >"$work/$run.ready" 2>&1 &
			services="$services $!"
			ready "$work/$run.ready"
			port=$(sed -n 's/.*"port": *\([0-9]*\).*/\1/p' "$work/$run.ready" | head -n 1)
			config m2m 640x480 "https://localhost:$port" "$work/cert.pem" "$work/credentials" $device
			mv "$work/agent.conf" "$work/$run.conf"
			# The frames' times are wanted, not the frames.
			mkdir -p /out/$run "$work/$run/cam"
			ln -s /dev/null "$work/$run/cam/raw"
		done
		kvsd agent --config "$work/prompt.conf" --duration 20s --report /out/prompt/report.json \
			--tap "$work/prompt" &
		prompt=$!
		kvsd agent --config "$work/slow.conf" --duration 20s --report /out/slow/report.json \
			--tap "$work/slow"
		wait $prompt
		for run in prompt slow; do
			mkdir -p /out/$run/tap/cam
			cp "$work/$run/cam/frames" /out/$run/tap/cam/
		done
		# shellcheck disable=SC2086 # two ids
		kill $services
		exit 0
	fi
	kvsd serve --quickstart "$work/service" --listen 127.0.0.1:0 >"$work/ready" &
	service=$!
	ready "$work/ready"
	AWS_ENDPOINT_URL=$(sed -n 's/.*"endpoint": *"\([^"]*\)".*/\1/p' "$work/ready")
	AWS_CA_BUNDLE=$work/service/ca.pem
	AWS_SHARED_CREDENTIALS_FILE=$work/service/credentials
	export AWS_ENDPOINT_URL AWS_CA_BUNDLE AWS_SHARED_CREDENTIALS_FILE
	config "$case" 640x480 "$AWS_ENDPOINT_URL" "$AWS_CA_BUNDLE" "$AWS_SHARED_CREDENTIALS_FILE"
	kvsd agent --config "$work/agent.conf" --duration 6s --report /out/report.json --tap /out/tap
	kvsctl fragments cam --json >/out/fragments.json
	kvsctl get cam --start EARLIEST --no-follow --raw -o /out/media.mkv 2>/out/get.log
	kvsctl clip cam -o /out/clip.mp4 2>/out/clip.log || echo $? >/out/clip.exit
	if [ "$case" = m2m ]; then
		python3 tests/hil/agent_check.py fwht /out/media.mkv >/out/media.fwht
		fwht_decode /out/media.fwht /out/tap/cam/raw >/out/decoded.json
	fi
	kill $service
	wait $service
	exit 0
fi

cd "$(dirname "$0")/../.."
O=$(cd "${O:-build}" && pwd)
export O
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
failed=0
for case in ${CASES:-openh264 m2m slow-acks refusals}; do
	echo "== vivid, $case"
	mkdir -p "$out/$case"
	modules="vivid n_devs=1 node_types=0x1"
	[ $case != slow-acks ] || modules="vivid n_devs=2 node_types=0x1,0x1"
	[ $case = refusals ] || modules=$modules,vicodec
	if tests/hil/guest run --engine uml --mem 768M --timeout 300 --out "$out/$case" --modules "$modules" \
		--env "PATH=$O/tests:$O:$PATH" -- sh tests/hil/test_agent.sh inside $case >"$out/$case/log" 2>&1; then
		python3 tests/hil/agent_check.py $case "$out/$case" || failed=1
	else
		echo "not ok - $case: the guest session failed (exit $?)"
		tail -n 30 "$out/$case/log"
		failed=1
	fi
done
exit $failed
