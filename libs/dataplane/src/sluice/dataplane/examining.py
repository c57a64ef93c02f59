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
"""What tells a rule of a program from the others."""


class NotLowerable(ValueError):
    """A rule that the backend cannot hold as written; the message says where, what, why and what to do."""


Check = Callable[[Program, Rule], None]
"""Raises NotLowerable where the backend cannot hold the rule."""

StandIn = Callable[[Rule, Rule | None], Rule | None]
"""What is in force in place of a rule that cannot be held, given the form it had before; None: nothing."""


def number(rule: Rule) -> Numbered:
    return rule.direction, rule.index


def examined(program: Program, check: Check) -> Iterator[tuple[Rule, NotLowerable | None]]:
    """The rules, each with what is wrong with it."""
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
    """Why the program is not in force as written: a reason for each rule that is not."""
    return tuple(
        Problem(unit=program.unit, state="failed", reason=str(fault)) for _, fault in examined(program, check) if fault
    )


def closed_form(program: Program, previous: Program | None, check: Check, stand_in: StandIn) -> Program:
    """The program with something else in place of every rule that the backend cannot hold.

    Args:
        previous: the closed form that is in force now, if there is one.
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
    """Drops what either of two rules of one number does, and more: whomever they apply to, from and to everybody."""
    services = None if one.services is None or other.services is None else one.services + other.services
    return msgspec.structs.replace(one, peers=None, traffic=None, services=services)


def passes(examine: Callable[[str, T], None], part: T) -> bool:
    """Whether the examination of a peer or of traffic raises no NotLowerable."""
    try:
        examine("", part)
    except NotLowerable:
        return False
    return True


def check_peer(where: str, peer: Peer) -> None:
    """The peer is one that there can be.

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
                raise NotLowerable(f"{where}: {cidr} and its excepts are of two IP versions; correct the policy")
        case FqdnPeer() | ServicePeer():
            pass
        case _:
            assert_never(peer)


def check_traffic(where: str, traffic: Traffic) -> None:
    """The traffic is such as there can be.

    Raises:
        NotLowerable: it is not.
    """
    match traffic:
        case TransportTraffic(ports=ports, source_ports=source_ports):
            for bounds in (ports, source_ports):
                if isinstance(bounds, PortRange) and not 0 <= bounds.first <= bounds.last < PORTS:
                    raise NotLowerable(
                        f"{where}: {bounds.first}-{bounds.last} is no range within 0..{PORTS - 1}; correct the policy"
                    )
        case IcmpTraffic(icmp_type=icmp_type, icmp_code=icmp_code):
            for each in (icmp_type, icmp_code):
                if each is not None and not 0 <= each <= 0xFF:
                    raise NotLowerable(f"{where}: ICMP has types and codes of 0..255, not {each}; correct the policy")
        case IgmpTraffic():
            pass
        case _:
            assert_never(traffic)
