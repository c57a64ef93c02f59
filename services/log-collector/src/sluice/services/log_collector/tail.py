"""One log that grows, is rotated, truncated or begun anew each day: its next lines, from where one was.

A file is known by its inode and its first bytes, whatever it is called. It is held open, so that what rotation renames
or removes is read to its end all the same. Lines come in pieces; a piece that was given out comes again, exactly as it
was, until it is acknowledged, after a restart too.
"""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Self

from msgspec import Struct

LONGEST_LINE_BYTES = 1 << 20
"""What is longer is no line of ours, and is skipped."""

PIECE_BYTES = 256 << 10
PIECE_LINES = 500
"""Of one piece, at most: what is held in memory, and one message on the bus."""

HEAD_BYTES = 64
"""The first bytes that tell two files of one inode apart; np.log begins with a time to the microsecond."""


class Place(Struct, frozen=True, kw_only=True):
    """How far a file was read."""

    inode: int
    head: str
    """Digest of the first bytes; empty while there are fewer."""

    offset: int
    name: str
    """What it was called, for people."""


class Piece(Struct, frozen=True, kw_only=True):
    """Consecutive lines of one file."""

    id: str
    inode: int
    start: int
    end: int
    lines: tuple[bytes, ...]
    skipped_bytes: int = 0
    """Of lines that were too long, before the others."""


class TailState(Struct, frozen=True, kw_only=True):
    """What is kept over restarts: the places, and the piece that was given out and perhaps published."""

    places: tuple[Place, ...] = ()
    given: tuple[int, int, int] | None = None
    """Inode, start, end."""


class _File:
    def __init__(self, path: Path, opened: BinaryIO, offset: int) -> None:
        self.path, self.opened, self.offset = path, opened, offset
        self.inode = os.fstat(opened.fileno()).st_ino

    @classmethod
    def at(cls, path: Path, offset: int = 0) -> Self:
        return cls(path, path.open("rb"), offset)

    @property
    def size(self) -> int:
        return os.fstat(self.opened.fileno()).st_size

    @property
    def removed(self) -> bool:
        return os.fstat(self.opened.fileno()).st_nlink == 0

    @property
    def head(self) -> str:
        """Empty while the file is too short to tell."""
        first = os.pread(self.opened.fileno(), HEAD_BYTES, 0)
        return sha256(first).hexdigest()[:16] if len(first) == HEAD_BYTES else ""


class Tail:
    """The files of a folder that match a pattern, the oldest first. No two of these for one log."""

    def __init__(self, folder: Path, pattern: str, state: TailState = TailState()) -> None:  # noqa: B008  # frozen
        self._folder, self._pattern = folder, pattern
        self._files: dict[int, _File] = {}
        self._given = state.given
        self.missing: list[str] = []
        """Files whose rest cannot be read any more, since the last `forget_missing`."""

        self._resume(state)

    @property
    def state(self) -> TailState:
        places = (
            Place(inode=one.inode, head=one.head, offset=one.offset, name=one.path.name) for one in self._files.values()
        )
        return TailState(places=tuple(sorted(places, key=lambda place: place.inode)), given=self._given)

    def next(self) -> Piece | None:
        """The next lines, or the ones that were given out and not acknowledged. None if there is no whole line.

        Raises:
            OSError: the folder cannot be read.
        """
        self._look()
        if self._given is not None:
            inode, start, end = self._given
            if inode in self._files and self._files[inode].size >= end:
                return self._piece(self._files[inode], start, end)
            self._given = None
        for file in self._in_order():
            piece = self._piece(file, file.offset, None)
            if piece is not None:
                self._given = (piece.inode, piece.start, piece.end)
                return piece
        return None

    def acknowledge(self, piece: Piece) -> None:
        """The piece is published."""
        if self._given == (piece.inode, piece.start, piece.end):
            self._given = None
            if piece.inode in self._files:
                self._files[piece.inode].offset = piece.end

    def forget_missing(self) -> list[str]:
        found, self.missing = self.missing, []
        return found

    def close(self) -> None:
        for file in self._files.values():
            file.opened.close()
        self._files.clear()

    # ------------------------------------------------------------------------------------------------------- files

    def _paths(self) -> Iterator[Path]:
        yield from sorted(self._folder.glob(self._pattern))

    def _resume(self, state: TailState) -> None:
        places = {place.inode: place for place in state.places}
        for path in self._paths():
            file = _File.at(path)
            place = places.pop(file.inode, None)
            if place is not None and place.head in ("", file.head) and place.offset <= file.size:
                file.offset = place.offset
            elif place is not None:
                self.missing.append(f"{place.name}: it was begun anew while nobody read it")
            self._files[file.inode] = file
        self.missing += [f"{place.name}: it went while nobody read it" for place in places.values()]
        if self._given is not None:
            inode, start, _ = self._given
            if inode not in self._files or self._files[inode].offset != start:
                self._given = None

    def _look(self) -> None:
        """Take note of files that came, were truncated or went."""
        for path in self._paths():
            try:
                inode = path.stat().st_ino
            except FileNotFoundError:
                continue  # renamed meanwhile
            known = self._files.get(inode)
            if known is None:
                try:
                    file = _File.at(path)
                except FileNotFoundError:
                    continue
                self._files[file.inode] = file
            else:
                known.path = path
        for file in tuple(self._files.values()):
            if file.size < file.offset:
                self.missing.append(f"{file.path.name}: it was truncated; what was not read before that is lost")
                file.offset = 0
                self._given = None
            elif file.removed and file.offset == file.size and self._given is None:
                file.opened.close()
                del self._files[file.inode]

    def _in_order(self) -> list[_File]:
        return sorted(self._files.values(), key=lambda one: (os.fstat(one.opened.fileno()).st_mtime_ns, one.path.name))

    def _piece(self, file: _File, start: int, end: int | None) -> Piece | None:
        """Lines from `start`, to `end` if it is said, else as many as make a piece."""
        if end is not None:
            if end - start > LONGEST_LINE_BYTES:
                return _made(file, start, end, (), end - start)
            data = os.pread(file.opened.fileno(), end - start, start)
            return _made(file, start, end, tuple(data.removesuffix(b"\n").split(b"\n")), 0)
        data = os.pread(file.opened.fileno(), PIECE_BYTES, start)
        whole = data[: data.rfind(b"\n") + 1]
        if not whole:
            return self._long_line(file, start) if len(data) == PIECE_BYTES else None
        lines = whole.split(b"\n")[:-1][:PIECE_LINES]
        return _made(file, start, start + sum(len(line) + 1 for line in lines), tuple(lines), 0)

    def _long_line(self, file: _File, start: int) -> Piece | None:
        """A line that is longer than a piece: whole if it ends in time, else what there is of it is skipped."""
        data = os.pread(file.opened.fileno(), LONGEST_LINE_BYTES + 1, start)
        if (end := data.find(b"\n")) >= 0:
            return _made(file, start, start + end + 1, (data[:end],), 0)
        if len(data) <= LONGEST_LINE_BYTES:
            return None  # it may end yet
        return _made(file, start, start + len(data), (), len(data))


def _made(file: _File, start: int, end: int, lines: tuple[bytes, ...], skipped: int) -> Piece:
    made = f"{file.inode}-{file.head or 'new'}-{start}-{end}"
    return Piece(id=made, inode=file.inode, start=start, end=end, lines=lines, skipped_bytes=skipped)
