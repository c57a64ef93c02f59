"""A snapshot of a folder of manifests: its files with their signatures, and what is unreadable."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sluice.kube.digest import is_manifest
from sluice.kube.nodes import MAX_DOCUMENT_BYTES

MAX_LEVELS = 32
"""Maximum nesting of folders."""


class Signature(NamedTuple):
    """Changes whenever the file's content may have changed."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int


class FolderGone(OSError):
    """The folder itself is unreadable, so nothing is known about its contents."""


class Unreadable(OSError):
    """The file exists but is unreadable; the message says why and what to do."""


class Look(NamedTuple):
    files: Mapping[str, Signature]
    """Manifests by relative path, with `/` as the separator."""

    troubles: Mapping[str, str]
    """Files and folders, by path, about which nothing more is known (including everything inside), with the reason."""

    def knows(self, path: str) -> bool:
        """If the file existed, it would be in `files`."""
        parts = path.split("/")
        return not any("/".join(parts[:count]) in self.troubles for count in range(1, len(parts) + 1))


def look(root: Path) -> Look:
    """Take a snapshot of the folder, following symbolic links.

    Raises:
        FolderGone: it cannot be listed; the message says why and what to do.
    """
    files: dict[str, Signature] = {}
    troubles: dict[str, str] = {}
    try:
        top = root.stat()
        entries = _listed(root)
    except OSError as error:
        raise FolderGone(f"{root}: {error.strerror or error}; make the folder readable, or name another one") from error
    _walk("", entries, ((top.st_dev, top.st_ino),), files, troubles)
    return Look(files, troubles)


def _listed(folder: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _walk(
    prefix: str,
    entries: list[os.DirEntry[str]],
    above: tuple[tuple[int, int], ...],
    files: dict[str, Signature],
    troubles: dict[str, str],
) -> None:
    for entry in entries:
        if entry.name.startswith("."):
            continue
        path = prefix + entry.name
        try:
            path.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(path).decode(errors="replace")
            if shown.endswith((".yaml", ".yml", ".json")):
                troubles[shown] = "the name is not UTF-8; rename the file"
            continue
        try:
            found = entry.stat()
        except FileNotFoundError:
            if entry.is_symlink() and is_manifest(path):
                troubles[path] = "a link to a file that does not exist; correct it, or remove it"
            continue  # else it was deleted between scandir and stat
        except OSError as error:
            if is_manifest(path):
                troubles[path] = f"{error.strerror or error}; make it readable, or remove it"
            continue
        here = (found.st_dev, found.st_ino)
        if stat.S_ISDIR(found.st_mode):
            if reason := _refused(here, above):
                troubles[path] = reason
                continue
            try:
                inside = _listed(entry.path)
            except FileNotFoundError:
                continue
            except OSError as error:
                troubles[path] = f"{error.strerror or error}; make the folder readable, or remove it"
                continue
            _walk(f"{path}/", inside, (*above, here), files, troubles)
        elif is_manifest(path):
            if stat.S_ISREG(found.st_mode):
                files[path] = Signature(*here, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            else:
                troubles[path] = "not a regular file; replace or rename it"


def _refused(here: tuple[int, int], above: tuple[tuple[int, int], ...]) -> str | None:
    if here in above:
        return "a link to a folder that contains it; remove it"
    if len(above) >= MAX_LEVELS:
        return f"more than {MAX_LEVELS} folders deep; move it up"
    return None


def read(root: Path, path: str, expected: Signature) -> bytes | None:
    """The file's content, up to one byte over the size limit; None if the file no longer has the signature.

    Raises:
        Unreadable: the file exists but is unreadable.
    """
    try:
        # O_NONBLOCK: if a pipe has replaced the file, opening it must not wait for a writer.
        descriptor = os.open(root / path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unreadable(f"{error.strerror or error}; make it readable, or remove it") from error
    try:
        with os.fdopen(descriptor, "rb") as file:
            content = file.read(MAX_DOCUMENT_BYTES + 1)
            found = os.fstat(descriptor)
    except OSError as error:
        raise Unreadable(f"{error.strerror or error}; make it readable, or remove it") from error
    same = Signature(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns) == expected
    return content if same else None
