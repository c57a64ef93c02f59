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
    """0: it has none."""


class ServiceProgram(Struct, frozen=True, kw_only=True, omit_defaults=True):
    unit: Unit
    applied_to: GroupId
    cause: Revision
    service: ServiceRef
    addresses: tuple[Address, ...]
    """Its ClusterIPs; canonical."""

    ports: tuple[ServedPort, ...]
    affinity_s: int = 0
    """For how long a client has the endpoint that it had last; 0: no longer than a connection."""

    here_only: bool = False
    """By its ClusterIPs it is reached on nodes that have an endpoint, and leads to these (internalTrafficPolicy)."""

    node_port_here_only: bool = False
    """The same by its NodePorts (externalTrafficPolicy)."""


class EndpointPort(Struct, frozen=True, kw_only=True, omit_defaults=True):
    port: int
    name: str = ""
    protocol: Protocol = "TCP"


class ServedEndpoint(Struct, frozen=True, kw_only=True, omit_defaults=True, order=True):
    address: Address
    node: NodeName = NodeName("")
    state: Literal["ready", "ending"] = "ready"
    """Those that are ending serve still, and get new connections if no other endpoint of the Service is ready."""


class EndpointsProgram(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The endpoints of one slice that serve."""

    unit: Unit
    applied_to: GroupId
    cause: Revision
    service: ServiceRef
    ports: tuple[EndpointPort, ...]
    endpoints: tuple[ServedEndpoint, ...]
    """Sorted."""
