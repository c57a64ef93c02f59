"""Settings of the kernel for the network namespace that the calling thread is in. Source: sysctl(8)."""

from pathlib import Path

PLACES = (Path("/host/proc/sys"), Path("/proc/sys"))
"""The first that has the setting is written: /proc/sys cannot be written in a container that is not privileged, so the
host's /proc/sys/net is mounted below the other. Which namespace is meant is the writer's, whatever the path."""


def write(name: str, value: str) -> None:
    """Set it, as `net/ipv6/conf/eth0/disable_ipv6`; where the kernel has no such setting, nothing is set.

    Raises:
        OSError: the kernel refuses; [Errno 30] where /proc/sys is read-only and nothing is mounted in its place.
    """
    for place in PLACES:
        path = place / name
        if path.exists():
            if path.read_text().strip() != value:  # it may be as wanted, and not writable
                path.write_text(value)
            return


def no_ipv6(interface: str = "all") -> None:
    """The kernel itself says nothing in IPv6 by this interface; there is none of its own address."""
    write(f"net/ipv6/conf/{interface}/disable_ipv6", "1")
