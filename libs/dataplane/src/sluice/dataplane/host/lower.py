"""From rules to lines: the packets that a rule matches, as alternatives, each a conjunction of matches.

A rule has as many alternatives as it has kinds of peers times ports. Each peer group is one set for IPv4 and one for
IPv6, shared by all rules that refer to it; the IP blocks of a rule are another two sets. So a change of members changes
set elements, but no lines.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from ipaddress import ip_network
from typing import NamedTuple, assert_never

from sluice.contracts.ids import GroupId
from sluice.contracts.programs import (
    Action,
    BlockPeer,
    Direction,
    GroupPeer,
    IcmpTraffic,
    IgmpTraffic,
    PortRange,
    Program,
    Rule,
    Traffic,
    TransportTraffic,
)
from sluice.dataplane.addresses import WIDTH, cover, network
from sluice.dataplane.host.guard import PROTOCOLS
from sluice.dataplane.host.ids import RuleKey, comment, rule_id
from sluice.dataplane.host.table import (
    Accept,
    Carries,
    Chain,
    Drop,
    End,
    Goto,
    Icmp,
    Igmp,
    InSet,
    Kind,
    Line,
    Match,
    NamedPort,
    Port,
    Prohibit,
    Reset,
    Set,
    Side,
    Verdict,
    Version,
)
from sluice.dataplane.protocols import IpProto
from sluice.policy.everypod import EVERY_POD_ID, is_named

VERSIONS: tuple[Version, ...] = (4, 6)

PEER = {Direction.INGRESS: Side.SOURCE, Direction.EGRESS: Side.DESTINATION}
"""On which side the peer's address is."""

_ICMP = {4: IpProto.ICMP, 6: IpProto.ICMPV6}


class Pairs(NamedTuple):
    """A set of the members of a group, each with its number for this port name."""

    group: GroupId
    name: str
    protocol: str
    version: Version

    @property
    def set(self) -> str:
        return f"p{self.version}.{self.group}.{self.name}.{self.protocol.lower()}"


class Lowered(NamedTuple):
    """One lowered rule, and what its lines refer to."""

    lines: tuple[Line, ...]
    again: tuple[Line, ...]
    """The lines for established connections."""

    chains: dict[str, Chain]
    groups: frozenset[GroupId]
    pairs: frozenset[Pairs]
    blocks: dict[str, Set]


def group_set(group: GroupId, version: Version) -> str:
    return f"g{version}.{group}"


def lower(program: Program, rule: Rule, baseline: str, again: str) -> Lowered:
    """The rule as lines.

    Args:
        baseline: chain in which passed packets continue; empty: they are accepted.
        again: the same for established connections.
    """
    key = RuleKey(program.unit, rule.direction, rule.index)
    name, said = rule_id(key), comment(key)
    groups = {peer.group for peer in rule.peers or () if isinstance(peer, GroupPeer)}
    needs = _Needs(set(groups), set(), {})
    abouts = tuple(_abouts(rule, needs))
    verdict = _verdict(rule.action, baseline)
    chains: dict[str, Chain] = {}
    if rule.logs or rule.action is Action.REJECT:
        chains[f"do.{name}"] = Chain(tuple(_does(rule, name, said, verdict)))
        lines = tuple(Line(about, Goto(f"do.{name}"), said) for about in abouts)
    else:
        lines = tuple(Line(about, verdict, said, counter=name) for about in abouts)
    afresh: tuple[Line, ...] = ()
    if rule.action in (Action.DROP, Action.REJECT) and program.ends:
        chains[f"end.{name}"] = Chain(tuple(_ends(rule, name, said)))
        afresh = tuple(Line(about, Goto(f"end.{name}"), said) for about in abouts)
    else:
        kept = _verdict(Action.PASS if rule.action is Action.PASS else Action.ALLOW, again)
        afresh = tuple(Line(about, kept, said) for about in abouts)
    if not abouts:
        chains = {}
    return Lowered(lines, afresh, chains, frozenset(needs.groups), frozenset(needs.pairs), needs.blocks)


class _Needs(NamedTuple):
    groups: set[GroupId]
    pairs: set[Pairs]
    blocks: dict[str, Set]


def _verdict(action: Action, baseline: str) -> Verdict:
    match action:
        case Action.ALLOW:
            return Accept()
        case Action.PASS:
            return Goto(baseline) if baseline else Accept()
        case Action.DROP:
            return Drop()
        case Action.REJECT:
            return Prohibit()
        case _:
            assert_never(action)


def _does(rule: Rule, name: str, said: str, verdict: Verdict) -> Iterator[Line]:
    """The chain of a rule that needs more than one line."""
    if rule.logs:
        yield Line((), None, said, log=name)
    if isinstance(verdict, Prohibit):
        yield Line((Carries(IpProto.TCP),), Reset(), said, counter=name)
    yield Line((), verdict, said, counter=name)


def _ends(rule: Rule, name: str, said: str) -> Iterator[Line]:
    """The chain of a rule that ends connections: no more of their packets pass, in either direction."""
    yield Line((), End(), said)
    yield from _does(rule, name, said, _verdict(rule.action, ""))


def _abouts(rule: Rule, needs: _Needs) -> Iterator[tuple[Match, ...]]:
    """The packets that the rule matches, as alternative lists of matches."""
    traffic: tuple[Traffic | None, ...] = (None,) if rule.traffic is None else rule.traffic
    for entry in traffic:
        if entry is not None and is_named(entry):
            assert isinstance(entry, TransportTraffic)
            yield from _named(rule, entry, needs)
            continue
        for version, peer in _peers(rule, needs):
            for kinds in _traffic(entry, version):
                yield (*peer, *kinds)


def _peers(rule: Rule, needs: _Needs) -> Iterator[tuple[Version | None, tuple[Match, ...]]]:
    if rule.peers is None:
        yield None, ()
        return
    side = PEER[rule.direction]
    for group in dict.fromkeys(peer.group for peer in rule.peers if isinstance(peer, GroupPeer)):
        for version in VERSIONS:
            yield version, (InSet(side, version, group_set(group, version)),)
    blocks = [peer for peer in rule.peers if isinstance(peer, BlockPeer)]
    for version in VERSIONS:
        ranges = _ranges(blocks, version)
        if ranges:
            name = f"b{version}.{sha256(repr(ranges).encode()).hexdigest()[:16]}"
            needs.blocks[name] = Set(version, Kind.RANGES, frozenset(ranges))
            yield version, (InSet(side, version, name),)


def _named(rule: Rule, entry: TransportTraffic, needs: _Needs) -> Iterator[tuple[Match, ...]]:
    """Packets to Pods that have a port with this name."""
    assert isinstance(entry.ports, str)
    if rule.peers is None:
        groups: Iterable[GroupId] = (EVERY_POD_ID,)
    else:
        groups = dict.fromkeys(peer.group for peer in rule.peers if isinstance(peer, GroupPeer))
    number = PROTOCOLS[entry.protocol.lower()]
    for group in groups:
        needs.groups.add(group)
        for version in VERSIONS:
            pairs = Pairs(group, entry.ports, entry.protocol, version)
            needs.pairs.add(pairs)
            yield (NamedPort(version, number, pairs.set), *_source_ports(entry))


def _traffic(entry: Traffic | None, version: Version | None) -> Iterator[tuple[Match, ...]]:
    match entry:
        case None:
            yield ()
        case TransportTraffic(ports=ports):
            number = PROTOCOLS[entry.protocol.lower()]
            matches = [*_source_ports(entry)]
            if isinstance(ports, PortRange):
                matches.append(Port(number, Side.DESTINATION, ports.first, ports.last))
            yield tuple(matches) or (Carries(number),)
        case IcmpTraffic(icmp_type=kind, icmp_code=code):
            for each in VERSIONS if version is None else (version,):
                of = [Icmp(each, "type", kind, kind)] if kind is not None else []
                of += [Icmp(each, "code", code, code)] if code is not None else []
                yield tuple(of) or (Carries(_ICMP[each]),)
        case IgmpTraffic(igmp_type=kind):
            if version != 6:
                yield (Carries(IpProto.IGMP),) if kind is None else (Igmp(kind),)
        case _:
            assert_never(entry)


def _source_ports(entry: TransportTraffic) -> Iterator[Match]:
    if entry.source_ports is not None:
        first, last = entry.source_ports.first, entry.source_ports.last
        yield Port(PROTOCOLS[entry.protocol.lower()], Side.SOURCE, first, last)


def _ranges(blocks: Iterable[BlockPeer], version: Version) -> list[tuple[int, int]]:
    """The addresses of the blocks as ranges, in ascending order."""
    found: list[tuple[int, int]] = []
    for peer in blocks:
        block = network(peer.cidr)
        if block.version == version:
            parts = cover(block, map(network, peer.excepts))
            found += [(part.value, part.value + (1 << (WIDTH[version] - part.prefix)) - 1) for part in parts]
    return sorted(merged(found))


def cidr_range(text: str) -> tuple[Version, int, int]:
    """The IP version of a CIDR, its first and its last address."""
    parsed = ip_network(text, strict=False)
    return (4 if parsed.version == 4 else 6), int(parsed.network_address), int(parsed.broadcast_address)


def merged(ranges: Iterable[tuple[int, int]]) -> frozenset[tuple[int, int]]:
    """The fewest ranges with the same addresses."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(last, found[-1][1])
        else:
            found.append((first, last))
    return frozenset(found)
