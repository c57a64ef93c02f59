"""When a file may be read: once it has been left alone for a moment. Pure; time comes in as an argument.

Editors write in place, or rename over, or rename away and write anew; tools write a file piece by piece. Whoever reads
in between sees a file cut short, or none. So a change counts when the file has looked the same for `settle_s`, and
what would take objects away, or breaks off without a newline, when it has for `grace_s`.
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

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._seen: dict[str, tuple[Signature, float]] = {}
        self._missing: dict[str, float] = {}

    def see(self, look: Look, now_s: float) -> list[Settled]:
        """The files that have been left alone."""
        for path, signature in look.files.items():
            known = self._seen.get(path)
            if known is None or known[0] != signature:
                self._seen[path] = (signature, now_s)
        for path in [path for path in self._seen if path not in look.files]:
            del self._seen[path]
        return [
            Settled(path, signature, since_s)
            for path, (signature, since_s) in self._seen.items()
            if now_s - since_s >= self._settle_s
        ]

    def gone(self, look: Look, held: Iterable[str], now_s: float) -> list[str]:
        """Those of the held files that went, and stayed away. What is only out of sight has not gone."""
        missing = {path for path in held if path not in look.files and look.knows(path)}
        self._missing = {path: self._missing.get(path, now_s) for path in missing}
        return sorted(path for path, since_s in self._missing.items() if now_s - since_s >= self._settle_s)
