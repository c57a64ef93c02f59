"""From handed-over packets to lines: what is logged of each, and which denials share one line.

A line has the time of its first packet. Denials within a second that look alike share one line, which tells how many
there were and the time from the first to the last.

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
"""Source: IANA, "Protocol Numbers"; other protocols are shown as a number."""


class Seen(NamedTuple):
    """The logged properties of a packet. Equal values look alike in the log."""

    rule: int
    """The rule's id in the switch."""

    applied_to: str
    """The Pod that it was decided for (`namespace/name`); empty if none."""

    source: bytes
    target: bytes
    proto: int
    ports: tuple[int, int] | None
    length: int


class Repeated(NamedTuple):
    """A line to be written."""

    seen: Seen
    deciding: Deciding
    """The rule as of the first packet."""

    first_us: int
    last_us: int
    packets: int


def see(rule: int, applied_to: str, frame: Frame) -> Seen:
    return Seen(rule, applied_to, frame.source, frame.target, frame.proto, frame.ports, len(frame.packet))


def is_repeatable(deciding: Deciding) -> bool:
    """Whether the decision repeats: of an allowed connection only one packet logs, but denied ones keep coming."""
    return deciding.action not in ("Allow", "Redirect")


def decision(repeated: Repeated) -> FlowDecision:
    """The line's content."""
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
    """Denials of the last second. The meter limits their number."""

    def __init__(self) -> None:
        self._held: dict[Seen, Repeated] = {}

        self._order: deque[Seen] = deque()

    def __len__(self) -> int:
        """Number of packets whose line is not written yet."""
        return sum(held.packets for held in self._held.values())

    def take(self, seen: Seen, deciding: Deciding, at_us: int) -> None:
        held = self._held.get(seen)
        if held is None:
            self._held[seen] = Repeated(seen, deciding, at_us, at_us, 1)
            self._order.append(seen)
        else:
            self._held[seen] = Repeated(seen, held.deciding, held.first_us, at_us, held.packets + 1)

    def due(self, now_us: int) -> Iterator[Repeated]:
        """Remove and return those whose second is over, oldest first."""
        while self._order and self._held[self._order[0]].first_us + WINDOW_US <= now_us:
            yield self._held.pop(self._order.popleft())

    def rest(self) -> Iterator[Repeated]:
        """Remove and return all of them, whether their second is over or not."""
        while self._order:
            yield self._held.pop(self._order.popleft())


@lru_cache(maxsize=4096)
def _text(octets: bytes) -> Address:
    return Address(str(IPv4Address(octets) if len(octets) == 4 else IPv6Address(octets)))
