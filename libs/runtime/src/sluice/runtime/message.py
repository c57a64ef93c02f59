"""One stored message, as readers get it."""

from typing import NamedTuple

from sluice.contracts.ids import NEVER, Revision


class Message(NamedTuple):
    """An empty body is a tombstone."""

    subject: str
    """Of the stream, never a live one."""

    body: bytes
    revision: Revision
    time_ns: int
    """When it was stored, nanoseconds since 1970; 0 where the reader did not ask. In a ledger that was put back this is
    when it was stored first."""

    cause: Revision = NEVER
    """What the writer derived it from, as its header says: a tombstone has no body to say it."""

    put_ns: int = 0
    """When this stream stored it; 0 where the reader did not ask."""
