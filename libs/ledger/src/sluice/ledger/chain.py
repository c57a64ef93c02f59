"""The hash chain: each entry's hash covers the previous one, so that one changed bit changes every later head."""

from hashlib import blake2b
from typing import NamedTuple

from sluice.contracts.ledger import DIGEST_BYTES

GENESIS = bytes(32)
"""The head before the first entry of an epoch."""

NO_ENTRY = bytes(DIGEST_BYTES)
"""Stands for the digest of a sequence for which LEDGER had no entry."""


class Entry(NamedTuple):
    """One message of LEDGER; an empty body is a tombstone."""

    sequence: int
    subject: str
    body: bytes
    time_ns: int = 0
    """When it was stored, nanoseconds since 1970. Not part of the chain: a restored ledger has different times."""


def link(head: bytes, entry: Entry) -> bytes:
    """The head after the entry: BLAKE2b (RFC 7693), 256 bits, of the head before, the sequence, subject and body."""
    subject = entry.subject.encode()
    hashed = blake2b(head, digest_size=32)
    hashed.update(entry.sequence.to_bytes(8, "big"))
    hashed.update(len(subject).to_bytes(4, "big"))  # delimits the subject, lest bytes move between it and the body
    hashed.update(subject)
    hashed.update(entry.body)
    return hashed.digest()


def digest(entry: Entry) -> bytes:
    """Digest of the entry's content, independent of its position."""
    subject = entry.subject.encode()
    hashed = blake2b(len(subject).to_bytes(4, "big"), digest_size=DIGEST_BYTES)
    hashed.update(subject)
    hashed.update(entry.body)
    return hashed.digest()
