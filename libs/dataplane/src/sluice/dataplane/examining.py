"""Which rules of a program a backend can hold, and what is wrong with the others."""

from collections import Counter
from collections.abc import Callable, Iterator

from sluice.contracts.programs import Direction, Program, Rule
from sluice.contracts.status import Problem

Numbered = tuple[Direction, int]
"""What tells a rule of a program from the others."""


class NotLowerable(ValueError):
    """A rule that the backend cannot hold as written; the message says where, what, why and what to do."""


Check = Callable[[Program, Rule], None]
"""Raises NotLowerable where the backend cannot hold the rule."""


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
