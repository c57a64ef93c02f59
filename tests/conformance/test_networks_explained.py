"""Every filter of every example of secondary networks goes back to the Pod, the policies and the rules behind it."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.conformance.stories import read_once

from sluice.contracts.explaining import Held
from sluice.contracts.groups import Member
from sluice.contracts.ids import NEVER
from sluice.contracts.tracing import DecidingRule
from sluice.dataplane.tc.content import Content
from sluice.dataplane.tc.engine import InterfaceKey
from sluice.dataplane.tc.filter import FilterKey, Hook, Standings
from sluice.kube.manifest import Document
from sluice.lab import reading
from sluice.lab.playing import world_of
from sluice.runtime.telling import NotOurs
from sluice.services.node_tc.explaining import Explaining
from sluice.services.node_tc.keeper import Device
from sluice.testkit.expanders import story as told_as_story
from sluice.testkit.tc_node import TcNode

HERE = Path(__file__).parent
STORIES = read_once("networks")
EXAMPLE = HERE.parents[1] / "examples" / "secondary-networks"


class Node:
    """A programmer and its keeper, whose kernel did what the plans say."""

    upto = NEVER

    def __init__(self, made: TcNode) -> None:
        self._made = made
        self.devices = {key: Device(f"rep-{index}", index) for index, key in enumerate(sorted(made.mirrors), start=1)}

    @property
    def interfaces(self) -> Mapping[InterfaceKey, Member]:
        return self._made.engine.interfaces

    def contents(self, key: InterfaceKey) -> Mapping[Hook, Content]:
        return self._made.engine.contents(key)

    def owners(self, key: InterfaceKey, hook: Hook, where: FilterKey, cookie: bytes) -> tuple[DecidingRule, ...]:
        return self._made.engine.owners(key, hook, where, cookie)

    def standings(self, key: InterfaceKey) -> Mapping[Hook, Standings]:
        return {hook: dict(mirror.filters) for hook, mirror in self._made.mirrors[key].items()}


async def explained(node: Node) -> int:
    """How many filters there are, each of which goes back."""
    explaining = Explaining(node, node, asyncio.Lock())  # type: ignore[arg-type]  # what it asks of both
    found: list[Held] = []
    after = ""
    while True:
        page = await explaining.page(after, 20)
        found += page.items
        after = page.more
        if not after:
            break
    assert len(found) == sum(len(one) for key in node.devices for one in node.standings(key).values())
    for one in found:
        assert one.pods, one
        assert one.says, one
        assert one.does, one
        if one.kind in ("address", "port"):
            assert one.rules, one
            assert all(rule.index is not None for rule in one.rules), one
        elif one.kind == "root" or (one.kind == "rest" and one.says.startswith("drops")):
            assert one.rules, one
            assert all(rule.index is None for rule in one.rules), one
        alone = await explaining.meaning(one.line)
        assert (alone.kind, alone.pods, alone.rules, alone.places) == (one.kind, one.pods, one.rules, one.places)
    return len(found)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_every_filter_of_a_scenario(story: reading.Story) -> None:
    world = world_of(story.scenario.spec)
    for document in (*story.objects, *(one for told in story.steps for one in told.apply)):
        world.put(document)
    events = told_as_story(*(document.object for document in world.objects.values()))
    told = [await explained(Node(TcNode(events, name=node).apply())) for node in world.nodes]
    assert sum(told) or story.name in ("nobody", "refused", "storage"), story.name


async def test_every_filter_of_the_example() -> None:
    documents = [each for each in reading.load_manifests(EXAMPLE, str(EXAMPLE)) if isinstance(each, Document)]
    nodes = {each.object.node for each in documents if each.kind == "pods"}  # type: ignore[union-attr]  # Pods
    events = told_as_story(*(document.object for document in documents))
    assert sum([await explained(Node(TcNode(events, name=node).apply())) for node in nodes]) > 40


async def test_a_filter_is_known_by_what_tc_shows_of_it() -> None:
    story = next(one for one in STORIES if one.name == "ports")
    world = world_of(story.scenario.spec)
    for document in (*story.objects, *(one for told in story.steps for one in told.apply)):
        world.put(document)
    events = told_as_story(*(document.object for document in world.objects.values()))
    node = next(made for name in world.nodes if (made := Node(TcNode(events, name=name).apply())).devices)
    explaining = Explaining(node, node, asyncio.Lock())  # type: ignore[arg-type]  # what it asks of both
    key, device = next(iter(node.devices.items()))
    (root,) = [one for one in node.standings(key)[Hook.EGRESS] if one.chain == 0]
    shown = f"filter protocol all pref {root.pref} flower chain 0 handle 0x1 "
    cookie = node.standings(key)[Hook.EGRESS][root].body.cookie.hex()
    for text in (shown, f"0/{root.pref}/0x1", f"0/{root.pref}", f"\tcookie {cookie}"):
        found = await explaining.meaning(f"dev {device.name} egress {text}")
        assert (found.kind, found.places) == ("root", (f"dev {device.name} egress",)), text
    everywhere = await explaining.meaning(shown)
    assert len(everywhere.places) == 2 * len(node.devices)
    for text, why in (("0/1/0x1", "Sluice has no such filter"), ("  not_in_hw", "does not say which filter")):
        with pytest.raises(NotOurs, match=why):
            await explaining.meaning(text)
    with pytest.raises(NotOurs, match="not a value of `more`"):
        await explaining.page("nonsense", 5)
