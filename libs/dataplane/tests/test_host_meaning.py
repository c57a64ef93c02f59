"""What becomes of packets in the table, for what `verdict` has no words: connections, lifelines, refusals."""

from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from sluice.contracts.ids import Revision, Unit
from sluice.contracts.objects import ClusterNetworkPolicy
from sluice.contracts.programs import Direction
from sluice.dataplane.host import guard
from sluice.dataplane.host.ids import RuleKey, comment, id_of, rule_id
from sluice.policy.verdict import Outcome
from sluice.testkit import builders
from sluice.testkit.expanders import story
from sluice.testkit.host_node import HostNode
from sluice.testkit.host_walker import Sent, walk

END = {"policy.sluice.dev/established": "end"}
SOURCE, SELF = 0xC0000207, 0xC0A84D0A  # 192.0.2.7, 192.168.77.10
TO_SSH = Sent("input", 4, SOURCE, SELF, 6, 40_000, 22)
FROM_SSH = Sent("output", 4, SELF, SOURCE, 6, 22, 40_000, known=True, onward=False)

PEER: list[dict[str, Any]] = [{"ipBlock": {"cidr": "192.0.2.0/24"}}]
SSH: list[dict[str, Any]] = [{"protocol": "TCP", "port": 22}]


def policy(name: str = "p", notes: dict[str, str] | None = None, **spec: object) -> ClusterNetworkPolicy:
    made = builders.acnp(name, {"appliedTo": [{"nodeSelector": {}}], **spec})
    return made if notes is None else replace(made, metadata=replace(made.metadata, annotations=notes))


def node(*policies: ClusterNetworkPolicy) -> HostNode:
    return HostNode(story(builders.node("node-1", ip=("192.168.77.10",)), *policies))


DROP: list[dict[str, Any]] = [{"action": "Drop", "from": PEER, "ports": SSH}]
ALLOW: list[dict[str, Any]] = [{"action": "Allow", "from": PEER, "ports": SSH}]


def test_a_connection_that_was_let_in_goes_on_when_a_policy_comes_to_deny_it() -> None:
    table = node(policy(ingress=DROP)).engine.table()

    assert walk(table, TO_SSH).outcome is Outcome.DROPPED
    assert walk(table, TO_SSH._replace(known=True)).outcome is Outcome.ALLOWED
    assert walk(table, FROM_SSH).outcome is Outcome.ALLOWED


def test_one_that_a_policy_ends_is_marked_and_passes_no_more_either_way() -> None:
    table = node(policy(ingress=DROP, notes=END)).engine.table()
    walked = walk(table, TO_SSH._replace(known=True))

    assert (walked.outcome, walked.ends) == (Outcome.DROPPED, True)
    assert walk(table, FROM_SSH).outcome is Outcome.ALLOWED
    assert walk(table, FROM_SSH._replace(ended=True)).outcome is Outcome.DROPPED
    assert walk(table, TO_SSH._replace(known=True, port=80)).outcome is Outcome.ALLOWED


class Case(NamedTuple):
    name: str
    policies: list[ClusterNetworkPolicy]
    goes_on: bool


ENDS = policy(ingress=DROP, notes=END)
PASS = policy("a", ingress=[{"action": "Pass"}])
CASES = [
    Case("one that goes first allows it", [policy("a", tier="emergency", ingress=ALLOW), ENDS], True),
    Case("one that goes first drops it, and lets it go on", [policy("a", tier="emergency", ingress=DROP), ENDS], True),
    Case("passed, and the baseline ends it", [PASS, policy(tier="baseline", ingress=DROP, notes=END)], False),
    Case("passed, and nothing of the baseline is about it", [PASS, ENDS], True),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_whoever_goes_first_decides_whether_a_connection_goes_on(case: Case) -> None:
    walked = walk(node(*case.policies).engine.table(), TO_SSH._replace(known=True))

    assert walked.ends is not case.goes_on


def test_what_is_passed_goes_on_to_the_baseline_past_the_other_tiers() -> None:
    others = policy("z", tier="application", ingress=[{"action": "Reject"}])
    there = node(PASS, others, policy("b", tier="baseline", ingress=DROP)).engine.table()

    assert walk(there, TO_SSH).outcome is Outcome.DROPPED
    assert walk(there, TO_SSH._replace(port=80)).outcome is Outcome.ALLOWED


def test_lifelines_pass_whatever_policies_say_and_nothing_else_does() -> None:
    there = node(policy(ingress=[{"action": "Drop"}], egress=[{"action": "Drop"}]))
    said = [
        guard.parse("SSH", Direction.INGRESS, "tcp:22:192.0.2.0/24"),
        guard.parse("API", Direction.EGRESS, "tcp:6443-6444:192.0.2.7"),
    ]
    there.engine.guard_is((*said, *guard.dhcp()))
    table = there.engine.table()
    out = Sent("output", 4, SELF, SOURCE, 6, 40_000, 6443)
    discovery = Sent("input", 6, 1, 2, 58, 135)

    def passes(sent: Sent) -> bool:
        return walk(table, sent).outcome is Outcome.ALLOWED

    assert all(map(passes, (TO_SSH, out, out._replace(port=6444), discovery, discovery._replace(device="lo"))))
    assert passes(Sent("input", 4, 1, 2, 17, 67, 68))
    assert passes(Sent("output", 4, 1, 2, 99, device="lo"))
    refused = [
        TO_SSH._replace(source=0xC0000307),
        TO_SSH._replace(port=23),
        out._replace(destination=0xC0000208),
        out._replace(port=6445),
        discovery._replace(source_port=128),
        Sent("input", 4, 1, 2, 17, 67, 69),
        Sent("output", 4, 1, 2, 17, 67, 68),
    ]
    assert not any(map(passes, refused))


def test_a_lifeline_is_where_the_connection_was_opened_to_and_no_answer_of_the_node() -> None:
    there = node(policy(egress=[{"action": "Drop"}], ingress=[{"action": "Drop", "ports": SSH}], notes=END))
    cluster_ip, said = 0x0A60000A, ("tcp:4222:10.96.0.10", "tcp:22")  # 10.96.0.10
    there.engine.guard_is([guard.parse("setting", Direction.EGRESS, text) for text in said])
    table = there.engine.table()
    to_endpoint = Sent("output", 4, SELF, SOURCE, 6, 40_000, 14222)

    assert walk(table, to_endpoint._replace(opened_to=(cluster_ip, 4222))).outcome is Outcome.ALLOWED
    assert walk(table, to_endpoint._replace(destination=cluster_ip, port=4222)).outcome is Outcome.ALLOWED
    for elsewhere in (None, (cluster_ip, 4223), (cluster_ip + 1, 4222)):
        assert walk(table, to_endpoint._replace(opened_to=elsewhere)).outcome is Outcome.DROPPED
    turned = to_endpoint._replace(destination=cluster_ip, port=4222, opened_to=(SOURCE, 4222))
    assert walk(table, turned).outcome is Outcome.DROPPED
    answer = FROM_SSH._replace(opened_to=(SELF, 22), ended=True)
    assert walk(table, answer).outcome is Outcome.DROPPED


class Odd(NamedTuple):
    name: str
    rule: dict[str, Any]
    says: str
    ssh: Outcome
    """What becomes of SSH from 192.0.2.7."""


EVERY_PORT = {"action": "Drop", "ports": [{"protocol": "TCP", "port": "ssh"}]}
GET: list[dict[str, Any]] = [{"http": {"host": "a.com"}}]
IGMP: list[dict[str, Any]] = [{"igmp": {"igmpType": 17, "groupAddress": "224.0.0.1"}}]
ODD = [
    Odd("a named port", EVERY_PORT, "write the port number", Outcome.DROPPED),
    Odd("a named port that is allowed", {**EVERY_PORT, "action": "Allow"}, "write the port number", Outcome.ALLOWED),
    Odd("layer 7", {**ALLOW[0], "l7Protocols": GET}, "leave l7Protocols out", Outcome.DROPPED),
    Odd("IGMP groups", {"action": "Reject", "protocols": IGMP}, "leave groupAddress out", Outcome.DROPPED),
]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd.name)
def test_what_cannot_be_lowered_is_told_and_closed(odd: Odd) -> None:
    there = node(policy(ingress=[odd.rule]))

    (problem,) = there.engine.problems()
    assert odd.says in problem.reason
    assert problem.reason.startswith("acnps:_:p: ingress rule 0")
    assert walk(there.engine.table(), TO_SSH).outcome is odd.ssh


NOT_SENT = [
    ({"fqdn": "*.a.com"}, None, "DNS answers to Nodes are not read"),
    (None, [{"name": "web", "namespace": "x"}], "cannot be told from other traffic"),
]


@pytest.mark.parametrize(("peer", "services", "says"), NOT_SENT, ids=["fqdn", "toServices"])
def test_what_nodes_send_by_name_is_refused(peer: object, services: object, says: str) -> None:
    rule: dict[str, Any] = {"action": "Drop"} | ({"to": [peer]} if peer else {"toServices": services})
    there = node(policy(egress=[rule]))

    assert says in there.engine.problems()[0].reason
    assert walk(there.engine.table(), Sent("output", 4, SELF, 1, 6, 1, 80)).outcome is Outcome.DROPPED


def test_a_rule_that_becomes_odd_keeps_its_form() -> None:
    there = node(policy(ingress=DROP))
    program = there.state.compiler.programs
    (before,) = [one for one in program.values() if one.about_nodes]
    there.state.put(policy(ingress=[{**DROP[0], "ports": [{"protocol": "TCP", "port": "ssh"}]}]), Revision(1, 99))
    (after,) = [one for one in there.state.compiler.programs.values() if one.about_nodes]
    there.engine.put_program(before)
    there.engine.put_program(after)

    table = there.engine.table()
    assert walk(table, TO_SSH).outcome is Outcome.DROPPED
    assert walk(table, TO_SSH._replace(port=80)).outcome is Outcome.ALLOWED


def test_the_id_of_a_rule_is_in_its_comment_however_long_its_name() -> None:
    key = RuleKey(Unit("acnps:_:" + "x" * 253), Direction.EGRESS, 3)

    assert id_of(comment(key)) == rule_id(key)
    assert len(comment(key)) <= 127
    assert id_of("lifeline: loopback") == ""
