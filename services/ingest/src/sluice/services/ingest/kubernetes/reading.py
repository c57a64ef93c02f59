"""Decodes an object's bytes: its key, and the body to publish or the reasons to refuse it. Pure."""

from collections.abc import Callable
from typing import NamedTuple

from sluice.admission.admit import admit
from sluice.contracts.kinds import Kind
from sluice.contracts.status import DocumentProblem
from sluice.kube.served import Served, name_of, served
from sluice.services.ingest.catalog import Key


class Reading(NamedTuple):
    """What one version of an object says."""

    key: Key | None
    """None if not even the name is readable."""

    body: bytes
    """The body to publish; empty if the object was refused."""

    problems: tuple[DocumentProblem, ...] = ()


def reader(kind: Kind) -> Callable[[bytes], Reading]:
    """A reader for objects of the kind."""

    def read(body: bytes) -> Reading:
        name = name_of(body)
        key = Key(kind, *name) if name else None
        found = served(kind, body, place(kind, name))
        if not isinstance(found, Served):
            return Reading(key, b"", found)
        key = Key(kind, *found.object.key)
        refused = tuple(
            DocumentProblem(file=place(kind, key[1:]), line=0, path=path, reason=reason)
            for path, reason in admit(found.object)
        )
        return Reading(key, b"" if refused else found.body, refused)

    return read


def place(kind: Kind, name: tuple[str, str] | None) -> str:
    """The object's location in place of a file name, such as pods/x/a."""
    return "/".join([kind.value, *filter(None, name)] if name else [kind.value, "?"])
