"""Equivalent variants of a story: order, repeats and intermediate steps must not change the final state.

A story is a list of events about objects. Law 1: a fold reaches the same state from all expansions of a story.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from sluice.contracts.ids import Revision
from sluice.contracts.objects import AnyObject
from sluice.contracts.subjects import ObjectSubject
from sluice.grouping.events import ObjectEvent, ObjectKey, key_of

Story = list[ObjectEvent]


class Expansion(NamedTuple):
    name: str
    events: Story


def story(*steps: AnyObject | ObjectKey, epoch: int = 1) -> Story:
    """One event per step: an object is put, or the object with a key is deleted."""
    return [_event(step, Revision(epoch, sequence)) for sequence, step in enumerate(steps, start=1)]


def _event(step: AnyObject | ObjectKey, at: Revision) -> ObjectEvent:
    if isinstance(step, ObjectSubject):
        return ObjectEvent(step, None, at)
    return ObjectEvent(key_of(step), step, at)


def outcome(events: Sequence[ObjectEvent]) -> dict[ObjectKey, ObjectEvent]:
    """The newest event of each object that exists at the end."""
    newest: dict[ObjectKey, ObjectEvent] = {}
    for event in sorted(events, key=lambda event: event.revision):
        newest[event.key] = event
    return {key: event for key, event in newest.items() if event.object is not None}


def reversed_(events: Sequence[ObjectEvent]) -> Story:
    """Newest events first."""
    return list(reversed(events))


def shuffled(events: Sequence[ObjectEvent], seed: int) -> Story:
    told = list(events)
    random.Random(seed).shuffle(told)
    return told


def repeated(events: Sequence[ObjectEvent], seed: int) -> Story:
    """Every event two or three times, including late repeats, otherwise in order."""
    chance = random.Random(seed)
    told: Story = []
    for place, event in enumerate(events):
        told += [event, event, events[chance.randrange(place + 1)]]
    return told


def split(events: Sequence[ObjectEvent]) -> Story:
    """Each replacement of an object as deletion and re-creation; revisions are doubled to make room."""
    told: Story = []
    exists: set[ObjectKey] = set()
    for event in events:
        epoch, sequence = event.revision
        if event.object is not None and event.key in exists:
            told.append(ObjectEvent(event.key, None, Revision(epoch, 2 * sequence - 1)))
        told.append(replace(event, revision=Revision(epoch, 2 * sequence)))
        (exists.discard if event.object is None else exists.add)(event.key)
    return told


def squashed(events: Sequence[ObjectEvent]) -> Story:
    """Only the newest event of each object, including deletions."""
    newest = {event.key: event.revision for event in sorted(events, key=lambda event: event.revision)}
    return [event for event in events if newest[event.key] == event.revision]


def expand(events: Sequence[ObjectEvent], *, seed: int) -> Iterator[Expansion]:
    """The story itself and all its variants; deterministic for a seed."""
    ways: dict[str, Callable[[], Story]] = {
        "in order": lambda: list(events),
        "reversed": lambda: reversed_(events),
        "shuffled": lambda: shuffled(events, seed),
        "repeated": lambda: repeated(events, seed),
        "split": lambda: split(events),
        "squashed": lambda: squashed(events),
        "split and shuffled": lambda: shuffled(split(events), seed),
        "repeated and shuffled": lambda: shuffled(repeated(events, seed), seed),
    }
    for name, tell in ways.items():
        yield Expansion(name, tell())
