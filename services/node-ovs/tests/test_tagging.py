"""New connections get another tag when the engine rejected one, but not again right away."""

import asyncio

import pytest

from sluice.services.node_ovs import tagging
from sluice.services.node_ovs.tagging import Tagging

TIMEOUT_S = 60.0


async def test_many_resets_at_once_change_the_tag_once_and_once_more_later(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tagging, "INTERVAL_S", 0.05)
    loop = asyncio.get_running_loop()
    changed: asyncio.Queue[float] = asyncio.Queue()
    one = Tagging(lambda: changed.put_nowait(loop.time()))
    for _ in range(100):
        one.due()
    async with asyncio.timeout(TIMEOUT_S):
        first = await changed.get()
        one.due()
        second = await changed.get()

    assert second - first >= 0.05
    await asyncio.sleep(0.1)
    assert changed.empty()
