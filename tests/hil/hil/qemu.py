# SPDX-License-Identifier: Apache-2.0
"""QEMU without KVM: Debian's stock kernel, the root and the shares over 9p."""

MEM_DEFAULT = "1024M"
CPUS_DEFAULT = 2
TRANSPORT = ["virtio_pci", "virtio_console", "9p", "9pnet_virtio", "overlay"]


def command(job):
    arguments = " ".join([
        "console=ttyS0", "loglevel=5", "panic=-1", "reboot=t", "rdinit=/init",
        # Without these TCG spends half of the boot on what only hardware needs.
        "mitigations=off", "tsc=reliable", "no_timer_check", "audit=0", "selinux=0",
        "random.trust_cpu=on", *job.append])
    argv = [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot",
        "-display", "none", "-M", "pc", "-accel", "tcg,thread=multi", "-cpu", "max",
        "-smp", str(job.cpus or CPUS_DEFAULT), "-m", job.mem,
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
    argv += share("root", "/", ",readonly=on")
    for tag, host, _ in job.shares:
        argv += share(tag, host, "")
    return argv


def share(tag, path, options):
    path = str(path).replace(",", ",,")
    return ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{options}",
            "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
