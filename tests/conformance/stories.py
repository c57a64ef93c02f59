"""The scenarios of this folder, read once for all tests that ask for them: that takes seconds."""

import functools
from pathlib import Path

from sluice.lab import reading
from sluice.lab.reading import Story

HERE = Path(__file__).parent


@functools.cache
def _all() -> tuple[Story, ...]:
    return tuple(reading.read([HERE]))


def read_once(folder: str = "") -> list[Story]:
    """All of them, or those of one folder."""
    return [story for story in _all() if folder in ("", folder_of(story))]


def folder_of(story: Story) -> str:
    return Path(story.file).parent.name


def called(story: Story) -> str:
    """Its name, and no other's."""
    return f"{folder_of(story)}/{story.name}"
