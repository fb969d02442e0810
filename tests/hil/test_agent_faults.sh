#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kvsd agent when things are missing, busy, stuck or unplugged, with vivid in a guest. O=build: where
# the programs are.
set -u

if [ "${1:-}" != inside ]; then
	cd "$(dirname "$0")/../.." || exit 1
	O=$(cd "${O:-build}" && pwd)
	exec tests/hil/guest run --engine uml --clock "${CLOCK:-virtual}" --mem 512M --timeout 500 \
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
	began=$(wc -l <"$work/service")
	seen=$(grep -c '"event": "fragment"' "$work/service")
	kvsd agent --config "$work/agent.conf" --report "$work/report.json" >"$work/log" 2>&1 &
	pid=$!
}
arrived() { # CHECK: an expression of the report r, its one source s, track t and stream u, and the service's events
	tail -n +$((began + 1)) "$work/service" | python3 -c '
import json, sys
events = [json.loads(line) for line in sys.stdin]
whole = [e for e in events if e["event"] == "fragment"]
acks = [e["timecode"] for e in events if e["event"] == "ack" and e["kind"] == "PERSISTED"]
r = json.load(open(sys.argv[1]))
s, u = r["sources"][0], r["streams"][0]
t = s["tracks"][0]
sys.exit(not eval(sys.argv[2]))' "$work/report.json" "$1"
}
finish() {
	kill -TERM $pid
	wait $pid
	code=$?
}
serve() { # PORT OPTIONS...
	: >"$work/service"
	seen=0
	python3 tests/support/fake_kvs.py --cert "$work/cert.pem" --key "$work/key.pem" --out "$work" --port "$@" \
		>"$work/service" 2>&1 &
	service=$!
	until_true "the service listens" grep -q listening "$work/service"
	port=$(sed -n 's/.*"port": *\([0-9]*\).*/\1/p' "$work/service" | head -n 1)
}
stop_serving() { # its port and its file are free when this returns
	kill $service
	wait $service 2>/dev/null
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

all_put='s["frames_captured"] == t["frames_encoded"] == t["frames_put"] == u["frames_put"] > 60'
all_came='sum(e["frames"] for e in whole) == u["frames_put"] and len(whole) == u["fragments_sealed"]'

config "device = /dev/video0" "size = 320x180" "rate = 30"
begin
until_true "two fragments" fragments 2
v4l2-ctl -d /dev/video0 --set-ctrl disconnect=1 >/dev/null
until_true "it is back" said "cam: works again"
until_true "two more" fragments 2
finish
check "the only camera is unplugged and plugged in again: exit 0" [ $code = 0 ]
check "the loss was told" said "error agent: cam: /dev/video0: unplugged"
check "once" [ "$(grep -c "error agent" "$work/log")" = 1 ]
check "it was opened again" [ "$(field reopened)" = 1 ]
check "nothing was lost on the way: each frame before and after it arrived" arrived "$all_put and $all_came"
check "and all is acknowledged" [ "$(field fragments_persisted)" = "$(field fragments_sealed)" ]
stop_serving

# A fragment is whole for the service when the next one begins: so at SIGTERM one is under way.
serve 0 --ack-delay 2
config "device = /dev/video0" "size = 320x180" "rate = 30"
sed -i 's/stop_timeout = 10s/stop_timeout = 60s/' "$work/agent.conf"
begin
until_true "two fragments" fragments 2
finish
check "SIGTERM within a fragment: exit 0" [ $code = 0 ]
check "it is finished, and arrives with all its frames" arrived "$all_put and $all_came and len(whole) > $seen"
check "it was waited for until it was persisted" arrived \
	'u["fragments_left"] == 0 and len(acks) == u["fragments_persisted"] == u["fragments_sealed"] > 2'
stop_serving

serve 0 --ack-delay 1000
config "device = /dev/video0" "size = 320x180" "rate = 30"
sed -i 's/stop_timeout = 10s/stop_timeout = 5s/' "$work/agent.conf"
begin
until_true "two fragments" fragments 2
finish
check "SIGTERM, and no acknowledgement within the bound: exit 3" [ $code = 3 ]
check "it says what is left" said "error agent: cam: $(field fragments_sealed) fragments were not acknowledged"
until_true "the fragment under way is finished all the same" arrived "$all_put and $all_came and len(whole) > $seen"
check "and counts it" arrived 'u["fragments_left"] == u["fragments_sealed"] > 2 and not acks and not u["fragments_persisted"]'
stop_serving
serve 0

config "device = /dev/video0" "size = 320x180" "rate = 30" "bitrate = 500k"
printf '%s\n' "[stream other]" "[source other]" "kind = camera" "stream = other" "device = /dev/video1" \
	"size = 320x180" "rate = 30" "encoder = openh264" "bitrate = 500k" "timeout = 20s" >>"$work/agent.conf"
begin
until_true "two fragments" fragments 4
# As long as somebody has it open, it stays away.
exec 9</dev/video1
v4l2-ctl -d /dev/video1 --set-ctrl disconnect=1 >/dev/null
until_true "the loss is seen" said "error agent: other: /dev/video1: unplugged"
until_true "meanwhile the other one goes on" fragments 5
back=$(grep -c "other: works again" "$work/log")
exec 9<&-
until_true "it is back" said "other: works again"
until_true "two more" fragments 4
finish
check "one of two cameras is unplugged and plugged in again; SIGTERM: all is acknowledged, exit 0" [ $code = 0 ]
check "the loss was told" said "error agent: other: /dev/video1: unplugged"
check "once" [ "$(grep -c "error agent" "$work/log")" = 1 ]
check "not before it was there again" [ "$back" = 0 ]
check "it came back, the other one saw nothing of it, and both streams are whole" python3 - "$work/report.json" <<'PY'
import json, sys
report = json.load(open(sys.argv[1]))
cam, other = report["sources"]
assert (cam["reopened"], other["reopened"]) == (0, 1), report
assert cam["outage_s"] == 0 < other["outage_s"], report
assert cam["frames_captured"] > other["frames_captured"] > 60, report
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
        _, ms, key, size = map(int, head.split())
        data = data[size:]
        if last and ms - last > 3500000:
            jumps += 1
            # What was inside the encoder then has its own time: the jump is where the key frame was asked for.
            assert key, (last, ms)
        assert ms >= last, (last, ms)
        last = ms
sys.exit(jumps != 1)
PY
date -s "$(date -d '+1 hour' '+%F %T')" >/dev/null

stop_serving
begin
until_true "it has tried" said "not connected"
serve "$port"
until_true "all that waited" fragments 3
finish
check "the service came later: exit 0" [ $code = 0 ]
check "nothing was lost" [ "$(field fragments_persisted)" = "$(field fragments_sealed)" ]
stop_serving

config "size = 320x180" "rate = 30"
sed -i 's/stop_timeout = 10s/stop_timeout = 1s/' "$work/agent.conf"
check "no service at all: exit 3" agent 3 --duration 4s
check "and it says how much is lost" said "fragments were not acknowledged"
exit $failed
