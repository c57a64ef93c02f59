"""Which rule sets the node's programs ask for, folded from what the bus says. No I/O."""

from collections.abc import Iterable, Mapping

from sluice.contracts.ids import NEVER, NodeName, Revision
from sluice.dataplane.l7.ruleset import RuleSet
from sluice.dataplane.l7.tenants import Subject
from sluice.dataplane.l7.wanted import rule_sets
from sluice.dataplane.view import Interests, ProgramKey, View


class Asked:
    """The fold. Feed it what arrives, then ask `advance`."""

    def __init__(self, node: NodeName) -> None:
        self._node = node
        self._view = View(node, "l7")
        self._of: dict[ProgramKey, Mapping[Subject, RuleSet]] = {}
        self.upto: Revision = NEVER
        """Everything up to here is in `rule_sets`."""

    @property
    def in_sync(self) -> bool:
        """`rule_sets` is what the bus says; before, it says nothing about the engine."""
        return self.upto != NEVER

    @property
    def rule_sets(self) -> dict[Subject, RuleSet]:
        """All of them. Programs of one policy for several groups ask for the same."""
        return {subject: rules for key in sorted(self._of) for subject, rules in self._of[key].items()}

    def take(self, subject: str, body: bytes, cause: Revision, now_s: float) -> None:
        """Take a stored value in.

        Raises:
            codec.Undecodable, subjects.BadSubject: nothing was changed.
        """
        self._view.take(subject, body, cause, now_s)

    def answered(self, patterns: Iterable[str]) -> None:
        self._view.answered(patterns)

    def restarted(self) -> None:
        """A stream was made anew: read everything again. What is asked for stays until that is in sync."""
        self._view = View(self._node, "l7")

    def interests(self) -> Interests:
        return self._view.interests()

    def next_deadline_s(self, now_s: float) -> float | None:
        return self._view.next_deadline_s(now_s)

    def advance(self, now_s: float) -> bool:
        """Fold what may be applied now; True if other rule sets are asked for than before."""
        step = self._view.step(now_s)
        if step is None:
            return False
        before = self.rule_sets
        if step.whole:
            self._of = {key: kept for key, kept in self._of.items() if key in step.programs}
        for key, program in step.programs.items():
            asked = rule_sets([program]) if program is not None else {}
            if asked:
                self._of[key] = asked
            else:
                self._of.pop(key, None)
        first, self.upto = not self.in_sync, step.upto
        return first or before != self.rule_sets
