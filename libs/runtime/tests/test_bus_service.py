"""The frame of a service: as a process, over HTTP and over the bus."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, sys
from sluice.runtime.service import run
from sluice.runtime.settings import ServiceSettings

class Settings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    how: str = "wait"

async def main(service):
    ready = asyncio.Event()
    service.health.ready_when("in sync", ready.is_set)
    async def be_ready(_):
        ready.set()
    await service.bus.nc.subscribe("ready", cb=be_ready)
    await service.bus.nc.flush()
    try:
        if service.settings.how == "fail":
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(asyncio.sleep(9))
                raise RuntimeError("boom")
        await asyncio.sleep(60)
    finally:
        print("cleaned up", flush=True)

run("some-thing", Settings, main)
"""


@pytest.fixture
def start(tmp_path: Path, server):
    program = tmp_path / "service.py"
    program.write_text(PROGRAM)

    async def started(**variables: str) -> asyncio.subprocess.Process:
        own = {"SLUICE_SOME_THING_NATS_URL": server.url, **variables}
        return await asyncio.create_subprocess_exec(
            sys.executable,
            str(program),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **own},
        )

    return started


async def until_line(process, event: str) -> dict[str, object]:
    async with asyncio.timeout(60):
        while line := await process.stderr.readline():
            said: dict[str, object] = json.loads(line)
            if said["event"] == event:
                return said
    raise AssertionError(f"it never said {event}")


async def get(address, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(60):
        answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


async def answers(address, path: str, wanted: tuple[int, str]) -> bool:
    return await get(address, path) == wanted


async def test_it_is_ready_when_it_says_so_and_ends_in_order(start, bus, server, until):
    process = await start()
    address = (await until_line(process, "health_served"))["address"]
    await until_line(process, "service_started")
    await until(lambda: answers(address, "/readyz", (503, "in sync\n")))
    told = json.loads((await bus.nc.request("_sluice.health.some-thing", b"{}", timeout=5)).data)
    assert told == {"service": "some-thing", "ready": False, "lacking": ["in sync"]}

    await bus.nc.publish("ready", b"")
    await until(lambda: answers(address, "/readyz", (200, "ready\n")))
    assert await get(address, "/livez") == (200, "alive\n")
    status, metrics = await get(address, "/metrics")
    assert status == 200
    assert "sluice_bus_reconnects_total 0" in metrics
    assert (await get(address, "/nothing"))[0] == 404

    await server.kill()
    await until(lambda: answers(address, "/readyz", (503, "bus\n")))
    assert await get(address, "/livez") == (200, "alive\n")

    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(60):
        said, log = await process.communicate()
    assert (process.returncode, said.decode()) == (0, "cleaned up\n")
    assert all(json.loads(line)["service"] == "some-thing" for line in log.splitlines())


async def test_it_fails_with_its_reason(start):
    process = await start(SLUICE_SOME_THING_HOW="fail", SLUICE_SOME_THING_HEALTH_PORT="-1")
    said = await until_line(process, "service_failed")
    async with asyncio.timeout(60):
        await process.communicate()

    assert process.returncode == 1
    assert said["reason"] == "RuntimeError: boom"


async def test_wrong_settings_are_refused_before_anything_else(start):
    process = await start(SLUICE_SOME_THING_HOWW="x")
    async with asyncio.timeout(60):
        _, said = await process.communicate()

    assert process.returncode == 2
    assert said.decode().startswith("SLUICE_SOME_THING_*: Object contains unknown field `howw`; known are ")


async def test_it_can_be_ended_while_it_waits_for_the_server_and_says_that_it_does(start, server, until):
    await server.stop()
    process = await start()
    address = (await until_line(process, "health_served"))["address"]
    await until_line(process, "bus_failed")
    await until_line(process, "bus_not_reached")
    await until(lambda: answers(address, "/readyz", (503, f"bus: {server.url} is not reached\n")))
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(60):
        await process.communicate()

    assert process.returncode == 0
