"""Sockets for the packets of probes, and the meaning of their errors."""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterator

IP_RECVERR, IPV6_RECVERR = 11, 25
MSG_ERRQUEUE = 0x2000
EXTENDED_ERROR = struct.Struct("=IBBBBII")
"""Source: linux/in.h, linux/in6.h, linux/socket.h; linux/errqueue.h, struct sock_extended_err."""

IP_PKTINFO = 8
IN_PKTINFO, IN6_PKTINFO = struct.Struct("=i4s4s"), struct.Struct("=16si")
"""The interface index and, for IPv4, two addresses: when sending the first is used, when receiving the second is the
destination. Source: linux/in.h, struct in_pktinfo; linux/ipv6.h, struct in6_pktinfo."""

PKTINFO_SIZE = max(IN_PKTINFO.size, IN6_PKTINFO.size)

FROM_ICMP, FROM_ICMP6 = 2, 3
"""Source: linux/errqueue.h, SO_EE_ORIGIN_*."""

PROHIBITED = {FROM_ICMP: {(3, 9), (3, 10), (3, 13)}, FROM_ICMP6: {(1, 1), (1, 5), (1, 6)}}
"""(type, code) of "administratively prohibited". Source: RFC 1812 section 5.2.7.1, RFC 4443 section 3.1."""

NO_LISTENER = {FROM_ICMP: {(3, 3), (3, 2)}, FROM_ICMP6: {(1, 4), (4, 1)}}
"""(type, code) of "port unreachable" and "protocol unreachable". Source: RFC 792, RFC 4443 section 3."""

EVERY_PORT = 0
"""Stands for every port, instead of the number of a served port."""

BACKLOG = 4096
"""Connections waiting to be accepted: a matrix opens many at once, and a full backlog looks like a dropped SYN."""

FIRST_SOURCE_PORT, LAST_SOURCE_PORT = 20_000, 60_999

Icmp = tuple[int, tuple[int, int]]
"""Origin, and (type, code)."""

Verdict = tuple[str, str]
"""Result and detail."""


def source_ports() -> Iterator[int]:
    """A new source port each time, so that no probe meets the conntrack entry of another."""
    while True:
        yield from range(FIRST_SOURCE_PORT, LAST_SOURCE_PORT + 1)


SOURCE_PORTS = source_ports()


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bound(family: int, kind: int, source_port: int) -> socket.socket:
    """A non-blocking socket with its own source port, which keeps the ICMP errors that it receives."""
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    keep_errors(sock, family)
    if kind == socket.SOCK_STREAM:
        # Closing sends a reset: no TIME_WAIT occupies the port, no conntrack entry stays for two minutes.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if source_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", source_port))
        return sock
    for port in SOURCE_PORTS:
        try:
            sock.bind(("", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return sock
    raise AssertionError("the source ports never end")


def listening(port: int) -> Iterator[socket.socket]:
    """Non-blocking sockets that receive on the port: TCP and UDP, of every family that the machine supports.

    Raises:
        OSError: the port is taken.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
            except OSError:
                continue  # a kernel without IPv6
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", port))
            if kind == socket.SOCK_STREAM:
                sock.listen(BACKLOG)
            yield sock


def keep_errors(sock: socket.socket, family: int) -> None:
    """Make the socket keep the ICMP errors that it receives, for `icmp_error`."""
    if family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)


def tell_destinations(sock: socket.socket) -> None:
    """Make the socket report the destination of what it receives, for `from_destination`."""
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)


def from_destination(ancillary: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Ancillary data that makes a reply leave from the packet's destination, from the data received with the packet."""
    found = []
    for level, kind, told in ancillary:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO):
            _, _, address = IN_PKTINFO.unpack(told)
            found.append((level, kind, IN_PKTINFO.pack(0, address, bytes(4))))
        elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            address, _ = IN6_PKTINFO.unpack(told)
            found.append((level, kind, IN6_PKTINFO.pack(address, 0)))
    return found


def icmp_error(sock: socket.socket) -> Icmp | None:
    """Origin and (type, code) of the ICMP error that the socket received, if any."""
    found = icmp_error_of(sock)
    return found[0] if found else None


def icmp_error_of(sock: socket.socket) -> tuple[Icmp | None, bytes, str] | None:
    """The socket's next error, as from `icmp_error`, the start of the packet that caused it, and its destination."""
    with contextlib.suppress(OSError):
        quoted, ancillary, _, target = sock.recvmsg(512, 512, MSG_ERRQUEUE)
        for level, kind, data in ancillary:
            if (level, kind) in ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)):
                _, origin, icmp_type, code, _, _, _ = EXTENDED_ERROR.unpack_from(data)
                if origin in PROHIBITED:
                    return (origin, (icmp_type, code)), quoted, target[0] if target else ""
        return None, quoted, ""
    return None


def lost_at_home() -> contextlib.suppress:
    """For sending: if the machine's own firewall drops a packet, the sender gets an error; suppress it."""
    return contextlib.suppress(PermissionError)


def judge(code: int, icmp: Icmp | None) -> Verdict | None:
    """The verdict that a socket error implies, or None if it settles nothing."""
    if icmp:
        origin, type_code = icmp
        if type_code in PROHIBITED[origin]:
            return "Rejected", "ICMP administratively prohibited"
        if type_code in NO_LISTENER[origin]:
            return "Error", "ICMP port unreachable: the packet arrived, nothing listens there"
        return None
    if code in (errno.ECONNREFUSED, errno.ECONNRESET):
        return "Rejected", "TCP reset"
    if code in (errno.ENETUNREACH, errno.EINVAL, errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EACCES, errno.EPERM):
        return "Error", os.strerror(code)
    return None
