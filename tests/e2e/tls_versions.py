#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TLS 1.2 and 1.3 on both sides, nothing older: a Python client against `kvsd serve`, kvsctl (which
has the agent's client) against a Python service."""
import json
import os
import ssl
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import kvsd_server  # noqa: E402

O = os.environ.get("O", "build")
VERSIONS = (("1.2", True), ("1.3", True), ("1.1", False))


def only(context, version):
    context.minimum_version = context.maximum_version = ssl.TLSVersion["TLSv" + version.replace(".", "_")]
    context.set_ciphers("ALL:@SECLEVEL=0")


def service_side(bench):
    for version, good in VERSIONS:
        with bench.case(f"the service {'speaks' if good else 'refuses'} TLS {version}"):
            client = bench.client()
            only(client.context, version)
            try:
                client.call("listStreams")
                answered = True
            except (ssl.SSLError, OSError):
                answered = False
            assert answered == good


def certificate(directory):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "2", "-subj", "/CN=x", "-keyout", f"{directory}/key.pem", "-out", f"{directory}/cert.pem",
                    "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"], check=True, capture_output=True)


def describe(directory, version):
    fake = subprocess.Popen([sys.executable, os.path.join(HERE, "..", "support", "fake_kvs.py"), "--cert",
                             f"{directory}/cert.pem", "--key", f"{directory}/key.pem", "--tls", version],
                            stdout=subprocess.PIPE, text=True)
    try:
        port = json.loads(fake.stdout.readline())["port"]
        env = dict(os.environ, AWS_ENDPOINT_URL=f"https://127.0.0.1:{port}", AWS_CA_BUNDLE=f"{directory}/cert.pem",
                   AWS_ACCESS_KEY_ID="AKIDEXAMPLE", AWS_SECRET_ACCESS_KEY="secretsecret")
        return subprocess.run([os.path.join(O, "kvsctl"), "describe-stream", "front"], env=env, capture_output=True,
                              text=True, timeout=60)
    finally:
        fake.kill()
        fake.wait()
        fake.stdout.close()


def client_side(bench):
    with tempfile.TemporaryDirectory() as directory:
        certificate(directory)
        for version, good in VERSIONS:
            with bench.case(f"the client {'speaks' if good else 'refuses'} TLS {version}"):
                result = describe(directory, version)
                assert (result.returncode == 0) == good, result.stderr
                assert good or result.returncode == 5, (result.returncode, result.stderr)


def main():
    kvsd_server.require("openssl")
    bench = kvsd_server.Bench()
    bench.start()
    service_side(bench)
    client_side(bench)
    return bench.finish()


if __name__ == "__main__":
    sys.exit(main())
