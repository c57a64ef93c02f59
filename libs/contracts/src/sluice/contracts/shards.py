"""Which shard of a service writes what: a stable hash, so that a change of one name moves nothing else."""

from hashlib import blake2b


def shard_of(name: str, shards: int) -> int:
    """0..shards-1, the same everywhere and for ever (BLAKE2b, 32 bits, modulo)."""
    if shards == 1:
        return 0
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") % shards
