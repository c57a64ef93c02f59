"""Our encoding is what tc(8) sends, and the kernel tells what it was given."""

from typing import Any

import pytest
from tests.tc import insidehooks

from sluice.drivers.tc.attributes import attributes
from sluice.lab.guest.guest import Guest
from sluice.testkit.tcfilters import SAMPLES

pytestmark = pytest.mark.guest

NO_ZONES = ("zone", "to track in a zone", "to commit", "to masked mark")
"""What a kernel without conntrack zones refuses."""


def test_the_kernel_tells_what_it_was_given(whole: Guest) -> None:
    assert whole.call(insidehooks.there_and_back, tuple(SAMPLES)) == {}


def test_a_kernel_without_zones_refuses_them_and_takes_the_rest(quick: Guest) -> None:
    refused = quick.call(insidehooks.there_and_back, tuple(SAMPLES))

    assert tuple(refused) == NO_ZONES
    assert all("Conntrack zones isn't enabled" in reason for reason in refused.values())


def test_our_bytes_are_those_of_tc(quick: Guest) -> None:
    """But for the order of attributes, flags of nests, and SKIP_HW, which our commands leave out."""
    sent = quick.call(insidehooks.what_tc_sends, tuple(SAMPLES))

    different = {name: pair for name, pair in sent.items() if meaning(pair[0]) != meaning(pair[1])}

    assert set(sent) == set(SAMPLES)
    assert {name: [meaning(one) for one in pair] for name, pair in different.items()} == {}


Tree = tuple[tuple[int, "Tree | bytes"], ...]

OPTIONS, ACT, ACTION_OPTIONS, FLAGS = 2, 3, 2, 22


def meaning(body: bytes) -> tuple[bytes, Tree]:
    """The head of a message, and its attributes as a sorted tree."""
    return body[:20], _tree(body[20:], {OPTIONS: {ACT: {None: {ACTION_OPTIONS: {}}}}})


def _tree(body: bytes, nests: dict[Any, Any]) -> Tree:
    found: list[tuple[int, Tree | bytes]] = []
    for kind, value in attributes(body):
        inner = nests.get(kind, nests.get(None))
        found.append((kind, value if inner is None else _tree(value, inner)))
    return tuple(sorted((pair for pair in found if pair[0] != FLAGS), key=lambda pair: pair[0]))
