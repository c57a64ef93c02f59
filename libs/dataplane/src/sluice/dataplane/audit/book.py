"""What the programmer knows of the rules that log: whose a packet is, and what attribution.jsonl begins with."""

from collections import Counter
from collections.abc import Iterator
from typing import assert_never

from sluice.dataplane.audit.attribution import Begun, Decided, Deciding, Ended, Isolated, What

KEPT_ENDED = 10_000
"""Rules that log no more: packets of them may be on their way. The first to go are forgotten first."""


class Book:
    def __init__(self) -> None:
        self._rules: dict[int, Deciding] = {}
        self._ended: dict[int, Deciding] = {}
        self._isolated: dict[tuple[str, str], Isolated] = {}
        self._meanings: dict[tuple[object, ...], Counter[tuple[object, ...]]] = {}
        """What the lines that look alike may mean."""

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
        """The rule that logs by this number, or did so last."""
        return self._rules.get(id) or self._ended.get(id)

    def is_ambiguous(self, rule: Deciding) -> bool:
        """Lines of other rules look like its own."""
        return rule.index is not None and len(self._meanings.get(look(rule), ())) > 1

    def whole(self) -> Iterator[What]:
        """All that holds, as a file begins."""
        yield Begun()
        yield from tuple(self._rules.values())  # at once: another thread may write
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
