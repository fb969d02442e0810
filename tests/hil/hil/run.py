# SPDX-License-Identifier: Apache-2.0
"""One run of a guest: build its initramfs, start it, relay, wait, judge."""

import ctypes
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
from contextlib import contextmanager
from pathlib import Path

from . import cache, qemu, uml
from .common import (EXIT_BOOT, EXIT_DIED, EXIT_KERNEL, EXIT_MODULE, EXIT_SETUP, EXIT_SPLAT,
                     EXIT_TIMEOUT, HERE, REPO, HarnessError, say)
from .cpio import EXECUTABLE, Cpio

BUSYBOX = "/bin/busybox"
CONSOLE_TAIL_LINES = 40
BOOT_SECONDS_MAX = {"uml": 60, "qemu-6.12": 180, "qemu-6.1": 180, "qemu-arm64": 240}
BOOT_RETRIES = 2
PATH_DEFAULT = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PR_SET_PDEATHSIG = 1

# What a kernel prints when it has found a fault in itself or in a module.
SPLAT = re.compile(r"BUG: |KASAN: |WARNING: (CPU|possible|inconsistent|suspicious|bad unlock)"
                   r"|Oops|Kernel panic|general protection|INFO: (task|rcu|trying)"
                   r"|UBSAN: |DEBUG_LOCKS_WARN_ON|unreferenced object")


class Job:
    """Everything that the engines need to know about this run."""

    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.engine = uml if options.engine == "uml" else qemu
        self.foreign = options.engine in cache.FOREIGN
        self.image = cache.prepare(options.engine, options.debug)
        self.dtb_overlays = [existing(text, "--dtb-overlay") for text in options.dtb_overlay]
        default = uml.MEM_DEBUG if options.debug else self.engine.MEM_DEFAULT
        self.mem = options.mem or default
        self.cpus = options.cpus
        self.append = options.append
        self.clock = options.clock
        self.shell = options.shell
        self.terminal = 0
        self.initrd = directory / "initrd"
        self.console = directory / "console.log"
        self.modules = [line for text in options.modules for line in split_modules(text)]
        self.out = Path(options.out).resolve() if options.out else directory / "out"
        self.out.mkdir(parents=True, exist_ok=True)
        self.shares = [("out", self.out, "/out")]
        for number, text in enumerate(options.share):
            self.shares.append((f"share{number}", *split_share(text)))
        self.channels = {}


def split_modules(text):
    """'vivid n_devs=1,vicodec': a comma before a digit belongs to a parameter."""
    return [part.strip() for part in re.split(r",(?=[^\d\s,])", text) if part.strip()]


def split_share(text):
    host, _, guest = text.partition(":")
    path = Path(host).resolve()
    if not path.is_dir():
        raise HarnessError(EXIT_SETUP, f"--share: {host} is not a directory")
    return path, guest or str(path)


def existing(text, option):
    path = Path(text).resolve()
    if not path.is_file():
        raise HarnessError(EXIT_SETUP, f"{option}: {text} is not a file")
    return path


def split_file(text):
    host, _, guest = text.partition(":")
    path = existing(host, "--file")
    return path, guest or f"/tmp/{path.name}"


def run(options):
    """Run the command in a guest; return its exit code or raise HarnessError."""
    if not Path(BUSYBOX).exists():
        cache.check_packages(options.engine)
    if options.shell and not os.isatty(0):
        raise HarnessError(EXIT_SETUP, "shell: stdin is no terminal")
    with tempfile.TemporaryDirectory(prefix="kvsd-hil-") as name:
        job = Job(options, Path(name))
        check_required(job)
        write_initrd(job)
        try:
            relay = start_and_relay(job)
            for _ in range(BOOT_RETRIES):
                if not fell_over_booting(job, relay):
                    break
                say(f"{job.options.engine}: the emulated kernel fell over as it booted; once more")
                job.console.unlink()
                relay = start_and_relay(job)
            code = judge(job, relay)
        except HarnessError:
            show_console(job)
            raise
        finally:
            if options.out and job.console.exists():
                shutil.copy(job.console, job.out / "guest-console.log")
    return code


def fell_over_booting(job, relay):
    """QEMU's TCG: a processor may meet code that another one patches half way, which the kernel
    dies of ("int3"). That says nothing of what is to be run."""
    return (job.engine is not uml and not relay.up and job.console.exists()
            and "int3: 0000 [#" in job.console.read_text(errors="replace"))


def check_required(job):
    config = set((job.image / "config").read_text().splitlines())
    missing = [name for name in job.options.require
               if not {f"{name}=y", f"{name}=m"} & config]
    if missing:
        raise HarnessError(EXIT_KERNEL, f"{job.image.name} lacks {', '.join(missing)}")


def write_initrd(job):
    release = next((job.image / "lib/modules").iterdir())
    settings = {
        "ENGINE": "uml" if job.engine is uml else "qemu",
        "MODULES_DIR": str(release.parent.resolve()),
        "CWD": os.getcwd(),
        "SHELL_ON": str(int(job.shell)),
        "FOREIGN": str(int(job.foreign)),
    }
    env = "".join(f"{key}={shlex.quote(value)}\n" for key, value in settings.items())
    modules = [str(Path(line).resolve()) if line.split()[0].endswith(".ko") else line
               for line in job.modules]
    with Cpio(job.initrd) as archive:
        archive.character("dev/console", 5, 1)
        archive.character("dev/null", 1, 3)
        busybox = job.image / "busybox" if job.foreign else Path(BUSYBOX)
        archive.file("bin/busybox", busybox.read_bytes(), EXECUTABLE)
        archive.file("init", (HERE / "hil/guest-init").read_bytes(), EXECUTABLE)
        archive.file("hil/env", env)
        archive.file("hil/modules", "".join(line + "\n" for line in modules))
        archive.file("hil/mounts", "".join(f"{host}\t{guest}\t{tag}\n"
                                           for tag, host, guest in job.shares))
        archive.file("hil/command", command_script(job.options))
        for number, path in enumerate(cache.modules_closure(release, job.engine.TRANSPORT)):
            archive.file(f"hil/transport/{number:02d}.ko", (release / path).read_bytes())


def command_script(options):
    build = Path(os.environ.get("O") or REPO / "build").resolve()
    home = os.environ.get("HOME", "/root")
    variables = {
        "PATH": f"{build}/bin:{build}:{PATH_DEFAULT}",
        "O": str(build),
        "HOME": home,
        "TERM": os.environ.get("TERM", "dumb"),
        "LANG": "C.UTF-8",
        "HIL_ENGINE": options.engine,
        "HIL_CLOCK": options.clock,
        "HIL_OUT": "/out",
    }
    for text in options.env:
        name, equals, value = text.partition("=")
        variables[name] = value if equals else os.environ.get(name, "")
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    for text in options.file:
        host, guest = split_file(text)
        lines.append(f"mkdir -p {shlex.quote(os.path.dirname(guest))} && "
                     f"cp -p {shlex.quote(str(host))} {shlex.quote(guest)} || exit 126")
    lines.append("exec " + shlex.join(options.command))
    return "\n".join(lines) + "\n"


class Relay:
    """Copies the guest's channels to ours and notes what it said on "ctl"."""

    def __init__(self, readers, console):
        self.selector = selectors.DefaultSelector()
        self.outputs = {"out": sys.stdout.buffer, "err": sys.stderr.buffer, "console": console}
        for name, fd in readers.items():
            self.selector.register(fd, selectors.EVENT_READ, name)
        self.words = b""
        self.timed_out = False

    @property
    def up(self):
        return self.words.startswith(b"up\n")

    def word(self, name):
        found = re.search(rb"^%s (.*)$" % name.encode(), self.words, re.M)
        return found and found[1].decode(errors="replace").strip()

    def open(self):
        return bool(self.selector.get_map())

    def turn(self, seconds):
        for key, _ in self.selector.select(seconds):
            data = os.read(key.fd, 65536)
            if not data:
                self.selector.unregister(key.fd)
                os.close(key.fd)
            elif key.data == "ctl":
                self.words += data
            else:
                self.outputs[key.data].write(data)
                self.outputs[key.data].flush()


def start_and_relay(job):
    readers = {}
    for name in ("out", "err", "ctl", "console"):
        readers[name], job.channels[name] = os.pipe()
    console = job.channels["console"]
    process = subprocess.Popen(
        job.engine.command(job), stdin=None if job.shell else subprocess.DEVNULL,
        stdout=None if job.shell else console, stderr=console,
        pass_fds=list(job.channels.values()), start_new_session=not job.shell,
        preexec_fn=die_with_parent, env={**os.environ, "TMPDIR": shm_directory()})
    for fd in job.channels.values():
        os.close(fd)
    started = time.monotonic()
    with open(job.console, "wb") as console, terminal_kept(job):
        relay = Relay(readers, console)
        relay_until_end(job, process, relay, started)
    job.seconds = time.monotonic() - started
    return relay


def relay_until_end(job, process, relay, started):
    boot_deadline = started + BOOT_SECONDS_MAX[job.options.engine]
    deadline = started + (float("inf") if job.shell else job.options.timeout)
    try:
        while relay.open():
            now = time.monotonic()
            if now > deadline or (not relay.up and now > boot_deadline):
                relay.timed_out = True
                break
            relay.turn(0.2)
            if process.poll() is not None and not relay.selector.select(0):
                break
    finally:
        end(process, job)


@contextmanager
def terminal_kept(job):
    """Both engines make it raw for a shell; UML does not put it back."""
    saved = termios.tcgetattr(job.terminal) if job.shell else None
    try:
        yield
    finally:
        if saved:
            termios.tcsetattr(job.terminal, termios.TCSADRAIN, saved)


def shm_directory():
    """UML keeps its memory in an unlinked file here; it must be a tmpfs."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()


def die_with_parent():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def end(process, job):
    """Kill what is left. UML's user processes are host processes of its group."""
    try:
        process.wait(timeout=0 if process.poll() is None and sys.exc_info()[0] else 2)
    except subprocess.TimeoutExpired:
        pass
    if job.shell:
        process.terminate()  # shares our group; UML takes its processes with it
    else:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()


def judge(job, relay):
    seconds = f"{job.seconds:.1f} s"
    missing = relay.word("missing")
    code = relay.word("exit")
    if missing:
        raise HarnessError(EXIT_MODULE, f"module {missing} did not load in {job.image.name}")
    if code is not None:
        splat = SPLAT.search(job.console.read_text(errors="replace"))
        if splat and not job.options.allow_splat:
            raise HarnessError(EXIT_SPLAT if code == "0" else int(code),
                               f"command exited {code}, but the guest kernel says: {splat[0]}")
        if job.options.verbose:
            say(f"{job.options.engine}: exit {code} after {seconds}")
        return int(code)
    if not relay.up:
        raise HarnessError(EXIT_BOOT, f"{job.image.name} did not boot in {seconds}")
    if relay.timed_out:
        raise HarnessError(EXIT_TIMEOUT, f"timeout: killed after {seconds}")
    raise HarnessError(EXIT_DIED, f"the guest ended after {seconds}, before the command did")


def show_console(job):
    if not job.console.exists():
        return
    lines = job.console.read_text(errors="replace").splitlines()
    say(f"end of the guest's console, {min(len(lines), CONSOLE_TAIL_LINES)} of {len(lines)} lines:")
    for line in lines[-CONSOLE_TAIL_LINES:]:
        print(f"    {line}", file=sys.stderr)
    kept = Path(tempfile.gettempdir()) / f"kvsd-hil-console-{os.getuid()}.log"
    if job.options.out:
        kept = job.out / "guest-console.log"
    else:
        shutil.copy(job.console, kept)
    say(f"all of it: {kept}")
