"""The rule sets that a node's programs require."""

from collections.abc import Iterable, Iterator

from sluice.contracts.programs import Origin, Program, Rule
from sluice.contracts.tracing import DecidingRule
from sluice.dataplane.l7.ruleset import RuleSet, compile_rules
from sluice.dataplane.l7.tenants import Subject
from sluice.policy.listing import SOURCES


def rule_set(origin: Origin, rule: Rule) -> RuleSet | None:
    """The rule set for the rule's packets; None for a rule without layer 7 conditions."""
    if not rule.l7:
        return None
    name = f"{origin.namespace}/{origin.name}" if origin.namespace else origin.name
    return compile_rules(rule.l7, policy=f"{SOURCES[origin.kind]}:{name}", logged=rule.logs)


def subject(program: Program, rule: Rule) -> Subject:
    """The owner of the rule's rule set."""
    return Subject(program.unit, rule.direction, rule.name)


def rule_sets(programs: Iterable[Program]) -> dict[Subject, RuleSet]:
    """The rule sets of all programs."""
    return dict(_pairs(programs))


def deciding(program: Program) -> dict[Subject, DecidingRule]:
    """For each rule set of the program, its rule as currently in force."""
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
