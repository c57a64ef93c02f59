"""The ledger as a file: what is written is read again, and what was changed in it is found."""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.ledger.chain import Entry
from sluice.ledger.record import BadRecord, Head, Record, Snapshot, Writer, encode, snapshot
from sluice.ledger.verifying import verify
from sluice.ledger.weaving import Weaver

BODIES = (
    b'{"a":1}',
    b"",
    b'{ "a" : [1, 2.50, "\\u00e9"] }',
    b'{"a":\n1}',
    b" {}",
    b"\xff\x00",
    b"{",
    b'"x"',
    "é".encode(),
)
ENTRIES = [
    Entry(number, f"objects.pods.x.p{number % 3}", BODIES[number % 9], 10**18 + number) for number in range(4, 30)
]
EVERY = 10


def lines(entries: list[Entry], first: int = 4, last: int = 29) -> list[bytes]:
    weaver = Weaver.from_middle(7, first, every=EVERY)
    made = [due.make() for entry in entries if (due := weaver.take(entry))]
    found = [encode(Head(epoch=7, first=first, last=last))]
    for checkpoint, parts in made:
        found += snapshot(Snapshot(checkpoint, tuple(parts)))
    writer = Writer()
    return [*found, *map(writer.line, entries), writer.end()]


def test_what_is_written_is_read_again() -> None:
    record = Record(lines(ENTRIES))
    assert [one.checkpoint.last for one in record.snapshots] == [13, 23]
    assert list(record.entries()) == ENTRIES
    assert record.faults == []
    found = Record(lines(ENTRIES)).verified()
    assert (list(found.findings), found.checked, found.uncovered) == ([], 20, 6)
    assert found.head == verify([one.checkpoint for one in record.snapshots], ENTRIES).head


@given(st.lists(st.binary(max_size=40)))
def test_bodies_are_kept_byte_for_byte(bodies: list[bytes]) -> None:
    entries = [Entry(number, "objects.pods.x.p", body, number) for number, body in enumerate(bodies, start=1)]
    assert list(Record(lines(entries, 1, len(entries))).entries()) == entries


def test_a_ledger_without_entries_is_one() -> None:
    assert Record(lines([], 1, 0)).verified().findings == []


class Change(NamedTuple):
    name: str
    change: Callable[[list[bytes]], list[bytes]]
    faults: list[tuple[int, str]]


FIRST = 5  # of the lines: after the head, and two checkpoints of one part each


def without(number: int) -> Callable[[list[bytes]], list[bytes]]:
    return lambda given: [*given[:number], *given[number + 1 :]]


def replaced(number: int, old: bytes, new: bytes) -> Callable[[list[bytes]], list[bytes]]:
    def change(given: list[bytes]) -> list[bytes]:
        assert old in given[number]
        return [*given[:number], given[number].replace(old, new, 1), *given[number + 1 :]]

    return change


CHANGES = [
    Change("one bit of an object", replaced(FIRST + 5, b'{"a":1}', b'{"a":3}'), [(9, "altered")]),
    Change("one since the last checkpoint", replaced(FIRST + 23, b'{"a":1}', b'{"a":3}'), [(27, "altered")]),
    Change("a subject", replaced(FIRST + 1, b"x.p2", b"x.p0"), [(5, "altered")]),
    Change("an entry is gone", without(FIRST + 3), [(7, "missing"), (8, "altered")]),
    Change("the first is gone", without(FIRST), [(5, "altered")]),
    Change("one since the last checkpoint is gone", without(FIRST + 22), [(26, "missing"), (27, "altered")]),
    Change("the last is gone", without(FIRST + 25), [(28, "missing")]),
    Change("a part of a state", replaced(2, b'"rows":"e', b'"rows":"f'), [(13, "checkpoint")]),
]


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case.name)
def test_what_was_changed_is_found(case: Change) -> None:
    found = Record(case.change(lines(ENTRIES))).verified()
    assert [(one.sequence, one.fault) for one in found.findings] == case.faults


REFUSED = [
    ("no head", lambda given: given[1:], "line 1: not a ledger record"),
    ("nothing", lambda _: [], "line 1: not a ledger record"),
    ("a newer format", replaced(0, b'"version":1', b'"version":2'), "reads format 1, not 2"),
    ("cut off", lambda given: given[:-1], "the end of the file is missing"),
    ("in the middle of a line", lambda given: [*given[:8], given[8][:20]], "line 9: "),
    ("moved", lambda given: [*given[:8], given[9], given[8], *given[10:]], "entry 7: it is out of order, after 8"),
    ("no hex", replaced(FIRST, b'"head":"', b'"head":"x'), "its head is not hexadecimal"),
]


@pytest.mark.parametrize(("change", "says"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_no_record_is_refused(change: Callable[[list[bytes]], list[bytes]], says: str) -> None:
    with pytest.raises(BadRecord, match=says):
        Record(change(lines(ENTRIES))).verified()
