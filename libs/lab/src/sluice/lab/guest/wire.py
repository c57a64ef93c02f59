"""What passes between a guest and who holds it: pickles with their length, both ways, one answer to each call.

Pickles, because both ends are the same interpreter running the same files; nothing else ever reaches the channel. In
pieces that the other end confirms, because a serial line of User-mode Linux drops what is not read in time.
"""

import pickle
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

LENGTH = struct.Struct("!I")

PIECE = 2048
"""Bytes between two confirmations: half of what the line discipline of a tty holds (N_TTY_BUF_SIZE)."""

CONFIRMED = b"\x06"


class Call(NamedTuple):
    module: str
    file: str
    """The source file of the module, which need not be one that could be imported by its name."""

    function: str
    arguments: bytes
    """What the function takes, as a pickle of its own: it may need the module to be there."""


class Returned(NamedTuple):
    value: Any
    """Whatever the function returned; anything that pickles."""


class Raised(NamedTuple):
    trace: str


class Gone(Exception):
    """The other end is no longer there."""


Frame = Call | Returned | Raised


class Channel(NamedTuple):
    """One end. Both functions may do less than they are asked for; `read` returns nothing at the end."""

    read: Callable[[int], bytes]
    write: Callable[[bytes], int]

    def send(self, frame: Frame) -> None:
        """Send it whole.

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
