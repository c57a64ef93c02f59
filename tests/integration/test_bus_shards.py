"""Two shards of each central service, and a third run of it that stands by: one is killed, and it takes over.

What all of them store together is what one would have stored; no cause brings the same value twice; a node waits for
the marks of all shards.
"""

import asyncio
import random
import signal
from collections import Counter

import pytest
from tests.integration.expected import groups_of, programs_of
from tests.integration.running import FakeNode, Program, running

from sluice.contracts import subjects
from sluice.contracts.ids import NEVER, Revision
from sluice.contracts.streams import CAUSE_HEADER
from sluice.grouping.events import ObjectKey, key_of
from sluice.runtime.bus import Bus
from sluice.runtime.lease import BUCKET
from sluice.runtime.marks import is_mark
from sluice.testkit.builders import namespace, netpol, pod

SHARDS = 2
SPACES = ("x", "z")
"""Namespaces, one of each shard."""

SERVICES = ("group_resolver", "rule_compiler")
LEASES = ("group-resolver", "rule-compiler")
MARKS = {
    "GROUPS": [subjects.group_mark(shard) for shard in range(SHARDS)],
    "PROGRAMS": [subjects.program_mark("ovs", shard) for shard in range(SHARDS)],
}
WEB = pod("x/web", ip="10.0.0.1", node="n1", app="app0")


async def holder(bus: Bus, lease: str, shard: int) -> str:
    """Who has the shard. Waits until somebody has."""
    bucket = await bus.js.key_value(BUCKET)
    async with asyncio.timeout(60):
        while True:
            try:
                return (await bucket.get(f"{lease}.{shard}")).value.decode()  # type: ignore[union-attr]  # nobody stores nothing
            except Exception:  # noqa: BLE001  # nobody has: that is what is waited for
                await asyncio.sleep(0.05)


class Told:
    """How often each value was published for each cause."""

    def __init__(self) -> None:
        self.times: Counter[tuple[str, str, bytes]] = Counter()

    async def listen(self, bus: Bus) -> None:
        async def take(raw) -> None:
            subject = subjects.stored(raw.subject)
            if not is_mark(subject):
                self.times[subject, (raw.headers or {}).get(CAUSE_HEADER, ""), raw.data] += 1

        await bus.nc.subscribe("live.>", cb=take)

    @property
    def twice(self) -> list[tuple[str, str, bytes]]:
        return [what for what, times in self.times.items() if times > 1]


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_shard_is_taken_over_and_nothing_is_lost_or_done_twice(bus, server, source, watch, tmp_path):
    def run(service: str, name: str) -> Program:
        log = tmp_path / f"{service}-{name}.log"
        return Program(server.url, service, log, SHARDS=str(SHARDS), HOLDER=name)

    first, second, spare = ([run(service, name) for service in SERVICES] for name in ("first", "second", "spare"))
    told, chance = Told(), random.Random(5)
    await told.listen(bus)
    apps = [f"app{number}" for number in range(16)]
    policies = (netpol(f"{space}/{app}", _about(app)) for space in SPACES for app in apps)
    await source.put(*map(namespace, SPACES), WEB, *policies)
    upto = await source.listed()
    groups, programs = watch("GROUPS"), watch("PROGRAMS")

    async def follows(upto: Revision) -> None:
        for stream, stored in (("GROUPS", groups), ("PROGRAMS", programs)):
            for mark in MARKS[stream]:
                await stored.until(mark, upto)
        objects = source.objects.values()
        assert groups.values == groups_of(objects, SHARDS)
        assert programs.values == programs_of(objects)

    async def change() -> Revision:
        space = chance.choice(SPACES)
        name = f"{space}/p{chance.randrange(15)}"
        if chance.random() < 0.2:
            gone: Revision = await source.delete(ObjectKey(key_of(WEB).kind, *name.split("/")))
            return gone
        ip, app = f"10.0.1.{chance.randrange(250)}", chance.choice(apps)
        upto: Revision = await source.put(pod(name, ip=ip, node=f"n{chance.randrange(3)}", app=app))
        if chance.random() < 0.3:
            upto = await source.put(netpol(f"{space}/{app}", _about(app, chance.randrange(1, 9))))
        return upto

    async with running(*first), FakeNode(bus, "n1", {1: WEB}) as node:
        await groups.until(MARKS["GROUPS"][0], upto)
        await programs.until(MARKS["PROGRAMS"][0], upto)
        assert not node.programmer.in_sync, "the other shard has said nothing yet"

        async with running(*second, *spare):
            await node.until(upto)
            await follows(upto)
            assert node.open == ["x/web"]
            owners = [{await holder(bus, lease, shard) for shard in range(SHARDS)} for lease in LEASES]
            assert all("first" in who and len(who) == SHARDS for who in owners)

            reached = node.programmer.upto
            for program in first:
                await program.end(signal.SIGKILL)
            for _ in range(40):
                upto = await change()
            assert reached <= node.programmer.upto < upto, "a shard is without a writer"
            await follows(upto)
            await node.until(upto)
            owners = [{await holder(bus, lease, shard) for shard in range(SHARDS)} for lease in LEASES]
            assert owners == [{"second", "spare"}] * len(LEASES)
            for _ in range(20):
                upto = await change()
            await follows(upto)
            assert (await node.until(upto)).keys() == node.switch.keys()

    assert upto > NEVER
    assert told.twice == []
    assert len(told.times) > 100


def _about(app: str, port: int = 80) -> dict[str, object]:
    rule = {"from": [{"podSelector": {"matchLabels": {"app": app}}}], "ports": [{"port": port}]}
    return {"podSelector": {"matchLabels": {"app": app}}, "ingress": [rule]}
