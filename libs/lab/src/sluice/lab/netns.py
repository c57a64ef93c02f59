"""Network namespaces of a lab."""

import ctypes
import fcntl
import os
from pathlib import Path

from pyroute2 import IPRoute

from sluice.drivers.namespaces import apart
from sluice.lab import sweep

MS_BIND, MS_REC, MS_SHARED = 4096, 16384, 1 << 20
"""Source: linux/mount.h."""

_libc = ctypes.CDLL(None, use_errno=True)


def create(name: str, lab: str) -> Path:
    """Create a namespace for the lab, with a name by which `ip netns` and the sweep find it."""
    _mountpoint()
    path = sweep.NAMESPACES / (sweep.netns_prefix(lab) + name)
    path.touch(mode=0o444, exist_ok=False)

    def bind() -> None:
        source = b"/proc/thread-self/ns/net"
        _check(_libc.mount(source, os.fsencode(path), b"none", MS_BIND, None), f"bind {path}")
        with IPRoute() as netlink:
            netlink.link("set", index=1, state="up")

    apart(bind)
    return path


def _mountpoint() -> None:
    """Make the folder of namespaces a shared mount point, as `ip netns add` does, unless it is one.

    If `ip netns` did so later, it would mount the folder over itself with everything in it; the namespaces would be
    mounted twice, and nobody could remove the lower ones.
    """
    sweep.NAMESPACES.mkdir(parents=True, exist_ok=True)
    where = os.fsencode(sweep.NAMESPACES)
    folder = os.open(sweep.NAMESPACES, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)  # other programs that check and mount do the same
        if _libc.mount(b"none", where, b"none", MS_SHARED | MS_REC, None):
            _check(_libc.mount(where, where, b"none", MS_BIND | MS_REC, None), f"bind {sweep.NAMESPACES}")
            _check(_libc.mount(b"none", where, b"none", MS_SHARED | MS_REC, None), f"share {sweep.NAMESPACES}")
    finally:
        os.close(folder)


def remove(path: Path) -> None:
    sweep.remove_namespace(path)


def _check(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
