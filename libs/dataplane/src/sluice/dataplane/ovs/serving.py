"""Services in the switch: traffic to a Service goes to one of its endpoints, before any policy applies.

Each port of a Service has a number, and an OpenFlow group per IP version. The group chooses an endpoint, by its number,
for each new connection; ENDPOINT makes the connection tracker translate the address in this and all later packets. With
session affinity, the switch itself stores the choice as a flow in AFFINITY (`learn`), which is removed with the
endpoint.

A client of a Service without endpoints is rejected, as by kube-proxy.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sluice.contracts.ids import Address, NodeName, Unit
from sluice.contracts.programs import ServiceRef
from sluice.contracts.serving import EndpointsProgram, ServedEndpoint, ServedPort, ServiceProgram
from sluice.contracts.status import Problem
from sluice.dataplane.addresses import Block, NotAnAddress, address
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.conntrack import CT_ZONE, LABEL_SERVICE_PORT, MARK_SERVED
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import (
    Actions,
    Buckets,
    Ct,
    FlowBody,
    FlowKey,
    Flows,
    Goto,
    Group,
    Groups,
    Learn,
    Match,
    MoveField,
    Nat,
    Resubmit,
    SetField,
    Term,
    match,
)
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.layers import REJECT
from sluice.dataplane.ovs.pipeline import PRIORITY, PRIORITY_FIRST, Table
from sluice.dataplane.ovs.ports import destination
from sluice.dataplane.ovs.registers import (
    BY_NODE_PORT,
    ENDPOINT_NUMBER,
    FLAGS,
    FROM_WORLD,
    SERVED,
    SERVICE_PORT,
    TO_NODE,
)
from sluice.dataplane.protocols import EthType, IpProto

MOST_ENDPOINTS = 1_300
"""Per Service port: a group's message has room for 64 KiB, and a bucket takes 48 octets."""

LONGEST_AFFINITY_S = 0xFFFF
"""Source: OpenFlow 1.5.1, struct ofp_flow_mod, idle_timeout."""

_VERSIONS = (4, 6)
_ETH_TYPES = {4: EthType.IPV4, 6: EthType.IPV6}
_CLIENT = {4: Field.IPV4_SRC, 6: Field.IPV6_SRC}
_ASKED = {4: Field.IPV4_DST, 6: Field.IPV6_DST}
_ANYBODY, _WORLD, _PODS = Term(FLAGS, 0, 0), Term(FLAGS, FROM_WORLD, FROM_WORLD), Term(FLAGS, 0, FROM_WORLD)
"""The clients of a NodePort that a flow is for."""

_PROTOCOLS = {
    "TCP": (IpProto.TCP, Field.TCP_DST),
    "UDP": (IpProto.UDP, Field.UDP_DST),
    "SCTP": (IpProto.SCTP, Field.SCTP_DST),
}


class _Served(NamedTuple):
    """What a Service is lowered to."""

    flows: Flows
    groups: Groups
    ports: frozenset[str]
    endpoints: frozenset[str]
    udp: frozenset[tuple[Address, int]]
    problems: tuple[Problem, ...]


_NOTHING = _Served({}, {}, frozenset(), frozenset(), frozenset(), ())


class Changes(NamedTuple):
    """What changes in the switch; None: gone."""

    flows: dict[FlowKey, FlowBody | None]
    groups: dict[int, Buckets | None]
    gone: frozenset[tuple[Address, int]]
    """UDP endpoints that no longer exist: their clients must be made to choose again."""

    services: frozenset[ServiceRef]
    """Services whose ports have other numbers than before, or that came or went."""


class Serving:
    """The Services that a node serves, maintained incrementally: the cost of a change is that of its Service."""

    def __init__(self, node: NodeName, ids: RuleIds) -> None:
        self._node, self._ids = node, ids
        self._services: dict[ServiceRef, ServiceProgram] = {}
        self._slices: dict[ServiceRef, dict[Unit, EndpointsProgram]] = {}
        self._ref_of: dict[Unit, ServiceRef] = {}
        self._served: dict[ServiceRef, _Served] = {}
        self._stale: set[ServiceRef] = set()

    def put(self, program: ServiceProgram | EndpointsProgram) -> None:
        """The program is in force from now on."""
        ref = program.service
        if self._ref_of.get(program.unit, ref) != ref:
            self.drop(program.unit)
        self._ref_of[program.unit] = ref
        if isinstance(program, ServiceProgram):
            self._services[ref] = program
        else:
            self._slices.setdefault(ref, {})[program.unit] = program
        self._stale.add(ref)

    def drop(self, unit: Unit) -> None:
        """The program is not in force any more."""
        ref = self._ref_of.pop(unit, None)
        if ref is None:
            return
        if self._services.get(ref) is not None and self._services[ref].unit == unit:
            del self._services[ref]
        slices = self._slices.get(ref, {})
        slices.pop(unit, None)
        if not slices:
            self._slices.pop(ref, None)
        self._stale.add(ref)

    def numbers(self, ref: ServiceRef) -> frozenset[int]:
        """The numbers of the Service's ports, as of the last `drain`."""
        return frozenset(self._ids.service_ports[name] for name in self._served.get(ref, _NOTHING).ports)

    def owner(self, key: FlowKey) -> ServiceRef | None:
        """The Service that the flow belongs to. Searches all Services."""
        return next((ref for ref, served in self._served.items() if key in served.flows), None)

    def owner_of_endpoint(self, number: int) -> ServiceRef | None:
        """The Service whose endpoint has this number, as in cookies of learnt flows. Searches all Services."""
        names = {name for name, one in self._ids.endpoints.state().items() if one == number}
        return next((ref for ref, served in self._served.items() if names & served.endpoints), None)

    def problems(self) -> Iterator[Problem]:
        for served in self._served.values():
            yield from served.problems

    def forget_unused(self) -> None:
        """Free the numbers of all other Services."""
        self._ids.service_ports.keep({name for served in self._served.values() for name in served.ports})
        self._ids.endpoints.keep({name for served in self._served.values() for name in served.endpoints})

    def drain(self) -> Changes:
        """What changes in the switch since the last call."""
        flows: dict[FlowKey, FlowBody | None] = {}
        groups: dict[int, Buckets | None] = {}
        changed: set[ServiceRef] = set()
        gone: set[tuple[Address, int]] = set()
        for ref in sorted(self._stale):
            old, new = self._served.get(ref, _NOTHING), self._lower(ref)
            flows |= dict.fromkeys(old.flows.keys() - new.flows.keys())
            flows |= {key: body for key, body in new.flows.items() if old.flows.get(key) != body}
            groups |= dict.fromkeys(old.groups.keys() - new.groups.keys())
            groups |= {number: made for number, made in new.groups.items() if old.groups.get(number) != made}
            self._ids.service_ports.release(old.ports - new.ports)
            self._ids.endpoints.release(old.endpoints - new.endpoints)
            gone |= old.udp - new.udp
            if new is _NOTHING:
                self._served.pop(ref, None)
            else:
                self._served[ref] = new
            if old.ports != new.ports:
                changed.add(ref)
        self._stale.clear()
        return Changes(flows, groups, frozenset(gone), frozenset(changed))

    def _lower(self, ref: ServiceRef) -> _Served:
        service = self._services.get(ref)
        if service is None:
            return _NOTHING
        return lower_service(service, self._slices.get(ref, {}), self._node, self._ids)


def lower_service(
    service: ServiceProgram, slices: Mapping[Unit, EndpointsProgram], node: NodeName, ids: RuleIds
) -> _Served:
    """What a switch holds for a Service with these endpoints."""
    made = _Making(service, node, ids)
    versions = {block.version for block in _blocks(service.addresses)}
    for port in service.ports:
        for version in _VERSIONS if port.node_port else sorted(versions):
            found = {
                (at.address, at.port): at for at in sorted(_endpoints(slices.values(), port, version), reverse=True)
            }
            made.take(port, version, sorted(found.values()))
    for asked in _blocks(service.addresses):
        made.add(Table.SERVICE, PRIORITY - 1, destination(asked), ())  # other ports of its addresses are dropped
    return _Served(
        made.flows,
        made.groups,
        frozenset(made.ports),
        frozenset(made.endpoints),
        frozenset(made.udp),
        tuple(dict.fromkeys(made.problems)),
    )


class _At(NamedTuple):
    """An endpoint of one port of a Service."""

    address: Block
    port: int
    endpoint: ServedEndpoint


def _endpoints(slices: Iterable[EndpointsProgram], port: ServedPort, version: int) -> Iterator[_At]:
    for one in slices:
        targets = [each.port for each in one.ports if (each.name, each.protocol) == (port.name, port.protocol)]
        for endpoint in one.endpoints if targets else ():
            for block in _blocks((endpoint.address,)):
                if block.version == version:
                    yield _At(block, targets[0], endpoint)


def _blocks(texts: Iterable[str]) -> Iterator[Block]:
    for text in texts:
        try:
            yield address(text)
        except NotAnAddress:
            continue  # rule-compiler never writes one


def _chosen(endpoints: list[_At], node: NodeName, *, here_only: bool) -> list[_At]:
    """The endpoints that get new connections: the ready ones, or else those that are terminating but still serve."""
    near = [at for at in endpoints if not here_only or at.endpoint.node == node]
    return [at for at in near if at.endpoint.state == "ready"] or near


class _Making:
    """Collects the flows and groups of one Service."""

    def __init__(self, service: ServiceProgram, node: NodeName, ids: RuleIds) -> None:
        self._service, self._node, self._ids = service, node, ids
        self.flows: Flows = {}
        self.groups: Groups = {}
        self.ports: set[str] = set()
        self.endpoints: set[str] = set()
        self.udp: set[tuple[Address, int]] = set()
        self.problems: list[Problem] = []

    def add(self, table: Table, priority: int, a_match: Match, actions: Actions) -> None:
        self.flows[FlowKey(table, priority, a_match)] = FlowBody(actions, self._cookie)

    _cookie = cookies.pack(CookieKind.SERVICE)

    def take(self, port: ServedPort, version: int, endpoints: list[_At]) -> None:
        """Add what one port needs for one IP version."""
        service = self._service
        name = f"{service.service.namespace}/{service.service.name}:{port.name}/{port.protocol}"
        number = self._ids.service_ports[name]
        self.ports.add(name)
        proto, port_field = _PROTOCOLS[port.protocol]
        packets = (Term(Field.ETH_TYPE, _ETH_TYPES[version]), Term(Field.IP_PROTO, proto))
        inside = self._group(number << 2 | (version == 6), name, endpoints, here_only=service.here_only)
        for asked in _blocks(service.addresses):
            if asked.version == version:
                to = match(*packets, *destination(asked)[1:], (port_field, port.port))
                self.add(Table.SERVICE, PRIORITY, to, self._ask(number, inside))
        if service.affinity_s and inside is not None:
            self._remember(number, inside, version)
        if port.node_port:
            other = number << 2 | 2 | (version == 6)
            for who, group in self._by_node_port(other, name, endpoints, inside):
                flags = (FLAGS, TO_NODE | who.value, TO_NODE | (who.mask or 0))
                to = match(*packets, flags, (port_field, port.node_port))
                self.add(Table.SERVICE, PRIORITY_FIRST, to, self._ask(number | BY_NODE_PORT, group))
                if service.affinity_s and group is not None:
                    self._remember(number | BY_NODE_PORT, group, version, who)
        if port.protocol == "UDP":
            self.udp.update((at.endpoint.address, at.port) for at in endpoints)
        for at in endpoints:
            self._translate(name, at, packets, version, port_field)

    def _by_node_port(
        self, other: int, name: str, endpoints: list[_At], inside: int | None
    ) -> list[tuple[Term, int | None]]:
        """The groups for a port's NodePort, each with the clients that it is for.

        `externalTrafficPolicy: Local` applies to clients outside the cluster. A Pod is served by its own node whichever
        node it addressed, so it gets any endpoint: the addressed node may have some although this one has none.
        """
        inwards, outwards = self._service.here_only, self._service.node_port_here_only
        if inwards == outwards and not inwards:
            return [(_ANYBODY, inside)]
        second = self._group(other, name, endpoints, here_only=not inwards)
        if not outwards:
            return [(_ANYBODY, second)]
        return [(_WORLD, inside if inwards else second), (_PODS, second if inwards else inside)]

    def _ask(self, number: int, group: int | None) -> Actions:
        """Choose an endpoint for connections to the Service port with this number; reject them if there is no group."""
        if group is None:
            return (REJECT,)
        known = (SetField(FLAGS, SERVED, SERVED), SetField(SERVICE_PORT, number))
        if self._service.affinity_s:
            return (*known, Resubmit(Table.AFFINITY), Goto(Table.CHOICE))
        return (*known, Group(group))

    def _group(self, group: int, name: str, endpoints: list[_At], *, here_only: bool) -> int | None:
        """Add a group that chooses among the endpoints; returns its number, or None if there are no endpoints."""
        chosen = _chosen(endpoints, self._node, here_only=here_only)
        if len(chosen) > MOST_ENDPOINTS:
            self.problems.append(
                Problem(
                    unit=self._service.unit,
                    state="failed",
                    reason=f"{self._service.unit}: {name} has {len(chosen)} endpoints, but a group of Open vSwitch "
                    f"holds only {MOST_ENDPOINTS}: the others get no connections; split it into several "
                    "Services",
                )
            )
        after = Table.LEARN if self._service.affinity_s else Table.ENDPOINT
        if chosen:
            self.groups[group] = tuple(
                (SetField(ENDPOINT_NUMBER, self._number(name, at)), Resubmit(after)) for at in chosen[:MOST_ENDPOINTS]
            )
        return group if chosen else None

    def _number(self, name: str, at: _At) -> int:
        where = f"{name} {at.endpoint.address} {at.port}"
        self.endpoints.add(where)
        return self._ids.endpoints[where]

    def _remember(self, number: int, group: int, version: int, who: Term = _ANYBODY) -> None:
        """Have an endpoint chosen for clients that have none yet; the others go on with theirs."""
        family = Term(Field.ETH_TYPE, _ETH_TYPES[version])
        new = match(family, (ENDPOINT_NUMBER, 0), (SERVICE_PORT, number), who)
        self.add(Table.CHOICE, PRIORITY, new, (Group(group),))

    def _translate(self, name: str, at: _At, packets: tuple[Term, ...], version: int, port_field: Field) -> None:
        number = self._number(name, at)
        chosen = match(*packets, (ENDPOINT_NUMBER, number))
        write = Ct(
            zone=CT_ZONE,
            commit=True,
            table=Table.NODE_PORT,
            exec=(
                SetField(Field.CT_MARK, MARK_SERVED, MARK_SERVED),
                MoveField(SERVICE_PORT, Field.CT_LABEL, 32, target_offset=LABEL_SERVICE_PORT),
            ),
            nat=Nat("dst", version, at.address.value, at.port),
        )
        self.add(Table.ENDPOINT, PRIORITY, chosen, (write,))
        if self._service.affinity_s:
            learn = Learn(
                table=Table.AFFINITY,
                priority=PRIORITY,
                idle_timeout_s=min(self._service.affinity_s, LONGEST_AFFINITY_S),
                cookie=cookies.pack(CookieKind.AFFINITY, number),
                exact=packets,
                same=(_CLIENT[version], _ASKED[version], port_field),
                gives=(ENDPOINT_NUMBER,),
            )
            self.add(Table.LEARN, PRIORITY, chosen, (learn, Goto(Table.ENDPOINT)))
