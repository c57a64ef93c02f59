"""Filters as people see them: goldens in the notation of tc(8)."""

from pathlib import Path
from typing import Any

import pytest

from sluice.dataplane.tc.content import CLOSED, Numbers, Options
from sluice.dataplane.tc.filter import Hook
from sluice.dataplane.tc.lower import lower
from sluice.dataplane.tc.mirror import Mirror
from sluice.dataplane.tc.plan import Step, plan
from sluice.dataplane.tc.text import command, write_all
from sluice.testkit import golden
from sluice.testkit.builders import multi, namespace, network, pod
from sluice.testkit.tc_node import TcNode

GOLDEN = Path(__file__).parent / "golden" / "tc"
NUMBERS = Numbers(zone=5, epoch=3)
PODS = (
    namespace("x"),
    pod("x/a", nets=["net=10.1.0.1,fd00::1"], ports=[("web", 80)], app="a"),
    pod("x/b", nets=["net=10.1.0.2,fd00::2"], app="b"),
    pod("x/c", nets=["net=10.1.0.3"], app="c"),
)
TO_B: dict[str, Any] = {"to": [{"podSelector": {"matchLabels": {"app": "b"}}}]}
SPEC: dict[str, Any] = {
    "podSelector": {"matchLabels": {"app": "a"}},
    "policyTypes": ["Egress"],
    "egress": [
        {**TO_B, "ports": [{"port": 5000, "endPort": 5900}, {"port": 53, "protocol": "UDP"}]},
        {"to": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}}]},
        {"to": [{"ipBlock": {"cidr": "2001:db8::/32"}}], "ports": [{"protocol": "SCTP"}]},
    ],
}
POLICY = multi("x/egress", SPEC)


def contents(node: TcNode) -> Any:
    return node.engine.contents(node.key("x/a"))


def test_a_policed_hook():
    made = lower(contents(TcNode.of(*PODS, POLICY))[Hook.INGRESS], Hook.INGRESS, NUMBERS, 0)

    golden.check(GOLDEN / "policed.filters", write_all(made))


def test_the_other_hook_remembers():
    made = lower(contents(TcNode.of(*PODS, POLICY))[Hook.EGRESS], Hook.EGRESS, NUMBERS, 0)

    golden.check(GOLDEN / "tracked.filters", write_all(made))


def test_an_interface_of_nobody():
    golden.check(GOLDEN / "closed.filters", write_all(lower(CLOSED, Hook.INGRESS, NUMBERS, 0)))


def test_a_trunk():
    node = TcNode.of(*PODS, network("x/net", trunk=[{"id": 7}]), multi("x/egress", {**SPEC, "egress": [TO_B]}))

    golden.check(GOLDEN / "trunk.filters", write_all(lower(contents(node)[Hook.INGRESS], Hook.INGRESS, NUMBERS, 0)))


def test_ingress_with_icmp_accepted():
    spec = {"podSelector": {"matchLabels": {"app": "a"}}, "ingress": [{"ports": [{"port": "web"}]}]}
    node = TcNode.of(*PODS, multi("x/ingress", spec), options=Options(accept_icmp=True, accept_icmpv6=True))

    golden.check(GOLDEN / "ingress.filters", write_all(lower(contents(node)[Hook.EGRESS], Hook.EGRESS, NUMBERS, 1)))


def test_without_zones():
    made = lower(contents(TcNode.of(*PODS, POLICY))[Hook.INGRESS], Hook.INGRESS, Numbers(None, 0), 0)

    golden.check(GOLDEN / "no-zones.filters", write_all(made))


def script(steps: list[Step]) -> str:
    return "".join(f"{command('eth3', hook, operation)}\n" for hook, operation in steps)


@pytest.fixture
def policed() -> tuple[TcNode, dict[Hook, Mirror]]:
    node = TcNode.of(*PODS, POLICY).apply()
    return node, node.mirrors[node.key("x/a")]


def test_a_change_of_policy(policed: tuple[TcNode, dict[Hook, Mirror]]):
    _, mirrors = policed
    after = TcNode.of(*PODS, multi("x/egress", {**SPEC, "egress": [TO_B]}))

    golden.check(GOLDEN / "change.sh", script(plan(contents(after), mirrors, 1)))


def test_an_address_that_comes(policed: tuple[TcNode, dict[Hook, Mirror]]):
    _, mirrors = policed
    after = TcNode.of(*PODS, pod("x/d", nets=["net=10.1.0.4"], app="b"), POLICY)

    golden.check(GOLDEN / "address.sh", script(plan(contents(after), mirrors, 1)))
