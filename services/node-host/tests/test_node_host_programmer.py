"""What the bus says becomes what the table must hold: nothing before all is read, and closed while it is not known."""

import pytest
from msgspec import Struct

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Mark, Member, NodeRoute, Own, Page
from sluice.contracts.ids import Address, GroupId, NodeName, Revision, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.l7 import HttpMatch, L7Match
from sluice.contracts.programs import Action, Direction, GroupPeer, Origin, Program, Rule
from sluice.dataplane.host.guard import HOOKS
from sluice.dataplane.host.table import Side
from sluice.policy.verdict import Outcome
from sluice.services.node_host.programmer import Programmer
from sluice.testkit.host_walker import Sent, walk

NODE, OTHER = NodeName("node-1"), NodeName("node-2")
LINUX, CLIENTS = GroupId("linux"), GroupId("clients")
UNIT = subjects.unit(Kind.CLUSTER_NETWORK_POLICY, "", "p")


def at(sequence: int) -> Revision:
    return Revision(1, sequence)


def member(name: str, address: str) -> Member:
    return Member(pod=name, uid=Uid(name), addresses=(Address(address),))


SELF, CLIENT = member("node-1", "192.168.77.10"), member("x/a", "10.0.0.1")


def program(action: Action = Action.DROP, l7: tuple[L7Match, ...] | None = None) -> Program:
    peers = (GroupPeer(group=CLIENTS),)
    return Program(
        unit=UNIT,
        applied_to=LINUX,
        cause=at(1),
        origin=Origin(kind=Kind.CLUSTER_NETWORK_POLICY, namespace="", name="p", uid=Uid("p")),
        tier=250,
        priority=5.0,
        rules=(Rule(index=0, direction=Direction.INGRESS, action=action, peers=peers, l7=l7),),
        about_nodes=True,
    )


def sent(source: int, destination: int = 1) -> Sent:
    return Sent(HOOKS[Direction.INGRESS], 4, source, destination, 6, 40_000, 80)


FROM_CLIENT, FROM_OTHERS = sent(0x0A000001), sent(0x0A000002)


class Fed:
    def __init__(self) -> None:
        self.programmer = Programmer(NODE, 500)
        self.unanswered: frozenset[str] = frozenset()

    def tell(self, subject: str, value: Struct | None, sequence: int, now_s: float = 0.0) -> None:
        self.programmer.take(subject, b"" if value is None else codec.encode(value), at(sequence), now_s)
        self.answer()

    def answer(self) -> None:
        while any(interests := self.programmer.interests()):
            self.programmer.answered(frozenset(interests.add) - self.unanswered)

    def begin(self, sequence: int = 1) -> None:
        self.tell(subjects.own(NODE, 0), Own(node=NODE, shard=0, cause=at(1), groups=(LINUX,)), 1)
        self.tell(subjects.page(LINUX, NODE), Page(group=LINUX, node=NODE, cause=at(1), members=(SELF,)), 1)
        self.mark(sequence)

    def mark(self, sequence: int, now_s: float = 10.0) -> bool:
        mark = Mark(shard=0, shards=1, upto=at(sequence))
        self.tell(subjects.group_mark(0), mark, sequence, now_s)
        self.tell(subjects.program_mark("host", 0), mark, sequence, now_s)
        return self.programmer.advance(now_s)

    def fates(self) -> tuple[Outcome, Outcome]:
        """Of what the client sends, and others."""
        table = self.programmer.table()
        return walk(table, FROM_CLIENT).outcome, walk(table, FROM_OTHERS).outcome


def test_nothing_is_in_sync_before_the_bus_is_read() -> None:
    fed = Fed()
    fed.tell(subjects.own(NODE, 0), Own(node=NODE, shard=0, cause=at(1), groups=(LINUX,)), 1)

    assert not fed.programmer.advance(0.0)
    assert not fed.programmer.in_sync


def test_a_policy_comes_with_its_peers_and_goes() -> None:
    fed = Fed()
    fed.begin()
    assert fed.fates() == (Outcome.ALLOWED, Outcome.ALLOWED)
    fed.tell(subjects.program("host", LINUX, UNIT), program(), 2)
    fed.tell(subjects.page(CLIENTS, OTHER), Page(group=CLIENTS, node=OTHER, cause=at(2), members=(CLIENT,)), 2)
    fed.mark(2)
    assert fed.fates() == (Outcome.DROPPED, Outcome.ALLOWED)
    assert fed.programmer.problems == ()

    fed.tell(subjects.program("host", LINUX, UNIT), None, 3)
    fed.mark(3)
    assert fed.fates() == (Outcome.ALLOWED, Outcome.ALLOWED)


@pytest.mark.parametrize(
    ("action", "unknown"),
    [
        (Action.DROP, (Outcome.DROPPED, Outcome.DROPPED)),
        (Action.REJECT, (Outcome.REJECTED, Outcome.REJECTED)),
        (Action.ALLOW, (Outcome.ALLOWED, Outcome.ALLOWED)),
    ],
)
def test_what_denies_denies_everybody_while_its_peers_are_unknown(action: Action, unknown: object) -> None:
    fed = Fed()
    fed.begin()
    fed.unanswered = frozenset((subjects.pages(CLIENTS),))
    fed.tell(subjects.program("host", LINUX, UNIT), program(action), 2)
    fed.mark(2, 0.5)
    assert fed.fates() == (Outcome.ALLOWED, Outcome.ALLOWED)
    fed.programmer.advance(10.0)
    assert fed.fates() == unknown
    assert [(one.unit, one.state) for one in fed.programmer.problems] == [(UNIT, "waiting")]

    fed.tell(subjects.page(CLIENTS, OTHER), Page(group=CLIENTS, node=OTHER, cause=at(3), members=(CLIENT,)), 3)
    fed.programmer.answered((subjects.pages(CLIENTS),))
    fed.mark(3)
    assert fed.fates()[1] is Outcome.ALLOWED
    assert fed.programmer.problems == ()


def test_what_cannot_be_lowered_is_told_by_name_and_closed() -> None:
    fed = Fed()
    fed.begin()
    fed.tell(subjects.program("host", LINUX, UNIT), program(Action.ALLOW, l7=(HttpMatch(host="a.com"),)), 2)
    fed.tell(subjects.page(CLIENTS, OTHER), Page(group=CLIENTS, node=OTHER, cause=at(2), members=(CLIENT,)), 2)
    fed.mark(2)

    (problem,) = fed.programmer.problems
    assert (problem.state, "leave l7Protocols out" in problem.reason) == ("failed", True)
    assert fed.fates() == (Outcome.DROPPED, Outcome.ALLOWED)


def test_the_nodes_own_pods_are_reached_whatever_policies_say() -> None:
    fed = Fed()
    route = NodeRoute(node=NODE, cause=at(1), addresses=(), pod_cidrs=("10.1.0.0/24",), strays=(Address("10.9.0.1"),))
    fed.tell(subjects.route(NODE), route, 1)
    fed.begin()

    sets = fed.programmer.table().sets
    assert sorted(sets["pods4"].elements) == [(0x0A010000, 0x0A0100FF), (0x0A090001, 0x0A090001)]
    assert any(Side.DESTINATION in match for line in fed.programmer.table().chains["output"].lines for match in line[0])


def test_streams_that_are_made_anew_change_nothing_until_they_are_read() -> None:
    fed = Fed()
    fed.begin()
    fed.tell(subjects.program("host", LINUX, UNIT), program(), 2)
    fed.tell(subjects.page(CLIENTS, OTHER), Page(group=CLIENTS, node=OTHER, cause=at(2), members=(CLIENT,)), 2)
    fed.mark(2)
    fed.programmer.restarted()

    assert not fed.programmer.advance(11.0)
    assert fed.fates() == (Outcome.DROPPED, Outcome.ALLOWED)
