#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The sources of one guest in one agent: a camera (H.264), a thermal core (FFV1), a radio, a camera's metadata
# and an inertial sensor (data tracks), a sound card (A-law) and a camera of libcamera (raw), into three streams.
# SECONDS_RUN: how long. LIBCAMERA=no: without that one. O=build: where the programs are.
# FOUR=1: camera, sound, core and radio alone, in two streams, none lost for want of a buffer: for an idle host.
# CLOCK=virtual: the guest's clock waits for its programs, so on any host not one frame may be missing.
set -eu

seconds=${SECONDS_RUN:-20}
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
	node() { # NAME: of the driver's
		echo "/dev/$(basename "$(dirname "$(grep -lx "$1" /sys/class/video4linux/*/name)")")"
	}
	mkdir /sys/kernel/config/iio/triggers/hrtimer/t0 /sys/kernel/config/iio/devices/dummy/gyro
	echo t0 >/sys/bus/iio/devices/iio:device0/trigger/current_trigger
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
		device = $(node vivid-000-vid-cap)
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
		device = $(node vivid-001-vid-cap)
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
	tracks="camera sound core radio"
	streams="gate sense"
	if [ "$FOUR" != 1 ]; then
		tracks="$tracks meta scans"
		streams="$streams rest"
		cat >>"$work/agent.conf" <<-CONF
		[stream rest]
		[source meta]
		kind = metadata
		stream = sense
		device = $(node vivid-000-meta-cap)
		buffers = 16
		timeout = 20s
		[source scans]
		kind = iio
		stream = rest
		device = gyro
		sample_rate = 100
		frame_samples = 10
		buffers = 8
		timeout = 20s
		CONF
	fi
	if [ "$LIBCAMERA" != no ]; then
		# libcamera asks udev, which is not in the guest, what is there.
		mkdir -p /run/udev/data
		touch /run/udev/control
		for d in /sys/class/video4linux/* /sys/bus/media/devices/*; do
			echo I:1 >"/run/udev/data/c$(cat "$d/dev")"
		done
		export CAPTURE_MODULE_PATH="$O" LIBCAMERA_LOG_LEVELS='*:ERROR'
		tracks="$tracks vimc"
		cat >>"$work/agent.conf" <<-CONF
			[source vimc]
			kind = libcamera
			stream = rest
			format = RGB3
			size = 96x72
			encoder = raw
			timeout = 20s
		CONF
	fi
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
	for track in $tracks; do
		mkdir -p /out/tap/$track
		cp "$work/$track/frames" /out/tap/$track/
		[ $track = camera ] || cp "$work/$track/raw" /out/tap/$track/
	done
	for stream in $streams; do
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
FOUR=${FOUR:-0}
export CLOCK="${CLOCK:-real}"
LIBCAMERA=${LIBCAMERA:-yes}
[ "$FOUR" = 0 ] || LIBCAMERA=no
if [ ! -e "$O/libcapture-libcamera.so" ] || ! ls /usr/lib/*/libcamera/ipa_vimc.so >/dev/null 2>&1; then
	LIBCAMERA=no
fi
export LIBCAMERA
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
code=0
tests/hil/guest run --engine uml --clock "$CLOCK" --mem 768M --timeout $((seconds * 3 + 300)) --out "$out" \
	--modules "snd-aloop pcm_substreams=1,vivid n_devs=2 node_types=0x20021,0x1,vimc,iio_dummy,iio-trig-hrtimer" \
	--env "PATH=$O/tests:$O:$PATH" --env "SECONDS_RUN=$seconds" --env "LIBCAMERA=$LIBCAMERA" \
	--env "FOUR=$FOUR" -- \
	sh tests/hil/test_agent_sources.sh inside >"$out/log" 2>&1 || code=$?
if [ $code = 0 ]; then
	python3 tests/hil/agent_sources_check.py "$out" "$seconds"
	exit
fi
echo "not ok - the guest session failed (exit $code)"
tail -n 30 "$out/log"
exit 1
