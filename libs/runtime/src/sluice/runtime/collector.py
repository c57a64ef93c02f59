"""Pauses the garbage collector for folds of millions of objects.

The collector examines all new objects, and all objects whenever their number has grown by a quarter. While a service
reads a cluster, that doubles its work and finds nothing, since reference counting frees at once what a fold drops. So
the collector is paused while inputs are read, and never examines the objects made from them.
"""

import gc

__all__ = ["resume", "suspend"]


def suspend() -> None:
    """Pause the collector. Objects exempted after an earlier pause are examined now, one last time."""
    if gc.get_freeze_count():
        gc.unfreeze()
        gc.collect()
    gc.disable()


def resume() -> None:
    """Resume the collector, for objects created from now on. Idempotent."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
