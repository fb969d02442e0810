#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# kvsctl against a `kvsd serve` of its own: every command, its JSON, its exit
# codes, and media that comes back frame by frame. O= names the build folder.
set -u
cd "$(dirname "$0")/../.." || exit 1
o=${O:-build}
for tool in ffmpeg ffprobe python3; do
	if ! command -v $tool >/dev/null; then
		echo "$tool is missing"
		exit 77
	fi
done
w=$(mktemp -d)
serve=
second_serve=
cleanup() {
	[ -z "$serve" ] || kill "$serve" 2>/dev/null
	[ -z "$second_serve" ] || kill "$second_serve" 2>/dev/null
	rm -rf "$w"
}
trap cleanup EXIT
failed=0

ok() { echo "ok - $1"; }
not_ok() {
	echo "not ok - $1"
	sed 's/^/#    /' "$w/out" "$w/err" | head -n 30
	failed=1
}
# run CODE NAME ARGUMENT...: kvsctl must exit with CODE
run() {
	want=$1 name=$2
	shift 2
	timeout 60 "$o/kvsctl" "$@" >"$w/out" 2>"$w/err" </dev/null
	got=$?
	if [ $got = "$want" ]; then ok "$name"; else
		echo "exit status $got instead of $want" >>"$w/err"
		not_ok "$name"
	fi
}
# said NAME WORDS: the last run said that on stderr
said() { if grep -qF -- "$2" "$w/err"; then ok "$1"; else not_ok "$1"; fi; }
# json NAME EXPRESSION: true of the last run's stdout, as `d`
json() {
	if python3 -c "import json, sys
d = json.load(open(sys.argv[1]))
sys.exit(0 if ($2) else 1)" "$w/out" 2>>"$w/err"; then ok "$1"; else not_ok "$1"; fi
}
frames() {
	ffprobe -v error -count_packets -select_streams "$2" -show_entries \
		stream=nb_read_packets -of csv=p=0 "$1" 2>>"$w/err" | head -n 1
}
# count NAME FILE STREAM FRAMES
count() {
	got=$(frames "$2" "$3")
	if [ "$got" = "$4" ]; then ok "$1"; else
		echo "$got frames instead of $4" >>"$w/err"
		not_ok "$1"
	fi
}

ffmpeg -v error -f lavfi -i testsrc2=s=320x180:r=30 -f lavfi -i sine=f=440 -t 8 \
	-c:v libx264 -preset ultrafast -bf 0 -g 30 -pix_fmt yuv420p -c:a aac "$w/in.mkv" &&
	ffmpeg -v error -f lavfi -i testsrc2=s=320x180:r=30 -t 2 -c:v libx264 -bf 2 \
		-pix_fmt yuv420p "$w/b-frames.mkv" || exit 1

# --- without a service
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE AWS_REGION \
	AWS_DEFAULT_REGION AWS_ENDPOINT_URL AWS_CA_BUNDLE AWS_CONFIG_FILE
export HOME="$w" AWS_SHARED_CREDENTIALS_FILE="$w/none"
run 0 "help" help
run 0 "help of a command" put --help
for topic in streams create-stream describe-stream delete-stream put get fragments clip \
	export devices doctor help credentials times exit-codes; do
	run 0 "help $topic" help $topic
done
run 2 "no command is a usage error" --json
run 2 "an unknown command is a usage error" gte
run 2 "an unknown option is a usage error" streams --jsno
run 2 "a missing operand is a usage error" put front
run 2 "a bad name is a usage error" describe-stream 'a b'
run 0 "devices" devices --json
json "devices prints JSON" "isinstance(d['devices'], list)"
run 4 "no credentials" streams --endpoint-url https://127.0.0.1:9
said "no credentials: says where they come from" AWS_SHARED_CREDENTIALS_FILE
export AWS_ACCESS_KEY_ID=AKIDEXAMPLE AWS_SECRET_ACCESS_KEY=not-a-real-secret
run 2 "neither endpoint nor region" streams
run 2 "plain HTTP is refused" streams --endpoint-url http://127.0.0.1:9
run 5 "nothing listens" streams --endpoint-url https://127.0.0.1:9
python3 -c '
import socket, time
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
time.sleep(60)' >"$w/port" &
silent=$!
tries=0
until [ -s "$w/port" ] || [ $tries = 100 ]; do
	tries=$((tries + 1))
	sleep 0.1
done
run 6 "a service that does not answer" streams --timeout 300ms \
	--endpoint-url "https://127.0.0.1:$(cat "$w/port")"
kill $silent 2>/dev/null
wait $silent 2>/dev/null
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY

# --- with one
"$o/kvsd" serve --quickstart "$w/data" --listen 127.0.0.1:0 >"$w/ready" 2>"$w/serve.log" &
serve=$!
tries=0
until [ -s "$w/ready" ]; do
	tries=$((tries + 1))
	if [ $tries -gt 300 ] || ! kill -0 $serve 2>/dev/null; then
		echo "not ok - the service starts"
		cat "$w/serve.log"
		exit 1
	fi
	sleep 0.1
done
AWS_ENDPOINT_URL=$(sed -n 's/.*"endpoint": *"\([^"]*\)".*/\1/p' "$w/ready")
export AWS_ENDPOINT_URL AWS_SHARED_CREDENTIALS_FILE="$w/data/credentials"
run 5 "an unknown CA" streams
said "an unknown CA: says what to do" --ca-bundle
run 7 "a CA bundle that is not there" streams --ca-bundle "$w/nothing.pem"
export AWS_CA_BUNDLE="$w/data/ca.pem"
run 4 "an unknown profile" streams --profile nobody
AWS_ACCESS_KEY_ID=AKIDEXAMPLE AWS_SECRET_ACCESS_KEY=x run 4 "an unknown key" streams
key=$(sed -n 's/^aws_access_key_id *= *//p' "$w/data/credentials" | head -n 1)
AWS_ACCESS_KEY_ID=$key AWS_SECRET_ACCESS_KEY=wrong run 4 "a wrong secret" streams
run 4 "a wrong region" streams --region eu-south-9

run 3 "a stream that is not there" describe-stream front
said "a stream that is not there: says how to make it" "kvsctl create-stream front"
run 3 "put into no stream" put front "$w/in.mkv"
run 0 "create-stream" create-stream front --retention 24h --media-type video/h264,audio/aac \
	--tag place=door --tag floor=1 --json
json "create-stream prints the ARN" "d['StreamARN'].startswith('arn:aws:kinesisvideo:')"
run 1 "create-stream twice" create-stream front
run 0 "create-stream --if-not-exists" create-stream front --if-not-exists
run 0 "describe-stream" describe-stream front --json
json "describe-stream shows what was asked for" "d['DataRetentionInHours'] == 24 and
	d['MediaType'] == 'video/h264,audio/aac' and d['Status'] == 'ACTIVE'"
run 0 "streams" streams --json
json "streams lists it" "[s['StreamName'] for s in d['StreamInfoList']] == ['front']"
run 0 "streams --prefix" streams --prefix back --json
json "streams --prefix leaves it out" "d['StreamInfoList'] == []"
run 3 "clip of an empty stream" clip front -o "$w/none.mp4"
run 3 "get --no-follow of an empty stream" get front --no-follow -o "$w/none.mkv"

run 7 "put of no file" put front "$w/nothing.mkv"
run 7 "put of no Matroska" put front "$0"
run 0 "create-stream for B-frames" create-stream reordered --retention 1h
run 0 "put of B-frames" put reordered "$w/b-frames.mkv" --json
json "put of B-frames: every frame" "d['Frames'] == 60 and d['Persisted'] == d['Fragments']"
run 0 "describe-stream --playback" describe-stream reordered --playback --json
json "a stream that plays" "d['Playback']['ClipTracks'] and
	[(t['TrackNumber'], t['CodecId'], t['Playable']) for t in d['Playback']['Tracks']] ==
	[(1, 'V_MPEG4/ISO/AVC', True)]"
run 0 "create-stream for a codec private in Annex B" create-stream annexb --retention 1h
run 0 "playback of an empty stream" describe-stream annexb --playback --json
json "playback of an empty stream: not known" "d['Playback'] is None"
PYTHONPATH=tests/support python3 -c '
import random, sys, time
import matroska as mkv
rng, at = random.Random(1), int(time.time() * 1000) - 5000
sys.stdout.buffer.write(mkv.header([mkv.track(
    1, mkv.VIDEO, "V_MPEG4/ISO/AVC", b"\0\0\0\1\x67\x42\xc0\x0d")]) + b"".join(
    mkv.fragment(rng, at + 1000 * i) for i in range(3)))' >"$w/annexb.mkv"
run 0 "put of a codec private in Annex B" put annexb "$w/annexb.mkv"
run 0 "playback of a codec private in Annex B" describe-stream annexb --playback --json
json "playback says why it does not" "not d['Playback']['Tracks'][0]['Playable'] and
	'Annex B' in d['Playback']['Tracks'][0]['Verdict']"
if grep -q "stream=annexb track=1 codec=h264 will not play.*Annex B" "$w/serve.log"; then
	ok "the service logs it at ingest"
else
	not_ok "the service logs it at ingest"
fi
run 0 "delete-stream of that" delete-stream annexb
run 0 "clip of B-frames" clip reordered -o "$w/b-frames.mp4"
pictures() { ffmpeg -v error -i "$1" -map 0:v -f framemd5 - </dev/null | sed -n 's/.*, //p' | md5sum; }
if [ "$(pictures "$w/b-frames.mkv")" = "$(pictures "$w/b-frames.mp4")" ]; then
	ok "B-frames come back in their order"
else
	not_ok "B-frames come back in their order"
fi
run 0 "delete-stream of B-frames" delete-stream reordered
run 0 "put" put front "$w/in.mkv" --json
json "put: all is persisted" "d['Fragments'] == d['Persisted'] == 4 and
	d['Unacknowledged'] == 0 and d['Errors'] == 0"
run 0 "fragments" fragments front --json
json "fragments: oldest first" "len(d['Fragments']) == 4 and d['Fragments'] == sorted(
	d['Fragments'], key=lambda f: f['ProducerTimestamp'])"
second=$(python3 -c 'import json, sys
print(json.load(open(sys.argv[1]))["Fragments"][1]["FragmentNumber"])' "$w/out")
run 0 "fragments as a table" fragments front
[ "$(wc -l <"$w/out")" = 5 ] && ok "fragments: a head and a line each" ||
	not_ok "fragments: a head and a line each"

run 0 "clip" clip front -o "$w/clip.mp4" --json
count "clip: every video frame" "$w/clip.mp4" v 240
[ ! -e "$w/clip.mp4.part" ] && ok "clip: no partial file" || not_ok "clip: no partial file"
run 3 "clip of another time" clip front --from 2020-01-01T00:00:00Z --to 2020-01-01T01:00:00Z \
	-o "$w/none.mp4"
[ ! -e "$w/none.mp4" ] && ok "a failed clip leaves nothing" || not_ok "a failed clip leaves nothing"
run 0 "get" get front --start EARLIEST --no-follow -o "$w/get.mkv" --json
json "get: all fragments" "d['Fragments'] == 4"
count "get: every video frame, one document" "$w/get.mkv" v 240
run 0 "get --raw" get front --start EARLIEST --no-follow --raw -o "$w/raw.mkv"
documents=$(python3 -c 'import sys
print(open(sys.argv[1], "rb").read().count(b"\x1a\x45\xdf\xa3"))' "$w/raw.mkv")
[ "$documents" = 4 ] && ok "get --raw: a document per fragment" ||
	not_ok "get --raw: $documents documents"
run 0 "get --count" get front --start EARLIEST --count 2 -o "$w/two.mkv"
count "get --count: so many fragments" "$w/two.mkv" v 120
run 0 "get --duration" get front --start EARLIEST --duration 3s -o "$w/three.mkv"
count "get --duration: up to the fragment's end" "$w/three.mkv" v 120
run 0 "get after a fragment" get front --start "fragment:$second" --no-follow -o "$w/rest.mkv"
count "get after a fragment: the rest" "$w/rest.mkv" v 120
run 0 "get after a token" get front --start "token:$second" --no-follow -o "$w/rest.mkv"
timeout 60 "$o/kvsctl" get front --start EARLIEST 2>"$w/err" | head -c 1000 >"$w/out"
[ "$(wc -c <"$w/out")" = 1000 ] && [ ! -s "$w/err" ] && ok "get into a pipe that closes" ||
	not_ok "get into a pipe that closes"

# What was read goes back in under its own times.
run 0 "put --create" put back "$w/get.mkv" --create --retention 1h
run 0 "fragments of the copy" fragments back --json
cp "$w/out" "$w/back.json"
run 0 "fragments of the original" fragments front --json
python3 - "$w/out" "$w/back.json" 2>>"$w/err" <<'P' && ok "put keeps the dates of a file" || not_ok "put keeps the dates of a file"
import json, sys
a, b = ([f["ProducerTimestamp"] for f in json.load(open(p))["Fragments"]] for p in sys.argv[1:])
sys.exit(0 if a == b else 1)
P
"$o/kvsctl" put back - --timestamps 2025-01-02T03:04:05Z <"$w/in.mkv" >"$w/out" 2>"$w/err" &&
	ok "put of a pipe" || not_ok "put of a pipe"
run 0 "fragments of a range" fragments back --from 2025-01-02T03:04:05Z --to 2025-01-02T03:04:06Z --json
json "put --timestamps TIME" "[f['ProducerTimestamp'] for f in d['Fragments']] == [1735787045.0]"
head -c 150000 "$w/in.mkv" | "$o/kvsctl" put back - >"$w/out" 2>"$w/err"
[ $? = 7 ] && grep -q "what is whole was uploaded" "$w/err" && ok "put of a cut pipe" ||
	not_ok "put of a cut pipe"

# A reader that is there first sees what comes.
timeout 60 "$o/kvsctl" get front --start NOW --duration 3s -o "$w/live.mkv" 2>"$w/err" &
reader=$!
timeout 60 "$o/kvsctl" put front "$w/in.mkv" --realtime >"$w/out" 2>>"$w/err" &&
	ok "put --realtime" || not_ok "put --realtime"
wait $reader && ok "get --start NOW" || not_ok "get --start NOW"

# --- export here, import there: the same rows, the same bytes
# other: a service in $w/other, as the one that kvsctl speaks to
other() {
	rm -f "$w/ready2"
	"$o/kvsd" serve --quickstart "$w/other" --listen 127.0.0.1:0 >"$w/ready2" 2>>"$w/serve.log" &
	second_serve=$!
	tries=0
	until [ -s "$w/ready2" ] || [ $tries = 300 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
	AWS_ENDPOINT_URL=$(sed -n 's/.*"endpoint": *"\([^"]*\)".*/\1/p' "$w/ready2")
	AWS_SHARED_CREDENTIALS_FILE="$w/other/credentials" AWS_CA_BUNDLE="$w/other/ca.pem"
}
other_ends() {
	kill $second_serve
	wait $second_serve
	AWS_ENDPOINT_URL=$first_url AWS_SHARED_CREDENTIALS_FILE="$w/data/credentials"
	AWS_CA_BUNDLE="$w/data/ca.pem"
}
# import CODE NAME WORDS FILE ARGUMENT...: kvsd import into $w/other
import() {
	want=$1 name=$2 words=$3 file=$4
	shift 4
	timeout 60 "$o/kvsd" import "$w/other" "$file" "$@" >"$w/out" 2>"$w/err"
	got=$?
	if [ $got = "$want" ] && cat "$w/out" "$w/err" | grep -qF -- "$words"; then ok "$name"; else
		echo "exit status $got instead of $want, or no '$words'" >>"$w/err"
		not_ok "$name"
	fi
}
# flip FILE OFFSET COPY: the byte there is another one in the copy
flip() {
	python3 -c 'import sys
b = bytearray(open(sys.argv[1], "rb").read())
b[int(sys.argv[2])] ^= 0x40
open(sys.argv[3], "wb").write(b)' "$@"
}
everything() { # FOLDER: what a reader can ask for
	"$o/kvsctl" fragments front --json >"$w/$1.json" &&
		"$o/kvsctl" get front --start EARLIEST --no-follow --raw -o "$w/$1.raw" &&
		"$o/kvsctl" clip front -o "$w/$1.mp4" && python3 - "$w/$1.raw" <<'P'
import re, sys
body = open(sys.argv[1], "rb").read()
# How far behind now the reader was is not the fragment's; its size neither.
body = re.sub(rb"(?s)\x12\x54\xc3\x67.{4,40}AWS_KINESISVIDEO_MILLIS_BEHIND_NOW\x44\x87.\d+", b"", body)
open(sys.argv[1], "wb").write(body)
P
}
first_url=$AWS_ENDPOINT_URL
timeout 60 "$o/kvsd" hold add "$w/data" front evidence --to 2001-01-01T00:00:00Z >"$w/out" 2>"$w/err" &&
	timeout 60 "$o/kvsd" hold list "$w/data" front --json >"$w/holds.json" 2>"$w/err" &&
	timeout 60 "$o/kvsd" hold remove "$w/data" front evidence >"$w/out" 2>"$w/err" &&
	ok "a legal hold, listed as JSON" || not_ok "a legal hold, listed as JSON"
run 7 "export with holds that are none" export front -o "$w/nothing.tar" --holds "$w/in.mkv"
run 0 "export" export front -o "$w/front.tar" --json --holds "$w/holds.json"
json "export: every fragment" "d['Fragments'] == 8 and d['Expired'] == 0"
run 3 "export of a stream that is not there" export nothing -o "$w/nothing.tar"
[ ! -e "$w/nothing.tar" ] && ok "a failed export leaves nothing" ||
	not_ok "a failed export leaves nothing"
mkdir "$w/tar" && tar -C "$w/tar" -xf "$w/front.tar" && (cd "$w/tar/fragments" &&
	python3 -c 'import hashlib, json, sys
rows = [json.loads(line) for line in open("../manifest.jsonl")]
ok = [hashlib.sha256(open(r["FragmentNumber"] + ".mkv", "rb").read()).hexdigest() == r["SHA256"]
      for r in rows[:-1]]
sys.exit(0 if all(ok) and rows[-1]["Fragments"] == len(ok) == 8 else 1)') &&
	ok "export: tar and JSON as documented" || not_ok "export: tar and JSON as documented"
count "export: a fragment plays by itself" "$(ls -d "$w"/tar/fragments/* | head -n 1)" v 60
everything here && other && other_ends || not_ok "the second service starts"
at=$(grep -abo 'fragments/' "$w/front.tar" | sed -n '3s/:.*//p')
flip "$w/front.tar" $((at + 512 + 5000)) "$w/media.tar"
import 1 "import: a damaged fragment" "byte $((at + 512)): fragment " "$w/media.tar"
flip "$w/front.tar" $((at + 20)) "$w/header.tar"
import 1 "import: a damaged header" "byte $at: " "$w/header.tar"
head -c $((at + 9000)) "$w/front.tar" >"$w/cut.tar"
import 1 "import: a file that is cut off" "byte $at: " "$w/cut.tar"
head -c "$at" "$w/front.tar" >"$w/cut.tar"
import 1 "import: a file that is cut off between two fragments" "byte $at: " "$w/cut.tar"
line=$(grep -abo '"SHA256":"' "$w/front.tar" | sed -n '2s/:.*//p')
flip "$w/front.tar" $((line + 12)) "$w/line.tar"
import 1 "import: a damaged manifest" "byte " "$w/line.tar"
at=$(grep -abo '"door"' "$w/front.tar" | sed -n '1s/:.*//p')
flip "$w/front.tar" $((at + 2)) "$w/stream.tar"
import 1 "import: a damaged description" "byte 512: stream.json is damaged" "$w/stream.tar"
# craft KIND COPY: a sound file, of which the first fragment is not what it should be
craft() {
	python3 - "$w/front.tar" "$@" <<'P'
import hashlib, io, json, sys, tarfile
source, kind, target = sys.argv[1:]
old = tarfile.open(source)
parts = [[m.name, old.extractfile(m).read()] for m in old.getmembers() if m.isfile()]
first = next(p for p in parts if p[0].startswith("fragments/"))
manifest = next(p for p in parts if p[0].endswith("manifest.jsonl"))
lines = [json.loads(line) for line in manifest[1].splitlines()]
row = next(r for r in lines if first[0].endswith(r.get("FragmentNumber", "-") + ".mkv"))
if kind == "clusters":
    first[1] += first[1][first[1].index(bytes.fromhex("1f43b675")):]
elif kind == "holds":  # one that could not be set by hand
    stream = next(p for p in parts if p[0].endswith("stream.json"))
    stream[1] = stream[1].replace(b'"evidence"', b'"evi dence"')
    lines[-1]["StreamSHA256"] = hashlib.sha256(stream[1]).hexdigest()
else:  # a number that only so many starts could follow
    number = int(row["FragmentNumber"])
    low = number & (1 << 92) - 1
    new = str(1 << 156 | 1700000000000000000 - (4 << 32) << 92 | low)
    first[1] = first[1].replace(row["FragmentNumber"].encode(), new.encode())
    first[0] = first[0].replace(row["FragmentNumber"], new)
    row["FragmentNumber"] = new
grown = len(first[1]) - next(m.size for m in old.getmembers() if m.name.startswith("fragments/") and m.isfile())
row["SHA256"] = hashlib.sha256(first[1]).hexdigest()
for key, value in row.items():
    if key.endswith("Bytes") or key == "Size":
        row[key] = len(first[1])
for key in lines[-1]:
    if key.endswith("Bytes"):
        lines[-1][key] += grown
manifest[1] = b"".join(json.dumps(r, separators=(",", ":")).encode() + b"\n" for r in lines)
with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as new:
    for name, content in parts:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        new.addfile(info, io.BytesIO(content))
P
}
craft clusters "$w/clusters.tar"
import 1 "import: two Clusters are refused before the first is stored" \
	"it is not what GetMediaForFragmentList gives" "$w/clusters.tar"
craft number "$w/number.tar"
import 1 "import: a number that only so many starts could follow" "no number could follow it" "$w/number.tar"
craft holds "$w/badhold.tar"
import 1 "import: a hold that is none" "stream.json does not describe a stream" "$w/badhold.tar"
import 2 "import: a bad name is a usage error" usage "$w/front.tar" --stream 'a b'
import 0 "import, and nothing of the damaged ones was there" \
	"8 fragments imported, 0 were there" "$w/front.tar"
import 0 "import again changes nothing" "0 fragments imported, 8 were there" "$w/front.tar"
import 0 "import under another name" "stream back: 8 fragments" "$w/front.tar" --stream back \
	--retention 48
timeout 60 "$o/kvsd" fsck "$w/other" --level media >"$w/out" 2>"$w/err" &&
	ok "fsck after import" || not_ok "fsck after import"
grep -q "^stream front: hold evidence from the beginning to 2001-01-01T00:00:00" "$w/out" &&
	grep -q "^stream back: hold evidence " "$w/out" &&
	ok "fsck lists the holds that were imported" || not_ok "fsck lists the holds that were imported"
other
run 0 "describe-stream after import" describe-stream front --json
json "import keeps retention and media type" "d['DataRetentionInHours'] == 24 and
	d['MediaType'] == 'video/h264,audio/aac'"
run 0 "describe-stream after import under another name" describe-stream back --json
json "import --retention" "d['DataRetentionInHours'] == 48"
everything there && for part in json raw mp4; do
	cmp "$w/here.$part" "$w/there.$part" >>"$w/err" 2>&1 && ok "import: the same $part" ||
		not_ok "import: the same $part"
done
run 0 "export of the import" export front -o "$w/again.tar"
# The last line is about stream.json, which has another ARN there.
mkdir "$w/tar2" && tar -C "$w/tar2" -xf "$w/again.tar" && head -n 8 "$w/tar/manifest.jsonl" >"$w/8" &&
	head -n 8 "$w/tar2/manifest.jsonl" | cmp "$w/8" - >>"$w/err" 2>&1 && grep -q '"place": "door"' "$w/tar2/stream.json" &&
	ok "export of the import is the same" || not_ok "export of the import is the same"
run 0 "put after import" put front "$w/in.mkv" --json
json "numbers go on after an import" "d['Persisted'] == 4"
run 0 "fragments after both" fragments front --by server --json
json "numbers go on above the imported ones" "(lambda n: len(n) == 12 and n == sorted(n))(
	[f['FragmentNumber'] for f in d['Fragments']])"
other_ends

run 1 "delete-stream of another version" delete-stream front --if-version 1
run 0 "delete-stream" delete-stream front
run 3 "a deleted stream is gone" describe-stream front

secret=$(sed -n 's/^aws_secret_access_key *= *//p' "$w/data/credentials" | head -n 1)
if grep -rqF -- "$secret" "$w/serve.log" "$w/out" "$w/err"; then
	not_ok "the secret key is printed nowhere"
else
	ok "the secret key is printed nowhere"
fi
exit $failed
