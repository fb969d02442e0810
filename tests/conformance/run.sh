#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh: unmodified Amazon SDKs against `kvsd serve`. The packages that
# package-lock.json pins are installed once, outside the source tree; without
# a network the second run works from there. $O names the build folder.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
for tool in node npm python3 ffmpeg ffprobe; do
	if ! command -v "$tool" >/dev/null; then
		echo "$tool is missing"
		exit 77
	fi
done
cache=${XDG_CACHE_HOME:-$HOME/.cache}/kvsd/npm
key=$(cat "$here/package.json" "$here/package-lock.json" | sha256sum |
	cut -c1-16)
packages=$cache/$key
if [ ! -e "$packages/.complete" ]; then
	rm -rf "$packages.$$"
	mkdir -p "$packages.$$"
	cp "$here/package.json" "$here/package-lock.json" "$packages.$$/"
	if ! (cd "$packages.$$" && npm ci --ignore-scripts --no-audit \
		--no-fund --prefer-offline --cache "$cache/_cacache" \
		>npm.log 2>&1); then
		tail -n 5 "$packages.$$/npm.log"
		rm -rf "$packages.$$"
		echo "npm ci could not fetch the packages"
		exit 77
	fi
	touch "$packages.$$/.complete"
	rm -rf "$packages"
	mv "$packages.$$" "$packages"
fi
exec python3 "$here/sdk_test.py" "$packages/node_modules"
