"""node-l7 with a real bus, a real switch and a real engine: what the hand-over file says is true at any time."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from msgspec import json
from tests.l7.load import Load
from tests.l7.rig import ADDRESSES, PATIENCE_S, TAPS, Rig, received
from tests.l7.server import HTTP_PORT
from tests.l7.table import SILENT_S

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NodeName
from sluice.contracts.l7 import HttpMatch
from sluice.contracts.status import NodeStatus
from sluice.dataplane.l7 import handover
from sluice.dataplane.l7.engine import Engine
from sluice.dataplane.l7.ruleset import compile_rules
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.runtime.bus import Bus
from sluice.runtime.output import Output
from sluice.services.group_resolver.app import opened as open_resolver
from sluice.services.group_resolver.settings import GroupResolverSettings
from sluice.services.node_l7.settings import NodeL7Settings
from sluice.services.node_l7.shell import Shell
from sluice.services.rule_compiler.app import opened as open_compiler
from sluice.services.rule_compiler.settings import RuleCompilerSettings
from sluice.testkit.builders import annp, pod

pytestmark = [pytest.mark.datapath, pytest.mark.once, pytest.mark.slow]

OK = b"GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n"
BAD = b"GET /admin HTTP/1.1\r\nHost: h\r\n\r\n"
NODE = NodeName("node-1")
TENANTS = 100


def policy(*paths: str, name: str = "x/p"):
    entries = [{"http": {"path": path}} for path in paths]
    rule = {"name": "web", "action": "Allow", "l7Protocols": entries}
    return annp(name, {"appliedTo": [{"podSelector": {}}], "ingress": [rule]})


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    one = Rig(f"l7n-{os.getpid()}", tmp_path)
    try:
        await asyncio.to_thread(one.start_pods)
        yield one
    finally:
        await asyncio.to_thread(one.stop)


class World:
    """What is around node-l7: the services before it, and the switch that node-ovs would lead packets by."""

    def __init__(self, bus: Bus, rig: Rig, folder: Path) -> None:
        self._bus, self.rig = bus, rig
        self.settings = NodeL7Settings(
            node_name=NODE,
            run_dir=str(rig.switch.folder),
            engine_dir=str(folder / "e"),
            log_dir=str(folder / "log"),
            hand_over=str(folder / "l7.json"),
            state_dir=str(folder / "state"),
            netns=str(rig.netns),
        )

    @property
    def engine(self) -> Engine:
        return self.settings.engine

    @property
    def vlans(self) -> dict[str, int]:
        """By the hand-over file."""
        with contextlib.suppress(FileNotFoundError):
            return handover.read(Path(self.settings.hand_over).read_bytes()).vlans
        return {}

    def events(self) -> list[dict[str, Any]]:
        """What stands in the event log."""
        files = Path(self.settings.log_dir).glob("eve-????-??-??.json")
        return [json.decode(line) for file in files for line in file.read_bytes().splitlines()]

    async def until(self, true: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait until it is so."""
        async with asyncio.timeout(timeout_s):
            while not true():  # noqa: ASYNC110  # files have no events
                await asyncio.sleep(0.02)

    async def lead(self, path: str = "/public/*") -> int:
        """Do as node-ovs does, but for good: packets go to the VLAN that the file names for the policy of this path."""
        rules = compile_rules((HttpMatch(path=path),), policy="AntreaNetworkPolicy:x/p")
        vlan = self.vlans[rules.digest]
        ovsdb = await Ovsdb.connect(self.rig.switch.db_socket)
        ports = await ovsdb.ofports(*TAPS)
        ovsdb.close()
        await asyncio.to_thread(self.rig.lead_to, vlan, ports[TAPS[0]], ports[TAPS[1]])
        return vlan

    async def ask(self, request: bytes, patience_s: float = PATIENCE_S) -> bool:
        """Whether a request on a connection of its own is answered."""

        def asked() -> bool:
            try:
                with self.rig.connect(HTTP_PORT, patience_s=patience_s) as sock:
                    sock.sendall(request)
                    received(sock)
            except OSError:
                return False
            return True

        return await asyncio.to_thread(asked)

    async def status(self) -> NodeStatus:
        subject = subjects.status(NODE, "l7")
        async with await Output.open(self._bus, "STATUS", [subject]) as output:
            return codec.decode(output.stored[subject], NodeStatus)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Shell]:
        shell = Shell(self.settings, self._bus)
        task = asyncio.create_task(shell.run())
        try:
            yield shell
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def engine_pid(self) -> int:
        (found,) = (
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and self._is_engine(entry / "cmdline")
        )
        return found

    def _is_engine(self, words: Path) -> bool:
        with contextlib.suppress(OSError):
            return os.fsencode(self.engine.configuration) in words.read_bytes().split(b"\0")
        return False


@pytest.fixture
async def world(bus: Bus, source, rig: Rig, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        for opened in (
            open_resolver(bus, GroupResolverSettings(holder="test", shards=1)),
            open_compiler(bus, RuleCompilerSettings(holder="test", shards=1)),
        ):
            loop, _ = await stack.enter_async_context(opened)
            stack.callback(asyncio.create_task(loop.run()).cancel)
        await source.put(pod("x/a", ip="10.9.0.2", node=NODE))
        await source.listed()
        yield World(bus, rig, tmp_path)


async def test_requests_are_judged_as_policies_say_and_change(world: World, source):
    async with world.running() as shell:
        await source.put(policy("/public/*"))
        await world.until(lambda: bool(world.vlans))
        vlan = await world.lead()
        assert await world.ask(OK)
        assert not await world.ask(BAD)
        await world.until(lambda: {event["event_type"] for event in world.events()} == {"http", "alert"})
        await world.until(lambda: shell.ready)
        assert (await world.status()).healthy

        kept = await asyncio.to_thread(world.rig.connect, HTTP_PORT)
        with kept:
            (before,) = world.vlans
            await source.put(policy("/admin"))
            await world.until(lambda: list(world.vlans) not in ([], [before]))
            assert list(world.vlans.values()) == [vlan]  # so that open connections go on
            await asyncio.to_thread(kept.sendall, BAD)
            assert await asyncio.to_thread(received, kept)
        assert not await world.ask(OK)

        # Gone: nothing may be sent there any more, and what is passes nothing.
        await source.delete(next(key for key in source.objects if key.name == "p"))
        await world.until(lambda: world.vlans == {})
        async with asyncio.timeout(60):  # who is still led there, as node-ovs would not, finds it closed
            while await world.ask(BAD, SILENT_S):
                pass
        assert not await world.ask(OK, SILENT_S)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_an_engine_that_dies_or_hangs_is_noticed_and_replaced(world: World, source, how: signal.Signals):
    async with world.running():
        await source.put(policy("/public/*"))
        await world.until(lambda: bool(world.vlans))
        vlan = await world.lead()
        os.kill(world.engine_pid(), how)
        await world.until(lambda: world.vlans == {})
        await world.until(lambda: bool(world.vlans))

        assert list(world.vlans.values()) == [vlan]
        assert await world.ask(OK)
        assert not await world.ask(BAD)
        assert BAD.strip() not in world.rig.seen


async def test_an_engine_that_starts_with_many_tenants_is_closed_until_it_has_them(world: World, source):
    """Packets come all the while, to the engine itself: nobody here keeps them from one that is not ready."""
    await source.put(policy("/public/*"), *(policy(f"/{number}", name=f"x/p{number}") for number in range(1, TENANTS)))
    load = Load(world.rig.client, (ADDRESSES[4],), patience_s=0.2)
    async with world.running():
        await world.until(lambda: len(world.vlans) == TENANTS, timeout_s=60)
        await world.lead()
        with load.running():
            for _ in range(2):
                os.kill(world.engine_pid(), signal.SIGKILL)
                await world.until(lambda: world.vlans == {})
                await world.until(lambda: len(world.vlans) == TENANTS, timeout_s=60)
                await asyncio.to_thread(load.recovered, monotonic(), 20)

    assert load.leaks == []
    assert min(load.counts[kind] for kind in ("served", "denied", "denied later")) > 0


async def test_an_engine_without_its_rules_is_noticed_and_gets_them(world: World, source):
    async with world.running():
        await source.put(policy("/public/*"))
        await world.until(lambda: bool(world.vlans))
        vlan = await world.lead()
        Path(world.engine.rules(vlan)).unlink()
        os.kill(world.engine_pid(), signal.SIGKILL)
        await world.until(lambda: world.vlans == {})
        await world.until(lambda: bool(world.vlans))

        assert await world.ask(OK)
        assert not await world.ask(BAD)


async def test_a_restart_keeps_vlans_and_ends_the_old_engine(world: World, source):
    await source.put(policy("/public/*"), policy("/other", name="x/q"))
    async with world.running():
        await world.until(lambda: len(world.vlans) == 2)
        before = world.vlans
    assert world.vlans == {}
    async with world.running():
        await world.until(lambda: len(world.vlans) == 2)

        assert world.vlans == before
        assert world.engine_pid()  # there is just one


async def test_without_a_bus_what_was_known_is_in_force(world: World, source, server):
    await source.put(policy("/public/*"))
    async with world.running():
        await world.until(lambda: bool(world.vlans))
        before = world.vlans
    os.kill(server.pid, signal.SIGSTOP)  # it answers nothing
    try:
        async with world.running():
            await world.until(lambda: world.vlans == before)
    finally:
        os.kill(server.pid, signal.SIGCONT)
