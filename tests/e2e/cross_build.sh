#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# libcapture, libkvsproducer and the agent build for arm64 with warnings as errors.
set -eu
cd "$(dirname "$0")/../.."
command -v aarch64-linux-gnu-gcc >/dev/null || { echo "aarch64-linux-gnu-gcc is missing"; exit 77; }
root=$(tools/dev/arm64-sysroot)
lib=$root/usr/lib/aarch64-linux-gnu
o=build-arm64
PKG_CONFIG_LIBDIR=$lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root \
make -s -j"$(nproc)" O=$o CROSS_COMPILE=aarch64-linux-gnu- PKG_CONFIG=pkg-config WERROR=1 \
	PARTS="capture producer agent" \
	CPPFLAGS="-isystem $root/usr/include -isystem $root/usr/include/aarch64-linux-gnu" \
	LDFLAGS="-L$lib -Wl,-rpath-link,$lib" all
for f in kvsd libcapture.so.* libkvsproducer.so.*; do
	for path in "$o"/$f; do
		machine=$(aarch64-linux-gnu-readelf -h "$path" | sed -n 's/.*Machine: *//p')
		if [ "$machine" = AArch64 ]; then
			echo "ok - $path is for AArch64"
		else
			echo "not ok - $path is for $machine"
			exit 1
		fi
	done
done
