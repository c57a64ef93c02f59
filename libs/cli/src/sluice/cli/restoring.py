"""Manifests of a folder, put back to what they were, document by document; everything else stays as it is written."""

from pathlib import Path
from typing import NamedTuple

from sluice.kube.digest import is_manifest
from sluice.kube.editing import NotEditable, Wanted, edited, manifest

__all__ = ["Edit", "NotEditable", "edits", "manifest", "write"]


class Edit(NamedTuple):
    """A file, and its new text; None: it goes."""

    file: Path
    text: str | None


def edits(folder: Path, wanted: Wanted) -> list[Edit]:
    """What must be written so that the folder says what is wanted.

    Raises:
        NotEditable
    """
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    files = {path: (folder / path).read_text() for path in paths if is_manifest(path)}
    return [Edit(folder / path, text) for path, text in edited(files, wanted).items()]


def write(changes: list[Edit]) -> None:
    """Write them, each file at once."""
    for file, text in changes:
        if text is None:
            file.unlink()
        else:
            new = file.with_name(f".{file.name}.new")
            new.write_text(text)
            new.replace(file)
