"""A log file that is appended to in whole lines and rotated when it is full; it is reopened if somebody moved it.

Packets never wait for the disk here: callers write beside the packet path.
"""

import gzip
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import time

from msgspec import Struct

MODE = 0o640
"""Whoever may read a node's logs may read who talks to whom, and nobody else."""


class Limits(Struct, frozen=True, kw_only=True):
    size_bytes: int
    backups: int
    """How many full ones are kept beside it."""

    age_s: float
    """After which they are removed. 0: they are not."""

    compress: bool
    """All but the newest of the full ones: whoever follows the log may not be through with that."""


class LogFile:
    """One thread at a time."""

    def __init__(self, path: Path, limits: Limits, head: Callable[[], bytes] = bytes) -> None:
        """`head` is what every file begins with, also what there was before us goes on with it."""
        self.path, self._limits, self._head = path, limits, head
        self._file: int | None = None
        self._inode = (0, 0)

    def append(self, lines: bytes, *, in_head: bool = False) -> None:
        """The lines are in the file. With `in_head`, the head says what they say.

        Raises:
            OSError: they are not, or not all of them.
        """
        file, is_new = self._ready(len(lines))
        if is_new and in_head:
            return
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(file, rest) :]

    def tidy(self) -> None:
        """Compress what is to be compressed, and remove what is too much or too old."""
        full = sorted(self._full(), key=lambda path: path.name)
        for path in full[:-1] if self._limits.compress else ():
            if path.suffix != ".gz":
                _compress(path)
        full = sorted(self._full(), key=lambda path: path.name)
        oldest = time() - self._limits.age_s if self._limits.age_s else 0
        for place, path in enumerate(reversed(full)):
            if place >= self._limits.backups or path.stat().st_mtime < oldest:
                path.unlink()

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _ready(self, size: int) -> tuple[int, bool]:
        """The file, with room for so many bytes, and whether it was opened just now."""
        if self._file is not None and self._moved():
            self.close()
        is_new = self._file is None
        file = self._open() if self._file is None else self._file
        held = os.fstat(file).st_size
        if held and held + size > self._limits.size_bytes:
            self.close()
            self.path.rename(self._backup())
            file, is_new = self._open(), True
        return file, is_new

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
        stat = os.fstat(self._file)
        self._inode = stat.st_dev, stat.st_ino
        if head := self._head():
            os.write(self._file, head)
        return self._file

    def _moved(self) -> bool:
        """Somebody else has moved or removed it."""
        try:
            stat = self.path.stat()
        except FileNotFoundError:
            return True
        return (stat.st_dev, stat.st_ino) != self._inode

    def _backup(self) -> Path:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")
        return self.path.with_name(f"{self.path.stem}-{now}{self.path.suffix}")

    def _full(self) -> list[Path]:
        stem, suffix = self.path.stem, self.path.suffix
        found = (*self.path.parent.glob(f"{stem}-*{suffix}"), *self.path.parent.glob(f"{stem}-*{suffix}.gz"))
        return list(found)


def _compress(path: Path) -> None:
    target = path.with_name(path.name + ".gz")
    half = target.with_suffix(".half")
    with path.open("rb") as source, gzip.open(half, "wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
    half.chmod(MODE)
    os.utime(half, (path.stat().st_atime, path.stat().st_mtime))
    half.replace(target)
    path.unlink()
