"""A guest is another kernel with our files, and what goes wrong inside is told outside."""

import os
from pathlib import Path

import pytest
from tests.tc import insideguest

from sluice.lab.guest.guest import Guest, RaisedInside

pytestmark = pytest.mark.guest


def test_it_is_another_kernel_with_our_files(guest: Guest) -> None:
    release, pid, body = guest.call(insideguest.look)

    assert release == guest.release != os.uname().release
    assert pid != os.getpid()
    assert body == Path(insideguest.__file__).read_bytes()


def test_it_has_what_tc_needs(guest: Guest) -> None:
    assert guest.call(insideguest.modules) >= {"cls_flower", "act_ct", "act_gact", "sch_ingress", "veth", "bridge"}


def test_much_passes_unharmed(guest: Guest) -> None:
    body = os.urandom(100_000)

    assert guest.call(insideguest.backwards, body) == body[::-1]


def test_what_is_raised_inside_is_raised_outside_and_the_guest_lives(guest: Guest) -> None:
    with pytest.raises(RaisedInside, match="ValueError: a reason"):
        guest.call(insideguest.fail, "a reason")

    assert guest.call(insideguest.backwards, b"abc") == b"cba"
