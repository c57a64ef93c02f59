"""The four folds of a node on one bus with the next version: its words mean the same, and what means nothing is closed.

Their datapaths are not here: what each would hold is compared with what it holds of the same in this version's words.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, NamedTuple

import pytest
from msgspec import Struct
from tests.integration.versions import write_again, write_strange

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Attachment, Local, Mark, Member, Own, Page
from sluice.contracts.ids import Address, Backend, GroupId, NodeName, Revision, Uid
from sluice.contracts.kinds import SELF_CONTAINED, Kind
from sluice.contracts.l7 import HttpMatch
from sluice.contracts.programs import K8S_TIER, Action, Direction, GroupPeer, Origin, Program, Rule
from sluice.contracts.status import Problem
from sluice.contracts.streams import CAUSE_HEADER, cause_text
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.ports import LocalPort
from sluice.dataplane.reading import Reading
from sluice.dataplane.tc.content import NO_OPTIONS
from sluice.dataplane.tc.engine import InterfaceKey
from sluice.runtime import streams
from sluice.runtime.bus import Bus
from sluice.runtime.feed import Feed
from sluice.services.node_host.programmer import Programmer as HostProgrammer
from sluice.services.node_l7.asked import Asked
from sluice.services.node_ovs.programmer import Programmer as OvsProgrammer
from sluice.services.node_tc.programmer import Programmer as TcProgrammer

NODE = NodeName("n1")
CLIENTS = GroupId("clients")
WEB, ON_NET, SELF = (
    Member(pod="x/web", uid=Uid("web"), addresses=(Address("10.0.0.1"),)),
    Member(
        pod="x/web",
        uid=Uid("web"),
        addresses=(Address("10.1.0.1"),),
        attachment=Attachment(network="x/net", interface="net1", attached=True),
    ),
    Member(pod=NODE, uid=Uid("n1"), addresses=(Address("192.168.77.10"),)),
)
CLIENT = Member(pod="x/a", uid=Uid("a"), addresses=(Address("10.0.0.2"),))
PORT = LocalPort("x/web", Uid("web"), 1, "02:00:00:00:00:01", WEB.addresses)
INTERFACE = InterfaceKey(Uid("web"), "x/net", "net1")


class Row(NamedTuple):
    backend: Backend
    member: Member
    kind: Kind
    namespace: str
    rule: Rule
    spoil: tuple[bytes, bytes]
    """What a program of the next version has instead of what in it."""

    closed: tuple[Rule, ...]
    """What stands for the rule then."""

    begin: Callable[[], Reading]
    holds: Callable[[Any], object]


def rule(**fields: Any) -> Rule:  # Any: those of a rule
    return Rule(index=0, direction=Direction.INGRESS, action=Action.ALLOW, **fields)


def ovs() -> OvsProgrammer:
    programmer = OvsProgrammer(NODE, RuleIds())
    programmer.ports_are({PORT.uid: PORT})
    return programmer


PEERS = {"peers": (GroupPeer(group=CLIENTS),)}
LATER = b'"type":"group"', b'"type":"later"'
NOBODY = (rule(peers=()),)
ROWS = (
    Row("ovs", WEB, Kind.K8S_NETWORK_POLICY, "x", rule(**PEERS), LATER, NOBODY, ovs, lambda fold: fold.flows),
    Row(
        *("tc", ON_NET, Kind.MULTI_NETWORK_POLICY, "x", rule(**PEERS), LATER, NOBODY),
        lambda: TcProgrammer(NODE, NO_OPTIONS),
        lambda fold: fold.contents(INTERFACE),
    ),
    Row(
        *("host", SELF, Kind.CLUSTER_NETWORK_POLICY, "", rule(**PEERS), LATER, NOBODY),
        lambda: HostProgrammer(NODE, 500),
        lambda fold: fold.table(),
    ),
    Row(
        *("l7", WEB, Kind.ANTREA_NETWORK_POLICY, "x", rule(l7=(HttpMatch(path="/public"),))),
        *((b'"type":"http"', b'"type":"later"'), (), lambda: Asked(NODE), lambda fold: fold.rule_sets),
    ),
)


def group(row: Row) -> GroupId:
    return GroupId(f"of-{row.backend}")


def program(row: Row, epoch: int, sequence: int, rules: tuple[Rule, ...]) -> tuple[str, bytes]:
    unit = subjects.unit(row.kind, row.namespace, "p")
    origin = Origin(kind=row.kind, namespace=row.namespace, name="p", uid=Uid("p"))
    value = Program(
        unit=unit,
        applied_to=group(row),
        cause=Revision(epoch, sequence),
        origin=origin,
        tier=K8S_TIER if row.kind in SELF_CONTAINED else 250,
        priority=0,
        rules=rules,
        isolates=(Direction.INGRESS,) if row.backend in ("ovs", "tc") else (),
        about_nodes=row.backend == "host",
    )
    return subjects.program(row.backend, group(row), unit), codec.encode(value)


class Writer:
    """group-resolver and rule-compiler, of any version."""

    def __init__(self, bus: Bus, epoch: int) -> None:
        self._bus, self.epoch, self.sequence = bus, epoch, 0

    @property
    def upto(self) -> Revision:
        return Revision(self.epoch, self.sequence)

    async def put(self, subject: str, value: Struct | bytes) -> None:
        body = value if isinstance(value, bytes) else codec.encode(value)
        await self._bus.js.publish(subject, body, headers={CAUSE_HEADER: cause_text(self.upto)})

    async def groups(self) -> None:
        for row in ROWS:
            page = Page(group=group(row), node=NODE, cause=self.upto, members=(row.member,))
            await self.put(subjects.page(group(row), NODE), page)
        await self.put(subjects.page(CLIENTS, NODE), Page(group=CLIENTS, node=NODE, cause=self.upto, members=(CLIENT,)))
        own = Own(node=NODE, shard=0, cause=self.upto, groups=tuple(sorted(map(group, ROWS))))
        await self.put(subjects.own(NODE, 0), own)
        await self.put(subjects.local(NODE), Local(node=NODE, cause=self.upto, pods=(WEB,)))

    async def programs(self, rules: Callable[[Row], tuple[Rule, ...]], *, spoiled: bool = False) -> None:
        """The next step: one program for each backend, and marks."""
        self.sequence += 1
        if self.sequence == 1:
            await self.groups()
        for row in ROWS:
            subject, body = program(row, self.epoch, self.sequence, rules(row))
            await self.put(subject, body.replace(*row.spoil) if spoiled else body)
        mark = Mark(shard=0, shards=1, upto=self.upto)
        await self.put(subjects.group_mark(0), mark)
        for row in ROWS:
            await self.put(subjects.program_mark(row.backend, 0), mark)


class Node:
    """The folds, each with a feed of its own, as on a node."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self.folds: dict[Backend, Any] = {row.backend: row.begin() for row in ROWS}  # Any: each has ways of its own
        self._stepped = asyncio.Condition()

    async def until(self, upto: Revision) -> Mapping[Backend, object]:
        """What each would hold, once all up to there is in it."""
        async with asyncio.timeout(100), self._stepped:
            await self._stepped.wait_for(lambda: all(fold.upto >= upto for fold in self.folds.values()))
        return {row.backend: row.holds(self.folds[row.backend]) for row in ROWS}

    def unread(self) -> Mapping[Backend, tuple[Problem, ...]]:
        return {backend: fold.unread for backend, fold in self.folds.items()}

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for fold in self.folds.values():
                news = asyncio.Event()
                feed = Feed(self._bus, fold, resync_s=60, told=news.set)
                tasks.create_task(feed.run(), name="feed")
                tasks.create_task(self._advance(fold, feed, news), name="advance")

    async def _advance(self, fold: Any, feed: Feed, news: asyncio.Event) -> None:  # Any: each has ways of its own
        while True:
            await news.wait()
            news.clear()
            fold.advance(monotonic())
            feed.tell_interests()
            async with self._stepped:
                self._stepped.notify_all()


@asynccontextmanager
async def node_on(bus: Bus) -> AsyncIterator[Node]:
    node = Node(bus)
    running = asyncio.create_task(node.run(), name="node")
    try:
        yield node
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.timeout(300)
async def test_a_node_amid_what_the_next_version_writes(bus: Bus) -> None:
    await streams.ensure(bus)
    writer = Writer(bus, await streams.epoch(bus, "LEDGER"))
    await writer.programs(lambda row: row.closed)
    async with node_on(bus) as node:
        closed = await node.until(writer.upto)
        await writer.programs(lambda row: (row.rule,))
        opened = await node.until(writer.upto)
        assert [row.backend for row in ROWS if opened[row.backend] == closed[row.backend]] == []

        for stream in ("GROUPS", "PROGRAMS"):
            await write_again(bus, stream)
            await write_strange(bus, stream)
        async with node_on(bus) as fresh:
            assert await fresh.until(writer.upto) == opened

        await writer.programs(lambda row: (row.rule,), spoiled=True)
        assert await node.until(writer.upto) == opened, "what was there stays"
        async with node_on(bus) as fresh:
            assert await fresh.until(writer.upto) == closed
            for (backend, kept), (_, new) in zip(node.unread().items(), fresh.unread().items(), strict=True):
                assert [one.state for one in (*kept, *new)] == ["failed", "failed"], backend
                assert "the previous rules stay in force" in kept[0].reason
                assert "what it does not understand is closed" in new[0].reason
            assert bus.rejects.counts == {"programs": len(ROWS)}, "each is told of once"

            await writer.programs(lambda row: (row.rule,))
            assert await fresh.until(writer.upto) == await node.until(writer.upto) == opened
            assert not any([*node.unread().values(), *fresh.unread().values()])
