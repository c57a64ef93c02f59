"""Decodes frames that arrive through a tunnel: fields of the outer headers, and the inner frame.

Source: RFC 8926 section 3.4 (Geneve), RFC 7348 section 5 (VXLAN), RFC 2784 and RFC 2890 (GRE),
draft-foschiano-erspan-03 sections 4.2 and 4.3 (ERSPAN types II and III, which Open vSwitch calls versions 1 and 2).
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Literal, NamedTuple

from sluice.contracts.ids import Address
from sluice.dataplane import frame
from sluice.dataplane.frame import Frame
from sluice.dataplane.protocols import IpProto

Proto = Literal["geneve", "vxlan", "gre", "erspan"]

DEFAULT_PORTS: Mapping[int, Proto] = {6081: "geneve", 4789: "vxlan"}
"""UDP destination ports. Source: RFC 8926 section 3.3, RFC 7348 section 5."""

GRE = 47
"""Source: IANA protocol numbers."""


class Carried:
    """Ethernet types of what GRE and Geneve carry. Source: IEEE 802 numbers."""

    ETHERNET = 0x6558
    ERSPAN_1 = 0x88BE
    ERSPAN_2 = 0x22EB


UDP_HEADER = 8
GRE_CHECKSUM, GRE_KEY, GRE_SEQUENCE = 0x8000, 0x2000, 0x1000
"""Flags of the GRE header; each adds four octets."""

VXLAN_VNI = 0x08
"""The flag of a valid VNI."""


class Tunnel(NamedTuple):
    """The outer headers. Fields that the kind of tunnel or this header does not have are None."""

    proto: Proto
    source: Address
    target: Address
    port: int | None = None
    """UDP destination."""

    vni: int | None = None
    key: int | None = None
    """GRE key; None without one."""

    version: int | None = None
    """ERSPAN version: 1 (type II) or 2 (type III)."""

    session: int | None = None
    number: int | None = None
    """ERSPAN index."""

    direction: int | None = None
    hardware: int | None = None


class Seen(NamedTuple):
    """One frame received by a receiver."""

    tunnel: Tunnel | None
    """None if it was not tunnelled."""

    inner: Frame | None
    """The inner packet, if it is IP."""


def decode(octets: bytes, ports: Mapping[int, Proto] = DEFAULT_PORTS) -> Seen:
    """Decode the frame. A truncated tunnel packet counts as not tunnelled.

    Args:
        ports: UDP destination ports on which tunnels end, and their kinds.
    """
    outer = frame.read(octets)
    found = opened(outer, ports)
    if found is None:
        return Seen(None, outer)
    tunnel, inside = found
    return Seen(tunnel, frame.read(inside))


def opened(outer: Frame | None, ports: Mapping[int, Proto] = DEFAULT_PORTS) -> tuple[Tunnel, bytes] | None:
    """The tunnel headers and the inner frame; None if the packet is not tunnelled."""
    if outer is not None and outer.first and outer.proto == IpProto.UDP:
        return _over_udp(outer, ports)
    if outer is not None and outer.first and outer.proto == GRE:
        return _over_gre(outer)
    return None


def text(address: bytes) -> Address:
    """The address in canonical form."""
    return Address(str(ip_address(address)))


def _over_udp(outer: Frame, ports: Mapping[int, Proto]) -> tuple[Tunnel, bytes] | None:
    port = outer.ports[1] if outer.ports else 0
    body = outer.payload[UDP_HEADER:]
    proto = ports.get(port)
    if proto is None or len(body) < 8:
        return None
    vni = int.from_bytes(body[4:7], "big")
    if proto == "vxlan":
        inside, vni_there = body[8:], bool(body[0] & VXLAN_VNI)
    else:
        if body[0] >> 6 or int.from_bytes(body[2:4], "big") != Carried.ETHERNET:
            return None  # another version, or no frame in it
        header = 8 + (body[0] & 0x3F) * 4
        if len(body) < header:
            return None
        inside, vni_there = body[header:], True
    ends = text(outer.source), text(outer.target)
    return Tunnel(proto, *ends, port=port, vni=vni if vni_there else None), inside


def _over_gre(outer: Frame) -> tuple[Tunnel, bytes] | None:
    body = outer.payload
    if len(body) < 4:
        return None
    flags, kind = int.from_bytes(body[:2], "big"), int.from_bytes(body[2:4], "big")
    at, key = 4, None
    if flags & GRE_CHECKSUM:
        at += 4
    if flags & GRE_KEY:
        key = int.from_bytes(body[at : at + 4], "big")
        at += 4
    if flags & GRE_SEQUENCE:
        at += 4
    if len(body) < at:
        return None
    ends = text(outer.source), text(outer.target)
    inside = body[at:]
    match kind:
        case Carried.ETHERNET:
            return Tunnel("gre", *ends, key=key), inside
        case Carried.ERSPAN_1 if len(inside) >= 8 and flags & GRE_SEQUENCE:
            return _erspan(1, ends, inside), inside[8:]
        case Carried.ERSPAN_2 if len(inside) >= 12 and len(inside) >= (header := 20 if inside[11] & 1 else 12):
            return _erspan(2, ends, inside), inside[header:]
    return None


def _erspan(version: int, ends: tuple[Address, Address], header: bytes) -> Tunnel:
    session = int.from_bytes(header[2:4], "big") & 0x3FF
    if version == 1:
        index = int.from_bytes(header[4:8], "big") & 0xFFFFF
        return Tunnel("erspan", *ends, version=1, session=session, number=index)
    last = int.from_bytes(header[10:12], "big")
    return Tunnel("erspan", *ends, version=2, session=session, hardware=last >> 4 & 0x3F, direction=last >> 3 & 1)
