"""Translates Services and EndpointSlices into programs, each separately; nodes combine them."""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import NamedTuple

from msgspec.structs import replace

from sluice.contracts import subjects
from sluice.contracts.ids import ALL_NODES, Address, NodeName, Revision, Unit
from sluice.contracts.pieces import Protocol
from sluice.contracts.programs import ServiceRef
from sluice.contracts.services import HEADLESS, Endpoint, EndpointSlice, Service
from sluice.contracts.serving import EndpointPort, EndpointsProgram, ServedEndpoint, ServedPort, ServiceProgram
from sluice.grouping.events import Newest, ObjectEvent
from sluice.policy.compiler import ProgramKey


class Asked(NamedTuple):
    """What a client connects to."""

    service: ServiceRef
    protocol: Protocol
    port: int
    """Port of the Service, or its NodePort if `node` is set."""

    version: int
    node: NodeName | None = None
    """The node whose NodePort is used; None: the ClusterIP is."""

    client_node: NodeName = NodeName("")
    """The node of the client, if it is a Pod: through a NodePort it gets any endpoint, as its own node serves it."""


ServingProgram = ServiceProgram | EndpointsProgram


class Services:
    """A fold of objects into programs of Services."""

    def __init__(self) -> None:
        self._newest = Newest()
        self._programs: dict[ProgramKey, ServingProgram] = {}
        self._put: dict[ProgramKey, ServingProgram] = {}
        self._drop: set[ProgramKey] = set()

    @property
    def programs(self) -> dict[ProgramKey, ServingProgram]:
        return self._programs

    def evolve(self, event: ObjectEvent) -> bool:
        """Apply the event; True if a program changed. Never raises."""
        if not self._newest.is_news(event.key, event.revision):
            return False
        unit = subjects.unit(*event.key)
        key = ALL_NODES, unit
        program = _program(unit, event)
        known = self._programs.get(key)
        if program is None:
            if known is not None:
                del self._programs[key]
                self._put.pop(key, None)
                self._drop.add(key)
            return known is not None
        if known is not None and replace(known, cause=program.cause) == program:
            return False
        self._programs[key] = self._put[key] = program
        self._drop.discard(key)
        return True

    def addresses(self, service: ServiceRef) -> tuple[Address, ...] | None:
        """Its ClusterIPs; None if it has none, or does not exist."""
        return next((one.addresses for one in self._services() if one.service == service), None)

    def at(self, address: Address) -> ServiceRef | None:
        """The Service that has this ClusterIP."""
        return next((one.service for one in self._services() if address in one.addresses), None)

    def endpoints(self, asked: Asked) -> tuple[tuple[Address, int], ...] | None:
        """Addresses and ports that a new connection may reach, sorted; None if the Service has no such port."""
        service = next((one for one in self._services() if one.service == asked.service), None)
        found = [
            port
            for port in (service.ports if service else ())
            if (port.port if asked.node is None else port.node_port, port.protocol) == (asked.port, asked.protocol)
        ]
        if service is None or not found:
            return None
        by_node_port = service.node_port_here_only and not asked.client_node
        here_only = by_node_port if asked.node is not None else service.here_only
        near = asked.node if asked.node is not None else asked.client_node
        serving = [
            (endpoint.state, endpoint.address, target.port)
            for one in self._programs.values()
            if isinstance(one, EndpointsProgram) and one.service == asked.service
            for target in one.ports
            if (target.name, target.protocol) == (found[0].name, found[0].protocol)
            for endpoint in one.endpoints
            if ip_address(endpoint.address).version == asked.version and (not here_only or endpoint.node == near)
        ]
        ready = [each for each in serving if each[0] == "ready"] or serving
        return tuple(sorted({(address, port) for _, address, port in ready}))

    def _services(self) -> Iterator[ServiceProgram]:
        return (one for one in self._programs.values() if isinstance(one, ServiceProgram))

    def settle(self, upto: Revision) -> None:
        """Declare that all events up to this revision were delivered; see `events.Newest.settle`."""
        self._newest.settle(upto)

    def drain(self) -> tuple[dict[ProgramKey, ServingProgram], set[ProgramKey]]:
        """What to store and what to delete since the last drain."""
        changes = self._put, self._drop
        self._put, self._drop = {}, set()
        return changes


def _program(unit: Unit, event: ObjectEvent) -> ServingProgram | None:
    match event.object:
        case Service():
            return service_program(unit, event.object, event.revision)
        case EndpointSlice():
            return endpoints_program(unit, event.object, event.revision)
        case _:
            return None


def service_program(unit: Unit, service: Service, cause: Revision) -> ServiceProgram | None:
    """What nodes must know of a Service; None if it has no address to send to."""
    spec = service.spec
    texts = spec.cluster_ips or (spec.cluster_ip,)
    addresses = () if HEADLESS in texts or spec.type == "ExternalName" else tuple(_addresses(texts))
    if not addresses or not spec.ports:
        return None
    by_node = spec.type in ("NodePort", "LoadBalancer")
    return ServiceProgram(
        unit=unit,
        applied_to=ALL_NODES,
        cause=cause,
        service=ServiceRef(namespace=service.metadata.namespace, name=service.metadata.name),
        addresses=addresses,
        ports=tuple(
            ServedPort(
                port=port.port, name=port.name, protocol=port.protocol, node_port=port.node_port if by_node else 0
            )
            for port in spec.ports
        ),
        affinity_s=(
            spec.session_affinity_config.client_ip.timeout_seconds if spec.session_affinity == "ClientIP" else 0
        ),
        here_only=spec.internal_traffic_policy == "Local",
        node_port_here_only=by_node and spec.external_traffic_policy == "Local",
    )


def endpoints_program(unit: Unit, held: EndpointSlice, cause: Revision) -> EndpointsProgram | None:
    """What nodes must know of an EndpointSlice; None if it belongs to no Service, or is of type FQDN."""
    if not held.service or held.address_type == "FQDN":
        return None
    return EndpointsProgram(
        unit=unit,
        applied_to=ALL_NODES,
        cause=cause,
        service=ServiceRef(namespace=held.metadata.namespace, name=held.service),
        ports=tuple(
            EndpointPort(port=port.port, name=port.name, protocol=port.protocol)
            for port in held.ports
            if port.port is not None
        ),
        endpoints=tuple(sorted({found for endpoint in held.endpoints for found in _endpoint(endpoint)})),
    )


def _endpoint(endpoint: Endpoint) -> Iterator[ServedEndpoint]:
    """The endpoint, if it serves. Unset conditions count as true, except for terminating."""
    said = endpoint.conditions
    ready = said.ready is not False
    serves = ready if said.serving is None else said.serving
    for address in _addresses(endpoint.addresses[:1]) if ready or (serves and said.terminating) else ():
        yield ServedEndpoint(address=address, node=NodeName(endpoint.node_name), state="ready" if ready else "ending")


def _addresses(texts: tuple[str, ...]) -> Iterator[Address]:
    for text in texts:
        try:
            yield Address(str(ip_address(text)))
        except ValueError:
            continue  # admission reports it
