"""The packet that a verdict is about: the first of a connection, between two ends."""

from ipaddress import ip_address
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


class ServiceEnd(Struct, frozen=True, tag="service"):
    """The ClusterIP of a Service; of a destination alone. One of its endpoints gets the packet."""

    namespace: str
    name: str


End = PodEnd | AddressEnd | ServiceEnd

SERVICE_PREFIX = "svc:"
ENDS = "NAMESPACE/POD[@NETWORK], svc:NAMESPACE/SERVICE or an address"


def end(text: str) -> End:
    """The end that people mean by this: x/web, x/web@net, svc:x/db, 10.0.0.7.

    Raises:
        ValueError: it is none; the message says what to write.
    """
    match text.removeprefix(SERVICE_PREFIX).split("/", 1):
        case [namespace, name] if namespace and name and text.startswith(SERVICE_PREFIX):
            if "/" not in name and "@" not in name:
                return ServiceEnd(namespace, name)
        case [namespace, rest] if namespace and rest:
            name, at, network = rest.partition("@")
            if name and "/" not in name and (network or not at):
                return PodEnd(namespace, name, network if not network or "/" in network else f"{namespace}/{network}")
        case [address]:
            try:
                return AddressEnd(Address(str(ip_address(address))))
            except ValueError:
                pass
    raise ValueError(f"{text!r} is no end of a packet; write {ENDS}")


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
    """To a NodePort of the service, by whoever sends it."""

    masked: Address | None = None
    """What stands in the source's place when it gets to the Pod behind the NodePort, which is on another node."""

    asks: Asked | None = None
    """What the connection asks for; unset: nothing that a rule about HTTP or TLS allows."""

    family: Family | None = None
    """Between Pods with addresses of both; unset: the first family that the two share."""
