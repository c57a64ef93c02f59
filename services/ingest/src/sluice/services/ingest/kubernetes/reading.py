"""Decodes an object's bytes: its key, and the body to publish or the reasons to refuse it. Pure."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from sluice.admission.admit import admit
from sluice.contracts import jsonpath
from sluice.contracts.kinds import SELF_CONTAINED, Kind
from sluice.contracts.status import DocumentProblem
from sluice.kube.served import Served, name_of, served
from sluice.services.ingest.catalog import Key

_IDENTITY = ("$.metadata.name", "$.metadata.namespace")
"""What the subject of the object is made of."""


MOST_PROBLEMS = 10
"""Of one object. The problems of all objects travel in one message."""

MOST_LETTERS = 1_000
"""Of a path or reason. Whoever writes an object chooses the names in it, and how long they are."""


class Reading(NamedTuple):
    """What one version of an object says."""

    key: Key | None
    """None if not even the name is readable."""

    body: bytes
    """The body to publish; empty if the object was refused.

    A policy of Kubernetes is published in spite of its problems, which `sluice.kube.served` explains.
    """

    problems: tuple[DocumentProblem, ...] = ()


def reader(kind: Kind) -> Callable[[bytes], Reading]:
    """A reader for objects of the kind."""

    def read(body: bytes) -> Reading:
        name = name_of(body)
        key = Key(kind, *name) if name else None
        found = served(kind, body, place(kind, name))
        if not isinstance(found, Served):
            return Reading(key, b"", _first_of(found))
        key = Key(kind, *found.object.key)
        refused = tuple(
            DocumentProblem(file=place(kind, key[1:]), line=0, path=path, reason=reason)
            for path, reason in admit(found.object)
            if not (found.problems and path.startswith("$.spec"))  # what is left of a spec was told already
        )
        closes = kind in SELF_CONTAINED and not any(one.path.startswith(_IDENTITY) for one in refused)
        return Reading(key, found.body if closes or not refused else b"", _first_of((*found.problems, *refused)))

    return read


def _first_of(problems: tuple[DocumentProblem, ...]) -> tuple[DocumentProblem, ...]:
    told = tuple(
        msgspec.structs.replace(one, path=one.path[:MOST_LETTERS], reason=one.reason[:MOST_LETTERS])
        for one in problems[:MOST_PROBLEMS]
    )
    if len(told) == len(problems):
        return told
    more = f"and {len(problems) - len(told)} problems more"
    return (*told, msgspec.structs.replace(told[0], path=jsonpath.ROOT, reason=more))


def place(kind: Kind, name: tuple[str, str] | None) -> str:
    """The object's location in place of a file name, such as pods/x/a."""
    return "/".join([kind.value, *filter(None, name)] if name else [kind.value, "?"])
