"""A guest in User-mode Linux: a kernel that runs as a process, at nearly native speed, without conntrack zones."""

import shutil
import socket
from pathlib import Path

from sluice.lab.guest.guest import Guest, agent
from sluice.lab.guest.kernels import NoKernel, in_order, user_mode

MODULES = (
    *("cls_flower", "cls_matchall", "act_ct", "act_gact", "sch_ingress", "nf_conntrack_netlink"),
    *("veth", "bridge", "8021q", "dummy", "nlmon"),
)

INIT = """#!{busybox} sh
b={busybox}
$b mount -t proc proc /proc
$b mount -t sysfs sysfs /sys
$b mount -t tmpfs run /run
$b mount -t devtmpfs dev /dev 2>/dev/null
$b mkdir /run/tmp
while read module; do $b insmod $module || echo "insmod $module failed"; done < {folder}/modules
$b ifconfig lo up
cd /
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TMPDIR=/run/tmp HOME=/run/tmp {agent}
$b poweroff -f
"""


MEMORY_MIB = 1024

SHARED = Path("/dev/shm")  # noqa: S108  # where User-mode Linux itself would look
"""A file there backs the guest's memory. Containers often limit it to 64 MiB, and running out means being killed."""


def memory(shared: Path, folder: Path) -> Path:
    """Where the guest's memory goes: to this machine's memory, or to the folder if there is too little of it."""
    try:
        return shared if shutil.disk_usage(shared).free > MEMORY_MIB << 20 else folder
    except OSError:
        return folder


def boot(folder: Path) -> Guest:
    """Boot a guest; its inputs and logs are in the folder.

    Raises:
        NoKernel, GuestFailed
    """
    lacking = [name for name in ("busybox", "setpriv") if shutil.which(name) is None]
    if lacking:
        raise NoKernel(f"{', '.join(lacking)}: not installed; run `./task kernels`")
    kernel = user_mode()
    (folder / "modules").write_text("".join(f"{path}\n" for path in in_order(kernel.modules, MODULES)))
    init = folder / "init"
    script = INIT.replace("{busybox}", shutil.which("busybox") or "/bin/busybox").replace("{folder}", str(folder))
    init.write_text(script.replace("{agent}", agent("/dev/ttyS0")))
    init.chmod(0o755)
    ours, theirs = socket.socketpair()
    command = (
        *(
            "env",
            f"TMPDIR={memory(SHARED, folder)}",
            str(kernel.image),
            f"mem={MEMORY_MIB}M",
            "root=/dev/root",
            "rootfstype=hostfs",
            "rootflags=/",
            "ro",
            f"init={init}",
        ),
        *("con=null", "con0=null,fd:1", "quiet", f"umid=sluice-{folder.name}", f"uml_dir={folder}/"),
        f"ssl0=fd:{theirs.fileno()},fd:{theirs.fileno()}",
    )
    return Guest.start(command, ours, (theirs.detach(),), folder)
