"""Objects into programs and groups: what comes, what goes, and what is told of it."""

from typing import Any

import pytest
from msgspec.structs import replace

from sluice.contracts.ids import Revision, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject
from sluice.contracts.status import Problem
from sluice.grouping.events import key_of
from sluice.policy.compiler import Compiler, GroupChanges, Groups, ProgramChanges
from sluice.testkit.builders import acnp, cluster_group, namespace, netpol, pod, service, tier

NP = "k8snetworkpolicies:x:np"
WEB = {"podSelector": {"matchLabels": {"app": "web"}}}
DB = {"podSelector": {"matchLabels": {"app": "db"}}}
BAD = {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}
HALF_BAD = {**WEB, "ingress": [{"from": [{}]}, {"ports": [{"port": 0}]}]}

FROM_SERVICE = {"ingress": [{"action": "Drop", "from": [{"group": "parent"}]}]}
"""Of whom a child of the group speaks: the Pods of the Service x/s."""


def at(sequence: int) -> Revision:
    return Revision(1, sequence)


def test_a_program_comes_changes_and_goes() -> None:
    compiler = Compiler()

    assert compiler.put(netpol("x/np", WEB), at(1))
    ((key, program),) = compiler.programs.items()
    assert key == (program.applied_to, NP)
    assert compiler.drain() == ProgramChanges({key: program}, set())

    assert compiler.put(netpol("x/np", {**WEB, "egress": [{}]}), at(2))
    assert compiler.programs[key].cause == at(2)
    assert compiler.drain() == ProgramChanges({key: compiler.programs[key]}, set())

    assert compiler.delete(Kind.K8S_NETWORK_POLICY, "x", "np", at(3))
    assert not compiler.programs
    assert compiler.drain() == ProgramChanges({}, {key})
    assert compiler.drain() == ProgramChanges({}, set())


@pytest.mark.parametrize(("said", "logs"), [("true", True), ("1", True), ("false", False), ("yes", False), ("", False)])
def test_kubernetes_policies_log_as_their_namespace_says(said: str, logs: bool) -> None:
    compiler = Compiler()
    compiler.put(netpol("x/np", {**WEB, "ingress": [{}]}), at(1))
    compiler.put(netpol("y/np", WEB), at(2))
    compiler.put(acnp("p", {"ingress": [{"action": "Drop"}]}), at(3))
    compiler.drain()

    assert compiler.put(namespace("x", logging=said), at(4)) == logs
    compiler.put(netpol("x/later", {**WEB, "ingress": [{}]}), at(5))

    units = {unit: program for (_, unit), program in compiler.programs.items()}
    mine = [units[Unit(NP)], units[Unit("k8snetworkpolicies:x:later")]]
    others = [program for program in units.values() if program not in mine]
    assert [program.logs_isolation for program in mine] == [logs, logs]
    assert [rule.logs for program in mine for rule in program.rules] == [logs, logs]
    assert mine[0].cause == at(4 if logs else 1)
    assert not any(program.logs_isolation or any(rule.logs for rule in program.rules) for program in others)
    assert compiler.put(namespace("x"), at(6)) == logs
    assert not any(program.logs_isolation for program in compiler.programs.values())


def test_a_policy_that_applies_to_others_now_is_another_program() -> None:
    compiler = Compiler()
    compiler.put(netpol("x/np", WEB), at(1))
    ((old, _),) = compiler.drain().put.items()

    compiler.put(netpol("x/np", DB), at(2))

    ((new, program),) = compiler.programs.items()
    assert new != old
    assert compiler.drain() == ProgramChanges({new: program}, {old})


def test_a_namespace_that_comes_costs_its_own_part_of_a_relative_policy() -> None:
    compiler, groups = Compiler(), Groups()
    rules = [{"action": "Allow", "from": [{"namespaces": {"match": "Self"}}]}, {"action": "Drop"}]
    policy = acnp("p", {"appliedTo": [{"namespaceSelector": {}}], "ingress": rules})
    told: list[AnyObject] = [policy, *(namespace(f"n-{number}") for number in range(50))]
    for sequence, made in enumerate(told, start=1):
        compiler.put(made, Revision(1, sequence))
        groups.put(made, Revision(1, sequence))
    assert (len(compiler.drain().put), len(groups.drain().select)) == (51, 51)

    for made in (namespace("new"), namespace("n-1", a="b")):
        compiler.put(made, Revision(1, 100))
        groups.put(made, Revision(1, 100))
    (program,) = compiler.drain().put.values()
    assert groups.drain().select.keys() == {program.applied_to}
    assert program.cause == Revision(1, 100)

    compiler.delete(Kind.NAMESPACE, "", "new", Revision(1, 101))
    groups.delete(Kind.NAMESPACE, "", "new", Revision(1, 101))
    assert compiler.drain() == ({}, {(program.applied_to, program.unit)})
    assert groups.drain() == ({}, {program.applied_to})


@pytest.mark.parametrize(
    ("made", "spec"),
    [
        (cluster_group("g", {"podSelector": {}}), {"appliedTo": [{"group": "g"}]}),
        (service("x/s", app="web"), {"appliedTo": [{"podSelector": {}}], **FROM_SERVICE}),
        (tier("mine"), {"tier": "mine", "appliedTo": [{"podSelector": {}}]}),
    ],
)
def test_what_a_policy_looks_up_makes_it_again_and_nothing_else_does(made: AnyObject, spec: dict[str, Any]) -> None:
    compiler = Compiler()
    compiler.put(cluster_group("parent", {"childGroups": ["of-service"]}), Revision(1, 1))
    by_service = {"serviceReference": {"name": "s", "namespace": "x"}}
    compiler.put(cluster_group("of-service", by_service), Revision(1, 2))
    compiler.put(acnp("p", {"ingress": [{"action": "Drop"}], **spec}), Revision(1, 3))
    compiler.put(acnp("other", {"appliedTo": [{"podSelector": {}}], "ingress": [{"action": "Drop"}]}), Revision(1, 4))
    before = dict(compiler.programs)
    compiler.drain()

    assert compiler.put(made, Revision(1, 5))
    assert {unit for _, unit in compiler.drain().put} == {"acnps:_:p"}
    assert not compiler.put(made, Revision(1, 6))

    compiler.delete(key_of(made).kind, *made.key, Revision(1, 7))
    after = {key: replace(program, cause=before[key].cause) for key, program in compiler.programs.items()}
    assert after == before


def test_what_changes_nothing_keeps_its_cause() -> None:
    compiler = Compiler()
    compiler.put(netpol("x/np", WEB), at(1))
    compiler.drain()

    assert not compiler.put(netpol("x/np", {**WEB, "policyTypes": ["Ingress"]}), at(2))

    assert [program.cause for program in compiler.programs.values()] == [at(1)]
    assert compiler.drain() == ProgramChanges({}, set())


def test_a_policy_made_again_is_another_one() -> None:
    compiler = Compiler()
    compiler.put(netpol("x/np", WEB, uid="old"), at(1))

    assert compiler.put(netpol("x/np", WEB, uid="new"), at(2))
    assert [program.origin.uid for program in compiler.programs.values()] == ["new"]


def test_what_comes_and_goes_between_two_looks_is_not_put() -> None:
    compiler, groups = Compiler(), Groups()
    for fold in (compiler, groups):
        fold.put(netpol("x/np", WEB), at(1))
        fold.delete(Kind.K8S_NETWORK_POLICY, "x", "np", at(2))

    assert compiler.drain().put == {}
    assert groups.drain() == GroupChanges({}, set())


def test_late_and_unheard_of_news_is_absorbed() -> None:
    for fold in (Compiler(), Groups()):
        assert fold.put(netpol("x/np", WEB), at(5))
        assert not fold.put(netpol("x/np", DB), at(4))
        assert not fold.delete(Kind.K8S_NETWORK_POLICY, "x", "np", at(5))
        assert not fold.delete(Kind.K8S_NETWORK_POLICY, "x", "other", at(6))
        assert fold.delete(Kind.K8S_NETWORK_POLICY, "x", "np", at(7))
        fold.settle(at(7))
        assert not fold.put(netpol("x/np", WEB), at(6))


def test_other_kinds_are_absorbed() -> None:
    for fold in (Compiler(), Groups()):
        assert not fold.put(namespace("x"), at(1))
        assert not fold.put(pod("x/a"), at(2))


def test_what_is_wrong_is_said_while_it_is_wrong() -> None:
    compiler = Compiler()

    compiler.put(netpol("x/np", HALF_BAD), at(1))
    (problem,) = compiler.problems
    assert (problem.unit, problem.state) == (NP, "failed")
    assert "ingress[0].from[0]" in problem.reason
    assert "ingress[1].ports[0]" in problem.reason
    assert [program.isolates for program in compiler.programs.values()] == [("ingress",)]

    compiler.put(netpol("x/np", BAD), at(2))
    (problem,) = compiler.problems
    assert isinstance(problem, Problem)
    assert "$.spec.podSelector" in problem.reason
    assert not compiler.programs

    compiler.put(netpol("x/np", WEB), at(3))
    assert compiler.problems == ()
    assert len(compiler.programs) == 1


def test_a_group_stays_while_any_policy_names_it() -> None:
    groups = Groups()
    groups.put(netpol("x/one", WEB), at(1))
    groups.put(netpol("x/two", WEB), at(2))
    ((web, selector),) = groups.drain().select.items()
    assert groups.selectors == {web: selector}

    assert not groups.delete(Kind.K8S_NETWORK_POLICY, "x", "one", at(3))
    assert groups.drain() == GroupChanges({}, set())

    assert groups.put(netpol("x/two", DB), at(4))
    changes = groups.drain()
    assert changes.release == {web}
    assert changes.select == groups.selectors

    assert groups.put(netpol("x/two", BAD), at(5))
    assert groups.drain() == GroupChanges({}, set(changes.select))
    assert groups.selectors == {}


def test_a_group_named_twice_by_one_policy_goes_with_it() -> None:
    groups = Groups()
    groups.put(netpol("x/np", {**WEB, "ingress": [{"from": [WEB]}], "egress": [{"to": [WEB, WEB]}]}), at(1))
    assert len(groups.drain().select) == 1

    groups.delete(Kind.K8S_NETWORK_POLICY, "x", "np", at(2))
    assert len(groups.drain().release) == 1
