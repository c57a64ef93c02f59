"""Audit events on disk: SQLite in WAL mode, one file per day, each event stored once.

Another store (a column store, say) would be another class with these methods.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec import Struct
from msgspec.structs import astuple

from sluice.contracts.ids import Revision

_SCHEMA = """
CREATE TABLE IF NOT EXISTS batches (batch TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS events (
    at_us INTEGER NOT NULL, node TEXT NOT NULL, kind TEXT NOT NULL, verdict TEXT NOT NULL, unit TEXT NOT NULL,
    source_pod TEXT NOT NULL, destination_pod TEXT NOT NULL, body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS by_time ON events (at_us);
CREATE INDEX IF NOT EXISTS by_unit ON events (unit, at_us);
CREATE INDEX IF NOT EXISTS by_source ON events (source_pod, at_us);
CREATE INDEX IF NOT EXISTS by_destination ON events (destination_pod, at_us);
"""
_PLACE = "CREATE TABLE IF NOT EXISTS place (epoch INTEGER NOT NULL, sequence INTEGER NOT NULL);"
_MOST_OPEN = 8  # days with an open file; people ask about the last few


class Event(Struct, frozen=True):
    """One line of a log as it is stored; the fields are the columns of the table, in order."""

    at_us: int
    node: str
    kind: str
    """np, l7 or loss."""

    verdict: str
    unit: str
    source_pod: str
    destination_pod: str
    body: bytes
    """The event, JSON."""

    place: int = 0
    """Its number among the events of its day, once stored."""


class Wanted(Struct, frozen=True, kw_only=True):
    """A filter for events; unset fields match everything."""

    since_us: int = 0
    until_us: int = (1 << 63) - 1
    node: str = ""
    kind: str = ""
    verdict: str = ""
    unit: str = ""
    pod: str = ""
    """At either end."""

    before: tuple[int, int] | None = None
    """Only events older than this one, given as time and place."""

    limit: int = 500


class Store:
    """Not thread-safe: use it from one thread at a time."""

    def __init__(self, folder: Path, retention_days: int) -> None:
        self._folder, self._retention_days = folder, retention_days
        folder.mkdir(parents=True, exist_ok=True)
        self._days: dict[str, sqlite3.Connection] = {}
        self._index = _open(folder / "place.sqlite", _PLACE)

    def close(self) -> None:
        for one in (*self._days.values(), self._index):
            one.close()
        self._days.clear()

    def place(self) -> Revision | None:
        """The position up to which AUDIT is stored."""
        found = self._index.execute("SELECT epoch, sequence FROM place").fetchone()
        return Revision(*found) if found else None

    def add(self, batches: Iterable[tuple[str, Sequence[Event]]], upto: Revision) -> None:
        """Store the events, each batch once, and then the position up to which AUDIT is stored."""
        days: dict[str, dict[str, list[Event]]] = {}
        for batch, events in dict(batches).items():
            for event in events:
                days.setdefault(_day(event.at_us), {}).setdefault(batch, []).append(event)
        for day, told in days.items():
            held = self._day(day)
            with held:
                for batch, events in told.items():
                    if held.execute("INSERT OR IGNORE INTO batches VALUES (?)", (batch,)).rowcount:
                        rows = (astuple(event)[:-1] for event in events)
                        held.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        with self._index:
            self._index.execute("DELETE FROM place")
            self._index.execute("INSERT INTO place VALUES (?, ?)", upto)

    def find(self, wanted: Wanted) -> list[Event]:
        """Matching events, newest first."""
        found: list[Event] = []
        until_us = min(wanted.until_us, wanted.before[0]) if wanted.before else wanted.until_us
        for day in reversed(self.days()):
            if day > _day(until_us) or day < _day(wanted.since_us):
                continue
            found += self._find(self._day(day), wanted, wanted.limit - len(found))
            if len(found) == wanted.limit:
                break
        return found

    def days(self) -> list[str]:
        """Days with stored events, such as 2026-07-04."""
        return sorted(path.stem.removeprefix("audit-") for path in self._folder.glob("audit-*.sqlite"))

    def prune(self, now_us: int) -> list[str]:
        """Delete the days that are too old, and return them."""
        oldest = _day(now_us - self._retention_days * 86_400_000_000)
        gone = [day for day in self.days() if day < oldest]
        for day in gone:
            if held := self._days.pop(day, None):
                held.close()
            for suffix in ("", "-wal", "-shm"):
                (self._folder / f"audit-{day}.sqlite{suffix}").unlink(missing_ok=True)
        return gone

    def _day(self, day: str) -> sqlite3.Connection:
        held = self._days.pop(day, None) or _open(self._folder / f"audit-{day}.sqlite", _SCHEMA)
        self._days[day] = held
        while len(self._days) > _MOST_OPEN:
            self._days.pop(next(iter(self._days))).close()
        return held

    @staticmethod
    def _find(held: sqlite3.Connection, wanted: Wanted, limit: int) -> Iterator[Event]:
        clauses, values = ["at_us >= ?", "at_us <= ?"], [wanted.since_us, wanted.until_us]
        said: list[int | str] = list(values)
        for column in ("node", "kind", "verdict", "unit"):
            if value := getattr(wanted, column):
                clauses.append(f"{column} = ?")
                said.append(value)
        if wanted.pod:
            clauses.append("(source_pod = ? OR destination_pod = ?)")
            said += [wanted.pod, wanted.pod]
        if wanted.before:
            clauses.append("(at_us, rowid) < (?, ?)")
            said += wanted.before
        asked = f"SELECT *, rowid FROM events WHERE {' AND '.join(clauses)} ORDER BY at_us DESC, rowid DESC LIMIT ?"  # noqa: S608  # our own column names
        for row in held.execute(asked, (*said, limit)):
            yield Event(*row)


def _open(file: Path, schema: str) -> sqlite3.Connection:
    held = sqlite3.connect(file, check_same_thread=False)
    held.execute("PRAGMA journal_mode = WAL")
    held.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine loses the latest events, which AUDIT still has
    held.executescript(schema)
    return held


def _day(at_us: int) -> str:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return (epoch + timedelta(microseconds=min(max(at_us, 0), _LAST_US))).strftime("%Y-%m-%d")


_LAST_US = 253_402_300_799_000_000  # the end of the year 9999
