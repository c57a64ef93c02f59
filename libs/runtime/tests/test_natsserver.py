"""A server that takes up another configuration, or cannot."""

import asyncio
from pathlib import Path

import pytest

from sluice.runtime.natsserver import NatsServer, ServerFailed


async def test_who_waits_for_its_end_hears_of_no_reconfiguration(server: NatsServer) -> None:
    waiting, before = asyncio.create_task(server.ended()), server.pid
    await server.reconfigure()
    assert server.pid != before
    assert not waiting.done()

    await server.kill()
    async with asyncio.timeout(60):
        await waiting


async def test_what_it_says_when_it_cannot_start_is_told(tmp_path: Path) -> None:
    accounts = tmp_path / "bus.conf"
    accounts.write_text("accounts { unheard: of }\n")

    with pytest.raises(ServerFailed, match=r"ended with 1 at start\n(.*\n)*.*bus\.conf:1"):
        await NatsServer.start(tmp_path / "nats", guarded=accounts)
