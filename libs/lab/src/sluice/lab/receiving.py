"""The part of the scenario format about receivers of mirrored and redirected traffic."""

import re
from typing import Annotated, Literal

from msgspec import Meta, field

from sluice.lab.parts import Family, Part, PortNumber, ProbeProtocol

PORT_END = "port:"
"""Prefix of switch ports, used where hosts outside the cluster can be named as well."""

AT = "@"
"""Separates a port from its node."""

DeviceName = Annotated[str, Meta(pattern="^[^/:@ ]{1,15}$")]
"""Valid for Linux; see admission.traffic_control."""


class Receiver(Part, frozen=True, kw_only=True):
    """What a receiver is expected to see, among the frames that reach it during the step."""

    on: str
    """A host outside the cluster, or a port of the switch: `port:tap0` of any node, `port:tap0@node-1` of one."""

    packets: Annotated[int, Meta(ge=0)] | None = None
    """The exact number. Unset: `at_least` applies."""

    at_least: Annotated[int, Meta(ge=1)] = 1

    into: bool = False
    """For ports: count what is sent into the switch there, instead of what comes out."""

    proto: Literal["geneve", "vxlan", "gre", "erspan", "none"] | None = None
    """The tunnel it arrived through. Unset: any, or none."""

    destination_port: PortNumber | None = None
    """UDP destination port, for geneve and vxlan. Unset: the registered one."""

    vni: int | None = None
    key: int | Literal["none"] | None = None
    version: Literal[1, 2] | None = None
    session_id: int | None = field(default=None, name="sessionID")
    index: int | None = None
    dir: int | None = None
    hardware_id: int | None = field(default=None, name="hardwareID")

    from_: str = field(name="from", default="")
    """Sender of the inner packet: an end as in probes. Empty: any."""

    to: str = ""
    protocol: ProbeProtocol | None = None
    """Of the inner packet."""

    port: PortNumber | None = None
    source_port: PortNumber | None = None
    family: Family | None = None

    def __post_init__(self) -> None:
        over_udp, erspan = ("geneve", "vxlan"), ("erspan",)
        for name, value, protos in (
            ("destinationPort", self.destination_port, over_udp),
            ("vni", self.vni, over_udp),
            ("key", self.key, ("gre",)),
            ("version", self.version, erspan),
            ("sessionID", self.session_id, erspan),
            ("index", self.index, erspan),
            ("dir", self.dir, erspan),
            ("hardwareID", self.hardware_id, erspan),
        ):
            if value is not None and self.proto not in protos:
                raise ValueError(f"`{name}` goes with proto: {' or '.join(protos)} only")
        if self.into and not self.on.startswith(PORT_END):
            raise ValueError(f"`into` goes with `on: {PORT_END}…` only")
        if (self.port or self.source_port) and self.protocol in (None, "ICMP"):
            raise ValueError("`port` and `sourcePort` need a `protocol` that has ports")


class Tunnelled(Part, frozen=True, kw_only=True):
    """A tunnel through which a host outside the cluster sends frames back."""

    proto: Literal["geneve", "vxlan", "gre"]
    vni: Annotated[int, Meta(ge=0, lt=1 << 24)] = 0
    key: Annotated[int, Meta(ge=0, lt=1 << 32)] | None = None
    destination_port: PortNumber | None = None


class Forwarder(Part, frozen=True, kw_only=True):
    """An inline device: what the switch sends out at one port returns by another, or through a tunnel."""

    from_: str = field(name="from")
    """A port of every node; or, with `back`, a host outside the cluster where tunnels end."""

    to: str = ""
    back: Tunnelled | None = None
    drop: str = ""
    """A regular expression over the octets of the frame (UTF-8); matching frames are dropped."""

    suricata: tuple[str, ...] = ()
    """Rules of Suricata, which then does the forwarding."""

    def __post_init__(self) -> None:
        if bool(self.to) == (self.back is not None):
            raise ValueError("write either `to`, a port, or `back`, a tunnel")
        if self.suricata and (self.drop or self.back):
            raise ValueError("Suricata has rules, and stands between two ports: remove `drop` and `back`")
        try:
            re.compile(self.drop.encode())
        except re.error as error:
            raise ValueError(f"drop: {self.drop!r} is no regular expression: {error}") from error
