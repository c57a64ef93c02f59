"""Plays a scenario's objects step by step, without a lab to run them in."""

import uuid
from collections.abc import Iterator

from sluice.lab.reading import Story, Told, found
from sluice.lab.scenario import Spec
from sluice.lab.world import World


def world_of(spec: Spec) -> World:
    """The scenario's world before there are any objects."""
    return World(spec.nodes, lambda: str(uuid.uuid4()), lambda: "", spec.outside, spec.dns, networks=spec.networks)


def play(story: Story) -> Iterator[tuple[Told, World]]:
    """Each step, with the world after the step's changes; it is one world, changed in place."""
    world = world_of(story.scenario.spec)
    for document in story.objects:
        world.put(document)
    for told in story.steps:
        for name in told.step.delete:
            world.remove(found(world, name))
        for document in told.apply:
            world.put(document)
        world.records |= told.step.dns
        yield told, world
