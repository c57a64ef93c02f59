"""The rule sets that the node's programs require, folded from the bus. No I/O."""

from collections.abc import Mapping

from sluice.contracts.ids import NodeName
from sluice.contracts.tracing import DecidingRule
from sluice.dataplane.l7.ruleset import RuleSet
from sluice.dataplane.l7.tenants import Subject
from sluice.dataplane.l7.wanted import deciding, rule_sets
from sluice.dataplane.reading import Reading
from sluice.dataplane.view import ProgramKey


class Asked(Reading):
    """The fold. Feed it what arrives, then call `advance`."""

    def __init__(self, node: NodeName) -> None:
        super().__init__(node, "l7")
        self._of: dict[ProgramKey, Mapping[Subject, RuleSet]] = {}
        self._rules: dict[ProgramKey, Mapping[Subject, DecidingRule]] = {}

    @property
    def rule_sets(self) -> dict[Subject, RuleSet]:
        """All required rule sets. Programs of one policy for several groups require the same ones."""
        return {subject: rules for key in sorted(self._of) for subject, rules in self._of[key].items()}

    def deciding(self, subject: Subject) -> DecidingRule | None:
        """The rule that the rule set belongs to; None if no program has it any more."""
        return next((self._rules[key][subject] for key in sorted(self._rules) if subject in self._rules[key]), None)

    def advance(self, now_s: float) -> bool:
        """Apply what may be applied by now; True if the required rule sets changed."""
        step = self._view.step(now_s)
        if step is None:
            return False
        before = self.rule_sets
        if step.whole:
            self._of = {key: kept for key, kept in self._of.items() if key in step.programs}
            self._rules = {key: kept for key, kept in self._rules.items() if key in step.programs}
        for key, program in step.programs.items():
            asked = rule_sets([program]) if program is not None else {}
            if program is not None and asked:
                self._of[key], self._rules[key] = asked, deciding(program)
            else:
                self._of.pop(key, None)
                self._rules.pop(key, None)
        first, self.upto = not self.in_sync, step.upto
        return first or before != self.rule_sets
