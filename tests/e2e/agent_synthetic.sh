#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Five made-up sources through one agent into three streams, and back: no guest, no device.
command -v ffmpeg >/dev/null || { echo "missing: ffmpeg"; exit 77; }
exec python3 "$(dirname "$0")/agent_synthetic.py"
