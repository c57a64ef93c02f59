"""Finds the rules behind a log line, according to the objects at the time it was written."""

from collections.abc import Iterator

from msgspec.structs import replace

from sluice.contracts.audit import FlowDecision
from sluice.contracts.ids import Unit
from sluice.contracts.programs import Direction, Program, Rule
from sluice.contracts.tracing import DecidingRule
from sluice.policy.packet import AddressEnd, Packet
from sluice.policy.state import ClusterState
from sluice.policy.verdict import RuleRef, verdict


def decided(cluster: ClusterState, line: FlowDecision) -> tuple[DecidingRule, ...]:
    """The rule that decided, or all policies that isolated the Pod; sorted.

    Rules without names look alike in the log. If `verdict` does not tell them apart, all candidates are returned.
    """
    direction = Direction(line.direction.lower())
    if line.unit is None:
        return tuple(sorted(_isolating(cluster, line, direction), key=lambda one: one.policy))
    found = named(cluster, line.unit, direction, line.rule)
    index = _index(cluster, line, direction) if len(found) > 1 else None
    return tuple(one for one in found if one.index == index) or found


def named(cluster: ClusterState, unit: Unit, direction: Direction, name: str) -> tuple[DecidingRule, ...]:
    """The policy's rules with this name, by index."""
    programs = [program for program in cluster.compiler.programs.values() if program.unit == unit]
    found = {
        rule.index: _told(program, direction, rule)
        for program in programs
        for rule in program.rules
        if rule.direction is direction and rule.name == name
    }
    return tuple(told for _, told in sorted(found.items()))


def _isolating(cluster: ClusterState, line: FlowDecision, direction: Direction) -> Iterator[DecidingRule]:
    namespace, _, name = line.applied_to.partition("/")
    pod = cluster.pods.get((namespace, name))
    programs = {one.unit: one for one in cluster.programs_of(cluster.groups_of(pod))} if pod else {}
    yield from (_told(program, direction) for program in programs.values() if direction in program.isolates)


def _index(cluster: ClusterState, line: FlowDecision, direction: Direction) -> int | None:
    packet = Packet(
        source=AddressEnd(line.source),
        destination=AddressEnd(line.destination),
        protocol="ICMP" if line.protocol.startswith("ICMP") else line.protocol,  # type: ignore[arg-type]  # as np.log has it
        port=line.destination_port,
        source_port=line.source_port,
    )
    said = verdict(cluster, packet)
    decision = said.ingress if direction is Direction.INGRESS else said.egress
    by = decision.reason if decision else None
    return by.index if isinstance(by, RuleRef) and by.name == line.rule else None


def _told(program: Program, direction: Direction, rule: Rule | None = None) -> DecidingRule:
    told = DecidingRule(policy=program.origin, object_revision=program.cause, direction=direction)
    return told if rule is None else replace(told, index=rule.index, name=rule.name, action=rule.action)
