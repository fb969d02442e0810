#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The service on disks that lose their power: power_cut.py in Debian's stock
# kernel, or with ENGINE=uml in ours, which has ext4 alone and is ten times as
# fast. POINTS=12 cuts per file system, after SECONDS_RUN=6 of uploads; SEED=n;
# RECYCLE=1: files of dead segments are used again, which takes 4 GiB of memory;
# KEEP_LOG=DIR: where the logs of what failed go. Arguments: file systems.
set -eu

here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$here"
O=$(cd "${O:-build}" && pwd)
export O
[ -x "$O/kvsd" ] || { echo "no $O/kvsd: make first" >&2; exit 1; }
for tool in dmsetup losetup mkfs.ext4 mkfs.f2fs; do
	PATH=$PATH:/sbin:/usr/sbin command -v $tool >/dev/null || { echo "missing: $tool"; exit 77; }
done

points=${POINTS:-12}
engine=${ENGINE:-qemu-6.12}
modules=loop,dm-log-writes
memory=1536M
[ -z "${RECYCLE:-}" ] || memory=4G
case $engine in
uml)	# ext4 is part of it
	[ $# -gt 0 ] || set -- ext4
	;;
*)
	[ $# -gt 0 ] || set -- ext4 f2fs
	modules=$modules,crc32c_generic,crc32_generic
	for kind; do
		modules=$modules,$kind
	done
	;;
esac
exec tests/hil/guest run --engine "$engine" --mem "$memory" --timeout $((900 + points * 120)) \
	--modules "$modules" ${KEEP_LOG:+--env KEEP_LOG --out "$KEEP_LOG"} -- python3 -B tests/hil/power_cut.py "$@" \
	--points "$points" --seconds "${SECONDS_RUN:-6}" ${SEED:+--seed "$SEED"} ${RECYCLE:+--recycle}
