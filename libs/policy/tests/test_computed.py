"""GroupMembersComputed: when it holds, and that a change is told for all whom it is about."""

from typing import Any, NamedTuple

import pytest
from hypothesis import given

from sluice.contracts.ids import Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject
from sluice.grouping.events import ObjectEvent, ObjectKey
from sluice.policy.computed import MISSING, NESTED, UNKNOWN, Computed
from sluice.testkit.antrea_strategies import antrea_stories
from sluice.testkit.builders import cluster_group, group, service
from sluice.testkit.expanders import outcome, story


def told(*objects: AnyObject | ObjectKey) -> Computed:
    made = Computed()
    for event in story(*objects):
        made.evolve(event)
    return made


class Case(NamedTuple):
    name: str
    objects: list[AnyObject | ObjectKey]
    reason: str | None
    """Of the ClusterGroup cg; empty if the condition is true, None if there is none."""


PODS: Any = {"podSelector": {}}

CASES = [
    Case("nobody made it", [group("x/cg", PODS)], None),
    Case("selectors", [cluster_group("cg", PODS)], ""),
    Case("nobody at all", [cluster_group("cg")], ""),
    Case("a Service that is missing", [cluster_group("cg", {"serviceReference": {"name": "s", "namespace": "x"}})], ""),
    Case("a child that is missing", [cluster_group("cg", {"childGroups": ["a"]})], MISSING),
    Case("a child of another Namespace", [group("x/a", PODS), cluster_group("cg", {"childGroups": ["a"]})], MISSING),
    Case("a child that comes later", [cluster_group("cg", {"childGroups": ["a"]}), cluster_group("a", PODS)], ""),
    Case(
        "a child that goes",
        [
            cluster_group("a", PODS),
            cluster_group("cg", {"childGroups": ["a"]}),
            ObjectKey(Kind.CLUSTER_GROUP, "", "a"),
        ],
        MISSING,
    ),
    Case(
        "a child with children",
        [cluster_group("cg", {"childGroups": ["a"]}), cluster_group("a", {"childGroups": ["b"]})],
        NESTED,
    ),
    Case("itself", [cluster_group("cg", {"childGroups": ["cg"]})], NESTED),
    Case(
        "a circle",
        [cluster_group("cg", {"childGroups": ["a"]}), cluster_group("a", {"childGroups": ["cg"]})],
        NESTED,
    ),
    Case("two ways at once", [cluster_group("cg", {**PODS, "ipBlocks": [{"cidr": "10.0.0.0/8"}]})], UNKNOWN),
    Case("a block that is none", [cluster_group("cg", {"ipBlocks": [{"cidr": "10.0.0.0/99"}]})], UNKNOWN),
    Case("other kinds say nothing", [service("x/cg", app="web")], None),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_condition(case: Case) -> None:
    found = told(*case.objects).condition(("", "cg"))

    assert (found.reason if found else None) == case.reason
    assert found is None or found.computed == (case.reason == "")


def test_changes_are_told_once_with_the_parents() -> None:
    made = told(cluster_group("p", {"childGroups": ["a"]}), cluster_group("q", PODS))
    assert {name: condition and condition.reason for name, condition in made.drain().items()} == {
        ("", "p"): MISSING,
        ("", "q"): "",
    }

    for event in story(cluster_group("a", PODS), epoch=2):
        made.evolve(event)
    assert set(made.drain()) == {("", "a"), ("", "p")}
    assert made.drain() == {}

    made.evolve(ObjectEvent(ObjectKey(Kind.CLUSTER_GROUP, "", "a"), None, Revision(1, 2)))
    assert made.drain() == {}


@given(antrea_stories())
def test_incremental_equals_recomputed(events: list[ObjectEvent]) -> None:
    made, fresh = Computed(), Computed()
    for event in events:
        made.evolve(event)
    for event in outcome(events).values():
        fresh.evolve(event)

    for key in outcome(events):
        if key.kind in (Kind.CLUSTER_GROUP, Kind.GROUP):
            assert made.condition((key.namespace, key.name)) == fresh.condition((key.namespace, key.name))
