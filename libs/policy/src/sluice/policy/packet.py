"""The packet that a verdict is about: the first of a connection, between two ends."""

from typing import Literal

from msgspec import Struct

from sluice.contracts.ids import Address
from sluice.contracts.objects import Protocol
from sluice.contracts.programs import ServiceRef
from sluice.policy.l7 import Asked

Family = Literal[4, 6]


class PodEnd(Struct, frozen=True, tag="pod", omit_defaults=True):
    namespace: str
    name: str
    network: str = ""
    """Of the interface, if it is on a secondary network: namespace/name. Of a packet's two ends one may leave it out
    and means the other's."""

    interface: str = ""
    """Its name in the Pod; unset: the first on the network."""


class AddressEnd(Struct, frozen=True, tag="address"):
    """Whoever has the address: a Pod, if one does."""

    address: Address


End = PodEnd | AddressEnd


class Packet(Struct, frozen=True, kw_only=True, omit_defaults=True):
    source: End
    destination: End
    """Behind a Service, the endpoint that gets the packet."""

    protocol: Protocol | Literal["ICMP", "IGMP"]
    """ICMP between IPv6 addresses is ICMPv6."""

    port: int | None = None
    """Destination port; no rule about ports matches without."""

    source_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    igmp_type: int | None = None
    igmp_group: Address | None = None
    """The group that the message is about."""

    fqdn: str = ""
    """The name for which DNS told the sender this destination."""

    service: ServiceRef | None = None
    """The Service that it was sent to, by its ClusterIP or NodePort."""

    node_port: bool = False
    """To the NodePort of the service, from beyond the cluster."""

    masked: Address | None = None
    """What stands in the source's place when it gets to the Pod behind the NodePort, which is on another node."""

    asks: Asked | None = None
    """What the connection asks for; unset: nothing that a rule about HTTP or TLS allows."""

    family: Family | None = None
    """Between Pods with addresses of both; unset: the first family that the two share."""
