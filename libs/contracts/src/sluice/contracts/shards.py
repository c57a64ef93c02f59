"""Assigns names to shards by a stable hash, so that adding or removing a name moves no other."""

from functools import lru_cache
from hashlib import blake2b

PLACE_DIGITS = 4
"""Length of the place, in hex digits, that a group's id begins with; see `sluice.policy.groupid`."""


def shard_of(name: str, shards: int) -> int:
    """The shard of a name, 0..shards-1. Stable across processes and versions (BLAKE2b, 32 bits, modulo)."""
    if shards == 1:
        return 0
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") % shards


REMEMBERED = 1 << 16
"""Namespaces, and nodes, of which it is remembered where they belong: more than a cluster has, at some 150 bytes."""


@lru_cache(maxsize=REMEMBERED)
def place_of(namespace: str) -> str:
    """The place of groups that are confined to this Namespace."""
    return blake2b(namespace.encode(), digest_size=PLACE_DIGITS // 2).hexdigest()


def shard_of_namespace(namespace: str, shards: int) -> int:
    """The shard, 0..shards-1, of groups that are confined to this Namespace."""
    return int(place_of(namespace), 16) % shards


def shard_of_group(group: str, shards: int) -> int:
    """The shard of a group, 0..shards-1, by the place that its id begins with; by the whole id if it has no place."""
    if shards == 1:
        return 0
    try:
        return int(group[:PLACE_DIGITS], 16) % shards
    except ValueError:
        return shard_of(group, shards)
