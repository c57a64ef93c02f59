"""SCTP without kernel support: the first two packets of an association, through one raw socket per family.

INIT is answered by INIT ACK on served ports and by ABORT on others, and there it ends: enough to see what becomes of
the packets. If the kernel supports SCTP, ports are served by its own sockets; probes use raw sockets even then. Source:
RFC 9260 sections 3.1 to 3.3, RFC 3309 for the checksum.
"""

import contextlib
import errno
import functools
import os
import select
import socket
import struct

from sluice.lab.prober.loop import Callback, Loop
from sluice.lab.prober.probing import Settled, What
from sluice.lab.prober.sockets import (
    EVERY_PORT,
    SOURCE_PORTS,
    family_of,
    icmp_error_of,
    judge,
    keep_errors,
    lost_at_home,
)

PROTOCOL = 132
INIT, INIT_ACK, ABORT = 1, 2, 6
"""Types of chunks. Source: RFC 9260 section 3.2."""

HEADER = struct.Struct("!HHII")
"""Source port, destination port, verification tag, checksum."""

INIT_CHUNK = struct.Struct("!BBHIIHHI")
"""Type, flags, length; initiate tag, receiver window, streams out and in, initial TSN."""

STATE_COOKIE = struct.pack("!HH8s", 7, 12, b"sluice\0\0")
"""The mandatory parameter of an INIT ACK. Source: RFC 9260 section 3.3.3."""

Key = tuple[str, int, int]
"""Address and port of the other end, and the local port."""


class Endpoint:
    """The raw socket of one family, the ports it serves, and the pending probes."""

    def __init__(self, loop: Loop, family: socket.AddressFamily) -> None:
        """Raises OSError: the process may not open raw sockets."""
        self._family = family
        self._sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, PROTOCOL)
        keep_errors(self._sock, family)
        self._served: set[int] = set()
        self._waiting: dict[Key, Settled] = {}
        loop.watch(self._sock.fileno(), select.EPOLLIN, self._ready)

    def serve(self, port: int) -> None:
        self._served.add(port)

    def initiate(self, what: What, settled: Settled) -> Callback:
        """Send one INIT; the returned function cancels waiting for its answer."""
        source = what.get("source_port", 0) or next(SOURCE_PORTS)
        key = str(what["address"]), int(what["port"]), source
        self._waiting[key] = settled
        tag = int.from_bytes(os.urandom(4)) | 1
        self._send(key[0], packet(source, key[1], 0, _init(INIT, tag)))
        return functools.partial(self._forget, key)

    def _forget(self, key: Key) -> None:
        self._waiting.pop(key, None)

    def _send(self, address: str, body: bytes) -> None:
        with lost_at_home():
            self._sock.sendto(body, (address, 0))

    def _ready(self, events: int) -> None:
        if events & select.EPOLLERR:
            self._read_error()
        with contextlib.suppress(OSError):  # nothing more to read, or a pending error
            while True:
                body, sender = self._sock.recvfrom(2_048)
                if self._family == socket.AF_INET:
                    body = body[(body[0] & 15) * 4 :]
                if len(body) > HEADER.size:
                    self._read(body, sender[0])

    def _read(self, body: bytes, sender: str) -> None:
        source, destination, _, _ = HEADER.unpack_from(body)
        kind = body[HEADER.size]
        if kind == INIT and len(body) >= HEADER.size + INIT_CHUNK.size:
            (peer,) = struct.unpack_from("!I", body, HEADER.size + 4)
            self._answer(sender, source, destination, peer)
        elif kind == INIT_ACK:
            self._settle((sender, source, destination), "Allowed", "")
        elif kind == ABORT:
            self._settle((sender, source, destination), "Rejected", "SCTP abort")

    def _answer(self, sender: str, theirs: int, ours: int, peer: int) -> None:
        if ours in self._served or EVERY_PORT in self._served:
            chunk = _init(INIT_ACK, int.from_bytes(os.urandom(4)) | 1, STATE_COOKIE)
        elif self._served:
            chunk = struct.pack("!BBH", ABORT, 0, 4)
        else:
            return  # the kernel supports SCTP, and answers
        with contextlib.suppress(OSError):
            self._send(sender, packet(ours, theirs, peer, chunk))

    def _read_error(self) -> None:
        while (found := icmp_error_of(self._sock)) is not None:
            error, quoted, address = found
            verdict = judge(0, error)
            if verdict and len(quoted) >= 4:
                source, destination = struct.unpack_from("!HH", quoted)
                self._settle((address, destination, source), *verdict)

    def _settle(self, key: Key, result: str, detail: str) -> None:
        if settled := self._waiting.pop(key, None):
            settled(result, detail)


class Endpoints:
    """One endpoint per family, created on first use: raw sockets need privileges."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._made: dict[socket.AddressFamily, Endpoint] = {}

    def of(self, family: socket.AddressFamily) -> Endpoint:
        """Raises OSError: the process may not open raw sockets."""
        if family not in self._made:
            self._made[family] = Endpoint(self.loop, family)
        return self._made[family]

    def serve(self, port: int) -> None:
        """Accept associations to this port, over every family; without privileges, over none."""
        for family in (socket.AF_INET, socket.AF_INET6):
            with contextlib.suppress(PermissionError):
                if port == EVERY_PORT or not _kernel_serves(family, port):
                    self.of(family).serve(port)

    def ask(self, what: What, settled: Settled) -> Callback:
        """Send one INIT; the returned function cancels waiting for its answer. Raises OSError, as `of`."""
        return self.of(family_of(what["address"])).initiate(what, settled)


_kernel_listeners: list[socket.socket] = []
"""Open for the life of the process."""


def _kernel_serves(family: socket.AddressFamily, port: int) -> bool:
    """Make the kernel serve the port, if it supports SCTP; returns whether it does."""
    try:
        sock = socket.socket(family, socket.SOCK_STREAM, PROTOCOL)
    except OSError as error:
        if error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT, errno.EAFNOSUPPORT):
            return False
        raise
    sock.bind(("", port))
    sock.listen()
    _kernel_listeners.append(sock)
    return True


def packet(source: int, destination: int, tag: int, chunk: bytes) -> bytes:
    """The packet with its checksum."""
    body = HEADER.pack(source, destination, tag, 0) + chunk
    return body[:8] + struct.pack("<I", crc32c(body)) + body[12:]


def _init(kind: int, tag: int, parameters: bytes = b"") -> bytes:
    length = INIT_CHUNK.size + len(parameters)
    return INIT_CHUNK.pack(kind, 0, length, tag, 65_535, 1, 1, tag) + parameters


def crc32c(body: bytes) -> int:
    """CRC32c (Castagnoli) in transmission order, least significant octet first. Source: RFC 9260 appendix A."""
    crc = 0xFFFFFFFF
    for octet in body:
        crc = (crc >> 8) ^ _table()[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF


@functools.cache
def _table() -> tuple[int, ...]:
    def row(value: int) -> int:
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        return value

    return tuple(row(octet) for octet in range(256))
