"""An object's bytes to what is told of it: whose they are, and what travels or why nothing does. Pure."""

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
    """None: not even whose it is."""

    body: bytes
    """What travels; empty if the object was not taken in."""

    problems: tuple[DocumentProblem, ...] = ()


def reader(kind: Kind) -> Callable[[bytes], Reading]:
    """Reads objects of the kind."""

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
    """Where the object is, in place of a file: as pods/x/a."""
    return "/".join([kind.value, *filter(None, name)] if name else [kind.value, "?"])
