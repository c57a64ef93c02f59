"""Pauses the garbage collector while a command reads a cluster.

The collector examines all objects again and again while their number grows, which takes up to half of the time, and
finds nothing: what is read is kept until the command ends.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """No garbage is collected inside, except by reference counts. May be nested."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
