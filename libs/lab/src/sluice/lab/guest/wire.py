"""The protocol between a guest and its owner: length-prefixed pickles in both directions, one reply per call.

Pickles are safe here, because both ends are the same interpreter running the same files and nothing else reaches the
channel. They are sent in chunks that the other end confirms, because a serial line of User-mode Linux drops what is not
read in time.
"""

import pickle
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

LENGTH = struct.Struct("!I")

PIECE = 2048
"""Bytes per chunk: half of the buffer of a tty's line discipline (N_TTY_BUF_SIZE)."""

CONFIRMED = b"\x06"


class Call(NamedTuple):
    module: str
    file: str
    """The source file of the module, which need not be importable by its name."""

    function: str
    arguments: bytes
    """The function's arguments, pickled separately because unpickling may need the module."""


class Returned(NamedTuple):
    value: Any
    """The function's result; anything picklable."""


class Raised(NamedTuple):
    trace: str


class Gone(Exception):
    """The other end is gone."""


Frame = Call | Returned | Raised


class Channel(NamedTuple):
    """One end. Both functions may transfer less than asked; `read` returns nothing at the end."""

    read: Callable[[int], bytes]
    write: Callable[[bytes], int]

    def send(self, frame: Frame) -> None:
        """Send the whole frame.

        Raises:
            Gone: the channel ended.
        """
        body = pickle.dumps(frame)
        body = LENGTH.pack(len(body)) + body
        for start in range(0, len(body), PIECE):
            self._put(body[start : start + PIECE])
            self._exactly(1)

    def receive(self) -> Any:  # a Frame, by the word of the other end
        """The next frame.

        Raises:
            Gone: the channel ended.
        """
        piece = self._exactly(LENGTH.size)
        (missing,) = LENGTH.unpack(piece)
        body, room = b"", PIECE - LENGTH.size
        while missing:
            piece = self._exactly(min(missing, room))
            self._put(CONFIRMED)
            body, missing, room = body + piece, missing - len(piece), PIECE
        return pickle.loads(body)  # noqa: S301  # see the module's docstring

    def _put(self, body: bytes) -> None:
        while body:
            body = body[self.write(body) :]

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            part = self.read(count - len(found))
            if not part:
                raise Gone("the channel ended")
            found += part
        return found
