"""CHECKPOINTS: the folded past of LEDGER, so that any moment can be restored and tampering is detected.

A checkpoint is stored in parts, its state first: a reader who finds a `Checkpoint` finds its parts as well.
"""

from msgspec import Struct

ENTRIES = 10_000
"""Entries between two checkpoints: reading that many takes less than a second."""

DIGEST_BYTES = 8
"""Length of an entry's digest in a checkpoint. It locates tampering that the chain, of 32-byte hashes, detects."""


class Checkpoint(Struct, frozen=True, kw_only=True):
    """What LEDGER held after a certain entry (`ledger._checkpoint.<epoch>.<last>`)."""

    epoch: int
    """Epoch of LEDGER's revisions: its creation time, microseconds since 1970."""

    first: int
    """Sequence of the first entry after the previous checkpoint."""

    last: int
    """Sequence of the last entry that the checkpoint covers."""

    time_ns: int
    """When LEDGER stored the last entry, nanoseconds since 1970."""

    before: str
    """Head of the hash chain before the first entry, 64 hex digits; all zeros if `first` is 1."""

    head: str
    """Head of the hash chain after the last entry."""

    digests: bytes
    """Digest of each sequence from first to last, in order, `DIGEST_BYTES` each; zeros where there is no entry."""

    objects: int
    """Number of subjects that have a value."""

    parts: int
    """Number of messages that hold the state (`ledger._state.<epoch>.<last>.<part>`, counted from 0)."""

    state: str
    """Digest over all parts of the state, 32 hex digits: no part can be replaced unnoticed."""


class StatePart(Struct, frozen=True, kw_only=True):
    """A part of the state at a checkpoint."""

    rows: bytes
    """MessagePack in zlib format (RFC 1950): a list of [subject, sequence, time_ns, body], ordered by subject."""
