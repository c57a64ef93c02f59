"""Finds rules of equal priority that do different things with the same packet.

To compare each rule with each other one takes quadratic time. So a rule is compared only with those that may apply to
the same subject, those that may have the same peer, or those that may match the same traffic, whichever are the
fewest. Each of the three (`meeting`) leaves out none that disagrees.
"""

from collections.abc import Iterator, Sequence

from sluice.policy.effort import Effort
from sluice.policy.meeting import Everything, Meeting, Peers, Subjects, Traffics
from sluice.policy.overlapping import Population
from sluice.policy.standing import Standing

FEW = 32
"""So many rules are compared with a rule without asking how many there would be otherwise."""


def conflicting(
    people: Population, equals: Sequence[Standing], effort: Effort, few: int = FEW
) -> Iterator[tuple[Standing, Standing]]:
    """Each pair of rules that disagree, once, in order; the first of the two takes effect.

    Args:
        equals: rules of one direction, tier and priority, in order.

    Raises:
        TooMuch: see `Effort`.
    """
    if len({one.rule.action for one in equals}) == 1 or len({one.program.unit for one in equals}) == 1:
        return
    candidates = Candidates(people, equals, few)
    told: set[tuple[int, int]] = set()
    place_of = {one.order: place for place, one in enumerate(equals)}  # hashed once, which takes longer than comparing
    rules = [place_of[one.order] for one in equals]
    for place, first in enumerate(equals):
        others = candidates.after(place)
        effort.spend(len(others))
        for other in others:
            pair = rules[place], rules[other]
            if pair not in told and disagree(first, equals[other], people):
                told.add(pair)
                yield first, equals[other]


def disagree(first: Standing, second: Standing, people: Population) -> bool:
    """Whether they are of different policies and do different things with the same packet."""
    return (
        first.program.unit != second.program.unit
        and first.rule.action is not second.rule.action
        and _share(first, second, people)
        and people.traffic_meets(first.rule.traffic, second.rule.traffic)
        and people.peers_meet(first.rule.peers, second.rule.peers)
    )


def _share(first: Standing, second: Standing, people: Population) -> bool:
    """Whether they apply to a common Pod, node or Service."""
    if first.rule.services is not None or second.rule.services is not None:
        return bool(frozenset(first.rule.services or ()) & frozenset(second.rule.services or ()))
    return people.meet(first.program.applied_to, second.program.applied_to)


class Candidates:
    """The rules that each rule must be compared with."""

    def __init__(self, people: Population, equals: Sequence[Standing], few: int = FEW) -> None:
        self._people, self._equals, self._few = people, equals, few
        self._everything = Everything(equals)
        self._subjects = Subjects(people, equals)
        self._others: tuple[Meeting, ...] | None = None
        """Made once a rule has more than a few others on its subjects."""

    @property
    def meetings(self) -> tuple[Meeting, ...]:
        """Each of them alone finds all candidates."""
        if self._others is None:
            self._others = Traffics(self._equals), Peers(self._people, self._equals)
        return (self._subjects, *self._others)

    def after(self, place: int) -> list[int]:
        """The places after this one of all rules that disagree with its rule, and maybe of others; in order."""
        best = self._opposed(self._subjects, place)
        if _size(best) > self._few:
            best = min(best, *(self._opposed(one, place) for one in self.meetings[1:]), key=_size)
        return _places(best)

    def after_by(self, meeting: Meeting, place: int) -> list[int]:
        """The same, found by this one of the meetings."""
        return _places(self._opposed(meeting, place))

    def _opposed(self, meeting: Meeting, place: int) -> list[tuple[Sequence[int], int]]:
        """Lists of the places of rules with another action, each from an index on."""
        one = self._equals[place]
        lots = meeting.of(one)
        lots = self._everything.of(one) if lots is None else lots
        return [part for lot in lots for part in lot.opposed(place, one.rule.action)]


def _size(parts: Sequence[tuple[Sequence[int], int]]) -> int:
    return sum([len(places) - first for places, first in parts])


def _places(parts: Sequence[tuple[Sequence[int], int]]) -> list[int]:
    if len(parts) == 1:
        ((places, first),) = parts
        return list(places[first:])
    return sorted({other for places, first in parts for other in places[first:]})
