"""Whether one description of packets covers another, or is disjoint from it.

Sound but not complete: True is certain, False may mean unknown. An empty description counts as not covered, so that no
rule is blamed for hiding it.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import assert_never

from sluice.contracts.ids import GroupId
from sluice.contracts.objects import LabelRequirement
from sluice.contracts.programs import (
    BlockPeer,
    FqdnPeer,
    GroupPeer,
    IcmpTraffic,
    IgmpTraffic,
    Peer,
    PortRange,
    ServicePeer,
    Traffic,
    TransportTraffic,
)
from sluice.grouping.selectors import GroupSelector, Selector, SelectorTerm, matches

Network = IPv4Network | IPv6Network
Labels = Mapping[str, str]
GroupCovers = Callable[[GroupId, GroupId], bool]


def group_covers(wide: GroupSelector, narrow: GroupSelector, namespaces: Mapping[str, Labels]) -> bool:
    """Whether every Pod of the narrow group is in the wide one, with its addresses on the same networks."""
    if wide.networks != narrow.networks:
        return False
    inside = [any(_term_covers(outer, inner, namespaces) for outer in wide.terms) for inner in narrow.terms]
    return bool(inside) and all(inside)


def peers_cover(wide: tuple[Peer, ...] | None, narrow: tuple[Peer, ...] | None, groups: GroupCovers) -> bool:
    if wide is None or not narrow:
        return wide is None and narrow != ()
    return all(any(_peer_covers(outer, inner, groups) for outer in wide) for inner in narrow)


def traffic_covers(wide: tuple[Traffic, ...] | None, narrow: tuple[Traffic, ...] | None) -> bool:
    if wide is None or not narrow:
        return wide is None and narrow != ()
    return all(any(_kind_covers(outer, inner) for outer in wide) for inner in narrow)


def traffic_apart(one: tuple[Traffic, ...] | None, other: tuple[Traffic, ...] | None) -> bool:
    """Whether no packet can match both."""
    if one is None or other is None:
        return () in (one, other)
    return all(_kinds_apart(mine, theirs) for mine in one for theirs in other)


@lru_cache(maxsize=1 << 16)
def network(cidr: str) -> Network:
    """The CIDR, parsed; cached, since rules repeat theirs and are compared with many others."""
    return ip_network(cidr)


def block_within(inner: str, outer: str) -> bool:
    one, other = network(inner), network(outer)
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.subnet_of(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.subnet_of(other)


def _term_covers(wide: SelectorTerm, narrow: SelectorTerm, namespaces: Mapping[str, Labels]) -> bool:
    if wide.namespace not in ("", narrow.namespace) or not _implies(narrow.pod_selector, wide.pod_selector):
        return False
    if wide.namespace_selector is None:
        return True
    if narrow.namespace_selector is not None and _implies(narrow.namespace_selector, wide.namespace_selector):
        return True
    labels = namespaces.get(narrow.namespace)
    return labels is not None and matches(wide.namespace_selector, labels)


def _implies(narrow: Selector, wide: Selector) -> bool:
    """Whether wide matches everything that narrow matches."""
    return all(any(_requires(known, wanted) for known in narrow if known.key == wanted.key) for wanted in wide)


def _requires(known: LabelRequirement, wanted: LabelRequirement) -> bool:
    values, wanted_values = set(known.values), set(wanted.values)
    match wanted.operator:
        case "In":
            return known.operator == "In" and values <= wanted_values
        case "NotIn":
            return (
                (known.operator == "In" and not values & wanted_values)
                or (known.operator == "NotIn" and values >= wanted_values)
                or known.operator == "DoesNotExist"
            )
        case "Exists":
            return known.operator in ("In", "Exists")
        case "DoesNotExist":
            return known.operator == "DoesNotExist"
        case _:
            assert_never(wanted.operator)


def _peer_covers(wide: Peer, narrow: Peer, groups: GroupCovers) -> bool:
    match wide, narrow:
        case GroupPeer(), GroupPeer():
            return groups(wide.group, narrow.group)
        case BlockPeer(), BlockPeer():
            if not block_within(narrow.cidr, wide.cidr):
                return False
            return all(
                any(block_within(hole, own) for own in narrow.excepts)
                or not network(hole).overlaps(network(narrow.cidr))
                for hole in wide.excepts
            )
        case (FqdnPeer(), FqdnPeer()) | (ServicePeer(), ServicePeer()):
            return wide == narrow
        case _:
            return False


def _kind_covers(wide: Traffic, narrow: Traffic) -> bool:
    match wide, narrow:
        case TransportTraffic(), TransportTraffic():
            return (
                wide.protocol == narrow.protocol
                and _ports_cover(wide.ports, narrow.ports)
                and _ports_cover(wide.source_ports, narrow.source_ports)
            )
        case IcmpTraffic(), IcmpTraffic():
            return wide.icmp_type in (None, narrow.icmp_type) and wide.icmp_code in (None, narrow.icmp_code)
        case IgmpTraffic(), IgmpTraffic():
            return wide.igmp_type in (None, narrow.igmp_type) and wide.group in (None, narrow.group)
        case _:
            return False


def _kinds_apart(one: Traffic, other: Traffic) -> bool:
    match one, other:
        case TransportTraffic(), TransportTraffic():
            if one.protocol != other.protocol:
                return True
            match one.ports, other.ports:
                case PortRange() as mine, PortRange() as theirs:
                    return mine.last < theirs.first or theirs.last < mine.first
                case _:
                    return False
        case _:
            return type(one) is not type(other)


def _ports_cover(wide: PortRange | str | None, narrow: PortRange | str | None) -> bool:
    match wide, narrow:
        case None, _:
            return True
        case PortRange(first=first, last=last), PortRange(first=low, last=high):
            return first <= low and high <= last
        case _:
            return wide == narrow
