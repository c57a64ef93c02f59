"""Kernel settings of the calling thread's network namespace. Source: sysctl(8)."""

from pathlib import Path

PLACES = (Path("/host/proc/sys"), Path("/proc/sys"))
"""The setting is written in the first place that has it: an unprivileged container cannot write /proc/sys, so the
host's /proc/sys/net is mounted at the other. Whatever the path, the writer's namespace is the one affected."""


def write(name: str, value: str) -> None:
    """Set a setting such as `net/ipv6/conf/eth0/disable_ipv6`; does nothing if the kernel has no such setting.

    Raises:
        OSError: the kernel refuses; [Errno 30] if /proc/sys is read-only and nothing is mounted in its place.
    """
    for place in PLACES:
        path = place / name
        if path.exists():
            if path.read_text().strip() != value:  # a correct setting need not be writable
                path.write_text(value)
            return


def no_ipv6(interface: str = "all") -> None:
    """Disable the kernel's own IPv6 on this interface, including its link-local address."""
    write(f"net/ipv6/conf/{interface}/disable_ipv6", "1")
