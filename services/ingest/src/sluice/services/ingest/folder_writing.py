"""Changes an object in a folder of manifests: rewrites the document that holds it, or adds a file."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

from sluice.contracts.subjects import ObjectSubject
from sluice.kube.editing import NotEditable, edited, same
from sluice.kube.manifest import Document
from sluice.services.ingest import folder
from sluice.services.ingest.catalog import Catalog, Key
from sluice.services.ingest.changing import Refusal
from sluice.services.ingest.source import FolderSource

_BUSY = "the folder is being changed at this moment; try again"


class FolderWriter:
    """Refuses invalid objects like the webhook does, before anything is written."""

    def __init__(self, root: Path, catalog: Catalog, source: FolderSource) -> None:
        self._root, self._catalog, self._source = root, catalog, source

    async def put(self, key: Key, document: Document, known: bytes) -> bool:
        if same(known, document.body):
            return False
        if refusals := self._catalog.refusals(document):
            raise Refusal(422, "; ".join(f"{path}: {reason}" for path, reason in refusals))
        await asyncio.to_thread(self._write, {ObjectSubject(*key): document.body})
        return True

    async def delete(self, key: Key, known: bytes) -> None:
        if reason := self._catalog.stays(key):
            raise Refusal(422, reason)
        await asyncio.to_thread(self._write, {ObjectSubject(*key): b""})

    def _write(self, wanted: Mapping[ObjectSubject, bytes]) -> None:
        """Write the files that make the change.

        Raises:
            Refusal: somebody else is writing there, or a file is not writable.
        """
        try:
            seen = folder.look(self._root)
            files = {path: (self._root / path).read_text() for path in seen.files}
            changes = edited(files, wanted)
            if not self._source.has_read(seen) or folder.look(self._root) != seen:
                raise Refusal(409, _BUSY)
            if not changes:
                raise Refusal(
                    409, "no readable manifest in the folder contains it: it always exists, or its file has errors"
                )
            for path, text in changes.items():
                _replace(self._root / path, text)
        except NotEditable as error:
            raise Refusal(409, str(error)) from error
        except (OSError, UnicodeDecodeError) as error:
            raise Refusal(503, f"the folder cannot be written: {error}") from error


def _replace(file: Path, text: str | None) -> None:
    if text is None:
        file.unlink()
        return
    new = file.with_name(f".{file.name}.new")  # files whose name starts with a dot are not read
    new.write_text(text)
    new.replace(file)
