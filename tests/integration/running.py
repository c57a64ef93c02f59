"""Services as processes, and nodes whose switch is a dictionary: what the tests of many of them share."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Self

from sluice.contracts.ids import Address, NodeName, Revision, Uid
from sluice.contracts.objects import Pod
from sluice.dataplane.ovs.flow import FlowKey, Flows
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.ports import LocalPort
from sluice.runtime.bus import Bus
from sluice.runtime.feed import Feed
from sluice.services.node_ovs.programmer import Programmer


class Program:
    """One of the services, as a process that somebody starts again whenever it ends."""

    def __init__(self, url: str, service: str, log_file: Path, **variables: str) -> None:
        """Its log goes into the file; `variables` are settings, without the service's prefix."""
        prefix = f"SLUICE_{service.upper()}_"
        own = {"NATS_URL": url, "HEALTH_PORT": "-1", "STREAM_MAX_BYTES": str(64 << 20), **variables}
        self.service, self.log_file = service, log_file
        self._command = (sys.executable, "-m", f"sluice.services.{service}")
        self._environment = {**os.environ, **{prefix + name: text for name, text in own.items()}}
        self.process: asyncio.subprocess.Process | None = None

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self) -> None:
        with self.log_file.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(*self._command, env=self._environment, stderr=log)

    async def end(self, how: signal.Signals = signal.SIGKILL) -> int:
        assert self.process is not None
        assert self.process.returncode is None, f"it ended by itself: {self.log_file.read_text()[-2_000:]}"
        self.process.send_signal(how)
        return await self.process.wait()


@asynccontextmanager
async def running(*programs: Program) -> AsyncIterator[None]:
    """They run, and whatever is left of them in the end is killed."""
    try:
        for program in programs:
            await program.start()
        yield
    finally:
        for program in programs:
            if program.runs:
                await program.end()


class FakeNode:
    """node-ovs without a switch: the fold, its feed, and a dictionary that does what the fold says."""

    def __init__(
        self, bus: Bus, name: str, pods: Mapping[int, Pod], ids: RuleIds | None = None, *, resync_s: float = 5.0
    ) -> None:
        """`pods` are those plugged into the switch, by the number of their port."""
        self.ids = ids or RuleIds()
        self.programmer = Programmer(NodeName(name), self.ids)
        self.switch: Flows = {}
        self.gone: set[FlowKey] = set()
        """What was ever taken out of the switch."""

        self._news = asyncio.Event()
        self.stepped = asyncio.Condition()
        self._feed = Feed(bus, self.programmer, resync_s=resync_s, told=self._news.set)
        self.plug(pods)

    def plug(self, pods: Mapping[int, Pod]) -> None:
        ports: dict[Uid, LocalPort] = {}
        for number, pod in pods.items():
            name = f"{pod.metadata.namespace}/{pod.metadata.name}"
            addresses = tuple(Address(one.ip) for one in pod.status.pod_ips)
            mac = f"02:00:00:00:00:{number:02x}"
            uid = Uid(pod.metadata.uid)
            ports[uid] = LocalPort(name, uid, number, mac, addresses)
        self.programmer.ports_are(ports)
        self._news.set()

    @property
    def open(self) -> list[str]:
        return [port.pod for port in self.programmer.open_ports]

    async def until(self, upto: Revision, within_s: float = 100) -> Flows:
        """What the switch holds once everything up to this revision is in it."""
        async with asyncio.timeout(within_s), self.stepped:
            await self.stepped.wait_for(lambda: self.programmer.upto >= upto)
        return dict(self.switch)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._feed.run(), name="feed")
            tasks.create_task(self._apply(), name="apply")

    async def _apply(self) -> None:
        while True:
            deadline_s = self.programmer.next_deadline_s(monotonic())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if deadline_s is None else max(0.0, deadline_s - monotonic())):
                    await self._news.wait()
            self._news.clear()
            change = self.programmer.advance(monotonic())
            self._feed.tell_interests()
            if change is not None:
                self.gone |= change.delete
                held = {key: body for key, body in self.switch.items() if key not in change.delete}
                self.switch = {**held, **change.put}
            async with self.stepped:
                self.stepped.notify_all()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.run(), name=f"node-{self.programmer.upto}")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
