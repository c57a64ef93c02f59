"""Who may report a group, and who may be asked; and what a programmer decides is what `verdict` says."""

from typing import Any, NamedTuple

import pytest
from hypothesis import given

from sluice.contracts.ids import Address
from sluice.contracts.programs import Direction, Program
from sluice.grouping.events import ObjectEvent
from sluice.policy.igmp import Message, decide
from sluice.policy.packet import AddressEnd, Packet, PodEnd
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Outcome, verdict
from sluice.testkit.antrea_strategies import antrea_stories
from sluice.testkit.builders import acnp, namespace, netpol, pod

OUT, IN = Direction.EGRESS, Direction.INGRESS
ALL: dict[str, Any] = {"priority": 5, "appliedTo": [{"podSelector": {}}]}
V2 = Message(OUT, 0x16, Address("225.1.2.3"))
QUERY = Message(IN, 0x11, Address("224.0.0.1"))


def egress(*rules: dict[str, Any], **spec: Any) -> Any:
    return acnp("p", {**ALL, **spec, "egress": list(rules)})


def igmp(action: str, **fields: Any) -> dict[str, Any]:
    return {"action": action, "protocols": [{"igmp": fields}]}


class Case(NamedTuple):
    name: str
    policies: list[Any]
    message: Message
    allowed: bool


CLOSED = netpol("x/closed", {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})
OPEN = netpol("x/open", {"podSelector": {}, "egress": [{}]})
SOME = netpol("x/some", {"podSelector": {}, "egress": [{"to": [{"ipBlock": {"cidr": "224.0.0.0/4"}}]}]})
CASES = [
    Case("nothing is said", [], V2, True),
    Case("that type", [egress(igmp("Drop", igmpType=0x16))], V2, False),
    Case("another type", [egress(igmp("Drop", igmpType=0x12))], V2, True),
    Case("that group", [egress(igmp("Drop", groupAddress="225.1.2.3"))], V2, False),
    Case("another group", [egress(igmp("Drop", groupAddress="225.1.2.4"))], V2, True),
    Case("all reports", [egress(igmp("Drop"))], V2, False),
    Case("the first that is about it", [egress(igmp("Allow", groupAddress="225.1.2.3"), igmp("Drop"))], V2, True),
    Case("data of the group", [egress({"action": "Drop", "to": [{"ipBlock": {"cidr": "225.1.2.3/32"}}]})], V2, True),
    Case("everything", [egress({"action": "Drop"})], V2, False),
    Case("a port of everybody", [egress({"action": "Drop", "ports": [{"protocol": "UDP", "port": 1}]})], V2, True),
    Case("isolated", [CLOSED], V2, False),
    Case("isolated, but for everything", [CLOSED, OPEN], V2, True),
    Case("isolated, but for data", [CLOSED, SOME], V2, False),
    Case("isolated, and a tier allows", [CLOSED, egress(igmp("Allow"))], V2, True),
    Case("isolated, and the baseline allows", [CLOSED, egress(igmp("Allow"), tier="baseline")], V2, False),
    Case("the baseline drops", [egress(igmp("Drop"), tier="baseline")], V2, False),
    Case("the baseline drops what Kubernetes allows", [OPEN, egress(igmp("Drop"), tier="baseline")], V2, True),
    Case("a query", [], QUERY, True),
    Case("queries", [acnp("p", {**ALL, "ingress": [igmp("Drop", igmpType=0x11)]})], QUERY, False),
    Case("all that comes in", [acnp("p", {**ALL, "ingress": [{"action": "Drop"}]}), CLOSED], QUERY, True),
    Case("reports do not come in", [acnp("p", {**ALL, "egress": [igmp("Drop")]})], QUERY, True),
]


def applied(state: ClusterState, name: str, of: str = "x") -> list[Program]:
    groups = set(state.groups_of(state.pods[of, name]))
    return [program for program in state.compiler.programs.values() if program.applied_to in groups]


def said(state: ClusterState, of: str, name: str, message: Message) -> bool:
    """By `verdict`."""
    here, there = PodEnd(of, name), AddressEnd(Address("224.0.0.22" if message.direction is OUT else "169.254.1.1"))
    source, destination = (here, there) if message.direction is OUT else (there, here)
    asked = Packet(
        source=source, destination=destination, protocol="IGMP", igmp_type=message.type, igmp_group=message.group
    )
    return verdict(state, asked).outcome is Outcome.ALLOWED


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_who_may_say_what(case: Case) -> None:
    state = ClusterState([namespace("x"), pod("x/a", ip="10.0.0.1"), *case.policies])

    assert decide(applied(state, "a"), case.message).allowed == case.allowed
    assert said(state, "x", "a", case.message) == case.allowed


@given(antrea_stories())
def test_the_programmer_decides_as_verdict_does(events: list[ObjectEvent]) -> None:
    state = ClusterState()
    for event in events:
        state.evolve(event)
    for (of, name), one in state.pods.items():
        if one.on_pod_network and any("." in address for address in one.addresses):
            for message in (V2, QUERY, Message(OUT, 0x22, Address("225.9.9.9"))):
                allowed = decide(applied(state, name, of), message).allowed
                assert allowed == said(state, of, name, message), (of, name, message)
