"""The driver on a real kernel: plans are made in order, what others put there stays, what is ours is told apart."""

import re

import pytest
from tests.tc import insidehooks

from sluice.drivers.tc.actions import Count
from sluice.drivers.tc.capabilities import Capabilities
from sluice.drivers.tc.hooks import Placement
from sluice.lab.guest.guest import Guest

pytestmark = pytest.mark.guest


def test_a_kernel_says_what_it_can(whole: Guest, quick: Guest) -> None:
    assert whole.call(insidehooks.capabilities) == Capabilities(whole.release, zones=True)
    assert quick.call(insidehooks.capabilities) == Capabilities(quick.release, zones=False)


def test_hooks_are_opened_once_and_stay(quick: Guest) -> None:
    assert quick.call(insidehooks.open_twice) == (False, True, True)


def test_of_a_plan_that_is_made_again_nothing_changes(quick: Guest) -> None:
    first, again = quick.call(insidehooks.make_twice)

    assert first == again


def test_a_swap_is_one_message_and_the_old_generation_goes(quick: Guest) -> None:
    assert quick.call(insidehooks.swap) == [{0, 1}, {0, 1, 2}, {0, 2}]


def test_nothing_is_sent_after_a_refusal(quick: Guest) -> None:
    said, chains = quick.call(insidehooks.refuse)

    assert re.match(r"AddFilter chain 0x5000001 pref 100 protocol ip .*: the kernel refused: EINVAL", said), said
    assert chains == {0x5000001}, "the root was not to lead there"


def test_an_interface_that_went_is_named(quick: Guest) -> None:
    assert quick.call(insidehooks.gone) == ["NoSuchDevice", "NoSuchDevice", "nothing"]


def test_what_others_put_there_stays_and_what_is_in_our_way_goes(quick: Guest) -> None:
    found = quick.call(insidehooks.strangers)

    assert found.foreign == 2
    assert [(one.chain, one.kind) for one in found.strangers] == [(0x5000001, "matchall"), (0x5000001, "flower")]
    assert "masks" not in found.reasons
    assert found.left == ["flower", "matchall"]


def test_what_went_through_is_counted_by_reference(quick: Guest) -> None:
    counts = quick.call(insidehooks.counted)

    assert counts == {1: Count(3, 3 * 42), 2: Count(0, 0)}


def test_a_hook_that_the_hardware_does_not_take_is_in_software_as_a_whole(quick: Guest) -> None:
    placement, reason, flags = quick.call(insidehooks.without_hardware)

    assert placement is Placement.SOFTWARE
    assert "the hardware did not take chain 0x5000001" in reason
    assert flags == {"root": {"skip_hw", "not_in_hw"}, "others": {"not_in_hw"}}


def test_a_block_is_shared(quick: Guest) -> None:
    assert quick.call(insidehooks.share_block) == (1, 1)


def test_what_others_change_is_heard_and_what_we_change_is_not(quick: Guest) -> None:
    links, filters = {"LinksChanged"}, {"FiltersChanged"}

    found = quick.call(insidehooks.heard)

    assert [one & filters for one in found] == [set(), filters, filters, set(), filters]
    assert found[3] == links  # those of a link that has just come up may be late, and beside any other


def test_a_chain_without_filters_passes(guest: Guest) -> None:
    """What plans rely on: nothing may lead to a chain before it is whole, nor while it is taken down."""
    assert guest.call(insidehooks.empty_chains) == [True, True, False, True]
