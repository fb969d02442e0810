#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Cameras by the agent to the service and back. One that compresses by itself (tests/hil/codedcam): H.264 with its
# parameter sets in each key frame or in the first alone, and MJPEG, each frame as the camera gave it. A receiver and a
# raw sensor's pipeline that the agent sets up as its config says, and puts back. O=build.
set -eu
cd "$(dirname "$0")/../.."
O=$(cd "${O:-build}" && pwd)
export O
for p in kvsd kvsctl tests/capture_probe; do
	[ -x "$O/$p" ] || { echo "no $O/$p: make first" >&2; exit 1; }
done
command -v ffmpeg >/dev/null || { echo "ffmpeg is missing"; exit 77; }
tests/hil/guest prepare uml >/dev/null
module=$(tests/hil/guest kmod uml tests/hil/codedcam)
exec tests/hil/guest run --engine uml --clock virtual --mem 768M --timeout 500 \
	--modules "vivid n_devs=1 node_types=0x1,vimc,$module" --env "PATH=$O/tests:$O:$PATH" -- \
	python3 tests/hil/agent_cameras.py
