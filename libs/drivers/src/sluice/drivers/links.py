"""Network interfaces of a namespace, as far as the ports of a switch need them."""

import fcntl
import socket
import struct
from pathlib import Path

SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGIFADDR = 0x8913, 0x8914, 0x8915
"""Source: linux/sockios.h."""

IFF_UP = 0x1
"""Source: linux/if.h."""

_REQUEST = struct.Struct("=16sH22x")
"""struct ifreq with flags."""


def raise_link(name: str) -> None:
    """Bring the interface up.

    Raises:
        OSError: there is no such interface, or permission is missing.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        _, flags = _REQUEST.unpack(fcntl.ioctl(asking, SIOCGIFFLAGS, _REQUEST.pack(name.encode(), 0)))
        if not flags & IFF_UP:
            fcntl.ioctl(asking, SIOCSIFFLAGS, _REQUEST.pack(name.encode(), flags | IFF_UP))


def address_of(name: str) -> str | None:
    """The first IPv4 address of the interface; None if it has none.

    Raises:
        OSError: there is no such interface.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        request = _REQUEST.pack(name.encode(), 0)
        fcntl.ioctl(asking, SIOCGIFFLAGS, request)
        try:
            answer = fcntl.ioctl(asking, SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])  # after the name (16), and family and port (2 each) of a sockaddr_in


def master_of(name: str) -> str | None:
    """The interface's master, a bridge or a bond; None if it has none.

    Raises:
        OSError: there is no such interface.
    """
    from pyroute2 import IPRoute  # noqa: PLC0415  # the import takes a third of a second and only devices need it

    with IPRoute() as route:
        (link,) = route.get_links(socket.if_nametoindex(name))
    master = link.get("master")
    return socket.if_indextoname(master) if master else None


def namespace_of(pid_file: Path) -> Path | None:
    """The network namespace of the process whose pid is in the file; None if it is not visible from here."""
    try:
        path = Path(f"/proc/{int(pid_file.read_text())}/ns/net")
    except (OSError, ValueError):
        return None
    return path if path.exists() else None
