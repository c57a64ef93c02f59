"""How a programmer lists and explains what its backend holds: answers `contracts.explaining`, for every backend.

A page begins after a given item and not at a number, so that items which come or go between two pages shift nothing.
"""

import heapq
import json
from collections.abc import Awaitable, Iterable
from typing import Any, NamedTuple, Protocol, assert_never

import msgspec

from sluice.contracts import codec, subjects
from sluice.contracts.explaining import (
    AnyAnswer,
    AnyQuestion,
    ExplainQuestion,
    ExplainRefused,
    Explanation,
    Held,
    HeldPage,
    HeldQuestion,
    Meaning,
)
from sluice.contracts.ids import Backend, NodeName, Revision
from sluice.runtime.answering import answer
from sluice.runtime.bus import Bus

PAGE_BYTES = 1 << 20
"""An eighth of the maximum message size: a flow with a thousand rules takes about 200 KB."""

MOST = 1_000
"""Items per page: meanwhile, for about 50 ms, the programmer does nothing else."""

Place = tuple[Any, ...]
"""Sort key of an item in a backend: numbers, strings, and tuples of them."""


NO_SUCH_END = "continue: not a value of `more`; leave it out to begin with the first page"


class NotOurs(ValueError):
    """The backend holds no such thing, or it is not ours. The message says why, and what to do instead."""


class Page(NamedTuple):
    items: tuple[Held, ...]
    more: str


class Holding(Protocol):
    """A backend that can tell what it holds."""

    @property
    def upto(self) -> Revision:
        """OBJECTS up to this revision are in force."""

    def meaning(self, text: str) -> Awaitable[Meaning]:
        """The meaning of what the text shows or names.

        Raises:
            NotOurs
        """

    def page(self, after: str, limit: int) -> Awaitable[Page]:
        """At most `limit` items, starting at `after`.

        Raises:
            NotOurs: the previous page did not end with `after`.
        """


class Telling:
    """Answers questions from the bus."""

    def __init__(self, bus: Bus, node: NodeName, backend: Backend, holding: Holding) -> None:
        self._bus, self._node, self._backend, self._holding = bus, node, backend, holding

    async def run(self) -> None:
        """Answer until cancelled."""
        await answer(self._bus, subjects.explain(self._node, self._backend), self._answer)

    async def _answer(self, body: bytes) -> AnyAnswer:
        upto = self._holding.upto
        try:
            asked: AnyQuestion = codec.decode(body, AnyQuestion)  # type: ignore[arg-type]  # a union is not a type
            match asked:
                case ExplainQuestion(flow=text):
                    said = msgspec.structs.asdict(await self._holding.meaning(text))
                    return Explanation(**said, node=self._node, applied=upto)
                case HeldQuestion(after=after, limit=limit):
                    items, more = await self._holding.page(after, max(1, min(limit, MOST)))
                    return HeldPage(node=self._node, backend=self._backend, applied=upto, items=items, more=more)
                case _:
                    assert_never(asked)
        except (NotOurs, codec.Undecodable) as error:
            return ExplainRefused(reason=f"node {self._node}: {error}")


def held(line: str, meaning: Meaning) -> Held:
    """An item as the backend's tool prints it, with its meaning."""
    return Held(**msgspec.structs.asdict(meaning), line=line)


def window(places: Iterable[Place], after: str, limit: int) -> list[Place]:
    """The first `limit` places from `after` in order, and the one at which the next page begins.

    Raises:
        NotOurs: `after` is not the place where a page ended.
    """
    if not after:
        return heapq.nsmallest(limit + 1, places)
    begin = place_of(after)
    try:
        return heapq.nsmallest(limit + 1, (one for one in places if one >= begin))
    except TypeError as error:
        raise NotOurs(NO_SUCH_END) from error


def place_of(after: str) -> Place:
    """Parse the place at which a page is to begin.

    Raises:
        NotOurs: it is not a place.
    """
    try:
        place: Place = _tuples(json.loads(after))
    except ValueError as error:
        raise NotOurs(NO_SUCH_END) from error
    return place


def cut(wanted: Iterable[tuple[Place, Held]], limit: int) -> Page:
    """The items of a window that fit into one page."""
    items: list[Held] = []
    size = 0
    for place, one in wanted:
        size += len(codec.encode(one))
        if items and (len(items) == limit or size > PAGE_BYTES):
            return Page(tuple(items), json.dumps(place, separators=(",", ":")))
        items.append(one)
    return Page(tuple(items), "")


def _tuples(value: Any) -> Any:  # what JSON may hold
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
