"""Finds FQDN rules that can never take effect, because their Pods' DNS queries are dropped.

A name has no addresses until a Pod has queried it. The DNS servers are not known here, so a rule counts as letting DNS
through if it allows or passes any UDP traffic to port 53.
"""

from collections.abc import Iterator
from functools import cache, partial

from sluice.contracts.ids import GroupId
from sluice.contracts.programs import (
    K8S_TIER,
    Action,
    Direction,
    FqdnPeer,
    Origin,
    PortRange,
    Program,
    Rule,
    Traffic,
    TransportTraffic,
)
from sluice.policy.facing import Faced, Facing
from sluice.policy.state import ClusterState

DNS_PORT = 53
"""Source: RFC 1035, section 4.2."""


def starving(state: ClusterState) -> Iterator[tuple[Program, Rule, Faced | Origin]]:
    """Each rule that allows by DNS name, and what drops the DNS of some of its Pods: a rule or an isolating policy."""
    programs = state.compiler.programs.values()
    by_name = [program for program in programs if any(_is_by_name(rule) for rule in program.rules)]
    if not by_name:
        return
    applied = {program.applied_to for program in by_name}
    likes: dict[GroupId, list[frozenset[GroupId]]] = {}
    """The sets of groups that Pods are in, by each group that such a rule applies to."""

    for groups in {state.groups_of(pod) for pod in state.pods.values() if pod.on_pod_network}:
        for group in groups & applied:
            likes.setdefault(group, []).append(groups)
    dropping = cache(partial(_dropping, state))
    for program in sorted(by_name, key=lambda one: (one.unit, one.applied_to)):
        together = likes.get(program.applied_to) or [frozenset((program.applied_to,))]
        causes = [cause for groups in sorted(together, key=sorted) if (cause := dropping(groups))]
        if causes:
            yield from ((program, rule, causes[0]) for rule in program.rules if _is_by_name(rule))


def _is_by_name(rule: Rule) -> bool:
    return rule.action is Action.ALLOW and any(isinstance(peer, FqdnPeer) for peer in rule.peers or ())


def _dropping(state: ClusterState, groups: frozenset[GroupId]) -> Faced | Origin | None:
    """What drops all DNS of Pods in these groups, before any rule lets some of it through."""
    facing = Facing(state.programs_of(groups), Direction.EGRESS)
    isolated = facing.isolating[0] if facing.isolating else None
    for faced in facing.everything():
        rule = faced.rule
        if isolated and faced.order.tier > K8S_TIER:
            return isolated
        if not _is_about_dns(rule):
            continue
        if rule.action in (Action.ALLOW, Action.PASS):
            return None
        if rule.peers is None:
            return faced
    return isolated


def _is_about_dns(rule: Rule) -> bool:
    """Whether it may match DNS: for some peer other than an FQDN, and without layer 7 conditions."""
    somebody = rule.peers is None or any(not isinstance(peer, FqdnPeer) for peer in rule.peers)
    return somebody and rule.l7 is None and (rule.traffic is None or any(map(_is_dns, rule.traffic)))


def _is_dns(traffic: Traffic) -> bool:
    match traffic:
        case TransportTraffic(protocol="UDP", ports=PortRange(first=first, last=last)):
            return first <= DNS_PORT <= last
        case TransportTraffic(protocol="UDP"):
            return True
        case _:
            return False
