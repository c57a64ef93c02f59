"""Folds LEDGER into checkpoints."""

from collections.abc import Sequence
from typing import NamedTuple

from sluice.contracts.ledger import ENTRIES, Checkpoint, StatePart
from sluice.ledger import chain, state
from sluice.ledger.chain import GENESIS, NO_ENTRY, Entry
from sluice.ledger.state import State


class Made(NamedTuple):
    """A checkpoint with the parts of its state; the parts are stored first."""

    checkpoint: Checkpoint
    parts: Sequence[StatePart]


class Due(NamedTuple):
    """The input of a checkpoint. Making one takes half a second at 100,000 objects, and may be done elsewhere."""

    epoch: int
    last: int
    time_ns: int
    before: bytes
    head: bytes
    digests: Sequence[bytes]
    held: State

    def make(self) -> Made:
        parts = state.write(self.held)
        made = Checkpoint(
            epoch=self.epoch,
            first=self.last - len(self.digests) + 1,
            last=self.last,
            time_ns=self.time_ns,
            before=self.before.hex(),
            head=self.head.hex(),
            digests=b"".join(self.digests),
            objects=len(self.held.held),
            parts=len(parts),
            state=state.digest(parts),
        )
        return Made(made, parts)


class Weaver:
    """Takes entries in the order of their sequences, and makes a checkpoint after each `every` of them."""

    def __init__(self, epoch: int, *, every: int = ENTRIES) -> None:
        self.epoch, self._every = epoch, every
        self.state = State()
        self.head = GENESIS
        self.last = 0
        """Sequence of the last entry that was taken in, or that is known to be missing."""

        self._before = GENESIS
        self._digests: list[bytes] = []

    @classmethod
    def resumed(cls, checkpoint: Checkpoint, held: State, *, every: int = ENTRIES) -> "Weaver":
        """A weaver that continues after this checkpoint."""
        woven = cls(checkpoint.epoch, every=every)
        woven.state = held
        woven.head = woven._before = bytes.fromhex(checkpoint.head)
        woven.last = checkpoint.last
        return woven

    @classmethod
    def from_middle(cls, epoch: int, first: int, *, every: int = ENTRIES) -> "Weaver":
        """A weaver that begins with the oldest entry in LEDGER: older ones have expired without a checkpoint."""
        woven = cls(epoch, every=every)
        woven.last = first - 1
        return woven

    def take(self, entry: Entry) -> Due | None:
        """The checkpoint after this entry, if one is due. Sequences that were skipped count as missing."""
        if entry.sequence <= self.last:
            return None  # redelivered
        self._digests += [NO_ENTRY] * (entry.sequence - self.last - 1)
        self._digests.append(chain.digest(entry))
        self.head = chain.link(self.head, entry)
        self.last = entry.sequence
        self.state.take(entry)
        return self.due(entry.time_ns) if len(self._digests) >= self._every else None

    def due(self, time_ns: int) -> Due:
        """A checkpoint after the last entry that was taken, whether it is due or not."""
        due = Due(self.epoch, self.last, time_ns, self._before, self.head, self._digests, self.state.copy())
        self._before, self._digests = self.head, []
        return due
