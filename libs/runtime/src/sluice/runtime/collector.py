"""Pauses the garbage collector for folds of millions of objects.

The collector examines all new objects, and all objects whenever their number grew by a quarter. While a service reads a
cluster, that doubles its work and finds nothing, since reference counting frees at once what a fold drops. So the
collector is paused while inputs are read, and never examines the objects made of them.
"""

import gc

__all__ = ["resume", "suspend"]


def suspend() -> None:
    """The collector rests from now on. What was set apart when it rested before is looked at now, a last time."""
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
    gc.disable()


def resume() -> None:
    """The collector works again, on what is made from now on. Again is once."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
