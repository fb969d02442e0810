#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kvsd agent when things are missing, busy, stuck or unplugged, with vivid in a guest. O=build: where
# the programs are.
set -u

if [ "${1:-}" != inside ]; then
	cd "$(dirname "$0")/../.." || exit 1
	O=$(cd "${O:-build}" && pwd)
	exec tests/hil/guest run --engine uml --mem 512M --timeout 240 \
		--modules "vivid n_devs=2 node_types=0x1,0x1" \
		--env "PATH=$O/tests:$O:$PATH" -- sh tests/hil/test_agent_faults.sh inside
fi

work=$(mktemp -d)
failed=0
check() { # WHAT CONDITION...
	what=$1
	shift
	if "$@"; then
		echo "ok - $what"
	else
		echo "not ok - $what"
		tail -n 5 "$work/log"
		failed=1
	fi
}
said() {
	grep -q "$1" "$work/log"
}
config() { # "SECTION KEY=VALUE"...: on top of what always holds
	printf '%s\n' "[service]" "endpoint = https://localhost:$port" "ca_bundle = $work/cert.pem" \
		"credentials = $work/credentials" "[stream cam]" "fragment = 1s" "[agent]" "stop_timeout = 10s" \
		"[source cam]" "kind = camera" "stream = cam" "encoder = openh264" "timeout = 20s" "$@" >"$work/agent.conf"
}
agent() { # EXIT-CODE OPTIONS...
	want=$1
	shift
	kvsd agent --config "$work/agent.conf" --report "$work/report.json" "$@" >"$work/log" 2>&1
	[ $? = "$want" ]
}
until_true() { # WHAT CONDITION...: waits, however slow the machine is
	what=$1
	shift
	tries=0
	until "$@" || [ $tries = 600 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	[ $tries != 600 ] || check "$what" false
}
fragments() { # COUNT: that many since begin, or since this was last true
	now=$(grep -c '"event": "fragment"' "$work/service")
	[ "$now" -ge $((seen + $1)) ] && seen=$now
}
steps() {
	[ "$(grep -c 'the wall clock was stepped' "$work/log")" -ge "$1" ]
}
begin() {
	seen=$(grep -c '"event": "fragment"' "$work/service")
	kvsd agent --config "$work/agent.conf" --report "$work/report.json" >"$work/log" 2>&1 &
	pid=$!
}
finish() {
	kill -TERM $pid
	wait $pid
	code=$?
}
serve() {
	: >"$work/service"
	seen=0
	python3 tests/support/fake_kvs.py --cert "$work/cert.pem" --key "$work/key.pem" --port "$1" \
		--out "$work" >"$work/service" 2>&1 &
	service=$!
	tries=0
	until grep -q listening "$work/service" || [ $tries = 100 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	port=$(sed -n 's/.*"port": *\([0-9]*\).*/\1/p' "$work/service" | head -n 1)
}
field() { # NAME: of the report
	sed -n "s/.*\"$1\":\([0-9.]*\).*/\1/p" "$work/report.json"
}

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
	-keyout "$work/key.pem" -out "$work/cert.pem" -addext "subjectAltName=DNS:localhost" 2>/dev/null
printf '[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = secretsecret\n' >"$work/credentials"
serve 0

config "device = /dev/video9"
check "a missing camera: exit 1" agent 1
check "and it says what there is" said "/dev/video9: .*there is /dev/video0 'vivid'"
config "match = no-such-thing"
check "no camera that matches: exit 1" agent 1
check "and it says what there is" said "'no-such-thing'; there is /dev/video0"
config "format = H264"
check "a format that the camera has not: exit 1" agent 1
check "and it says which it has" said "no format H264; it has .*YUYV"
config "size = 123x457"
check "a size that the camera has not: exit 1" agent 1
check "and it says which it has" said "not in 123x457; .*640x360"

v4l2-ctl -d /dev/video0 --stream-mmap --stream-to=/dev/null >"$work/user" 2>&1 &
busy=$!
until_true "it streams" grep -q '<' "$work/user"
config "device = /dev/video0"
check "a camera in use: exit 1" agent 1
check "and it says so" said "/dev/video0 'vivid': in use by another program"
kill $busy
wait $busy 2>/dev/null

config "device = /dev/video0" "size = 320x180" "rate = 30" "bitrate = 500k"
printf '%s\n' "[stream other]" "[source other]" "kind = camera" "stream = other" "device = /dev/video1" \
	"size = 320x180" "rate = 30" "encoder = openh264" "bitrate = 500k" "timeout = 20s" >>"$work/agent.conf"
begin
until_true "two fragments" fragments 4
v4l2-ctl -d /dev/video1 --set-ctrl disconnect=1 >/dev/null
until_true "it is back" said "other: works again"
until_true "two more" fragments 4
finish
check "one of two cameras is unplugged and plugged in again; SIGTERM: all is acknowledged, exit 0" [ $code = 0 ]
check "the loss was told" said "error agent: other: /dev/video1: unplugged"
check "once" [ "$(grep -c "error agent" "$work/log")" = 1 ]
check "it came back, the other one saw nothing of it, and both streams are whole" python3 - "$work/report.json" <<'PY'
import json, sys
report = json.load(open(sys.argv[1]))
cam, other = report["sources"]
assert (cam["reopened"], other["reopened"]) == (0, 1), report
assert cam["outage_s"] == 0 < other["outage_s"], report
assert other["frames_captured"] > 60, report
for s in report["streams"]:
    assert s["fragments_persisted"] == s["fragments_sealed"] > 2 and not s["fragments_left"], report
PY

config "size = 320x180" "rate = 30"
rm -f "$work"/*.frames
begin
until_true "a fragment" fragments 2
date -s "$(date -d '+1 hour' '+%F %T')" >/dev/null
until_true "the step is seen" steps 1
until_true "more fragments" fragments 2
date -s "$(date -d '-2 hours' '+%F %T')" >/dev/null
until_true "the step is seen" steps 2
until_true "more fragments" fragments 1
finish
check "the wall clock steps forward and back: exit 0" [ $code = 0 ]
check "three epochs" [ "$(field clock_epochs)" = 3 ]
check "the steps were told" [ "$(grep -c 'the wall clock was stepped' "$work/log")" = 2 ]
check "no frame was refused" [ "$(field frames_put)" = "$(field frames_encoded)" ]
check "timecodes never go back, and jump once" python3 - "$work" <<'PY'
import json, os, sys
last, jumps = 0, 0
for line in open(sys.argv[1] + '/service'):  # in order of arrival
    event = json.loads(line)
    if event['event'] != 'fragment':
        continue
    path = '%s/%d-%d.frames' % (sys.argv[1], event['session'], event['timecode'])
    if not os.path.exists(path):
        continue  # of a run before
    data = open(path, 'rb').read()
    while data:
        head, _, data = data.partition(b'\n')
        _, ms, _, size = map(int, head.split())
        data = data[size:]
        jumps += last and ms - last > 3500000
        assert ms >= last, (last, ms)
        last = ms
sys.exit(jumps != 1)
PY
date -s "$(date -d '+1 hour' '+%F %T')" >/dev/null

kill $service
begin
until_true "it has tried" said "not connected"
serve "$port"
until_true "all that waited" fragments 3
finish
check "the service came later: exit 0" [ $code = 0 ]
check "nothing was lost" [ "$(field fragments_persisted)" = "$(field fragments_sealed)" ]
kill $service

config "size = 320x180" "rate = 30"
sed -i 's/stop_timeout = 10s/stop_timeout = 1s/' "$work/agent.conf"
check "no service at all: exit 3" agent 3 --duration 2s
check "and it says how much is lost" said "fragments were not acknowledged"
exit $failed
