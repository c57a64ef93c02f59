"""Restores the manifests of a folder to an earlier state, document by document; everything else stays as written."""

from pathlib import Path
from typing import NamedTuple

from sluice.kube.digest import is_manifest
from sluice.kube.editing import NotEditable, Wanted, edited, manifest

__all__ = ["Edit", "NotEditable", "edits", "manifest", "write"]


class Edit(NamedTuple):
    """A file and its new text; None deletes the file."""

    file: Path
    text: str | None


def edits(folder: Path, wanted: Wanted) -> list[Edit]:
    """The changes that give the folder the wanted contents.

    Raises:
        NotEditable
    """
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    files = {path: (folder / path).read_text() for path in paths if is_manifest(path)}
    return [Edit(folder / path, text) for path, text in edited(files, wanted).items()]


def write(changes: list[Edit]) -> None:
    """Write the changes, each file atomically."""
    for file, text in changes:
        if text is None:
            file.unlink()
        else:
            new = file.with_name(f".{file.name}.new")
            new.write_text(text)
            new.replace(file)
