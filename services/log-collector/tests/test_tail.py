"""A log is read line by line, once, whatever happens to its files."""

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.contracts import codec
from sluice.services.log_collector import tail as module
from sluice.services.log_collector.tail import LONGEST_LINE_BYTES, PIECE_LINES, Tail, TailState

LINE = b"2023/07/04 12:45:21.804416 IngressDefaultRule AntreaNetworkPolicy:default/p %d\n"


def line(number: int) -> bytes:
    return LINE % number


def write(path: Path, *numbers: int) -> None:
    with path.open("ab") as file:
        file.writelines(map(line, numbers))


def drain(tail: Tail) -> list[bytes]:
    found: list[bytes] = []
    while (piece := tail.next()) is not None:
        found += piece.lines
        tail.acknowledge(piece)
    return found


def lines(*numbers: int) -> list[bytes]:
    return [line(number)[:-1] for number in numbers]


def again(folder: Path, before: Tail) -> Tail:
    """After a restart: all that is left is the state, as it is written down."""
    kept = codec.decode(codec.encode(before.state), TailState)
    before.close()
    return Tail(folder, "np*.log", kept)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "np.log"


@pytest.fixture
def tail(tmp_path: Path):
    one = Tail(tmp_path, "np*.log")
    yield one
    one.close()


def test_what_is_written_comes_once_in_order(tail: Tail, log: Path) -> None:
    assert drain(tail) == []
    write(log, 1, 2)
    assert drain(tail) == lines(1, 2)
    assert drain(tail) == []
    write(log, 3)
    assert drain(tail) == lines(3)


def test_a_line_comes_when_it_is_whole(tail: Tail, log: Path) -> None:
    log.write_bytes(line(1) + line(2)[:40])
    assert drain(tail) == lines(1)
    with log.open("ab") as file:
        file.write(line(2)[40:])
    assert drain(tail) == lines(2)


def test_pieces_are_bounded(tail: Tail, log: Path) -> None:
    write(log, *range(3 * PIECE_LINES))
    piece = tail.next()

    assert piece is not None
    assert len(piece.lines) == PIECE_LINES
    assert drain(tail) == lines(*range(3 * PIECE_LINES))


def test_a_piece_comes_again_as_it_was_until_it_is_acknowledged(tail: Tail, log: Path, tmp_path: Path) -> None:
    write(log, 1)
    first = tail.next()
    write(log, 2)

    assert tail.next() == first
    after = again(tmp_path, tail)
    assert after.next() == first
    assert first is not None
    after.acknowledge(first)
    assert drain(after) == lines(2)
    after.close()


def test_rotation_by_name(tail: Tail, log: Path) -> None:
    write(log, 1)
    assert drain(tail) == lines(1)
    write(log, 2)
    log.rename(log.with_name("np-2026-11-27T08-00-00.000.log"))
    write(log, 3)

    assert drain(tail) == lines(2, 3)


def test_what_is_rotated_and_compressed_at_once_is_read_to_its_end(tail: Tail, log: Path) -> None:
    write(log, 1)
    assert drain(tail) == lines(1)
    write(log, 2)
    log.with_suffix(".log.gz").write_bytes(gzip.compress(log.read_bytes()))
    log.unlink()
    write(log, 3)

    assert sorted(drain(tail)) == lines(2, 3)
    assert tail.forget_missing() == []


def test_truncation_is_told(tail: Tail, log: Path) -> None:
    write(log, 1, 2)
    assert drain(tail) == lines(1, 2)
    log.write_bytes(line(3))

    assert drain(tail) == lines(3)
    assert len(tail.forget_missing()) == 1


def test_a_restart_goes_on_where_it_was(tail: Tail, log: Path, tmp_path: Path) -> None:
    write(log, 1)
    assert drain(tail) == lines(1)
    write(log, 2)
    log.rename(log.with_name("np-old.log"))
    write(log, 3)
    after = again(tmp_path, tail)

    assert drain(after) == lines(2, 3)
    assert after.forget_missing() == []
    after.close()


def test_what_went_or_was_begun_anew_while_nobody_read_is_told(tail: Tail, log: Path, tmp_path: Path) -> None:
    old = log.with_name("np-old.log")
    write(old, 1)
    write(log, 2)
    assert sorted(drain(tail)) == lines(1, 2)
    kept = tail.state
    old.unlink()
    with log.open("r+b") as file:  # the same inode, other contents
        file.write(b"2024")
    write(log, 3, 4)
    after = Tail(tmp_path, "np*.log", kept)

    assert len(after.forget_missing()) == 2
    assert drain(after)[-2:] == lines(3, 4)
    after.close()


def test_a_line_that_never_ends_is_skipped_and_counted(tail: Tail, log: Path) -> None:
    log.write_bytes(b"x" * (LONGEST_LINE_BYTES + 1))
    piece = tail.next()

    assert piece is not None
    assert (piece.lines, piece.skipped_bytes) == ((), LONGEST_LINE_BYTES + 1)
    assert tail.next() == piece
    tail.acknowledge(piece)
    log.write_bytes(log.read_bytes() + b"\n" + line(1))
    assert drain(tail) == [b"", *lines(1)]


def test_a_line_that_is_longer_than_a_piece_comes_whole(tail: Tail, log: Path) -> None:
    long = b"y" * (module.PIECE_BYTES * 2)
    log.write_bytes(long + b"\n" + line(1))

    assert drain(tail) == [long, *lines(1)]


steps = st.lists(st.sampled_from(["write", "read", "give", "rotate", "restart"]), max_size=30)


@settings(max_examples=60)
@given(steps)
def test_whatever_happens_no_line_is_lost_and_none_comes_twice(tmp_path_factory, doing: list[str]) -> None:
    folder = tmp_path_factory.mktemp("tail")
    log, tail = folder / "np.log", Tail(folder, "np*.log")
    written = rotated = 0
    seen: dict[str, tuple[bytes, ...]] = {}  # by the id of the piece, as who stores batches by their id has them
    for one in doing:
        match one:
            case "write":
                write(log, written)
                os.utime(log, ns=(written, written))
                written += 1
            case "rotate" if log.exists():
                rotated += 1
                log.rename(folder / f"np-{rotated:03}.log")
            case "give":
                if (piece := tail.next()) is not None:
                    seen[piece.id] = piece.lines
            case "restart":
                tail = again(folder, tail)
            case _:
                while (piece := tail.next()) is not None:
                    seen[piece.id] = piece.lines
                    tail.acknowledge(piece)
    while (piece := tail.next()) is not None:
        seen[piece.id] = piece.lines
        tail.acknowledge(piece)

    assert sorted(found for some in seen.values() for found in some) == sorted(lines(*range(written)))
    assert tail.forget_missing() == []
    tail.close()
