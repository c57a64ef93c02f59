"""What node-l7 says is in force is taken up as it changes; what cannot be read says nothing is."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sluice.dataplane.l7.handover import HandOver, write
from sluice.services.node_ovs.handover import Verified, verified_of

TIMEOUT_S = 60.0


def say(path: Path, body: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(body)
    new.replace(path)


def handed(*deserted: int, **vlans: int) -> bytes:
    return write(HandOver(tap_in="in", tap_out="out", vlans=vlans, deserted=deserted))


async def heard(told: AsyncIterator[Verified]) -> Verified:
    async with asyncio.timeout(TIMEOUT_S):
        return await anext(told)


@pytest.mark.parametrize("last", [None, b"{", b""], ids=["no file", "half a file", "an empty file"])
async def test_what_is_in_force(tmp_path: Path, last: bytes | None):
    path = tmp_path / "l7.json"
    told = verified_of(path)

    assert await heard(told) == Verified()
    say(path, handed(a=1))
    assert await heard(told) == Verified({"a": 1})
    say(path, handed(a=1))  # nothing new
    say(path, handed(a=1, b=2))
    assert await heard(told) == Verified({"a": 1, "b": 2})
    say(path, handed(1, b=2))
    assert await heard(told) == Verified({"b": 2}, (1,))
    if last is None:
        path.unlink()
    else:
        say(path, last)
    assert await heard(told) == Verified()
