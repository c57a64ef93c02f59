"""A guest in QEMU without acceleration: the full kernel, on any machine, without privileges."""

import shutil
import socket
from pathlib import Path

from sluice.lab.guest import initramfs
from sluice.lab.guest.guest import Guest, agent
from sluice.lab.guest.kernels import NoKernel, debian, in_order

PROGRAM = "qemu-system-x86_64"

FIRST = ("virtio_pci", "9pnet_virtio", "9p", "virtio_console")
"""Modules needed to see our files and to talk to us."""

MODULES = (
    *("crc32c_generic", "cls_flower", "cls_matchall", "act_ct", "act_gact", "sch_ingress", "nf_conntrack_netlink"),
    *("veth", "bridge", "8021q", "dummy", "nlmon"),
)
"""Modules for scenarios with TC. nf_conntrack needs crc32c_generic without declaring it (a soft dependency)."""

SHARED = (
    *("-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"),
    *("-device", "virtio-9p-pci,fsdev=root,mount_tag=root"),
)

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read module; do insmod /modules/$module || echo "insmod $module failed"; done < /modules/order
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 root /root || exec poweroff -f
mount -t proc proc /root/proc
mount -t sysfs sysfs /root/sys
mount -t devtmpfs dev /root/dev
mount -t tmpfs run /root/run
mkdir /root/run/tmp
ifconfig lo up
chroot /root /bin/sh -c 'cd / && TMPDIR=/run/tmp HOME=/run/tmp {agent}'
poweroff -f
"""


def boot(folder: Path) -> Guest:
    """Boot a guest; its inputs and logs are in the folder.

    Raises:
        NoKernel, GuestFailed
    """
    lacking = [name for name in (PROGRAM, "busybox", "setpriv") if shutil.which(name) is None]
    if lacking:
        raise NoKernel(f"{', '.join(lacking)}: not installed; run `./task kernels`")
    kernel = debian()
    (folder / "initramfs").write_bytes(_first_root(kernel.modules))
    ours, theirs = socket.socketpair()
    command = (
        *(PROGRAM, "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1", "-m", "1024"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *("-kernel", str(kernel.image), "-initrd", str(folder / "initramfs")),
        *("-append", "console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on"),
        *("-device", "virtio-rng-pci", *SHARED),
        *("-chardev", f"socket,id=agent,fd={theirs.fileno()}", "-device", "virtio-serial-pci"),
        *("-device", "virtserialport,chardev=agent,name=agent"),
    )
    return Guest.start(command, ours, (theirs.detach(),), folder)


def _first_root(modules: Path) -> bytes:
    files = in_order(modules, (*FIRST, *MODULES))
    busybox = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    init = INIT.replace("{agent}", agent("/dev/vport*p1"))
    return initramfs.archive(
        {
            **{name: initramfs.folder() for name in ("bin", "proc", "sys", "dev", "root", "modules")},
            "bin/busybox": initramfs.file(busybox, executable=True),
            "init": initramfs.file(init.encode(), executable=True),
            "modules/order": initramfs.file("".join(f"{path.name}\n" for path in files).encode()),
            **{f"modules/{path.name}": initramfs.file(path.read_bytes()) for path in files},
        }
    )
