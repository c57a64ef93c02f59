"""The rules that currently log: which rule a packet belongs to, and with what attribution.jsonl begins."""

from collections import Counter
from collections.abc import Iterator
from typing import assert_never

from sluice.dataplane.audit.attribution import Begun, Decided, Deciding, Ended, Isolated, What

KEPT_ENDED = 10_000
"""Number of ended rules that are remembered, because packets of them may be in flight; the oldest are forgotten."""


class Book:
    def __init__(self) -> None:
        self._rules: dict[int, Deciding] = {}
        self._ended: dict[int, Deciding] = {}
        self._isolated: dict[tuple[str, str], Isolated] = {}
        self._meanings: dict[tuple[object, ...], Counter[tuple[object, ...]]] = {}
        """By what lines look like, the rules that they may mean."""

    def take(self, what: What) -> None:
        match what:
            case Deciding():
                self._end(what.id)
                self._ended.pop(what.id, None)
                self._rules[what.id] = what
                self._meanings.setdefault(look(what), Counter())[_meaning(what)] += 1
            case Ended():
                self._end(what.id)
            case Isolated():
                self._isolated.pop((what.pod, what.direction), None)
                if what.by:
                    self._isolated[what.pod, what.direction] = what
            case Begun() | Decided():
                pass
            case _:
                assert_never(what)

    def rule(self, id: int) -> Deciding | None:
        """The rule that logs under this number, or was the last to do so."""
        return self._rules.get(id) or self._ended.get(id)

    def is_ambiguous(self, rule: Deciding) -> bool:
        """Whether lines of other rules look the same."""
        return rule.index is not None and len(self._meanings.get(look(rule), ())) > 1

    def whole(self) -> Iterator[What]:
        """All current facts, as a file begins with them."""
        yield Begun()
        yield from tuple(self._rules.values())  # copied at once: another thread may write
        yield from tuple(self._isolated.values())

    def _end(self, id: int) -> None:
        rule = self._rules.pop(id, None)
        if rule is None:
            return
        self._ended[id] = rule
        if len(self._ended) > KEPT_ENDED:
            del self._ended[next(iter(self._ended))]
        meanings = self._meanings[look(rule)]
        meanings[_meaning(rule)] -= 1
        if not meanings[_meaning(rule)]:
            del meanings[_meaning(rule)]
        if not meanings:
            del self._meanings[look(rule)]


def look(rule: Deciding) -> tuple[object, ...]:
    """What a line shows of the rule."""
    return rule.table, rule.policy, rule.rule, rule.direction, rule.action, rule.priority


def _meaning(rule: Deciding) -> tuple[object, ...]:
    return rule.unit, rule.index, rule.revision
