"""Antrea-native policies as programs: how many, addressed to whom, and what becomes of pieces that mean nothing."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest

from sluice.contracts.ids import GroupId, Revision
from sluice.contracts.programs import Action, BlockPeer, GroupPeer
from sluice.grouping.selectors import EVERYTHING, SelectorTerm, normalise, union
from sluice.policy.groupid import group_id
from sluice.policy.translate import Untranslatable, translate
from sluice.policy.translate.cluster import Bare
from sluice.testkit.builders import acnp, annp, selector

CAUSE = Revision(1, 7)
ALL: Any = {"appliedTo": [{"namespaceSelector": {}}]}
SELF: Any = {"from": [{"namespaces": {"match": "Self"}}]}
SAME: Any = {"from": [{"namespaces": {"sameLabels": ["org"]}}]}


class Spaces(Bare):
    namespaces: Mapping[str, Mapping[str, str]] = MappingProxyType({"x": {"org": "one"}, "y": {"org": "one"}, "z": {}})


def ids(*terms: SelectorTerm) -> GroupId:
    return group_id(union(terms))


def test_a_list_is_one_group() -> None:
    spec = {
        "appliedTo": [{"podSelector": {"matchLabels": {"a": "b"}}}, {"namespaceSelector": {}}],
        "egress": [{"action": "Deny"}],
    }
    (program,) = translate(acnp("p", spec), CAUSE).programs

    db = SelectorTerm(pod_selector=normalise(selector(a="b")))
    assert program.applied_to == ids(db, SelectorTerm(namespace_selector=EVERYTHING))
    assert (program.tier, program.priority, program.cause, program.isolates) == (250, 5, CAUSE, ())
    assert [(rule.action, rule.peers, rule.traffic) for rule in program.rules] == [(Action.DROP, None, None)]


def test_each_list_of_rules_is_a_program_and_rules_keep_their_index() -> None:
    one, two = ({"appliedTo": [{"podSelector": {"matchLabels": {"a": value}}}], "action": "Drop"} for value in "12")
    spec = {"ingress": [one, two], "egress": [two, one]}
    programs = translate(acnp("p", spec), CAUSE).programs

    found = {program.applied_to: [(rule.direction, rule.index) for rule in program.rules] for program in programs}
    assert found == {
        ids(SelectorTerm(pod_selector=normalise(selector(a="1")))): [("ingress", 0), ("egress", 1)],
        ids(SelectorTerm(pod_selector=normalise(selector(a="2")))): [("ingress", 1), ("egress", 0)],
    }


def test_self_is_a_program_for_each_namespace_beside_what_is_the_same_for_all() -> None:
    spec = {**ALL, "ingress": [{"action": "Pass", **SELF}, {"action": "Drop"}]}
    programs = translate(acnp("p", spec), CAUSE, Spaces()).programs

    found = {program.applied_to: [(rule.index, rule.peers) for rule in program.rules] for program in programs}
    within = {name: ids(SelectorTerm(namespace=name)) for name in "xyz"}
    assert found == {
        **{group: [(0, (GroupPeer(group=group),))] for group in within.values()},
        ids(SelectorTerm(namespace_selector=EVERYTHING)): [(1, None)],
    }


def test_same_labels_is_a_program_for_each_value_and_nothing_elsewhere() -> None:
    spec = {**ALL, "ingress": [{"action": "Allow", **SAME}, {"action": "Drop"}]}
    programs = translate(acnp("p", spec), CAUSE, Spaces()).programs

    found = {program.applied_to: [(rule.index, rule.peers) for rule in program.rules] for program in programs}
    one = ids(SelectorTerm(namespace_selector=normalise(selector(org="one"))))
    labelled = ids(SelectorTerm(namespace_selector=normalise(selector(("org", "Exists")))))
    assert found == {one: [(0, (GroupPeer(group=one),))], labelled: [(1, None)]}


def test_entries_that_meet_in_a_namespace_lose_nobody() -> None:
    """Two entries select Pods of one Namespace: its program is for both."""
    entries = [{"podSelector": {"matchLabels": {"a": value}}} for value in "12"]
    (*programs,) = translate(
        acnp("p", {"appliedTo": entries, "ingress": [{"action": "Drop", **SELF}]}), CAUSE, Spaces()
    ).programs

    terms = [SelectorTerm(namespace="x", pod_selector=normalise(selector(a=value))) for value in "12"]
    assert ids(*terms) in {program.applied_to for program in programs}


def test_the_namespaced_kind_stays_in_its_namespace() -> None:
    spec = {"appliedTo": [{"podSelector": {}}], "ingress": [{"action": "Drop", "from": [{"podSelector": {}}]}]}
    (program,) = translate(annp("x/p", spec), CAUSE).programs

    own = ids(SelectorTerm(namespace="x"))
    assert (program.applied_to, program.rules[0].peers) == (own, (GroupPeer(group=own),))
    assert program.unit == "annps:x:p"


BAD: Any = {"ipBlock": {"cidr": "nonsense"}}
GOOD: Any = {"ipBlock": {"cidr": "10.0.0.0/8"}}
TEN = BlockPeer(cidr="10.0.0.0/8")


@pytest.mark.parametrize(
    ("action", "peers"), [("Allow", (TEN,)), ("Pass", (TEN,)), ("Drop", None), ("Deny", None), ("Reject", None)]
)
def test_a_peer_that_means_nothing_opens_nothing(action: str, peers: object) -> None:
    given = translate(acnp("p", {**ALL, "ingress": [{"action": action, "from": [GOOD, BAD]}]}), CAUSE)

    assert given.programs[0].rules[0].peers == peers
    (problem,) = given.problems
    assert problem.startswith("ClusterNetworkPolicy p $.spec.ingress[0].from[1]: ")


@pytest.mark.parametrize(("action", "traffic"), [("Allow", ()), ("Drop", None)])
def test_ports_that_mean_nothing_open_nothing(action: str, traffic: object) -> None:
    given = translate(acnp("p", {**ALL, "ingress": [{"action": action, "ports": [{"port": 0}]}]}), CAUSE)

    assert given.programs[0].rules[0].traffic == traffic
    assert len(given.problems) == 1


NOT_AT_ALL = [
    ({**ALL, "tier": "nowhere"}, "there is no tier nowhere"),
    ({"ingress": [{"action": "Drop"}]}, "applies to nothing"),
    ({"appliedTo": [{}], "ingress": [{"action": "Drop"}]}, "selects nothing"),
]


@pytest.mark.parametrize(("spec", "message"), NOT_AT_ALL, ids=[row[1] for row in NOT_AT_ALL])
def test_what_cannot_be_said_at_all(spec: Any, message: str) -> None:
    with pytest.raises(Untranslatable, match=message):
        translate(acnp("p", spec), CAUSE)
