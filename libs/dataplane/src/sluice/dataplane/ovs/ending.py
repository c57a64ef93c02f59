"""Finds established connections that a policy now denies, if the policy ends such connections.

Established connections normally skip the rules. A policy's annotation, or a setting of the node, asks that they end
when the policy comes to deny them. For each connection of the Pods concerned we ask the switch what it would do with
the first packet, after the translation of Services, where policy begins.

Source: ovs-vswitchd(8), ofproto/trace-packet-out.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from sluice.contracts.groups import Page
from sluice.contracts.ids import ALL_NODES, Address, GroupId, Unit
from sluice.contracts.programs import Direction, Program
from sluice.dataplane.addresses import address
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.conntrack import LABEL_SERVICE_PORT
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.ids import ISOLATION, RuleKey
from sluice.dataplane.ovs.pipeline import Table
from sluice.dataplane.ovs.registers import BY_NODE_PORT, FLAGS, FROM_HOST, FROM_WORLD, SERVED, SERVICE_PORT
from sluice.dataplane.ovs.text import write_packet
from sluice.dataplane.ovs.tracing import Met
from sluice.dataplane.protocols import EthType, IpProto

ProgramKey = tuple[GroupId, Unit]

PORTS = {
    "tcp": (IpProto.TCP, Field.TCP_SRC, Field.TCP_DST),
    "udp": (IpProto.UDP, Field.UDP_SRC, Field.UDP_DST),
}
"""Protocols whose connections can be ended, as the tracker names them. SCTP meets the rules with each packet;
ICMP is forgotten a minute after its last packet."""

_NEW = "ct_state=trk|new,nw_ttl=64"
_DENY = (CookieKind.RULE, CookieKind.ISOLATION)
_BEGINS = (Table.EGRESS_TIER, Table.FORWARD)
"""Where policies at NodePorts are over, and where those for what Pods send are."""


class Known(NamedTuple):
    """A tracked connection as policy sees it: from the client to the endpoint."""

    protocol: str
    source: Address
    source_port: int
    destination: Address
    destination_port: int
    label: int


class Ending:
    """Which programs end connections that they come to deny, and when connections have to be checked. Mutable.

    Args:
        always: all programs do.
    """

    def __init__(self, *, always: bool = False) -> None:
        self._always = always
        self._programs: dict[ProgramKey, Program] = {}
        self._own: dict[GroupId, Page] = {}
        """Pages of this node."""

        self.due = False
        """True if what they deny may have changed. Cleared by whoever checks the connections."""

    def put(self, program: Program) -> None:
        key = program.applied_to, program.unit
        self._programs.pop(key, None)
        if program.ends or self._always:
            self._programs[key] = program
        self._changed()

    def drop(self, key: ProgramKey) -> None:
        self._programs.pop(key, None)
        self._changed()  # what it allowed, others may deny

    def page(self, group: GroupId, page: Page | None, *, own: bool) -> None:
        """The group's members on some node have changed."""
        if own and page is not None:
            self._own[group] = page
        elif own:
            self._own.pop(group, None)
        self._changed()

    def _changed(self) -> None:
        self.due = self.due or bool(self._programs)

    def concerns(self, connection: Known) -> bool:
        """Whether one of the programs may apply to the connection."""
        ends = {connection.source, connection.destination}
        groups = {group for group, _ in self._programs}
        return any(group == ALL_NODES or not ends.isdisjoint(self._addresses(group)) for group in groups)

    def deny(self, by: RuleKey, connection: Known) -> bool:
        """Whether one of the programs denies it. If several isolate a Pod, `by` is an arbitrary one of them."""
        if by.rule != ISOLATION:
            return (by.applied_to, by.unit) in self._programs
        end = connection.source if by.direction is Direction.EGRESS else connection.destination
        return any(
            by.direction in program.isolates and end in self._addresses(group)
            for (group, _), program in self._programs.items()
        )

    def _addresses(self, group: GroupId) -> Iterator[Address]:
        page = self._own.get(group)
        for member in page.members if page else ():
            yield from member.addresses


def question(
    connection: Known, in_port: int, *, from_host: bool, from_pod: bool, at: Table = Table.NODE_PORT
) -> tuple[str, ...]:
    """The arguments of ofproto/trace-packet-out, after the bridge.

    Args:
        at: where the packet begins; see `Denier.then`.
        in_port: that of the sender.
        from_host: the sender is the node itself.
        from_pod: the sender is a Pod of the node; policies that apply to a Service do not concern its use of NodePorts.
    """
    source, target = address(connection.source), address(connection.destination)
    number, from_port, to_port = PORTS[connection.protocol]
    v4 = source.version == 4
    fields = {
        Field.IN_PORT: in_port,
        Field.ETH_TYPE: EthType.IPV4 if v4 else EthType.IPV6,
        (Field.IPV4_SRC if v4 else Field.IPV6_SRC): source.value,
        (Field.IPV4_DST if v4 else Field.IPV6_DST): target.value,
        Field.IP_PROTO: number,
        from_port: connection.source_port,
        to_port: connection.destination_port,
    }
    served = connection.label >> LABEL_SERVICE_PORT & 0xFFFFFFFF
    from_world = bool(served & BY_NODE_PORT) and not from_pod
    flags = SERVED * bool(served) | FROM_WORLD * from_world | FROM_HOST * from_host
    begins = (
        f"set_field:{served:#x}->{SERVICE_PORT.spec.name}",
        f"set_field:{flags:#x}->{FLAGS.spec.name}",
        f"resubmit(,{at:d})",
    )
    return f"{write_packet(fields)},{_NEW}", ",".join(begins)


class Denier(NamedTuple):
    number: int
    """The id of the rule."""

    then: Table | None
    """Where the policies begin that the packet would meet next if the rule allowed it; None: there are none."""


def denier(met: Collection[Met]) -> Denier | None:
    """Who denies a packet that hit these flows; None if no rule does."""
    if not met or any(one.table == Table.TALLY for one in met):
        return None
    deciding = [
        (cookie.number, one.table)
        for one in met
        if one.cookie and (cookie := cookies.unpack(one.cookie)) and cookie.kind in _DENY
    ]
    if list(met)[-1].table != Table.COUNT or not deciding:
        return None
    number, table = deciding[-1]
    return Denier(number, next((begin for begin in _BEGINS if begin > table), None))
