"""kill -9 of the central services and of the server, while objects change: nothing that stays ever blinks."""

import asyncio
import os
import random
import signal
import sys

import pytest

from sluice.contracts import subjects
from sluice.contracts.ids import NodeName
from sluice.policy.compiler import Groups
from sluice.runtime.natsserver import NatsServer
from sluice.testkit.builders import namespace, netpol, pod

GROUP_MARK, PROGRAM_MARK = subjects.group_mark(0), subjects.program_mark("ovs", 0)
STAYS = netpol("x/stays", {"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": [{"podSelector": {}}]}]})


class Program:
    """One of the services, as a process that somebody starts again whenever it ends."""

    def __init__(self, server: NatsServer, service: str) -> None:
        prefix = f"SLUICE_{service.upper()}_"
        self._command = (sys.executable, "-m", f"sluice.services.{service}")
        self._environment = {
            **os.environ,
            prefix + "NATS_URL": server.url,
            prefix + "HEALTH_PORT": "-1",
            prefix + "STREAM_MAX_BYTES": str(64 << 20),
        }
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self._command, env=self._environment, stderr=asyncio.subprocess.DEVNULL
        )

    async def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        assert self.process is not None
        assert self.process.returncode is None, "it ended by itself"
        self.process.send_signal(how)
        return await self.process.wait()


@pytest.fixture
async def programs(server):
    running = [Program(server, service) for service in ("group_resolver", "rule_compiler")]
    for program in running:
        await program.start()
    yield running
    for program in running:
        if program.process is not None and program.process.returncode is None:
            await program.end()


@pytest.mark.timeout(180)
async def test_kill_9_at_any_time_is_harmless(bus, source, server, watch, programs):
    chance = random.Random(3)
    blinked: list[str] = []
    groups = Groups()
    groups.put(STAYS, (await source.put(namespace("x"), STAYS, pod("x/db", ip="10.0.0.1", node="n1", app="db"))))
    never = {subjects.own(NodeName("n1"), 0), subjects.local(NodeName("n1"))}
    never |= {subjects.page(group, NodeName("n1")) for group in groups.selectors}

    async def look(raw) -> None:
        subject = subjects.stored(raw.subject)
        if not raw.data and (subject in never or ":stays" in subject):
            blinked.append(subject)

    await bus.nc.subscribe("live.>", cb=look)
    held, compiled = watch("GROUPS"), watch("PROGRAMS")
    upto = await source.listed()
    await asyncio.gather(held.until(GROUP_MARK, upto), compiled.until(PROGRAM_MARK, upto))

    async def change() -> None:
        number = chance.randrange(20)
        await source.put(
            pod(
                f"x/p{number}", ip=f"10.0.1.{number}", node=f"n{chance.randrange(3)}", app=chance.choice(["web", "api"])
            ),
            netpol(f"x/np{number}", {"podSelector": {"matchLabels": {"app": chance.choice(["web", "api"])}}}),
        )

    for round_ in range(3):
        for victim in (*programs, server):
            for _ in range(5):
                await change()
            match victim:
                case Program():
                    await victim.end()
                    await change()
                    await victim.start()
                case NatsServer():
                    await victim.restart()
        upto = await source.put(pod("x/last", ip=f"10.0.2.{round_}", node="n2", app="web"))
        await asyncio.gather(held.until(GROUP_MARK, upto), compiled.until(PROGRAM_MARK, upto))

    assert blinked == []
    assert never <= held.values.keys()
    units = {subjects.parse(subject).unit for subject in compiled.values}  # type: ignore[union-attr]  # a ProgramSubject
    assert units == {subjects.unit(*key) for key in source.objects if key.kind == "k8snetworkpolicies"}
    told = [subject for subject, _ in held.history if not subject.startswith("groups._")]
    assert len(told) > len(set(told))  # something did change
    assert [await program.end(signal.SIGTERM) for program in programs] == [0, 0]
