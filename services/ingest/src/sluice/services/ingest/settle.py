"""When a file may be read: once it has been left alone for a moment. Pure; time is passed in.

Editors write in place, or rename a new file over the old, or rename the old away and write a new one; tools write a
file piece by piece, and several files one after the other. Reading in between yields a truncated file, no file, or half
of what belongs together. So a change counts once its file has looked the same for `settle_s` and nothing else in the
folder has changed for as long; but a folder that never rests delays a file by at most `patience_s`.
"""

from collections.abc import Iterable
from typing import NamedTuple

from sluice.services.ingest.folder import Look, Signature


class Settled(NamedTuple):
    path: str
    signature: Signature
    since_s: float
    """Since when it has looked like this."""


class Settling:
    """What each file looked like, and since when."""

    def __init__(self, settle_s: float, patience_s: float) -> None:
        self._settle_s, self._patience_s = settle_s, patience_s
        self._seen: dict[str, tuple[Signature, float]] = {}
        self._missing: dict[str, float] = {}
        self._changed_s = float("-inf")

    def see(self, look: Look, held: Iterable[str], now_s: float) -> None:
        """Take in a snapshot of the folder. `held`: files that were taken in earlier."""
        seen: dict[str, tuple[Signature, float]] = {}
        for path, signature in look.files.items():
            known = self._seen.get(path)
            seen[path] = known if known and known[0] == signature else (signature, now_s)
        missing = {path for path in held if path not in look.files and look.knows(path)}
        since_s = {path: self._missing.get(path, now_s) for path in missing}
        if seen != self._seen or since_s.keys() != self._missing.keys():
            self._changed_s = now_s
        self._seen, self._missing = seen, since_s

    def settled(self, now_s: float) -> list[Settled]:
        """The files that have settled, sorted by path."""
        return [
            Settled(path, signature, since_s)
            for path, (signature, since_s) in sorted(self._seen.items())
            if self._rests(since_s, now_s)
        ]

    def gone(self, now_s: float) -> list[str]:
        """The held files that are gone for good, sorted. A file that is merely out of sight does not count as gone."""
        return sorted(path for path, since_s in self._missing.items() if self._rests(since_s, now_s))

    def _rests(self, since_s: float, now_s: float) -> bool:
        calm = now_s - self._changed_s >= self._settle_s
        return now_s - since_s >= (self._settle_s if calm else self._patience_s)
