#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every rung x format x kind of memory of vivid (allocators, cache_hints, both
# plane APIs), in one guest: the module is loaded anew between. Frames are
# compared, byte by byte, with what v4l2-ctl reads; counters say that nothing
# was copied; controls and compliance are the same before and after.
# O=build: where the programs are.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$here"
O=$(cd "${O:-build}" && pwd)
export O
[ -x "$O/tests/capture_probe" ] || {
	echo "no $O/tests/capture_probe: make first" >&2
	exit 1
}
for tool in v4l2-ctl v4l2-compliance; do
	command -v $tool >/dev/null || { echo "no $tool (v4l-utils)"; exit 77; }
done
exec tests/hil/guest run --engine uml --clock "${CLOCK:-virtual}" --mem 768M --timeout 600 \
	--modules "vivid n_devs=1" -- \
	python3 tests/hil/capture_matrix.py "$O/tests/capture_probe"
