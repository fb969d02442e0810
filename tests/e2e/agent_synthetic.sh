#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Five made-up sources and two of records through one agent into four streams, and back: no guest, no device.
command -v ffmpeg >/dev/null || { echo "missing: ffmpeg"; exit 77; }
exec python3 "$(dirname "$0")/agent_synthetic.py"
