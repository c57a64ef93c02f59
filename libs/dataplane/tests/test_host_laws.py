"""The laws of the host backend: three witnesses agree, incremental equals recomputed, plans close the gap."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import subjects
from sluice.contracts.antrea import (
    AntreaPeer,
    AntreaPolicySpec,
    AntreaPort,
    AntreaProtocol,
    AntreaRule,
    AppliedTo,
    IcmpProtocol,
)
from sluice.contracts.ids import Address
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject, ClusterNetworkPolicy, LabelSelector, ObjectMeta
from sluice.contracts.programs import Direction
from sluice.dataplane.host import wire
from sluice.dataplane.host.engine import Engine
from sluice.dataplane.host.ids import id_of
from sluice.dataplane.host.plan import plan
from sluice.dataplane.host.table import NOTHING
from sluice.grouping.events import ObjectEvent, ObjectKey
from sluice.policy.verdict import Outcome, RuleRef, verdict
from sluice.testkit import builders, strategies
from sluice.testkit.examples import share
from sluice.testkit.expanders import story
from sluice.testkit.fed import Told
from sluice.testkit.host_node import HERE, HostNode, packets
from sluice.testkit.host_walker import NotCarriedOut, Sent, carry_out, walk

OWN = (Address("192.168.77.10"), Address("fd00:77::10"))
OTHERS = (
    *(Address("192.168.77.11"), Address("fd00:77::11")),
    *(Address("10.0.0.1"), Address("10.0.0.2"), Address("fd00::1"), Address("fd00::2")),
    *(Address("192.0.2.7"), Address("192.0.2.200"), Address("2001:db8::7")),
)

_peers = st.one_of(
    strategies.blocks.map(lambda block: AntreaPeer(ip_block=block)),
    strategies.label_selectors.map(lambda nodes: AntreaPeer(node_selector=nodes)),
    st.builds(AntreaPeer, pod_selector=strategies.label_selectors, namespace_selector=st.just(LabelSelector())),
)
_ports = st.one_of(
    st.builds(AntreaPort, protocol=st.sampled_from(strategies.PROTOCOLS)),
    st.builds(AntreaPort, protocol=st.sampled_from(strategies.PROTOCOLS), port=st.sampled_from((53, 80, 81))),
    st.builds(AntreaPort, port=st.just(53), end_port=st.sampled_from((80, 8080))),
    st.builds(AntreaPort, port=st.just(80), source_port=st.just(1024), source_end_port=st.sampled_from((None, 2047))),
)
_protocols = st.sampled_from(
    (
        AntreaProtocol(icmp=IcmpProtocol()),
        AntreaProtocol(icmp=IcmpProtocol(icmp_type=8)),
        AntreaProtocol(icmp=IcmpProtocol(icmp_type=128, icmp_code=0)),
    )
)


@st.composite
def rules(draw: st.DrawFn, *, egress: bool) -> AntreaRule:
    others = tuple(draw(st.lists(_peers, max_size=2)))
    kinds = draw(st.sampled_from(("all", "ports", "protocols")))
    return AntreaRule(
        action=draw(st.sampled_from(("Allow", "Drop", "Reject", "Pass"))),
        from_=() if egress else others,
        to=others if egress else (),
        ports=tuple(draw(st.lists(_ports, min_size=1, max_size=2))) if kinds == "ports" else (),
        protocols=(draw(_protocols),) if kinds == "protocols" else (),
        enable_logging=draw(st.booleans()),
    )


@st.composite
def policies(draw: st.DrawFn) -> ClusterNetworkPolicy:
    """About nodes, in tiers before and behind those of Kubernetes."""
    spec = AntreaPolicySpec(
        tier=draw(st.sampled_from(("", "emergency", "baseline"))),
        priority=draw(st.sampled_from((1.0, 2.5))),
        applied_to=(AppliedTo(node_selector=draw(strategies.label_selectors)),),
        ingress=tuple(draw(st.lists(rules(egress=False), max_size=2))),
        egress=tuple(draw(st.lists(rules(egress=True), max_size=2))),
    )
    name, ends = draw(st.sampled_from(("p-1", "p-2", "p-3"))), draw(st.booleans())
    notes = {"policy.sluice.dev/established": "end"} if ends else {}
    return ClusterNetworkPolicy(
        api_version="crd.antrea.io/v1beta1",
        kind="ClusterNetworkPolicy",
        metadata=ObjectMeta(name=name, uid=f"uid-{name}", annotations=notes),
        spec=spec,
    )


@st.composite
def nodes(draw: st.DrawFn) -> AnyObject:
    number = draw(st.sampled_from((0, 1)))
    return builders.node(
        f"node-{number + 1}",
        ip=(f"192.168.77.1{number}", f"fd00:77::1{number}"),
        pod_cidrs=(f"10.5{number}.0.0/24",),
        labels=draw(strategies.labels),
    )


@st.composite
def pods(draw: st.DrawFn) -> AnyObject:
    number = draw(st.sampled_from((1, 2)))
    return builders.pod(
        f"x/pod-{number}",
        ip=(f"10.0.0.{number}", f"fd00::{number}"),
        node=draw(st.sampled_from(("node-1", "node-2"))),
        labels=draw(strategies.labels),
    )


@st.composite
def clusters(draw: st.DrawFn) -> list[ObjectEvent]:
    """Two nodes, Pods of theirs, and policies that come, change and go."""
    objects: list[AnyObject | ObjectKey] = [
        builders.namespace("x"),
        builders.node("node-1", ip=OWN, pod_cidrs=("10.50.0.0/24",), labels=draw(strategies.labels)),
    ]
    keys = st.sampled_from(("p-1", "p-2", "p-3")).map(lambda name: ObjectKey(Kind.CLUSTER_NETWORK_POLICY, "", name))
    more = st.one_of(policies(), policies(), nodes(), pods(), keys)
    return story(*objects, *draw(st.lists(more, max_size=8)))


@share(30)
@given(clusters())
def test_packets_meet_the_fate_that_the_verdict_has_for_them(events: list[ObjectEvent]):
    node = HostNode(events)
    table = node.engine.table()
    assert node.engine.problems() == ()

    for direction, packet, sent in packets(OWN, OTHERS):
        said = verdict(node.state, packet)
        decision = said.ingress if direction is Direction.INGRESS else said.egress
        walked = walk(table, sent)
        assert walked.outcome is expected(decision), (packet, walked, decision)
        if decision is not None and isinstance(decision.reason, RuleRef):
            by = decision.reason
            unit = subjects.unit(by.origin.kind, by.origin.namespace, by.origin.name)
            placed = node.engine.rules[id_of(walked.met[-1])]
            assert (placed.program.unit, placed.rule.direction, placed.rule.index) == (unit, direction, by.index)
            assert walked.counters[-1] == id_of(walked.met[-1])


def expected(decision: object) -> Outcome:
    action = getattr(decision, "action", "allow")
    return {"allow": Outcome.ALLOWED, "drop": Outcome.DROPPED, "reject": Outcome.REJECTED}[action]


def told_here() -> Told[Engine]:
    return Told(Engine(HERE), lambda program: program.about_nodes)


@share(30)
@given(clusters())
def test_incremental_equals_recomputed_and_plans_close_the_gap(events: list[ObjectEvent]):
    told, held = told_here(), wire.NOT_THERE
    for number, event in enumerate(events, start=1):
        told.hear(event)
        again = told_here()
        for one in {event.key: event for event in events[:number]}.values():
            again.hear(one)
        desired = wire.encoded(told.engine.table())

        assert desired == wire.encoded(again.engine.table())
        before, commands = held, plan(desired, held)
        held = carry_out(commands, held)
        assert held == desired
        assert plan(desired, held) == ()
        assert bool(commands) == (before != desired)
    assert carry_out(plan(wire.encoded(NOTHING), held), held) == wire.NOT_THERE


def test_a_member_more_is_an_element_more() -> None:
    told = told_here()
    peer = {"podSelector": {"matchLabels": {"app": "v1"}}}
    policy = builders.acnp("p", {"priority": 1, "appliedTo": [{"nodeSelector": {}}],
                                 "ingress": [{"action": "Drop", "from": [peer]}]})  # fmt: skip
    for event in story(builders.namespace("x"), builders.node("node-1", ip=OWN), policy):
        told.hear(event)
    before = wire.encoded(told.engine.table())
    (event,) = story(builders.pod("x/a", ip="10.0.0.9", node="node-2", labels={"app": "v1"}))
    told.hear(event)

    (command,) = plan(wire.encoded(told.engine.table()), before)

    assert command["add"]["element"]["elem"] == ["10.0.0.9"]


def test_a_member_that_leaves_is_an_element_less() -> None:
    told = told_here()
    peer = {"podSelector": {"matchLabels": {"app": "v1"}}}
    policy = builders.acnp("p", {"appliedTo": [{"nodeSelector": {}}], "ingress": [{"action": "Drop", "from": [peer]}]})
    here = builders.pod("x/a", ip="10.0.0.9", node="node-2", labels={"app": "v1"})
    gone = ObjectKey(Kind.POD, "x", "a")
    *events, last = story(builders.namespace("x"), builders.node("node-1", ip=OWN), policy, here, gone)
    for event in events:
        told.hear(event)
    before = wire.encoded(told.engine.table())
    told.hear(last)

    (command,) = plan(wire.encoded(told.engine.table()), before)

    assert command["delete"]["element"]["elem"] == ["10.0.0.9"]


STRANGE: list[tuple[str, Callable[[wire.Held], wire.Held]]] = [
    ("a line less", lambda held: held._replace(chains={**held.chains, "input": wire.HeldChain((), "input")})),
    ("a chain of somebody", lambda held: held._replace(chains={**held.chains, "x": wire.HeldChain((), None)})),
    ("another hook", lambda held: held._replace(chains={**held.chains, "output.rules": wire.HeldChain((), "input")})),
    ("a map", lambda held: held._replace(strange=("map x",))),
    ("another rate", lambda held: held._replace(log_rate=7)),
    ("a counter", lambda held: held._replace(counters=frozenset(("x",)))),
    ("an address", lambda held: held._replace(sets={**held.sets, "pods4": held.sets["pods4"]._replace(
        elements=frozenset(((1, 5),)))})),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change"), STRANGE, ids=[name for name, _ in STRANGE])
def test_what_somebody_else_made_of_the_table_is_put_right(name: str, change: Callable[[wire.Held], wire.Held]) -> None:
    desired = wire.encoded(HostNode(story(builders.node("node-1", ip=OWN))).engine.table())
    actual = change(desired)

    assert carry_out(plan(desired, actual), actual) == desired


def test_the_kernel_of_the_tests_refuses_what_the_real_one_does() -> None:
    line = b'{"expr":[{"goto":{"target":"y"}}],"comment":""}'

    with pytest.raises(NotCarriedOut):
        carry_out(({"add": wire.chain("x", None)}, {"add": wire.rule("x", line)}), wire.NOT_THERE)


def test_a_line_is_what_a_packet_meets() -> None:
    table = HostNode(story(builders.node("node-1", ip=OWN))).engine.table()

    assert walk(table, Sent("input", 4, 1, 2, 6)).met == ("policies", "the baseline")
