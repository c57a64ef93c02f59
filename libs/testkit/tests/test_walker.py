"""The walker does what ovs-fields(7) and ovs-actions(7) say; `test_ovs_switch` holds it against a real switch."""

from typing import NamedTuple

import pytest

from sluice.dataplane.ovs.fields import CtState, Field
from sluice.dataplane.ovs.parse import read_all
from sluice.dataplane.protocols import EthType
from sluice.testkit.tracker import Packet, Tracker
from sluice.testkit.walker import Walker

TCP = {Field.ETH_TYPE: EthType.IPV4, Field.IP_PROTO: 6, Field.IN_PORT: 1}
UDP = {Field.ETH_TYPE: EthType.IPV4, Field.IP_PROTO: 17, Field.IN_PORT: 1}


def tcp(source: int = 1, target: int = 2, port: int = 80, in_port: int = 1) -> Packet:
    ends = {Field.IPV4_SRC: 0x0A000000 + source, Field.IPV4_DST: 0x0A000000 + target}
    return TCP | ends | {Field.TCP_SRC: 40000, Field.TCP_DST: port, Field.IN_PORT: in_port}


def back(packet: Packet, in_port: int = 2) -> Packet:
    ends = {Field.IPV4_SRC: packet[Field.IPV4_DST], Field.IPV4_DST: packet[Field.IPV4_SRC]}
    return {**packet, **ends, Field.TCP_SRC: packet[Field.TCP_DST], Field.TCP_DST: packet[Field.TCP_SRC]} | {
        Field.IN_PORT: in_port
    }


class Case(NamedTuple):
    name: str
    flows: str
    packet: Packet
    ports: tuple[int, ...]


CLAUSES = """
    priority=10,ip,nw_src=10.0.0.1 actions=conjunction(7,1/2)
    priority=10,ip,nw_src=10.0.0.0/30 actions=conjunction(8,1/3)
    priority=10,ip,nw_dst=10.0.0.2 actions=conjunction(7,2/2),conjunction(8,2/3)
    priority=10,tcp,tp_dst=443 actions=conjunction(8,3/3)
    priority=10,conj_id=7 actions=output:7
    priority=10,conj_id=8 actions=output:8
"""

LOOKUPS = [
    Case("no flow drops", "", tcp(), ()),
    Case("the higher priority wins", "priority=1 actions=output:3\npriority=2 actions=output:4", tcp(), (4,)),
    Case("a field that does not fit", "priority=1,udp actions=output:3", tcp(), ()),
    Case("a mask", "priority=1,ip,nw_src=10.0.0.0/30 actions=output:3", tcp(), (3,)),
    Case("outside a mask", "priority=1,ip,nw_src=10.0.0.0/30 actions=output:3", tcp(source=4), ()),
    Case("every clause of an id is met", CLAUSES, tcp(), (7,)),
    Case("by CIDRs of other masks, in three dimensions", CLAUSES, tcp(source=3, port=443), (8,)),
    Case("one clause is not met", CLAUSES, tcp(target=3), ()),
    Case("clauses of two ids do not add up", CLAUSES, tcp(source=3), ()),
    Case("a soft flow alone does nothing", "priority=1,ip actions=conjunction(7,1/2)", tcp(), ()),
    Case("clauses are met but there is no conj_id flow", CLAUSES.replace("conj_id=7", "conj_id=9"), tcp(), ()),
    Case(
        "no conj_id flow: a flow of lower priority is next",
        CLAUSES.replace("conj_id=7", "conj_id=9") + "priority=5 actions=output:5",
        tcp(),
        (5,),
    ),
    Case(
        "a flow of lower priority and equal match is next",
        CLAUSES + "priority=5,ip,nw_src=10.0.0.1 actions=output:5",
        tcp(target=9),
        (5,),
    ),
    Case("the conj_id flow may have any priority", CLAUSES.replace("=10,conj", "=1,conj"), tcp(), (7,)),
    Case("a flow of equal priority that is not soft wins", CLAUSES + "priority=10,tcp actions=output:5", tcp(), (5,)),
    Case("a flow of higher priority wins", CLAUSES + "priority=11,tcp actions=output:5", tcp(), (5,)),
    Case("a conjunction wins over lower priorities", CLAUSES + "priority=9,tcp actions=output:5", tcp(), (7,)),
    Case(
        "clauses of two priorities do not add up",
        CLAUSES.replace("priority=10,ip,nw_dst", "priority=11,ip,nw_dst"),
        tcp(),
        (),
    ),
    Case(
        "the higher of two conjunctions wins",
        CLAUSES.replace("priority=10,conj_id=7", "priority=1,conj_id=7")
        + """
        priority=20,in_port=1 actions=conjunction(9,1/2)
        priority=20,tcp actions=conjunction(9,2/2)
        conj_id=9 actions=output:9
        """,
        tcp(),
        (9,),
    ),
    Case(
        "a conj_id flow may say more",
        CLAUSES.replace("conj_id=7", "conj_id=7,udp") + "priority=1 actions=output:5",
        tcp(),
        (5,),
    ),
    Case(
        "one flow cannot meet two clauses by itself",
        "priority=1,ip actions=conjunction(7,1/2),conjunction(7,2/2)\nconj_id=7 actions=output:7",
        tcp(),
        (),
    ),
]
ACTIONS = [
    Case("one after the other", "actions=output:3,output:4", tcp(), (3, 4)),
    Case("not back to where it came from", "actions=output:1", tcp(), ()),
    Case("but by name", "actions=IN_PORT", tcp(), (1,)),
    Case("goto ends the list", "actions=goto_table:5\ntable=5,actions=output:3", tcp(), (3,)),
    Case("resubmit comes back", "actions=resubmit(,5),output:4\ntable=5,actions=output:3", tcp(), (3, 4)),
    Case("what a register says", "actions=set_field:0x3->reg1,output:NXM_NX_REG1[]", tcp(), (3,)),
    Case(
        "a masked set keeps the rest",
        "actions=set_field:0xf0->reg1,set_field:0x3/0xf->reg1,output:NXM_NX_REG1[]",
        tcp(),
        (0xF3,),
    ),
    Case(
        "a move of some bits",
        "actions=set_field:0x30->reg2,move:NXM_NX_REG2[4..7]->NXM_NX_REG1[0..3],output:NXM_NX_REG1[]",
        tcp(),
        (3,),
    ),
    Case(
        "changes are seen by later tables",
        "actions=set_field:10.0.0.9->ip_dst,goto_table:5\ntable=5,ip,nw_dst=10.0.0.9 actions=output:3",
        tcp(),
        (3,),
    ),
    Case(
        "ct forks, and the rest goes on untracked",
        "ip actions=ct(table=5,zone=1),goto_table:6\ntable=5,ct_state=+new+trk actions=output:3\n"
        "table=6,ct_state=+trk actions=output:9\ntable=6,priority=1 actions=output:4",
        tcp(),
        (3, 4),
    ),
]


@pytest.mark.parametrize("case", LOOKUPS + ACTIONS, ids=[case.name for case in LOOKUPS + ACTIONS])
def test_where_a_packet_goes(case: Case):
    assert Walker(read_all(case.flows)).walk(case.packet).ports == case.ports


def test_a_walk_says_which_flows_it_met():
    flows = read_all("priority=1 actions=goto_table:5\ntable=5,priority=3 actions=controller(userdata=07)")

    found = Walker(flows).walk(tcp())

    assert found.hits == tuple(sorted(flows))
    assert found.punted == (b"\7",)


def test_a_packet_that_goes_round_is_a_bug():
    with pytest.raises(AssertionError, match="goes round"):
        Walker(read_all("actions=resubmit(,0)")).walk(tcp())


# -------------------------------------------------------------------------------------------------------- connections

FIREWALL = read_all(
    """
    ip actions=ct(table=1,zone=5)
    table=1,priority=9,ct_state=+inv actions=drop
    table=1,priority=8,ct_state=+rel actions=output:33
    table=1,priority=7,ct_state=+est-rpl actions=output:30
    table=1,priority=7,ct_state=+est+rpl actions=output:31
    table=1,priority=6,ct_state=+new,in_port=1 actions=set_field:0x6->reg6,goto_table:2
    table=2,actions=ct(commit,zone=5,exec(move:NXM_NX_REG6[]->NXM_NX_CT_LABEL[32..63])),output:32
    """
)


def icmp(kind: int, *, source: int = 1, target: int = 2, in_port: int = 1) -> Packet:
    ends = {Field.IPV4_SRC: 0x0A000000 + source, Field.IPV4_DST: 0x0A000000 + target}
    return {Field.ETH_TYPE: EthType.IPV4, Field.IP_PROTO: 1, Field.ICMP_TYPE: kind, Field.IN_PORT: in_port, **ends}


def test_a_connection_is_established_once_it_was_answered():
    walker = Walker(FIREWALL)

    assert walker.walk(back(tcp())).ports == ()
    assert walker.walk(tcp()).ports == (32,)
    assert walker.walk(tcp()).ports == (32,)  # sent again
    assert walker.walk(back(tcp())).ports == (31,)
    assert walker.walk(tcp()).ports == (30,)
    assert walker.walk(tcp(port=81)).ports == (32,)
    assert [connection.label for connection in walker.tracker.connections] == [6 << 32, 6 << 32]


def test_a_packet_that_was_not_committed_leaves_no_connection():
    walker = Walker(FIREWALL)

    assert walker.walk(tcp(in_port=2)).ports == ()
    assert not walker.tracker.connections


def test_an_echo_reply_needs_its_request_and_is_none():
    walker = Walker(FIREWALL)

    assert walker.walk(icmp(0)).ports == ()
    assert walker.walk(icmp(8)).ports == (32,)
    assert walker.walk(icmp(8, source=2, target=1, in_port=2)).ports == ()  # a request of its own
    assert walker.walk(icmp(0, source=2, target=1, in_port=2)).ports == (31,)


def test_an_icmp_error_is_related_to_what_it_quotes_or_invalid():
    walker = Walker(FIREWALL)
    walker.walk(tcp())

    assert walker.walk(icmp(3, source=9, target=1), about=tcp()).ports == (33,)
    assert walker.walk(icmp(3, source=9, target=1), about=tcp(port=81)).ports == ()
    assert walker.walk(icmp(3, source=9, target=1)).ports == ()


def test_zones_do_not_know_of_each_other():
    tracker = Tracker()
    tracker.commit(1, tcp())

    assert tracker.look_up(1, back(tcp())).state == CtState.TRK | CtState.EST | CtState.RPL
    assert tracker.look_up(2, back(tcp())).state == CtState.TRK | CtState.NEW


def test_flushed_connections_are_forgotten():
    tracker = Tracker()
    for target in (2, 3):
        tracker.commit(1, tcp(target=target))

    tracker.flush(0x0A000003)
    assert len(tracker.connections) == 1
    tracker.flush()
    assert not tracker.connections
