"""The objects that the API server has reported, and which of them were refused. Pure.

A refused version, which has no body, leaves the object as it was. An object is deleted only if that is certain: it was
reported as deleted, or it is missing from a complete list in which every object has a readable name.
"""

from collections.abc import Iterable, Sequence

from sluice.contracts import codec
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.status import DocumentProblem
from sluice.services.ingest.catalog import Changes, Key
from sluice.services.ingest.kubernetes.reading import Reading


class Objects:
    """A fold of what is reported, by kind; `drain` returns what changed since the last call."""

    def __init__(self, stored: Iterable[Key]) -> None:
        """`stored`: the objects in the stream."""
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
        """Every kind was listed once."""
        return len(self._listed) == len(Kind)

    @property
    def problems(self) -> tuple[DocumentProblem, ...]:
        """Everything that was refused, sorted."""
        groups = (*self._problems.values(), *self._nameless.values())
        return tuple(sorted({problem for group in groups for problem in group}))

    @property
    def waiting(self) -> tuple[str, ...]:
        """Which kinds cannot be read at present, in words, sorted by kind; at first, which are not listed yet."""
        to_come = {kind: f"{RESOURCES[kind].plural}: not listed yet" for kind in Kind if kind not in self._listed}
        return tuple(reason for _, reason in sorted({**to_come, **self._waiting}.items()))

    def list(self, kind: Kind, readings: Sequence[Reading]) -> None:
        """Take in the complete list of a kind."""
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
        """Take in the current version of an object."""
        if reading.key is None:
            self._nameless[kind] = reading.problems
            return
        if reading.problems:
            self._problems[reading.key] = reading.problems
        else:
            self._problems.pop(reading.key, None)
        if not reading.body:
            return
        digest = codec.digest(reading.body)
        if self._there[kind].get(reading.key) != digest:
            self._there[kind][reading.key] = digest
            self._changed[reading.key] = reading.body

    def remove(self, kind: Kind, reading: Reading) -> None:
        """Take in that the object was deleted."""
        self._waiting.pop(kind, None)
        if reading.key is not None:
            self._remove(reading.key)

    def wait(self, kind: Kind, reason: str) -> bool:
        """Note that the kind cannot be read at present; True if the reason is new."""
        is_new = self._waiting.get(kind) != reason
        self._waiting[kind] = reason
        return is_new

    def heard(self, kind: Kind) -> None:
        """Note that the kind can be read again."""
        self._waiting.pop(kind, None)

    def drain(self) -> Changes:
        """What changed since the last call; empty before every kind was listed."""
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
