"""IGMP and policy: which Pods may report membership, and who may query them.

An IGMP message names a multicast group and has no peer or port, so rules with peers or ports do not match it. Reports
(egress) are otherwise treated like any traffic from a Pod: a rule for all traffic to anyone matches them, and isolation
applies to them. Queries (ingress) come from the Pod's own node, which is always allowed; only rules that name IGMP
match them.
"""

from collections.abc import Iterable
from typing import NamedTuple

from sluice.contracts.ids import Address
from sluice.contracts.programs import K8S_TIER, Action, Direction, IgmpTraffic, Program, Rule
from sluice.policy.order import order


class Message(NamedTuple):
    """The content of an IGMP packet."""

    direction: Direction
    type: int | None
    """Source: RFC 3376 section 4; if unset, it matches no rule that names a type."""

    group: Address | None


class Answer(NamedTuple):
    allowed: bool
    by: tuple[Program, Rule] | None = None
    """Unset if no rule decided, which includes isolation."""


def is_about(rule: Rule, message: Message) -> bool:
    """Whether the rule decides on such messages of the Pods that it applies to."""
    if rule.direction is not message.direction or rule.peers is not None:
        return False
    if rule.traffic is None:
        return rule.direction is Direction.EGRESS
    return any(isinstance(one, IgmpTraffic) and names(one, message) for one in rule.traffic)


def names(traffic: IgmpTraffic, message: Message) -> bool:
    return traffic.igmp_type in (None, message.type) and traffic.group in (None, message.group)


def isolates(direction: Direction) -> bool:
    """Whether isolation drops IGMP that no Kubernetes policy allows."""
    return direction is Direction.EGRESS


def decide(programs: Iterable[Program], message: Message) -> Answer:
    """The decision of a Pod's programs on its message: same as `verdict`, but without a cluster."""
    known = list(programs)
    about = sorted(
        (
            (order(program, rule), program, rule)
            for program in known
            for rule in program.rules
            if is_about(rule, message)
        ),
        key=lambda entry: entry[0],
    )
    for place, program, rule in about:
        if place.tier < K8S_TIER:
            if rule.action is Action.PASS:
                break
            return Answer(rule.action is Action.ALLOW, (program, rule))
    for place, program, rule in about:
        if place.tier == K8S_TIER:
            return Answer(rule.action is Action.ALLOW, (program, rule))
    if isolates(message.direction) and any(message.direction in program.isolates for program in known):
        return Answer(allowed=False)
    for place, program, rule in about:
        if place.tier > K8S_TIER:
            if rule.action is Action.PASS:
                break
            return Answer(rule.action is Action.ALLOW, (program, rule))
    return Answer(allowed=True)
