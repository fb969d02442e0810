#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Five made-up sources and two of records through one agent into four streams, and back: in a guest for its clock, which
# waits for the programs. An encoder that cannot follow: outside it. O=build: where the programs are.
cd "$(dirname "$0")/../.." || exit 1
O=$(cd "${O:-build}" && pwd) || exit 1
export O
command -v ffmpeg >/dev/null || { echo "missing: ffmpeg"; exit 77; }
failed=0
python3 tests/e2e/agent_synthetic.py slow || failed=1
tests/hil/guest run --engine uml --clock virtual --mem 1G --timeout 500 --env AUDIO="${AUDIO:-alaw}" -- \
	python3 tests/e2e/agent_synthetic.py tracks || failed=1
exit $failed
