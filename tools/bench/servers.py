# SPDX-License-Identifier: Apache-2.0
"""The servers under load: the service, nginx, a bare TLS sink."""

import hashlib
import json
import os
import pathlib
import resource
import socket
import subprocess
import sys
import time

from common import REPO, SERVER_CPU, Missing, end, pinned

sys.path.insert(0, str(REPO / "tests" / "support"))
import kvs_client  # noqa: E402

# One worker; the body goes to a file beside its last place and is renamed.
NGINX_CONF = """\
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
error_log stderr warn;
pid {dir}/pid;
events {{ worker_connections 16384; }}
http {{
	log_format tls '$status $request_length $ssl_protocol $ssl_cipher';
	access_log {dir}/access.log tls;
	client_body_temp_path {dir}/body;
	client_max_body_size 0;
	{more}
	server {{
		listen 127.0.0.1:{port} ssl backlog=4096;
		ssl_certificate {dir}/cert.pem;
		ssl_certificate_key {dir}/key.pem;
		ssl_protocols TLSv1.3;
		root {dir}/www;
		location / {{ dav_methods PUT; create_full_put_path on; }}
	}}
}}
"""


# As one would record with it; a file per camera, from its first key frame.
NGINX_RTMP_CONF = """\
{user}
load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
error_log stderr warn;
pid {dir}/pid;
events {{ worker_connections 16384; }}
rtmp {{
	access_log off;
	server {{
		listen 127.0.0.1:{port};
		application live {{
			live on;
			record all;
			record_path {dir}/www;
		}}
	}}
}}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def certificate(directory):
    """cert.pem and key.pem, P-256 as the service's own."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=bench",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
                    directory / "key.pem", "-out", directory / "cert.pem"],
                   check=True, capture_output=True)


class Nginx:
    conf = NGINX_CONF

    def __init__(self, directory, more=""):
        self.dir = directory
        self.port = free_port()
        self.ca = directory / "cert.pem"
        for name in ("body", "www"):
            (directory / name).mkdir(parents=True)
        certificate(directory)
        conf = directory / "nginx.conf"
        conf.write_text(self.conf.format(dir=directory, port=self.port, more=more,
                                          files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
                                          user="user root;" if os.getuid() == 0 else ""))
        self.process = subprocess.Popen(
            pinned(SERVER_CPU, ["/usr/sbin/nginx", "-p", directory, "-e", "stderr", "-c", conf]),
            stdout=subprocess.DEVNULL)
        self.pid = self._worker()

    def _worker(self):
        master = self.process.pid
        children = pathlib.Path(f"/proc/{master}/task/{master}/children")
        for _ in range(200):
            found = children.read_text().split() if children.exists() else []
            if found and (self.dir / "pid").exists():
                return int(found[0])
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise Missing("nginx does not start")

    @staticmethod
    def put_head(name, size):
        return (f"PUT /{name} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
                f"Content-Length: {size}\r\n\r\n")

    @staticmethod
    def get_head(name):
        return f"GET /{name} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"

    def stored(self, name):
        return (self.dir / "www" / name).stat().st_size

    def forget(self, name):
        (self.dir / "www" / name).unlink()

    def cipher(self):
        return (self.dir / "access.log").read_text().split("\n")[0].split()[-2:]

    def stop(self):
        end(self.process)


class NginxRtmp(Nginx):
    """Takes RTMP, which is not encrypted, and writes FLV, which it does not sync."""
    conf = NGINX_RTMP_CONF


class Sink:
    def __init__(self, directory, program):
        directory.mkdir()
        certificate(directory)
        self.ca = directory / "cert.pem"
        self.process = subprocess.Popen(
            pinned(SERVER_CPU, [program, self.ca, directory / "key.pem"]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.port = int(self.process.stdout.readline() or 0)
        if not self.port:
            raise Missing("the sink does not start")

    def stop(self):
        self.process.stdin.close()
        end(self.process)


class Kvsd:
    """On one CPU, and one thread: figures are per core."""

    def __init__(self, directory, program, *options):
        self.service = kvs_client.Service.start(
            pinned(SERVER_CPU, [program]), directory, "--threads", "1", *options,
            log=directory.with_suffix(".log"))
        self.process = self.service.process
        self.pid = self.process.pid
        self.client = self.service.client()
        self.port = self.client.port
        self.ca = self.service.ready["ca"]

    def create(self, name):
        self.client.call("createStream", StreamName=name, DataRetentionInHours=1)

    def put_head(self, name):
        """Signed, of a PutMedia of @name whose connection ends with it."""
        fields = self.client.signed("POST", "/putMedia", {
            "x-amzn-stream-name": name, "x-amzn-fragment-timecode-type": "ABSOLUTE",
            "x-amzn-producer-start-timestamp": f"{time.time():.3f}",
        }, kvs_client.EMPTY_HASH)
        fields["Transfer-Encoding"] = "chunked"
        fields["Connection"] = "close"
        lines = "".join(f"{k}: {v}\r\n" for k, v in fields.items())
        return f"POST /putMedia HTTP/1.1\r\n{lines}\r\n"

    def get_head(self, name):
        """Signed, of a GetMedia of @name from now on."""
        body = json.dumps({"StreamName": name, "StartSelector": {"StartSelectorType": "NOW"}})
        fields = self.client.signed("POST", "/getMedia", {"Content-Type": "application/json"},
                                    hashlib.sha256(body.encode()).hexdigest())
        fields["Content-Length"] = str(len(body))
        lines = "".join(f"{k}: {v}\r\n" for k, v in fields.items())
        return f"POST /getMedia HTTP/1.1\r\n{lines}\r\n{body}"

    def forget(self, name):
        info = self.client.call("describeStream", StreamName=name)["StreamInfo"]
        self.client.call("deleteStream", StreamARN=info["StreamARN"])

    def stop(self):
        end(self.process)
