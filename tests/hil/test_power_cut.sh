#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The service on disks that lose their power: power_cut.py in Debian's stock
# kernel. POINTS=12 cuts per file system, after SECONDS_RUN=6 of uploads.
# Arguments: file systems; default: ext4 f2fs.
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
[ $# -gt 0 ] || set -- ext4 f2fs
modules=loop,dm-log-writes,crc32c_generic,crc32_generic
for kind; do
	modules=$modules,$kind
done
exec tests/hil/guest run --engine qemu-6.12 --mem 1536M --timeout $((900 + points * 120)) \
	--modules "$modules" -- python3 -B tests/hil/power_cut.py "$@" \
	--points "$points" --seconds "${SECONDS_RUN:-6}" ${SEED:+--seed "$SEED"}
