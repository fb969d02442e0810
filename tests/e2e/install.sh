#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# `make install` into a DESTDIR: what a package needs is there, programs link against the installed
# headers and pkg-config files alone, and the libraries export their own names only.
set -eu
cd "$(dirname "$0")/../.."
o=${O:-build}
d=$(mktemp -d)
trap 'rm -rf "$d"' EXIT
make -s O="$o" DESTDIR="$d" PREFIX=/usr install >/dev/null
check() {
	if [ -e "$d/$1" ]; then echo "ok - installed $1"; else echo "not ok - $1 is not installed"; exit 1; fi
}
for f in usr/bin/kvsd usr/bin/kvsctl usr/include/kvs/producer.h usr/include/capture/source.h \
	usr/lib/pkgconfig/libkvsproducer.pc usr/lib/pkgconfig/libcapture.pc usr/lib/libcapture.so \
	usr/lib/libkvsproducer.so lib/udev/rules.d/70-kvsd.rules \
	lib/udev/rules.d/71-kvsd-sensors.rules lib/udev/kvsd-sensor-name usr/lib/sysusers.d/kvsd.conf usr/share/doc/kvsd/agent.conf.example \
	usr/share/doc/kvsd/serve.conf.example lib/systemd/system/kvsd-serve.service \
	lib/systemd/system/kvsd-serve.socket usr/share/man/man8/kvsd-serve.8; do
	check "$f"
done
[ ! -e "$o/libcapture-libcamera.so" ] || check usr/lib/libcapture/libcapture-libcamera.so
cat >"$d/t.c" <<'C'
#include <capture/device.h>
#include <kvs/producer.h>
int main(void)
{
	struct kvs_producer *p = 0;
	struct kvs_producer_config c = { 0 };
	return kvs_producer_new(&c, &p) < 0 ? 0 : 1;
}
C
export PKG_CONFIG_PATH=$d/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$d
for std in c11 c17; do
	# shellcheck disable=SC2046
	gcc -std=$std -pedantic -Wall -Wextra -Werror $(pkg-config --cflags libkvsproducer libcapture) "$d/t.c" \
		-o "$d/t" $(pkg-config --libs libkvsproducer libcapture)
done
LD_LIBRARY_PATH=$d/usr/lib "$d/t" && echo "ok - a program builds and runs against the installed libraries"
examples=$d/usr/share/doc/kvsd/examples
# Of the capture library alone: no more is needed for its frames.
# shellcheck disable=SC2046
gcc -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Werror $(pkg-config --cflags libcapture) "$examples/grab_dmabuf.c" \
	-o "$d/grab" $(pkg-config --libs libcapture)
echo "ok - libcapture's pkg-config file is enough for grab_dmabuf"
soname=$(readelf -d "$d/usr/lib/libcapture.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')
if [ "$soname" = "libcapture.so.${soname##*.}" ] && [ -e "$d/usr/lib/$soname" ] &&
	readelf -d "$d/grab" | grep -q "NEEDED.*\[$soname\]" &&
	nm -D "$d/grab" | grep -q "U capture_source_open@LIBCAPTURE_${soname##*.}" &&
	pkg-config --modversion libcapture | grep -q "^${soname##*.}\.[0-9]"; then
	echo "ok - programs need $soname, and its calls by version"
else
	echo "not ok - programs need '$soname', and its calls by version"
	exit 1
fi
for x in grab_dmabuf record_pair; do
	# shellcheck disable=SC2046
	gcc -std=c11 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Werror $(pkg-config --cflags libkvsproducer libcapture) \
		"$examples/$x.c" -o "$d/$x" $(pkg-config --libs libcapture libkvsproducer)
	echo "ok - the example $x builds"
done
python3 tests/e2e/record_pair.py env LD_LIBRARY_PATH="$d/usr/lib" "$d/record_pair" "$d/pair.mkv" bars thermal 4
# shellcheck disable=SC2046
gcc $(pkg-config --cflags libkvsproducer libcapture) "$d/t.c" -o "$d/t-static" "$d/usr/lib/libkvsproducer.a" \
	"$d/usr/lib/libcapture.a" $(env -u PKG_CONFIG_SYSROOT_DIR pkg-config --libs liburing libssl libcrypto) \
	$(env -u PKG_CONFIG_SYSROOT_DIR pkg-config --libs openh264 2>/dev/null) -pthread
"$d/t-static" && echo "ok - a program links statically with the installed archives"
without=0
for lib in capture kvsproducer; do
	for symbol in $(nm -D --defined-only "$d/usr/lib/lib$lib.so" | awk '$2 == "T" {sub("@.*", "", $3); print $3}'); do
		[ -e "$d/usr/share/man/man3/$symbol.3" ] || { echo "# no man page: $symbol"; without=1; }
	done
done
[ $without = 0 ] && echo "ok - every public function has a man page" || { echo "not ok - man pages"; exit 1; }
warnings=$(cd "$d/usr/share/man" && for f in man3/*.3 man8/*.8; do groff -man -Tutf8 -ww "$f" 2>&1 >/dev/null; done)
if [ -z "$warnings" ]; then echo "ok - groff has nothing to say about them"; else echo "not ok - $warnings"; exit 1; fi
for lib in capture kvsproducer; do
	prefix=$([ $lib = capture ] && echo capture_ || echo kvs_)
	others=$(nm -D --defined-only "$d/usr/lib/lib$lib.so" | awk '$2 != "A" {print $3}' | grep -v "^$prefix" || true)
	if [ -z "$others" ]; then
		echo "ok - lib$lib exports only $prefix*"
	else
		echo "not ok - lib$lib also exports:" $others
		exit 1
	fi
done
