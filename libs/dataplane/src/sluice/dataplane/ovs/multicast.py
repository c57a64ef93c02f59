"""IPv4 multicast among Pods: the groups that Pods have joined, and the flows that deliver to them.

A Pod joins a group by IGMP, which the switch hands over and the programmer parses; packets to a group that nobody
joined go nowhere. What a Pod sends to a group is subject to its egress policies, then goes to the members on this node
and, through the tunnel, once to each node that has members. A node delivers what arrives through the tunnel only to its
own Pods, so there are no loops. The TTL is not decremented: to senders, all Pods are on one link.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sluice.contracts.ids import NodeName, Uid
from sluice.dataplane.addresses import Block
from sluice.dataplane.igmp import FIRST_ROUTED, LAST_ROUTED, Report
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.errand import Errand, Meter
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import (
    Actions,
    Controller,
    FlowBody,
    FlowKey,
    Flows,
    Goto,
    Match,
    MoveField,
    Output,
    Resubmit,
    SetField,
    Term,
    match,
)
from sluice.dataplane.ovs.pipeline import PRIORITY, PRIORITY_FIRST, VIRTUAL_MAC, Table
from sluice.dataplane.ovs.registers import COUNTED, EGRESS_RULE, FLAGS, FROM_HOST, FROM_TUNNEL, FROM_WORLD
from sluice.dataplane.protocols import EthType, IpProto

PRIORITY_MANY = PRIORITY_FIRST + 10
"""CONNTRACK: multicast is not tracked."""

MOST_GROUPS = 64
"""Groups that one Pod may join; Linux allows a socket 20 (net.ipv4.igmp_max_memberships)."""

_MANY = Term(Field.IPV4_DST, 0xE << 28, 0xF << 28)
_IPV4 = Term(Field.ETH_TYPE, EthType.IPV4)
_IGMP = Term(Field.IP_PROTO, IpProto.IGMP)
_BY_A_POD = Term(FLAGS, 0, FROM_HOST | FROM_TUNNEL | FROM_WORLD)
_BY_TUNNEL = Term(FLAGS, FROM_TUNNEL, FROM_TUNNEL)
_HAND_OVER = Controller(userdata=bytes((Errand.IGMP,)), meter_id=Meter.IGMP.value)

BASE_LINES: tuple[tuple[Table, int, Match, Actions], ...] = (
    (Table.CONNTRACK, PRIORITY_MANY + 2, match(_IPV4, _IGMP, _BY_A_POD), (_HAND_OVER,)),
    (Table.CONNTRACK, PRIORITY_MANY + 1, match(_IPV4, _IGMP), ()),
    (Table.CONNTRACK, PRIORITY_MANY, match(_IPV4, _MANY, _BY_A_POD), (Goto(Table.EGRESS_TIER),)),
    (Table.CONNTRACK, PRIORITY_MANY, match(_IPV4, _MANY, _BY_TUNNEL), (Goto(Table.MULTICAST),)),
    (Table.CONNTRACK, PRIORITY_MANY - 1, match(_IPV4, _MANY), ()),
    (
        Table.FORWARD,
        PRIORITY,
        match(_IPV4, _MANY),
        (MoveField(EGRESS_RULE, COUNTED, 32), Resubmit(Table.COUNT), Goto(Table.MULTICAST)),
    ),
)
"""Flows that are always installed: IGMP of Pods is handed over, and multicast of the node or the world is dropped."""


class Tunnel(NamedTuple):
    ofport: int
    ends: Mapping[NodeName, Block]
    """Tunnel endpoints of other nodes."""


class _Membership(NamedTuple):
    type: int
    """Type of the IGMP report; it is evaluated again when policy changes."""

    until_s: float


class Memberships:
    """Who has joined which group: each Pod of this node, and other nodes on behalf of their Pods."""

    def __init__(self) -> None:
        self._local: dict[int, dict[Uid, _Membership]] = {}
        self._remote: dict[NodeName, tuple[frozenset[int], float]] = {}

    @property
    def local(self) -> frozenset[int]:
        """Groups that Pods of this node have joined."""
        return frozenset(self._local)

    @property
    def groups(self) -> frozenset[int]:
        """Groups that anybody has joined."""
        return self.local.union(*(groups for groups, _ in self._remote.values()))

    def joined(self) -> Iterator[tuple[Uid, int, int]]:
        """Memberships on this node: Pod, group, and the type of the report."""
        for group, members in self._local.items():
            for uid, membership in members.items():
                yield uid, group, membership.type

    def take(self, uid: Uid, report: Report, until_s: float) -> frozenset[int]:
        """Take in a report that policy allows; returns the groups that changed. Link-local groups are ignored."""
        if not FIRST_ROUTED <= report.group <= LAST_ROUTED:
            return frozenset()
        if not report.joins:
            return self.leave(uid, report.group)
        members = self._local.get(report.group, {})
        new = uid not in members
        if new and sum(uid in known for known in self._local.values()) >= MOST_GROUPS:
            return frozenset()
        self._local.setdefault(report.group, members)[uid] = _Membership(report.type, until_s)
        return frozenset((report.group,)) if new else frozenset()

    def leave(self, uid: Uid, group: int) -> frozenset[int]:
        """The Pod is not a member of the group any more; returns the groups that changed."""
        members = self._local.get(group, {})
        if members.pop(uid, None) is None:
            return frozenset()
        if not members:
            del self._local[group]
        return frozenset((group,))

    def close(self, uid: Uid) -> frozenset[int]:
        """The Pod's port is closed; returns the groups that changed."""
        return frozenset().union(*[self.leave(uid, group) for group in list(self._local)])

    def heard_of(self, node: NodeName, groups: Iterable[int], until_s: float) -> frozenset[int]:
        """Another node has members of exactly these groups; returns the groups that changed."""
        before, _ = self._remote.pop(node, (frozenset[int](), 0.0))
        now = frozenset(group for group in groups if FIRST_ROUTED <= group <= LAST_ROUTED)
        if now:
            self._remote[node] = now, until_s
        return before ^ now

    def expire(self, now_s: float) -> frozenset[int]:
        """Drop what was not reported again in time; returns the groups that changed."""
        late = [(uid, group) for group, of in self._local.items() for uid, one in of.items() if one.until_s <= now_s]
        gone = [node for node, (_, until_s) in self._remote.items() if until_s <= now_s]
        return frozenset().union(
            *[self.leave(uid, group) for uid, group in late], *[self.heard_of(node, (), 0) for node in gone]
        )

    def next_deadline_s(self) -> float | None:
        ends = [one.until_s for members in self._local.values() for one in members.values()]
        return min([*ends, *(until_s for _, until_s in self._remote.values())], default=None)

    def flows(self, group: int, ports: Mapping[Uid, int], tunnel: Tunnel | None) -> Flows:
        """The flows that deliver the group to its members."""
        here = tuple(
            Output(ofport) for ofport in sorted(ports[uid] for uid in self._local.get(group, {}) if uid in ports)
        )
        far = [node for node, (groups, _) in sorted(self._remote.items()) if group in groups]
        there = () if tunnel is None else tuple(_to(tunnel, node) for node in _ordered(tunnel, far))
        at = match(_IPV4, (Field.IPV4_DST, group))
        cookie = cookies.pack(CookieKind.MULTICAST)
        mask = SetField(Field.ETH_SRC, VIRTUAL_MAC)
        flows: Flows = {}
        if here or there:
            out = (mask, *here, *(step for steps in there for step in steps))
            flows[FlowKey(Table.MULTICAST, PRIORITY, at)] = FlowBody(out, cookie)
        if there:
            only_here = FlowKey(Table.MULTICAST, PRIORITY_FIRST, match(*at, _BY_TUNNEL))
            flows[only_here] = FlowBody((mask, *here) if here else (), cookie)
        return flows


def _ordered(tunnel: Tunnel, nodes: Iterable[NodeName]) -> list[NodeName]:
    """IPv6 first: if a packet has both tunnel ends set, the IPv4 one counts (Open vSwitch lib/flow.h, flow_tnl_dst)."""
    return sorted((node for node in nodes if node in tunnel.ends), key=lambda node: (-tunnel.ends[node].version, node))


def _to(tunnel: Tunnel, node: NodeName) -> Actions:
    end = tunnel.ends[node]
    return SetField(Field.TUN_DST if end.version == 4 else Field.TUN_IPV6_DST, end.value), Output(tunnel.ofport)
