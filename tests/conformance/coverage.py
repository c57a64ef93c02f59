"""The table docs/conformance.md: which packets of the scenarios are decided by which kind of rule.

    .venv/bin/python -m tests.conformance.coverage

A cell counts where a scenario probes a packet that a rule of this kind decides or passes, as `verdict()` says, so that
a rule that no packet meets covers nothing. The rule's object says what peers and ports it has.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple, assert_never

from tests.conformance import coverage_l7, coverage_traffic
from tests.conformance.deciding import PLACES, decided, rule_of

from sluice.contracts.antrea import AntreaPeer, AntreaPort, AntreaRule
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.objects import (
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
)
from sluice.contracts.programs import Direction
from sluice.lab import reading
from sluice.lab.world import World
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
    for one in decided(story):
        match one.by:
            case RuleRef() as ref:
                yield from _of_rule(one.world, ref, one.place)
            case Isolation():
                yield Cell(K8S, one.direction, ISOLATES, "everybody", "all", one.place)


def _of_rule(world: World, ref: RuleRef, place: str) -> Iterator[Cell]:
    origin, rule, inward = ref.origin, rule_of(world, ref), ref.direction is Direction.INGRESS
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
    parts = (table(covered(stories)), coverage_l7.table(coverage_l7.inspected(stories)))
    return "\n".join(parts) + "\n" + coverage_traffic.table(coverage_traffic.steered(stories))


def main() -> None:
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    TABLE.write_text(page(reading.read([HERE])))


if __name__ == "__main__":
    main()
