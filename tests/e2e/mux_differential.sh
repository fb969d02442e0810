#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Our Matroska reader, Matroska writer and MP4 writer against libavformat and mkvtoolnix: files made
# by ffmpeg, mkvmerge and (where it is installed) GStreamer have the frames that ffprobe sees, and
# what we write from them has the same frames, decodes to the same pictures and reads without complaint.
set -eu
cd "$(dirname "$0")/../.."
o=${O:-build}
for tool in ffmpeg ffprobe mkvmerge mkvinfo; do
	command -v $tool >/dev/null || { echo "$tool is missing"; exit 77; }
done
make -s O="$o" "$o/tests/mkvdump" "$o/tests/mkvremux" >/dev/null
o=$(cd "$o" && pwd)
d=$(mktemp -d)
trap 'rm -rf "$d"' EXIT
cd "$d"
failed=0
tolerance=0

result() { # STATUS TEXT
	if [ "$1" = 0 ]; then echo "ok - $2"; else echo "not ok - $2"; failed=1; fi
}
same() { # FILE FILE TEXT
	if diff "$1" "$2" >diff.txt; then result 0 "$3"; else result 1 "$3"; head -n 10 diff.txt; fi
}
# The same tracks, sizes and key flags in the same order, times within $tolerance ms
near() { # FILE FILE TEXT
	if paste -d ' ' "$1" "$2" | awk -v t="$tolerance" '
		NF != 8 || $1 != $5 || $3 != $7 || $4 != $8 || $2 > $6 + t || $6 > $2 + t { print; bad = 1 }
		END { exit bad }' >diff.txt; then result 0 "$3"; else result 1 "$3"; head -n 10 diff.txt; fi
}
ff() { ffmpeg -nostdin -hide_banner -loglevel error -y "$@"; }

# TRACK PTS_MS BYTES KEY, in file order, as ffprobe sees it
probe() {
	ffprobe -v error -show_entries packet=stream_index,pts_time,size,flags -of csv=p=0 "$1" |
		awk -F, '{ printf "%d %d %d %d\n", $1 + 1, $2 * 1000 + 0.5, $3, substr($4, 1, 1) == "K" }'
}
# The same as our reader sees it; $2: bytes fed at a time
ours() {
	"$o/tests/mkvdump" -s "$2" <"$1" |
		awk '$1 == "frame" { printf "%d %d %d %d\n", $2, $3 / 1e6 + 0.5, $4, $5 }'
}
payloads() { "$o/tests/mkvdump" <"$1" | awk '$1 == "frame" { print $2, int($3 / 1e6), $4, $5, $6 }'; }
pictures() { ff -i "$1" -map 0:v -fps_mode passthrough -f md5 -; }

# check FILE mp4|mkv: mp4 also when its codecs fit
check() {
	f=$1
	probe "$f.mkv" >probe.txt
	[ -s probe.txt ] || { result 1 "$f: has frames"; return; }
	ours "$f.mkv" 65536 >ours.txt
	near probe.txt ours.txt "$f: our reader sees ffprobe's $(wc -l <probe.txt) frames"
	ours "$f.mkv" 7 >ours.txt
	near probe.txt ours.txt "$f: the same fed 7 bytes at a time"

	r=0
	"$o/tests/mkvremux" mkv <"$f.mkv" >out.mkv || r=1
	result $r "$f: written again as Matroska"
	probe out.mkv >again.txt
	near probe.txt again.txt "$f: ffprobe sees the same in our Matroska"
	payloads "$f.mkv" >payloads.txt
	payloads out.mkv >again.txt
	same payloads.txt again.txt "$f: the payloads are the same"
	r=0
	mkvinfo out.mkv >info.txt 2>&1 || r=1
	grep -v 'size unknown' info.txt | grep -qi 'error\|unknown' && r=1
	mkvmerge -q -o merged.mkv out.mkv >merge.txt 2>&1 || r=1
	result $r "$f: mkvinfo and mkvmerge read our Matroska without a warning"
	[ $r = 0 ] || grep -i 'error\|warning\|unknown' info.txt merge.txt

	[ "$2" = mp4 ] || return 0
	r=0
	"$o/tests/mkvremux" mp4 <"$f.mkv" >out.mp4 || r=1
	result $r "$f: written as MP4"
	probe out.mp4 >again.txt
	near probe.txt again.txt "$f: ffprobe sees the same in our MP4"
	pictures "$f.mkv" >pictures.txt
	pictures out.mp4 >again.txt
	same pictures.txt again.txt "$f: our MP4 decodes to the same pictures"
	r=0
	ff -i out.mp4 -f null - 2>decode.txt || r=1
	[ ! -s decode.txt ] || r=1
	result $r "$f: our MP4 decodes without a complaint"
}

video="-f lavfi -i testsrc=s=320x240:r=25:d=3"
# shellcheck disable=SC2086 # several words on purpose
{
	ff $video -f lavfi -i sine=d=3 -c:v libx264 -g 25 -bf 2 -pix_fmt yuv420p -c:a aac avc_aac.mkv
	ff -i avc_aac.mkv -c copy -f matroska - | cat >avc_aac_piped.mkv
	ff $video -f lavfi -i sine=d=3:r=8000 -c:v libx264 -bf 0 -pix_fmt yuv420p -c:a pcm_alaw avc_alaw.mkv
	ff $video -c:v libx265 -x265-params log-level=none -pix_fmt yuv420p hevc.mkv
	ff $video -c:v mjpeg -pix_fmt yuvj420p mjpeg.mkv
}
mkvmerge -q -o avc_aac_laced.mkv avc_aac.mkv

check avc_aac mp4
check avc_aac_piped mp4
# libavformat steps through a lace of eight in whole milliseconds, we in nanoseconds.
tolerance=2
check avc_aac_laced mp4
tolerance=0
check avc_alaw mp4
check hevc mp4
check mjpeg mkv

if gst-inspect-1.0 matroskamux >/dev/null 2>&1; then
	# Raw pictures need no encoder plugin; the files differ in how sizes are written.
	source="videotestsrc num-buffers=30 ! video/x-raw,format=I420,width=64,height=48,framerate=30/1"
	# shellcheck disable=SC2086
	{
		gst-launch-1.0 -q $source ! matroskamux ! filesink location=gst.mkv
		gst-launch-1.0 -q $source ! matroskamux streamable=true ! filesink location=gst_streamable.mkv
	}
	check gst mkv
	check gst_streamable mkv
fi
exit $failed
