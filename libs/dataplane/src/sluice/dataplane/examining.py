"""Which rules of a program a backend can hold, what is wrong with the others, and what replaces those."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TypeVar, assert_never

import msgspec

from sluice.contracts.programs import (
    Action,
    BlockPeer,
    Direction,
    FqdnPeer,
    GroupPeer,
    IcmpTraffic,
    IgmpTraffic,
    Peer,
    PortRange,
    Program,
    Rule,
    ServicePeer,
    Traffic,
    TransportTraffic,
)
from sluice.contracts.status import Problem
from sluice.dataplane.addresses import PORTS, NotAnAddress, network

T = TypeVar("T")

Numbered = tuple[Direction, int]
"""Identifies a rule within its program."""


class NotLowerable(ValueError):
    """The backend cannot hold the rule as written; the message says where, what, why and what to do."""


Check = Callable[[Program, Rule], None]
"""Raises NotLowerable if the backend cannot hold the rule."""

StandIn = Callable[[Rule, Rule | None], Rule | None]
"""The replacement of a rule that cannot be held, given its previous form; None: no replacement."""


def number(rule: Rule) -> Numbered:
    return rule.direction, rule.index


def examined(program: Program, check: Check) -> Iterator[tuple[Rule, NotLowerable | None]]:
    """Each rule with what is wrong with it, if anything."""
    claims = Counter(map(number, program.rules))
    for rule in program.rules:
        try:
            check(program, rule)
            if claims[number(rule)] > 1:
                raise NotLowerable(
                    f"{program.unit}: {rule.direction} rule {rule.index}: the program has {claims[number(rule)]} rules "
                    f"of this number, and ids need one; report a bug of rule-compiler"
                )
        except NotLowerable as fault:
            yield rule, fault
        else:
            yield rule, None


def problems(program: Program, check: Check) -> tuple[Problem, ...]:
    """Why the program is not in force as written: a reason for each rejected rule."""
    return tuple(
        Problem(unit=program.unit, state="failed", reason=str(fault)) for _, fault in examined(program, check) if fault
    )


def closed_form(program: Program, previous: Program | None, check: Check, stand_in: StandIn) -> Program:
    """The program with a replacement for every rule that the backend cannot hold.

    Args:
        previous: the closed form currently in force, if any.
    """
    known = previous.rules if previous is not None and previous.tier == program.tier else ()
    before = {number(rule): rule for rule in known}
    rules: dict[Numbered, Rule] = {}
    for rule, fault in examined(program, check):
        place = number(rule)
        form = rule if fault is None else stand_in(rule, before.get(place))
        if form is None:
            continue
        there = rules.get(place)
        if there is None or (form.action is Action.DROP and there.action is not Action.DROP):
            rules[place] = form
        elif form.action is Action.DROP:
            rules[place] = _both(there, form)
    return msgspec.structs.replace(program, rules=tuple(rules.values()))


def _both(one: Rule, other: Rule) -> Rule:
    """A rule that drops at least what either of two rules with the same number drops: all peers and all traffic."""
    services = None if one.services is None or other.services is None else one.services + other.services
    return msgspec.structs.replace(one, peers=None, traffic=None, services=services)


def passes(examine: Callable[[str, T], None], part: T) -> bool:
    """Whether checking the peer or the traffic raises no NotLowerable."""
    try:
        examine("", part)
    except NotLowerable:
        return False
    return True


def check_peer(where: str, peer: Peer) -> None:
    """Check that the peer is valid.

    Raises:
        NotLowerable: it is not.
    """
    match peer:
        case GroupPeer():
            pass
        case BlockPeer(cidr=cidr, excepts=excepts):
            try:
                versions = {network(text).version for text in (cidr, *excepts)}
            except NotAnAddress as error:
                raise NotLowerable(f"{where}: {error}; correct the policy") from error
            if len(versions) > 1:
                raise NotLowerable(f"{where}: {cidr} and its excepts have different IP versions; correct the policy")
        case FqdnPeer() | ServicePeer():
            pass
        case _:
            assert_never(peer)


def check_traffic(where: str, traffic: Traffic) -> None:
    """Check that the traffic is valid.

    Raises:
        NotLowerable: it is not.
    """
    match traffic:
        case TransportTraffic(ports=ports, source_ports=source_ports):
            for bounds in (ports, source_ports):
                if isinstance(bounds, PortRange) and not 0 <= bounds.first <= bounds.last < PORTS:
                    raise NotLowerable(
                        f"{where}: {bounds.first}-{bounds.last} is not a range within 0..{PORTS - 1}; correct "
                        "the policy"
                    )
        case IcmpTraffic(icmp_type=icmp_type, icmp_code=icmp_code):
            for each in (icmp_type, icmp_code):
                if each is not None and not 0 <= each <= 0xFF:
                    raise NotLowerable(f"{where}: ICMP has types and codes of 0..255, not {each}; correct the policy")
        case IgmpTraffic():
            pass
        case _:
            assert_never(traffic)
