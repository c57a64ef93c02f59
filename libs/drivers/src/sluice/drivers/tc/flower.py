"""Matches as the flower classifier encodes and dumps them.

Each field has a mask; in a request a missing mask means all bits. Source: Linux 6.1 net/sched/cls_flower.c (fl_set_key,
fl_dump_key) and include/uapi/linux/pkt_cls.h, whose numbers are those of `Key`.
"""

from collections.abc import Iterator, Mapping
from enum import IntEnum
from struct import Struct

from sluice.contracts.programs import PortRange
from sluice.dataplane.addresses import WIDTH, Block
from sluice.dataplane.protocols import EthType, IpProto
from sluice.dataplane.tc.filter import Bits, Flower
from sluice.drivers.tc.attributes import BE16, U8, U16, U32, attribute


class Key(IntEnum):
    ACT = 3
    ETH_TYPE = 8
    IP_PROTO = 9
    IPV4_SRC = 10
    IPV4_SRC_MASK = 11
    IPV4_DST = 12
    IPV4_DST_MASK = 13
    IPV6_SRC = 14
    IPV6_SRC_MASK = 15
    IPV6_DST = 16
    IPV6_DST_MASK = 17
    TCP_SRC = 18
    TCP_DST = 19
    UDP_SRC = 20
    UDP_DST = 21
    FLAGS = 22
    VLAN_ETH_TYPE = 25
    TCP_SRC_MASK = 35
    TCP_DST_MASK = 36
    UDP_SRC_MASK = 37
    UDP_DST_MASK = 38
    SCTP_SRC_MASK = 39
    SCTP_DST_MASK = 40
    SCTP_SRC = 41
    SCTP_DST = 42
    ICMPV4_CODE = 49
    ICMPV4_CODE_MASK = 50
    ICMPV4_TYPE = 51
    ICMPV4_TYPE_MASK = 52
    ICMPV6_CODE = 53
    ICMPV6_CODE_MASK = 54
    ICMPV6_TYPE = 55
    ICMPV6_TYPE_MASK = 56
    IN_HW_COUNT = 86
    PORT_SRC_MIN = 87
    PORT_SRC_MAX = 88
    PORT_DST_MIN = 89
    PORT_DST_MAX = 90
    CT_STATE = 91
    CT_STATE_MASK = 92
    CT_ZONE = 93
    CT_ZONE_MASK = 94
    CT_MARK = 95
    CT_MARK_MASK = 96
    CT_LABELS = 97
    CT_LABELS_MASK = 98


class NotOurs(Exception):
    """The kernel holds something that none of our filters would contain; the message says what."""


ADDRESSES = {
    (4, "source"): (Key.IPV4_SRC, Key.IPV4_SRC_MASK),
    (4, "destination"): (Key.IPV4_DST, Key.IPV4_DST_MASK),
    (6, "source"): (Key.IPV6_SRC, Key.IPV6_SRC_MASK),
    (6, "destination"): (Key.IPV6_DST, Key.IPV6_DST_MASK),
}
PORTS = {
    (IpProto.TCP, "source_port"): (Key.TCP_SRC, Key.TCP_SRC_MASK),
    (IpProto.TCP, "destination_port"): (Key.TCP_DST, Key.TCP_DST_MASK),
    (IpProto.UDP, "source_port"): (Key.UDP_SRC, Key.UDP_SRC_MASK),
    (IpProto.UDP, "destination_port"): (Key.UDP_DST, Key.UDP_DST_MASK),
    (IpProto.SCTP, "source_port"): (Key.SCTP_SRC, Key.SCTP_SRC_MASK),
    (IpProto.SCTP, "destination_port"): (Key.SCTP_DST, Key.SCTP_DST_MASK),
}
RANGES = {
    "source_port": (Key.PORT_SRC_MIN, Key.PORT_SRC_MAX),
    "destination_port": (Key.PORT_DST_MIN, Key.PORT_DST_MAX),
}
ICMP = {
    (IpProto.ICMP, "icmp_type"): (Key.ICMPV4_TYPE, Key.ICMPV4_TYPE_MASK),
    (IpProto.ICMP, "icmp_code"): (Key.ICMPV4_CODE, Key.ICMPV4_CODE_MASK),
    (IpProto.ICMPV6, "icmp_type"): (Key.ICMPV6_TYPE, Key.ICMPV6_TYPE_MASK),
    (IpProto.ICMPV6, "icmp_code"): (Key.ICMPV6_CODE, Key.ICMPV6_CODE_MASK),
}
CT: Mapping[str, tuple[Key, Key, Struct | None]] = {
    "ct_state": (Key.CT_STATE, Key.CT_STATE_MASK, U16),
    "ct_zone": (Key.CT_ZONE, Key.CT_ZONE_MASK, U16),
    "ct_mark": (Key.CT_MARK, Key.CT_MARK_MASK, U32),
    "ct_label": (Key.CT_LABELS, Key.CT_LABELS_MASK, None),
}
"""The struct of each value; a label has 16 bytes, see `label_bytes`."""

IGNORED = {Key.ACT, Key.FLAGS, Key.IN_HW_COUNT, Key.ETH_TYPE}
"""Attributes of a dump that are not part of the match; the Ethernet type repeats the filter's protocol."""

BYTE_MASK, PORT_MASK = b"\xff", b"\xff\xff"


class NotEncodable(Exception):
    """A filter that the kernel cannot represent: our own bug."""


def label_bytes(value: int) -> bytes:
    """As tc(8) parses labels: two hexadecimal digits per byte, in order."""
    return value.to_bytes(16, "big")


def encode(protocol: int, match: Flower) -> Iterator[bytes]:
    """The attributes of this match.

    Raises:
        NotEncodable
    """
    if protocol != EthType.ALL:
        yield attribute(Key.ETH_TYPE, BE16.pack(protocol))
    if match.vlan_ethtype is not None:
        yield attribute(Key.VLAN_ETH_TYPE, BE16.pack(match.vlan_ethtype))
    if match.ip_proto is not None:
        yield attribute(Key.IP_PROTO, U8.pack(match.ip_proto))
    for name, block in (("source", match.source), ("destination", match.destination)):
        if block is not None:
            if not block.prefix:
                raise NotEncodable(f"{name} of no bits, which matches no packet: leave it out to match all")
            value, mask = ADDRESSES[block.version, name]
            size = WIDTH[block.version] // 8
            yield attribute(value, block.value.to_bytes(size, "big"))
            yield attribute(mask, block.mask.to_bytes(size, "big"))
    for name, ports in (("source_port", match.source_port), ("destination_port", match.destination_port)):
        if ports is not None:
            yield from _ports(name, match.ip_proto, ports)
    for name, number in (("icmp_type", match.icmp_type), ("icmp_code", match.icmp_code)):
        if number is not None:
            if (match.ip_proto, name) not in ICMP:
                raise NotEncodable(f"{name} {number} with ip_proto {match.ip_proto}, which is no ICMP")
            value, mask = ICMP[match.ip_proto or 0, name]
            yield attribute(value, U8.pack(number))
            yield attribute(mask, BYTE_MASK)
    for name, (value, mask, form) in CT.items():
        bits: Bits | None = getattr(match, name)
        if bits is not None:
            yield attribute(value, form.pack(bits.value) if form else label_bytes(bits.value))
            yield attribute(mask, form.pack(bits.mask) if form else label_bytes(bits.mask))


def _ports(name: str, ip_proto: int | None, ports: PortRange) -> Iterator[bytes]:
    if (ip_proto, name) not in PORTS:
        raise NotEncodable(f"{name} {ports.first}-{ports.last} with ip_proto {ip_proto}, which has no ports")
    if ports.first == ports.last:
        value, _ = PORTS[ip_proto or 0, name]
        yield attribute(value, BE16.pack(ports.first))  # without a mask, as tc(8) sends it
    else:
        first, last = RANGES[name]
        yield attribute(first, BE16.pack(ports.first))
        yield attribute(last, BE16.pack(ports.last))


def decode(found: Mapping[int, bytes]) -> Flower:
    """The match of a dumped filter, from its attributes by type.

    Raises:
        NotOurs: it matches on something that `Flower` does not support.
    """
    left = {kind: value for kind, value in found.items() if kind not in IGNORED}
    ip_proto = left.pop(Key.IP_PROTO, None)
    proto = ip_proto[0] if ip_proto else None
    vlan = left.pop(Key.VLAN_ETH_TYPE, None)
    fields: dict[str, Block | PortRange | Bits | int] = {}
    for (version, name), kinds in ADDRESSES.items():
        if kinds[0] in left:
            fields[name] = _block(version, *_pair(left, kinds))
    if left:
        _decode_rest(left, proto, fields)
    if left:
        raise NotOurs(f"it matches attributes {sorted(left)}, which ours never do")
    return Flower(ip_proto=proto, vlan_ethtype=BE16.unpack(vlan)[0] if vlan else None, **fields)  # type: ignore[arg-type]  # each name has its type


def _decode_rest(left: dict[int, bytes], proto: int | None, fields: dict[str, Block | PortRange | Bits | int]) -> None:
    """Move everything but addresses and protocols from attributes to fields."""
    for (of_proto, name), kinds in PORTS.items():
        if of_proto == proto and kinds[0] in left:
            port = _exact(name, *_pair(left, kinds), PORT_MASK)
            fields[name] = PortRange(port, port)
    for name, kinds in RANGES.items():
        if kinds[0] in left:
            pair = _pair(left, kinds)
            fields[name] = PortRange(int.from_bytes(pair[0], "big"), int.from_bytes(pair[1], "big"))
    for (of_proto, name), kinds in ICMP.items():
        if of_proto == proto and kinds[0] in left:
            fields[name] = _exact(name, *_pair(left, kinds), BYTE_MASK)
    for name, (value, mask, form) in CT.items():
        if value in left:
            pair = _pair(left, (value, mask))
            numbers = [form.unpack(one)[0] if form else int.from_bytes(one, "big") for one in pair]
            fields[name] = Bits(*numbers)


def _pair(left: dict[int, bytes], kinds: tuple[Key, Key]) -> tuple[bytes, bytes]:
    value = left.pop(kinds[0])
    return value, left.pop(kinds[1], b"\xff" * len(value))


def _exact(name: str, value: bytes, mask: bytes, whole: bytes) -> int:
    if mask != whole:
        raise NotOurs(f"it matches {name} by the mask {mask.hex()}, which ours never do")
    return int.from_bytes(value, "big")


def _block(version: int, value: bytes, mask: bytes) -> Block:
    bits = int.from_bytes(mask, "big")
    prefix = bits.bit_count()
    block = Block(version, int.from_bytes(value, "big"), prefix)
    if block.mask != bits or len(value) * 8 != WIDTH[version]:
        raise NotOurs(f"it matches addresses by the mask {mask.hex()}, which is no prefix")
    return block
