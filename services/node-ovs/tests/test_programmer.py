"""What the programmer says the switch must hold, and when ports open and close."""

from collections.abc import Iterable

import pytest
from msgspec import Struct
from msgspec.structs import replace

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Local, Mark, Member, Own, Page
from sluice.contracts.ids import Address, GroupId, NodeName, Revision, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import Action, Direction, FqdnPeer, Origin, Program, Rule
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import FlowKey, Flows, match
from sluice.dataplane.ovs.fqdn import Known, NamesState
from sluice.dataplane.ovs.fqdn_values import HOLDING
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.pipeline import Table
from sluice.dataplane.ovs.ports import LocalPort
from sluice.dataplane.protocols import EthType
from sluice.services.node_ovs.opening import openable
from sluice.services.node_ovs.programmer import Change, Programmer

NODE = NodeName("node-1")
WEB = GroupId("web")
UNIT = subjects.unit(Kind.K8S_NETWORK_POLICY, "shop", "deny")


def at(sequence: int) -> Revision:
    return Revision(1, sequence)


def member(name: str, *addresses: str) -> Member:
    return Member(pod=f"shop/{name}", uid=Uid(name), addresses=tuple(map(Address, addresses)))


def port(name: str, ofport: int, *addresses: str) -> LocalPort:
    mac = f"02:00:00:00:00:{ofport:02x}"
    return LocalPort(
        pod=f"shop/{name}", uid=Uid(name), ofport=ofport, mac=mac, addresses=tuple(map(Address, addresses))
    )


A, B = port("a", 1, "10.0.0.1"), port("b", 2, "10.0.0.2")
DENY = Program(
    unit=UNIT,
    applied_to=WEB,
    cause=at(1),
    origin=Origin(kind=Kind.K8S_NETWORK_POLICY, namespace="shop", name="deny", uid=Uid("deny")),
    tier=251,
    priority=0,
    isolates=(Direction.INGRESS, Direction.EGRESS),
)


class Fed:
    """A programmer whose interests are all answered, and the switch that does what it says."""

    def __init__(self) -> None:
        self.programmer = Programmer(NODE, RuleIds())
        self.switch: Flows = {}

    def tell(self, subject: str, value: Struct | None, sequence: int) -> None:
        body = b"" if value is None else codec.encode(value)
        self.programmer.take(subject, body, at(sequence), 0.0)
        self.answer()

    def answer(self) -> None:
        while any(interests := self.programmer.interests()):
            self.programmer.answered(interests.add)

    def pods(self, sequence: int, *members: Member) -> None:
        local = Local(node=NODE, cause=at(sequence), pods=members)
        self.tell(subjects.local(NODE), local, sequence)

    def protect(self, sequence: int, *members: Member) -> None:
        """These Pods are in the group that a policy closes."""
        groups = (WEB,) if members else ()
        self.tell(subjects.own(NODE, 0), Own(node=NODE, shard=0, cause=at(sequence), groups=groups), sequence)
        page = Page(group=WEB, node=NODE, cause=at(sequence), members=members) if members else None
        self.tell(subjects.page(WEB, NODE), page, sequence)
        self.tell(subjects.program("ovs", WEB, UNIT), replace(DENY, cause=at(sequence)), sequence)

    def mark(self, sequence: int) -> None:
        mark = Mark(shard=0, shards=1, upto=at(sequence))
        self.tell(subjects.group_mark(0), mark, sequence)
        self.tell(subjects.program_mark("ovs", 0), mark, sequence)

    def plug(self, *ports: LocalPort) -> None:
        self.programmer.ports_are({one.uid: one for one in ports})

    def advance(self) -> Change | None:
        change = self.programmer.advance(0.0)
        self.answer()
        if change is not None:
            self.switch = {key: body for key, body in self.switch.items() if key not in change.delete} | change.put
            assert self.switch == self.programmer.flows
        return change

    def open(self) -> list[str]:
        return [one.pod for one in self.programmer.open_ports]


def of_port(flows: Iterable[FlowKey], table: Table, ofport: int) -> bool:
    """The table says something of the port."""
    return any(key.table == table and any(term.value == ofport for term in key.match) for key in flows)


def running(*ports: LocalPort) -> Fed:
    fed = Fed()
    fed.plug(*ports)
    fed.pods(1, *(member(one.uid, *one.addresses) for one in ports))
    fed.mark(1)
    fed.advance()
    return fed


def test_nothing_is_said_of_the_switch_before_the_bus_is_read():
    fed = Fed()
    fed.plug(A)
    fed.pods(1, member("a", "10.0.0.1"))

    change = fed.advance()

    assert change is None or not of_port(change.put, Table.CLASSIFIER, 1)
    assert not fed.programmer.in_sync


def test_a_port_opens_when_both_cluster_and_switch_know_the_pod():
    fed = running(A)

    assert fed.open() == ["shop/a"]
    assert of_port(fed.switch, Table.CLASSIFIER, 1)


def test_a_pod_that_the_cluster_does_not_know_yet_stays_closed():
    fed = running(A)
    fed.plug(A, B)

    assert fed.advance() is None
    assert fed.programmer.waiting_ports == ("shop/b",)


def test_a_port_opens_in_the_same_bundle_as_the_programs_of_its_groups():
    fed = running(A)
    fed.plug(A, B)
    fed.pods(2, member("a", "10.0.0.1"), member("b", "10.0.0.2"))
    fed.protect(2, member("b", "10.0.0.2"))
    assert fed.advance() is None
    fed.mark(2)

    change = fed.advance()

    assert change is not None
    assert change.opened == (B,)
    assert of_port(change.put, Table.CLASSIFIER, 2)
    assert of_port(change.put, Table.EGRESS_DEFAULT, 2)
    assert of_port(change.put, Table.INGRESS_DEFAULT, 2)


@pytest.mark.parametrize("leaves", ["cluster", "switch"])
def test_a_port_closes_when_its_pod_leaves(leaves):
    fed = running(A, B)
    if leaves == "switch":
        fed.plug(A)
    else:
        fed.pods(2, member("a", "10.0.0.1"))
        fed.mark(2)

    change = fed.advance()

    assert change is not None
    assert change.closed == (B,)
    assert not of_port(fed.switch, Table.CLASSIFIER, 2)
    assert fed.open() == ["shop/a"]


def test_a_new_pod_of_the_same_name_is_another_pod():
    fed = running(A)
    fed.plug(replace(A, uid=Uid("a2"), ofport=7))

    change = fed.advance()
    assert change is not None
    assert change.closed == (A,)
    assert fed.open() == []

    fed.pods(2, Member(pod="shop/a", uid=Uid("a2"), addresses=(Address("10.0.0.1"),)))
    fed.mark(2)
    fed.advance()
    assert [one.ofport for one in fed.programmer.open_ports] == [7]


def test_a_changed_address_closes_and_opens_anew():
    fed = running(A)
    moved = replace(A, addresses=(Address("10.0.0.9"),))
    fed.plug(moved)
    fed.pods(2, member("a", "10.0.0.9"))
    fed.mark(2)

    change = fed.advance()

    assert change is not None
    assert (change.closed, change.opened) == ((A,), (moved,))


@pytest.mark.parametrize(
    ("pod", "switch", "agreed"),
    [
        (("10.0.0.1",), ("10.0.0.1",), ("10.0.0.1",)),
        (("10.0.0.1", "fd00::1"), ("10.0.0.1",), ("10.0.0.1",)),
        (("10.0.0.1",), ("10.0.0.1", "10.0.0.66"), ("10.0.0.1",)),
        (("10.0.0.1",), ("10.0.0.66",), None),
        ((), ("10.0.0.1",), None),
    ],
)
def test_only_addresses_that_both_give_are_used(pod, switch, agreed):
    found = openable([member("a", *pod)], {Uid("a"): port("a", 1, *switch)})

    assert found == ({} if agreed is None else {Uid("a"): port("a", 1, *agreed)})


def test_streams_made_anew_change_nothing_until_they_are_read():
    fed = running(A, B)
    fed.protect(2, member("b", "10.0.0.2"))
    fed.mark(2)
    assert fed.advance() is not None
    before = fed.switch
    fed.programmer.restarted()
    fed.pods(1, member("a", "10.0.0.1"))

    assert fed.advance() is None
    assert fed.programmer.flows == before


def test_what_the_new_streams_do_not_say_any_more_is_gone():
    fed = running(A, B)
    fed.pods(2, member("a", "10.0.0.1"), member("b", "10.0.0.2"))
    fed.protect(2, member("b", "10.0.0.2"))
    fed.mark(2)
    fed.advance()
    fed.programmer.restarted()
    fed.pods(1, member("a", "10.0.0.1"))
    fed.mark(1)

    change = fed.advance()

    assert change is not None
    assert change.closed == (B,)
    assert fed.switch == running(A).switch


def test_a_program_that_the_new_streams_do_not_say_is_gone_though_its_group_is_there():
    fed = running(A, B)
    fed.protect(2, member("b", "10.0.0.2"))
    fed.mark(2)
    fed.advance()
    fed.programmer.restarted()
    fed.pods(1, member("a", "10.0.0.1"), member("b", "10.0.0.2"))
    fed.tell(subjects.own(NODE, 0), Own(node=NODE, shard=0, cause=at(1), groups=(WEB,)), 1)
    page = Page(group=WEB, node=NODE, cause=at(1), members=(member("b", "10.0.0.2"),))
    fed.tell(subjects.page(WEB, NODE), page, 1)
    fed.mark(1)
    fed.advance()

    assert fed.switch == running(A, B).switch


def test_a_restarted_programmer_says_the_same_of_the_switch():
    def told() -> Fed:
        fed = running(A, B)
        fed.pods(2, member("a", "10.0.0.1"), member("b", "10.0.0.2"))
        fed.protect(2, member("b", "10.0.0.2"))
        fed.mark(2)
        fed.advance()
        return fed

    assert told().switch == told().switch


def test_names_that_outlived_the_programmer_are_in_its_first_change():
    """Not in the one after: until something else happens, that may take a minute."""
    fed = Fed()
    known = Known("www.a.com", Address("192.0.2.1"), Uid("a"), 60.0)
    fed.programmer.naming.names.restore(NamesState(known=(known,)), 0.0, 0.0)
    fed.plug(A)
    fed.pods(1, member("a", "10.0.0.1"))
    fed.protect(1, member("a", "10.0.0.1"))
    names = Rule(index=0, direction=Direction.EGRESS, action=Action.ALLOW, peers=(FqdnPeer(pattern="*.a.com"),))
    fed.tell(subjects.program("ovs", WEB, UNIT), replace(DENY, tier=250, cause=at(1), rules=(names,), isolates=()), 1)
    fed.mark(1)

    change = fed.advance()

    assert change is not None
    told = match((Field.ETH_TYPE, EthType.IPV4), (Field.IPV4_DST, 0xC0000201), (Field.IN_PORT, A.ofport))
    assert told in {key.match for key in change.put}
    assert change.groups == HOLDING
    assert fed.programmer.next_deadline_s(0.0) == 60.0
    assert (ended := fed.programmer.advance(60.0)) is not None
    assert told in {key.match for key in ended.delete}


def test_a_pod_that_only_the_switch_knows_is_open_while_the_operator_wants_it_so():
    fed = running(A)
    fed.plug(A, B)
    fed.advance()
    fed.programmer.open_unknown(so=True)
    fed.advance()
    assert fed.open() == ["shop/a", "shop/b"]

    fed.pods(3, member("a", "10.0.0.1"), member("b", "10.0.0.2"))
    fed.mark(3)
    change = fed.advance()
    fed.programmer.open_unknown(so=False)
    assert change is not None
    assert not change.delete, "it is known by now, and nothing blinks"
    assert change.closed == change.opened == (B,), "its connections are forgotten, and judged anew"
    assert fed.advance() is None
    assert fed.open() == ["shop/a", "shop/b"]

    fed.plug(A, B, port("c", 3, "10.0.0.3"))
    fed.advance()
    assert fed.open() == ["shop/a", "shop/b"]
    assert fed.programmer.waiting_ports == ("shop/c",)


def test_who_was_let_talk_in_the_life_before_is_met_as_well():
    fed = Fed()
    fed.programmer.strangers = frozenset((Uid("b"), Uid("gone")))
    fed.plug(A, B)
    fed.pods(1, member("a", "10.0.0.1"))
    fed.mark(1)
    fed.advance()
    assert fed.open() == ["shop/a"]
    assert fed.programmer.strangers == frozenset((Uid("b"),))

    fed.pods(2, member("a", "10.0.0.1"), member("b", "10.0.0.2"))
    fed.mark(2)
    change = fed.advance()
    assert change is not None
    assert change.closed == change.opened == (B,)
    assert not fed.programmer.strangers
