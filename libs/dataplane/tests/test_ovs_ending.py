"""Which connections a policy that ends them is about, how the switch is asked, and who denies one as it tells."""

import pytest
from msgspec.structs import replace

from sluice.contracts.ids import ALL_NODES, Address
from sluice.contracts.programs import Direction
from sluice.contracts.tracing import Traced
from sluice.dataplane.ovs.ending import Denier, Ending, Known, denier, question
from sluice.dataplane.ovs.ids import ISOLATION, RuleKey
from sluice.dataplane.ovs.pipeline import Table
from sluice.dataplane.ovs.registers import BY_NODE_PORT
from sluice.dataplane.ovs.tracing import read
from sluice.testkit.worlds import GROUPS, HERE, NODES, UNITS, member, page, program

ASKED = Known("tcp", Address("10.0.0.1"), 40000, Address("10.0.0.2"), 80, 0)
TRACED = Traced(source=ASKED.source, destination=ASKED.destination, protocol="TCP", port=80, source_port=40000)
ENDS = replace(program(UNITS[0], GROUPS[0]), ends=True)


def ending(*programs, always=False):
    made = Ending(always=always)
    made.page(GROUPS[0], page(GROUPS[0], HERE, member("x/b")), own=True)
    made.page(GROUPS[1], page(GROUPS[1], HERE, member("x/c")), own=True)
    for one in programs:
        made.put(one)
    return made


@pytest.mark.parametrize(
    ("programs", "always", "concerned"),
    [
        ((), True, False),
        ((ENDS,), False, True),
        ((replace(ENDS, ends=False),), False, False),
        ((replace(ENDS, ends=False),), True, True),
        ((replace(ENDS, applied_to=GROUPS[1]),), False, False),
        ((replace(ENDS, applied_to=ALL_NODES),), False, True),
    ],
)
def test_whom_they_are_about(programs, always, concerned):
    assert ending(*programs, always=always).concerns(ASKED) is concerned


def test_whatever_changes_beside_one_that_ends_is_a_reason_to_ask():
    made = ending(ENDS)
    for change in (
        lambda: made.put(replace(ENDS, unit=UNITS[1], ends=False)),
        lambda: made.drop((ENDS.applied_to, UNITS[1])),
        lambda: made.page(GROUPS[2], None, own=False),
    ):
        made.due = False
        change()
        assert made.due
    made.drop((ENDS.applied_to, ENDS.unit))
    made.due = False
    made.page(GROUPS[0], page(GROUPS[0], NODES[1]), own=False)
    assert not made.due


@pytest.mark.parametrize(
    ("known", "sender", "begins"),
    [
        (ASKED, "pod", "set_field:0x0->reg7,set_field:0x0->reg0,resubmit(,47)"),
        (ASKED, "host", "set_field:0x0->reg7,set_field:0x2->reg0,resubmit(,47)"),
        (ASKED._replace(label=7 << 64 | 1), "pod", "set_field:0x7->reg7,set_field:0x10->reg0,resubmit(,47)"),
        (
            ASKED._replace(label=(BY_NODE_PORT | 7) << 64),
            "world",
            "set_field:0x80000007->reg7,set_field:0x18->reg0,resubmit(,47)",
        ),
        (
            ASKED._replace(label=(BY_NODE_PORT | 7) << 64),
            "pod",
            "set_field:0x80000007->reg7,set_field:0x10->reg0,resubmit(,47)",
        ),
    ],
)
def test_the_switch_is_asked_from_where_policy_begins(known, sender, begins):
    flow, actions = question(known, 3, from_host=sender == "host", from_pod=sender == "pod")

    assert actions == begins
    assert flow == (
        "dl_type=0x800,in_port=3,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_proto=6,tcp_src=40000,tcp_dst=80,"
        "ct_state=trk|new,nw_ttl=64"
    )


def test_the_switch_is_asked_about_the_way_in_alone():
    _, actions = question(ASKED, 3, from_host=False, from_pod=True, at=Table.FORWARD)

    assert actions.endswith(f"resubmit(,{Table.FORWARD:d})")


TOLD = """\
Flow: ct_state=new|trk,tcp,in_port=3,nw_src=10.0.0.1,nw_dst=10.0.0.2,tp_src=40000,tp_dst=80

bridge("br-int")
----------------
    resubmit(,47)
{flows}

Final flow: unchanged
Datapath actions: drop
"""
ALLOWED = """\
60. in_port=3, priority 40000, cookie 0x51ce040000000005
    set_field:0x5->reg5
    goto_table:80"""


BY_A_RULE = """
90. conj_id=2, priority 32501, cookie 0x51ce040000000002
    goto_table:112
112. reg9=0x2, priority 200, cookie 0x51ce0d0000000002
    drop"""
BY_ISOLATION = """
110. reg1=0x4, priority 40000, cookie 0x51ce050000000009
    goto_table:112
112. reg9=0x9, priority 200, cookie 0x51ce0d0000000009
    drop"""
NO_WAY = """
80. priority 0, cookie 0x51ce010000000000
    drop"""
LET_IN = """
111. priority 0, cookie 0x51ce010000000000
    resubmit(,112)
    112. reg9=0x5, priority 200, cookie 0x51ce0d0000000005
            drop"""


OUT = """
70. in_port=3, priority 40000, cookie 0x51ce050000000008
    goto_table:112
112. reg9=0x8, priority 200, cookie 0x51ce0d0000000008
    drop"""
AT_THE_DOOR = """
48. reg7=0x80000007, priority 40000, cookie 0x51ce040000000003
    goto_table:112
112. reg9=0x3, priority 200, cookie 0x51ce0d0000000003
    drop"""


@pytest.mark.parametrize(
    ("flows", "by"),
    [
        (BY_A_RULE, Denier(2, None)),
        (BY_ISOLATION, Denier(9, None)),
        (OUT, Denier(8, Table.FORWARD)),
        (AT_THE_DOOR, Denier(3, Table.EGRESS_TIER)),
        (NO_WAY, None),
        (LET_IN, None),
    ],
)
def test_who_denies_it(flows, by):
    way = read(TOLD.format(flows=ALLOWED + flows), TRACED, 3, "br-int")

    assert denier(way.met) == by


B, C = Address("10.0.0.2"), Address("10.0.0.3")
CLOSES = replace(ENDS, isolates=(Direction.INGRESS,))
OTHER = RuleKey(UNITS[1], GROUPS[1], Direction.INGRESS, ISOLATION)


@pytest.mark.parametrize(
    ("by", "to", "ends"),
    [
        (RuleKey(UNITS[0], GROUPS[0], Direction.INGRESS, 0), B, True),
        (RuleKey(UNITS[1], GROUPS[0], Direction.INGRESS, 0), B, False),
        (OTHER, B, True),  # which isolates b as well, and is the one that the flow names
        (OTHER, C, False),
        (OTHER._replace(direction=Direction.EGRESS), B, False),
    ],
)
def test_whose_denials_end_it(by, to, ends):
    assert ending(CLOSES).deny(by, ASKED._replace(destination=to)) is ends
