"""When a change counts as being in force, and what is said when it does not."""

from typing import NamedTuple

import pytest

from sluice.contracts.ids import Backend, NodeName, Revision, Unit
from sluice.contracts.status import CompilerStatus, DocumentProblem, NodeStatus, Problem, SourceStatus
from sluice.lab.realised import AnyStatus, Statuses, Wanted, kind_of
from sluice.lab.scenario import Reported

NODE = NodeName("node-1")
UPTO = Revision(5, 10)
UNIT = Unit("k8snetworkpolicies:y:closed")
PROBLEM = DocumentProblem(file="pods/x/a.json", line=3, path="$.spec", reason="bad")


def source(digest: str = "d", *problems: DocumentProblem) -> SourceStatus:
    return SourceStatus(source="folder:/m", digest=digest, upto=UPTO, problems=problems)


def node(applied: Revision = UPTO, **fields: object) -> NodeStatus:
    given = {"ports": ("x/a", "x/b"), **fields}
    return status("ovs", applied, **given)


def engine(applied: Revision = UPTO, **fields: object) -> NodeStatus:
    return status("l7", applied, **fields)


def status(backend: Backend, applied: Revision, **fields: object) -> NodeStatus:
    given = {"healthy": True, **fields}
    return NodeStatus(node=NODE, backend=backend, applied=applied, **given)  # type: ignore[arg-type]  # rows of a table


UNSUPPORTED = Problem(unit=UNIT, state="failed", reason="odd", code="NetworkPolicyAppliedToUnsupportedGroup")


class Case(NamedTuple):
    name: str
    statuses: tuple[AnyStatus, ...]
    missing: list[str]
    """Pieces of the lines."""


CASES = [
    Case("all is well", (source(), node()), []),
    Case("a node may be ahead", (source(), node(Revision(5, 11))), []),
    Case("nobody has said anything", (), ["ingest: it has not taken in"]),
    Case("ingest saw an older folder", (source("old"), node()), ["ingest: it has not taken in"]),
    Case("a bad manifest", (source("d", PROBLEM), node()), ["ingest: pods/x/a.json:3: $.spec: bad"]),
    Case("the node is silent", (source(),), ["node-ovs on node-1: it has not reported yet"]),
    Case("the node is behind", (source(), node(Revision(5, 9))), ["has applied revision 9, not yet 10"]),
    Case("another epoch", (source(), node(Revision(4, 99))), ["has applied revision 99, not yet 10"]),
    Case("a later epoch", (source(), node(Revision(6, 1))), ["has applied revision 1, not yet 10"]),
    Case("the switch is away", (source(), node(healthy=False, detail="switch lost")), ["not healthy: switch lost"]),
    Case("a port is closed", (source(), node(ports=("x/a",))), ["the ports of x/b are not open"]),
    Case("a port too many", (source(), node(ports=("x/a", "x/b", "x/c"))), ["the ports of x/c are still open"]),
    Case("a port of nobody", (source(), node(waiting_ports=("x/z",))), ["the ports of x/z wait"]),
    Case("a port that cannot be", (source(), node(port_errors=("pod1: no MAC",))), ["node-1: pod1: no MAC"]),
    Case(
        "a policy is not in force",
        (source(), node(problems=(Problem(unit=UNIT, state="failed", reason="too many rules"),))),
        ["failed: k8snetworkpolicies:y:closed: too many rules"],
    ),
    Case(
        "a policy that nobody can compile",
        (source(), node(), CompilerStatus(shard=0, problems=(Problem(unit=UNIT, state="failed", reason="odd"),))),
        ["rule-compiler: failed: k8snetworkpolicies:y:closed: odd"],
    ),
    Case(
        "a policy that has no effect, by a reason with a name",
        (source(), node(), CompilerStatus(shard=0, problems=(UNSUPPORTED,))),
        [],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_missing(case: Case) -> None:
    statuses = Statuses()
    for status in case.statuses:
        statuses.put(status)

    missing = statuses.missing(Wanted(digest="d", ports={NODE: frozenset({"x/a", "x/b"})}))

    assert len(missing) == len(case.missing), missing
    for line, piece in zip(missing, case.missing, strict=True):
        assert piece in line


ENGINES = [
    Case("the engine has it all", (engine(),), []),
    Case("it has not started", (), ["node-l7 on node-1: it has not reported yet"]),
    Case("it is behind", (engine(Revision(5, 9)),), ["node-l7 on node-1: it has applied revision 9, not yet 10"]),
    Case("it died", (engine(healthy=False, detail="killed"),), ["node-l7 on node-1: not healthy: killed"]),
    Case(
        "it is loading",
        (engine(problems=(Problem(unit=UNIT, state="waiting", reason="not shown"),)),),
        ["node-l7 on node-1: waiting: k8snetworkpolicies:y:closed: not shown"],
    ),
]


@pytest.mark.parametrize("case", ENGINES, ids=lambda case: case.name)
def test_what_is_missing_where_requests_are_inspected(case: Case) -> None:
    statuses = Statuses()
    for each in (source(), node(), *case.statuses):
        statuses.put(each)
    wanted = Wanted(digest="d", ports={NODE: frozenset({"x/a", "x/b"})}, inspected=frozenset({NODE}))

    assert statuses.missing(wanted) == case.missing


def test_manifests_that_are_known_to_be_bad_do_not_count() -> None:
    statuses = Statuses()
    statuses.put(source("d", PROBLEM))

    assert statuses.missing(Wanted(digest="d", ports={}, ignored=frozenset({PROBLEM.file}))) == []


SUBJECTS = [
    ("status.node-1.ovs", NodeStatus),
    ("status.node-1.l7", NodeStatus),
    ("status._source.folder", SourceStatus),
    ("status._source.kubernetes", None),
    ("status._compiler.0", CompilerStatus),
    ("status.node-1.tc", None),
]


@pytest.mark.parametrize(("subject", "kind"), SUBJECTS, ids=[subject for subject, _ in SUBJECTS])
def test_whose_status_a_subject_is(subject: str, kind: type | None) -> None:
    assert kind_of(subject) is kind


@pytest.mark.parametrize(
    ("problems", "expected", "missing"),
    [
        ((), (), []),
        ((UNSUPPORTED,), (Reported(message="odd"),), []),
        ((UNSUPPORTED,), (Reported(message="closed: o.d", on="node-1"),), []),
        ((UNSUPPORTED,), (Reported(message="odd", on="node-2"),), ["failed: k8snetworkpolicies", "node-2: no problem"]),
        ((UNSUPPORTED,), (Reported(message="even"),), ["failed: k8snetworkpolicies", "every node: no problem is told"]),
        ((), (Reported(message="odd"),), ["every node: no problem is told that says 'odd'"]),
    ],
)
def test_problems_that_are_expected(
    problems: tuple[Problem, ...], expected: tuple[Reported, ...], missing: list[str]
) -> None:
    statuses = Statuses()
    statuses.put(source())
    statuses.put(node(problems=problems))
    wanted = Wanted(digest="d", ports={NODE: frozenset({"x/a", "x/b"})}, problems=expected)

    told = statuses.missing(wanted)

    assert len(told) == len(missing), told
    assert all(piece in line for piece, line in zip(missing, told, strict=True)), told
