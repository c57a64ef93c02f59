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
    """Network of the interface as namespace/name, if it is a secondary network. One of the two ends may leave it out;
    it then has the network of the other."""

    interface: str = ""
    """Its name in the Pod; unset: the first on the network."""


class AddressEnd(Struct, frozen=True, tag="address"):
    """An address. It stands for the Pod that has it, if there is one."""

    address: Address


class ServiceEnd(Struct, frozen=True, tag="service"):
    """The ClusterIP of a Service, as a destination only. One of its endpoints receives the packet."""

    namespace: str
    name: str


End = PodEnd | AddressEnd | ServiceEnd

SERVICE_PREFIX = "svc:"
ENDS = "NAMESPACE/POD[@NETWORK], svc:NAMESPACE/SERVICE or an address"


def end(text: str) -> End:
    """Parse an end as users write it: x/web, x/web@net, svc:x/db, 10.0.0.7.

    Raises:
        ValueError: it is not an end; the message says what to write.
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
    raise ValueError(f"{text!r} cannot be the source or destination of a packet; write {ENDS}")


class Packet(Struct, frozen=True, kw_only=True, omit_defaults=True):
    source: End
    destination: End
    """Behind a Service, the endpoint that receives the packet."""

    protocol: Protocol | Literal["ICMP", "IGMP"]
    """ICMP between IPv6 addresses is ICMPv6."""

    port: int | None = None
    """Destination port; if unset, no rule with ports matches."""

    source_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    igmp_type: int | None = None
    igmp_group: Address | None = None
    """The multicast group that the message is about."""

    fqdn: str = ""
    """The DNS name that resolved to this destination for the sender."""

    service: ServiceRef | None = None
    """The Service that it was sent to, through its ClusterIP or NodePort."""

    node_port: bool = False
    """Whether it was sent to a NodePort of the Service, whoever the sender is."""

    masked: Address | None = None
    """The source address after SNAT, as seen by the Pod behind the NodePort, which is on another node."""

    asks: Asked | None = None
    """The layer 7 request of the connection; unset: one that no rule with HTTP or TLS conditions allows."""

    family: Family | None = None
    """For Pods with addresses of both families; unset: the first family that the two share."""
