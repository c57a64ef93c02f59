"""What is open at an address: protocols and ports in a normal form, so that equal sets share a chain."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, assert_never

from sluice.contracts.groups import NamedPort
from sluice.contracts.programs import IcmpTraffic, IgmpTraffic, PortRange, Traffic, TransportTraffic
from sluice.dataplane.protocols import IpProto
from sluice.policy.intervals import joined

_TRANSPORTS = {"TCP": IpProto.TCP, "UDP": IpProto.UDP, "SCTP": IpProto.SCTP}
ALL_PROTOCOLS = 0
"""Protocol of an opening to everything. No transport has it: as an IP protocol, it is IPv6 hop-by-hop options."""

HIGHEST_PORT = 65_535


class Opening(NamedTuple):
    """A protocol and a range of its destination ports; 0 to 65535 is the whole protocol."""

    protocol: int
    """An IpProto, or ALL_PROTOCOLS."""

    first: int = 0
    last: int = HIGHEST_PORT

    @property
    def whole(self) -> bool:
        """Whether ports do not matter."""
        return (self.first, self.last) == (0, HIGHEST_PORT)

    @property
    def reference(self) -> int:
        """The reference in cookies of its filters: protocol in bits 39..32, then the two ports."""
        return self.protocol << 32 | self.first << 16 | self.last

    @classmethod
    def of(cls, reference: int) -> "Opening":
        """The opening of a reference."""
        return cls(reference >> 32, reference >> 16 & HIGHEST_PORT, reference & HIGHEST_PORT)


Openings = tuple[Opening, ...]
"""A union in normal form: sorted, with disjoint ranges per protocol; a single opening if that is everything."""

NOTHING: Openings = ()
EVERYTHING: Openings = (Opening(ALL_PROTOCOLS),)


class NotLowerable(ValueError):
    """Traffic that a filter here cannot match: what, why and what to do."""


def union(sets: Iterable[Openings]) -> Openings:
    """What is open in any of the sets."""
    found = set(sets)
    if len(found) <= 1:
        return next(iter(found), NOTHING)
    return _normal({opening for openings in found for opening in openings})


def openings(traffic: tuple[Traffic, ...] | None, named: Iterable[NamedPort]) -> Openings:
    """What the traffic opens where ports have these names.

    Raises:
        NotLowerable: a piece of it is not transport traffic.
    """
    if traffic is None:
        return EVERYTHING
    known = tuple(named)
    return _normal({opening for each in traffic for opening in _each(each, known)})


def covers(one: Openings, other: Openings) -> bool:
    """Whether every packet of `other` is in `one`."""
    return all(
        any(
            left.protocol in (ALL_PROTOCOLS, right.protocol) and left.first <= right.first and right.last <= left.last
            for left in one
        )
        for right in other
    )


def meet(one: Openings, other: Openings) -> bool:
    """Whether some packet is in both."""
    return any(
        (ALL_PROTOCOLS in (left.protocol, right.protocol) or left.protocol == right.protocol)
        and left.first <= right.last
        and right.first <= left.last
        for left in one
        for right in other
    )


def _each(traffic: Traffic, named: tuple[NamedPort, ...]) -> Iterator[Opening]:
    match traffic:
        case TransportTraffic(source_ports=PortRange()):
            raise NotLowerable("source ports: no filter here looks at them; leave them out")
        case TransportTraffic(protocol=protocol, ports=ports):
            number = _TRANSPORTS[protocol]
            if ports is None:
                yield Opening(number)
            elif isinstance(ports, PortRange):
                yield Opening(number, ports.first, ports.last)
            else:
                for port in named:
                    if (port.name, port.protocol) == (ports, protocol):
                        yield Opening(number, port.port, port.port)
        case IcmpTraffic() | IgmpTraffic():
            raise NotLowerable("ICMP and IGMP are no ports; use accept_icmp of the programmer")
        case _:
            assert_never(traffic)


def _normal(found: set[Opening]) -> Openings:
    if any(one.protocol == ALL_PROTOCOLS for one in found):
        return EVERYTHING
    protocols = sorted({one.protocol for one in found})
    return tuple(
        Opening(protocol, first, last)
        for protocol in protocols
        for first, last in joined((one.first, one.last) for one in found if one.protocol == protocol)
    )
