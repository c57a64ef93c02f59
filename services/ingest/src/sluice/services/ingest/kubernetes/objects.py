"""What the API server has told: which objects there are, and what of them was not taken in. Pure.

An object that was not taken in stays what it was. Nothing goes but what is known to be gone: told as deleted, or absent
from a complete listing in which every object says its name.
"""

from collections.abc import Iterable, Sequence

from sluice.contracts import codec
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.status import DocumentProblem
from sluice.services.ingest.catalog import Changes, Key
from sluice.services.ingest.kubernetes.reading import Reading


class Objects:
    """A fold of what is told, kind by kind; `drain` gives what changed since the last time."""

    def __init__(self, stored: Iterable[Key]) -> None:
        """`stored`: what the stream holds."""
        self._there: dict[Kind, dict[Key, str]] = {kind: {} for kind in Kind}
        for key in stored:
            self._there[key.kind][key] = ""
        self._listed: set[Kind] = set()
        self._problems: dict[Key, tuple[DocumentProblem, ...]] = {}
        self._nameless: dict[Kind, tuple[DocumentProblem, ...]] = {}
        self._waiting: dict[Kind, str] = {}
        self._changed: dict[Key, bytes] = {}

    @property
    def listed(self) -> bool:
        """Everything was told once, of every kind."""
        return len(self._listed) == len(Kind)

    @property
    def problems(self) -> tuple[DocumentProblem, ...]:
        """All that was not taken in, sorted."""
        groups = (*self._problems.values(), *self._nameless.values())
        return tuple(sorted({problem for group in groups for problem in group}))

    @property
    def waiting(self) -> tuple[str, ...]:
        """What is not read for now, in words, by kind; before the first listing, what is still to come."""
        to_come = {kind: f"{RESOURCES[kind].plural}: not listed yet" for kind in Kind if kind not in self._listed}
        return tuple(reason for _, reason in sorted({**to_come, **self._waiting}.items()))

    def list(self, kind: Kind, readings: Sequence[Reading]) -> None:
        """These are all objects of the kind."""
        self._waiting.pop(kind, None)
        self._nameless.pop(kind, None)
        for key in [key for key in self._problems if key.kind is kind]:
            del self._problems[key]
        for reading in readings:
            self.put(kind, reading)
        if kind not in self._nameless:
            named = {reading.key for reading in readings}
            for key in self._there[kind].keys() - named:
                self._remove(key)
        self._listed.add(kind)

    def put(self, kind: Kind, reading: Reading) -> None:
        """The object is this now."""
        if reading.key is None:
            self._nameless[kind] = reading.problems
            return
        if reading.problems:
            self._problems[reading.key] = reading.problems
            return
        self._problems.pop(reading.key, None)
        digest = codec.digest(reading.body)
        if self._there[kind].get(reading.key) != digest:
            self._there[kind][reading.key] = digest
            self._changed[reading.key] = reading.body

    def remove(self, kind: Kind, reading: Reading) -> None:
        """The object is gone."""
        self._waiting.pop(kind, None)
        if reading.key is not None:
            self._remove(reading.key)

    def wait(self, kind: Kind, reason: str) -> bool:
        """What the objects are is not known for now; true if that is new."""
        is_new = self._waiting.get(kind) != reason
        self._waiting[kind] = reason
        return is_new

    def heard(self, kind: Kind) -> None:
        """The kind is read again."""
        self._waiting.pop(kind, None)

    def drain(self) -> Changes:
        """What changed; nothing before every kind was listed."""
        if not self.listed:
            return Changes({}, frozenset())
        changed, self._changed = self._changed, {}
        return Changes(
            {key: body for key, body in changed.items() if body}, frozenset(key for key in changed if not changed[key])
        )

    def _remove(self, key: Key) -> None:
        self._problems.pop(key, None)
        if self._there[key.kind].pop(key, None) is not None:
            self._changed[key] = b""
