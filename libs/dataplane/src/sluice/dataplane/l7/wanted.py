"""The rule sets that a node's programs ask for."""

from collections.abc import Iterable, Iterator

from sluice.contracts.programs import Origin, Program, Rule
from sluice.contracts.tracing import DecidingRule
from sluice.dataplane.l7.ruleset import RuleSet, compile_rules
from sluice.dataplane.l7.tenants import Subject
from sluice.policy.listing import SOURCES


def rule_set(origin: Origin, rule: Rule) -> RuleSet | None:
    """What the engine judges the rule's packets by; None for a rule that says nothing of requests."""
    if not rule.l7:
        return None
    name = f"{origin.namespace}/{origin.name}" if origin.namespace else origin.name
    return compile_rules(rule.l7, policy=f"{SOURCES[origin.kind]}:{name}", logged=rule.logs)


def subject(program: Program, rule: Rule) -> Subject:
    """Whose rule set it is."""
    return Subject(program.unit, rule.direction, rule.name)


def rule_sets(programs: Iterable[Program]) -> dict[Subject, RuleSet]:
    """All of them."""
    return dict(_pairs(programs))


def deciding(program: Program) -> dict[Subject, DecidingRule]:
    """Whose each of the program's rule sets is, as it is in force."""
    return {
        subject(program, rule): DecidingRule(
            policy=program.origin,
            object_revision=program.cause,
            direction=rule.direction,
            index=rule.index,
            name=rule.name,
            action=rule.action,
        )
        for rule in program.rules
        if rule.l7
    }


def _pairs(programs: Iterable[Program]) -> Iterator[tuple[Subject, RuleSet]]:
    for program in programs:
        for rule in program.rules:
            rules = rule_set(program.origin, rule)
            if rules is not None:
                yield subject(program, rule), rules
