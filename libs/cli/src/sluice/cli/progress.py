"""Progress of reading many files: one line on the terminal, rewritten in place, and removed at the end."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

AFTER_S, EVERY_S = 1.0, 0.2
"""Seconds before the line first appears, and between updates."""

_ANEW = "\r\x1b[K"
"""To the start of the line, and clear it (ECMA-48, EL)."""


@contextmanager
def shown(clock: Callable[[], float] = time.monotonic) -> Iterator[Callable[[str], None]]:
    """A function that shows its argument on standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    due = clock() + AFTER_S
    told = False

    def tell(words: str) -> None:
        nonlocal due, told
        if (now := clock()) >= due:
            sys.stderr.write(_ANEW + words)
            sys.stderr.flush()
            due, told = now + EVERY_S, True

    try:
        yield tell
    finally:
        if told:
            sys.stderr.write(_ANEW)
            sys.stderr.flush()
