"""Which rule decided what a line of np.log reports, according to attribution.jsonl up to that time.

Entries arrive in the order of their file, lines in the order of theirs. Both have timestamps, and a line may be a
second late.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import assert_never

from sluice.contracts.audit import Attribution, FlowDecision
from sluice.dataplane.audit.attribution import ISOLATION_POLICY, Begun, Decided, Deciding, Ended, Entry, Isolated
from sluice.dataplane.audit.book import look


class _Span:
    """The interval in which a rule logs."""

    __slots__ = ("from_us", "rule", "until_us")

    def __init__(self, rule: Deciding, from_us: int) -> None:
        self.rule, self.from_us = rule, from_us
        self.until_us: int | None = None


class History:
    def __init__(self) -> None:
        self._open: dict[int, _Span] = {}
        self._spans: dict[tuple[object, ...], list[_Span]] = {}
        """By what their lines look like, in order of their beginning."""

        self._isolated: dict[tuple[str, str], list[tuple[int, tuple[Attribution, ...]]]] = {}
        self._decided: dict[int, int] = {}
        """For lines that look like those of other rules: the rule, by timestamp."""

    def take(self, entry: Entry) -> None:
        at_us, what = entry.at_us, entry.what
        match what:
            case Deciding():
                self._end(what.id, at_us)
                span = self._open[what.id] = _Span(what, at_us)
                self._spans.setdefault(look(what), []).append(span)
            case Ended():
                self._end(what.id, at_us)
            case Isolated():
                self._isolated.setdefault((what.pod, what.direction), []).append((at_us, what.by))
            case Begun():
                for number in tuple(self._open):
                    self._end(number, at_us)
                for said in self._isolated.values():
                    said.append((at_us, ()))
            case Decided():
                self._decided[at_us] = what.id
            case _:
                assert_never(what)

    def by(self, line: FlowDecision) -> tuple[Attribution, ...]:
        """The deciding rule; several if their lines look alike and no entry tells which it was."""
        if line.policy == ISOLATION_POLICY:
            said = self._isolated.get((line.applied_to, line.direction), [])
            place = bisect_right(said, line.at_us, key=lambda one: one[0])
            return said[place - 1][1] if place else ()
        spans = [span for span in self._spans.get(_look(line), ()) if span.from_us <= line.at_us]
        standing = [span for span in spans if span.until_us is None or line.at_us < span.until_us]
        found = standing or spans[-1:]  # a packet in flight when the rule ended
        decided = self._decided.get(line.at_us)
        meant = [span.rule for span in found if span.rule.id == decided] or [span.rule for span in found]
        return tuple(sorted({_attribution(rule) for rule in meant}, key=lambda one: (one.unit, one.index or 0)))

    def forget_before(self, at_us: int) -> None:
        """Forget what only earlier lines need: none will arrive."""
        for looks, spans in tuple(self._spans.items()):
            kept = [span for span in spans if span.until_us is None or span.until_us >= at_us]
            if kept:
                self._spans[looks] = kept
            else:
                del self._spans[looks]
        for pod, said in tuple(self._isolated.items()):
            place = bisect_right(said, at_us, key=lambda one: one[0])
            del said[: max(0, place - 1)]
            if len(said) == 1 and not said[0][1]:
                del self._isolated[pod]
        for moment in tuple(self._stale(at_us)):
            del self._decided[moment]

    def __len__(self) -> int:
        """The number of items in memory."""
        return sum(map(len, self._spans.values())) + sum(map(len, self._isolated.values())) + len(self._decided)

    def _stale(self, at_us: int) -> Iterator[int]:
        return (moment for moment in self._decided if moment < at_us)

    def _end(self, number: int, at_us: int) -> None:
        span = self._open.pop(number, None)
        if span is not None:
            span.until_us = at_us


def _look(line: FlowDecision) -> tuple[object, ...]:
    return line.table, line.policy, line.rule, line.direction, line.action, line.priority


def _attribution(rule: Deciding) -> Attribution:
    return Attribution(unit=rule.unit, index=rule.index, revision=rule.revision)
