"""Echo and timestamp requests, through one raw socket per family; replies are matched by identifier.

Each request has a new identifier, as each probe has a new source port: two requests with the same one would be one
connection, which policies applied in between leave alone.
"""

import contextlib
import functools
import os
import select
import socket
import struct

from sluice.lab.prober.loop import Callback, Loop
from sluice.lab.prober.probing import Settled, What
from sluice.lab.prober.sockets import FROM_ICMP, FROM_ICMP6, PROHIBITED, family_of, lost_at_home

ECHO = {socket.AF_INET: 8, socket.AF_INET6: 128}
REPLIES = {socket.AF_INET: {8: 0, 13: 14}, socket.AF_INET6: {128: 129}}
"""Requests that every kernel answers, and the types of the replies: echo, and IPv4 timestamp.

Source: RFC 792, RFC 4443 section 4.
"""

TIMESTAMPS = bytes(12)
"""The body of a timestamp request, also used for echo requests, where any bytes would do."""


class Pinger:
    """The raw socket of one family, and the pending identifiers."""

    def __init__(self, loop: Loop, family: socket.AddressFamily) -> None:
        protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
        self._family = family
        self._sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
        self._identifier = int.from_bytes(os.urandom(2))
        self._waiting: dict[int, Settled] = {}
        loop.watch(self._sock.fileno(), select.EPOLLIN, self._ready)

    def ping(self, address: str, kind: int, settled: Settled) -> Callback:
        """Send one request; the returned function cancels waiting for its reply."""
        self._identifier = identifier = (self._identifier + 1) & 0xFFFF
        self._waiting[identifier] = settled
        with lost_at_home():
            self._sock.sendto(self._request(kind, identifier), (address, 0))
        return functools.partial(self._forget, identifier)

    def _forget(self, identifier: int) -> None:
        self._waiting.pop(identifier, None)

    def _request(self, kind: int, identifier: int) -> bytes:
        packet = struct.pack("!BBHHH", kind, 0, 0, identifier, 1) + TIMESTAMPS
        if self._family == socket.AF_INET6:
            return packet  # the kernel fills the checksum in
        return packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]

    def _ready(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                packet = self._sock.recv(2_048)
                self._read(packet if self._family == socket.AF_INET6 else packet[(packet[0] & 15) * 4 :])

    def _read(self, packet: bytes) -> None:
        if len(packet) < 8:
            return
        kind, code = packet[0], packet[1]
        if kind in REPLIES[self._family].values():
            self._answered(packet, "Allowed", "")
            return
        origin = FROM_ICMP if self._family == socket.AF_INET else FROM_ICMP6
        if (kind, code) in PROHIBITED[origin]:
            inner = packet[8:]
            quoted = inner[40:] if self._family == socket.AF_INET6 else inner[(inner[0] & 15) * 4 :] if inner else b""
            if len(quoted) >= 8 and quoted[0] in REPLIES[self._family]:
                self._answered(quoted, "Rejected", "ICMP administratively prohibited")

    def _answered(self, echo: bytes, result: str, detail: str) -> None:
        (identifier,) = struct.unpack_from("!H", echo, 4)
        if settled := self._waiting.pop(identifier, None):
            settled(result, detail)


def checksum(packet: bytes) -> int:
    """Source: RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


class Pingers:
    """One pinger per family, created on first use: raw sockets need privileges."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._made: dict[socket.AddressFamily, Pinger] = {}

    def of(self, family: socket.AddressFamily) -> Pinger:
        """Raises OSError: the process may not open raw sockets."""
        if family not in self._made:
            self._made[family] = Pinger(self.loop, family)
        return self._made[family]

    def ask(self, what: What, settled: Settled) -> Callback:
        """Send one request; the returned function cancels waiting for its reply. Raises OSError, as `of`."""
        address: str = what["address"]
        family = family_of(address)
        return self.of(family).ping(address, what.get("icmp_type") or ECHO[family], settled)
