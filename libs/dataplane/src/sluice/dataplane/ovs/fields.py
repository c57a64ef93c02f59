"""The OpenFlow fields we match and set: their OXM numbers, widths and prerequisites.

Source: OpenFlow 1.5.1 section 7.2.3.8 (class 0x8000), Open vSwitch `include/openvswitch/meta-flow.h` (class 0x0001,
NXM_1, for Nicira's) and ovs-fields(7) for names and prerequisites.
"""

from enum import Enum
from typing import NamedTuple

OPENFLOW_BASIC = 0x8000
NXM_1 = 0x0001
PACKET_REGS = 0x8001


class FieldSpec(NamedTuple):
    name: str
    """Its name in ovs-ofctl."""

    oxm_class: int
    number: int
    bits: int


class Field(Enum):
    """A field of a packet or of its pipeline metadata."""

    spec: FieldSpec

    IN_PORT = FieldSpec("in_port", OPENFLOW_BASIC, 0, 32)
    ETH_DST = FieldSpec("dl_dst", OPENFLOW_BASIC, 3, 48)
    ETH_SRC = FieldSpec("dl_src", OPENFLOW_BASIC, 4, 48)
    ETH_TYPE = FieldSpec("dl_type", OPENFLOW_BASIC, 5, 16)
    VLAN_VID = FieldSpec("vlan_tci", OPENFLOW_BASIC, 6, 13)  # vlan_vid in actions
    IP_PROTO = FieldSpec("nw_proto", OPENFLOW_BASIC, 10, 8)
    IPV4_SRC = FieldSpec("nw_src", OPENFLOW_BASIC, 11, 32)
    IPV4_DST = FieldSpec("nw_dst", OPENFLOW_BASIC, 12, 32)
    TCP_SRC = FieldSpec("tcp_src", OPENFLOW_BASIC, 13, 16)
    TCP_DST = FieldSpec("tcp_dst", OPENFLOW_BASIC, 14, 16)
    UDP_SRC = FieldSpec("udp_src", OPENFLOW_BASIC, 15, 16)
    UDP_DST = FieldSpec("udp_dst", OPENFLOW_BASIC, 16, 16)
    SCTP_SRC = FieldSpec("sctp_src", OPENFLOW_BASIC, 17, 16)
    SCTP_DST = FieldSpec("sctp_dst", OPENFLOW_BASIC, 18, 16)
    ICMP_TYPE = FieldSpec("icmp_type", OPENFLOW_BASIC, 19, 8)
    ICMP_CODE = FieldSpec("icmp_code", OPENFLOW_BASIC, 20, 8)
    ARP_OP = FieldSpec("arp_op", OPENFLOW_BASIC, 21, 16)
    ARP_SPA = FieldSpec("arp_spa", OPENFLOW_BASIC, 22, 32)
    ARP_TPA = FieldSpec("arp_tpa", OPENFLOW_BASIC, 23, 32)
    ARP_SHA = FieldSpec("arp_sha", OPENFLOW_BASIC, 24, 48)
    ARP_THA = FieldSpec("arp_tha", OPENFLOW_BASIC, 25, 48)
    IPV6_SRC = FieldSpec("ipv6_src", OPENFLOW_BASIC, 26, 128)
    IPV6_DST = FieldSpec("ipv6_dst", OPENFLOW_BASIC, 27, 128)
    ICMPV6_TYPE = FieldSpec("icmpv6_type", OPENFLOW_BASIC, 29, 8)
    ICMPV6_CODE = FieldSpec("icmpv6_code", OPENFLOW_BASIC, 30, 8)
    ND_TARGET = FieldSpec("nd_target", OPENFLOW_BASIC, 31, 128)
    TUN_ID = FieldSpec("tun_id", OPENFLOW_BASIC, 38, 64)
    TCP_FLAGS = FieldSpec("tcp_flags", OPENFLOW_BASIC, 42, 12)
    REG0 = FieldSpec("reg0", NXM_1, 0, 32)
    REG1 = FieldSpec("reg1", NXM_1, 1, 32)
    REG2 = FieldSpec("reg2", NXM_1, 2, 32)
    REG3 = FieldSpec("reg3", NXM_1, 3, 32)
    REG4 = FieldSpec("reg4", NXM_1, 4, 32)
    REG5 = FieldSpec("reg5", NXM_1, 5, 32)
    REG6 = FieldSpec("reg6", NXM_1, 6, 32)
    REG7 = FieldSpec("reg7", NXM_1, 7, 32)
    REG8 = FieldSpec("reg8", NXM_1, 8, 32)
    REG9 = FieldSpec("reg9", NXM_1, 9, 32)
    REG10 = FieldSpec("reg10", NXM_1, 10, 32)
    REG11 = FieldSpec("reg11", NXM_1, 11, 32)
    REG12 = FieldSpec("reg12", NXM_1, 12, 32)
    REG13 = FieldSpec("reg13", NXM_1, 13, 32)
    REG14 = FieldSpec("reg14", NXM_1, 14, 32)
    REG15 = FieldSpec("reg15", NXM_1, 15, 32)
    TUN_SRC = FieldSpec("tun_src", NXM_1, 31, 32)
    TUN_DST = FieldSpec("tun_dst", NXM_1, 32, 32)
    TUN_IPV6_SRC = FieldSpec("tun_ipv6_src", NXM_1, 109, 128)
    TUN_IPV6_DST = FieldSpec("tun_ipv6_dst", NXM_1, 110, 128)
    CONJ_ID = FieldSpec("conj_id", NXM_1, 37, 32)
    CT_STATE = FieldSpec("ct_state", NXM_1, 105, 32)
    CT_ZONE = FieldSpec("ct_zone", NXM_1, 106, 16)
    CT_MARK = FieldSpec("ct_mark", NXM_1, 107, 32)
    CT_LABEL = FieldSpec("ct_label", NXM_1, 108, 128)
    CT_NW_PROTO = FieldSpec("ct_nw_proto", NXM_1, 119, 8)
    CT_NW_DST = FieldSpec("ct_nw_dst", NXM_1, 121, 32)
    CT_IPV6_DST = FieldSpec("ct_ipv6_dst", NXM_1, 123, 128)
    CT_TP_DST = FieldSpec("ct_tp_dst", NXM_1, 125, 16)

    def __init__(self, name: str, oxm_class: int, number: int, bits: int) -> None:
        # An attribute, because `value` goes through a descriptor in Python, and every match reads it.
        self.spec = FieldSpec(name, oxm_class, number, bits)

    __hash__ = object.__hash__  # Enum hashes its name in Python; members are singletons, and flow keys are full of them


class CtState:
    """Bits of ct_state. Source: ovs-fields(7), "Connection Tracking Fields"."""

    NEW = 0x01
    EST = 0x02
    REL = 0x04
    RPL = 0x08
    INV = 0x10
    TRK = 0x20


VLAN_PRESENT = 0x1000
"""Bit of VLAN_VID: there is a tag. Source: OpenFlow 1.5.1 section 7.2.3.8, OFPVID_PRESENT."""

TCP_SYN = 0x02
TCP_RST = 0x04
"""Bits of TCP_FLAGS. Source: RFC 9293 section 3.1."""
