"""Protocol numbers in frames and packets, for all backends."""


class EthType:
    """Source: IEEE 802 numbers; same values as linux/if_ether.h."""

    ALL = 0x0003
    """Linux only, never in a frame: a filter for all types."""

    IPV4 = 0x0800
    ARP = 0x0806
    VLAN = 0x8100
    IPV6 = 0x86DD


class IpProto:
    """Source: IANA protocol numbers."""

    ICMP = 1
    IGMP = 2
    TCP = 6
    UDP = 17
    ICMPV6 = 58
    SCTP = 132
