"""What lint finds, as warnings of policies: who is warned, by which reason, and that all culprits are named."""

from typing import Any, NamedTuple

import pytest

from sluice.contracts import subjects
from sluice.contracts.ids import Revision, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject
from sluice.grouping.events import ObjectEvent, key_of
from sluice.policy.realisation import warnings as cost
from sluice.policy.realisation.answer import Answer
from sluice.policy.realisation.fold import Realisation
from sluice.policy.realisation.report import Phase, Realised, Warned, policy_status
from sluice.policy.realisation.warnings import warnings
from sluice.testkit.builders import acnp, annp, namespace, pod

PODS: list[AnyObject] = [namespace("x"), pod("x/a", ip="10.0.0.1", app="a")]


def p(name: str, *rules: dict[str, Any], **spec: Any) -> AnyObject:
    """A policy on all Pods with these ingress rules; in a Namespace if the name has one."""
    made = annp if "/" in name else acnp
    return made(name, {"priority": 5, "appliedTo": [{"podSelector": {}}], "ingress": list(rules), **spec})


DROP, ALLOW = {"action": "Drop", "name": "no"}, {"action": "Allow", "name": "yes"}
NOBODY = [{"podSelector": {"matchLabels": {"app": "none"}}}]


def events(objects: list[AnyObject]) -> list[ObjectEvent]:
    return [ObjectEvent(key_of(one), one, Revision(1, at)) for at, one in enumerate(objects, start=1)]


def unit(name: str) -> Unit:
    space, _, own = name.rpartition("/")
    return subjects.unit(Kind.ANTREA_NETWORK_POLICY if space else Kind.CLUSTER_NETWORK_POLICY, space, own)


class Case(NamedTuple):
    name: str
    objects: list[AnyObject]
    warned: dict[str, tuple[str, list[str]]]
    """Reason, and what the message says in this order, by policy."""


COVERED = 'ClusterNetworkPolicy p ingress[1] "yes" never matches: ClusterNetworkPolicy p ingress[0] "no" comes first'
CONTRADICTS = (
    'NetworkPolicy x/q ingress[0] "no" contradicts ClusterNetworkPolicy p ingress[0] "yes" (allow and drop)',
)
CASES = [
    Case("nothing is wrong", [p("p", DROP)], {}),
    Case("a covered rule is its own policy's", [p("p", DROP, ALLOW)], {"p": ("NeverMatches", [COVERED])}),
    Case(
        "the policy that covers is not warned",
        [p("p", DROP, priority=1), p("x/q", ALLOW)],
        {"x/q": ("NeverMatches", ['NetworkPolicy x/q ingress[0] "yes"', 'ClusterNetworkPolicy p ingress[0] "no"'])},
    ),
    Case(
        "a conflict is both policies'",
        [
            p("p", {**ALLOW, "from": [{"podSelector": {"matchLabels": {"app": "a"}}}]}),
            p("x/q", DROP),
        ],
        {name: ("Conflict", list(CONTRADICTS)) for name in ("p", "x/q")},
    ),
    Case(
        "about nobody",
        [p("p", DROP, appliedTo=NOBODY)],
        {"p": ("AboutNobody", ["ClusterNetworkPolicy p applies to no Pod"])},
    ),
    Case("Realizable says what is not in force", [p("p", DROP, tier="none")], {}),
    Case(
        "a few of many are told",
        [p("p", DROP, *[{**ALLOW, "name": f"r{number}"} for number in range(7)])],
        {"p": ("NeverMatches", ['"r0"', '"r4"', "; and 2 more"])},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_who_is_warned(case: Case) -> None:
    found = warnings(events([*PODS, *case.objects]))

    assert {name: found[unit(name)].reason for name in case.warned if unit(name) in found} == {
        name: reason for name, (reason, _) in case.warned.items()
    }
    assert len(found) == len(case.warned)
    for name, (_, parts) in case.warned.items():
        places = [found[unit(name)].message.find(part) for part in parts]
        assert -1 not in places, found[unit(name)].message
        assert places == sorted(places)


def test_a_policy_that_went_is_not_warned_of() -> None:
    told = events([*PODS, p("p", DROP, ALLOW)])

    assert not warnings([*told, ObjectEvent(told[-1].key, None, Revision(1, 99))])


def test_too_many_rules_are_not_looked_at_and_everybody_is_told() -> None:
    told = events([*PODS, p("p", DROP, ALLOW), p("x/q", DROP)])

    assert all(one.looked for one in warnings(told, most_rules=3).values())
    found = warnings(told, most_rules=2)
    assert found.keys() == {unit("p"), unit("x/q")}
    assert {(one.looked, one.reason) for one in found.values()} == {(False, "TooManyRules")}
    assert all("more than 2 rules; run `sluice lint`" in one.message for one in found.values())


def test_rules_that_are_too_much_alike_are_not_compared_and_everybody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of six Allows contradicts each of six Drops, which is 36 comparisons, and a few more of rules of one."""
    told = events([*PODS, *(p(f"p{number}", DROP if number % 2 else ALLOW) for number in range(12))])

    assert all(one.looked for one in warnings(told).values())
    monkeypatch.setattr(cost, "MOST_COMPARISONS", 35)
    found = warnings(told)
    assert len(found) == 12
    assert {(one.looked, one.reason) for one in found.values()} == {(False, "TooManyRules")}
    assert all("more than 35 pairs of rules" in one.message for one in found.values())


# ------------------------------------------------------------------------------------------------------------- status

WARNED = Warned(reason="AboutNobody", message="p applies to no Pod")


def test_a_warning_is_a_condition_and_no_obstacle() -> None:
    realised = Realised(phase=Phase.REALIZED, generation=1, warning=WARNED)

    condition = policy_status(realised).conditions[-1]

    assert (condition.type, condition.status, condition.reason) == ("Warnings", "True", "AboutNobody")
    answer = Answer(realised)
    assert (answer.complete, answer.why, answer.warning) == (True, "", WARNED.message)


@pytest.mark.parametrize(
    ("warning", "statuses"),
    [
        (None, []),
        (WARNED, ["True"]),
        (Warned(looked=False, reason="TooManyRules", message="run `sluice lint`"), ["Unknown"]),
    ],
    ids=["nothing", "something", "nobody looked"],
)
def test_what_the_condition_says(warning: Warned | None, statuses: list[str]) -> None:
    status = policy_status(Realised(phase=Phase.REALIZED, generation=1, warning=warning))

    assert [one.status for one in status.conditions if one.type == "Warnings"] == statuses


def test_a_long_warning_is_cut() -> None:
    warning = Warned(reason="Conflict", message="x" * 5_000)

    message = policy_status(Realised(phase=Phase.REALIZED, generation=1, warning=warning)).conditions[-1].message

    assert len(message) == 1_000


def test_only_whose_warnings_differ_are_asked_about_again() -> None:
    fold = Realisation()
    for event in events([p("p", DROP), p("q", DROP), p("r", DROP)]):
        fold.object(event)
    fold.drain()
    rounds: list[dict[Unit, Warned]] = [
        {unit("p"): WARNED},
        {unit("p"): WARNED},
        {unit("p"): WARNED, unit("q"): WARNED},
        {unit("q"): WARNED},
    ]

    known, drained = [fold.is_warned], []
    for found in rounds:
        fold.warned(found)
        known.append(fold.is_warned)
        drained.append(fold.drain())

    assert known == [False, True, True, True, True]
    # An object may still say what another run found, so the first time all are asked.
    assert drained == [{unit("p"), unit("q"), unit("r")}, set(), {unit("q")}, {unit("p")}]
    answers = {name: fold.realised(unit(name)) for name in "pqr"}
    assert {name: one.warning for name, one in answers.items() if one} == {"p": None, "q": WARNED, "r": None}
