"""Writes the event log for people, from the files that the engine writes.

The engine's files are finished one by one: once there is a later file, an earlier one does not grow any more. The
position in the earliest file is saved after its lines are in the log, so that a crash may repeat lines but loses none.
"""

import asyncio
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import structlog
from msgspec import Struct

from sluice.contracts import codec
from sluice.dataplane.l7 import events
from sluice.services.node_l7.files import replace

log = structlog.get_logger()

POLL_S = 0.1
READ_BYTES = 1 << 20
"""Bytes read at once; a line is a few kilobytes, and at most some 70 if a packet is large."""

PATTERN = "eve-*.json"

PARTS = 4
"""One file holds at most about the total limit divided by this."""


class Place(Struct, frozen=True, kw_only=True):
    """How far the engine's files were read."""

    file: str = ""
    offset: int = 0


class EventLog:
    """Reads the engine's files and writes the log's."""

    def __init__(self, source: Path, folder: Path, state: Path, *, days: int, size_bytes: int) -> None:
        """`source` is the folder of the engine's events, `folder` the log's; `state` is a file of our own."""
        self._source, self._folder, self._state = source, folder, state
        self._days, self._size_bytes = days, size_bytes
        self._place = self._load()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            try:
                more = self.step()
            except OSError as error:  # a full disk: the engine's files wait
                log.error("event_log_not_written", folder=str(self._folder), error=str(error))
                more = False
            await asyncio.sleep(0 if more else POLL_S)

    def step(self) -> bool:
        """Copy the next events, up to some size; True if there may be more.

        Raises:
            OSError: the log is not writable; nothing is lost.
        """
        files = sorted(self._source.glob("*.json"), key=_age)
        if not files:
            return False
        current = files[0]
        offset = self._place.offset if current.name == self._place.file else 0
        with current.open("rb") as file:
            file.seek(offset)
            read = file.read(READ_BYTES)
        whole = read[: read.rfind(b"\n") + 1]
        if whole:
            self._write(whole.splitlines())
            self._save(Place(file=current.name, offset=offset + len(whole)))
            return True
        if len(files) == 1:
            return False
        if read:
            log.warning(
                "event_lost", file=current.name, size_bytes=len(read), reason="the engine ended while it wrote the line"
            )
        current.unlink()
        return True

    def _write(self, lines: Iterable[bytes]) -> None:
        """Append the events to the files of their days."""
        by_day: dict[str, list[bytes]] = {}
        for line in (made for each in lines for made in events.told(each)):
            by_day.setdefault(events.day(line) or _today(), []).append(line)
        self._folder.mkdir(parents=True, exist_ok=True)
        for day, some in by_day.items():
            path = self._folder / f"eve-{day}.json"
            if path.exists() and path.stat().st_size > self._size_bytes // PARTS:
                path.rename(self._folder / f"eve-{day}-{datetime.now(UTC):%H%M%S%f}.json")
            with path.open("ab") as file:
                file.write(b"".join(line + b"\n" for line in some))

    def forget(self) -> None:
        """Delete files beyond the limits."""
        for old in _old(self._folder, self._days, self._size_bytes):
            old.unlink(missing_ok=True)
            log.info("event_log_removed", file=old.name)

    def _load(self) -> Place:
        try:
            return codec.decode(self._state.read_bytes(), Place)
        except FileNotFoundError:
            return Place()
        except codec.Undecodable as error:
            log.error("place_refused", file=str(self._state), error=str(error), instead="events are logged again")
            return Place()

    def _save(self, place: Place) -> None:
        self._place = place
        replace(self._state, codec.encode(place))


def _age(file: Path) -> int:
    return int(file.stem) if file.stem.isdecimal() else 0


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def _old(folder: Path, days: int, size_bytes: int) -> Iterator[Path]:
    """Files to delete: of too many days, or the oldest beyond the total size. The newest always stays."""
    total = 0
    seen: list[str] = []
    for file in sorted(folder.glob(PATTERN), reverse=True):  # within a day, the newest has no time and comes first
        day = file.name[len("eve-") : len("eve-2026-11-27")]
        first = not seen
        if day not in seen:
            seen.append(day)
        total += file.stat().st_size
        if not first and (len(seen) > days or total > size_bytes):
            yield file
