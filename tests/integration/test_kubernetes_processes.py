"""The services that speak to a Kubernetes, as processes: settings, a kubeconfig with TLS and a token, and kill -9."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from sluice.contracts import subjects
from sluice.contracts.antrea import STATIC_TIERS
from sluice.contracts.kinds import Kind
from sluice.contracts.streams import WRITER_HEADER
from sluice.runtime.bus import Bus
from sluice.runtime.follow import follow
from sluice.runtime.message import Message
from sluice.runtime.natsserver import NatsServer
from sluice.testkit.apiserver.server import ApiServer
from sluice.testkit.apiserver.tls import certificate

PATIENCE_S = 60

Process = asyncio.subprocess.Process


async def started(service: str, nats: NatsServer, config: Path, holder: str, **settings: str) -> Process:
    prefix = f"SLUICE_{service.upper().replace('-', '_')}_"
    own = {"NATS_URL": nats.url, "KUBECONFIG": str(config), "HOLDER": holder, "HEALTH_PORT": "-1", **settings}
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SLUICE_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"sluice.services.{service.replace('-', '_')}",
        stderr=asyncio.subprocess.PIPE,
        env={**kept, **{prefix + name: text for name, text in own.items()}},
    )


async def ended(process: Process, send: signal.Signals) -> str:
    if process.returncode is None:
        process.send_signal(send)
    async with asyncio.timeout(PATIENCE_S):
        _, said = await process.communicate()
    return said.decode()


async def until_stored(bus: Bus, name: str) -> None:
    """The Namespace is on LEDGER."""
    wanted = subjects.object_(Kind.NAMESPACE, "", name)
    async with asyncio.timeout(PATIENCE_S), follow(bus, "LEDGER", (wanted,)) as events:
        async for event in events:
            if isinstance(event, Message):
                return


@asynccontextmanager
async def ingests(nats: NatsServer, config: Path, *holders: str) -> AsyncIterator[dict[str, Process]]:
    settings = {"SOURCE": "kubernetes", "LEASE_DURATION_S": "6", "LEASE_NAMESPACE": "sluice", "RETRY_S": "1"}
    running = {holder: await started("ingest", nats, config, holder, **settings) for holder in holders}
    try:
        yield running
    finally:
        for process in running.values():
            await ended(process, signal.SIGTERM)


@pytest.mark.timeout(180)
async def test_two_ingests_and_the_one_that_writes_is_killed(server: NatsServer, bus: Bus, tmp_path: Path) -> None:
    async with ApiServer.run(tls=certificate(), token="secret") as api:
        config = api.kubeconfig(tmp_path / "kubeconfig")
        namespaces, leases = api.store.shelf("namespaces"), api.store.shelf("leases")
        api.store.create(namespaces, {"metadata": {"name": "first"}})

        def holder() -> str:
            held = leases.objects.get(("sluice", "sluice-ingest"))
            return str(msgspec.json.decode(held.body)["spec"].get("holderIdentity", "")) if held else ""

        async with ingests(server, config, "one", "two") as running:
            await until_stored(bus, "first")
            writing = holder()
            standing_by = "two" if writing == "one" else "one"
            for number in range(20):
                api.store.create(namespaces, {"metadata": {"name": f"before-{number}"}})
                await asyncio.sleep(0.01)
                if number == 10:
                    running[writing].send_signal(signal.SIGKILL)  # in the middle of it
            for number in range(20):
                api.store.create(namespaces, {"metadata": {"name": f"after-{number}"}})
            await until_stored(bus, "after-19")
            assert holder() == standing_by
            said = await ended(running[standing_by], signal.SIGTERM)

        assert running[standing_by].returncode == 0, said
        assert holder() == "", "it gives its lease back"
        last = (await bus.js.stream_info("LEDGER")).state.last_seq
        stored = [await bus.js.get_msg("LEDGER", sequence) for sequence in range(1, last + 1)]
        names = [message.subject for message in stored if message.subject and "namespaces" in message.subject]
        assert len([name for name in names if "_listed" not in name]) == 41
        assert len(set(names)) == len(names), "something was stored twice"
        writers = [(message.headers or {})[WRITER_HEADER] for message in stored]
        assert len(set(writers)) == 2
        assert writers == sorted(writers, key=writers.index), "they wrote by turns"


@pytest.mark.timeout(180)
async def test_status_writer_as_a_process(server: NatsServer, bus: Bus, tmp_path: Path) -> None:
    async with ApiServer.run(tls=certificate(), token="secret") as api:
        config = api.kubeconfig(tmp_path / "kubeconfig")
        tiers = api.store.shelf("tiers")
        process = await started("status-writer", server, config, "one")
        async with asyncio.timeout(PATIENCE_S):
            while {name for _, name in tiers.objects} != STATIC_TIERS.keys():  # the double tells nobody
                assert process.returncode is None, await ended(process, signal.SIGTERM)
                await asyncio.sleep(0.05)

        said = await ended(process, signal.SIGTERM)

        assert process.returncode == 0, said


@pytest.mark.timeout(180)
async def test_a_kubeconfig_that_is_not_there_is_told(server: NatsServer, tmp_path: Path) -> None:
    process = await started("ingest", server, tmp_path / "none", "one", SOURCE="kubernetes")

    async with asyncio.timeout(PATIENCE_S):
        _, said = await process.communicate()

    assert process.returncode == 1
    assert "name a kubeconfig that says how to reach the API server" in said.decode()
