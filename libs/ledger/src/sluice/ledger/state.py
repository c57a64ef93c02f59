"""What LEDGER held at some point: the last body of each subject, and its encoding as bytes."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from sluice.contracts import codec
from sluice.contracts.ledger import StatePart
from sluice.ledger.chain import Entry

PART_BYTES = 6 << 20
"""Bytes of rows in a part before compression: as base64 it fits `streams.MAX_PAYLOAD_BYTES` even if incompressible."""

_LEVEL = 1  # zlib level: objects shrink to a sixth, twice as fast as at the default of 6

_Row = tuple[str, int, int, bytes]


class Held(NamedTuple):
    """The last version of something that exists."""

    sequence: int
    time_ns: int
    body: bytes


class BadState(ValueError):
    """The parts are not a state, or not the one that the checkpoint names. The message says which."""


class State:
    """A fold of entries; mutable."""

    def __init__(self, held: Iterable[tuple[str, Held]] = ()) -> None:
        self.held: dict[str, Held] = dict(held)
        """By subject."""

    def take(self, entry: Entry) -> None:
        """Apply an entry. Entries come in the order of their sequences."""
        if entry.body:
            self.held[entry.subject] = Held(entry.sequence, entry.time_ns, entry.body)
        else:
            self.held.pop(entry.subject, None)

    def copy(self) -> "State":
        return State(self.held.items())


def write(state: State) -> list[StatePart]:
    """The state as parts; equal states give equal parts. At least one."""
    return [StatePart(rows=zlib.compress(msgspec.msgpack.encode(rows), _LEVEL)) for rows in _parted(state)]


def digest(parts: Sequence[StatePart]) -> str:
    """Digest of the parts, in order: 32 hex digits."""
    return codec.digest(b"".join(codec.digest(part.rows).encode() for part in parts))


def read(parts: Sequence[StatePart], wanted: str) -> State:
    """The state in these parts.

    Raises:
        BadState: they do not match the digest, or are unreadable.
    """
    if digest(parts) != wanted:
        raise BadState("the parts of the state do not match the digest in the checkpoint")
    held: dict[str, Held] = {}
    for number, part in enumerate(parts):
        try:
            rows = _decoder.decode(zlib.decompress(part.rows))
        except (zlib.error, msgspec.MsgspecError) as error:
            raise BadState(f"part {number} of the state cannot be read: {error}") from error
        for subject, sequence, time_ns, body in rows:
            held[subject] = Held(sequence, time_ns, body)
    return State(held.items())


_decoder = msgspec.msgpack.Decoder(list[_Row])


def _parted(state: State) -> Iterator[list[_Row]]:
    rows: list[_Row] = []
    size = 0
    for subject in sorted(state.held):
        sequence, time_ns, body = state.held[subject]
        if rows and size + len(body) > PART_BYTES:
            yield rows
            rows, size = [], 0
        rows.append((subject, sequence, time_ns, body))
        size += len(subject) + len(body) + 32  # 32: maximum overhead of MessagePack per row
    yield rows
