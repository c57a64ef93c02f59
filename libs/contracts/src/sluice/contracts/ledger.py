"""CHECKPOINTS: the folded past of LEDGER, so that any moment can be restored and tampering is detected.

A checkpoint is stored in parts, its state first: a reader who finds a `Checkpoint` finds its parts as well.
"""

from msgspec import Struct

ENTRIES = 10_000
"""From one checkpoint to the next: reading as many entries costs less than a second."""

DIGEST_BYTES = 8
"""Of the digest that stands for one entry in a checkpoint. It locates what the chain, of 32 bytes, has found."""


class Checkpoint(Struct, frozen=True, kw_only=True):
    """What LEDGER held after one of its entries (`ledger._checkpoint.<epoch>.<last>`)."""

    epoch: int
    """Of LEDGER's revisions: its creation, microseconds since 1970."""

    first: int
    """Sequence of the first entry since the checkpoint before."""

    last: int
    """Sequence of the last one, after which this was made."""

    time_ns: int
    """When LEDGER stored the last one, nanoseconds since 1970."""

    before: str
    """Head of the chain before the first entry: 64 hex digits. Where `first` is 1, zeros."""

    head: str
    """Head of the chain after the last one."""

    digests: bytes
    """Of each sequence from first to last, in order, `DIGEST_BYTES` each; zeros where LEDGER had no such entry."""

    objects: int
    """How many subjects have a value."""

    parts: int
    """In how many messages the state is (`ledger._state.<epoch>.<last>.<part>`, from 0)."""

    state: str
    """Digest of the state's parts together, so that a part cannot be exchanged: 32 hex digits."""


class StatePart(Struct, frozen=True, kw_only=True):
    """Some of the state at a checkpoint."""

    rows: bytes
    """Deflated (RFC 1950) MessagePack: a list of [subject, sequence, time_ns, body], in the order of subjects."""
