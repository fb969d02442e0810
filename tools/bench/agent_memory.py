# SPDX-License-Identifier: Apache-2.0
"""Memory of the agent: camera, hardware encoder, upload to the service, in one guest."""

import json
import os
import shutil
import subprocess
import tempfile

from common import REPO, Missing, figure, say

LIMIT_MIB = 4
RATE_MBIT = (3.0, 6.0)		# "about 4 Mbit/s", or the figure does not count
GUEST_S = 120


def bench(build, work):
    guest = REPO / "tests" / "hil" / "guest"
    if subprocess.run([guest, "status", "uml"], stdout=subprocess.DEVNULL).returncode:
        say("making the UML kernel, once: about 6 minutes")
        subprocess.run(["sh", "tools/dev/deps", "uml"], cwd=REPO, check=True)
        subprocess.run([guest, "prepare", "uml"], check=True, stdout=subprocess.DEVNULL)
    out = tempfile.mkdtemp(prefix="agent-", dir=work)
    env = {**os.environ, "O": str(build)}
    try:
        run = subprocess.run(
            [guest, "run", "--engine", "uml", "--modules", "vivid n_devs=1,vicodec",
             "--mem", "512M", "--timeout", str(GUEST_S), "--out", out, "--",
             "python3", "-B", REPO / "tools" / "bench" / "agent_guest.py", build / "kvsd"],
            env=env, capture_output=True, text=True)
        if run.returncode:
            raise Missing(f"the guest ended with {run.returncode}: "
                          f"{run.stderr.strip()[-600:]}")
        report(json.loads(run.stdout.strip().split("\n")[-1]))
    finally:
        shutil.rmtree(out, ignore_errors=True)


def report(m):
    mbit = m["mbit_per_s"]
    if not RATE_MBIT[0] <= mbit <= RATE_MBIT[1]:
        raise Missing(f"the agent uploaded {mbit:.1f} Mbit/s, not about 4")
    mib = {k: v / 1024 for k, v in m["kb"].items()}
    figure("agent.memory_outside_arena", mib["outside"], "MiB", limit=LIMIT_MIB,
           rss_anon=mib["RssAnon"], rss_shmem=mib["RssShmem"], rss_file=mib["RssFile"],
           arena=mib["arena"], store=mib["store"], heap=mib["heap"], pss=mib["Pss"],
           pss_anon=mib["Pss_Anon"], mbit_per_s=mbit, camera=m["camera"],
           encoder=m["encoder"], threads=m["threads"], samples=m["samples"],
           what="the highest sample")
