"""The ledger as a file with one JSON value per line, so that it can be stored, read, verified and restored.

A file begins with a `Head`; then come the checkpoints, each followed by the parts of its state, then the entries, and
an `End`. Each entry has the head of a chain over sequence, subject and body up to it (`chain.link`, starting from
zeros), so a changed, lost or moved line is detected from the file alone; and the checkpoints vouch for the entries as
they do on the bus.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, assert_never

import msgspec
from msgspec import Struct

from sluice.contracts import codec
from sluice.contracts.ledger import Checkpoint, StatePart
from sluice.ledger import chain, state
from sluice.ledger.chain import GENESIS, Entry
from sluice.ledger.verifying import Finding, Verified, verify

VERSION = 1


class Head(Struct, frozen=True, kw_only=True, tag="ledger"):
    """The first line."""

    version: int = VERSION
    """Version of this format."""

    epoch: int
    """Epoch of the exported ledger: its creation time, microseconds since 1970."""

    first: int
    """Sequence of the oldest entry in the ledger; one more than `last` if it was empty."""

    last: int


class Kept(Struct, frozen=True, kw_only=True, tag="checkpoint"):
    checkpoint: Checkpoint


class Part(Struct, frozen=True, kw_only=True, tag="state"):
    """A part of the state of the preceding checkpoint."""

    rows: bytes
    """See `StatePart`; base64."""


class _Line(Struct, frozen=True, kw_only=True):
    """An entry of LEDGER."""

    sequence: int
    time_ns: int
    """When it was first stored, nanoseconds since 1970."""

    subject: str
    head: str
    """Head of the chain after it, 64 hex digits."""


class Written(_Line, frozen=True, kw_only=True, tag="object"):
    object: msgspec.Raw
    """The body, byte for byte."""


class Gone(_Line, frozen=True, kw_only=True, tag="gone"):
    """A tombstone."""


class Odd(_Line, frozen=True, kw_only=True, tag="bytes"):
    """An entry whose body is not JSON, or not on one line."""

    body: bytes
    """Base64."""


class End(Struct, frozen=True, kw_only=True, tag="end"):
    """The last line: shows that nothing was cut off."""

    entries: int
    head: str


AnyEntry = Written | Gone | Odd
AnyLine = Head | Kept | Part | AnyEntry | End


class Snapshot(NamedTuple):
    """A checkpoint and its state."""

    checkpoint: Checkpoint
    parts: tuple[StatePart, ...]


class BadRecord(ValueError):
    """The file is not a record of a ledger, or cannot be restored; the message says which line, why, and what to do."""


class Writer:
    """Makes the lines of entries, one after the other."""

    def __init__(self) -> None:
        self.head = GENESIS
        self.entries = 0

    def line(self, entry: Entry) -> bytes:
        self.head = chain.link(self.head, entry)
        self.entries += 1
        return encode(_written(entry, self.head.hex()))

    def end(self) -> bytes:
        return encode(End(entries=self.entries, head=self.head.hex()))


def encode(line: AnyLine) -> bytes:
    return codec.encode(line) + b"\n"


def snapshot(one: Snapshot) -> Iterator[bytes]:
    """The lines of the snapshot."""
    yield encode(Kept(checkpoint=one.checkpoint))
    for part in one.parts:
        yield encode(Part(rows=part.rows))


class Record:
    """A file that is read from its beginning: first the head and the snapshots, then the entries, once."""

    def __init__(self, lines: Iterable[bytes]) -> None:
        """Reads up to the first entry.

        Raises:
            BadRecord
        """
        self._lines = _decoded(lines)
        self.faults: list[Finding] = []
        """Faults of the file itself; complete once the entries have been read."""

        first = next(self._lines, None)
        if not isinstance(first, Head):
            raise BadRecord("line 1: not a ledger record; `sluice ledger export` writes one")
        if first.version != VERSION:
            raise BadRecord(
                f"line 1: this version of sluice reads format {VERSION}, not {first.version}; use a newer one"
            )
        self.head = first
        self.snapshots: list[Snapshot] = []
        self._waiting: AnyLine | None = next(self._lines, None)
        while isinstance(self._waiting, Kept):
            checkpoint, parts = self._waiting.checkpoint, []
            while isinstance(one := next(self._lines, None), Part):
                parts.append(StatePart(rows=one.rows))
            self._waiting = one
            self.snapshots.append(Snapshot(checkpoint, tuple(parts)))
            if state.digest(parts) != checkpoint.state:
                says = "the parts of its state do not match its digest: one of them was changed"
                self.faults.append(Finding(checkpoint.last, "checkpoint", says))

    def entries(self) -> Iterator[Entry]:
        """All entries, in order; each that does not match the chain is a fault.

        Raises:
            BadRecord: a line is invalid or out of order.
        """
        line, head, count, last = self._waiting, GENESIS, 0, self.head.first - 1
        while isinstance(line, AnyEntry):
            entry = _entry(line)
            if not last < entry.sequence <= self.head.last:
                raise BadRecord(f"entry {entry.sequence}: it is out of order, after {last}: the file was changed")
            if chain.link(head, entry).hex() != line.head:
                says = f"{entry.subject}: it was changed, or an entry before it was changed or removed"
                self.faults.append(Finding(entry.sequence, "altered", says))
            head, last, count = _hex(line), entry.sequence, count + 1
            yield entry
            line = next(self._lines, None)
        if not isinstance(line, End):
            raise BadRecord(
                f"after entry {last}: the end of the file is missing: the export was not completed, or the file was "
                "cut off"
            )
        if line.head != head.hex():
            says = f"the last entries are missing: the file has {count} of {line.entries}"
            self.faults.append(Finding(last, "missing", says))

    def verified(self) -> Verified:
        """Check everything; reads the entries.

        Raises:
            BadRecord
        """
        found = verify([one.checkpoint for one in self.snapshots], self.entries())
        told = {one.sequence for one in found.findings}
        more = [one for one in self.faults if one.sequence not in told]
        return found._replace(findings=sorted([*found.findings, *more]))


def _decoded(lines: Iterable[bytes]) -> Iterator[AnyLine]:
    for number, line in enumerate(lines, start=1):
        try:
            yield _decoder.decode(line)
        except msgspec.MsgspecError as error:
            raise BadRecord(f"line {number}: {error}; it does not belong to a ledger record, or was changed") from error


_decoder = msgspec.json.Decoder(AnyLine)


def _written(entry: Entry, head: str) -> AnyEntry:
    sequence, subject, body, time_ns = entry
    if not body:
        return Gone(sequence=sequence, time_ns=time_ns, subject=subject, head=head)
    if _is_line(body):
        return Written(sequence=sequence, time_ns=time_ns, subject=subject, head=head, object=msgspec.Raw(body))
    return Odd(sequence=sequence, time_ns=time_ns, subject=subject, head=head, body=body)


def _is_line(body: bytes) -> bool:
    if body[:1] in b" \t\r\n" or body[-1:] in b" \t\r\n" or b"\n" in body:  # whitespace that JSON parsers skip
        return False
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False
    return True


def _entry(line: AnyEntry) -> Entry:
    match line:
        case Written():
            body = bytes(line.object)
        case Odd():
            body = line.body
        case Gone():
            body = b""
        case _:
            assert_never(line)
    return Entry(line.sequence, line.subject, body, line.time_ns)


def _hex(line: AnyEntry) -> bytes:
    try:
        return bytes.fromhex(line.head)
    except ValueError as error:
        raise BadRecord(f"entry {line.sequence}: its head is not hexadecimal: the file was changed") from error
