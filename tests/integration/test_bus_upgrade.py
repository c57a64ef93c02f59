"""Two versions on one bus: services of this one beside what the next one writes, and on what the one before has left.

The next version is made up: all that is on the bus now, with fields, headers, kinds and subjects that this version has
never heard of. The one before is a dump of the streams, `streams_of_before.jsonl`, which stays as it is: it was written
by a version that was there before. `python -m tests.integration.test_bus_upgrade` writes one anew, of this version.
"""

import asyncio
import signal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from tests.integration.conftest import LIMITS, Source, Stored
from tests.integration.expected import groups_of, programs_of
from tests.integration.running import FakeNode, Program, running
from tests.integration.versions import STRANGE, held, later, of_this_version, write_again, write_strange

from sluice.contracts import known_part, subjects
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject
from sluice.contracts.streams import CAUSE_HEADER, cause_text
from sluice.grouping.events import key_of
from sluice.runtime import streams
from sluice.runtime.bus import Bus
from sluice.runtime.natsserver import NatsServer
from sluice.runtime.output import Output
from sluice.testkit.builders import acnp, namespace, netpol, pod, tier

DUMP = Path(__file__).with_name("streams_of_before.jsonl")
SERVICES = ("group_resolver", "rule_compiler")
DERIVED = ("GROUPS", "PROGRAMS")
MARKS = {"GROUPS": subjects.group_mark(0), "PROGRAMS": subjects.program_mark("ovs", 0)}
DB = pod("x/db", ip="10.0.0.1", node="n1", app="db")
NETPOL = netpol(
    "x/db",
    {
        "podSelector": {"matchLabels": {"app": "db"}},
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": {"app": "web"}}}, {"ipBlock": {"cidr": "192.0.2.0/24"}}],
                "ports": [{"protocol": "TCP", "port": 5432}],
            }
        ],
    },
)
OBJECTS: tuple[AnyObject, ...] = (
    namespace("x", team="a"),
    tier("platform", 40),
    DB,
    pod("x/web", ip="10.0.0.2", node="n2", app="web", ports=[("http", 80)]),
    NETPOL,
    acnp(
        "wall",
        {
            "tier": "platform",
            "priority": 5,
            "appliedTo": [{"podSelector": {"matchLabels": {"app": "db"}}}],
            "ingress": [{"action": "Drop", "from": [{"namespaceSelector": {"matchLabels": {"team": "b"}}}]}],
        },
    ),
)


class Row(msgspec.Struct, frozen=True):
    """A line of the dump."""

    stream: str
    subject: str
    cause: str
    body: str


def services(url: str, folder: Path) -> list[Program]:
    return [Program(url, service, folder / f"{service}.log") for service in SERVICES]


class Blinks:
    """Which of these subjects ever came to hold nothing."""

    def __init__(self, bus: Bus, watched: set[str]) -> None:
        self._bus, self._watched = bus, watched
        self.found: list[str] = []

    async def listen(self) -> None:
        await self._bus.nc.subscribe("live.>", cb=self._take)
        await self._bus.nc.flush()

    async def _take(self, raw) -> None:
        if not raw.data and subjects.stored(raw.subject) in self._watched:
            self.found.append(subjects.stored(raw.subject))


async def in_force(source: Source, watch: Any, upto: Revision) -> None:  # Any: a fixture's function
    """Both streams hold what follows from the objects.

    Of a policy that has a field that is not understood they hold what the next version made of it: unknown stays.
    """
    objects = source.objects.values()
    for stream, wanted in (("GROUPS", groups_of(objects)), ("PROGRAMS", programs_of(objects))):
        stored = watch(stream)
        values = await stored.until(MARKS[stream], upto)
        assert {subject: of_this_version(values.get(subject)) for subject in wanted} == wanted


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_this_version_reads_what_the_next_one_writes(bus, server, source, watch, tmp_path):
    upto = await source.put(*OBJECTS)
    upto = await source.listed()
    programs = services(server.url, tmp_path)
    async with FakeNode(bus, "n1", {1: DB}) as node:
        async with running(*programs):
            flows = await node.until(upto)
            await in_force(source, watch, upto)
            for program in programs:
                assert await program.end(signal.SIGTERM) == 0
        assert node.open == ["x/db"]

        for stream in DERIVED:  # the next version's services, after an upgrade that is to be undone
            await write_again(bus, stream)
            await write_strange(bus, stream)
        async with FakeNode(bus, "n1", {1: DB}, node.ids) as fresh:
            assert await fresh.until(upto) == flows
        assert node.switch == flows

        watched = {message.subject for stream in DERIVED for message in await held(bus, stream)}
        blinks = Blinks(bus, watched - {one for stream in DERIVED for one in STRANGE[stream]})
        await blinks.listen()
        for obj in OBJECTS:
            if obj is not NETPOL:
                await bus.js.publish(subjects.object_(*key_of(obj)), later(obj))
        await write_strange(bus, "LEDGER")
        async with running(*programs):
            upto = Revision(upto.epoch, (await streams.origin(bus, "LEDGER")).last_sequence)
            await in_force(source, watch, upto)
            assert await node.until(upto) == flows
            for program in programs:  # rolling: each is another version from now on, as far as the others can see
                assert await program.end(signal.SIGTERM) == 0
                upto = await source.put(namespace(f"n-{program.service.replace('_', '-')}"))
                await program.start()
                await in_force(source, watch, upto)
                assert await node.until(upto) == flows
            assert blinks.found == []
            assert node.gone == set()

            body = later(NETPOL)
            upto = Revision(upto.epoch, (await bus.js.publish(subjects.object_(*key_of(NETPOL)), body)).seq)
            closed = known_part.decode(Kind.K8S_NETWORK_POLICY, body)
            source.objects[key_of(NETPOL)] = closed
            await in_force(source, watch, upto)
            (shut,) = (one for one in programs_of([closed]).values() if isinstance(one, dict))
            assert (shut.get("rules", []), shut["isolates"]) == ([], ["ingress", "egress"])
            assert await node.until(upto) != flows


@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_this_version_goes_on_from_what_the_one_before_has_written(bus, server, watch, tmp_path):
    await streams.ensure(bus)
    rows = [msgspec.json.decode(line, type=Row) for line in DUMP.read_bytes().splitlines()]
    epoch = await streams.epoch(bus, "LEDGER")
    for row in rows:
        body = row.body.encode()
        await bus.js.publish(row.subject, body, headers={CAUSE_HEADER: row.cause} if row.cause else {})
    before = {row.subject for row in rows if row.stream in DERIVED}
    blinks = Blinks(bus, before)
    await blinks.listen()
    upto = Revision(epoch, (await streams.origin(bus, "LEDGER")).last_sequence)
    objects = {key_of(obj): obj for obj in OBJECTS}
    programs = services(server.url, tmp_path)
    async with running(*programs), FakeNode(bus, "n1", {1: DB}) as node:
        await node.until(upto)
        assert node.open == ["x/db"]
        async with await Output.open(bus, "LEDGER", ["objects.>"]) as output:
            source = Source(output)
            source.objects = objects
            await in_force(source, watch, upto)
            upto = await source.put(pod("x/new", ip="10.0.0.9", node="n1", app="web"))
            await in_force(source, watch, upto)
            await node.until(upto)
    assert blinks.found == []
    assert len(before) > 10
    assert {subjects.parse(row.subject).kind for row in rows if row.subject.startswith("objects.")} >= {  # type: ignore[union-attr]  # all are of objects
        Kind.POD,
        Kind.K8S_NETWORK_POLICY,
        Kind.CLUSTER_NETWORK_POLICY,
    }


async def write_dump(folder: Path) -> None:
    """Write down what this version makes of the objects."""
    server = await NatsServer.start(folder / "nats")
    async with await Bus.connect(server.url, name="dump", limits=LIMITS) as bus:
        async with await Output.open(bus, "LEDGER", ["objects.>"]) as output:
            source = Source(output)
            await source.put(*OBJECTS)
            upto = await source.listed()
        async with running(*services(server.url, folder)):
            for stream in DERIVED:
                await Stored(bus, stream).until(MARKS[stream], upto)
        rows = [
            Row(stream, message.subject, cause_text(message.cause) if stream in DERIVED else "", message.body.decode())
            for stream in ("LEDGER", *DERIVED)
            for message in await held(bus, stream)
            if message.body
        ]
    await server.stop()
    DUMP.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        asyncio.run(write_dump(Path(name)))
