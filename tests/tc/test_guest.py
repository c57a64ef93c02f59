"""A guest is another kernel with our files, and what goes wrong inside is told outside."""

import os
from pathlib import Path

import pytest

from sluice.lab.guest.guest import Guest, RaisedInside

pytestmark = pytest.mark.guest


def look() -> tuple[str, int, bytes]:
    return os.uname().release, os.getpid(), Path(__file__).read_bytes()


def modules() -> set[str]:
    return {line.split()[0] for line in Path("/proc/modules").read_text().splitlines()}


def backwards(body: bytes) -> bytes:
    return body[::-1]


def fail(reason: str) -> None:
    raise ValueError(reason)


def test_it_is_another_kernel_with_our_files(guest: Guest) -> None:
    release, pid, body = guest.call(look)

    assert release == guest.release != os.uname().release
    assert pid != os.getpid()
    assert body == Path(__file__).read_bytes()


def test_it_has_what_tc_needs(guest: Guest) -> None:
    assert guest.call(modules) >= {"cls_flower", "act_ct", "act_gact", "sch_ingress", "veth", "bridge"}


def test_much_passes_unharmed(guest: Guest) -> None:
    body = os.urandom(100_000)

    assert guest.call(backwards, body) == body[::-1]


def test_what_is_raised_inside_is_raised_outside_and_the_guest_lives(guest: Guest) -> None:
    with pytest.raises(RaisedInside, match="ValueError: a reason"):
        guest.call(fail, "a reason")

    assert guest.call(backwards, b"abc") == b"cba"
