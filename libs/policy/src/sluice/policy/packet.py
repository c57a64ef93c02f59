"""The packet that a verdict is about: the first of a connection, between two ends."""

from typing import Literal

from msgspec import Struct

from sluice.contracts.ids import Address
from sluice.contracts.objects import Protocol

Family = Literal[4, 6]


class PodEnd(Struct, frozen=True, tag="pod"):
    namespace: str
    name: str


class AddressEnd(Struct, frozen=True, tag="address"):
    """Whoever has the address: a Pod, if one does."""

    address: Address


End = PodEnd | AddressEnd


class Packet(Struct, frozen=True, kw_only=True, omit_defaults=True):
    source: End
    destination: End
    protocol: Protocol | Literal["ICMP"]
    """ICMP between IPv6 addresses is ICMPv6."""

    port: int | None = None
    """Destination port; no rule about ports matches without."""

    source_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    family: Family | None = None
    """Between Pods with addresses of both; unset: the first family that the two share."""
