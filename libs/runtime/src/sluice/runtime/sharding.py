"""Guards the number of shards, which is part of what is stored: nodes wait for the marks of all of them."""

from collections.abc import Mapping

from sluice.contracts import codec
from sluice.contracts.groups import Mark
from sluice.runtime.marks import is_mark


class Resharded(RuntimeError):
    """What is stored was divided in another way; the message says what to do."""


def check_shards(stream: str, stored: Mapping[str, bytes], shards: int) -> None:
    """Return if what the stream holds was divided into so many shards.

    A group that moves from one shard to another would for a moment be in neither's list, and its policies in force
    nowhere. A stream made anew has no such moment: nodes keep what they have until it is whole.

    Raises:
        Resharded: it was divided otherwise.
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
                f"{subject}: {stream} is divided into {before} shards, the settings say {shards}: to change it stop "
                f"all runs of the service, delete the stream {stream}, and start them with the new number; "
                f"nodes keep what they have applied until it is filled again"
            )
