# SPDX-License-Identifier: Apache-2.0
"""QEMU without KVM: Debian's stock kernel, the root and the shares over 9p."""

from . import dtb
from .common import EXIT_SETUP, HarnessError

MEM_DEFAULT = "1024M"
CPUS_DEFAULT = 2
TRANSPORT = ["virtio_pci", "virtio_console", "9p", "9pnet_virtio", "overlay"]

X86_64 = {
    "program": "qemu-system-x86_64",
    "machine": ["-M", "pc", "-accel", "tcg,thread=multi", "-cpu", "max"],
    # Without these TCG spends half of the boot on what only hardware needs.
    "append": ["console=ttyS0", "mitigations=off", "tsc=reliable", "no_timer_check",
               "random.trust_cpu=on"],
}
ARM64 = {
    "program": "qemu-system-aarch64",
    # A plain core: TCG is slow at the newer ones' pointer authentication.
    "machine": ["-M", "virt", "-accel", "tcg,thread=multi", "-cpu", "cortex-a57"],
    "append": ["console=ttyAMA0", "mitigations=off"],
}
MACHINES = {"qemu-arm64": ARM64}


def command(job):
    if job.clock != "real":
        raise HarnessError(EXIT_SETUP, "--clock virtual: QEMU's guests have the real one alone; use UML")
    machine = MACHINES.get(job.options.engine, X86_64)
    arguments = " ".join([
        *machine["append"], "loglevel=5", "panic=-1", "reboot=t", "rdinit=/init",
        "audit=0", "selinux=0", *job.append])
    argv = [
        machine["program"], "-nodefaults", "-no-user-config", "-no-reboot",
        "-display", "none", *machine["machine"],
        "-smp", str(job.cpus or CPUS_DEFAULT), "-m", job.mem,
    ]
    if job.dtb_overlays:
        if machine is not ARM64:
            raise HarnessError(EXIT_SETUP, f"--dtb-overlay: {job.options.engine} has no device tree")
        argv += ["-dtb", str(dtb.merge(argv, job.dtb_overlays, job.directory))]
    argv += [
        "-kernel", str(job.image / "linux"), "-initrd", str(job.initrd),
        "-append", arguments,
        "-serial", "chardev:console",
        "-device", "virtio-rng-pci",
        "-device", "virtio-serial-pci",
    ]
    for name, fd in job.channels.items():
        argv += ["-chardev", f"file,id={name},path=/dev/fd/{fd}"]
        if name != "console":
            argv += ["-device", f"virtserialport,chardev={name},name=hil.{name}"]
    if job.shell:
        argv += ["-chardev", "stdio,id=shell,signal=off",
                 "-device", "virtconsole,chardev=shell"]
    if job.options.monitor:
        path = job.options.monitor.replace(",", ",,")
        argv += ["-monitor", f"unix:{path},server=on,wait=off"]
    argv += share("root", "/", ",readonly=on")
    for tag, host, _ in job.shares:
        argv += share(tag, host, "")
    return argv


def share(tag, path, options):
    path = str(path).replace(",", ",,")
    return ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{options}",
            "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
