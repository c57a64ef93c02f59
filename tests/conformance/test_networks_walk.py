"""What the filters of each node do to the packets of the scenarios about secondary networks: the second witness."""

from ipaddress import ip_address

import pytest
from tests.conformance.stories import read_once

from sluice.lab import checks, reading
from sluice.lab.ends import AT, ends_of
from sluice.lab.playing import play
from sluice.testkit.expanders import story as told_as_story
from sluice.testkit.tc_node import TcNode, frame

STORIES = read_once("networks")


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_filters_agree(story: reading.Story):
    asked = 0
    for told, world in play(story):
        events = told_as_story(*(document.object for document in world.objects.values()))
        nodes = [TcNode(events, name=node).apply() for node in world.nodes]
        for question in checks.probes(told.step, ends_of(world)):
            if AT in question.from_ + question.to:
                asked += 1
                assert _passes(nodes, question) is (question.expect == "Allowed"), (told.name, question)
    assert asked


def _passes(nodes: list[TcNode], question: checks.Question) -> bool:
    """Out of the one interface, and into the other, each on its node."""
    sent = frame(question.source, question.address, question.protocol, question.port)
    passed = True
    for address, out in ((question.source, True), (question.address, False)):
        for node in nodes:
            for key, member in node.engine.interfaces.items():
                if str(ip_address(address)) in member.addresses:
                    device = node.device(key)
                    passed = passed and (device.sends(sent) if out else device.receives(sent))
    for node in nodes:
        node.tracker.forget()
    return passed
