"""In which order changes are stored, so that nothing opens up in between. Pure.

The changes found by one look at the folder belong together, but the stream takes one object at a time. So what
restricts comes before what it restricts: namespaces, nodes and policies before Pods, and what policies refer to (tiers,
groups, Services) before the policies. Deletions come last, Pods first and what others refer to at the end, so that a
renamed policy never leaves its Pods unprotected. Each phase is stored before the next.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sluice.contracts.kinds import Kind
from sluice.services.ingest.catalog import Changes, Key

_NAMED = (Kind.TIER, Kind.CLUSTER_GROUP, Kind.GROUP, Kind.SERVICE)
_RANKS = {**dict.fromkeys(_NAMED, 0), Kind.POD: 2}
_REST = 1
"""A kind only depends on kinds of lower rank."""


class Step(NamedTuple):
    key: Key
    body: bytes
    """Empty to delete the object."""


def phases(changes: Changes) -> Iterator[tuple[Step, ...]]:
    """Yield the changes in phases, skipping empty ones."""
    puts = [Step(key, body) for key, body in sorted(changes.put.items())]
    removes = [Step(key, b"") for key in sorted(changes.remove)]
    for steps, ranks in ((puts, (0, 1, 2)), (removes, (2, 1, 0))):
        for rank in ranks:
            if phase := tuple(step for step in steps if _RANKS.get(step.key.kind, _REST) == rank):
                yield phase
