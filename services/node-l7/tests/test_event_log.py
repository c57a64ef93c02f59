"""What becomes of the engine's events: the log that people read, kept for a while."""

from pathlib import Path

import pytest
from msgspec import json

from sluice.services.node_l7.eventlog import EventLog


def event(day: str, number: int, kind: str = "http") -> bytes:
    """A line as the engine writes it."""
    return b'{"timestamp":"%sT10:00:00.000000+0000","flow_id":%d,"event_type":"%s"}\n' % (
        day.encode(),
        number,
        kind.encode(),
    )


class Folders:
    def __init__(self, root: Path) -> None:
        self.engine, self.log, self.state = root / "events", root / "log", root / "state" / "events.json"
        self.engine.mkdir()

    def opened(self, days: int = 7, size_bytes: int = 1_000_000) -> EventLog:
        return EventLog(self.engine, self.log, self.state, days=days, size_bytes=size_bytes)

    def add(self, file: int, *lines: bytes) -> None:
        with (self.engine / f"{file}.json").open("ab") as opened:
            opened.write(b"".join(lines))

    def told(self) -> dict[str, list[int]]:
        """Numbers of the events in each file of the log."""
        return {
            path.name: [json.decode(line)["flow_id"] for line in path.read_bytes().splitlines()]
            for path in sorted(self.log.glob("*"))
        }


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def drain(log: EventLog) -> None:
    while log.step():
        pass


def test_each_event_is_in_the_file_of_its_day(folders: Folders):
    log = folders.opened()
    folders.add(100, event("2026-11-26", 1), event("2026-11-27", 2))
    drain(log)
    folders.add(100, event("2026-11-27", 3)[:20])
    drain(log)
    folders.add(100, event("2026-11-27", 3)[20:], event("2026-11-27", 4))
    drain(log)

    assert folders.told() == {"eve-2026-11-26.json": [1], "eve-2026-11-27.json": [2, 3, 4]}


def test_files_that_the_engine_left_are_read_to_their_ends_and_removed(folders: Folders):
    log = folders.opened()
    for file in (99, 100, 1000):  # in the order of numbers, not of text
        folders.add(file, event("2026-11-27", file))
    folders.add(99, event("2026-11-27", 0)[:-9])  # the engine was killed within a line
    drain(log)

    assert folders.told() == {"eve-2026-11-27.json": [99, 100, 1000]}
    assert [path.name for path in folders.engine.iterdir()] == ["1000.json"]


def test_a_restart_goes_on_where_it_was(folders: Folders):
    folders.add(100, event("2026-11-27", 1))
    drain(folders.opened())
    folders.add(100, event("2026-11-27", 2))
    folders.add(160, event("2026-11-27", 3))
    drain(folders.opened())

    assert folders.told() == {"eve-2026-11-27.json": [1, 2, 3]}


def test_a_log_that_cannot_be_written_loses_nothing(folders: Folders):
    log = folders.opened()
    folders.log.write_text("a file where the folder should be")
    folders.add(100, event("2026-11-27", 1))
    with pytest.raises(OSError, match="exists"):
        log.step()
    folders.log.unlink()
    drain(log)

    assert folders.told() == {"eve-2026-11-27.json": [1]}


def test_old_days_go(folders: Folders):
    log = folders.opened(days=2)
    folders.add(100, *(event(f"2026-11-2{day}", day) for day in range(5, 9)))
    drain(log)
    log.forget()

    assert folders.told() == {"eve-2026-11-27.json": [7], "eve-2026-11-28.json": [8]}


def test_a_day_may_not_fill_the_disk(folders: Folders):
    line = len(event("2026-11-27", 1))
    log = folders.opened(size_bytes=10 * line)
    for number in range(1, 10):
        folders.add(100, *(event("2026-11-27", number) for _ in range(2)))
        drain(log)
        log.forget()
        sizes = [path.stat().st_size for path in folders.log.iterdir()]
        assert sum(sizes) <= 10 * line

    told = folders.told()
    assert told["eve-2026-11-27.json"][-1] == 9
    assert len(told) > 1
    assert all(name.startswith("eve-2026-11-27") for name in told)


def test_what_is_no_event_is_kept_for_whoever_counts_it(folders: Folders):
    log = folders.opened()
    folders.add(100, b'"event_type":"alert" {\n')
    drain(log)

    (file,) = folders.log.iterdir()
    assert file.read_bytes() == b'"event_type":"alert" {\n'
