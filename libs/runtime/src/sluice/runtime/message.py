"""A stored message as readers get it."""

from typing import NamedTuple

from sluice.contracts.ids import NEVER, Revision


class Message(NamedTuple):
    """An empty body is a tombstone."""

    subject: str
    """The subject in the stream, never a live one."""

    body: bytes
    revision: Revision
    time_ns: int
    """When it was stored, in nanoseconds since 1970; 0 if the reader did not ask. In a restored ledger, when it was
    first stored."""

    cause: Revision = NEVER
    """What the writer derived it from, from the header, because a tombstone has no body that could tell."""

    put_ns: int = 0
    """When this stream stored it, in nanoseconds since 1970; 0 if the reader did not ask."""
