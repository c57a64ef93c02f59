"""From the folder to the stream: what a look found is stored, phase by phase, and then reported. Decides nothing."""

import asyncio
from collections.abc import Mapping

import structlog

from sluice.contracts import subjects
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import Listed
from sluice.contracts.status import DocumentProblem, SourceStatus
from sluice.runtime.metrics import METRICS
from sluice.runtime.output import Output
from sluice.services.ingest import contents
from sluice.services.ingest.catalog import Key
from sluice.services.ingest.phases import Step, phases
from sluice.services.ingest.source import FolderSource, Outcome

log = structlog.get_logger()

NAME = "folder"
"""Of this source, in the subject of its status."""

_REPORT_S = 1.0
"""After so long without an answer from the stream, say what it refuses."""

_problems = METRICS.gauge("sluice_ingest_problems", "Documents that are not in force as written")


class Shell:
    """The loop of ingest. `in_sync` once the first listing is stored."""

    def __init__(
        self,
        source: FolderSource,
        name: str,
        ledger: Output,
        status: Output,
        forgotten: Mapping[str, bytes],
        *,
        poll_interval_s: float,
    ) -> None:
        """`forgotten`: what OBJECTS still holds and LEDGER does not."""
        self._source, self._name, self._ledger, self._status = source, name, ledger, status
        self._forgotten = dict(forgotten)
        self._poll_interval_s = poll_interval_s
        self._reported: tuple[str, tuple[DocumentProblem, ...], int] | None = None
        self.in_sync = asyncio.Event()

    async def run(self) -> None:
        """Endless.

        Raises:
            Fenced: another ingest is active.
        """
        while True:
            await self.turn()
            await asyncio.sleep(max(self._poll_interval_s, self._source.pause_s))

    async def guard(self) -> None:
        """Return when the outputs are closed.

        Raises:
            Fenced: another ingest is active.
        """
        await self._ledger.guard()
        await self._status.guard()

    async def turn(self) -> None:
        """One look, and all that follows from it."""
        found = await self._source.look()
        if found.changes.put or found.changes.remove:
            await self._store(found)
        if self._source.listed and not self.in_sync.is_set():
            await self._end_listing(found)
        if self._reported != (found.digest, found.problems, self._ledger.revision.epoch):
            await self._settled(found)
            self._report(found.digest, found.problems, self._ledger.revision)

    async def _store(self, found: Outcome) -> None:
        for phase in phases(found.changes):
            for step in phase:
                self._send(step)
                await self._ledger.room()
            await self._settled(found)
        log.info(
            "objects_stored",
            put=len(found.changes.put),
            removed=len(found.changes.remove),
            revision=self._ledger.revision,
        )

    def _send(self, step: Step) -> None:
        subject = subject_of(step.key)
        forgotten = self._forgotten.pop(subject, None)
        if step.body:
            self._ledger.put(subject, step.body)
            return
        after = []
        if forgotten is not None:  # LEDGER has nothing to put a tombstone on: it must get this first
            again = self._ledger.put(subject, forgotten)
            after = [again] if again else []
        self._ledger.remove(subject, after=after)

    async def _end_listing(self, found: Outcome) -> None:
        for kind in Kind:
            self._ledger.mark(subjects.listed(kind), Listed(kind=kind, source=self._name))
        await self._settled(found)
        log.info("first_listing_stored", source=self._name, revision=self._ledger.revision)
        self.in_sync.set()

    async def _settled(self, found: Outcome) -> None:
        """All that was sent is stored. While the stream refuses some of it, the status says so."""
        while True:
            try:
                async with asyncio.timeout(_REPORT_S):
                    await self._ledger.settled()
            except TimeoutError:
                if refused := self._ledger.refused:
                    told = (
                        contents.trouble(subject, f"the stream refuses it: {why}") for subject, why in refused.items()
                    )
                    self._report("", tuple(sorted((*found.problems, *told))), self._ledger.revision)
            else:
                return

    def _report(self, digest: str, problems: tuple[DocumentProblem, ...], upto: Revision) -> None:
        known = self._reported[1] if self._reported else ()
        for problem in problems:
            if problem not in known:
                log.warning(
                    "document_refused", **{field: getattr(problem, field) for field in problem.__struct_fields__}
                )
        _problems.set(len(problems))
        self._reported = (digest, problems, upto.epoch)
        value = SourceStatus(source=self._name, digest=digest, upto=upto, problems=problems)
        self._status.put(subjects.source_status(NAME), value)


def subject_of(key: Key) -> str:
    return subjects.object_(key.kind, key.namespace, key.name)
