"""What happens between two awaits of a change: others meddle, commands fail, connections end."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from nats.aio.client import Client

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Local, Mark, Member
from sluice.contracts.ids import Address, NodeName, Revision, Uid
from sluice.dataplane.ovs.flow import FlowKey, Flows
from sluice.dataplane.ovs.ports import LocalPort
from sluice.drivers.openflow.switch import Switch
from sluice.runtime.bus import Bus
from sluice.services.node_ovs import connection
from sluice.services.node_ovs import shell as shell_module
from sluice.services.node_ovs.settings import NodeOvsSettings
from sluice.services.node_ovs.shell import Shell

NODE = NodeName("node-1")
PORTS = {
    name: LocalPort(f"x/{name}", Uid(name), number, f"02:00:00:00:00:0{number}", (Address(f"10.0.0.{number}"),))
    for number, name in enumerate("ab", start=1)
}
FOREIGN = FlowKey(0, 60_000, ())


class NoBus:
    """Nothing is asked of it: all that is wanted is answered."""

    specs: ClassVar[dict[str, Any]] = {}  # Any: there are none

    def __init__(self) -> None:
        self.nc = Client()

    def on_drop(self, _: Callable[..., None]) -> Callable[[], None]:
        return lambda: None

    on_slow = on_drop


class FakeSwitch:
    """Holds flows, and lets a test act while a bundle is on its way."""

    def __init__(self) -> None:
        self.flows: Flows = {}
        self.changed_by_others = asyncio.Event()
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.meanwhile: Callable[[], None] = lambda: None
        self.dumps = 0

    async def dump(self) -> Flows:
        self.dumps += 1
        return dict(self.flows)

    async def metered(self, _: int) -> None:
        """It has every meter."""

    def send_packet(self, *_: Any) -> None:  # Any: nobody looks
        """It goes nowhere."""

    async def dump_groups(self) -> dict[int, Any]:  # Any: there are none
        return {}

    async def apply(self, put: Flows, delete: Any, strangers: Any = (), **_: Any) -> None:  # Any: keys to remove
        self.flows = {key: body for key, body in self.flows.items() if key not in delete} | dict(put)
        self.meanwhile()
        for _turn in range(3):
            await asyncio.sleep(0)  # whoever watches the switch has its turn before this is answered


class FakeDaemon:
    """The control socket of ovs-vswitchd: answers, refuses, or ends the connection."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        """What becomes of the next purges of the cache: `refused` or `ended`."""

        self.purges = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = json.loads(await reader.read(65_536))
        error = None
        if request["method"] == "revalidator/purge":
            self.purges += 1
            fault = self.faults.pop(0) if self.faults else ""
            error = fault or None
            if fault == "ended":
                writer.close()
                return
        writer.write(json.dumps({"id": request["id"], "result": "", "error": error}).encode())
        await writer.drain()
        writer.close()


def tell(shell: Shell, sequence: int, *pods: str) -> None:
    """These Pods are there, on both sides."""
    programmer, at = shell._programmer, Revision(1, sequence)
    members = tuple(Member(pod=PORTS[name].pod, uid=Uid(name), addresses=PORTS[name].addresses) for name in pods)
    said = {
        subjects.local(NODE): Local(node=NODE, cause=at, pods=members),
        subjects.group_mark(0): Mark(shard=0, shards=1, upto=at),
        subjects.program_mark("ovs", 0): Mark(shard=0, shards=1, upto=at),
    }
    for subject, value in said.items():
        programmer.take(subject, codec.encode(value), at, 0.0)
    while any(interests := programmer.interests()):
        programmer.answered(interests.add)
    programmer.ports_are({Uid(name): PORTS[name] for name in pods})
    shell._rounds.wake()


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[FakeDaemon]:
    daemon = FakeDaemon()
    server = await asyncio.start_unix_server(daemon.serve, tmp_path / "ovs-vswitchd.ctl")
    yield daemon
    server.close()
    await server.wait_closed()


@pytest.fixture
async def switch() -> FakeSwitch:
    return FakeSwitch()


@pytest.fixture
async def shell(
    tmp_path: Path, daemon: FakeDaemon, switch: FakeSwitch, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shell]:
    """One that has applied its first Pod."""
    monkeypatch.setattr(shell_module, "REFUSED_RETRY_S", 0.02)
    monkeypatch.setattr(connection, "DRIFT_PAUSE_S", 0.02)
    settings = NodeOvsSettings(node_name=NODE, run_dir=str(tmp_path), state_dir=str(tmp_path), root=str(tmp_path))
    shell = Shell(settings, cast("Bus", NoBus()))
    shell._upkeep.use(cast("Switch", switch))
    tell(shell, 1, "a")
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(shell._apply(), name="apply"),
            tasks.create_task(shell._connection.watch(cast("Switch", switch)), name="watch"),
        ]
        await ready(shell)
        yield shell
        for task in running:
            task.cancel()


async def ready(shell: Shell) -> None:
    async with asyncio.timeout(60):
        while not shell.ready or shell._rounds.due:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.005)


async def test_drift_that_comes_while_a_change_is_on_its_way_is_put_right(shell: Shell, switch: FakeSwitch) -> None:
    def meddle() -> None:
        switch.meanwhile = lambda: None
        switch.flows = {**switch.flows, FOREIGN: next(iter(switch.flows.values()))}
        switch.changed_by_others.set()

    dumps = switch.dumps
    switch.meanwhile = meddle
    tell(shell, 2, "a", "b")
    await asyncio.sleep(0.01)
    await ready(shell)

    assert switch.dumps > dumps
    assert switch.flows == shell._programmer.flows
    assert shell._status().repairs == 1


@pytest.mark.parametrize("fault", ["refused", "ended"])
async def test_a_cache_that_was_not_purged_is_purged_without_another_event(
    shell: Shell, switch: FakeSwitch, daemon: FakeDaemon, fault: str
) -> None:
    purges = daemon.purges
    daemon.faults = [fault, fault]
    tell(shell, 2, "a", "b")
    await asyncio.sleep(0.01)
    await ready(shell)

    assert daemon.purges == purges + 3, "each that failed is made good, although the flows are as they should be"
    assert switch.flows == shell._programmer.flows
    assert shell._status().applied == Revision(1, 2)


async def test_while_the_cache_is_old_the_change_is_not_called_applied(shell: Shell, daemon: FakeDaemon) -> None:
    daemon.faults = ["refused"] * 1_000
    tell(shell, 2, "a", "b")
    async with asyncio.timeout(60):
        while "refused" not in shell._status().detail:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)

    assert not shell.ready
    assert shell._status().applied == Revision(1, 1)
    assert "refused" in shell._status().detail
    daemon.faults.clear()
    await ready(shell)
