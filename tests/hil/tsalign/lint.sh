#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The module's sources: checkpatch --strict, sparse and W=1 without a word, and its size.
# KO=: where test_tsalign.sh built it; kdir=: the kernel's build folder.
set -eu

failed=0
say() {
	if [ "$1" -eq 0 ]; then echo "ok - $2"; else echo "not ok - $2"; failed=1; fi
}

# What a patch to the kernel would be told, but for what only such a patch has.
checkpatch() {
	ignore=$1
	shift
	perl "$kdir/scripts/checkpatch.pl" --no-tree --strict --terse --no-summary --max-line-length=100 \
		--ignore "LINUX_VERSION_CODE,CONSTANT_COMPARISON$ignore" --file "$@" 2>&1 || true
}
out=$(
	# The tracepoints have a layout of their own; the port header gives user space the kernel's types.
	checkpatch ,OPEN_ENDED_LINE,PARENTHESIS_ALIGNMENT kmod/tsalign_trace.h
	checkpatch ,PREFER_KERNEL_TYPES kmod/tsalign_port.h
	checkpatch "" $(ls kmod/*.[ch] kmod/include/linux/*.h kmod/include/uapi/linux/*.h |
		grep -v -e tsalign_trace.h -e tsalign_port.h)
)
[ -z "$out" ] && r=0 || { echo "$out"; r=1; }
say $r "checkpatch --strict"

if ! command -v sparse >/dev/null; then
	echo "not ok - sparse is not installed: apt install sparse"
	exit 1
fi
mkdir -p "$KO/lint"
cp -Ru kmod/. "$KO/lint"
out=$(env -u MAKEFLAGS -u MFLAGS -u O make -s -C "$kdir" ARCH=um M="$KO/lint" W=1 C=2 2>&1) && r=0 || r=1
# Of the kernel's own headers and folders, nothing.
out=$(printf '%s\n' "$out" | grep -E "$KO/lint|[Ee]rror" || true)
[ -z "$out" ] || { echo "$out"; r=1; }
say $r "sparse and W=1"

# Of User-Mode Linux, and of Debian's x86_64, whose modules have unwind tables and more.
for ko in "$KO/tsalign.ko" "$(tests/hil/guest kmod qemu-6.12 kmod)"; do
	text=$(python3 tests/hil/tsalign/size.py "$ko") && r=0 || r=1
	say $r "within 64 KiB: $text"
done

# Installed where a package would be made of it, and found there by depmod.
dest=$(mktemp -d)
trap 'rm -rf "$dest"' EXIT
release=$(cat "$kdir/include/config/kernel.release")
if env -u MAKEFLAGS -u MFLAGS make -s kmod-install O="$O" KDIR="$kdir" KMAKE="INSTALL_MOD_PATH=$dest" >"$dest/log" 2>&1 &&
	depmod -b "$dest" "$release" 2>>"$dest/log" &&
	grep -q '/tsalign\.ko' "$dest/lib/modules/$release/modules.dep" &&
	modinfo -F license "$(find "$dest" -name tsalign.ko)" | grep -qx GPL; then r=0; else cat "$dest/log"; r=1; fi
say $r "make kmod-install below another root; depmod knows it"

# By dkms itself, in trees of its own and for the name of a kernel that no machine has, so that it finds no key to sign with.
dkms_cycle() {
	[ "$(command -v dkms)" ] || { echo "dkms is not installed: apt install dkms"; return 1; }
	headers=$(tests/hil/guest kdir qemu-6.12) || return 1
	trees="--dkmstree $KO/dkms/tree --sourcetree $KO/dkms/src"
	rm -rf "$KO/dkms"
	mkdir -p "$KO/dkms/tree" "$KO/dkms/src"
	cp -R kmod "$KO/dkms/src/tsalign-1"
	# shellcheck disable=SC2086
	{
		dkms add $trees -m tsalign -v 1 || return 1
		dkms build $trees -m tsalign -v 1 -k 0.0.0-test -a x86_64 --kernelsourcedir "$headers" ||
			{ cat "$KO/dkms/tree/tsalign/1/build/make.log"; return 1; }
		dkms status $trees | grep -x 'tsalign/1, 0.0.0-test, x86_64: built' || return 1
		modinfo -F vermagic "$KO/dkms/tree/tsalign/1/0.0.0-test/x86_64/module/tsalign.ko" |
			grep "^$(cat "$headers/include/config/kernel.release") " || return 1
		dkms remove $trees -m tsalign -v 1 --all || return 1
		[ ! -e "$KO/dkms/tree/tsalign" ] && [ -z "$(dkms status $trees)" ]
	}
}
out=$(unset MAKEFLAGS MFLAGS; dkms_cycle 2>&1) && r=0 || { echo "$out"; r=1; }
say $r "dkms adds, builds, knows and removes it"
exit $failed
