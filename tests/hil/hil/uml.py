# SPDX-License-Identifier: Apache-2.0
"""User-Mode Linux: the kernel is a host process, the root is hostfs."""

from .common import EXIT_SETUP, HarnessError

MEM_DEFAULT = "512M"
MEM_DEBUG = "1024M"
TRANSPORT = []  # hostfs and the consoles are built in


def command(job):
    if job.cpus not in (None, 1):
        raise HarnessError(EXIT_SETUP, "--cpus: UML has one; use a QEMU engine")
    if job.options.monitor:
        raise HarnessError(EXIT_SETUP, "--monitor: UML has none; use a QEMU engine")
    if job.dtb_overlays:
        raise HarnessError(EXIT_SETUP, "--dtb-overlay: UML has no device tree; give it one of its "
                           "own, --append dtb=FILE")
    argv = [
        str(job.image / "linux"),
        f"mem={job.mem}",
        f"initrd={job.initrd}",
        # Its sockets and pid file; the default is ~/.uml.
        f"uml_dir={job.directory}/",
        "umid=uml",
        "con=null",
        f"con0=null,fd:{job.channels['console']}",
        f"con1=null,fd:{job.channels['out']}",
        f"con2=null,fd:{job.channels['err']}",
        f"con3=null,fd:{job.channels['ctl']}",
        "console=tty0",
        "panic=1",
        "rdinit=/init",
    ]
    if job.clock == "virtual":
        # Without inf-cpu a timer may fire while code runs, as late as the host is busy.
        argv.append("time-travel=inf-cpu")
    if job.shell:
        argv.append(f"con4=fd:{job.terminal},fd:{job.terminal}")
    return argv + job.append
