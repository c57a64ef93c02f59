"""What the bus says becomes what interfaces must hold: nothing before all is read, and only what differs after."""

import pytest
from msgspec import Struct

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Attachment, Local, Mark, Member, NodeRoute, Own, Page
from sluice.contracts.ids import Address, GroupId, NodeName, Revision, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import Action, Direction, GroupPeer, Origin, Program, Rule
from sluice.dataplane.tc.content import NO_OPTIONS, Mode
from sluice.dataplane.tc.engine import Change, InterfaceKey
from sluice.dataplane.tc.filter import Hook
from sluice.services.node_tc.programmer import Programmer

NODE, OTHER = NodeName("node-1"), NodeName("node-2")
WEB, CLIENTS = GroupId("web"), GroupId("clients")
UNIT = subjects.unit(Kind.MULTI_NETWORK_POLICY, "x", "in")


def at(sequence: int) -> Revision:
    return Revision(1, sequence)


def member(name: str, address: str) -> Member:
    attachment = Attachment(network="x/net", interface="net1", attached=True)
    return Member(pod=f"x/{name}", uid=Uid(name), addresses=(Address(address),), attachment=attachment)


A, B, C = member("a", "10.0.0.1"), member("b", "10.0.0.2"), member("c", "10.0.0.3")
KEY = InterfaceKey(Uid("a"), "x/net", "net1")
FROM_CLIENTS = Program(
    unit=UNIT,
    applied_to=WEB,
    cause=at(1),
    origin=Origin(kind=Kind.MULTI_NETWORK_POLICY, namespace="x", name="in", uid=Uid("in")),
    tier=251,
    priority=0,
    isolates=(Direction.INGRESS,),
    rules=(Rule(index=0, direction=Direction.INGRESS, action=Action.ALLOW, peers=(GroupPeer(group=CLIENTS),)),),
)


class Fed:
    """A programmer whose interests are all answered."""

    def __init__(self) -> None:
        self.programmer = Programmer(NODE, NO_OPTIONS)

    def tell(self, subject: str, value: Struct | None, sequence: int) -> None:
        self.programmer.take(subject, b"" if value is None else codec.encode(value), at(sequence), 0.0)
        while any(interests := self.programmer.interests()):
            self.programmer.answered(interests.add)

    def page(self, group: GroupId, node: NodeName, sequence: int, *members: Member) -> None:
        page = Page(group=group, node=node, cause=at(sequence), members=members) if members else None
        self.tell(subjects.page(group, node), page, sequence)

    def begin(self) -> None:
        self.tell(subjects.own(NODE, 0), Own(node=NODE, shard=0, cause=at(1), groups=(WEB,)), 1)
        self.page(WEB, NODE, 1, A)
        self.tell(subjects.program("tc", WEB, UNIT), FROM_CLIENTS, 1)
        self.page(CLIENTS, OTHER, 1, B)

    def mark(self, sequence: int) -> dict[InterfaceKey, Change]:
        """Everything up to there is told; what differs."""
        mark = Mark(shard=0, shards=1, upto=at(sequence))
        self.tell(subjects.group_mark(0), mark, sequence)
        self.tell(subjects.program_mark("tc", 0), mark, sequence)
        return self.programmer.advance(10.0)


def test_nothing_is_said_before_the_bus_is_read() -> None:
    fed = Fed()
    fed.begin()

    assert fed.programmer.advance(0.0) == {}
    assert not fed.programmer.in_sync


def test_what_is_read_is_what_interfaces_hold() -> None:
    fed = Fed()
    fed.begin()

    assert fed.mark(1) == {KEY: Change(True, {})}
    assert {hook: one.mode for hook, one in fed.programmer.contents(KEY).items()} == {
        Hook.INGRESS: Mode.TRACKED,
        Hook.EGRESS: Mode.POLICED,
    }
    assert fed.programmer.interfaces == {KEY: A}


def test_a_member_more_is_an_address_more() -> None:
    fed = Fed()
    fed.begin()
    fed.mark(1)
    fed.page(CLIENTS, OTHER, 2, B, C)

    change = fed.mark(2)[KEY]

    assert not change.whole
    assert [len(change.addresses[hook]) for hook in Hook] == [0, 1]


def test_a_policy_that_goes_leaves_the_interface_open() -> None:
    fed = Fed()
    fed.begin()
    fed.mark(1)
    fed.tell(subjects.program("tc", WEB, UNIT), None, 2)

    assert fed.mark(2) == {KEY: Change(True, {})}
    assert {one.mode for one in fed.programmer.contents(KEY).values()} == {Mode.OPEN}
    assert fed.programmer.interfaces == {}


def test_streams_that_are_made_anew_change_nothing_until_they_are_read() -> None:
    fed = Fed()
    fed.begin()
    fed.mark(1)
    fed.programmer.restarted()

    assert fed.programmer.advance(11.0) == {}
    assert {one.mode for one in fed.programmer.contents(KEY).values()} == {Mode.TRACKED, Mode.POLICED}


def local(sequence: int, *interfaces: Member) -> Local:
    return Local(node=NODE, cause=at(sequence), pods=(), interfaces=interfaces)


def test_who_has_which_interface_is_known_with_what_is_policed_and_not_before() -> None:
    fed = Fed()
    fed.begin()
    seen: list[tuple[Member, ...] | None] = []
    for sequence, said in ((1, local(1, A)), (2, local(2, A, C)), (3, None)):
        fed.tell(subjects.local(NODE), said, sequence)
        fed.programmer.advance(10.0)
        seen.append(fed.programmer.claims)
        fed.mark(sequence)
        seen.append(fed.programmer.claims)

    assert seen == [None, (A,), (A,), (A, C), (A, C), ()]


def test_a_writer_that_does_not_know_of_interfaces_has_not_told_that_there_are_none() -> None:
    fed = Fed()
    fed.begin()
    fed.tell(subjects.local(NODE), Local(node=NODE, cause=at(1), pods=()), 1)
    fed.mark(1)

    assert fed.programmer.in_sync
    assert fed.programmer.claims is None


@pytest.mark.parametrize("known", [True, False])
def test_a_node_that_is_known_and_not_listed_has_no_pods(known: bool) -> None:
    fed = Fed()
    fed.begin()
    fed.tell(subjects.route(NODE if known else OTHER), NodeRoute(node=NODE if known else OTHER, cause=at(1)), 1)
    fed.mark(1)

    assert fed.programmer.claims == (() if known else None)
