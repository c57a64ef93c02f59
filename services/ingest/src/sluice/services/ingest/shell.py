"""From the source to the stream: stores what a look found, phase by phase, then reports. Decides nothing."""

import asyncio
from collections.abc import Callable, Mapping

import structlog

from sluice.contracts import subjects
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import Listed
from sluice.contracts.status import SourceStatus
from sluice.runtime.metrics import METRICS
from sluice.runtime.output import Output
from sluice.services.ingest import contents
from sluice.services.ingest.catalog import Changes, Key
from sluice.services.ingest.changing import Changing, Writer
from sluice.services.ingest.phases import Step, phases
from sluice.services.ingest.source import Outcome, Source

log = structlog.get_logger()

_REPORT_S = 1.0
"""If the stream does not accept everything within this time, report what it refuses."""

_NOTHING = Changes({}, frozenset())

_problems = METRICS.gauge("sluice_ingest_problems", "Manifests that are not in force as written")


class Shell:
    """The main loop of ingest. `in_sync` is set once the first listing is stored."""

    def __init__(
        self,
        source: Source,
        *,
        writer: Writer,
        name: str,
        ledger: Output,
        status: Output,
        status_subject: str,
        forgotten: Mapping[str, bytes],
        may_write: Callable[[], None] = lambda: None,
    ) -> None:
        """Create the shell.

        Args:
            writer: changes the source on request.
            name: of the source, as in marks.
            status_subject: where the source's status is published.
            forgotten: objects that OBJECTS still holds but LEDGER does not.
            may_write: called before everything that is sent; raises if another ingest may be writing.
        """
        self._source, self._name, self._ledger, self._status = source, name, ledger, status
        self._status_subject = status_subject
        self._forgotten = dict(forgotten)
        self._may_write = may_write
        self.changing = Changing(ledger, writer)
        """Run it if the source may be changed through the API."""

        self._reported: tuple[Outcome, int] | None = None
        self.in_sync = asyncio.Event()

    async def run(self) -> None:
        """Never returns.

        Raises:
            Fenced: another ingest is active.
        """
        while True:
            await self.turn()
            await self._source.wait()

    async def guard(self) -> None:
        """Return when the outputs are closed.

        Raises:
            Fenced: another ingest is active.
        """
        await self._ledger.guard()
        await self._status.guard()

    async def turn(self) -> None:
        """Look once, and store and report the result."""
        found = await self._source.look()
        if found.changes.put or found.changes.remove:
            await self._store(found)
        if self._source.listed and not self.in_sync.is_set():
            await self._end_listing(found)
        said = found._replace(changes=_NOTHING)
        if self._reported != (said, self._ledger.revision.epoch):
            await self._settled(found)
            self._report(said)

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
        self._may_write()
        subject = subject_of(step.key)
        forgotten = self._forgotten.pop(subject, None)
        if step.body:
            self._ledger.put(subject, step.body)
            return
        after = []
        if forgotten is not None:  # LEDGER has no message that a tombstone could follow: write this one first
            again = self._ledger.put(subject, forgotten)
            after = [again] if again else []
        self._ledger.remove(subject, after=after)

    async def _end_listing(self, found: Outcome) -> None:
        for kind in Kind:
            self._may_write()
            self._ledger.mark(subjects.listed(kind), Listed(kind=kind, source=self._name))
        await self._settled(found)
        log.info("first_listing_stored", source=self._name, revision=self._ledger.revision)
        self.in_sync.set()

    async def _settled(self, found: Outcome) -> None:
        """Wait until everything sent is stored. While the stream refuses some of it, the status says so."""
        while True:
            try:
                async with asyncio.timeout(_REPORT_S):
                    await self._ledger.settled()
            except TimeoutError:
                if refused := self._ledger.refused:
                    told = (
                        contents.trouble(subject, f"the stream refuses it: {why}") for subject, why in refused.items()
                    )
                    self._report(Outcome(_NOTHING, "", tuple(sorted((*found.problems, *told))), found.waiting))
            else:
                return

    def _report(self, said: Outcome) -> None:
        known = frozenset(self._reported[0].problems if self._reported else ())
        for problem in said.problems:
            if problem not in known:
                log.warning(
                    "document_refused", **{field: getattr(problem, field) for field in problem.__struct_fields__}
                )
        _problems.set(len(said.problems))
        upto = self._ledger.revision
        self._reported = (said, upto.epoch)
        value = SourceStatus(
            source=self._name, digest=said.digest, upto=upto, problems=said.problems, waiting=said.waiting
        )
        self._may_write()
        self._status.put(self._status_subject, value)


def subject_of(key: Key) -> str:
    return subjects.object_(key.kind, key.namespace, key.name)
