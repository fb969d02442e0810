#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Four sources of one guest in one agent: a camera (H.264), a thermal core (FFV1), a radio (data track)
# and a sound card (A-law), into two streams. SECONDS_RUN: how long. O=build: where the programs are.
set -eu

seconds=${SECONDS_RUN:-8}
if [ "${1:-}" = inside ]; then
	# In the guest: runs things and leaves files in /out; the host judges.
	work=$(mktemp -d)
	mkdir -p /out/tap
	kvsd serve --quickstart "$work/service" --listen 127.0.0.1:0 >"$work/ready" &
	service=$!
	tries=0
	until [ -s "$work/ready" ]; do
		tries=$((tries + 1))
		[ $tries -lt 300 ] || { echo "the service did not start" >&2; exit 1; }
		sleep 0.1
	done
	AWS_ENDPOINT_URL=$(sed -n 's/.*"endpoint": *"\([^"]*\)".*/\1/p' "$work/ready")
	AWS_CA_BUNDLE=$work/service/ca.pem
	AWS_SHARED_CREDENTIALS_FILE=$work/service/credentials
	export AWS_ENDPOINT_URL AWS_CA_BUNDLE AWS_SHARED_CREDENTIALS_FILE
	cat >"$work/agent.conf" <<-CONF
		[service]
		endpoint = $AWS_ENDPOINT_URL
		ca_bundle = $AWS_CA_BUNDLE
		credentials = $AWS_SHARED_CREDENTIALS_FILE
		[agent]
		stop_timeout = 60s
		[stream gate]
		[stream sense]
		[source camera]
		kind = camera
		stream = gate
		device = /dev/video0
		size = 640x360
		rate = 30
		buffers = 16
		timeout = 20s
		encoder = openh264
		bitrate = 2M
		[source sound]
		kind = audio
		stream = gate
		device = hw:0,1
		sample_rate = 8000
		channels = 1
		timeout = 20s
		encoder = alaw
		[source core]
		kind = thermal
		stream = sense
		device = /dev/video1
		size = 320x180
		rate = 10
		buffers = 8
		timeout = 20s
		encoder = ffv1
		[source radio]
		kind = sdr
		stream = sense
		device = /dev/swradio0
		buffers = 8
		timeout = 20s
	CONF
	# What the sound card hears is what is played at its other end.
	python3 -c 'import array, math, sys; n = int(sys.argv[2]) * 8000
array.array("h", [round(8000 * math.sin(i * 440 * 2 * math.pi / 8000)) for i in range(n)]).tofile(open(sys.argv[1], "wb"))' \
		"$work/tone" $((seconds + 15))
	aplay -q -D hw:0,0 -t raw -f S16_LE -r 8000 -c 1 "$work/tone" &
	player=$!
	# The camera's raw frames are too many; their times are wanted.
	mkdir "$work/camera"
	ln -s /dev/null "$work/camera/raw"
	kvsd agent --check --config "$work/agent.conf"
	kvsd agent --config "$work/agent.conf" --duration "${seconds}s" --report /out/report.json --tap "$work"
	for track in camera sound core radio; do
		mkdir -p /out/tap/$track
		cp "$work/$track/frames" /out/tap/$track/
		[ $track = camera ] || cp "$work/$track/raw" /out/tap/$track/
	done
	for stream in gate sense; do
		kvsctl get $stream --start EARLIEST --no-follow --raw -o /out/$stream.mkv
	done
	kill $player 2>/dev/null || true
	kill $service
	wait $service
	exit 0
fi

cd "$(dirname "$0")/../.."
O=$(cd "${O:-build}" && pwd)
export O
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
code=0
tests/hil/guest run --engine uml --mem 768M --timeout $((seconds * 3 + 120)) --out "$out" \
	--modules "snd-aloop pcm_substreams=1,vivid n_devs=2 node_types=0x21,0x1" \
	--env "PATH=$O/tests:$O:$PATH" --env "SECONDS_RUN=$seconds" -- \
	sh tests/hil/test_agent_sources.sh inside >"$out/log" 2>&1 || code=$?
if [ $code = 0 ]; then
	python3 tests/hil/agent_sources_check.py "$out"
	exit
fi
echo "not ok - the guest session failed (exit $code)"
tail -n 30 "$out/log"
exit 1
