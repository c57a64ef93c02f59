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
    """When the stream stored it, nanoseconds since 1970; 0 where the reader did not ask."""

    cause: Revision = NEVER
    """What the writer derived it from, as its header says: a tombstone has no body to say it."""
