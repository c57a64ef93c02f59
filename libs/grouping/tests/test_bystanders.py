"""Undecoded Pods: what is seen of them is what decoding finds, and every answer is the same as with decoded ones."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import codec
from sluice.contracts.ids import Address, GroupId, NodeName, Revision
from sluice.contracts.objects import LabelSelector, Pod
from sluice.grouping.bystanders import Aside, Bystander, Sighting, sighting, sightings, whole
from sluice.grouping.events import Unread, key_of
from sluice.grouping.index import Grouping
from sluice.grouping.members import member_of
from sluice.grouping.selectors import SelectorTerm, normalise, union
from sluice.testkit import secondary
from sluice.testkit.builders import pod
from sluice.testkit.strategies import pods

NODE, ADDRESS = NodeName("node-1"), Address("10.0.0.1")
HERE = NodeName("node-1"), ("10.0.0.1",)
BOTH = NodeName("node-1"), ("10.0.0.1", "fd00::1")


def seen(found: Sighting | None) -> tuple[str, tuple[str, ...]] | None:
    return found and (found[0], tuple(dict.fromkeys(filter(None, found[1:]))))


@given(st.lists(st.one_of(pods(), secondary.objects)))
def test_what_is_seen_is_what_decoding_finds(told: Sequence[object]) -> None:
    them = [one for one in told if isinstance(one, Pod)]
    bodies = [codec.encode(one) for one in them]
    found = sightings(bodies)

    assert found == [sighting(body) for body in bodies]
    for one, glimpse in zip(them, found, strict=True):
        if glimpse is not None:
            assert one.on_pod_network
            assert not one.metadata.annotations
            assert seen(glimpse) == (one.node, one.addresses)
            undecoded = Bystander(key_of(one), glimpse, codec.encode(one))
            assert (undecoded.key, undecoded.pod, undecoded.member) == (one.key, one, member_of(one))


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (pod(ip="10.0.0.1"), HERE),
        (pod(ip="10.0.0.1", phase="Pending"), HERE),
        (pod(ip=("10.0.0.1", "fd00::1")), BOTH),
        (pod(ip=("10.0.0.1", "10.0.0.1")), HERE),
        (pod(ip="10.0.0.1", account="robot", ports=(("status", 80), ("web", 81))), HERE),
        (pod(ip="10.0.0.1", labels={"podIP": "10.0.0.9", "spec": "nodeName", "annotations": "status"}), HERE),
        (pod(ip="10.0.0.1", labels={"app": '"spec":{"nodeName":"other"},"status":{"phase":"Running"'}), HERE),
        (pod(), None),
        (pod(ip="10.0.0.1", node=""), None),
        (pod(ip="10.0.0.1", node='a"b'), None),
        (pod(ip="10.0.0.1", host_network=True), None),
        (pod(ip="10.0.0.1", phase="Succeeded"), None),
        (pod(ip=("10.0.0.1", "fd00::1", "fd00::2")), None),
        (pod(ip="10.0.0.1", annotations={"a": "b"}), None),
    ],
)
def test_of_most_pods_it_is_seen(one: Pod, expected: tuple[str, tuple[str, ...]] | None) -> None:
    assert seen(sighting(codec.encode(one))) == expected


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"{}", b"\n", codec.encode(pod(ip="10.0.0.1")).replace(b",", b",\n"), b"}}\n{{"]
)
def test_what_nobody_of_us_wrote_hides_nobody_else(body: bytes) -> None:
    good = codec.encode(pod(ip="10.0.0.1"))

    assert list(map(seen, sightings([good, body, good]))) == [HERE, None, HERE]


def told(events: Sequence[tuple[Pod, Revision]], *, unread: bool) -> Grouping:
    made = Grouping(lambda node: node == NODE)
    if unread:
        made.evolve_unread([Unread(key_of(one), codec.encode(one), at) for one, at in events])
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
def test_unread_and_decoded_are_the_same_whatever_is_selected_then(
    them: list[Pod], cut: int, asked: int, chance: object
) -> None:
    events = [(one, Revision(1, number)) for number, one in enumerate(them, start=1)]
    chance.shuffle(events)  # type: ignore[attr-defined]  # as Random has it
    begun, at_once = told(events[:cut], unread=True), told(events[:cut], unread=False)
    selected = [
        (GroupId("some"), union([SelectorTerm(namespace="x", pod_selector=normalise(LabelSelector()))])),
        (GroupId("all"), union([SelectorTerm(namespace_selector=(), pod_selector=())])),
    ]
    for group, selector in selected[:asked]:
        begun.select(group, selector)
        at_once.select(group, selector)
    for _, later in pairwise([cut, *range(cut + 3, len(events) + 3, 3)]):
        batch = events[later - 3 : later]
        begun.evolve_unread([Unread(key_of(one), codec.encode(one), at) for one, at in batch])
        for one, at in batch:
            at_once.put(one, at)
        assert answers(begun) == answers(at_once)

    assert answers(begun) == answers(at_once)


def test_of_one_that_cannot_be_read_what_was_seen_counts() -> None:
    one = Bystander(
        key_of(pod("x/a")), (NODE, ADDRESS, Address("")), codec.encode(pod("x/a", ip="10.0.0.1", uid="u"))[:-1]
    )
    made = Grouping()
    made.evolve_unread(
        [Unread(key_of(pod("x/a")), codec.encode(pod("x/a", ip="10.0.0.1")).replace(b'"uid":', b'"uid":7,"x":'), AT)]
    )
    made.select(GroupId("all"), union([SelectorTerm(pod_selector=())]))

    assert (one.pod.key, one.pod.node, one.pod.addresses) == (("x", "a"), NODE, HERE[1])
    assert [(member.pod, member.uid, member.addresses) for member in made.members(GroupId("all"), NODE)] == [
        ("x/a", "", ("10.0.0.1",))
    ]


AT = Revision(1, 1)


def test_what_is_not_even_a_pod_changes_nothing() -> None:
    made = told([(pod("x/a", ip="10.0.0.1"), AT)], unread=True)
    made.evolve_unread([Unread(key_of(pod("x/a")), b"[]", Revision(1, 2))])

    assert [member.pod for member in made.pods_on(NODE)] == ["x/a"]


def test_whole() -> None:
    one: Aside = pod("x/a", ip="10.0.0.1")

    assert whole(one) is one
    assert whole(Bystander(key_of(pod("x/a")), (NODE, ADDRESS, Address("")), codec.encode(one))) == one
