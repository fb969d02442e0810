#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The service end to end: create, put, get, list, clip, restart after SIGKILL,
# live tail, delete. Media by ffmpeg; the client shares no code with us.
command -v ffmpeg >/dev/null || { echo "missing: ffmpeg"; exit 77; }
exec python3 "$(dirname "$0")/serve_smoke.py"
