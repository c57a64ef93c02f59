"""The garbage collector, kept away from folds of millions of objects.

It looks at everything made since it last looked, and at everything there is each time that grew by a quarter. While a
service takes a cluster in this doubles its work and finds nothing: what a fold lets go of is freed at once, by its
reference count. So it rests while inputs are read, and what was made of them it never looks at.
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
