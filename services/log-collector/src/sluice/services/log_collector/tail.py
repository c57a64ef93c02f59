"""Reads a log that grows, is rotated, truncated or started anew each day: yields the next lines from a saved position.

A file is identified by its inode and its first bytes, whatever its name. It is held open, so that it is read to its end
even if rotation renames or deletes it. Lines come in pieces; a piece is returned again, unchanged, until it is
acknowledged, even after a restart.
"""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Self

from msgspec import Struct

LONGEST_LINE_BYTES = 1 << 20
"""Anything longer cannot be a line of ours, and is skipped."""

PIECE_BYTES = 256 << 10
PIECE_LINES = 500
"""Limits of one piece: what is held in memory, and one message on the bus."""

HEAD_BYTES = 64
"""The first bytes distinguish files that reuse an inode; np.log starts with a time in microseconds."""


class Place(Struct, frozen=True, kw_only=True):
    """How far a file was read."""

    inode: int
    head: str
    """Digest of the first bytes; empty while there are fewer."""

    offset: int
    name: str
    """The file's name, for people."""


class Piece(Struct, frozen=True, kw_only=True):
    """Consecutive lines of one file."""

    id: str
    inode: int
    start: int
    end: int
    lines: tuple[bytes, ...]
    skipped_bytes: int = 0
    """Bytes of overlong lines in front of the others."""


class TailState(Struct, frozen=True, kw_only=True):
    """The state kept over restarts: the positions, and the piece that was returned and perhaps published."""

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
        """Empty while the file is too short."""
        first = os.pread(self.opened.fileno(), HEAD_BYTES, 0)
        return sha256(first).hexdigest()[:16] if len(first) == HEAD_BYTES else ""


class Tail:
    """The files of a folder that match a pattern, oldest first. Use only one instance per log."""

    def __init__(self, folder: Path, pattern: str, state: TailState = TailState()) -> None:  # noqa: B008  # frozen
        self._folder, self._pattern = folder, pattern
        self._files: dict[int, _File] = {}
        self._given = state.given
        self.missing: list[str] = []
        """Files whose unread part is lost, since the last `forget_missing`."""

        self._resume(state)

    @property
    def state(self) -> TailState:
        places = (
            Place(inode=one.inode, head=one.head, offset=one.offset, name=one.path.name) for one in self._files.values()
        )
        return TailState(places=tuple(sorted(places, key=lambda place: place.inode)), given=self._given)

    def next(self) -> Piece | None:
        """The next lines, or those that were returned but not acknowledged. None if there is no complete line.

        Raises:
            OSError: the folder is unreadable.
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
        """Note that the piece was published."""
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
                self.missing.append(f"{place.name}: it was recreated while log-collector did not run")
            self._files[file.inode] = file
        self.missing += [f"{place.name}: it was removed while log-collector did not run" for place in places.values()]
        if self._given is not None:
            inode, start, _ = self._given
            if inode not in self._files or self._files[inode].offset != start:
                self._given = None

    def _look(self) -> None:
        """Detect files that were created, truncated or deleted."""
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
                self.missing.append(f"{file.path.name}: it was truncated; lines that were not read before are lost")
                file.offset = 0
                self._given = None
            elif file.removed and file.offset == file.size and self._given is None:
                file.opened.close()
                del self._files[file.inode]

    def _in_order(self) -> list[_File]:
        return sorted(self._files.values(), key=lambda one: (os.fstat(one.opened.fileno()).st_mtime_ns, one.path.name))

    def _piece(self, file: _File, start: int, end: int | None) -> Piece | None:
        """Lines from `start` to `end`, or as many as make a piece if `end` is None."""
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
        """A line longer than a piece: returned whole if it ends within the limit, else skipped as far as it goes."""
        data = os.pread(file.opened.fileno(), LONGEST_LINE_BYTES + 1, start)
        if (end := data.find(b"\n")) >= 0:
            return _made(file, start, start + end + 1, (data[:end],), 0)
        if len(data) <= LONGEST_LINE_BYTES:
            return None  # it may still end
        return _made(file, start, start + len(data), (), len(data))


def _made(file: _File, start: int, end: int, lines: tuple[bytes, ...], skipped: int) -> Piece:
    made = f"{file.inode}-{file.head or 'new'}-{start}-{end}"
    return Piece(id=made, inode=file.inode, start=start, end=end, lines=lines, skipped_bytes=skipped)
