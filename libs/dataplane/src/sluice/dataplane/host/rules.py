"""Which rules of a program can be lowered, and what replaces the others.

A rule that cannot be lowered is reported and closed: it keeps its previous form. If it has none, an Allow or Pass is
narrowed to what can be lowered, and a Drop or Reject becomes a drop for every peer of its ports. A node's lifelines
pass in any case (`guard`).
"""

from collections.abc import Iterator
from typing import assert_never

import msgspec

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
from sluice.policy.everypod import is_named, names_ports


def problems(program: Program) -> tuple[Problem, ...]:
    """Why the program is not in force as written: a reason for each rejected rule."""
    return examining.problems(program, _check)


def closed_form(program: Program, previous: Program | None = None) -> Program:
    """The program with every rule that cannot be lowered in its previous form, or else closed.

    Args:
        previous: the closed form currently in force, if any.
    """
    return examining.closed_form(program, previous, _check, lambda rule, before: before or _closed(rule))


def widened(program: Program) -> Program:
    """The replacement while members of peers are unknown: Drops and Rejects with groups apply to every peer."""
    return msgspec.structs.replace(
        program,
        rules=tuple(
            msgspec.structs.replace(rule, peers=None)
            if rule.action in (Action.DROP, Action.REJECT) and _has_groups(rule)
            else rule
            for rule in program.rules
        ),
    )


def _has_groups(rule: Rule) -> bool:
    return any(isinstance(peer, GroupPeer) for peer in rule.peers or ())


def _check(program: Program, rule: Rule) -> None:
    where = f"{program.unit}: {rule.direction} rule {rule.index}"
    if program.tier == K8S_TIER or not program.about_nodes:
        raise NotLowerable(
            f"{where}: it does not belong to a ClusterNetworkPolicy about Nodes; report a bug of rule-compiler"
        )
    if rule.l7 is not None:
        raise NotLowerable(f"{where}: traffic of Nodes is not inspected; leave l7Protocols out")
    if rule.services is not None:
        raise NotLowerable(f"{where}: a rule cannot apply to both Nodes and NodePorts; write two policies")
    for place, peer in enumerate(rule.peers or ()):
        _check_peer(f"{where}, peer {place}", peer)
    for place, traffic in enumerate(rule.traffic or ()):
        _check_traffic(f"{where}, port {place}", traffic)
    if names_ports(rule) and not _names_pods(rule):
        raise NotLowerable(f"{where}: a named port is known only if the destination is Pods; write the port number")


def _names_pods(rule: Rule) -> bool:
    return rule.direction is Direction.EGRESS and all(isinstance(peer, GroupPeer) for peer in rule.peers or ())


def _check_peer(where: str, peer: Peer) -> None:
    check_peer(where, peer)
    match peer:
        case GroupPeer() | BlockPeer():
            pass
        case FqdnPeer(pattern=pattern):
            raise NotLowerable(
                f"{where}: {pattern}: DNS answers to Nodes are not read, so the addresses are unknown; use an ipBlock"
            )
        case ServicePeer(service=service):
            name = f"{service.namespace}/{service.name}"
            raise NotLowerable(
                f"{where}: {name}: traffic of Nodes to a Service cannot be told from other traffic to its Pods; "
                "select these Pods"
            )
        case _:
            assert_never(peer)


def _check_traffic(where: str, traffic: Traffic) -> None:
    check_traffic(where, traffic)
    if isinstance(traffic, IgmpTraffic) and traffic.group is not None:
        raise NotLowerable(f"{where}: IGMP groups are told apart only for Pods; leave groupAddress out")


def _closed(rule: Rule) -> Rule:
    """The replacement of a rule without a previous form.

    An Allow with layer 7 conditions becomes a Drop, so that later rules do not allow more.
    """
    traffic = None if rule.traffic is None else tuple(_lowerable(rule))
    match rule.action:
        case Action.ALLOW | Action.PASS:
            peers = None if rule.peers is None else tuple(peer for peer in rule.peers if passes(_check_peer, peer))
            action = rule.action if rule.l7 is None else Action.DROP
            return msgspec.structs.replace(rule, action=action, peers=peers, traffic=traffic, l7=None, services=None)
        case Action.DROP | Action.REJECT:
            whole = traffic == rule.traffic
            return msgspec.structs.replace(
                rule, action=Action.DROP, peers=None, traffic=traffic if whole else None, l7=None, services=None
            )
        case _:
            assert_never(rule.action)


def _lowerable(rule: Rule) -> Iterator[Traffic]:
    """The traffic that can be lowered; named ports only if all destinations are Pods."""
    named = rule.action in (Action.ALLOW, Action.PASS) and _names_pods(rule)
    return (entry for entry in rule.traffic or () if (named or not is_named(entry)) and passes(_check_traffic, entry))
