"""PROGRAMS: what a backend must hold for one unit on the nodes that host a member of the group it is addressed to.

This is also the single, flat model of policy: every kind is translated into it, every backend lowers it, and `verdict`
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
"""The position of Kubernetes NetworkPolicies among the tiers: after application (250), before baseline (253)."""

ESTABLISHED = "policy.sluice.dev/established"
"""Annotation of a policy: whether to `keep` (default) or `end` established connections that it newly denies."""

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
    """Inclusive range within 0..65535."""

    first: int
    last: int


class TransportTraffic(Struct, frozen=True, kw_only=True, tag="transport", omit_defaults=True, gc=False):
    protocol: Protocol
    ports: PortRange | str | None = None
    """Destination ports, or the name of a port; unset means all."""

    source_ports: PortRange | None = None


class IcmpTraffic(Struct, frozen=True, kw_only=True, tag="icmp", omit_defaults=True, gc=False):
    """ICMP towards IPv4 addresses, ICMPv6 towards IPv6 addresses."""

    icmp_type: int | None = None
    icmp_code: int | None = None


class IgmpTraffic(Struct, frozen=True, kw_only=True, tag="igmp", omit_defaults=True, gc=False):
    """IGMP messages; an unset field matches every type, or every group."""

    igmp_type: int | None = None
    group: Address | None = None


Traffic = TransportTraffic | IcmpTraffic | IgmpTraffic


class ServiceRef(Struct, frozen=True, kw_only=True, order=True, gc=False):
    """A Service by name. It need not exist: the backend looks it up, and no traffic matches a missing Service."""

    namespace: str
    name: str


class GroupPeer(Struct, frozen=True, kw_only=True, tag="group", gc=False):
    """The members of a group: Pods or nodes."""

    group: GroupId


class BlockPeer(Struct, frozen=True, kw_only=True, tag="block", omit_defaults=True, gc=False):
    """The addresses of a CIDR, minus the excepted CIDRs. Canonical text; excepts sorted."""

    cidr: str
    excepts: tuple[str, ...] = ()


class FqdnPeer(Struct, frozen=True, kw_only=True, tag="fqdn", gc=False):
    """Addresses that DNS returned for a matching name, for the lifetime of the answer. Egress only."""

    pattern: str
    """Lower case, without a trailing dot. `*` matches any number of characters, including dots."""


class ServicePeer(Struct, frozen=True, kw_only=True, tag="service", gc=False):
    """Traffic to the Service's ClusterIP and ports, whichever endpoint receives it. Egress only."""

    service: ServiceRef


Peer = GroupPeer | BlockPeer | FqdnPeer | ServicePeer


class Rule(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    index: int
    """0-based index in the policy's list of rules for this direction."""

    direction: Direction
    action: Action
    peers: tuple[Peer, ...] | None = None
    """A union. Unset matches every peer; empty matches none."""

    traffic: tuple[Traffic, ...] | None = None
    """A union. Unset matches all traffic; empty matches none."""

    l7: tuple[L7Match, ...] | None = None
    """Allow only: the requests that it allows, a union. All others are denied, without evaluating later rules."""

    services: tuple[ServiceRef, ...] | None = None
    """The rule matches traffic from outside the cluster to the NodePorts of these, in a program for all nodes.

    Sorted. Peers are compared with the client's own address.
    """

    name: str = ""
    logs: bool = False
    """Log the first packet of each connection that the rule decides about."""

    log_label: str = ""


class Origin(Struct, frozen=True, kw_only=True, order=True, gc=False):
    """The object from which a program was translated."""

    kind: Kind
    namespace: str
    name: str
    uid: Uid


class Program(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    unit: Unit
    applied_to: GroupId
    cause: Revision
    """The OBJECTS revision of the last change that this program reflects."""

    origin: Origin
    tier: int
    priority: float
    """Within the tier; the lower number wins. 0 for Kubernetes policies, which have no priority."""

    rules: tuple[Rule, ...] = ()
    isolates: tuple[Direction, ...] = ()
    """Directions in which traffic of the members is dropped unless a Kubernetes policy allows it."""

    logs_isolation: bool = False
    """Log what is dropped because no Kubernetes policy allows it."""

    about_nodes: bool = False
    """The members are nodes: the rules are about traffic of the nodes themselves, not of their Pods."""

    ends: bool = False
    """End established connections that the policy newly denies; otherwise they continue."""
