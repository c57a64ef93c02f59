"""Is a policy in force, and where: told facts, asked answers."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Mark
from sluice.contracts.ids import ALL_NODES, GroupId, NodeName, Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import TYPES
from sluice.contracts.status import CompilerStatus, DocumentProblem, NodeStatus, Problem, SourceStatus
from sluice.grouping.events import ObjectEvent, ObjectKey
from sluice.policy.realisation.fold import Realisation
from sluice.policy.realisation.report import (
    Condition,
    Obstacle,
    Phase,
    PolicyStatus,
    Realised,
    at,
    failures,
    policy_status,
)
from sluice.testkit.builders import acnp, node

UNIT = subjects.unit(Kind.CLUSTER_NETWORK_POLICY, "", "p")
KEY = ObjectKey(Kind.CLUSTER_NETWORK_POLICY, "", "p")
WEB, DB = GroupId("web"), GroupId("db")
A, B = NodeName("a"), NodeName("b")

Fact = Callable[[Realisation], None]


def rev(sequence: int, epoch: int = 1) -> Revision:
    return Revision(epoch, sequence)


def policy(sequence: int = 10, generation: int = 1) -> Fact:
    made = acnp("p")

    metadata = msgspec.structs.replace(made.metadata, generation=generation)
    made = msgspec.structs.replace(made, metadata=metadata)
    return lambda fold: fold.object(ObjectEvent(KEY, made, rev(sequence)))


def deleted(sequence: int) -> Fact:
    return lambda fold: fold.object(ObjectEvent(KEY, None, rev(sequence)))


def a_node(name: NodeName, sequence: int = 1) -> Fact:
    return lambda fold: fold.object(ObjectEvent(ObjectKey(Kind.NODE, "", name), node(name), rev(sequence)))


def program(cause: int | None = 10, group: GroupId = WEB, backend: str = "ovs") -> Fact:
    return lambda fold: fold.program(backend, group, UNIT, None if cause is None else rev(cause))


def page(name: NodeName, cause: int | None = 5, group: GroupId = WEB) -> Fact:
    return lambda fold: fold.page(group, name, None if cause is None else rev(cause))


def marks(upto: int = 20, shard: int = 0, shards: int = 1) -> Fact:
    def tell(fold: Realisation) -> None:
        for writer in ("groups", "programs.ovs"):
            fold.mark(writer, Mark(shard=shard, shards=shards, upto=rev(upto)))

    return tell


def says(
    name: NodeName,
    applied: int = 20,
    *problems: Problem,
    healthy: bool = True,
    backend: str = "ovs",
    detail: str = "",
    epoch: int = 1,
) -> Fact:
    status = NodeStatus(
        node=name,
        backend=backend,  # type: ignore[arg-type]  # a literal
        applied=rev(applied, epoch),
        healthy=healthy,
        detail=detail,
        problems=problems,
    )
    return lambda fold: fold.node(status, name, backend)


def compiler(*problems: Problem) -> Fact:
    return lambda fold: fold.compiler(0, CompilerStatus(shard=0, problems=problems))


def source(*places: str) -> Fact:
    problems = tuple(DocumentProblem(file=place, line=0, path="$.spec", reason="is bad; mend it") for place in places)
    status = SourceStatus(source="kubernetes", digest="", upto=rev(20), problems=problems)
    return lambda fold: fold.source("kubernetes", status)


def failed(reason: str = "no room; merge rules", code: str = "") -> Problem:
    return Problem(unit=UNIT, state="failed", reason=reason, code=code)


WAITS = Problem(unit=UNIT, state="waiting", reason="a page is unknown")
OTHER = Problem(unit=subjects.unit(Kind.K8S_NETWORK_POLICY, "x", "q"), state="failed", reason="other")


class Case(NamedTuple):
    name: str
    facts: list[Fact]
    found: tuple[Phase, int, int] | None
    """Phase, current, desired."""


IN_FORCE = [policy(), program(), page(A), page(B), marks(), says(A), says(B)]

CASES = [
    Case("nothing is known", [], None),
    Case("there is no such policy any more", [*IN_FORCE, deleted(30)], None),
    Case("no marks yet", [policy()], (Phase.PENDING, 0, 0)),
    Case("marks from before the policy", [policy(30), marks(20)], (Phase.PENDING, 0, 0)),
    Case("one of two shards has said nothing", [policy(), marks(shard=1, shards=2)], (Phase.PENDING, 0, 0)),
    Case(
        "only the groups have marks",
        [policy(), lambda fold: fold.mark("groups", Mark(shard=0, shards=1, upto=rev(20)))],
        (Phase.PENDING, 0, 0),
    ),
    Case("about nobody", [policy(), program(), marks()], (Phase.REALIZED, 0, 0)),
    Case("everywhere", IN_FORCE, (Phase.REALIZED, 2, 2)),
    Case("a node has said nothing", [policy(), program(), page(A), page(B), marks(), says(A)], (Phase.REALIZING, 1, 2)),
    Case("a node is behind", [*IN_FORCE, says(B, 9)], (Phase.REALIZING, 1, 2)),
    Case("a node is at the cause, and behind others", [*IN_FORCE, says(B, 10)], (Phase.REALIZED, 2, 2)),
    Case("a node applied another epoch's", [*IN_FORCE, says(B, 99, epoch=0)], (Phase.REALIZING, 1, 2)),
    Case("a node waits", [*IN_FORCE, says(B, 20, WAITS)], (Phase.REALIZING, 1, 2)),
    Case("a node fails", [*IN_FORCE, says(B, 20, failed())], (Phase.FAILED, 1, 2)),
    Case("a node fails with another policy", [*IN_FORCE, says(B, 20, OTHER)], (Phase.REALIZED, 2, 2)),
    Case("one fails and one is behind", [*IN_FORCE, says(A, 9), says(B, 20, failed())], (Phase.REALIZING, 0, 2)),
    Case("a node is not healthy", [*IN_FORCE, says(B, healthy=False, detail="no switch")], (Phase.FAILED, 1, 2)),
    Case("a node left the span", [*IN_FORCE, says(B, 9), page(B, None)], (Phase.REALIZED, 1, 1)),
    Case(
        "a node came into the span after what it applied",
        [*IN_FORCE, page(NodeName("c"), 25), says(NodeName("c"), 24)],
        (Phase.REALIZING, 2, 3),
    ),
    Case("and has it then", [*IN_FORCE, page(NodeName("c"), 25), says(NodeName("c"), 25)], (Phase.REALIZED, 3, 3)),
    Case("members change on a node that has it", [*IN_FORCE, page(A, 30)], (Phase.REALIZED, 2, 2)),
    Case("its program changed", [*IN_FORCE, program(30), marks(30), says(A, 30)], (Phase.REALIZING, 1, 2)),
    Case(
        "two groups on one node",
        [policy(), program(), program(group=DB), page(A), page(A, group=DB), marks(), says(A)],
        (Phase.REALIZED, 1, 1),
    ),
    Case(
        "one of two groups is gone",
        [*IN_FORCE, program(group=DB), page(NodeName("c"), group=DB), program(None, DB)],
        (Phase.REALIZED, 2, 2),
    ),
    Case(
        "two backends, one has it",
        [
            *IN_FORCE,
            program(backend="tc"),
            lambda fold: fold.mark("programs.tc", Mark(shard=0, shards=1, upto=rev(20))),
            says(A, backend="tc"),
        ],
        (Phase.REALIZING, 1, 2),
    ),
    Case(
        "a backend's marks are behind",
        [*IN_FORCE, lambda fold: fold.mark("programs.tc", Mark(shard=0, shards=1, upto=rev(5)))],
        (Phase.PENDING, 0, 0),
    ),
    Case(
        "on every node",
        [policy(), program(group=ALL_NODES), a_node(A), a_node(B), marks(), says(A)],
        (Phase.REALIZING, 1, 2),
    ),
    Case("nobody can say to whom it applies", [policy(), marks(), compiler(failed())], (Phase.PENDING, 0, 0)),
    Case("a part of it is closed", [*IN_FORCE, compiler(failed())], (Phase.FAILED, 2, 2)),
    Case(
        "a part of it is closed, and a node is behind",
        [*IN_FORCE, compiler(failed()), says(A, 9)],
        (Phase.REALIZING, 1, 2),
    ),
    Case("the compiler complains no more", [*IN_FORCE, compiler(failed()), compiler()], (Phase.REALIZED, 2, 2)),
    Case("its newest version was refused", [*IN_FORCE, source("acnps/p")], (Phase.FAILED, 2, 2)),
    Case("it was refused from the beginning", [marks(), source("acnps/p")], (Phase.PENDING, 0, 0)),
    Case("another was refused", [*IN_FORCE, source("acnps/q", "pods/x/p", "a.yaml")], (Phase.REALIZED, 2, 2)),
    Case("it was mended", [*IN_FORCE, source("acnps/p"), source()], (Phase.REALIZED, 2, 2)),
]


def told(facts: list[Fact]) -> Realisation:
    fold = Realisation()
    for fact in facts:
        fact(fold)
    return fold


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_how_far(case: Case) -> None:
    found = told(case.facts).realised(UNIT)

    assert (found and (found.phase, found.current, found.desired)) == case.found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_changes_is_dirty(case: Case) -> None:
    """Who asks only about what is named since the last time knows as much as who always asks."""
    fold, known = Realisation(), None
    for fact in case.facts:
        fact(fold)
        dirty = fold.drain()
        now = fold.realised(UNIT)
        if UNIT in dirty:
            known = now
        assert known == now


def test_a_traffic_control_is_in_force_on_the_nodes_of_its_pods() -> None:
    key = ObjectKey(Kind.TRAFFIC_CONTROL, "", "tap")
    unit = subjects.unit(*key)
    written = {
        "apiVersion": "crd.antrea.io/v1alpha2",
        "kind": "TrafficControl",
        "metadata": {"name": "tap"},
        "spec": {"appliedTo": {}, "direction": "Both", "action": "Mirror", "targetPort": {"device": {"name": "tap0"}}},
    }
    made = msgspec.convert(written, TYPES[Kind.TRAFFIC_CONTROL])
    fold = told([page(A), marks(), says(A)])
    fold.object(ObjectEvent(key, made, rev(10)))
    about_nobody = fold.realised(unit)
    assert about_nobody is not None
    assert (about_nobody.phase, about_nobody.desired) == (Phase.REALIZED, 0)

    fold.program("ovs", WEB, unit, rev(10))
    assert unit in fold.drain()
    found = fold.realised(unit)
    assert found is not None
    assert (found.phase, found.current, found.desired) == (Phase.REALIZED, 1, 1)


def test_a_report_costs_what_it_changes() -> None:
    """A node that is behind makes nobody look again at what others report."""
    fold = told([*IN_FORCE, says(B, 9)])
    fold.drain()
    assert fold.realised(UNIT)

    says(A, 30)(fold)
    marks(30)(fold)
    assert fold.drain() == frozenset()

    says(B, 30)(fold)
    assert fold.drain() == {UNIT}


@given(st.permutations(IN_FORCE))
def test_the_order_in_which_streams_are_told_does_not_matter(facts: list[Fact]) -> None:
    assert told(facts).realised(UNIT) == told(IN_FORCE).realised(UNIT)


# --------------------------------------------------------------------------------------------------------- as a status


def test_who_fails_and_why_is_told() -> None:
    facts = [*IN_FORCE, says(A, 20, failed("no room")), says(B, healthy=False, detail="no switch"), compiler()]

    found = policy_status(told(facts).realised(UNIT) or pytest.fail("there is no answer"))

    assert found == PolicyStatus(
        phase=Phase.FAILED,
        observed_generation=1,
        current_nodes_realized=0,
        desired_nodes_realized=2,
        conditions=(
            Condition(type="Realizable", status="True"),
            Condition(
                type="RealizationFailure",
                status="True",
                reason="NetworkPolicyRealizationFailedOnNode",
                message='2 nodes fail: "a": "no room", "b": "not healthy: no switch"',
            ),
        ),
    )


@pytest.mark.parametrize(
    ("name", "facts", "reason"),
    [
        (
            "a group of another Namespace",
            [policy(), marks(), compiler(failed("Group x/g", "NetworkPolicyAppliedToUnsupportedGroup"))],
            "NetworkPolicyAppliedToUnsupportedGroup",
        ),
        ("a tier that does not exist", [policy(), marks(), compiler(failed())], "NetworkPolicyNotRealizable"),
        ("a part that is closed", [*IN_FORCE, compiler(failed())], "NetworkPolicyPartlyRealizable"),
        ("refused", [*IN_FORCE, source("acnps/p")], "NetworkPolicyNotTakenIn"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_realizable_says_why(name: str, facts: list[Fact], reason: str) -> None:
    found = policy_status(told(facts).realised(UNIT) or pytest.fail("there is no answer"))

    assert [(one.type, one.status, one.reason) for one in found.conditions] == [("Realizable", "False", reason)]
    assert found.conditions[0].message


def test_a_status_is_written_as_kubernetes_has_it() -> None:
    status = policy_status(Realised(phase=Phase.REALIZED, generation=3, current=1, desired=1))

    assert codec.encode(status) == (
        b'{"phase":"Realized","observedGeneration":3,"currentNodesRealized":1,"desiredNodesRealized":1,'
        b'"conditions":[{"type":"Realizable","status":"True"}]}'
    )


def test_a_condition_keeps_its_time_while_it_stays() -> None:
    status = policy_status(
        Realised(phase=Phase.PENDING, generation=3, obstacle=Obstacle(reason="Why", message="because"))
    )
    first = at(status, (), "1")
    again = at(status, first.conditions, "2")
    better = at(policy_status(Realised(phase=Phase.REALIZED, generation=3)), again.conditions, "3")

    assert [one.last_transition_time for one in (*first.conditions, *again.conditions, *better.conditions)] == [
        "1",
        "1",
        "3",
    ]


def test_of_many_failing_nodes_some_are_named() -> None:
    text = failures(tuple((NodeName(f"n{number:03}"), "x" * 200) for number in range(500)))

    assert text.startswith('500 nodes fail: "n000": "xx')
    assert len(text) == 1_000
    assert failures(tuple((NodeName(f"n{number:02}"), "x") for number in range(12))).endswith(", and 2 more")
