"""Manifests of a folder, put back to what they were, document by document; everything else stays as it is written."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from sluice.contracts.kinds import RESOURCES
from sluice.grouping.events import ObjectKey, key_of
from sluice.kube import yaml_text
from sluice.kube.digest import is_manifest
from sluice.kube.manifest import Document, parse

Wanted = Mapping[ObjectKey, bytes]
"""Objects and what they should be, JSON; empty: not there."""

_OF_SERVER = ("uid", "resourceVersion", "creationTimestamp", "generation", "selfLink", "managedFields")
"""Fields of metadata that a server sets."""


class NotRestorable(ValueError):
    """The folder cannot be put right by a program: where, why, and what to do."""


class Edit(NamedTuple):
    """A file, and its new text; None: it goes."""

    file: Path
    text: str | None


def manifest(body: bytes) -> str:
    """The object as people write it, YAML."""
    said: dict[str, Any] = msgspec.json.decode(body)
    said.pop("status", None)
    said["metadata"] = {key: value for key, value in said["metadata"].items() if key not in _OF_SERVER}
    return str(yaml.safe_dump(said, sort_keys=False))


def edits(folder: Path, wanted: Wanted) -> list[Edit]:
    """What must be written so that the folder says what is wanted.

    Raises:
        NotRestorable
    """
    missing = {key: body for key, body in wanted.items() if body}
    found: list[Edit] = []
    for file in sorted(path for path in folder.rglob("*") if is_manifest(path.relative_to(folder).as_posix())):
        text = file.read_text()
        after = _edited(file, text, wanted, missing)
        if after != text:
            found.append(Edit(file, after if after.strip() else None))
    return [*found, *(Edit(folder / _named(key), manifest(body)) for key, body in missing.items())]


def write(changes: list[Edit]) -> None:
    """Write them, each file at once."""
    for file, text in changes:
        if text is None:
            file.unlink()
        else:
            new = file.with_name(f".{file.name}.new")
            new.write_text(text)
            new.replace(file)


def _edited(file: Path, text: str, wanted: Wanted, missing: dict[ObjectKey, bytes]) -> str:
    after = text
    pieces = [text] if file.suffix == ".json" else [chunk.text for chunk in yaml_text.chunks(text)]
    for piece in pieces:
        held = list(_keys(piece, file.name))
        hit = [key for key in held if key in wanted]
        if not hit:
            continue
        if len(held) > 1 or file.suffix == ".json":
            raise NotRestorable(f"{file}: {_title(hit[0])} stands in a list or in JSON; put it right by hand")
        missing.pop(hit[0], None)
        body = wanted[hit[0]]
        begin = "---\n" if piece.startswith("---") else ""
        after = after.replace(piece, f"{begin}{manifest(body)}" if body else "", 1)
    return after


def _keys(piece: str, name: str) -> Iterator[ObjectKey]:
    for parsed in parse(piece, name):
        if isinstance(parsed, Document):
            yield key_of(parsed.object)


def _named(key: ObjectKey) -> str:
    return "-".join(filter(None, (RESOURCES[key.kind].kind.lower(), key.namespace, key.name))) + ".yaml"


def _title(key: ObjectKey) -> str:
    return f"{RESOURCES[key.kind].kind} {'/'.join(filter(None, (key.namespace, key.name)))}"
