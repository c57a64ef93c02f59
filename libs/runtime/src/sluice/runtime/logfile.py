"""A log file that is appended to in whole lines and rotated when full; it is reopened if something moved it.

Packets never wait for the disk here: callers write outside the packet path.
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
"""Only those who may read the node's logs may see who talks to whom."""


class Limits(Struct, frozen=True, kw_only=True):
    size_bytes: int
    backups: int
    """Number of rotated files to keep."""

    age_s: float
    """Rotated files are removed after this; 0: never."""

    compress: bool
    """Compress rotated files except the newest, which log followers may not have finished reading."""


class LogFile:
    """For one thread at a time."""

    def __init__(self, path: Path, limits: Limits, head: Callable[[], bytes] = bytes) -> None:
        """`head` returns what every file begins with; it is also appended to a file from an earlier run."""
        self.path, self._limits, self._head = path, limits, head
        self._file: int | None = None
        self._inode = (0, 0)

    def append(self, lines: bytes, *, in_head: bool = False) -> None:
        """Append the lines. With `in_head`, a new file's head already contains them.

        Raises:
            OSError: they were not written, or not completely.
        """
        file, is_new = self._ready(len(lines))
        if is_new and in_head:
            return
        rest = memoryview(lines)
        while rest:
            rest = rest[os.write(file, rest) :]

    def tidy(self) -> None:
        """Compress rotated files, and remove those that are too many or too old."""
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
        """The open file, with room for so many bytes, and whether it was just opened."""
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
        """Whether something else has moved or removed the file."""
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
