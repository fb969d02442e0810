#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A supervised source against what a real driver can do to it: vivid's error
# injection, its driver unbound and bound again, signals lost and back at its
# receivers' inputs. O=build: where the programs are. Arguments: engines;
# default: uml.
set -eu

here=$(cd "$(dirname "$0")/../.." && pwd)
cd "$here"
O=$(cd "${O:-build}" && pwd)
export O
probe=$O/tests/supervise_probe
[ -x "$probe" ] || { echo "no $probe: make first" >&2; exit 1; }

failed=0
# supervise ENGINE MODULES ARGUMENTS...: one guest
supervise() {
	engine=$1
	modules=$2
	shift 2
	echo "== $engine, $modules: $*"
	tests/hil/guest run --engine "$engine" $([ "$engine" != uml ] || echo --clock "${CLOCK:-virtual}") --mem 512M --timeout 500 \
		${VERBOSE:+--env VERBOSE} --modules "$modules" -- "$probe" "$@" || {
		echo "not ok - $engine, $*: exit $?"
		failed=1
	}
}

vivid="vivid n_devs=1 node_types=0x1"
for engine in ${*:-uml}; do
	supervise "$engine" "$vivid" inject
	supervise "$engine" "$vivid" rebind
	# One input alone, HDMI or television: vivid forgets the timings at an
	# input when another is selected, as a source does that is closed.
	supervise "$engine" "$vivid num_inputs=1 input_types=0x3" \
		signal dv_timings_signal_mode
	supervise "$engine" "$vivid num_inputs=1 input_types=0x1" \
		signal standard_signal_mode
done
exit $failed
