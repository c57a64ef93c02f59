"""The common base of the pieces of the scenario format."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

ProbeProtocol = Literal["TCP", "UDP", "SCTP", "ICMP"]
Family = Literal["IPv4", "IPv6"]
PortNumber = Annotated[int, Meta(ge=1, le=65_535)]


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A piece of a scenario; unknown fields are refused."""
