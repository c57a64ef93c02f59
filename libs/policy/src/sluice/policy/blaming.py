"""Finds the version of an object that last changed one of its rules."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from sluice.contracts.ids import Revision
from sluice.contracts.programs import Direction


class Version(NamedTuple):
    """One version of an object; an empty body is a tombstone."""

    revision: Revision
    time_ns: int
    body: bytes


def since(versions: Sequence[Version], direction: Direction | None = None, index: int | None = None) -> Version | None:
    """The version in which the rule got its final form; without an index, the whole spec.

    Rules are compared as written, by their place in the list. None if the last version is missing or a tombstone.
    """
    found: Version | None = None
    wanted: Any = None
    for version in reversed(versions):
        said = _said(version, direction, index)
        if found is None:
            if said is None:
                return None
            wanted = said
        elif said != wanted:
            break
        found = version
    return found


def _said(version: Version, direction: Direction | None, index: int | None) -> Any:
    if not version.body:
        return None
    spec = msgspec.json.decode(version.body).get("spec", {})
    if direction is None or index is None:
        return spec
    rules = spec.get(direction.value) or []
    return {key: value for key, value in spec.items() if key in ("appliedTo", "podSelector")}, rules[index : index + 1]
