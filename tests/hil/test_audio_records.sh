#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sources that are no cameras, on a real kernel: audio through snd-aloop,
# records by tty, pipe, SPI and UDP, scans of an industrial I/O device.
# O=build: where the programs are.
set -eu
here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$here"
O=$(cd "${O:-build}" && pwd)
export O
[ -x "$O/tests/source_probe" ] || { echo "no $O/tests/source_probe: make first" >&2; exit 1; }
tests/hil/guest prepare uml >/dev/null
radar=$(tests/hil/guest kmod uml tests/hil/spiradar)
exec tests/hil/guest run --engine uml --clock "${CLOCK:-virtual}" --timeout 500 \
	--modules "snd-aloop,iio_dummy,iio-trig-hrtimer,spidev,$radar" -- \
	python3 tests/hil/audio_records_check.py "$O/tests/source_probe"
