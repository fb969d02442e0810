# SPDX-License-Identifier: Apache-2.0
"""In the guest: `kvsd serve`, `kvsd agent` with vivid and vicodec, and a look at its memory.

agent_guest.py KVSD: prints one JSON object, sizes in kB; the highest sample.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "support"))
import kvs_client  # noqa: E402

WARM_S = 8
SAMPLES = 12
SAMPLE_EVERY_S = 1.0
STREAM = "bench"
SIZE, GOP = "1280x720", 4	# what makes about 4 Mbit/s of vivid's picture in FWHT

CONF = """\
[service]
endpoint = {endpoint}
ca_bundle = {ca}
credentials = {credentials}
[stream {stream}]
create = yes
retention = 1h
[source camera]
kind = camera
stream = {stream}
size = {size}
rate = 30
encoder = m2m
gop = {gop}
"""


def mappings(pid):
    """[(name, {field: kB})] of /proc/PID/smaps."""
    out = []
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().split("\n"):
        head = re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+ *(.*)", line)
        field = re.match(r"(\w+): +(\d+) kB", line)
        if field and out:
            out[-1][1][field[1]] = int(field[2])
        elif head:
            out.append((head[1], {}))
    return out


def kb(path, names):
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB", pathlib.Path(path).read_text(), re.M))
    return {name: int(found[name]) for name in names}


def sample(pid):
    m = kb(f"/proc/{pid}/status", ("RssAnon", "RssShmem", "RssFile"))
    m.update(kb(f"/proc/{pid}/smaps_rollup", ("Pss", "Pss_Anon", "Pss_Shmem", "Pss_File")))

    def rss(name):
        return sum(f.get("Rss", 0) for where, f in maps if name in where)
    maps = mappings(pid)
    m["arena"] = rss("memfd:capture-arena")
    m["store"] = rss("memfd:kvs-store")
    m["heap"] = rss("[heap]")
    m["outside"] = m["RssAnon"] + m["RssShmem"] - m["arena"]
    if not m["arena"]:
        raise SystemExit("the agent has no capture arena mapped: nothing to take out")
    return m


def stored_bytes(client):
    """Bytes of what the service has, and how many seconds of media that is."""
    selector = {"FragmentSelectorType": "SERVER_TIMESTAMP", "TimestampRange": {
        "StartTimestamp": time.time() - 3600, "EndTimestamp": time.time() + 3600}}
    rows = client.call("listFragments", StreamName=STREAM, MaxResults=1000,
                       FragmentSelector=selector)["Fragments"]
    return (sum(r["FragmentSizeInBytes"] for r in rows),
            sum(r["FragmentLengthInMilliseconds"] for r in rows) / 1000)


def main():
    kvsd = sys.argv[1]
    directory = pathlib.Path(tempfile.mkdtemp())
    service = kvs_client.Service.start([kvsd], directory / "data", log=directory / "serve.log")
    client = service.client()
    conf = directory / "agent.conf"
    conf.write_text(CONF.format(endpoint=service.ready["endpoint"], ca=service.ready["ca"],
                                credentials=service.ready["credentials"], stream=STREAM,
                                size=SIZE, gop=GOP))
    log = open(directory / "agent.log", "wb")
    agent = subprocess.Popen([kvsd, "agent", "--config", conf], stderr=log, stdout=log)
    try:
        time.sleep(WARM_S)
        samples = []
        for _ in range(SAMPLES):
            time.sleep(SAMPLE_EVERY_S)
            if agent.poll() is not None:
                raise SystemExit(f"the agent ended with {agent.returncode}")
            samples.append(sample(agent.pid))
        size, seconds = stored_bytes(client)
        worst = max(samples, key=lambda m: m["outside"])
        print(json.dumps({"kb": worst, "samples": len(samples), "camera": f"vivid {SIZE}@30",
                          "encoder": "vicodec FWHT", "mbit_per_s": size * 8 / 1e6 / seconds,
                          "threads": len(list(pathlib.Path(f"/proc/{agent.pid}/task").iterdir()))}))
    except (SystemExit, KeyError, ZeroDivisionError, kvs_client.Failure) as error:
        sys.stderr.write((directory / "agent.log").read_text()[-2000:])
        sys.stderr.write((directory / "serve.log").read_text()[-1000:])
        sys.exit(f"{type(error).__name__}: {error}")
    finally:
        agent.terminate()
        agent.wait()
        service.stop()


main()
