"""Which rule decided what, of the packets that scenarios probe; as `verdict()` says."""

from collections.abc import Iterator
from typing import NamedTuple

from sluice.contracts.antrea import AntreaRule
from sluice.contracts.objects import (
    AntreaNetworkPolicy,
    ClusterNetworkPolicy,
    K8sNetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
)
from sluice.contracts.programs import Action, Direction
from sluice.lab import checks, reading
from sluice.lab.ends import ends_of
from sluice.lab.playing import play
from sluice.lab.reasons import judged, state_of
from sluice.lab.world import Key, World
from sluice.policy.verdict import Isolation, RuleRef

PLACES = ("4=", "4\N{NOT EQUAL TO}", "6=", "6\N{NOT EQUAL TO}")
"""IP version, and whether both Pods are on one node."""


class Decided(NamedTuple):
    """What a rule or isolation decided or passed, of which packet."""

    world: World
    question: checks.Question
    direction: Direction
    by: RuleRef | Isolation
    action: Action
    place: str


def decided(story: reading.Story) -> Iterator[Decided]:
    """What rules and isolation decided or passed."""
    for told, world in play(story):
        state, pods, ends = state_of(world.objects), world.pods(), ends_of(world)
        for question in (*checks.probes(told.step, ends), *checks.matrix(told.step, pods)):
            near = ends[question.from_].node == ends[question.to].node
            place = PLACES[2 * (checks.family(question.address) == "IPv6") + (not near)]
            given = judged(state, question)
            for direction, decision in ((Direction.EGRESS, given.egress), (Direction.INGRESS, given.ingress)):
                if direction is Direction.INGRESS and given.egress is not None and given.egress.action != "allow":
                    continue  # it never came so far
                if decision is None:
                    continue
                for ref in decision.passed:
                    yield Decided(world, question, direction, ref, Action.PASS, place)
                if isinstance(decision.reason, RuleRef | Isolation):
                    yield Decided(world, question, direction, decision.reason, decision.action, place)


def rule_of(world: World, ref: RuleRef) -> NetworkPolicyIngressRule | NetworkPolicyEgressRule | AntreaRule:
    origin = ref.origin
    made = world.objects[Key(origin.kind, origin.namespace, origin.name)].object
    assert isinstance(made, K8sNetworkPolicy | ClusterNetworkPolicy | AntreaNetworkPolicy), made
    return (made.spec.ingress if ref.direction is Direction.INGRESS else made.spec.egress)[ref.index]
