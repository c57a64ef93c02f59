"""What cannot be lowered is told, and closed."""

from typing import NamedTuple

import pytest
from hypothesis import given
from msgspec.structs import replace

from sluice.contracts.ids import GroupId
from sluice.contracts.l7 import HttpMatch
from sluice.contracts.programs import (
    Action,
    BlockPeer,
    Direction,
    FqdnPeer,
    GroupPeer,
    IcmpTraffic,
    Peer,
    PortRange,
    Program,
    Rule,
    ServicePeer,
    ServiceRef,
    Traffic,
    TransportTraffic,
)
from sluice.dataplane.ovs.rules import Stage, closed_form, forms, placeless, problems
from sluice.dataplane.ovs.sources import Source
from sluice.policy.everypod import EVERY_POD_ID
from sluice.testkit import worlds
from sluice.testkit.worlds import UNITS, program

IN, OUT = Direction.INGRESS, Direction.EGRESS
NAME, SERVICE = FqdnPeer(pattern="*.a.com"), ServicePeer(service=ServiceRef(namespace="x", name="s"))
MINE, PEERS = GroupId("mine"), GroupPeer(group=GroupId("peers"))
BLOCK = BlockPeer(cidr="10.0.0.0/8")
BAD_BLOCK, MIXED_BLOCK = BlockPeer(cidr="10.0.0.0/99"), BlockPeer(cidr="10.0.0.0/8", excepts=("fd00::/64",))
TCP_80 = TransportTraffic(protocol="TCP", ports=PortRange(80, 80))
BAD_RANGE, BAD_SOURCE = (
    TransportTraffic(protocol="TCP", ports=PortRange(90, 80)),
    TransportTraffic(protocol="TCP", source_ports=PortRange(0, 65536)),
)
BAD_ICMP, NAMED = IcmpTraffic(icmp_type=256), TransportTraffic(protocol="TCP", ports="web")


def rule(
    action: Action = Action.ALLOW,
    direction: Direction = IN,
    peers: tuple[Peer, ...] | None = None,
    traffic: tuple[Traffic, ...] | None = None,
) -> Rule:
    return Rule(index=0, direction=direction, action=action, peers=peers, traffic=traffic)


def at_door(one: Rule) -> Rule:
    """The rule, applied to NodePorts of a Service."""
    return replace(one, services=(SERVICE.service,))


class Case(NamedTuple):
    name: str
    given: Rule
    closed: Rule | None
    reason: str
    tier: int = 251


CASES = [
    Case("a bad CIDR", rule(peers=(PEERS, BAD_BLOCK)), rule(peers=(PEERS,)), "peer 1: '10.0.0.0/99' is not a CIDR"),
    Case(
        "different IP versions",
        rule(peers=(MIXED_BLOCK,)),
        rule(peers=()),
        "peer 0: 10.0.0.0/8 and its excepts have different",
    ),
    Case(
        "a bad range", rule(traffic=(TCP_80, BAD_RANGE)), rule(traffic=(TCP_80,)), "port 1: 90-80 is not a range within"
    ),
    Case("a bad source port", rule(traffic=(BAD_SOURCE,)), rule(traffic=()), "port 0: 0-65536 is not a range within"),
    Case("a bad ICMP type", rule(traffic=(BAD_ICMP,)), rule(traffic=()), "types and codes of 0..255, not 256"),
    Case(
        "a name towards a CIDR",
        rule(direction=OUT, peers=(PEERS, BLOCK), traffic=(NAMED, TCP_80)),
        rule(direction=OUT, peers=(PEERS, BLOCK), traffic=(NAMED, TCP_80)),
        "select Pods by labels",
    ),
    Case("a bad CIDR in a tier", rule(peers=(PEERS, BAD_BLOCK)), rule(peers=(PEERS,)), "peer 1: '10.0.0.0/99'", 250),
    Case("a bad CIDR to pass", rule(Action.PASS, peers=(BAD_BLOCK,)), rule(Action.PASS, peers=()), "not a CIDR", 250),
    Case("drop of a bad CIDR", rule(Action.DROP, peers=(PEERS, BAD_BLOCK)), rule(Action.DROP), "not a CIDR", 250),
    Case(
        "drop of a bad CIDR on a port",
        rule(Action.DROP, peers=(BAD_BLOCK,), traffic=(TCP_80,)),
        rule(Action.DROP, traffic=(TCP_80,)),
        "not a CIDR",
        253,
    ),
    Case("drop of a bad range", rule(Action.DROP, traffic=(TCP_80, BAD_RANGE)), rule(Action.DROP), "90-80 is no", 250),
    Case(
        "drop of a name towards a CIDR",
        rule(Action.DROP, OUT, peers=(BLOCK,), traffic=(NAMED,)),
        rule(Action.DROP, OUT),
        "select Pods by labels",
        250,
    ),
    Case(
        "reject among Kubernetes policies", rule(Action.REJECT), rule(Action.DROP), "a Kubernetes policy can only allow"
    ),
    Case("reject of a bad CIDR", rule(Action.REJECT, peers=(BAD_BLOCK,)), rule(Action.DROP), "not a CIDR", 250),
    Case("drop among Kubernetes policies", rule(Action.DROP), rule(Action.DROP), "a Kubernetes policy can only allow"),
    Case("pass among Kubernetes policies", rule(Action.PASS), None, "not pass"),
    Case("from a name", rule(peers=(PEERS, NAME)), rule(peers=(PEERS,)), "only in egress rules", 250),
    Case("drop from a name", rule(Action.DROP, peers=(NAME,)), rule(Action.DROP), "only in egress rules", 250),
    Case(
        "a named port at a name",
        rule(direction=OUT, peers=(NAME,), traffic=(NAMED, TCP_80)),
        rule(direction=OUT, peers=(NAME,), traffic=(NAMED, TCP_80)),
        "select Pods by labels",
        250,
    ),
    Case("from a Service", rule(peers=(SERVICE, PEERS)), rule(peers=(PEERS,)), "a Service sends no packets", 250),
    Case("drop from a Service", rule(Action.DROP, peers=(SERVICE,)), rule(Action.DROP), "a Service sends", 250),
    Case("Pods to a NodePort", at_door(rule(peers=(PEERS,))), at_door(rule(peers=())), "from ipBlocks", 250),
    Case(
        "drop of Pods to a NodePort",
        at_door(rule(Action.DROP, peers=(PEERS,))),
        at_door(rule(Action.DROP)),
        "known",
        250,
    ),
    Case("out of a NodePort", at_door(rule(direction=OUT)), None, "must be an ingress rule", 250),
    Case(
        "a name at a NodePort", at_door(rule(traffic=(NAMED, TCP_80))), at_door(rule(traffic=(TCP_80,))), "number", 250
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_rule_that_cannot_be_lowered_is_closed_and_told(case: Case):
    given_ = program(UNITS[0], MINE, case.given, isolates=(IN,), tier=case.tier)

    closed = closed_form(given_)
    (problem,) = problems(given_)
    assert closed.rules == (() if case.closed is None else (case.closed,))
    assert closed.isolates == (IN,)
    assert problem.unit == UNITS[0]
    assert problem.reason.startswith(f"{UNITS[0]}: {case.given.direction} rule 0")
    assert case.reason in problem.reason
    assert ";" in problem.reason  # what to do


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_rule_that_can_no_longer_be_lowered_keeps_its_form(case: Case):
    before = program(UNITS[0], MINE, rule(direction=case.given.direction, peers=(PEERS,)), tier=case.tier)

    assert closed_form(program(UNITS[0], MINE, case.given, tier=case.tier), before).rules == before.rules


def test_an_allow_that_looks_into_packets_says_by_which_rules():
    looks = replace(rule(peers=(PEERS,), traffic=(TCP_80,)), l7=(HttpMatch(),))
    (form,) = forms(program(UNITS[0], MINE, looks, tier=250))
    (other,) = forms(program(UNITS[0], MINE, replace(looks, l7=(HttpMatch(path="/x"),)), tier=250))

    assert form.inspected_by
    assert form.inspected_by != other.inspected_by


def test_an_allow_that_looks_into_packets_drops_what_it_is_about_whatever_it_was():
    """Later rules may not allow what it would have looked into."""
    looks = replace(rule(peers=(PEERS, BAD_BLOCK), traffic=(TCP_80,)), l7=(HttpMatch(),))
    given_ = program(UNITS[0], MINE, looks, tier=250)
    before = program(UNITS[0], MINE, rule(peers=(PEERS,)), tier=250)
    dropping = rule(Action.DROP, peers=(PEERS,), traffic=(TCP_80,))

    assert closed_form(given_).rules == closed_form(given_, before).rules == (dropping,)
    good = program(UNITS[0], MINE, replace(looks, peers=(PEERS,)), tier=250)
    (form,) = forms(good)
    stands_in = placeless(good, form.key)
    assert stands_in is not None
    assert stands_in.action is Action.DROP


def test_an_allow_at_nodeports_looks_into_nothing():
    looks = at_door(replace(rule(peers=(BLOCK,)), l7=(HttpMatch(),)))

    assert "inspected at the endpoints" in problems(program(UNITS[0], MINE, looks, tier=250))[0].reason


def test_a_policy_on_nodes_is_told_and_closes_no_pod():
    given_ = replace(program(UNITS[0], MINE, rule(Action.DROP), tier=250), about_nodes=True)

    assert closed_form(given_).rules == ()
    assert list(forms(closed_form(given_))) == []
    assert "it applies to Nodes" in problems(given_)[0].reason


def test_a_form_of_another_tier_is_not_kept():
    before = program(UNITS[0], MINE, rule())
    bad = rule(peers=(BAD_BLOCK,))

    assert closed_form(program(UNITS[0], MINE, bad, tier=250), before).rules == (rule(peers=()),)


def test_two_rules_of_one_number_are_told_and_the_one_that_drops_stays():
    given_ = program(UNITS[0], MINE, rule(), rule(Action.DROP), rule(peers=(PEERS,)))

    assert closed_form(given_).rules == (rule(Action.DROP),)
    assert len(problems(given_)) == 3
    assert "has 3 rules of this number" in problems(given_)[0].reason


def test_what_can_be_lowered_is_left_as_it_is():
    names = rule(peers=(PEERS,), traffic=(TCP_80, NAMED)), rule(direction=OUT, traffic=(NAMED, TCP_80))
    given_ = program(UNITS[0], MINE, *names, isolates=(IN,))

    assert problems(given_) == ()
    assert closed_form(given_) == given_


def test_a_name_without_peers_is_looked_up_at_every_pod():
    (form,) = forms(program(UNITS[0], MINE, rule(direction=OUT, traffic=(NAMED, TCP_80))))

    assert form.clauses[1] == (Source(GroupPeer(group=EVERY_POD_ID), NAMED), Source(None, TCP_80))


@given(worlds.odd_programs())
def test_a_closed_form_has_no_closer_form(one: Program):
    closed = closed_form(one)

    assert closed_form(closed) == closed_form(closed, closed) == closed
    stages = {form.stage for form in forms(closed)} - {Stage.ISOLATION}
    assert stages <= {Stage.K8S if one.tier == 251 else Stage.BASELINE if one.tier > 251 else Stage.TIER}
    assert all((form.precedence is None) == (one.tier == 251) for form in forms(closed) if form.stage in stages)


@given(worlds.programs())
def test_only_names_for_everybody_keep_a_kubernetes_policy_from_being_lowered(one: Program):
    assert all("select Pods by labels" in problem.reason for problem in problems(one))
