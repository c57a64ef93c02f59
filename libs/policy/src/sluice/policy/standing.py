"""Rules in their order, each as it occurs in one of its programs."""

from collections.abc import Iterable
from typing import NamedTuple

from sluice.contracts.programs import Direction, Program, Rule
from sluice.policy.order import Order, order
from sluice.policy.verdict import RuleRef, ref


class Standing(NamedTuple):
    """A rule in a program."""

    order: Order
    program: Program
    rule: Rule

    @property
    def ref(self) -> RuleRef:
        return ref(self.program, self.rule)


def standing(programs: Iterable[Program], direction: Direction) -> list[Standing]:
    """The rules of this direction, in order; a rule of several programs by the group that each applies to."""
    found = [
        Standing(order(program, rule), program, rule)
        for program in programs
        for rule in program.rules
        if rule.direction is direction
    ]
    return sorted(found, key=lambda one: (one.order, one.program.applied_to))
