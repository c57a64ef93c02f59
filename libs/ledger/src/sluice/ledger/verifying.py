"""Checks whether LEDGER is unchanged since its checkpoints were made, and finds where it is not.

The digests of a checkpoint locate the entry; its heads, on which every later checkpoint builds, ensure that the digests
themselves were not changed along with it. If someone rewrites the whole ledger and every checkpoint after the change,
only a head written down elsewhere reveals it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from sluice.contracts.ledger import DIGEST_BYTES, Checkpoint
from sluice.ledger import chain
from sluice.ledger.chain import GENESIS, NO_ENTRY, Entry

Fault = Literal["altered", "missing", "moved", "added", "checkpoint"]


class Finding(NamedTuple):
    """A deviation from what the checkpoints recorded."""

    sequence: int
    """Sequence of the entry; for a checkpoint, that of its last one."""

    fault: Fault
    says: str


class Verified(NamedTuple):
    findings: Sequence[Finding]
    checked: int
    """Number of entries covered by a checkpoint."""

    uncovered: int
    """Number of entries since the last checkpoint: nothing vouches for them yet."""

    head: str
    """Head of the chain after the last entry, 64 hex digits: to be written down elsewhere."""


def verify(checkpoints: Sequence[Checkpoint], entries: Iterable[Entry]) -> Verified:
    """Compare the entries with the checkpoints; both are of one epoch, in the order of their sequences.

    Entries before the oldest checkpoint, and the oldest ones that LEDGER has expired, are not expected.
    """
    found: list[Finding] = list(_continuity(checkpoints))
    stream = iter(entries)
    waiting = next(stream, None)
    checked = 0
    for one in checkpoints:
        held: dict[int, Entry] = {}
        while waiting is not None and waiting.sequence <= one.last:
            if waiting.sequence >= one.first:
                held[waiting.sequence] = waiting
            waiting = next(stream, None)
        if held or checked:
            checked += len(held)
            found += _segment(one, held, aged=min(held) if checked == len(held) else one.first)
    head = bytes.fromhex(checkpoints[-1].head) if checkpoints else GENESIS
    uncovered = 0
    expected = checkpoints[-1].last + 1 if checked else None  # otherwise all covered entries have expired
    while waiting is not None:
        if expected is not None and waiting.sequence != expected:
            found.append(_missing(expected, waiting.sequence - 1))
        expected = waiting.sequence + 1
        head = chain.link(head, waiting)
        uncovered += 1
        waiting = next(stream, None)
    return Verified(sorted(found), checked, uncovered, head.hex())


def _continuity(checkpoints: Sequence[Checkpoint]) -> Iterator[Finding]:
    for before, after in pairwise(checkpoints):
        if after.first != before.last + 1:
            yield Finding(
                after.last, "checkpoint", f"checkpoints for {before.last + 1} to {after.first - 1} are missing"
            )
        elif after.before != before.head:
            yield Finding(
                after.last,
                "checkpoint",
                f"it does not continue the hash chain of the checkpoint at {before.last}: one of the two was changed",
            )


def _segment(one: Checkpoint, held: Mapping[int, Entry], aged: int) -> Iterator[Finding]:
    """The faults in the entries of a checkpoint; those before `aged` have expired."""
    wanted = [one.digests[at : at + DIGEST_BYTES] for at in range(0, len(one.digests), DIGEST_BYTES)]
    if len(wanted) != one.last - one.first + 1:
        yield Finding(one.last, "checkpoint", "it does not have a digest for each of its entries: it was changed")
        return
    origin = {each: one.first + at for at, each in enumerate(wanted)}
    faults = 0
    for at, expected in enumerate(wanted):
        sequence = one.first + at
        if sequence < aged:
            continue
        entry = held.get(sequence)
        got = chain.digest(entry) if entry else NO_ENTRY
        if got == expected:
            continue
        faults += 1
        if entry is None:
            yield _missing(sequence, sequence)
        elif expected == NO_ENTRY:
            yield Finding(sequence, "added", f"{entry.subject}: the checkpoint has no entry with this sequence")
        elif got in origin:
            yield Finding(sequence, "moved", f"{entry.subject}: this is entry {origin[got]}, in another place")
        else:
            yield Finding(sequence, "altered", f"{entry.subject}: its subject or its content was changed")
    if not faults and aged <= one.first and _head(one, held) != one.head:
        yield Finding(
            one.last, "checkpoint", "the digests of its entries do not lead to its head: the checkpoint was changed"
        )


def _head(one: Checkpoint, held: Mapping[int, Entry]) -> str:
    head = bytes.fromhex(one.before)
    for sequence in sorted(held):
        head = chain.link(head, held[sequence])
    return head.hex()


def _missing(first: int, last: int) -> Finding:
    return Finding(
        first, "missing", f"entry {first} is gone" if first == last else f"entries {first} to {last} are gone"
    )
