#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Starts a service of its own, runs the SDK tests against it, then the AWS
CLI where one is installed. The argument is the node_modules to use."""

import json
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)),
                                "..", "support"))
import matroska as mkv  # noqa: E402
from kvsd_server import Bench, expect, require, run_tool  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))


def environment(bench):
    """What the README tells its readers to set."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    env.update({
        "AWS_ENDPOINT_URL": bench.service.ready["endpoint"],
        "AWS_SHARED_CREDENTIALS_FILE": bench.service.ready["credentials"],
        "AWS_CA_BUNDLE": bench.service.ready["ca"],
        "AWS_CONFIG_FILE": "/dev/null", "AWS_REGION": "us-west-2",
        "AWS_DEFAULT_REGION": "us-west-2",
        "AWS_EC2_METADATA_DISABLED": "true", "AWS_PAGER": "",
        "NODE_EXTRA_CA_CERTS": bench.service.ready["ca"],
    })
    return env


def run_sdk(bench, modules):
    work = os.path.join(bench.temp, "sdk")
    os.mkdir(work)
    os.symlink(modules, os.path.join(work, "node_modules"))
    for name in ("sdk.test.mjs", "media.mjs", "package.json"):
        shutil.copy(os.path.join(HERE, name), work)
    node = subprocess.Popen(["node", "sdk.test.mjs"], cwd=work,
                            env=environment(bench), stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, errors="replace")
    seen = 0
    for line in node.stdout:
        print(line, end="", flush=True)
        bench.passed += line.startswith("ok ")
        bench.failed += line.startswith("not ok ")
        seen += line.startswith(("ok ", "not ok "))
    status = node.wait()
    if status and not bench.failed or not seen:
        bench.check("the SDK tests ran to their end", False,
                    f"node ended with {status}")


def run_cli(bench):
    if not shutil.which("aws"):
        print("# no aws: the command line client is not tried")
        return
    env = environment(bench)

    def aws(*argv, output=True):
        done = subprocess.run(["aws", *argv], env=env, timeout=60,
                              stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              check=False)
        if done.returncode:
            raise AssertionError(f"aws {argv[1]}: "
                                 f"{done.stderr.decode().strip()}")
        return json.loads(done.stdout) if output and done.stdout else None

    with bench.case("aws CLI: create, describe, list"):
        made = aws("kinesisvideo", "create-stream", "--stream-name", "cli",
                   "--data-retention-in-hours", "2")
        found = aws("kinesisvideo", "describe-stream", "--stream-name", "cli")
        expect(found["StreamInfo"]["StreamARN"], made["StreamARN"], "ARN")
        expect(found["StreamInfo"]["DataRetentionInHours"], 2, "retention")
        names = [s["StreamName"] for s in
                 aws("kinesisvideo", "list-streams")["StreamInfoList"]]
        assert "cli" in names, names
    with bench.case("aws CLI: list-fragments, get-clip"):
        put = bench.client().put_media("cli", absolute=False)
        put.write(mkv.make_h264(4))
        put.end()
        put.wait_closed()
        expect(put.events("ERROR"), [], "errors")
        end = aws("kinesisvideo", "get-data-endpoint", "--stream-name", "cli",
                  "--api-name", "GET_CLIP")["DataEndpoint"]
        time.sleep(1.1)    # the CLI sends whole seconds
        now = int(time.time())
        span = {"StartTimestamp": now - 60, "EndTimestamp": now}
        found = aws("kinesis-video-archived-media", "list-fragments",
                    "--endpoint-url", end, "--stream-name", "cli",
                    "--fragment-selector", json.dumps(
                        {"FragmentSelectorType": "SERVER_TIMESTAMP",
                         "TimestampRange": span}))
        expect(len(found["Fragments"]), len(put.events("PERSISTED")),
               "fragments")
        clip = os.path.join(bench.temp, "cli.mp4")
        aws("kinesis-video-archived-media", "get-clip", "--endpoint-url", end,
            "--stream-name", "cli", "--clip-fragment-selector", json.dumps(
                {"FragmentSelectorType": "SERVER_TIMESTAMP",
                 "TimestampRange": span}), clip, output=False)
        status, _, err = run_tool(["ffmpeg", "-v", "error", "-i", clip, "-f",
                                   "null", "-"])
        expect((status, err), (0, ""), "ffmpeg")


def main():
    require("node", "ffmpeg", "ffprobe")
    bench = Bench()
    bench.start()
    run_sdk(bench, sys.argv[1])
    run_cli(bench)
    return bench.finish()


if __name__ == "__main__":
    sys.exit(main())
