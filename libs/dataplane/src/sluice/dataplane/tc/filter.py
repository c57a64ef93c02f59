"""Filters: what the kernel holds at one hook of one interface, as plain values.

An interface is seen from the host: the representor of a VF, or the host's end of a veth pair. Its clsact qdisc has two
hooks. The *ingress* hook sees what the workload sends, and enforces egress policy; the *egress* hook sees what is
delivered to it, and enforces ingress policy. Each hook has chains of its own. We add exactly these:

    chain 0                   the root: one filter for every protocol that goes to the entry of one generation,
                              so that replacing this one filter changes everything at once
    entry of a generation     ARP and neighbour discovery pass; IP goes through connection tracking, unconditionally,
                              and on to the classes; the rest is dropped
    classes                   what belongs to a known connection passes; then one filter for each address or prefix,
                              longest first, that goes to the chain of the ports open to it; the rest is dropped
    a chain of ports          one filter for each port, range or protocol that goes to `accept`; the rest is dropped.
                              All addresses with equal ports share one
    accept                    commits the connection to conntrack, and lets the packet through

A filter is identified by its position and its match (`FilterKey`): the kernel refuses a second one with the same chain,
preference, protocol and match. Its actions are its `FilterBody`. The *handle* is the kernel's name for it within a
chain and preference; plans choose it, dumps report it, and nothing else depends on it. Whether a filter is in software
or in hardware is not part of it: that is requested, and verified, for a hook as a whole.

Sources: tc-flower(8), tc-ct(8); Linux 6.1 include/uapi/linux/pkt_cls.h, net/sched/cls_flower.c, net/sched/act_ct.c.
"""

from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from sluice.contracts.programs import Direction, PortRange
from sluice.dataplane.addresses import Block


class Hook(StrEnum):
    """Hooks of clsact with their names in tc(8): seen from the host, so the reverse of the workload's direction."""

    INGRESS = "ingress"
    """What the workload sends. Parent ffff:fff2."""

    EGRESS = "egress"
    """What is delivered to the workload. Parent ffff:fff3."""


HOOKS = {Direction.EGRESS: Hook.INGRESS, Direction.INGRESS: Hook.EGRESS}
"""Which hook enforces a direction of policy."""

DIRECTIONS = {hook: direction for direction, hook in HOOKS.items()}


class CtState:
    """Bits of `Flower.ct_state`. Source: linux/pkt_cls.h, TCA_FLOWER_KEY_CT_FLAGS_*; INV and RPL since Linux 5.12."""

    NEW = 0x01
    EST = 0x02
    REL = 0x04
    TRK = 0x08
    INV = 0x10
    RPL = 0x20


class Bits(NamedTuple):
    """The bits in the mask have these values; value & ~mask is 0."""

    value: int
    mask: int


class Flower(Struct, frozen=True, kw_only=True, omit_defaults=True, cache_hash=True, gc=False):
    """What a packet must look like; unset fields match anything: without any, every packet of the protocol.

    Requirements of the kernel: addresses, ip_proto and ICMP need an IP protocol (the filter's, or `vlan_ethtype` if the
    filter's is VLAN); ports need ip_proto; ICMP fields need ip_proto ICMP or ICMPv6. ct_* refer to the result of the
    last `Ct` of an earlier chain.
    """

    vlan_ethtype: int | None = None
    """EtherType inside the tag; only with protocol VLAN."""

    ip_proto: int | None = None
    source: Block | None = None
    destination: Block | None = None
    source_port: PortRange | None = None
    destination_port: PortRange | None = None
    """Inclusive. Equal ends are an exact port: the kernel has no ranges of one port."""

    icmp_type: int | None = None
    icmp_code: int | None = None
    ct_state: Bits | None = None
    """16 bits, see `CtState`."""

    ct_zone: Bits | None = None
    """16 bits."""

    ct_mark: Bits | None = None
    """32 bits."""

    ct_label: Bits | None = None
    """128 bits."""


ANY = Flower()

LAST = 65_535
"""The preference after all others."""


class Accept(Struct, frozen=True, tag="accept"):
    """Let the packet through (gact pass). Ends the filter."""


class Drop(Struct, frozen=True, tag="drop"):
    """Drop the packet (gact drop). Ends the filter."""


class Goto(Struct, frozen=True, tag="goto"):
    """Continue at the first filter of the chain (gact goto chain). Ends the filter; an empty chain passes."""

    chain: int


class Ct(Struct, frozen=True, kw_only=True, tag="ct", omit_defaults=True):
    """Connection tracking (act_ct, without NAT); the next action follows (pipe)."""

    zone: int | None = None
    """1..65535; None on kernels without zones, where all connections share one."""

    commit: bool = False
    """Store the connection."""

    force: bool = False
    """Replace a connection that was begun from the other side."""

    clear: bool = False
    """Clear the packet's conntrack state. Excludes the other options."""

    mark: Bits | None = None
    """Set on the connection; with commit."""

    label: Bits | None = None
    """Set on the connection; with commit."""


AnyAction = Accept | Drop | Goto | Ct


class FilterKey(NamedTuple):
    """A filter's position, and what it matches."""

    chain: int
    """28 bits."""

    pref: int
    """1..65535: lower ones go first. All filters of one chain and preference have the same protocol."""

    protocol: int
    """An EthType."""

    match: Flower = ANY


class FilterBody(Struct, frozen=True, gc=False):
    """A filter's actions, and its cookie."""

    actions: tuple[AnyAction, ...]
    """One or two; the last ends the filter."""

    cookie: bytes
    """16 bytes, on every action (TCA_ACT_COOKIE); see `owner`."""


class Standing(NamedTuple):
    """A filter that is in the kernel."""

    body: FilterBody
    handle: int
    """1..2**32-1, unique within chain and preference."""


Filters = dict[FilterKey, FilterBody]
"""What a hook must hold."""

Standings = dict[FilterKey, Standing]
"""What a hook holds; only our filters (`owner.is_ours`)."""
