"""Edits manifests document by document; everything else stays as it is written. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import yaml

from sluice.contracts.kinds import RESOURCES
from sluice.contracts.subjects import ObjectSubject
from sluice.kube import yaml_text
from sluice.kube.manifest import Document, parse

Wanted = Mapping[ObjectSubject, bytes]
"""Objects and what they should be, as JSON; empty: they should not exist."""

_OF_SERVER = ("uid", "resourceVersion", "creationTimestamp", "generation", "selfLink", "managedFields")
"""Fields of metadata that the server sets."""


class NotEditable(ValueError):
    """A program cannot correct the file; the message says where, why, and what to do."""


def written(body: bytes) -> dict[str, Any]:
    """The object as users write it."""
    said: dict[str, Any] = msgspec.json.decode(body)
    said.pop("status", None)
    said["metadata"] = {key: value for key, value in said["metadata"].items() if key not in _OF_SERVER}
    return said


def same(one: bytes, other: bytes) -> bool:
    """Whether both are equal apart from what a server sets, such as the uid."""
    if one == other or not (one and other):
        return one == other
    try:
        return written(one) == written(other)
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        return False  # what does not decode equals nothing else


def manifest(body: bytes) -> str:
    """The object as users write it, in YAML."""
    return str(yaml.safe_dump(written(body), sort_keys=False))


def edited(files: Mapping[str, str], wanted: Wanted) -> dict[str, str | None]:
    """The files that must change so that all of them together say what is wanted, with their new text; None: delete it.

    Args:
        files: by path; an object that is in none of them gets a file of its own.

    Raises:
        NotEditable
    """
    missing = {key: body for key, body in wanted.items() if body}
    found: dict[str, str | None] = {}
    for path, text in sorted(files.items()):
        after = _edited(path, text, wanted, missing)
        if after != text:
            found[path] = after if after.strip() else None
    for key, body in missing.items():
        if (path := named(key)) in files:
            raise NotEditable(
                f"{path}: {title(key)} would be written to this file, but it has other content; rename the file"
            )
        found[path] = manifest(body)
    return found


def _edited(path: str, text: str, wanted: Wanted, missing: dict[ObjectSubject, bytes]) -> str:
    after = text
    in_one = path.endswith(".json")
    pieces = [text] if in_one else [chunk.text for chunk in yaml_text.chunks(text)]
    for piece in pieces:
        held = list(_keys(piece, path))
        hit = [key for key in held if key in wanted]
        if not hit:
            continue
        if len(held) > 1 or (in_one and text.strip()[:1] != "{"):
            raise NotEditable(
                f"{path}: {title(hit[0])} is part of a list, which cannot be edited automatically; edit it by hand"
            )
        missing.pop(hit[0], None)
        body = wanted[hit[0]]
        if in_one:
            new = msgspec.json.format(msgspec.json.encode(written(body)), indent=2).decode() + "\n" if body else ""
        else:
            begin = "---\n" if piece.startswith("---") else ""
            new = begin + manifest(body) if body else ""
        after = after.replace(piece, new, 1)
    return after


def _keys(piece: str, path: str) -> Iterator[ObjectSubject]:
    for parsed in parse(piece, path):
        if isinstance(parsed, Document):
            yield ObjectSubject(parsed.kind, *parsed.object.key)


def named(key: ObjectSubject) -> str:
    """The name of the new file for an object that is in none."""
    return "-".join(filter(None, (RESOURCES[key.kind].kind.lower(), key.namespace, key.name))) + ".yaml"


def title(key: ObjectSubject) -> str:
    return f"{RESOURCES[key.kind].kind} {'/'.join(filter(None, (key.namespace, key.name)))}"
