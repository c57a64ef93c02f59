"""DNS answers that the switch holds back, as packets: whom they are for, and what they say.

UDP in one datagram, and TCP (see `dns.stream`). What cannot be parsed does not pass: a fragment, another protocol on
this port, a server that is not trusted.
"""

from collections.abc import Collection
from ipaddress import ip_address
from typing import NamedTuple

from sluice.contracts.ids import Address
from sluice.dataplane import frame
from sluice.dataplane.dns import message
from sluice.dataplane.dns.message import Answer, Unreadable
from sluice.dataplane.dns.stream import Streams
from sluice.dataplane.protocols import IpProto

_UDP_HEADER = 8


class NotBelieved(Unreadable):
    """The answer comes from a server that is not trusted."""


class Heard(NamedTuple):
    client: Address
    """The Pod's address, which the answer is sent to."""

    answers: tuple[Answer, ...] = ()
    """To be processed before the packet may pass; none: it may pass at once."""

    again: bool = False
    """The packet may pass only after those that were held when it came."""


class Reader:
    """Reads held packets, one after the other.

    Args:
        servers: whose answers are trusted; none: everybody's, which is what the Pods do.
    """

    def __init__(self, servers: Collection[Address] = ()) -> None:
        self._servers = frozenset(ip_address(server).packed for server in servers)
        self._streams = Streams()

    def read(self, octets: bytes) -> Heard:
        """The content of a packet, given from its Ethernet header on.

        Raises:
            Unreadable: it must not pass.
        """
        held = frame.read(octets)
        if held is None or not held.whole:
            raise Unreadable("no whole packet of IP")  # the other fragments are not held: they have no ports
        if self._servers and held.source not in self._servers:
            raise NotBelieved("of a server that is not believed")
        client = Address(str(ip_address(held.target)))
        if held.proto == IpProto.TCP:
            segment = self._streams.take(held)
            return Heard(client, segment.answers, segment.again)
        carried = held.payload
        if held.proto != IpProto.UDP or len(carried) < _UDP_HEADER:
            raise Unreadable("neither TCP nor UDP")
        if int.from_bytes(carried[4:6], "big") != len(carried):
            raise Unreadable("a fragment")
        return Heard(client, (message.read(carried[_UDP_HEADER:]),))

    def refuse(self, octets: bytes) -> None:
        """The packet must not pass, nor the rest of its TCP stream: its answers cannot be processed."""
        held = frame.read(octets)
        if held is not None and held.proto == IpProto.TCP:
            self._streams.fail(held)

    def forget(self, client: Address) -> None:
        """Forget the streams to this address: its Pod is gone."""
        self._streams.forget(ip_address(client).packed)
