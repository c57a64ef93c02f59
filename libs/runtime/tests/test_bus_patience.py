"""What becomes of a request that nobody answers, or that cannot be met yet."""

import asyncio

import pytest
from nats.js.errors import BadRequestError
from structlog.testing import capture_logs

from sluice.runtime import bus as module
from sluice.runtime import streams
from sluice.runtime.bus import Bus
from sluice.runtime.natsserver import NatsServer
from sluice.runtime.patience import patiently


class Lonely(NatsServer):
    """A server that does nothing for its clients, as one that is cut off from the others."""

    def _config(self) -> str:
        return "\n".join(line for line in super()._config().splitlines() if not line.startswith("jetstream"))


async def test_a_server_that_can_do_nothing_is_left_for_another(bus, server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE_S", 0.3)
    await streams.ensure(bus)
    await server.stop()
    lonely = await Lonely.start(tmp_path / "lonely")
    async with await Bus.connect(f"{lonely.url},{server.url}", name="test") as moving:
        assert moving.nc.connected_url is not None
        assert moving.nc.connected_url.port == lonely.port
        await server.restart()
        async with asyncio.timeout(30):
            info = await patiently(moving, lambda: moving.js.stream_info("GROUPS"))

        assert info.config.name == "GROUPS"
        assert moving.nc.connected_url.port == server.port
    await lonely.stop()


def refusing(*refusals: BadRequestError):
    """Asks that are refused so, one after another, and then answered."""
    left = list(refusals)

    async def ask() -> str:
        if left:
            raise left.pop(0)
        return "made"

    return ask


async def test_servers_that_have_just_started_are_awaited(bus):
    few = BadRequestError(code=400, err_code=10005, description="no suitable peers for placement")
    with capture_logs() as logs:
        assert await patiently(bus, refusing(few, few, few)) == "made"

    said = [line for line in logs if line["event"] == "servers_awaited"]
    assert [(line["log_level"], "no suitable peers" in line["error"]) for line in said] == [("warning", True)]


async def test_what_no_waiting_cures_is_raised(bus):
    wrong = BadRequestError(code=400, err_code=10052, description="stream configuration is wrong")
    with pytest.raises(BadRequestError, match="stream configuration is wrong"):
        await patiently(bus, refusing(wrong))
