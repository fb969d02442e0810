#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The examples, built from an installed tree, on two virtual cameras in a guest; what one of them recorded,
# uploaded and read again. O=build.
set -eu

if [ "${1:-}" = inside ]; then
	export LD_LIBRARY_PATH="$2/usr/lib"
	cd /tmp
	"$2/grab_dmabuf" vivid-000 12 >grab.txt || { cat grab.txt; echo "not ok - grab_dmabuf"; exit 1; }
	python3 - <<'PY'
import re, sys
text = open("grab.txt").read()
frames = re.findall(r"^frame (\d+): (\S+) (\d+)x(\d+), modifier 0x0, [\d.]+ s monotonic$", text, re.M)
planes = [tuple(map(int, p)) for p in re.findall(
    r"plane \d+: dma-buf (-?\d+), offset (\d+), stride (\d+), (\d+) of (\d+) bytes", text)]
good = len(frames) == 12 and planes and all(fd >= 0 and stride > 0 and 0 < used <= size - offset
                                            for fd, offset, stride, used, size in planes)
# Six buffers, two held: the rest goes round, so descriptors come again, but never one that is held.
fds = [p[0] for p in planes[::max(1, len(planes) // 12)]]
held = any(a in fds[max(0, i - 2):i] for i, a in enumerate(fds))
print("ok - grab_dmabuf: 12 frames, each with its dma-buf" if good else f"not ok - grab_dmabuf: {text}")
print("not ok - a held buffer came again" if held else "ok - no held buffer comes again")
print("ok - buffers go round" if len(set(fds)) <= 6 else "not ok - buffers do not go round")
sys.exit(not good or held)
PY
	"$2/grab_dmabuf" "no such camera" 1 2>/dev/null && { echo "not ok - it found what is not there"; exit 1; }
	echo "ok - an unknown camera is refused"
	python3 "$3/tests/e2e/record_pair.py" "$2/record_pair" pair.mkv /dev/video0 /dev/video1 5
	PATH="$2/usr/bin:$PATH"
	work=$(mktemp -d)
	kvsd serve --quickstart "$work/service" --listen 127.0.0.1:0 >"$work/ready" 2>/dev/null &
	service=$!
	until [ -s "$work/ready" ]; do sleep 0.1; done
	AWS_ENDPOINT_URL=$(sed -n 's/.*"endpoint": *"\([^"]*\)".*/\1/p' "$work/ready")
	AWS_CA_BUNDLE=$work/service/ca.pem
	AWS_SHARED_CREDENTIALS_FILE=$work/service/credentials
	export AWS_ENDPOINT_URL AWS_CA_BUNDLE AWS_SHARED_CREDENTIALS_FILE
	kvsctl put pair pair.mkv --create --json >"$work/put.json"
	kvsctl get pair --start EARLIEST --no-follow --raw -o "$work/get.mkv" 2>/dev/null
	kill $service
	wait $service
	for f in pair.mkv "$work/get.mkv"; do
		# A line per packet: its track, its size, its hash; no times.
		for track in 0 1; do
			ffmpeg -v error -nostdin -i "$f" -map 0:$track -c copy -f framemd5 - |
				sed -n 's/^0,.*, *\([0-9]*\), *\([0-9a-f]\{32\}\).*/'$track' \1 \2/p'
		done >"$work/$(basename "$f").packets"
	done
	exec python3 - "$work" <<'PY'
import json, sys
work = sys.argv[1]
put = json.load(open(f"{work}/put.json"))
there, back = (open(f"{work}/{name}.mkv.packets").read().splitlines() for name in ("pair", "get"))
good = put["Persisted"] == put["Fragments"] > 0 and put["Frames"] == len(there)
print("ok - kvsctl put uploads what was recorded" if good else f"not ok - kvsctl put: {put}, {len(there)} frames")
same = there == back and {l[0] for l in there} == {"0", "1"}
print(f"ok - and each of {len(there)} frames comes back" if same else
      f"not ok - frames come back: {len(back)} of {len(there)}")
sys.exit(not (good and same))
PY
fi

cd "$(dirname "$0")/../.."
o=${O:-build}
d=$(mktemp -d)
trap 'rm -rf "$d"' EXIT
make -s O="$o" DESTDIR="$d" PREFIX=/usr install >/dev/null
export PKG_CONFIG_PATH="$d/usr/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$d"
for x in grab_dmabuf record_pair; do
	# shellcheck disable=SC2046
	gcc $(pkg-config --cflags libcapture libkvsproducer) "$d/usr/share/doc/kvsd/examples/$x.c" -o "$d/$x" \
		$(pkg-config --libs libcapture libkvsproducer)
done
tests/hil/guest run --engine uml --clock "${CLOCK:-virtual}" --timeout 400 --mem 768M --modules "vivid n_devs=2 node_types=0x1,0x1" -- \
	sh tests/hil/test_examples.sh inside "$d" "$PWD"
