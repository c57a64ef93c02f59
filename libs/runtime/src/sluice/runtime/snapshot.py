"""Parses answers of `$JS.API.DIRECT.GET` to a multi_last request, and tells whether they are complete."""

from enum import Enum
from typing import NamedTuple

import msgspec
from nats.aio.msg import Msg

MOST_SUBJECTS = 1_024
"""If one request matches more subjects than this, the answer is 413, however many patterns it has."""

MOST_PATTERNS = 500
"""Per request of ours: a node's patterns match a few subjects each."""


class End(Enum):
    """How an answer ended."""

    WHOLE = "whole"
    TORN = "torn"
    """A message was overwritten while the answer was assembled: ask again."""

    TOO_MANY = "too many"
    NOWHERE = "nowhere"
    """The stream does not exist, or has no leader."""


class Row(NamedTuple):
    """One message of an answer."""

    subject: str
    sequence: int
    body: bytes
    headers: dict[str, str]


def request(patterns: list[str]) -> bytes:
    return msgspec.json.encode({"multi_last": patterns})


class Answer:
    """One answer, message by message. Each message names the sequence before it, and how many are still to come."""

    def __init__(self) -> None:
        self.upto = 0
        """The stream's last sequence when the answer was assembled; 0 if the answer was empty."""

        self._last = 0
        self._pending: int | None = None
        self._torn = False

    def take(self, raw: Msg) -> Row | End:
        headers = raw.headers or {}
        match headers.get("Status"):
            case None:
                return self._row(raw, headers)
            case "204":
                self.upto = int(headers["Nats-UpTo-Sequence"])
                whole = int(headers["Nats-Last-Sequence"]) == self._last and not self._pending
                return End.WHOLE if whole and not self._torn else End.TORN
            case "404":  # nothing matches; or, in the middle, a message was removed before it was sent
                return End.WHOLE if self._pending is None else End.TORN
            case "413":
                return End.TOO_MANY
            case _:
                return End.NOWHERE

    def _row(self, raw: Msg, headers: dict[str, str]) -> Row:
        sequence, pending = int(headers["Nats-Sequence"]), int(headers["Nats-Num-Pending"])
        expected = self._pending is None or self._pending == pending + 1
        self._torn |= int(headers["Nats-Last-Sequence"]) != self._last or not expected
        self._last, self._pending = sequence, pending
        return Row(headers["Nats-Subject"], sequence, raw.data, headers)
