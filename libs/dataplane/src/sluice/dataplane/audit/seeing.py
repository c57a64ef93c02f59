"""From packets that are handed over to lines: what is seen of each, and which denials make one line.

A line is about the moment of its first packet, and of denials that look alike within a second there is one, which says
how many there were and how long from the first to the last.
Source: docs "Antrea Network Policy CRDs", "enableLogging and logLabel": the duplication buffer is a second.
"""

from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from sluice.contracts.audit import FlowDecision
from sluice.contracts.ids import Address
from sluice.dataplane.audit.attribution import Deciding
from sluice.dataplane.frame import Frame
from sluice.dataplane.protocols import IpProto

WINDOW_US = 1_000_000

_PROTOCOLS = {
    IpProto.ICMP: "ICMP",
    2: "IGMP",
    IpProto.TCP: "TCP",
    IpProto.UDP: "UDP",
    IpProto.ICMPV6: "IPv6-ICMP",
    IpProto.SCTP: "SCTP",
}
"""Source: IANA, "Protocol Numbers"; others are their number."""


class Seen(NamedTuple):
    """What a line tells of a packet. Two that are equal look alike."""

    rule: int
    """Its id in the switch."""

    applied_to: str
    """The Pod that it was decided for, empty if none: `namespace/name`."""

    source: bytes
    target: bytes
    proto: int
    ports: tuple[int, int] | None
    length: int


class Repeated(NamedTuple):
    """A line to be."""

    seen: Seen
    deciding: Deciding
    """As it was for the first of them."""

    first_us: int
    last_us: int
    packets: int


def see(rule: int, applied_to: str, frame: Frame) -> Seen:
    return Seen(rule, applied_to, frame.source, frame.target, frame.proto, frame.ports, len(frame.packet))


def is_repeatable(deciding: Deciding) -> bool:
    """What is let in is not, there is one packet a connection; others may be denied later, and come again and again."""
    return deciding.action not in ("Allow", "Redirect")


def decision(repeated: Repeated) -> FlowDecision:
    """What the line says."""
    seen, deciding = repeated.seen, repeated.deciding
    ports = seen.ports
    return FlowDecision(
        at_us=repeated.first_us,
        table=deciding.table,
        policy=deciding.policy,
        rule=deciding.rule,
        direction=deciding.direction,
        action=deciding.action,
        priority=deciding.priority if deciding.index is not None else None,
        applied_to=seen.applied_to,
        source=_text(seen.source),
        source_port=ports[0] if ports else None,
        destination=_text(seen.target),
        destination_port=ports[1] if ports else None,
        protocol=_PROTOCOLS.get(seen.proto) or str(seen.proto),
        length=seen.length,
        label=deciding.label,
        packets=repeated.packets,
        within_us=repeated.last_us - repeated.first_us,
    )


class Duplicates:
    """Denials of the last second. The meter bounds how many there can be."""

    def __init__(self) -> None:
        self._held: dict[Seen, Repeated] = {}

        self._order: deque[Seen] = deque()

    def __len__(self) -> int:
        """Packets whose line is not there yet."""
        return sum(held.packets for held in self._held.values())

    def take(self, seen: Seen, deciding: Deciding, at_us: int) -> None:
        held = self._held.get(seen)
        if held is None:
            self._held[seen] = Repeated(seen, deciding, at_us, at_us, 1)
            self._order.append(seen)
        else:
            self._held[seen] = Repeated(seen, held.deciding, held.first_us, at_us, held.packets + 1)

    def due(self, now_us: int) -> Iterator[Repeated]:
        """Those whose second is over, the first first; they are held no more."""
        while self._order and self._held[self._order[0]].first_us + WINDOW_US <= now_us:
            yield self._held.pop(self._order.popleft())

    def rest(self) -> Iterator[Repeated]:
        """All of them, whether their second is over or not."""
        while self._order:
            yield self._held.pop(self._order.popleft())


@lru_cache(maxsize=4096)
def _text(octets: bytes) -> Address:
    return Address(str(IPv4Address(octets) if len(octets) == 4 else IPv6Address(octets)))
