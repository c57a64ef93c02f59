"""TrafficControls as programs: whom they are about, what they do, and in which order they stand."""

from typing import Any

import pytest

from sluice.contracts import subjects
from sluice.contracts.ids import Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import Direction
from sluice.contracts.traffic_control import NamedDevice, TrafficPort
from sluice.contracts.traffic_programs import WHEN_GONE, TrafficProgram
from sluice.grouping.events import ObjectKey
from sluice.grouping.selectors import GroupSelector
from sluice.policy.compiler import Groups
from sluice.policy.traffic import TrafficControls
from sluice.testkit.builders import cluster_group, control
from sluice.testkit.expanders import Story, expand, story

WEB = {"matchLabels": {"app": "web"}}
TEAM = {"matchLabels": {"team": "a"}}
TAP1 = {"ovsInternal": {"name": "tap1"}}


def fold(events: Story) -> TrafficControls:
    made = TrafficControls()
    for event in events:
        made.evolve(event)
    return made


def program(spec: dict[str, Any], **more: str) -> TrafficProgram | None:
    (made,) = fold(story(control("tc", spec, **more))).programs.values() or (None,)
    return made


def selector(applied_to: dict[str, Any]) -> GroupSelector | None:
    """Of the group that is named, in the resolver and in the program alike."""
    groups = Groups()
    (event,) = story(control("tc", {"appliedTo": applied_to}))
    groups.evolve(event)
    made = program({"appliedTo": applied_to})
    assert set(groups.selectors) == ({made.applied_to} if made else set())
    return next(iter(groups.selectors.values()), None)


def test_empty_selects_nobody():
    assert selector({}) is None


@pytest.mark.parametrize(
    ("applied_to", "namespaces", "pods"),
    [
        ({"podSelector": WEB}, None, 1),
        ({"podSelector": {}}, None, 0),
        ({"namespaceSelector": TEAM}, 1, 0),
        ({"namespaceSelector": {}}, 0, 0),
        ({"podSelector": WEB, "namespaceSelector": TEAM}, 1, 1),
    ],
    ids=["Pods of every Namespace", "every Pod", "all Pods of some Namespaces", "of all Namespaces", "both"],
)
def test_whom_it_selects(applied_to, namespaces, pods):
    found = selector(applied_to)

    assert found is not None
    (term,) = found.terms
    assert term.namespace == ""
    assert (None if term.namespace_selector is None else len(term.namespace_selector)) == namespaces
    assert len(term.pod_selector) == pods


def test_what_it_does():
    made = program({"action": "Redirect", "direction": "Ingress", "returnPort": TAP1})

    assert made is not None
    assert (made.action, made.directions) == ("Redirect", (Direction.INGRESS,))
    assert made.target == TrafficPort(ovs_internal=NamedDevice(name="tap0"))
    assert made.return_port == TrafficPort(ovs_internal=NamedDevice(name="tap1"))
    assert made.when_gone == "drop"


@pytest.mark.parametrize(("said", "means"), [("pass", "pass"), ("drop", "drop"), ("whatever", "drop")])
def test_what_becomes_of_packets_without_a_port_is_drop_unless_it_says_pass(said, means):
    one = control("tc", {"action": "Redirect", "returnPort": TAP1})
    one.metadata.annotations[WHEN_GONE] = said

    (made,) = fold(story(one)).programs.values()
    assert made.when_gone == means


def test_the_older_goes_first_then_the_name_and_those_of_unknown_age_last():
    ages = {
        "b": "2025-01-01T00:00:00Z",
        "z": "2025-01-01T01:00:00+02:00",
        "a": "",
        "c": "2025-01-01T00:00:00Z",
        "d": "x",
    }
    programs = fold(story(*(control(name, created=age) for name, age in ages.items()))).programs.values()

    assert [one.name for one in sorted(programs, key=lambda one: one.order)] == ["z", "b", "c", "a", "d"]


def test_bad_selectors_are_told_and_do_nothing():
    bad = {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}}
    made = fold(story(control("tc", {"appliedTo": bad})))

    assert made.programs == {}
    (problem,) = made.problems
    assert (problem.unit, problem.state) == (subjects.unit(Kind.TRAFFIC_CONTROL, "", "tc"), "failed")
    assert "has no values" in problem.reason
    assert selector(bad) is None


STORY = story(
    control("a"),
    control("b", {"appliedTo": {"podSelector": WEB}}),
    control("a", {"direction": "Egress"}),
    cluster_group("a"),
    control("b", {"appliedTo": {"namespaceSelector": TEAM}}),
    control("c", {"appliedTo": {}}),
    ObjectKey(Kind.TRAFFIC_CONTROL, "", "a"),
    control("c"),
    control("d"),
    ObjectKey(Kind.TRAFFIC_CONTROL, "", "d"),
)


@pytest.mark.parametrize("told", list(expand(STORY, seed=3)), ids=lambda told: told.name)
def test_order_repeats_and_steps_between_make_no_difference(told):
    made, plain = fold([event for event in told.events if event.key.kind is Kind.TRAFFIC_CONTROL]), fold(STORY)
    put, drop = made.drain()

    assert {key: one.name for key, one in made.programs.items()} == {
        key: one.name for key, one in plain.programs.items()
    }
    assert dict(put) == dict(made.programs)
    assert drop.isdisjoint(made.programs)


def test_nothing_new_changes_nothing():
    made = TrafficControls()
    first, again = story(control("a"), control("a"))
    made.evolve(first)
    made.drain()

    assert not made.evolve(again)
    assert made.drain() == ({}, set())
    assert next(iter(made.programs.values())).cause == Revision(1, 1)
