"""The table docs/conformance.md: which packets of the scenarios are decided by which kind of rule.

    .venv/bin/python -m tests.conformance.coverage

A cell counts where a scenario probes a packet that a rule of this kind decides or passes, as `verdict()` says, so that
a rule that no packet meets covers nothing. The rule's object says what peers and ports it has.
"""

import argparse
import uuid
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple, assert_never

from tests.conformance import coverage_traffic

from sluice.contracts.antrea import AntreaPeer, AntreaPort, AntreaRule
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.objects import (
    AntreaNetworkPolicy,
    ClusterNetworkPolicy,
    K8sNetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
)
from sluice.contracts.programs import Direction
from sluice.lab import checks, reading
from sluice.lab.ends import ends_of
from sluice.lab.reasons import judged, state_of
from sluice.lab.world import Key, World
from sluice.policy.verdict import Isolation, RuleRef

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "conformance.md"

K8S, CLUSTER, NAMESPACED = Kind.K8S_NETWORK_POLICY, Kind.CLUSTER_NETWORK_POLICY, Kind.ANTREA_NETWORK_POLICY
CALLED = {K8S: "NetworkPolicy of Kubernetes", CLUSTER: "ClusterNetworkPolicy", NAMESPACED: "NetworkPolicy of Antrea"}
ISOLATES = "isolates"
_ANTREA_ACTIONS = ("Allow", "Drop", "Reject", "Pass")
ACTIONS = {K8S: ("Allow", ISOLATES), CLUSTER: _ANTREA_ACTIONS, NAMESPACED: _ANTREA_ACTIONS}
PEERS = (
    "everybody",
    "Pods",
    "namespaces",
    "Pods in namespaces",
    "ipBlock",
    "ipBlock with except",
    "namespace itself",
    "same labels",
)
RELATIVE = frozenset(PEERS[6:])
PORTS = ("all", "number", "range", "named", "all of one protocol", "source", "ICMP")
ANTREA_PORTS = frozenset(PORTS[5:])
PLACES = ("4=", "4\N{NOT EQUAL TO}", "6=", "6\N{NOT EQUAL TO}")
"""IP version, and whether both Pods are on one node."""


HEAD = """\
# What the scenarios cover

Made by `tests/conformance/coverage.py` of the scenarios in `tests/conformance/`; a test sees that it is so.

A mark stands where a scenario probes a packet that a rule of this kind decides or passes, as `verdict()` says; `sluice
lab run tests/conformance` asks the same of real packets. `4` and `6` are the IP versions, `=` means that both ends are
on one node, `\N{NOT EQUAL TO}` that they are not, or that one is beyond the cluster. `-`: no such rule can be written,
or it means nothing there (a named port has a number only at Pods, so not towards an ipBlock). An empty cell is not
covered.
"""


class Cell(NamedTuple):
    kind: Kind
    direction: Direction
    action: str
    peer: str
    port: str
    place: str


def reachable(kind: Kind, direction: Direction, action: str, peer: str, port: str) -> bool:
    """Such a rule can be written, and means something."""
    if action == ISOLATES:
        return peer == "everybody" and port == "all"
    if port == "named" and direction is Direction.EGRESS and peer in ("ipBlock", "ipBlock with except"):
        return False  # the name has a number only at Pods
    if kind is not CLUSTER and peer in RELATIVE:
        return False
    return kind is not K8S or port not in ANTREA_PORTS


def covered(stories: list[reading.Story]) -> set[Cell]:
    """The cells that packets of the scenarios fall into."""
    return {cell for story in stories if not story.scenario.offline for cell in _of_story(story)}


def _of_story(story: reading.Story) -> Iterator[Cell]:
    spec = story.scenario.spec
    world = World(spec.nodes, lambda: str(uuid.uuid4()), lambda: "", spec.outside, spec.dns)
    for document in story.objects:
        world.put(document)
    for told in story.steps:
        for name in told.step.delete:
            world.remove(reading.found(world, name))
        for document in told.apply:
            world.put(document)
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
                    yield from _of_rule(world, ref, place)
                match decision.reason:
                    case RuleRef() as ref:
                        yield from _of_rule(world, ref, place)
                    case Isolation():
                        yield Cell(K8S, direction, ISOLATES, "everybody", "all", place)


def _of_rule(world: World, ref: RuleRef, place: str) -> Iterator[Cell]:
    origin = ref.origin
    made = world.objects[Key(origin.kind, origin.namespace, origin.name)].object
    assert isinstance(made, K8sNetworkPolicy | ClusterNetworkPolicy | AntreaNetworkPolicy), made
    inward = ref.direction is Direction.INGRESS
    rule = (made.spec.ingress if inward else made.spec.egress)[ref.index]
    peers = {_peer(peer) for peer in _peers(rule, inward=inward)} or {"everybody"}
    peers.discard("")
    ports = {_port(port) for port in rule.ports}
    if isinstance(rule, AntreaRule) and rule.protocols:
        ports.add("ICMP")
    for peer, port in product(peers, ports or {"all"}):
        yield Cell(origin.kind, ref.direction, ref.action.value.capitalize(), peer, port, place)


def _peers(
    rule: NetworkPolicyIngressRule | NetworkPolicyEgressRule | AntreaRule, *, inward: bool
) -> Sequence[NetworkPolicyPeer | AntreaPeer]:
    match rule:
        case NetworkPolicyIngressRule():
            return rule.from_
        case NetworkPolicyEgressRule():
            return rule.to
        case AntreaRule():
            return rule.from_ if inward else rule.to
        case _:
            assert_never(rule)


def _peer(peer: NetworkPolicyPeer | AntreaPeer) -> str:
    """Its kind; empty for one that has no row."""
    if isinstance(peer, AntreaPeer) and (peer.group or peer.service_account or peer.node_selector or peer.fqdn):
        return ""
    if peer.ip_block is not None:
        return "ipBlock with except" if peer.ip_block.except_ else "ipBlock"
    relative = peer.namespaces if isinstance(peer, AntreaPeer) else None
    if relative is not None:
        return "same labels" if relative.same_labels else "namespace itself"
    if peer.namespace_selector is None:
        return "Pods"
    return "namespaces" if peer.pod_selector is None else "Pods in namespaces"


def _port(port: NetworkPolicyPort | AntreaPort) -> str:
    if isinstance(port, AntreaPort) and port.source_port is not None:
        return "source"
    match port.port:
        case None:
            return "all of one protocol"
        case str():
            return "named"
    return "number" if port.end_port is None else "range"


def table(cells: set[Cell]) -> str:
    """The page."""
    lines = [HEAD]
    for kind in (K8S, CLUSTER, NAMESPACED):
        lines += [f"## {CALLED[kind]}", ""]
        lines += [f"`{RESOURCES[kind].api_version}`", ""]
        lines += ["| direction | action | peer | " + " | ".join(PORTS) + " |", "|---" * (3 + len(PORTS)) + "|"]
        for direction, action, peer in product(Direction, ACTIONS[kind], PEERS):
            row = [(kind, direction, action, peer, port) for port in PORTS]
            if any(reachable(*one) for one in row):
                lines.append(
                    f"| {direction} | {action} | {peer} | " + " | ".join(_mark(cells, one) for one in row) + " |"
                )
        lines.append("")
    wanted = [one for one in every() if reachable(*one)]
    held = (f"`{place}` {sum(Cell(*one, place) in cells for one in wanted)}" for place in PLACES)
    lines += [f"Of {len(wanted)} cells {len(wanted) - len(holes(cells))} are covered: {', '.join(held)}.", ""]
    return "\n".join(lines)


def every() -> Iterator[tuple[Kind, Direction, str, str, str]]:
    """Every kind of rule, written or not."""
    for kind in (K8S, CLUSTER, NAMESPACED):
        yield from product((kind,), Direction, ACTIONS[kind], PEERS, PORTS)


def _mark(cells: set[Cell], one: tuple[Kind, Direction, str, str, str]) -> str:
    if not reachable(*one):
        return "-"
    return " ".join(place for place in PLACES if Cell(*one, place) in cells)


def holes(cells: set[Cell]) -> list[tuple[Kind, Direction, str, str, str]]:
    """Cells that can be reached and are not, wherever the Pods are."""
    written = {cell[:5] for cell in cells}
    return [one for one in every() if reachable(*one) and one not in written]


def page(stories: list[reading.Story]) -> str:
    """All of it."""
    return table(covered(stories)) + "\n" + coverage_traffic.table(coverage_traffic.steered(stories))


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    TABLE.write_text(page(reading.read([HERE])))


if __name__ == "__main__":
    main()
