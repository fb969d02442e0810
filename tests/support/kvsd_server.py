# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: a service of their own, and TAP lines.

    bench = Bench()                 # temp dir; server not yet started
    bench.start()                   # kvsd serve --quickstart on a free port
    bench.check("name", condition, "detail")
    with bench.case("name"): ...    # an exception is `not ok`
    sys.exit(bench.finish())

The build directory comes from $O. Only processes started here are ended.
"""

import atexit
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import kvs_client  # noqa: E402

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.path.join(ROOT, os.environ.get("O", "build"))
KVSD = os.path.join(BUILD, "kvsd")
THREADS = os.environ.get("THREADS", "2")
REPORTS = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|"
                     r"runtime error:|Assertion .* failed")


def skip(reason):
    print(f"ok - # SKIP {reason}")
    print(reason, flush=True)
    sys.exit(77)


def require(*tools):
    if not os.access(KVSD, os.X_OK):
        print(f"not ok - {KVSD} is not there")
        sys.exit(1)
    lacking = [t for t in tools if not shutil.which(t)]
    if lacking:
        skip("missing: " + " ".join(lacking))


def run_tool(argv, data=None, timeout=60):
    """Returns (exit status, stdout bytes, stderr text)."""
    done = subprocess.run(argv, input=data, timeout=timeout, check=False,
                          stdin=None if data is not None
                          else subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


class Bench:
    def __init__(self, directory=None):
        self.temp = tempfile.mkdtemp(prefix="kvsd-test-")
        self.directory = directory or os.path.join(self.temp, "data")
        self.log = os.path.join(self.temp, "server.log")
        self.service = None
        self.failed = 0
        self.passed = 0
        self.port = 0
        self._lock = threading.Lock()
        atexit.register(self._cleanup)

    def _cleanup(self):
        if self.service is not None:
            self.service.kill()
            self.service = None
        if os.environ.get("KEEP"):
            print(f"# kept {self.temp}")
        else:
            shutil.rmtree(self.temp, ignore_errors=True)

    # --- the service ---
    def start(self, *options):
        """On a free port; the same port when started again. Two threads, so
        that connections move between them."""
        self.service = kvs_client.Service.start(
            [KVSD], self.directory, "--threads", THREADS, *options,
            listen=f"127.0.0.1:{self.port}", log=self.log)
        client = self.client()
        self.port = client.port
        return client

    def client(self, **options):
        return self.service.client(**options)

    def kill(self):
        service, self.service = self.service, None
        service.kill()

    def restart(self, *options):
        if self.service is not None:
            self.kill()
        return self.start(*options)

    def alive(self):
        return self.service.process.poll() is None

    # --- results ---
    def check(self, name, condition, detail=""):
        with self._lock:
            if condition:
                self.passed += 1
                print(f"ok - {name}", flush=True)
            else:
                self.failed += 1
                print(f"not ok - {name}", flush=True)
                for line in str(detail).split("\n")[:30]:
                    print(f"#    {line[:400]}", flush=True)
        return bool(condition)

    @contextlib.contextmanager
    def case(self, name):
        """One test: it fails with the first exception."""
        try:
            yield
        except Exception as error:  # the test must go on with the next case
            where = traceback.extract_tb(error.__traceback__)[-3:]
            lines = [f"{type(error).__name__}: {error}"]
            lines += [f"{os.path.basename(f.filename)}:{f.lineno} {f.line}"
                      for f in where]
            self.check(name, False, "\n".join(lines))
        else:
            self.check(name, True)

    def finish(self):
        """Stops the service in order; returns the exit status."""
        if self.service is not None:
            service, self.service = self.service, None
            if service.process.poll() is not None:
                self.check("the service is still there at the end", False,
                           f"it ended with {service.process.returncode}")
            else:
                with self.case("the service stops at SIGTERM, status 0"):
                    try:
                        status = service.stop(30)
                    except subprocess.TimeoutExpired:
                        service.kill()
                        raise
                    expect(status, 0, "exit status")
        if os.path.exists(self.log):
            with open(self.log, errors="replace") as log:
                text = log.read()
            found = REPORTS.search(text)
            self.check("no sanitizer report, no failed assertion", not found,
                       text[found.start():] if found else "")
            if self.failed:
                print("# the service's last lines:")
                for line in text.strip().split("\n")[-40:]:
                    print(f"#    {line[:300]}")
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed else 0


def expect(got, wanted, what="value"):
    if got != wanted:
        raise AssertionError(f"{what}: got {str(got)[:500]}, "
                             f"expected {str(wanted)[:500]}")


def expect_in(got, wanted, what="value"):
    if got not in wanted:
        raise AssertionError(f"{what}: got {str(got)[:500]}, "
                             f"expected one of {wanted}")


@contextlib.contextmanager
def expect_error(error_type, status=None):
    """The body must raise ApiError of that type (a name or several)."""
    names = (error_type,) if isinstance(error_type, str) else error_type
    try:
        yield
    except kvs_client.ApiError as error:
        expect_in(error.type, names, f"error type of {error}")
        if status is not None:
            expect(error.status, status, "status")
    else:
        raise AssertionError(f"no {error_type}, but success")


def until(test, timeout=10.0, step=0.05, what="condition"):
    """Calls test() until it returns something true; returns that."""
    end = time.monotonic() + timeout
    while True:
        got = test()
        if got:
            return got
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(step)


class Raw:
    """Bytes over TLS, no HTTP of ours in the way."""

    def __init__(self, client, timeout=10.0):
        raw = socket.create_connection((client.host, client.port), timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = client.context.wrap_socket(raw,
                                               server_hostname=client.host)

    def send(self, data):
        self.sock.sendall(data)

    def recv(self, timeout=5.0):
        """One read: what one TLS record brings; b"" at the end or reset."""
        self.sock.settimeout(timeout)
        try:
            return self.sock.recv(65536)
        except (ConnectionError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            return b""

    def read_until_closed(self, timeout=10.0):
        """(all bytes, True when the peer closed within timeout)."""
        end = time.monotonic() + timeout
        out = b""
        while True:
            left = end - time.monotonic()
            if left <= 0:
                return out, False
            try:
                piece = self.recv(left)
            except TimeoutError:
                return out, False
            if not piece:
                return out, True
            out += piece

    def read_response(self, timeout=10.0):
        """(status, headers, body) of a response with a Content-Length, a
        chunked one, or none when the peer closes: (0, {}, b"")."""
        end = time.monotonic() + timeout
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.recv(max(0.1, end - time.monotonic()))
            if not piece:
                return 0, {}, data
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        status = int(lines[0].split()[1])
        want = int(fields.get("content-length", "0"))
        while len(body) < want:
            piece = self.recv(max(0.1, end - time.monotonic()))
            if not piece:
                break
            body += piece
        self.rest = body[want:]
        return status, fields, body[:want]

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass
