"""Pods that no group can have are set aside, and miss nothing by it."""

import pytest

from sluice.contracts.ids import GroupId, NodeName
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import LabelSelector
from sluice.grouping.index import Grouping
from sluice.grouping.selectors import GroupSelector, SelectorTerm, normalise, union
from sluice.testkit.builders import namespace, pod

G = GroupId("g")
NODE, OTHER = NodeName("node-1"), NodeName("node-2")
WEB = normalise(LabelSelector(match_labels={"app": "web"}))
PROD = normalise(LabelSelector(match_labels={"env": "prod"}))
IN_X = union([SelectorTerm(namespace="x", pod_selector=WEB)])
IN_PROD = union([SelectorTerm(namespace_selector=PROD, pod_selector=WEB)])
ANYWHERE = union([SelectorTerm(pod_selector=WEB)])
EARLY, LATE = "2024-05-01T10:00:00Z", "2024-05-01T11:00:00Z"


def addresses(made: Grouping, node: NodeName = NODE) -> dict[str, tuple[str, ...]]:
    return {member.pod: member.addresses for member in made.pods_on(node)}


def placed(made: Grouping) -> set[str]:
    return set(made._pods)


def cluster() -> Grouping:
    made = Grouping()
    made.put(namespace("x", env="prod"))
    made.put(namespace("y", env="test"))
    made.put(pod("x/a", ip="10.0.0.1", app="web"))
    made.put(pod("y/b", ip="10.0.0.2", app="web"))
    return made


def test_whom_no_group_can_have_is_on_its_node_all_the_same() -> None:
    made = cluster()

    assert addresses(made) == {"x/a": ("10.0.0.1",), "y/b": ("10.0.0.2",)}
    assert (placed(made), made.groups_on(NODE)) == (set(), ())


@pytest.mark.parametrize(
    ("wanted", "placed_for_it", "members"),
    [
        (IN_X, {"x/a"}, ["x/a"]),
        (IN_PROD, {"x/a"}, ["x/a"]),
        (ANYWHERE, {"x/a", "y/b"}, ["x/a", "y/b"]),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["selected first", "selected last"])
def test_a_group_finds_those_that_were_set_aside(
    wanted: GroupSelector, placed_for_it: set[str], members: list[str], *, first: bool
) -> None:
    made = Grouping() if first else cluster()
    made.select(G, wanted)
    if first:
        made.put(namespace("x", env="prod"))
        made.put(namespace("y", env="test"))
        made.put(pod("x/a", ip="10.0.0.1", app="web"))
        made.put(pod("y/b", ip="10.0.0.2", app="web"))

    assert placed(made) == placed_for_it
    assert [member.pod for member in made.members(G, NODE)] == members


def test_a_namespace_that_becomes_one_of_those_that_are_selected_is_opened() -> None:
    made = cluster()
    made.select(G, IN_PROD)
    made.drain()

    made.put(namespace("y", env="prod"))

    assert (placed(made), made.drain().pages) == ({"x/a", "y/b"}, {G: {NODE}})
    assert [member.pod for member in made.members(G, NODE)] == ["x/a", "y/b"]


@pytest.mark.parametrize("selected", [None, IN_X], ids=["both are set aside", "one has a place"])
@pytest.mark.parametrize(("created", "has"), [(LATE, "y/b"), ("", "x/a")])
def test_of_two_that_claim_an_address_the_later_has_it_wherever_they_are(
    selected: GroupSelector | None, created: str, has: str
) -> None:
    made = Grouping()
    if selected:
        made.select(G, selected)
    made.put(pod("x/a", ip="10.0.0.1", app="web", created=EARLY))
    made.put(pod("y/b", ip="10.0.0.1", node="node-2", app="web", created=created))

    found = addresses(made) | addresses(made, OTHER)
    assert found == {"x/a": (), "y/b": (), has: ("10.0.0.1",)}
    assert [conflict.holder for conflict in made.conflicts()] == [has]

    made.delete(Kind.POD, has[0], has[2:])
    (left,) = {"x/a", "y/b"} - {has}
    assert addresses(made) | addresses(made, OTHER) == {left: ("10.0.0.1",)}
    assert made.conflicts() == ()


def test_one_that_claims_an_address_twice_has_it_once_and_leaves_it_once() -> None:
    made = Grouping()
    made.put(pod("x/a", ip=("10.0.0.1", "10.0.0.1")))
    assert addresses(made) == {"x/a": ("10.0.0.1",)}

    made.put(pod("x/a", ip="10.0.0.2"))
    assert addresses(made) == {"x/a": ("10.0.0.2",)}
    assert list(made._claims._holders) == ["10.0.0.2"]


def test_one_that_moves_or_says_the_same_again() -> None:
    made = cluster()
    made.drain()

    assert not made.put(pod("x/a", ip="10.0.0.1", app="web"))
    assert made.drain().locals == set()
    assert made.put(pod("x/a", ip="10.0.0.1", app="web", node="node-2"))
    assert made.drain().locals == {NODE, OTHER}
    assert (set(addresses(made)), set(addresses(made, OTHER))) == ({"y/b"}, {"x/a"})


def test_nothing_is_left_of_those_that_went() -> None:
    made = cluster()
    for name in ("x/a", "y/b"):
        made.delete(Kind.POD, name[0], name[2:])
    for name in ("x", "y"):
        made.delete(Kind.NAMESPACE, "", name)

    assert not any((made._matching._spaces, made._on_nodes._aside, made._claims._holders, made._pods))
