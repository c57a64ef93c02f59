"""The state of the cluster at any sequence of LEDGER, and the changes from one moment to another."""

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
"""Whether a version of an object matters. Where one does, all of that object's do."""


def events(held: State, epoch: int) -> Iterator[ObjectEvent]:
    """What is there, each object with the revision it came by; a body that is no object of its kind is left out."""
    for subject, one in held.held.items():
        event = event_of(subject, one.body, Revision(epoch, one.sequence))
        if event is not None:
            yield event


def cluster(held: State, epoch: int) -> ClusterState:
    """The cluster, as policy sees it."""
    state = ClusterState()
    for event in events(held, epoch):
        state.evolve(event)
    return state


class Journey:
    """One state that goes to and fro in time. A way costs what changed on it."""

    def __init__(self, begun: State, entries: Sequence[Entry], wanted: Wanted = lambda _, __: True) -> None:
        """`begun` is what was before the first of these entries, which come in the order of their sequences."""
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
        """Those that matter."""
        return self._entries

    def go(self, place: int) -> ClusterState:
        """The state after the first `place` of the entries."""
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
    """What the entry tells; None if it is no object's, or no object of its kind."""
    parsed = _parsed(subject)
    if parsed is None:
        return None
    try:
        return read(parsed, body, revision)
    except codec.Undecodable:
        return None  # what reads the streams has set it aside, too, and told of it


def _parsed(subject: str) -> ObjectSubject | None:
    try:
        parsed = subjects.parse(subject)
    except subjects.BadSubject:
        return None
    return parsed if isinstance(parsed, ObjectSubject) else None
