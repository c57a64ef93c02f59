"""The names of ovs-ofctl(8) for what our flows contain; `text` writes them and `parse` reads them."""

from sluice.dataplane.ovs.fields import TCP_RST, TCP_SYN, CtState, Field
from sluice.dataplane.protocols import EthType, IpProto

_F = Field
ORDER = {
    field: place
    for place, field in enumerate(
        (
            *(_F.CONJ_ID, _F.CT_STATE, _F.CT_ZONE, _F.CT_MARK, _F.CT_LABEL),
            *(_F.CT_NW_PROTO, _F.CT_TP_DST, _F.ETH_TYPE),
            *(_F.REG0, _F.REG1, _F.REG2, _F.REG3, _F.REG4, _F.REG5, _F.REG6, _F.REG7),
            *(_F.REG8, _F.REG9, _F.REG10, _F.REG11, _F.REG12, _F.REG13, _F.REG14, _F.REG15),
            *(_F.TUN_ID, _F.TUN_SRC, _F.TUN_DST, _F.TUN_IPV6_SRC, _F.TUN_IPV6_DST, _F.IN_PORT, _F.VLAN_VID),
            *(_F.ETH_SRC, _F.ETH_DST),
            *(_F.IPV4_SRC, _F.IPV4_DST, _F.IPV6_SRC, _F.IPV6_DST, _F.ARP_SPA, _F.ARP_TPA),
            *(_F.IP_PROTO, _F.ARP_OP, _F.ARP_SHA, _F.ARP_THA),
            *(_F.TCP_SRC, _F.UDP_SRC, _F.SCTP_SRC, _F.TCP_DST, _F.UDP_DST, _F.SCTP_DST),
            *(_F.ICMP_TYPE, _F.ICMPV6_TYPE, _F.ICMP_CODE, _F.ICMPV6_CODE, _F.ND_TARGET, _F.TCP_FLAGS),
        )
    )
}
SHORT = {
    (EthType.IPV4, None): "ip",
    (EthType.IPV4, IpProto.TCP): "tcp",
    (EthType.IPV4, IpProto.UDP): "udp",
    (EthType.IPV4, IpProto.SCTP): "sctp",
    (EthType.IPV4, IpProto.ICMP): "icmp",
    (EthType.IPV6, None): "ipv6",
    (EthType.IPV6, IpProto.TCP): "tcp6",
    (EthType.IPV6, IpProto.UDP): "udp6",
    (EthType.IPV6, IpProto.SCTP): "sctp6",
    (EthType.IPV6, IpProto.ICMPV6): "icmp6",
    (EthType.ARP, None): "arp",
}
LONG = {name: numbers for numbers, name in SHORT.items()}
SHARED = {
    "tp_src": {IpProto.TCP: _F.TCP_SRC, IpProto.UDP: _F.UDP_SRC, IpProto.SCTP: _F.SCTP_SRC},
    "tp_dst": {IpProto.TCP: _F.TCP_DST, IpProto.UDP: _F.UDP_DST, IpProto.SCTP: _F.SCTP_DST},
    "icmp_type": {IpProto.ICMP: _F.ICMP_TYPE, IpProto.ICMPV6: _F.ICMPV6_TYPE},
    "icmp_code": {IpProto.ICMP: _F.ICMP_CODE, IpProto.ICMPV6: _F.ICMPV6_CODE},
}
"""Names that stand for a different field in each protocol."""

SHARED_NAME = {field: name for name, fields in SHARED.items() for field in fields.values()}
FIELDS = {field.spec.name: field for field in Field}
IN_ACTIONS = {
    _F.ETH_SRC: "eth_src",
    _F.ETH_DST: "eth_dst",
    _F.IPV4_SRC: "ip_src",
    _F.IPV4_DST: "ip_dst",
    _F.VLAN_VID: "vlan_vid",
}
"""Fields that have another name in set_field than in matches."""

NXM = {
    **{FIELDS[f"reg{number}"]: f"NXM_NX_REG{number}" for number in range(16)},
    _F.ETH_DST: "NXM_OF_ETH_DST",
    _F.ETH_SRC: "NXM_OF_ETH_SRC",
    _F.ARP_OP: "NXM_OF_ARP_OP",
    _F.ARP_SPA: "NXM_OF_ARP_SPA",
    _F.ARP_TPA: "NXM_OF_ARP_TPA",
    _F.ARP_SHA: "NXM_NX_ARP_SHA",
    _F.ARP_THA: "NXM_NX_ARP_THA",
    _F.IPV4_SRC: "NXM_OF_IP_SRC",
    _F.IPV4_DST: "NXM_OF_IP_DST",
    _F.IPV6_SRC: "NXM_NX_IPV6_SRC",
    _F.IPV6_DST: "NXM_NX_IPV6_DST",
    _F.TCP_DST: "NXM_OF_TCP_DST",
    _F.UDP_DST: "NXM_OF_UDP_DST",
    _F.SCTP_DST: "OXM_OF_SCTP_DST",
    _F.CT_MARK: "NXM_NX_CT_MARK",
    _F.CT_LABEL: "NXM_NX_CT_LABEL",
    _F.VLAN_VID: "OXM_OF_VLAN_VID",
    _F.IN_PORT: "OXM_OF_IN_PORT",
}
"""Names of fields in move and output. Source: Open vSwitch `include/openvswitch/meta-flow.h`, "NXM:" of each field."""

VID_BITS = 12
"""Width of VLAN_VID in moves: without its thirteenth bit, which says that there is a tag."""

NAMED = FIELDS | {name: field for names in (IN_ACTIONS, NXM) for field, name in names.items()}
LEARNT = {_F.ETH_TYPE: "eth_type"}
"""Fields that have another name in learn than in matches."""

RESERVED_PORTS = {0xFFFFFFF8: "IN_PORT", 0xFFFFFFFE: "LOCAL", 0xFFFFFFFD: "CONTROLLER"}
"""Source: OpenFlow 1.5.1 section 7.2.1, enum ofp_port_no."""

STATES = {
    "new": CtState.NEW,
    "est": CtState.EST,
    "rel": CtState.REL,
    "rpl": CtState.RPL,
    "inv": CtState.INV,
    "trk": CtState.TRK,
}
BITS = {_F.CT_STATE: STATES, _F.TCP_FLAGS: {"syn": TCP_SYN, "rst": TCP_RST}}
"""Names of the bits, for fields that are written as flags."""

MACS = frozenset((_F.ETH_DST, _F.ETH_SRC, _F.ARP_SHA, _F.ARP_THA))
IPV4 = frozenset((_F.IPV4_SRC, _F.IPV4_DST, _F.ARP_SPA, _F.ARP_TPA, _F.TUN_SRC, _F.TUN_DST))
IPV6 = frozenset((_F.IPV6_SRC, _F.IPV6_DST, _F.ND_TARGET, _F.TUN_IPV6_SRC, _F.TUN_IPV6_DST))
DECIMAL = frozenset(
    (
        _F.IN_PORT,
        _F.CONJ_ID,
        _F.CT_ZONE,
        _F.CT_NW_PROTO,
        _F.CT_TP_DST,
        _F.IP_PROTO,
        _F.ARP_OP,
        _F.VLAN_VID,
        *SHARED_NAME,
    )
)
