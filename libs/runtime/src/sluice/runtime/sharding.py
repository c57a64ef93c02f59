"""Guards the number of shards, which is part of the stored data: nodes wait for the marks of all shards."""

from collections.abc import Mapping

from sluice.contracts import codec
from sluice.contracts.groups import Mark
from sluice.runtime.marks import is_mark


class Resharded(RuntimeError):
    """The stored data has another number of shards; the message says what to do."""


def check_shards(stream: str, stored: Mapping[str, bytes], shards: int) -> None:
    """Return if the stream's contents were written with this number of shards.

    A group that moves to another shard would for a moment be in the list of neither, and its policies in force nowhere.
    A recreated stream has no such moment: nodes keep what they have until it is complete.

    Raises:
        Resharded: it was written with another number.
    """
    for subject, body in sorted(stored.items()):
        if not is_mark(subject):
            continue
        try:
            before = codec.decode(body, Mark).shards
        except codec.Undecodable:  # it will be overwritten
            continue
        if before != shards:
            raise Resharded(
                f"{subject}: {stream} is divided into {before} shards, but the settings say {shards}; to change "
                f"the number, stop all replicas of the service, delete the stream {stream}, and start them "
                "with the new number; meanwhile nodes keep what they have applied"
            )
