#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# http_differential.sh [CASES [SEED]]: builds the probe, runs it against node's
# llhttp. O= names the build folder.
cd "$(dirname "$0")/../.." || exit 1
o=${O:-build}
if ! command -v node >/dev/null; then
	echo "node is missing (Debian: nodejs)"
	exit 77
fi
make O="$o" "$o/tests/http_probe" >/dev/null || exit 1
node tests/conformance/http_differential.cjs "$o/tests/http_probe" "$@"
