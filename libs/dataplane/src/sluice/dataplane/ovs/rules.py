"""Which rules of a program can be lowered, and what replaces the others.

A rule that cannot be lowered is reported and closed: it keeps its previous form. If it has none, an Allow or Pass is
narrowed to what can be lowered, and a Drop or Reject becomes a drop for every peer. Isolation always applies.
"""

from collections.abc import Iterator
from enum import Enum
from functools import partial
from typing import NamedTuple, assert_never

import msgspec

from sluice.contracts.ids import GroupId
from sluice.contracts.programs import (
    K8S_TIER,
    Action,
    BlockPeer,
    Direction,
    FqdnPeer,
    GroupPeer,
    IgmpTraffic,
    Peer,
    Program,
    Rule,
    ServicePeer,
    Traffic,
)
from sluice.contracts.status import Problem
from sluice.dataplane import examining
from sluice.dataplane.examining import NotLowerable, check_peer, check_traffic, passes
from sluice.dataplane.l7.wanted import rule_set
from sluice.dataplane.ovs.ids import ISOLATION, RuleKey
from sluice.dataplane.ovs.sources import Door, Named, Own, Place, Source
from sluice.policy.everypod import EVERY_POD_ID, is_named, names_ports
from sluice.policy.order import Order, order


class Stage(Enum):
    """Which of a direction's tables decides."""

    TIER = "tier"
    """Ordered rules. What they pass, and what matches none of them, goes on to K8S."""

    K8S = "k8s"
    """Allow rules, unordered."""

    ISOLATION = "isolation"
    """Drops what no K8S rule allowed."""

    BASELINE = "baseline"
    """Ordered rules, for Pods that are not isolated."""

    NODE_PORT = "node port"
    """Like TIER, for traffic from outside the cluster to NodePorts, whatever is decided at the endpoint."""

    NODE_PORT_BASELINE = "node port baseline"
    """Like BASELINE, for the same traffic."""

    __hash__ = object.__hash__  # Enum hashes its name in Python, and each layer is looked up by its stage


class Form(NamedTuple):
    """A rule as the tables see it: the action applies to packets that match every clause."""

    key: RuleKey
    stage: Stage
    action: Action
    clauses: tuple[tuple[Source, ...], ...]
    """Each is a union; the first contains the rule's own Pods."""

    precedence: Order | None = None
    """Unset if there is no order, or no place left in it for the rule."""

    logs: bool = False

    inspected_by: str = ""
    """Digest of the rule set by which the inspection engine judges what the rule allows; empty: it does not."""


def check(program: Program, rule: Rule) -> None:
    """Check that the rule can be lowered as written.

    Raises:
        NotLowerable: it cannot.
    """
    where = f"{program.unit}: {rule.direction} rule {rule.index}"
    if rule.action is not Action.ALLOW and program.tier == K8S_TIER:
        raise NotLowerable(
            f"{where}: a Kubernetes policy can only allow, not {rule.action}; report a bug of rule-compiler"
        )
    if program.about_nodes:
        raise NotLowerable(
            f"{where}: it applies to Nodes, but node-ovs enforces rules only for Pods; run node-host on this node"
        )
    if rule.services is not None and (
        rule.direction is Direction.EGRESS or not all(isinstance(peer, BlockPeer) for peer in rule.peers or ())
    ):
        raise NotLowerable(
            f"{where}: a rule about NodePorts must be an ingress rule from ipBlocks, because clients are known only "
            "by address; correct it"
        )
    if rule.services is not None and names_ports(rule):
        raise NotLowerable(f"{where}: a named port is known only if the rule applies to Pods; write the port number")
    if rule.direction is Direction.INGRESS and any(isinstance(peer, ServicePeer) for peer in rule.peers or ()):
        raise NotLowerable(f"{where}: a Service sends no packets; select its Pods")
    if rule.l7 is not None and rule.services is not None:
        raise NotLowerable(
            f"{where}: requests to NodePorts are inspected at the endpoints; write l7Protocols in a rule that "
            "applies to these"
        )
    if rule.direction is Direction.INGRESS and any(isinstance(peer, FqdnPeer) for peer in rule.peers or ()):
        raise NotLowerable(f"{where}: domain names work only in egress rules; use an ipBlock")
    for place, peer in enumerate(rule.peers or ()):
        check_peer(f"{where}, peer {place}", peer)
    for place, traffic in enumerate(rule.traffic or ()):
        check_traffic(f"{where}, port {place}", traffic)
    others = not all(isinstance(peer, GroupPeer) for peer in rule.peers or ())
    if rule.direction is Direction.EGRESS and others and names_ports(rule):
        raise NotLowerable(
            f"{where}: a named port is known only if the peers are Pods; select Pods by labels, or write the "
            "port number"
        )


def problems(program: Program) -> tuple[Problem, ...]:
    """Why the program is not in force as written: a reason for each rule that is not."""
    return examining.problems(program, check)


def closed_form(program: Program, previous: Program | None = None) -> Program:
    """The program, with every rule that cannot be lowered replaced by its previous form, or else closed.

    Args:
        previous: the closed form that is in force now, if there is one.
    """
    return examining.closed_form(program, previous, check, partial(_stand_in, program))


def _stand_in(program: Program, rule: Rule, before: Rule | None) -> Rule | None:
    kept = before if rule.l7 is None else None  # its previous form may allow more than it does now
    return kept or _closed(program, rule)


def forms(program: Program) -> Iterator[Form]:
    """The rules of a closed form, and the isolation of its members."""
    for direction in program.isolates:
        key = RuleKey(program.unit, program.applied_to, direction, ISOLATION)
        clauses: tuple[tuple[Source, ...], ...] = ((Source(Own(program.applied_to), None),),)
        yield Form(key, Stage.ISOLATION, Action.DROP, clauses, logs=program.logs_isolation)
    for rule in map(_without_igmp, program.rules):
        if rule.peers == () or rule.traffic == ():
            continue  # matches nothing
        if program.tier == K8S_TIER and rule.action is Action.DROP:
            yield _dropping_form(program, rule)
            continue
        if rule.services == ():
            continue  # no NodePort
        place = None if program.tier == K8S_TIER else order(program, rule)
        clauses = tuple(_clauses(program.applied_to, rule))
        where = _key(program, rule), _stage(program, rule)
        yield Form(*where, rule.action, clauses, place, rule.logs, _digest(program, rule))


def placeless(program: Program, key: RuleKey) -> Form | None:
    """The substitute for a rule of a closed form for which its table has no priority left; None: there is none."""
    rule = next(rule for rule in map(_without_igmp, program.rules) if _key(program, rule) == key)
    closes = rule.l7 is not None or rule.action in (Action.DROP, Action.REJECT)
    return _dropping_form(program, rule) if closes else None


def _without_igmp(rule: Rule) -> Rule:
    """The rule without IGMP, which the programmer decides, because flows cannot match its type and group."""
    if not any(isinstance(entry, IgmpTraffic) for entry in rule.traffic or ()):
        return rule
    others = tuple(entry for entry in rule.traffic or () if not isinstance(entry, IgmpTraffic))
    return msgspec.structs.replace(rule, traffic=others)


def _dropping_form(program: Program, rule: Rule) -> Form:
    """Drops the rule's traffic for every peer, above everything that its table allows."""
    own = _own(program.applied_to, rule)
    named = rule.direction is Direction.EGRESS and names_ports(rule)
    traffic: tuple[Traffic | None, ...] = (None,) if rule.traffic is None or named else rule.traffic
    clause = _distinct(Source(place, entry) for place in own for entry in traffic)
    return Form(_key(program, rule), _stage(program, rule), Action.DROP, (clause,), logs=rule.logs)


def _digest(program: Program, rule: Rule) -> str:
    rules = rule_set(program.origin, rule)
    return "" if rules is None else rules.digest


def _own(applied_to: GroupId, rule: Rule) -> tuple[Own | Door, ...]:
    """What the rule applies to."""
    return (Own(applied_to),) if rule.services is None else tuple(map(Door, rule.services))


def _key(program: Program, rule: Rule) -> RuleKey:
    return RuleKey(program.unit, program.applied_to, rule.direction, rule.index)


def _stage(program: Program, rule: Rule) -> Stage:
    if program.tier == K8S_TIER:
        return Stage.K8S
    if rule.services is not None:
        return Stage.NODE_PORT if program.tier < K8S_TIER else Stage.NODE_PORT_BASELINE
    return Stage.TIER if program.tier < K8S_TIER else Stage.BASELINE


def _clauses(applied_to: GroupId, rule: Rule) -> Iterator[tuple[Source, ...]]:
    own = _own(applied_to, rule)
    peers = tuple(_place_of(rule, peer) for peer in rule.peers or ())
    traffic: tuple[Traffic, ...] = rule.traffic or ()
    if not names_ports(rule):
        yield _distinct(Source(place, None) for place in own)
        if peers:
            yield _distinct(Source(peer, None) for peer in peers)
        if traffic:
            yield _distinct(Source(None, entry) for entry in traffic)
    elif rule.direction is Direction.INGRESS:
        yield _distinct(Source(place, entry) for place in own for entry in traffic)
        if peers:
            yield _distinct(Source(peer, None) for peer in peers)
    else:
        yield _distinct(Source(place, None) for place in own)
        if rule.peers is None:
            everywhere = GroupPeer(group=EVERY_POD_ID)
            yield _distinct(Source(everywhere if is_named(entry) else None, entry) for entry in traffic)
        else:
            yield _distinct(Source(peer, entry) for peer in peers for entry in traffic)


def _place_of(rule: Rule, peer: Peer) -> Place:
    if isinstance(peer, FqdnPeer):
        return Named(peer.pattern, opens=rule.action in (Action.ALLOW, Action.PASS))
    return peer


def _distinct(sources: Iterator[Source]) -> tuple[Source, ...]:
    return tuple(dict.fromkeys(sources))


def _closed(program: Program, rule: Rule) -> Rule | None:
    """The substitute for a rule that was never in force; None: there is none.

    A rule that applies to nodes closes nothing. An Allow with layer 7 conditions becomes a drop, so that later rules
    do not allow more than it would.
    """
    if program.about_nodes or (rule.services is not None and rule.direction is Direction.EGRESS):
        return None
    match rule.action:
        case Action.PASS if program.tier == K8S_TIER:
            return None
        case Action.ALLOW | Action.PASS:
            peers = None if rule.peers is None else tuple(filter(partial(_is_peer, rule), rule.peers))
            return msgspec.structs.replace(
                rule,
                action=rule.action if rule.l7 is None else Action.DROP,
                peers=peers,
                traffic=None if rule.traffic is None else tuple(_lowerable(rule.traffic, named=rule.services is None)),
                l7=None,
            )
        case Action.DROP | Action.REJECT:
            whole = rule.traffic is not None and tuple(_lowerable(rule.traffic, named=False)) == rule.traffic
            return msgspec.structs.replace(
                rule, action=Action.DROP, peers=None, traffic=rule.traffic if whole else None
            )
        case _:
            assert_never(rule.action)


def _is_peer(rule: Rule, peer: Peer) -> bool:
    """Whether this rule can have the peer."""
    if isinstance(peer, ServicePeer | FqdnPeer) and rule.direction is Direction.INGRESS:
        return False
    return (rule.services is None or isinstance(peer, BlockPeer)) and passes(check_peer, peer)


def _lowerable(traffic: tuple[Traffic, ...], *, named: bool) -> Iterator[Traffic]:
    return (entry for entry in traffic if (named or not is_named(entry)) and passes(check_traffic, entry))
