"""What is logged of which packets, and that logging is no matter of theirs."""

import pytest
from hypothesis import given
from msgspec.structs import replace

from sluice.contracts.programs import Action, Direction, Program
from sluice.dataplane.ovs.audit import LOG, RULE_ID
from sluice.dataplane.ovs.cookies import unpack
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.errand import Errand, Meter
from sluice.dataplane.ovs.flow import Controller, FlowBody, Flows, Resubmit, SetField
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.lower import Inputs, lower
from sluice.dataplane.ovs.pipeline import Table
from sluice.testkit import worlds
from sluice.testkit.examples import share
from sluice.testkit.meaning import Probe, packet, probes
from sluice.testkit.tracker import Packet
from sluice.testkit.walker import Sent, Walker
from sluice.testkit.worlds import HERE, PODS, TIER_UNITS, addresses, allow, member, page, port, program, rule, uid

IN, OUT = Direction.INGRESS, Direction.EGRESS
MINE = worlds.GROUPS[0]
AUDITED = bytes((Errand.AUDIT,))
UDP = Probe("x/a", addresses("x/b")[0], "UDP", 53)


def world(*programs: Program) -> Inputs:
    """The programs are about x/b."""
    return Inputs(
        node=HERE,
        programs={(one.applied_to, one.unit): one for one in programs},
        pages={(MINE, HERE): page(MINE, HERE, member("x/b"))},
        ports={uid(pod): port(pod) for pod in PODS},
    )


def tier(action: Action, *, logs: bool = False) -> Program:
    return program(TIER_UNITS[0], MINE, rule(0, IN, action, logs=logs), tier=250, priority=5)


CASES = {
    "allow": (world(tier(Action.ALLOW, logs=True)), [1, 0, 0]),
    "pass": (world(tier(Action.PASS, logs=True)), [1, 0, 0]),
    "drop": (world(tier(Action.DROP, logs=True)), [1, 1, 1]),
    "reject": (world(tier(Action.REJECT, logs=True)), [1, 1, 1]),
    "allow by a Kubernetes policy": (
        world(program(worlds.UNITS[0], MINE, allow(0, IN, logs=True), isolates=(IN,))),
        [1, 0, 0],
    ),
    "isolated": (world(program(worlds.UNITS[0], MINE, isolates=(IN,), logs_isolation=True)), [1, 1, 1]),
    "passed, and isolated": (
        world(tier(Action.PASS, logs=True), program(worlds.UNITS[0], MINE, isolates=(IN,), logs_isolation=True)),
        [2, 2, 2],
    ),
    "nothing that logs": (world(tier(Action.DROP), program(worlds.UNITS[0], MINE, isolates=(IN,))), [0, 0, 0]),
}


@pytest.mark.parametrize("name", CASES)
def test_of_a_connection_that_is_let_in_the_first_packet_is_logged_of_others_each(name: str):
    """Nobody answers, so each packet meets the rules anew."""
    inputs, logged = CASES[name]
    walker = Walker(lower(inputs, RuleIds()))

    walks = [walker.walk(packet(UDP)) for _ in logged]

    assert [walk.punted.count(AUDITED) for walk in walks] == logged


@share(25)
@given(worlds.inputs())
def test_what_is_logged_goes_where_it_would_go_otherwise(inputs: Inputs):
    silent = replace(inputs, programs={key: _silent(one) for key, one in inputs.programs.items()})
    loud, quiet = Walker(lower(inputs, RuleIds())), Walker(lower(silent, RuleIds()))

    for probe in [probe for pod in PODS for probe in probes(pod)][::3]:
        here, there = loud.walk(packet(probe)), quiet.walk(packet(probe))
        assert [_seen(sent) for sent in here.sent] == [_seen(sent) for sent in there.sent], probe
        assert [one for one in here.punted if one != AUDITED] == list(there.punted)
        assert AUDITED not in there.punted


def test_logging_changes_what_flows_do_and_no_others_and_a_label_changes_nothing():
    ids = RuleIds()
    engine = Engine(HERE, ids)
    engine.put_page(page(MINE, HERE, member("x/b")))
    engine.open_port(port("x/b"))
    engine.put_program(tier(Action.DROP))
    engine.drain()

    engine.put_program(tier(Action.DROP, logs=True))
    put, delete = engine.drain()
    labelled = tier(Action.DROP, logs=True)
    (one,) = labelled.rules
    engine.put_program(replace(labelled, rules=(replace(one, log_label="web"),)))

    assert {key.table for key in put} == {Table.INGRESS_TIER}
    assert not delete
    assert engine.drain() == ({}, frozenset())


def test_the_copy_says_which_rule_and_waits_for_a_meter_alone():
    ids = RuleIds()
    flows = lower(world(tier(Action.ALLOW, logs=True)), ids)
    (body,) = _logging(flows)

    cookie = unpack(body.cookie)
    assert cookie is not None
    assert body.actions[:2] == (SetField(RULE_ID, cookie.number), Resubmit(Table.AUDIT))
    assert isinstance(LOG, Controller)
    assert (LOG.meter_id, LOG.pause) == (Meter.AUDIT, False)


def _logging(flows: Flows) -> list[FlowBody]:
    return [
        body
        for body in flows.values()
        if any(isinstance(one, SetField | Resubmit) for one in body.actions[:1])
        and Resubmit(Table.AUDIT) in body.actions
    ]


def _seen(sent: Sent) -> tuple[int, Packet]:
    """What is seen of a packet outside the switch."""
    return sent.port, {field: value for field, value in sent.packet.items() if field is not RULE_ID}


def _silent(one: Program) -> Program:
    return replace(one, rules=tuple(replace(each, logs=False) for each in one.rules), logs_isolation=False)
