"""Law 3, from objects: what `verdict` says of a packet is what becomes of it in the flows that the objects come to."""

from collections.abc import Iterator
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import subjects
from sluice.contracts.objects import AnyObject
from sluice.contracts.programs import K8S_TIER, Action
from sluice.dataplane.ovs.registers import EGRESS_RULE, INGRESS_RULE
from sluice.grouping.events import ObjectEvent
from sluice.policy.verdict import RuleRef, Verdict, verdict
from sluice.testkit import builders, strategies, tiered
from sluice.testkit.cluster_node import Node, outcome
from sluice.testkit.examples import share
from sluice.testkit.expanders import story
from sluice.testkit.walker import Walk, Walker


@st.composite
def clusters(draw: st.DrawFn) -> list[ObjectEvent]:
    """Six Pods in three Namespaces, most on one node, and a few policies."""
    objects: list[AnyObject] = [builders.namespace(name, **draw(strategies.labels)) for name in strategies.NAMESPACES]
    for number, (of, name) in enumerate(product(strategies.NAMESPACES, ("a", "b")), start=1):
        objects.append(
            builders.pod(
                f"{of}/{name}",
                ip=(f"10.0.0.{number}", f"fd00::{number}"),
                node=draw(st.sampled_from(("node-1", "node-1", "node-1", "node-2"))),
                ports=(("web", draw(st.sampled_from((80, 81)))), ("dns", 53, "UDP")),
                labels=draw(strategies.labels),
            )
        )
    return story(
        *objects, *draw(st.lists(strategies.netpols, max_size=3)), *draw(st.lists(tiered.policies, max_size=4))
    )


@share(30)
@given(clusters())
def test_packets_meet_the_fate_that_the_verdict_has_for_them(events: list[ObjectEvent]):
    node = Node(events)
    walker = Walker(node.engine.flows)
    exact = not node.engine.problems()

    for packet, fields, target in node.packets():
        walk = walker.walk(fields)
        said = verdict(node.state, packet)
        assert walk.ports in ((), (target.ofport,))
        if exact:
            assert outcome(walk) is said.outcome, packet
            check_names(node, walk, said)


def check_names(node: Node, walk: Walk, said: Verdict) -> None:
    """The registers or the flow that dropped the packet name the rule of a tier that decided."""
    named = {(key.unit, key.direction, key.rule) for number in numbers(node, walk) if (key := node.ids.key(number))}
    decisions = [one for one in (said.egress, said.ingress) if one is not None]
    refused = next((one for one in decisions if one.action is not Action.ALLOW), None)
    for decision in [refused] if refused else decisions:
        by = decision.reason
        if isinstance(by, RuleRef) and by.tier != K8S_TIER:
            unit = subjects.unit(by.origin.kind, by.origin.namespace, by.origin.name)
            assert (unit, by.direction, by.index) in named, (by, named)


def numbers(node: Node, walk: Walk) -> Iterator[int]:
    """Ids of the rules that the packet's last flow, and its registers, speak of."""
    yield node.engine.flows[walk.hits[-1]].cookie & 0xFFFFFFFF
    for sent in walk.sent:
        yield from (sent.packet.get(field, 0) for field in (EGRESS_RULE, INGRESS_RULE))
