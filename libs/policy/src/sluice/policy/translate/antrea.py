"""ClusterNetworkPolicy and NetworkPolicy of crd.antrea.io/v1beta1 into the flat model.

Rules are gathered by the list of Pods that they apply to: the policy's, or the rule's own. Peers that are relative to
the Namespace of such a Pod (`namespaces`) are spread: the rule stands again in a program for the Pods of each Namespace
(`match: Self`), or of the Namespaces with the same values of labels (`sameLabels`), with the peers that are right
there. A rule keeps its index wherever it stands, so several programs together say what the rule says. Those that come
to the same group become one.

A policy whose only relative peers are `sameLabels` means nothing in Namespaces without these labels; its other rules
do not stand there either (docs "Antrea Network Policy CRDs", "Selecting Namespaces with the same label values").

What admission refuses is refused here again: in an Allow or a Pass the piece matches nothing; a Drop or a Reject
matches all that the rule could be about (law 7).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from sluice.contracts import subjects
from sluice.contracts.antrea import (
    AntreaPeer,
    AntreaPort,
    AntreaProtocol,
    AntreaRule,
    AppliedTo,
    L7Protocol,
    PeerNamespaces,
    PeerService,
    rule_name,
    tier_name,
)
from sluice.contracts.ids import Address, GroupId, Revision, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.l7 import HttpMatch, L7Match, TlsMatch
from sluice.contracts.objects import AntreaPolicy, ClusterNetworkPolicy, LabelRequirement
from sluice.contracts.programs import (
    Action,
    Direction,
    FqdnPeer,
    GroupPeer,
    IcmpTraffic,
    IgmpTraffic,
    Origin,
    Peer,
    PortRange,
    Program,
    Rule,
    ServicePeer,
    ServiceRef,
    Traffic,
    TransportTraffic,
)
from sluice.grouping.selectors import GroupSelector, matches
from sluice.policy import fqdn
from sluice.policy.translate.blocks import BadBlock, block
from sluice.policy.translate.cluster import Cluster
from sluice.policy.translate.selecting import (
    BadSelector,
    Group,
    Selection,
    pods_anywhere,
    pods_in,
    pods_of_any,
    pods_of_namespaces,
)
from sluice.policy.translate.translation import Translation, Untranslatable

P = TypeVar("P")
R = TypeVar("R")

ACTIONS: Mapping[str, Action] = {
    "Allow": Action.ALLOW,
    "Drop": Action.DROP,
    "Deny": Action.DROP,
    "Reject": Action.REJECT,
    "Pass": Action.PASS,
}
_WIDENED = (Action.DROP, Action.REJECT)
_HIGHEST_PORT = 65_535
"""Source: RFC 9293, section 3.1."""


class _Refused(ValueError):
    """This piece of the policy means nothing: what, why and what to do."""


class _Spread(NamedTuple):
    """A peer that is relative to the Namespace of the Pod that the rule applies to."""

    keys: tuple[str, ...]
    """Labels whose values are the same there; none: the Namespace itself."""

    pods: Selection
    """Of a Namespace that is not said yet."""


class _Piece(NamedTuple):
    """A rule with its two sorts of peers apart."""

    rule: Rule
    """With the peers that are the same for every Pod."""

    stands: bool
    """It has such peers, or is about everybody."""

    spreads: tuple[_Spread, ...]


def kind_of(policy: AntreaPolicy) -> Kind:
    return Kind.CLUSTER_NETWORK_POLICY if isinstance(policy, ClusterNetworkPolicy) else Kind.ANTREA_NETWORK_POLICY


def translate(policy: AntreaPolicy, cause: Revision, cluster: Cluster) -> Translation:
    """One program for each group that rules of the policy apply to.

    Raises:
        Untranslatable: its tier does not exist, or nobody can say whom it applies to.
    """
    return _Translator(policy, cluster).translate(cause)


def spread_keys(policy: AntreaPolicy) -> frozenset[tuple[str, ...]]:
    """The label keys of each `sameLabels` in the policy; the empty tuple stands for `match: Self`."""
    rules = ((rule.from_ for rule in policy.spec.ingress), (rule.to for rule in policy.spec.egress))
    given = (peer.namespaces for peers in (*rules[0], *rules[1]) for peer in peers)
    return frozenset(_keys(one) for one in given if one is not None)


def _keys(given: PeerNamespaces) -> tuple[str, ...]:
    return tuple(sorted(set(given.same_labels)))


class _Translator:
    """Collects the programs, the groups and the problems of one policy."""

    def __init__(self, policy: AntreaPolicy, cluster: Cluster) -> None:
        self._policy, self._cluster = policy, cluster
        meta = policy.metadata
        self._namespace = meta.namespace
        self._kind = kind_of(policy)
        self._unit = subjects.unit(self._kind, meta.namespace, meta.name)
        self._spreads = spread_keys(policy)
        self._selectors: dict[GroupId, GroupSelector] = {}
        self._problems: list[str] = []
        self._rules: dict[GroupId, dict[tuple[Direction, int], Rule]] = {}

    def translate(self, cause: Revision) -> Translation:
        meta, spec = self._policy.metadata, self._policy.spec
        name = tier_name(spec.tier)
        tier = self._cluster.tier(name)
        if tier is None:
            raise Untranslatable(
                f"{self._where()} $.spec.tier: there is no tier {name}, so nobody knows what goes first, and nothing "
                "of the policy is in force; make the tier, or name another"
            )
        for applied_to, pieces in self._lists().items():
            self._address(applied_to, pieces)
        origin = Origin(kind=self._kind, namespace=meta.namespace, name=meta.name, uid=Uid(meta.uid))
        programs = tuple(
            Program(
                unit=self._unit,
                applied_to=group,
                cause=cause,
                origin=origin,
                tier=tier,
                priority=spec.priority,
                rules=tuple(rules[place] for place in sorted(rules, key=_place)),
            )
            for group, rules in sorted(self._rules.items())
        )
        return Translation(programs, self._named(programs), tuple(self._problems))

    # --------------------------------------------------------------------------------------------------- applied to

    def _lists(self) -> dict[tuple[Selection, ...], list[_Piece]]:
        """The rules by the list that they apply to."""
        spec = self._policy.spec
        common = self._selections(spec.applied_to, "$.spec.appliedTo") if spec.applied_to else None
        lists: dict[tuple[Selection, ...], list[_Piece]] = {}
        for direction, rules in ((Direction.INGRESS, spec.ingress), (Direction.EGRESS, spec.egress)):
            for index, rule in enumerate(rules):
                path = f"$.spec.{direction}[{index}]"
                own = common or self._selections(rule.applied_to, f"{path}.appliedTo")
                lists.setdefault(own, []).append(self._piece(direction, index, rule, path))
        return lists

    def _selections(self, entries: Iterable[AppliedTo], path: str) -> tuple[Selection, ...]:
        found = []
        for index, entry in enumerate(entries):
            if entry.group or entry.service_account or entry.service or entry.node_selector:
                reason = "only selectors of Pods are understood yet"
                raise Untranslatable(f"{self._where()} {path}[{index}]: {reason}")
            if entry.pod_selector is None and entry.namespace_selector is None:
                reason = "names nobody; give it a selector, or remove it"
                raise Untranslatable(f"{self._where()} {path}[{index}]: {reason}")
            try:
                found.append(Selection.of(None if self._namespace else entry.namespace_selector, entry.pod_selector))
            except BadSelector as bad:
                raise Untranslatable(f"{self._where()} {path}[{index}]: {bad}") from bad
        if not found:
            raise Untranslatable(f"{self._where()} {path}: missing, so it applies to nobody; say to whom")
        return tuple(found)

    def _address(self, applied_to: tuple[Selection, ...], pieces: list[_Piece]) -> None:
        """Each rule to the Pods that it applies to, and to those of every Namespace that it is spread over."""
        everywhere = self._where_it_means_something(applied_to)
        for piece in pieces:
            if piece.stands:
                self._add(pods_of_any(everywhere, self._namespace), piece.rule)
        if not any(piece.spreads for piece in pieces):
            return
        for name, labels in self._affected(applied_to):
            here = tuple(one for one in applied_to if matches(one.namespace_selector(), labels))
            for piece in pieces:
                own = [pods_of_any((spread.pods,), name) for spread in piece.spreads if not spread.keys]
                if own:
                    self._add(pods_of_any(here, name), self._with(piece.rule, own))
        for alike in sorted(self._likenesses(applied_to, pieces)):
            keys = tuple(key for key, _ in alike)
            same = [LabelRequirement(key=key, operator="In", values=(value,)) for key, value in alike]
            here = tuple(one.where(*same) for one in applied_to)
            for piece in pieces:
                own = [pods_of_any((spread.pods.where(*same),)) for spread in piece.spreads if spread.keys == keys]
                if own:
                    self._add(pods_of_any(here), self._with(piece.rule, own))

    def _where_it_means_something(self, applied_to: tuple[Selection, ...]) -> tuple[Selection, ...]:
        """The list, in Namespaces with the labels that must be the same there if nothing else is relative."""
        if not self._spreads or () in self._spreads:
            return applied_to
        return tuple(
            one.where(*(LabelRequirement(key=key, operator="Exists") for key in keys))
            for keys in sorted(self._spreads)
            for one in applied_to
        )

    def _affected(self, applied_to: tuple[Selection, ...]) -> Iterator[tuple[str, Mapping[str, str]]]:
        """The Namespaces that the list can select Pods of."""
        selectors = {one.namespace_selector() for one in applied_to}
        for name in sorted(self._cluster.namespaces):
            labels = self._cluster.namespaces[name]
            if any(matches(selector, labels) for selector in selectors):
                yield name, labels

    def _likenesses(self, applied_to: tuple[Selection, ...], pieces: list[_Piece]) -> set[tuple[tuple[str, str], ...]]:
        """The values, with their keys, that affected Namespaces have; one without all of the keys has none."""
        wanted = {spread.keys for piece in pieces for spread in piece.spreads if spread.keys}
        return {
            tuple((key, labels[key]) for key in keys)
            for _, labels in (self._affected(applied_to) if wanted else ())
            for keys in wanted
            if all(key in labels for key in keys)
        }

    def _with(self, rule: Rule, groups: Iterable[Group]) -> Rule:
        return replace(rule, peers=tuple(dict.fromkeys(GroupPeer(group=self._made(group)) for group in groups)))

    def _add(self, group: Group, rule: Rule) -> None:
        """The rule stands for the group; one that stands there already has the peers of both."""
        rules = self._rules.setdefault(self._made(group), {})
        place = rule.direction, rule.index
        before = rules.get(place)
        if before is not None:
            both = None if before.peers is None or rule.peers is None else (*before.peers, *rule.peers)
            rule = replace(rule, peers=None if both is None else tuple(dict.fromkeys(both)))
        rules[place] = rule

    def _made(self, group: Group) -> GroupId:
        self._selectors[group[0]] = group[1]
        return group[0]

    def _named(self, programs: Iterable[Program]) -> dict[GroupId, GroupSelector]:
        """The groups of these programs, each with its selector."""
        named: dict[GroupId, None] = {}
        for program in programs:
            named[program.applied_to] = None
            for rule in program.rules:
                named.update((peer.group, None) for peer in rule.peers or () if isinstance(peer, GroupPeer))
        return {group: self._selectors[group] for group in named}

    # -------------------------------------------------------------------------------------------------------- rules

    def _piece(self, direction: Direction, index: int, rule: AntreaRule, path: str) -> _Piece:
        action = ACTIONS[rule.action]
        field, written = ("from", rule.from_) if direction is Direction.INGRESS else ("to", rule.to)
        peers = self._each(written, self._peer, f"{path}.{field}", action)
        plain = None if peers is None else tuple(peer for peer in peers if not isinstance(peer, _Spread))
        spreads = tuple(peer for peer in peers or () if isinstance(peer, _Spread))
        ports = self._each(rule.ports, _of_port, f"{path}.ports", action)
        protocols = self._each(rule.protocols, _of_protocol, f"{path}.protocols", action)
        traffic: tuple[Traffic, ...] | None = (*(ports or ()), *(protocols or ()))
        if (ports is None or not rule.ports) and (protocols is None or not rule.protocols):
            traffic = None
        if rule.to_services:
            plain, spreads = self._each(rule.to_services, self._service, f"{path}.toServices", action), ()
        flat = Rule(
            index=index,
            direction=direction,
            action=action,
            peers=plain,
            traffic=traffic,
            l7=self._l7(rule, path),
            name=rule_name(direction.value, rule),
            logs=rule.enable_logging,
            log_label=rule.log_label,
        )
        return _Piece(flat, plain != () or not spreads, spreads)

    def _each(self, pieces: tuple[P, ...], make: Callable[[P], R], path: str, action: Action) -> tuple[R, ...] | None:
        """What the pieces mean, each meaning once; None if they mean everything, as no pieces do.

        A refused piece is a problem. To allow or pass it means nothing; to drop or reject, everything.
        """
        if not pieces:
            return None
        made: list[R] = []
        refused = False
        for place, piece in enumerate(pieces):
            try:
                made.append(make(piece))
            except (_Refused, BadBlock, BadSelector) as reason:
                refused = True
                self._problems.append(f"{self._where()} {path}[{place}]: {reason}")
        return None if refused and action in _WIDENED else tuple(dict.fromkeys(made))

    def _peer(self, peer: AntreaPeer) -> Peer | _Spread:
        if peer.fqdn and peer == AntreaPeer(fqdn=peer.fqdn):
            return FqdnPeer(pattern=fqdn.normal(peer.fqdn))
        if peer.fqdn or peer.group or peer.service_account or peer.node_selector:
            raise _Refused("only selectors of Pods are understood yet")
        selects = peer.pod_selector is not None or peer.namespace_selector is not None
        if peer.ip_block is not None:
            if selects or peer.namespaces is not None:
                raise _Refused("ipBlock beside a selector: a peer is one or the other; make two peers of it")
            return block(peer.ip_block.cidr, peer.ip_block.except_)
        if peer.namespaces is not None:
            given = peer.namespaces
            if peer.namespace_selector is not None or self._namespace:
                raise _Refused("namespaces has no place here: it stands alone, in a ClusterNetworkPolicy; remove it")
            if (given.match is None) == (not given.same_labels):
                raise _Refused("namespaces says nothing or two things; give either match: Self or sameLabels")
            return _Spread(_keys(given), Selection.of(None, peer.pod_selector))
        if peer.namespace_selector is not None:
            return GroupPeer(group=self._made(pods_of_namespaces(peer.namespace_selector, peer.pod_selector)))
        if peer.pod_selector is None:
            raise _Refused("an empty peer: it could mean nobody or everybody; use a selector, or ipBlock, or no list")
        own = pods_in(self._namespace, peer.pod_selector) if self._namespace else pods_anywhere(peer.pod_selector)
        return GroupPeer(group=self._made(own))

    def _service(self, service: PeerService) -> Peer:
        return ServicePeer(service=ServiceRef(namespace=service.namespace or self._namespace, name=service.name))

    def _l7(self, rule: AntreaRule, path: str) -> tuple[L7Match, ...] | None:
        """What of its packets the rule allows; what is refused it does not."""
        if rule.action != "Allow":
            if rule.l7_protocols:
                reason = "only an Allow looks into packets; write Allow, or remove it"
                self._problems.append(f"{self._where()} {path}.l7Protocols: {reason}")
            return None
        return self._each(rule.l7_protocols, _of_l7, f"{path}.l7Protocols", Action.ALLOW)

    def _where(self) -> str:
        name = self._policy.metadata.name
        return f"NetworkPolicy {self._namespace}/{name}" if self._namespace else f"ClusterNetworkPolicy {name}"


def _place(place: tuple[Direction, int]) -> tuple[bool, int]:
    """Ingress first."""
    return place[0] is Direction.EGRESS, place[1]


def _of_port(port: AntreaPort) -> Traffic:
    ports: PortRange | str | None
    if isinstance(port.port, str):
        if port.end_port is not None or not port.port:
            raise _Refused("a named port is one port, and its name is not empty; give a number, or remove endPort")
        ports = port.port
    else:
        ports = _range("port", port.port, port.end_port)
    source = _range("sourcePort", port.source_port, port.source_end_port)
    return TransportTraffic(protocol=port.protocol, ports=ports, source_ports=source)


def _range(name: str, first: int | None, last: int | None) -> PortRange | None:
    if first is None:
        if last is not None:
            raise _Refused(f"a range to {last} without {name}: it needs its beginning; give {name}")
        return None
    last = first if last is None else last
    if not 1 <= first <= last <= _HIGHEST_PORT:
        raise _Refused(f"{name} {first} to {last}: ports are 1 to 65535, the lower first; correct the numbers")
    return PortRange(first, last)


def _of_protocol(protocol: AntreaProtocol) -> Traffic:
    icmp, igmp = protocol.icmp, protocol.igmp
    if (icmp is None) == (igmp is None):
        raise _Refused("names no protocol, or two; write icmp: {} for all of ICMP, or remove it")
    if igmp is not None:
        return IgmpTraffic(igmp_type=igmp.igmp_type, group=_multicast(igmp.group_address))
    assert icmp is not None
    if not all(number is None or 0 <= number <= 255 for number in (icmp.icmp_type, icmp.icmp_code)):
        raise _Refused("ICMP types and codes are 0 to 255; correct the number")
    return IcmpTraffic(icmp_type=icmp.icmp_type, icmp_code=icmp.icmp_code)


def _multicast(written: str) -> Address | None:
    if not written:
        return None
    try:
        group = ip_address(written)
    except ValueError as error:
        raise _Refused(f"{error}; give the address of a group, as 225.1.2.3, or leave it out") from error
    if not group.is_multicast:
        raise _Refused(f"{group} is no multicast address; give that of a group, as 225.1.2.3, or leave it out")
    return Address(str(group))


def _of_l7(protocol: L7Protocol) -> L7Match:
    http, tls = protocol.http, protocol.tls
    if http is not None and tls is None:
        return HttpMatch(method=http.method, host=http.host, path=http.path)
    if tls is not None and http is None:
        return TlsMatch(sni=tls.sni)
    raise _Refused("names no protocol, or two; write http: {} for all of HTTP, or remove it")
