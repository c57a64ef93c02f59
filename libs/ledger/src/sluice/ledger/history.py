"""The state at any time: the nearest checkpoint before it, and the entries after that."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sluice.contracts.ledger import Checkpoint
from sluice.ledger.chain import Entry
from sluice.ledger.state import State


class TooOld(LookupError):
    """Neither LEDGER nor a checkpoint reaches back that far. The message says how far they do."""


class Start(NamedTuple):
    """Where to begin reading to rebuild the state at some time."""

    checkpoint: Checkpoint | None
    """None: begin with the first entry of LEDGER."""

    sequence: int
    """Sequence of the first entry to read."""


def start(checkpoints: Sequence[Checkpoint], first: int, wanted: int) -> Start:
    """Where to begin for the state after entry `wanted`.

    Args:
        checkpoints: of the epoch, in the order of their sequences.
        first: sequence of the oldest entry in LEDGER; one more than its last if it is empty.

    Raises:
        TooOld
    """
    at = bisect_right(checkpoints, wanted, key=lambda one: one.last)
    if at:
        nearest = checkpoints[at - 1]
        if nearest.last == wanted or first <= nearest.last + 1:
            return Start(nearest, nearest.last + 1)
    if first == 1:
        return Start(None, 1)
    later = [one.last for one in checkpoints if one.last >= wanted]
    oldest = (
        f"the oldest state that can be reconstructed after it is that of entry {later[0]}"
        if later
        else "no checkpoint was made since then"
    )
    raise TooOld(f"entry {wanted} is older than the ledger goes back: {oldest}")


def replay(begun: State, entries: Iterable[Entry], wanted: int) -> State:
    """The state after entry `wanted`; modifies `begun`."""
    for entry in entries:
        if entry.sequence > wanted:
            break
        begun.take(entry)
    return begun
