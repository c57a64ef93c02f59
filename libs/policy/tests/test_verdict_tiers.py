"""The general model: tiers, priorities, actions and the place of Kubernetes policies among them."""

from typing import NamedTuple

import pytest

from sluice.contracts import subjects
from sluice.contracts.ids import NEVER, GroupId, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import (
    K8S_TIER,
    Action,
    BlockPeer,
    Direction,
    IcmpTraffic,
    Origin,
    Peer,
    PortRange,
    Program,
    Rule,
    Traffic,
    TransportTraffic,
)
from sluice.grouping.selectors import SelectorTerm, union
from sluice.policy.groupid import group_id
from sluice.policy.packet import Packet, PodEnd
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Isolation, NoPolicy, Outcome, RuleRef, Verdict, verdict
from sluice.testkit.builders import pod

ALLOW, DROP, REJECT, PASS = Action.ALLOW, Action.DROP, Action.REJECT, Action.PASS
EMERGENCY, APPLICATION, BASELINE = 50, 250, 253
ALLOWED, DROPPED, REJECTED = Outcome.ALLOWED, Outcome.DROPPED, Outcome.REJECTED

IN_X = union([SelectorTerm(namespace="x")])
X = group_id(IN_X)


def program(
    name: str,
    *actions: Action,
    tier: int = APPLICATION,
    priority: float = 5,
    namespace: str = "",
    direction: Direction = Direction.INGRESS,
    traffic: tuple[Traffic, ...] | None = None,
    peers: tuple[Peer, ...] | None = None,
) -> Program:
    """A policy on the Pods of x with a rule for each action."""
    return Program(
        unit=subjects.unit(Kind.K8S_NETWORK_POLICY, namespace, name),
        applied_to=X,
        cause=NEVER,
        origin=Origin(kind=Kind.K8S_NETWORK_POLICY, namespace=namespace, name=name, uid=Uid(name)),
        tier=tier,
        priority=0 if tier == K8S_TIER else priority,
        isolates=(direction,) if tier == K8S_TIER else (),
        rules=tuple(
            Rule(index=index, direction=direction, action=action, traffic=traffic, peers=peers, name=f"{name}-{index}")
            for index, action in enumerate(actions)
        ),
    )


def judge(programs: list[Program], packet: Packet | None = None) -> Verdict:
    state = ClusterState([pod("x/a", ip="10.0.0.1"), pod("y/b", ip="10.0.0.2")])
    state._compiler._programs.update({(made.applied_to, made.unit): made for made in programs})
    state._groups._selectors[GroupId(X)] = IN_X
    return verdict(state, packet or to_a())


def to_a(**fields: object) -> Packet:
    known: dict[str, object] = {"protocol": "TCP", "port": 80, **fields}
    return Packet(source=PodEnd("y", "b"), destination=PodEnd("x", "a"), **known)  # type: ignore[arg-type]  # fields of a row


def k8s(*actions: Action) -> Program:
    return program("k8s", *actions, tier=K8S_TIER)


class Case(NamedTuple):
    name: str
    programs: list[Program]
    outcome: Outcome
    by: str
    """The rule's name, or `isolation`, or `none`."""

    passed: tuple[str, ...] = ()


CASES = [
    Case("drop", [program("p", DROP)], DROPPED, "p-0"),
    Case("reject", [program("p", REJECT)], REJECTED, "p-0"),
    Case("allow", [program("p", ALLOW)], ALLOWED, "p-0"),
    Case("pass to nothing", [program("p", PASS)], ALLOWED, "none", ("p-0",)),
    Case("the first rule of a policy", [program("p", ALLOW, DROP)], ALLOWED, "p-0"),
    Case("the lower tier", [program("p", DROP), program("q", ALLOW, tier=EMERGENCY, priority=9)], ALLOWED, "q-0"),
    Case("the lower priority", [program("p", DROP), program("q", ALLOW, priority=4.5)], ALLOWED, "q-0"),
    Case("priority before rule", [program("p", DROP, priority=4), program("q", ALLOW)], DROPPED, "p-0"),
    Case("the lower rule before the name", [program("p", PASS, DROP), program("q", ALLOW)], ALLOWED, "none", ("p-0",)),
    Case("the name at last", [program("q", DROP), program("p", ALLOW)], ALLOWED, "p-0"),
    Case("the Namespace before the name", [program("p", DROP, namespace="x"), program("q", ALLOW)], ALLOWED, "q-0"),
    Case("a tier overrules Kubernetes' allow", [program("p", DROP), k8s(ALLOW)], DROPPED, "p-0"),
    Case("a tier overrules isolation", [program("p", ALLOW), k8s()], ALLOWED, "p-0"),
    Case("pass skips the other tiers", [program("p", PASS, tier=50), program("q", DROP)], ALLOWED, "none", ("p-0",)),
    Case("and the rules after it", [program("p", PASS, DROP)], ALLOWED, "none", ("p-0",)),
    Case("pass to Kubernetes' allow", [program("p", PASS), k8s(ALLOW)], ALLOWED, "k8s-0", ("p-0",)),
    Case("pass to isolation", [program("p", PASS), k8s()], DROPPED, "isolation", ("p-0",)),
    Case("pass to the baseline", [program("p", PASS), program("b", DROP, tier=BASELINE)], DROPPED, "b-0", ("p-0",)),
    Case("isolation before the baseline", [k8s(), program("b", ALLOW, tier=BASELINE)], DROPPED, "isolation"),
    Case("Kubernetes' allow before the baseline", [k8s(ALLOW), program("b", DROP, tier=BASELINE)], ALLOWED, "k8s-0"),
    Case("the baseline rejects", [program("b", REJECT, ALLOW, tier=BASELINE)], REJECTED, "b-0"),
    Case("egress rules are for the way out", [program("p", DROP, direction=Direction.EGRESS)], ALLOWED, "none"),
    Case("nobody is no peer", [program("p", DROP, peers=())], ALLOWED, "none"),
    Case("no traffic", [program("p", DROP, traffic=())], ALLOWED, "none"),
    Case(
        "an except falls through to later rules",
        [program("p", DROP, peers=(BlockPeer(cidr="10.0.0.0/24", excepts=("10.0.0.2/32",)),)), program("q", REJECT)],
        REJECTED,
        "q-0",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("backwards", [False, True], ids=["as told", "backwards"])
def test_order(case: Case, backwards: bool) -> None:
    given = judge(case.programs[::-1] if backwards else case.programs)

    assert given.ingress is not None
    by = {RuleRef: "", Isolation: "isolation", NoPolicy: "none"}[type(given.ingress.reason)]
    by = by or getattr(given.ingress.reason, "name", "")
    assert (given.outcome, by) == (case.outcome, case.by)
    assert tuple(rule.name for rule in given.ingress.passed) == case.passed


class Match(NamedTuple):
    name: str
    traffic: Traffic
    packet: Packet
    matches: bool


PING = IcmpTraffic(icmp_type=8, icmp_code=0)
FROM_4000 = TransportTraffic(protocol="UDP", ports=PortRange(53, 53), source_ports=PortRange(4000, 4001))

MATCHES = [
    Match("ICMP of any type", IcmpTraffic(), to_a(protocol="ICMP", icmp_type=3), True),
    Match("ICMP of a type", PING, to_a(protocol="ICMP", icmp_type=8, icmp_code=0), True),
    Match("ICMP of another type", PING, to_a(protocol="ICMP", icmp_type=0, icmp_code=0), False),
    Match("ICMP of another code", PING, to_a(protocol="ICMP", icmp_type=8, icmp_code=1), False),
    Match("TCP is not ICMP", IcmpTraffic(), to_a(), False),
    Match("the source port, too", FROM_4000, to_a(protocol="UDP", port=53, source_port=4001), True),
    Match("another source port", FROM_4000, to_a(protocol="UDP", port=53, source_port=4002), False),
    Match("a source port that nobody says", FROM_4000, to_a(protocol="UDP", port=53), False),
    Match("a port that nobody says", FROM_4000, to_a(protocol="UDP", port=None, source_port=4000), False),
]


@pytest.mark.parametrize("case", MATCHES, ids=lambda case: case.name)
def test_traffic(case: Match) -> None:
    given = judge([program("p", DROP, traffic=(case.traffic,))], case.packet)

    assert (given.outcome == DROPPED) is case.matches


def test_a_verdict_names_the_rule_in_full() -> None:
    given = judge([program("p", ALLOW, REJECT, namespace="x", traffic=None, priority=1.5)])

    assert given.egress is not None
    assert given.ingress is not None
    assert given.egress.reason == NoPolicy()
    assert given.ingress.reason == RuleRef(
        origin=Origin(kind=Kind.K8S_NETWORK_POLICY, namespace="x", name="p", uid=Uid("p")),
        direction=Direction.INGRESS,
        index=0,
        action=ALLOW,
        tier=APPLICATION,
        priority=1.5,
        name="p-0",
    )
