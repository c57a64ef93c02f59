"""The whole road in a guest: a NATS server, group-resolver, rule-compiler and node-tc, and Pods that answer."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import NamedTuple

from tests.tc.plays import tc
from tests.tc.scene import PODS, Cell, cluster, scene

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NEVER, NodeName, Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject, Listed
from sluice.contracts.status import NodeStatus
from sluice.dataplane.tc.filter import Hook
from sluice.drivers.tc.capabilities import probe
from sluice.grouping.events import key_of
from sluice.runtime import explaining
from sluice.runtime.bus import Bus, Limits
from sluice.runtime.follow import follow
from sluice.runtime.message import Message
from sluice.runtime.natsserver import NatsServer
from sluice.runtime.output import Output
from sluice.services.group_resolver import app as group_resolver
from sluice.services.group_resolver.settings import GroupResolverSettings
from sluice.services.node_tc.settings import NodeTcSettings
from sluice.services.node_tc.shell import Shell
from sluice.services.rule_compiler import app as rule_compiler
from sluice.services.rule_compiler.settings import RuleCompilerSettings

NODE = NodeName("node-1")
STATUS = subjects.status(NODE, "tc")
WAIT_S = 60.0


class Travelled(NamedTuple):
    denied: bool
    """With the policy, what it does not allow is answered."""

    allowed: bool
    policed: tuple[str, ...]
    """Pods, by the status."""

    repairs: int
    """After somebody took our root filter away; then `denied_again` was asked."""

    denied_again: bool
    kept: bool
    """The filters stand while node-tc is away."""

    denied_after_restart: bool
    open_at_last: bool
    left: int
    """Filters of ours, when the policy was deleted."""

    unexplained: tuple[str, ...]
    """Filters, as tc shows them, of which node-tc does not say whose they are."""

    listed: bool
    """It lists as many as tc shows."""


def travel(policy: AnyObject, denied: Cell, allowed: Cell) -> Travelled:
    with scene(zones=False) as found:
        found.upkeep.close()
        shutil.rmtree("/run/road", ignore_errors=True)
        try:
            return asyncio.run(_travel(policy, denied, allowed))
        finally:
            found.begin()


async def _travel(policy: AnyObject, denied: Cell, allowed: Cell) -> Travelled:
    server = await NatsServer.start(Path("/run/road/nats"))
    try:
        async with (
            await Bus.connect(server.url, name="road", limits=Limits(max_bytes=8 << 20)) as bus,
            await Output.open(bus, "LEDGER", ["objects.>"]) as ledger,
            _running_services(bus),
        ):
            return await _on(bus, ledger, policy, denied, allowed)
    finally:
        await server.stop()


async def _on(bus: Bus, ledger: Output, policy: AnyObject, denied: Cell, allowed: Cell) -> Travelled:
    statuses = _Statuses(bus)
    for obj in cluster(policy):
        ledger.put(subjects.object_(*key_of(obj)), codec.encode(obj))
    for kind in Kind:
        ledger.mark(subjects.listed(kind), Listed(kind=kind, source="test"))
    await ledger.settled()
    async with _node(bus):
        status = await statuses.until(ledger.revision)
        first = await _ask(denied, allowed)
        unexplained, listed = await _explained(bus)
        tc("filter", "del", "dev", "rep-a", "egress", "pref", str(0x4E00), "protocol", "all")
        repaired = await statuses.until(ledger.revision, repairs=1)
        (again,) = await _ask(denied)
    with scene(zones=False, clean=False) as found:
        kept = any(any(found.standings(pod).values()) for pod in PODS)
    async with _node(bus):
        await asyncio.sleep(1)
        (after,) = await _ask(denied)
        ledger.remove(subjects.object_(*key_of(policy)))
        await ledger.settled()
        await statuses.until(ledger.revision)
        (at_last,) = await _ask(denied)
    with scene(zones=False, clean=False) as found:
        left = sum(len(one) for pod in PODS for one in found.standings(pod).values())
    return Travelled(
        denied=first[0],
        allowed=first[1],
        policed=status.ports,
        repairs=repaired.repairs,
        denied_again=again,
        kept=kept,
        denied_after_restart=after,
        open_at_last=at_last,
        left=left,
        unexplained=unexplained,
        listed=listed,
    )


async def _explained(bus: Bus) -> tuple[tuple[str, ...], bool]:
    unexplained = []
    shown = 0
    for hook in Hook:
        for line in tc("filter", "show", "dev", "rep-a", hook).splitlines():
            if not line.startswith("filter ") or " handle " not in line:
                continue
            shown += 1
            found = await explaining.explain(bus, [NODE], "tc", f"dev rep-a {hook} {line}")
            of_policy = (
                found.rules or found.kind in ("base", "state") or found.says.startswith("lets everything else pass")
            )
            if found.pods != ("x/a",) or not found.does or not of_policy:
                unexplained.append(f"{line}: {found}")
    told = await explaining.held(bus, NODE, "tc", limit=1_000)
    return tuple(unexplained), 0 < shown == sum("rep-a" in one.line for one in told.items)


async def _ask(*cells: Cell) -> list[bool]:
    with scene(zones=False, clean=False) as found:
        answers = await asyncio.to_thread(found.matrix, cells)
    return [answers[cell] for cell in cells]


class _Statuses:
    def __init__(self, bus: Bus) -> None:
        self._events = follow(bus, "STATUS")
        self._last = NodeStatus(node="", backend="tc", applied=NEVER, healthy=False)  # type: ignore[arg-type]  # nobody's

    async def until(self, upto: Revision, *, repairs: int = 0) -> NodeStatus:
        """The first status of node-tc that has applied so much and repaired so often, and is well."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not (self._last.healthy and self._last.applied >= upto and self._last.repairs >= repairs):
                    match await anext(self._events):
                        case Message(subject=subject, body=body) if subject == STATUS and body:
                            self._last = codec.decode(body, NodeStatus)
        except TimeoutError:
            raise AssertionError(f"not reached {upto}: {self._last}") from None
        return self._last


@contextlib.asynccontextmanager
async def _running_services(bus: Bus) -> AsyncIterator[None]:
    async with (
        group_resolver.opened(bus, GroupResolverSettings(holder="road")) as (resolver, _),
        rule_compiler.opened(bus, RuleCompilerSettings(holder="road")) as (compiler, _),
        _tasks(resolver.run(), compiler.run()),
    ):
        yield


@contextlib.asynccontextmanager
async def _node(bus: Bus) -> AsyncIterator[None]:
    settings = NodeTcSettings(node_name="node-1", direct=True, state_dir="/run/road/state")
    async with _tasks(Shell(settings, bus, probe(os.uname().release)).run()):
        yield


@contextlib.asynccontextmanager
async def _tasks(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """These go on until the end of the block; if one ends before, so does the block."""
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(one) for one in work]
        yield
        for task in running:
            task.cancel()
