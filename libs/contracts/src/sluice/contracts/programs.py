"""PROGRAMS: what a backend must hold for one unit on the nodes that host a member of the group it is addressed to.

This is also the one flat model of policy: every kind is translated into it, every backend lowers it, and `verdict`
evaluates it. A new kind of match is a new member of the union `Traffic` or `Peer`; thanks to `assert_never`, the type
checker then lists every place that must handle it.
"""

from enum import StrEnum
from typing import Literal

from msgspec import Struct

from sluice.contracts.ids import Address, GroupId, Revision, Uid, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.l7 import L7Match
from sluice.contracts.objects import Protocol

K8S_TIER = 251
"""Where Kubernetes NetworkPolicies stand among the tiers: after application (250), before baseline (253)."""

ESTABLISHED = "policy.sluice.dev/established"
"""Annotation of a policy: what becomes of established connections that it comes to deny, `keep` (default) or `end`."""

Established = Literal["keep", "end"]


class Direction(StrEnum):
    """Relative to the workload: ingress enters it."""

    INGRESS = "ingress"
    EGRESS = "egress"


class Action(StrEnum):
    ALLOW = "allow"
    DROP = "drop"
    REJECT = "reject"
    PASS = "pass"
    """Skip the remaining tier rules; Kubernetes policies and the baseline decide."""


class PortRange(Struct, frozen=True, order=True, gc=False):
    """Both ends belong to it, 0..65535."""

    first: int
    last: int


class TransportTraffic(Struct, frozen=True, kw_only=True, tag="transport", omit_defaults=True, gc=False):
    protocol: Protocol
    ports: PortRange | str | None = None
    """Destination ports, or a port's name; unset means all."""

    source_ports: PortRange | None = None


class IcmpTraffic(Struct, frozen=True, kw_only=True, tag="icmp", omit_defaults=True, gc=False):
    """ICMP towards IPv4 addresses, ICMPv6 towards IPv6 addresses."""

    icmp_type: int | None = None
    icmp_code: int | None = None


class IgmpTraffic(Struct, frozen=True, kw_only=True, tag="igmp", omit_defaults=True, gc=False):
    """IGMP messages; unset means every type, or about every group."""

    igmp_type: int | None = None
    group: Address | None = None


Traffic = TransportTraffic | IcmpTraffic | IgmpTraffic


class ServiceRef(Struct, frozen=True, kw_only=True, order=True, gc=False):
    """A Service by its name. Whether there is one, the backend sees; of one that is not nothing matches."""

    namespace: str
    name: str


class GroupPeer(Struct, frozen=True, kw_only=True, tag="group", gc=False):
    """Members of a group: Pods, or nodes."""

    group: GroupId


class BlockPeer(Struct, frozen=True, kw_only=True, tag="block", omit_defaults=True, gc=False):
    """Addresses of the CIDR that are in none of the excepted CIDRs. Canonical text, excepts sorted."""

    cidr: str
    excepts: tuple[str, ...] = ()


class FqdnPeer(Struct, frozen=True, kw_only=True, tag="fqdn", gc=False):
    """Whoever has an address that DNS told for a matching name, for as long as the answer lives. Egress only."""

    pattern: str
    """Lower case, without a dot at the end. `*` stands for any number of characters, dots included."""


class ServicePeer(Struct, frozen=True, kw_only=True, tag="service", gc=False):
    """What is sent to the Service's ClusterIP and ports, whichever endpoint gets it. Egress only."""

    service: ServiceRef


Peer = GroupPeer | BlockPeer | FqdnPeer | ServicePeer


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    index: int
    """Its place in the policy's list of this direction, 0-based."""

    direction: Direction
    action: Action
    peers: tuple[Peer, ...] | None = None
    """A union. Unset means everybody; empty means nobody."""

    traffic: tuple[Traffic, ...] | None = None
    """A union. Unset means all traffic; empty means none."""

    l7: tuple[L7Match, ...] | None = None
    """Of an Allow: what of its packets it allows. A union; the rest is refused, and no later rule is asked."""

    services: tuple[ServiceRef, ...] | None = None
    """The rule is about what comes from beyond the cluster to the NodePorts of these, in a program for all nodes.

    Sorted. Its peers are compared with the client's own address.
    """

    name: str = ""
    logs: bool = False
    """The first packet of each connection that it decides about is to be logged."""

    log_label: str = ""


class Origin(Struct, frozen=True, kw_only=True, order=True, gc=False):
    """The object a program was made of."""

    kind: Kind
    namespace: str
    name: str
    uid: Uid


class Program(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    unit: Unit
    applied_to: GroupId
    cause: Revision
    """The OBJECTS sequence of the last change that this program reflects."""

    origin: Origin
    tier: int
    priority: float
    """Within the tier; the lower wins. 0 for Kubernetes policies, which have none."""

    rules: tuple[Rule, ...] = ()
    isolates: tuple[Direction, ...] = ()
    """Directions in which a member is closed to what no Kubernetes policy allows."""

    logs_isolation: bool = False
    """What is dropped because no Kubernetes policy allows it is to be logged."""

    about_nodes: bool = False
    """The members are nodes: the rules are about what nodes themselves send and receive, not about their Pods."""

    ends: bool = False
    """Established connections that it comes to deny are ended. Else they go on as long as they last."""
