"""Writes np.log and attribution.jsonl from a single thread, in the order of the calls.

So attribution entries are on file before the lines that need them, and nothing on the event loop waits for a disk.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import time_ns

import structlog
from msgspec.structs import replace

from sluice.contracts.audit import Loss
from sluice.dataplane.audit import attribution, np_line
from sluice.dataplane.audit.attribution import Decided, Entry, What
from sluice.dataplane.audit.book import Book
from sluice.dataplane.audit.seeing import Repeated, decision
from sluice.runtime.logfile import Limits, LogFile

log = structlog.get_logger()

PATIENCE_S = 2.0
"""How long a switch change waits for its entries. If the disk hangs, policy takes precedence over the log."""


class AuditFiles:
    def __init__(self, folder: Path, limits: Limits, book: Book) -> None:
        self._book = book
        self._log = LogFile(folder / "np.log", limits)
        self._attributions = LogFile(folder / "attribution.jsonl", replace(limits, compress=False), self._head)
        self._thread = ThreadPoolExecutor(1, "audit-log")

    async def say(self, said: Sequence[What]) -> None:
        """Append the entries to attribution.jsonl, unless the disk fails or is slow. Never raises."""
        if not said:
            return
        loop = asyncio.get_running_loop()
        saying = loop.run_in_executor(self._thread, self._say, said)
        done, _ = await asyncio.wait((saying,), timeout=PATIENCE_S)
        if not done:
            log.error("attribution_late", file=str(self._attributions.path), waited_s=PATIENCE_S)

    async def write(self, lines: Sequence[Repeated], losses: Mapping[str, int]) -> OSError | None:
        """Append the lines and the losses to np.log; returns the error if that fails."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._write, lines, losses)

    def end(self, lines: Sequence[Repeated], losses: Mapping[str, int]) -> OSError | None:
        """Like `write`, then close the files. Blocks until the disk is done."""
        error = self._thread.submit(partial(self._write, lines, losses)).result()
        self._thread.shutdown()
        self._log.close()
        self._attributions.close()
        return error

    async def tidy(self) -> None:
        """Compress or delete full files, according to the limits."""
        for file in (self._log, self._attributions):
            try:
                await asyncio.to_thread(file.tidy)
            except OSError as error:
                log.warning("log_not_tidied", file=str(file.path), error=str(error))

    def _say(self, said: Sequence[What]) -> None:
        try:
            self._attributions.append(_entries(said), in_head=True)
        except OSError as error:
            log.error("attribution_not_written", file=str(self._attributions.path), error=str(error))
            self._attributions.close()  # when reopened, it starts with everything in force

    def _write(self, lines: Sequence[Repeated], losses: Mapping[str, int]) -> OSError | None:
        told = [np_line.write(decision(line)) for line in lines]
        now_us = time_ns() // 1_000
        told += [np_line.write(Loss(at_us=now_us, lines=lost, reason=reason)) for reason, lost in losses.items()]
        which = [
            Entry(at_us=line.first_us, what=Decided(id=line.seen.rule))
            for line in lines
            if self._book.is_ambiguous(line.deciding)
        ]
        try:
            if which:
                self._attributions.append(b"".join(map(attribution.write, which)))
            if told:
                self._log.append("".join(line + "\n" for line in told).encode())
        except OSError as error:
            log.error("audit_log_not_written", file=str(self._log.path), error=str(error))
            return error
        return None

    def _head(self) -> bytes:
        return _entries(self._book.whole())


def _entries(said: Iterable[What]) -> bytes:
    now_us = time_ns() // 1_000
    return b"".join(attribution.write(Entry(at_us=now_us, what=what)) for what in said)
