"""Bystanders: what is decoded of them is as in the whole Pod, and every answer is the same as with whole Pods."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import codec
from sluice.contracts.ids import GroupId, NodeName, Revision
from sluice.contracts.objects import LabelSelector, Pod
from sluice.grouping.bystanders import Aside, Bystander, is_same, read, whole
from sluice.grouping.events import ObjectEvent, key_of
from sluice.grouping.index import Grouping
from sluice.grouping.members import member_of
from sluice.grouping.selectors import SelectorTerm, normalise, union
from sluice.testkit import secondary
from sluice.testkit.builders import pod
from sluice.testkit.strategies import pods

NODE, AT = NodeName("node-1"), Revision(1, 1)


def version(one: Pod, at: Revision = AT) -> ObjectEvent | Bystander:
    return read(key_of(one), codec.encode(one), at)


@given(st.one_of(pods(), secondary.objects))
def test_a_bystander_is_the_pod(one: object) -> None:
    if not isinstance(one, Pod):
        return
    told = version(one)

    assert (told.key, told.revision) == (key_of(one), AT)
    if isinstance(told, ObjectEvent):
        assert told.object == one
        return
    assert one.on_pod_network
    assert not one.metadata.annotations
    assert (told.node, told.addresses, told.member, told.pod) == (one.node, one.addresses, member_of(one), one)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (pod(ip="10.0.0.1"), True),
        (pod(ip="10.0.0.1", phase="Pending"), True),
        (pod(ip=("10.0.0.1", "fd00::1")), True),
        (pod(ip=("10.0.0.1", "10.0.0.1")), True),
        (pod(ip=("10.0.0.1", "fd00::1", "fd00::2")), True),
        (pod(ip="10.0.0.1", account="robot", ports=(("status", 80), ("web", 81))), True),
        (pod(ip="10.0.0.1", node='a"b'), True),
        (pod(), False),
        (pod(ip="10.0.0.1", node=""), False),
        (pod(ip="10.0.0.1", host_network=True), False),
        (pod(ip="10.0.0.1", phase="Succeeded"), False),
        (pod(ip="10.0.0.1", phase="Failed"), False),
        (pod(ip="10.0.0.1", annotations={"a": "b"}), False),
    ],
)
def test_most_pods_can_be_bystanders(one: Pod, expected: bool) -> None:  # the case
    assert isinstance(version(one), Bystander) == expected


DEEP = codec.encode(pod(ip="10.0.0.1"))[:-1] + b',"x":' + b"[" * 5_000 + b"]" * 5_000 + b"}"


@pytest.mark.parametrize("body", [b"\xff", b"{}", b"[]", codec.encode(pod(ip="10.0.0.1"))[:-1], DEEP])
def test_what_is_not_a_pod_is_none(body: bytes) -> None:
    with pytest.raises(codec.Undecodable):
        read(key_of(pod("x/a")), body, AT)


def glimpse(into: Grouping, events: Sequence[tuple[Pod, Revision]]) -> None:
    """As a shard does with Pods of other shards."""
    told = [version(one, at) for one, at in events]
    for one in told:
        if isinstance(one, ObjectEvent):
            into.evolve(one)
    into.evolve_bystanders([one for one in told if isinstance(one, Bystander)])


def told(events: Sequence[tuple[Pod, Revision]], *, glimpsed: bool) -> Grouping:
    made = Grouping(lambda node: node == NODE)
    if glimpsed:
        glimpse(made, events)
    else:
        for one, at in events:
            made.put(one, at)
    return made


def answers(of: Grouping) -> Mapping[str, object]:
    nodes, groups = [NODE, NodeName("node-2")], [GroupId("some"), GroupId("all")]
    return {
        "members": {(group, node): of.members(group, node) for group in groups for node in nodes},
        "owns": [of.groups_on(node) for node in nodes],
        "pods": of.pods_on(NODE),
        "interfaces": of.interfaces_on(NODE),
        "conflicts": of.conflicts(),
    }


@given(st.lists(pods(), max_size=12), st.integers(0, 12), st.integers(0, 5), st.randoms(use_true_random=False))
def test_bystanders_and_decoded_pods_are_the_same_whatever_is_selected_then(
    them: list[Pod], cut: int, asked: int, chance: object
) -> None:
    events = [(one, Revision(1, number)) for number, one in enumerate(them, start=1)]
    chance.shuffle(events)  # type: ignore[attr-defined]  # as Random has it
    begun, at_once = told(events[:cut], glimpsed=True), told(events[:cut], glimpsed=False)
    selected = [
        (GroupId("some"), union([SelectorTerm(namespace="x", pod_selector=normalise(LabelSelector()))])),
        (GroupId("all"), union([SelectorTerm(namespace_selector=(), pod_selector=())])),
    ]
    for group, selector in selected[:asked]:
        begun.select(group, selector)
        at_once.select(group, selector)
    for _, later in pairwise([cut, *range(cut + 3, len(events) + 3, 3)]):
        batch = events[later - 3 : later]
        glimpse(begun, batch)
        for one, at in batch:
            at_once.put(one, at)
        assert answers(begun) == answers(at_once)

    assert answers(begun) == answers(at_once)


def test_of_one_that_cannot_be_read_what_was_seen_counts() -> None:
    body = codec.encode(pod("x/a", ip="10.0.0.1", uid="u", ports=(("web", 80),)))
    told = read(key_of(pod("x/a")), body.replace(b'"labels":{', b'"labels":{"a":7,'), AT)
    assert isinstance(told, Bystander)
    made = Grouping()
    made.evolve_bystanders([told])
    (before,) = made.pods_on(NODE)
    made.select(GroupId("all"), union([SelectorTerm(pod_selector=())]))

    assert made.members(GroupId("all"), NODE) == made.pods_on(NODE) == (before,) == (told.member,)
    assert (before.pod, before.uid, before.addresses) == ("x/a", "u", ("10.0.0.1",))
    assert [port.name for port in before.ports] == ["web"]


def test_one_that_a_group_may_select_and_that_cannot_be_read_stays_as_it_was() -> None:
    good = pod("x/a", ip="10.0.0.1", app="web")
    made = Grouping()
    made.select(GroupId("web"), union([SelectorTerm(namespace="x", pod_selector=normalise(LabelSelector()))]))
    glimpse(made, [(good, AT)])
    before = made.members(GroupId("web"), NODE)
    told = read(key_of(good), codec.encode(good).replace(b'"labels":{', b'"labels":{"a":7,'), Revision(1, 2))
    assert isinstance(told, Bystander)
    made.evolve_bystanders([told])

    assert made.members(GroupId("web"), NODE) == before == (member_of(good),)


def test_a_bystander_that_says_the_same_again_has_not_changed() -> None:
    one, other = pod("x/a", ip="10.0.0.1"), pod("x/a", ip="10.0.0.1", labels={"new": "label"})

    assert is_same(version(one), version(one, Revision(1, 2)))  # type: ignore[arg-type]  # they are bystanders
    assert not is_same(version(one), version(other))  # type: ignore[arg-type]  # they are bystanders
    assert is_same(one, one)
    assert not is_same(one, other)


def test_whole() -> None:
    one: Aside = pod("x/a", ip="10.0.0.1")

    assert whole(one) is one
    assert whole(version(pod("x/a", ip="10.0.0.1"))) == one  # type: ignore[arg-type]  # it is a bystander
