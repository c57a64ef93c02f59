"""Which programs and pages of a node cannot be in force, and why."""

from collections.abc import Iterator
from typing import assert_never

from sluice.contracts.programs import (
    Action,
    BlockPeer,
    Direction,
    FqdnPeer,
    GroupPeer,
    Program,
    Rule,
    ServicePeer,
    TransportTraffic,
)
from sluice.contracts.status import Problem
from sluice.dataplane.addresses import NotAnAddress, network
from sluice.dataplane.tc.openings import NotLowerable, openings


def fault(program: Program, rule: Rule) -> str | None:
    """Why the rule is not in force here: where, what, why, and what to do. None if it is in force."""
    where = f"{program.unit}: {rule.direction} rule {rule.index}"
    if rule.action is not Action.ALLOW or rule.l7 is not None or rule.services is not None:
        return (
            f"{where}: policies of secondary networks only allow, by addresses and ports; report a bug of rule-compiler"
        )
    for peer in rule.peers or ():
        match peer:
            case GroupPeer():
                pass
            case BlockPeer(cidr=cidr, excepts=excepts):
                try:
                    for text in (cidr, *excepts):
                        network(text)
                except NotAnAddress as error:
                    return f"{where}: {error}, so it allows nothing; correct it"
            case FqdnPeer() | ServicePeer():
                return f"{where}: peers of secondary networks are Pods or blocks; report a bug of rule-compiler"
            case _:
                assert_never(peer)
    try:
        openings(rule.traffic, ())
    except NotLowerable as error:
        return f"{where}: {error}"
    return None


def faults(program: Program) -> Iterator[Problem]:
    for rule in program.rules:
        reason = fault(program, rule)
        if reason is None and _names_nobody(rule):
            reason = (
                f"{program.unit}: {rule.direction} rule {rule.index}: a named port is known only for Pods, so it "
                "opens nothing to blocks; write the port number"
            )
        if reason is not None:
            yield Problem(unit=program.unit, state="failed", reason=reason)


def _names_nobody(rule: Rule) -> bool:
    """Whether it refers to named ports of addresses whose owner is unknown."""
    unknown = rule.peers is None or any(isinstance(peer, BlockPeer) for peer in rule.peers)
    named = any(isinstance(each, TransportTraffic) and isinstance(each.ports, str) for each in rule.traffic or ())
    return rule.direction is Direction.EGRESS and unknown and named
