"""A node's lifelines: traffic that always passes, so that no policy can lock people out of their own cluster.

A policy on Nodes could cut the node off from everything that could revoke the policy. So lifelines precede all rules;
the status lists them.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sluice.contracts.programs import Direction
from sluice.dataplane.addresses import PORTS, Block, NotAnAddress, network
from sluice.dataplane.host.table import (
    Accept,
    Carries,
    Device,
    Hook,
    Icmp,
    Line,
    Match,
    Onward,
    Opened,
    OpenedPort,
    Port,
    Side,
    Within,
)
from sluice.dataplane.protocols import IpProto

PROTOCOLS = {"tcp": IpProto.TCP, "udp": IpProto.UDP, "sctp": IpProto.SCTP}

HOOKS: dict[Direction, Hook] = {Direction.INGRESS: "input", Direction.EGRESS: "output"}

DISCOVERY = (133, 137)
"""ICMPv6: router and neighbour solicitation and advertisement, redirect. Source: RFC 4861 section 4."""

_DHCP = ((67, 68), (547, 546))
"""Ports of servers and clients, IPv4 and IPv6. Source: RFC 2131 section 4.1, RFC 8415 section 7.2."""


class NotALifeline(ValueError):
    """The text is not a lifeline; the message says what it should look like."""


class Lifeline(NamedTuple):
    """Traffic that passes in one direction. The peer is a server for egress, a client for ingress.

    A server is named by the address that the node uses: its ClusterIP, if kube-proxy translates that to an endpoint.
    """

    title: str
    direction: Direction
    protocol: int
    first: int
    last: int
    """Range of destination ports."""

    peer: Block | None = None
    """None: any peer."""

    source_port: int | None = None

    def words(self) -> str:
        """In words: `kubelet: ingress tcp 10250 from 10.0.0.0/8`."""
        name = next(name for name, number in PROTOCOLS.items() if number == self.protocol)
        ports = str(self.first) if self.first == self.last else f"{self.first}-{self.last}"
        way = "to" if self.direction is Direction.EGRESS else "from"
        return f"{self.title}: {self.direction} {name} {ports} {way} {self.peer.text if self.peer else 'anywhere'}"


BY_ITSELF = ("loopback", "neighbour discovery of IPv6", "the node's own Pods", "replies")
"""Lifelines that are not about a port, in words."""


def parse(title: str, direction: Direction, text: str) -> Lifeline:
    """Parse one of `tcp:10250`, `tcp:10250:10.0.0.0/8`, `udp:53:[fd00::53]`, `tcp:30000-30010`.

    Raises:
        NotALifeline
    """
    how = f"{title}: {text!r} is not a lifeline: write PROTOCOL:PORT or PROTOCOL:PORT:CIDR, such as tcp:22:192.0.2.0/24"
    protocol, _, rest = text.strip().partition(":")
    ports, _, peer = rest.partition(":")
    first, _, last = ports.partition("-")
    try:
        known = PROTOCOLS[protocol.lower()]
        block = network(peer.strip("[]")) if peer else None
        numbers = int(first), int(last or first)
    except (KeyError, NotAnAddress, ValueError) as error:
        raise NotALifeline(how) from error
    if not 0 < numbers[0] <= numbers[1] < PORTS:
        raise NotALifeline(how)
    return Lifeline(title, direction, known, *numbers, block)


def dhcp() -> Iterator[Lifeline]:
    """Lifelines that let the node keep its address."""
    for server, client in _DHCP:
        yield Lifeline("DHCP", Direction.EGRESS, IpProto.UDP, server, server, source_port=client)
        yield Lifeline("DHCP", Direction.INGRESS, IpProto.UDP, client, client, source_port=server)


def lines(direction: Direction, lifelines: Iterable[Lifeline]) -> Iterator[Line]:
    """The lines of the hook's chain that let the lifelines of this direction pass."""
    yield Line((Device(HOOKS[direction], "lo"),), Accept(), "lifeline: loopback")
    yield Line((Icmp(6, "type", *DISCOVERY),), Accept(), "lifeline: neighbour discovery")
    for one in lifelines:
        if one.direction is direction:
            yield Line(tuple(_matches(one)), Accept(), f"lifeline: {one.title}")


def _matches(one: Lifeline) -> Iterator[Match]:
    opens = one.direction is Direction.EGRESS  # the hook comes after NAT, so the packet's own headers do not count
    every_port = (one.first, one.last) == (0, PORTS - 1)
    if opens:
        yield Onward()
    if one.source_port is not None:
        yield Port(one.protocol, Side.SOURCE, one.source_port, one.source_port)
    elif opens or every_port:
        yield Carries(one.protocol)
    if one.peer is not None and one.peer.prefix:
        yield Opened(one.peer) if opens else Within(Side.SOURCE, one.peer)
    if not every_port:
        yield OpenedPort(one.first, one.last) if opens else Port(one.protocol, Side.DESTINATION, one.first, one.last)
