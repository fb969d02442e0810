#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# dt_check.sh OUT - the binding is well formed, each overlay compiles without a
# warning, goes onto its board's tree and obeys the binding there; and what the
# binding must refuse (bad-*.dts) is refused. Prints "ok - " or "not ok - ".
set -u
cd "$(dirname "$0")/../.."
out=${1:?usage: dt_check.sh OUT}
bindings=$PWD/dts/bindings
failed=0
for tool in dtc fdtoverlay dt-doc-validate dt-mk-schema dt-extract-example dt-validate; do
	command -v "$tool" >/dev/null || {
		echo "$tool is missing (device-tree-compiler, dt-schema)"
		exit 77
	}
done
mkdir -p "$out" || exit 1

# quiet NAME COMMAND...: the tools warn and exit 0, so a word is a failure
quiet() {
	name=$1
	shift
	if "$@" >"$out/said" 2>&1 && [ ! -s "$out/said" ]; then
		echo "ok - $name"
		return 0
	fi
	echo "not ok - $name"
	sed 's/^/# /' "$out/said" | head -n 20
	failed=1
	return 1
}

compile() {
	dtc -@ -I dts -O dtb -o "$2" "$1"
}

obeys() {
	dt-validate -s "$out/schema.json" "$1"
}

# refused TREE WORDS: by the binding, in these words
refused() {
	obeys "$1" >"$out/said" 2>&1
	grep -q -- "\(timing\|radar@0\): .*$2" "$out/said"
}

example() {
	# The tool wraps the example into nodes of its own, which dtc blames.
	dt-extract-example "$1" >"$out/example.dts" &&
		dtc -@ -Wno-avoid_unnecessary_addr_size -I dts -O dtb -o "$out/example.dtb" \
			"$out/example.dts" &&
		obeys "$out/example.dtb"
}

for binding in "$bindings"/*.yaml; do
	quiet "dts: ${binding##*/} is well formed" dt-doc-validate -u "$bindings" "$binding"
done
quiet "dts: the bindings make a schema" \
	dt-mk-schema -j -o "$out/schema.json" "$bindings" || exit 1
for binding in "$bindings"/*.yaml; do
	quiet "dts: ${binding##*/}: its example obeys it" example "$binding"
done

for overlay in dts/overlays/kvsd-tsalign-*.dtso; do
	board=${overlay##*/kvsd-tsalign-}
	board=${board%.dtso}
	quiet "dts: $board: the overlay compiles" compile "$overlay" "$out/$board.dtbo" &&
		quiet "dts: $board: its base compiles" \
			compile "tests/dts/base-$board.dts" "$out/base-$board.dtb" &&
		quiet "dts: $board: goes onto the base" fdtoverlay -i "$out/base-$board.dtb" \
			-o "$out/$board.dtb" "$out/$board.dtbo" &&
		quiet "dts: $board: obeys the binding" obeys "$out/$board.dtb"
done

# The second line of each: // a pattern of what the refusal says
for bad in tests/dts/bad-*.dts; do
	name=${bad##*/bad-}
	word=$(sed -n '2s,^// ,,p' "$bad")
	compile "$bad" "$out/bad.dtb" >"$out/said" 2>&1
	if [ -n "$word" ] && refused "$out/bad.dtb" "$word"; then
		echo "ok - dts: refused: ${name%.dts}"
	else
		echo "not ok - dts: refused: ${name%.dts}"
		sed 's/^/# /' "$out/said" | head -n 20
		failed=1
	fi
done
exit $failed
