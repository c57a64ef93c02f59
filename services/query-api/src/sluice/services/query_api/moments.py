"""The cluster that a request is about: as it is now, or as it was at a sequence or a time."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

from sluice.contracts import known_part
from sluice.contracts.codec import Undecodable
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject
from sluice.ledger.history import TooOld
from sluice.ledger.state import BadState
from sluice.ledger.times import Span, span
from sluice.policy.past import cluster
from sluice.policy.state import ClusterState
from sluice.runtime import past
from sluice.runtime.bus import Bus
from sluice.runtime.linting import beside
from sluice.services.query_api.mirrors import Board, Version
from sluice.services.query_api.problems import Problem

KEPT = 4
"""Past moments kept in memory: people tend to ask several questions about the same one."""


class Moment(NamedTuple):
    """The objects at one moment."""

    revision: Revision
    values: Mapping[str, Version]
    cluster: ClusterState
    is_now: bool = False

    def objects(self, kinds: Iterable[Kind]) -> Iterator[AnyObject]:
        """Objects of these kinds, without unreadable ones."""
        return self.of(self.values, kinds)

    def of(self, keys: Iterable[str], kinds: Iterable[Kind]) -> Iterator[AnyObject]:
        """Objects with these subjects that are of these kinds; in this order, without missing and unreadable ones."""
        wanted = {f"objects.{kind}.": kind for kind in kinds}
        prefixes = tuple(wanted)
        for subject in keys:
            version = self.values.get(subject) if subject.startswith(prefixes) else None
            if version is not None:
                with suppress(Undecodable):
                    yield known_part.decode(wanted[subject[: subject.index(".", len("objects.")) + 1]], version.body)


class Moments:
    """Finds moments."""

    def __init__(self, bus: Bus, board: Board) -> None:
        self._bus, self._board = bus, board
        self._kept: OrderedDict[Revision, Moment] = OrderedDict()

    async def find(self, seq: int | None, at: str | None) -> Moment:
        """Return the moment; now, if neither is given.

        Raises:
            Problem: there is no such moment.
        """
        if seq is not None and at is not None:
            raise Problem(400, "seq, at: each of them names a moment; leave one out")
        if seq is None and at is None:
            objects = self._board.objects
            return Moment(objects.upto, objects.values, objects.cluster, is_now=True)
        try:
            wanted = seq if at is None else await past.sequence_at(self._bus, named("at", at).last)
            here = await past.reach(self._bus)
            known = self._kept.get(Revision(here.epoch, wanted or 0))
            if known is None:
                known = await self._rebuilt(wanted)
        except (TooOld, BadState, Undecodable) as error:
            raise Problem(404, str(error)) from error
        self._kept[known.revision] = known
        self._kept.move_to_end(known.revision)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return known

    async def _rebuilt(self, sequence: int | None) -> Moment:
        there = await past.moment(self._bus, sequence)
        state = await beside(lambda: cluster(there.held, there.epoch))
        values = {
            subject: Version(Revision(there.epoch, one.sequence), one.time_ns, one.body)
            for subject, one in there.held.held.items()
        }
        return Moment(Revision(there.epoch, there.sequence), values, state)


def named(field: str, text: str) -> Span:
    """Parse a time in a request.

    Raises:
        Problem: it is not a time.
    """
    try:
        return span(text)
    except ValueError:
        raise Problem(400, f"{field}: {text!r} is not a time; write it as 2026-07-04T12:45:21Z") from None
    except OverflowError:
        raise Problem(400, f"{field}: {text!r} is out of range; give a time since the ledger began") from None
