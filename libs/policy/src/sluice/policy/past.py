"""The state of the cluster at any sequence of LEDGER, and how to move between points in time."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count

from sluice.contracts import codec, subjects
from sluice.contracts.ids import Revision
from sluice.contracts.subjects import ObjectSubject
from sluice.grouping.events import ObjectEvent, read
from sluice.ledger.chain import Entry
from sluice.ledger.state import State
from sluice.policy.state import ClusterState

Wanted = Callable[[ObjectSubject, bytes], bool]
"""Whether a version of an object matters. If one does, so do all versions of that object."""


def events(held: State, epoch: int) -> Iterator[ObjectEvent]:
    """The objects held, each with the revision that wrote it; bodies that do not decode are left out."""
    for subject, one in held.held.items():
        event = event_of(subject, one.body, Revision(epoch, one.sequence))
        if event is not None:
            yield event


def cluster(held: State, epoch: int) -> ClusterState:
    """The state of the cluster, as policy sees it."""
    state = ClusterState()
    for event in events(held, epoch):
        state.evolve(event)
    return state


class Journey:
    """A state that can move back and forth in time. A move costs as much as the changes on the way."""

    def __init__(self, begun: State, entries: Sequence[Entry], wanted: Wanted = lambda _, __: True) -> None:
        """`begun` is the state before the first of these entries, which are in the order of their sequences."""
        self.state = ClusterState()
        self._revisions = count(1)
        held = ((subject, one.body) for subject, one in begun.held.items())
        told = ((entry.subject, entry.body) for entry in entries)
        matter = {subject for subject, body in chain(held, told) if _is_wanted(subject, body, wanted)}
        self._entries = [entry for entry in entries if entry.subject in matter]
        self._at = 0
        self._versions: dict[str, list[tuple[int, bytes]]] = {}
        for subject, one in begun.held.items():
            if subject in matter:
                self._versions[subject] = [(0, one.body)]
                self._put(subject, one.body)
        for place, entry in enumerate(self._entries, start=1):
            self._versions.setdefault(entry.subject, [(0, b"")]).append((place, entry.body))

    @property
    def entries(self) -> Sequence[Entry]:
        """The entries that matter."""
        return self._entries

    def go(self, place: int) -> ClusterState:
        """The state after the first `place` entries."""
        between = slice(min(place, self._at), max(place, self._at))
        for subject in dict.fromkeys(entry.subject for entry in self._entries[between]):
            versions = self._versions[subject]
            self._put(subject, versions[bisect_right(versions, place, key=lambda one: one[0]) - 1][1])
        self._at = place
        return self.state

    def _put(self, subject: str, body: bytes) -> None:
        event = event_of(subject, body, Revision(1, next(self._revisions)))
        if event is not None:
            self.state.evolve(event)


def _is_wanted(subject: str, body: bytes, wanted: Wanted) -> bool:
    if not body:
        return False
    parsed = _parsed(subject)
    return parsed is not None and wanted(parsed, body)


def event_of(subject: str, body: bytes, revision: Revision) -> ObjectEvent | None:
    """The event of the entry; None if its subject is not an object's, or its body does not decode."""
    parsed = _parsed(subject)
    if parsed is None:
        return None
    try:
        return read(parsed, body, revision)
    except codec.Undecodable:
        return None  # the readers of the stream reject and report it, too


def _parsed(subject: str) -> ObjectSubject | None:
    try:
        parsed = subjects.parse(subject)
    except subjects.BadSubject:
        return None
    return parsed if isinstance(parsed, ObjectSubject) else None
