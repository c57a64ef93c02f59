"""When a file may be read: once it has been left alone for a moment. Pure; time comes in as an argument.

Editors write in place, or rename over, or rename away and write anew; tools write a file piece by piece, and many files
one after the other. Whoever reads in between sees a file cut short, or none, or half of what belongs together. So a
change counts when its file has looked the same for `settle_s` and nothing else in the folder has changed for as long;
but a folder that never rests does not hold up a file for more than `patience_s`.
"""

from collections.abc import Iterable
from typing import NamedTuple

from sluice.services.ingest.folder import Look, Signature


class Settled(NamedTuple):
    path: str
    signature: Signature
    since_s: float
    """It has looked like this since then."""


class Settling:
    """What each file looked like, and since when."""

    def __init__(self, settle_s: float, patience_s: float) -> None:
        self._settle_s, self._patience_s = settle_s, patience_s
        self._seen: dict[str, tuple[Signature, float]] = {}
        self._missing: dict[str, float] = {}
        self._changed_s = float("-inf")

    def see(self, look: Look, held: Iterable[str], now_s: float) -> None:
        """Remember what the folder looks like now. `held`: files that it is said to hold."""
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
        """The files that have been left alone, by path."""
        return [
            Settled(path, signature, since_s)
            for path, (signature, since_s) in sorted(self._seen.items())
            if self._rests(since_s, now_s)
        ]

    def gone(self, now_s: float) -> list[str]:
        """Those of the held files that went, and stayed away. What is only out of sight has not gone."""
        return sorted(path for path, since_s in self._missing.items() if self._rests(since_s, now_s))

    def _rests(self, since_s: float, now_s: float) -> bool:
        calm = now_s - self._changed_s >= self._settle_s
        return now_s - since_s >= (self._settle_s if calm else self._patience_s)
