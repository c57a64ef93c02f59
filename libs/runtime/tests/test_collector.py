"""The collector rests while a fold is filled, and still finds what a fold that was forgotten left behind."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from sluice.runtime import collector


class Knot:
    """Something that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    collector.resume()
    gc.unfreeze()


def test_it_rests_until_it_is_resumed():
    collector.suspend()
    assert not gc.isenabled()

    collector.resume()
    assert gc.isenabled()


def test_what_was_made_meanwhile_is_not_looked_at():
    collector.suspend()
    knot = Knot()
    collector.resume()

    made, known = weakref.ref(knot), id(knot)
    assert all(id(one) != known for one in gc.get_objects())
    del knot
    gc.collect()
    assert made() is not None


def test_what_was_forgotten_is_freed_when_it_rests_again():
    collector.suspend()
    knot = Knot()
    collector.resume()

    forgotten = weakref.ref(knot)
    del knot
    collector.suspend()
    assert forgotten() is None


def test_to_resume_again_sets_nothing_apart():
    collector.suspend()
    collector.resume()
    apart = gc.get_freeze_count()
    later = [Knot() for _ in range(1_000)]
    collector.resume()

    assert len(later) == 1_000
    assert gc.get_freeze_count() <= apart
