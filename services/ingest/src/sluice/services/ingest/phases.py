"""In which order changes are stored, so that nothing opens on the way. Pure.

What one look at the folder found is meant to hold together, but the stream takes one object after the other. So what
restricts comes before what it restricts: namespaces, nodes and policies before Pods. And what went goes last, the Pods
first, so that a policy that took another's name never leaves its Pods alone. Each phase is stored before the next.
"""

from collections.abc import Iterator
from typing import NamedTuple

from sluice.contracts.kinds import Kind
from sluice.services.ingest.catalog import Changes, Key

_LATE = frozenset((Kind.POD,))
"""Kinds that policies restrict."""


class Step(NamedTuple):
    key: Key
    body: bytes
    """Empty: the object goes."""


def phases(changes: Changes) -> Iterator[tuple[Step, ...]]:
    """The changes, in phases that are not empty."""
    puts = [Step(key, body) for key, body in sorted(changes.put.items())]
    removes = [Step(key, b"") for key in sorted(changes.remove)]
    for steps, late in ((puts, False), (puts, True), (removes, True), (removes, False)):
        if phase := tuple(step for step in steps if (step.key.kind in _LATE) is late):
            yield phase
