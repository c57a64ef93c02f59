"""The folder as a source: each look returns what changed, once the changed files have settled."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import structlog

from sluice.contracts import codec
from sluice.contracts.status import DocumentProblem
from sluice.kube.digest import listing_digest
from sluice.services.ingest import contents, folder
from sluice.services.ingest.catalog import Catalog, Changes, Contents
from sluice.services.ingest.settle import Settled, Settling

log = structlog.get_logger()

_SHARE = 20
"""Sleep at least this many times as long as a look took."""


class Outcome(NamedTuple):
    """What a look at the source found."""

    changes: Changes
    digest: str
    problems: tuple[DocumentProblem, ...]
    waiting: tuple[str, ...] = ()
    """What cannot be read at present, in words."""


class Source(Protocol):
    """Where objects come from."""

    @property
    def listed(self) -> bool:
        """The source was read completely once: what was not in it does not exist."""

    async def look(self) -> Outcome:
        """Return what changed since the last look."""

    async def wait(self) -> None:
        """Return when it is time for another look."""


class _Read(NamedTuple):
    signature: folder.Signature
    digest: str
    said: Contents | None
    """None: as before."""

    ends: bool
    """The content is complete: it is empty, ends with a newline, or is JSON, whose end is recognisable."""


class FolderSource:
    """Reads only the files that changed."""

    def __init__(
        self,
        root: Path,
        catalog: Catalog,
        *,
        settle_s: float,
        grace_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root, self._catalog, self._grace_s, self._clock = root, catalog, grace_s, clock
        self._settling = Settling(settle_s, patience_s=grace_s)
        self._taken: dict[str, tuple[folder.Signature | None, str]] = {}  # without a signature it is read again
        self._waiting: dict[str, _Read] = {}
        self._troubles: dict[str, str] = {}
        self._listed = False
        self._settle_s = settle_s
        self._pause_s = 0.0

    @property
    def listed(self) -> bool:
        """Every file of a first look was taken in, or reported."""
        return self._listed

    async def wait(self) -> None:
        """Return when it is time for another look."""
        await asyncio.sleep(max(self._settle_s, self._pause_s))

    async def look(self) -> Outcome:
        """Take in what has settled. Does not raise errors of the folder: what is unreadable becomes a problem."""
        began_s = self._clock()
        try:
            seen = await asyncio.to_thread(folder.look, self._root)
        except folder.FolderGone as error:
            gone = contents.trouble(".", str(error))
            return Outcome(Changes({}, frozenset()), self._digest(), tuple(sorted((gone, *self._catalog.problems()))))
        now_s = self._clock()
        self._settling.see(seen, self._taken, now_s)
        self._pause_s = (self._clock() - began_s) * _SHARE
        await self._take_in(seen, now_s)
        for path in self._settling.gone(now_s):
            self._catalog.drop(path)
            del self._taken[path]
        self._listed = self._listed or seen.files.keys() <= self._taken.keys()
        changes = self._catalog.drain(everything_seen=self._listed and not self._troubles)
        return Outcome(changes, self._digest(), self._problems())

    async def _take_in(self, seen: folder.Look, now_s: float) -> None:
        self._troubles = dict(seen.troubles)
        self._waiting = {path: reading for path, reading in self._waiting.items() if path in seen.files}
        for settled in self._settling.settled(now_s):
            signature, digest = self._taken.get(settled.path, (None, ""))
            if signature == settled.signature:
                continue
            reading = self._waiting.get(settled.path)
            if reading is None or reading.signature != settled.signature:
                reading = await asyncio.to_thread(self._read, settled, digest)
            if reading is None:
                continue  # it has just changed, so it is no longer settled
            if self._may_be_half(settled, reading) and now_s - settled.since_s < self._grace_s:
                self._waiting[settled.path] = reading
                continue
            self._waiting.pop(settled.path, None)
            if reading.said is not None:
                self._catalog.take(settled.path, reading.said)
                if reading.said.ignored:
                    log.info("documents_ignored", file=settled.path, kinds=reading.said.ignored)
            tried_again = reading.digest == contents.UNREADABLE
            self._taken[settled.path] = (None if tried_again else settled.signature, reading.digest)

    def has_read(self, seen: folder.Look) -> bool:
        """The folder is exactly as it was taken in."""
        return not self._waiting and {path: taken for path, (taken, _) in self._taken.items()} == dict(seen.files)

    def _read(self, settled: Settled, known: str) -> _Read | None:
        path, signature = settled.path, settled.signature
        try:
            content = folder.read(self._root, path, signature)
        except folder.Unreadable as error:
            return _Read(signature, contents.UNREADABLE, contents.unreadable(path, str(error)), ends=True)
        if content is None:
            return None
        digest = codec.digest(content)
        said = None if digest == known else contents.contents_of(content, path)
        return _Read(signature, digest, said, ends=not content or content.endswith(b"\n") or path.endswith(".json"))

    def _may_be_half(self, settled: Settled, reading: _Read) -> bool:
        if reading.said is None:
            return False
        return not reading.ends or self._catalog.loses(settled.path, reading.said)

    def _digest(self) -> str:
        listing = [(path, digest) for path, (_, digest) in self._taken.items()]
        if not self._listed:
            return ""
        return listing_digest([*listing, *((path, contents.UNREADABLE) for path in self._troubles)])

    def _problems(self) -> tuple[DocumentProblem, ...]:
        hidden = (contents.trouble(path, reason) for path, reason in self._troubles.items())
        return tuple(sorted((*self._catalog.problems(), *hidden)))
