"""PROGRAMS of Services: what every node must hold to send traffic for a Service to one of its endpoints.

A Service is one program and each EndpointSlice another, all addressed to every node, so a changed endpoint costs only
the message of its slice.
"""

from typing import Literal

from msgspec import Struct

from sluice.contracts.ids import Address, GroupId, NodeName, Revision, Unit
from sluice.contracts.pieces import Protocol
from sluice.contracts.programs import ServiceRef


class ServedPort(Struct, frozen=True, kw_only=True, omit_defaults=True):
    port: int
    name: str = ""
    protocol: Protocol = "TCP"
    node_port: int = 0
    """0 if it has none."""


class ServiceProgram(Struct, frozen=True, kw_only=True, omit_defaults=True):
    unit: Unit
    applied_to: GroupId
    cause: Revision
    service: ServiceRef
    addresses: tuple[Address, ...]
    """The ClusterIPs, in canonical text."""

    ports: tuple[ServedPort, ...]
    affinity_s: int = 0
    """Session affinity: for how many seconds a client keeps its last endpoint; 0: only within a connection."""

    here_only: bool = False
    """Traffic to the ClusterIPs goes only to endpoints on the same node, and is not served on nodes without any.

    internalTrafficPolicy: Local.
    """

    node_port_here_only: bool = False
    """The same for the NodePorts (externalTrafficPolicy: Local)."""


class EndpointPort(Struct, frozen=True, kw_only=True, omit_defaults=True):
    port: int
    name: str = ""
    protocol: Protocol = "TCP"


class ServedEndpoint(Struct, frozen=True, kw_only=True, omit_defaults=True, order=True):
    address: Address
    node: NodeName = NodeName("")
    state: Literal["ready", "ending"] = "ready"
    """An ending endpoint still serves; it gets new connections only if no endpoint of the Service is ready."""


class EndpointsProgram(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The endpoints of one EndpointSlice that can serve."""

    unit: Unit
    applied_to: GroupId
    cause: Revision
    service: ServiceRef
    ports: tuple[EndpointPort, ...]
    endpoints: tuple[ServedEndpoint, ...]
    """Sorted."""
