# SPDX-License-Identifier: Apache-2.0
"""Retention: the index of many streams stays as it is once the first period is over.

The full day of tests/sim_index_retention: 1,000 streams, 24 h. Flat means that the second
half of the hours after the first period is as the first half.
"""

import json
import os

from common import Missing, figure, run_cpu

DAY = {"STREAMS": "1000", "HOURS": "24", "KEEP": "6", "JSON": "1"}
BYTES_PER_STREAM_DAY_MAX = 2_000_000
FLAT = 1.1
# Time of the processor, but of a machine that others use.
FLAT_TIME = 1.5


def bench(build, _work):
    program = build / "tests" / "sim_index_retention"
    if not program.exists():
        raise Missing(f"{program}: make bench-build")
    seconds, out = run_cpu([program], env={**os.environ, **DAY})
    out = json.loads(out)
    first, second = out["first_half"], out["second_half"]
    size = {name: out[name] for name in ("streams", "hours", "kept_hours", "fragments")}
    figure("retention.bytes_per_stream_day", out["bytes_per_stream_day"], "bytes",
           limit=BYTES_PER_STREAM_DAY_MAX, tail_rows=out["tail_rows"], blocks=out["blocks"],
           cpu_us_per_fragment=seconds * 1e6 / out["fragments"], **size)
    for name, unit, limit in (("rows", "rows", FLAT), ("bytes", "bytes", FLAT),
                              ("query_ns_p99", "ns", FLAT_TIME)):
        figure(f"retention.{name}_late_over_early", second[name], unit, limit=limit,
               peer=first[name])
