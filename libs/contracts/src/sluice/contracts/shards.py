"""Assigns names to shards by a stable hash, so that a change of one name moves nothing else."""

from functools import lru_cache
from hashlib import blake2b

PLACE_DIGITS = 4
"""Hex digits that a group's id begins with: where its members can be, see `sluice.policy.groupid`."""


def shard_of(name: str, shards: int) -> int:
    """0..shards-1, the same everywhere and for ever (BLAKE2b, 32 bits, modulo)."""
    if shards == 1:
        return 0
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") % shards


@lru_cache(maxsize=4096)
def place_of(namespace: str) -> str:
    """What the ids of groups begin with that are about this Namespace alone."""
    return blake2b(namespace.encode(), digest_size=PLACE_DIGITS // 2).hexdigest()


def shard_of_namespace(namespace: str, shards: int) -> int:
    """0..shards-1: that of the groups about this Namespace alone."""
    return int(place_of(namespace), 16) % shards


def shard_of_group(group: str, shards: int) -> int:
    """0..shards-1 by the place of the group, which is the beginning of its id; by all of it if that is no place."""
    if shards == 1:
        return 0
    try:
        return int(group[:PLACE_DIGITS], 16) % shards
    except ValueError:
        return shard_of(group, shards)
