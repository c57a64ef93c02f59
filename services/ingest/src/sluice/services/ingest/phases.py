"""In which order changes are stored, so that nothing opens on the way. Pure.

What one look at the folder found is meant to hold together, but the stream takes one object after the other. So what
restricts comes before what it restricts: namespaces, nodes and policies before Pods, and what policies name (tiers,
groups, Services) before them. And what went goes last, the Pods first and what others name at the end, so that a policy
that took another's name never leaves its Pods alone. Each phase is stored before the next.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sluice.contracts.kinds import Kind
from sluice.services.ingest.catalog import Changes, Key

_NAMED = (Kind.TIER, Kind.CLUSTER_GROUP, Kind.GROUP, Kind.SERVICE)
_RANKS = {**dict.fromkeys(_NAMED, 0), Kind.POD: 2}
_REST = 1
"""Kinds by what they need: of a lower rank."""


class Step(NamedTuple):
    key: Key
    body: bytes
    """Empty: the object goes."""


def phases(changes: Changes) -> Iterator[tuple[Step, ...]]:
    """The changes, in phases that are not empty."""
    puts = [Step(key, body) for key, body in sorted(changes.put.items())]
    removes = [Step(key, b"") for key in sorted(changes.remove)]
    for steps, ranks in ((puts, (0, 1, 2)), (removes, (2, 1, 0))):
        for rank in ranks:
            if phase := tuple(step for step in steps if _RANKS.get(step.key.kind, _REST) == rank):
                yield phase
